//! A restore, from the open target to the published database: the mirror of a backup.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fail::fail_point;
use futures::{StreamExt, TryStreamExt};
use model::{
    Connection, Credentials, Engine, Findings, ObjectName, Phase, Progress, Published,
    RestoreRequest, RestoreTable, ServerExecutionId, Target,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use vault::{Saveset, TableSheet};

use crate::FlowError;
use crate::dictionary::SavesetDictionary;
use crate::discard::discard;
use crate::error::Place;
use crate::loaders::{Loaders, Loading, stop};
use crate::slots::Slots;
use crate::supervise::{caught, supervised, until_cancelled};
use crate::witness::Witness;

/// Sheets that are read at the same time.
const SHEETS_AT_ONCE: usize = 4;

/// What to restore, and how.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// The database in the saveset.
    pub database: ObjectName,
    /// Its name on the target.
    pub target_database: ObjectName,
    /// Only new objects.
    pub as_copy: bool,
    /// Whether a filled target may be put aside.
    pub replace_existing: bool,
    /// Leave out statistics.
    pub skip_statistics: bool,
    /// Leave out secondary indexes that are no constraint.
    pub skip_indexes: bool,
}

/// All that a restore needs.
pub struct RestoreInput {
    /// The target site's engine.
    pub engine: Arc<dyn Engine>,
    /// Where its database system is.
    pub connection: Connection,
    /// Whose rights the restore runs with.
    pub credentials: Option<Credentials>,
    /// What is restored.
    pub saveset: Saveset,
    /// How.
    pub options: RestoreOptions,
    /// The target site's `soft_limit`; as many loaders are made as are free.
    pub streams: usize,
    /// The target site's streams: `hard_limit` permits for all runs together.
    pub limits: Arc<Semaphore>,
    /// The attempt.
    pub server_execution_id: ServerExecutionId,
    /// Earlier runs of the same restore: what a crash left of them is taken away.
    pub earlier: Vec<ServerExecutionId>,
    /// Told how far it is.
    pub progress: Arc<dyn Progress>,
}

/// What a restore came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreOutcome {
    /// Where the objects are now.
    pub published: Published,
    /// Keys and indexes that could not be made: COMPLETED_WITH_ERRORS.
    pub errors: Vec<String>,
    /// Bytes read from the vault.
    pub bytes_read: u64,
    /// Rows loaded.
    pub rows: u64,
}

/// Looks at the target and changes nothing: a dry run.
///
/// # Errors
/// What the engine says. Obstacles are no error here.
pub async fn plan_restore(input: &RestoreInput) -> Result<Findings, FlowError> {
    let streams = input.streams.max(1);
    let mut target = open_target(input, streams, &Arc::default()).await?;
    findings(&mut *target).await
}

/// Restores a saveset.
///
/// When `cancel` is cancelled, or the future is dropped, what it has made is taken away; once the
/// target publishes, it goes on to its end, and a target that fails at that cleans up itself. Nothing
/// that stood on the target before is lost.
///
/// # Errors
/// [`FlowError::InTheWay`] before anything is touched; [`FlowError::Cancelled`]; or whatever failed,
/// with its place. [`FlowError::LeftBehind`] around it says that something stays on the target.
pub async fn restore(
    input: RestoreInput,
    cancel: CancellationToken,
) -> Result<RestoreOutcome, FlowError> {
    let cancel = cancel.child_token();
    let attempt = attempt(input, cancel.clone());
    supervised(cancel, "restoring", attempt).await
}

async fn attempt(
    mut input: RestoreInput,
    cancel: CancellationToken,
) -> Result<RestoreOutcome, FlowError> {
    input.progress = Arc::new(Witness::new(input.progress));
    let bytes_read = Arc::new(AtomicU64::new(0));
    let opening = until_cancelled(&cancel, "opening the target", open(&input, &bytes_read));
    let (slots, mut target, sheets) = opening.await?;
    let loading = Arc::new(Loading::new(
        input.saveset.clone(),
        sheets,
        input.progress.clone(),
        bytes_read.clone(),
    ));
    let mut loaders = Loaders::new();
    let steps = steps(&input, &mut *target, &loading, &mut loaders, slots.count());
    let done = until_cancelled(&cancel, "restoring", steps).await;
    stop(&mut loaders).await;
    let errors = match done {
        Ok(errors) => errors,
        Err(error) => return Err(discard(target, error, &cancel).await),
    };
    let place = || Place::outside("putting the result in its place");
    let publishing = async { target.publish().await.map_err(|fault| place().fault(fault)) };
    Ok(RestoreOutcome {
        published: caught(place(), publishing).await?,
        errors,
        bytes_read: bytes_read.load(Ordering::Relaxed),
        rows: loading.rows(),
    })
}

/// Everything that changes nothing: streams, sheets, the target, what is in its way.
async fn open(
    input: &RestoreInput,
    bytes_read: &Arc<AtomicU64>,
) -> Result<(Slots, Box<dyn Target>, Vec<TableSheet>), FlowError> {
    let slots = Slots::acquire(&input.limits, input.streams).await?;
    let sheets = read_sheets(&input.saveset, bytes_read).await?;
    let mut target = open_target(input, slots.count(), bytes_read).await?;
    let found = findings(&mut *target).await?;
    for warning in found.warnings {
        input.progress.warning(warning);
    }
    if found.obstacles.is_empty() {
        Ok((slots, target, sheets))
    } else {
        Err(FlowError::InTheWay(found.obstacles))
    }
}

async fn findings(target: &mut dyn Target) -> Result<Findings, FlowError> {
    let found = target.findings().await;
    found.map_err(|fault| Place::outside("looking at the target").fault(fault))
}

async fn open_target(
    input: &RestoreInput,
    streams: usize,
    bytes_read: &Arc<AtomicU64>,
) -> Result<Box<dyn Target>, FlowError> {
    let contents = &input.saveset.manifest().contents;
    let (options, progress) = (&input.options, &input.progress);
    let dictionary =
        SavesetDictionary::new(input.saveset.clone(), progress.clone(), bytes_read.clone());
    let request = RestoreRequest {
        source_type: contents.site_type,
        database: options.database.clone(),
        target_database: options.target_database.clone(),
        as_copy: options.as_copy,
        replace_existing: options.replace_existing,
        skip_statistics: options.skip_statistics,
        skip_indexes: options.skip_indexes,
        streams,
        server_execution_id: input.server_execution_id,
        earlier: input.earlier.clone(),
        tables: tables(input).collect(),
        objects: contents.objects.clone(),
        facts: contents.facts.clone(),
        dictionary: Arc::new(dictionary),
        progress: progress.clone(),
    };
    let credentials = input.credentials.as_ref();
    let opened = input
        .engine
        .open_target(&input.connection, credentials, request)
        .await;
    opened.map_err(|fault| Place::outside("opening the target").fault(fault))
}

fn tables(input: &RestoreInput) -> impl Iterator<Item = RestoreTable> {
    let tables = input.saveset.manifest().contents.tables.iter();
    tables.map(|table| RestoreTable {
        plan: table.plan.clone(),
        rows: table.rows,
        bytes: table.plain_bytes,
    })
}

/// The sheets of all tables, in their order; an empty one for a table without.
async fn read_sheets(
    saveset: &Saveset,
    bytes_read: &AtomicU64,
) -> Result<Vec<TableSheet>, FlowError> {
    let tables = 0..saveset.manifest().contents.tables.len();
    let reading = futures::stream::iter(tables.map(|table| read_sheet(saveset.clone(), table)));
    let read: Vec<(TableSheet, u64)> = reading.buffered(SHEETS_AT_ONCE).try_collect().await?;
    let stored = read.iter().map(|(_, stored)| stored).sum();
    bytes_read.fetch_add(stored, Ordering::Relaxed);
    Ok(read.into_iter().map(|(sheet, _)| sheet).collect())
}

/// A table's sheet, and the bytes that it takes in the vault itself.
async fn read_sheet(saveset: Saveset, table: usize) -> Result<(TableSheet, u64), FlowError> {
    let listed = &saveset.manifest().contents.tables[table];
    let Some(reference) = &listed.sheet else {
        return Ok((TableSheet::default(), 0));
    };
    let sheet = saveset.sheet(table).await.map_err(|error| {
        let name = listed.plan.name.to_string();
        Place::named(Phase::Data, "reading the sheet of", &name).fault(error)
    })?;
    let own = reference.stored_bytes.saturating_sub(sheet.stored_bytes());
    Ok((sheet, own))
}

/// The steps that change the target. Answers the keys and indexes that could not be made.
async fn steps(
    input: &RestoreInput,
    target: &mut dyn Target,
    loading: &Arc<Loading>,
    loaders: &mut Loaders,
    streams: usize,
) -> Result<Vec<String>, FlowError> {
    let progress = &input.progress;
    let objects = input.saveset.manifest().contents.objects.len() as u64;
    progress.phase_started(Phase::Dictionary, objects);
    let prepared = target.prepare().await;
    prepared
        .map_err(|fault| Place::within(Phase::Dictionary, "preparing the target").fault(fault))?;
    fail_point!("flow::a-target-is-prepared");
    progress.objects_done(Phase::Dictionary, objects);
    progress.phase_done(Phase::Dictionary);

    loading.load_all(target, loaders, streams).await?;
    fail_point!("flow::all-rows-are-loaded");

    progress.phase_started(Phase::Build, 0);
    let built = target.build(streams).await;
    let place = Place::within(Phase::Build, "making indexes and constraints");
    let mut errors = built.map_err(|fault| place.fault(fault))?.errors;
    fail_point!("flow::indexes-are-built");
    progress.phase_done(Phase::Build);

    progress.phase_started(Phase::Postscript, 0);
    let ended = target.postscript().await;
    let place = Place::within(Phase::Postscript, "finishing");
    errors.extend(ended.map_err(|fault| place.fault(fault))?.errors);
    fail_point!("flow::all-but-the-name-is-there");
    progress.phase_done(Phase::Postscript);
    Ok(errors)
}
