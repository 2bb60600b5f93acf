//! What an export of a part takes out of the dump.
//!
//! As a restore into a new database does, it takes what is asked for with what belongs to it, and
//! brings functions and types along, since nobody can see in a function's text what it calls. No
//! scratch database says here what hangs on what: the dump's own table of contents does, in which
//! every entry names those that it needs. What needs something that is left out is left out too.

use std::collections::{BTreeMap, BTreeSet};

use model::{DatabaseSelection, ObjectType, RestoreRequest, Scope};

use crate::facts::{DatabaseFacts, QualifiedName, TableFacts, TableKind};
use crate::restore::{Entry, RestoreError, facts_of};

/// Kinds of relations, as pg_dump says them.
const RELATIONS: [(&str, ObjectType); 5] = [
    ("TABLE", ObjectType::Table),
    ("VIEW", ObjectType::View),
    ("MATERIALIZED VIEW", ObjectType::MaterializedView),
    ("SEQUENCE", ObjectType::Sequence),
    ("FOREIGN TABLE", ObjectType::ForeignTable),
];

/// Kinds that a selection can leave out by name, and that a person misses when they are.
const OTHERS: [(&str, ObjectType); 5] = [
    ("FUNCTION", ObjectType::Function),
    ("PROCEDURE", ObjectType::Procedure),
    ("AGGREGATE", ObjectType::Aggregate),
    ("TYPE", ObjectType::Type),
    ("DOMAIN", ObjectType::Domain),
];

/// What a database has as a whole: with chosen objects only where these need it.
const OF_THE_WHOLE: [&str; 9] = [
    "EVENT TRIGGER",
    "FOREIGN DATA WRAPPER",
    "PUBLICATION",
    "PUBLICATION TABLE",
    "PUBLICATION TABLES IN SCHEMA",
    "SERVER",
    "SUBSCRIPTION",
    "SUBSCRIPTION TABLE",
    "USER MAPPING",
];

/// Ties between two relations: nobody misses them where one of both is left out.
const TIES: [&str; 3] = ["INDEX ATTACH", "SEQUENCE OWNED BY", "TABLE ATTACH"];

/// What is meant, and what the saveset was made of.
#[derive(Debug, Clone)]
pub(super) struct Part {
    selection: DatabaseSelection,
    saved: DatabaseSelection,
    /// The tables whose rows the saveset holds.
    held: BTreeSet<QualifiedName>,
}

/// The entries of the dump that are exported.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Their numbers.
    pub(super) ids: BTreeSet<u32>,
    /// The relations among them.
    pub(super) relations: BTreeSet<QualifiedName>,
    /// What is missed among the others, a sentence each.
    pub(super) told: Vec<String>,
}

impl Part {
    /// `None`: everything is meant, and everything is there.
    pub(super) fn of(request: &RestoreRequest) -> Option<Part> {
        let (selection, saved) = (&request.selection, &request.saved);
        let is_whole = selection.is_whole() && saved.is_whole();
        (!is_whole).then(|| Part {
            selection: selection.clone(),
            saved: saved.clone(),
            // What cannot be read is told when it is written.
            held: request
                .tables
                .iter()
                .filter_map(|table| Some(facts_of(table).ok()?.name()))
                .collect(),
        })
    }

    /// Whether it is a database, if not all of it.
    pub(super) fn is_of_the_whole(&self) -> bool {
        matches!(self.selection.scope, Scope::Whole { .. })
    }

    /// Whether the rows of a table may be wanted, as far as its own facts tell: whether it is a
    /// partition of a chosen one that is a partition itself, they do not.
    pub(super) fn may_want(&self, facts: &TableFacts) -> bool {
        if facts.kind == TableKind::LargeObjects || facts.extension.is_some() {
            return self.is_of_the_whole();
        }
        let takes = |name: &QualifiedName| self.takes(name, ObjectType::Table);
        let (own, root) = (facts.name(), facts.partition_root.as_ref());
        match &self.selection.scope {
            Scope::Whole { .. } => takes(&own) && root.is_none_or(takes),
            Scope::Only(chosen) => {
                let lies = |name: &model::ObjectName| match name.parts() {
                    [.., schema, name] => (schema.clone(), name.clone()),
                    _ => ("public".to_owned(), name.last().to_owned()),
                };
                let partitioned = || {
                    let tables = chosen.iter().filter(|c| c.object_type == ObjectType::Table);
                    tables
                        .map(|chosen| lies(&chosen.name))
                        .any(|(schema, name)| !self.held.contains(&QualifiedName { schema, name }))
                };
                takes(&own) || root.is_some_and(|root| takes(root) || partitioned())
            }
        }
    }

    /// Whether an object is meant by its own name.
    pub(super) fn takes(&self, name: &QualifiedName, kind: ObjectType) -> bool {
        let takes = |one: &DatabaseSelection| one.takes(&name.schema, &name.name, kind);
        takes(&self.selection) && takes(&self.saved)
    }

    /// Sorts the entries of a dump.
    ///
    /// # Errors
    /// When something that was asked for by name is not there, or cannot be without something else.
    pub(super) fn sort(
        &self,
        all: &[&Entry],
        facts: &DatabaseFacts,
        request: &RestoreRequest,
    ) -> Result<Kept, RestoreError> {
        let owners = &facts.needs.owners;
        let names = Names::of(request);
        let relations: BTreeMap<u32, Relation> = all
            .iter()
            .filter_map(|entry| {
                let kind = kind_of(entry, &RELATIONS)?;
                let name = names.of_listed(kind, entry.listed(owners));
                Some((entry.id, Relation { kind, name }))
            })
            .collect();
        let above = above(all, &relations, owners);
        let mut taken: BTreeSet<u32> = relations
            .keys()
            .copied()
            .filter(|id| {
                is_taken(&self.selection, *id, &relations, &above)
                    && is_taken(&self.saved, *id, &relations, &above)
            })
            .collect();
        let either = [&self.selection, &self.saved];
        if either.iter().any(|one| matches!(one.scope, Scope::Only(_))) {
            taken.extend(numbers_of(all, &relations, &taken));
        }
        let mut out: BTreeSet<u32> = relations.keys().copied().collect();
        out.retain(|id| !taken.contains(id));
        for entry in all {
            let left_out = match kind_of(entry, &OTHERS) {
                Some(kind) if self.is_of_the_whole() => {
                    !self.takes_other(entry.listed(owners), kind)
                }
                _ => entry.kind == "SCHEMA" && !self.takes_schema(entry.listed(owners)),
            };
            if left_out {
                out.insert(entry.id);
            }
        }
        let meant = out.clone();
        let ties = ties(all);
        with_dependents(all, &ties, &mut out);
        if !self.is_of_the_whole() {
            out.extend(not_needed(all, &ties, &out));
        }
        let kept = |id: &u32| !out.contains(id);
        self.all_survived(&relations, &kept)?;
        let missed = all.iter().filter(|entry| {
            let of_kept = || {
                entry
                    .needs
                    .iter()
                    .any(|id| relations.contains_key(id) && kept(id))
            };
            let itself = relations.contains_key(&entry.id)
                || self.is_of_the_whole() && kind_of(entry, &OTHERS).is_some();
            out.contains(&entry.id)
                && !meant.contains(&entry.id)
                && !TIES.contains(&&*entry.kind)
                && !OF_THE_WHOLE.contains(&&*entry.kind)
                && (itself || of_kept())
        });
        let told = missed.map(|entry| {
            let listed = entry.listed(owners);
            format!(
                "{} {listed} is left out, because it needs something that is not exported",
                entry.kind
            )
        });
        Ok(Kept {
            told: told.collect(),
            ids: all.iter().map(|e| e.id).filter(kept).collect(),
            relations: relations
                .iter()
                .filter(|(id, _)| kept(id))
                .map(|(_, relation)| relation.name.clone())
                .collect(),
        })
    }

    /// A function's name is listed with the types of its arguments.
    fn takes_other(&self, listed: &str, kind: ObjectType) -> bool {
        let Some((schema, name)) = listed.split_once(' ') else {
            return true;
        };
        let bare = name.split_once('(').map_or(name, |(bare, _)| bare);
        let takes = |name: &str| self.selection.takes(schema, name, kind);
        takes(name) && takes(bare)
    }

    /// A schema that is left out; where objects are chosen, functions and types may lie in any.
    fn takes_schema(&self, listed: &str) -> bool {
        let name = listed.trim_start_matches("- ");
        !self.is_of_the_whole() || self.selection.takes("", name, ObjectType::Schema)
    }

    fn all_survived(
        &self,
        relations: &BTreeMap<u32, Relation>,
        kept: &impl Fn(&u32) -> bool,
    ) -> Result<(), RestoreError> {
        let Scope::Only(chosen) = &self.selection.scope else {
            return Ok(());
        };
        for object in chosen {
            if object.object_type == ObjectType::Schema {
                continue;
            }
            let known = RELATIONS
                .iter()
                .any(|(_, kind)| *kind == object.object_type);
            if !known {
                return Err(RestoreError::NotBuiltYet {
                    what: format!("exporting a {} by itself", object.object_type),
                });
            }
            let alone =
                DatabaseSelection::only(self.selection.database.clone(), vec![object.clone()]);
            let mut its = relations.iter().filter(|(_, relation)| {
                let (schema, name) = (&relation.name.schema, &relation.name.name);
                alone.takes(schema, name, relation.kind)
            });
            match its.next() {
                None => {
                    return Err(RestoreError::NotInSaveset {
                        object: object.to_string(),
                        failed: String::new(),
                    });
                }
                Some((id, _)) if !kept(id) => {
                    return Err(RestoreError::NeedsAnother {
                        object: object.to_string(),
                    });
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

struct Relation {
    kind: ObjectType,
    name: QualifiedName,
}

/// How the saveset's relations are listed: a name may hold spaces, and a listing has no quotes.
struct Names(BTreeMap<(ObjectType, String), QualifiedName>);

impl Names {
    fn of(request: &RestoreRequest) -> Names {
        let objects = request.objects.iter();
        let names = objects.filter_map(|object| match object.name.parts() {
            [schema, name] => {
                let listed = format!("{schema} {name}").replace(['\n', '\r'], " ");
                let (schema, name) = (schema.clone(), name.clone());
                Some(((object.object_type, listed), QualifiedName { schema, name }))
            }
            _ => None,
        });
        Names(names.collect())
    }

    /// An object that the saveset does not list is taken at the first space.
    fn of_listed(&self, kind: ObjectType, listed: &str) -> QualifiedName {
        if let Some(name) = self.0.get(&(kind, listed.to_owned())) {
            return name.clone();
        }
        let (schema, name) = listed.split_once(' ').unwrap_or(("", listed));
        QualifiedName {
            schema: schema.to_owned(),
            name: name.to_owned(),
        }
    }
}

fn kind_of(entry: &Entry, kinds: &[(&str, ObjectType)]) -> Option<ObjectType> {
    let known = kinds.iter().find(|(word, _)| *word == entry.kind);
    known.map(|(_, kind)| *kind)
}

/// By a partition its table, by a sequence the table that it belongs to.
fn above(
    all: &[&Entry],
    relations: &BTreeMap<u32, Relation>,
    owners: &[String],
) -> BTreeMap<u32, u32> {
    let is = |id: &u32, kind: ObjectType| relations.get(id).is_some_and(|r| r.kind == kind);
    let by_id: BTreeMap<u32, &Entry> = all.iter().map(|entry| (entry.id, *entry)).collect();
    let mut above = BTreeMap::new();
    for entry in all {
        let tables = || entry.needs.iter().filter(|id| is(id, ObjectType::Table));
        match &*entry.kind {
            // It needs both; the tag is the partition's.
            "TABLE ATTACH" => {
                let named = |id: &&u32| {
                    let listed = by_id.get(id).map(|entry| entry.listed(owners));
                    listed == Some(entry.listed(owners))
                };
                let part = entry.needs.iter().find(named);
                let whole = entry.needs.iter().find(|id| !named(id));
                above.extend(part.copied().zip(whole.copied()));
            }
            "SEQUENCE OWNED BY" => {
                let sequence = entry.needs.iter().find(|id| is(id, ObjectType::Sequence));
                above.extend(sequence.copied().zip(tables().next().copied()));
            }
            // One of an identity column.
            "SEQUENCE" => above.extend(tables().next().map(|table| (entry.id, *table))),
            _ => {}
        }
    }
    above
}

/// By its own name, or with what it is a part of. What is left out takes its parts with it.
fn is_taken(
    selection: &DatabaseSelection,
    id: u32,
    relations: &BTreeMap<u32, Relation>,
    above: &BTreeMap<u32, u32>,
) -> bool {
    let mut next = Some(id);
    let mut named = false;
    // As long as the way up can be: a dump that leads round in a circle ends too.
    for _ in 0..=above.len() {
        let Some((id, relation)) = next.and_then(|id| Some((id, relations.get(&id)?))) else {
            break;
        };
        let (schema, name) = (&relation.name.schema, &relation.name.name);
        let taken = selection.takes(schema, name, relation.kind);
        match selection.scope {
            Scope::Whole { .. } if !taken => return false,
            _ => named |= taken,
        }
        next = above.get(&id).copied();
    }
    named
}

/// Sequences that chosen tables take their numbers from, whoever they belong to.
fn numbers_of(
    all: &[&Entry],
    relations: &BTreeMap<u32, Relation>,
    taken: &BTreeSet<u32>,
) -> BTreeSet<u32> {
    let is_sequence = |id: &&u32| {
        let relation = relations.get(id);
        relation.is_some_and(|relation| relation.kind == ObjectType::Sequence)
    };
    all.iter()
        .filter(|entry| {
            let of_taken = || entry.needs.iter().any(|id| taken.contains(id));
            taken.contains(&entry.id) || entry.kind == "DEFAULT" && of_taken()
        })
        .flat_map(|entry| entry.needs.iter().filter(is_sequence))
        .copied()
        .collect()
}

/// What is made apart and tied together by an entry of its own, in both orders: a partition is in
/// no need of its table, though the table of contents says so.
fn ties(all: &[&Entry]) -> BTreeSet<(u32, u32)> {
    let tying = all.iter().filter(|entry| TIES.contains(&&*entry.kind));
    let pairs = tying.flat_map(|entry| {
        let both = entry.needs.iter();
        both.flat_map(|one| entry.needs.iter().map(|other| (*one, *other)))
    });
    pairs.collect()
}

/// Adds what needs one of them.
fn with_dependents(all: &[&Entry], ties: &BTreeSet<(u32, u32)>, out: &mut BTreeSet<u32>) {
    loop {
        let before = out.len();
        for entry in all {
            let needs = |id: &u32| out.contains(id) && !ties.contains(&(entry.id, *id));
            if entry.needs.iter().any(needs) {
                out.insert(entry.id);
            }
        }
        if out.len() == before {
            return;
        }
    }
}

/// What a database has as a whole, and none of the kept entries needs.
fn not_needed(all: &[&Entry], ties: &BTreeSet<(u32, u32)>, out: &BTreeSet<u32>) -> BTreeSet<u32> {
    let of_whole = |entry: &&&Entry| OF_THE_WHOLE.contains(&&*entry.kind);
    let mut needed = BTreeSet::new();
    let mut next: Vec<&Entry> = all
        .iter()
        .filter(|entry| !of_whole(entry) && !out.contains(&entry.id))
        .filter(|entry| !["COMMENT", "ACL", "SECURITY LABEL"].contains(&&*entry.kind))
        .copied()
        .collect();
    let by_id: BTreeMap<u32, &Entry> = all.iter().map(|entry| (entry.id, *entry)).collect();
    while let Some(entry) = next.pop() {
        for id in &entry.needs {
            if needed.insert(*id) {
                next.extend(by_id.get(id));
            }
        }
    }
    // The user mappings of a server that is needed.
    let mapped = all.iter().filter(|entry| {
        entry.kind == "USER MAPPING" && entry.needs.iter().any(|id| needed.contains(id))
    });
    let mapped: Vec<u32> = mapped.map(|entry| entry.id).collect();
    needed.extend(mapped);
    let loose = all.iter().filter(of_whole).map(|entry| entry.id);
    let mut left: BTreeSet<u32> = loose.filter(|id| !needed.contains(id)).collect();
    with_dependents(all, ties, &mut left);
    left
}
