//! A session with the settings that every connection of Backstay has.

use std::error::Error as _;
use std::future::Future;
use std::io;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::connect::{CancelKey, Endpoint, LentWire, Place, Wire};
use crate::error::PostgresError;

/// The settings; see `sql/session.sql` for the reasons.
const SETTINGS: &str = include_str!("../sql/session.sql");

/// The versions that this engine knows.
const VERSIONS: std::ops::RangeInclusive<u32> = 14..=18;

/// An open session. Dropping it cancels what it does and closes the connection;
/// [`close`](Self::close) ends it in order.
pub(crate) struct Session {
    client: Option<Client>,
    driver: JoinHandle<()>,
    wire: Option<oneshot::Receiver<Wire>>,
    cancel: Option<CancelKey>,
    version_num: u32,
    version: String,
    pid: i32,
}

/// What is left of a session whose stream was taken for bulk reading.
pub(crate) struct TakenStream {
    /// The stream, in order: nothing is under way on it.
    pub(crate) wire: Wire,
    /// Stops what runs on it.
    pub(crate) cancel: CancelKey,
}

impl Session {
    /// Connects, checks the version and applies the settings.
    pub(crate) async fn open(
        endpoint: &Endpoint,
        application_name: &str,
    ) -> Result<Session, PostgresError> {
        let attempts = endpoint.attempts();
        let mut refused = None;
        for &tls in attempts {
            match Session::start(endpoint, application_name, tls).await {
                Ok(session) => return session.settle(endpoint).await,
                // Only what the other way (with or without TLS) may mend is tried again.
                Err(error) if the_other_way_may_work(&error) => {
                    refused.get_or_insert(error);
                }
                Err(error) => return Err(refused.unwrap_or(error)),
            }
        }
        Err(refused.unwrap_or_else(|| PostgresError::Misuse {
            what: "no way to connect was tried".into(),
        }))
    }

    async fn start(
        endpoint: &Endpoint,
        application_name: &str,
        tls: bool,
    ) -> Result<Session, PostgresError> {
        let (wire, place) = endpoint.connect(tls).await?;
        let tls = matches!(wire, Wire::Tls(_));
        let (lent, back) = LentWire::lend(wire);
        let config = endpoint.start_up(application_name);
        let login = |source| refused(endpoint, &place, source);
        let start = config.connect_raw(lent, NoTls);
        let (client, connection) = endpoint.in_time(&place, start).await?.map_err(login)?;
        let cancel = CancelKey::new(endpoint, place, client.cancel_token(), tls);
        let driver = tokio::spawn(async move {
            // The client's calls report the same error, with what they were doing.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to PostgreSQL ended");
            }
        });
        Ok(Session {
            client: Some(client),
            driver,
            wire: Some(back),
            cancel: Some(cancel),
            version_num: 0,
            version: String::new(),
            pid: 0,
        })
    }

    async fn settle(mut self, endpoint: &Endpoint) -> Result<Session, PostgresError> {
        let doing = "setting up a session";
        let question = "SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4,
            pg_catalog.current_setting('server_version'), pg_catalog.pg_backend_pid()";
        let client = self.client()?;
        let row = client.query_one(question, &[]).await;
        let row = row.map_err(PostgresError::query(doing))?;
        let number: i32 = row.get(0);
        let (version, pid) = (row.get::<_, String>(1), row.get(2));
        self.version_num = number.unsigned_abs();
        if !VERSIONS.contains(&self.major()) {
            return Err(PostgresError::Version { found: version });
        }
        let settled = self.client()?.batch_execute(SETTINGS).await;
        settled.map_err(PostgresError::query(format!(
            "{doing} at {}",
            endpoint.address()
        )))?;
        self.version = version;
        self.pid = pid;
        Ok(self)
    }

    fn client(&self) -> Result<&Client, PostgresError> {
        self.client.as_ref().ok_or_else(|| PostgresError::Misuse {
            what: "a session was used after its end".into(),
        })
    }

    /// The client itself, for COPY FROM and prepared statements.
    pub(crate) fn raw(&self) -> Result<&Client, PostgresError> {
        self.client()
    }

    /// 170002.
    pub(crate) fn version_num(&self) -> u32 {
        self.version_num
    }

    /// 17.
    pub(crate) fn major(&self) -> u32 {
        self.version_num / 10_000
    }

    /// `17.2 (Debian 17.2-1.pgdg120+1)`.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// The backend's process id.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Runs statements without an answer. `doing` completes "PostgreSQL failed while …".
    pub(crate) async fn run(&self, sql: &str, doing: &str) -> Result<(), PostgresError> {
        let ran = self.client()?.batch_execute(sql).await;
        ran.map_err(PostgresError::query(doing))
    }

    /// Rows of a query with parameters.
    pub(crate) async fn rows(
        &self,
        sql: &str,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
        doing: &str,
    ) -> Result<Vec<tokio_postgres::Row>, PostgresError> {
        let rows = self.client()?.query(sql, parameters).await;
        rows.map_err(PostgresError::query(doing))
    }

    /// The one row of a query with parameters.
    pub(crate) async fn row(
        &self,
        sql: &str,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
        doing: &str,
    ) -> Result<tokio_postgres::Row, PostgresError> {
        let row = self.client()?.query_one(sql, parameters).await;
        row.map_err(PostgresError::query(doing))
    }

    /// The first column of the first row as text, or `None` where it is NULL or there is no row.
    pub(crate) async fn text(
        &self,
        sql: &str,
        doing: &str,
    ) -> Result<Option<String>, PostgresError> {
        let messages = self.client()?.simple_query(sql).await;
        let messages = messages.map_err(PostgresError::query(doing))?;
        let first = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
            _ => None,
        });
        Ok(first.flatten())
    }

    /// Ends the session in order.
    pub(crate) async fn close(mut self) {
        self.cancel = None;
        self.client = None;
        // The driver sends Terminate when its client is gone; a server that does not take it is
        // left after a while: `drop` ends the task.
        let wait = std::time::Duration::from_secs(2);
        let _ended_or_not = tokio::time::timeout(wait, &mut self.driver).await;
    }

    /// Takes the stream away from the session, which lives on in it: transaction, locks and
    /// settings stay. Nothing may be under way.
    pub(crate) async fn into_stream(mut self) -> Result<TakenStream, PostgresError> {
        let lost = || PostgresError::Lost {
            doing: "taking over a stream".into(),
        };
        // A prepared statement is closed some time after its use, and the answer to that must not be
        // on its way when the stream is taken: whatever was sent before this is answered before it.
        self.run("SELECT", "taking over a stream").await?;
        let back = self.wire.take().ok_or_else(lost)?;
        let cancel = self.cancel.take().ok_or_else(lost)?;
        self.driver.abort();
        let wire = back.await.map_err(|_| lost())?;
        Ok(TakenStream { wire, cancel })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
        // A backend that waits for a lock does not see that its client is gone.
        if let (Some(cancel), Ok(runtime)) =
            (self.cancel.take(), tokio::runtime::Handle::try_current())
        {
            cancel.cancel_in_background(&runtime);
        }
    }
}

/// A handshake that failed, or a `pg_hba.conf` that wants the connection with or without TLS.
fn the_other_way_may_work(error: &PostgresError) -> bool {
    match error {
        PostgresError::Tls { .. } => true,
        PostgresError::Login { source, .. } => {
            source.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
        }
        _ => false,
    }
}

/// The server's answer to a login; or, where the connection broke before there was one, that.
fn refused(endpoint: &Endpoint, place: &Place, source: tokio_postgres::Error) -> PostgresError {
    let broke = source.is_closed() || source.source().is_some_and(|cause| cause.is::<io::Error>());
    if broke {
        return PostgresError::Unreachable {
            address: place.to_string(),
            source: io::Error::other(source),
        };
    }
    // There is no conversion between UTF-8 and MULE_INTERNAL.
    if source.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED) {
        return PostgresError::NoUtf8 {
            database: endpoint.database().to_owned(),
            source,
        };
    }
    PostgresError::Login {
        address: place.to_string(),
        user: endpoint.user().to_owned(),
        database: endpoint.database().to_owned(),
        source,
    }
}

impl Endpoint {
    fn start_up(&self, application_name: &str) -> tokio_postgres::Config {
        let mut config = self.config();
        config.application_name(application_name);
        config.options(self.options());
        config
    }

    async fn in_time<T>(
        &self,
        place: &Place,
        work: impl Future<Output = T>,
    ) -> Result<T, PostgresError> {
        let limit = self.timeout();
        tokio::time::timeout(limit, work)
            .await
            .map_err(|_| PostgresError::Unreachable {
                address: place.to_string(),
                source: std::io::Error::new(
                    std::io::ErrorKind::TimedOut,
                    format!("the login was not answered within {} s", limit.as_secs()),
                ),
            })
    }
}
