use std::time::{Duration, Instant};

use model::{ExecutionStatus, Fault};
use testkit::memory_engine::{Stage, Trouble};

use crate::node::{Node, nightly, site};

#[tokio::test]
async fn an_abort_of_a_running_backup_releases_everything_and_leaves_no_saveset() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    node.engine.trouble(Stage::Piece, 2, Trouble::Hang);
    let id = node.execute(job).await;
    node.engine.reached(Stage::Piece, 2).await;
    let asked = Instant::now();
    let status = node
        .jobs
        .abort(&site(), id, "asked for by the test")
        .await
        .unwrap();
    assert_eq!(status, ExecutionStatus::Aborting);
    let ended = node.ended(id).await;
    assert!(
        asked.elapsed() < Duration::from_secs(10),
        "an abort must not wait for the source"
    );
    assert_eq!(ended.status, ExecutionStatus::Aborted);
    assert!(
        ended.status_detail.contains("asked for by the test"),
        "{}",
        ended.status_detail
    );
    assert_eq!(ended.saveset_id, None);
    assert_eq!(node.engine.readers(), 0);
    node.backed_up(job).await;
}

#[tokio::test]
async fn a_queued_execution_is_aborted_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start_with(
        &dir,
        testkit::memory_engine::MemoryEngine::new(model::SiteType::Postgresql),
        false,
    )
    .await;
    let job = node.make_job(&dir).await;
    let id = node.execute(job).await;
    assert_eq!(
        node.jobs
            .abort(&site(), id, "no longer wanted")
            .await
            .unwrap(),
        ExecutionStatus::Aborted
    );
    let again = node.jobs.abort(&site(), id, "again").await.unwrap_err();
    assert_eq!(again.code(), "execution-ended");
}

#[tokio::test]
async fn an_abort_after_the_end_is_a_conflict_that_names_the_status() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (id, _) = node.backed_up(job).await;
    let late = node.jobs.abort(&site(), id, "too late").await.unwrap_err();
    assert!(late.to_string().contains("SUCCESSFUL"), "{late}");
}

#[tokio::test]
async fn an_aborted_restore_takes_away_what_it_made() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (backup, _) = node.backed_up(job).await;
    node.engine.trouble(Stage::Load, 1, Trouble::Hang);
    let (_, id) = node.restore(job, backup, "copy").await;
    node.engine.reached(Stage::Load, 1).await;
    node.jobs.abort(&site(), id, "wrong one").await.unwrap();
    assert_eq!(node.ended(id).await.status, ExecutionStatus::Aborted);
    assert_eq!(node.engine.contents("copy"), None);
    assert!(node.engine.working_names().is_empty());
}

#[tokio::test]
async fn a_run_past_its_limit_is_aborted_and_one_within_it_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = Node::with_job(&dir).await;
    let mut definition = nightly();
    (
        definition.is_auto_abort_active,
        definition.auto_abort_in_minutes,
    ) = (true, 3);
    let job = node
        .catalog()
        .create_job(&site(), &definition)
        .await
        .unwrap()
        .job_id;
    node.engine.trouble(Stage::Piece, 1, Trouble::Hang);
    let id = node.execute(job).await;
    node.engine.reached(Stage::Piece, 1).await;
    node.clock.advance(Duration::from_secs(150));
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let running = node.catalog().execution(&site(), id).await.unwrap();
    assert_eq!(running.status, ExecutionStatus::Running);
    node.clock.advance(Duration::from_secs(60));
    let ended = node.ended(id).await;
    assert_eq!(ended.status, ExecutionStatus::Aborted);
    assert!(
        ended.status_detail.contains("longer than 3 minutes"),
        "{}",
        ended.status_detail
    );
}
