//! A restore that is asked to stop takes away what it made.

use std::sync::Arc;

use testkit::memory_engine::{Stage, Trouble};
use testkit::{Fault, Operation, Rule, Times};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vault::Saveset;

use crate::rig::{Rig, TWO_SECONDS, failed, until};

type Run = JoinHandle<Result<flow::RestoreOutcome, flow::FlowError>>;

async fn with_a_saveset() -> (Arc<Rig>, Saveset) {
    let rig = Rig::with_a_shop().await;
    let saveset = rig.backup().await.unwrap().saveset;
    rig.store.forget_calls();
    (Arc::new(rig), saveset)
}

fn start(rig: &Arc<Rig>, saveset: &Saveset, cancel: &CancellationToken) -> Run {
    let (rig, saveset, cancel) = (rig.clone(), saveset.clone(), cancel.clone());
    tokio::spawn(async move { rig.restore_until(&saveset, "copy", cancel).await })
}

async fn ends_cancelled(run: Run) -> flow::FlowError {
    let ended = tokio::time::timeout(TWO_SECONDS, run).await;
    let error = failed(ended.expect("it did not stop within two seconds").unwrap());
    assert!(error.is_cancelled(), "{error}");
    error
}

const STAGES: [(Stage, usize); 9] = [
    (Stage::OpenTarget, 1),
    (Stage::Findings, 1),
    (Stage::Prepare, 1),
    (Stage::Loader, 2),
    (Stage::Load, 1),
    (Stage::Load, 4),
    (Stage::Loaded, 2),
    (Stage::Build, 1),
    (Stage::Postscript, 1),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_restore_stops_at_every_stage() {
    for (stage, nth) in STAGES {
        let (rig, saveset) = with_a_saveset().await;
        rig.engine.trouble(stage, nth, Trouble::Hang);
        let cancel = CancellationToken::new();
        let run = start(&rig, &saveset, &cancel);
        rig.engine.reached(stage, nth).await;
        cancel.cancel();
        ends_cancelled(run).await;
        rig.assert_no_trace_of_a_restore().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_restore_stops_and_cleans_up_at_every_stage() {
    for (stage, nth) in STAGES {
        let (rig, saveset) = with_a_saveset().await;
        rig.engine.trouble(stage, nth, Trouble::Hang);
        let run = start(&rig, &saveset, &CancellationToken::new());
        rig.engine.reached(stage, nth).await;
        run.abort();
        let gone =
            until(|| rig.engine.working_names().is_empty() && rig.limits.available_permits() == 4);
        let in_time = tokio::time::timeout(TWO_SECONDS, gone).await;
        in_time.expect("it did not clean up within two seconds");
        rig.assert_no_trace_of_a_restore().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_hangs_at_a_read_does_not_keep_a_cancelled_run() {
    let (rig, saveset) = with_a_saveset().await;
    let hang = Rule::new(Operation::Get, "packs/*", Times::From(4), Fault::Hang);
    rig.store.inject(hang);
    let cancel = CancellationToken::new();
    let run = start(&rig, &saveset, &cancel);
    until(|| rig.calls_to(Operation::Get, "packs/") >= 4).await;
    cancel.cancel();
    ends_cancelled(run).await;
    rig.assert_no_trace_of_a_restore().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_publishes_goes_on_to_its_end() {
    let (rig, saveset) = with_a_saveset().await;
    rig.engine.trouble(Stage::Publish, 1, Trouble::Hang);
    let cancel = CancellationToken::new();
    let run = start(&rig, &saveset, &cancel);
    rig.engine.reached(Stage::Publish, 1).await;
    cancel.cancel();
    rig.engine.heal();
    run.await.unwrap().unwrap();
    assert_eq!(rig.engine.contents("copy"), rig.engine.contents("shop"));
    assert_eq!(rig.engine.count(Stage::Discard), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_discard_that_takes_long_is_told_and_goes_on_in_the_background() {
    let (rig, saveset) = with_a_saveset().await;
    rig.engine.trouble(Stage::Build, 1, Trouble::Hang);
    rig.engine.trouble(Stage::Discard, 1, Trouble::Hang);
    let cancel = CancellationToken::new();
    let run = start(&rig, &saveset, &cancel);
    rig.engine.reached(Stage::Build, 1).await;
    cancel.cancel();
    let error = ends_cancelled(run).await;
    assert!(
        matches!(error, flow::FlowError::LeftBehind { .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("goes on in the background"),
        "{error}"
    );
    assert_eq!(rig.engine.working_names().len(), 1);
    rig.engine.heal();
    until(|| rig.engine.working_names().is_empty()).await;
}
