//! A committed saveset, as it is read.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use model::{BlockIndex, BlockSpan, SavesetId};

use crate::manifest::{MANIFEST_FORMAT, MAX_MANIFEST_BYTES};
use crate::pack_reader::{Expected, on_cpu};
use crate::saveset_writer::{MAX_SEALED_MANIFEST, manifest_path};
use crate::seal::{Kind, open, parse};
use crate::sheet::MAX_SHEET_BYTES;
use crate::vault::versioned;
use crate::{
    ContentHash, Manifest, RunReader, SavedDatabase, SegmentEntry, TableSheet, Tombstone, Vault,
    VaultError,
};

/// The index of one segment or patch is at most this long: some 2.5 million blocks.
pub const MAX_INDEX_BYTES: u64 = 64 << 20;

const INDEXES_AT_ONCE: usize = 16;

/// A saveset whose manifest passed its checks. There is no other way to one than
/// [`Vault::open_saveset`] and [`SavesetWriter::commit`](crate::SavesetWriter::commit):
///
/// ```compile_fail,E0451
/// fn make(vault: vault::Vault, manifest: vault::Manifest) -> vault::Saveset {
///     vault::Saveset { vault, manifest: std::sync::Arc::new(manifest), object_bytes: 0 }
/// }
/// ```
#[derive(Clone)]
pub struct Saveset {
    vault: Vault,
    manifest: Arc<Manifest>,
    object_bytes: u64,
}

impl Vault {
    /// Opens a committed saveset.
    ///
    /// # Errors
    /// [`NoSaveset`](VaultError::NoSaveset), [`SavesetDead`](VaultError::SavesetDead) where a
    /// tombstone stands, [`Damaged`](VaultError::Damaged), or what the store says.
    pub async fn open_saveset(&self, id: SavesetId) -> Result<Saveset, VaultError> {
        let found = self
            .0
            .store
            .get(&manifest_path(id), MAX_SEALED_MANIFEST)
            .await;
        match found {
            Err(VaultError::Missing { .. }) => Err(VaultError::NoSaveset { saveset: id }),
            Err(error) => Err(error),
            Ok(object) => Saveset::from_object(self, id, object).await,
        }
    }
}

impl Saveset {
    /// Checks what stands in the manifest's place.
    pub(crate) async fn from_object(
        vault: &Vault,
        id: SavesetId,
        object: Bytes,
    ) -> Result<Saveset, VaultError> {
        let object_bytes = object.len() as u64;
        let keys = vault.0.keys.clone();
        let manifest = on_cpu(move || {
            let path = manifest_path(id);
            match open(&keys, &path, &object, MAX_MANIFEST_BYTES)? {
                (Kind::Manifest, plain) => checked(id, &path, &plain),
                (Kind::Tombstone, plain) => Err(Tombstone::read(&path, &plain)?.into_error(id)),
                (Kind::Pin | Kind::Catalog | Kind::Moves, _) => Err(VaultError::damaged(
                    path,
                    "it is neither a manifest nor a tombstone",
                )),
            }
        });
        Ok(Saveset {
            vault: vault.clone(),
            manifest: Arc::new(manifest.await?),
            object_bytes,
        })
    }

    /// Its id.
    pub fn id(&self) -> SavesetId {
        self.manifest.saveset_id
    }

    /// Its table of contents.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The vault it is in.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Bytes in the vault that it refers to, its manifest included: the contract's
    /// `backup_set_size`.
    pub fn bytes_referred(&self) -> u64 {
        self.manifest.contents.bytes_referred() + self.object_bytes
    }

    /// The databases in it.
    pub fn databases(&self) -> &[SavedDatabase] {
        &self.manifest.contents.databases
    }

    /// The sheet of a table, by the places of its database and its own in the manifest. A table
    /// without one has no segments.
    ///
    /// # Errors
    /// When a frame of the sheet is missing or damaged, or there is no such table.
    pub async fn sheet(&self, database: usize, table: usize) -> Result<TableSheet, VaultError> {
        let saved = self.databases().get(database);
        let listed = saved.and_then(|saved| saved.tables.get(table));
        let listed = listed.ok_or_else(|| VaultError::NoSuchPart {
            saveset: self.id(),
            what: format!("table in place {table} of a database in place {database}"),
        })?;
        let Some(sheet) = &listed.sheet else {
            return Ok(TableSheet::default());
        };
        let what = format!(
            "{}: the sheet of {}",
            manifest_path(self.id()),
            listed.plan.name
        );
        let reader = self
            .vault
            .read_checked(&sheet.runs, sheet.bytes, sheet.hash);
        let text = reader.collect(&what, MAX_SHEET_BYTES).await?;
        on_cpu(move || {
            let sheet: TableSheet = parse(&what, &text)?;
            sheet
                .check()
                .map_err(|why| VaultError::damaged(&what, why))?;
            Ok(sheet)
        })
        .await
    }

    /// A part of a database's dictionary, by the database's place and its name; `None`: there is
    /// no such part.
    pub fn blob(&self, database: usize, name: &str) -> Option<RunReader> {
        let parts = &self.databases().get(database)?.dictionary;
        let blob = parts.iter().find(|b| b.name == name)?;
        Some(
            self.vault
                .read_checked(&blob.runs, blob.plain_bytes, blob.hash),
        )
    }

    /// All rows in the frames of a segment or patch, whether or not they still are the table's:
    /// [`segment_rows`](Self::segment_rows) gives those. Each frame is compared with its own hash, and
    /// all of them with the length that they must come to; a
    /// [thorough verification](crate::Depth::Decompress) compares the rows of each block too.
    pub fn rows(&self, segment: &SegmentEntry) -> RunReader {
        let expected = Expected {
            bytes: segment.plain_bytes,
            hash: None,
        };
        RunReader::new(&self.vault, &segment.rows, Some(expected))
    }

    /// The index of a segment or patch, compared with its hash. It covers every byte of its rows, and
    /// has a hash of the rows of each block. One ranged read, where the pack's footer is known: many
    /// may be asked for at once ([`indexes`](Self::indexes)).
    ///
    /// # Errors
    /// When a frame of it is missing or damaged, or it is not the index that was written.
    pub async fn index(&self, segment: &SegmentEntry) -> Result<BlockIndex, VaultError> {
        let Some(last) = segment.index.last() else {
            return Ok(BlockIndex::new());
        };
        let what = format!("{}: the index of {}", last.pack.path(), segment.blocks);
        let reader = RunReader::new(&self.vault, &segment.index, None);
        let bytes = reader.collect(&what, MAX_INDEX_BYTES).await?;
        let segment = segment.clone();
        on_cpu(move || {
            checked_index(&segment, &bytes).map_err(|why| VaultError::damaged(what, why))
        })
        .await
    }

    /// The indexes of some segments or patches, in their order; a few are read at once.
    ///
    /// # Errors
    /// As [`index`](Self::index), of the first one that cannot be read.
    pub async fn indexes(&self, segments: &[SegmentEntry]) -> Result<Vec<BlockIndex>, VaultError> {
        let segments = stream::iter(segments.iter().cloned());
        let reads = segments.map(|segment| async move { self.index(&segment).await });
        reads.buffered(INDEXES_AT_ONCE).try_collect().await
    }
}

/// An index that is the entry's.
fn checked_index(segment: &SegmentEntry, bytes: &[u8]) -> Result<BlockIndex, String> {
    if ContentHash::of(bytes) != segment.hash {
        return Err("it is not what was written (BLAKE3)".to_owned());
    }
    let index = BlockIndex::decode(bytes).map_err(|error| error.to_string())?;
    if index.hashes().is_none() {
        return Err("it has no hashes of its blocks' rows".to_owned());
    }
    if index.bytes() != segment.plain_bytes || index.rows() != segment.row_count {
        return Err("it covers other rows than the segment has".to_owned());
    }
    let outside = |span: &&BlockSpan| !segment.blocks.contains(span.block);
    match index.spans().iter().find(outside) {
        Some(span) if !segment.narrowed => Err(format!("it lists block {}", span.block)),
        _ => Ok(index),
    }
}

fn checked(id: SavesetId, path: &str, plain: &[u8]) -> Result<Manifest, VaultError> {
    let manifest: Manifest = versioned(path, plain, MANIFEST_FORMAT)?;
    if manifest.saveset_id != id {
        let what = format!("it is of saveset {}", manifest.saveset_id);
        return Err(VaultError::damaged(path, what));
    }
    manifest
        .contents
        .check()
        .map_err(|why| VaultError::damaged(path, why))?;
    Ok(manifest)
}

impl fmt::Debug for Saveset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Saveset({} in vault {})", self.id(), self.vault.id())
    }
}
