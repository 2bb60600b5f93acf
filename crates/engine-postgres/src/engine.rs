//! The engine itself: which call goes where.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use model::{
    BrowsedObject, CheckReport, Connection, Credentials, Engine, ExportPlace, MissingRight,
    ObjectType, Outcome, Parent, RestoreRequest, Selection, SiteType, Source, SourceRequest,
    Target,
};

use crate::browse;
use crate::connect::{self, Endpoint};
use crate::error::PostgresError;
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

/// The one database that is selected, which is all that can be selected so far.
fn selected_database(selection: &Selection) -> Result<String, PostgresError> {
    let not_yet = |what: &str| PostgresError::NotBuiltYet { what: what.into() };
    let [object] = selection.objects.as_slice() else {
        return Err(not_yet("backing up anything but one whole database"));
    };
    let is_root = |name: &model::ObjectName| name.parts() == ["DBC"];
    if object.object_type != ObjectType::Database
        || is_root(&object.name)
        || object.parent_name.as_ref().is_some_and(|p| !is_root(p))
    {
        return Err(not_yet("backing up anything but one whole database"));
    }
    if !object.include_all || !object.exclude.is_empty() {
        return Err(not_yet("leaving out objects of a database"));
    }
    Ok(object.name.last().to_owned())
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
        let database = selected_database(&request.selection)?;
        let endpoint = Endpoint::of(connection, None)?.with_database(&database);
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
            online: true,
            tool_directories: self.options.tool_directories.clone(),
            progress: request.progress,
        };
        let pulse = Pulse::of(&wanted.endpoint, &wanted.application_name);
        let source = pulse.during(PostgresSource::open(wanted)).await?;
        let source = Box::new(source);
        Ok(Box::new(WatchedSource { source, pulse }))
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

#[cfg(test)]
mod tests {
    use super::*;
    use model::{ExcludedObject, ObjectName};

    #[test]
    fn one_whole_database_is_taken_and_everything_else_refused() {
        let whole = Selection::whole_database("shop");
        assert_eq!(selected_database(&whole).unwrap(), "shop");
        let change = |f: fn(&mut Selection)| {
            let mut other = whole.clone();
            f(&mut other);
            selected_database(&other).unwrap_err().to_string()
        };
        let refused = [
            change(|s| s.objects.clear()),
            change(|s| s.objects.push(s.objects[0].clone())),
            change(|s| s.objects[0].object_type = ObjectType::Table),
            change(|s| s.objects[0].name = ObjectName::one("DBC")),
            change(|s| s.objects[0].parent_name = Some(ObjectName::one("shop"))),
            change(|s| s.objects[0].include_all = false),
            change(|s| {
                s.objects[0].exclude.push(ExcludedObject {
                    name: ObjectName::one("x"),
                    object_type: ObjectType::Table,
                });
            }),
        ];
        assert!(refused.iter().all(|said| said.contains("not built yet")));
    }
}
