//! The target itself: what a restore has fetched, decided and made so far.

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
use super::{build, postscript, prepare, publish};
use crate::engine::PostgresEngine;
use crate::error::PostgresError;
use crate::facts::DatabaseFacts;

/// The block size of nearly every server, where the saveset does not tell its own.
const USUAL_BLOCK: u32 = 8192;

/// Blocks in which a page of a large object fits: `LOBLKSIZE` is a quarter of a block.
const PAGES_PER_BLOCK: u32 = 4;

/// A restore of one whole database.
pub(super) struct PostgresTarget {
    directories: Vec<PathBuf>,
    destination: Destination,
    request: RestoreRequest,
    looked: Option<Looked>,
    tables: Option<Arc<Vec<LoadTable>>>,
    /// Whether the working database is ours to drop.
    made: bool,
}

/// What looking brought.
struct Looked {
    dictionary: Dictionary,
    decisions: Decisions,
    findings: Findings,
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
            tables: None,
            made: false,
        }
    }

    async fn look(&mut self) -> Outcome<&Looked> {
        let dictionary = match self.looked.take() {
            Some(looked) => looked.dictionary,
            None => self.fetch().await?,
        };
        let looked = findings::look(&self.destination, &dictionary, &self.request).await;
        let (findings, decisions) = looked?;
        Ok(self.looked.insert(Looked {
            dictionary,
            decisions,
            findings,
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

    /// Takes the working database away, where this restore made it.
    async fn drop_working(&self) -> Result<(), RestoreError> {
        if !self.made {
            return Ok(());
        }
        let session = self.destination.beside().await?;
        prepare::drop_database(&session, &self.destination.working).await?;
        session.close().await;
        Ok(())
    }
}

#[async_trait]
impl Target for PostgresTarget {
    async fn findings(&mut self) -> Outcome<Findings> {
        Ok(self.look().await?.findings.clone())
    }

    async fn prepare(&mut self) -> Outcome<()> {
        // Looked at again: minutes may have passed since somebody saw the findings.
        self.look().await?;
        // By field, so that `made` is true from the moment that the database can be there, even
        // where this future is dropped.
        let (Some(looked), made) = (&self.looked, &mut self.made) else {
            return Err(before_prepare().into());
        };
        refuse_obstacles(&looked.findings)?;
        let tables = load::tables(&self.request.tables)?;
        let (dictionary, decisions) = (&looked.dictionary, &looked.decisions);
        let (destination, request) = (&self.destination, &self.request);
        let progress = &*request.progress;
        prepare::make_database(destination, &dictionary.facts, decisions, progress, made).await?;
        prepare::make_objects(destination, dictionary, decisions, request).await?;
        self.tables = Some(Arc::new(tables));
        Ok(())
    }

    async fn loader(&mut self) -> Outcome<Box<dyn SegmentLoader>> {
        let page_bytes = page_bytes(&self.looked()?.dictionary.facts);
        let tables = self.tables.clone().ok_or_else(before_prepare)?;
        let session = self.destination.inside().await?;
        let loader = Loader::new(session, tables, page_bytes);
        Ok(Box::new(loader))
    }

    async fn build(&mut self, parallel: usize) -> Outcome<StepReport> {
        let looked = self.looked()?;
        let report = build::build(
            &looked.dictionary,
            &looked.decisions,
            &self.request,
            parallel,
        )
        .await?;
        Ok(report)
    }

    async fn postscript(&mut self) -> Outcome<StepReport> {
        let looked = self.looked()?;
        postscript::run(
            &self.destination,
            &looked.dictionary,
            &looked.decisions,
            &self.request,
        )
        .await
    }

    async fn publish(self: Box<Self>) -> Outcome<Published> {
        match publish::publish(&self.destination, &self.request).await {
            Ok(published) => Ok(published),
            // Nobody can tell which one is the old one: both stay.
            Err(error @ RestoreError::SwapUnknown { .. }) => Err(error.into()),
            Err(error) => match self.drop_working().await {
                Ok(()) => Err(error.into()),
                Err(dropping) => Err(RestoreError::LeftBehind {
                    reason: sentence(&error),
                    working: self.destination.working.clone(),
                    dropping: sentence(&dropping),
                }
                .into()),
            },
        }
    }

    async fn discard(self: Box<Self>) -> Outcome<()> {
        Ok(self.drop_working().await?)
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
