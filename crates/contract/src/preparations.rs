//! Preparations of the objects of a saveset (rows 6 and 7).

use model::PreparationStatus;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::words;

/// How far a preparation is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Preparation {
    /// What it is.
    #[schema(schema_with = words::preparation_status)]
    pub status: PreparationStatus,
    /// A sentence for a person.
    pub details: String,
}
