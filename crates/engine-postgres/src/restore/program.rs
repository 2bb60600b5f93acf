//! pg_restore: what of it is used, and how.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncBufReadExt, BufReader};

use super::destination::Destination;
use super::fault::RestoreError;
use super::messages::{self, ToolError};
use super::quote::ident;
use crate::connect::Endpoint;
use crate::error::{PostgresError, tail_of};
use crate::tools::{self, ToolRun, conninfo_of_database};

/// How much of what it says about errors is kept, in bytes.
const KEPT: usize = 1 << 20;

/// Lines of `--verbose` that are no part of an error.
const CHATTER: [&str; 12] = [
    "pg_restore: connecting",
    "pg_restore: creating",
    "pg_restore: entering",
    "pg_restore: executing",
    "pg_restore: finished",
    "pg_restore: implied",
    "pg_restore: launching",
    "pg_restore: processing",
    "pg_restore: setting",
    "pg_restore: skipping",
    "pg_restore: warning: errors ignored",
    "pg_restore: no longer",
];

/// pg_restore of a version that fits, aimed at the working database.
pub(super) struct Program {
    path: PathBuf,
    pg_dump: PathBuf,
    endpoint: Endpoint,
    database: String,
    application_name: String,
}

/// What a run came to.
pub(super) struct Ran {
    status: ExitStatus,
    /// What it said about errors.
    pub(super) said: String,
}

impl Ran {
    /// The errors without the harmless one. A status that no line explains is an error too.
    pub(super) fn errors(&self) -> Vec<ToolError> {
        let found = messages::errors(&self.said);
        // Status 1 with the harmless error alone is as good as 0.
        let explained = self.status.success() || self.status.code() == Some(1);
        if found.is_empty() && (!explained || self.fails_silently()) {
            return vec![ToolError {
                entry: None,
                message: format!("{}: {}", self.status, tail_of(&self.said, 2000)),
                command: None,
            }];
        }
        found
    }

    fn fails_silently(&self) -> bool {
        !self.status.success() && !self.said.contains("pg_restore: error: ")
    }
}

impl Program {
    /// Finds one that is not older than the server, nor than the pg_dump that wrote.
    pub(super) async fn find(
        directories: &[PathBuf],
        needed: u32,
        destination: &Destination,
    ) -> Result<Program, PostgresError> {
        let tools = tools::find(needed, directories).await?;
        Ok(Program {
            path: tools.pg_restore,
            pg_dump: tools.pg_dump,
            endpoint: destination.working_endpoint(),
            database: destination.working.clone(),
            application_name: destination.application_name().to_owned(),
        })
    }

    /// The same program, aimed at that destination's working database.
    pub(super) fn aimed_at(&self, destination: &Destination) -> Program {
        Program {
            path: self.path.clone(),
            pg_dump: self.pg_dump.clone(),
            endpoint: destination.working_endpoint(),
            database: destination.working.clone(),
            application_name: destination.application_name().to_owned(),
        }
    }

    /// Writes what is in the working database, without rows, as a dump: all of it, or what is in
    /// `schemas`.
    pub(super) async fn dump(&self, schemas: &[String], into: &Path) -> Result<(), RestoreError> {
        let (endpoint, name) = (&self.endpoint, &self.application_name);
        let mut run = ToolRun::new("pg_dump", &self.pg_dump, endpoint, name)
            .arg("--format=custom")
            .arg("--schema-only")
            .arg("--no-sync")
            .arg("--no-password");
        for schema in schemas {
            // A pattern: inside double quotes nothing is special.
            run = run.arg(format!("--schema={}", ident(schema)));
        }
        let database = conninfo_of_database(&self.database);
        run.arg("--file")
            .arg(into)
            .arg(format!("--dbname={database}"))
            .run()
            .await?;
        Ok(())
    }

    /// The table of contents of one section: `pre-data` or `post-data`.
    pub(super) async fn list(
        &self,
        dump: &Path,
        section: &str,
        into: &Path,
    ) -> Result<String, RestoreError> {
        let run = self
            .new_run()
            .arg("--list")
            .arg(format!("--section={section}"))
            .arg("--file")
            .arg(into)
            .arg(dump);
        run.run().await?;
        read(into)
    }

    /// The whole table of contents; below an entry stands which others it needs. With `--verbose`
    /// pg_restore does not ask for the section.
    pub(super) async fn list_with_needs(
        &self,
        dump: &Path,
        into: &Path,
    ) -> Result<String, RestoreError> {
        let run = self.new_run().arg("--list").arg("--verbose");
        run.arg("--file").arg(into).arg(dump).run().await?;
        read(into)
    }

    /// The SQL of the entries in a list, without running it.
    pub(super) async fn script(
        &self,
        dump: &Path,
        list: &Path,
        into: &Path,
    ) -> Result<String, RestoreError> {
        let run = self
            .new_run()
            .arg("--verbose")
            .arg("--use-list")
            .arg(list)
            .arg("--file")
            .arg(into)
            .arg(dump);
        run.run().await?;
        read(into)
    }

    /// Restores the entries in a list into the working database. `on_line` is told each line that
    /// pg_restore says, of `--verbose` too. Dropping the future ends it.
    ///
    /// The list alone says what is meant: with `--section` beside it, pg_restore would take a
    /// comment that stands first for one of another section, and leave it out.
    pub(super) async fn restore(
        &self,
        dump: &Path,
        list: &Path,
        arguments: &[String],
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Ran, PostgresError> {
        let mut run = self
            .new_run()
            .arg("--verbose")
            .arg("--dbname")
            .arg(conninfo_of_database(&self.database))
            .arg("--use-list")
            .arg(list);
        for argument in arguments {
            run = run.arg(argument);
        }
        let mut command = run.arg(dump).into_command();
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let failed = |source| PostgresError::ToolStart {
            program: self.path.clone(),
            source,
        };
        let mut child = command.spawn().map_err(failed)?;
        let mut said = String::new();
        if let Some(stderr) = child.stderr.take() {
            let mut lines = BufReader::new(stderr).split(b'\n');
            while let Some(line) = lines.next_segment().await.map_err(failed)? {
                let line = String::from_utf8_lossy(&line);
                on_line(&line);
                let chatter = CHATTER.iter().any(|start| line.starts_with(start));
                if !chatter && said.len() < KEPT {
                    said.push_str(&line);
                    said.push('\n');
                }
            }
        }
        let status = child.wait().await.map_err(failed)?;
        Ok(Ran { status, said })
    }

    fn new_run(&self) -> ToolRun {
        ToolRun::new(
            "pg_restore",
            &self.path,
            &self.endpoint,
            &self.application_name,
        )
    }
}

fn read(path: &Path) -> Result<String, RestoreError> {
    let bytes = fs::read(path).map_err(|source| PostgresError::TemporaryFile {
        doing: "reading what pg_restore wrote",
        source,
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
