//! What of a base's rows still holds.

use std::collections::HashMap;

use model::{
    Base, Basis, BlockSet, ChangedBlocks, ChangedBlocksSource, Extent, ObjectName, TablePlan,
};

use crate::copy::ranges::TableSize;
use crate::facts::{ClosingFacts, FACTS_VERSION, TableFacts};
use crate::inventory::Oid;

use super::heap::HeapFacts;
use super::rules::Rule;
use super::summaries::{Changes, Written};
use super::wal::WalWindow;
use super::window::Window;

/// A base, as this engine understands it.
struct Known {
    tables: Vec<Option<TableFacts>>,
    plans: Vec<TablePlan>,
    by_oid: HashMap<Oid, usize>,
    by_name: HashMap<ObjectName, usize>,
}

/// How it is known what was written.
enum Ground {
    /// From the WAL.
    Wal(Changes),
    /// It is not, for that reason: a sentence's end.
    Hash(String),
}

/// A table of this backup.
pub(crate) struct Seen<'a> {
    pub plan: &'a TablePlan,
    pub facts: &'a TableFacts,
    pub size: TableSize,
    /// Whether it prints names of other objects.
    pub prints_names: bool,
}

/// What a DELTA of a database builds on.
pub(crate) struct Delta {
    known: Known,
    ground: Ground,
    /// Whether tables of the base are known by their numbers.
    same_database: bool,
}

/// The base's window; or why it has none, as a sentence's end.
fn window_of(facts: &ClosingFacts) -> Result<&WalWindow, String> {
    facts.window.as_ref().ok_or_else(|| match &facts.no_window {
        Some(why) => format!("when the base was taken, {why}"),
        None => "the base was taken without a place in the WAL".into(),
    })
}

fn facts_of(base: &Base) -> Result<ClosingFacts, String> {
    let facts: Result<ClosingFacts, _> = serde_json::from_value(base.facts.0.clone());
    match facts {
        Ok(facts) if facts.version <= FACTS_VERSION => Ok(facts),
        _ => Err("the base was taken by a version of Backstay that this one does not know".into()),
    }
}

impl Delta {
    /// The base's window.
    pub(super) fn window(base: &Base) -> Option<WalWindow> {
        window_of(&facts_of(base).ok()?).ok().cloned()
    }

    /// Decides how changed blocks of these tables are found.
    pub(crate) async fn of(
        base: &Base,
        window: &mut Window,
        database: Oid,
        seen: &[Seen<'_>],
    ) -> Delta {
        let known = Known::of(base);
        let facts = match facts_of(base) {
            Ok(facts) => facts,
            Err(why) => {
                return Delta {
                    known,
                    ground: Ground::Hash(why),
                    same_database: false,
                };
            }
        };
        let same_database = facts.database_oid == database || !Rule::SameDatabase.holds();
        let ground = match window_of(&facts) {
            _ if !same_database => Err("the database is another one than the base's".into()),
            Ok(base) => {
                let heaps = seen.iter().filter_map(|seen| seen.facts.heap);
                let files: Vec<Oid> = heaps.map(|heap| heap.heap.relfilenode).collect();
                window.changes_since(base, database, &files).await
            }
            Err(why) => Err(why),
        };
        Delta {
            known,
            ground: ground.map_or_else(Ground::Hash, Ground::Wal),
            same_database,
        }
    }

    /// How, and why not better.
    pub(crate) fn changed_blocks(&self) -> ChangedBlocks {
        match &self.ground {
            Ground::Wal(_) => ChangedBlocks {
                source: ChangedBlocksSource::WalSummary,
                why: None,
            },
            Ground::Hash(why) => ChangedBlocks {
                source: ChangedBlocksSource::Hash,
                why: Some(why.clone()),
            },
        }
    }

    /// What of the base's rows of a table holds.
    pub(crate) fn basis(&self, seen: &Seen<'_>) -> Basis {
        match self.holds(seen) {
            Ok(basis) => basis,
            Err(why) => Basis::Nothing { why: why.into() },
        }
    }

    fn holds(&self, seen: &Seen<'_>) -> Result<Basis, &'static str> {
        if !seen.size.by_ranges {
            return Err("its rows are not read by blocks");
        }
        let base = self.find(seen).ok_or("the base has no such table")?;
        let then = self.known.tables[base].as_ref();
        let then =
            then.ok_or("a version of Backstay wrote the base that this one does not know")?;
        if !same_shape(&self.known.plans[base], then, seen) {
            return Err("its columns or their types were changed");
        }
        let (Some(now), Some(then_heap)) = (&seen.facts.heap, &then.heap) else {
            return Ok(compare(base, seen));
        };
        if now.heap != then_heap.heap && Rule::SameHeap.holds() {
            return Err("it was rewritten");
        }
        let Ground::Wal(changes) = &self.ground else {
            return Ok(compare(base, seen));
        };
        let unlogged = (seen.facts.unlogged || then.unlogged) && Rule::Unlogged.holds();
        let names = seen.prints_names && Rule::Names.holds();
        let remade = changes.remade.contains(&now.heap.tablespace) && Rule::DatabaseRemade.holds();
        if unlogged || names || remade {
            return Ok(compare(base, seen));
        }
        let heap = match Rule::SameHeap.holds() {
            true => now.heap,
            false => then_heap.heap,
        };
        Ok(changed(base, changes.heaps.get(&heap), then_heap, seen))
    }

    fn find(&self, seen: &Seen<'_>) -> Option<usize> {
        let oid = seen.facts.heap.as_ref().map(|heap| heap.oid);
        let numbered = oid.filter(|_| self.same_database);
        let by_number = numbered.and_then(|oid| self.known.by_oid.get(&oid));
        let has_number = |place: &&usize| {
            let facts = self.known.tables[**place].as_ref();
            facts.is_some_and(|facts| facts.heap.is_some())
        };
        // One of the same name and another number is another table.
        let by_name = self.known.by_name.get(&seen.plan.name);
        let by_name = by_name.filter(|place| numbered.is_none() || !has_number(place));
        by_number.or(by_name).copied()
    }
}

impl Known {
    fn of(base: &Base) -> Known {
        let tables = base.tables.iter().map(|plan| {
            let facts: Result<TableFacts, _> = serde_json::from_value(plan.facts.clone());
            facts.ok().filter(|facts| facts.version <= FACTS_VERSION)
        });
        let tables: Vec<Option<TableFacts>> = tables.collect();
        let by_oid = tables.iter().enumerate().filter_map(|(place, facts)| {
            let heap = facts.as_ref()?.heap.as_ref()?;
            Some((heap.oid, place))
        });
        let by_name = base.tables.iter().zip(0..);
        Known {
            by_oid: by_oid.collect(),
            by_name: by_name
                .map(|(plan, place)| (plan.name.clone(), place))
                .collect(),
            plans: base.tables.clone(),
            tables,
        }
    }
}

fn same_shape(base: &TablePlan, then: &TableFacts, seen: &Seen<'_>) -> bool {
    base.shape == seen.plan.shape
        && base.format == seen.plan.format
        && then.kind == seen.facts.kind
        && then.encoding == seen.facts.encoding
}

fn extent(seen: &Seen<'_>) -> Extent {
    Extent {
        blocks: seen.size.blocks,
        bytes: seen.size.bytes,
    }
}

fn compare(base: usize, seen: &Seen<'_>) -> Basis {
    Basis::Compare {
        base,
        extent: extent(seen),
    }
}

fn changed(base: usize, written: Option<&Written>, then: &HeapFacts, seen: &Seen<'_>) -> Basis {
    let mut extent = extent(seen);
    let mut blocks = written.map_or_else(BlockSet::new, |written| written.blocks.clone());
    if Rule::RelationEnd.holds() {
        blocks.remove_range(extent.blocks..);
    } else {
        extent.blocks = extent.blocks.max(then.blocks);
    }
    let limit = written.and_then(|written| written.limit);
    let behind_the_end = limit.is_some_and(|limit| limit >= seen.size.blocks);
    let rule = match behind_the_end {
        true => Rule::RelationEnd,
        false => Rule::LimitBlocks,
    };
    let limit = limit.filter(|_| rule.holds());
    Basis::Changed {
        base,
        blocks,
        holds: limit.unwrap_or(u32::MAX),
        extent,
    }
}
