//! Reading frames: footers by one suffix read, frames by ranged reads, everything checked.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use model::FRAME_BYTES;
use zstd::bulk::Decompressor;

use crate::frame::{Bound, FOOTER_NUMBER, HASH_BYTES, MAX_FRAMES, PackKey, Part, TAG_BYTES};
use crate::trailer::{TRAILER_BYTES, Trailer};
use crate::{ContentHash, FrameRun, PackId, Vault, VaultError};

/// The first read of a pack's end; enough for the footer of some 2,000 frames.
const SUFFIX: u64 = 16 << 10;

/// One ranged read and what it unpacks to are at most about this long.
const BATCH_STORED: u64 = 4 << 20;
const BATCH_PLAIN: u64 = 8 << 20;

/// Frames of all cached footers together.
const CACHED_FRAMES: usize = 256 << 10;

/// Where a frame lies, by its pack's footer.
#[derive(Debug, Clone, Copy)]
struct FrameAt {
    offset: u64,
    stored: u32,
    plain: u32,
}

/// A pack's checked footer.
pub(crate) struct Footer {
    path: String,
    key: PackKey,
    frames: Vec<FrameAt>,
}

/// The footers read last, bounded by their frames.
#[derive(Default)]
pub(crate) struct FooterCache(Mutex<Cached>);

#[derive(Default)]
struct Cached {
    footers: HashMap<PackId, Arc<Footer>>,
    order: VecDeque<PackId>,
    frames: usize,
}

impl FooterCache {
    fn get(&self, pack: PackId) -> Option<Arc<Footer>> {
        self.cached().footers.get(&pack).cloned()
    }

    fn insert(&self, pack: PackId, footer: &Arc<Footer>) {
        let mut cached = self.cached();
        if cached.footers.insert(pack, footer.clone()).is_none() {
            cached.order.push_back(pack);
            cached.frames += footer.frames.len();
        }
        while cached.frames > CACHED_FRAMES
            && let Some(oldest) = cached.order.pop_front()
        {
            let frames = cached.footers.remove(&oldest).map_or(0, |f| f.frames.len());
            cached.frames -= frames;
        }
    }

    fn cached(&self) -> std::sync::MutexGuard<'_, Cached> {
        // A cache is right in whatever state a panic left it: what it holds is immutable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Vault {
    async fn footer(&self, pack: PackId) -> Result<Arc<Footer>, VaultError> {
        if let Some(footer) = self.0.footers.get(pack) {
            return Ok(footer);
        }
        let footer = Arc::new(self.read_footer(pack).await?);
        self.0.footers.insert(pack, &footer);
        Ok(footer)
    }

    async fn read_footer(&self, pack: PackId) -> Result<Footer, VaultError> {
        let path = pack.path();
        let (mut end, size) = self.0.store.get_suffix(&path, SUFFIX).await?;
        let Some((_, trailer)) = end.split_last_chunk::<TRAILER_BYTES>() else {
            return Err(VaultError::damaged(path, "it is cut short"));
        };
        let trailer_bytes = *trailer;
        let trailer = Trailer::decode(&path, &trailer_bytes)?;
        self.check_trailer(&path, pack, &trailer, size)?;
        let wanted = u64::from(trailer.footer) + TRAILER_BYTES as u64;
        if wanted > end.len() as u64 {
            end = self.0.store.get_range(&path, size - wanted..size).await?;
        }
        let start = end.len() - wanted as usize;
        let sealed = &end[start..end.len() - TRAILER_BYTES];
        let key = self.0.keys.pack_key(pack)?;
        let bound = Bound {
            part: Part::Footer,
            number: FOOTER_NUMBER,
            plain: trailer.footer - TAG_BYTES as u32,
            trailer: &trailer_bytes,
        };
        let mut entries = Vec::new();
        if !key.open(&bound, sealed, &mut entries) {
            return Err(VaultError::damaged(
                path,
                "the seal of its footer is broken",
            ));
        }
        let frames = frames(&entries);
        let last = frames.last().map_or(0, |f| f.offset + u64::from(f.stored));
        if last + wanted != size || !frames.iter().all(FrameAt::is_possible) {
            return Err(VaultError::damaged(
                path,
                "its footer lists other frames than it has",
            ));
        }
        Ok(Footer { path, key, frames })
    }

    fn check_trailer(
        &self,
        path: &str,
        pack: PackId,
        trailer: &Trailer,
        size: u64,
    ) -> Result<(), VaultError> {
        if trailer.pack != pack {
            let what = format!("it is the pack {}", trailer.pack);
            return Err(VaultError::damaged(path, what));
        }
        if trailer.key != self.0.keys.id() {
            let what = format!("it is sealed under key {}, not this vault's", trailer.key);
            return Err(VaultError::damaged(path, what));
        }
        if trailer.object != size {
            let what = format!("it has {size} bytes, not {}", trailer.object);
            return Err(VaultError::damaged(path, what));
        }
        let footer = u64::from(trailer.frames) * 8 + TAG_BYTES as u64;
        let fits = u64::from(trailer.footer) == footer && footer + TRAILER_BYTES as u64 <= size;
        if trailer.frames == 0 || trailer.frames > MAX_FRAMES || !fits {
            return Err(VaultError::damaged(path, "its trailer contradicts itself"));
        }
        Ok(())
    }
}

fn frames(entries: &[u8]) -> Vec<FrameAt> {
    let mut offset = 0;
    let number = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    entries
        .chunks_exact(8)
        .map(|entry| {
            let at = FrameAt {
                offset,
                stored: number(&entry[..4]),
                plain: number(&entry[4..]),
            };
            offset += u64::from(at.stored);
            at
        })
        .collect()
}

impl FrameAt {
    fn is_possible(&self) -> bool {
        let least = (HASH_BYTES + TAG_BYTES) as u32;
        self.stored > least && (1..=FRAME_BYTES as u32).contains(&self.plain)
    }
}

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
            let (hash, packed) = opened.split_at(HASH_BYTES);
            let content = decompressor
                .decompress(packed, plain as usize)
                .map_err(|error| {
                    self.damaged(number, &format!("it cannot be unpacked: {error}"))
                })?;
            if content.len() != plain as usize || blake3::hash(&content).as_bytes() != hash {
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
