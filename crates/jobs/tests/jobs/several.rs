//! Several databases in one saveset: one goes in between, one is skipped in part, one cannot be put in
//! its place.

use jobs::{ExecuteRequest, Restored};
use model::{
    ExecutionStatus, JobDefinition, JobId, ObjectName, ObjectType, SelectedObject, Selection,
};
use tempfile::TempDir;
use testkit::memory_engine::{MemoryDatabase, Stage, Trouble};

use crate::node::{Node, credentials, draft, nightly, rows, shop, site};

/// Every database of the site.
fn dbc() -> Selection {
    let mut all = Selection::whole_database("DBC");
    (all.objects[0].parent_name, all.objects[0].parent_type) = (None, None);
    all
}

fn crm() -> MemoryDatabase {
    MemoryDatabase::new()
        .ddl("CREATE TABLE customer, audit")
        .table("customer", rows(30), 10)
        .table("audit", rows(20), 10)
}

/// A server with two databases, `crm` and `shop`, and a job of both.
async fn with_two(dir: &TempDir) -> (Node, JobId) {
    let (node, _) = Node::with_job(dir).await;
    node.engine.put_database("crm", crm());
    let both = JobDefinition {
        name: "everything".to_owned(),
        selection: dbc(),
        ..nightly()
    };
    let job = node.catalog().create_job(&site(), &both).await.unwrap();
    (node, job.job_id)
}

#[tokio::test]
async fn a_database_that_is_dropped_after_the_site_listed_it_begins_the_run_anew_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = with_two(&dir).await;
    node.engine.trouble(Stage::OpenSource, 2, Trouble::Hang);
    let id = node.execute(job).await;
    node.engine.reached(Stage::OpenSource, 2).await;
    node.engine.drop_database("shop");
    node.engine.heal();
    let ended = node.successful(id).await;
    let detail = &ended.status_detail;
    assert!(
        detail.contains("attempt 1 began anew") && detail.contains("there is no database shop"),
        "{detail}"
    );
    let site = site();
    let all = node.jobs.objects(&site, job, id, None, catalog::Page::All);
    let all = all.await.unwrap().objects;
    let databases = all.iter().filter(|o| o.object_type == ObjectType::Database);
    let databases: Vec<&str> = databases.map(|o| o.name.last()).collect();
    assert_eq!(databases, ["crm"]);
}

#[tokio::test]
async fn a_database_that_is_named_and_gone_ends_the_run_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = with_two(&dir).await;
    let mut selection = Selection::whole_database("crm");
    selection
        .objects
        .extend(Selection::whole_database("gone").objects);
    let named = JobDefinition {
        name: "named".to_owned(),
        selection,
        ..nightly()
    };
    let job = node.catalog().create_job(&site(), &named).await.unwrap();
    let id = node.execute(job.job_id).await;
    let ended = node.ended(id).await;
    assert_eq!(ended.status, ExecutionStatus::Failed);
    assert!(
        ended.status_detail.contains("no database gone"),
        "{}",
        ended.status_detail
    );
    let there = node.catalog().has_savesets(&site()).await.unwrap();
    assert!(!there, "no half of it is a saveset");
}

#[tokio::test]
async fn what_is_skipped_in_one_database_is_listed_and_both_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = with_two(&dir).await;
    node.engine.skip("audit", "may not be read");
    let id = node.execute(job).await;
    let ended = node.ended(id).await;
    assert_eq!(ended.status, ExecutionStatus::CompletedWithWarnings);
    assert!(
        ended.status_detail.contains("2 databases"),
        "{}",
        ended.status_detail
    );
    let notes = node.catalog().notes(id).await.unwrap();
    assert!(
        notes.skipped.iter().any(|s| s.object == "audit"),
        "{notes:?}"
    );
    for name in ["crm", "shop"] {
        node.engine.drop_database(name);
    }
    let mut asked = draft(None);
    asked.job.selection = dbc();
    let restored = node.successful(restore(&node, job, id, asked).await).await;
    assert!(
        restored.status_detail.contains("crm and shop"),
        "{}",
        restored.status_detail
    );
    assert_eq!(node.engine.contents("shop"), Some(shop().contents()));
    let crm = node.engine.contents("crm").unwrap();
    let without = MemoryDatabase::new().ddl("CREATE TABLE customer, audit");
    assert_eq!(crm, without.table("customer", rows(30), 10).contents());
}

async fn restore(
    node: &Node,
    job: JobId,
    backup: model::ExecutionId,
    asked: jobs::RestoreDraft,
) -> model::ExecutionId {
    let request = ExecuteRequest {
        credentials: Some(credentials()),
        ..ExecuteRequest::default()
    };
    match node
        .jobs
        .restore(&site(), job, backup, asked, request)
        .await
    {
        Ok(Restored::Queued { execution, .. }) => execution,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_restore_whose_second_database_cannot_be_put_in_its_place_names_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = with_two(&dir).await;
    let (backup, _) = node.backed_up(job).await;
    let renamed = |name: &str| SelectedObject {
        rename_to: Some(ObjectName::one(format!("{name}_copy"))),
        ..Selection::whole_database(name).objects[0].clone()
    };
    let mut asked = draft(None);
    asked.job.selection.objects = vec![renamed("crm"), renamed("shop")];
    node.engine.trouble(Stage::Publish, 2, Trouble::Fail);
    let ended = node.ended(restore(&node, job, backup, asked).await).await;
    assert_eq!(ended.status, ExecutionStatus::Failed);
    assert!(
        ended
            .status_detail
            .contains("the database crm_copy is restored all the same"),
        "{}",
        ended.status_detail
    );
    assert_eq!(node.engine.contents("crm_copy"), Some(crm().contents()));
    assert_eq!(node.engine.contents("shop_copy"), None);
    assert_eq!(node.engine.working_names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_run_over_several_databases_tells_which_one_it_is_at() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = with_two(&dir).await;
    node.engine.trouble(Stage::Plan, 2, Trouble::Hang);
    let id = node.execute(job).await;
    let told = node.until(id, |execution| {
        execution
            .status_detail
            .ends_with("; at work on the database shop")
    });
    told.await;
    node.engine.heal();
    node.successful(id).await;
}
