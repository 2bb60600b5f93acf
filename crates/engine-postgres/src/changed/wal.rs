//! Places in the WAL, and what is noted of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tokio_postgres::types::PgLsn;

use crate::error::PostgresError;
use crate::session::Session;

use super::rules::Rule;

/// WAL summaries are there from this version on.
const SINCE: u32 = 17;

/// A place in the WAL, written as PostgreSQL writes it: `16/B374D848`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Lsn(u64);

impl Lsn {
    /// As a parameter of a query.
    pub(super) fn parameter(self) -> PgLsn {
        PgLsn::from(self.0)
    }

    #[cfg(test)]
    pub(super) fn at(place: u64) -> Lsn {
        Lsn(place)
    }
}

impl From<PgLsn> for Lsn {
    fn from(place: PgLsn) -> Self {
        Lsn(place.into())
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl FromStr for Lsn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let place: Result<PgLsn, _> = text.parse();
        place
            .map(Lsn::from)
            .map_err(|_| format!("{text:?} is no place in the WAL"))
    }
}

impl TryFrom<String> for Lsn {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Lsn> for String {
    fn from(place: Lsn) -> Self {
        place.to_string()
    }
}

/// A WAL summary, and what it said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Boundary {
    /// Where it begins.
    pub start: Lsn,
    /// Where it ends; that is not part of it.
    pub end: Lsn,
    /// BLAKE3 over its entries, in hex.
    pub content: String,
}

/// What a backup notes for the one that builds on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WalWindow {
    /// `pg_control_system()`'s.
    pub system: String,
    /// The timeline that the server wrote.
    pub timeline: u32,
    /// When the server was started, as it prints it.
    pub started: String,
    /// L: everything that the snapshot did not see was written behind this.
    pub start: Lsn,
    /// E: everything that the snapshot saw was written before this.
    pub end: Lsn,
    /// The summary that covers E.
    pub boundary: Boundary,
}

/// What a server can tell, and which history it lives in.
#[derive(Debug, Clone)]
pub(crate) struct Means {
    /// Whether the WAL is summarized.
    pub summarizes: bool,
    /// Whether `wal_level` is `minimal`, with which nothing can be summarized.
    pub minimal: bool,
    /// The setting.
    pub fsync: bool,
    /// Whether it is a standby.
    pub standby: bool,
    /// How long summaries are kept, in seconds; 0: for ever.
    pub kept_seconds: i64,
    /// Whether the role may CHECKPOINT.
    pub may_checkpoint: bool,
    /// `pg_control_system()`'s.
    pub system: String,
    /// The timeline it writes; 0 on a standby.
    pub timeline: u32,
    /// When it was started, as it prints it.
    pub started: String,
}

impl Means {
    /// Reads them; or says, as a sentence's end, why there are none.
    pub(crate) async fn read(session: &Session) -> Result<Result<Means, String>, PostgresError> {
        if session.major() < SINCE {
            let major = session.major();
            return Ok(Err(format!(
                "PostgreSQL {major} writes no WAL summaries, {SINCE} and later do"
            )));
        }
        let sql = include_str!("../../sql/wal_means_17.sql");
        let doing = "asking what is known about written blocks";
        let row = session.row(sql, &[], doing).await?;
        let timeline: Option<&str> = row.get("timeline");
        Ok(Ok(Means {
            summarizes: row.get("summarizes"),
            minimal: row.get("minimal"),
            fsync: row.get("fsync"),
            standby: row.get("standby"),
            kept_seconds: row.get("kept_seconds"),
            may_checkpoint: row.get("may_checkpoint"),
            system: row.get("system"),
            timeline: timeline
                .and_then(|digits| u32::from_str_radix(digits, 16).ok())
                .unwrap_or(0),
            started: row.get("started"),
        }))
    }

    /// Why the WAL summaries are of no use, as a sentence's end.
    pub(crate) fn lack(&self) -> Option<&'static str> {
        if self.standby {
            Some("the server is a standby")
        } else if !self.summarizes {
            Some("summarize_wal is off")
        } else if self.minimal {
            Some("wal_level is minimal")
        } else if !self.fsync && Rule::Fsync.holds() {
            Some("fsync is off")
        } else {
            None
        }
    }
}

/// Where the next record will be written.
pub(super) async fn insert_position(session: &Session) -> Result<Lsn, PostgresError> {
    let sql = "SELECT pg_catalog.pg_current_wal_insert_lsn()";
    let row = session
        .row(sql, &[], "reading the place in the WAL")
        .await?;
    Ok(row.get::<_, PgLsn>(0).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_as_postgresql_writes_it() {
        let place: Lsn = "16/B374D848".parse().unwrap();
        assert_eq!(place, Lsn::at(0x16_B374_D848));
        assert_eq!(place.to_string(), "16/B374D848");
        assert_eq!(serde_json::to_string(&place).unwrap(), "\"16/B374D848\"");
        assert!(serde_json::from_str::<Lsn>("\"nowhere\"").is_err());
        assert!(Lsn::at(0xF_FFFF_FFFF) < Lsn::at(0x10_0000_0000));
    }
}
