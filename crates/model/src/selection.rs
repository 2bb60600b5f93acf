//! What a job backs up.

use serde::{Deserialize, Serialize};

use crate::{ObjectName, ObjectType};

/// One object that is left out, below the object that names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExcludedObject {
    /// Its name.
    pub name: ObjectName,
    /// Its type; DATABASE below a database means the schema of that name.
    pub object_type: ObjectType,
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
}

/// The objects of a job, in the order given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// At least one.
    pub objects: Vec<SelectedObject>,
}

impl Selection {
    /// One whole database.
    pub fn whole_database(name: &str) -> Self {
        Selection {
            objects: vec![SelectedObject {
                name: ObjectName::one(name),
                object_type: ObjectType::Database,
                parent_name: Some(ObjectName::one("DBC")),
                parent_type: Some(ObjectType::Database),
                include_all: true,
                exclude: Vec::new(),
            }],
        }
    }
}
