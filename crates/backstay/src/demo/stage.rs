//! Where the demo plays: its directories, its server, and calls that can be shown as `curl` lines.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use model::ExposeSecret;
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::DEFAULT_LISTEN;
use crate::client::{Answer, Client};
use crate::error::CommandError;
use crate::output;
use crate::wiring::{self, RunningServer, ServeOptions};

/// The demo's own part of a disk.
pub(super) struct Place {
    folder: PathBuf,
    /// Goes when the demo ends; `None` where it is kept.
    temporary: Option<TempDir>,
}

impl Place {
    /// A new directory: `keep`, or a temporary one.
    ///
    /// # Errors
    /// When it cannot be made, or `keep` is there already with something in it.
    pub(super) fn new(keep: Option<&Path>) -> Result<Place, CommandError> {
        let place = match keep {
            Some(folder) => Place {
                folder: kept_folder(folder)?,
                temporary: None,
            },
            None => {
                let made = tempfile::Builder::new().prefix("backstay-demo-").tempdir();
                let temporary = made.map_err(|source| CommandError::File {
                    doing: "cannot make a directory in",
                    path: std::env::temp_dir(),
                    source,
                })?;
                Place {
                    folder: temporary.path().to_owned(),
                    temporary: Some(temporary),
                }
            }
        };
        std::fs::create_dir_all(place.databases()).map_err(|source| CommandError::File {
            doing: "cannot make",
            path: place.databases(),
            source,
        })?;
        Ok(place)
    }

    /// The site: a directory of SQLite files.
    pub(super) fn databases(&self) -> PathBuf {
        self.folder.join("databases")
    }

    /// Where the savesets go.
    pub(super) fn vault(&self) -> PathBuf {
        self.folder.join("vault")
    }

    /// The server's own.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("server")
    }

    /// Removes it, unless it is kept.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(super) fn close(self) -> Result<(), CommandError> {
        match self.temporary {
            None => output::say(&format!("Everything is kept in {}.", self.folder.display())),
            Some(temporary) => temporary.close().map_err(|source| CommandError::File {
                doing: "cannot remove",
                path: self.folder,
                source,
            }),
        }
    }
}

fn kept_folder(folder: &Path) -> Result<PathBuf, CommandError> {
    let file = |doing| {
        move |source| CommandError::File {
            doing,
            path: folder.to_owned(),
            source,
        }
    };
    std::fs::create_dir_all(folder).map_err(file("cannot make"))?;
    let mut entries = std::fs::read_dir(folder).map_err(file("cannot look into"))?;
    if entries.next().is_some() {
        return Err(CommandError::Usage(format!(
            "--keep {} is not empty: the demo wants a directory of its own",
            folder.display()
        )));
    }
    folder.canonicalize().map_err(file("cannot find"))
}

/// A server at work, and a client for it.
pub(super) struct Stage {
    /// The server.
    pub(super) server: RunningServer,
    client: Client,
    token: String,
}

impl Stage {
    /// Starts the server.
    ///
    /// # Errors
    /// When it cannot start: a port that was asked for and is taken, for instance.
    pub(super) async fn open(place: &Place, port: Option<u16>) -> Result<Stage, CommandError> {
        let server = wiring::start(ServeOptions {
            data_dir: place.data(),
            listen: match port {
                Some(port) => format!("127.0.0.1:{port}"),
                None if TcpListener::bind(DEFAULT_LISTEN).is_ok() => DEFAULT_LISTEN.to_owned(),
                None => "127.0.0.1:0".to_owned(),
            },
            insecure_http: false,
            admin_token: None,
            master_key: None,
            pg_bin: Vec::new(),
            parallel_executions: None,
            own_temporary_files: false,
        })
        .await?;
        let token = server.made_token().cloned().ok_or_else(|| {
            CommandError::Failed("a new server made no administrator's token".to_owned())
        })?;
        let client = Client::new(&server.address(), token.clone())?;
        // The one token that may be shown: it opens nothing but this demo.
        Ok(Stage {
            server,
            client,
            token: token.expose_secret().to_owned(),
        })
    }

    /// The client, for following executions.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The token as it is shown.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// POST, and the line that does the same by hand.
    ///
    /// # Errors
    /// When the server refuses.
    pub(super) async fn post(
        &self,
        path: &[&str],
        body: Option<&Value>,
    ) -> Result<(Answer, String), CommandError> {
        let call = self.client.post(path);
        let answer = match body {
            Some(body) => call.json(body).send().await?,
            None => call.send().await?,
        };
        let sent = body.map_or_else(String::new, |body| {
            format!(
                " \\\n       -H 'content-type: application/json' \\\n       -d {}",
                quoted(&body.to_string())
            )
        });
        Ok((
            answer,
            format!(
                "curl -i -X POST -u :$TOKEN {}{sent}",
                quoted(&self.url(path))
            ),
        ))
    }

    /// The line that gets something by hand.
    pub(super) fn get_line(&self, path: &[&str]) -> String {
        format!("curl -u :$TOKEN {}", quoted(&self.url(path)))
    }

    fn url(&self, path: &[&str]) -> String {
        format!(
            "{}{}/{}",
            self.server.address(),
            contract::BASE_PATH,
            path.join("/")
        )
    }
}

/// For a shell.
fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/:._-".contains(&b);
    match text.bytes().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}
