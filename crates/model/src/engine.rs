//! The seam to a kind of database system.

use std::path::PathBuf;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString};

use crate::{
    Beat, ClosingFacts, ExportPlace, ObjectName, ObjectType, Outcome, RestoreRequest, SecretString,
    Source, SourceRequest, Target,
};

/// The kind of a site's database system.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, EnumIter, Serialize, Deserialize,
)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE", ascii_case_insensitive)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SiteType {
    /// A PostgreSQL server.
    Postgresql,
    /// A directory of SQLite files.
    Sqlite,
}

/// Where a site's database system is.
#[derive(Debug, Clone)]
pub enum Connection {
    /// A server; the URL never holds the password.
    Postgresql {
        /// `postgres://user@host:port/database?sslmode=…`.
        url: String,
        /// The password of that user.
        password: Option<SecretString>,
    },
    /// A directory; its databases are the SQLite files in it.
    Sqlite {
        /// The directory.
        path: PathBuf,
    },
}

/// A database user and its password, as a restore brings them in `x-auth-credentials`. They are
/// never stored.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password.
    pub password: SecretString,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Display, Serialize, Deserialize)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FindingLevel {
    /// As it should be.
    Ok,
    /// Works, but something is lost without it.
    Warning,
    /// A backup would fail.
    Error,
}

/// One thing that a check looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckFinding {
    /// How bad it is.
    pub level: FindingLevel,
    /// What was looked at, in a word or two.
    pub what: String,
    /// What was found, as a sentence.
    pub detail: String,
    /// The SQL or the setting that mends it.
    pub remedy: Option<String>,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The server, as it names itself: `PostgreSQL 17.2`.
    pub version: Option<String>,
    /// Everything looked at.
    pub findings: Vec<CheckFinding>,
}

/// Where to look in a live site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parent {
    /// DBC: the site's databases.
    Root,
    /// The objects of one database.
    Database(ObjectName),
}

/// An object of a live site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrowsedObject {
    /// Its name.
    pub name: ObjectName,
    /// Its type.
    pub object_type: ObjectType,
    /// What it is in.
    pub parent_name: ObjectName,
    /// The type of what it is in.
    pub parent_type: ObjectType,
    /// Its size in the database; `None` where nobody can know.
    pub byte_count: Option<u64>,
}

/// A right that a restore would need and does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingRight {
    /// What it is missing on; `DBC`: the whole site.
    pub object_name: ObjectName,
    /// Its type.
    pub object_type: ObjectType,
    /// The right, in a few words.
    pub right: String,
    /// The statement (or, without SQL, the command) that grants it.
    pub sql: String,
}

/// One kind of database system. Stateless: every call brings its connection.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Which kind it is.
    fn site_type(&self) -> SiteType;

    /// What is there, what is missing, and the SQL that helps. A server that cannot be reached is
    /// a finding, not an error.
    async fn check(&self, connection: &Connection, streams: usize) -> Outcome<CheckReport>;

    /// The objects below `parent`, live.
    async fn browse(&self, connection: &Connection, parent: &Parent)
    -> Outcome<Vec<BrowsedObject>>;

    /// Opens one consistent snapshot of what is selected.
    async fn open_source(
        &self,
        connection: &Connection,
        request: SourceRequest,
    ) -> Outcome<Box<dyn Source>>;

    /// Notes a place in the site's history for later deltas; `None`: this site has no use for it.
    async fn beat(&self, _connection: &Connection) -> Outcome<Option<Beat>> {
        Ok(None)
    }

    /// Whether the database system was initialised anew since a source of this engine said `facts` at
    /// its end, or another one answers in its place: how that shows, as a sentence's end. `None`: nothing
    /// speaks for it.
    async fn made_anew(
        &self,
        _connection: &Connection,
        _facts: &ClosingFacts,
    ) -> Outcome<Option<String>> {
        Ok(None)
    }

    /// What these credentials lack to restore whatever the site holds, back into its place; empty:
    /// nothing. Credentials that the database refuses are an error.
    async fn restore_permissions(
        &self,
        connection: &Connection,
        credentials: Option<&Credentials>,
    ) -> Outcome<Vec<MissingRight>>;

    /// Opens the place that a saveset is restored to. Nothing is changed by it.
    async fn open_target(
        &self,
        connection: &Connection,
        credentials: Option<&Credentials>,
        request: RestoreRequest,
    ) -> Outcome<Box<dyn Target>>;

    /// Opens a directory that a saveset is written to as plain files: no database system is asked.
    /// Nothing is written by it.
    async fn open_export(
        &self,
        place: &ExportPlace,
        request: RestoreRequest,
    ) -> Outcome<Box<dyn Target>>;
}
