//! Table sheets: which frames hold a table's rows.

use std::io::{self, Write};

use model::{BlockRange, FRAME_BYTES, SavesetId};
use serde::{Deserialize, Serialize};

use crate::{ContentHash, FramePlace, FrameRun, PackWriter, SealedPack, VaultError, runs};

/// The JSON of a sheet is at most this long: about a million segments, 8 TB of rows.
pub(crate) const MAX_SHEET_BYTES: u64 = 256 << 20;

/// The rows of a table that lie in one range of blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentEntry {
    /// Which blocks.
    pub blocks: BlockRange,
    /// The frames of its rows, in their order; rows may span frames. None: no rows.
    pub rows: Vec<FrameRun>,
    /// Bytes of the rows, unpacked.
    pub plain_bytes: u64,
    /// Bytes in the vault of the frames of rows and index.
    pub stored_bytes: u64,
    /// How many rows.
    pub row_count: u64,
    /// The frames of the index *block → rows* ([`model::BlockIndex::encode`]); one in practice.
    pub index: Vec<FrameRun>,
    /// BLAKE3 of all plain bytes of the rows.
    pub hash: ContentHash,
}

/// The rows of a table's changed blocks at a later backup. Reserved: no release writes one yet,
/// and this one refuses a sheet that has any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchEntry {
    /// The saveset that wrote it; a later patch's block replaces that of an earlier one.
    pub saveset: SavesetId,
    /// The frames of its rows.
    pub rows: Vec<FrameRun>,
    /// Bytes of the rows, unpacked.
    pub plain_bytes: u64,
    /// Bytes in the vault of the frames of rows and index.
    pub stored_bytes: u64,
    /// How many rows.
    pub row_count: u64,
    /// The frames of the index: every changed block, those that are empty now with no rows.
    pub index: Vec<FrameRun>,
    /// BLAKE3 of all plain bytes of the rows.
    pub hash: ContentHash,
}

/// The segments and patches of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSheet {
    /// Segments, by ascending blocks; their ranges do not overlap.
    pub segments: Vec<SegmentEntry>,
    /// Patches, oldest first.
    pub patches: Vec<PatchEntry>,
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
    pub rows: u64,
    /// Bytes of the table's rows, unpacked.
    pub plain_bytes: u64,
    /// Bytes in the vault of everything the table refers to, the sheet itself included.
    pub stored_bytes: u64,
}

impl TableSheet {
    /// Rows of all segments.
    pub fn rows(&self) -> u64 {
        self.segments.iter().map(|s| s.row_count).sum()
    }

    /// Bytes of all rows, unpacked.
    pub fn plain_bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.plain_bytes).sum()
    }

    /// Bytes in the vault of all segments and patches.
    pub fn stored_bytes(&self) -> u64 {
        let segments = self.segments.iter().map(|s| s.stored_bytes);
        segments
            .chain(self.patches.iter().map(|p| p.stored_bytes))
            .sum()
    }

    /// What must hold of a sheet, beyond being JSON of the right form.
    pub(crate) fn check(&self) -> Result<(), String> {
        for pair in self.segments.windows(2) {
            let end = pair[0].blocks.end;
            if end.is_none_or(|end| end > pair[1].blocks.start) {
                return Err(format!("{} and {} overlap", pair[0].blocks, pair[1].blocks));
            }
        }
        Ok(())
    }
}

/// Seals a sheet, as JSON in frames, behind whatever the writer's open pack holds. Packs that
/// become full are given to `on_full`; the last one stays open.
///
/// # Errors
/// [`TooLarge`](VaultError::TooLarge) if no reader would take it, those of `on_full`, and those of
/// [`PackWriter::append`].
pub fn write_sheet(
    sheet: &TableSheet,
    writer: &mut PackWriter,
    on_full: &mut dyn FnMut(SealedPack) -> Result<(), VaultError>,
) -> Result<SheetRef, VaultError> {
    sheet.check().map_err(|why| VaultError::Internal {
        doing: "write a table's sheet",
        why,
    })?;
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
        rows: sheet.rows(),
        plain_bytes: sheet.plain_bytes(),
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
