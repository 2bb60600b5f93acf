//! A backup's snapshot of one file.

use std::io::Cursor;
use std::sync::Arc;

use async_trait::async_trait;
use model::{
    Base, Basis, ChangedBlocks, ChangedBlocksSource, ClosingFacts, DictionaryPart, Outcome, Phase,
    Progress, RowFormat, SegmentReader, Source, SourcePlan, SourceRequest, TablePlan,
};

use crate::database::WritersWait;
use crate::error::{SqliteError, blocking};
use crate::facts::FileFacts;
use crate::pages::{PageReader, tasks};
use crate::schema;
use crate::site::{FileName, SiteDirectory};
use crate::snapshot::{Snapshot, stat};
use crate::unchanged;

/// One file in one read transaction.
///
/// Two settings of the request have no meaning here: nobody can ask SQLite who waits for a lock,
/// so `yield_to_ddl` cannot be kept (the warning about WAL mode says what happens instead), and
/// the one file of a job cannot be skipped, so `skip_without_rights` never applies.
pub(crate) struct SqliteSource {
    site: SiteDirectory,
    name: FileName,
    snapshot: Arc<Snapshot>,
    /// Offline: holds the file's one lock for writers until this is dropped.
    writers_wait: Option<WritersWait>,
    base: Option<Arc<Base>>,
    progress: Arc<dyn Progress>,
}

impl SqliteSource {
    pub(crate) async fn open(
        site: SiteDirectory,
        request: SourceRequest,
    ) -> Result<Self, SqliteError> {
        let name = selected(&request)?;
        let (place, file, max_age) = (site.clone(), name.clone(), request.max_snapshot);
        let online = request.online;
        let (writers_wait, snapshot) = blocking(move || {
            let (path, found) = place.existing(&file)?;
            // The lock comes first: what the snapshot sees is then what stays.
            let writers_wait = match online || found.len() == 0 {
                true => None,
                false => Some(WritersWait::begin(&path)?),
            };
            Ok((writers_wait, Snapshot::open(&path, &found, max_age)?))
        })
        .await?;
        if online && !snapshot.is_wal() && snapshot.pages.page_count > 0 {
            request.progress.warning(not_wal(&name));
        }
        Ok(SqliteSource {
            site,
            name,
            snapshot: Arc::new(snapshot),
            writers_wait,
            base: request.base,
            progress: request.progress,
        })
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Snapshot) -> Result<T, SqliteError> + Send + 'static,
    ) -> Result<T, SqliteError> {
        let snapshot = Arc::clone(&self.snapshot);
        blocking(move || question(&snapshot)).await
    }
}

#[async_trait]
impl Source for SqliteSource {
    async fn dictionary(&mut self) -> Outcome<Vec<DictionaryPart>> {
        let (script, count) = self
            .ask(|snapshot| {
                snapshot.query(|database| {
                    Ok((
                        schema::sql(database)?,
                        schema::objects(database)?.len() as u64,
                    ))
                })
            })
            .await?;
        // The database itself is an object too.
        self.progress.phase_total(Phase::Dictionary, count + 1);
        let facts = serde_json::json!({
            "name": self.name.as_str(),
            "pages": self.snapshot.pages,
            "header": self.snapshot.header,
        });
        self.progress.objects_done(Phase::Dictionary, count + 1);
        Ok(vec![
            part("schema.sql", script.into_bytes()),
            part("database.json", format!("{facts:#}\n").into_bytes()),
        ])
    }

    async fn plan(&mut self) -> Outcome<SourcePlan> {
        let objects = self.ask(|snapshot| snapshot.query(schema::objects)).await?;
        let pages = self.snapshot.pages;
        let table = TablePlan {
            name: self.name.object_name(),
            format: RowFormat::Pages,
            // Pages of another size are other rows; nothing else changes their form.
            shape: format!("sqlite pages of {} bytes", pages.page_size),
            facts: pages.to_value(),
        };
        let basis = self.base.as_ref();
        let basis = basis.map(|base| unchanged::basis(base, &self.snapshot, &table));
        let tasks = match basis {
            None | Some(Basis::Nothing { .. }) => tasks(0, pages),
            Some(Basis::Changed { .. } | Basis::Compare { .. }) => Vec::new(),
        };
        Ok(SourcePlan {
            tables: vec![table],
            objects: schema::in_saveset(&self.name, objects),
            tasks,
            changed_blocks: basis.is_some().then_some(ChangedBlocks {
                source: ChangedBlocksSource::Hash,
                why: None,
            }),
            basis: basis.into_iter().collect(),
        })
    }

    async fn reader(&mut self) -> Outcome<Box<dyn SegmentReader>> {
        Ok(Box::new(PageReader::new(Arc::clone(&self.snapshot))))
    }

    async fn late_dictionary(&mut self) -> Outcome<Vec<DictionaryPart>> {
        Ok(Vec::new())
    }

    async fn finish(mut self: Box<Self>) -> Outcome<ClosingFacts> {
        let base = self.base.as_ref();
        let untouched = base.and_then(|base| unchanged::untouched(base, &self.snapshot));
        let rows = match untouched {
            Some(before) => before.rows,
            None => self.ask(Snapshot::count_rows).await?,
        };
        if let Some(writers_wait) = self.writers_wait.take() {
            blocking(move || writers_wait.end()).await?;
        }
        if let Some(text) = self.replaced()? {
            self.progress.warning(text);
        }
        let snapshot = &self.snapshot;
        let facts = FileFacts::new(
            snapshot.pages,
            snapshot.header.clone(),
            (snapshot.file, snapshot.still),
            rows,
        );
        Ok(facts.closing())
    }
}

impl SqliteSource {
    /// The snapshot stays whole when its file is replaced or removed, but a person should know.
    fn replaced(&self) -> Result<Option<String>, SqliteError> {
        let name = self.name.as_str();
        let now = match self.site.look(&self.name) {
            Ok(now) => now,
            Err(SqliteError::NotAFile { .. }) => None,
            Err(error) => return Err(error),
        };
        let before = self.snapshot.file;
        Ok(match now.as_ref().map(stat) {
            Some(now) if (now.device, now.inode) == (before.device, before.inode) => None,
            Some(_) => Some(format!(
                "The file {name} was replaced by another while it was read: this saveset holds the one that stood there when the backup began."
            )),
            None => Some(format!(
                "The file {name} was removed while it was read: this saveset holds it as it was when the backup began."
            )),
        })
    }
}

fn selected(request: &SourceRequest) -> Result<FileName, SqliteError> {
    let not_yet = |what: &str| SqliteError::NotBuiltYet {
        what: what.to_owned(),
    };
    if !request.selection.is_whole() {
        return Err(not_yet("a part of a SQLite file"));
    }
    FileName::of(&request.selection.database)
}

fn not_wal(name: &FileName) -> String {
    format!(
        "{} is not in WAL mode: programs that write to it wait at their commit while it is read. PRAGMA journal_mode = WAL lets them go on.",
        name.as_str()
    )
}

fn part(name: &str, body: Vec<u8>) -> DictionaryPart {
    DictionaryPart {
        name: name.to_owned(),
        body: Box::new(Cursor::new(body)),
    }
}
