//! DDL: pg_restore turns the dump into SQL, in the parts that rows stand between.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::fault::ExportError;
use super::files::create;
use crate::facts::DatabaseFacts;
use crate::restore::{Entry, Step, Toc, list};
use crate::tools::{self, ToolRun};

/// What pg_restore is given to read; removed at the end.
const LIST: &str = ".list";

/// Scripts, by the file that each goes into.
pub(super) const BEFORE_ROWS: &str = "schema-before-rows.sql";
pub(super) const AFTER_ROWS: &str = "schema-after-rows.sql";
pub(super) const RIGHTS: &str = "rights.sql";
pub(super) const EVENT_TRIGGERS: &str = "event-triggers.sql";
pub(super) const STATISTICS: &str = "statistics.sql";
pub(super) const SUBSCRIPTIONS: &str = "subscriptions.sql";

/// The tables of contents of a dump's sections.
pub(super) struct Contents {
    before: Toc,
    data: Toc,
    after: Toc,
}

impl Contents {
    /// Every entry.
    pub(super) fn all(&self) -> Vec<&Entry> {
        let parts = [&self.before, &self.data, &self.after];
        parts.into_iter().flat_map(|toc| &toc.entries).collect()
    }

    /// Leaves only these.
    pub(super) fn retain(&mut self, kept: &BTreeSet<u32>) {
        for toc in [&mut self.before, &mut self.data, &mut self.after] {
            toc.entries.retain(|entry| kept.contains(&entry.id));
        }
    }
}

/// Writes the scripts of a dump. Answers their names; a script of nothing is not written.
pub(super) struct Schema<'a> {
    pub(super) folder: &'a Path,
    pub(super) dump: &'a Path,
    pub(super) facts: &'a DatabaseFacts,
    program: PathBuf,
}

impl<'a> Schema<'a> {
    /// Finds a pg_restore that is not older than the pg_dump that wrote; `None`: there is none, as
    /// the text says.
    pub(super) async fn of(
        folder: &'a Path,
        dump: &'a Path,
        facts: &'a DatabaseFacts,
        directories: &[PathBuf],
    ) -> Result<Schema<'a>, String> {
        match tools::find(facts.dump_tool_major, directories).await {
            Ok(tools) => Ok(Schema {
                folder,
                dump,
                facts,
                program: tools.pg_restore,
            }),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What is in the dump, and what each entry needs.
    pub(super) async fn contents(&self) -> Result<Contents, ExportError> {
        // With `--verbose` pg_restore does not ask for the section.
        let all = self.list(&["--verbose".as_ref()]).await?;
        Ok(Contents {
            before: self.section("pre-data").await?.with_needs(&all),
            data: self.section("data").await?.with_needs(&all),
            after: self.section("post-data").await?.with_needs(&all),
        })
    }

    /// Writes the scripts of these entries.
    pub(super) async fn write(
        &self,
        contents: &Contents,
    ) -> Result<Vec<&'static str>, ExportError> {
        let Contents {
            before,
            data,
            after,
        } = contents;
        let both = || before.entries.iter().chain(&after.entries);
        let step = |step: Step| both().filter(move |entry| entry.step() == step);
        let statistics = data.entries.iter().chain(&after.entries);
        let subscription = |entry: &&Entry| {
            entry.kind == "SUBSCRIPTION" || entry.rest.starts_with("- SUBSCRIPTION ")
        };
        let scripts: [(&'static str, Vec<&Entry>); 6] = [
            (BEFORE_ROWS, self.wanted(before.of_step(Step::Objects))),
            (AFTER_ROWS, self.wanted(after.of_step(Step::Objects))),
            (RIGHTS, step(Step::Rights).collect()),
            (EVENT_TRIGGERS, step(Step::EventTriggers).collect()),
            (
                STATISTICS,
                statistics.filter(|e| e.kind == "STATISTICS DATA").collect(),
            ),
            (SUBSCRIPTIONS, both().filter(subscription).collect()),
        ];
        let mut written = Vec::new();
        for (name, entries) in scripts {
            if !entries.is_empty() {
                self.script(name, &entries).await?;
                written.push(name);
            }
        }
        Ok(written)
    }

    /// A new database has the schema public; the dump may only say whose it is.
    fn wanted<'e>(&self, entries: Vec<&'e Entry>) -> Vec<&'e Entry> {
        let owners = &self.facts.needs.owners;
        let has_owner = |entry: &&Entry| !entry.is_schema_public() || entry.owner(owners).is_some();
        entries.into_iter().filter(has_owner).collect()
    }

    async fn section(&self, section: &str) -> Result<Toc, ExportError> {
        let option = format!("--section={section}");
        self.list(&[option.as_ref()]).await
    }

    async fn list(&self, options: &[&OsStr]) -> Result<Toc, ExportError> {
        let into = self.folder.join(LIST);
        let arguments = [&["--list".as_ref()], options].concat();
        self.run(&arguments, &into).await?;
        let bytes = fs::read(&into).map_err(ExportError::file("reading", &into))?;
        remove(&into)?;
        Ok(Toc::parse(&String::from_utf8_lossy(&bytes)))
    }

    async fn script(&self, name: &str, entries: &[&Entry]) -> Result<(), ExportError> {
        let wanted = self.folder.join(LIST);
        fs::write(&wanted, list(entries.iter().copied()))
            .map_err(ExportError::file("writing", &wanted))?;
        let into = self.folder.join(name);
        let arguments: [&OsStr; 2] = ["--use-list".as_ref(), wanted.as_ref()];
        self.run(&arguments, &into).await?;
        remove(&wanted)?;
        let bytes = fs::read(&into).map_err(ExportError::file("reading", &into))?;
        fs::write(&into, for_any_server(bytes)).map_err(ExportError::file("writing", &into))?;
        let file = fs::File::open(&into).map_err(ExportError::file("opening", &into))?;
        file.sync_all().map_err(ExportError::file("writing", &into))
    }

    async fn run(&self, arguments: &[&OsStr], into: &Path) -> Result<(), ExportError> {
        // pg_restore would make it readable to others.
        create(into).map_err(ExportError::file("making", into))?;
        let mut run = ToolRun::without_server("pg_restore", &self.program);
        for argument in arguments {
            run = run.arg(*argument);
        }
        run.arg("--file").arg(into).arg(self.dump).run().await?;
        Ok(())
    }
}

fn remove(path: &Path) -> Result<(), ExportError> {
    fs::remove_file(path).map_err(ExportError::file("removing", path))
}

/// Servers before 17 do not know the one setting, which changes nothing in a session of psql. The
/// script is in the database's encoding.
fn for_any_server(mut script: Vec<u8>) -> Vec<u8> {
    const LINE: &[u8] = b"\nSET transaction_timeout = 0;\n";
    let found = script.windows(LINE.len()).position(|window| window == LINE);
    if let Some(at) = found {
        script.drain(at..at + LINE.len() - 1);
    }
    script
}
