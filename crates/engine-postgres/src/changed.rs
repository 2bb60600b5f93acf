//! Which blocks of a database were written since an earlier backup.

mod rules;

pub use rules::Rule;
#[cfg(feature = "rules-out")]
pub use rules::take_out;
