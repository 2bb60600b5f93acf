//! What engines tell of their work: passed on, kept for the manifest, and each phase begun once,
//! however many databases a run has.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{ObjectName, Phase, Progress, SkippedObject};

/// Passes everything on, and keeps warnings and skipped objects. The data path begins and ends the
/// phases; an engine that begins one again only tells its number of objects. The totals of the
/// databases of a run add up, and a phase is done when it is done of the last one.
pub(crate) struct Witness {
    to: Arc<dyn Progress>,
    kept: Mutex<Kept>,
}

/// What was kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    pub(crate) warnings: Vec<String>,
    pub(crate) skipped: Vec<SkippedObject>,
    phases: BTreeMap<Phase, Totals>,
    last_database: bool,
}

/// The objects of a phase.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    /// Of the databases before.
    before: u64,
    /// Of this one.
    now: u64,
    started: bool,
    done: bool,
}

impl Witness {
    pub(crate) fn new(to: Arc<dyn Progress>) -> Self {
        Witness {
            to,
            kept: Mutex::default(),
        }
    }

    /// The next database of the run begins; nothing may be told before the first one has.
    pub(crate) fn begin_database(&self, name: &ObjectName, is_last: bool) {
        let mut kept = self.lock();
        kept.last_database = is_last;
        for totals in kept.phases.values_mut() {
            totals.before += std::mem::take(&mut totals.now);
        }
        drop(kept);
        self.to.at_work_on(name);
    }

    pub(crate) fn kept(&self) -> Kept {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Witness {
    fn phase_started(&self, phase: Phase, objects_total: u64) {
        let mut kept = self.lock();
        let totals = kept.phases.entry(phase).or_default();
        let is_new = !std::mem::replace(&mut totals.started, true);
        totals.now = objects_total;
        let all = totals.before + totals.now;
        drop(kept);
        if is_new {
            self.to.phase_started(phase, all);
        } else {
            self.to.phase_total(phase, all);
        }
    }

    fn phase_total(&self, phase: Phase, objects_total: u64) {
        let mut kept = self.lock();
        let totals = kept.phases.entry(phase).or_default();
        totals.now = objects_total;
        let all = totals.before + totals.now;
        drop(kept);
        self.to.phase_total(phase, all);
    }

    fn objects_done(&self, phase: Phase, objects: u64) {
        self.to.objects_done(phase, objects);
    }

    fn bytes(&self, phase: Phase, bytes: u64) {
        self.to.bytes(phase, bytes);
    }

    fn phase_done(&self, phase: Phase) {
        let mut kept = self.lock();
        if !kept.last_database {
            return;
        }
        let was_done = std::mem::replace(&mut kept.phases.entry(phase).or_default().done, true);
        drop(kept);
        if !was_done {
            self.to.phase_done(phase);
        }
    }

    fn warning(&self, text: String) {
        self.lock().warnings.push(text.clone());
        self.to.warning(text);
    }

    fn note(&self, text: String) {
        self.to.note(text);
    }

    fn skipped(&self, skipped: SkippedObject) {
        self.lock().skipped.push(skipped.clone());
        self.to.skipped(skipped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::RecordedProgress;

    #[test]
    fn a_phase_that_an_engine_begins_again_only_gets_its_total() {
        let told = Arc::new(RecordedProgress::new());
        let witness = Witness::new(told.clone());
        witness.begin_database(&ObjectName::one("shop"), true);
        witness.phase_started(Phase::Dictionary, 0);
        witness.phase_started(Phase::Dictionary, 4);
        witness.phase_done(Phase::Dictionary);
        witness.phase_done(Phase::Dictionary);
        assert_eq!(told.started(), [Phase::Dictionary]);
        assert_eq!(told.done(), [Phase::Dictionary]);
        assert_eq!(told.objects_total(Phase::Dictionary), 4);
    }

    #[test]
    fn the_databases_of_a_run_add_up_and_a_phase_is_done_with_the_last_one() {
        let told = Arc::new(RecordedProgress::new());
        let witness = Witness::new(told.clone());
        for (name, objects, is_last) in [("crm", 3, false), ("shop", 4, true)] {
            witness.begin_database(&ObjectName::one(name), is_last);
            witness.phase_started(Phase::Data, 0);
            witness.phase_started(Phase::Data, objects);
            witness.phase_done(Phase::Data);
            assert_eq!(told.done().is_empty(), !is_last);
        }
        assert_eq!(told.started(), [Phase::Data]);
        assert_eq!(told.objects_total(Phase::Data), 7);
    }
}
