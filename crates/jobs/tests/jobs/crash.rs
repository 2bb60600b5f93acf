//! The server dies in the middle of things, and starts again on the same data directory.

use model::{ExecutionStatus, SiteType};
use testkit::memory_engine::{MemoryEngine, Stage, Trouble};

use crate::node::{Node, credentials, shop, site};

#[tokio::test]
async fn an_interrupted_backup_is_failed_with_the_reason_and_queued_again_once() {
    for stage in [
        Stage::OpenSource,
        Stage::Dictionary,
        Stage::Plan,
        Stage::Piece,
        Stage::Finish,
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (node, job) = Node::with_job(&dir).await;
        node.engine.trouble(stage, 1, Trouble::Hang);
        let id = node.execute(job).await;
        node.engine.reached(stage, 1).await;
        let engine = node.kill().await;

        let node = Node::start_with(&dir, engine, true).await;
        let first = node.catalog().execution(&site(), id).await.unwrap();
        assert_eq!(first.status, ExecutionStatus::Failed, "{stage}");
        assert!(
            first.status_detail.contains("queued again"),
            "{stage}: {}",
            first.status_detail
        );
        let all = node.catalog().unfinished().await.unwrap();
        let again = match all.first() {
            Some(execution) => execution.execution_id,
            None => model::ExecutionId::new(id.get() + 1).unwrap(),
        };
        let ended = node.ended(again).await;
        assert_eq!(
            ended.status,
            ExecutionStatus::Successful,
            "{stage}: {}",
            ended.status_detail
        );
        assert_eq!(ended.requeue_of, Some(id));
        assert_eq!(
            node.catalog()
                .savesets_of_job(&site(), job)
                .await
                .unwrap()
                .len(),
            1
        );
        node.shut_down().await;
    }
}

#[tokio::test]
async fn a_second_crash_does_not_queue_a_third_try() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    node.engine.trouble(Stage::Plan, 1, Trouble::Hang);
    let id = node.execute(job).await;
    node.engine.reached(Stage::Plan, 1).await;
    let engine = node.kill().await;
    engine.trouble(Stage::Plan, 1, Trouble::Hang);
    let node = Node::start_with(&dir, engine, true).await;
    node.engine.reached(Stage::Plan, 2).await;
    let engine = node.kill().await;
    let node = Node::start_with(&dir, engine, true).await;
    let second = node
        .catalog()
        .execution(&site(), model::ExecutionId::new(id.get() + 1).unwrap())
        .await
        .unwrap();
    assert_eq!(second.status, ExecutionStatus::Failed);
    assert!(
        second.status_detail.contains("not queued again"),
        "{}",
        second.status_detail
    );
    assert!(node.catalog().unfinished().await.unwrap().is_empty());
    node.shut_down().await;
}

#[tokio::test]
async fn an_execution_whose_manifest_is_in_the_vault_was_successful() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (id, saveset) = node.backed_up(job).await;
    let engine = node.shut_down().await;
    // The catalog goes back to the moment before it heard of the commit.
    rewind(dir.path(), id.get());
    let node = Node::start_with(&dir, engine, false).await;
    let found = node.catalog().execution(&site(), id).await.unwrap();
    assert_eq!(
        found.status,
        ExecutionStatus::Successful,
        "{}",
        found.status_detail
    );
    assert_eq!(found.saveset_id, Some(saveset));
    assert_eq!(
        node.catalog()
            .savesets_of_job(&site(), job)
            .await
            .unwrap()
            .len(),
        1
    );
}

fn rewind(dir: &std::path::Path, execution: i64) {
    change_catalog(
        dir,
        &format!(
            "UPDATE execution SET status = 'RUNNING', end_time = NULL, claimed_saveset = saveset_id,
                 saveset_id = NULL WHERE execution_id = {execution};
             DELETE FROM saveset"
        ),
    );
}

/// Changes a catalog that no server uses.
fn change_catalog(dir: &std::path::Path, sql: &str) {
    let catalog = rusqlite::Connection::open(dir.join("data/catalog.db")).unwrap();
    catalog.execute_batch(sql).unwrap();
}

#[tokio::test]
async fn a_restore_queued_or_running_is_failed_and_says_how_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (backup, _) = node.backed_up(job).await;
    node.engine.trouble(Stage::Load, 1, Trouble::Hang);
    let (restore_job, id) = node.restore(job, backup, "copy").await;
    node.engine.reached(Stage::Load, 1).await;
    let engine = node.kill().await;
    let node = Node::start_with(&dir, engine, true).await;
    let ended = node.catalog().execution(&site(), id).await.unwrap();
    assert_eq!(ended.status, ExecutionStatus::Failed);
    let call = format!("/sites/shop/jobs/{restore_job}/execute");
    assert!(
        ended.status_detail.contains(&call),
        "{}",
        ended.status_detail
    );
    assert!(
        node.catalog().unfinished().await.unwrap().is_empty(),
        "a restore is never queued again"
    );
    node.shut_down().await;
}

#[tokio::test]
async fn a_shutdown_gives_the_backup_back_to_the_queue() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    node.engine.trouble(Stage::Piece, 1, Trouble::Hang);
    let id = node.execute(job).await;
    node.engine.reached(Stage::Piece, 1).await;
    let engine = node.shut_down().await;
    engine.heal();
    let node = Node::start_with(&dir, engine, true).await;
    let first = node.catalog().execution(&site(), id).await.unwrap();
    assert_eq!(first.status, ExecutionStatus::Failed);
    assert!(
        first.status_detail.contains("shut down"),
        "{}",
        first.status_detail
    );
    let second = node
        .ended(model::ExecutionId::new(id.get() + 1).unwrap())
        .await;
    assert_eq!(
        second.status,
        ExecutionStatus::Successful,
        "{}",
        second.status_detail
    );
    node.shut_down().await;
}

#[tokio::test]
async fn a_saveset_that_the_catalog_has_forgotten_enters_it_again_and_a_vanished_one_is_marked() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (_, forgotten) = node.backed_up(job).await;
    let (vanished_execution, vanished) = node.backed_up(job).await;
    let engine = node.shut_down().await;
    change_catalog(
        dir.path(),
        &format!("DELETE FROM saveset WHERE saveset_id = {forgotten}"),
    );
    std::fs::remove_file(dir.path().join(format!("vault-shop/manifests/{vanished}"))).unwrap();
    let node = Node::start_with(&dir, engine, false).await;
    let known: Vec<_> = node
        .catalog()
        .savesets_of_job(&site(), job)
        .await
        .unwrap()
        .iter()
        .map(|s| s.saveset_id)
        .collect();
    assert_eq!(known, [forgotten]);
    assert!(
        node.catalog()
            .execution(&site(), vanished_execution)
            .await
            .unwrap()
            .is_saveset_deleted
    );
}

#[tokio::test]
async fn what_a_killed_restore_has_left_goes_when_it_runs_again() {
    // The engine outlives the server, as a database server does.
    let dir = tempfile::tempdir().unwrap();
    let engine = MemoryEngine::new(SiteType::Postgresql);
    let node = Node::start_with(&dir, engine, true).await;
    let job = node.make_job(&dir).await;
    let (backup, _) = node.backed_up(job).await;
    node.engine.trouble(Stage::Publish, 1, Trouble::Hang);
    let (restore_job, _) = node.restore(job, backup, "copy").await;
    node.engine.reached(Stage::Publish, 1).await;
    let engine = node.kill().await;
    assert_eq!(engine.contents("copy"), None);
    assert_eq!(engine.working_names().len(), 1);

    let node = Node::start_with(&dir, engine, true).await;
    let request = jobs::ExecuteRequest {
        credentials: Some(credentials()),
        ..Default::default()
    };
    let again = node
        .jobs
        .execute(&site(), restore_job, request)
        .await
        .unwrap();
    let ended = node.ended(again).await;
    assert_eq!(
        ended.status,
        ExecutionStatus::Successful,
        "{}",
        ended.status_detail
    );
    assert_eq!(node.engine.contents("copy"), Some(shop().contents()));
    assert!(node.engine.working_names().is_empty());
    node.shut_down().await;
}

#[tokio::test]
async fn a_pin_that_never_reached_the_catalog_is_taken_away_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    node.engine.trouble(Stage::Dictionary, 1, Trouble::Hang);
    let id = node.execute(job).await;
    node.engine.reached(Stage::Dictionary, 1).await;
    let engine = node.kill().await;
    change_catalog(dir.path(), "UPDATE execution SET claimed_saveset = NULL");
    let pin = dir.path().join(format!("vault-shop/pins/{id}"));
    assert!(pin.is_file());
    let node = Node::start_with(&dir, engine, false).await;
    assert!(!pin.exists());
    assert!(
        dir.path().join("vault-shop/manifests/1").is_file(),
        "its tombstone is there"
    );
    node.shut_down().await;
}

#[tokio::test]
async fn a_saveset_whose_manifest_is_damaged_is_not_called_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (_, saveset) = node.backed_up(job).await;
    let engine = node.shut_down().await;
    let manifest = dir.path().join(format!("vault-shop/manifests/{saveset}"));
    let mut bytes = std::fs::read(&manifest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&manifest, bytes).unwrap();
    let node = Node::start_with(&dir, engine, false).await;
    assert_eq!(
        node.catalog()
            .savesets_of_job(&site(), job)
            .await
            .unwrap()
            .len(),
        1
    );
    node.shut_down().await;
}
