//! Laying the rows of a frame out by columns, so that they compress better and faster.
//!
//! Rows are those of PostgreSQL's COPY BINARY: the number of fields (two bytes), then for each field
//! its length (four bytes, −1: null) and its bytes; numbers are big-endian. All rows of a table have as
//! many fields. What stands below each other in a column is alike: the lengths are mostly equal, and of
//! a number the high bytes. So lengths are told once where they can be, values of 2 to 16 bytes are laid
//! out byte by byte (all first bytes, then all second ones), and only then comes zstd. A 13-column table
//! takes half the room of the same rows as they came, and less time.
//!
//! A frame is cut without regard to rows. It keeps the end of the row that began before it and the
//! beginning of the one that goes on behind it as they are; [`RowCursor`] knows where rows begin. Bytes
//! that are no such rows are never an error: the frame is then kept as it came. Section 5 of
//! `docs/saveset-format.md` has the layout.

mod pack;
mod unpack;

pub(crate) use pack::ColumnPacker;
pub(crate) use unpack::unpack;

/// A layout may be longer than its content by this much at most; else the frame is kept as it came.
pub(crate) const SPARE_BYTES: usize = 4096;

/// The widths of values that are laid out byte by byte.
const PLANES: std::ops::RangeInclusive<usize> = 2..=16;

/// The length of a null.
const NULL: u32 = u32::MAX;

/// Every value is there and has the same length.
const SAME: u8 = 0;
/// Every value is null.
const ALL_NULL: u8 = 1;
/// Some values are null, the others have the same length.
const SAME_OR_NULL: u8 = 2;
/// The lengths differ.
const MIXED: u8 = 3;

/// Where in a row a content stands between two of its frames.
#[derive(Debug, Default)]
pub struct RowCursor(State);

#[derive(Debug, Default)]
enum State {
    #[default]
    RowBegins,
    /// One byte of the number of fields.
    Count(u8),
    /// Some bytes of a field's length.
    Length {
        fields: u16,
        have: [u8; 4],
        len: usize,
    },
    /// Bytes of a field that are still to come.
    Field { fields: u16, left: u32 },
    /// These are no rows.
    Lost,
}

impl RowCursor {
    /// At the beginning of a row.
    pub fn new() -> Self {
        RowCursor::default()
    }

    /// Goes on until a row begins, or through all bytes; answers how many it passed.
    fn until_next_row(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() && !matches!(self.0, State::RowBegins) {
            at += self.step(&bytes[at..]);
        }
        at
    }

    /// Goes through all bytes.
    fn through(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while at < bytes.len() {
            at += self.step(&bytes[at..]);
        }
    }

    /// Takes 1 byte or more.
    fn step(&mut self, bytes: &[u8]) -> usize {
        match &mut self.0 {
            State::RowBegins => {
                self.0 = State::Count(bytes[0]);
                1
            }
            State::Count(high) => {
                let fields = u16::from_be_bytes([*high, bytes[0]]);
                self.0 = State::after_field(fields);
                1
            }
            State::Length { fields, have, len } => {
                let taken = bytes.len().min(4 - *len);
                have[*len..*len + taken].copy_from_slice(&bytes[..taken]);
                *len += taken;
                if *len == 4 {
                    let fields = *fields;
                    self.0 = match u32::from_be_bytes(*have) {
                        NULL | 0 => State::after_field(fields - 1),
                        left if left <= i32::MAX as u32 => State::Field { fields, left },
                        _ => State::Lost,
                    };
                }
                taken
            }
            State::Field { fields, left } => {
                let taken = bytes.len().min(*left as usize);
                *left -= taken as u32;
                if *left == 0 {
                    self.0 = State::after_field(*fields - 1);
                }
                taken
            }
            State::Lost => bytes.len(),
        }
    }
}

impl State {
    fn after_field(left: u16) -> State {
        match left {
            0 => State::RowBegins,
            fields => State::Length {
                fields,
                have: [0; 4],
                len: 0,
            },
        }
    }
}

#[cfg(test)]
mod tests;
