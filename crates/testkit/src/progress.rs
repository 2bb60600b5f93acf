//! What a run told about itself, for a test to look at.

use std::collections::BTreeMap;
use std::sync::Mutex;

use model::{Phase, Progress, SkippedObject};

/// Keeps everything that it is told.
#[derive(Debug, Default)]
pub struct RecordedProgress {
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    started: Vec<Phase>,
    done: Vec<Phase>,
    totals: BTreeMap<Phase, u64>,
    objects: BTreeMap<Phase, u64>,
    bytes: BTreeMap<Phase, u64>,
    warnings: Vec<String>,
    notes: Vec<String>,
    skipped: Vec<SkippedObject>,
}

impl RecordedProgress {
    /// Nothing told yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The phases that began, in that order.
    pub fn started(&self) -> Vec<Phase> {
        self.read(|told| told.started.clone())
    }

    /// The phases that ended well, in that order.
    pub fn done(&self) -> Vec<Phase> {
        self.read(|told| told.done.clone())
    }

    /// The number of objects last announced for a phase.
    pub fn objects_total(&self, phase: Phase) -> u64 {
        self.read(|told| told.totals.get(&phase).copied().unwrap_or(0))
    }

    /// The objects done in a phase.
    pub fn objects(&self, phase: Phase) -> u64 {
        self.read(|told| told.objects.get(&phase).copied().unwrap_or(0))
    }

    /// The bytes moved in a phase.
    pub fn bytes_moved(&self, phase: Phase) -> u64 {
        self.read(|told| told.bytes.get(&phase).copied().unwrap_or(0))
    }

    /// All warnings, in order.
    pub fn warnings(&self) -> Vec<String> {
        self.read(|told| told.warnings.clone())
    }

    /// All notes, in order.
    pub fn notes(&self) -> Vec<String> {
        self.read(|told| told.notes.clone())
    }

    /// The objects left out, in order.
    pub fn skipped_objects(&self) -> Vec<SkippedObject> {
        self.read(|told| told.skipped.clone())
    }

    fn read<T>(&self, what: impl FnOnce(&Told) -> T) -> T {
        what(&self.told.lock().unwrap())
    }

    fn write(&self, what: impl FnOnce(&mut Told)) {
        what(&mut self.told.lock().unwrap());
    }
}

impl Progress for RecordedProgress {
    fn phase_started(&self, phase: Phase, objects_total: u64) {
        self.write(|told| {
            told.started.push(phase);
            told.totals.insert(phase, objects_total);
        });
    }

    fn phase_total(&self, phase: Phase, objects_total: u64) {
        self.write(|told| {
            told.totals.insert(phase, objects_total);
        });
    }

    fn objects_done(&self, phase: Phase, objects: u64) {
        self.write(|told| *told.objects.entry(phase).or_default() += objects);
    }

    fn bytes(&self, phase: Phase, bytes: u64) {
        self.write(|told| *told.bytes.entry(phase).or_default() += bytes);
    }

    fn phase_done(&self, phase: Phase) {
        self.write(|told| told.done.push(phase));
    }

    fn warning(&self, text: String) {
        self.write(|told| told.warnings.push(text));
    }

    fn note(&self, text: String) {
        self.write(|told| told.notes.push(text));
    }

    fn skipped(&self, skipped: SkippedObject) {
        self.write(|told| told.skipped.push(skipped));
    }
}
