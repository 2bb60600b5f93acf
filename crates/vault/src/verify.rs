//! Verifying a saveset: everything it refers to is read and checked, and a damage does not end it.

use std::ops::Range;

use bytes::Bytes;
use model::{BlockIndex, BlockRange, ObjectName, SavesetId};

use crate::batch::{Batch, decompressor};
use crate::damage::Found;
use crate::pack_reader::{on_cpu, whole};
use crate::saveset_writer::manifest_path;
use crate::{
    Concern, ContentHash, Depth, FrameRun, ManifestTable, Saveset, SegmentEntry, Vault, VaultError,
    VerifyReport,
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
    /// with [`Depth::Decompress`] it is also unpacked and compared with the hash of what was written.
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
                let expected = Some((blob.plain_bytes, blob.hash));
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
    /// Which bytes of the content, where that is known.
    bytes: Option<Range<u64>>,
}

impl Check<'_> {
    /// Something that is read as a whole or not at all.
    async fn part(
        &mut self,
        runs: &[FrameRun],
        expected: Option<(u64, ContentHash)>,
        concern: &Concern,
    ) -> Result<bool, VaultError> {
        self.report.parts += 1;
        let broken = self.content(runs, expected).await?;
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
        let expected = Some((sheet.bytes, sheet.hash));
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
        let expected = Some((entry.plain_bytes, entry.hash));
        let broken_rows = self.content(&entry.rows, expected).await?;
        let broken_index = self.content(&entry.index, None).await?;
        let mut index = None;
        if broken_index.is_empty() {
            match self.saveset.index(entry).await {
                Ok(read) => index = Some(read),
                Err(error) => self.report.add(Found::by(error)?, all.clone()),
            }
        }
        for broken in broken_rows {
            let concern = match (&index, &broken.bytes) {
                (Some(index), Some(bytes)) => {
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

    /// Reads all frames of a content.
    async fn content(
        &mut self,
        runs: &[FrameRun],
        expected: Option<(u64, ContentHash)>,
    ) -> Result<Vec<Broken>, VaultError> {
        let mut broken = Vec::new();
        let mut read = Read::default();
        for run in runs {
            let mut rest = Some(*run);
            while let Some(run) = rest {
                rest = self.some_frames(run, &mut read, &mut broken).await?;
            }
        }
        let hashed = self.depth == Depth::Decompress && broken.is_empty();
        if let Some(expected) = expected.filter(|_| hashed) {
            let last = runs.last().map(|run| run.pack);
            let at = read.at.unwrap_or(0);
            if let Err(error) = whole(expected, at, &read.hash, last) {
                broken.push(Broken {
                    found: Found::by(error)?,
                    bytes: None,
                });
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
                let found = Found::by(error)?;
                broken.push(Broken { found, bytes: None });
                // Nobody knows how long these frames are.
                read.at = None;
                return Ok(None);
            }
        };
        let rest = run.after(batch.count());
        let stored = batch.stored();
        match sealed {
            Ok(sealed) => {
                let (depth, hash) = (self.depth, std::mem::take(&mut read.hash));
                let at = read.at;
                let checked = on_cpu(move || frames(&batch, &sealed, depth, at, hash)).await?;
                self.report.frames += u64::from(checked.frames);
                broken.extend(checked.broken);
                *read = checked.read;
            }
            Err(error) => {
                let found = Found::by(error)?;
                let bytes = read.pass(&batch);
                broken.push(Broken { found, bytes });
            }
        }
        self.report.bytes += stored;
        (self.on_bytes)(stored);
        Ok(rest)
    }
}

/// How far a content was read.
struct Read {
    /// The next byte of the content; `None`: it is not known any more.
    at: Option<u64>,
    hash: blake3::Hasher,
}

impl Default for Read {
    fn default() -> Self {
        Read {
            at: Some(0),
            hash: blake3::Hasher::new(),
        }
    }
}

impl Read {
    /// Passes over all frames of a batch; answers the bytes that they are.
    fn pass(&mut self, batch: &Batch) -> Option<Range<u64>> {
        let start = self.at?;
        let plain = (0..batch.count()).map(|place| u64::from(batch.at(place).plain));
        let end = start + plain.sum::<u64>();
        self.at = Some(end);
        Some(start..end)
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
    mut at: Option<u64>,
    mut hash: blake3::Hasher,
) -> Result<Checked, VaultError> {
    let mut broken = Vec::new();
    let mut decompressor = decompressor()?;
    let mut opened = Vec::new();
    for place in 0..batch.count() {
        let end = at.map(|at| at + u64::from(batch.at(place).plain));
        let mut checked = batch.open(place, sealed, &mut opened);
        if checked.is_ok() && depth == Depth::Decompress {
            let content = batch.unpack(place, &opened, &mut decompressor);
            checked = content.map(|content| {
                hash.update(&content);
            });
        }
        if let Err(error) = checked {
            broken.push(Broken {
                // Behind its seal a newer form is no flipped bit.
                found: match error {
                    newer @ VaultError::NewerFormat { .. } => return Err(newer),
                    error => Found::by(error)?,
                },
                bytes: at.zip(end).map(|(start, end)| start..end),
            });
        }
        at = end;
    }
    Ok(Checked {
        frames: batch.count(),
        broken,
        read: Read { at, hash },
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
    let blocks = BlockRange {
        start: first,
        end: last.checked_add(1),
    };
    (blocks, rows)
}
