//! The end of a backup: its manifest, or a tombstone in the manifest's place.

use std::time::Duration;

use model::{BoxFault, SavesetId, ServerExecutionId};
use tokio_util::sync::CancellationToken;
use vault::{DeadOrAlive, ManifestDraft, Vault, VaultError};

use crate::FlowError;
use crate::backup::BackupOutcome;
use crate::error::Place;
use crate::supervise::STOP_LIMIT;
use crate::writer::Owner;

/// How long a run that was asked to stop waits for the vault's word. A tombstone of a run that had
/// not begun its commit is put in the background all the same: nothing else can stand there.
const STOPPED_LIMIT: Duration = Duration::from_millis(1000);

/// How long a run that failed waits for it.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);

/// How long a commit that is under way is let go on after the run was asked to stop.
const LATE_LIMIT: Duration = Duration::from_millis(500);

/// An attempt by its saveset's id and its own.
pub(crate) type Attempt = (SavesetId, ServerExecutionId);

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
    let limit = limit_after(&error);
    let settled = within(limit, saveset, vault.declare_dead(saveset, &reason)).await;
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
    tokio::select! {
        biased;
        committed = writer.commit(draft) => match committed {
            Ok(saveset) => Ok(BackupOutcome::of(saveset)),
            Err(error) => Err(place.fault(error)),
        },
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
) -> Result<BackupOutcome, FlowError> {
    let reason = error.to_string();
    let limit = limit_after(&error);
    let vault = vault.clone();
    // A task of its own: a store that does not answer keeps no stopped run from ending.
    let settling = tokio::spawn(async move {
        match owner.take_back(STOP_LIMIT).await {
            Some(writer) => writer.abandon(&reason).await,
            // A thread still holds the writer; the tombstone needs only the id.
            None => vault.declare_dead(saveset, &reason).await,
        }
    });
    let settled = within(limit, saveset, async {
        settling.await.unwrap_or_else(|_| {
            Err(VaultError::Internal {
                doing: "put the tombstone",
                why: "the task ended early".to_owned(),
            })
        })
    })
    .await;
    ending((saveset, execution), error, settled, false)
}

fn limit_after(error: &FlowError) -> Duration {
    if error.is_cancelled() {
        STOPPED_LIMIT
    } else {
        SETTLE_LIMIT
    }
}

fn ending(
    (saveset, execution): Attempt,
    error: FlowError,
    settled: Result<DeadOrAlive, VaultError>,
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

async fn within(
    limit: Duration,
    saveset: SavesetId,
    settling: impl Future<Output = Result<DeadOrAlive, VaultError>>,
) -> Result<DeadOrAlive, VaultError> {
    let settled = tokio::time::timeout(limit, settling).await;
    settled.unwrap_or_else(|_| {
        Err(VaultError::TimedOut {
            doing: "put the tombstone at",
            path: format!("manifests/{saveset}"),
            after: limit,
        })
    })
}
