//! Restoring: the other half of this crate.

pub(crate) mod needs;

use model::{Connection, Credentials, Outcome, RestoreRequest, Target};

use crate::engine::PostgresEngine;
use crate::error::PostgresError;

/// Opens the place that a saveset is restored to.
pub(crate) async fn open(
    _engine: &PostgresEngine,
    _connection: &Connection,
    _credentials: Option<&Credentials>,
    _request: RestoreRequest,
) -> Outcome<Box<dyn Target>> {
    Err(PostgresError::NotBuiltYet {
        what: "restoring a PostgreSQL site".into(),
    }
    .into())
}
