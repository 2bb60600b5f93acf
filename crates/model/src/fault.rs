//! What every error of Backstay can say about itself.

use std::error::Error;

/// Who has to do something about an error. It decides the HTTP status and the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The caller asked for something that cannot be (400).
    Request,
    /// A right or a credential is missing (403).
    Access,
    /// What was named is not there (404).
    Missing,
    /// Something is in the way (409).
    Conflict,
    /// The database failed, or its network.
    Source,
    /// The store of the vault failed, or its network.
    Vault,
    /// Bytes of the vault or the catalog are not what was written.
    Damaged,
    /// Too much at once, or somebody else holds what is needed.
    Busy,
    /// A mistake of ours.
    Bug,
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It will fail in the same way.
    Never,
    /// Begin the run anew inside the same execution: a lock was busy, the catalog changed.
    NewAttempt,
    /// Later, as a new execution: a network or a server was away.
    Later,
}

/// An error with a stable code, somebody to act, and a way on.
pub trait Fault: Error + Send + Sync + 'static {
    /// A stable word for programs, as `vault-unreachable`. Listed in `docs/errors.md`.
    fn code(&self) -> &'static str;
    /// Who has to act.
    fn blame(&self) -> Blame;
    /// Whether trying again can help.
    fn retry(&self) -> Retry {
        Retry::Never
    }
    /// What to do about it, as a sentence; `None` where the message says it already.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// Any fault, as it crosses a seam.
pub type BoxFault = Box<dyn Fault>;

/// The result of every call across a seam.
pub type Outcome<T> = Result<T, BoxFault>;

impl<E: Fault> From<E> for BoxFault {
    fn from(fault: E) -> Self {
        Box::new(fault)
    }
}

impl dyn Fault {
    /// The error and everything below it in one line, as a person should read it.
    pub fn sentence(&self) -> String {
        let mut text = self.to_string();
        let mut below = self.source();
        while let Some(cause) = below {
            let cause_text = cause.to_string();
            // Many libraries repeat their cause in their own text.
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            below = cause.source();
        }
        text
    }
}
