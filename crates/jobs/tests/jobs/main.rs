//! The runner with a real catalog, a real vault on disk, and an engine in memory that fails where
//! a test says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    missing_docs
)]

mod abort;
mod adopt;
mod backup;
mod beats;
mod clock_jumps;
mod compaction;
mod crash;
mod delta;
mod growth;
mod node;
mod queue;
mod restore;
mod retention;
mod several;
mod sites;
mod sweep;
mod verify;
