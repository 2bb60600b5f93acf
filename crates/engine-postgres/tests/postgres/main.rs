//! Tests of the engine with real servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is a failure"
)]

mod changed;
mod copy;
mod ddl_queue;
mod hostile;
mod objects;
mod offline;
mod reading;
mod restore;
mod scale;
mod selections;
mod snapshot;
mod standby;
mod tls;
mod versions;
