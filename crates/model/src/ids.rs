//! Ids as types, so that a job's number is never taken for an execution's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Contract section 2, `site_id`.
    #[error(
        "{0:?} is no site id: it must start with a letter or digit and hold at most 63 letters, digits, dots, underscores and hyphens"
    )]
    Site(String),
    /// A number was expected.
    #[error("{text:?} is no {what}: it must be a whole number of 1 or more")]
    Number {
        /// What the number would have been.
        what: &'static str,
        /// What was given.
        text: String,
    },
    /// A server execution id is `<execution_id>.<attempt>`.
    #[error("{0:?} is no server execution id: it must look like 121.1")]
    ServerExecution(String),
}

/// A site's id: `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`, chosen when made, never changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SiteId(String);

impl SiteId {
    /// The id as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SiteId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let rest_is_plain = text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        let starts_well = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric());
        if starts_well && rest_is_plain && text.len() <= 63 {
            Ok(SiteId(text.to_owned()))
        } else {
            Err(IdError::Site(text.to_owned()))
        }
    }
}

impl TryFrom<String> for SiteId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<SiteId> for String {
    fn from(id: SiteId) -> String {
        id.0
    }
}

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "i64", into = "i64")]
        pub struct $name(i64);

        impl $name {
            /// The id of that number; only 1 and more are ids.
            pub fn new(number: i64) -> Result<Self, IdError> {
                if number >= 1 {
                    Ok($name(number))
                } else {
                    Err(IdError::Number { what: $what, text: number.to_string() })
                }
            }

            /// The number itself.
            pub fn get(self) -> i64 {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let wrong = || IdError::Number { what: $what, text: text.to_owned() };
                if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(wrong());
                }
                text.parse().ok().and_then(|n| $name::new(n).ok()).ok_or_else(wrong)
            }
        }

        impl TryFrom<i64> for $name {
            type Error = IdError;

            fn try_from(number: i64) -> Result<Self, IdError> {
                $name::new(number)
            }
        }

        impl From<$name> for i64 {
            fn from(id: $name) -> i64 {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id!(
    /// A job of a site, backup or restore. One sequence for the whole server.
    JobId,
    "job id"
);
number_id!(
    /// One run of a job. One sequence for the whole server, never reused.
    ExecutionId,
    "execution id"
);
number_id!(
    /// A saveset of a vault: highest manifest or tombstone + 1 when the attempt starts.
    SavesetId,
    "saveset id"
);

/// `<execution_id>.<attempt>`: one attempt inside an execution. It is also in the database
/// connections' `application_name`, so that an administrator can tell whose they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerExecutionId {
    /// The execution.
    pub execution: ExecutionId,
    /// From 1; one more each time the run begins anew inside the execution.
    pub attempt: u32,
}

impl fmt::Display for ServerExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.execution, self.attempt)
    }
}

impl FromStr for ServerExecutionId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError::ServerExecution(text.to_owned());
        let (execution, attempt) = text.split_once('.').ok_or_else(wrong)?;
        Ok(ServerExecutionId {
            execution: execution.parse().map_err(|_| wrong())?,
            attempt: attempt.parse().map_err(|_| wrong())?,
        })
    }
}

impl TryFrom<String> for ServerExecutionId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<ServerExecutionId> for String {
    fn from(id: ServerExecutionId) -> String {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_id_is_short_plain_and_starts_with_a_letter_or_digit() {
        for good in ["a", "shop", "Shop-1.dr_2", &"x".repeat(63)] {
            assert!(good.parse::<SiteId>().is_ok(), "{good}");
        }
        for bad in ["", ".a", "-a", "a/b", "a b", "ä", &"x".repeat(64), ".."] {
            assert!(bad.parse::<SiteId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_number_id_takes_digits_only_and_never_zero() {
        assert_eq!("34".parse::<JobId>().map(JobId::get), Ok(34));
        for bad in ["", "0", "-1", "+1", "1.5", "abc", "99999999999999999999"] {
            assert!(bad.parse::<JobId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_server_execution_id_reads_back() {
        let id: ServerExecutionId = "121.2".parse().unwrap();
        assert_eq!((id.execution.get(), id.attempt), (121, 2));
        assert_eq!(id.to_string(), "121.2");
        assert!("121".parse::<ServerExecutionId>().is_err());
    }
}
