//! The catalog on real SQLite files, in directories of their own. `world` has what every test
//! begins with; the other modules are one subject each.
#![allow(clippy::unwrap_used, reason = "test code: a panic is a failure")]

mod concurrency;
mod crash;
mod data_directory;
mod deltas;
mod endings;
mod executions;
mod idempotency;
mod jobs;
mod leases;
mod migrations;
mod paging;
mod random_events;
mod savesets;
mod secrets;
mod sites;
mod tokens;
mod world;
