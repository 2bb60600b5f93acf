//! How much of each pack is still referred to.
//!
//! A sweep knows, when it has read what refers to what, which frames are live; how long they are their
//! packs' footers say. A pack never changes: while the same of its frames are live, its footer is not
//! read again, so that a vault in which nothing has happened is weighed without a call.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::{StreamExt, TryStreamExt, stream};

use crate::damage::Found;
use crate::frame::MAX_FRAMES;
use crate::live::Pinned;
use crate::{FrameRun, PackId, PackPrefix, Vault, VaultError};

/// Packs below this are merged when there are many of them.
const TINY: u64 = 4 << 20;

const FOOTERS_AT_ONCE: usize = 16;

/// The frames of one pack that something refers to. As long as what is told follows what was told
/// before, as sheets tell it, one run is kept.
#[derive(Debug, Default)]
pub(crate) struct LiveFrames {
    runs: Vec<FrameRun>,
    joined: usize,
}

impl LiveFrames {
    pub(crate) fn add(&mut self, run: FrameRun) {
        if let Some(last) = self.runs.last_mut()
            && last.first <= run.first
            && run.first <= last.first + last.count
        {
            let end = (run.first + run.count).max(last.first + last.count);
            last.count = end - last.first;
            return;
        }
        // Savesets that share a pack tell of the same frames each.
        if self.runs.len() >= 2 * self.joined + 8 {
            self.runs = joined(std::mem::take(&mut self.runs));
            self.joined = self.runs.len();
        }
        self.runs.push(run);
    }

    /// Ascending, no two touch.
    fn into_runs(self) -> Vec<FrameRun> {
        joined(self.runs)
    }
}

/// Runs of one pack, ascending, none of which touches another.
fn joined(mut runs: Vec<FrameRun>) -> Vec<FrameRun> {
    runs.sort_unstable();
    let mut joined: Vec<FrameRun> = Vec::new();
    for run in runs {
        match joined.last_mut() {
            Some(last) if run.first <= last.first + last.count => {
                let end = (run.first + run.count).max(last.first + last.count);
                last.count = end - last.first;
            }
            _ => joined.push(run),
        }
    }
    joined
}

/// What is live, by the pack that it lies in now.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub(crate) frames: HashMap<PackId, LiveFrames>,
    /// Packs that runs, or a compaction, are about to refer to begin so.
    pub(crate) prefixes: HashSet<PackPrefix>,
}

impl Live {
    pub(crate) fn holds(&self, pack: PackId) -> bool {
        self.frames.contains_key(&pack) || self.prefixes.contains(&pack.prefix())
    }
}

/// A pack that something refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pack {
    pub(crate) id: PackId,
    pub(crate) bytes: u64,
    /// Its frames, and those of them that are live: ascending, no two touch.
    pub(crate) frames: u32,
    pub(crate) live: Vec<FrameRun>,
    pub(crate) live_bytes: u64,
}

impl Pack {
    pub(crate) fn live_frames(&self) -> u32 {
        self.live.iter().map(|run| run.count).sum()
    }

    /// Many of them are merged into few.
    pub(crate) fn is_tiny(&self) -> bool {
        self.bytes < TINY && self.frames < MAX_FRAMES / 8
    }

    pub(crate) fn has_dead_frames(&self) -> bool {
        self.live_frames() < self.frames
    }
}

/// What was found when a pack was weighed last.
#[derive(Debug, Clone, Copy)]
struct Weight {
    frames: u32,
    /// Which of them were live, and their bytes.
    live: u64,
    live_bytes: u64,
}

/// What is known of the packs that are there.
#[derive(Default)]
pub(crate) struct Weights(Mutex<Known>);

#[derive(Default)]
struct Known {
    weights: HashMap<PackId, Weight>,
    /// Something in them is damaged: they are not compacted while this handle lives.
    left_alone: HashSet<PackId>,
}

impl Weights {
    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change is one insertion or removal: what a panic left is right.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something in that pack is damaged.
    pub(crate) fn leave_alone(&self, pack: PackId) {
        self.known().left_alone.insert(pack);
    }

    /// How many packs are left alone.
    pub(crate) fn left_alone(&self) -> u64 {
        self.known().left_alone.len() as u64
    }

    fn forget_all_but(&self, there: &BTreeMap<PackId, u64>) {
        let mut known = self.known();
        known.weights.retain(|pack, _| there.contains_key(pack));
        known.left_alone.retain(|pack| there.contains_key(pack));
    }

    fn get(&self, pack: PackId, live: u64) -> Option<Weight> {
        let known = self.known().weights.get(&pack).copied();
        known.filter(|weight| weight.live == live)
    }
}

impl Vault {
    /// Everything that the manifests and those pins refer to, where it lies now.
    pub(crate) async fn live(&self, pinned: Pinned) -> Result<Live, VaultError> {
        let moves = self.moves();
        let mut frames: HashMap<PackId, LiveFrames> = HashMap::new();
        let mut see = |run: &FrameRun| {
            for place in moves.places(run) {
                frames.entry(place.pack).or_default().add(place);
            }
        };
        self.each_reference(&pinned, &mut see).await?;
        Ok(Live {
            frames,
            prefixes: pinned.prefixes,
        })
    }

    /// Weighs the packs that something refers to, but those of runs under way and those that are damaged.
    pub(crate) async fn weigh(
        &self,
        listed: &BTreeMap<PackId, u64>,
        live: Live,
    ) -> Result<Vec<Pack>, VaultError> {
        let weights = &self.0.weights;
        weights.forget_all_but(listed);
        let left_alone = weights.known().left_alone.clone();
        let Live { frames, prefixes } = live;
        let closed = frames.into_iter().filter_map(|(pack, live)| {
            let bytes = *listed.get(&pack)?;
            let weighed = !prefixes.contains(&pack.prefix()) && !left_alone.contains(&pack);
            weighed.then(|| (pack, bytes, live.into_runs()))
        });
        let weighed = stream::iter(closed).map(|(id, bytes, live)| self.weigh_one(id, bytes, live));
        let packs: Vec<Option<Pack>> = weighed
            .buffer_unordered(FOOTERS_AT_ONCE)
            .try_collect()
            .await?;
        let mut packs: Vec<Pack> = packs.into_iter().flatten().collect();
        packs.sort_unstable_by_key(|pack| pack.id);
        Ok(packs)
    }

    /// Adds up what is live in a pack. `None`: it is damaged.
    async fn weigh_one(
        &self,
        id: PackId,
        bytes: u64,
        live: Vec<FrameRun>,
    ) -> Result<Option<Pack>, VaultError> {
        let which = fingerprint(&live);
        let weight = match self.0.weights.get(id, which) {
            Some(weight) => weight,
            None => match self.read_weight(id, which, &live).await? {
                Some(weight) => weight,
                None => {
                    self.0.weights.leave_alone(id);
                    return Ok(None);
                }
            },
        };
        self.0.weights.known().weights.insert(id, weight);
        Ok(Some(Pack {
            id,
            bytes,
            frames: weight.frames,
            live,
            live_bytes: weight.live_bytes,
        }))
    }

    async fn read_weight(
        &self,
        id: PackId,
        which: u64,
        live: &[FrameRun],
    ) -> Result<Option<Weight>, VaultError> {
        let footer = match self.footer(id).await {
            Ok(footer) => footer,
            Err(error) => return Found::by(error).map(|_| None),
        };
        let mut live_bytes = 0;
        for run in live {
            let range = run.first as usize..run.first as usize + run.count as usize;
            let Some(frames) = footer.frames.get(range) else {
                return Ok(None);
            };
            live_bytes += frames.iter().map(|at| u64::from(at.stored)).sum::<u64>();
        }
        Ok(Some(Weight {
            frames: footer.frames.len() as u32,
            live: which,
            live_bytes,
        }))
    }
}

fn fingerprint(live: &[FrameRun]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for run in live {
        (run.first, run.count).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::random;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_frames_that_were_told_of_are_live_and_no_others(
            told in prop::collection::vec((0u32..200, 1u32..30), 0..120)
        ) {
            let pack = PackId::from_bytes(random().unwrap());
            let mut live = LiveFrames::default();
            let mut expected = std::collections::BTreeSet::new();
            for (first, count) in &told {
                live.add(FrameRun { pack, first: *first, count: *count });
                expected.extend(*first..first + count);
            }
            let runs = live.into_runs();
            let frames: Vec<u32> = runs.iter().flat_map(|run| run.first..run.first + run.count).collect();
            prop_assert_eq!(&frames, &expected.into_iter().collect::<Vec<_>>());
            prop_assert!(runs.windows(2).all(|two| two[0].first + two[0].count < two[1].first));
        }
    }

    #[test]
    fn frames_told_in_their_order_take_no_memory() {
        let pack = PackId::from_bytes(random().unwrap());
        let mut live = LiveFrames::default();
        for _ in 0..50 {
            for first in 0..1_000 {
                let run = FrameRun {
                    pack,
                    first,
                    count: 1,
                };
                live.add(run);
            }
        }
        assert!(live.runs.len() <= 10, "{}", live.runs.len());
    }
}
