//! Stopping an execution on request.

use model::{ExecutionId, ExecutionStatus, SiteId};

use crate::{Inner, Jobs, JobsError, StopReason, lock};

impl Jobs {
    /// Asks an execution to stop. A queued one is ABORTED at once; a running one becomes ABORTING
    /// and releases its streams.
    ///
    /// # Errors
    /// When there is no such execution, or it has ended.
    pub async fn abort(
        &self,
        site: &SiteId,
        id: ExecutionId,
        why: &str,
    ) -> Result<ExecutionStatus, JobsError> {
        let execution = self.inner.catalog.execution(site, id).await?;
        if execution.status.is_final() {
            return Err(JobsError::Ended {
                execution: id,
                status: execution.status,
            });
        }
        let status = self.inner.catalog.request_abort(id, why).await?;
        if status.is_final() {
            lock(&self.inner.credentials).remove(&id);
        }
        self.inner.stop(id, StopReason::Abort(why.to_owned()));
        Ok(status)
    }

    /// Stops whatever runs on this server, for a shutdown. The runner writes down what became of
    /// each.
    pub(crate) fn stop_all(&self) {
        let ids: Vec<ExecutionId> = lock(&self.inner.running).keys().copied().collect();
        for id in ids {
            self.inner.stop(id, StopReason::Shutdown);
        }
    }
}

impl Inner {
    /// Stops an execution if it runs here; the first reason given stands.
    pub(crate) fn stop(&self, id: ExecutionId, why: StopReason) {
        if let Some(running) = lock(&self.running).get(&id) {
            lock(&running.why).get_or_insert(why);
            running.cancel.cancel();
        }
    }
}
