//! Reading frames: by ranged reads, everything checked before it is given.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::batch::{Batch, decompressor};
use crate::{ContentHash, FrameRun, PackId, Vault, VaultError};

/// How deep a read looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Every byte is authenticated by its seal.
    Authenticate,
    /// It is also unpacked, and the content's hash compared.
    Decompress,
}

/// The checked content of some runs of frames, frame by frame, in bounded memory. At its end it
/// checks the length and the hash of the whole.
pub struct RunReader {
    vault: Vault,
    runs: VecDeque<FrameRun>,
    ready: VecDeque<Bytes>,
    read: u64,
    stored: u64,
    /// Of all content, where a hash of the whole is expected.
    hash: Option<blake3::Hasher>,
    last_pack: Option<PackId>,
    expected: Option<Expected>,
}

/// What the whole of a content must come to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) bytes: u64,
    /// `None`: its parts are bound by other hashes.
    pub(crate) hash: Option<ContentHash>,
}

impl Vault {
    /// Reads one run of frames.
    pub fn read_run(&self, run: &FrameRun) -> RunReader {
        RunReader::new(self, std::slice::from_ref(run), None)
    }

    /// Reads runs that are one content of that length and hash.
    pub fn read_checked(&self, runs: &[FrameRun], bytes: u64, hash: ContentHash) -> RunReader {
        let hash = Some(hash);
        RunReader::new(self, runs, Some(Expected { bytes, hash }))
    }
}

impl RunReader {
    pub(crate) fn new(vault: &Vault, runs: &[FrameRun], expected: Option<Expected>) -> Self {
        let hashed = expected.is_some_and(|expected| expected.hash.is_some());
        RunReader {
            vault: vault.clone(),
            runs: runs.iter().copied().collect(),
            ready: VecDeque::new(),
            read: 0,
            stored: 0,
            hash: hashed.then(blake3::Hasher::new),
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
            && let Some((batch, sealed)) = self.next_batch().await?
        {
            let hash = self.hash.clone();
            let (frames, hash) = on_cpu(move || unpack(&batch, &sealed, hash)).await?;
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
        match self.expected {
            Some(expected) => whole(expected, self.read, self.hash.as_ref(), self.last_pack),
            None => Ok(()),
        }
    }

    /// Takes the next few frames off the runs and reads them.
    async fn next_batch(&mut self) -> Result<Option<(Batch, Bytes)>, VaultError> {
        let Some(run) = self.runs.front().copied() else {
            return Ok(None);
        };
        let (batch, sealed) = self.vault.read_batch(&run).await?;
        let sealed = sealed?;
        self.stored += batch.stored();
        self.runs.pop_front();
        if let Some(rest) = run.after(batch.count()) {
            self.runs.push_front(rest);
        }
        Ok(Some((batch, sealed)))
    }
}

/// Whether what was read is the content that was written.
pub(crate) fn whole(
    expected: Expected,
    read: u64,
    found: Option<&blake3::Hasher>,
    last_pack: Option<PackId>,
) -> Result<(), VaultError> {
    let bytes = expected.bytes;
    let found = found.map(|found| ContentHash::from(found.finalize()));
    if read == bytes && (expected.hash.is_none() || expected.hash == found) {
        return Ok(());
    }
    let what = format!(
        "the frames that end in it have other content than was written: {read} bytes, not {bytes}, \
         or another BLAKE3"
    );
    let path = last_pack.map_or("a content without frames".to_owned(), PackId::path);
    Err(VaultError::damaged(path, what))
}

fn unpack(
    batch: &Batch,
    sealed: &[u8],
    mut whole: Option<blake3::Hasher>,
) -> Result<(VecDeque<Bytes>, Option<blake3::Hasher>), VaultError> {
    let mut frames = VecDeque::with_capacity(batch.count() as usize);
    let mut decompressor = decompressor()?;
    let mut opened = Vec::new();
    for place in 0..batch.count() {
        batch.open(place, sealed, &mut opened)?;
        let content = batch.unpack(place, &opened, &mut decompressor)?;
        if let Some(whole) = &mut whole {
            whole.update(&content);
        }
        frames.push_back(content.into());
    }
    Ok((frames, whole))
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
