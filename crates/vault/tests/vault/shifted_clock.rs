//! A store whose clock the test moves.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Tells of each object that it was written as many hours later as the clock stood ahead then.
#[derive(Debug)]
pub struct ShiftedClock {
    inner: Arc<dyn ObjectStore>,
    hours: AtomicU64,
    written: Arc<Mutex<HashMap<Path, u64>>>,
}

impl ShiftedClock {
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        ShiftedClock {
            inner,
            hours: AtomicU64::new(0),
            written: Arc::default(),
        }
    }

    pub fn set_hours(&self, hours: u64) {
        self.hours.store(hours, Ordering::SeqCst);
    }
}

impl fmt::Display for ShiftedClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShiftedClock({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for ShiftedClock {
    async fn put_opts(
        &self,
        at: &Path,
        body: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let answer = self.inner.put_opts(at, body, options).await?;
        let hours = self.hours.load(Ordering::SeqCst);
        self.written.lock().unwrap().insert(at.clone(), hours);
        Ok(answer)
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let written = self.written.clone();
        let shift = move |listed: Result<ObjectMeta>| {
            let mut object = listed?;
            let hours = written.lock().unwrap().get(&object.location).copied();
            object.last_modified += Duration::from_secs(3_600 * hours.unwrap_or(0));
            Ok(object)
        };
        self.inner.list(prefix).map(shift).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
