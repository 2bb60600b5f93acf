//! Reading: each stream's thread takes the largest task left and fills buffers that it owns.

use std::sync::{Mutex, PoisonError};

use model::{FRAME_BYTES, Outcome, PieceSink, SegmentReader};
use tokio::sync::mpsc;

use crate::FlowError;
use crate::collect::Collected;
use crate::delta::Ready;
use crate::seal::ToSeal;
use crate::supervise::caught_in;

/// Buffers of a stream: one is being filled, one is being sealed, two keep both busy.
pub(crate) const BUFFERS: usize = 4;

/// The tasks that no stream has taken, largest first, as they become ready.
pub(crate) struct Queue(Mutex<mpsc::Receiver<Ready>>);

impl Queue {
    pub(crate) fn new(ready: mpsc::Receiver<Ready>) -> Self {
        Queue(Mutex::new(ready))
    }

    /// Waits for one; `None`: no other will come.
    fn take(&self) -> Option<Ready> {
        let mut ready = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ready.blocking_recv()
    }
}

/// Reads until no task is left.
pub(crate) fn read_segments(
    reader: &mut dyn SegmentReader,
    queue: &Queue,
    sink: &mut Buffers,
    collected: &Collected,
) -> Result<(), FlowError> {
    while let Some(ready) = queue.take() {
        let task = ready.task.clone();
        let place = || collected.place("reading", &task);
        sink.send(ToSeal::Begin(ready))?;
        let read = caught_in(place, || {
            reader
                .read(&task, sink)
                .map_err(|fault| place().fault(fault))
        })?;
        // What the reader has not handed over it has dropped.
        sink.lent = 0;
        sink.send(ToSeal::End(read))?;
    }
    Ok(())
}

/// The buffers of one stream, on the reader's side. Never more than [`BUFFERS`] are there.
pub(crate) struct Buffers {
    full: mpsc::Sender<ToSeal>,
    empty: mpsc::Receiver<Vec<u8>>,
    /// Handed over and not come back.
    away: usize,
    /// With the reader.
    lent: usize,
}

impl Buffers {
    /// Full ones go out, empty ones come back.
    pub(crate) fn new(full: mpsc::Sender<ToSeal>, empty: mpsc::Receiver<Vec<u8>>) -> Self {
        Buffers {
            full,
            empty,
            away: 0,
            lent: 0,
        }
    }

    fn send(&self, message: ToSeal) -> Result<(), FlowError> {
        self.full
            .blocking_send(message)
            .map_err(|_| FlowError::Stopped)
    }

    fn came_back(&mut self, mut buffer: Vec<u8>) -> Vec<u8> {
        self.away -= 1;
        self.lent += 1;
        buffer.clear();
        buffer.reserve(FRAME_BYTES);
        buffer
    }
}

impl PieceSink for Buffers {
    fn buffer(&mut self) -> Outcome<Vec<u8>> {
        if let Ok(buffer) = self.empty.try_recv() {
            return Ok(self.came_back(buffer));
        }
        if self.away + self.lent < BUFFERS {
            self.lent += 1;
            return Ok(Vec::with_capacity(FRAME_BYTES));
        }
        if self.away == 0 {
            // Waiting would last for ever.
            return Err(BufferLaw::AllLent.into());
        }
        match self.empty.blocking_recv() {
            Some(buffer) => Ok(self.came_back(buffer)),
            None => Err(FlowError::Stopped.into()),
        }
    }

    fn full(&mut self, buffer: Vec<u8>) -> Outcome<()> {
        if buffer.is_empty() || buffer.len() > FRAME_BYTES {
            return Err(BufferLaw::Length(buffer.len()).into());
        }
        self.lent = self.lent.saturating_sub(1);
        self.away += 1;
        Ok(self.send(ToSeal::Piece(buffer))?)
    }
}

/// What a reader may not do with its buffers.
#[derive(Debug, thiserror::Error)]
enum BufferLaw {
    #[error("the engine broke a law of its seam: it keeps all {BUFFERS} buffers and wants another")]
    AllLent,
    #[error(
        "the engine broke a law of its seam: it handed over {0} bytes, and a piece has 1 to {FRAME_BYTES}"
    )]
    Length(usize),
}

impl model::Fault for BufferLaw {
    fn code(&self) -> &'static str {
        "internal"
    }

    fn blame(&self) -> model::Blame {
        model::Blame::Bug
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffers() -> (Buffers, mpsc::Receiver<ToSeal>, mpsc::Sender<Vec<u8>>) {
        let (full, sealing) = mpsc::channel(BUFFERS + 2);
        let (back, empty) = mpsc::channel(BUFFERS);
        (Buffers::new(full, empty), sealing, back)
    }

    #[test]
    fn buffers_are_used_again_and_never_more_than_four() {
        let (mut buffers, mut sealing, back) = buffers();
        let mut addresses = std::collections::BTreeSet::new();
        for round in 0..40_u8 {
            let mut buffer = buffers.buffer().unwrap();
            assert!(buffer.is_empty() && buffer.capacity() >= FRAME_BYTES);
            addresses.insert(buffer.as_ptr().addr());
            buffer.push(round);
            buffers.full(buffer).unwrap();
            if round % 2 == 1 {
                while let Ok(ToSeal::Piece(buffer)) = sealing.try_recv() {
                    back.try_send(buffer).unwrap();
                }
            }
        }
        assert!(addresses.len() <= BUFFERS);
    }

    #[test]
    fn a_reader_that_keeps_all_buffers_gets_an_error_and_does_not_wait() {
        let (mut buffers, _sealing, _back) = buffers();
        let kept: Vec<_> = (0..BUFFERS).map(|_| buffers.buffer().unwrap()).collect();
        assert_eq!(buffers.buffer().expect_err("no buffer").code(), "internal");
        drop(kept);
    }

    #[test]
    fn an_empty_or_too_long_piece_is_refused() {
        let (mut buffers, _sealing, _back) = buffers();
        assert!(buffers.full(Vec::new()).is_err());
        assert!(buffers.full(vec![0; FRAME_BYTES + 1]).is_err());
    }

    #[test]
    fn a_sealing_thread_that_ended_stops_the_reader() {
        let (mut buffers, sealing, back) = buffers();
        drop((sealing, back));
        let mut buffer = buffers.buffer().unwrap();
        buffer.push(1);
        assert_eq!(buffers.full(buffer).expect_err("stopped").code(), "stopped");
    }
}
