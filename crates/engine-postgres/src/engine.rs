//! The engine itself: which call goes where.

use std::path::PathBuf;

use async_trait::async_trait;
use model::{
    BrowsedObject, CheckReport, Connection, Credentials, Engine, Outcome, Parent, RestoreRequest,
    SiteType, Source, SourceRequest, Target,
};

use crate::error::PostgresError;

/// Settings of the engine.
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    /// Directories that are searched for pg_dump, pg_restore and pg_dumpall before those of
    /// `BACKSTAY_PG_BIN` and the usual ones.
    pub tool_directories: Vec<PathBuf>,
}

/// PostgreSQL, versions 14 to 18.
#[derive(Debug, Clone, Default)]
pub struct PostgresEngine {
    options: PostgresOptions,
}

impl PostgresEngine {
    /// An engine with these settings.
    pub fn new(options: PostgresOptions) -> Self {
        PostgresEngine { options }
    }

    /// Its settings.
    pub(crate) fn options(&self) -> &PostgresOptions {
        &self.options
    }
}

#[async_trait]
impl Engine for PostgresEngine {
    fn site_type(&self) -> SiteType {
        SiteType::Postgresql
    }

    async fn check(&self, _connection: &Connection, _streams: usize) -> Outcome<CheckReport> {
        Err(PostgresError::NotBuiltYet {
            what: "checking a PostgreSQL site".into(),
        }
        .into())
    }

    async fn browse(&self, _: &Connection, _: &Parent) -> Outcome<Vec<BrowsedObject>> {
        Err(PostgresError::NotBuiltYet {
            what: "browsing a PostgreSQL site".into(),
        }
        .into())
    }

    async fn open_source(&self, _: &Connection, _: SourceRequest) -> Outcome<Box<dyn Source>> {
        Err(PostgresError::NotBuiltYet {
            what: "backing up a PostgreSQL site".into(),
        }
        .into())
    }

    async fn open_target(
        &self,
        connection: &Connection,
        credentials: Option<&Credentials>,
        request: RestoreRequest,
    ) -> Outcome<Box<dyn Target>> {
        crate::restore::open(self, connection, credentials, request).await
    }
}
