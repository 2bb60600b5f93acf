use model::Fault;

use crate::node::{Node, nightly, site};

#[tokio::test]
async fn only_the_newest_copies_stay_and_a_protected_one_is_not_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (first_execution, first) = node.backed_up(job).await;
    node.catalog()
        .set_retained(&site(), first, true, None)
        .await
        .unwrap();
    let (gone_execution, _) = node.backed_up(job).await;
    let (_, third) = node.backed_up(job).await;
    let mut definition = nightly();
    definition.no_of_retention_copies = 2;
    node.catalog()
        .update_job(&site(), job, &definition, None)
        .await
        .unwrap();
    assert_eq!(
        node.catalog()
            .savesets_of_job(&site(), job)
            .await
            .unwrap()
            .len(),
        3,
        "nothing goes before the next run"
    );
    let (_, fourth) = node.backed_up(job).await;
    let kept: Vec<_> = node
        .catalog()
        .savesets_of_job(&site(), job)
        .await
        .unwrap()
        .iter()
        .map(|s| s.saveset_id)
        .collect();
    assert_eq!(kept, [fourth, third, first]);
    let gone = node
        .catalog()
        .execution(&site(), gone_execution)
        .await
        .unwrap();
    assert!(gone.is_saveset_deleted && gone.saveset_id.is_some());
    let refused = node
        .jobs
        .objects(&site(), job, gone_execution, None, catalog::Page::All)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "nothing-to-restore");
    node.jobs
        .objects(&site(), job, first_execution, None, catalog::Page::All)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_failed_run_drops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    node.backed_up(job).await;
    node.backed_up(job).await;
    let mut definition = nightly();
    definition.no_of_retention_copies = 1;
    node.catalog()
        .update_job(&site(), job, &definition, None)
        .await
        .unwrap();
    node.engine.trouble(
        testkit::memory_engine::Stage::Plan,
        1,
        testkit::memory_engine::Trouble::Fail,
    );
    let id = node.execute(job).await;
    node.ended(id).await;
    assert_eq!(
        node.catalog()
            .savesets_of_job(&site(), job)
            .await
            .unwrap()
            .len(),
        2
    );
    node.backed_up(job).await;
    assert_eq!(
        node.catalog()
            .savesets_of_job(&site(), job)
            .await
            .unwrap()
            .len(),
        1
    );
}
