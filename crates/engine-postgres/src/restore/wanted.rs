//! What of the saveset is wanted, and where it goes.

use std::collections::{BTreeMap, BTreeSet};

use model::{ChosenObject, DatabaseSelection, ObjectName, ObjectType, RestoreRequest, Scope};

use super::destination::{Destination, NAME_BYTES};
use super::fault::RestoreError;
use super::load;
use super::objects::old::Names;
use super::quote::cut;
use super::scratch::Found;
use crate::facts::{QualifiedName, TableFacts, TableKind};

/// Where an object lies whose name says no schema.
const USUAL_SCHEMA: &str = "public";

/// The kinds that are relations: `ALTER TABLE … SET SCHEMA` moves each of them.
const RELATIONS: [ObjectType; 5] = [
    ObjectType::Table,
    ObjectType::View,
    ObjectType::MaterializedView,
    ObjectType::Sequence,
    ObjectType::ForeignTable,
];

/// How the restore goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// A whole database, as its dump has it.
    AsSaved,
    /// A new database of what is wanted, by way of a scratch database.
    NewDatabase,
    /// Objects, by way of a scratch database and working schemas, into a database that is there.
    IntoTarget,
}

/// One object that was asked for by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    /// A relation's kind, or SCHEMA.
    pub(super) kind: ObjectType,
    /// Its name in the saveset; of a SCHEMA both are its name.
    pub(super) from: QualifiedName,
    /// Its name on the target.
    pub(super) to: QualifiedName,
}

impl Chosen {
    /// As a person reads it.
    pub(super) fn title(&self) -> String {
        match self.kind {
            ObjectType::Schema => format!("the schema {}", ObjectName::one(&self.from.name)),
            _ => format!(
                "the {} {}",
                self.kind.to_string().to_lowercase().replace('_', " "),
                ObjectName::two(&self.from.schema, &self.from.name)
            ),
        }
    }

    /// Whether it gets another name.
    pub(super) fn is_renamed(&self) -> bool {
        self.from != self.to
    }
}

/// A schema in the target database in which objects lie until they are complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WorkingSchema {
    /// Its name.
    pub(super) working: String,
    /// The schema that its objects are for.
    pub(super) schema: String,
    /// Whether all of that schema was asked for.
    pub(super) whole: bool,
}

/// What became of a relation of the saveset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    /// `TABLE`, `VIEW`, …
    pub(super) kind: String,
    /// Its name in the saveset.
    pub(super) from: QualifiedName,
    /// Its name while it is worked on.
    pub(super) working: QualifiedName,
    /// Its name at the end.
    pub(super) to: QualifiedName,
    /// Whether it is a sequence of a table, which goes wherever that goes.
    pub(super) goes_with_another: bool,
}

/// What is wanted.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) way: Way,
    selection: DatabaseSelection,
    /// What the saveset was made of.
    saved: DatabaseSelection,
    chosen: Vec<Chosen>,
    working: Vec<WorkingSchema>,
    /// The tables whose rows the saveset holds.
    held: BTreeSet<QualifiedName>,
    /// What the working schemas' names begin with.
    prefix: String,
}

impl Wanted {
    /// Reads the wish. `into_target`: objects go into a database that is there.
    pub(super) fn of(
        request: &RestoreRequest,
        destination: &Destination,
        into_target: bool,
    ) -> Result<Wanted, RestoreError> {
        let selection = request.selection.clone();
        let chosen = match &selection.scope {
            Scope::Whole { .. } => Vec::new(),
            Scope::Only(chosen) => chosen.iter().map(chosen_object).collect::<Result<_, _>>()?,
        };
        let way = match selection.is_whole() && request.saved.is_whole() {
            _ if into_target => Way::IntoTarget,
            true => Way::AsSaved,
            false => Way::NewDatabase,
        };
        let mut wanted = Wanted {
            way,
            selection,
            saved: request.saved.clone(),
            chosen,
            working: Vec::new(),
            held: load::held(&request.tables)?,
            prefix: destination
                .schema_prefixes
                .first()
                .cloned()
                .unwrap_or_default(),
        };
        if way == Way::IntoTarget {
            wanted.lay_out();
        }
        Ok(wanted)
    }

    /// One working schema for each schema that something goes to.
    fn lay_out(&mut self) {
        let mut schemas: BTreeMap<String, bool> = BTreeMap::new();
        for chosen in &self.chosen {
            let whole = schemas.entry(chosen.to.schema.clone()).or_default();
            *whole |= chosen.kind == ObjectType::Schema;
        }
        for (place, (schema, whole)) in schemas.into_iter().enumerate() {
            let working = self.working_name(place, &schema);
            self.working.push(WorkingSchema {
                working,
                schema,
                whole,
            });
        }
    }

    /// What was asked for by name; empty: a whole database.
    pub(super) fn chosen(&self) -> &[Chosen] {
        &self.chosen
    }

    /// The names that what was asked for takes.
    pub(super) fn names(&self) -> Names {
        let (schemas, relations): (Vec<&Chosen>, Vec<&Chosen>) = self
            .chosen
            .iter()
            .partition(|chosen| chosen.kind == ObjectType::Schema);
        Names {
            relations: relations.iter().map(|chosen| chosen.to.clone()).collect(),
            schemas: schemas
                .iter()
                .map(|chosen| chosen.to.name.clone())
                .collect(),
        }
    }

    /// Whether the rows of a table may be wanted, as far as can be said before the scratch database
    /// is there.
    pub(super) fn may_want(&self, facts: &TableFacts) -> bool {
        if self.way == Way::AsSaved {
            return true;
        }
        if facts.kind == TableKind::LargeObjects || facts.extension.is_some() {
            return self.is_of_the_whole();
        }
        let takes = |name: &QualifiedName| {
            let table = ObjectType::Table;
            self.selection.takes(&name.schema, &name.name, table)
        };
        let root = facts.partition_root.as_ref();
        if self.is_of_the_whole() {
            return takes(&facts.name()) && root.is_none_or(takes);
        }
        // A partitioned table below another one brings its partitions, too: which those are, the
        // facts do not say.
        let mut tables = self.chosen.iter().filter(|c| c.kind == ObjectType::Table);
        let partitioned = tables.any(|chosen| !self.held.contains(&chosen.from));
        takes(&facts.name()) || root.is_some_and(|root| partitioned || takes(root))
    }

    /// The working schemas; empty: a database of its own is made.
    pub(super) fn working_schemas(&self) -> &[WorkingSchema] {
        &self.working
    }

    /// Whether it is a database that is wanted, if not all of it.
    pub(super) fn is_of_the_whole(&self) -> bool {
        self.chosen.is_empty()
    }

    /// Whether something of the saveset's dump is dropped in the scratch database.
    pub(super) fn leaves_out(&self) -> bool {
        self.way == Way::NewDatabase
    }

    /// Whether an object that is no relation is wanted: functions and types come along with
    /// tables, because nobody can see in a function's text what it calls.
    pub(super) fn takes_other(&self, schema: &str, name: &str, kind: ObjectType) -> bool {
        match self.is_of_the_whole() {
            true => self.selection.takes(schema, name, kind),
            false => true,
        }
    }

    /// The relations that are wanted, by OID.
    pub(super) fn taken(&self, all: &[Found]) -> BTreeSet<u32> {
        let by_oid: BTreeMap<u32, &Found> = all.iter().map(|found| (found.oid, found)).collect();
        let taken = |found: &&Found| self.takes(found, &by_oid);
        all.iter().filter(taken).map(|found| found.oid).collect()
    }

    fn takes(&self, found: &Found, all: &BTreeMap<u32, &Found>) -> bool {
        let held = !found.has_rows || self.held.contains(&found.name);
        held && takes(&self.selection, found, all) && takes(&self.saved, found, all)
    }

    /// What is to be left out and is not there, a sentence each: nothing is lost by it.
    pub(super) fn left_out_for_nothing(
        &self,
        there: &[(String, String, ObjectType)],
    ) -> Vec<String> {
        let there = there
            .iter()
            .map(|(schema, name, kind)| (&**schema, &**name, *kind));
        let unmatched = self.selection.unmatched(there);
        let excluded = unmatched.excluded.iter();
        excluded
            .map(|object| format!("{object} is to be left out, and the saveset does not have it"))
            .collect()
    }

    /// As [`taken`](Self::taken), where what was asked for has its new name already.
    pub(super) fn taken_after_renames(&self, all: &[Found]) -> BTreeSet<u32> {
        let renamed: BTreeMap<(&str, &str), &Chosen> = self
            .chosen
            .iter()
            .filter(|chosen| chosen.kind != ObjectType::Schema)
            .map(|chosen| ((&*chosen.from.schema, &*chosen.to.name), chosen))
            .collect();
        let mut all = all.to_vec();
        for found in &mut all {
            let key = (&*found.name.schema, &*found.name.name);
            if let Some(chosen) = renamed.get(&key) {
                found.name = chosen.from.clone();
            }
        }
        self.taken(&all)
    }

    /// The schema on the target that a relation goes to, renamed or not.
    pub(super) fn schema_for(&self, found: &Found, all: &BTreeMap<u32, &Found>) -> String {
        let chosen = self.chosen.iter().find(|chosen| {
            chosen.kind != ObjectType::Schema
                && chosen.from.schema == found.name.schema
                && chosen.to.name == found.name.name
        });
        let above = found.partition_of.and_then(|oid| all.get(&oid));
        match (chosen, above) {
            (Some(chosen), _) => chosen.to.schema.clone(),
            // A partition follows its table where it lay beside it.
            (None, Some(above)) if above.name.schema == found.name.schema => {
                self.schema_for(above, all)
            }
            (None, _) => found.name.schema.clone(),
        }
    }

    /// The working schema for what goes to that schema; a new one, where none was laid out.
    pub(super) fn working_schema_for(&mut self, schema: &str) -> String {
        if let Some(known) = self.working.iter().find(|known| known.schema == schema) {
            return known.working.clone();
        }
        let working = self.working_name(self.working.len(), schema);
        self.working.push(WorkingSchema {
            working: working.clone(),
            schema: schema.to_owned(),
            whole: false,
        });
        working
    }

    /// The schema of the saveset that becomes that one on the target, with all that is in it.
    pub(super) fn whole_schema_from(&self, schema: &str) -> Option<&str> {
        let mut chosen = self.chosen.iter();
        let chosen = chosen.find(|c| c.kind == ObjectType::Schema && c.to.name == schema);
        chosen.map(|chosen| chosen.from.name.as_str())
    }

    fn working_name(&self, place: usize, schema: &str) -> String {
        let mut working = format!("{}{place}_", self.prefix);
        let room = NAME_BYTES.saturating_sub(working.len());
        working.push_str(cut(schema, room));
        working
    }

    /// Refuses a wish for what the saveset does not have. `failed`: why it may not be there.
    pub(super) fn all_are_there(&self, all: &[Found], failed: &str) -> Result<(), RestoreError> {
        for chosen in self.chosen.iter().filter(|c| c.kind != ObjectType::Schema) {
            let kind = chosen.kind.to_string();
            let found = all
                .iter()
                .find(|found| found.name == chosen.from && found.kind == kind);
            match found {
                None => {
                    return Err(RestoreError::NotInSaveset {
                        object: chosen.title(),
                        failed: failed.to_owned(),
                    });
                }
                Some(found) if found.has_rows && !self.held.contains(&found.name) => {
                    return Err(RestoreError::RowsNotInSaveset {
                        object: chosen.title(),
                    });
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Refuses a result that lacks something that was asked for by name.
    pub(super) fn all_survived(&self, relations: &[Relation]) -> Result<(), RestoreError> {
        for chosen in self.chosen.iter().filter(|c| c.kind != ObjectType::Schema) {
            if !relations.iter().any(|there| there.from == chosen.from) {
                return Err(RestoreError::NeedsAnother {
                    object: chosen.title(),
                });
            }
        }
        Ok(())
    }

    /// What became of each relation that is restored.
    pub(super) fn relations(&self, before: Vec<Found>, after: Vec<Found>) -> Vec<Relation> {
        let mut names: BTreeMap<u32, QualifiedName> = before
            .into_iter()
            .map(|found| (found.oid, found.name))
            .collect();
        let mut relations = Vec::new();
        for found in after {
            let Some(from) = names.remove(&found.oid) else {
                continue;
            };
            let working = self.working.iter();
            let mut working = working.filter(|schema| schema.working == found.name.schema);
            let schema = match (working.next(), self.way) {
                (Some(working), _) => working.schema.clone(),
                (None, Way::IntoTarget) => continue,
                (None, _) => found.name.schema.clone(),
            };
            relations.push(Relation {
                to: QualifiedName {
                    schema,
                    name: found.name.name.clone(),
                },
                goes_with_another: found.owned_by.is_some(),
                working: found.name,
                kind: found.kind,
                from,
            });
        }
        relations
    }
}

fn chosen_object(chosen: &ChosenObject) -> Result<Chosen, RestoreError> {
    let kind = chosen.object_type;
    let not_yet = |what: String| Err(RestoreError::NotBuiltYet { what });
    let (from, to) = match kind {
        ObjectType::Schema => {
            if !chosen.exclude.is_empty() {
                return not_yet("restoring a schema without some of its objects".into());
            }
            let one = |name: &ObjectName| QualifiedName {
                schema: name.last().to_owned(),
                name: name.last().to_owned(),
            };
            let to = chosen.rename_to.as_ref().unwrap_or(&chosen.name);
            (one(&chosen.name), one(to))
        }
        _ if RELATIONS.contains(&kind) => {
            let from = qualified(&chosen.name, USUAL_SCHEMA);
            let to = chosen.rename_to.as_ref();
            let to = to.map_or_else(|| from.clone(), |name| qualified(name, &from.schema));
            (from, to)
        }
        _ => return not_yet(format!("restoring a {kind} by itself")),
    };
    Ok(Chosen { kind, from, to })
}

/// Whether a selection means a relation: by itself, or with what it is a part of.
fn takes(selection: &DatabaseSelection, found: &Found, all: &BTreeMap<u32, &Found>) -> bool {
    let named = selection.takes(&found.name.schema, &found.name.name, found.kind());
    let above = found.partition_of.or(found.owned_by);
    let above = above.and_then(|oid| all.get(&oid));
    match selection.scope {
        // What is left out takes its partitions and sequences with it.
        Scope::Whole { .. } => named && above.is_none_or(|above| takes(selection, above, all)),
        // What is chosen brings them.
        Scope::Only(_) => named || above.is_some_and(|above| takes(selection, above, all)),
    }
}

/// The last two parts of a name; a name of one part lies in `usual`.
fn qualified(name: &ObjectName, usual: &str) -> QualifiedName {
    let schema = name.parts().iter().rev().nth(1);
    QualifiedName {
        schema: schema.cloned().unwrap_or_else(|| usual.to_owned()),
        name: name.last().to_owned(),
    }
}

/// Where the relations of the saveset are on the target.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// `None`: everything is where it was.
    moved: Option<Moved>,
}

#[derive(Debug)]
struct Moved {
    /// By the name in the saveset.
    places: BTreeMap<QualifiedName, QualifiedName>,
    /// All relations of the saveset, but for those that extensions bring.
    known: BTreeSet<QualifiedName>,
    /// Whether it is a whole database, with what extensions bring, and with large objects.
    whole: bool,
}

impl Places {
    /// As the scratch database gave them. `known`: all relations that were there at first.
    pub(super) fn of(
        relations: &[Relation],
        known: BTreeSet<QualifiedName>,
        whole: bool,
    ) -> Places {
        let places = relations
            .iter()
            .map(|relation| (relation.from.clone(), relation.working.clone()));
        Places {
            moved: Some(Moved {
                places: places.collect(),
                known,
                whole,
            }),
        }
    }

    /// Where a relation is now; `None`: nowhere.
    pub(super) fn of_relation(&self, name: &QualifiedName) -> Option<QualifiedName> {
        match &self.moved {
            None => Some(name.clone()),
            Some(moved) if moved.known.contains(name) => moved.places.get(name).cloned(),
            Some(moved) => Some(name.clone()).filter(|_| moved.whole),
        }
    }

    /// Whether large objects come along.
    pub(super) fn with_large_objects(&self) -> bool {
        self.moved.as_ref().is_none_or(|moved| moved.whole)
    }
}
