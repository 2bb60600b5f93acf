//! The end of a backup: its manifest, or a tombstone in the manifest's place.

use std::time::Duration;

use model::{BoxFault, SavesetId, ServerExecutionId};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use vault::{DeadOrAlive, ManifestDraft, Vault, VaultError};

use crate::FlowError;
use crate::backup::BackupOutcome;
use crate::error::Place;
use crate::supervise::{STOP_LIMIT, caught, patience};
use crate::writer::Owner;

/// How long a run that was asked to stop waits for the vault's word. A tombstone of a run that had
/// not begun its commit is put in the background all the same: nothing else can stand there.
const STOPPED_LIMIT: Duration = Duration::from_millis(900);

/// How long a run that failed waits for it.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);

/// How long a commit that is under way is let go on after the run was asked to stop.
const LATE_LIMIT: Duration = Duration::from_millis(300);

/// An attempt by its saveset's id and its own.
pub(crate) type Attempt = (SavesetId, ServerExecutionId);

/// What the vault says of a saveset that failed.
type Settled = Result<DeadOrAlive, VaultError>;

/// Puts the manifest. A run that was asked to stop meanwhile still succeeds if the put was first.
pub(crate) async fn commit(
    vault: &Vault,
    (saveset, execution): Attempt,
    owner: Owner,
    draft: ManifestDraft,
    cancel: &CancellationToken,
) -> Result<BackupOutcome, FlowError> {
    let error = match put_manifest(owner, draft, cancel).await {
        Ok(outcome) => return Ok(outcome),
        Err(error) => error,
    };
    let reason = error.to_string();
    let settled = tokio::select! {
        biased;
        settled = vault.declare_dead(saveset, &reason) => settled,
        () = patience(cancel, STOPPED_LIMIT, SETTLE_LIMIT) => Err(too_late(saveset)),
    };
    ending((saveset, execution), error, settled, true)
}

async fn put_manifest(
    owner: Owner,
    draft: ManifestDraft,
    cancel: &CancellationToken,
) -> Result<BackupOutcome, FlowError> {
    let place = Place::outside("committing the saveset");
    let Some(writer) = owner.take_back(STOP_LIMIT).await else {
        return Err(FlowError::Panicked {
            place,
            message: "a sealing thread still holds the saveset's writer".to_owned(),
        });
    };
    let asked_to_stop = async {
        cancel.cancelled().await;
        tokio::time::sleep(LATE_LIMIT).await;
    };
    let committing = async {
        let committed = writer.commit(draft).await;
        committed.map_err(|error| place.clone().fault(error))
    };
    tokio::select! {
        biased;
        committed = caught(place.clone(), committing) => Ok(BackupOutcome::of(committed?)),
        () = asked_to_stop => Err(FlowError::Cancelled),
    }
}

/// Marks the saveset's place as dead. Only where a manifest stands there already the run succeeded
/// in spite of `error`.
pub(crate) async fn give_up(
    vault: &Vault,
    (saveset, execution): Attempt,
    owner: Owner,
    error: FlowError,
    cancel: &CancellationToken,
) -> Result<BackupOutcome, FlowError> {
    let reason = error.to_string();
    let vault = vault.clone();
    // A task of its own: a store that does not answer keeps no stopped run from ending.
    let mut settling = tokio::spawn(async move {
        match owner.take_back(STOPPED_LIMIT / 2).await {
            Some(writer) => writer.abandon(&reason).await,
            // A thread still holds the writer; the tombstone needs only the id.
            None => vault.declare_dead(saveset, &reason).await,
        }
    });
    let settled = tokio::select! {
        biased;
        settled = &mut settling => flatten(settled),
        () = patience(cancel, STOPPED_LIMIT, SETTLE_LIMIT) => {
            log_the_end_of(settling, saveset);
            Err(too_late(saveset))
        }
    };
    ending((saveset, execution), error, settled, false)
}

/// Nobody waits any more: the log is the only place left.
fn log_the_end_of(settling: JoinHandle<Settled>, saveset: SavesetId) {
    tokio::spawn(async move {
        match flatten(settling.await) {
            Ok(_) => tracing::info!(%saveset, "the stopped run's saveset is marked as dead now"),
            Err(error) => tracing::error!(
                %saveset,
                "the stopped run's saveset is not marked as dead: {error}"
            ),
        }
    });
}

fn flatten(settled: Result<Settled, JoinError>) -> Settled {
    settled.unwrap_or_else(|_| {
        Err(VaultError::Internal {
            doing: "put the tombstone",
            why: "the task ended early".to_owned(),
        })
    })
}

fn ending(
    (saveset, execution): Attempt,
    error: FlowError,
    settled: Settled,
    may_be_committed: bool,
) -> Result<BackupOutcome, FlowError> {
    match settled {
        Ok(DeadOrAlive::Dead) => Err(error),
        // Only our own manifest is a success: another run's would mean that the id was taken.
        Ok(DeadOrAlive::Committed(found)) if found.manifest().contents.execution == execution => {
            Ok(BackupOutcome::of(*found))
        }
        Ok(DeadOrAlive::Committed(_)) => Err(error),
        Err(fault) => Err(FlowError::Unmarked {
            first: Box::new(error),
            saveset,
            fault: BoxFault::from(fault),
            may_be_committed,
        }),
    }
}

fn too_late(saveset: SavesetId) -> VaultError {
    VaultError::Internal {
        doing: "put a tombstone in time",
        why: format!("the store has not answered yet about manifests/{saveset}"),
    }
}
