//! A backup that builds on an earlier saveset: what is read, and what is referred to again.
//!
//! The source says of each table what of the base may have changed ([`Basis`]). [`Delta::plan`] makes tasks
//! of that by the [rules], table by table; [`Task::ready`] looks up what the base has below a part of a
//! new patch, just before it is read; [`FromBase::table`] puts together what stays and what was read. Of a
//! table without a changed block not even the sheet is read.
//!
//! In memory are the sheets of the tables that changed, and a few indexes at a time.

mod indexes;
mod rules;
mod under;
mod whole;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use model::{
    Base, Basis, BlockIndex, BlockRange, BlockSet, BlockSpan, Extent, ObjectName, Patching, Phase,
    SegmentTask, SourcePlan, TablePlan,
};
use vault::{
    BlobRef, ManifestTable, SavedDatabase, Saveset, SegmentEntry, TableSheet, TableSize, VaultError,
};

pub(crate) use whole::ReadWhole;

use crate::FlowError;
use crate::error::Place;
use indexes::Indexes;
use rules::{
    BaseTable, Change, Next, Part, bytes_per_block, in_segments, is_read_afresh, next, overlapping,
    patches_over,
};
use under::{Indexed, Under, size, under};

/// Tables that are planned at the same time.
const TABLES_AT_ONCE: usize = 8;

/// Indexes of a table that are read at the same time.
const INDEXES_AT_ONCE: usize = 8;

/// One database of the base.
pub(crate) struct Delta {
    saveset: Saveset,
    /// Its place there.
    database: usize,
    patches: Indexes,
}

/// Something to read.
pub(crate) struct Task {
    pub(crate) table: usize,
    pub(crate) blocks: BlockRange,
    pub(crate) estimated_bytes: u64,
    /// What it is a part of, and what of its range is read; `None`: all of it.
    patch: Option<(Arc<Onto>, Part)>,
}

/// A task that can be read, and what the base has of its blocks.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) task: SegmentTask,
    pub(crate) before: Vec<BlockSpan>,
}

/// What a table's next sheet has of the base's.
pub(crate) enum FromBase {
    /// Nothing.
    Nothing,
    /// All of it: it is referred to again.
    All(ManifestTable),
    /// Some of it.
    Some(Arc<Onto>),
}

/// A table whose base is kept in part.
pub(crate) struct Onto {
    before: ManifestTable,
    next: Next,
    /// What the kept segments come to, as the base has them.
    left: TableSize,
    /// No row that is left lies in this block or a later one.
    end: u32,
}

/// What was read of a table.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) segments: Vec<SegmentEntry>,
    pub(crate) patches: Vec<SegmentEntry>,
    /// What the base has of the blocks that the patches list.
    pub(crate) replaced_rows: u64,
    pub(crate) replaced_bytes: u64,
    /// No row that was read lies in this block or a later one.
    pub(crate) end: u32,
}

/// A table as it goes into the manifest.
pub(crate) enum NextTable {
    /// As the base has it.
    Same(ManifestTable),
    /// With a sheet of its own; `None`: no rows and no blocks.
    Own {
        sheet: Option<TableSheet>,
        size: TableSize,
        end: u32,
    },
}

/// What a database's tables have of the base, and all there is to read.
pub(crate) struct Planned {
    pub(crate) tables: Vec<FromBase>,
    pub(crate) tasks: Vec<Task>,
}

impl Planned {
    /// Without a base.
    pub(crate) fn whole(plan: &mut SourcePlan) -> Self {
        Planned {
            tables: plan.tables.iter().map(|_| FromBase::Nothing).collect(),
            tasks: plan.tasks.drain(..).map(Task::whole).collect(),
        }
    }
}

impl Task {
    fn whole(task: SegmentTask) -> Self {
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
        let found = delta.under(&onto, &part).await;
        let found = found.map_err(|error| delta.damaged(&onto.before, error))?;
        let known = found.index();
        let place = Place::within(Phase::Data, "looking into the base");
        let known = known.map_err(|error| place.fault(error))?;
        ready.before = found.before;
        ready.task.patch = Some(Arc::new(Patching {
            blocks: part.blocks,
            known,
            must: found.must,
        }));
        Ok(ready)
    }
}

impl Delta {
    /// The database of that name in a saveset; `None`: it has none.
    pub(crate) fn of(saveset: &Saveset, database: &ObjectName) -> Option<Self> {
        let place = saveset.manifest().contents.place_of(database)?;
        Some(Delta {
            saveset: saveset.clone(),
            database: place,
            patches: Indexes::default(),
        })
    }

    /// For the source.
    pub(crate) fn base(&self) -> Base {
        let saved = self.saved();
        Base {
            facts: saved.facts.clone(),
            tables: saved
                .tables
                .iter()
                .map(|table| table.plan.clone())
                .collect(),
        }
    }

    /// A part of its dictionary.
    pub(crate) fn part(&self, name: &str) -> Option<&BlobRef> {
        let mut parts = self.saved().dictionary.iter();
        parts.find(|part| part.name == name)
    }

    fn saved(&self) -> &SavedDatabase {
        &self.saveset.databases()[self.database]
    }

    /// Makes tasks for all tables of which something in the base holds, several at a time.
    pub(crate) async fn plan(&self, plan: &mut SourcePlan) -> Result<Planned, FlowError> {
        let law = |law: String| FlowError::Law {
            place: Place::within(Phase::Dictionary, "planning"),
            law,
        };
        if plan.basis.is_empty() {
            return Ok(Planned::whole(plan));
        }
        if plan.basis.len() != plan.tables.len() {
            return Err(law("not every table has a basis".to_owned()));
        }
        let has_basis = |task: &&SegmentTask| {
            let basis = plan.basis.get(task.table);
            !matches!(basis, None | Some(Basis::Nothing { .. }))
        };
        if let Some(task) = plan.tasks.iter().find(has_basis) {
            let what = format!("table {} has a basis, and a task too", task.table);
            return Err(law(what));
        }
        let tables = plan.tables.iter().zip(&plan.basis).enumerate();
        let planning = tables.map(|(place, (table, basis))| self.table(place, table, basis));
        let planning: Vec<_> = planning.collect();
        let planned: Vec<(FromBase, Vec<Task>)> = stream::iter(planning)
            .buffered(TABLES_AT_ONCE)
            .try_collect()
            .await?;
        let mut all = Planned {
            tables: Vec::with_capacity(planned.len()),
            tasks: plan.tasks.drain(..).map(Task::whole).collect(),
        };
        for (from_base, tasks) in planned {
            all.tables.push(from_base);
            all.tasks.extend(tasks);
        }
        Ok(all)
    }

    async fn table(
        &self,
        place: usize,
        table: &TablePlan,
        basis: &Basis,
    ) -> Result<(FromBase, Vec<Task>), FlowError> {
        let (base, change, extent) = match basis {
            Basis::Nothing { .. } => return Ok((FromBase::Nothing, Vec::new())),
            Basis::Changed {
                base,
                blocks,
                holds,
                extent,
            } => {
                let mut blocks = blocks.clone();
                blocks.remove_range(extent.blocks..);
                (*base, Change::Blocks(blocks, *holds), *extent)
            }
            Basis::Compare { base, extent } => (*base, Change::Unknown, *extent),
        };
        let before = self.before(base, table)?;
        if let Change::Blocks(blocks, holds) = &change {
            let hold = (*holds).min(extent.blocks);
            if blocks.is_empty() && before.end.is_some_and(|end| end <= hold) {
                return Ok((FromBase::All(before.clone()), Vec::new()));
            }
            let is_known = before.end.is_some();
            if is_known && is_read_afresh(blocks, extent, before.plain_bytes) {
                return Ok((FromBase::Nothing, afresh(place, BlockRange::ALL, extent)));
            }
        }
        let reading = self.base_table(base, before);
        let base_table = reading.await.map_err(|error| self.damaged(before, error))?;
        let next = next(&base_table, &change, extent);
        let no_block = |blocks: &BlockSet| blocks.is_empty() && !next.cut;
        if matches!(&change, Change::Blocks(blocks, _) if no_block(blocks)) {
            return Ok((FromBase::All(before.clone()), Vec::new()));
        }
        let fresh = next.fresh.iter().map(|range| afresh(place, *range, extent));
        let mut tasks: Vec<Task> = fresh.flatten().collect();
        if next.kept.is_empty() {
            return Ok((FromBase::Nothing, tasks));
        }
        let left = self.left(before, &base_table, &next).await?;
        let onto = Arc::new(Onto {
            before: before.clone(),
            end: base_table.end.min(hold(&change, extent)),
            left,
            next,
        });
        tasks.extend(onto.next.patch.iter().map(|part| Task {
            table: place,
            blocks: part.range,
            estimated_bytes: part.blocks.len() * bytes_per_block(extent),
            patch: Some((onto.clone(), part.clone())),
        }));
        Ok((FromBase::Some(onto), tasks))
    }

    /// The table's entry in the base's manifest.
    fn before(&self, place: usize, table: &TablePlan) -> Result<&ManifestTable, FlowError> {
        let before = self.saved().tables.get(place);
        let same = before.filter(|before| {
            (&before.plan.shape, before.plan.format) == (&table.shape, table.format)
        });
        same.ok_or_else(|| FlowError::Law {
            place: Place::named(Phase::Dictionary, "planning", &table.name.to_string()),
            law: "it builds on rows of another shape, or on a table that the base has not"
                .to_owned(),
        })
    }

    /// The sheet, and the blocks that its patches list.
    async fn base_table(
        &self,
        place: usize,
        before: &ManifestTable,
    ) -> Result<BaseTable, VaultError> {
        let sheet = self.saveset.sheet(self.database, place).await?;
        let listing = sheet.patches.iter().map(|patch| async move {
            let index = self.patches.get(&self.saveset, patch).await?;
            let blocks = index.spans().iter().map(|span| span.block);
            Ok::<BlockSet, VaultError>(
                blocks
                    .filter(|block| patch.blocks.contains(*block))
                    .collect(),
            )
        });
        let listing: Vec<_> = listing.collect();
        let listed: Vec<BlockSet> = stream::iter(listing)
            .buffered(INDEXES_AT_ONCE)
            .try_collect()
            .await?;
        let end = match before.end {
            Some(end) => end,
            None => self.end(&sheet, &listed).await?,
        };
        Ok(BaseTable { sheet, listed, end })
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
    async fn left(
        &self,
        before: &ManifestTable,
        base: &BaseTable,
        next: &Next,
    ) -> Result<TableSize, FlowError> {
        let sizes = next
            .gone
            .iter()
            .map(|(place, range)| self.gone(base, *place, *range));
        let sizes: Vec<_> = sizes.collect();
        let mut sizes = stream::iter(sizes).buffer_unordered(INDEXES_AT_ONCE);
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

    async fn under(&self, onto: &Onto, part: &Part) -> Result<Under, VaultError> {
        let next = &onto.next;
        let over = patches_over(&next.patches, |patch| &patch.entry, part.range);
        let reading = over.map(|place| async move {
            let entry = &next.patches[place].entry;
            let index = self.patches.get(&self.saveset, entry).await?;
            Ok::<_, VaultError>((entry, index))
        });
        let reading: Vec<_> = reading.collect();
        let over: Vec<_> = stream::iter(reading)
            .buffered(INDEXES_AT_ONCE)
            .try_collect()
            .await?;
        let over: Vec<Indexed<'_>> = over
            .iter()
            .map(|(entry, index)| Indexed { entry, index })
            .collect();
        let over = &over;
        let kept = overlapping(&next.kept, |(_, entry)| entry, part.range);
        let looking = kept.filter_map(|place| {
            let entry = &next.kept[place].1;
            let blocks = within(&part.blocks, entry.blocks);
            (!blocks.is_empty()).then_some(async move {
                let index = self.saveset.index(entry).await?;
                let index = &index;
                let must = &part.must & &blocks;
                Ok::<Under, VaultError>(under(&blocks, &must, Indexed { entry, index }, over))
            })
        });
        let looking: Vec<_> = looking.collect();
        let mut looking = stream::iter(looking).buffered(INDEXES_AT_ONCE);
        let mut all = Under::default();
        while let Some(found) = looking.try_next().await? {
            all.append(found);
        }
        // Blocks that the table has grown by lie in the last segment, and those of `must` too.
        all.must |= &part.must;
        Ok(all)
    }

    fn damaged(&self, table: &ManifestTable, error: VaultError) -> FlowError {
        let name = table.plan.name.to_string();
        let place = Place::named(Phase::Data, "reading what the base has of", &name);
        place.of_base(self.saveset.id(), error)
    }

    /// Rows and bytes that the base's manifest, sheet and indexes tell do not add up.
    pub(crate) fn contradiction(&self, table: &ObjectName) -> FlowError {
        let error = VaultError::Damaged {
            path: format!("manifests/{}", self.saveset.id()),
            what: format!("{table} has other rows than its sheet tells"),
        };
        let place = Place::named(Phase::Data, "counting the rows of", &table.to_string());
        place.of_base(self.saveset.id(), error)
    }
}

/// Tasks that read a range whole.
fn afresh(table: usize, range: BlockRange, extent: Extent) -> Vec<Task> {
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

fn hold(change: &Change, extent: Extent) -> u32 {
    match change {
        Change::Blocks(_, holds) => extent.blocks.min(*holds),
        Change::Unknown => extent.blocks,
    }
}

fn within(blocks: &BlockSet, range: BlockRange) -> BlockSet {
    blocks
        .range(range.start..range.end.unwrap_or(u32::MAX))
        .collect()
}

fn less(size: TableSize, by: TableSize) -> Option<TableSize> {
    Some(TableSize {
        rows: size.rows.checked_sub(by.rows)?,
        plain_bytes: size.plain_bytes.checked_sub(by.plain_bytes)?,
    })
}

impl FromBase {
    /// The table as it goes into the manifest; `None`: what the base tells of its rows does not add up.
    pub(crate) fn table(self, read: Gathered) -> Option<NextTable> {
        let onto = match self {
            FromBase::All(before) => return Some(NextTable::Same(before)),
            FromBase::Nothing => return Some(without_base(read)),
            FromBase::Some(onto) => onto,
        };
        if read.segments.is_empty() && read.patches.is_empty() && !onto.next.cut {
            return Some(NextTable::Same(onto.before.clone()));
        }
        let replaced = TableSize {
            rows: read.replaced_rows,
            plain_bytes: read.replaced_bytes,
        };
        let new = |of: fn(&SegmentEntry) -> u64| -> u64 {
            read.segments.iter().chain(&read.patches).map(of).sum()
        };
        let left = less(onto.left, replaced)?;
        let size = TableSize {
            rows: left.rows + new(|entry| entry.row_count),
            plain_bytes: left.plain_bytes + new(|entry| entry.plain_bytes),
        };
        let kept = onto.next.kept.iter().map(|(_, entry)| entry.clone());
        let mut segments: Vec<SegmentEntry> = kept.chain(read.segments).collect();
        segments.sort_by_key(|segment| segment.blocks.start);
        let stay = onto.next.patches.iter().filter(|patch| patch.stays);
        let mut patches: Vec<SegmentEntry> = stay.map(|patch| patch.entry.clone()).collect();
        patches.extend(read.patches);
        Some(NextTable::Own {
            sheet: Some(TableSheet { segments, patches }),
            size,
            end: onto.end.max(read.end),
        })
    }
}

fn without_base(read: Gathered) -> NextTable {
    let sheet = TableSheet {
        segments: read.segments,
        patches: Vec::new(),
    };
    NextTable::Own {
        size: TableSize {
            rows: sheet.rows(),
            plain_bytes: sheet.plain_bytes(),
        },
        sheet: (!sheet.segments.is_empty()).then_some(sheet),
        end: read.end,
    }
}

impl Gathered {
    /// Adds what a task came to. A patch's index lists blocks in whose place something stands in the base.
    pub(crate) fn add(&mut self, ready: &Ready, index: &BlockIndex, entry: Option<SegmentEntry>) {
        let mut filled = index.spans().iter().filter(|span| span.rows > 0);
        let end = filled
            .next_back()
            .map_or(0, |span| span.block.saturating_add(1));
        self.end = self.end.max(end);
        if ready.task.patch.is_none() {
            self.segments.extend(entry);
            return;
        }
        let mut listed = index.spans().iter().map(|span| span.block).peekable();
        for before in &ready.before {
            while listed.next_if(|block| *block < before.block).is_some() {}
            if listed.peek() == Some(&before.block) {
                self.replaced_rows += u64::from(before.rows);
                self.replaced_bytes += before.bytes;
            }
        }
        self.patches.extend(entry);
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
