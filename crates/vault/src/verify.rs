//! Verifying a saveset: everything it refers to is read and checked, and a damage does not end it.

use std::ops::Range;

use bytes::Bytes;
use model::{BlockIndex, BlockRange, BlockSpan, ObjectName, SavesetId};

use crate::batch::{Batch, decompressor};
use crate::block_check::{BlockCheck, WrongBlock};
use crate::damage::Found;
use crate::pack_reader::{Expected, on_cpu, whole};
use crate::saveset_writer::manifest_path;
use crate::{
    Concern, Depth, FrameRun, ManifestTable, Saveset, SegmentEntry, Vault, VaultError, VerifyReport,
};

impl Vault {
    /// As [`Saveset::verify`]; where the manifest itself is damaged, that is what the report says.
    ///
    /// # Errors
    /// [`NoSaveset`](VaultError::NoSaveset), [`SavesetDead`](VaultError::SavesetDead), and what the
    /// store says where it cannot be read.
    pub async fn verify_saveset(
        &self,
        id: SavesetId,
        depth: Depth,
        on_bytes: &(dyn Fn(u64) + Sync),
    ) -> Result<VerifyReport, VaultError> {
        match self.open_saveset(id).await {
            Ok(saveset) => saveset.verify(depth, on_bytes).await,
            Err(error) => {
                let mut found = Found::by(error)?;
                found.object = manifest_path(id);
                let mut report = VerifyReport::default();
                report.add(found, Concern::Saveset);
                Ok(report)
            }
        }
    }
}

impl Saveset {
    /// Reads everything that the saveset refers to and checks it: every byte is authenticated, and
    /// with [`Depth::Decompress`] it is also unpacked and compared with the hash of what was written:
    /// rows block by block.
    /// What is damaged or missing is listed with the tables and rows that it concerns, and the
    /// verification goes on. A few frames are in memory at once. `on_bytes` is told of the bytes in
    /// the vault as they are done, about [`bytes_referred`](Self::bytes_referred) of them in all.
    /// Dropping the future ends it.
    ///
    /// # Errors
    /// When the store cannot be reached or refuses: what was not read is not known to be damaged.
    pub async fn verify(
        &self,
        depth: Depth,
        on_bytes: &(dyn Fn(u64) + Sync),
    ) -> Result<VerifyReport, VaultError> {
        let mut check = Check {
            saveset: self,
            depth,
            on_bytes,
            report: VerifyReport::default(),
        };
        for (place, saved) in self.databases().iter().enumerate() {
            for blob in &saved.dictionary {
                let concern = Concern::Part {
                    database: saved.name.clone(),
                    name: blob.name.clone(),
                };
                let expected = Expected {
                    bytes: blob.plain_bytes,
                    hash: Some(blob.hash),
                };
                check.part(&blob.runs, expected, &concern).await?;
            }
            for (table, listed) in saved.tables.iter().enumerate() {
                check.table((place, table), &saved.name, listed).await?;
            }
        }
        Ok(check.report)
    }
}

struct Check<'a> {
    saveset: &'a Saveset,
    depth: Depth,
    on_bytes: &'a (dyn Fn(u64) + Sync),
    report: VerifyReport,
}

/// A damage in a content.
struct Broken {
    found: Found,
    place: Place,
}

/// Where in a content that is.
enum Place {
    Somewhere,
    /// Which bytes of it.
    Bytes(Range<u64>),
    /// The rows of this block.
    Block(BlockSpan),
}

impl Broken {
    fn somewhere(error: VaultError) -> Result<Self, VaultError> {
        Ok(Broken {
            found: Found::by(error)?,
            place: Place::Somewhere,
        })
    }

    fn block(wrong: WrongBlock) -> Self {
        let block = wrong.span.block;
        Broken {
            found: Found {
                object: wrong.object,
                frame: wrong.frame,
                what: format!("the rows of block {block} are not those of its index (BLAKE3)"),
            },
            place: Place::Block(wrong.span),
        }
    }
}

impl Check<'_> {
    /// Something that is read as a whole or not at all.
    async fn part(
        &mut self,
        runs: &[FrameRun],
        expected: Expected,
        concern: &Concern,
    ) -> Result<bool, VaultError> {
        self.report.parts += 1;
        let broken = self.content(runs, Read::of(Some(expected))).await?;
        let sound = broken.is_empty();
        for broken in broken {
            self.report.add(broken.found, concern.clone());
        }
        Ok(sound)
    }

    async fn table(
        &mut self,
        (database_place, place): (usize, usize),
        database: &ObjectName,
        table: &ManifestTable,
    ) -> Result<(), VaultError> {
        let Some(sheet) = &table.sheet else {
            return Ok(());
        };
        let name = &table.plan.name;
        let all = rows_of(database, name, BlockRange::ALL, table.rows);
        let expected = Expected {
            bytes: sheet.bytes,
            hash: Some(sheet.hash),
        };
        if !self.part(&sheet.runs, expected, &all).await? {
            return Ok(());
        }
        let sheet = match self.saveset.sheet(database_place, place).await {
            Ok(sheet) => sheet,
            Err(error) => {
                self.report.add(Found::by(error)?, all);
                return Ok(());
            }
        };
        for entry in sheet.entries() {
            self.entry(database, name, entry).await?;
        }
        Ok(())
    }

    async fn entry(
        &mut self,
        database: &ObjectName,
        table: &ObjectName,
        entry: &SegmentEntry,
    ) -> Result<(), VaultError> {
        self.report.segments += 1;
        let all = rows_of(database, table, entry.blocks, entry.row_count);
        let mut broken_index = self.content(&entry.index, Read::of(None)).await?;
        let mut index = None;
        if broken_index.is_empty() {
            match self.saveset.index(entry).await {
                Ok(read) => index = Some(read),
                Err(error) => broken_index.push(Broken::somewhere(error)?),
            }
        }
        let rows = Read {
            blocks: self.block_check(entry, index.as_ref()),
            ..Read::of(Some(Expected {
                bytes: entry.plain_bytes,
                hash: None,
            }))
        };
        for broken in self.content(&entry.rows, rows).await? {
            let concern = match (&index, &broken.place) {
                (_, Place::Block(span)) => {
                    let rows = u64::from(span.rows);
                    rows_of(database, table, these(span.block, span.block), rows)
                }
                (Some(index), Place::Bytes(bytes)) => {
                    let (blocks, rows) = rows_in(index, bytes);
                    rows_of(database, table, blocks, rows)
                }
                _ => all.clone(),
            };
            self.report.add(broken.found, concern);
        }
        for broken in broken_index {
            self.report.add(broken.found, all.clone());
        }
        Ok(())
    }

    /// What compares the rows of an entry block by block.
    fn block_check(&self, entry: &SegmentEntry, index: Option<&BlockIndex>) -> Option<BlockCheck> {
        let of_index = entry.index.last()?.pack.path();
        let index = index.filter(|_| self.depth == Depth::Decompress)?;
        Some(BlockCheck::new(index, of_index))
    }

    /// Reads all frames of a content.
    async fn content(
        &mut self,
        runs: &[FrameRun],
        mut read: Read,
    ) -> Result<Vec<Broken>, VaultError> {
        let mut broken = Vec::new();
        for run in runs {
            let mut rest = Some(*run);
            while let Some(run) = rest {
                rest = self.some_frames(run, &mut read, &mut broken).await?;
            }
        }
        broken.extend(read.end());
        if self.depth == Depth::Decompress && broken.is_empty() {
            let last = runs.last().map(|run| run.pack);
            if let Some(expected) = read.expected {
                let at = read.at.unwrap_or(0);
                if let Err(error) = whole(expected, at, Some(&read.hash), last) {
                    broken.push(Broken::somewhere(error)?);
                }
            }
        }
        Ok(broken)
    }

    /// Reads the first frames of a run; answers what is left of it.
    async fn some_frames(
        &mut self,
        run: FrameRun,
        read: &mut Read,
        broken: &mut Vec<Broken>,
    ) -> Result<Option<FrameRun>, VaultError> {
        let vault = self.saveset.vault();
        let (batch, sealed) = match vault.read_batch(&run).await {
            Ok(read) => read,
            Err(error) => {
                broken.push(Broken::somewhere(error)?);
                // Nobody knows how long these frames are.
                (read.at, read.blocks) = (None, None);
                return Ok(None);
            }
        };
        let rest = run.after(batch.count());
        let stored = batch.stored();
        match sealed {
            Ok(sealed) => {
                let (depth, so_far) = (self.depth, std::mem::take(read));
                let checked = on_cpu(move || frames(&batch, &sealed, depth, so_far)).await?;
                self.report.frames += u64::from(checked.frames);
                broken.extend(checked.broken);
                *read = checked.read;
            }
            Err(error) => {
                let found = Found::by(error)?;
                let place = read.pass(&batch, broken);
                broken.push(Broken { found, place });
            }
        }
        self.report.bytes += stored;
        (self.on_bytes)(stored);
        Ok(rest)
    }
}

/// How far a content was read.
#[derive(Default)]
struct Read {
    expected: Option<Expected>,
    /// The next byte of the content; `None`: it is not known any more.
    at: Option<u64>,
    hash: blake3::Hasher,
    /// For rows whose index could be read.
    blocks: Option<BlockCheck>,
}

impl Read {
    fn of(expected: Option<Expected>) -> Self {
        Read {
            expected,
            at: Some(0),
            ..Read::default()
        }
    }

    /// Takes what a frame holds.
    fn take(&mut self, content: &[u8], frame: (String, u32), broken: &mut Vec<Broken>) {
        if self
            .expected
            .is_some_and(|expected| expected.hash.is_some())
        {
            self.hash.update(content);
        }
        let mut wrong = Vec::new();
        if let Some(blocks) = &mut self.blocks {
            blocks.take(content, frame, &mut wrong);
        }
        broken.extend(wrong.into_iter().map(Broken::block));
    }

    /// Blocks without rows may be left.
    fn end(&mut self) -> Vec<Broken> {
        let blocks = self.blocks.take();
        let wrong = blocks.map(BlockCheck::end).unwrap_or_default();
        wrong.into_iter().map(Broken::block).collect()
    }

    /// Passes over bytes that cannot be read; answers where they are.
    fn skip(&mut self, bytes: u64, broken: &mut Vec<Broken>) -> Place {
        let mut wrong = Vec::new();
        if let Some(blocks) = &mut self.blocks {
            blocks.skip(bytes, &mut wrong);
        }
        broken.extend(wrong.into_iter().map(Broken::block));
        let Some(start) = self.at else {
            return Place::Somewhere;
        };
        self.at = Some(start + bytes);
        Place::Bytes(start..start + bytes)
    }

    /// The same for all frames of a batch.
    fn pass(&mut self, batch: &Batch, broken: &mut Vec<Broken>) -> Place {
        let plain = (0..batch.count()).map(|place| u64::from(batch.at(place).plain));
        self.skip(plain.sum(), broken)
    }
}

struct Checked {
    frames: u32,
    broken: Vec<Broken>,
    read: Read,
}

/// Checks each frame of a batch, however many are broken.
fn frames(
    batch: &Batch,
    sealed: &Bytes,
    depth: Depth,
    mut read: Read,
) -> Result<Checked, VaultError> {
    let mut broken = Vec::new();
    let mut decompressor = decompressor()?;
    let mut opened = Vec::new();
    for place in 0..batch.count() {
        let plain = u64::from(batch.at(place).plain);
        let mut checked = batch.open(place, sealed, &mut opened);
        if checked.is_ok() && depth == Depth::Decompress {
            let content = batch.unpack(place, &opened, &mut decompressor);
            let frame = (batch.path().to_owned(), batch.number(place));
            checked = content.map(|content| read.take(&content, frame, &mut broken));
        }
        match checked {
            Ok(()) => read.at = read.at.map(|at| at + plain),
            // Behind its seal a newer form is no flipped bit.
            Err(newer @ VaultError::NewerFormat { .. }) => return Err(newer),
            Err(error) => {
                let found = Found::by(error)?;
                let place = read.skip(plain, &mut broken);
                broken.push(Broken { found, place });
            }
        }
    }
    Ok(Checked {
        frames: batch.count(),
        broken,
        read,
    })
}

fn rows_of(database: &ObjectName, table: &ObjectName, blocks: BlockRange, rows: u64) -> Concern {
    Concern::Rows {
        database: database.clone(),
        table: table.clone(),
        blocks,
        rows,
    }
}

/// The blocks and rows that have a byte in that range of an entry's rows.
fn rows_in(index: &BlockIndex, bytes: &Range<u64>) -> (BlockRange, u64) {
    let mut start = 0;
    let (mut blocks, mut rows) = (None::<(u32, u32)>, 0);
    for span in index.spans() {
        let end = start + span.bytes;
        if start < bytes.end && bytes.start < end {
            let first = blocks.map_or(span.block, |(first, _)| first);
            blocks = Some((first, span.block));
            rows += u64::from(span.rows);
        }
        start = end;
    }
    let (first, last) = blocks.unwrap_or((0, 0));
    (these(first, last), rows)
}

/// From one block to another, which is part of it.
fn these(first: u32, last: u32) -> BlockRange {
    BlockRange {
        start: first,
        end: last.checked_add(1),
    }
}
