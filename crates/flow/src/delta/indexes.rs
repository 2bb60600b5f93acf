//! Indexes of patches: several parts of a table look into the same ones.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use model::BlockIndex;
use vault::{FrameRun, Saveset, SegmentEntry, VaultError};

/// Blocks of all indexes that are kept together: about 64 MiB.
const MOST_BLOCKS: usize = 1 << 21;

/// The indexes that were read last, bounded by their blocks.
#[derive(Default)]
pub(crate) struct Indexes(Mutex<Held>);

#[derive(Default)]
struct Held {
    blocks: usize,
    /// Oldest first.
    order: VecDeque<FrameRun>,
    indexes: HashMap<FrameRun, Arc<BlockIndex>>,
}

impl Indexes {
    /// The index of a patch.
    pub(crate) async fn get(
        &self,
        saveset: &Saveset,
        patch: &SegmentEntry,
    ) -> Result<Arc<BlockIndex>, VaultError> {
        let Some(key) = patch.index.first().copied() else {
            return Ok(Arc::default());
        };
        if let Some(found) = self.held(|held| held.indexes.get(&key).cloned()) {
            return Ok(found);
        }
        let index = Arc::new(saveset.index(patch).await?);
        self.held(|held| held.keep(key, &index));
        Ok(index)
    }

    fn held<T>(&self, look: impl FnOnce(&mut Held) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Held {
    fn keep(&mut self, key: FrameRun, index: &Arc<BlockIndex>) {
        if self.indexes.insert(key, index.clone()).is_some() {
            return;
        }
        self.order.push_back(key);
        self.blocks += index.spans().len();
        while self.blocks > MOST_BLOCKS
            && let Some(oldest) = self.order.pop_front()
        {
            let dropped = self.indexes.remove(&oldest);
            self.blocks -= dropped.map_or(0, |index| index.spans().len());
        }
    }
}
