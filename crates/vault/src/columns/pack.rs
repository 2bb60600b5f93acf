//! Rows into columns.

use super::{ALL_NULL, MIXED, NULL, PLANES, RowCursor, SAME, SAME_OR_NULL, SPARE_BYTES};

/// Fewer rows are not worth it.
const FEWEST_ROWS: u32 = 8;

/// Lays frames out by columns. Its buffers are used again and again.
#[derive(Default)]
pub(crate) struct ColumnPacker {
    columns: Vec<Column>,
    layout: Vec<u8>,
}

#[derive(Default)]
struct Column {
    lengths: Vec<u32>,
    data: Vec<u8>,
    nulls: usize,
    /// The length of the values so far, if they have one.
    common: Option<u32>,
    mixed: bool,
}

impl ColumnPacker {
    /// The layout of a frame's content; `None`: it is better kept as it is. The cursor goes on to the
    /// frame's end in either case.
    pub(crate) fn pack(&mut self, plain: &[u8], cursor: &mut RowCursor) -> Option<&[u8]> {
        let head = cursor.until_next_row(plain);
        let (rows, used) = self.take_rows(&plain[head..]);
        let tail = &plain[head + used..];
        cursor.through(tail);
        if rows < FEWEST_ROWS {
            return None;
        }
        self.lay_out(&plain[..head], rows, tail);
        (self.layout.len() <= plain.len() + SPARE_BYTES).then_some(&self.layout)
    }

    /// Takes whole rows off the front; answers how many, and their bytes.
    fn take_rows(&mut self, bytes: &[u8]) -> (u32, usize) {
        let Some(count) = bytes.first_chunk::<2>() else {
            return (0, 0);
        };
        let fields = usize::from(u16::from_be_bytes(*count));
        self.columns.resize_with(fields, Column::default);
        self.columns.iter_mut().for_each(Column::clear);
        let (mut rows, mut at) = (0, 0);
        while bytes[at..].starts_with(count)
            && let Some(end) = row_end(bytes, at + 2, fields)
        {
            let mut field = at + 2;
            for column in &mut self.columns {
                field += column.take(&bytes[field..end]);
            }
            at = end;
            rows += 1;
        }
        (rows, at)
    }

    fn lay_out(&mut self, head: &[u8], rows: u32, tail: &[u8]) {
        let out = &mut self.layout;
        out.clear();
        out.extend_from_slice(&(head.len() as u32).to_le_bytes());
        out.extend_from_slice(&(tail.len() as u32).to_le_bytes());
        out.extend_from_slice(&rows.to_le_bytes());
        out.extend_from_slice(&(self.columns.len() as u16).to_le_bytes());
        out.extend_from_slice(head);
        out.extend_from_slice(tail);
        for column in &self.columns {
            column.lay_out(out);
        }
    }
}

/// Where a row ends whose first field begins at `at`; `None`: it does not end here, or is none.
fn row_end(bytes: &[u8], mut at: usize, fields: usize) -> Option<usize> {
    for _ in 0..fields {
        let length = bytes.get(at..)?.first_chunk::<4>()?;
        at += 4;
        match u32::from_be_bytes(*length) {
            NULL => {}
            length if length <= i32::MAX as u32 => at += length as usize,
            _ => return None,
        }
    }
    (at <= bytes.len()).then_some(at)
}

impl Column {
    fn clear(&mut self) {
        self.lengths.clear();
        self.data.clear();
        self.nulls = 0;
        self.common = None;
        self.mixed = false;
    }

    /// Takes the field at the front of a whole row's rest; answers its bytes, the length included.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let length = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        self.lengths.push(length);
        if length == NULL {
            self.nulls += 1;
            return 4;
        }
        self.mixed |= *self.common.get_or_insert(length) != length;
        let end = 4 + length as usize;
        self.data.extend_from_slice(&bytes[4..end]);
        end
    }

    fn lay_out(&self, out: &mut Vec<u8>) {
        match self.common {
            None => out.push(ALL_NULL),
            Some(_) if self.mixed => {
                out.push(MIXED);
                let lengths = self.lengths.iter().map(|length| length.to_le_bytes());
                planes(out, lengths, 4, self.lengths.len());
                out.extend_from_slice(&self.data);
            }
            Some(length) => {
                out.push(if self.nulls == 0 { SAME } else { SAME_OR_NULL });
                out.extend_from_slice(&length.to_le_bytes());
                if self.nulls > 0 {
                    let nulls = self.lengths.chunks(8).map(null_bits);
                    out.extend(nulls);
                }
                let width = length as usize;
                if PLANES.contains(&width) {
                    let values = self.data.chunks_exact(width);
                    planes(out, values, width, self.lengths.len() - self.nulls);
                } else {
                    out.extend_from_slice(&self.data);
                }
            }
        }
    }
}

fn null_bits(lengths: &[u32]) -> u8 {
    let bits = lengths.iter().enumerate();
    bits.fold(0, |byte, (bit, length)| {
        byte | u8::from(*length == NULL) << bit
    })
}

/// All first bytes of the values, then all second ones, and so on.
fn planes<V: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    values: impl Iterator<Item = V>,
    width: usize,
    count: usize,
) {
    let start = out.len();
    out.resize(start + width * count, 0);
    let room = &mut out[start..];
    for (row, value) in values.enumerate() {
        for (plane, byte) in value.as_ref().iter().enumerate() {
            room[plane * count + row] = *byte;
        }
    }
}
