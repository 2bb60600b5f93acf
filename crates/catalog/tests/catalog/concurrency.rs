use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use catalog::{CatalogError, Ending, NewExecution, ProgressSnapshot};
use model::{ExecutionStatus, RunEvent};

use crate::world::{World, far_off, job_of, shop};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_workers_take_each_execution_once_and_the_urgent_ones_first() {
    let world = Arc::new(World::with_site().await);
    let mut all = BTreeSet::new();
    for number in 0..60u8 {
        let priority = 1 + number % 5;
        let definition = model::JobDefinition {
            priority,
            ..job_of("job")
        };
        let job = world
            .catalog
            .create_job(&shop(), &definition)
            .await
            .unwrap()
            .job_id;
        all.insert(world.enqueue(job).await);
    }
    let taken = Arc::new(Mutex::new(Vec::new()));
    let mut workers = Vec::new();
    for _ in 0..8 {
        let (world, taken) = (world.clone(), taken.clone());
        workers.push(tokio::spawn(async move {
            while let Some(leased) = world.catalog.take_next(far_off(), &[]).await.unwrap() {
                taken.lock().unwrap().push(leased.execution.clone());
                let told = ProgressSnapshot {
                    bytes_read: 5,
                    ..ProgressSnapshot::default()
                };
                assert!(world.catalog.save_progress(&leased, &told).await.unwrap());
                let done = Ending::because(RunEvent::Succeed, "Done");
                let status = world.catalog.finish(&leased, &done).await.unwrap();
                assert_eq!(status, Some(ExecutionStatus::Successful));
            }
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
    let taken = std::mem::take(&mut *taken.lock().unwrap());
    let ids: BTreeSet<_> = taken
        .iter()
        .map(|execution| execution.execution_id)
        .collect();
    assert_eq!((taken.len(), &ids), (60, &all));
    // The order in which workers note what they took may be off by what eight of them hold.
    for (place, execution) in taken.iter().enumerate() {
        let expected = 1 + place / 12;
        let early = 1 + place.saturating_sub(8) / 12;
        let late = 1 + (place + 8) / 12;
        let priority = usize::from(execution.priority);
        assert!(
            (early..=late).contains(&priority),
            "{place}: {priority}, not {expected}"
        );
    }
    assert!(world.catalog.unfinished().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_requests_for_one_job_one_is_queued_and_the_others_are_told_which() {
    let (world, job) = World::with_job().await;
    let world = Arc::new(world);
    let mut requests = Vec::new();
    for _ in 0..16 {
        let world = world.clone();
        requests.push(tokio::spawn(async move {
            world
                .catalog
                .enqueue(&NewExecution::of(shop(), job), None)
                .await
        }));
    }
    let (mut queued, mut told) = (Vec::new(), Vec::new());
    for request in requests {
        match request.await.unwrap() {
            Ok(enqueued) => queued.push(enqueued.execution_id),
            Err(CatalogError::JobRunning { execution, .. }) => told.push(execution),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((queued.len(), told.len()), (1, 15));
    assert!(told.iter().all(|execution| *execution == queued[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_changes_from_one_version_one_is_made() {
    let (world, job) = World::with_job().await;
    let world = Arc::new(world);
    let mut changes = Vec::new();
    for number in 0..12 {
        let world = world.clone();
        changes.push(tokio::spawn(async move {
            let definition = job_of(&format!("named by {number}"));
            world
                .catalog
                .update_job(&shop(), job, &definition, Some(1))
                .await
                .is_ok()
        }));
    }
    let mut made = 0;
    for change in changes {
        made += usize::from(change.await.unwrap());
    }
    assert_eq!(made, 1);
    assert_eq!(world.catalog.job(&shop(), job).await.unwrap().version, 2);
}

/// The result of a future, or `None`: it was dropped at its n-th wait.
async fn dropped_at_wait<T>(n: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut waits = 0;
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => {
            waits += 1;
            if waits == n {
                Poll::Ready(None)
            } else {
                Poll::Pending
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_dropped_at_any_moment_leaves_the_catalog_working() {
    let world = World::with_site().await;
    let (site, definition) = (shop(), job_of("dropped or not"));
    let mut dropped = Vec::new();
    for n in 1..40 {
        let call = world.catalog.create_job(&site, &definition);
        if dropped_at_wait(n, call).await.is_none() {
            dropped.push(n);
        }
        // A commit that was under way when its caller left is carried out all the same, before
        // the next write.
        world.add_job("the next write").await;
        let before = world.catalog.all_jobs().await.unwrap().len();
        world.add_job("and one more").await;
        assert_eq!(
            world.catalog.all_jobs().await.unwrap().len(),
            before + 1,
            "wait {n}"
        );
    }
    assert!(dropped.contains(&1) && dropped.len() < 39, "{dropped:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_are_served_while_somebody_writes() {
    let (world, job) = World::with_job().await;
    let world = Arc::new(world);
    world.enqueue(job).await;
    let leased = world.take().await;
    let writer = world.clone();
    let work = tokio::spawn(async move {
        for number in 0..100 {
            let told = ProgressSnapshot {
                bytes_read: number,
                ..ProgressSnapshot::default()
            };
            assert!(writer.catalog.save_progress(&leased, &told).await.unwrap());
        }
    });
    let mut last = 0;
    while !work.is_finished() {
        let found = world.catalog.unfinished().await.unwrap();
        assert!(found[0].bytes_read >= last, "progress never goes back");
        last = found[0].bytes_read;
    }
    work.await.unwrap();
    assert_eq!(world.catalog.unfinished().await.unwrap()[0].bytes_read, 99);
}
