//! Heartbeats: a place in the WAL, and the first transaction that began to write behind it.

use std::io;
use std::time::Duration;

use model::Beat;
use serde::{Deserialize, Serialize};
use tokio_postgres::types::PgLsn;

use crate::connect::Endpoint;
use crate::error::PostgresError;
use crate::session::Session;

use super::rules::Rule;
use super::wal::{Lsn, Means, insert_position};

/// What a beat's session shows itself as.
const APPLICATION_NAME: &str = "backstay beat";

/// How long a beat may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Every transaction with this number or a later one began writing behind this place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HeartBeat {
    /// L.
    pub lsn: Lsn,
    /// X, with its epoch.
    pub xid: u64,
    /// When the server was started, as it prints it.
    pub started: String,
    /// The timeline it wrote.
    pub timeline: u32,
    /// `pg_control_system()`'s.
    pub system: String,
}

impl HeartBeat {
    fn of(means: &Means, lsn: Lsn, xid: u64) -> Self {
        HeartBeat {
            lsn,
            xid,
            started: means.started.clone(),
            timeline: means.timeline,
            system: means.system.clone(),
        }
    }

    /// Takes one. The place comes first, then the number: whoever has a later number wrote nothing
    /// before it. The number must be durable: a crash would give it out again.
    pub(super) async fn take(session: &Session, means: &Means) -> Result<Self, PostgresError> {
        let doing = "noting a place in the WAL";
        let lsn = insert_position(session).await?;
        if !Rule::DurableBeats.holds() {
            let sql = "SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text";
            return Ok(Self::of(
                means,
                lsn,
                number(session.text(sql, doing).await?)?,
            ));
        }
        // Durable here is enough: on a standby that takes over, the timeline is another, and nobody
        // should wait for one that does not answer.
        let begin = "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE;
                     SET LOCAL synchronous_commit = local";
        session.run(begin, doing).await?;
        let sql = "SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text,
                          pg_catalog.pg_logical_emit_message(true, 'backstay', '')";
        let xid = number(session.text(sql, doing).await?)?;
        session.run("COMMIT", doing).await?;
        Ok(Self::of(means, lsn, xid))
    }

    /// The last checkpoint is one for nothing, and always durable.
    pub(super) fn of_checkpoint(means: &Means, checkpoint: &Checkpoint) -> Self {
        Self::of(means, checkpoint.redo, checkpoint.next_xid)
    }

    /// Whether it was taken on the server that this is, in the life that it leads now.
    pub(super) fn is_of(&self, means: &Means) -> bool {
        self.is_from(&means.system, means.timeline, &means.started)
    }

    /// Whether it was taken there and then.
    pub(super) fn is_from(&self, system: &str, timeline: u32, started: &str) -> bool {
        self.system == system && self.timeline == timeline && self.started == started
    }
}

fn number(text: Option<String>) -> Result<u64, PostgresError> {
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| PostgresError::Protocol {
            doing: "noting a place in the WAL".into(),
            what: "no number of a transaction".into(),
        })
}

/// The last checkpoint.
pub(super) struct Checkpoint {
    /// Where it began.
    redo: Lsn,
    /// The next transaction then.
    next_xid: u64,
    /// Bytes of WAL since.
    pub since: u64,
}

impl Checkpoint {
    /// Reads it.
    pub(super) async fn last(session: &Session) -> Result<Checkpoint, PostgresError> {
        let sql = include_str!("../../sql/last_checkpoint_17.sql");
        let row = session
            .row(sql, &[], "reading about the last checkpoint")
            .await?;
        let next_xid: String = row.get("next_xid");
        Ok(Checkpoint {
            redo: row.get::<_, PgLsn>("redo_lsn").into(),
            next_xid: number(with_epoch(&next_xid))?,
            since: u64::try_from(row.get::<_, i64>("since")).unwrap_or(0),
        })
    }
}

/// `1:759`, epoch and number, as one number.
fn with_epoch(text: &str) -> Option<String> {
    let (epoch, number) = text.split_once(':')?;
    let (epoch, number): (u32, u32) = (epoch.parse().ok()?, number.parse().ok()?);
    Some((u64::from(epoch) << 32 | u64::from(number)).to_string())
}

/// A beat of a site; `None`: it has no use for any.
pub(crate) async fn of_site(endpoint: &Endpoint) -> Result<Option<Beat>, PostgresError> {
    let taken = async {
        let session = Session::open(endpoint, APPLICATION_NAME).await?;
        let beat = match Means::read(&session).await? {
            Ok(means) if means.lack().is_none() => Some(HeartBeat::take(&session, &means).await?),
            _ => None,
        };
        session.close().await;
        Ok(beat)
    };
    let beat = match tokio::time::timeout(LIMIT, taken).await {
        Ok(beat) => beat?,
        Err(_) => {
            let seconds = LIMIT.as_secs();
            return Err(PostgresError::Unreachable {
                address: endpoint.address(),
                source: io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("a place in its WAL was not noted within {seconds} s"),
                ),
            });
        }
    };
    let value = beat.map(serde_json::to_value).transpose();
    let value = value.map_err(|e| PostgresError::TemporaryFile {
        doing: "writing a beat",
        source: e.into(),
    })?;
    Ok(value.map(Beat))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_number_has_its_epoch() {
        assert_eq!(with_epoch("0:759").as_deref(), Some("759"));
        assert_eq!(with_epoch("2:1").as_deref(), Some("8589934593"));
        assert_eq!(with_epoch("759"), None);
    }
}
