//! COPY OUT in bulk: ranges of a table, and the reader of one stream.

mod blocks;
pub(crate) mod frames;
pub(crate) mod ranges;
pub(crate) mod reader;
