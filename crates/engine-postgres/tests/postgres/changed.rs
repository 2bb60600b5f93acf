//! Deltas: what of a base holds, told as stories that end with the rows that are there. Most of them are
//! told twice, the second time with a rule taken out: then rows must be lost.

mod histories;
mod places;
pub mod saved;
mod tables;
