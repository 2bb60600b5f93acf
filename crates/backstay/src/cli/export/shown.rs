//! How an export goes: a bar on a terminal, a line for each phase elsewhere.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use model::{Phase, Progress, SkippedObject};

use crate::output::{byte_count, remark};

pub(super) struct Shown {
    bar: Option<ProgressBar>,
    bytes: AtomicU64,
    warned: AtomicBool,
}

impl Shown {
    pub(super) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{prefix:10} {bar:30} {pos:>6}/{len:6} {msg}");
            let bar = ProgressBar::new(0);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Shown {
            bar,
            bytes: AtomicU64::new(0),
            warned: AtomicBool::new(false),
        }
    }

    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    pub(super) fn has_warned(&self) -> bool {
        self.warned.load(Ordering::Relaxed)
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| remark(text)),
            None => remark(text),
        }
    }
}

impl Progress for Shown {
    fn phase_started(&self, phase: Phase, objects_total: u64) {
        match &self.bar {
            Some(bar) => {
                bar.set_prefix(phase.to_string());
                bar.set_length(objects_total);
                bar.set_position(0);
            }
            None => remark(&format!("{phase}: begun")),
        }
    }

    fn phase_total(&self, _: Phase, objects_total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(objects_total);
        }
    }

    fn objects_done(&self, _: Phase, objects: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(objects);
        }
    }

    fn bytes(&self, _: Phase, bytes: u64) {
        let all = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if let Some(bar) = &self.bar {
            bar.set_message(byte_count(all));
        }
    }

    fn phase_done(&self, _: Phase) {}

    fn warning(&self, text: String) {
        self.warned.store(true, Ordering::Relaxed);
        self.say(&format!("warning: {text}"));
    }

    fn note(&self, text: String) {
        self.say(&text);
    }

    fn skipped(&self, skipped: SkippedObject) {
        self.warned.store(true, Ordering::Relaxed);
        self.say(&format!(
            "left out: {} ({})",
            skipped.object, skipped.reason
        ));
    }
}
