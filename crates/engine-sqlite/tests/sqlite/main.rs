//! The SQLite engine, driven by hand through the seams of `model`: no vault, no flow.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod delta;
mod export;
mod hand;
mod hostile;
mod live;
mod random;
mod round_trip;
mod tables;
mod target;
