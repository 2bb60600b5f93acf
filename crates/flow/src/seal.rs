//! Sealing: plain bytes into frames, frames into packs, full packs into the store.

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use vault::{
    BlobRef, ContentHash, FrameCutter, FramePlace, MAX_INDEX_BYTES, PackWriter, RowCursor,
    SealedPack, SegmentEntry, SheetRef, TableSheet, VaultError, runs,
};

use model::{DictionaryPart, FRAME_BYTES, Phase, Progress, RowFormat, SegmentRead, SegmentTask};

use crate::FlowError;
use crate::collect::Collected;
use crate::error::Place;
use crate::writer::LentWriter;

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
    pub(crate) fn sheet(&mut self, sheet: &TableSheet) -> Result<SheetRef, VaultError> {
        let putter = &mut self.putter;
        vault::write_sheet(sheet, &mut self.packs, &mut |pack| putter.put(pack))
    }

    /// Reads a part of the dictionary to its end and seals it.
    pub(crate) fn part(
        &mut self,
        mut part: DictionaryPart,
        progress: &dyn Progress,
    ) -> Result<BlobRef, FlowError> {
        let place = |doing| Place::named(Phase::Dictionary, doing, &part.name);
        let stop = self.putter.stop.clone();
        let putter = &mut self.putter;
        let mut put = |pack| putter.put(pack);
        let mut frames = FrameCutter::new(&mut self.packs, &mut put);
        let mut buffer = vec![0; 64 << 10];
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
            frames
                .push(&buffer[..length])
                .map_err(|error| place("sealing").fault(error))?;
            progress.bytes(Phase::Dictionary, length as u64);
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

/// What a reading thread hands to its sealing thread.
pub(crate) enum ToSeal {
    /// The pieces of this segment follow.
    Begin(SegmentTask),
    /// 1 to [`FRAME_BYTES`] bytes.
    Piece(Vec<u8>),
    /// The segment is whole.
    End(SegmentRead),
}

/// A segment whose pieces are being sealed.
struct OpenSegment {
    task: SegmentTask,
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
            (ToSeal::Begin(task), _) => {
                let format = collected.format(&task);
                open = Some(OpenSegment::new(task, format));
            }
            (ToSeal::Piece(buffer), Some(segment)) => {
                segment
                    .seal(sealer, &buffer)
                    .map_err(|error| collected.place("sealing", &segment.task).fault(error))?;
                collected.moved(buffer.len());
                // A reader that is gone takes no buffer back, nor needs one.
                let _ = empty.try_send(buffer);
            }
            (ToSeal::End(read), Some(_)) => {
                if let Some(segment) = open.take() {
                    let (task, entry) = segment.close(sealer, read, collected)?;
                    collected.segment(&task, entry);
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
    fn new(task: SegmentTask, format: RowFormat) -> Self {
        OpenSegment {
            task,
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

    /// Seals the index behind the rows.
    fn close(
        self,
        sealer: &mut Sealer,
        read: SegmentRead,
        collected: &Collected,
    ) -> Result<(SegmentTask, SegmentEntry), FlowError> {
        let place = |doing| collected.place(doing, &self.task);
        if let Some(law) = broken_law(&self, &read) {
            return Err(FlowError::Law {
                place: place("reading"),
                law,
            });
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
            blocks: self.task.blocks,
            narrowed: false,
            rows: runs(&self.places),
            plain_bytes: self.plain_bytes,
            stored_bytes: stored(&self.places) + stored(&index),
            row_count: read.index.rows(),
            index: runs(&index),
            hash: ContentHash::of(&encoded),
        };
        Ok((self.task, entry))
    }
}

/// What the engine's index must hold of the bytes that it gave.
fn broken_law(segment: &OpenSegment, read: &SegmentRead) -> Option<String> {
    let (covered, given) = (read.index.bytes(), segment.plain_bytes);
    if covered != given {
        return Some(format!(
            "its block index covers {covered} bytes of the {given} that it gave"
        ));
    }
    if read.index.hashes().is_none() {
        return Some("its block index has no hashes".to_owned());
    }
    let blocks = segment.task.blocks;
    let outside = read
        .index
        .spans()
        .iter()
        .find(|span| !blocks.contains(span.block));
    outside.map(|span| {
        format!(
            "it gave rows of block {}, which lies outside of {blocks}",
            span.block
        )
    })
}
