//! Reading a database in memory.

use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use model::{
    Basis, BlockIndex, BlockRange, BlockSpan, BlockWriter, CancelOnDrop, ChangedBlocks,
    ChangedBlocksSource, ClosingFacts, DictionaryPart, FRAME_BYTES, ObjectName, ObjectType,
    Outcome, Phase, PieceSink, RowFormat, SavesetObject, SegmentRead, SegmentReader, SegmentTask,
    Source, SourcePlan, SourceRequest, TablePlan,
};
use serde_json::json;

use super::database::{MemoryDatabase, MemoryTable, Schema, now, written};
use super::script::{Stage, Stop, Trouble};
use super::{Alive, Knows, MemoryFault, Shared};

/// A copy of the database as it was when it was opened.
pub(super) struct MemorySource {
    shared: Arc<Shared>,
    name: String,
    database: Arc<MemoryDatabase>,
    request: SourceRequest,
    /// Its living ones.
    readers: Arc<AtomicUsize>,
    /// Every change that it sees was made before.
    time: u64,
}

impl MemorySource {
    pub(super) fn open(shared: &Arc<Shared>, request: SourceRequest) -> Outcome<Self> {
        let name = request.selection.database.last().to_owned();
        let databases = shared.databases.lock().unwrap();
        let mut database = databases
            .get(&name)
            .ok_or_else(|| MemoryFault::NoDatabase(name.clone()))?
            .clone();
        let selection = &request.selection;
        let tables = database.table_names();
        let unmatched = selection.unmatched(tables.map(|table| ("", table, ObjectType::Table)));
        if let Some(missing) = unmatched.chosen.first() {
            return Err(MemoryFault::NoObject(missing.to_string(), name).into());
        }
        for excluded in &unmatched.excluded {
            let warning = format!("nothing in {name} is called {excluded}: it left nothing out");
            request.progress.warning(warning);
        }
        database
            .tables
            .retain(|table, _| selection.takes("", table, ObjectType::Table));
        let settings = shared.settings.lock().unwrap();
        for skipped in &settings.skipped {
            database.tables.remove(&skipped.object);
            request.progress.skipped(skipped.clone());
        }
        for warning in &settings.warnings {
            request.progress.warning(warning.clone());
        }
        Ok(MemorySource {
            time: now(),
            shared: shared.clone(),
            name,
            database: Arc::new(database),
            request,
            readers: Arc::default(),
        })
    }

    fn part(&self, name: &str, text: String) -> DictionaryPart {
        DictionaryPart {
            name: name.to_owned(),
            body: Box::new(Part {
                shared: self.shared.clone(),
                text: Cursor::new(text.into_bytes()),
            }),
        }
    }

    /// Tasks for the tables of which nothing in the base holds.
    fn tasks(&self, basis: &[Basis]) -> Vec<SegmentTask> {
        let step = self.shared.settings.lock().unwrap().blocks_per_segment;
        let mut tasks = Vec::new();
        for (table, MemoryTable { blocks, .. }) in self.database.tables.values().enumerate() {
            if !matches!(basis.get(table), None | Some(Basis::Nothing { .. })) {
                continue;
            }
            let Some((&last, _)) = blocks.last_key_value() else {
                continue;
            };
            for start in (0..=last).step_by(step as usize) {
                let end = start.checked_add(step).filter(|end| *end <= last);
                let range = BlockRange { start, end };
                let within = blocks.iter().filter(|(block, _)| range.contains(**block));
                let bytes = within.flat_map(|(_, rows)| rows).map(|row| written(row));
                tasks.push(SegmentTask {
                    table,
                    blocks: range,
                    estimated_bytes: bytes.sum(),
                    patch: None,
                });
            }
        }
        tasks.sort_by_key(|task| std::cmp::Reverse(task.estimated_bytes));
        tasks
    }

    /// What of the base holds, as the test lets it know.
    fn basis(&self) -> Vec<Basis> {
        let Some(base) = &self.request.base else {
            return Vec::new();
        };
        let knows = self.shared.settings.lock().unwrap().knows.clone();
        let time = base.facts.0["time"].as_u64().unwrap_or(0);
        let tables = self.database.tables.iter();
        let basis = tables.map(|(name, table)| {
            let mut before = base.tables.iter();
            let before = before.position(|before| before.name.last() == name);
            let Some(place) = before.filter(|_| table.is_of(time)) else {
                return Basis::Nothing {
                    why: "the base has another table".to_owned(),
                };
            };
            let extent = table.extent();
            let (mut blocks, holds) = table.changed_since(time);
            match knows.get(name).unwrap_or(&Knows::Exactly) {
                Knows::Exactly => {}
                Knows::TooMuch(every) => blocks.extend((0..extent.blocks).step_by(*every)),
                Knows::Nothing => {
                    return Basis::Compare {
                        base: place,
                        extent,
                    };
                }
                Knows::NoBase => {
                    return Basis::Nothing {
                        why: "it was told so".to_owned(),
                    };
                }
            }
            blocks.remove_range(extent.blocks..);
            Basis::Changed {
                base: place,
                blocks,
                holds,
                extent,
            }
        });
        basis.collect()
    }

    fn objects(&self) -> Vec<SavesetObject> {
        let database = ObjectName::one(self.name.clone());
        let object = |name, object_type, parent_name, table| SavesetObject {
            name,
            object_type,
            parent_name,
            parent_type: ObjectType::Database,
            table,
        };
        let root = ObjectName::one("DBC");
        let itself = object(database.clone(), ObjectType::Database, root, None);
        let tables = self.database.table_names().enumerate().map(|(i, name)| {
            let name = ObjectName::one(name);
            object(name, ObjectType::Table, database.clone(), Some(i))
        });
        std::iter::once(itself).chain(tables).collect()
    }
}

#[async_trait]
impl Source for MemorySource {
    async fn dictionary(&mut self) -> Outcome<Vec<DictionaryPart>> {
        self.shared.script.arrive(Stage::Dictionary).await?;
        let schema = Schema {
            ddl: self.database.ddl.clone(),
            tables: self.database.table_names().map(str::to_owned).collect(),
        };
        let objects = schema.tables.len() as u64;
        let progress = &self.request.progress;
        progress.phase_total(Phase::Dictionary, objects);
        progress.objects_done(Phase::Dictionary, objects);
        Ok(vec![self.part("schema.json", json!(schema).to_string())])
    }

    async fn plan(&mut self) -> Outcome<SourcePlan> {
        self.shared.script.arrive(Stage::Plan).await?;
        let tables = self.database.table_names().map(|name| TablePlan {
            name: ObjectName::one(name),
            format: RowFormat::Binary,
            shape: "1".to_owned(),
            facts: json!({ "kind": "table" }),
        });
        let basis = self.basis();
        let compares = basis
            .iter()
            .any(|basis| matches!(basis, Basis::Compare { .. }));
        let changed_blocks = self.request.base.as_ref().map(|_| match compares {
            true => ChangedBlocks {
                source: ChangedBlocksSource::Hash,
                why: Some("a test said so".to_owned()),
            },
            false => ChangedBlocks {
                source: ChangedBlocksSource::WalSummary,
                why: None,
            },
        });
        Ok(SourcePlan {
            tables: tables.collect(),
            objects: self.objects(),
            tasks: self.tasks(&basis),
            basis,
            changed_blocks,
        })
    }

    async fn reader(&mut self) -> Outcome<Box<dyn SegmentReader>> {
        self.shared.script.arrive(Stage::Reader).await?;
        Ok(Box::new(MemoryReader {
            database: self.database.clone(),
            stop: Stop::default(),
            alive: Alive::new(&self.shared, |shared| &shared.readers, &self.readers),
        }))
    }

    async fn late_dictionary(&mut self) -> Outcome<Vec<DictionaryPart>> {
        self.shared.script.arrive(Stage::LateDictionary).await?;
        let values = json!(self.database.sequences).to_string();
        Ok(vec![self.part("sequences.json", values)])
    }

    async fn finish(self: Box<Self>) -> Outcome<ClosingFacts> {
        self.shared.script.arrive(Stage::Finish).await?;
        if self.readers.load(Ordering::SeqCst) > 0 {
            return Err(MemoryFault::Law("finish while a reader lives".to_owned()).into());
        }
        let facts = json!({
            "version": 1,
            "streams": self.request.streams,
            "time": self.time,
            "identity": self.shared.settings.lock().unwrap().identity,
            "beats": self.request.beats,
        });
        Ok(ClosingFacts(facts))
    }
}

/// A part of the dictionary that passes a stage with each read.
struct Part {
    shared: Arc<Shared>,
    text: Cursor<Vec<u8>>,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let script = &self.shared.script;
        let passed = script.arrive_blocking(Stage::Part, &Stop::default());
        passed.map_err(|fault| io::Error::other(fault.to_string()))?;
        self.text.read(buffer)
    }
}

struct MemoryReader {
    database: Arc<MemoryDatabase>,
    stop: Stop,
    alive: Alive,
}

impl SegmentReader for MemoryReader {
    fn read(&mut self, task: &SegmentTask, sink: &mut dyn PieceSink) -> Outcome<SegmentRead> {
        let mut pieces = Pieces {
            shared: &self.alive.shared,
            stop: &self.stop,
            sink,
        };
        let asked = |block| match &task.patch {
            Some(patch) => patch.blocks.contains(block),
            None => task.blocks.contains(block),
        };
        let mut writer = BlockWriter::new(&mut pieces, task.patch.as_deref());
        let table = self.database.tables.values().nth(task.table);
        let blocks = table.iter().flat_map(|table| &table.blocks);
        for (block, rows) in blocks.filter(|(block, _)| asked(**block)) {
            for row in rows {
                writer.row(*block, written(row))?;
                let length = u32::try_from(row.len()).expect("a row of a test");
                writer.push(&length.to_le_bytes())?;
                writer.push(row)?;
            }
        }
        let mut read = writer.finish()?;
        let script = &self.alive.shared.script;
        match script.arrive_blocking(Stage::Segment, &self.stop)? {
            Some(Trouble::WrongIndex) => {
                let after = read.index.spans().last().map_or(0, |span| span.block + 1);
                read.index.push(BlockSpan {
                    block: after,
                    bytes: 1,
                    rows: 1,
                })?;
            }
            Some(Trouble::NoHashes) => {
                let mut bare = BlockIndex::new();
                for span in read.index.spans() {
                    bare.push(*span)?;
                }
                read.index = bare;
            }
            _ => {}
        }
        Ok(read)
    }

    fn canceller(&self) -> CancelOnDrop {
        let stop = self.stop.clone();
        CancelOnDrop::new(move || stop.set())
    }
}

/// Holds whoever lends buffers to the laws of the seam.
struct Pieces<'a> {
    shared: &'a Shared,
    stop: &'a Stop,
    sink: &'a mut dyn PieceSink,
}

impl PieceSink for Pieces<'_> {
    fn buffer(&mut self) -> Outcome<Vec<u8>> {
        let buffer = self.sink.buffer()?;
        if !buffer.is_empty() || buffer.capacity() < FRAME_BYTES {
            let law = "a lent buffer is not empty, or has no room for a frame";
            return Err(MemoryFault::Law(law.to_owned()).into());
        }
        let address = buffer.as_ptr().addr();
        self.shared.buffers.lock().unwrap().insert(address);
        Ok(buffer)
    }

    fn full(&mut self, buffer: Vec<u8>) -> Outcome<()> {
        let script = &self.shared.script;
        script.arrive_blocking(Stage::Piece, self.stop)?;
        self.sink.full(buffer)
    }
}
