//! What happened in a history, told while it happens: also of one that never ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The steps of one history, each with its time in milliseconds.
#[derive(Debug, Clone)]
pub struct Story {
    begun: Instant,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Default for Story {
    fn default() -> Story {
        Story {
            begun: Instant::now(),
            lines: Arc::default(),
        }
    }
}

impl Story {
    /// Adds a step.
    pub fn tell(&self, text: &str) {
        let at = self.begun.elapsed().as_millis();
        self.lines().push(format!("{at:>6} {text}"));
    }

    /// All of it.
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
