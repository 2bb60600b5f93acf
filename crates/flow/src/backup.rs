//! A backup, from the open source to the committed saveset.

use std::sync::Arc;

use std::time::Duration;

use fail::fail_point;
use model::{
    Beat, ChangedBlocks, ChangedBlocksSource, Clock, Connection, DatabaseSelection, Engine, JobId,
    Moment, ObjectName, Outcome, Phase, Progress, RunType, SavesetId, ServerExecutionId, SiteId,
    SiteType, SkippedObject, Source, SourceRequest,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use vault::{ManifestDraft, SavedDatabase, Saveset, SavesetWriter, Vault, VaultError};

use crate::FlowError;
use crate::commit::{commit, give_up};
use crate::delta::{Delta, ReadWhole};
use crate::error::Place;
use crate::one_database::OneDatabase;
use crate::seal::Sealer;
use crate::slots::Slots;
use crate::supervise::{off_the_runtime, panicked, supervised, until_cancelled};
use crate::witness::Witness;
use crate::writer::{LentWriter, Owner};

/// What a saveset says about the job that made it.
#[derive(Debug, Clone)]
pub struct JobFacts {
    /// The job.
    pub job_id: JobId,
    /// Its name now.
    pub job_name: String,
    /// The site.
    pub site_id: SiteId,
    /// Its kind.
    pub site_type: SiteType,
}

/// How to read.
#[derive(Clone)]
pub struct BackupOptions {
    /// The site's `soft_limit`; the source is asked for as many streams as are free.
    pub streams: usize,
    /// The attempt.
    pub server_execution_id: ServerExecutionId,
    /// Whether others may write meanwhile.
    pub online: bool,
    /// How long locks that others wait for are kept; `None`: for ever.
    pub yield_to_ddl: Option<Duration>,
    /// How old a snapshot may become; `None`: as old as it must.
    pub max_snapshot: Option<Duration>,
    /// Whether an object that may not be read is skipped, not an error.
    pub skip_without_rights: bool,
    /// Told how far it is.
    pub progress: Arc<dyn Progress>,
}

/// All that one attempt of a backup needs.
pub struct BackupInput {
    /// The site's engine.
    pub engine: Arc<dyn Engine>,
    /// Where its database system is.
    pub connection: Connection,
    /// What to read: one after the other, each in a snapshot of its own that lasts no longer than
    /// its rows are read.
    pub databases: Vec<DatabaseSelection>,
    /// How.
    pub options: BackupOptions,
    /// Where the saveset goes.
    pub vault: Vault,
    /// Goes into the manifest.
    pub job: JobFacts,
    /// What the run has become.
    pub run_type: RunType,
    /// What a DELTA builds on: a saveset of the same vault.
    pub base: Option<Saveset>,
    /// The site's beats of about the last day, oldest first.
    pub beats: Vec<Beat>,
    /// When the attempt started.
    pub start: Moment,
    /// Tells when it ended.
    pub clock: Arc<dyn Clock>,
    /// The site's streams: `hard_limit` permits for all runs together.
    pub limits: Arc<Semaphore>,
}

/// What a backup came to.
#[derive(Clone)]
pub struct BackupOutcome {
    /// The committed saveset.
    pub saveset: Saveset,
    /// Bytes read from the database: rows and dictionary, unpacked.
    pub bytes_read: u64,
    /// Bytes that are new in the vault.
    pub bytes_stored: u64,
    /// Bytes in the vault that the saveset refers to.
    pub backup_set_size: u64,
    /// Rows in the saveset.
    pub rows: u64,
    /// What a person should look at.
    pub warnings: Vec<String>,
    /// What was left out, and why.
    pub skipped: Vec<SkippedObject>,
    /// For each database of a DELTA how changed blocks were found; one that the base does not have is not
    /// in it.
    pub changed_blocks: Vec<(ObjectName, ChangedBlocks)>,
}

impl BackupOutcome {
    pub(crate) fn of(saveset: Saveset) -> Self {
        let manifest = saveset.manifest();
        let contents = &manifest.contents;
        let rows = contents.tables().map(|table| table.rows).sum();
        let changed = contents.changed_blocks();
        let changed_blocks = changed.map(|(name, found)| (name.clone(), found.clone()));
        BackupOutcome {
            bytes_read: contents.was_read(),
            changed_blocks: changed_blocks.collect(),
            bytes_stored: manifest.bytes_stored,
            backup_set_size: saveset.bytes_referred(),
            rows,
            warnings: contents.warnings.clone(),
            skipped: contents.skipped.clone(),
            saveset,
        }
    }
}

impl BackupOutcome {
    /// How changed blocks were found in all of it: the slower way counts. `None`: nothing was compared.
    pub fn changed_blocks_source(&self) -> Option<ChangedBlocksSource> {
        let found = self.changed_blocks.iter();
        ChangedBlocksSource::of_all(found.map(|(_, found)| found.source))
    }
}

/// Makes one attempt of a backup.
///
/// `on_saveset` is called once, when the saveset's id is fixed by its pin and before anything else
/// is written; its error ends the attempt. When `cancel` is cancelled, or the future is dropped, the
/// attempt stops within two seconds, and a tombstone takes the saveset's place.
///
/// # Errors
/// [`FlowError::Cancelled`], or whatever failed, with its place. The saveset is then not there and
/// never will be, except where [`FlowError::may_be_committed`] says that the vault must be asked.
pub async fn backup<F, Fut>(
    input: BackupInput,
    on_saveset: F,
    cancel: CancellationToken,
) -> Result<BackupOutcome, FlowError>
where
    F: FnOnce(SavesetId) -> Fut + Send + 'static,
    Fut: Future<Output = Outcome<()>> + Send + 'static,
{
    let cancel = cancel.child_token();
    let attempt = attempt(input, on_saveset, cancel.clone());
    supervised(cancel, "backing up", attempt).await
}

async fn attempt<F, Fut>(
    mut input: BackupInput,
    on_saveset: F,
    cancel: CancellationToken,
) -> Result<BackupOutcome, FlowError>
where
    F: FnOnce(SavesetId) -> Fut,
    Fut: Future<Output = Outcome<()>>,
{
    let has_base = match &input.base {
        Some(base) => base.vault().id() == input.vault.id(),
        None => false,
    };
    if (input.run_type == RunType::Delta) != has_base || input.base.is_some() != has_base {
        return Err(FlowError::NoBase);
    }
    let Some(first) = input.databases.first().cloned() else {
        return Err(FlowError::NoDatabase);
    };
    let witness = Arc::new(Witness::new(input.options.progress.clone()));
    input.options.progress = witness.clone();
    witness.begin_database(&first.database, input.databases.len() == 1);
    let opening = until_cancelled(&cancel, "opening the source", open(&mut input, &first));
    let (slots, opened) = opening.await?;
    let writer = match begin(&input, &cancel).await? {
        Begun::Now(writer) => writer,
        Begun::Committed(saveset) => return committed(&input.vault, saveset).await,
    };
    let saveset = writer.saveset_id();
    let tried = (saveset, input.options.server_execution_id);
    let owner = Owner::new(writer);
    let run = Run {
        input: &input,
        witness: &witness,
        cancel: &cancel,
        slots,
    };
    let steps = async {
        let announced = on_saveset(saveset).await;
        announced.map_err(|fault| Place::outside("writing down the saveset's id").fault(fault))?;
        run.steps(opened, owner.lend()).await
    };
    match until_cancelled(&cancel, "backing up", steps).await {
        Ok(draft) => commit(&input.vault, tried, owner, draft, &cancel).await,
        Err(error) => give_up(&input.vault, tried, owner, error, &cancel).await,
    }
}

/// An open source.
struct Opened {
    source: Box<dyn Source>,
    /// When its snapshot was taken.
    snapshot_time: Moment,
    base: Option<Arc<Delta>>,
}

/// Waits for streams, and opens the first source for as many.
async fn open(
    input: &mut BackupInput,
    first: &DatabaseSelection,
) -> Result<(Slots, Opened), FlowError> {
    let slots = Slots::acquire(&input.limits, input.options.streams).await?;
    input.options.streams = slots.count();
    input.options.progress.phase_started(Phase::Dictionary, 0);
    let opened = open_source(input, first, base_of(input, first)).await?;
    Ok((slots, opened))
}

/// What a DELTA builds on in one database.
fn base_of(input: &BackupInput, selection: &DatabaseSelection) -> Option<Arc<Delta>> {
    let base = input.base.as_ref()?;
    Delta::of(base, &selection.database).map(Arc::new)
}

async fn open_source(
    input: &BackupInput,
    selection: &DatabaseSelection,
    base: Option<Arc<Delta>>,
) -> Result<Opened, FlowError> {
    let options = &input.options;
    let request = SourceRequest {
        selection: selection.clone(),
        online: options.online,
        streams: options.streams,
        server_execution_id: options.server_execution_id,
        yield_to_ddl: options.yield_to_ddl,
        max_snapshot: options.max_snapshot,
        skip_without_rights: options.skip_without_rights,
        base: base.as_ref().map(|delta| Arc::new(delta.base())),
        beats: input.beats.clone(),
        progress: options.progress.clone(),
    };
    let opened = input.engine.open_source(&input.connection, request).await;
    let source = opened.map_err(|fault| Place::outside("opening the source").fault(fault))?;
    Ok(Opened {
        source,
        snapshot_time: input.clock.now(),
        base,
    })
}

/// What stands behind the pin of an execution.
enum Begun {
    Now(SavesetWriter),
    /// An earlier attempt's saveset, which nobody knew to be there.
    Committed(SavesetId),
}

/// An earlier attempt had succeeded: its saveset is the execution's.
async fn committed(vault: &Vault, saveset: SavesetId) -> Result<BackupOutcome, FlowError> {
    let place = Place::outside("opening an earlier attempt's saveset");
    let opened = vault.open_saveset(saveset).await;
    let saveset = opened.map_err(|error| place.fault(error))?;
    Ok(BackupOutcome::of(saveset))
}

/// Fixes the saveset's id by its pin. A run that is cancelled meanwhile does not wait for the store,
/// and takes the pin away when it is there.
async fn begin(input: &BackupInput, cancel: &CancellationToken) -> Result<Begun, FlowError> {
    let (vault, execution) = (input.vault.clone(), input.options.server_execution_id);
    let base = input.base.as_ref().map(Saveset::id);
    let mut beginning = tokio::spawn(async move { vault.begin(execution, base).await });
    let begun = tokio::select! {
        biased;
        begun = &mut beginning => begun,
        () = cancel.cancelled() => {
            tokio::spawn(async move {
                if let Ok(Ok(writer)) = beginning.await
                    && let Err(error) = writer.abandon("the run was stopped on request").await
                {
                    tracing::error!("a pin of a stopped run stays in the vault: {error}");
                }
            });
            return Err(FlowError::Cancelled);
        }
    };
    match begun {
        Ok(Ok(writer)) => Ok(Begun::Now(writer)),
        Ok(Err(VaultError::AlreadyCommitted { saveset, .. })) => Ok(Begun::Committed(saveset)),
        // Behind the pin only the base is read.
        Ok(Err(
            error @ (VaultError::NoSaveset { saveset } | VaultError::SavesetDead { saveset, .. }),
        )) if base == Some(saveset) => {
            Err(Place::outside("pinning the base").of_base(saveset, error))
        }
        Ok(Err(error)) => Err(Place::outside("putting the saveset's pin").fault(error)),
        Err(error) => Err(panicked(Place::outside("putting the saveset's pin"), error)),
    }
}

/// What the steps between pin and commit need.
struct Run<'a> {
    input: &'a BackupInput,
    witness: &'a Arc<Witness>,
    cancel: &'a CancellationToken,
    slots: Slots,
}

impl Run<'_> {
    /// Everything that the manifest refers to has been put when this answers.
    async fn steps(self, first: Opened, writer: LentWriter) -> Result<ManifestDraft, FlowError> {
        let databases = &self.input.databases;
        let mut sealer = Sealer::new(writer, self.cancel.clone())
            .map_err(|error| Place::outside("opening a pack").fault(error))?;
        let mut first = Some(first);
        let mut saved: Vec<SavedDatabase> = Vec::with_capacity(databases.len());
        let (mut bytes_read, mut read_whole) = (0, ReadWhole::default());
        for (place, selection) in databases.iter().enumerate() {
            let opened = match first.take() {
                Some(opened) => opened,
                None => {
                    let is_last = place + 1 == databases.len();
                    self.witness.begin_database(&selection.database, is_last);
                    let base = base_of(self.input, selection);
                    open_source(self.input, selection, base).await?
                }
            };
            let reading = OneDatabase {
                selection,
                snapshot_time: opened.snapshot_time,
                progress: self.witness.clone(),
                cancel: self.cancel,
                streams: self.slots.count(),
                base: opened.base,
            };
            let one;
            (sealer, one) = reading.save(opened.source, sealer).await?;
            bytes_read += one.bytes_read;
            read_whole.look(&selection.database, &one.plan);
            saved.push(one.database);
        }
        if self.input.base.is_some() {
            read_whole.tell(&**self.witness);
        }
        let end = self.input.clock.now();
        let place = || Place::within(Phase::Data, "putting the last pack");
        off_the_runtime(place(), move || {
            sealer.flush().map_err(|error| place().fault(error))
        })
        .await?;
        fail_point!("flow::a-saveset-is-whole");
        Ok(ManifestDraft {
            bytes_read: Some(bytes_read),
            ..self.draft(saved, end)
        })
    }

    fn draft(&self, databases: Vec<SavedDatabase>, end: Moment) -> ManifestDraft {
        let job = &self.input.job;
        let kept = self.witness.kept();
        ManifestDraft {
            run_type: self.input.run_type,
            base: self.input.base.as_ref().map(Saveset::id),
            job_id: job.job_id,
            job_name: job.job_name.clone(),
            execution: self.input.options.server_execution_id,
            site_id: job.site_id.clone(),
            site_type: job.site_type,
            databases,
            start: self.input.start,
            end,
            warnings: kept.warnings,
            skipped: kept.skipped,
            bytes_read: None,
        }
    }
}
