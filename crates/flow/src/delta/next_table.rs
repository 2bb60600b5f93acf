//! A table as it goes into the manifest: what stays of the base, and what was read.

use std::sync::Arc;

use model::BlockIndex;
use vault::{ManifestTable, SegmentEntry, TableSheet, TableSize};

use super::rules::Next;
use super::task::Ready;

/// What a table's next sheet has of the base's.
pub(crate) enum FromBase {
    /// Nothing.
    Nothing,
    /// All of it: it is referred to again.
    All(ManifestTable),
    /// Some of it.
    Some(Arc<Onto>),
}

/// A table whose base is kept in part.
pub(crate) struct Onto {
    pub(super) before: ManifestTable,
    pub(super) next: Next,
    /// What the kept segments come to, as the base has them.
    pub(super) left: TableSize,
    /// No row that is left lies in this block or a later one.
    pub(super) end: u32,
}

/// What was read of a table.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) segments: Vec<SegmentEntry>,
    pub(crate) patches: Vec<SegmentEntry>,
    /// What the base has of the blocks that the patches list.
    pub(crate) replaced_rows: u64,
    pub(crate) replaced_bytes: u64,
    /// No row that was read lies in this block or a later one.
    pub(crate) end: u32,
}

/// A table as it goes into the manifest.
pub(crate) enum NextTable {
    /// As the base has it.
    Same(ManifestTable),
    /// With a sheet of its own; `None`: no rows and no blocks.
    Own {
        sheet: Option<TableSheet>,
        size: TableSize,
        end: u32,
    },
}

impl FromBase {
    /// The table as it goes into the manifest; `None`: what the base tells of its rows does not add up.
    pub(crate) fn table(self, read: Gathered) -> Option<NextTable> {
        let onto = match self {
            FromBase::All(before) => return Some(NextTable::Same(before)),
            FromBase::Nothing => return Some(without_base(read)),
            FromBase::Some(onto) => onto,
        };
        if read.segments.is_empty() && read.patches.is_empty() && !onto.next.cut {
            return Some(NextTable::Same(onto.before.clone()));
        }
        let replaced = TableSize {
            rows: read.replaced_rows,
            plain_bytes: read.replaced_bytes,
        };
        let new = |of: fn(&SegmentEntry) -> u64| -> u64 {
            read.segments.iter().chain(&read.patches).map(of).sum()
        };
        let left = less(onto.left, replaced)?;
        let size = TableSize {
            rows: left.rows + new(|entry| entry.row_count),
            plain_bytes: left.plain_bytes + new(|entry| entry.plain_bytes),
        };
        let kept = onto.next.kept.iter().map(|(_, entry)| entry.clone());
        let mut segments: Vec<SegmentEntry> = kept.chain(read.segments).collect();
        segments.sort_by_key(|segment| segment.blocks.start);
        let stay = onto.next.patches.iter().filter(|patch| patch.stays);
        let mut patches: Vec<SegmentEntry> = stay.map(|patch| patch.entry.clone()).collect();
        patches.extend(read.patches);
        Some(NextTable::Own {
            sheet: Some(TableSheet { segments, patches }),
            size,
            end: onto.end.max(read.end),
        })
    }
}

fn without_base(read: Gathered) -> NextTable {
    let sheet = TableSheet {
        segments: read.segments,
        patches: Vec::new(),
    };
    NextTable::Own {
        size: TableSize {
            rows: sheet.rows(),
            plain_bytes: sheet.plain_bytes(),
        },
        sheet: (!sheet.segments.is_empty()).then_some(sheet),
        end: read.end,
    }
}

impl Gathered {
    /// Adds what a task came to. A patch's index lists blocks in whose place something stands in the base.
    pub(crate) fn add(&mut self, ready: &Ready, index: &BlockIndex, entry: Option<SegmentEntry>) {
        let mut filled = index.spans().iter().filter(|span| span.rows > 0);
        let end = filled
            .next_back()
            .map_or(0, |span| span.block.saturating_add(1));
        self.end = self.end.max(end);
        if ready.task.patch.is_none() {
            self.segments.extend(entry);
            return;
        }
        let mut listed = index.spans().iter().map(|span| span.block).peekable();
        for before in &ready.before {
            while listed.next_if(|block| *block < before.block).is_some() {}
            if listed.peek() == Some(&before.block) {
                self.replaced_rows += u64::from(before.rows);
                self.replaced_bytes += before.bytes;
            }
        }
        self.patches.extend(entry);
    }
}

/// What is left of a size; `None`: there is not so much.
pub(super) fn less(size: TableSize, by: TableSize) -> Option<TableSize> {
    Some(TableSize {
        rows: size.rows.checked_sub(by.rows)?,
        plain_bytes: size.plain_bytes.checked_sub(by.plain_bytes)?,
    })
}
