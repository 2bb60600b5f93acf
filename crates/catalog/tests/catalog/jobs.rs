use catalog::{CatalogError, JobFilter, Page};
use model::{ExecutionStatus, Fault, JobId, JobType};

use crate::world::{World, job_of, restore_of, shop, site_id};

#[tokio::test]
async fn a_job_reads_back_as_it_was_made_also_after_a_restart() {
    let world = World::with_site().await;
    let made = world
        .catalog
        .create_job(&shop(), &job_of("nightly"))
        .await
        .unwrap();
    assert_eq!(made.definition, job_of("nightly"));
    assert_eq!((made.version, made.last_execution.clone()), (1, None));
    let world = world.reopened().await;
    assert_eq!(world.catalog.job(&shop(), made.job_id).await.unwrap(), made);
}

#[tokio::test]
async fn a_job_is_found_under_its_own_site_only() {
    let (world, job) = World::with_job().await;
    world.add_site("other").await;
    let other = world.catalog.job(&site_id("other"), job).await.unwrap_err();
    assert_eq!(other.to_string(), format!("site other has no job {job}"));
    assert_eq!(
        world
            .catalog
            .job(&site_id("nowhere"), job)
            .await
            .unwrap_err()
            .code(),
        "no-site"
    );
    let unknown = JobId::new(99).unwrap();
    assert_eq!(
        world
            .catalog
            .job(&shop(), unknown)
            .await
            .unwrap_err()
            .code(),
        "no-job"
    );
    let no_site = world
        .catalog
        .create_job(&site_id("nowhere"), &job_of("x"))
        .await
        .unwrap_err();
    assert_eq!(no_site.code(), "no-site");
}

#[tokio::test]
async fn names_of_jobs_need_not_be_unique() {
    let world = World::with_site().await;
    let first = world.add_job("nightly").await;
    let second = world.add_job("nightly").await;
    assert!(second > first);
}

#[tokio::test]
async fn jobs_are_filtered_by_their_flag_and_type_and_paged_by_id() {
    let world = World::with_site().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        let mut definition = job_of(&format!("job {number}"));
        definition.is_active = number % 2 == 0;
        ids.push(
            world
                .catalog
                .create_job(&shop(), &definition)
                .await
                .unwrap()
                .job_id,
        );
    }
    let backup = world.back_up(ids[0], 1).await;
    let restore = restore_of(ids[0], backup, 1, &shop());
    let restore = world
        .catalog
        .enqueue_restore(&shop(), &restore, None)
        .await
        .unwrap()
        .job_id;
    let list = async |filter, page| {
        let rows = world.catalog.jobs(&shop(), filter, page).await.unwrap();
        (
            rows.rows.iter().map(|job| job.job_id).collect::<Vec<_>>(),
            rows.total,
        )
    };
    let all = JobFilter::default();
    let active = JobFilter {
        is_active: Some(true),
        job_type: Some(JobType::Backup),
    };
    let passive = JobFilter {
        is_active: Some(false),
        job_type: None,
    };
    let restores = JobFilter {
        is_active: None,
        job_type: Some(JobType::Restore),
    };
    assert_eq!(list(all, Page::All).await.1, 6);
    assert_eq!(
        list(active, Page::All).await,
        (vec![ids[0], ids[2], ids[4]], 3)
    );
    assert_eq!(list(passive, Page::All).await, (vec![ids[1], ids[3]], 2));
    assert_eq!(list(restores, Page::All).await, (vec![restore], 1));
    let page = Page::Numbered { number: 2, size: 2 };
    assert_eq!(list(all, page).await, (vec![ids[2], ids[3]], 6));
    assert_eq!(world.catalog.all_jobs().await.unwrap().len(), 6);
}

#[tokio::test]
async fn a_job_changes_only_from_the_version_that_was_seen() {
    let (world, job) = World::with_job().await;
    let mut definition = job_of("hourly");
    definition.is_active = false;
    let changed = world
        .catalog
        .update_job(&shop(), job, &definition, Some(1))
        .await
        .unwrap();
    assert_eq!((changed.version, &changed.definition), (2, &definition));
    let stale = world
        .catalog
        .update_job(&shop(), job, &definition, Some(1))
        .await
        .unwrap_err();
    assert_eq!(stale.code(), "stale-version");
    let passive = JobFilter {
        is_active: Some(false),
        job_type: None,
    };
    assert_eq!(
        world
            .catalog
            .jobs(&shop(), passive, Page::All)
            .await
            .unwrap()
            .total,
        1
    );
    definition.job_type = JobType::Restore;
    let error = world
        .catalog
        .update_job(&shop(), job, &definition, None)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "fixed-field");
}

#[tokio::test]
async fn a_deleted_job_is_gone_and_its_history_and_savesets_stay() {
    let (world, job) = World::with_job().await;
    let execution = world.back_up(job, 1).await;
    let live = world.enqueue(job).await;
    let error = world.catalog.delete_job(&shop(), job).await.unwrap_err();
    assert!(matches!(error, CatalogError::JobRunning { execution, .. } if execution == live));
    world.catalog.request_abort(live, "by admin").await.unwrap();
    world.catalog.delete_job(&shop(), job).await.unwrap();
    assert_eq!(
        world.catalog.job(&shop(), job).await.unwrap_err().code(),
        "no-job"
    );
    assert_eq!(
        world
            .catalog
            .delete_job(&shop(), job)
            .await
            .unwrap_err()
            .code(),
        "no-job"
    );
    assert_eq!(
        world
            .catalog
            .savesets(&shop(), None, Page::All)
            .await
            .unwrap()
            .total,
        1
    );
    let found = world.catalog.execution(&shop(), execution).await.unwrap();
    assert_eq!(found.job_name, "nightly");
}

#[tokio::test]
async fn last_execution_of_a_backup_job_is_its_newest_with_the_newest_restore_of_it() {
    let (world, job) = World::with_job().await;
    let last = async || {
        world
            .catalog
            .job(&shop(), job)
            .await
            .unwrap()
            .last_execution
            .unwrap()
    };
    let backup = world.back_up(job, 1).await;
    let found = last().await;
    assert_eq!(found.status, ExecutionStatus::Successful);
    assert_eq!(found.backup_set_size, 1_000);
    assert_eq!(
        (found.backup_job_id, found.backup_job_execution_id),
        (Some(job), Some(backup))
    );
    assert_eq!(found.restore_execution_id, None);
    let restore = restore_of(job, backup, 1, &shop());
    world
        .catalog
        .enqueue_restore(&shop(), &restore, None)
        .await
        .unwrap();
    let second = world
        .catalog
        .enqueue_restore(&shop(), &restore, None)
        .await
        .unwrap();
    assert_eq!(last().await.restore_execution_id, Some(second.execution_id));

    let job_of_restore = world.catalog.job(&shop(), second.job_id).await.unwrap();
    let found = job_of_restore.last_execution.unwrap();
    assert_eq!(
        (found.backup_job_id, found.backup_job_execution_id),
        (Some(job), Some(backup))
    );
    assert_eq!(found.restore_execution_id, Some(second.execution_id));
}

#[tokio::test]
async fn last_execution_is_one_that_has_not_ended_too() {
    let (world, job) = World::with_job().await;
    world.back_up(job, 1).await;
    let running = world.enqueue(job).await;
    world.take().await;
    let last = world
        .catalog
        .job(&shop(), job)
        .await
        .unwrap()
        .last_execution
        .unwrap();
    assert_eq!(
        (last.status, last.end_time),
        (ExecutionStatus::Running, None)
    );
    assert_eq!(last.backup_job_execution_id, Some(running));
}
