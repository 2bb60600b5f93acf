//! Sealing: plain bytes into frames, frames into packs, full packs into the store.

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use vault::{
    BlobRef, ContentHash, FrameCutter, FramePlace, MAX_INDEX_BYTES, PackWriter, RowCursor,
    SealedPack, SegmentEntry, SheetRef, TableSheet, TableSize, VaultError, runs,
    write_patched_sheet,
};

use model::{
    BlockSet, DictionaryPart, FRAME_BYTES, Phase, Progress, RowFormat, SegmentRead, SegmentTask,
};

use crate::FlowError;
use crate::collect::Collected;
use crate::delta::Ready;
use crate::error::Place;
use crate::writer::LentWriter;

/// A part of the dictionary is held in memory up to this length, to be compared with the base's.
const MOST_HELD: u64 = 32 << 20;

/// Seals on a blocking thread. A full pack is put while the next one is filled, and waited for when
/// that one is full too: at most two packs a stream are in memory.
pub(crate) struct Sealer {
    packs: PackWriter,
    putter: Putter,
}

struct Putter {
    saveset: LentWriter,
    runtime: Handle,
    stop: CancellationToken,
    /// The pack before; dropping it ends its put.
    on_its_way: Option<AbortOnDropHandle<Result<(), VaultError>>>,
}

impl Putter {
    /// Begins to put a pack, once the one before is there.
    fn put(&mut self, pack: SealedPack) -> Result<(), VaultError> {
        self.settle()?;
        let saveset = self.saveset.clone();
        let put = self
            .runtime
            .spawn(async move { saveset.put_pack(pack).await });
        self.on_its_way = Some(AbortOnDropHandle::new(put));
        Ok(())
    }

    /// Waits until the last pack is there.
    fn settle(&mut self) -> Result<(), VaultError> {
        let Some(put) = self.on_its_way.take() else {
            return Ok(());
        };
        let failed = |why: String| VaultError::Internal {
            doing: "put a pack",
            why,
        };
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                // Nobody sees this error: whoever stopped the run has said why.
                () = self.stop.cancelled() => Err(failed("the run was stopped".to_owned())),
                put = put => put.map_err(|error| failed(error.to_string()))?,
            }
        })
    }
}

impl Sealer {
    /// To be made inside of the runtime that the packs are put from.
    pub(crate) fn new(saveset: LentWriter, stop: CancellationToken) -> Result<Self, VaultError> {
        Ok(Sealer {
            packs: saveset.pack_writer()?,
            putter: Putter {
                saveset,
                runtime: Handle::current(),
                stop,
                on_its_way: None,
            },
        })
    }

    /// Stops with that token from now on.
    pub(crate) fn stopped_by(mut self, stop: &CancellationToken) -> Self {
        self.putter.stop = stop.clone();
        self
    }

    /// One more for the same saveset, with a pack of its own.
    pub(crate) fn another(&self) -> Result<Self, VaultError> {
        Sealer::new(self.putter.saveset.clone(), self.putter.stop.clone())
    }

    fn frame(&mut self, plain: &[u8]) -> Result<FramePlace, VaultError> {
        let place = self.packs.append(plain)?;
        self.flush_if_full()?;
        Ok(place)
    }

    fn rows(&mut self, plain: &[u8], cursor: &mut RowCursor) -> Result<FramePlace, VaultError> {
        let place = self.packs.append_rows(plain, cursor)?;
        self.flush_if_full()?;
        Ok(place)
    }

    fn flush_if_full(&mut self) -> Result<(), VaultError> {
        match self.packs.is_full() {
            true => self.put_open(),
            false => Ok(()),
        }
    }

    fn put_open(&mut self) -> Result<(), VaultError> {
        match self.packs.take()? {
            Some(pack) => self.putter.put(pack),
            None => Ok(()),
        }
    }

    /// Puts what is in the open pack, and waits until all packs are there.
    pub(crate) fn flush(&mut self) -> Result<(), VaultError> {
        self.put_open()?;
        self.putter.settle()
    }

    /// Seals a table's sheet.
    pub(crate) fn sheet(
        &mut self,
        sheet: &TableSheet,
        size: TableSize,
    ) -> Result<SheetRef, VaultError> {
        let putter = &mut self.putter;
        write_patched_sheet(sheet, size, &mut self.packs, &mut |pack| putter.put(pack))
    }

    /// Reads a part of the dictionary to its end and seals it. One that is as the base has it is referred
    /// to again.
    pub(crate) fn part(
        &mut self,
        mut part: DictionaryPart,
        base: Option<&BlobRef>,
        progress: &dyn Progress,
    ) -> Result<BlobRef, FlowError> {
        let place = |doing| Place::named(Phase::Dictionary, doing, &part.name);
        let stop = self.putter.stop.clone();
        let putter = &mut self.putter;
        let mut put = |pack| putter.put(pack);
        let mut frames = FrameCutter::new(&mut self.packs, &mut put);
        let mut buffer = vec![0; 64 << 10];
        let mut same = base.and_then(MaybeSame::new);
        loop {
            let length = match part.body.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let place = place("reading");
                    return Err(FlowError::Io { place, error });
                }
            };
            if stop.is_cancelled() {
                return Err(FlowError::Stopped);
            }
            progress.bytes(Phase::Dictionary, length as u64);
            let read = &buffer[..length];
            if same.as_mut().is_some_and(|held| held.takes(read)) {
                continue;
            }
            let held = same.take().map(|other| other.held).unwrap_or_default();
            for bytes in [held.as_slice(), read] {
                let pushed = frames.push(bytes);
                pushed.map_err(|error| place("sealing").fault(error))?;
            }
        }
        if let Some(held) = same {
            if let Some(base) = held.found() {
                return Ok(base);
            }
            let pushed = frames.push(&held.held);
            pushed.map_err(|error| place("sealing").fault(error))?;
        }
        let written = frames
            .finish()
            .map_err(|error| place("sealing").fault(error))?;
        Ok(BlobRef {
            stored_bytes: written.stored(),
            runs: runs(&written.places),
            plain_bytes: written.bytes,
            hash: written.hash,
            name: part.name,
        })
    }
}

/// A part of the dictionary that may be as the base has it: held until that is known.
struct MaybeSame {
    base: BlobRef,
    held: Vec<u8>,
}

impl MaybeSame {
    /// One that is too long to be held is sealed anew.
    fn new(base: &BlobRef) -> Option<Self> {
        (base.plain_bytes <= MOST_HELD).then(|| MaybeSame {
            base: base.clone(),
            held: Vec::new(),
        })
    }

    /// Holds these bytes too; `false`: it is longer than the base's, and these are not taken.
    fn takes(&mut self, bytes: &[u8]) -> bool {
        let length = (self.held.len() + bytes.len()) as u64;
        let fits = length <= self.base.plain_bytes;
        if fits {
            self.held.extend_from_slice(bytes);
        }
        fits
    }

    fn found(&self) -> Option<BlobRef> {
        let base = &self.base;
        let same =
            self.held.len() as u64 == base.plain_bytes && ContentHash::of(&self.held) == base.hash;
        same.then(|| base.clone())
    }
}

/// What a reading thread hands to its sealing thread.
pub(crate) enum ToSeal {
    /// The pieces of this segment follow.
    Begin(Ready),
    /// 1 to [`FRAME_BYTES`] bytes.
    Piece(Vec<u8>),
    /// The segment is whole.
    End(SegmentRead),
}

/// A segment whose pieces are being sealed.
struct OpenSegment {
    ready: Ready,
    /// For rows that can be laid out by columns.
    cursor: Option<RowCursor>,
    plain_bytes: u64,
    places: Vec<FramePlace>,
}

/// Seals whatever comes until the reader is done. Buffers go back over `empty`.
pub(crate) fn seal_segments(
    sealer: &mut Sealer,
    from: &mut mpsc::Receiver<ToSeal>,
    empty: &mpsc::Sender<Vec<u8>>,
    collected: &Collected,
) -> Result<(), FlowError> {
    let mut open: Option<OpenSegment> = None;
    while let Some(next) = sealer.putter.next(from)? {
        match (next, open.as_mut()) {
            (ToSeal::Begin(ready), _) => {
                let format = collected.format(&ready.task);
                open = Some(OpenSegment::new(ready, format));
            }
            (ToSeal::Piece(buffer), Some(segment)) => {
                segment.seal(sealer, &buffer).map_err(|error| {
                    collected.place("sealing", &segment.ready.task).fault(error)
                })?;
                collected.moved(buffer.len() as u64);
                // A reader that is gone takes no buffer back, nor needs one.
                let _ = empty.try_send(buffer);
            }
            (ToSeal::End(read), Some(_)) => {
                if let Some(segment) = open.take() {
                    segment.close(sealer, &read, collected)?;
                }
            }
            // The reading thread is ours: a piece always follows its segment's beginning.
            (ToSeal::Piece(_) | ToSeal::End(_), None) => {}
        }
    }
    Ok(())
}

impl Putter {
    /// The next message; `None` when the reader is done.
    fn next(&self, from: &mut mpsc::Receiver<ToSeal>) -> Result<Option<ToSeal>, FlowError> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => Err(FlowError::Stopped),
                next = from.recv() => Ok(next),
            }
        })
    }
}

impl OpenSegment {
    fn new(ready: Ready, format: RowFormat) -> Self {
        OpenSegment {
            ready,
            cursor: (format == RowFormat::Binary).then(RowCursor::new),
            plain_bytes: 0,
            places: Vec::new(),
        }
    }

    fn seal(&mut self, sealer: &mut Sealer, piece: &[u8]) -> Result<(), VaultError> {
        self.plain_bytes += piece.len() as u64;
        let place = match &mut self.cursor {
            Some(cursor) => sealer.rows(piece, cursor)?,
            None => sealer.frame(piece)?,
        };
        self.places.push(place);
        Ok(())
    }

    /// Seals the index behind the rows. A patch that lists no block is none.
    fn close(
        self,
        sealer: &mut Sealer,
        read: &SegmentRead,
        collected: &Collected,
    ) -> Result<(), FlowError> {
        let task = &self.ready.task;
        let place = |doing| collected.place(doing, task);
        if let Some(law) = broken_law(task, self.plain_bytes, read) {
            return Err(FlowError::Law {
                place: place("reading"),
                law,
            });
        }
        if task.patch.is_some() && read.index.spans().is_empty() {
            collected.done(&self.ready, &read.index, None);
            return Ok(());
        }
        // Without a block there is no index.
        let encoded = match read.index.spans() {
            [] => Vec::new(),
            _ => read.index.encode(),
        };
        // No reader would take it.
        if encoded.len() as u64 > MAX_INDEX_BYTES {
            let law = format!("its block index is {} bytes long", encoded.len());
            let place = place("reading");
            return Err(FlowError::Law { place, law });
        }
        let mut index = Vec::new();
        for piece in encoded.chunks(FRAME_BYTES) {
            index.push(
                sealer
                    .frame(piece)
                    .map_err(|error| place("sealing the index of").fault(error))?,
            );
        }
        let stored =
            |places: &[FramePlace]| places.iter().map(|p| u64::from(p.stored)).sum::<u64>();
        let entry = SegmentEntry {
            saveset: sealer.putter.saveset.saveset_id(),
            blocks: task.blocks,
            narrowed: false,
            rows: runs(&self.places),
            plain_bytes: self.plain_bytes,
            stored_bytes: stored(&self.places) + stored(&index),
            row_count: read.index.rows(),
            index: runs(&index),
            hash: ContentHash::of(&encoded),
        };
        collected.done(&self.ready, &read.index, Some(entry));
        Ok(())
    }
}

/// What the engine's index must hold of the bytes that it gave.
fn broken_law(task: &SegmentTask, given: u64, read: &SegmentRead) -> Option<String> {
    let covered = read.index.bytes();
    if covered != given {
        return Some(format!(
            "its block index covers {covered} bytes of the {given} that it gave"
        ));
    }
    if read.index.hashes().is_none() {
        return Some("its block index has no hashes".to_owned());
    }
    let asked = |block| match &task.patch {
        Some(patch) => patch.blocks.contains(block),
        None => task.blocks.contains(block),
    };
    let outside = read.index.spans().iter().find(|span| !asked(span.block));
    if let Some(span) = outside {
        return Some(format!(
            "it gave rows of block {}, which it was not asked for in {}",
            span.block, task.blocks
        ));
    }
    let patch = task.patch.as_ref()?;
    let listed: BlockSet = read.index.spans().iter().map(|span| span.block).collect();
    let missing = (&patch.must - listed).min()?;
    Some(format!(
        "its patch does not list block {missing}, which it must"
    ))
}
