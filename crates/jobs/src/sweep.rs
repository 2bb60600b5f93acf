//! The sweep of a site's vault: after something was dropped, and once a day. Where it finds that so
//! little of some packs is still referred to, a compaction follows. Both run beside everything else; no
//! backup waits for them, and they may end in their midst at any moment.

use std::sync::Arc;
use std::time::Duration;

use catalog::{Page, SiteRecord};
use fail::fail_point;
use model::{Fault, Moment, Progress, SavesetId, SiteId};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use vault::{CompactReport, SweepReport, Vault};

use crate::{Inner, Jobs, JobsError, lock, words};

/// How long a pack that nothing refers to stays: whoever opened a saveset before it was dropped can
/// still read it to its end. By the clock of the vault's store.
const GRACE: Duration = Duration::from_secs(24 * 3600);

/// How often each vault is swept, whether or not something was dropped.
const EVERY: Duration = Duration::from_secs(24 * 3600);

/// How long after a start the first sweeps wait: a start has enough to do.
const FIRST: Duration = Duration::from_secs(3600);

/// How long a backup's execution waits to tell what the sweep after it has freed.
const TELL_WITHIN: Duration = Duration::from_secs(10);

/// What a sweep and the compaction behind it have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tidied {
    /// What is not referred to any more.
    pub swept: SweepReport,
    /// What was rewritten; `None` where nothing was worth it.
    pub compacted: Option<CompactReport>,
}

impl Jobs {
    /// Deletes a saveset: nothing can begin to restore it any more, its manifest becomes a
    /// tombstone, and a sweep begins in the background. What it alone refers to is removed a day
    /// later.
    ///
    /// # Errors
    /// When there is no such site or saveset; when the saveset is protected, is being restored, or a
    /// run builds on it; when the vault cannot be reached. A deletion that fails behind the first
    /// of these is finished when the server starts again; but where the vault says that a run builds
    /// on the saveset, it stays.
    pub async fn delete_saveset(&self, site: &SiteId, saveset: SavesetId) -> Result<(), JobsError> {
        let record = self.inner.catalog.site(site).await?;
        // Before anything is decided: a vault that is away keeps its savesets.
        let vault = self.inner.vault(&record).await?;
        self.inner.catalog.condemn_saveset(site, saveset).await?;
        fail_point!("jobs::a-deletion-is-written-down");
        self.inner.drop_condemned(&vault, site, saveset).await?;
        tracing::info!(%site, %saveset, "the saveset was deleted on request");
        let (inner, site) = (self.inner.clone(), site.clone());
        // How it ends is in the log.
        tokio::spawn(async move { inner.tidy(&vault, &site).await.ok() });
        Ok(())
    }

    /// Sweeps the vault of a site now, and rewrites packs of which little is live.
    ///
    /// # Errors
    /// When there is no such site, or its vault cannot be swept or compacted; then nothing was deleted
    /// that anything refers to.
    pub async fn sweep_site(&self, site: &SiteId) -> Result<Tidied, JobsError> {
        let record = self.inner.catalog.site(site).await?;
        let vault = self.inner.vault(&record).await?;
        self.inner.tidy(&vault, site).await
    }
}

impl Inner {
    async fn tidy(&self, vault: &Vault, site: &SiteId) -> Result<Tidied, JobsError> {
        let swept = self.sweep(vault, site).await?;
        let compacted = match swept.wants_compaction {
            true => Some(self.compact(vault, site).await?),
            false => None,
        };
        Ok(Tidied { swept, compacted })
    }

    /// One sweep; what it freed, or why it could not, is in the log.
    async fn sweep(&self, vault: &Vault, site: &SiteId) -> Result<SweepReport, JobsError> {
        lock(&self.swept).insert(site.clone(), self.clock.now());
        let swept = async { Ok::<_, JobsError>(vault.sweep(&self.owner()?, GRACE).await?) };
        let swept = swept.await;
        match &swept {
            Ok(report) => tracing::info!(
                %site,
                packs = report.packs,
                live = report.live,
                marked = report.marked,
                waiting = report.waiting,
                removed = report.removed,
                bytes_freed = report.bytes_freed,
                bytes_kept = report.bytes_kept,
                bytes_live = report.bytes_live,
                "the vault was swept"
            ),
            Err(error) => {
                tracing::error!(%site, code = error.code(), "the vault was not swept: {}", sentence(error));
            }
        }
        swept
    }

    /// One compaction; the same for its outcome. What it leaves behind the next sweeps remove.
    async fn compact(&self, vault: &Vault, site: &SiteId) -> Result<CompactReport, JobsError> {
        fail_point!("compaction::it-is-due");
        let compacted = async { Ok::<_, JobsError>(vault.compact(&self.owner()?).await?) };
        let compacted = compacted.await;
        match &compacted {
            Ok(report) => tracing::info!(
                %site,
                rewritten = report.rewritten,
                bytes_before = report.bytes_before,
                written = report.written,
                bytes_after = report.bytes_after,
                left_alone = report.left_alone,
                "the vault was compacted"
            ),
            Err(error) => {
                tracing::error!(%site, code = error.code(), "the vault was not compacted: {}", sentence(error));
            }
        }
        compacted
    }

    /// After retention has dropped something. The execution tells what was freed and rewritten, unless
    /// that takes long: the work then goes on by itself.
    pub(crate) async fn sweep_and_tell(
        self: &Arc<Self>,
        vault: &Vault,
        site: &SiteId,
        progress: &dyn Progress,
    ) {
        let (inner, vault, site) = (self.clone(), vault.clone(), site.clone());
        let (tell, told) = oneshot::channel();
        let work = tokio::spawn(async move {
            let swept = inner.sweep(&vault, &site).await;
            let goes_on = matches!(&swept, Ok(report) if report.wants_compaction);
            // Nobody may be listening any more.
            tell.send(swept).ok();
            match goes_on {
                true => Some(inner.compact(&vault, &site).await),
                false => None,
            }
        });
        let telling = async {
            if let Ok(swept) = told.await {
                tell_swept(swept, progress);
            }
            match work.await {
                Ok(Some(compacted)) => tell_compacted(compacted, progress),
                Ok(None) => {}
                Err(error) => {
                    progress.warning(format!("the sweep ended abnormally: {error}"));
                }
            }
        };
        tokio::time::timeout(TELL_WITHIN, telling).await.ok();
    }

    /// Sweeps each site once a day until `shutdown`, one after the other.
    pub(crate) async fn sweep_daily(self: Arc<Self>, shutdown: CancellationToken) {
        let all_days = async {
            let started = self.clock.now();
            loop {
                tokio::time::sleep(self.settings.look_for_sweeps).await;
                match self.catalog.sites(Page::All).await {
                    Ok(sites) => self.sweep_those_due(sites.rows, started).await,
                    Err(error) => tracing::error!("no vault is swept: {error}"),
                }
            }
        };
        tokio::select! {
            () = all_days => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn sweep_those_due(&self, sites: Vec<SiteRecord>, started: Moment) {
        for site in sites {
            let id = &site.definition.site_id;
            let last = lock(&self.swept).get(id).copied();
            if !due(self.clock.now(), started, last) {
                continue;
            }
            match self.vault(&site).await {
                // Every outcome is in the log.
                Ok(vault) => drop(self.tidy(&vault, id).await),
                Err(error) => {
                    lock(&self.swept).insert(id.clone(), self.clock.now());
                    tracing::error!(site = %id, code = error.code(), "the vault was not swept: {}", sentence(&error));
                }
            }
        }
    }
}

fn tell_swept(swept: Result<SweepReport, JobsError>, progress: &dyn Progress) {
    match swept {
        Ok(report) if report.removed > 0 => progress.note(format!(
            "the sweep freed {} in {}",
            words::bytes(report.bytes_freed),
            words::count(report.removed, "pack")
        )),
        Ok(_) => {}
        Err(error) => progress.warning(format!("the vault was not swept: {}", sentence(&error))),
    }
}

fn tell_compacted(compacted: Result<CompactReport, JobsError>, progress: &dyn Progress) {
    match compacted {
        Ok(report) if report.rewritten > 0 => progress.note(format!(
            "{} of {} were rewritten as {} of {}",
            words::count(report.rewritten, "pack"),
            words::bytes(report.bytes_before),
            words::count(report.written, "pack"),
            words::bytes(report.bytes_after)
        )),
        Ok(_) => {}
        Err(error) => {
            progress.warning(format!("the vault was not compacted: {}", sentence(&error)));
        }
    }
}

fn sentence(error: &JobsError) -> String {
    let fault: &dyn Fault = error;
    fault.sentence()
}

/// Whether a vault is to be swept. A clock that was put back makes it due.
fn due(now: Moment, started: Moment, last: Option<Moment>) -> bool {
    let (since, wait) = last.map_or((started, FIRST), |last| (last, EVERY));
    now < since || now.since(since) >= wait
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vault_is_swept_an_hour_after_the_start_and_then_once_a_day() {
        let at = |seconds: u64| Moment::from_micros(1_000_000).plus(Duration::from_secs(seconds));
        assert!(!due(at(3_599), at(0), None));
        assert!(due(at(3_600), at(0), None));
        assert!(!due(at(3_700), at(0), Some(at(3_600))));
        assert!(due(at(3_600 + 86_400), at(0), Some(at(3_600))));
        assert!(due(at(10), at(0), Some(at(3_600))));
    }
}
