//! What every request may use.

use std::sync::Arc;
use std::time::Duration;

use catalog::Catalog;
use jobs::Jobs;
use model::Clock;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// How much a client may ask for.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest body, in bytes.
    pub body_bytes: usize,
    /// How long an answer may take to begin.
    pub request: Duration,
    /// How many requests are worked on at once; more are told to come again.
    pub requests_at_once: usize,
    /// How many clients listen to events at once.
    pub event_streams: usize,
    /// How long requests may go on after the server was told to stop.
    pub shutdown: Duration,
    /// How often an event stream looks for news.
    pub event_interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            body_bytes: 1 << 20,
            request: Duration::from_secs(60),
            requests_at_once: 256,
            event_streams: 64,
            shutdown: Duration::from_secs(10),
            event_interval: Duration::from_millis(500),
        }
    }
}

/// The parts of the server. Cheap to clone.
#[derive(Clone)]
pub struct ServerState {
    inner: Arc<Inner>,
}

struct Inner {
    catalog: Catalog,
    jobs: Jobs,
    clock: Arc<dyn Clock>,
    limits: Limits,
    metrics: Metrics,
    slots: Arc<Semaphore>,
    event_slots: Arc<Semaphore>,
    stopping: CancellationToken,
}

impl ServerState {
    /// A server over a catalog and the jobs that run on it.
    pub fn new(catalog: Catalog, jobs: Jobs, clock: Arc<dyn Clock>, limits: Limits) -> Self {
        ServerState {
            inner: Arc::new(Inner {
                catalog,
                jobs,
                clock,
                metrics: Metrics::new(),
                slots: Arc::new(Semaphore::new(limits.requests_at_once)),
                event_slots: Arc::new(Semaphore::new(limits.event_streams)),
                stopping: CancellationToken::new(),
                limits,
            }),
        }
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.inner.catalog
    }

    pub(crate) fn jobs(&self) -> &Jobs {
        &self.inner.jobs
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.inner.clock
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    pub(crate) fn slots(&self) -> &Arc<Semaphore> {
        &self.inner.slots
    }

    pub(crate) fn event_slots(&self) -> &Arc<Semaphore> {
        &self.inner.event_slots
    }

    /// Cancelled once the server was told to stop.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.inner.stopping
    }
}
