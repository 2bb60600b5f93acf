//! What engines tell of their work: passed on, kept for the manifest, and each phase begun once.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Phase, Progress, SkippedObject};

/// Passes everything on, and keeps warnings and skipped objects. The data path begins and ends the
/// phases; an engine that begins one again only tells its number of objects.
pub(crate) struct Witness {
    to: Arc<dyn Progress>,
    kept: Mutex<Kept>,
}

/// What was kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    pub(crate) warnings: Vec<String>,
    pub(crate) skipped: Vec<SkippedObject>,
    started: BTreeSet<Phase>,
    done: BTreeSet<Phase>,
}

impl Witness {
    pub(crate) fn new(to: Arc<dyn Progress>) -> Self {
        Witness {
            to,
            kept: Mutex::default(),
        }
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
        if self.lock().started.insert(phase) {
            self.to.phase_started(phase, objects_total);
        } else {
            self.to.phase_total(phase, objects_total);
        }
    }

    fn phase_total(&self, phase: Phase, objects_total: u64) {
        self.to.phase_total(phase, objects_total);
    }

    fn objects_done(&self, phase: Phase, objects: u64) {
        self.to.objects_done(phase, objects);
    }

    fn bytes(&self, phase: Phase, bytes: u64) {
        self.to.bytes(phase, bytes);
    }

    fn phase_done(&self, phase: Phase) {
        if self.lock().done.insert(phase) {
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
        witness.phase_started(Phase::Dictionary, 0);
        witness.phase_started(Phase::Dictionary, 4);
        witness.phase_done(Phase::Dictionary);
        witness.phase_done(Phase::Dictionary);
        assert_eq!(told.started(), [Phase::Dictionary]);
        assert_eq!(told.done(), [Phase::Dictionary]);
        assert_eq!(told.objects_total(Phase::Dictionary), 4);
    }
}
