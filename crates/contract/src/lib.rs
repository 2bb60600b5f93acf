//! The data-protection v2 contract: what goes over the wire, and what it means.
//!
//! Three kinds of things stand here:
//!
//! - **Answers**: [`Site`], [`Job`], [`ListedJob`], [`Execution`], [`OneExecution`], [`Saveset`],
//!   [`ListedObject`], … as a client reads them. The server fills them, the command line reads
//!   them; their schemas are in `docs/openapi.json`.
//! - **Requests**: a body is JSON of any shape until [`parse_site`], [`parse_job`],
//!   [`parse_restore`] and their sisters have turned it into a value of `model`; a query until
//!   [`JobsQuery`], [`ExecutionsQuery`] and their sisters have. What cannot be is a [`Refusal`]
//!   that names the field and says what to do. Inside, every value is valid.
//! - **The lists**: [`Operation`] is every method and path with its parameters, its answers and
//!   who may call it; [`Code`] is every code that an error may carry.
//!
//! What this crate is not: it knows no HTTP library, no SQL, no catalog and no vault. It does no
//! IO. The spellings of the wire that one would trip over (ids as number and as string, any letter
//! case, the misspelt `skip_statstics`, the camelCase pair) are in `quirks.rs`, all in one place.
//!
//! ```
//! use contract::{Refusal, parse_job};
//! use model::SiteType;
//!
//! let body = serde_json::json!({
//!     "name": "nightly", "job_type": "Backup", "priorty": 1,
//!     "job_settings": {"objects": []}
//! });
//! let refused = parse_job(&body, SiteType::Postgresql).unwrap_err();
//! assert_eq!(refused.to_string(), "the field `priorty` is not known; did you mean `priority`?");
//! ```

mod adoption;
mod connection_url;
mod credentials;
mod executions;
mod fault_codes;
mod fields;
mod job_parsing;
mod jobs;
mod objects;
mod operations;
mod paging;
mod permissions;
mod preparations;
mod problem;
mod query;
mod quirks;
mod refusal;
mod restores;
mod savesets;
#[cfg(test)]
mod schemas_agree;
mod sites;
mod strict_json;
mod words;

pub use adoption::{AdoptDraft, AdoptRequest, AdoptedSite, parse_adoption};
pub use credentials::parse_credentials;
pub use executions::{
    ChangedBlocksOfDatabase, Execution, ExecutionPhase, OneExecution, Skipped, parse_execute,
};
pub use fault_codes::FAULTS;
pub use fields::parse_json;
pub use job_parsing::{parse_job, patch_job, replace_job};
pub use jobs::{
    ExecuteRequest, Job, JobRequest, JobSettings, LastExecutionDetails, ListedJob,
    TargetSiteDetails,
};
pub use objects::{Exclusion, JobObject, ListedObject};
pub use operations::{
    Access, BASE_PATH, Facts, Method, Operation, Parameter, ParameterKind, ParameterSchema,
};
pub use paging::{Page, PageLinks};
pub use permissions::{MissingRight, RestorePermissions};
pub use preparations::Preparation;
pub use problem::{Code, ProblemDocument};
pub use query::{
    BrowseQuery, ExecuteQuery, ExecutionsQuery, JobsQuery, ObjectsQuery, PageQuery, Pairs,
    PreparationQuery, refuse_query,
};
pub use quirks::nearest;
pub use refusal::Refusal;
pub use restores::{
    Plan, PlanObstacle, RestoreDraft, RestoreJobSettings, RestoreRequest, parse_restore,
};
pub use savesets::{
    Concerned, DamagedObject, Saveset, SavesetPatch, Verification, VerifyRequest,
    parse_saveset_patch, parse_verify,
};
pub use sites::{
    CheckedThing, CreatedSite, PasswordChange, RecoveryKeyAnswer, Site, SiteCheck,
    SiteConnectionBody, SiteDraft, SiteRequest, SiteVault, parse_site, replace_site,
    site_target_type,
};
pub use words::READ_ONLY;
