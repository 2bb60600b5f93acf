//! Loading one segment: its frames are read ahead, checked, and given to a loader as rows.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use model::{BlockRange, LoadTask, ObjectName, Outcome, Phase, Progress, RowStream, SegmentLoader};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use vault::{Patches, Saveset, SegmentEntry, SegmentRows, VaultError};

use crate::FlowError;
use crate::error::Place;
use crate::supervise::panicked;

/// Frames that are read ahead of a loader.
const AHEAD: usize = 3;

/// One segment to load.
pub(crate) struct Load {
    /// What it comes to without patches.
    pub(crate) task: LoadTask,
    pub(crate) entry: SegmentEntry,
    /// Those of its table.
    pub(crate) patches: Arc<Patches>,
}

/// Where a segment goes, for messages, and who is told of its bytes.
pub(crate) struct At<'a> {
    pub(crate) table: &'a ObjectName,
    pub(crate) blocks: BlockRange,
    pub(crate) progress: &'a dyn Progress,
}

impl At<'_> {
    pub(crate) fn place(&self, doing: &'static str) -> Place {
        Place::rows(doing, self.table, self.blocks)
    }
}

/// The rows of one segment. A loader sees the stream's end only when the vault has found all that was
/// given to be right.
struct Rows<'a> {
    frames: mpsc::Receiver<Result<Bytes, VaultError>>,
    /// Dropping it ends the reading.
    reading: AbortOnDropHandle<u64>,
    at: &'a At<'a>,
    state: State,
}

enum State {
    Flowing,
    /// Everything was given; so many bytes of the vault were read for it.
    Ended(u64),
    /// Why the rows broke off; the loader was told less.
    Broken(FlowError),
}

impl<'a> Rows<'a> {
    fn open(rows: SegmentRows, at: &'a At<'a>) -> Self {
        let (sender, frames) = mpsc::channel(AHEAD);
        let reading = tokio::spawn(read_ahead(rows, sender));
        Rows {
            frames,
            reading: AbortOnDropHandle::new(reading),
            at,
            state: State::Flowing,
        }
    }

    async fn next_frame(&mut self) -> Result<Option<Bytes>, FlowError> {
        let place = self.at.place("reading");
        match self.frames.recv().await {
            Some(Ok(frame)) => Ok(Some(frame)),
            Some(Err(error)) => Err(place.fault(error)),
            None => {
                let ended = (&mut self.reading).await;
                let stored = ended.map_err(|error| panicked(place, error))?;
                self.state = State::Ended(stored);
                Ok(None)
            }
        }
    }
}

/// Reads frames into the channel until it is full, and goes on when there is room. Answers the bytes
/// of the vault that it has read.
async fn read_ahead(mut reader: SegmentRows, to: mpsc::Sender<Result<Bytes, VaultError>>) -> u64 {
    while let Some(frame) = reader.next().await.transpose() {
        let broken = frame.is_err();
        // Nobody listens when the loader has ended early; it says why.
        if to.send(frame).await.is_err() || broken {
            break;
        }
    }
    reader.stored_bytes()
}

#[async_trait]
impl RowStream for Rows<'_> {
    async fn next(&mut self) -> Outcome<Option<Bytes>> {
        match self.state {
            State::Flowing => {}
            State::Ended(_) => return Ok(None),
            // A loader that asks again after an error gets no end that it could take for good.
            State::Broken(_) => return Err(FlowError::Stopped.into()),
        }
        match self.next_frame().await {
            Ok(Some(frame)) => {
                self.at.progress.bytes(Phase::Data, frame.len() as u64);
                Ok(Some(frame))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                self.state = State::Broken(error);
                Err(FlowError::Stopped.into())
            }
        }
    }
}

/// What was loaded of a segment.
pub(crate) struct Loaded {
    /// Bytes of the vault that were read.
    pub(crate) stored: u64,
    pub(crate) rows: u64,
}

/// Loads one segment, and compares what the database counted.
pub(crate) async fn load_segment(
    loader: &mut dyn SegmentLoader,
    saveset: &Saveset,
    load: &Load,
    at: &At<'_>,
) -> Result<Loaded, FlowError> {
    let rows = saveset.segment_rows(&load.entry, &load.patches).await;
    let rows = rows.map_err(|error| at.place("reading").fault(error))?;
    let task = LoadTask {
        rows: rows.rows(),
        bytes: rows.bytes(),
        ..load.task.clone()
    };
    let mut rows = Rows::open(rows, at);
    let loaded = loader.load(&task, &mut rows).await;
    let (counted, stored) = match (loaded, rows.state) {
        // What the loader made of it is a consequence.
        (_, State::Broken(error)) => return Err(error),
        (Err(fault), _) => return Err(at.place("loading").fault(fault)),
        (Ok(_), State::Flowing) => {
            return Err(FlowError::Law {
                place: at.place("loading"),
                law: "it did not read the rows to their end".to_owned(),
            });
        }
        (Ok(counted), State::Ended(stored)) => (counted, stored),
    };
    if counted == task.rows {
        Ok(Loaded {
            stored,
            rows: counted,
        })
    } else {
        Err(FlowError::RowsDiffer {
            place: at.place("loading"),
            expected: task.rows,
            counted,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows<'a>(at: &'a At<'a>, frames: Vec<Result<Bytes, VaultError>>) -> Rows<'a> {
        let (sender, receiver) = mpsc::channel(frames.len());
        for frame in frames {
            sender.try_send(frame).unwrap();
        }
        Rows {
            frames: receiver,
            reading: AbortOnDropHandle::new(tokio::spawn(async move {
                drop(sender);
                7
            })),
            at,
            state: State::Flowing,
        }
    }

    #[tokio::test]
    async fn a_loader_that_asks_again_after_an_error_never_sees_an_end() {
        let at = At {
            table: &ObjectName::one("item"),
            blocks: BlockRange::ALL,
            progress: &model::NoProgress,
        };
        let damaged = VaultError::Missing {
            path: "packs/aa".to_owned(),
        };
        let good = Bytes::from_static(b"rows");
        let mut broken = rows(&at, vec![Ok(good.clone()), Err(damaged)]);
        assert!(broken.next().await.is_ok_and(|piece| piece.is_some()));
        for _ in 0..3 {
            assert!(broken.next().await.is_err());
        }
        assert!(matches!(broken.state, State::Broken(_)));

        let mut whole = rows(&at, vec![Ok(good)]);
        assert!(whole.next().await.is_ok_and(|piece| piece.is_some()));
        for _ in 0..3 {
            assert!(whole.next().await.is_ok_and(|piece| piece.is_none()));
        }
        assert!(matches!(whole.state, State::Ended(7)));
    }
}
