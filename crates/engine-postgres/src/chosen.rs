//! Which objects of a database are taken.
//!
//! What a person names is one thing, what goes with it another: a partition goes with its parent,
//! an index with its table, a sequence with the table that owns it. An inheritance parent is taken
//! alone, without its children. What is left out by name stays out, and so does what goes with it.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;

use model::{
    ChosenObject, DatabaseSelection, ExcludedObject, ObjectName, ObjectType, Scope, Unmatched,
};

use crate::browse::Found;
use crate::error::PostgresError;
use crate::inventory::Oid;
use crate::locks::Lockable;
use crate::session::Session;

/// How many objects an error names.
const NAMED: usize = 10;

/// A selection, and what it says of an object that has a name.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    selection: DatabaseSelection,
    /// The same without any exclusion.
    about: DatabaseSelection,
}

/// What a selection says of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// It is named, or in a schema that is named, or everything is meant.
    Taken,
    /// It would be, but is left out.
    LeftOut,
    /// Nothing.
    Nothing,
}

impl Choice {
    /// What is asked for.
    ///
    /// # Errors
    /// [`PostgresError::NotBuiltYet`] for large objects without the rest of their database.
    pub(crate) fn of(selection: DatabaseSelection) -> Result<Choice, PostgresError> {
        let scope = match &selection.scope {
            Scope::Whole { .. } => Scope::Whole {
                exclude: Vec::new(),
            },
            Scope::Only(chosen) => {
                if chosen.iter().any(is_large_object) {
                    return Err(PostgresError::NotBuiltYet {
                        what: "choosing large objects without the rest of their database".into(),
                    });
                }
                let bare = |object: &ChosenObject| {
                    ChosenObject::new(object.name.clone(), object.object_type)
                };
                Scope::Only(chosen.iter().map(bare).collect())
            }
        };
        let about = DatabaseSelection {
            database: selection.database.clone(),
            scope,
        };
        Ok(Choice { selection, about })
    }

    fn says(&self, schema: &str, name: &str, kind: ObjectType) -> Said {
        if self.selection.takes(schema, name, kind) {
            Said::Taken
        } else if self.about.takes(schema, name, kind) {
            Said::LeftOut
        } else {
            Said::Nothing
        }
    }

    /// Whether an object that goes with nothing is taken. A function has two names: with the types
    /// of its arguments, and without.
    pub(crate) fn takes(&self, schema: &str, names: &[&str], kind: ObjectType) -> bool {
        let said: Vec<Said> = names.iter().map(|n| self.says(schema, n, kind)).collect();
        said.contains(&Said::Taken) && !said.contains(&Said::LeftOut)
    }

    /// Whether an object is left out by its name.
    pub(crate) fn leaves_out(&self, schema: &str, names: &[&str], kind: ObjectType) -> bool {
        let mut said = names.iter().map(|name| self.says(schema, name, kind));
        said.any(|said| said == Said::LeftOut)
    }

    /// The database.
    pub(crate) fn database(&self) -> &str {
        self.selection.database.last()
    }

    /// Whether everything is meant.
    pub(crate) fn is_whole(&self) -> bool {
        self.selection.is_whole()
    }

    /// Whether large objects are taken: with a whole database, where they are not left out.
    pub(crate) fn takes_large_objects(&self) -> bool {
        matches!(self.selection.scope, Scope::Whole { .. })
            && self.takes("pg_catalog", &["pg_largeobject"], ObjectType::LargeObject)
    }

    /// Refuses what is chosen and not there. Answers what is left out and not there.
    ///
    /// # Errors
    /// [`PostgresError::NoObject`], with what is there of a similar name.
    pub(crate) fn check(
        &self,
        found: &[Found],
        tables: &[Lockable],
    ) -> Result<Vec<ExcludedObject>, PostgresError> {
        let there = || {
            let named = found.iter().flat_map(Found::names);
            // What no list shows but has rows: configuration of extensions, and large objects.
            let tables = tables.iter();
            named
                .chain(tables.map(|t| (t.schema.as_str(), t.name.as_str(), ObjectType::Table)))
                .chain([("pg_catalog", "pg_largeobject", ObjectType::LargeObject)])
        };
        let Unmatched { chosen, excluded } = self.selection.unmatched(there());
        if chosen.is_empty() {
            return Ok(excluded);
        }
        let told: Vec<String> = chosen
            .iter()
            .take(NAMED)
            .map(|object| match similar(object, there()) {
                Some(other) => format!("{object} (there is {other})"),
                None => object.to_string(),
            })
            .collect();
        let more = match chosen.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Err(PostgresError::NoObject {
            database: self.selection.database.last().to_owned(),
            objects: format!("{}{more}", told.join(", ")),
        })
    }
}

fn is_large_object(object: &ChosenObject) -> bool {
    object.object_type == ObjectType::LargeObject
}

/// An object with the name that was meant perhaps: of another type, or in other letters.
fn similar<'a>(
    wanted: &ChosenObject,
    mut there: impl Iterator<Item = (&'a str, &'a str, ObjectType)>,
) -> Option<String> {
    let (schema, name) = match wanted.name.parts() {
        [name] => ("public", name.as_str()),
        [.., schema, name] => (schema.as_str(), name.as_str()),
        [] => return None,
    };
    let is_schema = matches!(
        wanted.object_type,
        ObjectType::Schema | ObjectType::Database
    );
    let same = |a: &str, b: &str| a.to_lowercase() == b.to_lowercase();
    let found = there.find(|(in_schema, its_name, kind)| match is_schema {
        true => *kind == ObjectType::Schema && same(its_name, name),
        false => same(in_schema, schema) && same(its_name, name),
    });
    found.map(|(schema, name, kind)| match schema {
        "" => format!("{kind} {}", ObjectName::one(name)),
        _ => format!("{kind} {}", ObjectName::two(schema, name)),
    })
}

/// The relations that are taken.
#[derive(Debug)]
pub(crate) enum Taken {
    /// All of them.
    All,
    /// These.
    Only(HashSet<Oid>),
}

/// A relation that a selection may name.
struct Relation {
    said: Said,
    goes_with: Option<Oid>,
}

impl Taken {
    /// Looks at all relations, in the session's transaction if it is in one.
    pub(crate) async fn read(session: &Session, choice: &Choice) -> Result<Taken, PostgresError> {
        if choice.selection.is_whole() {
            return Ok(Taken::All);
        }
        let sql = include_str!("../sql/choosable_14.sql");
        let rows = session.rows(sql, &[], "looking for what is chosen").await?;
        let relations: HashMap<Oid, Relation> = rows
            .iter()
            .map(|row| {
                let kind = ObjectType::from_str(row.get("kind")).unwrap_or(ObjectType::Other);
                let relation = Relation {
                    said: choice.says(row.get("schema"), row.get("name"), kind),
                    goes_with: row.get("goes_with"),
                };
                (row.get("oid"), relation)
            })
            .collect();
        let taken = relations.keys().filter(|oid| is_taken(&relations, **oid));
        Ok(Taken::Only(taken.copied().collect()))
    }

    /// Whether this one is.
    pub(crate) fn has(&self, oid: Oid) -> bool {
        match self {
            Taken::All => true,
            Taken::Only(taken) => taken.contains(&oid),
        }
    }
}

/// It, or something that it goes with, is chosen, and none of these is left out.
fn is_taken(relations: &HashMap<Oid, Relation>, oid: Oid) -> bool {
    let mut taken = false;
    let mut next = Some(oid);
    while let Some(relation) = next.and_then(|oid| relations.get(&oid)) {
        match relation.said {
            Said::Taken => taken = true,
            Said::LeftOut => return false,
            Said::Nothing => {}
        }
        next = relation.goes_with;
    }
    taken
}
