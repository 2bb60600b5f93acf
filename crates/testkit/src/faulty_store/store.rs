//! The wrapper as an object store: every call arrives at the script first.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, RenameOptions, Result,
};

use super::{Fault, FaultyStore, Operation, broken};

/// Runs a call that changes something or asks for no body: of the faults that reach it only the
/// lost answer has a meaning.
macro_rules! faulty {
    ($self:ident, $operation:expr, $path:expr, $call:expr) => {{
        let fault = $self.arrive($operation, $path).await?;
        let answer = $call.await?;
        match fault {
            Some(Fault::AnswerLost) => Err(broken($operation, $path, "injected: answer lost")),
            None => Ok(answer),
            Some(other) => panic!("{other:?} is a fault of bodies, not of {:?}", $operation),
        }
    }};
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let call = self.inner.put_opts(location, payload, opts);
        faulty!(self, Operation::Put, location, call)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let call = self.inner.put_multipart_opts(location, opts);
        faulty!(self, Operation::PutMultipart, location, call)
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.head {
            let call = self.inner.get_opts(location, options);
            return faulty!(self, Operation::Head, location, call);
        }
        let fault = self.arrive(Operation::Get, location).await?;
        if let (Some(Fault::NoSuffix), Some(GetRange::Suffix(_))) = (fault, &options.range) {
            return Err(object_store::Error::NotSupported {
                source: "injected: no suffix ranges".into(),
            });
        }
        let answer = self.inner.get_opts(location, options).await?;
        match fault {
            None => Ok(answer),
            Some(Fault::AnswerLost) => {
                Err(broken(Operation::Get, location, "injected: answer lost"))
            }
            Some(fault) => spoil_answer(answer, fault, location).await,
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let fault = self.arrive(Operation::GetRanges, location).await?;
        let bodies = self.inner.get_ranges(location, ranges).await?;
        let broken = |what| broken(Operation::GetRanges, location, what);
        match fault {
            None => Ok(bodies),
            Some(Fault::AnswerLost) => Err(broken("injected: answer lost")),
            Some(Fault::BrokenBody(_)) => Err(broken("injected: body broken off")),
            Some(fault) => Ok(bodies.into_iter().map(|body| spoil(body, fault)).collect()),
        }
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        locations
            .and_then(move |location| {
                let this = this.clone();
                async move {
                    let call = this.inner.delete(&location);
                    faulty!(this, Operation::Delete, &location, call)?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let entries = self.inner.list(prefix);
        self.listing(prefix, entries)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let entries = self.inner.list_with_offset(prefix, offset);
        self.listing(prefix, entries)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let path = prefix.cloned().unwrap_or_default();
        let call = self.inner.list_with_delimiter(prefix);
        faulty!(self, Operation::List, &path, call)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let call = self.inner.copy_opts(from, to, options);
        faulty!(self, Operation::Copy, from, call)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let call = self.inner.rename_opts(from, to, options);
        faulty!(self, Operation::Rename, from, call)
    }
}

impl FaultyStore {
    /// A listing that arrives when it is first asked for an entry.
    fn listing(
        &self,
        prefix: Option<&Path>,
        entries: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let this = self.clone();
        let path = prefix.cloned().unwrap_or_default();
        let arrival = async move {
            let fault = this.arrive(Operation::List, &path).await?;
            match fault {
                None => Ok(entries),
                Some(Fault::AnswerLost) => {
                    Err(broken(Operation::List, &path, "injected: answer lost"))
                }
                Some(other) => panic!("{other:?} is a fault of bodies, not of listings"),
            }
        };
        stream::once(arrival).try_flatten().boxed()
    }
}

/// The whole body is read first: a test's bodies are small, and local files come without a stream.
async fn spoil_answer(answer: GetResult, fault: Fault, location: &Path) -> Result<GetResult> {
    let (meta, range) = (answer.meta.clone(), answer.range.clone());
    let (attributes, extensions) = (answer.attributes.clone(), answer.extensions.clone());
    let body = answer.bytes().await?;
    let mut pieces = vec![Ok(spoil(body, fault))];
    if let Fault::BrokenBody(_) = fault {
        pieces.push(Err(broken(
            Operation::Get,
            location,
            "injected: body broken off",
        )));
    }
    Ok(GetResult {
        payload: GetResultPayload::Stream(stream::iter(pieces).boxed()),
        meta,
        range,
        attributes,
        extensions,
    })
}

fn spoil(body: Bytes, fault: Fault) -> Bytes {
    match fault {
        Fault::CutBody(at) | Fault::BrokenBody(at) => body.slice(..at.min(body.len())),
        Fault::FlippedBit(at) => {
            let mut body = body.to_vec();
            if let Some(byte) = body.get_mut(at) {
                *byte ^= 1;
            }
            body.into()
        }
        _ => body,
    }
}
