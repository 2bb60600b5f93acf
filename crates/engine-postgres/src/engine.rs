//! The engine itself: which call goes where.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use model::{
    Beat, BrowsedObject, CheckReport, ClosingFacts, Connection, Credentials, Engine, ExportPlace,
    MissingRight, Outcome, Parent, RestoreRequest, SiteType, Source, SourceRequest, Target,
};

use crate::browse;
use crate::changed::{self, TRANSACTION_PATIENCE};
use crate::chosen::Choice;
use crate::connect::{self, Endpoint};
use crate::error::PostgresError;
use crate::identity;
use crate::locks;
use crate::pulse::{Pulse, WatchedSource, WatchedTarget};
use crate::snapshot::Wanted;
use crate::source::PostgresSource;
use crate::watch::Limits;

/// What sessions that only look show themselves as.
const BROWSING: &str = "backstay browse";

/// Settings of the engine.
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    /// Directories that are searched for pg_dump, pg_restore and pg_dumpall before those of
    /// `BACKSTAY_PG_BIN` and the usual ones.
    pub tool_directories: Vec<PathBuf>,
    /// How long the taking of locks is tried before a run fails naming the holder; `None`: 60 s.
    pub lock_patience: Option<Duration>,
    /// How long transactions that are open when a backup begins are waited for, so that the next delta
    /// need not look behind their beginning; `None`: 10 s.
    pub transaction_patience: Option<Duration>,
    /// Which server of Backstay this is, for the names of what restores have in the making: two
    /// servers may restore into one PostgreSQL and count to the same number. Letters and digits; the
    /// first eight are used.
    pub node: Option<String>,
    /// Who looks on.
    #[cfg(feature = "rules-out")]
    pub onlooker: Option<std::sync::Arc<dyn crate::Onlooker>>,
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

    async fn check(&self, connection: &Connection, streams: usize) -> Outcome<CheckReport> {
        let endpoint = Endpoint::of(connection, None)?;
        Ok(crate::check::check(&endpoint, streams, &self.options.tool_directories).await)
    }

    async fn browse(
        &self,
        connection: &Connection,
        parent: &Parent,
    ) -> Outcome<Vec<BrowsedObject>> {
        let session = connect::open(connection, None, None, BROWSING).await?;
        let databases = browse::databases(&session).await;
        session.close().await;
        let databases = databases?;
        let name = match parent {
            Parent::Root => return Ok(databases),
            Parent::Database(name) => name.last(),
        };
        if !databases
            .iter()
            .any(|database| database.name.last() == name)
        {
            return Err(PostgresError::NoDatabase { name: name.into() }.into());
        }
        let endpoint = Endpoint::of(connection, None)?.with_database(name);
        Ok(browse::objects(&endpoint, BROWSING).await?)
    }

    async fn open_source(
        &self,
        connection: &Connection,
        request: SourceRequest,
    ) -> Outcome<Box<dyn Source>> {
        let choice = Choice::of(request.selection)?;
        let endpoint = Endpoint::of(connection, None)?.with_database(choice.database());
        let wanted = Wanted {
            endpoint,
            application_name: format!("backstay {}", request.server_execution_id),
            streams: request.streams.max(1),
            limits: Limits {
                yield_to_ddl: request.yield_to_ddl,
                max_snapshot: request.max_snapshot,
            },
            patience: self.options.lock_patience.unwrap_or(locks::PATIENCE),
            skip_without_rights: request.skip_without_rights,
            online: request.online,
            choice,
            tool_directories: self.options.tool_directories.clone(),
            base: request.base,
            beats: request.beats,
            transaction_patience: self
                .options
                .transaction_patience
                .unwrap_or(TRANSACTION_PATIENCE),
            progress: request.progress,
            #[cfg(feature = "rules-out")]
            onlooker: self.options.onlooker.clone(),
        };
        let pulse = Pulse::of(&wanted.endpoint, &wanted.application_name);
        let source = pulse.during(PostgresSource::open(wanted)).await?;
        let source = Box::new(source);
        Ok(Box::new(WatchedSource { source, pulse }))
    }

    async fn beat(&self, connection: &Connection) -> Outcome<Option<Beat>> {
        Ok(changed::beat(&Endpoint::of(connection, None)?).await?)
    }

    async fn made_anew(
        &self,
        connection: &Connection,
        facts: &ClosingFacts,
    ) -> Outcome<Option<String>> {
        Ok(identity::made_anew(connection, facts).await?)
    }

    async fn restore_permissions(
        &self,
        connection: &Connection,
        credentials: Option<&Credentials>,
    ) -> Outcome<Vec<MissingRight>> {
        Ok(crate::restore::missing(connection, credentials).await?)
    }

    async fn open_target(
        &self,
        connection: &Connection,
        credentials: Option<&Credentials>,
        request: RestoreRequest,
    ) -> Outcome<Box<dyn Target>> {
        let name = format!("backstay {}", request.server_execution_id);
        let pulse = Pulse::of(&Endpoint::of(connection, credentials)?, &name);
        let target = crate::restore::open(self, connection, credentials, request);
        let target = pulse.during(target).await?;
        Ok(Box::new(WatchedTarget { target, pulse }))
    }

    async fn open_export(
        &self,
        place: &ExportPlace,
        request: RestoreRequest,
    ) -> Outcome<Box<dyn Target>> {
        crate::export::open(self, place, request)
    }
}
