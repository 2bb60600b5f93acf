//! The target itself: what an export has fetched and written so far.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use model::{
    ExportFormat, ExportPlace, Findings, ObjectType, Outcome, Phase, Published, RestoreRequest,
    RestoreTable, SegmentLoader, StepReport, Target,
};

use super::fault::{ExportError, blocking};
use super::files::{Folder, ROWS, create};
use super::index::Index;
use super::load::FileLoader;
use super::part::{Kept, Part};
use super::rows::{Content, TableFile};
use super::schema::Schema;
use super::script::{self, Parts};
use crate::facts::{
    DatabaseFacts, LargeObjectFacts, QualifiedName, SequenceFacts, TableKind, part,
};
use crate::restore::{
    RestoreError, database_facts, facts_of, json_line, large_object_statements, page_bytes,
    whole_part,
};

const INDEX: &str = "index.json";
/// Facts of large objects, while they are turned into SQL.
const OBJECTS: &str = ".large-objects";
/// How many large objects one statement makes: each is locked meanwhile.
const BATCH: usize = 500;

/// One database on its way into files.
pub(super) struct ExportTarget {
    tool_directories: Vec<PathBuf>,
    path: PathBuf,
    format: ExportFormat,
    request: RestoreRequest,
    /// What of the database is exported; `None`: all of it.
    part: Option<Part>,
    made: Option<Made>,
}

/// What prepare has made.
struct Made {
    folder: Folder,
    facts: DatabaseFacts,
    /// In the saveset's order; `None`: not exported.
    tables: Arc<Vec<Option<TableFile>>>,
    written: Vec<&'static str>,
    /// Why there is no SQL of the objects.
    without_schema: Option<String>,
    notes: Vec<String>,
    /// What is exported; `None`: everything, or nobody can say.
    kept: Option<Kept>,
}

impl ExportTarget {
    pub(super) fn new(
        tool_directories: Vec<PathBuf>,
        place: &ExportPlace,
        request: RestoreRequest,
    ) -> Self {
        ExportTarget {
            tool_directories,
            path: place.directory.join(request.target_database.last()),
            format: place.format,
            part: Part::of(&request),
            request,
            made: None,
        }
    }

    /// The tables that may be wanted, as far as their own facts tell.
    fn may_want(&self, table: &RestoreTable) -> Result<bool, RestoreError> {
        match &self.part {
            None => Ok(true),
            Some(part) => Ok(part.may_want(&facts_of(table)?)),
        }
    }

    /// All steps of DICTIONARY, into a directory that is there.
    async fn fill(&self, made: &mut Made) -> Outcome<()> {
        let reader = &*self.request.dictionary;
        let folder = made.folder.path().to_owned();
        for name in [part::SCHEMA_DUMP, part::GLOBALS] {
            if self.part(name, &folder.join(name)).await? {
                made.written.push(name);
            }
        }
        made.facts = database_facts(reader).await?;
        let dump = folder.join(part::SCHEMA_DUMP);
        let directories = &self.tool_directories;
        match Schema::of(&folder, &dump, &made.facts, directories).await {
            Ok(schema) => {
                let mut contents = schema.contents().await?;
                if let Some(part) = &self.part {
                    let kept = part.sort(&contents.all(), &made.facts, &self.request);
                    let kept = kept.map_err(ExportError::from)?;
                    contents.retain(&kept.ids);
                    made.notes.extend(kept.told.iter().cloned());
                    made.kept = Some(kept);
                }
                made.written.extend(schema.write(&contents).await?);
                if self.part.is_some() {
                    // It holds what was not asked for.
                    fs::remove_file(&dump).map_err(ExportError::file("removing", &dump))?;
                    made.written.retain(|name| *name != part::SCHEMA_DUMP);
                }
            }
            Err(why) => {
                let note = format!(
                    "pg_restore was not found ({why}): {} is left as it is, and load.sql tells how to load it",
                    part::SCHEMA_DUMP
                );
                self.request.progress.warning(note.clone());
                made.notes.push(note);
                made.without_schema = Some(why);
            }
        }
        made.tables = Arc::new(self.tables(made)?);
        let tables = made.tables.clone();
        let begin = move || {
            tables
                .iter()
                .flatten()
                .filter(|t| t.is_made())
                .try_for_each(TableFile::begin)
        };
        blocking(begin).await?;
        Ok(())
    }

    fn tables(&self, made: &mut Made) -> Result<Vec<Option<TableFile>>, ExportError> {
        let mut tables = Vec::new();
        for table in &self.request.tables {
            if !self.wants(table, made.kept.as_ref())? {
                tables.push(None);
                continue;
            }
            let table = TableFile::of(table, self.format, &mut made.folder)?;
            if self.format == ExportFormat::Csv
                && table.content != Content::Csv
                && table.facts.kind == TableKind::Rows
            {
                made.notes.push(format!(
                    "{} is not written as CSV: its saveset does not say how to read its columns",
                    table.title
                ));
            }
            tables.push(Some(table));
        }
        for note in &made.notes {
            self.request.progress.note(note.clone());
        }
        Ok(tables)
    }

    fn wants(&self, table: &RestoreTable, kept: Option<&Kept>) -> Result<bool, RestoreError> {
        let facts = facts_of(table)?;
        let of_dump = facts.kind == TableKind::Rows && facts.extension.is_none();
        match kept {
            Some(kept) if of_dump => Ok(kept.relations.contains(&facts.name())),
            _ => self.may_want(table),
        }
    }

    /// Whether a sequence is exported.
    fn has_sequence(&self, sequence: &SequenceFacts, kept: Option<&Kept>) -> bool {
        let name = QualifiedName {
            schema: sequence.schema.clone(),
            name: sequence.name.clone(),
        };
        match (&self.part, kept) {
            (None, _) => true,
            (Some(_), Some(kept)) => kept.relations.contains(&name),
            (Some(part), None) => part.takes(&name, ObjectType::Sequence),
        }
    }

    /// A part of the dictionary as a file; `false`: the saveset has none.
    async fn part(&self, name: &str, path: &Path) -> Outcome<bool> {
        let failed = || ExportError::file("writing", path);
        let mut file = BufWriter::new(create(path).map_err(failed())?);
        let there = self.request.dictionary.write_to(name, &mut file).await?;
        file.flush().map_err(failed())?;
        file.get_ref().sync_all().map_err(failed())?;
        if !there {
            fs::remove_file(path).map_err(ExportError::file("removing", path))?;
        }
        Ok(there)
    }

    fn made(&mut self, step: &'static str) -> Result<&mut Made, ExportError> {
        self.made.as_mut().ok_or(ExportError::Order { step })
    }

    async fn sequences(&self) -> Outcome<Vec<SequenceFacts>> {
        let name = part::SEQUENCES;
        let bytes = whole_part(&*self.request.dictionary, name).await?;
        let bytes = bytes.unwrap_or_default();
        let lines = bytes.split(|byte| *byte == b'\n');
        let lines = lines.filter(|line| !line.trim_ascii().is_empty());
        let sequences: Result<Vec<SequenceFacts>, _> =
            lines.map(|line| json_line(name, line)).collect();
        Ok(sequences?)
    }

    /// Makes the scripts of large objects, some objects at a time.
    async fn large_objects(&self, folder: &Path) -> Outcome<bool> {
        if self
            .part
            .as_ref()
            .is_some_and(|part| !part.is_of_the_whole())
        {
            return Ok(false);
        }
        let facts = folder.join(OBJECTS);
        let there = self.part(part::LARGE_OBJECTS, &facts).await?;
        if !there {
            return Ok(false);
        }
        let folder = folder.to_owned();
        Ok(blocking(move || large_object_scripts(&folder, &facts)).await?)
    }
}

/// Answers whether there are any.
fn large_object_scripts(folder: &Path, facts: &Path) -> Result<bool, ExportError> {
    let reading = |error| ExportError::file("reading", facts)(error);
    let mut lines = BufReader::new(File::open(facts).map_err(reading)?).split(b'\n');
    let mut scripts = None;
    loop {
        let mut batch: Vec<LargeObjectFacts> = Vec::new();
        for line in lines.by_ref() {
            let line = line.map_err(reading)?;
            if !line.trim_ascii().is_empty() {
                batch.push(json_line(part::LARGE_OBJECTS, &line)?);
            }
            if batch.len() == BATCH {
                break;
            }
        }
        if batch.is_empty() {
            break;
        }
        let oids: Vec<u32> = batch.iter().map(|object| object.oid).collect();
        let rights: Vec<String> = batch.iter().flat_map(large_object_statements).collect();
        let rights: String = rights.iter().map(|sql| format!("{sql};\n")).collect();
        let (make, give) = match &mut scripts {
            Some(open) => open,
            None => scripts.insert((
                OpenScript::make(folder.join(script::LARGE_OBJECTS))?,
                OpenScript::make(folder.join(script::LARGE_OBJECT_RIGHTS))?,
            )),
        };
        make.add(&script::make_large_objects(&oids))?;
        give.add(&rights)?;
    }
    fs::remove_file(facts).map_err(ExportError::file("removing", facts))?;
    match scripts {
        None => Ok(false),
        Some((make, give)) => {
            make.end()?;
            give.end()?;
            Ok(true)
        }
    }
}

/// A script that grows.
struct OpenScript {
    file: BufWriter<File>,
    path: PathBuf,
}

impl OpenScript {
    fn make(path: PathBuf) -> Result<Self, ExportError> {
        let file = create(&path).map_err(ExportError::file("making", &path))?;
        Ok(OpenScript {
            file: BufWriter::new(file),
            path,
        })
    }

    fn add(&mut self, text: &str) -> Result<(), ExportError> {
        let added = self.file.write_all(text.as_bytes());
        added.map_err(ExportError::file("writing", &self.path))
    }

    fn end(mut self) -> Result<(), ExportError> {
        let flushed = self
            .file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all());
        flushed.map_err(ExportError::file("writing", &self.path))
    }
}

impl Made {
    fn write(&mut self, name: &'static str, text: &str) -> Result<(), ExportError> {
        if text.is_empty() {
            return Ok(());
        }
        self.folder.write(name, text)?;
        self.written.push(name);
        Ok(())
    }

    /// The commands that load the files.
    fn rows_script(&mut self) -> Result<(), ExportError> {
        let page = page_bytes(&self.facts);
        let mut script = OpenScript::make(self.folder.path().join(script::ROWS))?;
        for table in self
            .tables
            .iter()
            .flatten()
            .filter(|table| table.rows > 0 && table.is_made())
        {
            script.add(&script::load_table(table, page))?;
        }
        script.end()?;
        self.written.push(script::ROWS);
        Ok(())
    }
}

#[async_trait]
impl Target for ExportTarget {
    async fn findings(&mut self) -> Outcome<Findings> {
        let tables = self.request.tables.iter().enumerate();
        let wanted = tables.filter(|(place, _)| Target::wants(self, *place));
        Ok(Findings {
            bytes_needed: wanted.map(|(_, table)| table.bytes).sum(),
            steps: vec![format!("Write the files into {}.", self.path.display())],
            ..Findings::default()
        })
    }

    fn wants(&self, table: usize) -> bool {
        let table = self.request.tables.get(table);
        // What cannot be read is told when it is written.
        table.is_none_or(|table| self.may_want(table).unwrap_or(true))
    }

    async fn prepare(&mut self) -> Outcome<()> {
        if self.made.is_some() {
            return Ok(());
        }
        let mut made = Made {
            folder: Folder::make(self.path.clone())?,
            facts: database_facts(&*self.request.dictionary).await?,
            tables: Arc::default(),
            written: Vec::new(),
            without_schema: None,
            notes: Vec::new(),
            kept: None,
        };
        let filled = self.fill(&mut made).await;
        // Kept also where it failed: discard takes away what is there.
        self.made = Some(made);
        filled
    }

    async fn loader(&mut self) -> Outcome<Box<dyn SegmentLoader>> {
        let tables = self.made("a loader")?.tables.clone();
        Ok(Box::new(FileLoader::new(tables)))
    }

    async fn build(&mut self, _parallel: usize) -> Outcome<StepReport> {
        let tables = self.made("build")?.tables.clone();
        let made = tables.iter().flatten().filter(|table| table.is_made());
        let made = made.count() as u64;
        self.request.progress.phase_total(Phase::Build, made);
        let end = move || {
            tables
                .iter()
                .flatten()
                .filter(|t| t.is_made())
                .try_for_each(TableFile::end)
        };
        blocking(end).await?;
        self.request.progress.objects_done(Phase::Build, made);
        Ok(StepReport::default())
    }

    async fn postscript(&mut self) -> Outcome<StepReport> {
        let mut sequences = self.sequences().await?;
        let kept = self.made("postscript")?.kept.take();
        sequences.retain(|sequence| self.has_sequence(sequence, kept.as_ref()));
        let folder = self.made("postscript")?.folder.path().to_owned();
        let large_objects = self.large_objects(&folder).await?;
        let is_whole = self.part.is_none();
        let of_database = self.part.as_ref().is_none_or(Part::is_of_the_whole);
        let made = self.made("postscript")?;
        if large_objects {
            made.written.push(script::LARGE_OBJECTS);
            made.written.push(script::LARGE_OBJECT_RIGHTS);
        }
        made.write(script::SEQUENCES, &script::sequences(&sequences))?;
        made.rows_script()?;
        let facts = made.facts.clone();
        let without_schema = made.without_schema.clone();
        let parts = |written| Parts {
            facts: &facts,
            written,
            without_schema: without_schema.as_deref(),
        };
        made.write(script::VIEWS, &parts(&[]).views())?;
        if of_database {
            made.write(script::SETTINGS, &parts(&[]).settings())?;
        }
        let written = made.written.clone();
        made.write(script::LOAD, &parts(&written).load())?;
        made.write(script::CREATE, &parts(&written).create())?;
        let tables = made.tables.iter().flatten();
        let index = Index::of(&made.facts, tables, &made.written, is_whole, &made.notes);
        let index = index.to_json()?;
        made.folder.write(INDEX, &index)?;
        Ok(StepReport::default())
    }

    async fn publish(mut self: Box<Self>) -> Outcome<Published> {
        let folder = self.made("publish")?.folder.path().to_owned();
        let sync = move || {
            for directory in [folder.join(ROWS), folder] {
                let synced = File::open(&directory).and_then(|opened| opened.sync_all());
                synced.map_err(ExportError::file("writing", &directory))?;
            }
            Ok(())
        };
        blocking(sync).await?;
        Ok(Published {
            database: self.request.target_database.clone(),
            kept: None,
        })
    }

    async fn discard(mut self: Box<Self>) -> Outcome<()> {
        match self.made.take() {
            Some(made) => Ok(blocking(move || made.folder.remove()).await?),
            None => Ok(()),
        }
    }
}
