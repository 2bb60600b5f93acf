//! Reading and restoring PostgreSQL, versions 14 to 18.
//!
//! [`PostgresEngine`] fills in [`model::Engine`]. A backup is read like this:
//!
//! ```text
//! coordinator ── locks, then the snapshot ──► inventory ──► plan: tables, block ranges
//!      │                                        │
//!      ├─ pg_dump with that snapshot            └─ shape and format of each table
//!      └─ one stream each: locks, the same snapshot, COPY by ctid range on a blocking thread
//! ```
//!
//! The pieces: `connect` (URL, TLS, sockets), `session` (the settings of every connection),
//! `tools` (pg_dump and its sisters), `locks`, `snapshot` and `watch` (locks first, the exported
//! snapshot, whom we block), `chosen` (what of a database is taken), `source` (a backup from its plan to its end), `inventory` (what is in a database), `fingerprint` and `format` (the shape of rows),
//! `changed` (which blocks
//! were written since a base), `copy` (the bulk reader), `dictionary`, `globals`, `sequences`, `large_objects` (what is no
//! row), `restore` (all of it the other way round), `export` (into files),
//! `facts` (what the two halves tell each other).
//!
//! What this crate is not: it knows no vault, no catalog, no HTTP, and it parses no SQL. What
//! pg_dump and pg_restore can do is left to them.

mod browse;
mod changed;
mod check;
mod chosen;
mod connect;
mod copy;
mod dictionary;
mod dump_time;
mod engine;
mod error;
mod export;
mod facts;
mod fingerprint;
mod format;
mod globals;
mod holdings;
mod identity;
mod inventory;
mod large_objects;
mod locks;
#[cfg(feature = "rules-out")]
mod onlooker;
mod pulse;
mod restore;
mod sequences;
mod session;
mod snapshot;
mod source;
mod tools;
mod unreadable;
mod watch;

pub use changed::Rule;
#[cfg(feature = "rules-out")]
pub use changed::take_out;
pub use engine::{PostgresEngine, PostgresOptions};
pub use error::PostgresError;
pub use holdings::{Holding, drop_database, first_free_name, holdings};
#[cfg(feature = "rules-out")]
pub use onlooker::{Onlooker, Step};
