//! Does what flow does, in memory.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use engine_sqlite::SqliteEngine;
use model::{
    BlockIndex, ClosingFacts, Connection, DatabaseSelection, DictionaryReader, Engine, FRAME_BYTES,
    LoadTask, ObjectName, Outcome, PieceSink, Published, RestoreRequest, RestoreTable, RowStream,
    SegmentTask, SiteType, Source, SourcePlan, SourceRequest, Target,
};
use testkit::RecordedProgress;

/// A saveset in memory.
pub struct Copy {
    pub plan: SourcePlan,
    pub segments: Vec<Segment>,
    pub dictionary: BTreeMap<String, Vec<u8>>,
    pub facts: ClosingFacts,
}

#[derive(Clone)]
pub struct Segment {
    pub task: SegmentTask,
    pub bytes: Vec<u8>,
    pub rows: u64,
    pub index: BlockIndex,
}

pub fn site(directory: &Path) -> Connection {
    Connection::Sqlite {
        path: directory.to_owned(),
    }
}

pub fn source_request(name: &str, progress: &Arc<RecordedProgress>) -> SourceRequest {
    SourceRequest {
        selection: DatabaseSelection::whole(ObjectName::one(name)),
        online: true,
        streams: 2,
        server_execution_id: "121.1".parse().unwrap(),
        yield_to_ddl: None,
        max_snapshot: None,
        skip_without_rights: false,
        base: None,
        beats: Vec::new(),
        progress: Arc::clone(progress) as Arc<dyn model::Progress>,
    }
}

pub async fn open_source(
    directory: &Path,
    name: &str,
    progress: &Arc<RecordedProgress>,
) -> Outcome<Box<dyn Source>> {
    SqliteEngine::new()
        .open_source(&site(directory), source_request(name, progress))
        .await
}

/// Backs a file up with two readers.
pub async fn back_up(directory: &Path, name: &str) -> Outcome<Copy> {
    let progress = Arc::new(RecordedProgress::new());
    let source = open_source(directory, name, &progress).await?;
    read_all(source, Arc::new(|| {})).await
}

/// Reads a source to its end; `between` is called after each frame.
pub async fn read_all(
    mut source: Box<dyn Source>,
    between: Arc<dyn Fn() + Send + Sync>,
) -> Outcome<Copy> {
    let mut dictionary = BTreeMap::new();
    for mut part in source.dictionary().await? {
        let mut body = Vec::new();
        part.body.read_to_end(&mut body).unwrap();
        assert!(
            dictionary.insert(part.name, body).is_none(),
            "part names are unique"
        );
    }
    let plan = source.plan().await?;
    let queue = Arc::new(Mutex::new(VecDeque::from(plan.tasks.clone())));
    let mut workers = Vec::new();
    for _ in 0..2 {
        let (queue, between) = (Arc::clone(&queue), Arc::clone(&between));
        let mut reader = source.reader().await?;
        workers.push(tokio::task::spawn_blocking(move || {
            let mut read = Vec::new();
            loop {
                let Some(task) = queue.lock().unwrap().pop_front() else {
                    return Ok::<_, model::BoxFault>(read);
                };
                read.push(read_segment(reader.as_mut(), task, between.as_ref())?);
            }
        }));
    }
    let mut segments = Vec::new();
    for worker in workers {
        segments.extend(worker.await.unwrap()?);
    }
    assert!(source.late_dictionary().await?.is_empty());
    Ok(Copy {
        plan,
        segments,
        dictionary,
        facts: source.finish().await?,
    })
}

/// Reads one segment and holds it against the law of the seam.
pub fn read_segment(
    reader: &mut dyn model::SegmentReader,
    task: SegmentTask,
    between: &(dyn Fn() + Sync),
) -> Outcome<Segment> {
    let mut sink = Collected {
        bytes: Vec::new(),
        between,
    };
    let index = reader.read(&task, &mut sink)?.index;
    assert_eq!(
        index.bytes(),
        sink.bytes.len() as u64,
        "the index covers every byte"
    );
    assert!(
        index
            .spans()
            .iter()
            .all(|span| task.blocks.contains(span.block))
    );
    Ok(Segment {
        task,
        bytes: sink.bytes,
        rows: index.rows(),
        index,
    })
}

struct Collected<'a> {
    bytes: Vec<u8>,
    between: &'a (dyn Fn() + Sync),
}

impl PieceSink for Collected<'_> {
    fn buffer(&mut self) -> Outcome<Vec<u8>> {
        Ok(Vec::with_capacity(FRAME_BYTES))
    }

    fn full(&mut self, buffer: Vec<u8>) -> Outcome<()> {
        assert!((1..=FRAME_BYTES).contains(&buffer.len()));
        self.bytes.extend(buffer);
        (self.between)();
        Ok(())
    }
}

struct Parts(BTreeMap<String, Vec<u8>>);

#[async_trait]
impl DictionaryReader for Parts {
    fn parts(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    async fn write_to(&self, part: &str, sink: &mut (dyn Write + Send)) -> Outcome<bool> {
        let Some(body) = self.0.get(part) else {
            return Ok(false);
        };
        sink.write_all(body).unwrap();
        Ok(true)
    }
}

/// A restore of `copy` under `target`, with the options' neutral values.
pub fn request(copy: &Copy, target: &str, progress: &Arc<RecordedProgress>) -> RestoreRequest {
    let rows = copy.segments.iter().map(|segment| segment.rows).sum();
    let bytes = copy
        .segments
        .iter()
        .map(|segment| segment.bytes.len() as u64)
        .sum();
    let plan = copy.plan.tables[0].clone();
    RestoreRequest {
        source_type: SiteType::Sqlite,
        selection: DatabaseSelection::whole(plan.name.clone()),
        saved: DatabaseSelection::whole(plan.name.clone()),
        target_database: ObjectName::one(target),
        as_copy: false,
        replace_existing: false,
        skip_statistics: false,
        skip_indexes: false,
        streams: 2,
        server_execution_id: "122.1".parse().unwrap(),
        earlier: Vec::new(),
        tables: vec![RestoreTable { plan, rows, bytes }],
        objects: copy.plan.objects.clone(),
        facts: copy.facts.clone(),
        dictionary: Arc::new(Parts(copy.dictionary.clone())),
        progress: Arc::clone(progress) as Arc<dyn model::Progress>,
    }
}

pub async fn open_target(directory: &Path, request: RestoreRequest) -> Outcome<Box<dyn Target>> {
    SqliteEngine::new()
        .open_target(&site(directory), None, request)
        .await
}

/// Pieces that never end where a page ends.
struct Pieces(VecDeque<Bytes>);

#[async_trait]
impl RowStream for Pieces {
    async fn next(&mut self) -> Outcome<Option<Bytes>> {
        Ok(self.0.pop_front())
    }
}

/// Prepares a target and loads all segments with two loaders.
pub async fn fill(target: &mut dyn Target, segments: &[Segment]) -> Outcome<()> {
    target.prepare().await?;
    let queue = Arc::new(Mutex::new(VecDeque::from(segments.to_vec())));
    let mut workers = Vec::new();
    for _ in 0..2 {
        let queue = Arc::clone(&queue);
        let mut loader = target.loader().await?;
        workers.push(tokio::spawn(async move {
            loop {
                let Some(segment) = queue.lock().unwrap().pop_front() else {
                    return Ok::<_, model::BoxFault>(());
                };
                let task = LoadTask {
                    table: 0,
                    blocks: segment.task.blocks,
                    bytes: segment.bytes.len() as u64,
                    rows: segment.rows,
                };
                let pieces = segment.bytes.chunks(777_777).map(Bytes::copy_from_slice);
                let loaded = loader.load(&task, &mut Pieces(pieces.collect())).await?;
                assert_eq!(loaded, segment.rows);
            }
        }));
    }
    for worker in workers {
        worker.await.unwrap()?;
    }
    Ok(())
}

/// A whole restore; the errors of BUILD fail the test.
pub async fn restore(directory: &Path, request: RestoreRequest, copy: &Copy) -> Outcome<Published> {
    let mut target = open_target(directory, request).await?;
    let findings = target.findings().await?;
    assert_eq!(findings.obstacles, [], "nothing in the way");
    fill(target.as_mut(), &copy.segments).await?;
    assert_eq!(target.build(2).await?.errors, [""; 0]);
    target.postscript().await?;
    target.publish().await
}

/// Backs `name` up and restores it as `again.db` in a directory of its own.
pub async fn there_and_back(directory: &Path, name: &str) -> (Copy, tempfile::TempDir, PathBuf) {
    let copy = back_up(directory, name)
        .await
        .unwrap_or_else(|fault| panic!("{}", fault.sentence()));
    let (other, restored) = restore_new(&copy).await;
    (copy, other, restored)
}

/// Restores a copy as `again.db` in a directory of its own, and checks it as SQLite does.
pub async fn restore_new(copy: &Copy) -> (tempfile::TempDir, PathBuf) {
    let other = tempfile::tempdir().unwrap();
    let progress = Arc::new(RecordedProgress::new());
    let request = request(copy, "again.db", &progress);
    let published = restore(other.path(), request, copy)
        .await
        .unwrap_or_else(|fault| panic!("{}", fault.sentence()));
    assert_eq!(
        (published.database.last(), published.kept),
        ("again.db", None)
    );
    assert_eq!(names(other.path()), ["again.db"], "no working file is left");
    let restored = other.path().join("again.db");
    assert_eq!(integrity(&restored), ["ok"]);
    (other, restored)
}

pub fn integrity(path: &Path) -> Vec<String> {
    let database = rusqlite::Connection::open(path).unwrap();
    let mut statement = database.prepare("PRAGMA integrity_check").unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<rusqlite::Result<_>>().unwrap()
}

/// The names in a directory, sorted.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Makes a database by SQL and closes it.
pub fn make(path: &Path, sql: &str) {
    let database = rusqlite::Connection::open(path).unwrap();
    database.execute_batch(sql).unwrap();
    database.close().unwrap();
}

/// A table of `rows` rows with an index, in about 200 bytes a row.
pub fn rows_sql(rows: u32) -> String {
    format!(
        "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, body BLOB);
         CREATE INDEX item_name ON item(name);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         INSERT INTO item SELECT i, 'name ' || (i * 7919 % 10007), randomblob(150) FROM n;"
    )
}
