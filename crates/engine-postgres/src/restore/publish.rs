//! publish: the working database gets its name. What stood there is renamed, never dropped.
//!
//! Both renames are one transaction: whoever crashes, there is either the old state or the new.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use fail::fail_point;
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
    // Rows were committed without waiting for the disk; this commit waits for them all.
    let durably = "SET synchronous_commit = on";
    session.run(durably, "making the result durable").await?;
    let (working, target) = (ident(&destination.working), ident(&destination.target));
    let rename = format!("ALTER DATABASE {working} RENAME TO {target}");
    let mut kept = None;
    let mut sql = rename.clone();
    if is_there(&session, &destination.target).await? {
        may_still_be_replaced(destination, request).await?;
        let id = request.server_execution_id;
        let name = kept_name(id, &destination.target, jiff::Timestamp::now());
        let aside = format!("ALTER DATABASE {target} RENAME TO {}", ident(&name));
        sql = format!("BEGIN; {aside}; {rename}; COMMIT");
        kept = Some(name);
    }
    fail_point!("postgres::a-database-is-ready-to-be-renamed");
    let done = match patiently(&session, destination, &sql).await {
        Err(error) if is_lost(&error) => settle(destination, kept.as_deref(), error).await,
        other => other,
    };
    done?;
    fail_point!("postgres::a-database-is-renamed");
    session.close().await;
    Ok(Published {
        database: ObjectName::one(&destination.target),
        kept: kept.map(ObjectName::one),
    })
}

async fn is_there(session: &Session, name: &str) -> Result<bool, RestoreError> {
    let sql = "SELECT FROM pg_catalog.pg_database WHERE datname = $1";
    let doing = "looking for a database";
    let rows = session.rows(sql, &[&name], doing).await?;
    Ok(!rows.is_empty())
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

/// Runs the renames until nobody is in the way, bounded.
///
/// A rename first locks the database, so that nobody new comes in, and then waits five seconds for
/// those who are there to leave. Meanwhile another session ends theirs: nothing is set that a crash
/// would leave behind.
async fn patiently(
    session: &Session,
    destination: &Destination,
    sql: &str,
) -> Result<(), RestoreError> {
    let end = Instant::now() + LEAVE;
    let other = destination.beside().await?;
    loop {
        let renames = session.run(sql, "renaming databases");
        let ran = tokio::select! {
            ran = renames => ran,
            Err(error) = send_away(&other, &destination.target) => return Err(error),
        };
        let Err(error) = ran else {
            other.close().await;
            return Ok(());
        };
        if error.sql_state().is_none() {
            return Err(error.into());
        }
        session.run("ROLLBACK", "giving up a rename").await?;
        // Somebody was quicker than the time between the look and the rename.
        if matches!(
            error.sql_state(),
            Some(SqlState::DUPLICATE_DATABASE | SqlState::UNIQUE_VIOLATION)
        ) {
            let name = destination.target.clone();
            return Err(RestoreError::TargetAppeared { name });
        }
        if error.sql_state() != Some(SqlState::OBJECT_IN_USE) {
            return Err(error.into());
        }
        if Instant::now() > end {
            return Err(in_use(session, &destination.target).await?);
        }
    }
}

/// Ends the sessions in a database, again and again; those that we may not end are waited for.
async fn send_away(session: &Session, name: &str) -> Result<Infallible, RestoreError> {
    let mut refused = BTreeSet::new();
    loop {
        tokio::time::sleep(LOOK).await;
        for (pid, _) in sessions(session, name).await? {
            let Some(pid) = pid.filter(|pid| !refused.contains(pid)) else {
                continue;
            };
            let sql = format!("SELECT pg_catalog.pg_terminate_backend({pid})");
            match session.run(&sql, "ending the sessions of a database").await {
                Ok(()) => {}
                // It may end by itself; the error names it otherwise.
                Err(error) if error.sql_state() == Some(SqlState::INSUFFICIENT_PRIVILEGE) => {
                    refused.insert(pid);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Process and description; a prepared transaction has no process.
async fn sessions(
    session: &Session,
    name: &str,
) -> Result<Vec<(Option<i32>, String)>, RestoreError> {
    let sql = include_str!("../../sql/database_sessions_14.sql");
    let doing = "looking who is connected to a database";
    let rows = session.rows(sql, &[&name], doing).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
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
    let working = is_there(&session, &destination.working).await;
    match working.map_err(|_| unknown())? {
        // The renames are one transaction: it is there, so none of them was done.
        true => Err(error),
        false => Ok(()),
    }
}
