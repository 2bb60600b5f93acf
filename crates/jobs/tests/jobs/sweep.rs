use std::time::Duration;

use model::{ExecutionStatus, Fault, SavesetId};
use testkit::memory_engine::{Stage, Trouble};

use crate::node::{Node, nightly, shop, site};

#[tokio::test]
async fn a_saveset_is_deleted_on_request_and_its_packs_wait_for_a_day() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (_, first) = node.backed_up(job).await;
    let (execution, second) = node.backed_up(job).await;
    node.jobs.delete_saveset(&site(), first).await.unwrap();
    let left = node.catalog().savesets_of_job(&site(), job).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].saveset_id, second);
    let again = node.jobs.delete_saveset(&site(), first).await.unwrap_err();
    assert_eq!(again.code(), "no-saveset");
    let never = SavesetId::new(99).unwrap();
    node.jobs.delete_saveset(&site(), never).await.unwrap_err();
    let report = node.jobs.sweep_site(&site()).await.unwrap();
    assert_eq!(report.removed, 0);
    assert!(report.marked + report.waiting >= 1, "{report:?}");
    // The server's clock does not count, only the store's does.
    node.clock.advance(Duration::from_secs(10 * 86_400));
    let report = node.jobs.sweep_site(&site()).await.unwrap();
    assert_eq!(report.removed, 0);
    node.jobs
        .objects(&site(), job, execution, None, catalog::Page::All)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_protected_saveset_is_not_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (_, saveset) = node.backed_up(job).await;
    let (catalog, shop) = (node.catalog(), site());
    let set = |retained| catalog.set_retained(&shop, saveset, retained, None);
    set(true).await.unwrap();
    let refused = node
        .jobs
        .delete_saveset(&site(), saveset)
        .await
        .unwrap_err();
    assert_eq!(refused.blame(), model::Blame::Conflict);
    set(false).await.unwrap();
    node.jobs.delete_saveset(&site(), saveset).await.unwrap();
}

#[tokio::test]
async fn what_retention_has_dropped_is_marked_before_the_execution_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    node.backed_up(job).await;
    let mut definition = nightly();
    definition.no_of_retention_copies = 1;
    node.catalog()
        .update_job(&site(), job, &definition, None)
        .await
        .unwrap();
    node.backed_up(job).await;
    let marks = dir.path().join("vault-shop").join("deleted");
    assert!(std::fs::read_dir(marks).unwrap().count() >= 1);
    let report = node.jobs.sweep_site(&site()).await.unwrap();
    assert!(report.waiting >= 1 && report.marked == 0, "{report:?}");
}

#[tokio::test]
async fn a_saveset_that_is_being_restored_is_not_deleted_and_the_restore_ends_well() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (backup, saveset) = node.backed_up(job).await;
    node.engine.trouble(Stage::Load, 1, Trouble::Hang);
    let (_, restore) = node.restore(job, backup, "copy").await;
    node.engine.reached(Stage::Load, 1).await;
    let refused = node.jobs.delete_saveset(&site(), saveset).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), "saveset-in-use");
    assert!(refused.hint().unwrap().contains(&restore.to_string()));
    node.engine.heal();
    let ended = node.ended(restore).await;
    assert_eq!(
        ended.status,
        ExecutionStatus::Successful,
        "{}",
        ended.status_detail
    );
    assert_eq!(node.engine.contents("copy"), Some(shop().contents()));
    node.jobs.delete_saveset(&site(), saveset).await.unwrap();
}
