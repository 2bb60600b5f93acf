use catalog::{Ending, Notes, PhaseRecord, ProgressSnapshot};
use model::{ExecutionStatus, Fault, Moment, Phase, PhaseStatus, RunEvent, RunType, SkippedObject};

use crate::world::{World, saveset_id, shop};

fn snapshot(start_time: Moment) -> ProgressSnapshot {
    ProgressSnapshot {
        phases: vec![
            PhaseRecord {
                phase: Phase::Dictionary,
                status: PhaseStatus::Successful,
                objects_done: 3,
                objects_total: 3,
                bytes: 700,
                start_time,
                end_time: Some(start_time),
            },
            PhaseRecord {
                phase: Phase::Data,
                status: PhaseStatus::Running,
                objects_done: 1,
                objects_total: 9,
                bytes: 5_000,
                start_time,
                end_time: None,
            },
        ],
        bytes_read: 5_700,
        warnings: vec!["somebody waits".to_owned()],
        skipped: vec![SkippedObject {
            object: "public.x".to_owned(),
            reason: "no right".to_owned(),
        }],
        detail: "DATA: 1 of 9 objects".to_owned(),
    }
}

#[tokio::test]
async fn progress_is_seen_while_an_execution_runs() {
    let (world, job) = World::with_job().await;
    let id = world.enqueue(job).await;
    let leased = world.take().await;
    let told = snapshot(world.later(1));
    assert!(
        world
            .catalog
            .set_attempt(&leased, 1, Some(RunType::Full))
            .await
            .unwrap()
    );
    assert!(world.catalog.save_progress(&leased, &told).await.unwrap());
    let found = world.get(id).await;
    assert_eq!((&found.phases, found.bytes_read), (&told.phases, 5_700));
    assert_eq!(found.status_detail, told.detail);
    assert_eq!(found.run_type, Some(RunType::Full));
    let notes = Notes {
        warnings: told.warnings.clone(),
        skipped: told.skipped.clone(),
    };
    assert_eq!(world.catalog.notes(id).await.unwrap(), notes);

    let mut changed = told.clone();
    changed.warnings[0] = "somebody else waits".to_owned();
    assert!(
        world
            .catalog
            .save_progress(&leased, &changed)
            .await
            .unwrap()
    );
    assert_eq!(
        world.catalog.notes(id).await.unwrap().warnings,
        changed.warnings
    );
}

#[tokio::test]
async fn a_new_attempt_forgets_what_the_one_before_had_told() {
    let (world, job) = World::with_job().await;
    let id = world.enqueue(job).await;
    let leased = world.take().await;
    world
        .catalog
        .set_saveset(&leased, saveset_id(4))
        .await
        .unwrap();
    world
        .catalog
        .save_progress(&leased, &snapshot(world.later(1)))
        .await
        .unwrap();
    assert!(world.catalog.set_attempt(&leased, 2, None).await.unwrap());
    let found = world.get(id).await;
    assert_eq!(
        found.server_execution_id().unwrap().to_string(),
        format!("{id}.2")
    );
    assert_eq!(
        (found.phases.len(), found.bytes_read, found.claimed_saveset),
        (0, 0, None)
    );
    assert_eq!(world.catalog.notes(id).await.unwrap(), Notes::default());
}

#[tokio::test]
async fn a_successful_backup_enters_the_list_of_savesets_together_with_its_status() {
    let (world, job) = World::with_job().await;
    let id = world.back_up(job, 7).await;
    let found = world.get(id).await;
    assert_eq!(found.status, ExecutionStatus::Successful);
    assert_eq!(found.saveset_id, Some(saveset_id(7)));
    assert_eq!((found.backup_set_size, found.bytes_stored), (1_000, 400));
    assert_eq!((found.lease_node, found.lease_until), (None, None));
    let saveset = world.catalog.saveset(&shop(), saveset_id(7)).await.unwrap();
    assert_eq!((saveset.job_id, saveset.execution_id), (job, id));
    assert_eq!(
        (saveset.backup_set_size, saveset.bytes_stored),
        (1_000, 400)
    );
    assert_eq!(Some(saveset.start_time), found.start_time);
    assert_eq!(Some(saveset.end_time), found.end_time);
    assert_eq!(
        (saveset.run_type, saveset.is_retained),
        (RunType::Full, false)
    );
}

#[tokio::test]
async fn what_was_recorded_out_of_the_vault_stands_when_its_execution_is_settled() {
    let (world, job) = World::with_job().await;
    let id = world.enqueue(job).await;
    let leased = world.take().await;
    let started = leased.execution.start_time.unwrap();
    let record = catalog::SavesetRecord {
        site_id: shop(),
        saveset_id: saveset_id(1),
        job_id: job,
        job_name: "nightly".to_owned(),
        execution_id: id,
        run_type: RunType::Full,
        start_time: started,
        end_time: world.later(10),
        backup_set_size: 5,
        bytes_stored: 4,
        is_retained: false,
        version: 1,
        is_condemned: false,
        is_damaged: false,
        verification: None,
    };
    world.catalog.record_saveset(&record).await.unwrap();
    world.later(3_600);
    let ending = Ending {
        saveset: Some(saveset_id(1)),
        ..Ending::because(RunEvent::Succeed, "It was in the vault")
    };
    world.catalog.settle(id, &ending, None).await.unwrap();
    assert_eq!(
        world.catalog.saveset(&shop(), saveset_id(1)).await.unwrap(),
        record
    );
}

#[tokio::test]
async fn a_phase_that_never_ended_takes_the_status_of_its_execution() {
    for (event, status) in [
        (RunEvent::Fail, PhaseStatus::Failed),
        (RunEvent::Released, PhaseStatus::Aborted),
        (RunEvent::SucceedWithWarnings, PhaseStatus::Successful),
    ] {
        let (world, job) = World::with_job().await;
        let id = world.enqueue(job).await;
        let leased = world.take().await;
        world
            .catalog
            .save_progress(&leased, &snapshot(world.later(1)))
            .await
            .unwrap();
        if event == RunEvent::Released {
            world.catalog.request_abort(id, "by admin").await.unwrap();
        }
        let end = world.later(5);
        world
            .catalog
            .finish(&leased, &Ending::because(event, "so it is"))
            .await
            .unwrap()
            .unwrap();
        let found = world.get(id).await;
        assert_eq!(found.phases[0].status, PhaseStatus::Successful);
        assert_eq!(found.phases[1].status, status, "{event}");
        assert_eq!(found.phases[1].end_time, Some(end));
        assert_eq!(
            (found.end_time, found.status_detail.as_str()),
            (Some(end), "so it is")
        );
        assert_eq!(found.bytes_read, 5_700, "what was told last stays");
        assert_eq!(world.catalog.notes(id).await.unwrap().warnings.len(), 1);
    }
}

#[tokio::test]
async fn an_abort_ends_what_waits_and_asks_what_runs() {
    let (world, job) = World::with_job().await;
    let waiting = world.enqueue(job).await;
    let status = world
        .catalog
        .request_abort(waiting, "Aborted by admin")
        .await
        .unwrap();
    assert_eq!(status, ExecutionStatus::Aborted);
    let found = world.get(waiting).await;
    assert_eq!(
        (found.start_time, found.status_detail.as_str()),
        (None, "Aborted by admin")
    );
    assert!(found.end_time.is_some());
    let again = world
        .catalog
        .request_abort(waiting, "again")
        .await
        .unwrap_err();
    assert_eq!(again.code(), "execution-ended");

    let running = world.enqueue(job).await;
    let leased = world.take().await;
    for why in ["Abort asked for by admin", "by somebody else"] {
        let status = world.catalog.request_abort(running, why).await.unwrap();
        assert_eq!(status, ExecutionStatus::Aborting);
    }
    world
        .catalog
        .save_progress(&leased, &snapshot(world.later(1)))
        .await
        .unwrap();
    assert_eq!(
        world.get(running).await.status_detail,
        "Abort asked for by admin"
    );
    let committed = Ending {
        saveset: Some(saveset_id(3)),
        ..Ending::because(RunEvent::Succeed, "The abort came after the commit")
    };
    let status = world.catalog.finish(&leased, &committed).await.unwrap();
    assert_eq!(status, Some(ExecutionStatus::Successful));
}

#[tokio::test]
async fn what_is_no_ending_is_refused() {
    let (world, job) = World::with_job().await;
    let id = world.enqueue(job).await;
    let leased = world.take().await;
    for event in [
        RunEvent::Start,
        RunEvent::AskAbort,
        RunEvent::Skip,
        RunEvent::Released,
    ] {
        let ending = Ending::because(event, "no");
        let error = world.catalog.finish(&leased, &ending).await.unwrap_err();
        assert_eq!(error.code(), "illegal-transition", "{event}");
    }
    assert_eq!(world.get(id).await.status, ExecutionStatus::Running);
}

#[tokio::test]
async fn a_dead_run_is_settled_and_its_work_is_queued_again_in_one_step() {
    let (world, job) = World::with_job().await;
    let id = world.enqueue(job).await;
    let leased = world.take().await;
    world
        .catalog
        .set_attempt(&leased, 1, Some(RunType::Full))
        .await
        .unwrap();
    let ending = Ending::because(RunEvent::Fail, "The server stopped while it ran");
    let settled = world
        .catalog
        .settle(id, &ending, Some("Queued again"))
        .await
        .unwrap();
    assert_eq!(settled.status, ExecutionStatus::Failed);
    let again = world.get(settled.requeued.unwrap()).await;
    assert_eq!((again.status, again.job_id), (ExecutionStatus::Queued, job));
    assert_eq!(again.requeue_of, Some(id));
    assert_eq!(
        again.run_type, None,
        "as it was asked for, not what it became"
    );
    assert_eq!(again.status_detail, "Queued again");
    let twice = world
        .catalog
        .settle(id, &ending, Some("Queued again"))
        .await
        .unwrap_err();
    assert_eq!(twice.code(), "illegal-transition");
    assert_eq!(world.catalog.unfinished().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_clock_set_back_ends_no_run_before_it_began() {
    let (world, job) = World::with_job().await;
    let id = world.enqueue(job).await;
    let leased = world.take().await;
    world.clock.set("2020-01-01T00:00:00Z".parse().unwrap());
    let ending = Ending::because(RunEvent::Succeed, "Done");
    world.catalog.finish(&leased, &ending).await.unwrap();
    let found = world.get(id).await;
    assert_eq!(found.end_time, found.start_time);
}
