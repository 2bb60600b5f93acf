//! What a job backs up, and what a restore brings back.
//!
//! A [`Selection`] is a job's list as its user wrote it. [`Selection::by_database`] sorts it by
//! database, and one [`DatabaseSelection`] is what an engine is given: it never sees the others.
//! [`DatabaseSelection::takes`] is the one rule that says whether an object is meant.
//!
//! Names: an unqualified `orders` is the one of the schema `public`, or of no schema at all where
//! things have none. Below a schema it is that schema's. Nothing is folded.

mod sorting;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ObjectName, ObjectType};
pub use sorting::{FaultPlace, PlacedFault, SelectionFault};

/// One object that is left out, below the object that names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExcludedObject {
    /// Its name.
    pub name: ObjectName,
    /// Its type; DATABASE below a database means the schema of that name.
    pub object_type: ObjectType,
    /// It stands below DBC and is meant in every database that has one: that a database has none
    /// is no warning.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub everywhere: bool,
}

/// One object of a job's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectedObject {
    /// Its name; a DATABASE's is one part.
    pub name: ObjectName,
    /// Its type.
    pub object_type: ObjectType,
    /// What it is in; DBC is the root of a site.
    pub parent_name: Option<ObjectName>,
    /// The type of what it is in.
    pub parent_type: Option<ObjectType>,
    /// Whether everything below it is meant too.
    pub include_all: bool,
    /// What below it is left out.
    pub exclude: Vec<ExcludedObject>,
    /// Restores: its new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rename_to: Option<ObjectName>,
}

/// The objects of a job, in the order given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// At least one.
    pub objects: Vec<SelectedObject>,
}

/// What of one database is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseSelection {
    /// The database; its name is one part.
    pub database: ObjectName,
    /// What of it.
    pub scope: Scope,
}

/// How much of a database is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Everything but what is left out.
    Whole {
        /// What is left out; a schema stands for everything in it.
        exclude: Vec<ExcludedObject>,
    },
    /// Only these.
    Only(Vec<ChosenObject>),
}

/// An object below a database that is meant by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChosenObject {
    /// Its name.
    pub name: ObjectName,
    /// Its type. A SCHEMA is meant with everything in it.
    pub object_type: ObjectType,
    /// What of a SCHEMA is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<ExcludedObject>,
    /// Restores: its new name; one part keeps the schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rename_to: Option<ObjectName>,
}

/// Names of a selection that nothing in the database has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unmatched {
    /// Chosen: an error.
    pub chosen: Vec<ChosenObject>,
    /// Left out: a warning, since nothing is lost.
    pub excluded: Vec<ExcludedObject>,
}

/// The root of a site, the parent of its databases.
const ROOT: &str = "DBC";

impl Selection {
    /// One whole database.
    pub fn whole_database(name: &str) -> Self {
        Selection {
            objects: vec![SelectedObject::whole_database(ObjectName::one(name))],
        }
    }
}

impl SelectedObject {
    /// All of a database.
    pub fn whole_database(name: ObjectName) -> Self {
        SelectedObject {
            name,
            object_type: ObjectType::Database,
            parent_name: Some(ObjectName::one(ROOT)),
            parent_type: Some(ObjectType::Database),
            include_all: true,
            exclude: Vec::new(),
            rename_to: None,
        }
    }

    /// Whether it is DBC, the root of the site.
    pub fn is_root(&self) -> bool {
        self.object_type == ObjectType::Database && self.name.parts() == [ROOT]
    }
}

impl ExcludedObject {
    /// One that must be there.
    pub fn new(name: ObjectName, object_type: ObjectType) -> Self {
        ExcludedObject {
            name,
            object_type,
            everywhere: false,
        }
    }

    /// `within`: the schema that it stands below.
    fn leaves_out(&self, within: Option<&str>, there: There<'_>) -> bool {
        if is_schema(self.object_type) {
            return self.name.last() == there.in_schema();
        }
        self.object_type == there.kind && means(&self.name, within, there)
    }
}

impl ChosenObject {
    /// One without exclusions that keeps its name.
    pub fn new(name: ObjectName, object_type: ObjectType) -> Self {
        ChosenObject {
            name,
            object_type,
            exclude: Vec::new(),
            rename_to: None,
        }
    }

    fn takes(&self, there: There<'_>) -> bool {
        self.is_about(there)
            && !self
                .exclude
                .iter()
                .any(|excluded| excluded.leaves_out(Some(self.name.last()), there))
    }

    /// Whether it is that object, or, as a schema, holds it; exclusions aside.
    fn is_about(&self, there: There<'_>) -> bool {
        if is_schema(self.object_type) {
            return self.name.last() == there.in_schema();
        }
        self.object_type == there.kind && means(&self.name, None, there)
    }
}

impl DatabaseSelection {
    /// All of a database.
    pub fn whole(database: ObjectName) -> Self {
        DatabaseSelection {
            database,
            scope: Scope::Whole {
                exclude: Vec::new(),
            },
        }
    }

    /// Only these objects of it.
    pub fn only(database: ObjectName, chosen: Vec<ChosenObject>) -> Self {
        DatabaseSelection {
            database,
            scope: Scope::Only(chosen),
        }
    }

    /// Whether everything is meant, and nothing left out.
    pub fn is_whole(&self) -> bool {
        matches!(&self.scope, Scope::Whole { exclude } if exclude.is_empty())
    }

    /// Whether an object is meant. `schema` is empty for what is in none (a SQLite table, an
    /// extension); of a schema itself only `name` is looked at. What hangs on a table (its indexes,
    /// its sequences, its partitions) goes with it: that is the engine's to know.
    pub fn takes(&self, schema: &str, name: &str, kind: ObjectType) -> bool {
        let there = There { schema, name, kind };
        match &self.scope {
            Scope::Whole { exclude } => {
                !exclude.iter().any(|object| object.leaves_out(None, there))
            }
            Scope::Only(chosen) => chosen.iter().any(|object| object.takes(there)),
        }
    }

    /// The entry by which an object is chosen, its own before its schema's; `None` where it is not
    /// taken, or the database is meant whole.
    pub fn chosen(&self, schema: &str, name: &str, kind: ObjectType) -> Option<&ChosenObject> {
        let there = There { schema, name, kind };
        let Scope::Only(chosen) = &self.scope else {
            return None;
        };
        let mut taking = chosen.iter().filter(|object| object.takes(there));
        let itself = taking.clone().find(|object| object.object_type == kind);
        itself.or_else(|| taking.next())
    }

    /// The names that nothing of `there` (schema, name, type) has.
    pub fn unmatched<'a>(
        &self,
        there: impl Iterator<Item = (&'a str, &'a str, ObjectType)>,
    ) -> Unmatched {
        let (chosen, excluded): (&[ChosenObject], &[ExcludedObject]) = match &self.scope {
            Scope::Whole { exclude } => (&[], exclude),
            Scope::Only(chosen) => (chosen, &[]),
        };
        let below = |object: &'_ ChosenObject| object.exclude.len();
        let mut found = vec![false; chosen.len()];
        let mut left_out = vec![false; excluded.len()];
        let mut below_found: Vec<Vec<bool>> =
            chosen.iter().map(|o| vec![false; below(o)]).collect();
        for (schema, name, kind) in there {
            let there = There { schema, name, kind };
            for (object, found) in excluded.iter().zip(&mut left_out) {
                *found |= object.leaves_out(None, there);
            }
            for (i, object) in chosen.iter().enumerate() {
                if !object.is_about(there) {
                    continue;
                }
                found[i] = true;
                for (excluded, found) in object.exclude.iter().zip(&mut below_found[i]) {
                    *found |= excluded.leaves_out(Some(object.name.last()), there);
                }
            }
        }
        let lower = chosen.iter().zip(&below_found);
        let lower = lower.flat_map(|(object, found)| missing(&object.exclude, found));
        Unmatched {
            chosen: missing(chosen, &found).cloned().collect(),
            excluded: missing(excluded, &left_out)
                .chain(lower)
                .filter(|object| !object.everywhere)
                .cloned()
                .collect(),
        }
    }
}

fn missing<'a, T>(all: &'a [T], found: &'a [bool]) -> impl Iterator<Item = &'a T> {
    let both = all.iter().zip(found);
    both.filter(|(_, found)| !**found).map(|(one, _)| one)
}

/// An object of a database.
#[derive(Clone, Copy)]
struct There<'a> {
    schema: &'a str,
    name: &'a str,
    kind: ObjectType,
}

impl<'a> There<'a> {
    /// The schema that it is in, or is.
    fn in_schema(self) -> &'a str {
        match self.kind {
            ObjectType::Schema => self.name,
            _ => self.schema,
        }
    }
}

/// DATABASE below a database means a schema (contract section 2, *exclude_objects*).
fn is_schema(kind: ObjectType) -> bool {
    matches!(kind, ObjectType::Schema | ObjectType::Database)
}

fn means(name: &ObjectName, within: Option<&str>, there: There<'_>) -> bool {
    match name.parts() {
        [one] => {
            let schema_fits = match within {
                Some(schema) => schema == there.schema,
                None => there.schema == "public" || there.schema.is_empty(),
            };
            schema_fits && one == there.name
        }
        [.., schema, one] => schema == there.schema && one == there.name,
        [] => false,
    }
}

impl fmt::Display for ExcludedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.object_type, self.name)
    }
}

impl fmt::Display for ChosenObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.object_type, self.name)
    }
}

#[cfg(test)]
mod tests;
