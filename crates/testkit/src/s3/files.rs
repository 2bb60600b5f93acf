//! `s3s-fs` with what it lacks.
//!
//! - It looks whether an object exists before it writes: of many puts with `if-none-match` that
//!   race, several win. A vault stands on exactly one winning, so conditional puts pass one at a
//!   time here; a test that hopes for the race would test the fixture.
//! - A range of the last bytes that is longer than the object is an error with it, the whole object
//!   by the rule; of an object without bytes there is no range. A folder is no object.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput,
    DeleteObjectsOutput, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput,
    ListObjectsV2Input, ListObjectsV2Output, PutObjectInput, PutObjectOutput, Range,
};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;

/// Only what a vault and the suite of object_store ask for; all else is not implemented.
pub(super) struct Files {
    inner: FileSystem,
    root: PathBuf,
    overwrites: Arc<AtomicBool>,
    conditional: tokio::sync::Mutex<()>,
}

impl Files {
    pub(super) fn new(root: &Path, overwrites: Arc<AtomicBool>) -> Files {
        Files {
            inner: FileSystem::new(root).unwrap(),
            root: root.to_owned(),
            overwrites,
            conditional: tokio::sync::Mutex::default(),
        }
    }

    /// How long an object is.
    fn size(&self, bucket: &str, key: &str) -> S3Result<u64> {
        match std::fs::metadata(self.root.join(bucket).join(key)) {
            Ok(found) if found.is_file() => Ok(found.len()),
            _ => Err(s3_error!(NoSuchKey)),
        }
    }
}

#[async_trait::async_trait]
impl S3 for Files {
    async fn get_object(
        &self,
        mut req: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        if self.root.join(&req.input.bucket).is_dir() {
            let size = self.size(&req.input.bucket, &req.input.key)?;
            match req.input.range {
                Some(_) if size == 0 => return Err(s3_error!(InvalidRange)),
                Some(Range::Suffix { length }) if length > size => {
                    let (first, last) = (0, None);
                    req.input.range = Some(Range::Int { first, last });
                }
                _ => {}
            }
            return self.inner.get_object(req).await;
        }
        Err(s3_error!(NoSuchBucket))
    }

    async fn head_object(
        &self,
        req: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        self.size(&req.input.bucket, &req.input.key)?;
        self.inner.head_object(req).await
    }

    async fn put_object(
        &self,
        mut req: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        if self.overwrites.load(Ordering::SeqCst) {
            req.input.if_none_match = None;
        }
        let conditional = req.input.if_none_match.is_some() || req.input.if_match.is_some();
        let _alone = match conditional {
            true => Some(self.conditional.lock().await),
            false => None,
        };
        self.inner.put_object(req).await
    }

    async fn copy_object(
        &self,
        req: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        self.inner.copy_object(req).await
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.inner.delete_object(req).await
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.inner.delete_objects(req).await
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.inner.list_objects_v2(req).await
    }
}
