use catalog::NewExecution;
use model::{Fault, RunEvent, RunType};

use crate::world::{World, restore_of, shop};

const DAY: u64 = 24 * 60 * 60;

#[tokio::test]
async fn the_same_key_gives_the_same_execution_for_a_day_even_after_it_has_ended() {
    let (world, job) = World::with_job().await;
    let new = NewExecution::of(shop(), job);
    let first = world.catalog.enqueue(&new, Some("abc")).await.unwrap();
    assert!(!first.repeated);
    let again = world.catalog.enqueue(&new, Some("abc")).await.unwrap();
    assert_eq!(
        (again.execution_id, again.repeated),
        (first.execution_id, true)
    );
    world
        .catalog
        .request_abort(first.execution_id, "by admin")
        .await
        .unwrap();
    world.later(DAY - 1);
    let again = world.catalog.enqueue(&new, Some("abc")).await.unwrap();
    assert_eq!(
        (again.execution_id, again.repeated),
        (first.execution_id, true)
    );
    world.later(1);
    let fresh = world.catalog.enqueue(&new, Some("abc")).await.unwrap();
    assert!(fresh.execution_id > first.execution_id && !fresh.repeated);
}

#[tokio::test]
async fn the_same_key_with_another_request_is_refused() {
    let (world, job) = World::with_job().await;
    let new = NewExecution::of(shop(), job);
    let first = world.catalog.enqueue(&new, Some("abc")).await.unwrap();
    let other = NewExecution {
        run_type: Some(RunType::Full),
        ..new
    };
    let error = world
        .catalog
        .enqueue(&other, Some("abc"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "idempotency-key-reused");
    assert!(
        error
            .to_string()
            .contains(&format!("execution {}", first.execution_id)),
        "{error}"
    );
}

#[tokio::test]
async fn a_key_belongs_to_one_job() {
    let (world, job) = World::with_job().await;
    let other = world.add_job("other").await;
    let one = world
        .catalog
        .enqueue(&NewExecution::of(shop(), job), Some("abc"))
        .await
        .unwrap();
    let two = world
        .catalog
        .enqueue(&NewExecution::of(shop(), other), Some("abc"))
        .await
        .unwrap();
    assert_ne!(one.execution_id, two.execution_id);
}

#[tokio::test]
async fn a_refused_request_uses_up_no_key() {
    let (world, job) = World::with_job().await;
    let first = world.enqueue(job).await;
    let new = NewExecution::of(shop(), job);
    let refused = world.catalog.enqueue(&new, Some("abc")).await.unwrap_err();
    assert_eq!(refused.code(), "job-running");
    let ending = catalog::Ending::because(RunEvent::Skip, "Not now");
    world.catalog.settle(first, &ending, None).await.unwrap();
    assert!(
        !world
            .catalog
            .enqueue(&new, Some("abc"))
            .await
            .unwrap()
            .repeated
    );
}

#[tokio::test]
async fn the_same_key_makes_one_restore_job() {
    let (world, job) = World::with_job().await;
    let backup = world.back_up(job, 1).await;
    let definition = restore_of(job, backup, 1, &shop());
    let first = world
        .catalog
        .enqueue_restore(&shop(), &definition, Some("abc"))
        .await
        .unwrap();
    let again = world
        .catalog
        .enqueue_restore(&shop(), &definition, Some("abc"))
        .await
        .unwrap();
    assert_eq!(
        (again.job_id, again.execution_id),
        (first.job_id, first.execution_id)
    );
    assert!(again.repeated && !first.repeated);
    let mut other = definition.clone();
    other.name = "another".to_owned();
    let error = world
        .catalog
        .enqueue_restore(&shop(), &other, Some("abc"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "idempotency-key-reused");
    assert_eq!(world.catalog.all_jobs().await.unwrap().len(), 2);
}
