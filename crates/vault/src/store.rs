//! Calls of the object store: each has a time limit, bounded reads, and an error that names the
//! object.

use std::error::Error as _;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    PutPayload,
};

use crate::VaultError;

/// How patient a vault is with its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreLimits {
    /// For one call about a small object, for a listing, and until an object begins to come.
    pub small: Duration,
    /// For one call about a pack.
    pub pack: Duration,
    /// How often a call is tried that fails in a way that may pass; 1 or more. One that is not answered
    /// in time is tried twice at most: it has taken long enough.
    pub tries: u32,
    /// The pause before the second try; it grows fourfold with each.
    pub pause: Duration,
    /// How often a running execution's pin is written anew.
    pub renewal: Duration,
}

impl Default for StoreLimits {
    fn default() -> Self {
        StoreLimits {
            small: Duration::from_secs(30),
            pack: Duration::from_secs(300),
            tries: 4,
            pause: Duration::from_millis(100),
            renewal: Duration::from_secs(60),
        }
    }
}

/// A store that gives or takes fewer bytes in a second is too slow to work with.
const SLOWEST: u64 = 128 << 10;

/// How often a call may stay without an answer in its time.
const LATE_AT_MOST: u32 = 2;

/// A store with its limits.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    inner: Arc<dyn ObjectStore>,
    limits: StoreLimits,
}

/// How a put-if-absent ended.
#[derive(Debug)]
pub(crate) enum PutNew {
    /// The object is there and is ours.
    Ours,
    /// Another one stands there.
    Other(Bytes),
}

impl Store {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, limits: StoreLimits) -> Self {
        Store { inner, limits }
    }

    pub(crate) fn inner(&self) -> Arc<dyn ObjectStore> {
        self.inner.clone()
    }

    /// The store as it names itself.
    pub(crate) fn place(&self) -> String {
        self.inner.to_string()
    }

    pub(crate) fn limits(&self) -> StoreLimits {
        self.limits
    }

    fn time_for(&self, bytes: u64) -> Duration {
        let moving = Duration::from_millis(bytes.saturating_mul(1_000) / SLOWEST);
        let most = self.limits.pack.max(self.limits.small);
        self.limits.small.saturating_add(moving).min(most)
    }

    /// Reads a whole object of at most `limit` bytes.
    pub(crate) async fn get(&self, path: &str, limit: u64) -> Result<Bytes, VaultError> {
        let at = Path::from(path);
        let found = self.tried_in_steps("read", path, || async {
            let answer = timed(self.limits.small, self.inner.get(&at)).await?;
            match answer.meta.size {
                size if size > limit => Ok(Err(size)),
                size => {
                    let body = timed(self.time_for(size), answer.bytes());
                    Ok(Ok((size, body.await?)))
                }
            }
        });
        match found.await? {
            Ok((size, bytes)) if bytes.len() as u64 == size => Ok(bytes),
            Ok(_) => Err(VaultError::damaged(
                path,
                "the store gave only a part of it",
            )),
            Err(bytes) => Err(VaultError::TooLarge {
                path: path.to_owned(),
                bytes,
                limit,
            }),
        }
    }

    /// Reads a range of a pack.
    pub(crate) async fn get_range(
        &self,
        path: &str,
        range: Range<u64>,
    ) -> Result<Bytes, VaultError> {
        let at = Path::from(path);
        let call = || async {
            match self.inner.get_range(&at, range.clone()).await {
                // A range of an object that ends before it is an error of many kinds.
                Err(error @ Error::Generic { .. }) => match self.inner.head(&at).await {
                    Ok(object) if object.size < range.end => Ok(Bytes::new()),
                    _ => Err(error),
                },
                answer => answer,
            }
        };
        let time = self.time_for(range.end - range.start);
        let bytes = self.tried("read", path, time, call).await?;
        if bytes.len() as u64 == range.end - range.start {
            Ok(bytes)
        } else {
            Err(VaultError::damaged(path, "it is cut short"))
        }
    }

    /// Reads the last bytes of an object, and says how long it is.
    pub(crate) async fn get_suffix(
        &self,
        path: &str,
        bytes: u64,
    ) -> Result<(Bytes, u64), VaultError> {
        let found = self.tried("read", path, self.limits.small, || async {
            let options = GetOptions {
                range: Some(GetRange::Suffix(bytes)),
                ..GetOptions::default()
            };
            let at = Path::from(path);
            match self.inner.get_opts(&at, options).await {
                // Azure knows no ranges that are counted from the end.
                Err(Error::NotSupported { .. }) => {
                    let size = self.inner.head(&at).await?.size;
                    if size == 0 {
                        return Ok((Bytes::new(), 0));
                    }
                    let range = size.saturating_sub(bytes)..size;
                    Ok((self.inner.get_range(&at, range).await?, size))
                }
                // S3 has no range of an object without bytes.
                Err(error @ Error::Generic { .. }) => match self.inner.head(&at).await {
                    Ok(object) if object.size == 0 => Ok((Bytes::new(), 0)),
                    _ => Err(error),
                },
                answer => {
                    let answer = answer?;
                    let size = answer.meta.size;
                    Ok((answer.bytes().await?, size))
                }
            }
        });
        let (suffix, size) = found.await?;
        if suffix.len() as u64 == size.min(bytes) {
            Ok((suffix, size))
        } else {
            Err(VaultError::damaged(
                path,
                "the store gave only a part of it",
            ))
        }
    }

    /// Puts an object unless one is there. A put that ended in an unknown state, or met an object,
    /// is read back: an equal one is ours.
    pub(crate) async fn put_new(
        &self,
        path: &str,
        object: Bytes,
        limit: Duration,
    ) -> Result<PutNew, VaultError> {
        let mut pause = self.limits.pause;
        let mut late = 0;
        for left in (0..self.limits.tries.max(1)).rev() {
            let failed = match self
                .put_once(path, object.clone(), PutMode::Create, limit)
                .await
            {
                Ok(()) => return Ok(PutNew::Ours),
                Err(failed) => failed,
            };
            let there = matches!(&failed, Failed::Answer(e) if says_there(e));
            if !there && !failed.may_pass() {
                return Err(failed.into_error("write", path));
            }
            late += u32::from(matches!(failed, Failed::Late(_)));
            match self.read_back(path, &object).await {
                Ok(found) => return Ok(found),
                Err(VaultError::Missing { .. }) if left > 0 && late < LATE_AT_MOST => {}
                Err(VaultError::Missing { .. }) => return Err(failed.into_error("write", path)),
                Err(error) => return Err(error),
            }
            tokio::time::sleep(pause).await;
            pause *= 4;
        }
        // The last round of the loop returns in every case.
        Err(VaultError::Internal {
            doing: "write",
            why: format!("{path}: no try was left"),
        })
    }

    async fn read_back(&self, path: &str, ours: &Bytes) -> Result<PutNew, VaultError> {
        // Whatever stands there is no larger than the largest object of the format.
        let found = self
            .get(path, crate::manifest::MAX_MANIFEST_BYTES + (1 << 20))
            .await?;
        if blake3::hash(&found) == blake3::hash(ours) {
            Ok(PutNew::Ours)
        } else {
            Ok(PutNew::Other(found))
        }
    }

    /// Puts an object, over another one if there is one.
    pub(crate) async fn put_over(&self, path: &str, object: Bytes) -> Result<(), VaultError> {
        let options = PutOptions::from(PutMode::Overwrite);
        let time = self.time_for(object.len() as u64);
        self.tried("write", path, time, || async {
            let payload = PutPayload::from(object.clone());
            self.inner
                .put_opts(&Path::from(path), payload, options.clone())
                .await
        })
        .await?;
        Ok(())
    }

    /// Deletes an object; one that is not there is deleted.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), VaultError> {
        let at = Path::from(path);
        let call = || self.inner.delete(&at);
        match self.tried("delete", path, self.limits.small, call).await {
            Err(VaultError::Missing { .. }) => Ok(()),
            other => other,
        }
    }

    /// The names of the objects directly below `folder`, with their sizes.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, VaultError> {
        let at = Path::from(folder);
        let call = || self.inner.list(Some(&at)).try_collect::<Vec<ObjectMeta>>();
        let found = self.tried("list", folder, self.limits.small, call).await?;
        let names = found.into_iter().filter_map(|object| {
            let name = object
                .location
                .as_ref()
                .strip_prefix(folder)?
                .strip_prefix('/')?;
            (!name.contains('/')).then(|| (name.to_owned(), object.size))
        });
        Ok(names.collect())
    }

    /// What `keep` makes of each object below `folder`, however deep, given its path from there. Only
    /// that is in memory.
    pub(crate) async fn list_below<T>(
        &self,
        folder: &str,
        keep: impl Fn(&str, &ObjectMeta) -> Option<T>,
    ) -> Result<Vec<T>, VaultError> {
        let at = Path::from(folder);
        let keep = &keep;
        let kept = |object: ObjectMeta| {
            let below = object.location.as_ref().strip_prefix(folder)?;
            keep(below.strip_prefix('/')?, &object)
        };
        let kept = &kept;
        let call = || {
            let all = self.inner.list(Some(&at));
            all.try_filter_map(move |object| async move { Ok(kept(object)) })
                .try_collect::<Vec<T>>()
        };
        self.tried("list", folder, self.limits.pack, call).await
    }

    /// One put, without a second try.
    pub(crate) async fn put_once(
        &self,
        path: &str,
        object: Bytes,
        mode: PutMode,
        limit: Duration,
    ) -> Result<(), Failed> {
        let path = Path::from(path);
        let call = self
            .inner
            .put_opts(&path, PutPayload::from(object), PutOptions::from(mode));
        timed(limit, call).await.map(|_| ())
    }

    async fn tried<T, F>(
        &self,
        doing: &'static str,
        path: &str,
        limit: Duration,
        call: impl Fn() -> F,
    ) -> Result<T, VaultError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.tried_in_steps(doing, path, || timed(limit, call()))
            .await
    }

    /// The same for what keeps its times itself.
    async fn tried_in_steps<T, F>(
        &self,
        doing: &'static str,
        path: &str,
        call: impl Fn() -> F,
    ) -> Result<T, VaultError>
    where
        F: Future<Output = Result<T, Failed>>,
    {
        let mut pause = self.limits.pause;
        let mut left = self.limits.tries;
        let mut late = 0;
        loop {
            left = left.saturating_sub(1);
            match call().await {
                Ok(answer) => return Ok(answer),
                Err(failed @ Failed::Late(_)) => {
                    late += 1;
                    if left == 0 || late == LATE_AT_MOST {
                        return Err(failed.into_error(doing, path));
                    }
                }
                Err(failed) if left > 0 && failed.may_pass() => {}
                Err(failed) => return Err(failed.into_error(doing, path)),
            }
            tokio::time::sleep(pause).await;
            pause *= 4;
        }
    }
}

async fn timed<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Failed> {
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Failed::Answer(error)),
        Err(_) => Err(Failed::Late(limit)),
    }
}

/// How a single call failed.
#[derive(Debug)]
pub(crate) enum Failed {
    Answer(Error),
    Late(Duration),
}

impl Failed {
    /// Whether the next try may do better.
    fn may_pass(&self) -> bool {
        match self {
            Failed::Late(_) => true,
            Failed::Answer(error) => {
                matches!(error, Error::Generic { .. } | Error::JoinError { .. })
                    && !denied_by_system(error)
            }
        }
    }

    pub(crate) fn into_error(self, doing: &'static str, path: &str) -> VaultError {
        let path = path.to_owned();
        match self {
            Failed::Late(after) => VaultError::TimedOut { doing, path, after },
            // What cannot be written or listed for this reason has no bucket around it.
            Failed::Answer(Error::NotFound { .. }) if matches!(doing, "read" | "delete") => {
                VaultError::Missing { path }
            }
            Failed::Answer(source) if says_denied(&source) => VaultError::Denied {
                doing,
                path,
                source,
            },
            Failed::Answer(source) => VaultError::Store {
                doing,
                path,
                source,
            },
        }
    }
}

/// Whether the store refused because an object is there already.
pub(crate) fn says_there(error: &Error) -> bool {
    matches!(
        error,
        Error::AlreadyExists { .. } | Error::Precondition { .. }
    )
}

fn says_denied(error: &Error) -> bool {
    matches!(
        error,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. }
    ) || denied_by_system(error)
}

/// The local store wraps the system's refusal into a general error.
fn denied_by_system(error: &Error) -> bool {
    let mut below = error.source();
    while let Some(cause) = below {
        if let Some(cause) = cause.downcast_ref::<io::Error>() {
            return cause.kind() == io::ErrorKind::PermissionDenied;
        }
        below = cause.source();
    }
    false
}
