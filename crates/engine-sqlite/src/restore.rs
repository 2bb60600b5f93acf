//! The place that a file is restored to.

mod loader;
mod occupant;
mod publish;
mod verify;
mod working_file;

use std::sync::Arc;

use async_trait::async_trait;
use model::{
    Findings, Obstacle, Outcome, Phase, Published, RestoreRequest, RowFormat, SegmentLoader,
    SiteType, StepReport, Target,
};

use crate::error::{SqliteError, blocking};
use crate::facts::{FileFacts, PageFacts};
use crate::site::{FileName, SiteDirectory};
use loader::PageLoader;
use occupant::Occupant;
pub(crate) use verify::open as immutable_reader;
use working_file::WorkingFile;

/// One file in the making. Dropping it takes the working file away and touches nothing else.
pub(crate) struct SqliteTarget {
    site: SiteDirectory,
    name: FileName,
    request: RestoreRequest,
    pages: PageFacts,
    facts: FileFacts,
    working: Option<Arc<WorkingFile>>,
}

impl SqliteTarget {
    pub(crate) fn open(site: SiteDirectory, request: RestoreRequest) -> Result<Self, SqliteError> {
        let not_ours = |why: &str| SqliteError::Saveset {
            why: why.to_owned(),
        };
        if request.source_type != SiteType::Sqlite {
            return Err(not_ours("it was made from a PostgreSQL database"));
        }
        if !request.selection.is_whole() {
            return Err(SqliteError::NotBuiltYet {
                what: "restoring a part of a SQLite file".to_owned(),
            });
        }
        let [table] = request.tables.as_slice() else {
            return Err(not_ours("it does not hold the pages of exactly one file"));
        };
        if table.plan.format != RowFormat::Pages {
            return Err(not_ours("its rows are no pages"));
        }
        let pages = PageFacts::from_value(&table.plan.facts)?;
        let facts = FileFacts::from_closing(&request.facts)?;
        Ok(SqliteTarget {
            name: FileName::of(&request.target_database)?,
            site,
            request,
            pages,
            facts,
            working: None,
        })
    }

    /// A restore whose file nobody else can read, whatever the one that was backed up allowed.
    pub(crate) fn open_private(
        site: SiteDirectory,
        request: RestoreRequest,
    ) -> Result<Self, SqliteError> {
        let mut target = SqliteTarget::open(site, request)?;
        target.facts.file.mode = 0o600;
        Ok(target)
    }

    /// The file in the making, and what its pages are.
    pub(crate) fn written(&self) -> Result<(std::path::PathBuf, PageFacts), SqliteError> {
        let working = self.working("written")?;
        Ok((working.path().to_owned(), working.pages()))
    }

    fn working(&self, step: &'static str) -> Result<Arc<WorkingFile>, SqliteError> {
        let needs = "prepare";
        self.working
            .clone()
            .ok_or(SqliteError::Order { step, needs })
    }

    /// Looks at what stands at the target, off the runtime's threads.
    async fn occupant(&self) -> Result<Occupant, SqliteError> {
        let (site, name) = (self.site.clone(), self.name.clone());
        blocking(move || Occupant::look(&site, &name)).await
    }

    fn obstacles(&self, occupant: &Occupant) -> Vec<Obstacle> {
        let mut obstacles: Vec<Obstacle> = [
            (self.request.skip_indexes, "skip_indexes"),
            (self.request.skip_statistics, "skip_statistics"),
        ]
        .into_iter()
        .filter(|(asked, _)| *asked)
        .map(|(_, what)| Obstacle {
            code: "not-built-yet".to_owned(),
            detail: format!("{what} cannot be kept: a SQLite file is restored page by page, with all that is in it."),
            remedy: Some(format!("Leave {what} out.")),
        })
        .collect();
        obstacles.extend(occupant.obstacle(
            self.name.as_str(),
            self.request.as_copy,
            self.request.replace_existing,
        ));
        obstacles
    }

    fn steps(&self, occupant: &Occupant) -> Vec<String> {
        let name = self.name.as_str();
        let mut steps = vec![
            format!(
                "Write {} pages of {} bytes into a working file beside {name}.",
                self.pages.page_count, self.pages.page_size
            ),
            "Check the working file with PRAGMA integrity_check.".to_owned(),
            format!(
                "Count the rows of {} tables and compare.",
                self.facts.rows.len()
            ),
        ];
        if occupant.is_there() {
            steps.push(format!(
                "Keep the present {name} under a name that begins with {}.",
                publish::kept_stem(&self.name)
            ));
        }
        steps.push(format!("Rename the working file to {name}."));
        steps
    }
}

#[async_trait]
impl Target for SqliteTarget {
    async fn findings(&mut self) -> Outcome<Findings> {
        let occupant = self.occupant().await?;
        let mut warnings = Vec::new();
        if occupant.is_there() {
            warnings.push(format!(
                "Programs that have {} open must close it first and open it again afterwards: they would go on with the file that is put aside.",
                self.name.as_str()
            ));
        }
        Ok(Findings {
            obstacles: self.obstacles(&occupant),
            warnings,
            steps: self.steps(&occupant),
            bytes_needed: self.pages.bytes(),
        })
    }

    async fn prepare(&mut self) -> Outcome<()> {
        if self.working.is_some() {
            return Ok(());
        }
        let occupant = self.occupant().await?;
        publish::refuse(self.obstacles(&occupant))?;
        let (site, name, pages) = (self.site.clone(), self.name.clone(), self.pages);
        let execution = self.request.server_execution_id;
        let earlier = self.request.earlier.clone();
        let make = move || {
            for dead in earlier {
                working_file::remove_left(site.path(), &name, dead)?;
            }
            WorkingFile::make(site.path(), &name, execution, pages)
        };
        self.working = Some(Arc::new(blocking(make).await?));
        Ok(())
    }

    async fn loader(&mut self) -> Outcome<Box<dyn SegmentLoader>> {
        Ok(Box::new(PageLoader::new(self.working("loader")?)))
    }

    async fn build(&mut self, _parallel: usize) -> Outcome<StepReport> {
        let working = self.working("build")?;
        self.request.progress.phase_total(Phase::Build, 1);
        let found = blocking(move || {
            working.complete()?;
            verify::integrity(working.path(), working.pages())
        })
        .await?;
        for text in found.warnings() {
            self.request.progress.warning(text);
        }
        if !found.damage.is_empty() && self.occupant().await?.is_filled() {
            return Err(SqliteError::Integrity {
                target: self.site.file(&self.name),
                findings: found.damage.join("; "),
            }
            .into());
        }
        self.request.progress.objects_done(Phase::Build, 1);
        Ok(StepReport {
            errors: found.damage,
        })
    }

    async fn postscript(&mut self) -> Outcome<StepReport> {
        let working = self.working("postscript")?;
        let expected = self.facts.rows.clone();
        let tables = expected.len() as u64;
        self.request.progress.phase_total(Phase::Postscript, tables);
        blocking(move || verify::rows(working.path(), working.pages(), &expected)).await?;
        self.request
            .progress
            .objects_done(Phase::Postscript, tables);
        Ok(StepReport::default())
    }

    async fn publish(mut self: Box<Self>) -> Outcome<Published> {
        let working = self.working("publish")?;
        self.working = None;
        let occupant = self.occupant().await?;
        publish::refuse(self.obstacles(&occupant))?;
        let publishing = publish::Publishing {
            site: self.site.clone(),
            name: self.name.clone(),
            execution: self.request.server_execution_id,
            source_mode: self.facts.file.mode,
        };
        let done = blocking(move || publishing.run(working)).await?;
        for text in done.warnings {
            self.request.progress.warning(text);
        }
        Ok(Published {
            database: self.name.object_name(),
            kept: done.kept.map(model::ObjectName::one),
        })
    }

    async fn discard(mut self: Box<Self>) -> Outcome<()> {
        match self.working.take() {
            Some(working) => Ok(blocking(move || WorkingFile::discard(working)).await?),
            None => Ok(()),
        }
    }
}
