//! A backup that builds on an earlier saveset: what is read, and what is referred to again.
//!
//! The source says of each table what of the base may have changed ([`Basis`]). [`Delta::plan`] makes tasks
//! of that by the rules of this module, table by table; [`Task::ready`] looks up what the base has below a part of a
//! new patch, just before it is read; [`FromBase::table`] puts together what stays and what was read. Of a
//! table without a changed block not even the sheet is read.
//!
//! In memory are the sheets of the tables that changed, and a few indexes at a time.

mod base_table;
mod indexes;
mod next_table;
mod rules;
mod task;
mod under;
mod whole;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use model::{
    Base, Basis, BlockRange, Extent, ObjectName, Phase, SegmentTask, SourcePlan, TablePlan,
};
use vault::{BlobRef, ManifestTable, SavedDatabase, Saveset, VaultError};

pub(crate) use next_table::{FromBase, Gathered, NextTable};
pub(crate) use task::{Ready, Task};
pub(crate) use whole::ReadWhole;

use crate::FlowError;
use crate::error::Place;
use crate::supervise::off_the_runtime;
use indexes::Indexes;
use next_table::Onto;
use rules::{Change, bytes_per_block, is_read_afresh, next};
use task::afresh;

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
        let (tables, basis) = (&plan.tables, &plan.basis);
        let planned: Vec<(FromBase, Vec<Task>)> = stream::iter(0..tables.len())
            .map(|place| self.table(place, &tables[place], &basis[place]))
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
        let end = base_table.end.min(hold(&change, extent));
        let is_told = matches!(&change, Change::Blocks(blocks, _) if blocks.is_empty());
        let name = table.name.to_string();
        let doing = Place::named(Phase::Dictionary, "planning", &name);
        let (base_table, mut next) = off_the_runtime(doing, move || {
            let next = next(&base_table, &change, extent);
            Ok((base_table, next))
        })
        .await?;
        if is_told && !next.cut {
            return Ok((FromBase::All(before.clone()), Vec::new()));
        }
        let fresh = next.fresh.iter().map(|range| afresh(place, *range, extent));
        let mut tasks: Vec<Task> = fresh.flatten().collect();
        if next.kept.is_empty() {
            return Ok((FromBase::Nothing, tasks));
        }
        let left = self.left(before, &base_table, &next).await?;
        let parts = std::mem::take(&mut next.patch);
        let onto = Arc::new(Onto {
            before: before.clone(),
            end,
            left,
            next,
        });
        tasks.extend(parts.into_iter().map(|part| Task {
            table: place,
            blocks: part.range,
            estimated_bytes: part.len() * bytes_per_block(extent),
            patch: Some((onto.clone(), part)),
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

    pub(super) fn damaged(&self, table: &ManifestTable, error: VaultError) -> FlowError {
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

fn hold(change: &Change, extent: Extent) -> u32 {
    match change {
        Change::Blocks(_, holds) => extent.blocks.min(*holds),
        Change::Unknown => extent.blocks,
    }
}
