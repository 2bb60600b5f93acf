use std::path::PathBuf;
use std::time::Duration;

use model::{ExecutionStatus, Fault, SavesetId};
use testkit::memory_engine::{Stage, Trouble};

use crate::node::{Node, eventually, nightly, shop, site, stays, vault_of};

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
    let report = node.jobs.sweep_site(&site()).await.unwrap().swept;
    assert_eq!(report.removed, 0);
    assert!(report.marked + report.waiting >= 1, "{report:?}");
    // The server's clock does not count, only the store's does.
    node.clock.advance(Duration::from_secs(10 * 86_400));
    let report = node.jobs.sweep_site(&site()).await.unwrap().swept;
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
    let report = node.jobs.sweep_site(&site()).await.unwrap().swept;
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
    node.successful(restore).await;
    assert_eq!(node.engine.contents("copy"), Some(shop().contents()));
    node.jobs.delete_saveset(&site(), saveset).await.unwrap();
}

#[tokio::test]
async fn a_saveset_that_a_run_builds_on_is_not_deleted_and_can_be_restored_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (backup, saveset) = node.backed_up(job).await;
    let vault = vault_of(&node, &dir).await;
    let run = "4711.1".parse().unwrap();
    let builds_on_it = vault.begin(run, Some(saveset)).await.unwrap();

    let refused = node.jobs.delete_saveset(&site(), saveset).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), "saveset-in-use");
    assert_eq!(refused.blame(), model::Blame::Conflict);
    let kept = node.catalog().saveset(&site(), saveset).await.unwrap();
    assert!(!kept.is_condemned, "it is taken back");
    let (_, restore) = node.restore(job, backup, "copy").await;
    let ended = node.ended(restore).await;
    let detail = &ended.status_detail;
    assert_eq!(ended.status, ExecutionStatus::Successful, "{detail}");

    // Retention passes it over, and tells of nothing.
    let mut definition = nightly();
    definition.no_of_retention_copies = 1;
    let catalog = node.catalog();
    let changed = catalog.update_job(&site(), job, &definition, None).await;
    changed.unwrap();
    let id = node.execute(job).await;
    let ended = node.ended(id).await;
    let detail = &ended.status_detail;
    assert_eq!(ended.status, ExecutionStatus::Successful, "{detail}");
    let kept = node.catalog().saveset(&site(), saveset).await.unwrap();
    assert!(!kept.is_condemned);

    builds_on_it.abandon("the test ends").await.unwrap();
    node.jobs.delete_saveset(&site(), saveset).await.unwrap();
    let gone = node.catalog().saveset(&site(), saveset).await;
    assert_eq!(gone.unwrap_err().code(), "no-saveset");
}

/// A pack that nothing refers to; its mark, once a sweep has passed by.
fn orphan(dir: &tempfile::TempDir, number: u8) -> (PathBuf, PathBuf) {
    let vault = dir.path().join("vault-shop");
    let id = format!("{:030x}{number:02x}", 0xab);
    let folder = vault.join(format!("packs/{number:02x}"));
    std::fs::create_dir_all(&folder).unwrap();
    let pack = folder.join(&id);
    std::fs::write(&pack, "of a run that never was").unwrap();
    (pack, vault.join("deleted").join(&id))
}

#[tokio::test]
async fn a_vault_is_swept_an_hour_after_the_start_and_each_day_whichever_way_the_clock_jumps() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    node.backed_up(job).await;
    let (pack, mark) = orphan(&dir, 1);
    stays(|| !mark.exists()).await;
    node.clock.advance(Duration::from_secs(3_600));
    eventually(|| mark.exists(), "the first sweep").await;

    // By the store's clock the mark is old now; by the server's the next day has not come.
    let old = std::time::SystemTime::now() - Duration::from_secs(2 * 86_400);
    let file = std::fs::File::options().write(true).open(&mark).unwrap();
    file.set_modified(old).unwrap();
    node.clock.advance(Duration::from_secs(80_000));
    stays(|| pack.exists()).await;
    node.clock.advance(Duration::from_secs(6_400));
    eventually(|| !pack.exists() && !mark.exists(), "the daily sweep").await;

    // A clock that is put back by months does not hold the sweeps up by months.
    let (pack, mark) = orphan(&dir, 2);
    stays(|| !mark.exists()).await;
    node.clock.set_back(Duration::from_secs(90 * 86_400));
    eventually(|| mark.exists(), "the sweep after the clock was put back").await;
    assert!(pack.exists());
    let (_, saveset) = node.backed_up(job).await;
    let kept = node.catalog().savesets_of_job(&site(), job).await.unwrap();
    assert!(kept.len() == 2 && kept.iter().any(|kept| kept.saveset_id == saveset));
}
