//! Preparing the objects of a saveset: whether its list can be read is found out beforehand, and
//! somebody may ask how far that is. The list itself works without it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use model::{ExecutionId, JobId, PreparationStatus, SavesetId, SiteId};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::{Inner, Jobs, JobsError, lock, words};

/// Preparations that are remembered for each site; the oldest are forgotten first.
const REMEMBERED: usize = 100;
/// How many savesets are read at once.
const AT_ONCE: usize = 2;
/// How long one may take.
const LIMIT: Duration = Duration::from_secs(120);

/// A preparation as somebody who asks sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preparation {
    /// Its id. They grow, after a restart too.
    pub id: u64,
    /// How far it is.
    pub status: PreparationStatus,
    /// A sentence for a person.
    pub details: String,
}

/// What is remembered, in memory only: after a restart nothing is prepared.
pub(crate) struct Preparations {
    by_site: std::sync::Mutex<Remembered>,
    permits: Arc<Semaphore>,
}

struct Remembered {
    /// The next id: from the clock at the start, so that none is given twice.
    next: u64,
    sites: HashMap<SiteId, VecDeque<(Preparation, Option<AbortHandle>)>>,
}

impl Preparations {
    pub(crate) fn new(now: model::Moment) -> Self {
        Preparations {
            by_site: std::sync::Mutex::new(Remembered {
                next: u64::try_from(now.as_micros()).unwrap_or(0).max(1),
                sites: HashMap::new(),
            }),
            permits: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    fn add(&self, site: &SiteId) -> u64 {
        let mut remembered = lock(&self.by_site);
        let id = remembered.next;
        remembered.next += 1;
        let of_site = remembered.sites.entry(site.clone()).or_default();
        of_site.push_back((
            Preparation {
                id,
                status: PreparationStatus::Queued,
                details: "Waits for others to be read".to_owned(),
            },
            None,
        ));
        while of_site.len() > REMEMBERED {
            // Nobody can ask for it any more.
            if let Some((_, Some(work))) = of_site.pop_front() {
                work.abort();
            }
        }
        id
    }

    fn change(&self, site: &SiteId, id: u64, change: impl FnOnce(&mut Preparation)) {
        let mut remembered = lock(&self.by_site);
        let of_site = remembered.sites.get_mut(site).into_iter().flatten();
        if let Some((one, _)) = of_site.into_iter().find(|(one, _)| one.id == id) {
            change(one);
        }
    }

    fn works(&self, site: &SiteId, id: u64, work: AbortHandle) {
        let mut remembered = lock(&self.by_site);
        let of_site = remembered.sites.get_mut(site).into_iter().flatten();
        match of_site.into_iter().find(|(one, _)| one.id == id) {
            Some((_, handle)) => *handle = Some(work),
            None => work.abort(),
        }
    }

    fn get(&self, site: &SiteId, id: Option<u64>) -> Option<Preparation> {
        let remembered = lock(&self.by_site);
        let mut newest_first = remembered.sites.get(site)?.iter().rev();
        let found = newest_first.find(|(one, _)| id.is_none_or(|id| one.id == id));
        found.map(|(one, _)| one.clone())
    }
}

impl Jobs {
    /// Begins to read the list of objects of the saveset that an execution left; gives the
    /// preparation's id.
    ///
    /// # Errors
    /// When the execution is not there or left no saveset.
    pub async fn prepare_objects(
        &self,
        site: &SiteId,
        job: JobId,
        execution: ExecutionId,
    ) -> Result<u64, JobsError> {
        let saveset = self.saveset_of(site, job, execution).await?;
        let id = self.inner.preparations.add(site);
        let (inner, of) = (self.inner.clone(), site.clone());
        let work = tokio::spawn(async move { inner.prepare(&of, id, saveset).await });
        let preparations = &self.inner.preparations;
        preparations.works(site, id, work.abort_handle());
        Ok(id)
    }

    /// How far a preparation is; without an id the newest of the site.
    ///
    /// # Errors
    /// When there is no such site, or no such preparation.
    pub async fn preparation(
        &self,
        site: &SiteId,
        id: Option<u64>,
    ) -> Result<Preparation, JobsError> {
        self.inner.catalog.site(site).await?;
        let found = self.inner.preparations.get(site, id);
        found.ok_or_else(|| JobsError::NoPreparation {
            site: site.clone(),
            id,
        })
    }
}

impl Inner {
    async fn prepare(&self, site: &SiteId, id: u64, saveset: SavesetId) {
        // Never closed: it lives as long as we do.
        let _permit = self.preparations.permits.acquire().await;
        let set = |status, details| {
            self.preparations.change(site, id, |one| {
                one.status = status;
                one.details = details;
            });
        };
        set(
            PreparationStatus::Running,
            format!("Reads the list of saveset {saveset}"),
        );
        let read = tokio::time::timeout(LIMIT, self.read_list(site, saveset)).await;
        match read.unwrap_or(Err(JobsError::VaultSilent)) {
            Ok(details) => set(PreparationStatus::Successful, details),
            Err(error) => set(PreparationStatus::Failed, words::sentence(&error)),
        }
    }

    /// Opens the saveset and reads its manifest whole, which is its list of objects.
    async fn read_list(&self, site: &SiteId, saveset: SavesetId) -> Result<String, JobsError> {
        let record = self.catalog.site(site).await?;
        let vault = self.vault(&record).await?;
        let opened = vault.open_saveset(saveset).await?;
        let contents = &opened.manifest().contents;
        let bytes = contents.tables().map(|table| table.plain_bytes).sum();
        Ok(format!(
            "Saveset {saveset} can be read: {}, {} with rows, {}",
            words::count(contents.objects().count() as u64, "object"),
            words::count(contents.tables().count() as u64, "table"),
            words::bytes(bytes),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_preparations_of_a_site_are_forgotten_and_no_id_is_given_twice() {
        let all = Preparations::new(model::Moment::from_micros(41));
        let (shop, other): (SiteId, SiteId) = ("shop".parse().unwrap(), "other".parse().unwrap());
        assert_eq!(all.add(&shop), 41);
        assert_eq!(all.add(&other), 42);
        for _ in 0..REMEMBERED {
            all.add(&shop);
        }
        assert_eq!(all.get(&shop, Some(41)), None);
        assert_eq!(all.get(&other, None).unwrap().id, 42);
        assert_eq!(all.get(&shop, Some(42)), None, "it is another site's");
        assert_eq!(all.get(&shop, None).unwrap().id, 42 + REMEMBERED as u64);
        assert!(all.get(&shop, Some(43)).is_some());
    }
}
