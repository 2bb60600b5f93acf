//! The phase DATA of a backup: streams of two threads each, one that reads and one that seals.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::join_all;
use futures::{StreamExt, TryStreamExt, stream};
use model::{CancelOnDrop, Phase, SegmentReader, Source};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::FlowError;
use crate::collect::Collected;
use crate::delta::{Delta, Ready, Task};
use crate::error::Place;
use crate::read::{BUFFERS, Buffers, Queue, read_segments};
use crate::seal::{Sealer, seal_segments};
use crate::supervise::{STOP_LIMIT, caught, caught_in};

/// Tasks that are made ready at the same time: each may look into indexes of the base.
const READY_AHEAD: usize = 4;

/// What there is to read.
pub(crate) struct Reading {
    pub(crate) tasks: Vec<Task>,
    /// What the tasks look into.
    pub(crate) delta: Option<Arc<Delta>>,
    pub(crate) collected: Arc<Collected>,
    /// At most so many.
    pub(crate) streams: usize,
}

/// Reads and seals all tasks in up to `streams` streams, the first of which goes on with the open pack of
/// `first`. Answers the sealers with their open packs, one at least. All readers are dropped when it
/// answers.
///
/// Dropping the future cancels the reads; the threads end soon after.
pub(crate) async fn read_all(
    source: &mut dyn Source,
    reading: Reading,
    first: Sealer,
    stop: &CancellationToken,
) -> Result<Vec<Sealer>, FlowError> {
    let streams = reading.streams.min(reading.tasks.len());
    if streams == 0 {
        return Ok(vec![first]);
    }
    let (to, ready) = mpsc::channel(streams);
    let work = Arc::new(Work {
        queue: Queue::new(ready),
        collected: reading.collected,
        failures: Failures {
            first: Mutex::new(None),
            stop: stop.child_token(),
        },
    });
    let mut sealers = vec![first.stopped_by(&work.failures.stop)];
    for _ in 1..streams {
        let another = sealers[0].another();
        let place = Place::outside("opening a pack");
        sealers.push(another.map_err(|error| place.fault(error))?);
    }
    // However this ends, the threads end too.
    let stopping = work.failures.stop.clone().drop_guard();
    let feeding = feed(work.clone(), reading.tasks, reading.delta, to);
    let feeding = AbortOnDropHandle::new(tokio::spawn(feeding));
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
    drop(feeding);
    stopping.disarm();
    Ok(sealers)
}

/// Makes the tasks ready, largest first, as the streams take them.
async fn feed(
    work: Arc<Work>,
    mut tasks: Vec<Task>,
    delta: Option<Arc<Delta>>,
    to: mpsc::Sender<Ready>,
) {
    tasks.sort_by_key(|task| std::cmp::Reverse(task.estimated_bytes));
    let making = stream::iter(tasks).map(|task| task.ready(delta.as_deref()));
    let mut making = making.buffered(READY_AHEAD);
    let feeding = async {
        while let Some(ready) = making.try_next().await? {
            // No thread is left to take it: that has a reason, which is told.
            if to.send(ready).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    let place = Place::within(Phase::Data, "looking into the base");
    tokio::select! {
        biased;
        // The threads see that no other task will come.
        () = work.failures.stop.cancelled() => {}
        fed = caught(place, feeding) => work.failures.note(fed),
    }
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
