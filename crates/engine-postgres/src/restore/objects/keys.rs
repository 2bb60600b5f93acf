//! Foreign keys that lead from what is restored to tables that stay: made NOT VALID, which locks
//! the other table for a moment only, and validated while everybody works.

use std::time::Duration;

use model::Fault;
use tokio_postgres::error::SqlState;

use crate::error::PostgresError;
use crate::restore::fault::RestoreError;
use crate::restore::quote::ident;
use crate::restore::scratch::ForeignKey;
use crate::session::Session;

/// How long one try waits for the other table's lock: who waits holds up whoever comes after.
const WAIT: &str = "SET lock_timeout = '2s'";

/// How often a key is tried to be made.
const TRIES: u32 = 15;

/// How long between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// The first version whose partitioned tables may have a key that is NOT VALID.
const PARTITIONED_SINCE: u32 = 18;

/// Makes them; answers those that stand, and why others do not.
pub(in crate::restore) async fn make<'a>(
    session: &Session,
    keys: &'a [ForeignKey],
) -> Result<(Vec<&'a ForeignKey>, Vec<String>), RestoreError> {
    let mut made = Vec::new();
    let mut errors = Vec::new();
    session.run(WAIT, "setting up a session for keys").await?;
    for key in keys {
        match patiently(session, &add(session, key)).await {
            Ok(()) => made.push(key),
            Err(error @ PostgresError::Query { .. }) => errors.push(told(key, &error)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok((made, errors))
}

/// Checks them against the rows; answers those that do not hold. They stay, for new rows.
pub(in crate::restore) async fn validate(
    session: &Session,
    keys: &[&ForeignKey],
) -> Result<Vec<String>, RestoreError> {
    let mut errors = Vec::new();
    for key in keys {
        let sql = format!(
            "ALTER TABLE {} VALIDATE CONSTRAINT {}",
            key.table.sql(),
            ident(&key.name)
        );
        match patiently(session, &sql).await {
            Ok(()) => {}
            Err(error @ PostgresError::Query { .. }) => {
                errors.push(format!("{}; it stays, NOT VALID", told(key, &error)));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(errors)
}

/// A key that was not valid in the source says so itself.
fn add(session: &Session, key: &ForeignKey) -> String {
    let can_wait = !key.partitioned || session.major() >= PARTITIONED_SINCE;
    let not_valid = match can_wait && !key.definition.ends_with(" NOT VALID") {
        true => " NOT VALID",
        false => "",
    };
    format!(
        "ALTER TABLE {} ADD CONSTRAINT {} {}{not_valid}",
        key.table.sql(),
        ident(&key.name),
        key.definition
    )
}

fn told(key: &ForeignKey, error: &PostgresError) -> String {
    format!(
        "the foreign key {} of {} to {}: {}",
        ident(&key.name),
        key.table.sql(),
        key.refers_to,
        (error as &dyn Fault).sentence()
    )
}

async fn patiently(session: &Session, sql: &str) -> Result<(), PostgresError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let ran = session.run(sql, "making a foreign key").await;
        let Err(error) = ran else {
            return Ok(());
        };
        let again =
            error.is_lock_timeout() || error.sql_state() == Some(SqlState::T_R_DEADLOCK_DETECTED);
        if !again || tries == TRIES {
            return Err(error);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
