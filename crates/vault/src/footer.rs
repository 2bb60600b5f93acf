//! Footers of packs: found by one read of a suffix, checked, and kept for a while.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::FRAME_BYTES;

use crate::frame::{Bound, FOOTER_NUMBER, FRONT_BYTES, MAX_FRAMES, PackKey, Part, TAG_BYTES};
use crate::trailer::{TRAILER_BYTES, Trailer};
use crate::{PackId, Vault, VaultError};

/// The first read of a pack's end; enough for the footer of some 2,000 frames.
const SUFFIX: u64 = 16 << 10;

/// Frames of all cached footers together.
const CACHED_FRAMES: usize = 256 << 10;

/// Where a frame lies, by its pack's footer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameAt {
    pub(crate) offset: u64,
    pub(crate) stored: u32,
    pub(crate) plain: u32,
}

/// A pack's checked footer.
pub(crate) struct Footer {
    pub(crate) path: String,
    pub(crate) key: PackKey,
    pub(crate) frames: Vec<FrameAt>,
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

    /// The pack is not there any more.
    pub(crate) fn forget(&self, pack: PackId) {
        let mut cached = self.cached();
        if let Some(footer) = cached.footers.remove(&pack) {
            cached.frames -= footer.frames.len();
            cached.order.retain(|kept| *kept != pack);
        }
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

    fn cached(&self) -> MutexGuard<'_, Cached> {
        // A cache is right in whatever state a panic left it: what it holds is immutable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Vault {
    pub(crate) async fn footer(&self, pack: PackId) -> Result<Arc<Footer>, VaultError> {
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
        let least = (FRONT_BYTES + TAG_BYTES) as u32;
        self.stored > least && (1..=FRAME_BYTES as u32).contains(&self.plain)
    }
}
