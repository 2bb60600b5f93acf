//! A backup that fails says where, and leaves no saveset.

use std::sync::Arc;

use flow::FlowError;
use model::{Blame, Fault as _, Retry};
use testkit::memory_engine::{MemoryFault, Stage, Trouble};
use testkit::{Fault, Operation, Rule, Times};
use tokio_util::sync::CancellationToken;
use vault::SavesetState;

use crate::rig::{Rig, failed, until};

const STAGES: [Stage; 7] = [
    Stage::OpenSource,
    Stage::Dictionary,
    Stage::Plan,
    Stage::Reader,
    Stage::Piece,
    Stage::LateDictionary,
    Stage::Finish,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_at_any_stage_ends_the_run_with_the_engines_code() {
    for stage in STAGES {
        let rig = Rig::with_a_shop().await;
        rig.engine.trouble(stage, 1, Trouble::Fail);
        let error = failed(rig.backup().await);
        assert_eq!(error.code(), "memory-injected", "{stage}: {error}");
        assert_eq!(
            (error.blame(), error.retry()),
            (Blame::Source, Retry::Later)
        );
        assert!(!error.is_cancelled());
        rig.assert_nothing_is_left().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_at_any_stage_is_a_failure_and_not_a_hang() {
    for stage in STAGES {
        let rig = Rig::with_a_shop().await;
        rig.engine.trouble(stage, 1, Trouble::Panic);
        let error = failed(rig.backup().await);
        assert!(
            matches!(error, FlowError::Panicked { .. }),
            "{stage}: {error}"
        );
        assert_eq!((error.code(), error.blame()), ("internal", Blame::Bug));
        assert!(error.to_string().contains("injected panic"), "{error}");
        rig.assert_nothing_is_left().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dictionary_that_breaks_off_ends_the_run_and_names_the_part() {
    for (nth, part) in [(1, "schema.json"), (4, "sequences.json")] {
        let rig = Rig::with_a_shop().await;
        rig.engine.trouble(Stage::Part, nth, Trouble::Fail);
        let error = failed(rig.backup().await);
        assert_eq!(error.code(), "dictionary-io", "{error}");
        assert!(error.to_string().contains(part), "{error}");
        rig.assert_nothing_is_left().await;
        let rig = Rig::with_a_shop().await;
        rig.engine.trouble(Stage::Part, nth, Trouble::Panic);
        let error = failed(rig.backup().await);
        assert!(matches!(error, FlowError::Panicked { .. }), "{error}");
        rig.assert_nothing_is_left().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_does_not_cover_the_bytes_or_has_no_hashes_is_refused() {
    for (trouble, law) in [
        (Trouble::WrongIndex, "its block index covers"),
        (Trouble::NoHashes, "its block index has no hashes"),
    ] {
        let rig = Rig::with_a_shop().await;
        rig.engine.trouble(Stage::Segment, 3, trouble);
        let error = failed(rig.backup().await);
        assert!(matches!(error, FlowError::Law { .. }), "{error}");
        assert_eq!((error.code(), error.blame()), ("internal", Blame::Bug));
        assert!(error.to_string().contains(law), "{error}");
        rig.assert_nothing_is_left().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_fails_while_another_is_opened_ends_the_run() {
    let rig = Rig::with_a_shop().await;
    rig.engine.trouble(Stage::Reader, 2, Trouble::Hang);
    rig.engine.trouble(Stage::Piece, 2, Trouble::Fail);
    let error = failed(rig.backup().await);
    assert_eq!(error.code(), "memory-injected", "{error}");
    rig.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_in_the_middle_names_table_blocks_and_phase() {
    let rig = Rig::with_a_shop().await;
    rig.engine.trouble(Stage::Piece, 5, Trouble::Fail);
    let error = failed(rig.backup().await).to_string();
    for word in ["reading ", ", blocks ", "(phase DATA)", "injected at Piece"] {
        assert!(error.contains(word), "{error}");
    }
    assert_eq!(rig.progress.done(), [model::Phase::Dictionary]);
    rig.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_streams_failure_stops_the_others_that_hang() {
    let mut rig = Rig::with_a_shop().await;
    rig.streams = 4;
    rig.engine.trouble(Stage::Piece, 1, Trouble::Hang);
    rig.engine.trouble(Stage::Piece, 2, Trouble::Hang);
    rig.engine.trouble(Stage::Piece, 3, Trouble::Panic);
    let error = failed(rig.backup().await);
    assert!(matches!(error, FlowError::Panicked { .. }), "{error}");
    rig.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_under_the_rows_asks_for_a_new_attempt() {
    let rig = Rig::with_a_shop().await;
    rig.engine.trouble(Stage::Finish, 1, Trouble::Mixed);
    let error = failed(rig.backup().await);
    assert_eq!(error.retry(), Retry::NewAttempt);
    rig.assert_nothing_is_left().await;
    // And the new attempt takes a new id.
    let input = rig.backup_input("7.2");
    let made = flow::backup(input, |_| async { Ok(()) }, CancellationToken::new()).await;
    assert_eq!(made.unwrap().saveset.id().get(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_at_any_put_leaves_no_saveset() {
    let mut puts = 0;
    for n in 1.. {
        let rig = Rig::with_a_shop().await;
        rig.store
            .inject(Rule::new(Operation::Put, "*", Times::Nth(n), Fault::Error));
        match rig.backup().await {
            Ok(_) => break,
            Err(error) => {
                assert_eq!(
                    (error.code(), error.blame()),
                    ("vault-unreachable", Blame::Vault),
                    "{n}"
                );
                assert!(!error.may_be_committed(), "put {n}: {error}");
                puts = n;
            }
        }
        rig.assert_nothing_is_left().await;
    }
    // The pin, one pack a stream at least, the manifest.
    assert!(puts >= 3, "{puts}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_answers_are_lost_succeeds_or_leaves_nothing() {
    // The first put is the pin's: it fixes nothing yet.
    for n in 2..=6 {
        let rig = Rig::with_a_shop().await;
        let lost = Rule::new(Operation::Put, "*", Times::Nth(n), Fault::AnswerLost);
        rig.store.inject(lost);
        match rig.backup().await {
            Ok(made) => {
                let states = rig.states().await;
                assert_eq!(states[&made.saveset.id()], SavesetState::Committed);
                rig.restore(&made.saveset, "copy").await.unwrap();
                assert_eq!(rig.engine.contents("copy"), rig.engine.contents("shop"));
            }
            Err(_) => rig.assert_nothing_is_left().await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_that_is_there_in_spite_of_the_error_is_a_success() {
    let rig = Rig::with_a_shop().await;
    let manifests = |operation, fault| Rule::new(operation, "manifests/*", Times::Nth(1), fault);
    rig.store
        .inject(manifests(Operation::Put, Fault::AnswerLost));
    rig.store.inject(manifests(Operation::Get, Fault::Error));
    let made = rig.backup().await.unwrap();
    // The commit did not know; the tombstone found the manifest in its place.
    assert_eq!(rig.calls_to(Operation::Put, "manifests/"), 2);
    assert_eq!(
        rig.states().await[&made.saveset.id()],
        SavesetState::Committed
    );
    rig.restore(&made.saveset, "copy").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_attempt_finds_what_an_earlier_one_has_committed() {
    let rig = Rig::with_a_shop().await;
    let stays = Rule::new(Operation::Delete, "pins/*", Times::Every, Fault::Error);
    rig.store.inject(stays);
    let first = rig.backup().await.unwrap().saveset.id();
    rig.store.heal();
    let input = rig.backup_input("7.2");
    let again = flow::backup(input, |_| async { Ok(()) }, CancellationToken::new()).await;
    assert_eq!(again.unwrap().saveset.id(), first);
    assert_eq!(rig.states().await.len(), 1);
    // The database was read once.
    assert_eq!(rig.engine.count(Stage::Plan), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_vault_does_not_answer_the_run_says_that_it_must_be_asked() {
    let rig = Rig::with_a_shop().await;
    let manifests = |operation| Rule::new(operation, "manifests/*", Times::Every, Fault::Error);
    rig.store.inject(manifests(Operation::Put));
    let error = failed(rig.backup().await);
    assert!(error.may_be_committed(), "{error}");
    assert_eq!(
        (error.code(), error.retry()),
        ("vault-unreachable", Retry::Later)
    );
    assert!(
        error.to_string().contains("could not be marked as dead"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_before_the_commit_cannot_be_a_saveset_even_without_a_tombstone() {
    let rig = Rig::with_a_shop().await;
    rig.engine.trouble(Stage::Finish, 1, Trouble::Fail);
    let put = Rule::new(Operation::Put, "manifests/*", Times::Every, Fault::Error);
    rig.store.inject(put);
    let error = failed(rig.backup().await);
    assert!(matches!(error, FlowError::Unmarked { .. }) && !error.may_be_committed());
    assert_eq!(error.code(), "memory-injected");
    assert!(rig.states().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_cannot_be_written_down_ends_the_run() {
    let rig = Rig::with_a_shop().await;
    let refuse = |_| async { Err(MemoryFault::Cancelled.into()) };
    let run = flow::backup(rig.backup_input("7.1"), refuse, CancellationToken::new());
    let error = failed(run.await);
    assert!(
        error
            .to_string()
            .starts_with("writing down the saveset's id"),
        "{error}"
    );
    assert_eq!(rig.calls_to(Operation::Put, "packs/"), 0);
    assert_eq!(rig.engine.count(Stage::Dictionary), 0);
    rig.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_was_declared_dead_meanwhile_cannot_commit() {
    let rig = Arc::new(Rig::with_a_shop().await);
    rig.engine.trouble(Stage::Finish, 1, Trouble::Hang);
    let run = tokio::spawn({
        let rig = rig.clone();
        async move { rig.backup().await }
    });
    rig.engine.reached(Stage::Finish, 1).await;
    let pin = rig.vault.pins().await.unwrap()[0].clone();
    rig.vault
        .declare_dead(pin.saveset_id, "the lease was lost")
        .await
        .unwrap();
    rig.engine.heal();
    let error = failed(run.await.unwrap());
    assert_eq!(error.code(), "saveset-gone", "{error}");
    rig.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_not_there_is_missing() {
    let rig = Rig::new().await;
    let error = failed(rig.backup().await);
    assert_eq!(
        (error.code(), error.blame()),
        ("no-such-database", Blame::Missing)
    );
    assert_eq!(rig.store.calls().len(), 0);
    until(|| rig.limits.available_permits() == 4).await;
}
