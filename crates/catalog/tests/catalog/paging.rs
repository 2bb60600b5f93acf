use catalog::{Ending, ExecutionFilter, Page};
use model::{ExecutionId, ExecutionStatus, RunEvent};

use crate::world::{World, shop};

/// Twelve that have ended, two that run, three that wait; in the order of lists.
async fn history() -> (World, Vec<ExecutionId>) {
    let (world, job) = World::with_job().await;
    let mut order = Vec::new();
    for _ in 0..12 {
        let id = world.enqueue(job).await;
        let leased = world.take().await;
        world.later(60);
        let done = Ending::because(RunEvent::Succeed, "Done");
        world.catalog.finish(&leased, &done).await.unwrap();
        order.insert(0, id);
    }
    for name in ["a", "b"] {
        let job = world.add_job(name).await;
        order.insert(0, world.enqueue(job).await);
        world.take().await;
        world.later(1);
    }
    for name in ["c", "d", "e"] {
        let job = world.add_job(name).await;
        order.insert(0, world.enqueue(job).await);
    }
    (world, order)
}

fn ids(executions: &[catalog::Execution]) -> Vec<ExecutionId> {
    executions
        .iter()
        .map(|execution| execution.execution_id)
        .collect()
}

#[tokio::test]
async fn pages_put_together_are_the_whole_list_in_its_order() {
    let (world, order) = history().await;
    let filter = ExecutionFilter::of_site(&shop());
    let whole = world.catalog.executions(&filter, Page::All).await.unwrap();
    assert_eq!((ids(&whole.rows), whole.total), (order.clone(), 17));
    let mut together = Vec::new();
    for number in 1..=4 {
        let page = Page::Numbered { number, size: 5 };
        let rows = world.catalog.executions(&filter, page).await.unwrap();
        assert_eq!(rows.total, 17);
        together.extend(ids(&rows.rows));
    }
    assert_eq!(together, order);
    let past = Page::Numbered { number: 5, size: 5 };
    let rows = world.catalog.executions(&filter, past).await.unwrap();
    assert_eq!((rows.rows.len(), rows.total), (0, 17));
}

#[tokio::test]
async fn steps_put_together_are_the_whole_list_whatever_their_size() {
    let (world, order) = history().await;
    for limit in [1, 2, 5, 16, 17, 100] {
        let mut steps = world
            .catalog
            .execution_steps(ExecutionFilter::of_site(&shop()));
        let mut together = Vec::new();
        loop {
            let rows = steps.step(limit).await.unwrap();
            if rows.is_empty() {
                break;
            }
            assert!(rows.len() <= limit as usize);
            together.extend(ids(&rows));
        }
        assert_eq!(together, order, "{limit}");
    }
}

#[tokio::test]
async fn what_starts_or_ends_while_a_list_is_read_is_neither_doubled_nor_lost() {
    let (world, order) = history().await;
    let mut steps = world
        .catalog
        .execution_steps(ExecutionFilter::of_site(&shop()));
    let mut together = ids(&steps.step(2).await.unwrap());
    // The oldest of the three that wait has not been read; the others have, and start now too.
    for _ in 0..3 {
        world.later(1);
        world.take().await;
    }
    loop {
        let rows = steps.step(2).await.unwrap();
        if rows.is_empty() {
            break;
        }
        together.extend(ids(&rows));
    }
    assert_eq!(together, order);
}

#[tokio::test]
async fn what_never_started_stands_where_it_ended() {
    let (world, job) = World::with_job().await;
    let first = world.back_up(job, 1).await;
    let skipped = world.enqueue(job).await;
    let ending = Ending::because(RunEvent::Skip, "A job of higher priority ran");
    world.catalog.settle(skipped, &ending, None).await.unwrap();
    world.later(1);
    let last = world.back_up(job, 2).await;
    let filter = ExecutionFilter::of_site(&shop());
    let rows = world
        .catalog
        .executions(&filter, Page::All)
        .await
        .unwrap()
        .rows;
    assert_eq!(ids(&rows), [last, skipped, first]);
    assert_eq!(
        (rows[1].status, rows[1].start_time),
        (ExecutionStatus::Skipped, None)
    );
}
