//! Where something goes wrong, and the count of all calls.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use model::Outcome;
use strum::Display;
use tokio::sync::watch;

use super::MemoryFault;

/// The places that a backup or a restore passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Display)]
pub enum Stage {
    /// `beat`.
    Beat,
    /// `open_source`.
    OpenSource,
    /// The source's `dictionary`.
    Dictionary,
    /// A part of the dictionary is read. On the thread that reads it.
    Part,
    /// The source's `plan`.
    Plan,
    /// The source's `reader`.
    Reader,
    /// A reader is about to hand over a piece. On its thread.
    Piece,
    /// A reader has handed over all pieces of a task. On its thread.
    Segment,
    /// The source's `late_dictionary`.
    LateDictionary,
    /// The source's `finish`.
    Finish,
    /// `open_target`.
    OpenTarget,
    /// The target's `findings`.
    Findings,
    /// The target's `prepare`.
    Prepare,
    /// The target's `loader`.
    Loader,
    /// A loader has got a piece.
    Load,
    /// A loader has got all pieces of a task.
    Loaded,
    /// The target's `build`.
    Build,
    /// The target's `postscript`.
    Postscript,
    /// The target's `publish`.
    Publish,
    /// The target's `discard`.
    Discard,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// An error, to be tried again later.
    Fail,
    /// An error, to be tried again at once.
    Mixed,
    /// A panic.
    Panic,
    /// No answer until the call is dropped, its canceller is dropped, or `heal`.
    Hang,
    /// No answer until `heal`, whatever the canceller says. Only on threads.
    Deaf,
    /// The block index covers a byte more than was handed over. Only for [`Stage::Segment`].
    WrongIndex,
    /// The block index has no hashes. Only for [`Stage::Segment`].
    NoHashes,
    /// The rest of the rows is left unread, as if they had ended. Only for [`Stage::Load`].
    LeaveRest,
    /// One row less than arrived is counted. Only for [`Stage::Loaded`].
    CountFewer,
}

#[derive(Debug)]
pub(super) struct Script {
    rules: Mutex<Vec<(Stage, usize, Trouble)>>,
    counts: watch::Sender<BTreeMap<Stage, usize>>,
    healed: watch::Sender<u64>,
}

impl Script {
    pub(super) fn new() -> Self {
        Script {
            rules: Mutex::default(),
            counts: watch::Sender::default(),
            healed: watch::Sender::default(),
        }
    }

    pub(super) fn trouble(&self, stage: Stage, nth: usize, trouble: Trouble) {
        let at = self.count(stage) + nth;
        self.rules.lock().unwrap().push((stage, at, trouble));
    }

    pub(super) fn heal(&self) {
        self.rules.lock().unwrap().clear();
        self.healed.send_modify(|times| *times += 1);
    }

    pub(super) fn count(&self, stage: Stage) -> usize {
        self.counts.borrow().get(&stage).copied().unwrap_or(0)
    }

    pub(super) async fn reached(&self, stage: Stage, times: usize) {
        let mut counts = self.counts.subscribe();
        let enough =
            |counts: &BTreeMap<Stage, usize>| counts.get(&stage).is_some_and(|n| *n >= times);
        counts.wait_for(enough).await.expect("the sender lives");
    }

    /// Counts the call and gives the trouble that is due.
    fn record(&self, stage: Stage) -> Option<Trouble> {
        let mut now = 0;
        self.counts.send_modify(|counts| {
            let count = counts.entry(stage).or_default();
            *count += 1;
            now = *count;
        });
        let rules = self.rules.lock().unwrap();
        let due = rules.iter().find(|(s, at, _)| (*s, *at) == (stage, now));
        due.map(|(_, _, trouble)| *trouble)
    }

    /// A call of async code. Gives back a trouble that the caller makes itself.
    pub(super) async fn arrive(&self, stage: Stage) -> Outcome<Option<Trouble>> {
        let mut healed = self.healed.subscribe();
        let trouble = self.record(stage);
        if trouble == Some(Trouble::Hang) {
            healed.changed().await.expect("the sender lives");
        }
        strike(stage, trouble)
    }

    /// The same on a thread.
    pub(super) fn arrive_blocking(&self, stage: Stage, stop: &Stop) -> Outcome<Option<Trouble>> {
        let before = *self.healed.borrow();
        let trouble = self.record(stage);
        let deaf = trouble == Some(Trouble::Deaf);
        let hangs = deaf || trouble == Some(Trouble::Hang);
        while hangs && *self.healed.borrow() == before && (deaf || !stop.is_set()) {
            stop.wait(Duration::from_millis(5));
        }
        if stop.is_set() {
            return Err(MemoryFault::Cancelled.into());
        }
        strike(stage, trouble)
    }
}

fn strike(stage: Stage, trouble: Option<Trouble>) -> Outcome<Option<Trouble>> {
    match trouble {
        Some(Trouble::Fail) => Err(MemoryFault::Injected(stage).into()),
        Some(Trouble::Mixed) => Err(MemoryFault::Mixed(stage).into()),
        Some(Trouble::Panic) => panic!("injected panic at {stage}"),
        Some(Trouble::Hang | Trouble::Deaf) | None => Ok(None),
        Some(
            Trouble::WrongIndex | Trouble::NoHashes | Trouble::LeaveRest | Trouble::CountFewer,
        ) => Ok(trouble),
    }
}

/// What a reader's canceller sets.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    pub(super) fn set(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn is_set(&self) -> bool {
        *self.0.0.lock().unwrap()
    }

    /// Until it is set, at most that long.
    fn wait(&self, limit: Duration) {
        let set = self.0.0.lock().unwrap();
        if *set {
            drop(set);
            std::thread::sleep(limit);
        } else {
            drop(self.0.1.wait_timeout(set, limit).unwrap());
        }
    }
}
