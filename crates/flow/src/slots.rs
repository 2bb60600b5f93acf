//! How many streams a run may use.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::FlowError;

/// Streams of a site that one run holds; dropping gives them back.
pub(crate) struct Slots {
    permits: OwnedSemaphorePermit,
}

impl Slots {
    /// Waits for one stream, and takes up to `wanted` of those that are free then. The semaphore
    /// is the site's and has as many permits as its `hard_limit`; `wanted` is its `soft_limit`.
    pub(crate) async fn acquire(site: &Arc<Semaphore>, wanted: usize) -> Result<Self, FlowError> {
        let first = site.clone().acquire_owned().await;
        let mut permits = first.map_err(|_| FlowError::ShuttingDown)?;
        while permits.num_permits() < wanted {
            match site.clone().try_acquire_owned() {
                Ok(more) => permits.merge(more),
                Err(TryAcquireError::NoPermits) => break,
                Err(TryAcquireError::Closed) => return Err(FlowError::ShuttingDown),
            }
        }
        Ok(Slots { permits })
    }

    /// How many; 1 or more.
    pub(crate) fn count(&self) -> usize {
        self.permits.num_permits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_run_takes_what_is_free_and_waits_only_for_the_first() {
        let site = Arc::new(Semaphore::new(3));
        let two = Slots::acquire(&site, 2).await.unwrap();
        let one = Slots::acquire(&site, 2).await.unwrap();
        assert_eq!((two.count(), one.count()), (2, 1));
        let waiting = tokio::spawn({
            let site = site.clone();
            async move { Slots::acquire(&site, 2).await.map(|slots| slots.count()) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(one);
        assert_eq!(waiting.await.unwrap().unwrap(), 1);
        drop(two);
        assert_eq!(site.available_permits(), 3);
    }

    #[tokio::test]
    async fn no_stream_is_given_out_by_a_closed_site() {
        let site = Arc::new(Semaphore::new(1));
        site.close();
        let refused = Slots::acquire(&site, 1).await.map(|slots| slots.count());
        assert!(matches!(refused, Err(FlowError::ShuttingDown)));
    }
}
