//! Everything that can go wrong between Backstay and a PostgreSQL server.

use std::io;
use std::path::PathBuf;

use model::{Blame, Fault, Retry};
use tokio_postgres::error::SqlState;

/// What went wrong. No variant ever holds a password, and none hides its cause.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The connection is none of this engine.
    #[error("the site is no PostgreSQL site")]
    WrongConnection,
    /// The URL cannot be read.
    #[error("the URL of the PostgreSQL site cannot be read: {reason}")]
    Url {
        /// What is wrong with it; never the URL itself, which might hold a password.
        reason: String,
    },
    /// The URL holds a password.
    #[error("the URL of the PostgreSQL site holds a password")]
    PasswordInUrl,
    /// The server does not answer.
    #[error("PostgreSQL at {address} cannot be reached")]
    Unreachable {
        /// Host and port, or the socket.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server answers without TLS.
    #[error("PostgreSQL at {address} speaks no TLS, which sslmode={mode} asks for")]
    TlsRefused {
        /// Host and port.
        address: String,
        /// As in the URL.
        mode: &'static str,
    },
    /// The TLS handshake failed.
    #[error("no TLS connection to PostgreSQL at {address}")]
    Tls {
        /// Host and port.
        address: String,
        /// Why: mostly the certificate.
        #[source]
        source: io::Error,
    },
    /// Root certificates cannot be used.
    #[error("the root certificates {what} cannot be used: {reason}")]
    RootCertificates {
        /// A path, or "of the system".
        what: String,
        /// Why.
        reason: String,
    },
    /// The server refused the start of a session.
    #[error("PostgreSQL at {address} refused the connection of {user:?} to database {database:?}")]
    Login {
        /// Host and port, or the socket.
        address: String,
        /// Who.
        user: String,
        /// Where to.
        database: String,
        /// The server's answer.
        #[source]
        source: tokio_postgres::Error,
    },
    /// A version that is not supported.
    #[error("PostgreSQL {found} is not supported: versions 14 to 18 are")]
    Version {
        /// As the server says it.
        found: String,
    },
    /// A statement failed.
    #[error("PostgreSQL failed while {doing}")]
    Query {
        /// What for, as "reading the list of tables".
        doing: String,
        /// The server's answer.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The connection broke outside of a statement.
    #[error("the connection to PostgreSQL was lost while {doing}")]
    Lost {
        /// What for.
        doing: String,
    },
    /// A lock was not given in time.
    #[error("no lock in {seconds} s: {holders}")]
    Locked {
        /// How long it was tried.
        seconds: u64,
        /// Who holds what, with the query.
        holders: String,
    },
    /// The server's memory for locks is used up.
    #[error(
        "the memory for locks is used up: {sessions} sessions of this run lock {tables} tables each, and max_locks_per_transaction is {setting}"
    )]
    LockTableFull {
        /// How many sessions hold locks.
        sessions: usize,
        /// How many tables each of them locks.
        tables: usize,
        /// The setting's value.
        setting: i64,
        /// The value with which there is room.
        needed: i64,
    },
    /// Nobody can lock out writers on a server that takes none.
    #[error(
        "an offline backup locks its tables against writers, which a standby cannot do: PostgreSQL at {address} is one"
    )]
    OfflineOnStandby {
        /// Host and port, or the socket.
        address: String,
    },
    /// Names in the database are no text that UTF-8 can write.
    #[error("the names in database {database:?} cannot be converted to UTF-8")]
    NoUtf8 {
        /// The database.
        database: String,
        /// The server's answer.
        #[source]
        source: tokio_postgres::Error,
    },
    /// What is selected is not there.
    #[error("database {database:?} has no {objects}")]
    NoObject {
        /// The database.
        database: String,
        /// Types and names.
        objects: String,
    },
    /// The role may not read everything that is selected.
    #[error("the role {role} may not read {objects}; to allow it, run: {remedy}")]
    NoRights {
        /// The role.
        role: String,
        /// Some of them.
        objects: String,
        /// The statements that mend it.
        remedy: String,
    },
    /// Others waited too long for our locks.
    #[error("gave way after {seconds} s to what waited for a lock of this run: {waiting}")]
    GaveWay {
        /// How long they had waited.
        seconds: u64,
        /// Who waited, with the query.
        waiting: String,
    },
    /// The snapshot is older than it may be.
    #[error("the snapshot became older than {minutes} minutes, the most that the site allows")]
    SnapshotTooOld {
        /// `max_snapshot_minutes` of the site.
        minutes: u64,
    },
    /// What locks do not hold changed under the rows.
    #[error("the catalog changed while rows were read: {what}")]
    CatalogChanged {
        /// What is different.
        what: String,
    },
    /// The list of tables and the snapshot do not agree yet.
    #[error("tables changed while their locks were taken: {what}")]
    TablesMoved {
        /// Which.
        what: String,
    },
    /// A program of PostgreSQL is not there.
    #[error(
        "{program} of version {needed} or newer is needed and was not found ({looked}); install {package}, or name its directory in BACKSTAY_PG_BIN"
    )]
    ToolMissing {
        /// `pg_dump`, …
        program: &'static str,
        /// The server's major version.
        needed: u32,
        /// What was found instead, and where.
        looked: String,
        /// The package that brings it.
        package: String,
    },
    /// A program of PostgreSQL could not be run.
    #[error("{program} cannot be run")]
    ToolStart {
        /// Its path.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A program of PostgreSQL failed.
    #[error("{program} failed ({status}): {stderr}")]
    ToolFailed {
        /// `pg_dump`, …
        program: &'static str,
        /// How it ended.
        status: String,
        /// The end of what it said.
        stderr: String,
    },
    /// A temporary file could not be made or read.
    #[error("a temporary file failed while {doing}")]
    TemporaryFile {
        /// What for.
        doing: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server ended a COPY with an error.
    #[error("PostgreSQL failed while {doing}: {message} (SQLSTATE {code})")]
    Copy {
        /// What for, naming the table.
        doing: String,
        /// The server's words: message, detail, hint.
        message: String,
        /// Its SQLSTATE.
        code: String,
    },
    /// The connection broke inside a COPY.
    #[error("the connection to PostgreSQL broke while {doing}")]
    CopyBroken {
        /// What for, naming the table.
        doing: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server sent what this reader does not understand.
    #[error("PostgreSQL sent something unexpected while {doing}: {what}")]
    Protocol {
        /// What for.
        doing: String,
        /// What it was.
        what: String,
    },
    /// Rows came out of order.
    #[error("rows of {table} came out of the order of their blocks")]
    RowOrder {
        /// The table.
        table: String,
        /// Which blocks.
        #[source]
        source: model::BlockIndexError,
    },
    /// The work was stopped on request.
    #[error("stopped on request while {doing}")]
    Cancelled {
        /// What was under way.
        doing: String,
    },
    /// What was asked for comes later.
    #[error("{what} is not built yet")]
    NotBuiltYet {
        /// What.
        what: String,
    },
    /// There is no such database.
    #[error("there is no database {name:?} at this site")]
    NoDatabase {
        /// Its name.
        name: String,
    },
    /// The rules of a seam were not kept.
    #[error("a mistake in Backstay: {what}")]
    Misuse {
        /// Which.
        what: String,
    },
}

impl PostgresError {
    /// A failed statement.
    pub(crate) fn query(
        doing: impl Into<String>,
    ) -> impl FnOnce(tokio_postgres::Error) -> PostgresError {
        let doing = doing.into();
        move |source| {
            if source.is_closed() {
                PostgresError::Lost { doing }
            } else {
                PostgresError::Query { doing, source }
            }
        }
    }

    /// The server's SQLSTATE, where it gave one.
    pub(crate) fn sql_state(&self) -> Option<SqlState> {
        match self {
            PostgresError::Query { source, .. } | PostgresError::Login { source, .. } => {
                source.code().cloned()
            }
            PostgresError::Copy { code, .. } => Some(SqlState::from_code(code)),
            _ => None,
        }
    }

    /// Whether a lock was not given within `lock_timeout`, or refused by NOWAIT.
    pub(crate) fn is_lock_timeout(&self) -> bool {
        self.sql_state() == Some(SqlState::LOCK_NOT_AVAILABLE)
    }

    /// Whether the server's memory for locks is used up. Its hint names the setting in every
    /// language.
    pub(crate) fn is_lock_table_full(&self) -> bool {
        const SETTING: &str = "max_locks_per_transaction";
        match self {
            PostgresError::Query { source, .. } => source
                .as_db_error()
                .and_then(tokio_postgres::error::DbError::hint)
                .is_some_and(|hint| hint.contains(SETTING)),
            PostgresError::Copy { message, .. } => message.contains(SETTING),
            PostgresError::ToolFailed { stderr, .. } => stderr.contains(SETTING),
            PostgresError::LockTableFull { .. } => true,
            _ => false,
        }
    }

    /// Whether the statement that takes locks took longer than it may.
    pub(crate) fn is_slow_locking(&self) -> bool {
        matches!(self, PostgresError::Query { doing, .. } if doing == crate::locks::LOCKING)
            && self.sql_state() == Some(SqlState::QUERY_CANCELED)
    }

    /// Whether a name was looked for that is no longer there: somebody dropped or renamed it.
    pub(crate) fn is_gone(&self) -> bool {
        let gone = [
            SqlState::UNDEFINED_TABLE,
            SqlState::UNDEFINED_OBJECT,
            SqlState::UNDEFINED_COLUMN,
            SqlState::INVALID_SCHEMA_NAME,
        ];
        self.sql_state().is_some_and(|code| gone.contains(&code))
    }

    fn of_state(&self) -> Option<(&'static str, Blame, Retry)> {
        let state = self.sql_state()?;
        Some(match state {
            SqlState::INSUFFICIENT_PRIVILEGE => {
                ("insufficient-privilege", Blame::Access, Retry::Never)
            }
            SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                ("login-refused", Blame::Access, Retry::Never)
            }
            SqlState::UNDEFINED_DATABASE => ("no-such-database", Blame::Missing, Retry::Never),
            SqlState::TOO_MANY_CONNECTIONS | SqlState::CONFIGURATION_LIMIT_EXCEEDED => {
                ("too-many-connections", Blame::Busy, Retry::Later)
            }
            SqlState::CHARACTER_NOT_IN_REPERTOIRE | SqlState::UNTRANSLATABLE_CHARACTER => {
                ("names-not-utf8", Blame::Source, Retry::Never)
            }
            SqlState::CANNOT_CONNECT_NOW
            | SqlState::ADMIN_SHUTDOWN
            | SqlState::CRASH_SHUTDOWN
            | SqlState::T_R_SERIALIZATION_FAILURE => {
                ("source-unreachable", Blame::Source, Retry::Later)
            }
            _ => return None,
        })
    }

    fn verdict(&self) -> (&'static str, Blame, Retry) {
        use PostgresError as E;
        // Under a table's lock its name can be gone only because its schema was renamed.
        if matches!(self, E::Copy { .. }) && self.is_gone() {
            return ("catalog-changed", Blame::Busy, Retry::NewAttempt);
        }
        if self.is_lock_table_full() {
            return ("out-of-lock-memory", Blame::Source, Retry::Never);
        }
        if let Some(verdict) = self.of_state() {
            return verdict;
        }
        match self {
            E::WrongConnection | E::Misuse { .. } => ("internal", Blame::Bug, Retry::Never),
            E::Url { .. } | E::PasswordInUrl => {
                ("bad-connection-url", Blame::Request, Retry::Never)
            }
            E::Unreachable { .. } => ("source-unreachable", Blame::Source, Retry::Later),
            E::TlsRefused { .. } | E::Tls { .. } | E::RootCertificates { .. } => {
                ("source-tls", Blame::Source, Retry::Never)
            }
            E::Login { .. } => ("login-refused", Blame::Source, Retry::Never),
            E::Version { .. } => ("unsupported-version", Blame::Request, Retry::Never),
            E::Lost { .. } | E::CopyBroken { .. } => {
                ("source-connection-lost", Blame::Source, Retry::Later)
            }
            E::Locked { .. } => ("lock-not-available", Blame::Busy, Retry::Later),
            E::LockTableFull { .. } => ("out-of-lock-memory", Blame::Source, Retry::Never),
            E::OfflineOnStandby { .. } => ("offline-on-standby", Blame::Request, Retry::Never),
            E::NoUtf8 { .. } => ("names-not-utf8", Blame::Source, Retry::Never),
            E::NoObject { .. } => ("no-such-object", Blame::Missing, Retry::Never),
            E::NoRights { .. } => ("insufficient-privilege", Blame::Access, Retry::Never),
            E::GaveWay { .. } => ("gave-way-to-ddl", Blame::Busy, Retry::Later),
            E::SnapshotTooOld { .. } => ("snapshot-too-old", Blame::Source, Retry::Never),
            E::CatalogChanged { .. } | E::TablesMoved { .. } => {
                ("catalog-changed", Blame::Busy, Retry::NewAttempt)
            }
            E::ToolMissing { .. } => ("tool-missing", Blame::Source, Retry::Never),
            E::ToolFailed { stderr, .. } if stderr.contains("permission denied") => {
                ("insufficient-privilege", Blame::Access, Retry::Never)
            }
            E::ToolStart { .. } | E::ToolFailed { .. } => {
                ("tool-failed", Blame::Source, Retry::Never)
            }
            E::TemporaryFile { .. } => ("temporary-file", Blame::Source, Retry::Later),
            E::Query { .. } | E::Copy { .. } => ("source-failed", Blame::Source, Retry::Never),
            E::Protocol { .. } | E::RowOrder { .. } => {
                ("source-protocol", Blame::Source, Retry::Later)
            }
            E::Cancelled { .. } => ("cancelled", Blame::Request, Retry::Never),
            E::NotBuiltYet { .. } => ("not-built-yet", Blame::Request, Retry::Never),
            E::NoDatabase { .. } => ("no-such-database", Blame::Missing, Retry::Never),
        }
    }
}

impl Fault for PostgresError {
    fn code(&self) -> &'static str {
        self.verdict().0
    }

    fn blame(&self) -> Blame {
        self.verdict().1
    }

    fn retry(&self) -> Retry {
        self.verdict().2
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            PostgresError::PasswordInUrl => {
                "take it out of the URL and give it as the site's password"
            }
            PostgresError::Url { .. } => {
                "it must look like postgres://user@host:5432/database?sslmode=verify-full; for a socket give ?host=/path"
            }
            PostgresError::Tls { .. } => {
                "check the server's certificate, or name its root certificates with sslrootcert in the URL"
            }
            PostgresError::TlsRefused { .. } => {
                "switch ssl on in postgresql.conf, or choose sslmode=prefer"
            }
            PostgresError::GaveWay { .. } => {
                "run it when no DDL runs, or raise yield_to_ddl_seconds of the job (0: never give way)"
            }
            PostgresError::SnapshotTooOld { .. } => {
                "raise max_snapshot_minutes of the site, or give the job more streams"
            }
            PostgresError::LockTableFull { needed, .. } => {
                return Some(format!(
                    "ALTER SYSTEM SET max_locks_per_transaction = {needed}; and restart the server"
                ));
            }
            PostgresError::OfflineOnStandby { .. } => {
                "give the job online = true, or let the site name the primary"
            }
            PostgresError::Copy { message, code, .. }
                if code == SqlState::PROGRAM_LIMIT_EXCEEDED.code()
                    || message.contains("memory alloc request size") =>
            {
                "PostgreSQL itself sends no row of more than 1 GB, and as text a bytea takes twice its size: move the largest values to a table of their own, with columns of built-in types"
            }
            PostgresError::Locked { .. } => "end that transaction, or run the job at another time",
            _ => match self.code() {
                "names-not-utf8" => {
                    "names are kept as UTF-8: rename what has other bytes in its name; a database in MULE_INTERNAL, which PostgreSQL itself cannot convert, must be moved to another encoding"
                }
                "out-of-lock-memory" => {
                    "raise max_locks_per_transaction: each stream holds a lock on each table"
                }
                "too-many-connections" => {
                    "raise max_connections, or lower the streams of the site (soft_limit)"
                }
                "insufficient-privilege" => {
                    "`backstay site check --grants` prints the SQL that gives the missing rights"
                }
                "login-refused" if self.sql_state() == Some(SqlState::PROTOCOL_VIOLATION) => {
                    "a pooler stands before the server and refuses our settings: connect to PostgreSQL itself, or set its ignore_startup_parameters = options"
                }
                "login-refused" => "check user and password of the site, and pg_hba.conf",
                _ => return None,
            },
        };
        Some(text.to_owned())
    }
}

/// The end of what a program said, short enough for an error.
pub(crate) fn tail_of(text: &str, most: usize) -> String {
    let text = text.trim();
    match text.char_indices().rev().nth(most) {
        Some((at, _)) => format!("…{}", &text[at..]),
        None => text.to_owned(),
    }
}
