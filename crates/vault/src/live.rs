//! What a vault's manifests and pins refer to.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::PoisonError;

use futures::{StreamExt, TryStreamExt, stream};
use model::SavesetId;

use crate::{FrameRun, PackId, PackPrefix, Pin, Saveset, SegmentEntry, Vault, VaultError};

/// As many manifests are in memory at once.
const MANIFESTS_AT_ONCE: usize = 4;

/// What is told of each run that something refers to.
pub(crate) type See<'a> = dyn FnMut(&FrameRun) + Send + 'a;

/// What running executions and a running compaction are about to refer to.
pub(crate) struct Pinned {
    pins: Vec<Pin>,
    pub(crate) prefixes: HashSet<PackPrefix>,
    /// A compaction's pin is there.
    pub(crate) compaction: bool,
}

impl Vault {
    /// The packs of a vault, each with its size. To be listed before anything that refers to them is
    /// read.
    pub(crate) async fn packs(&self) -> Result<BTreeMap<PackId, u64>, VaultError> {
        let packs = self.0.store.list_below("packs", |name, object| {
            let pack: PackId = name.split_once('/')?.1.parse().ok()?;
            (pack.path() == object.location.as_ref()).then_some((pack, object.size))
        });
        Ok(packs.await?.into_iter().collect())
    }

    /// The pins, to be read when the packs are listed. The list of moved frames is read behind them: a
    /// compaction whose pin is gone has put its list.
    pub(crate) async fn pinned(&self) -> Result<Pinned, VaultError> {
        let pins = self.pins().await?;
        let mut prefixes: HashSet<PackPrefix> = pins.iter().map(|pin| pin.pack_prefix).collect();
        let compaction = self.compaction_pin().await?;
        prefixes.extend(compaction);
        self.load_moves().await?;
        Ok(Pinned {
            pins,
            prefixes,
            compaction: compaction.is_some(),
        })
    }

    /// Tells of each run of frames that a manifest or a sheet refers to, by its first place, some of them
    /// several times. The packs must have been listed, and then the pins read.
    ///
    /// # Errors
    /// When any of them cannot be read, or [`BaseGone`](VaultError::BaseGone).
    pub(crate) async fn each_reference(
        &self,
        pinned: &Pinned,
        see: &mut See<'_>,
    ) -> Result<(), VaultError> {
        let mut sheets = HashSet::new();
        let mut committed = BTreeSet::new();
        let mut settled: BTreeSet<SavesetId> = BTreeSet::new();
        loop {
            let listed = self.saveset_ids().await?;
            let new: Vec<_> = listed
                .into_iter()
                .filter(|id| settled.insert(*id))
                .filter(|id| !self.is_tombstone(*id))
                .collect();
            if new.is_empty() {
                break;
            }
            let opened = stream::iter(new).map(|id| self.manifest_or_tombstone(id));
            let mut opened = opened.buffer_unordered(MANIFESTS_AT_ONCE);
            while let Some(saveset) = opened.try_next().await? {
                if let Some(saveset) = saveset {
                    committed.insert(saveset.id());
                    references(&saveset, &mut sheets, see).await?;
                }
            }
        }
        let unsettled = pinned
            .pins
            .iter()
            .filter(|pin| !settled.contains(&pin.saveset_id));
        for pin in unsettled {
            if let Some(base) = pin.base.filter(|base| !committed.contains(base)) {
                return Err(VaultError::BaseGone {
                    saveset: base,
                    execution: pin.execution.execution,
                });
            }
        }
        Ok(())
    }

    async fn manifest_or_tombstone(&self, id: SavesetId) -> Result<Option<Saveset>, VaultError> {
        match self.open_saveset(id).await {
            Ok(saveset) => Ok(Some(saveset)),
            Err(VaultError::SavesetDead { .. }) => {
                let mut known = self
                    .0
                    .tombstones
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                known.insert(id);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// A tombstone is never replaced: it need not be read again.
    fn is_tombstone(&self, id: SavesetId) -> bool {
        let known = self
            .0
            .tombstones
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.contains(&id)
    }
}

/// A sheet that several savesets refer to is read once.
async fn references(
    saveset: &Saveset,
    sheets: &mut HashSet<(PackId, u32)>,
    see: &mut See<'_>,
) -> Result<(), VaultError> {
    saveset.manifest().contents.runs().for_each(&mut *see);
    for (database, saved) in saveset.databases().iter().enumerate() {
        for (place, table) in saved.tables.iter().enumerate() {
            let first = table.sheet.as_ref().and_then(|sheet| sheet.runs.first());
            let Some(first) = first.map(|run| (run.pack, run.first)) else {
                continue;
            };
            if !sheets.contains(&first) {
                let sheet = saveset.sheet(database, place).await?;
                sheet
                    .entries()
                    .flat_map(SegmentEntry::runs)
                    .for_each(&mut *see);
                sheets.insert(first);
            }
        }
    }
    Ok(())
}
