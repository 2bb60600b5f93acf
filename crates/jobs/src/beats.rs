//! A beat of each active site once a minute: a place in its history, from which later deltas count
//! where an earlier backup could not fix one ([`Engine::beat`](model::Engine::beat)).
//!
//! A beat less is never wrong, a delta then only reads more; so that no failure here fails anything.

use std::sync::Arc;
use std::time::Duration;

use catalog::SiteRecord;
use futures::{StreamExt, stream};
use model::{Fault, Moment, SiteId};
use tokio_util::sync::CancellationToken;

use crate::words::sentence;
use crate::{Inner, Jobs, JobsError, lock};

/// How often a site beats.
const EVERY: Duration = Duration::from_secs(60);

/// How long beats are kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// How many sites are asked at once.
const AT_ONCE: usize = 8;

/// The last time that a site was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    at: Moment,
    /// How it failed, if it did.
    failure: Option<String>,
}

impl Jobs {
    /// Notes a beat of each active site (one with an active backup job) whose minute has come, and
    /// answers how many there were. [`run`](Jobs::run) does that by itself.
    pub async fn beat_those_due(&self) -> usize {
        self.inner.beat_those_due().await
    }
}

impl Inner {
    /// Beats until `shutdown`; what is under way then is dropped.
    pub(crate) async fn beat_each_minute(self: Arc<Self>, shutdown: CancellationToken) {
        let for_ever = async {
            loop {
                tokio::time::sleep(self.settings.look_for_beats).await;
                self.beat_those_due().await;
            }
        };
        tokio::select! {
            () = for_ever => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn beat_those_due(&self) -> usize {
        let sites = match self.catalog.active_sites().await {
            Ok(sites) => sites,
            Err(error) => {
                tracing::error!(code = error.code(), "no site beats: {error}");
                return 0;
            }
        };
        let now = self.clock.now();
        let due = sites
            .into_iter()
            .filter(|site| self.is_due(&site.definition.site_id, now));
        let due: Vec<_> = due.collect();
        stream::iter(due)
            .map(|site| async move { usize::from(self.beat(&site, now).await) })
            .buffer_unordered(AT_ONCE)
            .fold(0, |all, one| std::future::ready(all + one))
            .await
    }

    /// A clock that was put back makes it due.
    fn is_due(&self, site: &SiteId, now: Moment) -> bool {
        let asked = lock(&self.beaten);
        let last = asked.get(site).map(|asked| asked.at);
        last.is_none_or(|last| now < last || now.since(last) >= EVERY)
    }

    /// Whether there is a beat more.
    async fn beat(&self, site: &SiteRecord, now: Moment) -> bool {
        let limit = self.settings.beat_limit;
        let outcome = match tokio::time::timeout(limit, self.ask_for_beat(site)).await {
            Ok(Ok(beaten)) => Ok(beaten),
            Ok(Err(error)) => Err(sentence(&error)),
            Err(_) => Err(format!("it did not answer within {} s", limit.as_secs())),
        };
        self.note(&site.definition.site_id, now, outcome.as_ref().err());
        outcome.unwrap_or(false)
    }

    async fn ask_for_beat(&self, site: &SiteRecord) -> Result<bool, JobsError> {
        let engine = self.registry.engine(site.definition.site_type)?;
        let connection = self.connection(site).await?;
        let Some(beat) = engine.beat(&connection).await? else {
            return Ok(false);
        };
        let id = &site.definition.site_id;
        self.catalog.keep_beat(id, &beat, KEPT).await?;
        Ok(true)
    }

    /// A failure is told when it begins, when it becomes another one, and when it is over; not each
    /// minute.
    fn note(&self, site: &SiteId, at: Moment, failure: Option<&String>) {
        let asked = Asked {
            at,
            failure: failure.cloned(),
        };
        let before = lock(&self.beaten).insert(site.clone(), asked);
        let before = before.and_then(|asked| asked.failure);
        match (before, failure) {
            (before, Some(now)) if before.as_ref() != Some(now) => {
                tracing::warn!(%site, "the site does not beat, its deltas may read more: {now}");
            }
            (Some(_), None) => tracing::info!(%site, "the site beats again"),
            _ => {}
        }
    }
}
