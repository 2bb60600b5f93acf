//! Brings an older catalog up to this program's schema, and refuses a newer one.

use std::path::Path;

use sqlx::migrate::Migrator;

use crate::CatalogError;
use crate::database::Database;

static MIGRATIONS: Migrator = sqlx_macros::migrate!("./migrations");

const OURS: &str = env!("CARGO_PKG_VERSION");

/// Checks, copies and migrates. The copy is `catalog.db.before-<n>`, `n` being the schema that
/// the catalog gets; there is none for a catalog that is new or up to date.
pub(crate) async fn run(database: &Database, directory: &Path) -> Result<(), CatalogError> {
    let known = MIGRATIONS
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or(0);
    let found = schema_of(database).await?;
    if let Some(found) = found {
        if found > known {
            return Err(newer(database, directory, found, known).await);
        }
        if found < known {
            database
                .copy_to(&directory.join(format!("catalog.db.before-{known}")))
                .await?;
        }
    }
    MIGRATIONS
        .run(database.write())
        .await
        .map_err(CatalogError::Migration)?;
    sqlx::query(
        "INSERT INTO setting (name, value) VALUES ('written_by', $1)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE setting.value <> excluded.value",
    )
    .bind(OURS)
    .execute(database.write())
    .await?;
    Ok(())
}

/// The newest migration that was applied; `None` for an empty database.
async fn schema_of(database: &Database) -> Result<Option<i64>, CatalogError> {
    // The one question that has no common dialect; an error means the same in both: no table.
    let applied = sqlx::query_scalar::<_, Option<i64>>("SELECT max(version) FROM _sqlx_migrations")
        .fetch_one(database.read())
        .await;
    match applied {
        Ok(version) => Ok(version),
        Err(sqlx::Error::Database(cause)) if cause.message().contains("no such table") => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn newer(database: &Database, directory: &Path, found: i64, known: i64) -> CatalogError {
    let theirs = sqlx::query_scalar("SELECT value FROM setting WHERE name = 'written_by'")
        .fetch_optional(database.read())
        .await;
    // A schema of later days may keep this elsewhere; the refusal stands without it.
    let theirs = theirs
        .ok()
        .flatten()
        .unwrap_or_else(|| "of an unknown version".to_owned());
    CatalogError::Newer {
        path: directory.to_owned(),
        theirs,
        found,
        ours: OURS,
        known,
    }
}
