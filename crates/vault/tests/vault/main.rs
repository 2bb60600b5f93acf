//! The vault over real stores: memory, local directories, S3, and one that fails on request.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "in a test a panic is how a fixture fails, and a race's tally goes to its log"
)]

mod azure;
mod commit;
mod concurrent;
mod crash;
mod damage;
mod format;
mod musts;
mod reader;
mod recovery;
mod round_trip;
mod s3;
mod sample;
mod shifted_clock;
mod sweep;
