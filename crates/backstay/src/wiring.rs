//! The one place that knows all rooms by name: catalog, engines, jobs and HTTP become a server.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use catalog::{Catalog, CatalogError, MasterKey};
use engine_postgres::{PostgresEngine, PostgresOptions};
use engine_sqlite::SqliteEngine;
use jobs::{Jobs, JobsError, Registry};
use model::{Clock, Fault, SecretString, SystemClock};
use server::{ServerError, ServerState};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;

const MASTER_KEY_FILE: &str = "master.key";

/// What a server is started with; every default is filled in.
#[derive(Debug)]
pub struct ServeOptions {
    /// Where the catalog and the master key live.
    pub data_dir: PathBuf,
    /// `ADDR:PORT`; port 0 takes a free one.
    pub listen: String,
    /// Plain http on an address that others can reach.
    pub insecure_http: bool,
    /// The first administrator's token, when the data directory is first used.
    pub admin_token: Option<SecretString>,
    /// Instead of the file `master.key` in the data directory.
    pub master_key: Option<SecretString>,
    /// Searched first for `pg_dump` and `pg_restore`.
    pub pg_bin: Vec<PathBuf>,
    /// How many executions run at once; `None`: as `jobs` has it.
    pub parallel_executions: Option<usize>,
    /// Whether this process' temporary files are to be in the data directory: those that a kill leaves
    /// behind are removed by the next start.
    pub own_temporary_files: bool,
}

/// Why a server did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// What `--listen` says is no address.
    #[error("cannot listen on {listen:?}: it must be ADDR:PORT, as 127.0.0.1:8610 ({why})")]
    BadListen {
        /// As given.
        listen: String,
        /// What is wrong.
        why: String,
    },
    /// Tokens would travel in clear.
    #[error("{listen} can be reached by others, and plain http shows them every token")]
    NotLoopback {
        /// As given.
        listen: String,
    },
    /// The address is taken, or is not ours.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The catalog did not open or failed.
    #[error("{}", (.0 as &dyn Fault).sentence())]
    Catalog(#[from] CatalogError),
    /// What an earlier run left could not be cleared up.
    #[error("{}", (.0 as &dyn Fault).sentence())]
    Jobs(#[from] JobsError),
    /// There is no place for temporary files.
    #[error("the directory for temporary files {path} cannot be made anew: {source}")]
    TemporaryFiles {
        /// It, in the data directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The HTTP server failed.
    #[error(transparent)]
    Http(#[from] ServerError),
    /// A part of the server ended by a mistake of ours.
    #[error("{part} stopped unexpectedly: {why}")]
    Stopped {
        /// Which one.
        part: &'static str,
        /// What is known.
        why: String,
    },
    /// The time to stop ran out.
    #[error(
        "some work had not ended after {0:?}; what it was doing is cleared up at the next start"
    )]
    StillRunning(Duration),
}

impl WiringError {
    /// The exit code that it stands for.
    pub fn exit(&self) -> Exit {
        match self {
            WiringError::BadListen { .. } | WiringError::NotLoopback { .. } => Exit::Usage,
            _ => Exit::Failed,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            WiringError::NotLoopback { .. } => Some(
                "listen on 127.0.0.1 behind a proxy that speaks https, or accept it with --insecure-http"
                    .to_owned(),
            ),
            WiringError::Listen { .. } => Some(
                "another program may listen there; --listen takes another port, port 0 a free one"
                    .to_owned(),
            ),
            WiringError::Catalog(error) => error.hint(),
            WiringError::Jobs(error) => error.hint(),
            _ => None,
        }
    }
}

/// A server at work. Dropping it tells its tasks to end and does not wait for them.
pub struct RunningServer {
    address: SocketAddr,
    made_token: Option<SecretString>,
    shutdown: CancellationToken,
    http: JoinHandle<Result<(), ServerError>>,
    runner: JoinHandle<()>,
    catalog: Catalog,
}

/// Temporary files, in the data directory: dictionaries on their way, which only their owner may read.
const TEMPORARY: &str = "backstay.tmp";

/// Removes what an earlier process left, and has temporary files made there from now on.
fn empty_temporary_folder(data_dir: &Path) -> Result<(), WiringError> {
    let path = std::path::absolute(data_dir.join(TEMPORARY));
    let made = path.and_then(|path| {
        if let Err(error) = std::fs::remove_dir_all(&path)
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error);
        }
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(path)
    });
    let path = made.map_err(|source| WiringError::TemporaryFiles {
        path: data_dir.join(TEMPORARY),
        source,
    })?;
    // It can be set once: a process that serves twice goes on with the first one's.
    tempfile::env::override_temp_dir(&path).ok();
    Ok(())
}

/// Starts a server.
///
/// The address is taken first: a data directory's first token is made only once the server can
/// really be reached. Whatever an earlier run left is cleared up before anything new is taken.
///
/// # Errors
/// When the address cannot be had, or the data directory cannot be used.
pub async fn start(options: ServeOptions) -> Result<RunningServer, WiringError> {
    let (listener, address) = listen(&options).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let key = match &options.master_key {
        Some(text) => MasterKey::from_text(text)?,
        None => MasterKey::from_file_or_make(&options.data_dir.join(MASTER_KEY_FILE))?,
    };
    let catalog = Catalog::open(&options.data_dir, key, clock.clone()).await?;
    // The data directory is locked: nobody else's file is in there.
    if options.own_temporary_files {
        empty_temporary_folder(&options.data_dir)?;
    }
    let made_token = catalog.first_token(options.admin_token.as_ref()).await?;
    let registry = Registry::new()
        .with(Arc::new(PostgresEngine::new(PostgresOptions {
            tool_directories: options.pg_bin.clone(),
            node: Some(catalog.node_id().to_owned()),
            ..PostgresOptions::default()
        })))
        .with(Arc::new(SqliteEngine::new()));
    let mut settings = jobs::Settings {
        store_limits: crate::crash_points::store_limits(),
        ..jobs::Settings::default()
    };
    if let Some(parallel) = options.parallel_executions {
        settings.parallel_executions = parallel;
    }
    let jobs = Jobs::new(catalog.clone(), registry, clock.clone(), settings);
    jobs.recover().await?;
    let shutdown = CancellationToken::new();
    let runner = tokio::spawn({
        let (jobs, shutdown) = (jobs.clone(), shutdown.clone());
        async move { jobs.run(shutdown).await }
    });
    let limits = server::Limits::default();
    let state = ServerState::new(catalog.clone(), jobs, clock, limits);
    let http = tokio::spawn(server::serve(
        listener,
        state,
        shutdown.clone().cancelled_owned(),
    ));
    Ok(RunningServer {
        address,
        made_token,
        shutdown,
        http,
        runner,
        catalog,
    })
}

async fn listen(options: &ServeOptions) -> Result<(TcpListener, SocketAddr), WiringError> {
    let bad = |why: String| WiringError::BadListen {
        listen: options.listen.clone(),
        why,
    };
    let address = options
        .listen
        .to_socket_addrs()
        .map_err(|e| bad(e.to_string()))?
        .next()
        .ok_or_else(|| bad("the name has no address".to_owned()))?;
    if !address.ip().is_loopback() && !options.insecure_http {
        return Err(WiringError::NotLoopback {
            listen: options.listen.clone(),
        });
    }
    let failed = |source| WiringError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let taken = listener.local_addr().map_err(failed)?;
    Ok((listener, taken))
}

impl RunningServer {
    /// Where it can be reached.
    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The first administrator's token, if it was made now: nobody can see it again.
    pub fn made_token(&self) -> Option<&SecretString> {
        self.made_token.as_ref()
    }

    /// Returns when a part of it ended although nobody asked for it.
    ///
    /// # Errors
    /// Always one: a server that ends by itself has failed.
    pub async fn ended(&mut self) -> Result<(), WiringError> {
        let (part, why) = tokio::select! {
            http = &mut self.http => match http {
                Ok(Ok(())) => ("the HTTP server", "it had nothing more to do".to_owned()),
                Ok(Err(error)) => return Err(WiringError::Http(error)),
                Err(died) => ("the HTTP server", died.to_string()),
            },
            runner = &mut self.runner => match runner {
                Ok(()) => ("the runner", "it had nothing more to do".to_owned()),
                Err(died) => ("the runner", died.to_string()),
            },
        };
        Err(WiringError::Stopped { part, why })
    }

    /// Stops it: no new request is taken, runs are told to end, and their ends are written down.
    ///
    /// # Errors
    /// When something has not ended within `limit`, or ended by a mistake of ours.
    pub async fn stop(mut self, limit: Duration) -> Result<(), WiringError> {
        self.shutdown.cancel();
        let both = async { ((&mut self.http).await, (&mut self.runner).await) };
        let (http, runner) = tokio::time::timeout(limit, both)
            .await
            .map_err(|_| WiringError::StillRunning(limit))?;
        self.catalog.clone().close().await;
        let died = |part| {
            move |e: tokio::task::JoinError| WiringError::Stopped {
                part,
                why: e.to_string(),
            }
        };
        runner.map_err(died("the runner"))?;
        http.map_err(died("the HTTP server"))?
            .map_err(WiringError::Http)
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}
