//! The working schemas: made, lent to owners, taken away.

use model::Progress;

use crate::restore::destination::Destination;
use crate::restore::fault::RestoreError;
use crate::restore::quote::ident;
use crate::restore::wanted::WorkingSchema;
use crate::session::Session;

/// How long taking a working schema away waits for a lock: a key may lead out of it to a table
/// that others use.
const DROP_WAIT: &str = "SET lock_timeout = '10s'";

/// How often that is tried.
const DROP_TRIES: u32 = 6;

/// Makes those that pg_restore does not make with their owner.
pub(in crate::restore) async fn make(
    session: &Session,
    schemas: &[WorkingSchema],
) -> Result<(), RestoreError> {
    for schema in schemas.iter().filter(|schema| !schema.whole) {
        let sql = format!("CREATE SCHEMA {}", ident(&schema.working));
        session.run(&sql, "making a working schema").await?;
    }
    Ok(())
}

/// Takes away what this run has made.
pub(in crate::restore) async fn drop_own(destination: &Destination) -> Result<(), RestoreError> {
    let Some(prefix) = destination.schema_prefixes.first() else {
        return Ok(());
    };
    let session = destination.inside().await?;
    for name in named(&session, prefix).await? {
        drop_schema(&session, &name).await?;
    }
    session.close().await;
    Ok(())
}

/// Takes away what crashes have left of earlier runs of the same restore; not where such a run is
/// still at work, which another server's may be that counts to the same number.
pub(in crate::restore) async fn drop_left(
    destination: &Destination,
    progress: &dyn Progress,
) -> Result<(), RestoreError> {
    let session = destination.inside().await?;
    for (prefix, run) in destination.earlier_runs() {
        for name in named(&session, prefix).await? {
            let sql = "SELECT FROM pg_catalog.pg_stat_activity
                        WHERE application_name = $1 AND datname = pg_catalog.current_database()";
            let doing = "looking who is at work";
            if session.rows(sql, &[&run], doing).await?.is_empty() {
                drop_schema(&session, &name).await?;
            } else {
                progress.warning(format!(
                    "the schema {name}, left by an earlier run of this restore, stays: {run} is still connected"
                ));
            }
        }
    }
    session.close().await;
    Ok(())
}

async fn named(session: &Session, prefix: &str) -> Result<Vec<String>, RestoreError> {
    let sql = "SELECT nspname::pg_catalog.text FROM pg_catalog.pg_namespace
                WHERE pg_catalog.starts_with(nspname::pg_catalog.text, $1)
                  AND pg_catalog.pg_has_role(nspowner, 'USAGE')";
    let doing = "looking for working schemas";
    let rows = session.rows(sql, &[&prefix], doing).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn drop_schema(session: &Session, name: &str) -> Result<(), RestoreError> {
    let doing = "dropping a working schema";
    session.run(DROP_WAIT, doing).await?;
    let sql = format!("DROP SCHEMA IF EXISTS {} CASCADE", ident(name));
    let mut tries = 0;
    loop {
        tries += 1;
        match session.run(&sql, doing).await {
            Err(error) if error.is_lock_timeout() && tries < DROP_TRIES => {}
            other => return Ok(other?),
        }
    }
}
