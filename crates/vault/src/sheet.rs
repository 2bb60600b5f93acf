//! Table sheets: which frames hold a table's rows.

use std::cmp::Ordering;
use std::io::{self, Write};

use model::{BlockRange, FRAME_BYTES, SavesetId};
use serde::{Deserialize, Serialize};

use crate::{ContentHash, FramePlace, FrameRun, PackWriter, SealedPack, VaultError, runs};

/// The JSON of a sheet is at most this long: about a million segments, 8 TB of rows.
pub(crate) const MAX_SHEET_BYTES: u64 = 256 << 20;

/// Rows of a table that one saveset read in one range of blocks. As a segment it stands for all blocks
/// of the range, as a patch for those that its index lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentEntry {
    /// The saveset that read the rows. A patch counts only in segments that are older than it.
    #[serde(rename = "saveset_id")]
    pub saveset: SavesetId,
    /// Which blocks.
    pub blocks: BlockRange,
    /// Rows of other blocks may lie in its frames, which are the table's no more: a later saveset made
    /// `blocks` narrower. Reading it then needs the index.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub narrowed: bool,
    /// The frames of its rows, in their order; rows may span frames. None: no rows.
    pub rows: Vec<FrameRun>,
    /// Bytes of the rows in its frames, unpacked.
    pub plain_bytes: u64,
    /// Bytes in the vault of the frames of rows and index.
    pub stored_bytes: u64,
    /// How many rows are in its frames.
    pub row_count: u64,
    /// The frames of the index *block → rows* with a hash for each block
    /// ([`model::BlockIndex::encode`]); one in practice. A patch's lists every changed block, one that
    /// is empty now with no rows.
    pub index: Vec<FrameRun>,
    /// BLAKE3 of the index's bytes. The index has a hash of the rows of each block, so that this one
    /// binds every row. Without a block there is no index: it is that of no bytes.
    pub hash: ContentHash,
}

/// The segments and patches of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSheet {
    /// Segments, by ascending blocks; their ranges do not overlap. What lies in none of them is no row
    /// of the table.
    pub segments: Vec<SegmentEntry>,
    /// Patches, oldest first, those of one saveset by ascending blocks and without overlap. For each
    /// block that a patch lists, its rows stand in the place of those that older segments and patches
    /// have ([`model::overlay`]).
    pub patches: Vec<SegmentEntry>,
}

/// Where a sheet is, and what it comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SheetRef {
    /// The frames of the sheet's JSON.
    pub runs: Vec<FrameRun>,
    /// Bytes of that JSON.
    pub bytes: u64,
    /// BLAKE3 of that JSON.
    pub hash: ContentHash,
    /// Rows of the table.
    #[serde(rename = "row_count")]
    pub rows: u64,
    /// Bytes of the table's rows, unpacked.
    pub plain_bytes: u64,
    /// Bytes in the vault of everything the table refers to, the sheet itself included.
    pub stored_bytes: u64,
}

impl SegmentEntry {
    /// All its frames.
    pub(crate) fn runs(&self) -> impl Iterator<Item = &FrameRun> {
        self.rows.iter().chain(&self.index)
    }

    fn check(&self) -> Result<(), String> {
        let blocks = self.blocks;
        if blocks.end.is_some_and(|end| end < blocks.start) {
            return Err(format!("{blocks} end before they begin"));
        }
        if let Some(run) = self.runs().find(|run| run.count == 0) {
            return Err(format!(
                "{blocks} name a run of no frames in pack {}",
                run.pack
            ));
        }
        if self.rows.is_empty() != (self.plain_bytes == 0) {
            return Err(format!(
                "{blocks} have bytes without frames, or frames without bytes"
            ));
        }
        if self.index.is_empty() {
            if !self.rows.is_empty() || self.row_count > 0 {
                return Err(format!("{blocks} have rows and no index"));
            }
            if self.hash != ContentHash::of(&[]) {
                return Err(format!("{blocks} have the hash of an index, and none"));
            }
        }
        Ok(())
    }
}

impl TableSheet {
    /// All segments and patches.
    pub fn entries(&self) -> impl Iterator<Item = &SegmentEntry> {
        self.segments.iter().chain(&self.patches)
    }

    /// Whether the rows in the frames of the segments, one after the other, are the table's: there is no
    /// patch, and no segment is narrowed.
    pub fn is_plain(&self) -> bool {
        self.patches.is_empty() && !self.segments.iter().any(|segment| segment.narrowed)
    }

    /// Rows in the frames of all segments: those of the table, if the sheet [is plain](Self::is_plain).
    pub fn rows(&self) -> u64 {
        self.segments.iter().map(|s| s.row_count).sum()
    }

    /// Bytes of the same rows, unpacked.
    pub fn plain_bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.plain_bytes).sum()
    }

    /// Bytes in the vault of all segments and patches.
    pub fn stored_bytes(&self) -> u64 {
        self.entries().map(|entry| entry.stored_bytes).sum()
    }

    /// What must hold of a sheet, beyond being JSON of the right form.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.entries().try_for_each(SegmentEntry::check)?;
        for pair in self.segments.windows(2) {
            ascending(&pair[0], &pair[1])?;
        }
        for pair in self.patches.windows(2) {
            match pair[0].saveset.cmp(&pair[1].saveset) {
                Ordering::Less => {}
                Ordering::Equal => ascending(&pair[0], &pair[1])?,
                Ordering::Greater => {
                    return Err(format!(
                        "a patch of saveset {} follows one of saveset {}",
                        pair[1].saveset, pair[0].saveset
                    ));
                }
            }
        }
        let bare = |patch: &&SegmentEntry| patch.index.is_empty();
        match self.patches.iter().find(bare) {
            Some(patch) => Err(format!("a patch of {} lists no block", patch.blocks)),
            None => Ok(()),
        }
    }
}

fn ascending(one: &SegmentEntry, next: &SegmentEntry) -> Result<(), String> {
    match one.blocks.end.is_some_and(|end| end <= next.blocks.start) {
        true => Ok(()),
        false => Err(format!("{} and {} overlap", one.blocks, next.blocks)),
    }
}

/// What a table comes to when its patches are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableSize {
    /// Rows.
    pub rows: u64,
    /// Bytes of the rows, unpacked.
    pub plain_bytes: u64,
}

/// Seals a sheet that [is plain](TableSheet::is_plain), as JSON in frames, behind whatever the writer's
/// open pack holds. Packs that become full are given to `on_full`; the last one stays open.
///
/// # Errors
/// [`TooLarge`](VaultError::TooLarge) if no reader would take it, those of `on_full`, and those of
/// [`PackWriter::append`].
pub fn write_sheet(
    sheet: &TableSheet,
    writer: &mut PackWriter,
    on_full: &mut dyn FnMut(SealedPack) -> Result<(), VaultError>,
) -> Result<SheetRef, VaultError> {
    let size = TableSize {
        rows: sheet.rows(),
        plain_bytes: sheet.plain_bytes(),
    };
    write_patched_sheet(sheet, size, writer, on_full)
}

/// As [`write_sheet`], for a sheet with patches or narrowed segments: its writer knows what the table
/// comes to.
///
/// # Errors
/// As [`write_sheet`].
pub fn write_patched_sheet(
    sheet: &TableSheet,
    size: TableSize,
    writer: &mut PackWriter,
    on_full: &mut dyn FnMut(SealedPack) -> Result<(), VaultError>,
) -> Result<SheetRef, VaultError> {
    let wrong = |why| VaultError::Internal {
        doing: "write a table's sheet",
        why,
    };
    sheet.check().map_err(wrong)?;
    if sheet.is_plain() && (size.rows, size.plain_bytes) != (sheet.rows(), sheet.plain_bytes()) {
        return Err(wrong("its segments come to something else".to_owned()));
    }
    let mut frames = FrameCutter::new(writer, on_full);
    if let Err(error) = serde_json::to_writer(&mut frames, sheet) {
        return Err(frames.failed.unwrap_or_else(|| VaultError::Internal {
            doing: "write a table's sheet",
            why: error.to_string(),
        }));
    }
    let written = frames.finish()?;
    if written.bytes > MAX_SHEET_BYTES {
        return Err(VaultError::TooLarge {
            path: format!("the sheet of a table of {} segments", sheet.segments.len()),
            bytes: written.bytes,
            limit: MAX_SHEET_BYTES,
        });
    }
    Ok(SheetRef {
        runs: runs(&written.places),
        bytes: written.bytes,
        hash: written.hash,
        rows: size.rows,
        plain_bytes: size.plain_bytes,
        stored_bytes: sheet.stored_bytes() + written.stored(),
    })
}

/// What a [`FrameCutter`] has written.
#[derive(Debug)]
pub struct Written {
    /// The frames, in their order.
    pub places: Vec<FramePlace>,
    /// All plain bytes.
    pub bytes: u64,
    /// BLAKE3 of all plain bytes.
    pub hash: ContentHash,
}

impl Written {
    /// Bytes in the vault.
    pub fn stored(&self) -> u64 {
        self.places.iter().map(|p| u64::from(p.stored)).sum()
    }
}

/// Takes bytes in pieces of any size and seals them in frames of [`FRAME_BYTES`].
pub struct FrameCutter<'a> {
    writer: &'a mut PackWriter,
    on_full: &'a mut dyn FnMut(SealedPack) -> Result<(), VaultError>,
    buffer: Vec<u8>,
    places: Vec<FramePlace>,
    bytes: u64,
    hash: blake3::Hasher,
    failed: Option<VaultError>,
}

impl<'a> FrameCutter<'a> {
    /// Packs that become full go to `on_full`.
    pub fn new(
        writer: &'a mut PackWriter,
        on_full: &'a mut dyn FnMut(SealedPack) -> Result<(), VaultError>,
    ) -> Self {
        FrameCutter {
            writer,
            on_full,
            buffer: Vec::with_capacity(FRAME_BYTES.min(64 << 10)),
            places: Vec::new(),
            bytes: 0,
            hash: blake3::Hasher::new(),
            failed: None,
        }
    }

    /// Takes some bytes.
    ///
    /// # Errors
    /// Those of `on_full`, and those of [`PackWriter::append`].
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), VaultError> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = FRAME_BYTES - self.buffer.len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == FRAME_BYTES {
                self.seal()?;
            }
        }
        Ok(())
    }

    /// Seals what is left. Nothing was pushed: no frame at all.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn finish(mut self) -> Result<Written, VaultError> {
        if !self.buffer.is_empty() {
            self.seal()?;
        }
        Ok(Written {
            places: self.places,
            bytes: self.bytes,
            hash: self.hash.finalize().into(),
        })
    }

    fn seal(&mut self) -> Result<(), VaultError> {
        self.places.push(self.writer.append(&self.buffer)?);
        self.buffer.clear();
        if self.writer.is_full()
            && let Some(pack) = self.writer.take()?
        {
            (self.on_full)(pack)?;
        }
        Ok(())
    }
}

impl Write for FrameCutter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.push(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                self.failed = Some(error);
                Err(io::Error::other("a frame could not be sealed"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
