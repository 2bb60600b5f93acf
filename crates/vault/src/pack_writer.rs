//! Writing packs: plain CPU code for a sealing thread.

use std::io::Cursor;
use std::sync::Arc;

use bytes::Bytes;
use model::FRAME_BYTES;
use zstd::bulk::Compressor;

use crate::columns::{ColumnPacker, RowCursor};
use crate::frame::{
    Bound, FOOTER_NUMBER, FRONT_BYTES, MAX_FRAMES, PackKey, Packing, Part, TAG_BYTES, ZSTD_LEVEL,
};
use crate::keys::Keys;
use crate::ledger::Ledger;
use crate::trailer::{TRAILER_BYTES, Trailer};
use crate::{FramePlace, PACK_BYTES, PackId, PackPrefix, VaultError};

/// A closed pack, ready to be put by [`SavesetWriter::put_pack`](crate::SavesetWriter::put_pack).
#[derive(Debug)]
#[must_use = "a pack that is not put makes the commit fail"]
pub struct SealedPack {
    pub(crate) id: PackId,
    pub(crate) frames: u32,
    pub(crate) bytes: Bytes,
}

impl SealedPack {
    /// Its id.
    pub fn id(&self) -> PackId {
        self.id
    }

    /// The bytes that it takes in the vault.
    pub fn stored_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// Seals frames into packs: one for each stream. It holds one open pack at most, compresses with
/// one context, and copies no plaintext but that of rows, once, into [columns](crate::RowCursor).
pub struct PackWriter {
    keys: Arc<Keys>,
    prefix: PackPrefix,
    ledger: Arc<Ledger>,
    compressor: Compressor<'static>,
    columns: ColumnPacker,
    open: Option<OpenPack>,
}

struct OpenPack {
    id: PackId,
    key: PackKey,
    buffer: Vec<u8>,
    /// Stored and plain bytes of each frame.
    frames: Vec<(u32, u32)>,
}

impl PackWriter {
    pub(crate) fn new(
        keys: Arc<Keys>,
        prefix: PackPrefix,
        ledger: Arc<Ledger>,
    ) -> Result<Self, VaultError> {
        let compressor = Compressor::new(ZSTD_LEVEL).map_err(cannot_compress)?;
        Ok(PackWriter {
            keys,
            prefix,
            ledger,
            compressor,
            columns: ColumnPacker::default(),
            open: None,
        })
    }

    /// Seals one frame of 1 to [`FRAME_BYTES`] bytes into the open pack; opens one if none is.
    ///
    /// # Errors
    /// When the frame is empty or too long, or the open pack [is full](Self::is_full).
    pub fn append(&mut self, plain: &[u8]) -> Result<FramePlace, VaultError> {
        let mut pack = self.open_for(plain.len())?;
        // A pack that failed is given up: none of its numbers is ever sealed a second time, and the
        // commit finds it missing.
        let place = pack.append(plain, Packing::AsIs, plain, &mut self.compressor)?;
        self.open = Some(pack);
        Ok(place)
    }

    /// As [`append`](Self::append), for the next frame of rows in COPY BINARY's form: they are laid
    /// out by columns where that is better. `cursor` is the content's own, new for its first frame.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_rows(
        &mut self,
        plain: &[u8],
        cursor: &mut RowCursor,
    ) -> Result<FramePlace, VaultError> {
        let mut pack = self.open_for(plain.len())?;
        let (packing, laid_out) = match self.columns.pack(plain, cursor) {
            Some(layout) => (Packing::ByColumns, layout),
            None => (Packing::AsIs, plain),
        };
        let place = pack.append(plain, packing, laid_out, &mut self.compressor)?;
        self.open = Some(pack);
        Ok(place)
    }

    /// Seals again what the seal of another frame held; its content has so many bytes.
    pub(crate) fn append_opened(
        &mut self,
        opened: &[u8],
        plain_bytes: u32,
    ) -> Result<FramePlace, VaultError> {
        let mut pack = self.open_for(plain_bytes as usize)?;
        let place = pack.append_opened(opened, plain_bytes)?;
        self.open = Some(pack);
        Ok(place)
    }

    /// The open pack, taken out, for one more frame.
    fn open_for(&mut self, bytes: usize) -> Result<OpenPack, VaultError> {
        if bytes == 0 || bytes > FRAME_BYTES {
            return Err(VaultError::Internal {
                doing: "seal a frame",
                why: format!("it has {bytes} bytes, not 1 to {FRAME_BYTES}"),
            });
        }
        if self.is_full() {
            return Err(VaultError::Internal {
                doing: "seal a frame",
                why: "the open pack is full and must be taken first".to_owned(),
            });
        }
        match self.open.take() {
            Some(pack) => Ok(pack),
            None => OpenPack::new(&self.keys, self.prefix, &self.ledger),
        }
    }

    /// Whether the open pack must be [taken](Self::take) before the next frame.
    pub fn is_full(&self) -> bool {
        self.open.as_ref().is_some_and(|pack| {
            pack.buffer.len() >= PACK_BYTES || pack.frames.len() >= MAX_FRAMES as usize
        })
    }

    /// Closes the open pack; `None` if no frame was sealed since the last one.
    ///
    /// # Errors
    /// Only when the cipher fails.
    pub fn take(&mut self) -> Result<Option<SealedPack>, VaultError> {
        self.open
            .take()
            .map(|pack| pack.close(&self.keys))
            .transpose()
    }
}

impl OpenPack {
    fn new(keys: &Keys, prefix: PackPrefix, ledger: &Ledger) -> Result<Self, VaultError> {
        let id = PackId::generate(prefix)?;
        ledger.opened(id);
        Ok(OpenPack {
            id,
            key: keys.pack_key(id)?,
            // Pages that are never written to are never given by the system.
            buffer: Vec::with_capacity(PACK_BYTES + 2 * FRAME_BYTES),
            frames: Vec::new(),
        })
    }

    fn append(
        &mut self,
        plain: &[u8],
        packing: Packing,
        laid_out: &[u8],
        compressor: &mut Compressor<'static>,
    ) -> Result<FramePlace, VaultError> {
        let start = self.buffer.len();
        self.buffer
            .extend_from_slice(blake3::hash(plain).as_bytes());
        self.buffer.push(packing as u8);
        self.buffer
            .reserve(zstd::zstd_safe::compress_bound(laid_out.len()) + TAG_BYTES);
        let mut end = Cursor::new(&mut self.buffer);
        end.set_position((start + FRONT_BYTES) as u64);
        compressor
            .compress_to_buffer(laid_out, &mut end)
            .map_err(cannot_compress)?;
        self.seal(start, plain.len() as u32)
    }

    fn append_opened(&mut self, opened: &[u8], plain_bytes: u32) -> Result<FramePlace, VaultError> {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(opened);
        self.seal(start, plain_bytes)
    }

    /// Seals what the buffer holds from `start` on as the next frame.
    fn seal(&mut self, start: usize, plain_bytes: u32) -> Result<FramePlace, VaultError> {
        let number = self.frames.len() as u32;
        self.key
            .seal(&Bound::frame(number, plain_bytes), &mut self.buffer, start)?;
        let stored = (self.buffer.len() - start) as u32;
        self.frames.push((stored, plain_bytes));
        Ok(FramePlace {
            pack: self.id,
            frame: number,
            stored,
        })
    }

    fn close(mut self, keys: &Keys) -> Result<SealedPack, VaultError> {
        let start = self.buffer.len();
        for (stored, plain) in &self.frames {
            self.buffer.extend_from_slice(&stored.to_le_bytes());
            self.buffer.extend_from_slice(&plain.to_le_bytes());
        }
        let footer = self.buffer.len() - start;
        let trailer = Trailer {
            footer: (footer + TAG_BYTES) as u32,
            frames: self.frames.len() as u32,
            object: (start + footer + TAG_BYTES + TRAILER_BYTES) as u64,
            key: keys.id(),
            pack: self.id,
        }
        .encode();
        let bound = Bound {
            part: Part::Footer,
            number: FOOTER_NUMBER,
            plain: footer as u32,
            trailer: &trailer,
        };
        self.key.seal(&bound, &mut self.buffer, start)?;
        self.buffer.extend_from_slice(&trailer);
        Ok(SealedPack {
            id: self.id,
            frames: self.frames.len() as u32,
            bytes: self.buffer.into(),
        })
    }
}

fn cannot_compress(error: std::io::Error) -> VaultError {
    VaultError::Internal {
        doing: "compress",
        why: error.to_string(),
    }
}
