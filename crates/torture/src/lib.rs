//! The proof that a delta loses nothing: random workloads run while full and delta backups are taken,
//! and each saveset is compared with what its own snapshot saw.
//!
//! A *history* is played on a real server with `summarize_wal` and `fsync` on, as the role with the
//! least rights: some tables of all kinds, a FULL, then some DELTAs, with [*moves*](moves::Move)
//! before each of them and between the steps of each: rows, transactions that are held or prepared,
//! VACUUM and TRUNCATE, tables, types, schemas and databases that are altered, crashes that lose
//! commits, a volume that is set back, summaries of the WAL that are removed, stretches without them.
//! In the exported snapshot of each backup, on the very session that holds it, every table is copied
//! out: row count and an order-free hash of the rows. The saveset is then read as a restore reads it;
//! some are restored too. What differs is a loss.
//!
//! Everything is decided by the *seed*, and one thing happens after the other, so that a seed plays
//! again what it has played; in one history of six some sessions write beside that while a backup runs.
//!
//! ```text
//! cargo run -p torture -- --seed 1 --histories 100 --version 17
//! cargo run -p torture -- --seed 42                              one history, told step by step
//! cargo run -p torture -- --histories 50 --without window-start  finds the loss, or fails
//! ```
//!
//! Main types: [`Rig`] (the server), [`World`] (a history's database and sessions), [`Move`] and
//! [`Theme`], [`stage::Stage`] (where backups and moves meet), [`saveset::Shelf`] (the vault),
//! [`history::play`].
//!
//! What this crate is not: part of the product. Nobody depends on it, and the switches that it uses
//! are not compiled into the product.

pub mod dice;
pub mod history;
pub mod moves;
pub mod noise;
pub mod rig;
pub mod rows;
pub mod saveset;
pub mod stage;
pub mod story;
pub mod trouble;
pub mod world;

pub use dice::Dice;
pub use history::{Played, Script, Tally, play};
pub use moves::{Move, Theme};
pub use rig::Rig;
pub use story::Story;
pub use trouble::Trouble;
pub use world::World;
