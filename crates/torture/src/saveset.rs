//! Savesets: making one, and what is in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use flow::{
    BackupInput, BackupOptions, DatabaseRestore, FlowError, JobFacts, RestoreInput, RestoreOptions,
};
use model::{
    Beat, ChangedBlocksSource, Clock, Connection, Credentials, DatabaseSelection, Engine, JobId,
    NoProgress, ObjectName, Retry, RunType, SecretString, ServerExecutionId, SiteType, SystemClock,
};
use testkit::postgres::{SUPERUSER, SUPERUSER_PASSWORD};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use vault::{RecoveryKey, Saveset, SiteKey, Vault};

use crate::rows::Rows;
use crate::world::DATABASE;
use crate::{Rig, Trouble};

/// Where a history's savesets go.
pub struct Shelf {
    engine: Arc<dyn Engine>,
    connection: Connection,
    vault: Vault,
    streams: usize,
    runs: u64,
    /// The site's beats, oldest first.
    pub beats: Vec<Beat>,
}

/// What a saveset has of each table, and what of it is older than itself.
#[derive(Debug, Default)]
pub struct Contents {
    /// The rows of each table.
    pub tables: BTreeMap<String, (model::RowFormat, Rows)>,
    /// How changed blocks were found; `None`: everything was read.
    pub changed_blocks: Option<ChangedBlocksSource>,
    /// Segments that an earlier saveset read.
    pub kept_segments: usize,
    /// Patches.
    pub patches: usize,
}

/// How a backup ended that gave no saveset.
pub enum Ended {
    /// It should be tried again at once.
    Again(String),
    /// It failed.
    Failed(String),
}

impl Shelf {
    /// An empty vault in memory.
    ///
    /// # Errors
    /// Where the vault cannot be made.
    pub async fn make(
        rig: &Rig,
        engine: Arc<dyn Engine>,
        streams: usize,
    ) -> Result<Shelf, Trouble> {
        let store = Arc::new(object_store::memory::InMemory::new());
        let (site_key, recovery) = (SiteKey::generate(), RecoveryKey::generate());
        let owner = "torture".parse();
        let owner = owner.map_err(|error| Trouble::new(format!("{error:?}")))?;
        let vault = Vault::create(store, &site_key?, &recovery?, &owner).await?;
        Ok(Shelf {
            engine,
            connection: rig.site(),
            vault,
            streams,
            runs: 0,
            beats: Vec::new(),
        })
    }

    fn next_run(&mut self) -> Result<ServerExecutionId, Trouble> {
        self.runs += 1;
        let id = format!("{}.1", self.runs).parse();
        id.map_err(|error| Trouble::new(format!("{error:?}")))
    }

    /// Beats, as a node does once a minute.
    pub async fn beat(&mut self) {
        // A server that is down has none.
        if let Ok(Some(beat)) = self.engine.beat(&self.connection).await {
            self.beats.push(beat);
        }
    }

    /// Makes one attempt of a backup: a FULL without a base, else a DELTA.
    ///
    /// # Errors
    /// How it ended.
    pub async fn backup(&mut self, base: Option<Saveset>) -> Result<Saveset, Ended> {
        let told = |trouble: Trouble| Ended::Failed(trouble.to_string());
        let server_execution_id = self.next_run().map_err(told)?;
        let job = JobFacts {
            job_id: JobId::new(1).map_err(|e| Ended::Failed(format!("{e:?}")))?,
            job_name: "torture".to_owned(),
            site_id: "torture"
                .parse()
                .map_err(|e| Ended::Failed(format!("{e:?}")))?,
            site_type: SiteType::Postgresql,
        };
        let input = BackupInput {
            engine: self.engine.clone(),
            connection: self.connection.clone(),
            databases: vec![DatabaseSelection::whole(ObjectName::one(DATABASE))],
            options: BackupOptions {
                online: true,
                streams: self.streams,
                server_execution_id,
                yield_to_ddl: None,
                max_snapshot: None,
                skip_without_rights: false,
                progress: Arc::new(NoProgress),
            },
            vault: self.vault.clone(),
            job,
            run_type: match base {
                None => RunType::Full,
                Some(_) => RunType::Delta,
            },
            base,
            beats: self.beats.clone(),
            start: SystemClock.now(),
            clock: Arc::new(SystemClock),
            limits: Arc::new(Semaphore::new(self.streams)),
        };
        let made = flow::backup(input, |_| async { Ok(()) }, CancellationToken::new()).await;
        match made {
            Ok(outcome) => Ok(outcome.saveset),
            Err(error) => Err(ended(&error)),
        }
    }

    /// Restores a saveset into a database of that name, as a superuser.
    ///
    /// # Errors
    /// What the restore says.
    pub async fn restore(&mut self, saveset: Saveset, name: &str) -> Result<(), Trouble> {
        let input = RestoreInput {
            engine: self.engine.clone(),
            connection: self.connection.clone(),
            credentials: Some(Credentials {
                user: SUPERUSER.to_owned(),
                password: SecretString::from(SUPERUSER_PASSWORD),
            }),
            saveset,
            databases: vec![DatabaseRestore {
                selection: DatabaseSelection::whole(ObjectName::one(DATABASE)),
                target_database: ObjectName::one(name),
            }],
            options: RestoreOptions {
                as_copy: true,
                replace_existing: false,
                skip_statistics: true,
                skip_indexes: false,
            },
            streams: 2,
            limits: Arc::new(Semaphore::new(2)),
            server_execution_id: self.next_run()?,
            earlier: Vec::new(),
            progress: Arc::new(NoProgress),
        };
        let restored = flow::restore(input, CancellationToken::new()).await;
        restored
            .map(|_| ())
            .map_err(|error| Trouble::new(format!("restoring failed: {error}")))
    }
}

fn ended(error: &FlowError) -> Ended {
    let what = match error {
        FlowError::Failed { fault, .. } => format!("{error} ({})", fault.code()),
        other => other.to_string(),
    };
    match model::Fault::retry(error) {
        Retry::NewAttempt => Ended::Again(what),
        _ => Ended::Failed(what),
    }
}

/// Everything that a saveset has, read as a restore reads it.
///
/// # Errors
/// When it is damaged.
pub async fn contents(saveset: &Saveset) -> Result<Contents, Trouble> {
    let database = saveset.databases().first();
    let database = database.ok_or_else(|| Trouble::loss("the saveset has no database"))?;
    let mut contents = Contents {
        changed_blocks: database.changed_blocks.as_ref().map(|found| found.source),
        ..Contents::default()
    };
    for (place, table) in database.tables.iter().enumerate() {
        let sheet = saveset.sheet(0, place).await?;
        let patches = saveset.patches(&sheet).await?;
        contents.patches += sheet.patches.len();
        let mut rows = Rows::default();
        for segment in &sheet.segments {
            contents.kept_segments += usize::from(segment.saveset != saveset.id());
            let mut stream = saveset.segment_rows(segment, &patches).await?;
            let told = stream.rows();
            let mut bytes = Vec::new();
            while let Some(piece) = stream.next().await? {
                bytes.extend_from_slice(&piece);
            }
            let read = Rows::of(table.plan.format, &bytes)?;
            if read.count != told {
                let (name, blocks) = (&table.plan.name, segment.blocks);
                let what = format!(
                    "{name}, {blocks}: {told} rows are told, {} given",
                    read.count
                );
                return Err(Trouble::loss(what));
            }
            rows.add(read);
        }
        if rows.count != table.rows {
            let what = format!(
                "{}: {} rows, and {} told",
                table.plan.name, rows.count, table.rows
            );
            return Err(Trouble::loss(what));
        }
        let name = table.plan.name.to_string();
        contents.tables.insert(name, (table.plan.format, rows));
    }
    Ok(contents)
}
