//! Pins: what running executions are about to commit.

use model::{ExecutionId, SavesetId, ServerExecutionId};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::seal::{Kind, open_json, seal_json};
use crate::{PackPrefix, Vault, VaultError};

const MAX_PIN_BYTES: u64 = 16 << 10;

/// A running execution, as its pin tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Execution and attempt.
    #[serde(rename = "server_execution_id")]
    pub execution: ServerExecutionId,
    /// The saveset that it will commit.
    pub saveset_id: SavesetId,
    /// The saveset that it builds on.
    pub base: Option<SavesetId>,
    /// Its packs' ids begin so.
    pub pack_prefix: PackPrefix,
}

/// The pin of a compaction: what it writes is not referred to yet. One at a time: a later one's stands
/// over that of one that died.
const COMPACTION: &str = "pins/compaction";

#[derive(Serialize, Deserialize)]
struct CompactionPin {
    pack_prefix: PackPrefix,
}

fn pin_path(execution: ExecutionId) -> String {
    format!("pins/{execution}")
}

impl Vault {
    /// All pins, by ascending execution.
    ///
    /// # Errors
    /// [`PinDamaged`](VaultError::PinDamaged) when one cannot be read: what it protects is then not
    /// known. Or what the store says.
    pub async fn pins(&self) -> Result<Vec<Pin>, VaultError> {
        let mut pins = Vec::new();
        for execution in self.pinned_executions().await? {
            pins.extend(self.pin(execution).await?);
        }
        Ok(pins)
    }

    /// The pin of one execution.
    pub(crate) async fn pin(&self, execution: ExecutionId) -> Result<Option<Pin>, VaultError> {
        let path = pin_path(execution);
        let object = match self.0.store.get(&path, MAX_PIN_BYTES).await {
            Err(VaultError::Missing { .. }) => return Ok(None),
            other => other?,
        };
        match open_json(&self.0.keys, Kind::Pin, &path, &object, MAX_PIN_BYTES) {
            Err(VaultError::Damaged { path, what }) => Err(VaultError::PinDamaged { path, what }),
            other => other.map(Some),
        }
    }

    /// The prefix of the packs that a compaction is about to refer to.
    pub(crate) async fn compaction_pin(&self) -> Result<Option<PackPrefix>, VaultError> {
        let object = match self.0.store.get(COMPACTION, MAX_PIN_BYTES).await {
            Err(VaultError::Missing { .. }) => return Ok(None),
            other => other?,
        };
        let keys = &self.0.keys;
        match open_json::<CompactionPin>(keys, Kind::Pin, COMPACTION, &object, MAX_PIN_BYTES) {
            Err(VaultError::Damaged { path, what }) => Err(VaultError::PinDamaged { path, what }),
            other => other.map(|pin| Some(pin.pack_prefix)),
        }
    }

    pub(crate) async fn put_compaction_pin(
        &self,
        pack_prefix: PackPrefix,
    ) -> Result<(), VaultError> {
        let pin = CompactionPin { pack_prefix };
        let object = seal_json(&self.0.keys, Kind::Pin, COMPACTION, &pin)?;
        self.0.store.put_over(COMPACTION, object).await
    }

    pub(crate) async fn remove_compaction_pin(&self) -> Result<(), VaultError> {
        self.0.store.delete(COMPACTION).await
    }

    /// Removes the pins of a saveset that is settled. One that cannot be read protects whatever it
    /// may name, and stays.
    pub(crate) async fn remove_pins_of(&self, id: SavesetId) -> Result<(), VaultError> {
        for execution in self.pinned_executions().await? {
            match self.pin(execution).await {
                Ok(Some(pin)) if pin.saveset_id == id => self.remove_pin(execution).await?,
                Ok(_) | Err(VaultError::PinDamaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn pinned_executions(&self) -> Result<Vec<ExecutionId>, VaultError> {
        let names = self.0.store.list("pins").await?;
        let mut pinned: Vec<ExecutionId> = names
            .into_iter()
            .filter_map(|(name, _)| name.parse().ok())
            .collect();
        pinned.sort_unstable();
        Ok(pinned)
    }

    pub(crate) async fn put_pin(&self, pin: &Pin) -> Result<(), VaultError> {
        let path = pin_path(pin.execution.execution);
        let object = seal_json(&self.0.keys, Kind::Pin, &path, pin)?;
        self.0.store.put_over(&path, object).await
    }

    pub(crate) async fn remove_pin(&self, execution: ExecutionId) -> Result<(), VaultError> {
        self.0.store.delete(&pin_path(execution)).await
    }
}

/// Writes a pin anew, every minute unless told otherwise, until it is dropped or stopped.
pub(crate) struct Renewal {
    task: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Renewal {
    pub(crate) fn start(vault: Vault, pin: Pin) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(renew(vault, pin, stopped));
        Renewal {
            task: Some((stop, task)),
        }
    }

    /// Ends it, and waits until no write of its is under way: the pin may then be removed.
    pub(crate) async fn stop(mut self) {
        if let Some((stop, task)) = self.task.take() {
            drop(stop);
            if let Err(error) = task.await {
                tracing::error!(%error, "the renewal of a pin ended abnormally");
            }
        }
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.task {
            task.abort();
        }
    }
}

async fn renew(vault: Vault, pin: Pin, mut stopped: oneshot::Receiver<()>) {
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            () = tokio::time::sleep(vault.0.store.limits().renewal) => {}
        }
        // A pin that is not renewed for a while still protects; the next renewal tries again.
        if let Err(error) = vault.put_pin(&pin).await {
            tracing::warn!(execution = %pin.execution, %error, "a pin could not be renewed");
        }
    }
}
