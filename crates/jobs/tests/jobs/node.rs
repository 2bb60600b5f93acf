//! A server of the test's own: a data directory, a vault, an engine in memory, a runner. Killing it
//! ends its runtime in the middle of whatever it does.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use catalog::{Catalog, Execution, MasterKey};
use jobs::{ExecuteRequest, Jobs, Registry, RestoreDraft, Restored, Settings, restore_job};
use model::{
    BackupMechanism, Clock, Credentials, ExecutionId, ExecutionStatus, ExposeSecret, JobDefinition,
    JobId, JobType, Moment, ObjectName, RunType, SavesetId, Selection, SiteConnection,
    SiteDefinition, SiteId, SiteSecrets, SiteType, SystemClock, VaultLocation,
};
use tempfile::TempDir;
use testkit::memory_engine::{MemoryDatabase, MemoryEngine};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use vault::{Unlock, Vault};

pub struct Node {
    pub jobs: Jobs,
    pub engine: MemoryEngine,
    pub clock: Arc<HurriedClock>,
    runtime: Option<Runtime>,
    shutdown: CancellationToken,
    runner: Option<tokio::task::JoinHandle<()>>,
}

/// The system's clock, put forward or back by hand.
#[derive(Default)]
pub struct HurriedClock(Mutex<i64>);

impl HurriedClock {
    pub fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += i64::try_from(by.as_micros()).unwrap();
    }

    pub fn set_back(&self, by: Duration) {
        *self.0.lock().unwrap() -= i64::try_from(by.as_micros()).unwrap();
    }
}

impl Clock for HurriedClock {
    fn now(&self) -> Moment {
        Moment::from_micros(SystemClock.now().as_micros() + *self.0.lock().unwrap())
    }
}

pub fn site() -> SiteId {
    "shop".parse().unwrap()
}

pub fn rows(count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|n| format!("row {n} with something to say").into_bytes())
        .collect()
}

pub fn shop() -> MemoryDatabase {
    MemoryDatabase::new()
        .ddl("CREATE TABLE orders (…)")
        .sequence("orders_id_seq", 42)
        .table("orders", rows(500), 10)
        .table("empty", Vec::new(), 10)
}

pub fn site_definition(dir: &Path, id: &str) -> SiteDefinition {
    SiteDefinition {
        site_id: id.parse().unwrap(),
        site_type: SiteType::Postgresql,
        description: None,
        connection: SiteConnection::Postgresql {
            url: "postgres://backstay@nowhere/postgres".to_owned(),
        },
        vault: VaultLocation {
            url: format!("file://{}", dir.join(format!("vault-{id}")).display()),
            options: Default::default(),
        },
        soft_limit: 2,
        hard_limit: 4,
        max_snapshot_minutes: 0,
    }
}

pub fn nightly() -> JobDefinition {
    JobDefinition {
        name: "nightly".to_owned(),
        description: None,
        job_type: JobType::Backup,
        backup_type: RunType::Full,
        backup_mechanism: BackupMechanism::Dsa,
        is_active: true,
        priority: 5,
        no_of_retention_copies: 7,
        is_auto_abort_active: false,
        auto_abort_in_minutes: 0,
        online: true,
        continue_on_access_right_violation: false,
        selection: Selection::whole_database("shop"),
        yield_to_ddl_seconds: 300,
        restore: None,
    }
}

pub fn credentials() -> Credentials {
    Credentials {
        user: "restorer".to_owned(),
        password: "a secret".to_owned().into(),
    }
}

impl Node {
    /// A server that runs what is queued.
    pub async fn start(dir: &TempDir) -> Node {
        Node::start_with(dir, MemoryEngine::new(SiteType::Postgresql), true).await
    }

    /// A server on that data directory; without `running` it queues only.
    pub async fn start_with(dir: &TempDir, engine: MemoryEngine, running: bool) -> Node {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let data = dir.path().join("data");
        let clock = Arc::new(HurriedClock::default());
        let ticking = clock.clone();
        let shutdown = CancellationToken::new();
        let (registry, token) = (
            Registry::new().with(Arc::new(engine.clone())),
            shutdown.clone(),
        );
        let started = runtime.spawn(async move {
            let catalog = open_catalog(&data, ticking.clone()).await;
            let settings = Settings {
                look_for_sweeps: Duration::from_millis(20),
                look_for_beats: Duration::from_millis(20),
                beat_limit: Duration::from_millis(200),
                ..Settings::default()
            };
            let jobs = Jobs::new(catalog, registry, ticking, settings);
            jobs.recover().await.unwrap();
            let runner = running.then(|| {
                let (jobs, token) = (jobs.clone(), token);
                tokio::spawn(async move { jobs.run(token).await })
            });
            (jobs, runner)
        });
        let (jobs, runner) = started.await.unwrap();
        Node {
            jobs,
            engine,
            clock,
            runtime: Some(runtime),
            shutdown,
            runner,
        }
    }

    /// A new server with a site, a database and a job.
    pub async fn with_job(dir: &TempDir) -> (Node, JobId) {
        let node = Node::start(dir).await;
        let job = node.make_job(dir).await;
        (node, job)
    }

    pub async fn make_job(&self, dir: &TempDir) -> JobId {
        self.engine.put_database("shop", shop());
        self.jobs
            .make_site(site_definition(dir.path(), "shop"), SiteSecrets::default())
            .await
            .unwrap();
        self.catalog()
            .create_job(&site(), &nightly())
            .await
            .unwrap()
            .job_id
    }

    pub fn catalog(&self) -> &Catalog {
        self.jobs.catalog()
    }

    pub async fn execute(&self, job: JobId) -> ExecutionId {
        self.jobs
            .execute(&site(), job, ExecuteRequest::default())
            .await
            .unwrap()
    }

    /// Waits for the end of an execution.
    pub async fn ended(&self, id: ExecutionId) -> Execution {
        self.until(id, |execution| execution.status.is_final())
            .await
    }

    pub async fn until(&self, id: ExecutionId, reached: impl Fn(&Execution) -> bool) -> Execution {
        for _ in 0..3000 {
            let execution = self.catalog().execution_by_id(id).await.unwrap();
            if reached(&execution) {
                return execution;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let last = self.catalog().execution_by_id(id).await.unwrap();
        panic!(
            "execution {id} stays {}: {}",
            last.status, last.status_detail
        );
    }

    /// A backup that must succeed.
    pub async fn backed_up(&self, job: JobId) -> (ExecutionId, SavesetId) {
        let id = self.execute(job).await;
        let ended = self.successful(id).await;
        (id, ended.saveset_id.unwrap())
    }

    /// An execution as it ended: it must be SUCCESSFUL.
    pub async fn successful(&self, id: ExecutionId) -> Execution {
        let ended = self.ended(id).await;
        assert_eq!(
            ended.status,
            ExecutionStatus::Successful,
            "{}",
            ended.status_detail
        );
        ended
    }

    pub async fn restore(&self, job: JobId, backup: ExecutionId, to: &str) -> (JobId, ExecutionId) {
        let request = ExecuteRequest {
            credentials: Some(credentials()),
            ..ExecuteRequest::default()
        };
        match self
            .jobs
            .restore(&site(), job, backup, draft(Some(to)), request)
            .await
            .unwrap()
        {
            Restored::Queued { job, execution } => (job, execution),
            Restored::Plan(_) => panic!("a plan was not asked for"),
        }
    }

    /// Goes down in order.
    pub async fn shut_down(mut self) -> MemoryEngine {
        self.shutdown.cancel();
        if let Some(runner) = self.runner.take() {
            runner.await.unwrap();
        }
        let runtime = self.runtime.take().unwrap();
        let engine = self.engine.clone();
        tokio::task::spawn_blocking(move || {
            drop(self);
            runtime.shutdown_timeout(Duration::from_secs(5));
        })
        .await
        .unwrap();
        engine
    }

    /// Ends in the middle of whatever it does, as a crash does. The engine forgets its troubles.
    pub async fn kill(mut self) -> MemoryEngine {
        let runtime = self.runtime.take().unwrap();
        let engine = self.engine.clone();
        tokio::task::spawn_blocking(move || {
            // Its tasks are dropped where they stand; nothing may go on when the engine heals.
            runtime.shutdown_timeout(Duration::from_secs(5));
            drop(self);
        })
        .await
        .unwrap();
        engine.heal();
        engine
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A killed runtime lets go of its catalog only when its last thread is gone.
async fn open_catalog(data: &Path, clock: Arc<HurriedClock>) -> Catalog {
    for _ in 0..200 {
        let key = MasterKey::from_text(&"ab".repeat(32).into()).unwrap();
        match Catalog::open(data, key, clock.clone()).await {
            Err(catalog::CatalogError::Locked { .. }) => {
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
            other => return other.unwrap(),
        }
    }
    panic!("the killed server never let go of {}", data.display());
}

pub fn draft(to: Option<&str>) -> RestoreDraft {
    RestoreDraft {
        job: restore_job("restore".to_owned(), Selection::whole_database("shop")),
        target_site: site(),
        new_name: to.map(ObjectName::one),
        named_by_rename_to: false,
        run_as_copy: None,
        replace_existing: false,
        skip_statistics: false,
        skip_indexes: false,
        retained_copy: None,
        dry_run: false,
    }
}

/// The vault of the site, as its server has it.
pub async fn vault_of(node: &Node, dir: &TempDir) -> Vault {
    let url = site_definition(dir.path(), "shop").vault.url;
    let (store, _) = vault::open_store(&url, &BTreeMap::new()).unwrap();
    let keys = node.catalog().site_keys(&site()).await.unwrap();
    let key = keys.recovery_key.expose_secret().parse().unwrap();
    let vault = Vault::open(store, Unlock::RecoveryKey(&key)).await.unwrap();
    let owner = node.catalog().node_id().parse().unwrap();
    vault.own(&owner).await.unwrap();
    vault
}

/// Waits until it is so.
pub async fn eventually(is_so: impl Fn() -> bool, what: &str) {
    for _ in 0..1_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} does not come");
}

/// It is so, and stays so for many looks of the server.
pub async fn stays(is_so: impl Fn() -> bool) {
    for _ in 0..30 {
        assert!(is_so());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
