//! Reading a whole backup into memory, as flow does it, without sealing it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine_postgres::{PostgresEngine, PostgresOptions};
use model::{
    Base, Beat, BlockIndex, BoxFault, ClosingFacts, Connection, DatabaseSelection, DictionaryPart,
    Engine, FRAME_BYTES, ObjectName, Outcome, PieceSink, RowFormat, SegmentReader, SegmentTask,
    Source, SourcePlan, SourceRequest,
};
use testkit::RecordedProgress;
use testkit::postgres::{SUPERUSER, Server};

/// An engine that uses the server's own programs.
pub fn engine(server: &Server) -> PostgresEngine {
    PostgresEngine::new(PostgresOptions {
        tool_directories: vec![server.tools_dir().to_owned()],
        ..PostgresOptions::default()
    })
}

/// The server as that role, over its socket.
pub fn connection(server: &Server, user: &str) -> Connection {
    Connection::Postgresql {
        url: server.url("postgres", user),
        password: None,
    }
}

/// What a test may change about a backup.
pub struct Reading<'a> {
    pub server: &'a Server,
    pub selection: DatabaseSelection,
    pub online: bool,
    pub streams: usize,
    pub yield_to_ddl: Option<Duration>,
    pub max_snapshot: Option<Duration>,
    pub skip_without_rights: bool,
    pub lock_patience: Option<Duration>,
    pub transaction_patience: Option<Duration>,
    pub base: Option<Arc<Base>>,
    pub beats: Vec<Beat>,
    pub user: &'a str,
    pub progress: Arc<RecordedProgress>,
}

impl<'a> Reading<'a> {
    /// Two streams, as the least-rights role.
    pub fn new(server: &'a Server, database: &'a str) -> Self {
        Reading {
            server,
            selection: DatabaseSelection::whole(ObjectName::one(database)),
            online: true,
            streams: 2,
            yield_to_ddl: None,
            max_snapshot: None,
            skip_without_rights: false,
            lock_patience: None,
            transaction_patience: None,
            base: None,
            beats: Vec::new(),
            user: server.least_rights_role().backup,
            progress: Arc::new(RecordedProgress::new()),
        }
    }

    pub async fn open(&self) -> Outcome<Box<dyn Source>> {
        let request = SourceRequest {
            selection: self.selection.clone(),
            online: self.online,
            streams: self.streams,
            server_execution_id: "121.1".parse().unwrap(),
            yield_to_ddl: self.yield_to_ddl,
            max_snapshot: self.max_snapshot,
            skip_without_rights: self.skip_without_rights,
            base: self.base.clone(),
            beats: self.beats.clone(),
            progress: self.progress.clone(),
        };
        let connection = connection(self.server, self.user);
        let engine = PostgresEngine::new(PostgresOptions {
            tool_directories: vec![self.server.tools_dir().to_owned()],
            lock_patience: self.lock_patience,
            transaction_patience: self.transaction_patience,
            ..PostgresOptions::default()
        });
        engine.open_source(&connection, request).await
    }

    /// Everything, from the first lock to the closing facts.
    pub async fn read(&self) -> Outcome<Backup> {
        let mut source = self.open().await?;
        let mut backup = begin(source.as_mut()).await?;
        backup.read_rows(source.as_mut(), self.streams).await?;
        backup.end(source).await?;
        Ok(backup)
    }
}

/// The rows of one range.
#[derive(Debug, Clone)]
pub struct Segment {
    pub task: SegmentTask,
    pub rows: Vec<u8>,
    pub index: BlockIndex,
}

/// What a backup has read.
pub struct Backup {
    pub parts: BTreeMap<String, Vec<u8>>,
    pub plan: SourcePlan,
    pub segments: Vec<Segment>,
    pub facts: ClosingFacts,
}

/// Dictionary and plan.
pub async fn begin(source: &mut dyn Source) -> Outcome<Backup> {
    let mut parts = BTreeMap::new();
    keep(&mut parts, source.dictionary().await?);
    Ok(Backup {
        parts,
        plan: source.plan().await?,
        segments: Vec::new(),
        facts: ClosingFacts(serde_json::Value::Null),
    })
}

fn keep(parts: &mut BTreeMap<String, Vec<u8>>, read: Vec<DictionaryPart>) {
    for mut part in read {
        let mut bytes = Vec::new();
        part.body.read_to_end(&mut bytes).unwrap();
        assert!(
            parts.insert(part.name, bytes).is_none(),
            "a name given twice"
        );
    }
}

impl Backup {
    /// All tasks, by so many streams.
    pub async fn read_rows(&mut self, source: &mut dyn Source, streams: usize) -> Outcome<()> {
        let queue: VecDeque<SegmentTask> = self.plan.tasks.iter().cloned().collect();
        let queue = Arc::new(Mutex::new(queue));
        let mut threads = Vec::new();
        for _ in 0..streams {
            let mut reader = source.reader().await?;
            let queue = queue.clone();
            threads.push(tokio::task::spawn_blocking(move || {
                let mut segments = Vec::new();
                loop {
                    let task = queue.lock().unwrap().pop_front();
                    let Some(task) = task else {
                        return Ok::<_, BoxFault>(segments);
                    };
                    segments.push(read_segment(reader.as_mut(), &task)?);
                }
            }));
        }
        let mut first_error = None;
        for thread in threads {
            match thread.await.unwrap() {
                Ok(segments) => self.segments.extend(segments),
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        self.segments
            .sort_by_key(|s| (s.task.table, s.task.blocks.start));
        first_error.map_or(Ok(()), Err)
    }

    /// Late parts and closing facts.
    pub async fn end(&mut self, mut source: Box<dyn Source>) -> Outcome<()> {
        keep(&mut self.parts, source.late_dictionary().await?);
        self.facts = source.finish().await?;
        Ok(())
    }

    /// The place of a table in the plan.
    pub fn place(&self, name: &str) -> usize {
        let found = self
            .plan
            .tables
            .iter()
            .position(|t| t.name.to_string() == name);
        found.unwrap_or_else(|| panic!("{name} is not in the plan"))
    }

    /// The rows of a table, in block order.
    pub fn rows_of(&self, name: &str) -> Vec<u8> {
        let place = self.place(name);
        let segments = self.segments.iter().filter(|s| s.task.table == place);
        segments.flat_map(|s| s.rows.iter().copied()).collect()
    }

    /// How many rows of a table were read.
    pub fn count_of(&self, name: &str) -> u64 {
        let place = self.place(name);
        let segments = self.segments.iter().filter(|s| s.task.table == place);
        segments.map(|s| s.index.rows()).sum()
    }

    /// What the engine notes about a table.
    pub fn facts_of(&self, name: &str) -> &serde_json::Value {
        &self.plan.tables[self.place(name)].facts
    }

    /// A part as lines of JSON.
    pub fn lines(&self, part: &str) -> Vec<serde_json::Value> {
        let text = std::str::from_utf8(&self.parts[part]).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// Reads one range and checks the law: the index covers every byte, pieces are full but the last.
pub fn read_segment(reader: &mut dyn SegmentReader, task: &SegmentTask) -> Outcome<Segment> {
    let mut sink = Kept::default();
    let read = reader.read(task, &mut sink)?;
    assert_eq!(read.index.bytes(), sink.rows.len() as u64);
    let outside = read
        .index
        .spans()
        .iter()
        .find(|s| !task.blocks.contains(s.block));
    assert_eq!(outside, None, "{}", task.blocks);
    let (_, all_but_last) = sink.pieces.split_last().unwrap_or((&0, &[]));
    assert!(all_but_last.iter().all(|length| *length == FRAME_BYTES));
    Ok(Segment {
        task: task.clone(),
        rows: sink.rows,
        index: read.index,
    })
}

#[derive(Default)]
struct Kept {
    rows: Vec<u8>,
    pieces: Vec<usize>,
}

impl PieceSink for Kept {
    fn buffer(&mut self) -> Outcome<Vec<u8>> {
        Ok(Vec::with_capacity(FRAME_BYTES))
    }

    fn full(&mut self, buffer: Vec<u8>) -> Outcome<()> {
        assert!(!buffer.is_empty() && buffer.len() <= FRAME_BYTES);
        self.pieces.push(buffer.len());
        self.rows.extend_from_slice(&buffer);
        Ok(())
    }
}

/// What psql copies out of a table in the same form: all rows in the order of their blocks.
pub fn psql_copy(server: &Server, database: &str, query: &str, format: RowFormat) -> Vec<u8> {
    let name = match format {
        RowFormat::Binary => "binary",
        _ => "text",
    };
    let settings = "SET synchronize_seqscans = off; SET timezone = 'UTC'; SET datestyle = 'ISO'; SET lc_monetary = 'C'; SET extra_float_digits = 3; SET search_path = ''; SET max_parallel_workers_per_gather = 0";
    let output = server
        .tool("psql", database)
        .args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"])
        .args(["-c", settings])
        .args(["-c", &format!("COPY ({query}) TO STDOUT (FORMAT {name})")])
        .env("PGUSER", SUPERUSER)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{query}: {said}");
    match format {
        RowFormat::Binary => {
            let rows = &output.stdout[19..output.stdout.len() - 2];
            rows.to_vec()
        }
        _ => output.stdout,
    }
}
