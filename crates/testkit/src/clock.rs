//! A clock that only the test moves.

use std::sync::Mutex;
use std::time::Duration;

use model::{Clock, Moment};

/// Stands still until it is moved. Shared by an `Arc` between the test and what it tests.
#[derive(Debug)]
pub struct HandClock {
    now: Mutex<Moment>,
}

impl HandClock {
    /// A clock that shows that moment.
    pub fn at(now: Moment) -> Self {
        HandClock {
            now: Mutex::new(now),
        }
    }

    /// A clock that shows an RFC 3339 time, as `2026-01-31T02:00:00Z`.
    pub fn at_time(time: &str) -> Self {
        HandClock::at(time.parse().expect("an RFC 3339 time"))
    }

    /// Moves it forwards.
    pub fn advance(&self, by: Duration) {
        let mut now = self.now.lock().unwrap();
        *now = now.plus(by);
    }

    /// Sets it, backwards too: clocks of real machines do that.
    pub fn set(&self, to: Moment) {
        *self.now.lock().unwrap() = to;
    }
}

impl Clock for HandClock {
    fn now(&self) -> Moment {
        *self.now.lock().unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_moves_only_by_hand() {
        let clock = HandClock::at_time("2026-01-31T02:00:00Z");
        assert_eq!(clock.now(), clock.now());
        clock.advance(Duration::from_secs(90));
        assert_eq!(clock.now().to_the_second(), "2026-01-31T02:01:30Z");
    }
}
