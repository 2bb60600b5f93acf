//! Whether a base lies on the WAL that the server goes on writing.

use crate::error::PostgresError;
use crate::session::Session;

use super::rules::Rule;
use super::summaries::{self, Stretch};
use super::wal::{Means, WalWindow, insert_position};

/// Nothing if it does, else why not, as a sentence's end.
pub(super) async fn other_history(
    session: &Session,
    means: &Means,
    base: &WalWindow,
    listed: &[Stretch],
) -> Result<Option<String>, PostgresError> {
    if !Rule::SameHistory.holds() {
        return Ok(None);
    }
    if base.system != means.system {
        return Ok(Some("the server is another than the base's".into()));
    }
    if base.timeline != means.timeline {
        let (base, now) = (base.timeline, means.timeline);
        let why = format!("the server is on timeline {now}, the base on {base}");
        return Ok(Some(why));
    }
    let now = insert_position(session).await?;
    if base.start > now || base.end > now {
        let end = base.end;
        let why = format!("the server was set back: its WAL ends at {now}, the base's at {end}");
        return Ok(Some(why));
    }
    let noted = Stretch {
        start: base.boundary.start,
        end: base.boundary.end,
    };
    if !listed.contains(&noted) {
        let why = "the WAL summary of the base's snapshot is not there any more";
        return Ok(Some(why.into()));
    }
    let found = summaries::boundary(session, means.timeline, noted).await?;
    let other = found.content != base.boundary.content;
    Ok(other.then(|| "the server was set back: its WAL is not the base's".into()))
}
