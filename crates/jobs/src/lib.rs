//! When something runs, by what rule, and what becomes of it.
//!
//! [`Jobs`] is the one handle: the API asks it to make sites, to execute jobs, to restore, to
//! abort; [`Jobs::run`] is the loop that takes queued executions, most urgent first, and sees each
//! to a final status. Rules that need no IO stand apart, as pure functions, in [`rules`].
//!
//! ```text
//! Jobs::execute ──► catalog: QUEUED ──► runner ──► flow::backup / flow::restore
//!                                         │              │
//!                                         └─ Report ◄─────┘   phases, bytes, words ──► catalog
//! ```
//!
//! Three promises are kept here:
//!
//! * *The vault decides.* An execution that a crash interrupted is SUCCESSFUL if its manifest is
//!   in the vault, else FAILED; [`Jobs::recover`] puts a tombstone before it says so.
//! * *Credentials of a restore are never stored.* They live in memory until the run ends; after a
//!   restart the execution is FAILED and says how to go on.
//! * *Retention never takes the last copy*, a protected one, or anything before the new saveset is
//!   committed.
//!
//! What this crate is not: it knows no engine by name (a [`Registry`] is handed in), no HTTP, and
//! no bodies of the API.

mod abort;
mod adopt;
mod beats;
mod browse;
mod build_on;
mod connect;
mod error;
mod execute;
mod execution;
mod prepare;
mod recover;
mod registry;
mod report;
mod restore;
mod retention;
pub mod rules;
mod run_backup;
mod run_restore;
mod runner;
mod safekeeping;
mod site;
mod sweep;
mod verify;
mod words;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use catalog::Catalog;
use model::{Clock, Credentials, ExecutionId, Moment, SiteId};
use tokio::sync::{Mutex, Notify, Semaphore};
use tokio_util::sync::CancellationToken;

pub use adopt::{AdoptRequest, AdoptedSite};
pub use browse::{ListedObject, ObjectPage};
pub use error::JobsError;
pub use execute::ExecuteRequest;
pub use prepare::Preparation;
pub use registry::Registry;
pub use restore::{RestoreDraft, Restored, restore_job};
pub use site::NewSite;
pub use sweep::Tidied;

/// How the runner behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many executions run at once on this server, over all sites.
    pub parallel_executions: usize,
    /// How often one run may begin anew inside its execution.
    pub attempts: u32,
    /// How long an execution's lease lasts without renewal.
    pub lease: Duration,
    /// How often it is looked whether a vault's daily sweep is due.
    pub look_for_sweeps: Duration,
    /// How patient it is with the stores of vaults.
    pub store_limits: vault::StoreLimits,
    /// How often it is looked whether a site's minute has come to beat.
    pub look_for_beats: Duration,
    /// How long one site is waited for when it is to beat.
    pub beat_limit: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            parallel_executions: 8,
            attempts: 5,
            lease: Duration::from_secs(60),
            look_for_sweeps: Duration::from_secs(60),
            store_limits: vault::StoreLimits::default(),
            look_for_beats: Duration::from_secs(5),
            beat_limit: Duration::from_secs(10),
        }
    }
}

/// The handle to everything that this crate does. Cheap to clone.
#[derive(Clone)]
pub struct Jobs {
    inner: Arc<Inner>,
}

struct Inner {
    catalog: Catalog,
    registry: Registry,
    clock: Arc<dyn Clock>,
    settings: Settings,
    /// Wakes the runner when something was queued or a stream became free.
    wake: Notify,
    /// Held while an execution is queued together with its credentials, and while one is taken:
    /// the runner never sees one without the other.
    admission: Mutex<()>,
    running: std::sync::Mutex<HashMap<ExecutionId, Running>>,
    credentials: std::sync::Mutex<HashMap<ExecutionId, Credentials>>,
    streams: std::sync::Mutex<HashMap<SiteId, (u32, Arc<Semaphore>)>>,
    /// Opened vaults, by the version of the site that they were opened with.
    vaults: Mutex<HashMap<SiteId, (i64, vault::Vault)>>,
    /// When each vault was swept last by this server.
    swept: std::sync::Mutex<HashMap<SiteId, Moment>>,
    /// When each site was last asked for a beat.
    beaten: std::sync::Mutex<HashMap<SiteId, beats::Asked>>,
    preparations: prepare::Preparations,
    verifications: verify::Verifications,
    /// Held by the one adoption: two of one vault would both find it free.
    adopting: Mutex<()>,
}

/// An execution at work on this server.
#[derive(Clone)]
struct Running {
    site: SiteId,
    cancel: CancellationToken,
    why: Arc<std::sync::Mutex<Option<StopReason>>>,
}

/// Why a running execution is stopped from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
enum StopReason {
    /// Somebody asked for it, or the auto abort did.
    Abort(String),
    /// The server goes down: the run ends FAILED and is queued again at the next start.
    Shutdown,
    /// The lease was lost: another server decides what became of it.
    LostLease,
}

impl Jobs {
    /// A handle over a catalog and the engines of `registry`. Nothing runs before
    /// [`recover`](Self::recover) and [`run`](Self::run) are called.
    pub fn new(
        catalog: Catalog,
        registry: Registry,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Self {
        let preparations = prepare::Preparations::new(clock.now());
        Jobs {
            inner: Arc::new(Inner {
                catalog,
                registry,
                clock,
                settings,
                wake: Notify::new(),
                admission: Mutex::new(()),
                running: std::sync::Mutex::default(),
                credentials: std::sync::Mutex::default(),
                streams: std::sync::Mutex::default(),
                vaults: Mutex::default(),
                swept: std::sync::Mutex::default(),
                beaten: std::sync::Mutex::default(),
                preparations,
                verifications: verify::Verifications::default(),
                adopting: Mutex::default(),
            }),
        }
    }

    /// The catalog that it works on.
    pub fn catalog(&self) -> &Catalog {
        &self.inner.catalog
    }
}

/// Locks a plain mutex. A panic while one was held leaves maps that are still whole, since every
/// change to them is a single insert or remove.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
