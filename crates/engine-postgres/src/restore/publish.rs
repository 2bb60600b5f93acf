//! publish: the working database gets its name. What stood there is renamed, never dropped.
//!
//! Both renames are one transaction: whoever crashes, there is either the old state or the new.

use std::time::Duration;

use model::{ObjectName, Published, RestoreRequest};
use tokio::time::Instant;
use tokio_postgres::error::SqlState;

use super::destination::{Destination, kept_name};
use super::fault::RestoreError;
use super::findings::holds;
use super::quote::ident;
use crate::error::PostgresError;
use crate::session::Session;

/// How long sessions may take to leave a database that is to be renamed.
const LEAVE: Duration = Duration::from_secs(10);

/// How long between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// How many sessions an error names.
const SESSIONS_TOLD: usize = 5;

/// Puts the working database in its place.
pub(super) async fn publish(
    destination: &Destination,
    request: &RestoreRequest,
) -> Result<Published, RestoreError> {
    let session = destination.beside().await?;
    let old = old_database(&session, &destination.target).await?;
    if old.is_some() {
        may_still_be_replaced(destination, request).await?;
    }
    let id = request.server_execution_id;
    let kept = old
        .as_ref()
        .map(|_| kept_name(id, &destination.target, jiff::Timestamp::now()));
    let done = match (&old, &kept) {
        (Some(old), Some(kept)) => put_aside_and_rename(&session, destination, old, kept).await,
        _ => rename(&session, destination).await,
    };
    let done = match done {
        Err(error) if is_lost(&error) => settle(destination, kept.as_deref(), error).await,
        other => other,
    };
    if done.is_err()
        && let Some(old) = &old
    {
        reopen(destination, old).await;
    }
    done?;
    session.close().await;
    Ok(Published {
        database: ObjectName::one(&destination.target),
        kept: kept.map(ObjectName::one),
    })
}

/// The database that stands at the target's name.
struct Old {
    name: String,
    allows_connections: bool,
}

async fn old_database(session: &Session, name: &str) -> Result<Option<Old>, RestoreError> {
    let sql = "SELECT datallowconn FROM pg_catalog.pg_database WHERE datname = $1";
    let doing = "looking for the target database";
    let rows = session.rows(sql, &[&name], doing).await?;
    Ok(rows.first().map(|row| Old {
        name: name.to_owned(),
        allows_connections: row.get(0),
    }))
}

/// What the findings allowed may have changed in the meantime.
async fn may_still_be_replaced(
    destination: &Destination,
    request: &RestoreRequest,
) -> Result<(), RestoreError> {
    if request.replace_existing && !request.as_copy {
        return Ok(());
    }
    match holds(destination, &destination.target).await? {
        None => Ok(()),
        Some(_) => Err(RestoreError::TargetAppeared {
            name: destination.target.clone(),
        }),
    }
}

async fn rename(session: &Session, destination: &Destination) -> Result<(), RestoreError> {
    let sql = format!(
        "ALTER DATABASE {} RENAME TO {}",
        ident(&destination.working),
        ident(&destination.target)
    );
    patiently(session, &sql, &destination.working).await
}

async fn put_aside_and_rename(
    session: &Session,
    destination: &Destination,
    old: &Old,
    kept: &str,
) -> Result<(), RestoreError> {
    let (target, kept) = (ident(&destination.target), ident(kept));
    let working = ident(&destination.working);
    allow_connections(session, &old.name, false).await?;
    send_away(session, &old.name).await?;
    let allowed = old.allows_connections;
    let sql = format!(
        "BEGIN;
         ALTER DATABASE {target} RENAME TO {kept};
         ALTER DATABASE {working} RENAME TO {target};
         ALTER DATABASE {kept} ALLOW_CONNECTIONS {allowed};
         COMMIT"
    );
    patiently(session, &sql, &destination.working).await
}

/// Renames as soon as nobody is in the way: a worker of autovacuum leaves when it is asked to, and
/// our own sessions have just been closed.
async fn patiently(session: &Session, sql: &str, name: &str) -> Result<(), RestoreError> {
    let end = Instant::now() + LEAVE;
    loop {
        let error = match session.run(sql, "renaming databases").await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if error.sql_state().is_none() {
            return Err(error.into());
        }
        session.run("ROLLBACK", "giving up a rename").await?;
        if error.sql_state() != Some(SqlState::OBJECT_IN_USE) {
            return Err(error.into());
        }
        if Instant::now() > end {
            return Err(in_use(session, name).await?);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Ends the sessions in a database that takes no new ones; where we may not, waits for them.
async fn send_away(session: &Session, name: &str) -> Result<(), RestoreError> {
    let end = Instant::now() + LEAVE;
    loop {
        let there = sessions(session, name).await?;
        if there.is_empty() {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(in_use(session, name).await?);
        }
        for (pid, _) in &there {
            let sql = format!("SELECT pg_catalog.pg_terminate_backend({pid})");
            match session.run(&sql, "ending the sessions of a database").await {
                Ok(()) => {}
                // It may end by itself; the error names it otherwise.
                Err(error) if error.sql_state() == Some(SqlState::INSUFFICIENT_PRIVILEGE) => {}
                Err(error) => return Err(error.into()),
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn sessions(session: &Session, name: &str) -> Result<Vec<(i32, String)>, RestoreError> {
    let sql = include_str!("../../sql/database_sessions_14.sql");
    let doing = "looking who is connected to a database";
    let rows = session.rows(sql, &[&name], doing).await?;
    let shown = |row: &tokio_postgres::Row| {
        let (pid, user, application): (i32, String, String) = (row.get(0), row.get(1), row.get(2));
        (pid, format!("process {pid} of {user:?} ({application})"))
    };
    Ok(rows.iter().map(shown).collect())
}

async fn in_use(session: &Session, name: &str) -> Result<RestoreError, RestoreError> {
    let there = sessions(session, name).await?;
    let told = there.iter().take(SESSIONS_TOLD);
    let told: Vec<&str> = told.map(|(_, text)| text.as_str()).collect();
    let more = there.len().saturating_sub(SESSIONS_TOLD);
    let mut sessions = told.join(", ");
    if more > 0 {
        sessions.push_str(&format!(" and {more} more"));
    }
    if sessions.is_empty() {
        sessions = "somebody who has just left".into();
    }
    Ok(RestoreError::InUse {
        name: name.to_owned(),
        sessions,
    })
}

async fn allow_connections(
    session: &Session,
    name: &str,
    allowed: bool,
) -> Result<(), RestoreError> {
    let sql = format!("ALTER DATABASE {} ALLOW_CONNECTIONS {allowed}", ident(name));
    let doing = "closing the old database to new sessions";
    session.run(&sql, doing).await?;
    Ok(())
}

/// The old database takes sessions again after a publish that failed. It is told in the log where
/// even that fails: the error that led here is the one to report.
async fn reopen(destination: &Destination, old: &Old) {
    if !old.allows_connections {
        return;
    }
    let opened = match destination.beside().await {
        Ok(session) => allow_connections(&session, &old.name, true).await,
        Err(error) => Err(error),
    };
    if let Err(error) = opened {
        let name = &old.name;
        tracing::error!(%error, "ALTER DATABASE {name:?} ALLOW_CONNECTIONS true could not be run: it takes no sessions until somebody does");
    }
}

fn is_lost(error: &RestoreError) -> bool {
    matches!(error, RestoreError::Postgres(error) if matches!(error, PostgresError::Lost { .. })
        || matches!(error, PostgresError::Query { .. }) && error.sql_state().is_none())
}

/// The connection broke under the renames: looks which state there is.
async fn settle(
    destination: &Destination,
    kept: Option<&str>,
    error: RestoreError,
) -> Result<(), RestoreError> {
    let unknown = || RestoreError::SwapUnknown {
        working: destination.working.clone(),
        target: destination.target.clone(),
        kept: kept.unwrap_or_default().to_owned(),
    };
    let session = destination.beside().await.map_err(|_| unknown())?;
    let working = old_database(&session, &destination.working).await;
    match working.map_err(|_| unknown())? {
        // The renames are one transaction: it is there, so none of them was done.
        Some(_) => Err(error),
        None => Ok(()),
    }
}
