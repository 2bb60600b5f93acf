//! What the tests of all crates are made of: real parts, cheap enough for every test.
//!
//! - [`postgres`]: a PostgreSQL server of its own for each test, of any version from 14 to 18,
//!   that may be reconfigured, crashed and paused.
//! - [`digest`]: row count and an order-free hash of every table: the one way in which two
//!   databases are called equal.
//! - [`FaultyStore`]: an object store that fails where the test says so, and records every call.
//! - [`AzureServer`]: Azurite, which stands for Azure Blob Storage.
//! - `S3Server` (feature `s3`): an S3 server in the test's process that checks signatures.
//! - [`memory_engine`]: an engine whose databases are maps, with troubles where the test says so.
//! - [`network`]: a way to a server on which connections are reset, half closed, slow, or hang.
//! - [`shape`]: whether a live answer has the shape of a sample.
//! - [`HandClock`], [`RecordedProgress`]: time moved by hand, and what a run told about itself.
//!
//! What this crate is not: part of the product. Others name it under `[dev-dependencies]` only,
//! and it knows no product crate but `model`. Its functions panic where a test should fail, with a
//! sentence that says what is missing; nothing here skips a test.
//!
//! The servers and the programs in Python ([`python_program`]) come from `dev/test --setup-only`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "test code: a panic is how a fixture fails, and a failed test's log goes to stderr"
)]

mod clock;
pub mod digest;
mod emulators;
mod faulty_store;
pub mod memory_engine;
pub mod network;
pub mod postgres;
mod progress;
#[cfg(feature = "s3")]
mod s3;
mod set_up;
pub mod shape;

pub use clock::HandClock;
pub use emulators::AzureServer;
pub use faulty_store::{Call, Fault, FaultyStore, Operation, Rule, Times};
pub use progress::RecordedProgress;
#[cfg(feature = "s3")]
pub use s3::S3Server;
pub use set_up::python_program;
