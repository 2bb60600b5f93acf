//! Neighbouring frames of one pack, read in one go.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use zstd::bulk::Decompressor;

use crate::columns::{self, SPARE_BYTES};
use crate::footer::{Footer, FrameAt};
use crate::frame::{Bound, FRONT_BYTES, HASH_BYTES, Packing};
use crate::{FrameRun, PackId, Vault, VaultError};

/// One ranged read and what it unpacks to are at most about this long.
const BATCH_STORED: u64 = 4 << 20;
const BATCH_PLAIN: u64 = 8 << 20;

/// Frames that follow each other in a pack.
pub(crate) struct Batch {
    footer: Arc<Footer>,
    pack: PackId,
    /// The number of its first frame in the pack.
    first: u32,
    count: u32,
}

impl Vault {
    /// The first few frames of a run, wherever they lie now.
    pub(crate) async fn batch(&self, run: &FrameRun) -> Result<Batch, VaultError> {
        loop {
            let at = self.moves().place(run);
            match self.batch_at(&at).await {
                Err(error @ VaultError::Missing { .. }) => self.moved_away(run, at, error).await?,
                other => return other,
            }
        }
    }

    /// The same, and their sealed bytes.
    pub(crate) async fn read_batch(
        &self,
        run: &FrameRun,
    ) -> Result<(Batch, Result<Bytes, VaultError>), VaultError> {
        loop {
            let batch = self.batch(run).await?;
            match self.fetch(&batch).await {
                Err(error @ VaultError::Missing { .. }) => {
                    // It was there a moment ago: its footer is known.
                    let at = batch.run();
                    self.0.footers.forget(at.pack);
                    if let Err(error) = self.moved_away(run, at, error).await {
                        return Ok((batch, Err(error)));
                    }
                }
                sealed => return Ok((batch, sealed)),
            }
        }
    }

    /// Whether the frames of a run lie elsewhere than where they were not found: then it is fine.
    async fn moved_away(
        &self,
        run: &FrameRun,
        at: FrameRun,
        missing: VaultError,
    ) -> Result<(), VaultError> {
        self.load_moves().await?;
        match self.moves().place(run).pack == at.pack {
            true => Err(missing),
            false => Ok(()),
        }
    }

    /// The first few frames of those in that place.
    pub(crate) async fn batch_at(&self, run: &FrameRun) -> Result<Batch, VaultError> {
        let footer = self.footer(run.pack).await?;
        let listed = footer.frames.len() as u64;
        let end = u64::from(run.first) + u64::from(run.count);
        if run.count == 0 || end > listed {
            return Err(VaultError::FrameDamaged {
                path: footer.path.clone(),
                frame: run.first.saturating_add(run.count.saturating_sub(1)),
                what: format!("the pack has only {listed} frames"),
            });
        }
        let (mut stored, mut plain, mut count) = (0, 0, 0);
        while count < run.count && stored < BATCH_STORED && plain < BATCH_PLAIN {
            let at = footer.frames[(run.first + count) as usize];
            stored += u64::from(at.stored);
            plain += u64::from(at.plain);
            count += 1;
        }
        Ok(Batch {
            footer,
            pack: run.pack,
            first: run.first,
            count,
        })
    }

    /// The length of each frame's content in a run.
    pub(crate) async fn plain_bytes(&self, run: &FrameRun) -> Result<Vec<u32>, VaultError> {
        let mut lengths = Vec::with_capacity(run.count as usize);
        let mut rest = Some(*run);
        while let Some(run) = rest {
            let batch = self.batch(&run).await?;
            lengths.extend((0..batch.count()).map(|place| batch.at(place).plain));
            rest = run.after(batch.count());
        }
        Ok(lengths)
    }

    /// The sealed bytes of all its frames.
    pub(crate) async fn fetch(&self, batch: &Batch) -> Result<Bytes, VaultError> {
        let path = &batch.footer.path;
        self.0.store.get_range(path, batch.range()).await
    }
}

impl Batch {
    /// How many frames.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The path of its pack.
    pub(crate) fn path(&self) -> &str {
        &self.footer.path
    }

    /// Where its frames lie.
    fn run(&self) -> FrameRun {
        FrameRun {
            pack: self.pack,
            first: self.first,
            count: self.count,
        }
    }

    /// The number in its pack of the frame in that place of the batch.
    pub(crate) fn number(&self, place: u32) -> u32 {
        self.first + place
    }

    pub(crate) fn at(&self, place: u32) -> FrameAt {
        self.footer.frames[self.number(place) as usize]
    }

    fn range(&self) -> Range<u64> {
        let (first, last) = (self.at(0), self.at(self.count - 1));
        first.offset..last.offset + u64::from(last.stored)
    }

    /// Bytes that it takes in the pack.
    pub(crate) fn stored(&self) -> u64 {
        let range = self.range();
        range.end - range.start
    }

    /// Opens the seal of one frame; `sealed` are the bytes of the whole batch.
    pub(crate) fn open(
        &self,
        place: u32,
        sealed: &[u8],
        opened: &mut Vec<u8>,
    ) -> Result<(), VaultError> {
        let at = self.at(place);
        let from = (at.offset - self.at(0).offset) as usize;
        let bytes = &sealed[from..from + at.stored as usize];
        let bound = Bound::frame(self.number(place), at.plain);
        if self.footer.key.open(&bound, bytes, opened) {
            Ok(())
        } else {
            Err(self.damaged(place, "its seal is broken"))
        }
    }

    /// Unpacks what a seal held, and compares the hash.
    pub(crate) fn unpack(
        &self,
        place: u32,
        opened: &[u8],
        decompressor: &mut Decompressor<'static>,
    ) -> Result<Vec<u8>, VaultError> {
        let plain = self.at(place).plain as usize;
        let (front, packed) = opened.split_at(FRONT_BYTES);
        let hash = &front[..HASH_BYTES];
        let mut unpacked = |limit| {
            let unpacked = decompressor.decompress(packed, limit);
            unpacked
                .map_err(|error| self.damaged(place, &format!("it cannot be unpacked: {error}")))
        };
        let content = match Packing::of(front[HASH_BYTES]) {
            Some(Packing::AsIs) => unpacked(plain)?,
            Some(Packing::ByColumns) => columns::unpack(&unpacked(plain + SPARE_BYTES)?, plain)
                .ok_or_else(|| self.damaged(place, "its columns contradict each other"))?,
            None => {
                return Err(VaultError::NewerFormat {
                    path: format!("{}, frame {}", self.footer.path, self.number(place)),
                    found: u64::from(front[HASH_BYTES]),
                    known: Packing::ByColumns as u64,
                });
            }
        };
        if content.len() != plain || blake3::hash(&content).as_bytes() != hash {
            return Err(self.damaged(place, "its content is not what was written (BLAKE3)"));
        }
        Ok(content)
    }

    fn damaged(&self, place: u32, what: &str) -> VaultError {
        VaultError::FrameDamaged {
            path: self.footer.path.clone(),
            frame: self.number(place),
            what: what.to_owned(),
        }
    }
}

/// What unpacks frames.
pub(crate) fn decompressor() -> Result<Decompressor<'static>, VaultError> {
    Decompressor::new().map_err(|error| VaultError::Internal {
        doing: "decompress",
        why: error.to_string(),
    })
}
