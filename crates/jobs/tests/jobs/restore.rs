use jobs::{ExecuteRequest, Restored};
use model::{Blame, ExecutionStatus, Fault, JobType, Obstacle, Phase};
use testkit::memory_engine::{Stage, Trouble};

use crate::node::{Node, credentials, draft, shop, site};

fn with_credentials() -> ExecuteRequest {
    ExecuteRequest {
        credentials: Some(credentials()),
        ..ExecuteRequest::default()
    }
}

#[tokio::test]
async fn a_restore_makes_a_job_of_its_own_and_brings_every_row_back() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (backup, saveset) = node.backed_up(job).await;
    let (restore_job, id) = node.restore(job, backup, "copy").await;
    let ended = node.successful(id).await;
    assert_eq!(node.engine.contents("copy"), Some(shop().contents()));
    assert_eq!(ended.saveset_id, Some(saveset));
    assert_eq!(ended.parent_execution, Some(backup));
    let phases: Vec<Phase> = ended.phases.iter().map(|p| p.phase).collect();
    assert_eq!(
        phases,
        [
            Phase::Dictionary,
            Phase::Data,
            Phase::Build,
            Phase::Postscript
        ]
    );
    let record = node.catalog().job(&site(), restore_job).await.unwrap();
    assert_eq!(record.definition.job_type, JobType::Restore);
    assert!(
        record.definition.restore.unwrap().run_as_copy,
        "a new name makes a copy job"
    );
}

#[tokio::test]
async fn a_dry_run_tells_the_plan_and_touches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (backup, _) = node.backed_up(job).await;
    let mut asked = draft(Some("copy"));
    asked.dry_run = true;
    let plan = node
        .jobs
        .restore(&site(), job, backup, asked, with_credentials())
        .await
        .unwrap();
    assert!(matches!(plan, Restored::Plan(_)));
    assert_eq!(node.engine.contents("copy"), None);
    assert_eq!(node.engine.count(Stage::Prepare), 0);
    let jobs = node
        .catalog()
        .jobs(&site(), Default::default(), catalog::Page::All)
        .await
        .unwrap();
    assert_eq!(jobs.total, 1, "no RESTORE job was made");
}

#[tokio::test]
async fn what_is_in_the_way_is_told_before_anything_is_queued() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (backup, _) = node.backed_up(job).await;
    node.engine.obstacle(Obstacle {
        code: "target-not-empty".to_owned(),
        detail: "database copy holds 3 tables".to_owned(),
        remedy: Some("send replace_existing true".to_owned()),
    });
    let refused = node
        .jobs
        .restore(
            &site(),
            job,
            backup,
            draft(Some("copy")),
            with_credentials(),
        )
        .await
        .unwrap_err();
    assert_eq!(
        (refused.code(), refused.blame()),
        ("target-not-empty", Blame::Conflict)
    );
    assert_eq!(
        refused.hint().as_deref(),
        Some("send replace_existing true")
    );
    assert!(node.catalog().unfinished().await.unwrap().is_empty());
}

#[tokio::test]
async fn credentials_and_the_right_database_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (backup, _) = node.backed_up(job).await;
    let refused = node
        .jobs
        .restore(
            &site(),
            job,
            backup,
            draft(Some("copy")),
            ExecuteRequest::default(),
        )
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "credentials-missing");
    let mut other = draft(Some("copy"));
    other.job.selection = model::Selection::whole_database("warehouse");
    let refused = node
        .jobs
        .restore(&site(), job, backup, other, with_credentials())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "not-in-saveset");
}

#[tokio::test]
async fn an_object_that_the_saveset_does_not_hold_is_told_before_the_target_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (backup, saveset) = node.backed_up(job).await;
    let table = |name: &str| model::SelectedObject {
        name: name.parse().unwrap(),
        object_type: model::ObjectType::Table,
        parent_name: Some(model::ObjectName::one("shop")),
        parent_type: Some(model::ObjectType::Database),
        include_all: false,
        exclude: Vec::new(),
        rename_to: None,
    };
    for dry_run in [false, true] {
        let mut asked = draft(None);
        asked.dry_run = dry_run;
        asked.job.selection.objects = vec![table("empty"), table("ordres")];
        let refused = node
            .jobs
            .restore(&site(), job, backup, asked, with_credentials())
            .await
            .unwrap_err();
        assert_eq!(
            (refused.code(), refused.blame()),
            ("not-in-saveset", Blame::Request)
        );
        let expected = format!(
            "saveset {saveset} does not hold TABLE ordres of the database shop; it holds TABLE orders"
        );
        assert_eq!(refused.to_string(), expected);
    }
    assert_eq!(node.engine.count(Stage::OpenTarget), 0);
    assert!(node.catalog().unfinished().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_failed_backup_leaves_nothing_to_restore() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    node.engine.trouble(Stage::Plan, 1, Trouble::Fail);
    let id = node.execute(job).await;
    node.ended(id).await;
    let refused = node
        .jobs
        .restore(&site(), job, id, draft(Some("copy")), with_credentials())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "nothing-to-restore");
}

#[tokio::test]
async fn keys_that_cannot_be_made_end_completed_with_errors() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (backup, _) = node.backed_up(job).await;
    node.engine
        .build_error("foreign key orders_customer: row 7 has no customer");
    let (_, id) = node.restore(job, backup, "copy").await;
    let ended = node.ended(id).await;
    assert_eq!(ended.status, ExecutionStatus::CompletedWithErrors);
    assert!(
        ended.status_detail.contains("orders_customer"),
        "{}",
        ended.status_detail
    );
    assert_eq!(node.engine.contents("copy"), Some(shop().contents()));
}

#[tokio::test]
async fn a_restore_job_runs_again_with_credentials_brought_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (backup, _) = node.backed_up(job).await;
    node.engine.trouble(Stage::Build, 1, Trouble::Fail);
    let (restore_job, id) = node.restore(job, backup, "copy").await;
    assert_eq!(node.ended(id).await.status, ExecutionStatus::Failed);
    let without = node
        .jobs
        .execute(&site(), restore_job, ExecuteRequest::default())
        .await
        .unwrap_err();
    assert_eq!(without.code(), "credentials-missing");
    let typed = ExecuteRequest {
        run_type: Some(model::RunType::Full),
        ..with_credentials()
    };
    let refused = node
        .jobs
        .execute(&site(), restore_job, typed)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "not-for-this-job");
    let again = node
        .jobs
        .execute(&site(), restore_job, with_credentials())
        .await
        .unwrap();
    assert_eq!(node.ended(again).await.status, ExecutionStatus::Successful);
    assert_eq!(node.engine.contents("copy"), Some(shop().contents()));
}

#[tokio::test]
async fn the_objects_of_a_saveset_are_listed_with_their_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (backup, _) = node.backed_up(job).await;
    let all = node
        .jobs
        .objects(&site(), job, backup, None, catalog::Page::All)
        .await
        .unwrap();
    let orders = all
        .objects
        .iter()
        .find(|o| o.name.last() == "orders")
        .unwrap();
    assert!(orders.byte_count.unwrap() > 0);
    let found = node
        .jobs
        .objects(&site(), job, backup, Some("ORD"), catalog::Page::All)
        .await
        .unwrap();
    assert_eq!(found.total, 1);
    let page = catalog::Page::Numbered { number: 2, size: 1 };
    let second = node
        .jobs
        .objects(&site(), job, backup, None, page)
        .await
        .unwrap();
    assert_eq!(
        (second.objects.as_slice(), second.total),
        (&all.objects[1..2], all.total)
    );
}

#[tokio::test]
async fn a_restore_asked_for_twice_with_one_key_is_one_restore() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (backup, _) = node.backed_up(job).await;
    let ask = || async {
        let request = ExecuteRequest {
            idempotency_key: Some("once".to_owned()),
            ..with_credentials()
        };
        match node
            .jobs
            .restore(&site(), job, backup, draft(Some("copy")), request)
            .await
            .unwrap()
        {
            Restored::Queued { execution, .. } => execution,
            Restored::Plan(_) => panic!("a plan was not asked for"),
        }
    };
    let first = ask().await;
    node.ended(first).await;
    // The database is there now, and in the way of a second restore; the answer is the first one's.
    assert_eq!(ask().await, first);
}

#[tokio::test]
async fn a_restore_that_may_replace_is_no_copy_unless_it_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (backup, _) = node.backed_up(job).await;
    for (asked, becomes) in [(None, false), (Some(true), true), (Some(false), false)] {
        let mut draft = draft(Some("copy"));
        (draft.replace_existing, draft.run_as_copy) = (true, asked);
        let made = node
            .jobs
            .restore(&site(), job, backup, draft, with_credentials())
            .await
            .unwrap();
        let Restored::Queued {
            job: restore_job,
            execution,
        } = made
        else {
            panic!("a plan was not asked for");
        };
        node.ended(execution).await;
        let record = node.catalog().job(&site(), restore_job).await.unwrap();
        assert_eq!(record.definition.restore.unwrap().run_as_copy, becomes);
    }
}
