//! Reading frames: by ranged reads, everything checked before it is given.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use zstd::bulk::Decompressor;

use crate::columns::{self, SPARE_BYTES};
use crate::footer::{Footer, FrameAt};
use crate::frame::{Bound, FRONT_BYTES, HASH_BYTES, Packing};
use crate::{ContentHash, FrameRun, PackId, Vault, VaultError};

/// One ranged read and what it unpacks to are at most about this long.
const BATCH_STORED: u64 = 4 << 20;
const BATCH_PLAIN: u64 = 8 << 20;

/// How deep a read looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Every byte is authenticated by its seal.
    Authenticate,
    /// It is also unpacked, and the content's hash compared.
    Decompress,
}

/// Neighbouring frames, read in one go.
struct Batch {
    footer: Arc<Footer>,
    first: u32,
    count: u32,
}

/// The checked content of some runs of frames, frame by frame, in bounded memory. At its end it
/// checks the length and the hash of the whole.
pub struct RunReader {
    vault: Vault,
    runs: VecDeque<FrameRun>,
    ready: VecDeque<Bytes>,
    read: u64,
    stored: u64,
    hash: blake3::Hasher,
    last_pack: Option<PackId>,
    expected: Option<(u64, ContentHash)>,
}

impl Vault {
    /// Reads one run of frames.
    pub fn read_run(&self, run: &FrameRun) -> RunReader {
        RunReader::new(self, std::slice::from_ref(run), None)
    }

    /// Reads runs that are one content of that length and hash.
    pub fn read_checked(&self, runs: &[FrameRun], bytes: u64, hash: ContentHash) -> RunReader {
        RunReader::new(self, runs, Some((bytes, hash)))
    }

    /// Reads every sealed byte of some runs without unpacking them; answers how many those were.
    pub(crate) async fn authenticate(&self, runs: &[FrameRun]) -> Result<u64, VaultError> {
        let mut reader = RunReader::new(self, runs, None);
        while let Some(batch) = reader.next_batch().await? {
            let sealed = reader.fetch(&batch).await?;
            on_cpu(move || batch.open(&sealed, |_, _, _| Ok(()))).await?;
        }
        Ok(reader.stored)
    }
}

impl RunReader {
    fn new(vault: &Vault, runs: &[FrameRun], expected: Option<(u64, ContentHash)>) -> Self {
        RunReader {
            vault: vault.clone(),
            runs: runs.iter().copied().collect(),
            ready: VecDeque::new(),
            read: 0,
            stored: 0,
            hash: blake3::Hasher::new(),
            last_pack: runs.last().map(|run| run.pack),
            expected,
        }
    }

    /// The next frame's content, or `None` at the end.
    ///
    /// # Errors
    /// When a pack is missing or damaged, or the whole is not what was written. Nothing that was
    /// given before is then worth anything either.
    pub async fn next(&mut self) -> Result<Option<Bytes>, VaultError> {
        if self.ready.is_empty()
            && let Some(batch) = self.next_batch().await?
        {
            let sealed = self.fetch(&batch).await?;
            let hash = self.hash.clone();
            let (frames, hash) = on_cpu(move || batch.unpack(&sealed, hash)).await?;
            self.hash = hash;
            self.ready = frames;
        }
        let Some(frame) = self.ready.pop_front() else {
            return self.finish().map(|()| None);
        };
        self.read += frame.len() as u64;
        Ok(Some(frame))
    }

    /// Reads all that is left, at most `limit` bytes.
    pub(crate) async fn collect(mut self, what: &str, limit: u64) -> Result<Vec<u8>, VaultError> {
        let mut all = Vec::new();
        while let Some(frame) = self.next().await? {
            if self.read > limit {
                return Err(VaultError::TooLarge {
                    path: what.to_owned(),
                    bytes: self.read,
                    limit,
                });
            }
            all.extend_from_slice(&frame);
        }
        Ok(all)
    }

    /// Bytes in the vault that were read so far.
    pub fn stored_bytes(&self) -> u64 {
        self.stored
    }

    fn finish(&self) -> Result<(), VaultError> {
        let Some((bytes, hash)) = self.expected else {
            return Ok(());
        };
        if self.read == bytes && ContentHash::from(self.hash.finalize()) == hash {
            return Ok(());
        }
        let what = format!(
            "the frames that end in it have other content than was written: {} bytes, not {bytes}, \
             or another BLAKE3",
            self.read
        );
        let path = self
            .last_pack
            .map_or("a content without frames".to_owned(), PackId::path);
        Err(VaultError::damaged(path, what))
    }

    /// Takes the next few frames off the runs.
    async fn next_batch(&mut self) -> Result<Option<Batch>, VaultError> {
        let Some(run) = self.runs.front_mut() else {
            return Ok(None);
        };
        let footer = self.vault.footer(run.pack).await?;
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
        let batch = Batch {
            footer,
            first: run.first,
            count,
        };
        if count == run.count {
            self.runs.pop_front();
        } else {
            run.first += count;
            run.count -= count;
        }
        Ok(Some(batch))
    }

    async fn fetch(&mut self, batch: &Batch) -> Result<Bytes, VaultError> {
        let (first, last) = (batch.at(0), batch.at(batch.count - 1));
        let range = first.offset..last.offset + u64::from(last.stored);
        self.stored += range.end - range.start;
        self.vault
            .0
            .store
            .get_range(&batch.footer.path, range)
            .await
    }
}

impl Batch {
    fn at(&self, place: u32) -> FrameAt {
        self.footer.frames[(self.first + place) as usize]
    }

    /// Opens each frame and hands over its number, its unpacked length and what its seal held.
    fn open(
        &self,
        sealed: &[u8],
        mut each: impl FnMut(u32, u32, &[u8]) -> Result<(), VaultError>,
    ) -> Result<(), VaultError> {
        let mut opened = Vec::new();
        let start = self.at(0).offset;
        for place in 0..self.count {
            let (number, at) = (self.first + place, self.at(place));
            let from = (at.offset - start) as usize;
            let bytes = &sealed[from..from + at.stored as usize];
            if !self
                .footer
                .key
                .open(&Bound::frame(number, at.plain), bytes, &mut opened)
            {
                return Err(self.damaged(number, "its seal is broken"));
            }
            each(number, at.plain, &opened)?;
        }
        Ok(())
    }

    fn unpack(
        &self,
        sealed: &[u8],
        mut whole: blake3::Hasher,
    ) -> Result<(VecDeque<Bytes>, blake3::Hasher), VaultError> {
        let mut frames = VecDeque::with_capacity(self.count as usize);
        let mut decompressor = Decompressor::new().map_err(|error| VaultError::Internal {
            doing: "decompress",
            why: error.to_string(),
        })?;
        self.open(sealed, |number, plain, opened| {
            let (front, packed) = opened.split_at(FRONT_BYTES);
            let hash = &front[..HASH_BYTES];
            let plain = plain as usize;
            let mut unpacked = |limit| {
                let unpacked = decompressor.decompress(packed, limit);
                unpacked.map_err(|error| {
                    self.damaged(number, &format!("it cannot be unpacked: {error}"))
                })
            };
            let content = match Packing::of(front[HASH_BYTES]) {
                Some(Packing::AsIs) => unpacked(plain)?,
                Some(Packing::ByColumns) => columns::unpack(&unpacked(plain + SPARE_BYTES)?, plain)
                    .ok_or_else(|| self.damaged(number, "its columns contradict each other"))?,
                None => {
                    return Err(VaultError::NewerFormat {
                        path: format!("{}, frame {number}", self.footer.path),
                        found: u64::from(front[HASH_BYTES]),
                        known: Packing::ByColumns as u64,
                    });
                }
            };
            if content.len() != plain || blake3::hash(&content).as_bytes() != hash {
                return Err(self.damaged(number, "its content is not what was written (BLAKE3)"));
            }
            whole.update(&content);
            frames.push_back(content.into());
            Ok(())
        })?;
        Ok((frames, whole))
    }

    fn damaged(&self, frame: u32, what: &str) -> VaultError {
        VaultError::FrameDamaged {
            path: self.footer.path.clone(),
            frame,
            what: what.to_owned(),
        }
    }
}

/// Runs work that burns the CPU off the runtime's threads.
pub(crate) async fn on_cpu<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VaultError> + Send + 'static,
) -> Result<T, VaultError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| VaultError::Internal {
        doing: "check what was read",
        why: error.to_string(),
    })?
}

/// All content of some runs, at most `limit` bytes.
pub(crate) async fn all(
    vault: &Vault,
    runs: &[FrameRun],
    what: &str,
    limit: u64,
) -> Result<Vec<u8>, VaultError> {
    RunReader::new(vault, runs, None).collect(what, limit).await
}
