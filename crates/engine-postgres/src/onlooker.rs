//! A test that looks on: it acts between the steps of a run that nobody else can tell apart, and asks
//! what the run's own snapshot sees. The product is compiled without.

use std::fmt;

use async_trait::async_trait;
use tokio_postgres::Client;

/// A place in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The tables are locked, and there is no snapshot yet.
    Locked,
    /// The snapshot's end of the window is noted, and not yet durable.
    EndNoted,
    /// The end of the window is durable, and not yet summarized.
    EndDurable,
    /// The summaries are listed, and not yet read.
    SummariesListed,
}

/// Whoever looks on. A call holds the run up until it returns.
#[async_trait]
pub trait Onlooker: fmt::Debug + Send + Sync {
    /// The run is here.
    async fn at(&self, step: Step);

    /// The run has its snapshot: what the client reads is what will be saved.
    async fn in_snapshot(&self, client: &Client);
}
