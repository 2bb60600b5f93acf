//! The data path: what an engine reads goes into a saveset of the vault, and back.
//!
//! ```text
//! backup    Source ─► reading thread ═► sealing thread ─► pack ─► store       per stream
//!                       owns buffers      PackWriter
//!                           ▲════════ empty buffers ═╝
//! restore   store ─► read ahead, checked ═► RowStream ─► SegmentLoader         per stream
//! ```
//!
//! Every double arrow is a bounded channel; nothing copies a row twice, and memory is bounded by
//! streams × (one open pack, one that is being put, and a few frames).
//!
//! [`backup`] makes one attempt: it opens the source, fixes the saveset's id by a pin, seals the
//! dictionary, lets the streams take the largest task left until none is, closes the source and seals
//! the sheets; so one database after the other, and then it commits them all. [`restore`] is its mirror,
//! puts all databases in their places at the very end, and knows its [`Target`](model::Target) only
//! as a trait: to export or to validate a saveset is to restore it into another target.
//! A DELTA builds on a saveset ([`BackupInput::base`]): the source says of each table what of it may have
//! changed, only that is read, and all else is referred to again. What it leaves is as whole as what a
//! FULL backup leaves. [`plan_restore`] looks and changes nothing. [`BackupInput`] and [`RestoreInput`] say what is
//! needed, [`FlowError`] where something failed and who is to blame.
//!
//! Rules:
//!
//! - *Stopping.* Cancelling the token or dropping the future are the same. An attempt runs as a task
//!   of its own, so that it cleans up in both cases: a backup drops its readers' cancellers and puts a
//!   tombstone in its saveset's place; a restore drops its loaders and discards what it made. An engine
//!   must therefore be able to `discard` after the future of another call was dropped, on a connection
//!   of its own if need be.
//! - *A panic is a failure.* Engines run on caught threads and tasks; nothing waits for one that died.
//! - *The first failure counts.* It stops the other streams, and what they say then is not told.
//! - *Nothing is half there.* A backup that failed left no saveset; if its manifest turns out to be in
//!   the vault all the same, it succeeded. Where the vault did not answer,
//!   [`FlowError::may_be_committed`] says that it must be asked again.
//! - *A base that cannot be read* ends a DELTA with [`FlowError::BaseDamaged`]: the next attempt must be
//!   a FULL backup.
//!
//! What this crate is not: it knows no engine by name, no catalog, no HTTP; it decides neither when
//! to run nor whether to try again.
//!
//! [`backup`]'s `on_saveset` is async and may fail, since the runner writes the id down there.
//!
//! ```
//! use std::sync::Arc;
//! use flow::{BackupInput, BackupOptions, DatabaseRestore, JobFacts, RestoreInput, RestoreOptions};
//! use model::{Connection, DatabaseSelection, JobId, NoProgress, ObjectName, RunType, SiteType};
//! use model::{Clock, SystemClock};
//! use testkit::memory_engine::{MemoryDatabase, MemoryEngine};
//! use tokio_util::sync::CancellationToken;
//! use vault::{RecoveryKey, SiteKey, Vault};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let engine = MemoryEngine::new(SiteType::Sqlite);
//! let rows = (0..100_u32).map(|row| row.to_le_bytes().to_vec());
//! engine.put_database("shop", MemoryDatabase::new().table("item", rows, 10));
//! let store = Arc::new(object_store::memory::InMemory::new());
//! let (site_key, recovery) = (SiteKey::generate()?, RecoveryKey::generate()?);
//! let vault = Vault::create(store, &site_key, &recovery, &"server-1".parse().unwrap()).await?;
//! let streams = Arc::new(tokio::sync::Semaphore::new(4));
//!
//! let input = BackupInput {
//!     engine: Arc::new(engine.clone()),
//!     connection: Connection::Sqlite { path: "/srv/data".into() },
//!     databases: vec![DatabaseSelection::whole(ObjectName::one("shop"))],
//!     options: BackupOptions {
//!         online: true,
//!         streams: 2,
//!         server_execution_id: "121.1".parse().unwrap(),
//!         yield_to_ddl: None,
//!         max_snapshot: None,
//!         skip_without_rights: false,
//!         progress: Arc::new(NoProgress),
//!     },
//!     vault,
//!     job: JobFacts {
//!         job_id: JobId::new(34).unwrap(),
//!         job_name: "nightly".to_owned(),
//!         site_id: "shop".parse().unwrap(),
//!         site_type: SiteType::Sqlite,
//!     },
//!     run_type: RunType::Full,
//!     base: None,
//!     beats: Vec::new(),
//!     start: SystemClock.now(),
//!     clock: Arc::new(SystemClock),
//!     limits: streams.clone(),
//! };
//! let made = flow::backup(input, |_id| async { Ok(()) }, CancellationToken::new()).await?;
//! assert_eq!(made.rows, 100);
//!
//! let input = RestoreInput {
//!     engine: Arc::new(engine.clone()),
//!     connection: Connection::Sqlite { path: "/srv/data".into() },
//!     credentials: None,
//!     saveset: made.saveset,
//!     databases: vec![DatabaseRestore {
//!         selection: DatabaseSelection::whole(ObjectName::one("shop")),
//!         target_database: ObjectName::one("copy"),
//!     }],
//!     options: RestoreOptions {
//!         as_copy: true,
//!         replace_existing: false,
//!         skip_statistics: false,
//!         skip_indexes: false,
//!     },
//!     streams: 2,
//!     limits: streams,
//!     server_execution_id: "122.1".parse().unwrap(),
//!     earlier: Vec::new(),
//!     progress: Arc::new(NoProgress),
//! };
//! flow::restore(input, CancellationToken::new()).await?;
//! assert_eq!(engine.contents("copy"), engine.contents("shop"));
//! # Ok::<(), model::BoxFault>(())
//! # }).map_err(|fault| fault.sentence()).unwrap();
//! ```

mod backup;
mod collect;
mod commit;
mod delta;
mod dictionary;
mod discard;
mod error;
mod export;
mod held;
mod load;
mod loaders;
mod one_database;
mod read;
mod restore;
mod seal;
mod slots;
mod streams;
mod supervise;
mod witness;
mod writer;

pub use backup::{BackupInput, BackupOptions, BackupOutcome, JobFacts, backup};
pub use error::{FlowError, Place, obstacle_code};
pub use export::{ExportInput, ExportOutcome, ExportedDatabase, export};
pub use held::all_held;
pub use restore::{
    DatabaseRestore, RestoreInput, RestoreOptions, RestoreOutcome, plan_restore, restore,
};
