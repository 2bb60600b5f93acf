//! An export: a restore into files of a directory, without a database system.
//!
//! Everything is written below a working directory inside the one that was asked for, and moved up
//! at the very end, `index.json` last: where there is an `index.json`, the export is whole.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use model::{
    BoxFault, BrowsedObject, CheckReport, ChosenObject, Connection, Credentials, DatabaseSelection,
    Engine, ExcludedObject, ExportFormat, ExportPlace, Fault, MissingRight, ObjectName, Outcome,
    Parent, Progress, RestoreRequest, Scope, ServerExecutionId, SiteType, Source, SourceRequest,
    Target, safe_file_name,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use vault::Saveset;

use crate::error::{ExportFault, FlowError, Place};
use crate::{DatabaseRestore, RestoreInput, RestoreOptions, restore};

/// Holds everything until the export is whole.
const WORKING: &str = ".backstay-export";
/// Says what is where.
const INDEX: &str = "index.json";

/// What is exported, and where to.
pub struct ExportInput {
    /// The engine of the saveset's site.
    pub engine: Arc<dyn Engine>,
    /// The saveset.
    pub saveset: Saveset,
    /// The databases of it, each whole or in part; [`all_held`](crate::all_held) says whether all is there.
    pub databases: Vec<DatabaseSelection>,
    /// A directory that is not there, or empty.
    pub directory: PathBuf,
    /// How rows are written.
    pub format: ExportFormat,
    /// How many ranges of rows are written at the same time.
    pub streams: usize,
    /// Told how far it is.
    pub progress: Arc<dyn Progress>,
}

/// A database that was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedDatabase {
    /// Its name.
    pub name: ObjectName,
    /// Its directory below the export's.
    pub directory: String,
}

/// What an export came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportOutcome {
    /// The databases.
    pub databases: Vec<ExportedDatabase>,
    /// Rows written.
    pub rows: u64,
    /// Bytes read from the vault.
    pub bytes_read: u64,
    /// What is wrong with what was exported, as a restore would tell it.
    pub errors: Vec<String>,
}

/// Exports databases of a saveset into a directory. Only its owner can read what is written.
///
/// # Errors
/// When the directory is not empty or cannot be written, or with whatever a restore would fail with;
/// what was written is taken away then.
pub async fn export(
    input: ExportInput,
    cancel: CancellationToken,
) -> Result<ExportOutcome, FlowError> {
    let place = Directory::claim(&input.directory)?;
    match write_databases(&input, &place, cancel).await {
        Ok(outcome) => {
            place.publish(&input, &outcome)?;
            Ok(outcome)
        }
        Err(error) => match place.remove() {
            Ok(()) => Err(error),
            Err(why) => Err(FlowError::LeftBehind {
                first: Box::new(error),
                why: (&why as &dyn Fault).sentence(),
            }),
        },
    }
}

async fn write_databases(
    input: &ExportInput,
    place: &Directory,
    cancel: CancellationToken,
) -> Result<ExportOutcome, FlowError> {
    let mut outcome = ExportOutcome {
        databases: Vec::new(),
        rows: 0,
        bytes_read: 0,
        errors: Vec::new(),
    };
    let engine: Arc<dyn Engine> = Arc::new(IntoFiles {
        engine: input.engine.clone(),
        place: ExportPlace {
            directory: place.working(),
            format: input.format,
        },
    });
    let mut taken = BTreeSet::new();
    for wanted in &input.databases {
        let directory = directory_name(&wanted.database, &mut taken);
        let done = restore(
            restore_input(input, &engine, place, wanted, &directory),
            cancel.clone(),
        );
        let done = done.await?;
        outcome.rows += done.rows;
        outcome.bytes_read += done.bytes_read;
        outcome.errors.extend(done.errors);
        outcome.databases.push(ExportedDatabase {
            name: wanted.database.clone(),
            directory,
        });
    }
    Ok(outcome)
}

/// A directory's name for a database, different from all before, also where case does not count.
fn directory_name(database: &ObjectName, taken: &mut BTreeSet<String>) -> String {
    let stem = safe_file_name(&[database.last()]);
    let mut name = stem.clone();
    let mut count = 1;
    while name == INDEX || !taken.insert(name.to_lowercase()) {
        count += 1;
        name = format!("{stem}~{count}");
    }
    name
}

fn restore_input(
    input: &ExportInput,
    engine: &Arc<dyn Engine>,
    place: &Directory,
    wanted: &DatabaseSelection,
    directory: &str,
) -> RestoreInput {
    RestoreInput {
        engine: engine.clone(),
        // Not asked by an export: the engine is told its place.
        connection: Connection::Sqlite {
            path: place.working(),
        },
        credentials: None,
        saveset: input.saveset.clone(),
        databases: vec![DatabaseRestore {
            selection: wanted.clone(),
            target_database: ObjectName::one(directory),
        }],
        options: RestoreOptions {
            as_copy: false,
            replace_existing: false,
            skip_statistics: false,
            skip_indexes: false,
        },
        streams: input.streams,
        limits: Arc::new(Semaphore::new(input.streams.max(1))),
        server_execution_id: execution(&input.saveset),
        earlier: Vec::new(),
        progress: input.progress.clone(),
    }
}

/// An export is no execution of a server: it goes by the one that made the saveset.
fn execution(saveset: &Saveset) -> ServerExecutionId {
    saveset.manifest().contents.execution
}

/// An engine whose target is the export's directory.
struct IntoFiles {
    engine: Arc<dyn Engine>,
    place: ExportPlace,
}

#[async_trait]
impl Engine for IntoFiles {
    fn site_type(&self) -> SiteType {
        self.engine.site_type()
    }

    async fn check(&self, connection: &Connection, streams: usize) -> Outcome<CheckReport> {
        self.engine.check(connection, streams).await
    }

    async fn browse(
        &self,
        connection: &Connection,
        parent: &Parent,
    ) -> Outcome<Vec<BrowsedObject>> {
        self.engine.browse(connection, parent).await
    }

    async fn open_source(
        &self,
        connection: &Connection,
        request: SourceRequest,
    ) -> Outcome<Box<dyn Source>> {
        self.engine.open_source(connection, request).await
    }

    async fn restore_permissions(
        &self,
        connection: &Connection,
        credentials: Option<&Credentials>,
    ) -> Outcome<Vec<MissingRight>> {
        self.engine
            .restore_permissions(connection, credentials)
            .await
    }

    async fn open_target(
        &self,
        _: &Connection,
        _: Option<&Credentials>,
        request: RestoreRequest,
    ) -> Outcome<Box<dyn Target>> {
        self.engine.open_export(&self.place, request).await
    }

    async fn open_export(
        &self,
        place: &ExportPlace,
        request: RestoreRequest,
    ) -> Outcome<Box<dyn Target>> {
        self.engine.open_export(place, request).await
    }
}

/// The directory that was asked for.
struct Directory {
    path: PathBuf,
    /// Whether it was not there before.
    is_ours: bool,
}

impl Directory {
    /// Takes a directory that is empty, or not there, for this export.
    fn claim(path: &Path) -> Result<Directory, FlowError> {
        let is_ours = match fs::read_dir(path) {
            Ok(mut entries) => {
                if let Some(found) = entries.next() {
                    let found = found.map_err(failed("reading", path))?;
                    return Err(FlowError::ExportNotEmpty {
                        path: path.to_owned(),
                        found: found.file_name().to_string_lossy().into_owned(),
                    });
                }
                false
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut builder = DirBuilder::new();
                let made = builder.recursive(true).mode(0o700).create(path);
                made.map_err(failed("making", path))?;
                true
            }
            Err(error) => return Err(failed("reading", path)(error)),
        };
        let directory = Directory {
            path: path.to_owned(),
            is_ours,
        };
        let working = directory.working();
        let made = DirBuilder::new().mode(0o700).create(&working);
        made.map_err(failed("making", &working))?;
        Ok(directory)
    }

    fn working(&self) -> PathBuf {
        self.path.join(WORKING)
    }

    /// Moves everything up, and says at the end that it is whole.
    fn publish(&self, input: &ExportInput, outcome: &ExportOutcome) -> Result<(), FlowError> {
        let working = self.working();
        for database in &outcome.databases {
            let from = working.join(&database.directory);
            // A memory engine's export has made none.
            if from.exists() {
                let to = self.path.join(&database.directory);
                fs::rename(&from, &to).map_err(failed("moving", &from))?;
            }
        }
        let index = working.join(INDEX);
        let write = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&index)?;
            file.write_all(index_of(input, outcome).as_bytes())?;
            file.sync_all()
        };
        write().map_err(failed("writing", &index))?;
        let to = self.path.join(INDEX);
        fs::rename(&index, &to).map_err(failed("moving", &index))?;
        fs::remove_dir(&working).map_err(failed("removing", &working))?;
        let synced = File::open(&self.path).and_then(|opened| opened.sync_all());
        synced.map_err(failed("writing", &self.path))
    }

    /// Leaves everything as it was found.
    fn remove(&self) -> Result<(), FlowError> {
        let working = self.working();
        fs::remove_dir_all(&working).map_err(failed("removing", &working))?;
        if self.is_ours {
            fs::remove_dir(&self.path).map_err(failed("removing", &self.path))?;
        }
        Ok(())
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FlowError {
    move |source| {
        let fault: BoxFault = Box::new(ExportFault {
            path: path.to_owned(),
            source,
        });
        Place::outside(doing).fault(fault)
    }
}

fn index_of(input: &ExportInput, outcome: &ExportOutcome) -> String {
    let contents = &input.saveset.manifest().contents;
    let databases: Vec<serde_json::Value> = outcome
        .databases
        .iter()
        .zip(&input.databases)
        .map(|(database, wanted)| {
            // null: everything.
            let (objects, left_out) = match &wanted.scope {
                Scope::Whole { exclude } => (None, exclude.as_slice()),
                Scope::Only(chosen) => (Some(chosen), &[][..]),
            };
            let listed = |objects: &Vec<ChosenObject>| -> Vec<String> {
                objects.iter().map(ChosenObject::to_string).collect()
            };
            let left_out: Vec<String> = left_out.iter().map(ExcludedObject::to_string).collect();
            serde_json::json!({
                "name": database.name.last(),
                "directory": database.directory,
                "objects": objects.map(listed),
                "left_out": left_out,
            })
        })
        .collect();
    let index = serde_json::json!({
        "format": 1,
        "saveset_id": input.saveset.id().to_string(),
        "site_id": contents.site_id.to_string(),
        "site_type": contents.site_type.to_string(),
        "job_id": contents.job_id.to_string(),
        "job_name": contents.job_name,
        "rows_format": input.format.to_string(),
        "rows": outcome.rows,
        "databases": databases,
        "errors": outcome.errors,
    });
    format!("{index:#}\n")
}
