//! The loop that takes queued executions, most urgent first, and sees each to its end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{Fault, SiteId};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::rules::admission::{Load, busy};
use crate::{Inner, Jobs, JobsError, Running, lock};

/// How often the loop looks into the queue without being woken: another server may have queued
/// something.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a shutdown waits for running executions to release what they hold.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(25);

impl Jobs {
    /// Runs queued executions until `shutdown`; then stops what runs, and returns when each has
    /// been written down. A backup stopped so is queued again at the next start.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut at_work = JoinSet::new();
        let mut look = tokio::time::interval(LOOK_EVERY);
        tokio::spawn(self.inner.clone().sweep_daily(shutdown.clone()));
        tokio::spawn(self.inner.clone().beat_each_minute(shutdown.clone()));
        while !shutdown.is_cancelled() {
            if let Err(error) = self.inner.take_all(&mut at_work).await {
                tracing::error!(code = error.code(), "the queue cannot be read: {error}");
            }
            tokio::select! {
                () = self.inner.wake.notified() => {}
                _ = look.tick() => {}
                Some(_) = at_work.join_next() => {}
                () = shutdown.cancelled() => {}
            }
        }
        self.stop_all();
        let all_ended = async {
            self.stop_verifications().await;
            while at_work.join_next().await.is_some() {}
        };
        if tokio::time::timeout(SHUTDOWN_LIMIT, all_ended)
            .await
            .is_err()
        {
            tracing::error!(
                "some executions or verifications did not stop within {} s; the next start decides what became of them",
                SHUTDOWN_LIMIT.as_secs()
            );
        }
    }
}

impl Inner {
    /// Takes as many executions as there is room for.
    async fn take_all(self: &Arc<Self>, at_work: &mut JoinSet<()>) -> Result<(), JobsError> {
        while at_work.len() < self.settings.parallel_executions {
            let busy = self.busy_sites().await?;
            let admission = self.admission.lock().await;
            let until = self.clock.now().plus(self.settings.lease);
            let Some(leased) = self.catalog.take_next(until, &busy).await? else {
                return Ok(());
            };
            let running = Running {
                site: leased.execution.runs_on().clone(),
                cancel: CancellationToken::new(),
                why: Arc::default(),
            };
            lock(&self.running).insert(leased.execution.execution_id, running.clone());
            drop(admission);
            let inner = self.clone();
            at_work.spawn(async move { inner.see_through(leased, running).await });
        }
        Ok(())
    }

    async fn busy_sites(&self) -> Result<Vec<SiteId>, JobsError> {
        let mut at_work: BTreeMap<SiteId, usize> = BTreeMap::new();
        for running in lock(&self.running).values() {
            *at_work.entry(running.site.clone()).or_default() += 1;
        }
        let mut loads = BTreeMap::new();
        for (site, running) in at_work {
            let hard_limit = match self.catalog.site(&site).await {
                Ok(record) => record.definition.hard_limit,
                // It was deleted under a restore that came from another site; nothing is queued there.
                Err(error) if error.blame() == model::Blame::Missing => continue,
                Err(error) => return Err(error.into()),
            };
            let free_streams = self.site_streams(&site, hard_limit).available_permits();
            loads.insert(
                site,
                (
                    Load {
                        running,
                        free_streams,
                    },
                    hard_limit,
                ),
            );
        }
        Ok(busy(&loads))
    }
}
