//! The engine of the product, with moves between the steps of a backup.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine_postgres::{Onlooker, PostgresEngine, PostgresOptions, Step};
use model::{
    Beat, BrowsedObject, CheckReport, ClosingFacts, Connection, Credentials, DictionaryPart,
    Engine, ExportPlace, MissingRight, Outcome, Parent, RestoreRequest, SegmentReader, SiteType,
    Source, SourcePlan, SourceRequest, Target,
};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};
use tokio_postgres::Client;

use crate::moves::Theme;
use crate::rows::{self, Tables};
use crate::{Trouble, World};

/// Where backups and the workload meet.
pub struct Stage {
    inner: Mutex<Inner>,
}

struct Inner {
    world: World,
    theme: Theme,
    /// Of 100 places in a backup, how many see a move.
    lively: usize,
    /// Whether what happens at the same time may be in any order.
    noisy: bool,
    seen: Option<Tables>,
    trouble: Option<Trouble>,
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stage")
    }
}

impl Stage {
    /// A stage for that world.
    pub fn new(world: World, theme: Theme) -> Arc<Stage> {
        Arc::new(Stage {
            inner: Mutex::new(Inner {
                world,
                theme,
                lively: 0,
                noisy: false,
                seen: None,
                trouble: None,
            }),
        })
    }

    /// The product's engine on this stage.
    pub async fn engine(self: &Arc<Self>) -> Arc<dyn Engine> {
        let tools = self
            .inner
            .lock()
            .await
            .world
            .rig
            .server
            .tools_dir()
            .to_owned();
        let engine = PostgresEngine::new(PostgresOptions {
            tool_directories: vec![tools],
            lock_patience: Some(Duration::from_secs(2)),
            transaction_patience: Some(Duration::from_millis(50)),
            onlooker: Some(self.clone()),
            ..PostgresOptions::default()
        });
        Arc::new(StagedEngine {
            engine,
            stage: self.clone(),
        })
    }

    /// The world. A backup that is at a place for moves waits until this is given back.
    pub async fn world(&self) -> MappedMutexGuard<'_, World> {
        MutexGuard::map(self.inner.lock().await, |inner| &mut inner.world)
    }

    /// The next backup begins: so many of 100 places in it see a move.
    pub async fn begin(&self, lively: usize, noisy: bool) {
        let mut inner = self.inner.lock().await;
        inner.lively = lively;
        inner.noisy = noisy;
        inner.seen = None;
        inner.world.disturbed = false;
    }

    /// The backup is over: what its snapshot saw, and what went wrong on this side.
    pub async fn end(&self) -> (Option<Tables>, Option<Trouble>) {
        let mut inner = self.inner.lock().await;
        inner.lively = 0;
        (inner.seen.take(), inner.trouble.take())
    }

    async fn between(&self, place: &str) {
        let mut inner = self.inner.lock().await;
        let lively = inner.lively;
        if inner.trouble.is_some() || !inner.world.dice.chance(lively) {
            return;
        }
        let moves = inner.theme.moves(true);
        let one = inner.world.dice.weighted(&moves);
        inner.world.tell(format!("   during the backup, {place}:"));
        if let Err(trouble) = inner.world.play(one).await {
            inner.trouble = Some(trouble);
        }
    }
}

#[async_trait]
impl Onlooker for Stage {
    async fn at(&self, step: Step) {
        // The end of a window is looked for beside all else: a move there makes a seed play otherwise.
        if step == Step::Locked || self.inner.lock().await.noisy {
            self.between(&format!("{step:?}")).await;
        }
    }

    async fn in_snapshot(&self, client: &Client) {
        let seen = rows::of_database(client).await;
        {
            let mut inner = self.inner.lock().await;
            match seen {
                Ok(seen) => {
                    inner.world.tell("   the snapshot is taken");
                    inner.seen = Some(seen);
                }
                // The run meets the same, and says so.
                Err(error) => inner
                    .world
                    .tell(format!("   the snapshot cannot be read: {error}")),
            }
        }
        self.between("in the snapshot").await;
    }
}

struct StagedEngine {
    engine: PostgresEngine,
    stage: Arc<Stage>,
}

#[async_trait]
impl Engine for StagedEngine {
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
        self.stage.between("before it opens").await;
        let source = self.engine.open_source(connection, request).await?;
        Ok(Box::new(StagedSource {
            source,
            stage: self.stage.clone(),
        }))
    }

    async fn beat(&self, connection: &Connection) -> Outcome<Option<Beat>> {
        self.engine.beat(connection).await
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
        connection: &Connection,
        credentials: Option<&Credentials>,
        request: RestoreRequest,
    ) -> Outcome<Box<dyn Target>> {
        self.engine
            .open_target(connection, credentials, request)
            .await
    }

    async fn open_export(
        &self,
        place: &ExportPlace,
        request: RestoreRequest,
    ) -> Outcome<Box<dyn Target>> {
        self.engine.open_export(place, request).await
    }
}

struct StagedSource {
    source: Box<dyn Source>,
    stage: Arc<Stage>,
}

#[async_trait]
impl Source for StagedSource {
    async fn dictionary(&mut self) -> Outcome<Vec<DictionaryPart>> {
        self.source.dictionary().await
    }

    async fn plan(&mut self) -> Outcome<SourcePlan> {
        self.stage.between("before the plan").await;
        self.source.plan().await
    }

    async fn reader(&mut self) -> Outcome<Box<dyn SegmentReader>> {
        self.stage.between("before a stream reads").await;
        self.source.reader().await
    }

    async fn late_dictionary(&mut self) -> Outcome<Vec<DictionaryPart>> {
        self.stage.between("after the rows").await;
        self.source.late_dictionary().await
    }

    async fn finish(self: Box<Self>) -> Outcome<ClosingFacts> {
        self.stage.between("before it ends").await;
        let facts = self.source.finish().await?;
        self.stage.between("after it ended").await;
        Ok(facts)
    }
}
