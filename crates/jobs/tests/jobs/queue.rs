use std::time::{Duration, Instant};

use jobs::ExecuteRequest;
use model::{ExecutionStatus, Fault};
use testkit::memory_engine::{MemoryEngine, Stage, Trouble};

use crate::node::{Node, nightly, site};

#[tokio::test]
async fn a_job_with_a_live_execution_is_not_queued_again() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    node.engine.trouble(Stage::Dictionary, 1, Trouble::Hang);
    let id = node.execute(job).await;
    let refused = node
        .jobs
        .execute(&site(), job, ExecuteRequest::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "job-running");
    assert!(refused.to_string().contains(&id.to_string()), "{refused}");
    node.engine.heal();
    node.ended(id).await;
}

#[tokio::test]
async fn the_same_idempotency_key_gives_the_same_execution() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let keyed = || ExecuteRequest {
        idempotency_key: Some("tuesday".to_owned()),
        ..Default::default()
    };
    let first = node.jobs.execute(&site(), job, keyed()).await.unwrap();
    node.ended(first).await;
    let second = node.jobs.execute(&site(), job, keyed()).await.unwrap();
    assert_eq!(first, second);
}

#[tokio::test]
async fn a_queued_execution_starts_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    node.backed_up(job).await;
    node.engine.trouble(Stage::OpenSource, 1, Trouble::Hang);
    let id = node.execute(job).await;
    let asked = Instant::now();
    node.until(id, |e| e.status != ExecutionStatus::Queued)
        .await;
    // The promise is 100 ms; a loaded machine that tests in parallel gets more.
    assert!(asked.elapsed() < Duration::from_secs(3));
    node.engine.heal();
    node.ended(id).await;
}

#[tokio::test]
async fn the_most_urgent_job_runs_first_and_a_full_site_waits() {
    let dir = tempfile::tempdir().unwrap();
    let engine = MemoryEngine::new(model::SiteType::Postgresql);
    let node = Node::start_with(&dir, engine, false).await;
    node.make_job(&dir).await;
    let mut ids = Vec::new();
    for priority in [5, 3, 1, 2] {
        let mut definition = nightly();
        definition.priority = priority;
        let job = node
            .catalog()
            .create_job(&site(), &definition)
            .await
            .unwrap()
            .job_id;
        ids.push((priority, node.execute(job).await));
    }
    let mut site_record = node.catalog().site(&site()).await.unwrap().definition;
    (site_record.soft_limit, site_record.hard_limit) = (1, 1);
    node.jobs
        .update_site(&site_record, &catalog::SecretsChange::default(), None)
        .await
        .unwrap();
    let engine = node.shut_down().await;
    let node = Node::start_with(&dir, engine, true).await;
    let mut started = Vec::new();
    for (priority, id) in ids {
        let ended = node.successful(id).await;
        started.push((ended.start_time.unwrap(), priority));
    }
    started.sort();
    assert_eq!(
        started.iter().map(|s| s.1).collect::<Vec<_>>(),
        [1, 2, 3, 5]
    );
    node.shut_down().await;
}
