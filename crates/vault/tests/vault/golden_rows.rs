//! The rows of the golden vault: the same in every run.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::sample;

/// The rows of one block.
#[derive(Debug, Clone, Default)]
pub struct Block {
    pub bytes: Vec<u8>,
    pub rows: u32,
}

pub type Blocks = BTreeMap<u32, Block>;

fn blocks(range: Range<u32>, rows: u32, row: impl Fn(u32) -> Vec<u8>) -> Blocks {
    let of_block = |block: u32| {
        let bytes = (block * rows..(block + 1) * rows).flat_map(&row).collect();
        (block, Block { bytes, rows })
    };
    range.map(of_block).collect()
}

/// A row in COPY BINARY's form.
fn binary(fields: &[Option<&[u8]>]) -> Vec<u8> {
    let mut row = (fields.len() as u16).to_be_bytes().to_vec();
    for field in fields {
        let length = field.map_or(u32::MAX, |field| field.len() as u32);
        row.extend(length.to_be_bytes());
        row.extend(field.unwrap_or_default());
    }
    row
}

/// Twenty rows a block, with a column of each kind that a layout has.
pub fn orders(range: Range<u32>, seed: u32) -> Blocks {
    blocks(range, 20, |id| {
        let text = "in between ".repeat((id % 7) as usize);
        let some = sample::noise(u64::from(id) << 32 | u64::from(seed), 6);
        binary(&[
            Some(&u64::from(id).to_be_bytes()),
            (id % 3 > 0).then_some(&(id + seed).to_be_bytes()[..]),
            None,
            Some(text.as_bytes()),
            Some(&[u8::from(id % 2 == 0)]),
            Some(&some),
            Some(b""),
            (id % 5 > 0).then(|| &text.as_bytes()[..(id as usize % 7).min(text.len())]),
            Some(&[7; 20]),
        ])
    })
}

/// Too few rows to be laid out.
pub fn tiny() -> Blocks {
    blocks(0..1, 3, |id| {
        binary(&[Some(&id.to_be_bytes()), Some(b"tiny")])
    })
}

/// COPY TEXT lines.
pub fn notes(range: Range<u32>, seed: u32) -> Blocks {
    blocks(range, 9, |id| {
        format!("{id}\tnote {seed} in ünïcode, a tab \\t and a line\\nmore\t\\N\n").into_bytes()
    })
}

/// Rows that are longer than a frame, and short ones between them.
pub fn wide(seed: u32) -> Blocks {
    blocks(0..3, 2, |id| {
        let long = "a long text. ".repeat(3_000);
        let long = long.as_bytes();
        let other = sample::noise(u64::from(seed + id), 900);
        binary(&[
            Some(&id.to_be_bytes()),
            Some(if id % 2 == 0 { long } else { &other }),
        ])
    })
}

/// A row that is longer than the longest frame.
pub fn zeros() -> Blocks {
    blocks(0..1, 1, |_| binary(&[Some(&vec![0; 1_300_000])]))
}

/// One line that no compressor shortens much.
pub fn noise(length: usize, seed: u32) -> Blocks {
    blocks(0..1, 1, |_| {
        let noise = sample::noise(u64::from(seed), length);
        format!("{}\n", hex::encode(noise)).into_bytes()
    })
}

/// Pages of 512 bytes, half of each empty.
pub fn pages(range: Range<u32>, seed: u32) -> Blocks {
    blocks(range, 1, |page| {
        let mut bytes = sample::noise(u64::from(page) << 32 | u64::from(seed), 256);
        bytes.resize(512, 0);
        bytes
    })
}

pub fn ddl() -> String {
    "create table orders (id bigint primary key, customer int);\n".repeat(30)
}
