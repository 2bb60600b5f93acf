//! `backstay demo`: the whole product on a sample database, told step by step.
//!
//! [`shop`] makes the database and changes it; [`Story`] starts a server and does the rest through
//! HTTP, as anybody could with the `curl` lines that it prints.

mod check;
mod shop;
mod stage;
mod story;

pub use story::Story;
