//! The engine as others see it.

use async_trait::async_trait;
use model::{
    BrowsedObject, CheckReport, Connection, Credentials, Engine, ExportPlace, MissingRight,
    ObjectName, ObjectType, Outcome, Parent, RestoreRequest, SiteType, Source, SourceRequest,
    Target,
};

use crate::check;
use crate::database::ReadOnly;
use crate::error::{SqliteError, blocking};
use crate::export::ExportTarget;
use crate::permissions;
use crate::restore::SqliteTarget;
use crate::schema;
use crate::site::{FileName, Kind, SiteDirectory};
use crate::source::SqliteSource;

/// Reads and restores the SQLite files of a directory.
///
/// ```
/// use model::{Connection, Engine, Parent};
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let site = tempfile::tempdir().unwrap();
/// let shop = rusqlite::Connection::open(site.path().join("shop.db")).unwrap();
/// shop.execute_batch("CREATE TABLE item(name TEXT)").unwrap();
///
/// let connection = Connection::Sqlite { path: site.path().to_owned() };
/// let engine = engine_sqlite::SqliteEngine::new();
/// let found = engine.browse(&connection, &Parent::Root).await.unwrap();
/// assert_eq!(found[0].name.last(), "shop.db");
/// # });
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct SqliteEngine;

impl SqliteEngine {
    /// The engine; it has no settings.
    pub fn new() -> Self {
        SqliteEngine
    }
}

#[async_trait]
impl Engine for SqliteEngine {
    fn site_type(&self) -> SiteType {
        SiteType::Sqlite
    }

    async fn check(&self, connection: &Connection, _streams: usize) -> Outcome<CheckReport> {
        let connection = connection.clone();
        Ok(blocking(move || check::check(&connection)).await?)
    }

    async fn browse(
        &self,
        connection: &Connection,
        parent: &Parent,
    ) -> Outcome<Vec<BrowsedObject>> {
        let (connection, parent) = (connection.clone(), parent.clone());
        let browse = move || {
            let site = SiteDirectory::open(&connection)?;
            match &parent {
                Parent::Root => databases(&site),
                Parent::Database(name) => objects(&site, &FileName::of(name)?),
            }
        };
        Ok(blocking(browse).await?)
    }

    async fn open_source(
        &self,
        connection: &Connection,
        request: SourceRequest,
    ) -> Outcome<Box<dyn Source>> {
        let site = open_site(connection).await?;
        Ok(Box::new(SqliteSource::open(site, request).await?))
    }

    /// Credentials are not needed and ignored, as by a restore.
    async fn restore_permissions(
        &self,
        connection: &Connection,
        _credentials: Option<&Credentials>,
    ) -> Outcome<Vec<MissingRight>> {
        let connection = connection.clone();
        Ok(blocking(move || permissions::missing(&connection)).await?)
    }

    /// Credentials are not needed and ignored: a restore writes as the server's own user.
    async fn open_target(
        &self,
        connection: &Connection,
        _credentials: Option<&Credentials>,
        request: RestoreRequest,
    ) -> Outcome<Box<dyn Target>> {
        let site = open_site(connection).await?;
        Ok(Box::new(SqliteTarget::open(site, request)?))
    }

    async fn open_export(
        &self,
        place: &ExportPlace,
        request: RestoreRequest,
    ) -> Outcome<Box<dyn Target>> {
        Ok(Box::new(ExportTarget::open(place, request)?))
    }
}

async fn open_site(connection: &Connection) -> Result<SiteDirectory, SqliteError> {
    let connection = connection.clone();
    blocking(move || SiteDirectory::open(&connection)).await
}

/// Files that could not be looked into are listed too, without a size: they may be databases, and
/// a backup of one says what is wrong.
fn databases(site: &SiteDirectory) -> Result<Vec<BrowsedObject>, SqliteError> {
    let listed = site.listing()?.into_iter();
    let databases = listed.filter_map(|file| match file.what {
        Kind::Database { file, shape } => Some((file, Some(shape.bytes))),
        Kind::Unreadable { file, .. } => Some((file, None)),
        Kind::NoUtf8 | Kind::WorkingFile => None,
    });
    let browsed = databases.map(|(file, byte_count)| BrowsedObject {
        name: file.object_name(),
        object_type: ObjectType::Database,
        parent_name: ObjectName::one("DBC"),
        parent_type: ObjectType::Database,
        byte_count,
    });
    Ok(browsed.collect())
}

fn objects(site: &SiteDirectory, name: &FileName) -> Result<Vec<BrowsedObject>, SqliteError> {
    let (path, _) = site.existing(name)?;
    let database = ReadOnly::open(&path)?;
    let objects =
        schema::objects(&database).map_err(|error| SqliteError::of("reading", &path, error))?;
    Ok(schema::in_browser(name, objects))
}
