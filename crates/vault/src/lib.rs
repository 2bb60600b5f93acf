//! The vault: savesets as encrypted objects in an object store (`docs/saveset-format.md`).
//!
//! ```text
//! vault.json  owners/  keys/       what the vault is, whose, and how it is opened
//! pins/<execution>                 what running executions are about to commit
//! packs/<aa>/<pack>                frames of rows, indexes, sheets and dictionaries
//! manifests/<saveset>              a saveset's table of contents: its put is the commit
//! deleted/<pack>                   the mark of a pack that nothing refers to
//! ```
//!
//! Writing: [`Vault::begin`] takes a saveset id and pins it. A [`PackWriter`] for each stream seals
//! frames; each full pack goes to [`SavesetWriter::put_pack`]; [`write_sheet`] seals the list of a
//! table's segments; [`SavesetWriter::commit`] puts the manifest where nothing may stand yet, and
//! answers the [`Saveset`]. A run that died is settled by [`Vault::declare_dead`]: a tombstone in
//! the same place, so that exactly one of the two is ever there.
//!
//! Reading: [`Vault::open_saveset`], then [`Saveset::sheet`], [`Saveset::rows`], [`Saveset::index`]
//! and [`Saveset::blob`]; every byte is authenticated, and compared with the hash of what was
//! written, before it is given.
//!
//! Removing: [`Vault::drop_saveset`] puts a tombstone over a manifest, and [`Vault::sweep`] removes,
//! after a grace period, the packs that nothing refers to any more.
//!
//! What this crate is not: it knows no PostgreSQL, no SQLite, no catalog, no jobs and no HTTP. It
//! moves bytes that it does not understand, and decides nothing about what is backed up.
//!
//! ```
//! use std::sync::Arc;
//! use vault::{OwnerId, RecoveryKey, SiteKey, Unlock, Vault};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let store = Arc::new(object_store::memory::InMemory::new());
//! let (site_key, recovery_key) = (SiteKey::generate()?, RecoveryKey::generate()?);
//! let server: OwnerId = "server-1".parse().unwrap();
//! let vault = Vault::create(store.clone(), &site_key, &recovery_key, &server).await?;
//!
//! let writer = vault.begin("121.1".parse().unwrap(), None).await?;
//! let mut packs = writer.pack_writer()?;
//! let place = packs.append(b"rows of a table")?;
//! if let Some(pack) = packs.take()? {
//!     writer.put_pack(pack).await?;
//! }
//! // Nothing is visible: without a commit there is no saveset. The recovery key alone opens all.
//! let again = Vault::open(store, Unlock::RecoveryKey(&recovery_key)).await?;
//! assert!(again.saveset_states().await?.is_empty());
//! let run = vault::runs(&[place])[0];
//! assert_eq!(again.read_run(&run).next().await?.unwrap(), "rows of a table");
//! # Ok::<(), vault::VaultError>(())
//! # }).unwrap();
//! ```

mod batch;
mod block_check;
mod catalog_copy;
mod check;
mod cloud;
mod columns;
mod compact;
mod damage;
mod error;
mod fate;
mod footer;
mod format;
mod frame;
mod ids;
mod keys;
mod ledger;
mod live;
mod location;
mod manifest;
mod moves;
mod owners;
mod pack_reader;
mod pack_writer;
mod pins;
mod probe;
mod recovery_key;
mod saveset;
mod saveset_writer;
mod seal;
mod segment_rows;
mod shared_frames;
mod sheet;
mod store;
mod sweep;
mod trailer;
mod vault;
mod verify;
mod weigh;

pub use columns::RowCursor;
pub use compact::CompactReport;
pub use damage::{Concern, Damage, VerifyReport};
pub use error::VaultError;
pub use fate::{DeadOrAlive, SavesetState, Tombstone, TombstoneCause};
pub use format::FORMAT;
pub use frame::{FramePlace, FrameRun, PACK_BYTES, runs};
pub use ids::{ContentHash, HexError, KeyId, OwnerId, OwnerIdError, PackId, PackPrefix, VaultId};
pub use keys::{SiteKey, SiteKeyError, Unlock};
pub use location::{open_store, open_vault_store, remove_stale_staging};
pub use manifest::{BlobRef, Manifest, ManifestDraft, ManifestTable, SavedDatabase};
pub use owners::Owner;
pub use pack_reader::{Depth, RunReader};
pub use pack_writer::{PackWriter, SealedPack};
pub use pins::Pin;
pub use recovery_key::{RecoveryKey, RecoveryKeyError};
pub use saveset::{MAX_INDEX_BYTES, Saveset};
pub use saveset_writer::SavesetWriter;
pub use segment_rows::{Patches, SegmentRows};
pub use sheet::{
    FrameCutter, SegmentEntry, SheetRef, TableSheet, TableSize, Written, write_patched_sheet,
    write_sheet,
};
pub use store::StoreLimits;
pub use sweep::SweepReport;
pub use vault::Vault;
