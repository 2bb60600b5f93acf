//! What there is to read, and what the base has below it.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use model::{BlockIndex, BlockRange, BlockSet, BlockSpan, Extent, Patching, Phase, SegmentTask};
use vault::VaultError;

use super::next_table::Onto;
use super::rules::{Part, bytes_per_block, in_segments, overlapping, patches_over, within};
use super::under::{Indexed, Under, under};
use super::{Delta, INDEXES_AT_ONCE};
use crate::FlowError;
use crate::error::Place;

/// Something to read.
pub(crate) struct Task {
    pub(crate) table: usize,
    pub(crate) blocks: BlockRange,
    pub(crate) estimated_bytes: u64,
    /// What it is a part of, and what of its range is read; `None`: all of it.
    pub(super) patch: Option<(Arc<Onto>, Part)>,
}

/// A task that can be read, and what the base has of its blocks.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) task: SegmentTask,
    pub(crate) before: Vec<BlockSpan>,
}

impl Task {
    pub(super) fn whole(task: SegmentTask) -> Self {
        Task {
            table: task.table,
            blocks: task.blocks,
            estimated_bytes: task.estimated_bytes,
            patch: None,
        }
    }

    /// Looks up what the base has below a part of a patch.
    pub(crate) async fn ready(self, delta: Option<&Delta>) -> Result<Ready, FlowError> {
        let mut ready = Ready {
            task: SegmentTask {
                table: self.table,
                blocks: self.blocks,
                estimated_bytes: self.estimated_bytes,
                patch: None,
            },
            before: Vec::new(),
        };
        let (Some((onto, part)), Some(delta)) = (self.patch, delta) else {
            return Ok(ready);
        };
        let blocks = part.blocks();
        let found = delta.under(&onto, &part, &blocks).await;
        let found = found.map_err(|error| delta.damaged(&onto.before, error))?;
        let known = found.index();
        let place = Place::within(Phase::Data, "looking into the base");
        let known = known.map_err(|error| place.fault(error))?;
        ready.before = found.before;
        ready.task.patch = Some(Arc::new(Patching {
            blocks,
            known,
            must: found.must,
        }));
        Ok(ready)
    }
}

impl Ready {
    /// Bytes of blocks that were read and are not stored, since the base has them.
    pub(crate) fn bytes_left_out(&self, index: &BlockIndex) -> u64 {
        let listed: BlockSet = index.spans().iter().map(|span| span.block).collect();
        let same = self.before.iter();
        let same = same.filter(|before| !listed.contains(before.block));
        same.map(|before| before.bytes).sum()
    }
}

impl Delta {
    async fn under(&self, onto: &Onto, part: &Part, read: &BlockSet) -> Result<Under, VaultError> {
        let next = &onto.next;
        let over = patches_over(&next.patches, |patch| &patch.entry, part.range);
        let over: Vec<_> = stream::iter(over)
            .map(|place| async move {
                let entry = &next.patches[place].entry;
                let index = self.patches.get(&self.saveset, entry).await?;
                Ok::<_, VaultError>((entry, index))
            })
            .buffered(INDEXES_AT_ONCE)
            .try_collect()
            .await?;
        let over: Vec<Indexed<'_>> = over
            .iter()
            .map(|(entry, index)| Indexed { entry, index })
            .collect();
        let over = &over;
        let kept = overlapping(&next.kept, |(_, entry)| entry, part.range);
        let looking = stream::iter(kept).map(|place| async move {
            let entry = &next.kept[place].1;
            let blocks = within(read, entry.blocks);
            if blocks.is_empty() {
                return Ok::<Under, VaultError>(Under::default());
            }
            let index = self.saveset.index(entry).await?;
            let index = &index;
            let must = &part.must & &blocks;
            Ok(under(&blocks, &must, Indexed { entry, index }, over))
        });
        let mut looking = looking.buffered(INDEXES_AT_ONCE);
        let mut all = Under::default();
        while let Some(found) = looking.try_next().await? {
            all.append(found);
        }
        // Blocks that the table has grown by lie in the last segment, and those of `must` too.
        all.must |= &part.must;
        Ok(all)
    }
}

/// Tasks that read a range whole.
pub(super) fn afresh(table: usize, range: BlockRange, extent: Extent) -> Vec<Task> {
    let ranges = in_segments(range, extent).into_iter();
    let tasks = ranges.map(|blocks| {
        let count = blocks
            .end
            .unwrap_or(extent.blocks)
            .saturating_sub(blocks.start);
        Task {
            table,
            blocks,
            estimated_bytes: u64::from(count) * bytes_per_block(extent),
            patch: None,
        }
    });
    tasks.collect()
}
