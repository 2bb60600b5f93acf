//! The saveset's dictionary, beside us while a restore runs: files of mode 0600 in a directory of
//! mode 0700, gone with this value. User mappings make it a secret.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use model::{DictionaryReader, Outcome};
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use super::destination::Destination;
use super::fault::RestoreError;
use super::program::Program;
use super::toc::{Entry, Toc, list};
use crate::error::PostgresError;
use crate::facts::{DatabaseFacts, FACTS_VERSION, part};

/// The dictionary of one database.
pub(super) struct Dictionary {
    /// What is said about the database itself.
    pub(super) facts: DatabaseFacts,
    /// What is made before rows are loaded.
    pub(super) before_rows: Toc,
    /// What is made after them.
    pub(super) after_rows: Toc,
    /// What goes with them: statistics of tables.
    beside_rows: Toc,
    /// What restores it.
    pub(super) program: Program,
    /// Whether it holds large objects.
    has_large_objects: bool,
    folder: TempDir,
}

impl Dictionary {
    /// Takes the dictionary out of the saveset. `server_major` is the target's.
    pub(super) async fn fetch(
        reader: &dyn DictionaryReader,
        directories: &[PathBuf],
        server_major: u32,
        destination: &Destination,
    ) -> Outcome<Dictionary> {
        let facts = database_facts(reader).await?;
        let needed = server_major.max(facts.dump_tool_major);
        let program = Program::find(directories, needed, destination).await?;
        let folder = folder()?;
        let dump = folder.path().join(part::SCHEMA_DUMP);
        if !to_file(reader, part::SCHEMA_DUMP, &dump).await? {
            let part = part::SCHEMA_DUMP;
            return Err(RestoreError::PartMissing { part }.into());
        }
        let large_objects = folder.path().join(part::LARGE_OBJECTS);
        let has_large_objects = to_file(reader, part::LARGE_OBJECTS, &large_objects).await?;
        Ok(Dictionary::listed(facts, program, has_large_objects, folder).await?)
    }

    /// Reads the tables of contents of the dump in the folder.
    async fn listed(
        facts: DatabaseFacts,
        program: Program,
        has_large_objects: bool,
        folder: TempDir,
    ) -> Result<Dictionary, RestoreError> {
        let dump = folder.path().join(part::SCHEMA_DUMP);
        let listing = folder.path().join("listing");
        let before = program.list(&dump, "pre-data", &listing).await?;
        let beside = program.list(&dump, "data", &listing).await?;
        let after = program.list(&dump, "post-data", &listing).await?;
        let all = Toc::parse(&program.list_with_needs(&dump, &listing).await?);
        Ok(Dictionary {
            facts,
            before_rows: Toc::parse(&before).with_needs(&all),
            after_rows: Toc::parse(&after).with_needs(&all),
            beside_rows: Toc::parse(&beside),
            program,
            has_large_objects,
            folder,
        })
    }

    /// The dictionary that a scratch database gives, for a restore to `destination`: of what is in
    /// `schemas`, or of all of it, with the large objects.
    pub(super) async fn dumped_from(
        &self,
        scratch: &Destination,
        schemas: &[String],
        destination: &Destination,
    ) -> Result<Dictionary, RestoreError> {
        let folder = folder()?;
        let dump = folder.path().join(part::SCHEMA_DUMP);
        let doing = "writing the dictionary";
        // Made by us first, so that nobody else may read it.
        private(&dump).map_err(failed(doing))?;
        let program = self.program.aimed_at(scratch);
        program.dump(schemas, &dump).await?;
        let has_large_objects = self.has_large_objects && schemas.is_empty();
        if has_large_objects {
            let (from, to) = (part::LARGE_OBJECTS, folder.path().join(part::LARGE_OBJECTS));
            private(&to).map_err(failed(doing))?;
            std::fs::copy(self.scratch(from), to).map_err(failed(doing))?;
        }
        let program = self.program.aimed_at(destination);
        let mut facts = self.facts.clone();
        facts.needs.schemas.extend(schemas.iter().cloned());
        Dictionary::listed(facts, program, has_large_objects, folder).await
    }

    /// From now on pg_restore makes things in that destination's working database.
    pub(super) fn aim_at(&mut self, destination: &Destination) {
        self.program = self.program.aimed_at(destination);
    }

    /// The file that pg_dump wrote.
    pub(super) fn dump(&self) -> PathBuf {
        self.folder.path().join(part::SCHEMA_DUMP)
    }

    /// Writes a list for `--use-list`, in place of the one before of that name.
    pub(super) fn list_of<'a>(
        &self,
        name: &str,
        entries: impl IntoIterator<Item = &'a Entry>,
    ) -> Result<PathBuf, RestoreError> {
        let path = self.scratch(name);
        let doing = "writing a list for pg_restore";
        let mut file = private(&path).map_err(failed(doing))?;
        file.write_all(list(entries).as_bytes())
            .map_err(failed(doing))?;
        Ok(path)
    }

    /// The planner's statistics, of tables and of indexes.
    pub(super) fn statistics(&self) -> impl Iterator<Item = &Entry> {
        let all = self.beside_rows.entries.iter();
        let all = all.chain(&self.after_rows.entries);
        all.filter(|entry| entry.kind == "STATISTICS DATA")
    }

    /// A path for a file of ours.
    pub(super) fn scratch(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The facts of large objects, a line each; `None`: there are none.
    pub(super) fn large_objects(&self) -> Result<Option<BufReader<File>>, RestoreError> {
        if !self.has_large_objects {
            return Ok(None);
        }
        let file = File::open(self.scratch(part::LARGE_OBJECTS))
            .map_err(failed("reading the large objects' facts"))?;
        Ok(Some(BufReader::new(file)))
    }
}

/// One line of a part that has one JSON object a line.
pub(crate) fn json_line<T: DeserializeOwned>(part: &str, line: &[u8]) -> Result<T, RestoreError> {
    serde_json::from_slice(line).map_err(|source| RestoreError::Facts {
        part: part.to_owned(),
        source,
    })
}

/// All bytes of a part; `None` where the saveset has no such part.
pub(crate) async fn whole_part(
    reader: &dyn DictionaryReader,
    part: &str,
) -> Outcome<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let there = reader.write_to(part, &mut bytes).await?;
    Ok(there.then_some(bytes))
}

pub(crate) async fn database_facts(reader: &dyn DictionaryReader) -> Outcome<DatabaseFacts> {
    let part = part::DATABASE;
    let Some(bytes) = whole_part(reader, part).await? else {
        return Err(RestoreError::PartMissing { part }.into());
    };
    let facts: DatabaseFacts = json_line(part, &bytes)?;
    check_version(part, facts.version)?;
    Ok(facts)
}

/// Refuses what a newer build has written.
pub(super) fn check_version(part: &str, found: u32) -> Result<(), RestoreError> {
    if found > FACTS_VERSION {
        return Err(RestoreError::TooNew {
            part: part.to_owned(),
            found,
            known: FACTS_VERSION,
        });
    }
    Ok(())
}

fn folder() -> Result<TempDir, RestoreError> {
    tempfile::Builder::new()
        .prefix("backstay-restore-")
        .tempdir()
        .map_err(failed("making a directory for the dictionary"))
}

async fn to_file(reader: &dyn DictionaryReader, part: &str, path: &Path) -> Outcome<bool> {
    let doing = "writing the dictionary";
    let mut file = BufWriter::new(private(path).map_err(failed(doing))?);
    let there = reader.write_to(part, &mut file).await?;
    file.flush().map_err(failed(doing))?;
    Ok(there)
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

/// An error of one of our files.
pub(super) fn failed(doing: &'static str) -> impl FnOnce(io::Error) -> RestoreError {
    move |source| RestoreError::Postgres(PostgresError::TemporaryFile { doing, source })
}
