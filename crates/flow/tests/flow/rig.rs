//! What every test needs: an engine, a store, a vault, and the inputs around them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flow::{
    BackupInput, BackupOptions, BackupOutcome, DatabaseRestore, FlowError, JobFacts, RestoreInput,
    RestoreOptions, RestoreOutcome,
};
use model::{
    Connection, DatabaseSelection, JobId, ObjectName, RunType, SavesetId, ServerExecutionId,
    SiteType,
};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use testkit::memory_engine::{MemoryDatabase, MemoryEngine};
use testkit::{Call, FaultyStore, HandClock, Operation, RecordedProgress};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use vault::{RecoveryKey, Saveset, SavesetState, SiteKey, StoreLimits, Unlock, Vault};

/// Within this time a run that was asked to stop must have ended.
pub const TWO_SECONDS: Duration = Duration::from_secs(2);

/// A test that waits longer than this hangs.
pub const FOR_EVER: Duration = Duration::from_secs(60);

pub struct Rig {
    pub engine: MemoryEngine,
    pub store: FaultyStore,
    pub vault: Vault,
    pub progress: Arc<RecordedProgress>,
    pub limits: Arc<Semaphore>,
    /// The streams that a run asks for.
    pub streams: usize,
    site_key: SiteKey,
}

impl Rig {
    /// With a vault in memory and two streams.
    pub async fn new() -> Self {
        Rig::over(Arc::new(InMemory::new())).await
    }

    pub async fn over(store: Arc<dyn ObjectStore>) -> Self {
        let store = FaultyStore::new(store);
        let shared: Arc<dyn ObjectStore> = Arc::new(store.clone());
        let (site_key, recovery) = (
            SiteKey::generate().unwrap(),
            RecoveryKey::generate().unwrap(),
        );
        let owner = "server-1".parse().unwrap();
        let vault = Vault::create(shared, &site_key, &recovery, &owner)
            .await
            .unwrap();
        // A fault of the store is told at once, not tried again.
        let vault = vault.with_limits(StoreLimits {
            tries: 1,
            ..StoreLimits::default()
        });
        vault.own(&owner).await.unwrap();
        store.forget_calls();
        Rig {
            engine: MemoryEngine::new(SiteType::Sqlite),
            store,
            vault,
            progress: Arc::new(RecordedProgress::new()),
            limits: Arc::new(Semaphore::new(4)),
            streams: 2,
            site_key,
        }
    }

    /// With the database `shop`: several tables, one of them empty, one with a row of many frames.
    pub async fn with_a_shop() -> Self {
        let rig = Rig::new().await;
        rig.engine.put_database("shop", shop());
        rig
    }

    pub fn backup_input(&self, execution: &str) -> BackupInput {
        BackupInput {
            engine: Arc::new(self.engine.clone()),
            connection: nowhere(),
            databases: vec![whole("shop")],
            options: BackupOptions {
                online: true,
                streams: self.streams,
                server_execution_id: execution.parse::<ServerExecutionId>().unwrap(),
                yield_to_ddl: None,
                max_snapshot: None,
                skip_without_rights: false,
                progress: self.progress.clone(),
            },
            vault: self.vault.clone(),
            job: JobFacts {
                job_id: JobId::new(1).unwrap(),
                job_name: "nightly".to_owned(),
                site_id: "shop".parse().unwrap(),
                site_type: SiteType::Sqlite,
            },
            run_type: RunType::Full,
            base: None,
            beats: Vec::new(),
            start: "2026-01-31T02:00:00Z".parse().unwrap(),
            clock: Arc::new(HandClock::at_time("2026-01-31T02:01:00Z")),
            limits: self.limits.clone(),
        }
    }

    pub async fn backup(&self) -> Result<BackupOutcome, FlowError> {
        self.backup_until(CancellationToken::new()).await
    }

    pub async fn backup_until(
        &self,
        cancel: CancellationToken,
    ) -> Result<BackupOutcome, FlowError> {
        let run = flow::backup(self.backup_input("7.1"), |_| async { Ok(()) }, cancel);
        tokio::time::timeout(FOR_EVER, run)
            .await
            .expect("the backup hangs")
    }

    pub fn restore_input(&self, saveset: &Saveset, to: &str) -> RestoreInput {
        RestoreInput {
            engine: Arc::new(self.engine.clone()),
            connection: nowhere(),
            credentials: None,
            saveset: saveset.clone(),
            databases: vec![DatabaseRestore {
                selection: whole("shop"),
                target_database: ObjectName::one(to),
            }],
            options: RestoreOptions {
                as_copy: true,
                replace_existing: false,
                skip_statistics: false,
                skip_indexes: false,
            },
            streams: self.streams,
            limits: self.limits.clone(),
            server_execution_id: "8.1".parse().unwrap(),
            earlier: Vec::new(),
            progress: self.progress.clone(),
        }
    }

    pub async fn restore(&self, saveset: &Saveset, to: &str) -> Result<RestoreOutcome, FlowError> {
        self.restore_until(saveset, to, CancellationToken::new())
            .await
    }

    pub async fn restore_until(
        &self,
        saveset: &Saveset,
        to: &str,
        cancel: CancellationToken,
    ) -> Result<RestoreOutcome, FlowError> {
        let run = flow::restore(self.restore_input(saveset, to), cancel);
        tokio::time::timeout(FOR_EVER, run)
            .await
            .expect("the restore hangs")
    }

    /// The vault as another process finds it, without any fault.
    pub async fn reopened(&self) -> Vault {
        let vault = Vault::open(self.store.inner(), Unlock::SiteKey(&self.site_key));
        let vault = vault.await.unwrap();
        vault.own(&"server-1".parse().unwrap()).await.unwrap();
        vault
    }

    /// The same vault, of which nothing is known yet, through the store with its faults.
    pub async fn vault_again(&self) -> Vault {
        let store: Arc<dyn ObjectStore> = Arc::new(self.store.clone());
        let vault = Vault::open(store, Unlock::SiteKey(&self.site_key));
        let vault = vault.await.unwrap().with_limits(StoreLimits {
            tries: 1,
            ..StoreLimits::default()
        });
        vault.own(&"server-1".parse().unwrap()).await.unwrap();
        vault
    }

    /// What stands in the place of each saveset.
    pub async fn states(&self) -> BTreeMap<SavesetId, SavesetState> {
        self.store.heal();
        self.vault.saveset_states().await.unwrap()
    }

    /// No saveset, no pin, no reader and no stream is left; a saveset that was begun is dead.
    pub async fn assert_nothing_is_left(&self) {
        let states = self.states().await;
        let dead = |state: &SavesetState| matches!(state, SavesetState::Tombstone(_));
        assert!(states.values().all(dead), "{states:?}");
        assert_eq!(self.vault.pins().await.unwrap().len(), 0, "a pin is left");
        let streams = self.limits.available_permits();
        assert_eq!(streams, 4, "a stream was not given back");
        until(|| self.engine.readers() == 0).await;
    }

    /// Neither a working place nor a loader nor a stream is left, and only `shop` is there.
    pub async fn assert_no_trace_of_a_restore(&self) {
        assert_eq!(self.engine.working_names(), Vec::<String>::new());
        assert_eq!(self.engine.database_names(), ["shop"]);
        assert_eq!(self.limits.available_permits(), 4);
        until(|| self.engine.loaders() == 0).await;
    }

    pub fn calls_to(&self, operation: Operation, folder: &str) -> usize {
        let fits = |call: &Call| call.operation == operation && call.path.starts_with(folder);
        self.store.calls().into_iter().filter(fits).count()
    }
}

pub fn whole(name: &str) -> DatabaseSelection {
    DatabaseSelection::whole(ObjectName::one(name))
}

pub fn nowhere() -> Connection {
    Connection::Sqlite {
        path: "/nowhere".into(),
    }
}

/// Rows that are told apart and cannot be compressed.
pub fn rows(count: u32, length: usize) -> impl Iterator<Item = Vec<u8>> {
    (0..count).map(move |row| {
        let mut bytes = vec![0; length];
        let mut hasher = blake3::Hasher::new();
        hasher.update(&row.to_le_bytes());
        hasher.finalize_xof().fill(&mut bytes);
        bytes
    })
}

pub fn shop() -> MemoryDatabase {
    let huge = [
        vec![1; 10],
        vec![2; (5 << 20) / 2],
        Vec::new(),
        vec![3; 3 << 20],
    ];
    MemoryDatabase::new()
        .ddl("CREATE TABLE item, customer, note, nothing")
        .sequence("item_id", 4711)
        .table("item", rows(2_000, 100), 20)
        .table("customer", rows(300, 1_000), 7)
        .table("note", huge, 1)
        .table("tiny", vec![Vec::new(), vec![0], Vec::new()], 1)
        .table("nothing", Vec::new(), 1)
}

/// Waits, not for ever, until something is so.
pub async fn until(condition: impl Fn() -> bool) {
    let so = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(FOR_EVER, so)
        .await
        .expect("it never became so");
}

/// The error of a run that must have one.
#[track_caller]
pub fn failed<T>(ended: Result<T, FlowError>) -> FlowError {
    match ended {
        Ok(_) => panic!("the run succeeded"),
        Err(error) => error,
    }
}
