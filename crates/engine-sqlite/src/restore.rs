//! The place that a file is restored to.

mod leave_out;
mod loader;
mod new_file;
mod occupant;
mod publish;
mod tables;
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
use tables::{Bringing, Brought, Wanted};
pub(crate) use verify::open as immutable_reader;
use working_file::WorkingFile;

/// One file in the making. Dropping it takes the working file away and touches nothing else.
pub(crate) struct SqliteTarget {
    site: SiteDirectory,
    name: FileName,
    request: RestoreRequest,
    pages: PageFacts,
    facts: FileFacts,
    /// The tables that are restored by themselves; `None`: the file is.
    wanted: Option<Vec<Wanted>>,
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
        let wanted = tables::wanted(&request.selection.scope)?;
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
            wanted,
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
        if let Some(wanted) = &self.wanted {
            return self.obstacles_to_tables(wanted, occupant);
        }
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

    /// Whether a table of that name is there is looked at again when it is put in its place.
    fn obstacles_to_tables(&self, wanted: &[Wanted], occupant: &Occupant) -> Vec<Obstacle> {
        let missing = |table: &&Wanted| {
            let is_it = |object: &model::SavesetObject| {
                object.object_type == model::ObjectType::Table && object.name.last() == table.from
            };
            !self.request.objects.is_empty() && !self.request.objects.iter().any(is_it)
        };
        let missing = wanted.iter().filter(missing).map(|table| Obstacle {
            code: "no-such-object".to_owned(),
            detail: format!("The saveset's file has no table {}.", table.from),
            remedy: Some("List the objects of the saveset.".to_owned()),
        });
        let taken = wanted.iter().filter(|table| {
            let is_it = |name: &String| name.eq_ignore_ascii_case(&table.to);
            self.request.as_copy && occupant.tables().iter().any(is_it)
        });
        let taken = taken.map(|table| Obstacle {
            code: "target-exists".to_owned(),
            detail: format!(
                "There is a table {} in {} already, and a copy replaces nothing.",
                table.to,
                self.name.as_str()
            ),
            remedy: Some(
                "Restore it under another name (rename_to), or set run_as_a_copy_job to false."
                    .to_owned(),
            ),
        });
        let of_file = match occupant {
            Occupant::Empty(_) | Occupant::Filled { .. } => None,
            other => other.obstacle(self.name.as_str(), true, false),
        };
        missing.chain(taken).chain(of_file).collect()
    }

    fn steps_of_tables(&self, wanted: &[Wanted], occupant: &Occupant) -> Vec<String> {
        let name = self.name.as_str();
        let names: Vec<&str> = wanted.iter().map(|table| table.to.as_str()).collect();
        let names = names.join(", ");
        vec![
            format!(
                "Write the saveset's {} pages into a working file beside {name}, and check it.",
                self.pages.page_count
            ),
            match occupant.is_there() {
                true => format!(
                    "In one transaction on {name}: rename tables of the same name, and make {names} with their rows, indexes and triggers."
                ),
                false => format!("Make a new file {name} with {names}."),
            },
        ]
    }

    fn steps(&self, occupant: &Occupant) -> Vec<String> {
        if let Some(wanted) = &self.wanted {
            return self.steps_of_tables(wanted, occupant);
        }
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

impl SqliteTarget {
    /// Brings the tables into the target, which is made if it is not there.
    async fn bring(
        &self,
        working: Arc<WorkingFile>,
        wanted: Vec<Wanted>,
        is_there: bool,
    ) -> Result<Brought, SqliteError> {
        let (site, name) = (self.site.clone(), self.name.clone());
        let execution = self.request.server_execution_id;
        let (replace, skip_indexes) = (!self.request.as_copy, self.request.skip_indexes);
        let facts = self.facts.clone();
        blocking(move || {
            let saved = working_file::sole(working)?;
            let into = match is_there {
                true => None,
                false => Some(new_file::make(&site, &name, execution, &facts)?),
            };
            let target = match &into {
                Some(new) => new.path().to_owned(),
                None => site.file(&name),
            };
            let bringing = Bringing {
                target: &target,
                saved: saved.path(),
                names: wanted.iter().map(|table| table.to.as_str()).collect(),
                replace,
                skip_indexes,
                stamp: publish::stamp(execution),
            };
            let mut brought = bringing.run()?;
            if let Some(new) = into {
                new_file::finish(new.path(), &facts)?;
                let publishing = publish::Publishing {
                    site,
                    name,
                    execution,
                    source_mode: facts.file.mode,
                };
                brought
                    .warnings
                    .extend(publishing.run(Arc::new(new))?.warnings);
            }
            Ok(brought)
        })
        .await
    }
}

#[async_trait]
impl Target for SqliteTarget {
    async fn findings(&mut self) -> Outcome<Findings> {
        let occupant = self.occupant().await?;
        let mut warnings = Vec::new();
        if occupant.is_there() && self.wanted.is_none() {
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
                new_file::remove_left(&site, &name, dead)?;
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
        // Out of a damaged file no table is copied: SQLite would stop, or copy what is wrong.
        let replaces = self.wanted.is_some() || self.occupant().await?.is_filled();
        if !found.damage.is_empty() && replaces {
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
        let (wanted, selection) = (self.wanted.clone(), self.request.selection.clone());
        let warnings = blocking(move || {
            verify::rows(working.path(), working.pages(), &expected)?;
            match wanted {
                Some(wanted) => tables::rename_saved(working.path(), &wanted).map(|()| Vec::new()),
                None if selection.is_whole() => Ok(Vec::new()),
                None => leave_out::leave_out(working.path(), &selection),
            }
        });
        for text in warnings.await? {
            self.request.progress.warning(text);
        }
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
        if let Some(wanted) = self.wanted.take() {
            let brought = self.bring(working, wanted, occupant.is_there()).await?;
            brought
                .notes
                .into_iter()
                .for_each(|text| self.request.progress.note(text));
            brought
                .warnings
                .into_iter()
                .for_each(|text| self.request.progress.warning(text));
            return Ok(Published {
                database: self.name.object_name(),
                kept: None,
            });
        }
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
