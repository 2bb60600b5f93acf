//! What the base has of a table, as the rules need it.

use futures::{StreamExt, TryStreamExt, stream};
use model::{BlockRange, BlockSet};
use vault::{ManifestTable, SegmentEntry, TableSheet, TableSize, VaultError};

use super::next_table::less;
use super::rules::{BaseTable, Next, patches_over};
use super::under::{Indexed, size};
use super::{Delta, INDEXES_AT_ONCE};
use crate::FlowError;

impl Delta {
    /// The sheet, and the blocks that its patches list.
    pub(super) async fn base_table(
        &self,
        place: usize,
        before: &ManifestTable,
    ) -> Result<BaseTable, VaultError> {
        let sheet = self.saveset.sheet(self.database, place).await?;
        let patches = &sheet.patches;
        let listed: Vec<BlockSet> = stream::iter(0..patches.len())
            .map(|place| self.listed(&patches[place]))
            .buffered(INDEXES_AT_ONCE)
            .try_collect()
            .await?;
        let end = match before.end {
            Some(end) => end,
            None => self.end(&sheet, &listed).await?,
        };
        Ok(BaseTable { sheet, listed, end })
    }

    /// The blocks of a patch that count.
    async fn listed(&self, patch: &SegmentEntry) -> Result<BlockSet, VaultError> {
        let index = self.patches.get(&self.saveset, patch).await?;
        let blocks = index.spans().iter().map(|span| span.block);
        let counting = blocks.filter(|block| patch.blocks.contains(*block));
        Ok(counting.collect())
    }

    /// Where the rows of a sheet end, if its manifest does not tell.
    async fn end(&self, sheet: &TableSheet, listed: &[BlockSet]) -> Result<u32, VaultError> {
        let patched = listed.iter().filter_map(BlockSet::max).max();
        let patched = patched.map_or(0, |last| last.saturating_add(1));
        let Some(last) = sheet.segments.last() else {
            return Ok(patched);
        };
        let end = match last.blocks.end {
            Some(end) => end,
            None => {
                let index = self.saveset.index(last).await?;
                let last = index.spans().last();
                last.map_or(0, |span| span.block.saturating_add(1))
            }
        };
        Ok(end.max(patched))
    }

    /// What the kept segments come to, as the base has them.
    pub(super) async fn left(
        &self,
        before: &ManifestTable,
        base: &BaseTable,
        next: &Next,
    ) -> Result<TableSize, FlowError> {
        let gone = &next.gone;
        let mut sizes = stream::iter(0..gone.len())
            .map(|at| self.gone(base, gone[at].0, gone[at].1))
            .buffer_unordered(INDEXES_AT_ONCE);
        let mut left = Some(TableSize {
            rows: before.rows,
            plain_bytes: before.plain_bytes,
        });
        while let Some(gone) = sizes.next().await {
            let gone = gone.map_err(|error| self.damaged(before, error))?;
            left = left.and_then(|left| less(left, gone));
        }
        left.ok_or_else(|| self.contradiction(&before.plan.name))
    }

    /// What a part of a segment came to.
    async fn gone(
        &self,
        base: &BaseTable,
        place: usize,
        range: BlockRange,
    ) -> Result<TableSize, VaultError> {
        let segment = &base.sheet.segments[place];
        let blocks = range.start..range.end.unwrap_or(u32::MAX);
        let all = &base.sheet.patches;
        let over = patches_over(all, |patch| patch, range)
            .filter(|place| all[*place].saveset > segment.saveset)
            .filter(|place| base.listed[*place].range_cardinality(blocks.clone()) > 0);
        let over: Vec<&SegmentEntry> = over.map(|place| &all[place]).collect();
        let is_whole = range.start == segment.blocks.start;
        if over.is_empty() && is_whole && !segment.narrowed {
            return Ok(TableSize {
                rows: segment.row_count,
                plain_bytes: segment.plain_bytes,
            });
        }
        let index = self.saveset.index(segment).await?;
        let mut patches = Vec::with_capacity(over.len());
        for patch in over {
            patches.push((patch, self.patches.get(&self.saveset, patch).await?));
        }
        let patches: Vec<Indexed<'_>> = patches
            .iter()
            .map(|(entry, index)| Indexed { entry, index })
            .collect();
        let segment = Indexed {
            entry: segment,
            index: &index,
        };
        Ok(size(segment, range, &patches))
    }
}
