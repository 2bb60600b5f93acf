//! A backup as the rest of Backstay sees it: dictionary, plan, readers, end.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::sync::Arc;

use async_trait::async_trait;
use model::{
    Basis, ClosingFacts, DictionaryPart, ObjectName, Outcome, Phase, RowFormat, SegmentReader,
    SkippedObject, Source, SourcePlan, TablePlan,
};
use tempfile::NamedTempFile;

use crate::browse::{self, Found};
use crate::changed::{self, Delta, Heap, HeapFacts, Opening, Seen, Window};
use crate::copy::ranges::{self, TableSize};
use crate::copy::reader::{CopyReader, CopyTable};
use crate::dictionary;
use crate::error::PostgresError;
use crate::facts::{self, FACTS_VERSION, QualifiedName, TableFacts, TableKind, part};
use crate::fingerprint::{Unlocked, shape};
use crate::format;
use crate::inventory::{self, Inventory, Table, quoted_in};
use crate::sequences::{self, Sequence};
use crate::session::Session;
use crate::snapshot::{Held, Wanted};
use crate::unreadable::Unreadable;
use crate::{globals, identity, large_objects};

/// How many parts the dictionary has before the rows are read.
const PARTS: u64 = 4;

/// One consistent snapshot of one database.
pub(crate) struct PostgresSource {
    wanted: Wanted,
    held: Held,
    server: Server,
    /// Which WAL belongs to the snapshot.
    window: Option<Window>,
    sequences: Vec<Sequence>,
    tables: Option<Arc<[CopyTable]>>,
    /// A session with a newer snapshot, for the end of the run.
    closing: Option<Session>,
}

/// What the closing facts say about the server.
struct Server {
    database_oid: u32,
    encoding: String,
    standby: bool,
    snapshot: String,
    snapshot_time: String,
    block_size: u64,
}

impl PostgresSource {
    /// Takes locks, snapshot and dictionary.
    pub(crate) async fn open(wanted: Wanted) -> Result<PostgresSource, PostgresError> {
        // The phase itself is begun by whoever asked.
        wanted.progress.phase_total(Phase::Dictionary, PARTS);
        let opening = Opening::of(&wanted).await;
        let held = crate::snapshot::hold(&wanted).await?;
        wanted.progress.objects_done(Phase::Dictionary, 1);
        let server = Server::read(&held.session).await?;
        let window = opening.follow(&wanted, &server.snapshot);
        let sequences = readable_sequences(&wanted, &held).await?;
        Ok(PostgresSource {
            window: Some(window),
            wanted,
            held,
            server,
            sequences,
            tables: None,
            closing: None,
        })
    }

    /// What the watch has decided comes before what it did to a part of the run.
    fn fault(&self, error: PostgresError) -> PostgresError {
        self.held.watched.reason().unwrap_or(error)
    }

    /// One of the streams that nothing reads from yet: the session that watches whom we block must
    /// not stand behind long queries.
    fn spare_session(&self) -> &Session {
        self.held.streams.first().unwrap_or(&self.held.session)
    }

    async fn parts(&mut self) -> Result<Vec<DictionaryPart>, PostgresError> {
        let dump = self.held.dump.reopen().map_err(reopened)?;
        let session = self.spare_session();
        let database = dictionary::database_facts(session, &self.held.tools).await?;
        dictionary::tell_hidden(session, &*self.wanted.progress).await?;
        self.wanted.progress.objects_done(Phase::Dictionary, 1);
        let database = serde_json::to_vec(&database).map_err(|e| written(e.into()))?;
        let large_objects = match self.held.large_objects.are_read() {
            true => large_objects::facts(session).await?,
            // What has no bytes in the saveset must not come back empty.
            false => dictionary::temporary_file()?,
        };
        self.wanted.progress.objects_done(Phase::Dictionary, 1);
        let globals = globals::dump(&self.wanted, &self.held.tools).await?;
        self.wanted.progress.objects_done(Phase::Dictionary, 1);
        let mut parts = vec![
            DictionaryPart {
                name: part::SCHEMA_DUMP.into(),
                body: Box::new(dump),
            },
            DictionaryPart {
                name: part::DATABASE.into(),
                body: Box::new(io::Cursor::new(database)),
            },
            of_file(part::LARGE_OBJECTS, large_objects)?,
        ];
        if let Some(globals) = globals {
            parts.push(of_file(part::GLOBALS, globals)?);
        }
        Ok(parts)
    }

    async fn make_plan(&mut self) -> Result<SourcePlan, PostgresError> {
        let session = self.spare_session();
        let inventory = &self.held.inventory;
        let large = self.large_objects_size(session).await?;
        self.tell_without_rows(inventory);
        let mut oids: Vec<u32> = inventory.tables.iter().map(|table| table.oid).collect();
        let sizes = inventory::sizes_of(session, &oids).await?;
        oids.push(browse::LARGE_OBJECTS);
        let heaps = changed::heaps(session, &oids).await?;
        oids.pop();
        let parents = inventory.tables.iter().flat_map(|t| [t.root, t.through]);
        let mut parents: Vec<u32> = parents.flatten().collect();
        parents.sort_unstable();
        parents.dedup();
        let parents = inventory::names_of(session, &parents).await?;
        let mut planned = Planned::default();
        for table in &inventory.tables {
            let size = sizes.get(&table.oid).copied().unwrap_or_default();
            let size = self.server.size(table, size);
            let mut facts = self.facts_of(inventory, table, &parents);
            facts.heap = heap_facts(table.oid, &heaps, size);
            planned.add(inventory, table, facts, size);
        }
        if large.blocks > 0 {
            let heap = heap_facts(browse::LARGE_OBJECTS, &heaps, large);
            planned.add_large_objects(&self.server.encoding, heap, large);
            oids.push(browse::LARGE_OBJECTS);
        }
        let database = self.wanted.endpoint.database();
        let found = self.chosen_objects(session).await?;
        let (plans, left_out) = (&planned.plans, &self.held.left_out);
        let objects = browse::saveset_objects(database, found.into_iter(), &oids, plans, left_out);
        let mut plan = SourcePlan {
            objects,
            tasks: ranges::cut(&planned.sizes),
            ..SourcePlan::default()
        };
        if let (Some(base), Some(window)) = (&self.wanted.base, &mut self.window) {
            let database = self.server.database_oid;
            let seen: Vec<Seen<'_>> = planned.seen().collect();
            let delta = Delta::of(base, window, database, &seen).await;
            plan.basis = seen.iter().map(|seen| delta.basis(seen)).collect();
            plan.changed_blocks = Some(delta.changed_blocks());
            let whole = |table: usize| matches!(plan.basis[table], Basis::Nothing { .. });
            plan.tasks.retain(|task| whole(task.table));
        }
        plan.tables = planned.plans;
        self.tables = Some(planned.copies.into());
        Ok(plan)
    }

    /// What is chosen, as the snapshot sees it.
    async fn chosen_objects(&self, session: &Session) -> Result<Vec<Found>, PostgresError> {
        let (choice, taken) = (&self.wanted.choice, &self.held.taken);
        let mut found = browse::find(session, self.wanted.endpoint.database()).await?;
        if choice.is_whole() {
            return Ok(found);
        }
        for object in choice.check(&found, &self.held.listed)? {
            let progress = &self.wanted.progress;
            progress.warning(format!("{object} is to be left out and is not there"));
        }
        found.retain(|object| object.is_taken(choice, taken));
        Ok(found)
    }

    /// A standby gets no rows of unlogged tables, and refuses to read them.
    fn tell_without_rows(&self, inventory: &Inventory) {
        let unlogged = inventory.tables.iter().filter(|table| table.unlogged);
        for table in unlogged.filter(|_| self.server.standby) {
            self.wanted.progress.skipped(SkippedObject {
                object: table.qualified(),
                reason: "an unlogged table has no rows on a standby".into(),
            });
        }
    }

    async fn large_objects_size(&self, session: &Session) -> Result<TableSize, PostgresError> {
        if !self.held.large_objects.are_read() {
            return Ok(TableSize::NOTHING);
        }
        let sql = "SELECT pg_catalog.pg_relation_size('pg_catalog.pg_largeobject')";
        let row = session
            .row(sql, &[], "reading the size of large objects")
            .await?;
        let bytes = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
        Ok(TableSize {
            blocks: blocks_of(bytes, self.server.block_size),
            bytes,
            by_ranges: true,
        })
    }

    fn facts_of(
        &self,
        inventory: &Inventory,
        table: &Table,
        parents: &HashMap<u32, (String, String)>,
    ) -> TableFacts {
        let name_of = |oid: Option<u32>| {
            let (schema, name) = parents.get(&oid?)?.clone();
            Some(QualifiedName { schema, name })
        };
        let condition = table.condition.clone().filter(|c| !c.trim().is_empty());
        // A condition is text of the database and cannot be escaped as names are: where it is not
        // ASCII, the stream must speak UTF-8.
        let foreign = condition.as_ref().is_some_and(|c| !c.is_ascii());
        TableFacts {
            version: FACTS_VERSION,
            kind: TableKind::Rows,
            schema: table.schema.clone(),
            name: table.name.clone(),
            columns: inventory
                .columns_of(table.oid)
                .iter()
                .filter(|column| !column.dropped && !column.generated)
                .map(|column| column.name.clone())
                .collect(),
            encoding: match foreign {
                true => "UTF8".into(),
                false => self.server.encoding.clone(),
            },
            unlogged: table.unlogged,
            partition_root: name_of(table.root),
            load_through: name_of(table.through),
            extension: table.extension.clone(),
            extension_condition: condition,
            forms: format::forms(&inventory.types, inventory.columns_of(table.oid))
                .unwrap_or_default(),
            heap: None,
        }
    }

    async fn closing_session(&mut self) -> Result<Session, PostgresError> {
        match self.closing.take() {
            Some(session) => Ok(session),
            None => Session::open(&self.wanted.endpoint, &self.wanted.application_name).await,
        }
    }

    async fn read_late(&mut self) -> Result<Vec<DictionaryPart>, PostgresError> {
        let session = self.closing_session().await?;
        let progress = self.wanted.progress.as_ref();
        let values = sequences::read(&session, &self.sequences, progress).await?;
        self.closing = Some(session);
        Ok(vec![of_file(part::SEQUENCES, values)?])
    }

    /// What locks do not hold is read again, while they still hold the rest.
    async fn check_and_close(mut self) -> Result<ClosingFacts, PostgresError> {
        let session = self.closing_session().await.map_err(|e| self.fault(e))?;
        let later = async {
            let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
            session.run(begin, "reading the catalog again").await?;
            let later = Inventory::read(&session).await?;
            session.run("COMMIT", "reading the catalog again").await?;
            Ok(later)
        };
        let later: Inventory = later.await.map_err(|e| self.fault(e))?;
        if let Some(reason) = self.held.watched.reason() {
            return Err(reason);
        }
        let before = Unlocked::of(&self.held.inventory);
        if let Some(what) = before.difference(&Unlocked::of(&later)) {
            return Err(PostgresError::CatalogChanged { what });
        }
        let mut facts = self.closing_facts(&session).await?;
        session.close().await;
        self.held.watch.end().await;
        if let Ok(session) = Arc::try_unwrap(self.held.session) {
            session.close().await;
        }
        // Nothing is held while the rest of the window is waited for.
        if let Some(window) = self.window.take() {
            match window.next().await {
                Ok(window) => facts.window = Some(window),
                Err(why) => facts.no_window = Some(why),
            }
        }
        let value = serde_json::to_value(facts).map_err(|e| written(e.into()))?;
        Ok(ClosingFacts(value))
    }

    async fn closing_facts(&self, session: &Session) -> Result<facts::ClosingFacts, PostgresError> {
        let control = identity::control(session).await?;
        Ok(facts::ClosingFacts {
            version: FACTS_VERSION,
            database: self.wanted.endpoint.database().to_owned(),
            server_version_num: self.held.session.version_num(),
            timeline: control.as_ref().and_then(|control| control.timeline),
            system_identifier: control.map(|control| control.system_identifier),
            database_oid: self.server.database_oid,
            snapshot: self.server.snapshot.clone(),
            snapshot_time: self.server.snapshot_time.clone(),
            encoding: self.server.encoding.clone(),
            standby: self.server.standby,
            window: None,
            no_window: None,
        })
    }
}

#[async_trait]
impl Source for PostgresSource {
    async fn dictionary(&mut self) -> Outcome<Vec<DictionaryPart>> {
        let parts = self.parts().await;
        Ok(parts.map_err(|e| self.fault(e))?)
    }

    async fn plan(&mut self) -> Outcome<SourcePlan> {
        let plan = self.make_plan().await;
        Ok(plan.map_err(|e| self.fault(e))?)
    }

    async fn reader(&mut self) -> Outcome<Box<dyn SegmentReader>> {
        let misuse = |what: &str| PostgresError::Misuse { what: what.into() };
        let tables = self.tables.clone();
        let tables = tables.ok_or_else(|| misuse("a reader was asked for before the plan"))?;
        let stream = self.held.streams.pop();
        let stream = stream.ok_or_else(|| misuse("more readers were asked for than streams"))?;
        let taken = stream.into_stream().await.map_err(|e| self.fault(e))?;
        let reader = CopyReader::new(taken, tables, self.held.watched.clone())?;
        Ok(Box::new(reader))
    }

    async fn late_dictionary(&mut self) -> Outcome<Vec<DictionaryPart>> {
        let parts = self.read_late().await;
        Ok(parts.map_err(|e| self.fault(e))?)
    }

    async fn finish(self: Box<Self>) -> Outcome<ClosingFacts> {
        Ok(self.check_and_close().await?)
    }
}

impl Server {
    async fn read(session: &Session) -> Result<Server, PostgresError> {
        let sql = include_str!("../sql/server_14.sql");
        let row = session.row(sql, &[], "reading about the server").await?;
        Ok(Server {
            database_oid: row.get("oid"),
            encoding: row.get("encoding"),
            standby: row.get("standby"),
            snapshot: row.get("snapshot"),
            snapshot_time: row.get("at"),
            block_size: u64::try_from(row.get::<_, i64>("block_size")).unwrap_or(8192),
        })
    }

    fn size(&self, table: &Table, (heap, toast): (u64, u64)) -> TableSize {
        if self.standby && table.unlogged {
            return TableSize::NOTHING;
        }
        TableSize {
            blocks: blocks_of(heap, self.block_size),
            bytes: heap + toast,
            by_ranges: is_by_ranges(table),
        }
    }
}

/// Only heaps have blocks that we understand, and a condition of an extension may be anything.
fn is_by_ranges(table: &Table) -> bool {
    table.heap
        && table
            .condition
            .as_deref()
            .unwrap_or_default()
            .trim()
            .is_empty()
}

fn heap_facts(oid: u32, heaps: &HashMap<u32, Heap>, size: TableSize) -> Option<HeapFacts> {
    let blocks = size.blocks;
    heaps.get(&oid).map(|&heap| HeapFacts { oid, heap, blocks })
}

fn blocks_of(bytes: u64, block_size: u64) -> u32 {
    u32::try_from(bytes.div_ceil(block_size.max(1))).unwrap_or(u32::MAX)
}

/// The sequences that are read at the end: whether they may be is known from the beginning.
async fn readable_sequences(wanted: &Wanted, held: &Held) -> Result<Vec<Sequence>, PostgresError> {
    let all = sequences::list(&held.session, &held.taken).await?;
    let (readable, others): (Vec<_>, Vec<_>) = all.into_iter().partition(Sequence::is_readable);
    let role = wanted.endpoint.user();
    let others: Vec<Unreadable> = others
        .iter()
        .map(|sequence| Unreadable::sequence(sequence, role))
        .collect();
    wanted.refuse_or_go_on(&others)?;
    wanted.tell_skipped(&others);
    Ok(readable)
}

/// The plan as it grows: the same place in each list is the same table.
#[derive(Default)]
struct Planned {
    plans: Vec<TablePlan>,
    copies: Vec<CopyTable>,
    sizes: Vec<TableSize>,
    facts: Vec<TableFacts>,
    /// Whether it prints names of other objects.
    names: Vec<bool>,
}

impl Planned {
    fn seen(&self) -> impl Iterator<Item = Seen<'_>> {
        let tables = self.plans.iter().zip(&self.facts);
        let tables = tables.zip(self.sizes.iter().zip(&self.names));
        tables.map(|((plan, facts), (size, names))| Seen {
            plan,
            facts,
            size: *size,
            prints_names: *names,
        })
    }

    fn add(&mut self, inventory: &Inventory, table: &Table, facts: TableFacts, size: TableSize) {
        let format = format::of_table(&inventory.types, inventory.columns_of(table.oid));
        self.copies.push(CopyTable {
            name: table.qualified(),
            format,
            columns: facts.columns.len(),
            encoding: facts.encoding.clone(),
            query: query_of(table, &facts),
            by_ranges: size.by_ranges,
        });
        let name = ObjectName::two(&table.schema, &table.name);
        self.names.push(changed::print_names(inventory, table));
        self.push(name, format, shape(inventory, table), facts, size);
    }

    fn add_large_objects(&mut self, encoding: &str, heap: Option<HeapFacts>, size: TableSize) {
        let columns = ["loid", "pageno", "data"].map(str::to_owned).to_vec();
        let facts = TableFacts {
            version: FACTS_VERSION,
            kind: TableKind::LargeObjects,
            schema: "pg_catalog".into(),
            name: "pg_largeobject".into(),
            columns,
            encoding: encoding.to_owned(),
            unlogged: false,
            partition_root: None,
            load_through: None,
            extension: None,
            extension_condition: None,
            forms: Vec::new(),
            heap,
        };
        self.copies.push(CopyTable {
            name: "large objects".into(),
            format: RowFormat::Binary,
            columns: facts.columns.len(),
            encoding: encoding.to_owned(),
            query: "SELECT ctid, loid, pageno, data FROM ONLY pg_catalog.pg_largeobject".into(),
            by_ranges: true,
        });
        let name = ObjectName::two("pg_catalog", "pg_largeobject");
        let shape = "large objects".into();
        self.names.push(false);
        self.push(name, RowFormat::Binary, shape, facts, size);
    }

    fn push(
        &mut self,
        name: ObjectName,
        format: RowFormat,
        shape: String,
        facts: TableFacts,
        size: TableSize,
    ) {
        self.plans.push(TablePlan {
            name,
            format,
            shape,
            // Plain strings and numbers: this cannot fail, and NULL facts are refused on restore.
            facts: serde_json::to_value(&facts).unwrap_or_default(),
        });
        self.facts.push(facts);
        self.sizes.push(size);
    }
}

/// The query of a table's rows, without ranges.
fn query_of(table: &Table, facts: &TableFacts) -> String {
    let mut columns = String::from("ctid");
    for column in &facts.columns {
        columns.push_str(", ");
        columns.push_str(&quoted_in(&facts.encoding, column));
    }
    let [schema, name] = [&table.schema, &table.name].map(|n| quoted_in(&facts.encoding, n));
    let plain = format!("SELECT {columns} FROM ONLY {schema}.{name}");
    match (&facts.extension_condition, is_by_ranges(table)) {
        (_, true) => plain,
        // Whatever gives the rows in another order, or a condition with an order of its own.
        (condition, false) => {
            let condition = condition.as_deref().unwrap_or_default();
            format!("SELECT * FROM ({plain} {condition}) AS rows_of_it ORDER BY 1")
        }
    }
}

fn of_file(name: &str, file: NamedTempFile) -> Result<DictionaryPart, PostgresError> {
    // What other programs wrote is read from the beginning; the path goes away, the file stays
    // until it is read.
    let mut file: File = file.reopen().map_err(reopened)?;
    file.rewind().map_err(reopened)?;
    let body: Box<dyn Read + Send> = Box::new(file);
    Ok(DictionaryPart {
        name: name.into(),
        body,
    })
}

fn reopened(source: io::Error) -> PostgresError {
    PostgresError::TemporaryFile {
        doing: "reading the dictionary back",
        source,
    }
}

fn written(source: io::Error) -> PostgresError {
    PostgresError::TemporaryFile {
        doing: "writing facts",
        source,
    }
}
