//! The vault over real stores: memory, local directories, S3, and one that fails on request.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "in a test a panic is how a fixture fails, and a race's tally goes to its log"
)]

mod any_patches;
mod azure;
mod commit;
mod compact;
mod concurrent;
mod crash;
mod damage;
mod delta;
mod everything;
mod flip;
mod format;
mod golden;
mod golden_rows;
mod golden_writer;
mod members;
mod musts;
mod patches;
mod reader;
mod recovery;
mod round_trip;
mod s3;
mod sample;
mod shifted_clock;
mod sweep;
mod two_readers;
mod verify;
