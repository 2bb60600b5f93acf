//! What became of a saveset id: committed, dead, or dropped. It is settled once, in one place.

use std::collections::BTreeMap;

use bytes::Bytes;
use fail::fail_point;
use futures::{StreamExt, TryStreamExt, stream};
use model::{Fault, SavesetId};
use serde::{Deserialize, Serialize};

use crate::saveset_writer::manifest_path;
use crate::seal::{Kind, open, seal_json};
use crate::store::PutNew;
use crate::vault::{number, versioned};
use crate::{Saveset, Vault, VaultError};

/// A tombstone is at most this long, sealed; what is longer is a manifest.
const MAX_TOMBSTONE_BYTES: u64 = 8 << 10;

/// The version of the tombstones written here.
pub(crate) const TOMBSTONE_FORMAT: u64 = 1;

/// A reason is cut to this many characters, so that a tombstone stays small.
const MAX_REASON: usize = 1_000;

const STATES_AT_ONCE: usize = 16;

/// What stands in a manifest's place instead of one. It is never deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    format: u64,
    /// The saveset that is not there.
    pub saveset_id: SavesetId,
    /// Whether it was never there or is there no more.
    pub cause: TombstoneCause,
    /// Why, as a sentence.
    pub reason: String,
}

/// Why a tombstone was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TombstoneCause {
    /// The run was declared dead before it committed.
    Dead,
    /// The saveset was committed, and dropped later.
    Dropped,
}

impl Tombstone {
    fn new(saveset_id: SavesetId, cause: TombstoneCause, reason: &str) -> Self {
        Tombstone {
            format: TOMBSTONE_FORMAT,
            saveset_id,
            cause,
            reason: reason.chars().take(MAX_REASON).collect(),
        }
    }

    pub(crate) fn read(path: &str, plain: &[u8]) -> Result<Self, VaultError> {
        versioned(path, plain, TOMBSTONE_FORMAT)
    }

    pub(crate) fn into_error(self, saveset: SavesetId) -> VaultError {
        VaultError::SavesetDead {
            saveset,
            reason: self.reason,
        }
    }
}

/// What stands in a saveset's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SavesetState {
    /// A manifest.
    Committed,
    /// A tombstone.
    Tombstone(Tombstone),
    /// Something that is neither, as this sentence says; nothing about it is known.
    Damaged(String),
}

/// How declaring a run dead ended.
#[derive(Debug)]
pub enum DeadOrAlive {
    /// Its tombstone is there: it can never commit.
    Dead,
    /// It had committed before.
    Committed(Box<Saveset>),
}

impl Vault {
    /// Every saveset id that was ever settled, ascending.
    pub(crate) async fn saveset_ids(&self) -> Result<Vec<SavesetId>, VaultError> {
        let listed = self.listed().await?;
        Ok(listed.into_iter().map(|(id, _)| id).collect())
    }

    async fn listed(&self) -> Result<Vec<(SavesetId, u64)>, VaultError> {
        let names = self.0.store.list("manifests").await?;
        let mut ids: Vec<(SavesetId, u64)> = names
            .into_iter()
            .filter_map(|(name, size)| {
                let id = i64::try_from(number(&name)?).ok()?;
                Some((SavesetId::new(id).ok()?, size))
            })
            .collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// What stands in each saveset's place. Manifests are not opened for it, only what is small
    /// enough for a tombstone is read.
    ///
    /// # Errors
    /// What the store says. A damaged object is a state, not an error.
    pub async fn saveset_states(&self) -> Result<BTreeMap<SavesetId, SavesetState>, VaultError> {
        let listed = self.listed().await?;
        let states = stream::iter(listed).map(|(id, size)| self.state(id, size));
        states.buffer_unordered(STATES_AT_ONCE).try_collect().await
    }

    async fn state(
        &self,
        id: SavesetId,
        size: u64,
    ) -> Result<(SavesetId, SavesetState), VaultError> {
        if size > MAX_TOMBSTONE_BYTES {
            return Ok((id, SavesetState::Committed));
        }
        let object = self
            .0
            .store
            .get(&manifest_path(id), MAX_TOMBSTONE_BYTES)
            .await?;
        let state = match self.tombstone_in(id, &object) {
            Ok(Some(tombstone)) => SavesetState::Tombstone(tombstone),
            Ok(None) => SavesetState::Committed,
            Err(error) => SavesetState::Damaged((&error as &dyn Fault).sentence()),
        };
        Ok((id, state))
    }

    /// The tombstone that `object` is, or `None` if it is a manifest.
    pub(crate) fn tombstone_in(
        &self,
        id: SavesetId,
        object: &[u8],
    ) -> Result<Option<Tombstone>, VaultError> {
        let path = manifest_path(id);
        let limit = crate::manifest::MAX_MANIFEST_BYTES;
        match open(&self.0.keys, &path, object, limit)? {
            (Kind::Manifest, _) => Ok(None),
            (Kind::Tombstone, plain) => Tombstone::read(&path, &plain).map(Some),
            (Kind::Pin | Kind::Catalog | Kind::Moves, _) => Err(VaultError::damaged(
                path,
                "it is neither a manifest nor a tombstone",
            )),
        }
    }

    /// Settles that a run will not commit: puts a tombstone in the manifest's place, unless the
    /// manifest is there already. Then its pin goes.
    ///
    /// # Errors
    /// What the store says: the run is then neither dead nor alive, and this may be called again.
    pub async fn declare_dead(
        &self,
        id: SavesetId,
        reason: &str,
    ) -> Result<DeadOrAlive, VaultError> {
        self.must_be_owned()?;
        let path = manifest_path(id);
        let tombstone = Tombstone::new(id, TombstoneCause::Dead, reason);
        let object = seal_json(&self.0.keys, Kind::Tombstone, &path, &tombstone)?;
        let small = self.0.store.limits().small;
        let outcome = match self.0.store.put_new(&path, object, small).await? {
            PutNew::Ours => DeadOrAlive::Dead,
            PutNew::Other(found) => self.dead_or_alive(id, found).await?,
        };
        fail_point!("recovery::a-tombstone-is-put");
        self.remove_pins_of(id).await?;
        Ok(outcome)
    }

    async fn dead_or_alive(&self, id: SavesetId, found: Bytes) -> Result<DeadOrAlive, VaultError> {
        match self.tombstone_in(id, &found)? {
            Some(_) => Ok(DeadOrAlive::Dead),
            None => {
                let saveset = Saveset::from_object(self, id, found).await?;
                Ok(DeadOrAlive::Committed(Box::new(saveset)))
            }
        }
    }

    /// Drops a saveset that retention does not keep: one put sets a tombstone over its manifest, so
    /// that there is no moment between, and the id is never taken again. A saveset that was dropped
    /// already stays dropped. Its packs stay until a sweep finds that nothing refers to them.
    ///
    /// # Errors
    /// [`StillNeeded`](VaultError::StillNeeded) while a run builds on it;
    /// [`NoSaveset`](VaultError::NoSaveset) if there never was one; what the store says.
    pub async fn drop_saveset(&self, id: SavesetId) -> Result<(), VaultError> {
        self.must_be_owned()?;
        let _alone = self.0.beginning.lock().await;
        if let Some(pin) = self
            .pins()
            .await?
            .into_iter()
            .find(|pin| pin.base == Some(id))
        {
            return Err(VaultError::StillNeeded {
                saveset: id,
                execution: pin.execution.execution,
            });
        }
        match self.open_saveset(id).await {
            Err(VaultError::SavesetDead { .. }) => return Ok(()),
            // What cannot be read is not dropped: a copy of the vault may still mend it.
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        let path = manifest_path(id);
        let tombstone = Tombstone::new(id, TombstoneCause::Dropped, "it was dropped by retention");
        let object = seal_json(&self.0.keys, Kind::Tombstone, &path, &tombstone)?;
        self.0.store.put_over(&path, object).await?;
        fail_point!("vault::a-saveset-is-dropped");
        Ok(())
    }
}
