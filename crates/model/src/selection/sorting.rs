//! A job's list, sorted by database.

use super::{
    ChosenObject, DatabaseSelection, ExcludedObject, ROOT, Scope, SelectedObject, Selection,
};
use crate::{ObjectName, ObjectType};

/// Why a job's list cannot be sorted by database. Each names the object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionFault {
    /// The list is empty, or DBC has no database that is not left out.
    #[error("nothing is selected: {0}")]
    Nothing(&'static str),
    /// DBC and something else.
    #[error(
        "DBC is every database of the site already: {0} beside it says nothing more; use exclude_objects to leave objects out"
    )]
    BesideRoot(String),
    /// An object whose database nobody can tell.
    #[error(
        "{0} names no database that it is in: give its database as parent_name, with parent_type DATABASE"
    )]
    NoDatabase(String),
    /// An object that is said to be in two databases, or two schemas.
    #[error("{object} is said to be in {parent} and names another place itself")]
    OtherPlace {
        /// The object.
        object: String,
        /// Its parent.
        parent: String,
    },
    /// A database or schema without what is in it.
    #[error(
        "{0} has include_all false, which would hold nothing: choose what is in it, or include_all true"
    )]
    HoldsNothing(String),
    /// A database that is meant whole and in part.
    #[error(
        "the database {0} is selected whole, and objects of it by themselves: choose one of both, and use exclude_objects to leave objects out"
    )]
    WholeAndPart(ObjectName),
    /// Named twice.
    #[error("{0} is selected twice")]
    Twice(String),
    /// Something is to be left out of what has nothing below it.
    #[error(
        "{0} has nothing below it that could be left out: exclude_objects goes with a DATABASE or a SCHEMA"
    )]
    NothingBelow(String),
}

/// Where in a job's list a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultPlace {
    /// The entry; `None`: the list itself.
    pub object: Option<usize>,
    /// The exclusion below it, where it is about one.
    pub excluded: Option<usize>,
}

/// A fault with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedFault {
    /// Where.
    pub place: FaultPlace,
    /// What.
    pub fault: SelectionFault,
}

impl SelectionFault {
    /// Of the list itself.
    fn of_the_list(self) -> PlacedFault {
        PlacedFault {
            place: FaultPlace::default(),
            fault: self,
        }
    }

    /// Of one entry.
    fn of(self, object: usize) -> PlacedFault {
        PlacedFault {
            place: FaultPlace {
                object: Some(object),
                excluded: None,
            },
            fault: self,
        }
    }

    /// Of an exclusion of an entry that is not known yet.
    fn of_exclusion(self, excluded: usize) -> PlacedFault {
        PlacedFault {
            place: FaultPlace {
                object: None,
                excluded: Some(excluded),
            },
            fault: self,
        }
    }
}

impl PlacedFault {
    fn within(mut self, object: usize) -> PlacedFault {
        self.place.object = Some(object);
        self
    }
}

/// What one entry of the list means.
enum Meant {
    Whole(Vec<ExcludedObject>),
    Chosen(ChosenObject),
}

impl Selection {
    /// Whether the site's databases must be known to sort it: it names DBC.
    pub fn needs_the_list(&self) -> bool {
        self.objects.iter().any(SelectedObject::is_root)
    }

    /// One selection for each database, in the order in which they are named; for DBC in the order
    /// of `live`, which is not looked at otherwise.
    ///
    /// # Errors
    /// The first entry that means nothing, or contradicts another.
    pub fn by_database(
        &self,
        live: &[ObjectName],
    ) -> Result<Vec<DatabaseSelection>, SelectionFault> {
        self.sorted(live).map_err(|placed| placed.fault)
    }

    /// As [`by_database`](Self::by_database), and where the fault is.
    ///
    /// # Errors
    /// The first entry that means nothing, or contradicts another, by its place.
    pub fn sorted(&self, live: &[ObjectName]) -> Result<Vec<DatabaseSelection>, PlacedFault> {
        if let Some(root) = self.objects.iter().position(SelectedObject::is_root) {
            let other = self.objects.iter().position(|object| !object.is_root());
            return match other {
                Some(other) => {
                    let what = told(&self.objects[other]);
                    Err(SelectionFault::BesideRoot(what).of(other))
                }
                None if self.objects.len() > 1 => {
                    Err(SelectionFault::Twice(ROOT.to_owned()).of(root + 1))
                }
                None => of_the_root(&self.objects[root], live).map_err(|fault| fault.of(root)),
            };
        }
        let mut sorted: Vec<DatabaseSelection> = Vec::new();
        for (at, object) in self.objects.iter().enumerate() {
            let (database, meant) = object.placed().map_err(|fault| fault.within(at))?;
            let place = sorted.iter().position(|one| one.database == database);
            match (place, meant) {
                (None, Meant::Whole(exclude)) => sorted.push(DatabaseSelection {
                    database,
                    scope: Scope::Whole { exclude },
                }),
                (None, Meant::Chosen(chosen)) => {
                    sorted.push(DatabaseSelection::only(database, vec![chosen]));
                }
                (Some(place), meant) => {
                    let added = sorted[place].add(meant, object);
                    added.map_err(|fault| fault.of(at))?;
                }
            }
        }
        if sorted.is_empty() {
            return Err(SelectionFault::Nothing("the list of objects is empty").of_the_list());
        }
        Ok(sorted)
    }

    /// The databases that are left out of DBC and that `live` does not have: each is a warning.
    pub fn unmatched_databases(&self, live: &[ObjectName]) -> Vec<ExcludedObject> {
        let roots = self.objects.iter().filter(|object| object.is_root());
        let excluded = roots.flat_map(|root| &root.exclude);
        let missing = excluded.filter(|excluded| {
            excluded.object_type == ObjectType::Database && !live.contains(&excluded.name)
        });
        missing.cloned().collect()
    }

    /// A database's new name, if the list gives it one.
    pub fn new_name_of(&self, database: &ObjectName) -> Option<&ObjectName> {
        let mut databases = self.objects.iter().filter(|object| object.is_database());
        let named = databases.find(|object| object.name == *database)?;
        named.rename_to.as_ref()
    }
}

impl DatabaseSelection {
    /// The entries of a job's list that mean this, and nothing of another database.
    pub fn as_listed(&self) -> Vec<SelectedObject> {
        let entry = |name: &ObjectName, kind, parent: &ObjectName, exclude: &[ExcludedObject]| {
            SelectedObject {
                name: name.clone(),
                object_type: kind,
                parent_name: Some(parent.clone()),
                parent_type: Some(ObjectType::Database),
                include_all: own_parts(kind) == 1,
                exclude: exclude.to_vec(),
                rename_to: None,
            }
        };
        match &self.scope {
            Scope::Whole { exclude } => {
                let root = ObjectName::one(ROOT);
                vec![entry(&self.database, ObjectType::Database, &root, exclude)]
            }
            Scope::Only(chosen) => chosen
                .iter()
                .map(|one| SelectedObject {
                    rename_to: one.rename_to.clone(),
                    ..entry(&one.name, one.object_type, &self.database, &one.exclude)
                })
                .collect(),
        }
    }

    fn add(&mut self, meant: Meant, object: &SelectedObject) -> Result<(), SelectionFault> {
        match (&mut self.scope, meant) {
            (Scope::Whole { .. }, Meant::Whole(_)) => Err(SelectionFault::Twice(told(object))),
            (Scope::Only(chosen), Meant::Chosen(one)) => {
                let same = |other: &ChosenObject| {
                    other.object_type == one.object_type && qualified(other) == qualified(&one)
                };
                if chosen.iter().any(same) {
                    return Err(SelectionFault::Twice(told(object)));
                }
                chosen.push(one);
                Ok(())
            }
            _ => Err(SelectionFault::WholeAndPart(self.database.clone())),
        }
    }
}

/// The name as the database has it, where an unqualified one means the schema `public`.
fn qualified(chosen: &ChosenObject) -> ObjectName {
    match (chosen.object_type, chosen.name.parts()) {
        (kind, [one]) if kind != ObjectType::Schema => ObjectName::two("public", one),
        _ => chosen.name.clone(),
    }
}

fn told(object: &SelectedObject) -> String {
    format!("{} {}", object.object_type, object.name)
}

impl SelectedObject {
    /// Whether it is a database, and not a schema that is called one below another database.
    pub fn is_database(&self) -> bool {
        let below_root = self.parent_name.as_ref().is_none_or(is_root_name);
        self.object_type == ObjectType::Database && below_root && !self.is_root()
    }

    /// The database that it is in or is, and what of it is meant.
    fn placed(&self) -> Result<(ObjectName, Meant), PlacedFault> {
        let holds = matches!(self.object_type, ObjectType::Database | ObjectType::Schema);
        if holds && !self.include_all {
            return Err(SelectionFault::HoldsNothing(told(self)).of_the_list());
        }
        if !holds && !self.exclude.is_empty() {
            return Err(SelectionFault::NothingBelow(told(self)).of_the_list());
        }
        let below = self.exclude.iter().enumerate();
        if self.is_database() {
            let exclude = below.map(|(at, object)| {
                below_database(object, &self.name).map_err(|fault| fault.of_exclusion(at))
            });
            return Ok((
                self.name.clone(),
                Meant::Whole(exclude.collect::<Result<_, _>>()?),
            ));
        }
        let place = self.place();
        let (database, name) = place.map_err(SelectionFault::of_the_list)?;
        let exclude = below.map(|(at, object)| {
            below_schema(object, &name).map_err(|fault| fault.of_exclusion(at))
        });
        let object_type = match self.object_type {
            ObjectType::Database => ObjectType::Schema,
            other => other,
        };
        let chosen = ChosenObject {
            exclude: exclude.collect::<Result<_, _>>()?,
            name,
            object_type,
            rename_to: self.rename_to.clone(),
        };
        Ok((database, Meant::Chosen(chosen)))
    }

    /// Its database, and its name within: a schema's one part, any other one or two.
    fn place(&self) -> Result<(ObjectName, ObjectName), SelectionFault> {
        let parts = self.name.parts();
        let own = match self.object_type {
            ObjectType::Schema | ObjectType::Database => 1,
            _ => 2,
        };
        let (above, own) = parts.split_at(parts.len().saturating_sub(own));
        let parent = self.parent_name.as_ref().filter(|name| !is_root_name(name));
        let other_place = || SelectionFault::OtherPlace {
            object: told(self),
            parent: parent.map_or(ROOT.to_owned(), ObjectName::to_string),
        };
        let (database, schema) = match (parent, self.parent_type) {
            (None, _) => (None, None),
            (Some(parent), Some(ObjectType::Schema)) => match parent.parts() {
                [schema] => (None, Some(schema)),
                [database, schema] => (Some(database), Some(schema)),
                _ => return Err(other_place()),
            },
            (Some(parent), None | Some(ObjectType::Database)) => (parent.parts().last(), None),
            (Some(_), Some(_)) => return Err(SelectionFault::NoDatabase(told(self))),
        };
        let database = match (above, database) {
            ([], Some(database)) => database,
            ([named], None) => named,
            ([named], Some(database)) if named == database => named,
            ([], None) => return Err(SelectionFault::NoDatabase(told(self))),
            _ => return Err(other_place()),
        };
        let name = match (own, schema) {
            ([one], None) => ObjectName::one(one),
            ([schema, one], None) => ObjectName::two(schema, one),
            ([one], Some(schema)) if self.object_type != ObjectType::Schema => {
                ObjectName::two(schema, one)
            }
            ([named, one], Some(schema)) if named == schema => ObjectName::two(schema, one),
            _ => return Err(other_place()),
        };
        Ok((ObjectName::one(database), name))
    }
}

fn is_root_name(name: &ObjectName) -> bool {
    name.parts() == [ROOT]
}

/// Every database of the site that is not left out.
fn of_the_root(
    root: &SelectedObject,
    live: &[ObjectName],
) -> Result<Vec<DatabaseSelection>, SelectionFault> {
    if !root.include_all {
        return Err(SelectionFault::HoldsNothing(ROOT.to_owned()));
    }
    let is_left_out = |database: &ObjectName| {
        let mut excluded = root.exclude.iter();
        excluded.any(|one| one.object_type == ObjectType::Database && one.name == *database)
    };
    let sorted: Vec<DatabaseSelection> = live
        .iter()
        .filter(|database| !is_left_out(database))
        .map(|database| {
            let below = root.exclude.iter();
            let below = below.filter(|one| one.object_type != ObjectType::Database);
            DatabaseSelection {
                database: database.clone(),
                scope: Scope::Whole {
                    exclude: below.filter_map(|one| below_root(one, database)).collect(),
                },
            }
        })
        .collect();
    match (sorted.is_empty(), live.is_empty()) {
        (false, _) => Ok(sorted),
        (true, true) => Err(SelectionFault::Nothing("the site has no database")),
        (true, false) => Err(SelectionFault::Nothing(
            "every database of the site is left out",
        )),
    }
}

/// How many parts an object's name has within its database, at most.
fn own_parts(kind: ObjectType) -> usize {
    match kind {
        ObjectType::Schema | ObjectType::Database => 1,
        _ => 2,
    }
}

/// What an exclusion below DBC means in a database; `None`: it is about another one.
fn below_root(excluded: &ExcludedObject, database: &ObjectName) -> Option<ExcludedObject> {
    let parts = excluded.name.parts();
    let own = own_parts(excluded.object_type);
    if parts.len() <= own {
        return Some(ExcludedObject {
            everywhere: true,
            ..excluded.clone()
        });
    }
    let (above, own) = parts.split_at(parts.len() - own);
    (above == database.parts()).then(|| ExcludedObject::new(named(own), excluded.object_type))
}

fn below_database(
    excluded: &ExcludedObject,
    database: &ObjectName,
) -> Result<ExcludedObject, SelectionFault> {
    let parts = excluded.name.parts();
    let own = own_parts(excluded.object_type).min(parts.len());
    let (above, own) = parts.split_at(parts.len() - own);
    if !above.is_empty() && above != database.parts() {
        return Err(SelectionFault::OtherPlace {
            object: excluded.to_string(),
            parent: database.to_string(),
        });
    }
    let object_type = match excluded.object_type {
        ObjectType::Database => ObjectType::Schema,
        other => other,
    };
    Ok(ExcludedObject::new(named(own), object_type))
}

fn below_schema(
    excluded: &ExcludedObject,
    schema: &ObjectName,
) -> Result<ExcludedObject, SelectionFault> {
    let other_place = || SelectionFault::OtherPlace {
        object: excluded.to_string(),
        parent: schema.to_string(),
    };
    let own = match (excluded.object_type, excluded.name.parts()) {
        (ObjectType::Schema | ObjectType::Database, _) => return Err(other_place()),
        (_, [one]) => one,
        (_, [.., above, one]) if above == schema.last() => one,
        _ => return Err(other_place()),
    };
    let name = ObjectName::two(schema.last(), own);
    Ok(ExcludedObject::new(name, excluded.object_type))
}

fn named(parts: &[String]) -> ObjectName {
    match parts {
        [schema, one] => ObjectName::two(schema, one),
        other => ObjectName::one(other.concat()),
    }
}
