//! A restore, from the open targets to the published databases: the mirror of a backup.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fail::fail_point;
use futures::{StreamExt, TryStreamExt};
use model::{
    Connection, Credentials, DatabaseSelection, Engine, Findings, ObjectName, Phase, Progress,
    Published, RestoreRequest, RestoreTable, ServerExecutionId, Target,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use vault::Saveset;

use crate::FlowError;
use crate::dictionary::SavesetDictionary;
use crate::discard::discard;
use crate::error::Place;
use crate::loaders::{Loaders, Loading, Sheet, stop};
use crate::slots::Slots;
use crate::supervise::{caught, supervised, until_cancelled};
use crate::witness::Witness;

/// Sheets that are read at the same time.
const SHEETS_AT_ONCE: usize = 4;

/// One database to restore, or a part of it.
#[derive(Debug, Clone)]
pub struct DatabaseRestore {
    /// The database in the saveset, and what of it.
    pub selection: DatabaseSelection,
    /// Its name on the target.
    pub target_database: ObjectName,
}

/// How to restore.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
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
    /// Which databases of it, and what they are called on the target: at least one. All are made one
    /// after the other, and put into their places at the very end.
    pub databases: Vec<DatabaseRestore>,
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
    /// Where the objects are now, in the order in which they were asked for.
    pub published: Vec<Published>,
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
    let mut all = Findings::default();
    for place in places(input)? {
        let mut target = open_target(input, place, streams, &Arc::default()).await?;
        let found = findings(&mut *target).await?;
        all.obstacles.extend(found.obstacles);
        all.warnings.extend(found.warnings);
        all.steps.extend(found.steps);
        all.bytes_needed += found.bytes_needed;
    }
    Ok(all)
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
    let witness = Arc::new(Witness::new(input.progress));
    input.progress = witness.clone();
    let bytes_read = Arc::new(AtomicU64::new(0));
    let opening = until_cancelled(&cancel, "opening the target", open(&input, &bytes_read));
    let (slots, targets) = opening.await?;
    let mut run = Run {
        input: &input,
        witness: &witness,
        streams: slots.count(),
        bytes_read: bytes_read.clone(),
        rows: Arc::default(),
        loaders: Loaders::new(),
        waiting: targets.into(),
        begun: Vec::new(),
    };
    let done = until_cancelled(&cancel, "restoring", run.all()).await;
    stop(&mut run.loaders).await;
    let (rows, begun) = (run.rows, run.begun);
    let errors = match done {
        Ok(errors) => errors,
        Err(error) => return Err(discard(begun, error, &cancel).await),
    };
    Ok(RestoreOutcome {
        published: publish(begun, &cancel).await?,
        errors,
        bytes_read: bytes_read.load(Ordering::Relaxed),
        rows: rows.load(Ordering::Relaxed),
    })
}

/// Puts one after the other in its place. One that fails cleans up itself; those behind it are
/// discarded, and those before it are where they belong already.
async fn publish(
    targets: Vec<Box<dyn Target>>,
    cancel: &CancellationToken,
) -> Result<Vec<Published>, FlowError> {
    let mut published = Vec::with_capacity(targets.len());
    let mut targets = targets.into_iter();
    while let Some(target) = targets.next() {
        let place = || Place::outside("putting the result in its place");
        let publishing = async { target.publish().await.map_err(|fault| place().fault(fault)) };
        match caught(place(), publishing).await {
            Ok(one) => published.push(one),
            Err(error) => {
                let error = discard(targets.collect(), error, cancel).await;
                return Err(match published.is_empty() {
                    true => error,
                    false => FlowError::PartlyPublished {
                        first: Box::new(error),
                        published,
                    },
                });
            }
        }
    }
    Ok(published)
}

/// A database of the restore by its places in the request and in the saveset.
#[derive(Clone, Copy)]
struct InSaveset {
    asked: usize,
    saved: usize,
}

fn places(input: &RestoreInput) -> Result<Vec<InSaveset>, FlowError> {
    let contents = &input.saveset.manifest().contents;
    let asked = input.databases.iter().enumerate();
    let places = asked.map(|(asked, database)| {
        let name = &database.selection.database;
        let saved = contents.place_of(name);
        let saved = saved.ok_or_else(|| FlowError::NotInSaveset {
            saveset: input.saveset.id(),
            database: name.clone(),
        })?;
        Ok(InSaveset { asked, saved })
    });
    let places: Vec<InSaveset> = places.collect::<Result<_, FlowError>>()?;
    match places.is_empty() {
        true => Err(FlowError::NoDatabase),
        false => Ok(places),
    }
}

/// Everything that changes nothing: streams, the targets, what is in their way.
async fn open(
    input: &RestoreInput,
    bytes_read: &Arc<AtomicU64>,
) -> Result<(Slots, Vec<(InSaveset, Box<dyn Target>)>), FlowError> {
    let slots = Slots::acquire(&input.limits, input.streams).await?;
    let mut targets = Vec::new();
    let mut obstacles = Vec::new();
    for place in places(input)? {
        let mut target = open_target(input, place, slots.count(), bytes_read).await?;
        let found = findings(&mut *target).await?;
        for warning in found.warnings {
            input.progress.warning(warning);
        }
        obstacles.extend(found.obstacles);
        targets.push((place, target));
    }
    match obstacles.is_empty() {
        true => Ok((slots, targets)),
        false => Err(FlowError::InTheWay(obstacles)),
    }
}

async fn findings(target: &mut dyn Target) -> Result<Findings, FlowError> {
    let found = target.findings().await;
    found.map_err(|fault| Place::outside("looking at the target").fault(fault))
}

async fn open_target(
    input: &RestoreInput,
    place: InSaveset,
    streams: usize,
    bytes_read: &Arc<AtomicU64>,
) -> Result<Box<dyn Target>, FlowError> {
    let contents = &input.saveset.manifest().contents;
    let saved = &contents.databases[place.saved];
    let asked = &input.databases[place.asked];
    let (options, progress) = (&input.options, &input.progress);
    let (saveset, bytes_read) = (input.saveset.clone(), bytes_read.clone());
    let dictionary = SavesetDictionary::new(saveset, place.saved, progress.clone(), bytes_read);
    let tables = saved.tables.iter().map(|table| RestoreTable {
        plan: table.plan.clone(),
        rows: table.rows,
        bytes: table.plain_bytes,
    });
    let request = RestoreRequest {
        source_type: contents.site_type,
        selection: asked.selection.clone(),
        saved: saved.selection.clone(),
        target_database: asked.target_database.clone(),
        as_copy: options.as_copy,
        replace_existing: options.replace_existing,
        skip_statistics: options.skip_statistics,
        skip_indexes: options.skip_indexes,
        streams,
        server_execution_id: input.server_execution_id,
        earlier: input.earlier.clone(),
        tables: tables.collect(),
        objects: saved.objects.clone(),
        facts: saved.facts.clone(),
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

/// The steps that change the targets, and what is left of them when they are stopped.
struct Run<'a> {
    input: &'a RestoreInput,
    witness: &'a Witness,
    streams: usize,
    bytes_read: Arc<AtomicU64>,
    rows: Arc<AtomicU64>,
    loaders: Loaders,
    /// Nothing of them was made yet.
    waiting: VecDeque<(InSaveset, Box<dyn Target>)>,
    /// Something of them is there, or may be.
    begun: Vec<Box<dyn Target>>,
}

impl Run<'_> {
    /// Makes one database after the other. Answers the keys and indexes that could not be made.
    async fn all(&mut self) -> Result<Vec<String>, FlowError> {
        let mut errors = Vec::new();
        while let Some((place, target)) = self.waiting.pop_front() {
            let asked = &self.input.databases[place.asked];
            let is_last = self.waiting.is_empty();
            self.witness
                .begin_database(&asked.selection.database, is_last);
            let tables = 0..self.input.saveset.databases()[place.saved].tables.len();
            let wanted = tables.map(|table| target.wants(table)).collect();
            // Damage in what is wanted is found before anything is made.
            let bytes_read = &self.bytes_read;
            let loading = loading(self.input, place.saved, wanted, bytes_read, &self.rows);
            let loading = loading.await?;
            self.begun.push(target);
            errors.extend(self.one(place, loading).await?);
        }
        Ok(errors)
    }

    /// The database that was begun last.
    async fn one(
        &mut self,
        place: InSaveset,
        loading: Arc<Loading>,
    ) -> Result<Vec<String>, FlowError> {
        let progress = &self.input.progress;
        let target = self.begun.last_mut().ok_or(FlowError::NoDatabase)?;
        let objects = self.input.saveset.databases()[place.saved].objects.len() as u64;
        progress.phase_started(Phase::Dictionary, objects);
        let prepared = target.prepare().await;
        prepared.map_err(|fault| {
            Place::within(Phase::Dictionary, "preparing the target").fault(fault)
        })?;
        fail_point!("flow::a-target-is-prepared");
        progress.objects_done(Phase::Dictionary, objects);
        progress.phase_done(Phase::Dictionary);

        let (loaders, streams) = (&mut self.loaders, self.streams);
        loading.load_all(&mut **target, loaders, streams).await?;
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
}

/// Reads the sheets of what is wanted.
async fn loading(
    input: &RestoreInput,
    database: usize,
    wanted: Vec<bool>,
    bytes_read: &Arc<AtomicU64>,
    rows: &Arc<AtomicU64>,
) -> Result<Arc<Loading>, FlowError> {
    let count = wanted.iter().filter(|wanted| **wanted).count() as u64;
    let sheets = read_sheets(&input.saveset, database, wanted, bytes_read).await?;
    Ok(Arc::new(Loading::new(
        input.saveset.clone(),
        database,
        sheets,
        count,
        input.progress.clone(),
        bytes_read.clone(),
        rows.clone(),
    )))
}

/// The sheets of a database's tables, in their order; an empty one for a table without one, and
/// for one that is not wanted.
async fn read_sheets(
    saveset: &Saveset,
    database: usize,
    wanted: Vec<bool>,
    bytes_read: &AtomicU64,
) -> Result<Vec<Sheet>, FlowError> {
    let tables = wanted.into_iter().enumerate();
    let reading = futures::stream::iter(tables.map(|(table, wanted)| {
        let saveset = saveset.clone();
        async move {
            match wanted {
                true => read_sheet(saveset, database, table).await,
                false => Ok((Sheet::default(), 0)),
            }
        }
    }));
    let read: Vec<(Sheet, u64)> = reading.buffered(SHEETS_AT_ONCE).try_collect().await?;
    let stored = read.iter().map(|(_, stored)| stored).sum();
    bytes_read.fetch_add(stored, Ordering::Relaxed);
    Ok(read.into_iter().map(|(sheet, _)| sheet).collect())
}

/// A table's sheet with its patches, and the bytes that the sheet itself takes in the vault.
async fn read_sheet(
    saveset: Saveset,
    database: usize,
    table: usize,
) -> Result<(Sheet, u64), FlowError> {
    let listed = &saveset.databases()[database].tables[table];
    let Some(reference) = &listed.sheet else {
        return Ok((Sheet::default(), 0));
    };
    let reading = async {
        let sheet = saveset.sheet(database, table).await?;
        let patches = saveset.patches(&sheet).await?;
        Ok((sheet, Arc::new(patches)))
    };
    let (sheet, patches) = reading.await.map_err(|error: vault::VaultError| {
        let name = listed.plan.name.to_string();
        Place::named(Phase::Data, "reading the sheet of", &name).fault(error)
    })?;
    let own = reference.stored_bytes.saturating_sub(sheet.stored_bytes());
    Ok(((sheet, patches), own))
}
