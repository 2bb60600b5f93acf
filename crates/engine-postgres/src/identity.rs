//! Who a server is: `initdb` gives each cluster a number, which its copies and standbys keep.

use model::{ClosingFacts, Connection, Fault};

use crate::connect;
use crate::error::PostgresError;
use crate::facts;

/// What the session shows itself as.
const APPLICATION_NAME: &str = "backstay identity";

/// How it shows that the server is another one than that in which a backup ended with `closing`; `None`:
/// it is the same, or nobody may know.
pub(crate) async fn made_anew(
    connection: &Connection,
    closing: &ClosingFacts,
) -> Result<Option<String>, PostgresError> {
    let before: Result<facts::ClosingFacts, _> = serde_json::from_value(closing.0.clone());
    // Facts of another version: what of them holds is the plan's to say.
    let Some(before) = before.ok().and_then(|facts| facts.system_identifier) else {
        return Ok(None);
    };
    let session = connect::open(connection, None, None, APPLICATION_NAME).await?;
    let sql = "SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()";
    let now = session.text(sql, "asking the server who it is").await;
    session.close().await;
    match now {
        Ok(Some(now)) if now != before => Ok(Some(format!(
            "its system identifier is {now} and was {before}"
        ))),
        Ok(_) => Ok(None),
        Err(error) if error.code() == "insufficient-privilege" => Ok(None),
        Err(error) => Err(error),
    }
}
