//! What every test begins with: a data directory, a clock that stands still, a catalog.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use catalog::{
    Catalog, CatalogError, Ending, Execution, Leased, MasterKey, NewExecution, SiteKeys,
};
use model::{
    BackupMechanism, ExecutionId, JobDefinition, JobId, JobType, Moment, RestoreSettings, RunEvent,
    RunType, SavesetId, SecretString, Selection, SiteConnection, SiteDefinition, SiteId,
    SiteSecrets, SiteType, VaultLocation,
};
use tempfile::TempDir;
use testkit::HandClock;

pub const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

pub struct World {
    pub directory: TempDir,
    pub clock: Arc<HandClock>,
    pub catalog: Catalog,
}

impl World {
    pub async fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(HandClock::at_time("2026-01-31T02:00:00Z"));
        let catalog = open(&data_in(&directory), &clock).await.unwrap();
        World {
            directory,
            clock,
            catalog,
        }
    }

    /// With site `shop`.
    pub async fn with_site() -> World {
        let world = World::new().await;
        world.add_site("shop").await;
        world
    }

    /// With site `shop` and a backup job on it.
    pub async fn with_job() -> (World, JobId) {
        let world = World::with_site().await;
        let job = world.add_job("nightly").await;
        (world, job)
    }

    pub fn data(&self) -> PathBuf {
        data_in(&self.directory)
    }

    /// As after a restart.
    pub async fn reopened(self) -> World {
        let World {
            directory,
            clock,
            catalog,
        } = self;
        catalog.close().await;
        let catalog = open(&data_in(&directory), &clock).await.unwrap();
        World {
            directory,
            clock,
            catalog,
        }
    }

    pub fn later(&self, seconds: u64) -> Moment {
        self.clock.advance(Duration::from_secs(seconds));
        model::Clock::now(&*self.clock)
    }

    pub async fn add_site(&self, id: &str) {
        self.catalog
            .create_site(&site_of(id), &SiteSecrets::default(), &keys())
            .await
            .unwrap();
    }

    pub async fn add_job(&self, name: &str) -> JobId {
        self.catalog
            .create_job(&shop(), &job_of(name))
            .await
            .unwrap()
            .job_id
    }

    pub async fn enqueue(&self, job: JobId) -> ExecutionId {
        let new = NewExecution::of(shop(), job);
        self.catalog.enqueue(&new, None).await.unwrap().execution_id
    }

    pub async fn take(&self) -> Leased {
        self.catalog
            .take_next(far_off(), &[])
            .await
            .unwrap()
            .unwrap()
    }

    pub async fn get(&self, execution: ExecutionId) -> Execution {
        self.catalog.execution_by_id(execution).await.unwrap()
    }

    /// A whole successful backup, a minute long; its saveset is the one given.
    pub async fn back_up(&self, job: JobId, saveset: i64) -> ExecutionId {
        let execution = self.enqueue(job).await;
        let leased = self.take().await;
        assert_eq!(leased.execution.execution_id, execution);
        self.later(60);
        let ending = Ending {
            run_type: Some(RunType::Full),
            saveset: Some(saveset_id(saveset)),
            backup_set_size: 1_000,
            bytes_stored: 400,
            ..Ending::because(RunEvent::Succeed, "Done")
        };
        self.catalog
            .finish(&leased, &ending)
            .await
            .unwrap()
            .unwrap();
        execution
    }
}

pub fn data_in(directory: &TempDir) -> PathBuf {
    directory.path().join("data")
}

pub async fn open(data: &Path, clock: &Arc<HandClock>) -> Result<Catalog, CatalogError> {
    let key = MasterKey::from_text(&SecretString::from(KEY)).unwrap();
    Catalog::open(data, key, clock.clone()).await
}

pub fn shop() -> SiteId {
    "shop".parse().unwrap()
}

pub fn site_id(text: &str) -> SiteId {
    text.parse().unwrap()
}

pub fn saveset_id(number: i64) -> SavesetId {
    SavesetId::new(number).unwrap()
}

/// A lease until then never runs out in a test.
pub fn far_off() -> Moment {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

pub fn keys() -> SiteKeys {
    SiteKeys {
        site_key: Some(SecretString::from("the-site-key-in-hex")),
        recovery_key: SecretString::from("BSRK1-the-recovery-key"),
    }
}

pub fn site_of(id: &str) -> SiteDefinition {
    SiteDefinition {
        site_id: site_id(id),
        site_type: SiteType::Postgresql,
        description: None,
        connection: SiteConnection::Postgresql {
            url: "postgres://backup@db/postgres".to_owned(),
        },
        vault: VaultLocation {
            url: format!("file:///srv/backups/{id}"),
            options: BTreeMap::new(),
        },
        soft_limit: 2,
        hard_limit: 4,
        max_snapshot_minutes: 0,
    }
}

pub fn job_of(name: &str) -> JobDefinition {
    JobDefinition {
        name: name.to_owned(),
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

pub fn restore_of(
    backup_job: JobId,
    backup: ExecutionId,
    saveset: i64,
    target: &SiteId,
) -> JobDefinition {
    JobDefinition {
        job_type: JobType::Restore,
        restore: Some(RestoreSettings {
            backup_execution_id: backup,
            backup_job_id: backup_job.get(),
            saveset_id: saveset_id(saveset),
            target_site: target.clone(),
            new_name: None,
            named_by_rename_to: false,
            run_as_copy: false,
            replace_existing: false,
            skip_statistics: false,
            skip_indexes: false,
            retained_copy: None,
        }),
        ..job_of("bring it back")
    }
}
