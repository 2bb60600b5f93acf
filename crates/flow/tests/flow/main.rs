//! The data path over an engine in memory, a real vault and a store that fails where told.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is how a test fails"
)]

mod backup_failures;
mod bounds;
mod cancel_backup;
mod cancel_restore;
mod crash;
mod delta;
mod delta_failures;
mod delta_history;
mod delta_scale;
mod random_tables;
mod restore_failures;
mod rig;
mod round_trip;
