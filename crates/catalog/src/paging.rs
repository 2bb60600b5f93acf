//! Which part of a list is asked for.

use crate::stored::as_i64;

/// One page of a list, or all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// Every row. Only for lists that stay small; executions are read in steps by
    /// [`Catalog::execution_steps`](crate::Catalog::execution_steps).
    All,
    /// Page `number`, counted from 1, of `size` rows each.
    Numbered {
        /// From 1.
        number: u64,
        /// Rows on a page; 1 or more.
        size: u64,
    },
}

impl Page {
    /// How many rows at most, and how many before them. Past every end: no rows, no error.
    pub(crate) fn limit_and_offset(self) -> (i64, i64) {
        match self {
            Page::All => (i64::MAX, 0),
            Page::Numbered { number, size } => {
                let before = number.saturating_sub(1).saturating_mul(size);
                (as_i64(size), as_i64(before))
            }
        }
    }
}

/// Some rows of a list, and how many the whole list has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows<T> {
    /// The rows of the page that was asked for.
    pub rows: Vec<T>,
    /// Rows of all pages together.
    pub total: u64,
}
