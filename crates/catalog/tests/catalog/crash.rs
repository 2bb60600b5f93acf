//! A crash is a copy of the files as they are at some moment, opened elsewhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use catalog::{JobFilter, Page};
use model::ExecutionStatus;

use crate::world::{World, job_of, open, shop};

/// The files of a catalog without the lock; of the log only so many bytes.
fn copy_files(from: &Path, to: PathBuf, log_bytes: Option<usize>) -> PathBuf {
    std::fs::create_dir(&to).unwrap();
    std::fs::copy(from.join("catalog.db"), to.join("catalog.db")).unwrap();
    let mut log = std::fs::read(from.join("catalog.db-wal")).unwrap();
    log.truncate(log_bytes.unwrap_or(log.len()));
    std::fs::write(to.join("catalog.db-wal"), log).unwrap();
    to
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_crash_without_a_close() {
    let (world, job) = World::with_job().await;
    world.back_up(job, 1).await;
    let running = world.enqueue(job).await;
    world.take().await;
    let copy = copy_files(&world.data(), world.directory.path().join("crashed"), None);
    let catalog = open(&copy, &world.clock).await.unwrap();
    let found = catalog.unfinished().await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].execution_id, found[0].status),
        (running, ExecutionStatus::Running)
    );
    assert_eq!(
        catalog
            .savesets(&shop(), None, Page::All)
            .await
            .unwrap()
            .total,
        1
    );
    assert_eq!(catalog.node_id(), world.catalog.node_id());
}

#[tokio::test]
async fn a_dropped_catalog_can_be_opened_again() {
    let (world, job) = World::with_job().await;
    world.enqueue(job).await;
    let World {
        directory,
        clock,
        catalog,
    } = world;
    drop(catalog);
    let again = open(&crate::world::data_in(&directory), &clock)
        .await
        .unwrap();
    assert_eq!(again.unfinished().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_log_cut_anywhere_gives_a_whole_earlier_state() {
    let world = World::with_site().await;
    for number in 0..12 {
        world.add_job(&format!("job {number}")).await;
    }
    let whole = std::fs::metadata(world.data().join("catalog.db-wal"))
        .unwrap()
        .len() as usize;
    assert!(whole > 12 * 4096, "every change is still in the log");
    let mut seen = Vec::new();
    for step in 0..=16 {
        let length = whole * step / 16;
        let name = format!("cut-{step}");
        let copy = copy_files(
            &world.data(),
            world.directory.path().join(name),
            Some(length),
        );
        let catalog = open(&copy, &world.clock).await.unwrap();
        let jobs = match catalog.site(&shop()).await {
            Err(_) => 0,
            Ok(_) => {
                catalog
                    .jobs(&shop(), JobFilter::default(), Page::All)
                    .await
                    .unwrap()
                    .total
            }
        };
        seen.push(jobs);
        catalog.close().await;
    }
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!((seen[0], *seen.last().unwrap()), (0, 12));
    assert!(seen.iter().any(|jobs| (1..12).contains(jobs)), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_in_the_middle_of_work_loses_nothing_that_was_acknowledged() {
    let world = Arc::new(World::with_site().await);
    let acknowledged = Arc::new(AtomicU64::new(0));
    let (writer, counter) = (world.clone(), acknowledged.clone());
    let work = tokio::spawn(async move {
        for number in 0..60 {
            let name = format!("job {number}");
            writer
                .catalog
                .create_job(&shop(), &job_of(&name))
                .await
                .unwrap();
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    for crash in 0..3 {
        while acknowledged.load(Ordering::SeqCst) < 10 * (crash + 1) {
            tokio::task::yield_now().await;
        }
        let known = acknowledged.load(Ordering::SeqCst);
        let name = format!("crash-{crash}");
        let copy = copy_files(&world.data(), world.directory.path().join(name), None);
        let catalog = open(&copy, &world.clock).await.unwrap();
        let found = catalog.all_jobs().await.unwrap().len() as u64;
        assert!(found >= known, "{found} of {known}");
    }
    work.await.unwrap();
}
