//! A backup, from the open source to the committed saveset.

use std::sync::Arc;

use model::{
    Clock, ClosingFacts, Connection, Engine, JobId, Moment, Outcome, Phase, Progress, RunType,
    SavesetId, SiteId, SiteType, SkippedObject, Source, SourcePlan, SourceRequest,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use vault::{
    BlobRef, ManifestDraft, ManifestTable, Saveset, SavesetWriter, TableSheet, Vault, VaultError,
};

use crate::FlowError;
use crate::commit::{commit, give_up};
use crate::error::Place;
use crate::seal::Sealer;
use crate::slots::Slots;
use crate::streams::read_all;
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

/// All that one attempt of a backup needs.
pub struct BackupInput {
    /// The site's engine.
    pub engine: Arc<dyn Engine>,
    /// Where its database system is.
    pub connection: Connection,
    /// What to read. Its `streams` are the site's `soft_limit`; the source is asked for as many of
    /// them as are free.
    pub request: SourceRequest,
    /// Where the saveset goes.
    pub vault: Vault,
    /// Goes into the manifest.
    pub job: JobFacts,
    /// What the run has become. Only FULL is built.
    pub run_type: RunType,
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
}

impl BackupOutcome {
    pub(crate) fn of(saveset: Saveset) -> Self {
        let manifest = saveset.manifest();
        let contents = &manifest.contents;
        let rows = contents.tables.iter().map(|table| table.rows).sum();
        let table_bytes = contents.tables.iter().map(|table| table.plain_bytes);
        let part_bytes = contents.dictionary.iter().map(|part| part.plain_bytes);
        BackupOutcome {
            bytes_read: table_bytes.chain(part_bytes).sum(),
            bytes_stored: manifest.bytes_stored,
            backup_set_size: saveset.bytes_referred(),
            rows,
            warnings: contents.warnings.clone(),
            skipped: contents.skipped.clone(),
            saveset,
        }
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
    if input.run_type == RunType::Delta {
        return Err(FlowError::NoDelta);
    }
    let witness = Arc::new(Witness::new(input.request.progress.clone()));
    input.request.progress = witness.clone();
    let opening = until_cancelled(&cancel, "opening the source", open(&mut input));
    let (slots, source) = opening.await?;
    let writer = match begin(&input, &cancel).await? {
        Begun::Now(writer) => writer,
        Begun::Committed(saveset) => return committed(&input.vault, saveset).await,
    };
    let saveset = writer.saveset_id();
    let tried = (saveset, input.request.server_execution_id);
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
        run.steps(source, owner.lend()).await
    };
    match until_cancelled(&cancel, "backing up", steps).await {
        Ok(draft) => commit(&input.vault, tried, owner, draft, &cancel).await,
        Err(error) => give_up(&input.vault, tried, owner, error, &cancel).await,
    }
}

/// Waits for streams, and opens the source for as many.
async fn open(input: &mut BackupInput) -> Result<(Slots, Box<dyn Source>), FlowError> {
    let slots = Slots::acquire(&input.limits, input.request.streams).await?;
    input.request.streams = slots.count();
    input.request.progress.phase_started(Phase::Dictionary, 0);
    let opened = input
        .engine
        .open_source(&input.connection, input.request.clone());
    let source = opened
        .await
        .map_err(|fault| Place::outside("opening the source").fault(fault))?;
    Ok((slots, source))
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
    let (vault, execution) = (input.vault.clone(), input.request.server_execution_id);
    let mut beginning = tokio::spawn(async move { vault.begin(execution, None).await });
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
    async fn steps(
        self,
        mut source: Box<dyn Source>,
        writer: LentWriter,
    ) -> Result<ManifestDraft, FlowError> {
        let progress = self.progress();
        let sealer = Sealer::new(writer, self.cancel.clone())
            .map_err(|error| Place::outside("opening a pack").fault(error))?;
        let (sealer, mut dictionary) = self.dictionary(&mut *source, sealer).await?;
        let mut plan = source
            .plan()
            .await
            .map_err(|fault| Place::within(Phase::Dictionary, "planning").fault(fault))?;
        progress.phase_done(Phase::Dictionary);

        let streams = self.slots.count();
        let reading = read_all(
            &mut *source,
            &mut plan,
            sealer,
            streams,
            self.cancel,
            progress.clone(),
        );
        let (sheets, sealers) = reading.await?;
        let (sealer, late) = self.late_dictionary(&mut *source, sealers).await?;
        dictionary.extend(late);
        let facts = source
            .finish()
            .await
            .map_err(|fault| Place::within(Phase::Data, "closing the source").fault(fault))?;
        let end = self.input.clock.now();

        let tables = seal_sheets(sealer, &plan, sheets).await?;
        progress.phase_done(Phase::Data);
        Ok(self.draft(plan, dictionary, tables, facts, end))
    }

    fn progress(&self) -> Arc<dyn Progress> {
        self.witness.clone()
    }

    async fn dictionary(
        &self,
        source: &mut dyn Source,
        mut sealer: Sealer,
    ) -> Result<(Sealer, Vec<BlobRef>), FlowError> {
        let place = || Place::within(Phase::Dictionary, "reading the dictionary");
        let parts = source.dictionary().await;
        let parts = parts.map_err(|fault| place().fault(fault))?;
        let progress = self.progress();
        off_the_runtime(place(), move || {
            let sealed = parts.into_iter().map(|part| sealer.part(part, &*progress));
            let sealed = sealed.collect::<Result<_, _>>()?;
            Ok((sealer, sealed))
        })
        .await
    }

    /// Puts the last packs of all streams but the first one, which goes on.
    async fn late_dictionary(
        &self,
        source: &mut dyn Source,
        sealers: Vec<Sealer>,
    ) -> Result<(Sealer, Vec<BlobRef>), FlowError> {
        let place = || Place::within(Phase::Data, "reading what follows the rows");
        let parts = source.late_dictionary().await;
        let parts = parts.map_err(|fault| place().fault(fault))?;
        let progress = self.progress();
        off_the_runtime(place(), move || {
            let mut sealers = sealers.into_iter();
            let mut sealer = sealers.next().ok_or(FlowError::Stopped)?;
            for mut other in sealers {
                let flushed = other.flush();
                flushed
                    .map_err(|error| Place::within(Phase::Data, "putting a pack").fault(error))?;
            }
            let sealed = parts.into_iter().map(|part| sealer.part(part, &*progress));
            let sealed = sealed.collect::<Result<_, _>>()?;
            Ok((sealer, sealed))
        })
        .await
    }

    fn draft(
        &self,
        plan: SourcePlan,
        dictionary: Vec<BlobRef>,
        tables: Vec<ManifestTable>,
        facts: ClosingFacts,
        end: Moment,
    ) -> ManifestDraft {
        let (job, request) = (&self.input.job, &self.input.request);
        let kept = self.witness.kept();
        let selected = request.selection.objects.iter();
        ManifestDraft {
            run_type: self.input.run_type,
            parent: None,
            job_id: job.job_id,
            job_name: job.job_name.clone(),
            execution: request.server_execution_id,
            site_id: job.site_id.clone(),
            site_type: job.site_type,
            databases: selected.map(|object| object.name.clone()).collect(),
            start: self.input.start,
            end,
            dictionary,
            tables,
            objects: plan.objects,
            facts,
            warnings: kept.warnings,
            skipped: kept.skipped,
        }
    }
}

/// Seals the sheets behind everything else, and puts the last pack.
async fn seal_sheets(
    mut sealer: Sealer,
    plan: &SourcePlan,
    sheets: Vec<Option<TableSheet>>,
) -> Result<Vec<ManifestTable>, FlowError> {
    let plans = plan.tables.clone();
    off_the_runtime(Place::outside("sealing the sheets"), move || {
        let mut tables = Vec::with_capacity(plans.len());
        for (plan, sheet) in plans.into_iter().zip(sheets) {
            let name = plan.name.to_string();
            let place = || Place::named(Phase::Data, "sealing the sheet of", &name);
            let sealed = sheet.as_ref().map(|sheet| sealer.sheet(sheet)).transpose();
            let sealed = sealed.map_err(|error| place().fault(error))?;
            tables.push(ManifestTable {
                rows: sealed.as_ref().map_or(0, |sheet| sheet.rows),
                plain_bytes: sealed.as_ref().map_or(0, |sheet| sheet.plain_bytes),
                sheet: sealed,
                plan,
            });
        }
        let flushed = sealer.flush();
        flushed
            .map_err(|error| Place::within(Phase::Data, "putting the last pack").fault(error))?;
        Ok(tables)
    })
    .await
}
