//! The phase DATA of a backup: streams of two threads each, one that reads and one that seals.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::join_all;
use model::{CancelOnDrop, Progress, SegmentReader, Source, SourcePlan};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use vault::TableSheet;

use crate::FlowError;
use crate::collect::Collected;
use crate::error::Place;
use crate::read::{BUFFERS, Buffers, Queue, read_segments};
use crate::seal::{Sealer, seal_segments};
use crate::supervise::{STOP_LIMIT, caught_in};

/// Reads and seals all of the plan's tasks in up to `streams` streams, the first of which goes on
/// with the open pack of `first`. Answers the sheets, and the sealers with their open packs, one at
/// least. All readers are dropped when it answers.
///
/// Dropping the future cancels the reads; the threads end soon after.
pub(crate) async fn read_all(
    source: &mut dyn Source,
    plan: &mut SourcePlan,
    first: Sealer,
    streams: usize,
    stop: &CancellationToken,
    progress: Arc<dyn Progress>,
) -> Result<(Vec<Option<TableSheet>>, Vec<Sealer>), FlowError> {
    let collected = Arc::new(Collected::begin(plan, progress)?);
    let streams = streams.min(plan.tasks.len());
    let work = Arc::new(Work {
        queue: Queue::new(std::mem::take(&mut plan.tasks)),
        collected: collected.clone(),
        failures: Failures {
            first: Mutex::new(None),
            stop: stop.child_token(),
        },
    });
    if streams == 0 {
        return Ok((collected.sheets()?, vec![first]));
    }
    let mut sealers = vec![first.stopped_by(&work.failures.stop)];
    for _ in 1..streams {
        let another = sealers[0].another();
        let place = Place::outside("opening a pack");
        sealers.push(another.map_err(|error| place.fault(error))?);
    }
    // However this ends, the threads end too.
    let stopping = work.failures.stop.clone().drop_guard();
    let mut cancellers = Vec::new();
    let mut threads = Vec::new();
    for sealer in sealers {
        let Some(reader) = work.open(source).await else {
            break;
        };
        cancellers.push(reader.canceller());
        threads.push(start(&work, reader, sealer));
    }
    let sealers = work.join(threads, cancellers).await?;
    stopping.disarm();
    Ok((collected.sheets()?, sealers))
}

/// What the threads of all streams share.
struct Work {
    queue: Queue,
    collected: Arc<Collected>,
    failures: Failures,
}

/// The first failure of any thread; it stops all others.
struct Failures {
    first: Mutex<Option<FlowError>>,
    stop: CancellationToken,
}

impl Failures {
    fn note(&self, ended: Result<(), FlowError>) {
        if let Err(error) = ended {
            self.first().get_or_insert(error);
            self.stop.cancel();
        }
    }

    fn first(&self) -> std::sync::MutexGuard<'_, Option<FlowError>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The two threads of a stream.
struct Threads {
    reading: JoinHandle<()>,
    sealing: JoinHandle<Sealer>,
}

impl Threads {
    /// Waits for both, and gives the sealer back.
    async fn join(self) -> Result<Sealer, JoinError> {
        let sealer = self.sealing.await;
        self.reading.await.and(sealer)
    }
}

fn start(work: &Arc<Work>, mut reader: Box<dyn SegmentReader>, mut sealer: Sealer) -> Threads {
    let (full, mut from) = mpsc::channel(BUFFERS);
    let (empty, back) = mpsc::channel(BUFFERS);
    let reading = {
        let work = work.clone();
        let mut buffers = Buffers::new(full, back);
        tokio::task::spawn_blocking(move || {
            let place = || Place::outside("reading");
            let read = || read_segments(&mut *reader, &work.queue, &mut buffers, &work.collected);
            let ended = caught_in(place, read);
            // Noted before the channels close: what the other thread says then is a consequence.
            work.failures.note(ended);
        })
    };
    let sealing = {
        let work = work.clone();
        tokio::task::spawn_blocking(move || {
            let place = || Place::outside("sealing");
            let seal = || seal_segments(&mut sealer, &mut from, &empty, &work.collected);
            let ended = caught_in(place, seal);
            work.failures.note(ended);
            sealer
        })
    };
    Threads { reading, sealing }
}

impl Work {
    /// One more reader; `None` when some stream has failed, this one or an earlier one.
    async fn open(&self, source: &mut dyn Source) -> Option<Box<dyn SegmentReader>> {
        let opened = tokio::select! {
            biased;
            () = self.failures.stop.cancelled() => return None,
            opened = source.reader() => opened,
        };
        let place = Place::outside("opening a stream of the source");
        match opened {
            Ok(reader) => Some(reader),
            Err(fault) => {
                self.failures.note(Err(place.fault(fault)));
                None
            }
        }
    }

    /// Waits for all threads, or for the first failure and then, not for ever, for the rest.
    async fn join(
        &self,
        threads: Vec<Threads>,
        cancellers: Vec<CancelOnDrop>,
    ) -> Result<Vec<Sealer>, FlowError> {
        let all = join_all(threads.into_iter().map(Threads::join));
        tokio::pin!(all);
        let sealers = tokio::select! {
            biased;
            sealers = &mut all => sealers,
            () = self.failures.stop.cancelled() => {
                drop(cancellers);
                // One that does not listen is left alone; it holds nothing but its connection.
                let _ = tokio::time::timeout(STOP_LIMIT, all).await;
                return Err(self.first_failure());
            }
        };
        if self.failures.stop.is_cancelled() {
            return Err(self.first_failure());
        }
        cancellers.into_iter().for_each(CancelOnDrop::disarm);
        let sealers: Result<Vec<Sealer>, _> = sealers.into_iter().collect();
        // The threads catch their panics: only a runtime that shuts down is left.
        sealers.map_err(|_| FlowError::ShuttingDown)
    }

    fn first_failure(&self) -> FlowError {
        self.failures.first().take().unwrap_or(FlowError::Stopped)
    }
}
