//! What one attempt has opened and put, so that a manifest never refers to a pack that is missing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{FrameRun, PackId};

#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    /// Each pack that a writer opened; its frames once it was put.
    packs: HashMap<PackId, Option<u32>>,
    stored: u64,
}

impl Ledger {
    pub(crate) fn opened(&self, pack: PackId) {
        self.entries().packs.insert(pack, None);
    }

    pub(crate) fn put(&self, pack: PackId, frames: u32, bytes: u64) {
        let mut entries = self.entries();
        entries.packs.insert(pack, Some(frames));
        entries.stored += bytes;
    }

    pub(crate) fn stored(&self) -> u64 {
        self.entries().stored
    }

    /// Every pack that a writer opened, put or not: the answer to a put may have stayed out.
    pub(crate) fn all(&self) -> Vec<PackId> {
        self.entries().packs.keys().copied().collect()
    }

    /// A pack with sealed frames that was never put.
    pub(crate) fn missing(&self) -> Option<PackId> {
        let entries = self.entries();
        let missing = entries.packs.iter().find(|(_, frames)| frames.is_none());
        missing.map(|(pack, _)| *pack)
    }

    /// Whether all frames of that run are in packs that were put.
    pub(crate) fn holds(&self, run: &FrameRun) -> bool {
        let frames = self.entries().packs.get(&run.pack).copied().flatten();
        let end = run.first.checked_add(run.count);
        frames.zip(end).is_some_and(|(frames, end)| end <= frames)
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Every change is one statement: a panic elsewhere leaves nothing half-done in here.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
