//! Columns into rows. The layout may be anything at all: whatever does not add up is refused.

use std::borrow::Cow;

use super::{ALL_NULL, MIXED, NULL, PLANES, SAME, SAME_OR_NULL};

/// The content of a layout, `bytes` long; `None`: it contradicts itself.
pub(crate) fn unpack(layout: &[u8], bytes: usize) -> Option<Vec<u8>> {
    let mut rest = layout;
    let head = take_number(&mut rest)?;
    let tail = take_number(&mut rest)?;
    let rows = take_number(&mut rest)?;
    let fields = u16::from_le_bytes(*take(&mut rest, 2)?.first_chunk()?);
    let head = take(&mut rest, head)?;
    let tail = take(&mut rest, tail)?;
    // A row has its two bytes at least: no more of them fit.
    if rows > bytes / 2 {
        return None;
    }
    let columns = (0..fields).map(|_| Column::read(&mut rest, rows));
    let mut columns: Vec<Column> = columns.collect::<Option<_>>()?;
    if !rest.is_empty() {
        return None;
    }
    let mut plain = Vec::with_capacity(bytes);
    plain.extend_from_slice(head);
    for row in 0..rows {
        plain.extend_from_slice(&fields.to_be_bytes());
        for column in &mut columns {
            column.give(row, &mut plain)?;
        }
        if plain.len() > bytes {
            return None;
        }
    }
    plain.extend_from_slice(tail);
    let all_given = columns.iter().all(|column| column.at == column.data.len());
    (plain.len() == bytes && all_given).then_some(plain)
}

struct Column<'a> {
    lengths: Lengths<'a>,
    data: Cow<'a, [u8]>,
    /// How much of the data is given.
    at: usize,
}

enum Lengths<'a> {
    Same(u32),
    AllNull,
    SameOrNull(u32, &'a [u8]),
    Mixed(Cow<'a, [u8]>),
}

impl<'a> Column<'a> {
    fn read(rest: &mut &'a [u8], rows: usize) -> Option<Self> {
        let kind = take(rest, 1)?[0];
        let (lengths, width, values) = match kind {
            ALL_NULL => (Lengths::AllNull, 0, 0),
            SAME => {
                let length = take_number(rest)?;
                (Lengths::Same(length as u32), length, rows)
            }
            SAME_OR_NULL => {
                let length = take_number(rest)?;
                let bits = take(rest, rows.div_ceil(8))?;
                let nulls: usize = bits.iter().map(|byte| byte.count_ones() as usize).sum();
                let lengths = Lengths::SameOrNull(length as u32, bits);
                (lengths, length, rows.checked_sub(nulls)?)
            }
            MIXED => {
                let lengths = values_of(take(rest, rows.checked_mul(4)?)?, 4, rows);
                let each = lengths
                    .chunks_exact(4)
                    .map(number)
                    .filter(|length| *length != NULL);
                let data = each.map(u64::from).sum::<u64>();
                let data = take(rest, usize::try_from(data).ok()?)?;
                return Some(Column {
                    lengths: Lengths::Mixed(lengths),
                    data: data.into(),
                    at: 0,
                });
            }
            _ => return None,
        };
        let data = take(rest, width.checked_mul(values)?)?;
        let data = match PLANES.contains(&width) {
            true => values_of(data, width, values),
            false => data.into(),
        };
        Some(Column {
            lengths,
            data,
            at: 0,
        })
    }

    /// Appends the field of one row, its length in front.
    fn give(&mut self, row: usize, plain: &mut Vec<u8>) -> Option<()> {
        let length = match &self.lengths {
            Lengths::Same(length) => *length,
            Lengths::AllNull => NULL,
            Lengths::SameOrNull(_, bits) if bits[row / 8] >> (row % 8) & 1 == 1 => NULL,
            Lengths::SameOrNull(length, _) => *length,
            Lengths::Mixed(lengths) => number(&lengths[4 * row..4 * row + 4]),
        };
        plain.extend_from_slice(&length.to_be_bytes());
        if length != NULL {
            let end = self.at.checked_add(length as usize)?;
            plain.extend_from_slice(self.data.get(self.at..end)?);
            self.at = end;
        }
        Some(())
    }
}

/// Planes back into values.
fn values_of(planes: &[u8], width: usize, count: usize) -> Cow<'_, [u8]> {
    let mut values = vec![0; planes.len()];
    for plane in 0..width {
        let bytes = &planes[plane * count..(plane + 1) * count];
        for (row, byte) in bytes.iter().enumerate() {
            values[row * width + plane] = *byte;
        }
    }
    values.into()
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn take_number(rest: &mut &[u8]) -> Option<usize> {
    take(rest, 4).map(|bytes| number(bytes) as usize)
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(bytes)?;
    *rest = left;
    Some(taken)
}
