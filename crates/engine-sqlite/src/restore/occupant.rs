//! What stands where the restored file should go.

use std::fs::Metadata;
use std::path::PathBuf;

use model::{ObjectType, Obstacle};

use crate::database::ReadOnly;
use crate::error::SqliteError;
use crate::schema;
use crate::site::{FileName, SiteDirectory};

/// The target's name as it is now.
#[derive(Debug)]
pub(crate) enum Occupant {
    /// Nothing: the name is free.
    Nothing,
    /// No database, but what SQLite would take for the restored file's journal.
    SideFiles(Vec<PathBuf>),
    /// A database without an object, or an empty file.
    Empty(Metadata),
    /// A database.
    Filled {
        found: Metadata,
        objects: usize,
        tables: Vec<String>,
    },
    /// Something that no restore replaces, with the reason.
    Foreign(String),
}

impl Occupant {
    pub(crate) fn look(site: &SiteDirectory, name: &FileName) -> Result<Self, SqliteError> {
        let found = match site.look(name) {
            Ok(Some(found)) => found,
            Ok(None) => {
                let left = site.side_files(name);
                return Ok(if left.is_empty() {
                    Occupant::Nothing
                } else {
                    Occupant::SideFiles(left)
                });
            }
            Err(error @ SqliteError::NotAFile { .. }) => {
                return Ok(Occupant::Foreign(error.to_string()));
            }
            Err(error) => return Err(error),
        };
        if found.len() == 0 {
            return Ok(Occupant::Empty(found));
        }
        let path = site.file(name);
        let objects = ReadOnly::open(&path).and_then(|database| {
            schema::objects(&database).map_err(|error| SqliteError::of("reading", &path, error))
        });
        match objects {
            Ok(objects) if objects.is_empty() => Ok(Occupant::Empty(found)),
            Ok(objects) => Ok(Occupant::Filled {
                found,
                objects: objects.len(),
                tables: tables(objects),
            }),
            Err(error @ SqliteError::NotADatabase { .. }) => {
                Ok(Occupant::Foreign(error.to_string()))
            }
            // A damaged database, or one that waits for its recovery, is the very thing that a
            // restore replaces; it is kept, and counts as filled.
            Err(SqliteError::Corrupt { .. } | SqliteError::NeedsRecovery { .. }) => {
                Ok(Occupant::Filled {
                    found,
                    objects: 0,
                    tables: Vec::new(),
                })
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn is_there(&self) -> bool {
        matches!(self, Occupant::Empty(_) | Occupant::Filled { .. })
    }

    pub(crate) fn is_filled(&self) -> bool {
        matches!(self, Occupant::Filled { .. })
    }

    /// The names of its tables.
    pub(crate) fn tables(&self) -> &[String] {
        match self {
            Occupant::Filled { tables, .. } => tables,
            _ => &[],
        }
    }

    /// The file that must be put aside first.
    pub(crate) fn file(&self) -> Option<&Metadata> {
        match self {
            Occupant::Empty(found) | Occupant::Filled { found, .. } => Some(found),
            Occupant::Nothing | Occupant::SideFiles(_) | Occupant::Foreign(_) => None,
        }
    }

    pub(crate) fn obstacle(
        &self,
        name: &str,
        as_copy: bool,
        replace_existing: bool,
    ) -> Option<Obstacle> {
        let (code, detail, remedy) = match self {
            Occupant::Nothing => return None,
            Occupant::SideFiles(files) => (
                "target-in-the-way",
                format!(
                    "{} lies there without its database, and SQLite would play it into the restored {name}.",
                    list(files)
                ),
                "Find out whose it is and move it away, or restore under another name.",
            ),
            Occupant::Foreign(why) => (
                "target-in-the-way",
                format!("{why}; a restore replaces only databases."),
                "Move it away, or restore under another name.",
            ),
            Occupant::Filled { objects, .. } if !replace_existing => (
                "target-not-empty",
                format!("The database {name} is there already and holds {objects} objects."),
                "Restore under another name, or set replace_existing: the present file is then kept under another name.",
            ),
            Occupant::Filled { .. } if as_copy => (
                "target-exists",
                format!("A file {name} is there already, and a copy replaces nothing."),
                "Restore under another name, or set run_as_a_copy_job to false.",
            ),
            Occupant::Empty(_) | Occupant::Filled { .. } => return None,
        };
        Some(Obstacle {
            code: code.to_owned(),
            detail,
            remedy: Some(remedy.to_owned()),
        })
    }
}

fn tables(objects: Vec<schema::SchemaObject>) -> Vec<String> {
    let tables = objects
        .into_iter()
        .filter(|o| o.object_type == ObjectType::Table);
    tables.map(|object| object.name).collect()
}

fn list(files: &[PathBuf]) -> String {
    let names: Vec<String> = files
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    names.join(", ")
}
