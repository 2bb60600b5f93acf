//! A machine whose clock is put forward or back, by hand or by a time server, in the midst of a run.

use std::time::Duration;

use model::ExecutionStatus;
use testkit::memory_engine::{Stage, Trouble};

use crate::node::{Node, nightly, site};

const DAY: Duration = Duration::from_secs(86_400);

/// A run is in its rows when the clock jumps; it goes on, and so do those after it.
async fn runs_go_on(jump: impl Fn(&Node)) {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (first, saveset) = node.backed_up(job).await;
    node.engine.trouble(Stage::Piece, 1, Trouble::Hang);
    let id = node.execute(job).await;
    node.engine.reached(Stage::Piece, 1).await;
    jump(&node);
    // Longer than two looks at the lease and the limits.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let running = node.catalog().execution(&site(), id).await.unwrap();
    assert_eq!(running.status, ExecutionStatus::Running);
    node.engine.heal();
    let ended = node.successful(id).await;
    assert!(
        ended.end_time >= ended.start_time,
        "no run ends before it began"
    );
    let (third, newest) = node.backed_up(job).await;
    // What counts is the order in which they were made, not what the clock said.
    assert!(first < id && id < third);
    assert!(saveset < ended.saveset_id.unwrap() && ended.saveset_id.unwrap() < newest);
    let (_, restore) = node.restore(job, third, "copy").await;
    node.successful(restore).await;
}

#[tokio::test]
async fn a_clock_that_jumps_days_ahead_ends_no_run() {
    runs_go_on(|node| node.clock.advance(DAY * 3)).await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_by_days_ends_no_run() {
    runs_go_on(|node| node.clock.set_back(DAY * 3)).await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_drops_the_oldest_saveset_and_not_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = Node::with_job(&dir).await;
    let mut definition = nightly();
    definition.no_of_retention_copies = 2;
    let job = node.catalog().create_job(&site(), &definition).await;
    let job = job.unwrap().job_id;
    let mut made = Vec::new();
    for _ in 0..4 {
        made.push(node.backed_up(job).await.1);
        node.clock.set_back(DAY);
    }
    let kept = node.catalog().savesets_of_job(&site(), job).await.unwrap();
    let mut kept: Vec<_> = kept.iter().map(|record| record.saveset_id).collect();
    kept.sort_unstable();
    assert_eq!(kept, made[2..], "the two that were made last");
}
