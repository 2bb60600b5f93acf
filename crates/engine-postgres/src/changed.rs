//! Which blocks of a database were written since an earlier backup.
//!
//! PostgreSQL 17 and later write *WAL summaries*: which blocks a stretch of WAL touched. A backup needs
//! to know two places in the WAL, and both are noted for the one that builds on it:
//!
//! ```text
//!   window start L ──────────────── snapshot ── window end E
//!        everything that the            everything that the
//!        snapshot did not see           snapshot saw is
//!        was written behind it          before it, and durable
//! ```
//!
//! The blocks written between the base's L and this backup's E are read; all others are as the base has
//! them. `beat` finds a start, `window` waits for it before the locks and looks for the end while rows are
//! read, `summaries` reads what lies between, `decide` says what of the base holds. Where anything is in
//! doubt, everything is read and compared by hash: that is slow and never wrong.

mod beat;
mod decide;
mod finding;
mod heap;
mod history;
mod names;
mod rules;
mod summaries;
mod wal;
mod window;

pub(crate) use beat::of_site as beat;
pub(crate) use decide::{Delta, Seen};
pub(crate) use finding::Prospect;
pub(crate) use heap::{Heap, HeapFacts, heaps};
pub(crate) use names::print_names;
pub use rules::Rule;
#[cfg(feature = "rules-out")]
pub use rules::take_out;
pub(crate) use wal::{Means, WalWindow};
pub(crate) use window::{Opening, TRANSACTION_PATIENCE, Window};
