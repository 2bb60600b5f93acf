//! Writing a saveset: from its pin to its commit.

use std::sync::Arc;
use std::time::Duration;

use fail::fail_point;
use futures::{StreamExt, stream};
use model::{SavesetId, ServerExecutionId};

use crate::fate::DeadOrAlive;
use crate::ledger::Ledger;
use crate::manifest::{MANIFEST_FORMAT, MAX_MANIFEST_BYTES};
use crate::pins::{Pin, Renewal};
use crate::seal::{Kind, seal_json};
use crate::store::PutNew;
use crate::{
    Manifest, ManifestDraft, PackId, PackPrefix, PackWriter, Saveset, SealedPack, Vault, VaultError,
};

/// How often a saveset id is sought when others take theirs at the same moment.
const ID_TRIES: u64 = 20;

/// How many packs of an attempt that failed are removed at the same time.
const REMOVED_AT_ONCE: usize = 8;

/// One attempt to write a saveset. Dropped without commit it leaves its pin and maybe packs: whoever
/// then [declares it dead](Vault::declare_dead) takes the pin away.
#[must_use = "a saveset is there only after its commit"]
pub struct SavesetWriter {
    vault: Vault,
    pin: Pin,
    ledger: Arc<Ledger>,
    renewal: Renewal,
}

impl Vault {
    /// Begins a saveset: takes its id, puts the pin and keeps it renewed. An earlier attempt of the
    /// same execution is declared dead first.
    ///
    /// # Errors
    /// [`AlreadyCommitted`](VaultError::AlreadyCommitted) if the earlier attempt had succeeded;
    /// [`NotOwned`](VaultError::NotOwned) before [`own`](Self::own); what the store says.
    pub async fn begin(
        &self,
        execution: ServerExecutionId,
        base: Option<SavesetId>,
    ) -> Result<SavesetWriter, VaultError> {
        self.must_be_owned()?;
        let _alone = self.0.beginning.lock().await;
        self.end_earlier_attempt(execution).await?;
        let pack_prefix = PackPrefix::generate()?;
        let mut rank = 0;
        for round in 1..=ID_TRIES {
            let pin = Pin {
                execution,
                saveset_id: self.next_id(rank).await?,
                base,
                pack_prefix,
            };
            self.put_pin(&pin).await?;
            fail_point!("vault::pin-is-put");
            // Whoever reads after writing sees every pin written before: of two runs with one id
            // at least the later one sees it, and takes another.
            let pins = self.pins().await?;
            let rivals = pins.iter().filter(|p| p.saveset_id == pin.saveset_id);
            let rivals: Vec<_> = rivals.map(|p| p.execution.execution).collect();
            if rivals.iter().all(|rival| *rival == execution.execution) {
                return self.begun(pin).await;
            }
            // All that see each other step aside, each by its place among them.
            rank = rivals
                .iter()
                .filter(|rival| **rival < execution.execution)
                .count();
            let [turn] = crate::ids::random::<1>()?;
            tokio::time::sleep(Duration::from_micros(u64::from(turn) * 100 * round)).await;
        }
        self.remove_pin(execution.execution).await?;
        Err(VaultError::NoFreeId)
    }

    async fn begun(&self, pin: Pin) -> Result<SavesetWriter, VaultError> {
        // The pin is there, so the base cannot be dropped any more: now it counts that it is.
        if let Some(base) = pin.base
            && let Err(error) = self.open_saveset(base).await
        {
            self.remove_pin(pin.execution.execution).await?;
            return Err(error);
        }
        Ok(SavesetWriter {
            vault: self.clone(),
            renewal: Renewal::start(self.clone(), pin.clone()),
            pin,
            ledger: Arc::default(),
        })
    }

    async fn end_earlier_attempt(&self, execution: ServerExecutionId) -> Result<(), VaultError> {
        let Some(earlier) = self.pin(execution.execution).await? else {
            return Ok(());
        };
        let reason = format!("execution {} began anew", earlier.execution);
        match self.declare_dead(earlier.saveset_id, &reason).await? {
            DeadOrAlive::Dead => Ok(()),
            DeadOrAlive::Committed(saveset) => {
                let ours = saveset.manifest().contents.execution.execution;
                if ours != execution.execution {
                    // It lost the race for that id, and no saveset is its own.
                    return self.remove_pin(execution.execution).await;
                }
                Err(VaultError::AlreadyCommitted {
                    execution: execution.execution,
                    saveset: saveset.id(),
                })
            }
        }
    }

    async fn remove_packs(&self, packs: Vec<PackId>) {
        let removed = stream::iter(packs).map(|pack| async move {
            if let Err(error) = self.0.store.delete(&pack.path()).await {
                tracing::info!(%pack, %error, "a pack of a run that failed is left to the sweep");
            }
        });
        removed.buffer_unordered(REMOVED_AT_ONCE).collect().await
    }

    /// Above every manifest, tombstone and pin: the next id, or as many further as `rank` says. A pin
    /// whose saveset is settled protects nothing any more and is removed: its run ended between its
    /// commit and its pin's removal.
    async fn next_id(&self, rank: usize) -> Result<SavesetId, VaultError> {
        let settled = self.saveset_ids().await?;
        let mut highest = settled.last().map_or(0, |id| id.get());
        for pin in self.pins().await? {
            if settled.binary_search(&pin.saveset_id).is_ok() {
                self.remove_pin(pin.execution.execution).await?;
            }
            highest = highest.max(pin.saveset_id.get());
        }
        SavesetId::new(highest.saturating_add(1 + rank as i64)).map_err(|error| {
            VaultError::Internal {
                doing: "take a saveset id",
                why: error.to_string(),
            }
        })
    }
}

impl SavesetWriter {
    /// The id that the saveset will have.
    pub fn saveset_id(&self) -> SavesetId {
        self.pin.saveset_id
    }

    /// The attempt that writes it.
    pub fn execution(&self) -> ServerExecutionId {
        self.pin.execution
    }

    /// What the ids of its packs begin with.
    pub fn pack_prefix(&self) -> PackPrefix {
        self.pin.pack_prefix
    }

    /// A writer of packs for one stream.
    ///
    /// # Errors
    /// Only when the compressor cannot be made.
    pub fn pack_writer(&self) -> Result<PackWriter, VaultError> {
        PackWriter::new(
            self.vault.0.keys.clone(),
            self.pin.pack_prefix,
            self.ledger.clone(),
        )
    }

    /// Puts a pack: one put, and what a lost answer leaves unknown is read back.
    ///
    /// # Errors
    /// What the store says.
    pub async fn put_pack(&self, pack: SealedPack) -> Result<(), VaultError> {
        let store = &self.vault.0.store;
        let path = pack.id.path();
        let bytes = pack.stored_bytes();
        fail_point!("vault::a-pack-is-sealed");
        match store
            .put_new(&path, pack.bytes, store.limits().pack)
            .await?
        {
            PutNew::Ours => {
                fail_point!("vault::a-pack-is-put");
                self.ledger.put(pack.id, pack.frames, bytes);
                Ok(())
            }
            PutNew::Other(_) => Err(VaultError::damaged(path, "another pack has its id")),
        }
    }

    /// Bytes of the packs put so far.
    pub fn stored_bytes(&self) -> u64 {
        self.ledger.stored()
    }

    /// Makes the saveset visible: puts its manifest where nothing may stand yet.
    ///
    /// # Errors
    /// [`Incomplete`](VaultError::Incomplete) if it would refer to what was not put;
    /// [`SavesetDead`](VaultError::SavesetDead) if the run was declared dead meanwhile;
    /// [`CommitUnknown`](VaultError::CommitUnknown) if the store's answer stayed out.
    pub async fn commit(self, draft: ManifestDraft) -> Result<Saveset, VaultError> {
        self.check(&draft)?;
        let id = self.pin.saveset_id;
        let manifest = Manifest {
            format: MANIFEST_FORMAT,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            saveset_id: id,
            bytes_stored: self.ledger.stored(),
            contents: draft,
        };
        let path = manifest_path(id);
        let keys = self.vault.0.keys.clone();
        let sealed = tokio::task::spawn_blocking(move || {
            seal_json(&keys, Kind::Manifest, &manifest_path(id), &manifest)
        });
        let object = sealed.await.map_err(|error| VaultError::Internal {
            doing: "seal a manifest",
            why: error.to_string(),
        })??;
        // What no reader would accept is never committed.
        let saveset = Saveset::from_object(&self.vault, id, object.clone()).await?;
        let store = &self.vault.0.store;
        fail_point!("vault::all-but-the-manifest-is-put");
        match store.put_new(&path, object, store.limits().pack).await {
            Ok(PutNew::Ours) => {}
            Ok(PutNew::Other(found)) => {
                return Err(match self.vault.tombstone_in(id, &found)? {
                    Some(tombstone) => tombstone.into_error(id),
                    None => VaultError::SavesetTaken { saveset: id },
                });
            }
            Err(last @ (VaultError::Store { .. } | VaultError::TimedOut { .. })) => {
                return Err(VaultError::CommitUnknown {
                    saveset: id,
                    last: Box::new(last),
                });
            }
            Err(error) => return Err(error),
        }
        fail_point!("vault::the-manifest-is-put");
        self.unpin().await;
        fail_point!("vault::a-saveset-is-unpinned");
        Ok(saveset)
    }

    /// Gives the attempt up: puts its tombstone, and removes its packs, which nobody can refer to any
    /// more. What cannot be removed now is left to the sweep.
    ///
    /// # Errors
    /// What the store says; the pin then stays.
    pub async fn abandon(self, reason: &str) -> Result<DeadOrAlive, VaultError> {
        let id = self.pin.saveset_id;
        let (vault, ledger) = (self.vault.clone(), self.ledger.clone());
        self.renewal.stop().await;
        let settled = vault.declare_dead(id, reason).await;
        match settled {
            Ok(DeadOrAlive::Committed(_)) => settled,
            Ok(DeadOrAlive::Dead) => {
                vault.remove_packs(ledger.all()).await;
                settled
            }
            // A store that does not answer this does not answer the next call either.
            Err(VaultError::TimedOut { .. }) => settled,
            // A disk that is full has no room for a tombstone before something goes. This attempt
            // cannot commit any more: its writer ends here, before it has begun to.
            Err(_) => {
                vault.remove_packs(ledger.all()).await;
                vault.declare_dead(id, reason).await
            }
        }
    }

    async fn unpin(self) {
        self.renewal.stop().await;
        let execution = self.pin.execution.execution;
        // The saveset is committed whether or not the pin goes; the next run of anybody removes it.
        if let Err(error) = self.vault.remove_pin(execution).await {
            tracing::warn!(%execution, %error, "the pin of a committed saveset was not removed");
        }
    }

    /// A manifest refers only to packs that were put, or to those of its base.
    fn check(&self, draft: &ManifestDraft) -> Result<(), VaultError> {
        let incomplete = |what: String| VaultError::Incomplete {
            saveset: self.pin.saveset_id,
            what,
        };
        draft.check().map_err(incomplete)?;
        if draft.execution != self.pin.execution {
            return Err(incomplete(format!(
                "it is of execution {}, not {}",
                draft.execution, self.pin.execution
            )));
        }
        if let Some(pack) = self.ledger.missing() {
            return Err(incomplete(format!("pack {pack} was sealed and never put")));
        }
        let ours = self.pin.pack_prefix;
        for run in draft.runs() {
            let from_base = self.pin.base.is_some() && run.pack.prefix() != ours;
            if !from_base && !self.ledger.holds(run) {
                return Err(incomplete(format!(
                    "frames {} to {} of pack {} were not put",
                    run.first,
                    u64::from(run.first) + u64::from(run.count) - 1,
                    run.pack
                )));
            }
        }
        Ok(())
    }
}

pub(crate) fn manifest_path(id: SavesetId) -> String {
    format!("manifests/{id}")
}

/// A sealed manifest is never longer than this: zstd adds little to what it cannot compress.
pub(crate) const MAX_SEALED_MANIFEST: u64 = MAX_MANIFEST_BYTES + (1 << 20);
