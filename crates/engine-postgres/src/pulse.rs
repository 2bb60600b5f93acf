//! Whether the server still answers, while a run waits for it.
//!
//! A statement may take hours without a word: an index is built, dead rows are skipped. So no wait of
//! a run has a limit of its own. Instead a session is opened beside it now and then; when no new one
//! is answered for a while, the server hangs, or the network does, and the run's waits end.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::{
    BoxFault, CancelOnDrop, ClosingFacts, DictionaryPart, Findings, LoadTask, Outcome, PieceSink,
    Published, RowStream, SegmentLoader, SegmentRead, SegmentReader, SegmentTask, Source,
    SourcePlan, StepReport, Target,
};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::connect::Endpoint;
use crate::error::PostgresError;
use crate::session::Session;

/// Looks after one run's server; ends when dropped.
pub(crate) struct Pulse {
    endpoint: Endpoint,
    stopped: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Pulse {
    /// Of that server. The URL's `connect_timeout` (30 s by default) is how long a login may take;
    /// a server hangs when none was answered for twice that time.
    pub(crate) fn of(endpoint: &Endpoint, application_name: &str) -> Arc<Pulse> {
        let (tell, stopped) = watch::channel(false);
        let (asked, name) = (endpoint.clone(), application_name.to_owned());
        let task = tokio::spawn(async move {
            until_silent(&asked, &name).await;
            // Nobody may wait any more.
            let _ = tell.send(true);
        });
        Arc::new(Pulse {
            endpoint: endpoint.clone(),
            stopped,
            task,
        })
    }

    /// Waits for `work`, but not longer than the server answers.
    pub(crate) async fn during<T, E: Into<BoxFault>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Outcome<T> {
        tokio::select! {
            biased;
            done = work => done.map_err(Into::into),
            () = self.stops() => Err(self.silence().into()),
        }
    }

    async fn stops(&self) {
        let mut stopped = self.stopped.clone();
        if stopped.wait_for(|stopped| *stopped).await.is_err() {
            // The task ended without a word, which only an aborted one does.
            std::future::pending::<()>().await;
        }
    }

    fn silence(&self) -> PostgresError {
        let limit = limit(&self.endpoint).as_secs();
        PostgresError::Unreachable {
            address: self.endpoint.address(),
            source: std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                format!("it hangs: no new session was answered for {limit} s"),
            ),
        }
    }

    /// What stopped the run as a whole is the reason, not what it did to a part.
    fn reason(&self, fault: BoxFault) -> BoxFault {
        match *self.stopped.borrow() {
            true => self.silence().into(),
            false => fault,
        }
    }
}

fn limit(endpoint: &Endpoint) -> Duration {
    endpoint.timeout() * 2
}

async fn until_silent(endpoint: &Endpoint, application_name: &str) {
    let mut answered = Instant::now();
    while answered.elapsed() < limit(endpoint) {
        tokio::time::sleep(endpoint.timeout() / 2).await;
        if answers(endpoint, application_name).await {
            answered = Instant::now();
        }
    }
}

/// Whatever it says is an answer: too many sessions, too.
async fn answers(endpoint: &Endpoint, application_name: &str) -> bool {
    let opening = Session::open(endpoint, application_name);
    match tokio::time::timeout(endpoint.timeout(), opening).await {
        Ok(Ok(session)) => {
            session.close().await;
            true
        }
        Ok(Err(error)) => !matches!(error, PostgresError::Unreachable { .. }),
        Err(_) => false,
    }
}

/// A source whose server is looked after.
pub(crate) struct WatchedSource {
    pub(crate) source: Box<dyn Source>,
    pub(crate) pulse: Arc<Pulse>,
}

#[async_trait]
impl Source for WatchedSource {
    async fn dictionary(&mut self) -> Outcome<Vec<DictionaryPart>> {
        self.pulse.during(self.source.dictionary()).await
    }

    async fn plan(&mut self) -> Outcome<SourcePlan> {
        self.pulse.during(self.source.plan()).await
    }

    async fn reader(&mut self) -> Outcome<Box<dyn SegmentReader>> {
        let reader = self.pulse.during(self.source.reader()).await?;
        let canceller = reader.canceller();
        let pulse = self.pulse.clone();
        let (in_use, gone) = oneshot::channel::<()>();
        tokio::spawn(async move {
            tokio::select! {
                () = pulse.stops() => drop(canceller),
                _ = gone => canceller.disarm(),
            }
        });
        Ok(Box::new(WatchedReader {
            reader,
            pulse: self.pulse.clone(),
            _in_use: in_use,
        }))
    }

    async fn late_dictionary(&mut self) -> Outcome<Vec<DictionaryPart>> {
        self.pulse.during(self.source.late_dictionary()).await
    }

    async fn finish(self: Box<Self>) -> Outcome<ClosingFacts> {
        self.pulse.during(self.source.finish()).await
    }
}

struct WatchedReader {
    reader: Box<dyn SegmentReader>,
    pulse: Arc<Pulse>,
    /// While it is there, a server that falls silent ends the read.
    _in_use: oneshot::Sender<()>,
}

impl SegmentReader for WatchedReader {
    fn read(&mut self, task: &SegmentTask, sink: &mut dyn PieceSink) -> Outcome<SegmentRead> {
        let read = self.reader.read(task, sink);
        read.map_err(|fault| self.pulse.reason(fault))
    }

    fn canceller(&self) -> CancelOnDrop {
        self.reader.canceller()
    }
}

/// A target whose server is looked after.
pub(crate) struct WatchedTarget {
    pub(crate) target: Box<dyn Target>,
    pub(crate) pulse: Arc<Pulse>,
}

#[async_trait]
impl Target for WatchedTarget {
    async fn findings(&mut self) -> Outcome<Findings> {
        self.pulse.during(self.target.findings()).await
    }

    async fn prepare(&mut self) -> Outcome<()> {
        self.pulse.during(self.target.prepare()).await
    }

    async fn loader(&mut self) -> Outcome<Box<dyn SegmentLoader>> {
        let loader = self.pulse.during(self.target.loader()).await?;
        Ok(Box::new(WatchedLoader {
            loader,
            pulse: self.pulse.clone(),
        }))
    }

    async fn build(&mut self, parallel: usize) -> Outcome<StepReport> {
        self.pulse.during(self.target.build(parallel)).await
    }

    async fn postscript(&mut self) -> Outcome<StepReport> {
        self.pulse.during(self.target.postscript()).await
    }

    async fn publish(self: Box<Self>) -> Outcome<Published> {
        self.pulse.during(self.target.publish()).await
    }

    async fn discard(self: Box<Self>) -> Outcome<()> {
        self.pulse.during(self.target.discard()).await
    }
}

struct WatchedLoader {
    loader: Box<dyn SegmentLoader>,
    pulse: Arc<Pulse>,
}

#[async_trait]
impl SegmentLoader for WatchedLoader {
    async fn load(&mut self, task: &LoadTask, rows: &mut dyn RowStream) -> Outcome<u64> {
        self.pulse.during(self.loader.load(task, rows)).await
    }
}
