//! Frames of patches: one frame has blocks of many segments, and is read and unpacked once for all of
//! them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::moves::Frame;
use crate::{FrameRun, RunReader, Vault, VaultError};

/// Bytes of all frames that are kept.
const KEPT_BYTES: usize = 64 << 20;

/// The frames of patches that were read last, bounded by their bytes.
#[derive(Default)]
pub(crate) struct FrameCache(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// By the place that they are referred to by.
    frames: HashMap<Frame, Bytes>,
    order: VecDeque<Frame>,
    bytes: usize,
}

impl FrameCache {
    fn get(&self, frame: Frame) -> Option<Bytes> {
        self.kept().frames.get(&frame).cloned()
    }

    fn insert(&self, frame: Frame, content: &Bytes) {
        let mut kept = self.kept();
        if kept.frames.insert(frame, content.clone()).is_none() {
            kept.order.push_back(frame);
            kept.bytes += content.len();
        }
        while kept.bytes > KEPT_BYTES
            && let Some(oldest) = kept.order.pop_front()
        {
            let gone = kept.frames.remove(&oldest);
            kept.bytes -= gone.map_or(0, |content| content.len());
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A cache is right in whatever state a panic left it: what it holds is immutable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The frames of some runs in their order, from the cache where they are there.
pub(crate) struct SharedFrames {
    vault: Vault,
    runs: VecDeque<FrameRun>,
    /// What is being read: the frames from this one on.
    reading: Option<(RunReader, Frame)>,
    stored: u64,
}

impl SharedFrames {
    pub(crate) fn new(vault: &Vault, runs: &[FrameRun]) -> Self {
        SharedFrames {
            vault: vault.clone(),
            runs: runs.iter().copied().collect(),
            reading: None,
            stored: 0,
        }
    }

    /// The next frame's content, or `None` at the end.
    ///
    /// # Errors
    /// As [`RunReader::next`].
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, VaultError> {
        loop {
            if let Some((reader, frame)) = &mut self.reading {
                if let Some(content) = reader.next().await? {
                    self.vault.0.frames.insert(*frame, &content);
                    frame.1 += 1;
                    return Ok(Some(content));
                }
                self.stored += reader.stored_bytes();
                self.reading = None;
            }
            let Some(run) = self.runs.pop_front() else {
                return Ok(None);
            };
            let cached = |number| self.vault.0.frames.get((run.pack, number));
            let frame = cached(run.first);
            let taken = match frame {
                Some(_) => 1,
                None => {
                    let rest = (1..run.count).take_while(|step| cached(run.first + step).is_none());
                    1 + rest.count() as u32
                }
            };
            if let Some(rest) = run.after(taken) {
                self.runs.push_front(rest);
            }
            if frame.is_some() {
                return Ok(frame);
            }
            let missing = FrameRun {
                count: taken,
                ..run
            };
            self.reading = Some((self.vault.read_run(&missing), (run.pack, run.first)));
        }
    }

    /// Bytes in the vault that were read so far.
    pub(crate) fn stored_bytes(&self) -> u64 {
        let reading = self.reading.as_ref();
        self.stored + reading.map_or(0, |(reader, _)| reader.stored_bytes())
    }
}
