//! Who a server is: `initdb` gives each cluster a number, which its copies and standbys keep.

use model::{ClosingFacts, Connection, Fault};

use crate::connect;
use crate::error::PostgresError;
use crate::facts;
use crate::session::Session;

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
    let now = control(&session).await;
    session.close().await;
    let now = now?.map(|control| control.system_identifier);
    let other = now.filter(|now| *now != before);
    Ok(other.map(|now| format!("its system identifier is {now} and was {before}")))
}

/// What a server's pg_control says.
pub(crate) struct Control {
    /// The cluster's number.
    pub system_identifier: String,
    /// That of its last checkpoint.
    pub timeline: Option<u32>,
}

/// Reads pg_control; `None`: the role may not, which costs no more than that deltas compare all blocks.
pub(crate) async fn control(session: &Session) -> Result<Option<Control>, PostgresError> {
    let sql = "SELECT s.system_identifier::pg_catalog.text || ' ' || c.timeline_id
                 FROM pg_catalog.pg_control_system() s, pg_catalog.pg_control_checkpoint() c";
    let told = match session.text(sql, "reading pg_control").await {
        Ok(told) => told,
        Err(error) if error.code() == "insufficient-privilege" => None,
        Err(error) => return Err(error),
    };
    let told = told.as_deref().and_then(|text| text.split_once(' '));
    Ok(told.map(|(system_identifier, timeline)| Control {
        system_identifier: system_identifier.to_owned(),
        timeline: timeline.parse().ok(),
    }))
}
