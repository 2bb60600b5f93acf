//! What a DELTA builds on, and what an engine says of it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{Display, EnumString};

use crate::{BlockSet, ClosingFacts, TablePlan};

/// What an earlier saveset has of one database, as its engine told it then.
#[derive(Debug, Clone)]
pub struct Base {
    /// The closing facts of that source.
    pub facts: ClosingFacts,
    /// Its tables, in the order of that source's plan.
    pub tables: Vec<TablePlan>,
}

/// A place in a site's history, so that later a backup can say from where on everything was written
/// that its snapshot did not see. Opaque to all but the engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Beat(pub Value);

/// How changed blocks were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, Serialize, Deserialize)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ChangedBlocksSource {
    /// PostgreSQL's WAL summaries tell which blocks were written: only they are read.
    WalSummary,
    /// All is read, and what hashes as before is not stored again.
    Hash,
}

impl ChangedBlocksSource {
    /// Of several databases together: the slower way counts. `None`: nothing was compared.
    pub fn of_all(databases: impl IntoIterator<Item = ChangedBlocksSource>) -> Option<Self> {
        let slower = |one, other| match (one, other) {
            (Self::WalSummary, Self::WalSummary) => Self::WalSummary,
            _ => Self::Hash,
        };
        databases.into_iter().reduce(slower)
    }
}

/// How changed blocks are found in one database, and why so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedBlocks {
    /// How.
    pub source: ChangedBlocksSource,
    /// Why not better, as a sentence's end: `summarize_wal is off`; `None`: it is the best there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How large a table is, seen after the snapshot was taken: no row of it lies in a later block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// Its blocks.
    pub blocks: u32,
    /// About how many bytes of rows they come to.
    pub bytes: u64,
}

/// What of the base's rows of a table still holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Basis {
    /// Nothing, or the base has no such table: the plan's tasks read it whole.
    Nothing {
        /// Why, as a sentence's end: `it was rewritten`.
        why: String,
    },
    /// Everything but some blocks, which the engine knows. The plan has no task for it.
    Changed {
        /// The table's place in the base.
        base: usize,
        /// Blocks that may have other rows now. All of them lie below `extent`.
        blocks: BlockSet,
        /// From this block on the base's rows are gone: only `blocks` have some.
        holds: u32,
        /// Its size now.
        extent: Extent,
    },
    /// Nobody knows which blocks: all are read and compared. The plan has no task for it.
    Compare {
        /// The table's place in the base.
        base: usize,
        /// Its size now.
        extent: Extent,
    },
}
