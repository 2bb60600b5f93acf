//! Time as a parameter: whatever decides by time takes a [`Clock`].

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment in UTC, in whole microseconds since 1970. On the wire RFC 3339 with six decimals
/// and `Z` (contract section 2, *times*).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Moment(i64);

/// A text that is no RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time: it must be RFC 3339, as 2026-01-31T02:00:00Z")]
pub struct MomentError(String);

impl Moment {
    /// From microseconds since 1970, cut to the years that RFC 3339 can write.
    pub fn from_micros(micros: i64) -> Self {
        let low = jiff::Timestamp::MIN.as_microsecond();
        let high = jiff::Timestamp::MAX.as_microsecond();
        Moment(micros.clamp(low, high))
    }

    /// Microseconds since 1970.
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// How long after `earlier`; zero if it is not.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// That much later.
    pub fn plus(self, duration: Duration) -> Moment {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Moment::from_micros(self.0.saturating_add(micros))
    }

    /// That much earlier.
    pub fn minus(self, duration: Duration) -> Moment {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Moment::from_micros(self.0.saturating_sub(micros))
    }

    /// RFC 3339 to the second, as an execution's name has it.
    pub fn to_the_second(self) -> String {
        format!("{:.0}", self.timestamp())
    }

    fn timestamp(self) -> jiff::Timestamp {
        // `from_micros` has cut every value into the range.
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.timestamp())
    }
}

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        let at: jiff::Timestamp = text.parse().map_err(|_| MomentError(text.to_owned()))?;
        Ok(Moment(at.as_microsecond()))
    }
}

impl TryFrom<String> for Moment {
    type Error = MomentError;

    fn try_from(text: String) -> Result<Self, MomentError> {
        text.parse()
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> String {
        moment.to_string()
    }
}

/// Where the time comes from: the system, or a test's hand.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Moment;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment(jiff::Timestamp::now().as_microsecond())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_with_six_decimals_and_z() {
        let at = Moment::from_micros(1_670_412_660_000_000);
        assert_eq!(at.to_string(), "2022-12-07T11:31:00.000000Z");
        assert_eq!(at.to_the_second(), "2022-12-07T11:31:00Z");
        assert_eq!("2022-12-07T12:31:00+01:00".parse(), Ok(at));
        assert_eq!(
            at.plus(Duration::from_secs(2)).since(at),
            Duration::from_secs(2)
        );
    }
}
