//! A backup that is asked to stop ends within two seconds wherever it is, and leaves no saveset.

use std::sync::Arc;

use testkit::memory_engine::{Stage, Trouble};
use testkit::{Fault, Operation, Rule, Times};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vault::SavesetState;

use crate::rig::{FOR_EVER, Rig, TWO_SECONDS, failed, until};

type Run = JoinHandle<Result<flow::BackupOutcome, flow::FlowError>>;

fn start(rig: &Arc<Rig>, cancel: &CancellationToken) -> Run {
    let (rig, cancel) = (rig.clone(), cancel.clone());
    tokio::spawn(async move { rig.backup_until(cancel).await })
}

async fn ends_cancelled(run: Run) -> flow::FlowError {
    let ended = tokio::time::timeout(TWO_SECONDS, run).await;
    let error = failed(ended.expect("it did not stop within two seconds").unwrap());
    assert!(error.is_cancelled(), "{error}");
    error
}

const STAGES: [(Stage, usize); 8] = [
    (Stage::OpenSource, 1),
    (Stage::Dictionary, 1),
    (Stage::Plan, 1),
    (Stage::Reader, 2),
    (Stage::Piece, 1),
    (Stage::Piece, 9),
    (Stage::LateDictionary, 1),
    (Stage::Finish, 1),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_backup_stops_at_every_stage() {
    for (stage, nth) in STAGES {
        let rig = Arc::new(Rig::with_a_shop().await);
        rig.engine.trouble(stage, nth, Trouble::Hang);
        let cancel = CancellationToken::new();
        let run = start(&rig, &cancel);
        rig.engine.reached(stage, nth).await;
        cancel.cancel();
        ends_cancelled(run).await;
        rig.assert_nothing_is_left().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_backup_stops_and_cleans_up_at_every_stage() {
    for (stage, nth) in STAGES {
        let rig = Arc::new(Rig::with_a_shop().await);
        rig.engine.trouble(stage, nth, Trouble::Hang);
        let run = start(&rig, &CancellationToken::new());
        rig.engine.reached(stage, nth).await;
        run.abort();
        let settled = async {
            while rig.limits.available_permits() < 4
                || rig.engine.readers() > 0
                || !rig.vault.pins().await.unwrap().is_empty()
            {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        };
        let in_time = tokio::time::timeout(TWO_SECONDS, settled).await;
        in_time.expect("it did not clean up within two seconds");
        rig.assert_nothing_is_left().await;
    }
}

/// Hangs at the first put in a folder, and cancels there.
async fn cancelled_at_a_put(folder: &str, rest: Times) -> (Arc<Rig>, flow::FlowError) {
    let rig = Arc::new(Rig::with_a_shop().await);
    let pattern = format!("{folder}*");
    rig.store
        .inject(Rule::new(Operation::Put, &pattern, rest, Fault::Hang));
    let cancel = CancellationToken::new();
    let run = start(&rig, &cancel);
    until(|| rig.calls_to(Operation::Put, folder) == 1).await;
    cancel.cancel();
    let error = ends_cancelled(run).await;
    (rig, error)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_hangs_at_a_pack_does_not_keep_a_cancelled_run() {
    let (rig, error) = cancelled_at_a_put("packs/", Times::Every).await;
    assert!(!error.may_be_committed());
    rig.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_hangs_at_the_pin_does_not_keep_a_cancelled_run() {
    let (rig, _) = cancelled_at_a_put("pins/", Times::Every).await;
    assert_eq!(rig.states().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_hangs_is_settled_by_a_tombstone() {
    let (rig, error) = cancelled_at_a_put("manifests/", Times::Nth(1)).await;
    assert!(!error.may_be_committed(), "{error}");
    rig.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_store_stays_silent_must_be_asked_about() {
    let (rig, error) = cancelled_at_a_put("manifests/", Times::Every).await;
    assert!(error.may_be_committed(), "{error}");
    // When the vault answers again, its word counts.
    assert!(rig.states().await.is_empty());
    let pin = rig.vault.pins().await.unwrap()[0].clone();
    let settled = rig.vault.declare_dead(pin.saveset_id, "stopped").await;
    assert!(matches!(settled, Ok(vault::DeadOrAlive::Dead)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tombstone_that_is_late_is_put_in_the_background() {
    let rig = Arc::new(Rig::with_a_shop().await);
    rig.engine.trouble(Stage::Finish, 1, Trouble::Hang);
    let late = Fault::Delay(std::time::Duration::from_millis(1_500));
    rig.store
        .inject(Rule::new(Operation::Put, "manifests/*", Times::Every, late));
    let cancel = CancellationToken::new();
    let run = start(&rig, &cancel);
    rig.engine.reached(Stage::Finish, 1).await;
    cancel.cancel();
    let error = ends_cancelled(run).await;
    assert!(!error.may_be_committed(), "{error}");
    let settled = async {
        while rig.vault.saveset_states().await.unwrap().is_empty()
            || !rig.vault.pins().await.unwrap().is_empty()
        {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(FOR_EVER, settled)
        .await
        .expect("no tombstone");
    rig.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_listen_keeps_neither_the_run_nor_its_streams() {
    let rig = Arc::new(Rig::with_a_shop().await);
    rig.engine.trouble(Stage::Piece, 3, Trouble::Deaf);
    let cancel = CancellationToken::new();
    let run = start(&rig, &cancel);
    rig.engine.reached(Stage::Piece, 3).await;
    cancel.cancel();
    ends_cancelled(run).await;
    assert_eq!(rig.limits.available_permits(), 4);
    rig.engine.heal();
    rig.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dictionary_that_is_never_given_keeps_no_cancelled_run() {
    let rig = Arc::new(Rig::with_a_shop().await);
    rig.engine.trouble(Stage::Part, 1, Trouble::Deaf);
    let cancel = CancellationToken::new();
    let run = start(&rig, &cancel);
    rig.engine.reached(Stage::Part, 1).await;
    cancel.cancel();
    let error = ends_cancelled(run).await;
    // The thread still holds the writer; the tombstone is put without it.
    assert!(matches!(error, flow::FlowError::Cancelled), "{error}");
    rig.assert_nothing_is_left().await;
    rig.engine.heal();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_run_that_waits_for_its_tombstone_can_be_cancelled() {
    let rig = Arc::new(Rig::with_a_shop().await);
    rig.engine.trouble(Stage::Finish, 1, Trouble::Fail);
    let hang = Rule::new(Operation::Put, "manifests/*", Times::Every, Fault::Hang);
    rig.store.inject(hang);
    let cancel = CancellationToken::new();
    let run = start(&rig, &cancel);
    until(|| rig.calls_to(Operation::Put, "manifests/") == 1).await;
    cancel.cancel();
    let ended = tokio::time::timeout(TWO_SECONDS, run).await;
    let error = failed(ended.expect("it did not stop within two seconds").unwrap());
    assert!(matches!(error, flow::FlowError::Unmarked { .. }), "{error}");
    assert!(error.to_string().contains("injected at Finish"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_waits_for_a_stream_is_cancelled_too() {
    let rig = Arc::new(Rig::with_a_shop().await);
    let held = rig.limits.clone().acquire_many_owned(4).await.unwrap();
    let cancel = CancellationToken::new();
    let run = start(&rig, &cancel);
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    cancel.cancel();
    ends_cancelled(run).await;
    drop(held);
    rig.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_that_comes_behind_the_commit_changes_nothing() {
    let rig = Arc::new(Rig::with_a_shop().await);
    let late = Fault::Delay(std::time::Duration::from_millis(200));
    rig.store.inject(Rule::new(
        Operation::Put,
        "manifests/*",
        Times::Nth(1),
        late,
    ));
    let cancel = CancellationToken::new();
    let run = start(&rig, &cancel);
    until(|| rig.calls_to(Operation::Put, "manifests/") == 1).await;
    cancel.cancel();
    let made = run.await.unwrap().unwrap();
    assert_eq!(
        rig.states().await[&made.saveset.id()],
        SavesetState::Committed
    );
}
