//! What a run tells of itself, on its way into the catalog.
//!
//! Source, flow and target call [`Report`] often and must never wait; it only adds up numbers.
//! A task writes a snapshot of them into the catalog about once a second.

use std::sync::{Arc, Mutex};

use catalog::{PhaseRecord, ProgressSnapshot};
use model::{Clock, JobType, Moment, ObjectName, Phase, PhaseStatus, Progress, SkippedObject};

use crate::{lock, words};

/// How many warnings an execution keeps; the rest is counted.
const WARNINGS_KEPT: usize = 200;

/// The progress of one attempt.
pub(crate) struct Report {
    clock: Arc<dyn Clock>,
    job_type: JobType,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    phases: Vec<PhaseRecord>,
    warnings: Vec<String>,
    warnings_left_out: u64,
    notes: Vec<String>,
    skipped: Vec<SkippedObject>,
    /// The database that the run is at.
    at_work_on: Option<ObjectName>,
    /// Whether it is at more than one.
    several: bool,
    changed: bool,
}

impl Report {
    pub(crate) fn new(clock: Arc<dyn Clock>, job_type: JobType) -> Self {
        Report {
            clock,
            job_type,
            state: Mutex::default(),
        }
    }

    /// Everything told so far, if anything is new since the last call.
    pub(crate) fn snapshot_if_changed(&self) -> Option<ProgressSnapshot> {
        let mut state = lock(&self.state);
        std::mem::take(&mut state.changed).then(|| self.snapshot_of(&state))
    }

    /// Everything told so far. A phase that is still at work gets `unfinished`, if given.
    pub(crate) fn final_snapshot(&self, unfinished: Option<PhaseStatus>) -> ProgressSnapshot {
        let mut state = lock(&self.state);
        if let Some(status) = unfinished {
            let now = self.clock.now();
            for phase in state
                .phases
                .iter_mut()
                .filter(|p| p.status == PhaseStatus::Running)
            {
                phase.status = status;
                phase.end_time = Some(now);
            }
        }
        self.snapshot_of(&state)
    }

    /// Whether the run must not end SUCCESSFUL.
    pub(crate) fn has_warnings(&self) -> bool {
        let state = lock(&self.state);
        !state.warnings.is_empty() || !state.skipped.is_empty()
    }

    /// A new attempt: phases and warnings of the one before do not count.
    pub(crate) fn begin_anew(&self) {
        let mut state = lock(&self.state);
        let notes = std::mem::take(&mut state.notes);
        *state = State {
            notes,
            changed: true,
            ..State::default()
        };
    }

    /// Notes, for the final sentence.
    pub(crate) fn notes(&self) -> Vec<String> {
        lock(&self.state).notes.clone()
    }

    fn snapshot_of(&self, state: &State) -> ProgressSnapshot {
        let mut warnings = state.warnings.clone();
        if state.warnings_left_out > 0 {
            warnings.push(format!(
                "and {} more",
                words::count(state.warnings_left_out, "warning")
            ));
        }
        ProgressSnapshot {
            bytes_read: state.phases.iter().map(|p| p.bytes).sum(),
            detail: self.detail(state),
            phases: state.phases.clone(),
            warnings,
            skipped: state.skipped.clone(),
        }
    }

    /// `DATA: 3 of 12 objects, 120.0 MB at 85.0 MB/s`, and of several databases which one is at work.
    fn detail(&self, state: &State) -> String {
        let Some(phase) = state
            .phases
            .iter()
            .rev()
            .find(|p| p.status == PhaseStatus::Running)
            .or(state.phases.last())
        else {
            return match self.job_type {
                JobType::Backup => "Opening the source".to_owned(),
                JobType::Restore => "Opening the target".to_owned(),
            };
        };
        let took = phase
            .end_time
            .unwrap_or_else(|| self.clock.now())
            .since(phase.start_time);
        let mut text = format!("{}: ", phase.phase);
        match phase.objects_total {
            0 => text.push_str(&words::count(phase.objects_done, "object")),
            total => text.push_str(&format!(
                "{} of {}",
                phase.objects_done,
                words::count(total, "object")
            )),
        }
        if phase.bytes > 0 {
            let speed = words::speed(phase.bytes, took);
            text.push_str(&format!(
                ", {} at {}/s",
                words::bytes(phase.bytes),
                words::bytes(speed)
            ));
        }
        if let Some(database) = state.at_work_on.as_ref().filter(|_| state.several) {
            text.push_str(&format!("; at work on the database {database}"));
        }
        text
    }

    fn change(&self, phase: Phase, with: impl FnOnce(&mut PhaseRecord, Moment)) {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        let at = match state.phases.iter().position(|p| p.phase == phase) {
            Some(at) => at,
            None => {
                state.phases.push(PhaseRecord {
                    phase,
                    status: PhaseStatus::Running,
                    objects_done: 0,
                    objects_total: 0,
                    bytes: 0,
                    start_time: now,
                    end_time: None,
                });
                state.phases.len() - 1
            }
        };
        with(&mut state.phases[at], now);
        state.changed = true;
    }
}

impl Progress for Report {
    fn at_work_on(&self, database: &ObjectName) {
        let mut state = lock(&self.state);
        let before = state.at_work_on.replace(database.clone());
        state.several |= before.is_some_and(|before| before != *database);
        state.changed = true;
    }

    fn phase_started(&self, phase: Phase, objects_total: u64) {
        self.change(phase, |record, _| record.objects_total = objects_total);
    }

    fn phase_total(&self, phase: Phase, objects_total: u64) {
        self.change(phase, |record, _| record.objects_total = objects_total);
    }

    fn objects_done(&self, phase: Phase, objects: u64) {
        self.change(phase, |record, _| record.objects_done += objects);
    }

    fn bytes(&self, phase: Phase, bytes: u64) {
        self.change(phase, |record, _| record.bytes += bytes);
    }

    fn phase_done(&self, phase: Phase) {
        self.change(phase, |record, now| {
            record.status = PhaseStatus::Successful;
            record.end_time = Some(now);
        });
    }

    fn warning(&self, text: String) {
        let mut state = lock(&self.state);
        if state.warnings.contains(&text) {
            return;
        }
        if state.warnings.len() < WARNINGS_KEPT {
            state.warnings.push(text);
        } else {
            state.warnings_left_out += 1;
        }
        state.changed = true;
    }

    fn note(&self, text: String) {
        let mut state = lock(&self.state);
        if !state.notes.contains(&text) {
            state.notes.push(text);
        }
    }

    fn skipped(&self, skipped: SkippedObject) {
        let mut state = lock(&self.state);
        state.skipped.push(skipped);
        state.changed = true;
    }
}
