use model::{ExecutionStatus, Phase, PhaseStatus, RunType};
use testkit::memory_engine::{Stage, Trouble};

use crate::node::{Node, nightly, site};

#[tokio::test]
async fn a_backup_goes_from_queued_to_successful_and_tells_how() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (id, saveset) = node.backed_up(job).await;
    let ended = node.catalog().execution(&site(), id).await.unwrap();
    assert_eq!(ended.run_type, Some(RunType::Full));
    assert_eq!(ended.attempt, 1);
    assert!(ended.bytes_read > 0 && ended.bytes_stored > 0 && ended.backup_set_size > 0);
    let phases: Vec<_> = ended.phases.iter().map(|p| (p.phase, p.status)).collect();
    assert_eq!(
        phases,
        [
            (Phase::Dictionary, PhaseStatus::Successful),
            (Phase::Data, PhaseStatus::Successful)
        ]
    );
    assert!(
        ended.status_detail.starts_with("FULL, as asked"),
        "{}",
        ended.status_detail
    );
    let record = node.catalog().saveset(&site(), saveset).await.unwrap();
    assert_eq!((record.job_id, record.execution_id), (job, id));
    assert_eq!(record.backup_set_size, ended.backup_set_size);
}

#[tokio::test]
async fn a_failing_source_fails_the_execution_with_its_words_and_leaves_no_saveset() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    node.engine.trouble(Stage::Piece, 3, Trouble::Fail);
    let id = node.execute(job).await;
    let ended = node.ended(id).await;
    assert_eq!(ended.status, ExecutionStatus::Failed);
    assert!(
        ended.status_detail.contains("orders"),
        "{}",
        ended.status_detail
    );
    assert_eq!(ended.saveset_id, None);
    assert_eq!(
        node.catalog().savesets_of_job(&site(), job).await.unwrap(),
        []
    );
    let data = ended
        .phases
        .iter()
        .find(|p| p.phase == Phase::Data)
        .unwrap();
    assert_eq!(data.status, PhaseStatus::Failed);
    node.backed_up(job).await;
}

#[tokio::test]
async fn mixed_rows_begin_a_new_attempt_inside_the_execution() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    node.engine.trouble(Stage::Finish, 1, Trouble::Mixed);
    let (id, _) = node.backed_up(job).await;
    let ended = node.catalog().execution(&site(), id).await.unwrap();
    assert_eq!(ended.attempt, 2);
    assert_eq!(
        ended.server_execution_id().unwrap().to_string(),
        format!("{id}.2")
    );
    assert!(
        ended.status_detail.contains("attempt 1 began anew"),
        "{}",
        ended.status_detail
    );
}

#[tokio::test]
async fn attempts_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    for nth in 1..=10 {
        node.engine.trouble(Stage::Finish, nth, Trouble::Mixed);
    }
    let id = node.execute(job).await;
    let ended = node.ended(id).await;
    assert_eq!((ended.status, ended.attempt), (ExecutionStatus::Failed, 5));
}

#[tokio::test]
async fn a_panic_in_a_worker_is_a_failure_and_not_a_hang() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    node.engine.trouble(Stage::Piece, 1, Trouble::Panic);
    let id = node.execute(job).await;
    assert_eq!(node.ended(id).await.status, ExecutionStatus::Failed);
    node.backed_up(job).await;
}

#[tokio::test]
async fn skipped_objects_and_warnings_end_completed_with_warnings() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    node.engine.warn("ALTER TABLE waits for our lock");
    node.engine.skip("empty", "permission denied");
    let id = node.execute(job).await;
    let ended = node.ended(id).await;
    assert_eq!(
        ended.status,
        ExecutionStatus::CompletedWithWarnings,
        "{}",
        ended.status_detail
    );
    assert!(ended.saveset_id.is_some());
    let notes = node.catalog().notes(id).await.unwrap();
    assert_eq!(notes.warnings, ["ALTER TABLE waits for our lock"]);
    assert_eq!(notes.skipped[0].object, "empty");
}

#[tokio::test]
async fn a_database_that_is_not_there_fails_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = Node::with_job(&dir).await;
    let mut definition = nightly();
    definition.selection = model::Selection::whole_database("no such database");
    let job = node
        .catalog()
        .create_job(&site(), &definition)
        .await
        .unwrap()
        .job_id;
    let id = node.execute(job).await;
    let ended = node.ended(id).await;
    assert_eq!(ended.status, ExecutionStatus::Failed);
    assert!(
        ended.status_detail.contains("no such database"),
        "{}",
        ended.status_detail
    );
}

#[tokio::test]
async fn a_vault_whose_directory_has_vanished_is_not_made_anew_once_it_had_savesets() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    node.backed_up(job).await;
    let engine = node.shut_down().await;
    let vault = dir.path().join("vault-shop");
    std::fs::rename(&vault, dir.path().join("unmounted")).unwrap();
    let node = Node::start_with(&dir, engine, true).await;
    let id = node.execute(job).await;
    let ended = node.ended(id).await;
    assert_eq!(ended.status, ExecutionStatus::Failed);
    assert!(
        ended.status_detail.contains("there is no vault"),
        "{}",
        ended.status_detail
    );
    node.shut_down().await;
}
