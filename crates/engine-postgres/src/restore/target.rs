//! The target itself: what a restore has fetched, decided and made so far.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use model::{
    Fault, Findings, Outcome, Published, RestoreRequest, SegmentLoader, StepReport, Target,
};

use super::destination::Destination;
use super::dictionary::Dictionary;
use super::fault::RestoreError;
use super::findings::{self, Decisions};
use super::load::{self, LoadTable, Loader};
use super::scratch::{self, Reshaped};
use super::wanted::{Places, Wanted, Way};
use super::{build, objects, postscript, prepare, publish};
use crate::engine::PostgresEngine;
use crate::error::PostgresError;
use crate::facts::DatabaseFacts;

/// The block size of nearly every server, where the saveset does not tell its own.
const USUAL_BLOCK: u32 = 8192;

/// Blocks in which a page of a large object fits: `LOBLKSIZE` is a quarter of a block.
const PAGES_PER_BLOCK: u32 = 4;

/// A restore of one database, or of objects of it.
pub(super) struct PostgresTarget {
    directories: Vec<PathBuf>,
    destination: Destination,
    request: RestoreRequest,
    looked: Option<Looked>,
    /// What the scratch database gave.
    reshaped: Option<Reshaped>,
    places: Places,
    tables: Option<Arc<Vec<Option<LoadTable>>>>,
    made: Made,
}

/// What is ours to take away again.
#[derive(Debug, Default)]
struct Made {
    database: bool,
    scratch: bool,
    schemas: bool,
}

/// What looking brought.
struct Looked {
    /// The saveset's.
    dictionary: Dictionary,
    decisions: Decisions,
    findings: Findings,
    wanted: Wanted,
}

impl Looked {
    /// The destination whose working database is the one that is worked in.
    fn place(&self, destination: &Destination) -> Destination {
        match self.wanted.way {
            Way::IntoTarget => destination.in_target(),
            Way::AsSaved | Way::NewDatabase => destination.clone(),
        }
    }
}

impl PostgresTarget {
    pub(super) fn new(
        engine: &PostgresEngine,
        destination: Destination,
        request: RestoreRequest,
    ) -> Self {
        PostgresTarget {
            directories: engine.options().tool_directories.clone(),
            destination,
            request,
            looked: None,
            reshaped: None,
            places: Places::default(),
            tables: None,
            made: Made::default(),
        }
    }

    async fn look(&mut self) -> Outcome<&Looked> {
        let dictionary = match self.looked.take() {
            Some(looked) => looked.dictionary,
            None => self.fetch().await?,
        };
        let looked = findings::look(&self.destination, &dictionary, &self.request).await;
        let (findings, decisions, wanted) = looked?;
        Ok(self.looked.insert(Looked {
            dictionary,
            decisions,
            findings,
            wanted,
        }))
    }

    async fn fetch(&self) -> Outcome<Dictionary> {
        let session = self.destination.beside().await?;
        let major = session.major();
        session.close().await;
        Dictionary::fetch(
            &*self.request.dictionary,
            &self.directories,
            major,
            &self.destination,
        )
        .await
    }

    fn looked(&self) -> Result<&Looked, RestoreError> {
        self.looked.as_ref().ok_or_else(before_prepare)
    }

    fn place(&self) -> Result<Destination, RestoreError> {
        Ok(self.looked()?.place(&self.destination))
    }

    /// The dictionary that is restored: the saveset's, or the one that the scratch database gave.
    fn dictionary(&self) -> Result<&Dictionary, RestoreError> {
        let saved = &self.looked()?.dictionary;
        Ok(self.reshaped.as_ref().map_or(saved, |r| &r.dictionary))
    }

    /// Makes the scratch database, takes from it what the rest needs, and drops it.
    async fn reshape(&mut self) -> Result<(), RestoreError> {
        let Some(looked) = &mut self.looked else {
            return Err(before_prepare());
        };
        let place = looked.place(&self.destination);
        let taken = match looked.wanted.way {
            Way::IntoTarget => objects::old::taken_names(&place, &looked.wanted).await?,
            Way::AsSaved | Way::NewDatabase => BTreeSet::new(),
        };
        let reshaped = scratch::reshape(
            &place,
            &mut looked.dictionary,
            &looked.decisions,
            &mut looked.wanted,
            &taken,
            &*self.request.progress,
            &mut self.made.scratch,
        )
        .await?;
        self.drop_scratch().await?;
        self.made.scratch = false;
        if let Some(looked) = &mut self.looked {
            // What had no place there has one in the new dump, whose entries have other numbers.
            looked.decisions.misplaced.clear();
        }
        let whole = self.looked()?.wanted.is_of_the_whole();
        self.places = Places::of(&reshaped.relations, reshaped.known.clone(), whole);
        self.reshaped = Some(reshaped);
        Ok(())
    }

    /// The objects' working schemas, once the real names of all are known.
    async fn prepare_objects(&mut self) -> Outcome<()> {
        let place = self.place()?;
        let progress = &*self.request.progress;
        objects::working::drop_left(&place, progress).await?;
        if self.made.schemas {
            // A second try of the same restore.
            objects::working::drop_own(&place).await?;
        }
        let (Some(looked), Some(reshaped)) = (&self.looked, &self.reshaped) else {
            return Err(before_prepare().into());
        };
        objects::swap::may_begin(&place, reshaped, &looked.wanted, &self.request).await?;
        self.made.schemas = true;
        let (decisions, wanted) = (&looked.decisions, &looked.wanted);
        objects::steps::prepare(&place, reshaped, decisions, wanted).await?;
        Ok(())
    }

    async fn prepare_database(&mut self) -> Outcome<()> {
        let (Some(looked), made) = (&self.looked, &mut self.made.database) else {
            return Err(before_prepare().into());
        };
        let saved = &looked.dictionary;
        let dictionary = self.reshaped.as_ref().map_or(saved, |r| &r.dictionary);
        let (decisions, destination, request) =
            (&looked.decisions, &self.destination, &self.request);
        let progress = &*request.progress;
        // By field, so that `made` is true from the moment that the database can be there, even
        // where this future is dropped.
        prepare::make_database(destination, &dictionary.facts, decisions, progress, made).await?;
        prepare::make_objects(destination, dictionary, decisions, request).await?;
        Ok(())
    }

    async fn drop_scratch(&self) -> Result<(), RestoreError> {
        let session = self.destination.beside().await?;
        prepare::drop_database(&session, &self.destination.scratch().working).await?;
        session.close().await;
        Ok(())
    }

    /// Takes away what this restore made and did not publish.
    async fn take_away(&self) -> Result<(), RestoreError> {
        if self.made.database {
            let session = self.destination.beside().await?;
            prepare::drop_database(&session, &self.destination.working).await?;
            session.close().await;
        }
        if self.made.scratch {
            self.drop_scratch().await?;
        }
        if self.made.schemas {
            objects::working::drop_own(&self.destination.in_target()).await?;
        }
        Ok(())
    }

    async fn put_in_place(&self) -> Result<Published, RestoreError> {
        let looked = self.looked()?;
        match (looked.wanted.way, &self.reshaped) {
            (Way::IntoTarget, Some(reshaped)) => {
                let place = looked.place(&self.destination);
                objects::swap::swap(&place, reshaped, &looked.wanted, &self.request).await
            }
            (Way::IntoTarget, None) => Err(before_prepare()),
            (Way::AsSaved | Way::NewDatabase, _) => {
                publish::publish(&self.destination, &self.request).await
            }
        }
    }

    /// What [`take_away`](Self::take_away) takes away, for a person.
    fn working_names(&self) -> String {
        match self.made.schemas {
            false => self.destination.working.clone(),
            true => {
                let prefix = self.destination.schema_prefixes.first();
                format!("{}…", prefix.map_or("", String::as_str))
            }
        }
    }
}

#[async_trait]
impl Target for PostgresTarget {
    async fn findings(&mut self) -> Outcome<Findings> {
        Ok(self.look().await?.findings.clone())
    }

    fn wants(&self, table: usize) -> bool {
        let (Some(looked), Some(table)) = (&self.looked, self.request.tables.get(table)) else {
            return true;
        };
        // What cannot be read is told when it is loaded.
        load::facts_of(table).map_or(true, |facts| looked.wanted.may_want(&facts))
    }

    async fn prepare(&mut self) -> Outcome<()> {
        // Looked at again: minutes may have passed since somebody saw the findings.
        self.look().await?;
        let looked = self.looked()?;
        refuse_obstacles(&looked.findings)?;
        let way = looked.wanted.way;
        if way != Way::AsSaved {
            self.reshape().await?;
        }
        let tables = load::tables(&self.request.tables, &self.places)?;
        match way {
            Way::IntoTarget => self.prepare_objects().await?,
            Way::AsSaved | Way::NewDatabase => self.prepare_database().await?,
        }
        self.tables = Some(Arc::new(tables));
        Ok(())
    }

    async fn loader(&mut self) -> Outcome<Box<dyn SegmentLoader>> {
        let page_bytes = page_bytes(&self.looked()?.dictionary.facts);
        let tables = self.tables.clone().ok_or_else(before_prepare)?;
        let session = self.place()?.inside().await?;
        let loader = Loader::new(session, tables, page_bytes);
        Ok(Box::new(loader))
    }

    async fn build(&mut self, parallel: usize) -> Outcome<StepReport> {
        let looked = self.looked()?;
        let (decisions, request) = (&looked.decisions, &self.request);
        let report = match (looked.wanted.way, &self.reshaped) {
            (Way::IntoTarget, Some(reshaped)) => {
                let place = self.place()?;
                objects::steps::build(&place, reshaped, decisions, request, parallel).await?
            }
            _ => build::build(self.dictionary()?, decisions, request, parallel).await?,
        };
        Ok(report)
    }

    async fn postscript(&mut self) -> Outcome<StepReport> {
        let looked = self.looked()?;
        let (decisions, places, request) = (&looked.decisions, &self.places, &self.request);
        let (Way::IntoTarget, Some(reshaped)) = (looked.wanted.way, &self.reshaped) else {
            let dictionary = self.dictionary()?;
            let destination = &self.destination;
            let report =
                postscript::run(destination, dictionary, decisions, places, request).await?;
            if let Some(reshaped) = &self.reshaped {
                reshaped.take_back(destination).await?;
            }
            return Ok(report);
        };
        let (place, wanted) = (self.place()?, &looked.wanted);
        let mut report =
            objects::steps::postscript(&place, reshaped, decisions, wanted, places, request)
                .await?;
        let keys = objects::swap::keys_that_will_not_hold(&place, reshaped, wanted).await?;
        report.errors.extend(keys);
        reshaped.take_back(&place).await?;
        Ok(report)
    }

    async fn publish(self: Box<Self>) -> Outcome<Published> {
        match self.put_in_place().await {
            Ok(published) => Ok(published),
            // Nobody can tell which one is the old one: both stay.
            Err(
                error @ (RestoreError::SwapUnknown { .. } | RestoreError::ObjectsUnknown { .. }),
            ) => Err(error.into()),
            Err(error) => match self.take_away().await {
                Ok(()) => Err(error.into()),
                Err(dropping) => Err(RestoreError::LeftBehind {
                    reason: sentence(&error),
                    working: self.working_names(),
                    dropping: sentence(&dropping),
                }
                .into()),
            },
        }
    }

    async fn discard(self: Box<Self>) -> Outcome<()> {
        Ok(self.take_away().await?)
    }
}

/// The bytes of a page of a large object in the source.
pub(crate) fn page_bytes(facts: &DatabaseFacts) -> u32 {
    let block = match facts.needs.block_size {
        0 => USUAL_BLOCK,
        known => known,
    };
    block / PAGES_PER_BLOCK
}

fn sentence(error: &RestoreError) -> String {
    let fault: &dyn Fault = error;
    fault.sentence()
}

fn before_prepare() -> RestoreError {
    RestoreError::Postgres(PostgresError::Misuse {
        what: "a step of a restore was asked for before prepare".into(),
    })
}

fn refuse_obstacles(findings: &Findings) -> Result<(), RestoreError> {
    if findings.obstacles.is_empty() {
        return Ok(());
    }
    let sentences: Vec<&str> = findings
        .obstacles
        .iter()
        .map(|obstacle| obstacle.detail.as_str())
        .collect();
    Err(RestoreError::Obstacles {
        obstacles: sentences.join("; "),
    })
}
