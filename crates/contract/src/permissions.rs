//! What a restore lacks (row 11).

use model::ObjectType;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::objects::shown;
use crate::words;

/// Whether a database user may restore whatever the site holds, back into its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RestorePermissions {
    /// Whether nothing is missing. A restore as a copy needs only the right to make databases.
    pub permitted: bool,
    /// What is missing, with what mends it.
    pub missing: Vec<MissingRight>,
}

/// A right that is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MissingRight {
    /// What it is missing on; DBC: the whole site.
    pub object_name: String,
    /// Its type.
    #[schema(schema_with = words::object_type)]
    pub object_type: ObjectType,
    /// The right.
    pub right: String,
    /// The statement that grants it; on a SQLITE site a command.
    pub sql: String,
}

impl RestorePermissions {
    /// As it is answered.
    pub fn of(missing: &[model::MissingRight]) -> Self {
        RestorePermissions {
            permitted: missing.is_empty(),
            missing: missing
                .iter()
                .map(|one| MissingRight {
                    object_name: shown(&one.object_name, Some(one.object_type)),
                    object_type: one.object_type,
                    right: one.right.clone(),
                    sql: one.sql.clone(),
                })
                .collect(),
        }
    }
}
