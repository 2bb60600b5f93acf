//! An engine whose databases are maps in memory, for the tests of `flow` and `jobs`.
//!
//! It keeps the laws of the seams and holds its callers to them: `finish` while a reader lives, or
//! `build` while a loader lives, is an error. Every call passes a [`Stage`]; a test says at which
//! one something goes wrong ([`MemoryEngine::trouble`]) and waits until one is reached
//! ([`MemoryEngine::reached`]).
//!
//! A row is written as its length in four bytes, little end first, and its bytes.

mod database;
mod script;
mod source;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use model::{
    Beat, Blame, BrowsedObject, CheckReport, ClosingFacts, Connection, Credentials, Engine, Fault,
    MissingRight, ObjectName, ObjectType, Obstacle, Outcome, Parent, RestoreRequest, Retry,
    SiteType, SkippedObject, Source, SourceRequest, Target,
};

pub use database::{Contents, MemoryDatabase};
pub use script::{Stage, Trouble};

use script::Script;

/// What goes wrong in memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryFault {
    /// A test asked for it.
    #[error("injected at {0}")]
    Injected(Stage),
    /// A test asked for it; the run should begin anew.
    #[error("injected at {0}: the catalog changed while rows were read")]
    Mixed(Stage),
    /// The canceller was dropped.
    #[error("the read was cancelled")]
    Cancelled,
    /// There is no such database.
    #[error("there is no database {0}")]
    NoDatabase(String),
    /// There is no such object in the database.
    #[error("there is no {0} in the database {1}")]
    NoObject(String, String),
    /// A caller broke a law of the seams.
    #[error("a law of the seams is broken: {0}")]
    Law(String),
    /// The bytes that arrived are no rows.
    #[error("what arrived for table {0} are no rows")]
    NoRows(String),
}

impl Fault for MemoryFault {
    fn code(&self) -> &'static str {
        match self {
            MemoryFault::Injected(_) => "memory-injected",
            MemoryFault::Mixed(_) => "memory-mixed",
            MemoryFault::Cancelled => "memory-cancelled",
            MemoryFault::NoDatabase(_) => "no-such-database",
            MemoryFault::NoObject(..) => "no-such-object",
            MemoryFault::Law(_) => "memory-law",
            MemoryFault::NoRows(_) => "memory-no-rows",
        }
    }

    fn blame(&self) -> Blame {
        match self {
            MemoryFault::NoDatabase(_) | MemoryFault::NoObject(..) => Blame::Missing,
            MemoryFault::Law(_) => Blame::Bug,
            _ => Blame::Source,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            MemoryFault::Mixed(_) => Retry::NewAttempt,
            MemoryFault::Injected(_) => Retry::Later,
            _ => Retry::Never,
        }
    }
}

/// An engine in memory. Clones are the same engine.
#[derive(Clone)]
pub struct MemoryEngine {
    shared: Arc<Shared>,
}

struct Shared {
    site_type: SiteType,
    databases: Mutex<BTreeMap<String, MemoryDatabase>>,
    /// What restores under way have made.
    working: Mutex<BTreeMap<String, MemoryDatabase>>,
    settings: Mutex<Settings>,
    script: Script,
    /// The addresses of all buffers that readers were lent.
    buffers: Mutex<BTreeSet<usize>>,
    readers: AtomicUsize,
    loaders: AtomicUsize,
}

#[derive(Clone)]
struct Settings {
    blocks_per_segment: u32,
    warnings: Vec<String>,
    skipped: Vec<SkippedObject>,
    obstacles: Vec<Obstacle>,
    build_errors: Vec<String>,
    missing_rights: Vec<MissingRight>,
    /// By table.
    knows: BTreeMap<String, Knows>,
    /// Who the database system is.
    identity: u64,
    beats: bool,
}

/// What a source knows of the blocks of a table that changed since the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knows {
    /// Which ones.
    Exactly,
    /// Which ones, and it takes every nth block for changed too.
    TooMuch(usize),
    /// Nothing: all blocks are compared.
    Nothing,
    /// That nothing of the base holds.
    NoBase,
}

impl MemoryEngine {
    /// An engine without databases that passes for one of that type.
    pub fn new(site_type: SiteType) -> Self {
        MemoryEngine {
            shared: Arc::new(Shared {
                site_type,
                databases: Mutex::default(),
                working: Mutex::default(),
                settings: Mutex::new(Settings {
                    blocks_per_segment: 4,
                    warnings: Vec::new(),
                    skipped: Vec::new(),
                    obstacles: Vec::new(),
                    build_errors: Vec::new(),
                    missing_rights: Vec::new(),
                    knows: BTreeMap::new(),
                    identity: 1,
                    beats: false,
                }),
                script: Script::new(),
                buffers: Mutex::default(),
                readers: AtomicUsize::new(0),
                loaders: AtomicUsize::new(0),
            }),
        }
    }

    /// Puts a database there, or replaces it.
    pub fn put_database(&self, name: &str, database: MemoryDatabase) {
        let mut databases = self.shared.databases.lock().unwrap();
        databases.insert(name.to_owned(), database);
    }

    /// Takes a database away, as somebody else would.
    pub fn drop_database(&self, name: &str) {
        self.shared.databases.lock().unwrap().remove(name);
    }

    /// Changes a database that is there.
    ///
    /// # Panics
    /// If it is not.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut MemoryDatabase)) {
        let mut databases = self.shared.databases.lock().unwrap();
        change(databases.get_mut(name).expect("the database is there"));
    }

    /// What sources know of a table's changed blocks from now on; exactly which ones, if nothing is said.
    pub fn knows(&self, table: &str, knows: Knows) {
        let mut settings = self.shared.settings.lock().unwrap();
        settings.knows.insert(table.to_owned(), knows);
    }

    /// The database system is another one from now on, whatever it holds.
    pub fn make_anew(&self) {
        self.shared.settings.lock().unwrap().identity += 1;
    }

    /// It has a use for beats from now on.
    pub fn wants_beats(&self) {
        self.shared.settings.lock().unwrap().beats = true;
    }

    /// What is in a database; `None` if there is none of that name.
    pub fn contents(&self, name: &str) -> Option<Contents> {
        let databases = self.shared.databases.lock().unwrap();
        databases.get(name).map(MemoryDatabase::contents)
    }

    /// The names of all databases.
    pub fn database_names(&self) -> Vec<String> {
        let databases = self.shared.databases.lock().unwrap();
        databases.keys().cloned().collect()
    }

    /// What restores have made and neither published nor taken away.
    pub fn working_names(&self) -> Vec<String> {
        let working = self.shared.working.lock().unwrap();
        working.keys().cloned().collect()
    }

    /// How many blocks a segment has from now on.
    pub fn blocks_per_segment(&self, blocks: u32) {
        self.shared.settings.lock().unwrap().blocks_per_segment = blocks.max(1);
    }

    /// A warning that each source tells from now on.
    pub fn warn(&self, text: &str) {
        let mut settings = self.shared.settings.lock().unwrap();
        settings.warnings.push(text.to_owned());
    }

    /// A table that each source leaves out from now on, and why.
    pub fn skip(&self, table: &str, reason: &str) {
        let mut settings = self.shared.settings.lock().unwrap();
        settings.skipped.push(SkippedObject {
            object: table.to_owned(),
            reason: reason.to_owned(),
        });
    }

    /// Something that each target finds in its way from now on.
    pub fn obstacle(&self, obstacle: Obstacle) {
        let mut settings = self.shared.settings.lock().unwrap();
        settings.obstacles.push(obstacle);
    }

    /// A right that every restore lacks.
    pub fn missing_right(&self, right: MissingRight) {
        self.shared
            .settings
            .lock()
            .unwrap()
            .missing_rights
            .push(right);
    }

    /// A key that no target can make from now on.
    pub fn build_error(&self, text: &str) {
        let mut settings = self.shared.settings.lock().unwrap();
        settings.build_errors.push(text.to_owned());
    }

    /// What goes wrong the nth time (from 1) that a stage is reached from now on.
    pub fn trouble(&self, stage: Stage, nth: usize, trouble: Trouble) {
        self.shared.script.trouble(stage, nth, trouble);
    }

    /// Takes all troubles away and lets what hangs go on.
    pub fn heal(&self) {
        self.shared.script.heal();
    }

    /// How often a stage was reached.
    pub fn count(&self, stage: Stage) -> usize {
        self.shared.script.count(stage)
    }

    /// Ready when a stage was reached `times` times, all in all.
    pub async fn reached(&self, stage: Stage, times: usize) {
        self.shared.script.reached(stage, times).await;
    }

    /// How many different buffers readers were lent, all in all.
    pub fn buffers_lent(&self) -> usize {
        self.shared.buffers.lock().unwrap().len()
    }

    /// Readers that live.
    pub fn readers(&self) -> usize {
        self.shared.readers.load(Ordering::SeqCst)
    }

    /// Loaders that live.
    pub fn loaders(&self) -> usize {
        self.shared.loaders.load(Ordering::SeqCst)
    }
}

/// Counts a living reader or loader, in the whole engine and in its own source or target.
struct Alive {
    shared: Arc<Shared>,
    all: fn(&Shared) -> &AtomicUsize,
    siblings: Arc<AtomicUsize>,
}

impl Alive {
    fn new(
        shared: &Arc<Shared>,
        all: fn(&Shared) -> &AtomicUsize,
        siblings: &Arc<AtomicUsize>,
    ) -> Self {
        all(shared).fetch_add(1, Ordering::SeqCst);
        siblings.fetch_add(1, Ordering::SeqCst);
        Alive {
            shared: shared.clone(),
            all,
            siblings: siblings.clone(),
        }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        (self.all)(&self.shared).fetch_sub(1, Ordering::SeqCst);
        self.siblings.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Engine for MemoryEngine {
    fn site_type(&self) -> SiteType {
        self.shared.site_type
    }

    async fn check(&self, _: &Connection, _: usize) -> Outcome<CheckReport> {
        Ok(CheckReport {
            version: Some("Memory 1".to_owned()),
            findings: Vec::new(),
        })
    }

    async fn browse(&self, _: &Connection, parent: &Parent) -> Outcome<Vec<BrowsedObject>> {
        let databases = self.shared.databases.lock().unwrap();
        let browsed = |name: &str, object_type, parent: &ObjectName| BrowsedObject {
            name: ObjectName::one(name),
            object_type,
            parent_name: parent.clone(),
            parent_type: ObjectType::Database,
            byte_count: None,
        };
        match parent {
            Parent::Root => {
                let root = ObjectName::one("DBC");
                let names = databases.keys();
                Ok(names
                    .map(|name| browsed(name, ObjectType::Database, &root))
                    .collect())
            }
            Parent::Database(name) => {
                let database = databases
                    .get(name.last())
                    .ok_or_else(|| MemoryFault::NoDatabase(name.to_string()))?;
                let tables = database.table_names();
                Ok(tables
                    .map(|table| browsed(table, ObjectType::Table, name))
                    .collect())
            }
        }
    }

    async fn open_source(
        &self,
        _: &Connection,
        request: SourceRequest,
    ) -> Outcome<Box<dyn Source>> {
        self.shared.script.arrive(Stage::OpenSource).await?;
        Ok(Box::new(source::MemorySource::open(&self.shared, request)?))
    }

    /// The number of the call.
    async fn beat(&self, _: &Connection) -> Outcome<Option<Beat>> {
        self.shared.script.arrive(Stage::Beat).await?;
        let wanted = self.shared.settings.lock().unwrap().beats;
        let number = self.shared.script.count(Stage::Beat);
        Ok(wanted.then(|| Beat(number.into())))
    }

    async fn made_anew(&self, _: &Connection, facts: &ClosingFacts) -> Outcome<Option<String>> {
        let now = self.shared.settings.lock().unwrap().identity;
        let before = facts.0["identity"].as_u64();
        Ok((before != Some(now)).then(|| format!("its identity is {now}")))
    }

    async fn restore_permissions(
        &self,
        _: &Connection,
        _: Option<&Credentials>,
    ) -> Outcome<Vec<MissingRight>> {
        let settings = self.shared.settings.lock().unwrap();
        Ok(settings.missing_rights.clone())
    }

    async fn open_target(
        &self,
        _: &Connection,
        _: Option<&Credentials>,
        request: RestoreRequest,
    ) -> Outcome<Box<dyn Target>> {
        self.shared.script.arrive(Stage::OpenTarget).await?;
        Ok(Box::new(target::MemoryTarget::open(&self.shared, request)))
    }

    /// An export stays in memory too: the database of the request's name.
    async fn open_export(
        &self,
        _: &model::ExportPlace,
        request: RestoreRequest,
    ) -> Outcome<Box<dyn Target>> {
        self.shared.script.arrive(Stage::OpenTarget).await?;
        Ok(Box::new(target::MemoryTarget::open(&self.shared, request)))
    }
}

#[cfg(test)]
mod tests;
