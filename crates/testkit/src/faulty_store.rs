//! An object store that fails where the test says so, and records every call.
//!
//! ```
//! use std::sync::Arc;
//! use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
//! use testkit::{Fault, FaultyStore, Operation, Rule, Times};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let store = FaultyStore::new(Arc::new(InMemory::new()));
//! store.inject(Rule::new(Operation::Put, "manifests/*", Times::Nth(1), Fault::AnswerLost));
//! let manifest = Path::from("manifests/1");
//! store.put(&manifest, "rows".into()).await.expect_err("the answer is lost");
//! store.get(&manifest).await.expect("but it was written");
//! assert_eq!(store.count(Operation::Put), 1);
//! # });
//! ```
//!
//! A crash at each call in turn: [`FaultyStore::crash_at`] makes call n and all later ones hang, and
//! [`FaultyStore::crashed`] is ready when it is reached. The test then drops its run and opens the
//! vault again through [`FaultyStore::inner`].

mod script;
mod store;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use object_store::ObjectStore;
use object_store::path::Path;
use script::Script;
use tokio::sync::Notify;

/// The kinds of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `put_opts`: whole objects, conditional or not.
    Put,
    /// `put_multipart_opts`; its parts are not looked at.
    PutMultipart,
    /// `get_opts` with a body.
    Get,
    /// `get_opts` without a body.
    Head,
    /// `get_ranges`.
    GetRanges,
    /// One path of `delete_stream`, which a plain `delete` is too.
    Delete,
    /// The listing calls; the path is the prefix.
    List,
    /// `copy_opts`; the path is the source's.
    Copy,
    /// `rename_opts`; the path is the source's.
    Rename,
}

/// What happens instead of the call, or to its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done; a general error, such as a broken connection gives.
    Error,
    /// Nothing is done; the store says that there is no such object.
    Missing,
    /// Nothing is done; the store says that this is not allowed.
    Denied,
    /// Done after that time.
    Delay(Duration),
    /// Never answers.
    Hang,
    /// Done, but the answer is lost: the caller sees a general error.
    AnswerLost,
    /// The body of a get ends after that many bytes as if it were whole; each range of
    /// `get_ranges` too.
    CutBody(usize),
    /// The body of a get breaks with an error after that many bytes.
    BrokenBody(usize),
    /// A get of the last bytes is not supported, as on Azure; all else is done.
    NoSuffix,
    /// One bit of the body is turned: the lowest of the byte at that place.
    FlippedBit(usize),
}

/// Which of the calls that a rule fits, counted from 1 per rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// Only that one.
    Nth(usize),
    /// That one and all later ones.
    From(usize),
    /// All.
    Every,
}

/// A fault and where it strikes.
#[derive(Debug, Clone)]
pub struct Rule {
    operation: Operation,
    pattern: String,
    times: Times,
    fault: Fault,
}

impl Rule {
    /// A pattern is a path in which `*` stands for any text, also with slashes.
    pub fn new(operation: Operation, pattern: &str, times: Times, fault: Fault) -> Self {
        Rule {
            operation,
            pattern: pattern.into(),
            times,
            fault,
        }
    }
}

/// A recorded call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What was called.
    pub operation: Operation,
    /// With which path.
    pub path: String,
    /// The fault that struck, if one did.
    pub fault: Option<Fault>,
}

/// Wraps a store. Clones share the rules and the record.
#[derive(Debug, Clone)]
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    script: Arc<Mutex<Script>>,
    crashed: Arc<Notify>,
}

impl FaultyStore {
    /// A store without faults: it only records.
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        FaultyStore {
            inner,
            script: Arc::default(),
            crashed: Arc::default(),
        }
    }

    /// The store behind, without faults.
    pub fn inner(&self) -> Arc<dyn ObjectStore> {
        self.inner.clone()
    }

    /// Adds a rule. Of several that fit a call the first one strikes; all of them count it.
    pub fn inject(&self, rule: Rule) {
        self.script.lock().unwrap().add(rule);
    }

    /// Takes all rules and the crash away; the record stays.
    pub fn heal(&self) {
        self.script.lock().unwrap().heal();
    }

    /// From call n on (1 is the next one) nothing is done and nothing answers, as for a process
    /// that has died just before that call.
    pub fn crash_at(&self, n: usize) {
        self.script.lock().unwrap().crash_at(n);
    }

    /// Ready when the call of [`crash_at`](Self::crash_at) was made.
    pub async fn crashed(&self) {
        self.crashed.notified().await;
    }

    /// All calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.script.lock().unwrap().calls.clone()
    }

    /// How many calls of that kind were made.
    pub fn count(&self, operation: Operation) -> usize {
        let script = self.script.lock().unwrap();
        script
            .calls
            .iter()
            .filter(|c| c.operation == operation)
            .count()
    }

    /// Forgets the calls recorded so far.
    pub fn forget_calls(&self) {
        self.script.lock().unwrap().calls.clear();
    }

    /// Records a call, waits as long as its fault says, and gives what is left to be done wrong.
    async fn arrive(
        &self,
        operation: Operation,
        path: &Path,
    ) -> object_store::Result<Option<Fault>> {
        let (fault, dead) = self.script.lock().unwrap().record(operation, path.as_ref());
        if dead {
            self.crashed.notify_one();
            std::future::pending::<()>().await;
        }
        match fault {
            Some(Fault::Error) => Err(broken(operation, path, "injected error")),
            Some(Fault::Missing) => Err(object_store::Error::NotFound {
                path: path.to_string(),
                source: "injected: no such object".into(),
            }),
            Some(Fault::Denied) => Err(object_store::Error::PermissionDenied {
                path: path.to_string(),
                source: "injected: not allowed".into(),
            }),
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                Ok(None)
            }
            Some(Fault::Hang) => std::future::pending().await,
            other => Ok(other),
        }
    }
}

fn broken(operation: Operation, path: &Path, what: &str) -> object_store::Error {
    object_store::Error::Generic {
        store: "FaultyStore",
        source: format!("{what} at {operation:?} {path}").into(),
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore({})", self.inner)
    }
}

#[cfg(test)]
mod tests;
