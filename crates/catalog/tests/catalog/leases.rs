use catalog::{Ending, ProgressSnapshot};
use model::{ExecutionStatus, RunEvent};

use crate::world::{World, far_off, job_of, restore_of, saveset_id, shop, site_id};

#[tokio::test]
async fn the_most_urgent_is_taken_first_and_of_equals_the_oldest() {
    let world = World::with_site().await;
    let mut queued = Vec::new();
    for priority in [5, 1, 3, 1, 5] {
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
        queued.push(world.enqueue(job).await);
    }
    for index in [1, 3, 2, 0, 4] {
        let now = world.later(1);
        let leased = world.take().await;
        assert_eq!(leased.execution.execution_id, queued[index]);
        assert_eq!(leased.execution.status, ExecutionStatus::Running);
        assert_eq!(leased.execution.start_time, Some(now));
    }
    assert!(
        world
            .catalog
            .take_next(far_off(), &[])
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn what_would_run_on_a_busy_site_waits() {
    let (world, job) = World::with_job().await;
    world.add_site("drill").await;
    let backup = world.back_up(job, 1).await;
    let waiting = world.enqueue(job).await;
    let restore = restore_of(job, backup, 1, &site_id("drill"));
    let restore = world
        .catalog
        .enqueue_restore(&shop(), &restore, None)
        .await
        .unwrap();
    let both = [shop(), site_id("drill")];
    assert!(
        world
            .catalog
            .take_next(far_off(), &both)
            .await
            .unwrap()
            .is_none()
    );
    let leased = world
        .catalog
        .take_next(far_off(), &[shop()])
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        leased.execution.execution_id, restore.execution_id,
        "it runs on its target"
    );
    assert_eq!(world.take().await.execution.execution_id, waiting);
}

#[tokio::test]
async fn who_holds_a_lease_renews_it() {
    let (world, job) = World::with_job().await;
    let id = world.enqueue(job).await;
    let leased = world.take().await;
    let until = world.later(30);
    assert!(world.catalog.renew(&leased, until).await.unwrap());
    assert_eq!(world.get(id).await.lease_until, Some(until));
}

#[tokio::test]
async fn after_a_lost_lease_the_old_holder_writes_nothing() {
    let (world, job) = World::with_job().await;
    let id = world.enqueue(job).await;
    let leased = world.take().await;
    let dead = Ending::because(RunEvent::Fail, "Nobody renewed its lease");
    world.catalog.settle(id, &dead, None).await.unwrap();
    let before = world.get(id).await;

    let done = Ending {
        saveset: Some(saveset_id(1)),
        ..Ending::because(RunEvent::Succeed, "Done")
    };
    let told = ProgressSnapshot {
        bytes_read: 9,
        ..ProgressSnapshot::default()
    };
    assert_eq!(world.catalog.finish(&leased, &done).await.unwrap(), None);
    assert!(!world.catalog.renew(&leased, far_off()).await.unwrap());
    assert!(!world.catalog.save_progress(&leased, &told).await.unwrap());
    assert!(!world.catalog.set_attempt(&leased, 2, None).await.unwrap());
    assert!(
        !world
            .catalog
            .set_saveset(&leased, saveset_id(1))
            .await
            .unwrap()
    );
    assert_eq!(world.get(id).await, before);
    assert!(!world.catalog.has_savesets(&shop()).await.unwrap());
}

/// As when the same node had taken it once more, or another node of the same catalog.
#[tokio::test]
async fn a_newer_epoch_or_another_owner_shuts_the_old_holder_out_though_it_still_runs() {
    for change in [
        "UPDATE execution SET lease_epoch = lease_epoch + 1",
        "UPDATE execution SET lease_owner = 'another node'",
    ] {
        let (world, job) = World::with_job().await;
        let id = world.enqueue(job).await;
        let leased = world.take().await;
        let options = sqlx::sqlite::SqliteConnectOptions::new();
        let options = options.filename(world.data().join("catalog.db"));
        let outside = sqlx::SqlitePool::connect_with(options).await.unwrap();
        assert_eq!(
            sqlx::query(change)
                .execute(&outside)
                .await
                .unwrap()
                .rows_affected(),
            1
        );
        let before = world.get(id).await;
        assert_eq!(before.status, ExecutionStatus::Running);

        let done = Ending::because(RunEvent::Succeed, "Done");
        assert_eq!(world.catalog.finish(&leased, &done).await.unwrap(), None);
        assert!(!world.catalog.renew(&leased, world.later(9)).await.unwrap());
        let told = ProgressSnapshot {
            bytes_read: 9,
            ..ProgressSnapshot::default()
        };
        assert!(!world.catalog.save_progress(&leased, &told).await.unwrap());
        assert!(!world.catalog.set_attempt(&leased, 2, None).await.unwrap());
        assert!(
            !world
                .catalog
                .set_saveset(&leased, saveset_id(1))
                .await
                .unwrap()
        );
        assert_eq!(world.get(id).await, before);
    }
}

#[tokio::test]
async fn a_lease_of_one_execution_says_nothing_about_the_next_of_its_job() {
    let (world, job) = World::with_job().await;
    world.enqueue(job).await;
    let old = world.take().await;
    let dead = Ending::because(RunEvent::Fail, "It died");
    let settled = world
        .catalog
        .settle(old.execution.execution_id, &dead, Some("Again"))
        .await;
    let again = settled.unwrap().requeued.unwrap();
    world.take().await;
    let done = Ending::because(RunEvent::Succeed, "Done");
    assert_eq!(world.catalog.finish(&old, &done).await.unwrap(), None);
    assert_eq!(world.get(again).await.status, ExecutionStatus::Running);
}
