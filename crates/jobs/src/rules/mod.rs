//! Rules that need no IO.

pub mod admission;
pub mod retention;
pub mod run_type;
