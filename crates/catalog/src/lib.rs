//! The catalog: what the server knows beside the vaults. Sites with their sealed secrets, jobs,
//! executions and their queue, savesets, tokens; in an embedded SQLite database in the data
//! directory.
//!
//! ```text
//! Catalog ── sites      create_site, adopt_site, site, site_secrets, site_keys …
//!         ├─ jobs       create_job, jobs, update_job …
//!         ├─ queue      enqueue ──► take_next ──► Leased ──► save_progress, renew, finish
//!         │                                       settle: whoever finds a run dead
//!         ├─ lists      executions (a page), execution_steps (all, in bounded memory)
//!         ├─ savesets   savesets, set_retained, condemn_saveset ──► mark_deleted
//!         ├─ verifying  begin_verification ──► verification_progress ──► end_verification
//!         └─ tokens     first_token, verify_token
//! ```
//!
//! Rules that every function keeps:
//!
//! - An execution's status changes only as [`model::next`] says, and the `UPDATE` itself names the
//!   status that it leaves, so a change that came between is never overwritten.
//! - A job has one live execution (QUEUED, RUNNING, ABORTING); a unique index says so.
//! - Whoever runs an execution holds a lease ([`Leased`]). Once it is lost, nothing is written under
//!   it any more, and the caller is told by `false` or `None`.
//! - Secrets are sealed under the [`MasterKey`] and bound to their place; tokens are kept only as
//!   keyed hashes. Neither is in an error, in `Debug` or in a log.
//! - A call whose future is dropped leaves nothing half done: it was carried out as a whole or
//!   not at all. Which of the two is not known, as with any commit whose answer is lost.
//! - Time comes from the [`Clock`](model::Clock) that was handed in.
//!
//! What this crate is not: it does not decide what may run, retry or be deleted (that is `jobs`),
//! knows no wire format (`contract`), and never looks into a vault. The vault, not the catalog,
//! says which savesets exist; `jobs` brings the two together at start.
//!
//! The SQL is in the common dialect of SQLite and PostgreSQL, and `database.rs` alone knows which
//! engine is below.

mod adopt;
mod attempts;
mod beats;
mod catalog;
mod database;
mod enqueue;
mod error;
mod execution_lists;
mod executions;
mod files;
mod idempotency;
mod jobs;
mod leases;
mod master_key;
mod migrations;
mod paging;
mod progress;
mod savesets;
mod sealing;
mod secrets;
mod sites;
mod stored;
mod tokens;
mod transitions;
mod verifications;

pub use adopt::{Adopted, AdoptedJob, AdoptedSaveset, Adoption};
pub use attempts::{Attempt, Begun, ChangedIn, Origin, changed_blocks_source};
pub use catalog::Catalog;
pub use enqueue::{Enqueued, EnqueuedRestore, NewExecution};
pub use error::CatalogError;
pub use execution_lists::{ExecutionFilter, ExecutionSteps};
pub use executions::Execution;
pub use jobs::{JobFilter, JobRecord, LastExecution};
pub use leases::Leased;
pub use master_key::MasterKey;
pub use paging::{Page, Rows};
pub use progress::{Notes, PhaseRecord, ProgressSnapshot};
pub use savesets::SavesetRecord;
pub use secrets::{SecretChange, SecretsChange, SiteKeys};
pub use sites::SiteRecord;
pub use tokens::Principal;
pub use transitions::{Ending, Settled};
pub use verifications::{
    Concerned, DamagedObject, Verification, VerificationEnd, VerificationStatus,
};
