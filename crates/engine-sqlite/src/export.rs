//! An export: the database file itself in a directory of its own, checked as a restored one is, and
//! beside it the same as SQL or as CSV files.

mod csv;
mod dump;
mod writing;

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use model::{
    Connection as SiteConnection, DatabaseSelection, ExcludedObject, ExportFormat, ExportPlace,
    Findings, ObjectName, ObjectType, Outcome, Published, RestoreRequest, Scope, SegmentLoader,
    StepReport, Target, safe_file_name,
};
use serde_json::json;

use crate::error::{SqliteError, blocking};
use crate::facts::PageFacts;
use crate::restore::{SqliteTarget, immutable_reader};
use crate::shape::{Kind, Shape, shapes};
use crate::site::SiteDirectory;

const DUMP: &str = "dump.sql";
const ROWS: &str = "rows";
const INDEX: &str = "index.json";

/// One database on its way into files.
pub(crate) struct ExportTarget {
    folder: PathBuf,
    format: ExportFormat,
    request: RestoreRequest,
    /// The restore of the file, once its directory is there.
    file: Option<Box<SqliteTarget>>,
}

impl ExportTarget {
    pub(crate) fn open(place: &ExportPlace, request: RestoreRequest) -> Result<Self, SqliteError> {
        let request = RestoreRequest {
            selection: without_the_rest(&request)?,
            ..request
        };
        Ok(ExportTarget {
            folder: place.directory.join(request.target_database.last()),
            format: place.format,
            request,
            file: None,
        })
    }

    fn file(&mut self, step: &'static str) -> Result<&mut SqliteTarget, SqliteError> {
        let missing = SqliteError::Order {
            step,
            needs: "prepare",
        };
        self.file.as_deref_mut().ok_or(missing)
    }

    /// The name of the file: the database's own, where it is safe.
    fn file_name(&self) -> String {
        safe_file_name(&[self.request.selection.database.last()])
    }
}

/// Chosen tables and views as the whole file without the others: only a restore brings tables into a
/// file that is there.
fn without_the_rest(request: &RestoreRequest) -> Result<DatabaseSelection, SqliteError> {
    let selection = &request.selection;
    let Scope::Only(chosen) = &selection.scope else {
        return Ok(selection.clone());
    };
    let stands = |kind| matches!(kind, ObjectType::Table | ObjectType::View);
    if let Some(other) = chosen.iter().find(|object| !stands(object.object_type)) {
        return Err(SqliteError::NotAlone {
            what: other.to_string(),
            why: "only tables and views can be",
        });
    }
    let rest = request.objects.iter().filter(|object| {
        stands(object.object_type) && !selection.takes("", object.name.last(), object.object_type)
    });
    let exclude = rest.map(|object| ExcludedObject::new(object.name.clone(), object.object_type));
    Ok(DatabaseSelection {
        database: selection.database.clone(),
        scope: Scope::Whole {
            exclude: exclude.collect(),
        },
    })
}

/// Makes the directory, and the restore into it.
fn prepare(folder: &Path, request: RestoreRequest) -> Result<SqliteTarget, SqliteError> {
    let made = DirBuilder::new().mode(0o700).create(folder);
    made.map_err(|error| SqliteError::file("making the directory", folder, error))?;
    let site = SiteDirectory::open(&SiteConnection::Sqlite {
        path: folder.to_owned(),
    })?;
    SqliteTarget::open_private(site, request)
}

#[async_trait]
impl Target for ExportTarget {
    async fn findings(&mut self) -> Outcome<Findings> {
        Ok(Findings {
            bytes_needed: self.request.tables.iter().map(|table| table.bytes).sum(),
            steps: vec![format!("Write the files into {}.", self.folder.display())],
            ..Findings::default()
        })
    }

    async fn prepare(&mut self) -> Outcome<()> {
        if self.file.is_some() {
            return Ok(());
        }
        let mut request = self.request.clone();
        request.target_database = ObjectName::one(self.file_name());
        let folder = self.folder.clone();
        let target = blocking(move || prepare(&folder, request)).await?;
        self.file.insert(Box::new(target)).prepare().await
    }

    async fn loader(&mut self) -> Outcome<Box<dyn SegmentLoader>> {
        self.file("loader")?.loader().await
    }

    async fn build(&mut self, parallel: usize) -> Outcome<StepReport> {
        self.file("build")?.build(parallel).await
    }

    async fn postscript(&mut self) -> Outcome<StepReport> {
        let mut report = self.file("postscript")?.postscript().await?;
        let (folder, format, name) = (self.folder.clone(), self.format, self.file_name());
        let database = self.request.selection.database.last().to_owned();
        let (path, pages) = self.file("postscript")?.written()?;
        let written = blocking(move || {
            let files = Files {
                folder: &folder,
                path: &path,
                pages,
            };
            files.write(format, &database, &name)
        });
        report.errors.extend(written.await?);
        Ok(report)
    }

    async fn publish(mut self: Box<Self>) -> Outcome<Published> {
        let missing = SqliteError::Order {
            step: "publish",
            needs: "prepare",
        };
        let file = self.file.take().ok_or(missing)?;
        if let Err(error) = file.publish().await {
            remove(self.folder).await?;
            return Err(error);
        }
        Ok(Published {
            database: self.request.target_database.clone(),
            kept: None,
        })
    }

    async fn discard(mut self: Box<Self>) -> Outcome<()> {
        if let Some(file) = self.file.take() {
            file.discard().await?;
        }
        Ok(remove(self.folder).await?)
    }
}

async fn remove(folder: PathBuf) -> Result<(), SqliteError> {
    blocking(move || match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(SqliteError::file("removing", &folder, error))
        }
        _ => Ok(()),
    })
    .await
}

/// The files beside the database's own.
struct Files<'a> {
    folder: &'a Path,
    /// The database, complete.
    path: &'a Path,
    pages: PageFacts,
}

impl Files<'_> {
    /// Answers what could not be read, as sentences: a damaged database is exported as far as it goes.
    fn write(
        &self,
        format: ExportFormat,
        database: &str,
        file: &str,
    ) -> Result<Vec<String>, SqliteError> {
        let mut errors = Vec::new();
        let mut tables = Vec::new();
        match (immutable_reader(self.path, self.pages)?, format) {
            (None, _) => {}
            (Some(reader), ExportFormat::Sql) => {
                let path = self.folder.join(DUMP);
                let dumped = writing::file(&path, self.path, |out| dump::dump(&reader, out));
                errors.extend(unless_read(dumped, DUMP)?);
            }
            (Some(reader), ExportFormat::Csv) => {
                let shapes = shapes(&reader, "main")
                    .map_err(|error| SqliteError::of("reading", self.path, error))?;
                let made = DirBuilder::new().mode(0o700).create(self.folder.join(ROWS));
                made.map_err(|error| SqliteError::file("making", &self.folder.join(ROWS), error))?;
                let mut taken = BTreeSet::new();
                for shape in shapes.iter().filter(|shape| shape.kind != Kind::Shadow) {
                    let name = csv_name(&shape.name, &mut taken);
                    match self.csv(&reader, shape, &name) {
                        Ok(rows) => {
                            tables.push(json!({ "name": shape.name, "file": name, "rows": rows }))
                        }
                        Err(error) => errors.extend(unless_read(Err(error), &shape.name)?),
                    }
                }
            }
        }
        let index = json!({
            "format": 1,
            "database": database,
            "file": file,
            "dump": (format == ExportFormat::Sql && self.pages.page_count > 0).then_some(DUMP),
            "tables": tables,
            "errors": errors,
        });
        let path = self.folder.join(INDEX);
        writing::file(&path, self.path, |out| {
            use std::io::Write;
            writeln!(out, "{index:#}").map_err(Into::into)
        })?;
        let synced = File::open(self.folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| SqliteError::file("writing", self.folder, error))?;
        Ok(errors)
    }

    fn csv(
        &self,
        reader: &rusqlite::Connection,
        shape: &Shape,
        name: &str,
    ) -> Result<u64, SqliteError> {
        let mut rows = 0;
        writing::file(&self.folder.join(name), self.path, |out| {
            rows = csv::table(reader, shape, out)?;
            Ok(())
        })?;
        Ok(rows)
    }
}

fn csv_name(table: &str, taken: &mut BTreeSet<String>) -> String {
    let stem = safe_file_name(&[table]);
    let mut name = format!("{stem}.csv");
    let mut count = 1;
    while !taken.insert(name.to_lowercase()) {
        count += 1;
        name = format!("{stem}~{count}.csv");
    }
    format!("{ROWS}/{name}")
}

/// What could not be written ends the export; what could not be read is told.
fn unless_read(done: Result<(), SqliteError>, what: &str) -> Result<Option<String>, SqliteError> {
    match done {
        Ok(()) => Ok(None),
        Err(error @ SqliteError::File { .. }) => Err(error),
        Err(error) => {
            let fault: &dyn model::Fault = &error;
            Ok(Some(format!(
                "{what} is not complete: {}",
                fault.sentence()
            )))
        }
    }
}
