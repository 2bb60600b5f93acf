//! Restoring into memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use model::{
    Findings, LoadTask, ObjectName, ObjectType, Obstacle, Outcome, Phase, Published,
    RestoreRequest, RowStream, Scope, SegmentLoader, ServerExecutionId, StepReport, Target,
};

use super::database::{MemoryDatabase, MemoryTable, Schema};
use super::script::{Stage, Trouble};
use super::{Alive, MemoryFault, Shared};

/// Works under the name of the execution, and takes its real name at the end.
pub(super) struct MemoryTarget {
    shared: Arc<Shared>,
    request: RestoreRequest,
    working: String,
    /// Its living ones.
    loaders: Arc<AtomicUsize>,
}

impl MemoryTarget {
    pub(super) fn open(shared: &Arc<Shared>, request: RestoreRequest) -> Self {
        MemoryTarget {
            shared: shared.clone(),
            working: working_name(&request, request.server_execution_id),
            request,
            loaders: Arc::default(),
        }
    }

    async fn part(&self, name: &str) -> Outcome<Vec<u8>> {
        let mut text = Vec::new();
        if self.request.dictionary.write_to(name, &mut text).await? {
            Ok(text)
        } else {
            Err(MemoryFault::Law(format!("the saveset has no {name}")).into())
        }
    }

    /// What a table of the saveset is called on the target; `None`: it is not wanted.
    fn new_name(&self, table: &str) -> Option<String> {
        let selection = &self.request.selection;
        if !selection.takes("", table, ObjectType::Table) {
            return None;
        }
        let chosen = selection.chosen("", table, ObjectType::Table);
        let renamed = chosen.and_then(|chosen| chosen.rename_to.as_ref());
        Some(renamed.map_or(table, ObjectName::last).to_owned())
    }

    /// The tables of the saveset that are wanted, and what they will be called.
    fn wanted(&self) -> impl Iterator<Item = (&str, String)> {
        let tables = self
            .request
            .tables
            .iter()
            .map(|table| table.plan.name.last());
        tables.filter_map(|table| Some((table, self.new_name(table)?)))
    }

    fn is_part(&self) -> bool {
        matches!(self.request.selection.scope, Scope::Only(_))
    }

    /// Chosen objects go into a database that is there, and only a table of the same name is in
    /// their way.
    fn own_obstacle(&self) -> Option<Obstacle> {
        let databases = self.shared.databases.lock().unwrap();
        let target = self.request.target_database.last();
        if self.is_part() {
            let there = databases.get(target)?;
            let mut wanted = self.wanted();
            let (_, taken) = wanted.find(|(_, name)| there.tables.contains_key(name))?;
            return (!self.request.replace_existing).then(|| Obstacle {
                code: "target-exists".to_owned(),
                detail: format!("the database {target} has a table {taken}"),
                remedy: Some("send \"replace_existing\": true".to_owned()),
            });
        }
        let filled = databases.get(target).is_some_and(|there| !there.is_empty());
        (filled && !self.request.replace_existing).then(|| Obstacle {
            code: "target-not-empty".to_owned(),
            detail: format!("the database {target} has tables"),
            remedy: Some("send \"replace_existing\": true".to_owned()),
        })
    }
}

#[async_trait]
impl Target for MemoryTarget {
    async fn findings(&mut self) -> Outcome<Findings> {
        self.shared.script.arrive(Stage::Findings).await?;
        let mut obstacles = self.shared.settings.lock().unwrap().obstacles.clone();
        obstacles.extend(self.own_obstacle());
        Ok(Findings {
            obstacles,
            warnings: Vec::new(),
            steps: vec![format!("make {}", self.request.target_database)],
            bytes_needed: self.request.tables.iter().map(|table| table.bytes).sum(),
        })
    }

    fn wants(&self, table: usize) -> bool {
        let name = self.request.tables[table].plan.name.last();
        self.new_name(name).is_some()
    }

    async fn prepare(&mut self) -> Outcome<()> {
        let schema = self.part("schema.json").await?;
        let schema: Schema = serde_json::from_slice(&schema)
            .map_err(|error| MemoryFault::Law(format!("schema.json: {error}")))?;
        let mut made = MemoryDatabase::new().ddl(&schema.ddl);
        for table in schema.tables {
            if let Some(name) = self.new_name(&table) {
                made.tables.insert(name, MemoryTable::made_now());
            }
        }
        for earlier in &self.request.earlier {
            let left = working_name(&self.request, *earlier);
            self.shared.working.lock().unwrap().remove(&left);
        }
        let name = self.working.clone();
        self.shared.working.lock().unwrap().insert(name, made);
        // Behind the making, so that a test finds something to discard.
        self.shared.script.arrive(Stage::Prepare).await?;
        Ok(())
    }

    async fn loader(&mut self) -> Outcome<Box<dyn SegmentLoader>> {
        self.shared.script.arrive(Stage::Loader).await?;
        let tables = self.request.tables.iter();
        let names = tables.map(|table| self.new_name(table.plan.name.last()));
        Ok(Box::new(MemoryLoader {
            tables: names.collect(),
            working: self.working.clone(),
            alive: Alive::new(&self.shared, |shared| &shared.loaders, &self.loaders),
        }))
    }

    async fn build(&mut self, _: usize) -> Outcome<StepReport> {
        self.shared.script.arrive(Stage::Build).await?;
        if self.loaders.load(Ordering::SeqCst) > 0 {
            return Err(MemoryFault::Law("build while a loader lives".to_owned()).into());
        }
        self.request.progress.phase_total(Phase::Build, 1);
        self.request.progress.objects_done(Phase::Build, 1);
        let errors = self.shared.settings.lock().unwrap().build_errors.clone();
        Ok(StepReport { errors })
    }

    async fn postscript(&mut self) -> Outcome<StepReport> {
        self.shared.script.arrive(Stage::Postscript).await?;
        let values = self.part("sequences.json").await?;
        let values = serde_json::from_slice(&values)
            .map_err(|error| MemoryFault::Law(format!("sequences.json: {error}")))?;
        let mut working = self.shared.working.lock().unwrap();
        if let Some(database) = working.get_mut(&self.working)
            && !self.is_part()
        {
            database.sequences = values;
        }
        Ok(StepReport::default())
    }

    async fn publish(self: Box<Self>) -> Outcome<Published> {
        let passed = self.shared.script.arrive(Stage::Publish).await;
        let mut working = self.shared.working.lock().unwrap();
        if let Err(fault) = passed {
            // Nobody can discard it any more.
            working.remove(&self.working);
            return Err(fault);
        }
        let made = working
            .remove(&self.working)
            .ok_or_else(|| MemoryFault::Law("publish before prepare".to_owned()))?;
        let database = self.request.target_database.clone();
        let mut databases = self.shared.databases.lock().unwrap();
        if self.is_part()
            && let Some(there) = databases.get_mut(database.last())
        {
            there.tables.extend(made.tables);
            return Ok(Published {
                database,
                kept: None,
            });
        }
        let kept = databases.remove(database.last()).map(|before| {
            let name = format!("{}.kept.{}", database, self.request.server_execution_id);
            databases.insert(name.clone(), before);
            ObjectName::one(name)
        });
        databases.insert(database.last().to_owned(), made);
        Ok(Published { database, kept })
    }

    async fn discard(self: Box<Self>) -> Outcome<()> {
        self.shared.script.arrive(Stage::Discard).await?;
        self.shared.working.lock().unwrap().remove(&self.working);
        Ok(())
    }
}

fn working_name(request: &RestoreRequest, execution: ServerExecutionId) -> String {
    format!("backstay_{execution}_{}", request.target_database.last())
}

struct MemoryLoader {
    /// What they are called on the target; `None`: not wanted.
    tables: Vec<Option<String>>,
    working: String,
    alive: Alive,
}

#[async_trait]
impl SegmentLoader for MemoryLoader {
    async fn load(&mut self, task: &LoadTask, rows: &mut dyn RowStream) -> Outcome<u64> {
        let shared = &self.alive.shared;
        let table = self.tables[task.table]
            .as_deref()
            .ok_or_else(|| MemoryFault::Law("a table is loaded that is not wanted".to_owned()))?;
        let mut bytes = Vec::new();
        while let Some(piece) = rows.next().await? {
            let trouble = shared.script.arrive(Stage::Load).await?;
            bytes.extend_from_slice(&piece);
            if trouble == Some(Trouble::LeaveRest) {
                return Ok(task.rows);
            }
        }
        let trouble = shared.script.arrive(Stage::Loaded).await?;
        let fewer = trouble == Some(Trouble::CountFewer);
        let rows = parse(&bytes).ok_or_else(|| MemoryFault::NoRows(table.to_owned()))?;
        let count = rows.len() as u64 - u64::from(fewer);
        let mut working = shared.working.lock().unwrap();
        let loaded = working
            .get_mut(&self.working)
            .and_then(|database| database.tables.get_mut(table))
            .ok_or_else(|| MemoryFault::Law(format!("load before prepare: {table}")))?;
        if !loaded.load(task.blocks.start, rows) {
            let law = format!("{table}, {}, is loaded twice", task.blocks);
            return Err(MemoryFault::Law(law).into());
        }
        Ok(count)
    }
}

/// The rows, if the bytes are whole rows.
fn parse(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut rows = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_at_checked(4)?;
        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
        let (row, rest) = rest.split_at_checked(length)?;
        rows.push(row.to_vec());
        bytes = rest;
    }
    Some(rows)
}
