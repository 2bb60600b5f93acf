use catalog::{CatalogError, ExecutionFilter, NewExecution, Page};
use model::{ExecutionId, ExecutionStatus, Fault, JobType, RunEvent};

use crate::world::{World, far_off, job_of, restore_of, shop, site_id};

#[tokio::test]
async fn an_execution_waits_with_what_its_job_said() {
    let world = World::with_site().await;
    let mut definition = job_of("nightly");
    definition.priority = 2;
    let job = world
        .catalog
        .create_job(&shop(), &definition)
        .await
        .unwrap()
        .job_id;
    let id = world.enqueue(job).await;
    let found = world.get(id).await;
    assert_eq!(found.status, ExecutionStatus::Queued);
    assert_eq!((found.job_name.as_str(), found.priority), ("nightly", 2));
    assert_eq!(
        (found.start_time, found.end_time, found.saveset_id),
        (None, None, None)
    );
    assert_eq!(found.server_execution_id(), None);
    world.take().await;
    let found = world.get(id).await;
    assert_eq!(
        found.server_execution_id().unwrap().to_string(),
        format!("{id}.1")
    );
}

#[tokio::test]
async fn a_job_has_one_execution_at_a_time() {
    let (world, job) = World::with_job().await;
    let first = world.enqueue(job).await;
    let refused = async || {
        let error = world
            .catalog
            .enqueue(&NewExecution::of(shop(), job), None)
            .await
            .unwrap_err();
        assert!(matches!(error, CatalogError::JobRunning { execution, .. } if execution == first));
    };
    refused().await;
    let leased = world.take().await;
    refused().await;
    world
        .catalog
        .request_abort(first, "by admin")
        .await
        .unwrap();
    refused().await;
    let released = catalog::Ending::because(RunEvent::Released, "Aborted");
    world
        .catalog
        .finish(&leased, &released)
        .await
        .unwrap()
        .unwrap();
    assert!(world.enqueue(job).await > first);
}

#[tokio::test]
async fn a_restore_is_seen_under_both_sites_and_a_backup_only_under_its_own() {
    let (world, job) = World::with_job().await;
    let backup = world.back_up(job, 1).await;
    let drill = site_id("drill");
    world.add_site("drill").await;
    let restore = restore_of(job, backup, 1, &drill);
    let restore = world
        .catalog
        .enqueue_restore(&shop(), &restore, None)
        .await
        .unwrap();
    for site in [&shop(), &drill] {
        let found = world
            .catalog
            .execution(site, restore.execution_id)
            .await
            .unwrap();
        assert_eq!(
            (found.site_id.clone(), found.target_site.clone()),
            (shop(), Some(drill.clone()))
        );
        assert_eq!(*found.runs_on(), drill);
        assert_eq!(found.parent_execution, Some(backup));
        assert_eq!(found.saveset_id.unwrap().get(), 1);
        let filter = ExecutionFilter::restores_of_site(site);
        assert_eq!(
            world
                .catalog
                .executions(&filter, Page::All)
                .await
                .unwrap()
                .total,
            1
        );
    }
    let error = world.catalog.execution(&drill, backup).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("site drill has no execution {backup}")
    );
    let unknown = ExecutionId::new(99).unwrap();
    assert_eq!(
        world
            .catalog
            .execution(&shop(), unknown)
            .await
            .unwrap_err()
            .code(),
        "no-execution"
    );
    let own = ExecutionFilter::of_site(&shop());
    assert_eq!(
        world
            .catalog
            .executions(&own, Page::All)
            .await
            .unwrap()
            .total,
        2
    );
}

#[tokio::test]
async fn a_restore_needs_its_saveset_and_both_sites() {
    let (world, job) = World::with_job().await;
    let backup = world.back_up(job, 1).await;
    let code = async |definition| {
        world
            .catalog
            .enqueue_restore(&shop(), &definition, None)
            .await
            .unwrap_err()
            .code()
    };
    assert_eq!(
        code(restore_of(job, backup, 2, &shop())).await,
        "no-saveset"
    );
    assert_eq!(
        code(restore_of(job, backup, 1, &site_id("nowhere"))).await,
        "no-site"
    );
    assert_eq!(code(job_of("no restore")).await, "no-restore-settings");
    let jobs = world.catalog.all_jobs().await.unwrap();
    assert_eq!(jobs.len(), 1, "what was refused left no job behind");
}

#[tokio::test]
async fn lists_are_filtered_by_job_status_type_backup_and_time() {
    let (world, job) = World::with_job().await;
    let start = world.later(0);
    let first = world.back_up(job, 1).await;
    let between = world.later(0);
    let second = world.back_up(job, 2).await;
    let other = world.add_job("other").await;
    let queued = world.enqueue(other).await;
    let restore = restore_of(job, first, 1, &shop());
    let restore = world
        .catalog
        .enqueue_restore(&shop(), &restore, None)
        .await
        .unwrap();
    let ids = async |filter: ExecutionFilter| {
        let rows = world.catalog.executions(&filter, Page::All).await.unwrap();
        assert_eq!(rows.total, rows.rows.len() as u64);
        rows.rows
            .iter()
            .map(|execution| execution.execution_id)
            .collect::<Vec<_>>()
    };
    let all = || ExecutionFilter::of_site(&shop());
    let restore = restore.execution_id;
    assert_eq!(ids(all()).await, [restore, queued, second, first]);
    assert_eq!(
        ids(ExecutionFilter::of_job(&shop(), job)).await,
        [second, first]
    );
    assert_eq!(
        ids(ExecutionFilter::restores_from(&shop(), first)).await,
        [restore]
    );
    assert!(
        ids(ExecutionFilter::restores_from(&shop(), second))
            .await
            .is_empty()
    );
    let successful = ExecutionFilter {
        status: Some(ExecutionStatus::Successful),
        ..all()
    };
    assert_eq!(ids(successful).await, [second, first]);
    let restores = ExecutionFilter {
        job_type: Some(JobType::Restore),
        ..all()
    };
    assert_eq!(ids(restores).await, [restore]);
    let from_second = ExecutionFilter {
        since: Some(between),
        ..all()
    };
    assert_eq!(
        ids(from_second).await,
        [second],
        "since is included; QUEUED has no start"
    );
    let before_second = ExecutionFilter {
        since: Some(start),
        until: Some(between),
        ..all()
    };
    assert_eq!(ids(before_second).await, [first], "until is not included");
    let nowhere = ExecutionFilter::of_site(&site_id("nowhere"));
    assert_eq!(
        world
            .catalog
            .executions(&nowhere, Page::All)
            .await
            .unwrap_err()
            .code(),
        "no-site"
    );
}

#[tokio::test]
async fn unfinished_executions_are_found_again_after_a_restart() {
    let (world, job) = World::with_job().await;
    let other = world.add_job("other").await;
    world.back_up(job, 1).await;
    let running = world.enqueue(job).await;
    let queued = world.enqueue(other).await;
    let leased = world
        .catalog
        .take_next(far_off(), &[])
        .await
        .unwrap()
        .unwrap();
    assert!(
        world
            .catalog
            .set_saveset(&leased, crate::world::saveset_id(2))
            .await
            .unwrap()
    );
    let world = world.reopened().await;
    let found = world.catalog.unfinished().await.unwrap();
    let ids: Vec<_> = found
        .iter()
        .map(|execution| execution.execution_id)
        .collect();
    assert_eq!(ids, [running, queued]);
    assert_eq!(found[0].claimed_saveset.unwrap().get(), 2);
    assert_eq!(
        found[0].saveset_id, None,
        "not shown before it is committed"
    );
    assert_eq!(
        found[0].lease_node.as_deref(),
        Some(world.catalog.node_id())
    );
    assert_eq!(found[0].lease_until, Some(far_off()));
}
