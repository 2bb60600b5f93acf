use std::time::Duration;

use catalog::{Attempt, Begun, ChangedIn, Ending, NewExecution, changed_blocks_source};
use model::{
    Beat, ChangedBlocks, ChangedBlocksSource, Fault, ObjectName, RunEvent, RunType, SavesetId,
};
use serde_json::json;

use crate::world::{World, saveset_id, shop, site_id};

fn delta(number: u32, base: SavesetId) -> Attempt {
    Attempt {
        number,
        run_type: RunType::Delta,
        reason: "DELTA of execution 1".to_owned(),
        base: Some(base),
        made_with: "{}".to_owned(),
    }
}

fn full(number: u32) -> Attempt {
    Attempt {
        run_type: RunType::Full,
        reason: "FULL, as asked".to_owned(),
        base: None,
        ..delta(number, saveset_id(1))
    }
}

fn found(database: &str, source: ChangedBlocksSource, why: Option<&str>) -> ChangedIn {
    ChangedIn {
        database: ObjectName::one(database),
        found: ChangedBlocks {
            source,
            why: why.map(str::to_owned),
        },
    }
}

#[tokio::test]
async fn a_base_cannot_be_deleted_while_a_backup_builds_on_it_nor_after_a_crash_until_that_is_settled()
 {
    let (world, job) = World::with_job().await;
    let first = world.back_up(job, 1).await;
    let second = world.enqueue(job).await;
    let leased = world.take().await;
    let base = saveset_id(1);
    let begun = world.catalog.begin_attempt(&leased, &delta(1, base)).await;
    assert_eq!(begun.unwrap(), Begun::Yes);
    let now = world.get(second).await;
    assert_eq!(now.run_type, Some(RunType::Delta));
    assert_eq!(now.parent_execution, Some(first));
    assert_eq!(now.base_saveset, Some(base));
    assert_eq!(now.run_reason.as_deref(), Some("DELTA of execution 1"));
    let world = world.reopened().await;
    let refused = world.catalog.condemn_saveset(&shop(), base).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), "saveset-in-use");
    assert!(refused.hint().unwrap().contains(&second.to_string()));

    let died = Ending::because(RunEvent::Fail, "The server stopped");
    let settled = world.catalog.settle(second, &died, Some("Again")).await;
    let again = settled.unwrap().requeued.unwrap();
    assert_eq!(world.get(again).await.run_type, None, "as it was asked for");
    world.catalog.condemn_saveset(&shop(), base).await.unwrap();
}

#[tokio::test]
async fn an_attempt_that_begins_anew_as_full_lets_its_base_go() {
    let (world, job) = World::with_job().await;
    world.back_up(job, 1).await;
    let second = world.enqueue(job).await;
    let leased = world.take().await;
    let base = saveset_id(1);
    let catalog = &world.catalog;
    let begun = catalog.begin_attempt(&leased, &delta(1, base)).await;
    assert_eq!(begun.unwrap(), Begun::Yes);
    let begun = catalog.begin_attempt(&leased, &full(2)).await;
    assert_eq!(begun.unwrap(), Begun::Yes);
    let now = world.get(second).await;
    assert_eq!((now.parent_execution, now.base_saveset), (None, None));
    assert_eq!((now.run_type, now.attempt), (Some(RunType::Full), 2));
    catalog.condemn_saveset(&shop(), base).await.unwrap();
    let begun = catalog.begin_attempt(&leased, &delta(3, base)).await;
    assert_eq!(begun.unwrap(), Begun::BaseGone, "its deletion is decided");
    assert_eq!(world.get(second).await.attempt, 2, "nothing was written");
}

#[tokio::test]
async fn whoever_lost_the_lease_begins_nothing() {
    let (world, job) = World::with_job().await;
    world.back_up(job, 1).await;
    let second = world.enqueue(job).await;
    let leased = world.take().await;
    let died = Ending::because(RunEvent::Fail, "The server stopped");
    world.catalog.settle(second, &died, None).await.unwrap();
    let late = world
        .catalog
        .begin_attempt(&leased, &delta(1, saveset_id(1)))
        .await;
    assert_eq!(late.unwrap(), Begun::LeaseLost);
    assert_eq!(world.get(second).await.base_saveset, None);
}

#[tokio::test]
async fn a_run_that_became_full_is_queued_again_as_it_was_asked_for() {
    let (world, job) = World::with_job().await;
    let new = NewExecution {
        run_type: Some(RunType::Delta),
        ..NewExecution::of(shop(), job)
    };
    let first = world.catalog.enqueue(&new, None).await.unwrap();
    let leased = world.take().await;
    let begun = world.catalog.begin_attempt(&leased, &full(1)).await;
    assert_eq!(begun.unwrap(), Begun::Yes);
    let first = first.execution_id;
    assert_eq!(world.get(first).await.run_type, Some(RunType::Full));
    let died = Ending::because(RunEvent::Fail, "The server stopped");
    let settled = world.catalog.settle(first, &died, Some("Again")).await;
    let again = settled.unwrap().requeued.unwrap();
    assert_eq!(world.get(again).await.run_type, Some(RunType::Delta));
}

#[tokio::test]
async fn how_changed_blocks_were_found_is_kept_with_the_end_and_the_slower_way_counts() {
    let (world, job) = World::with_job().await;
    let execution = world.enqueue(job).await;
    let leased = world.take().await;
    let changed = vec![
        found("shop", ChangedBlocksSource::WalSummary, None),
        found("crm", ChangedBlocksSource::Hash, Some("fsync is off")),
    ];
    let ending = Ending {
        run_type: Some(RunType::Delta),
        saveset: Some(saveset_id(2)),
        changed_blocks: changed.clone(),
        ..Ending::because(RunEvent::Succeed, "Done")
    };
    world.catalog.finish(&leased, &ending).await.unwrap();
    let kept = world.get(execution).await.changed_blocks;
    assert_eq!(kept, changed);
    assert_eq!(
        changed_blocks_source(&kept),
        Some(ChangedBlocksSource::Hash)
    );
    let fast = changed_blocks_source(&kept[..1]);
    assert_eq!(fast, Some(ChangedBlocksSource::WalSummary));
    assert_eq!(changed_blocks_source(&[]), None);
}

#[tokio::test]
async fn a_saveset_that_a_run_could_not_read_is_damaged() {
    let (world, job) = World::with_job().await;
    world.back_up(job, 1).await;
    let one = saveset_id(1);
    world.catalog.mark_damaged(&shop(), one).await.unwrap();
    let known = world.catalog.saveset(&shop(), one).await.unwrap();
    assert!(known.is_damaged);
}

#[tokio::test]
async fn beats_are_kept_for_a_day_in_the_order_in_which_they_were_made() {
    let world = World::with_site().await;
    world.add_site("crm").await;
    let day = Duration::from_secs(86_400);
    let beat = |n: u32| Beat(json!({ "n": n }));
    for n in 1..=3 {
        world
            .catalog
            .keep_beat(&shop(), &beat(n), day)
            .await
            .unwrap();
        world.later(36_000);
    }
    assert_eq!(
        world.catalog.beats(&shop()).await.unwrap(),
        [beat(1), beat(2), beat(3)]
    );
    assert!(
        world
            .catalog
            .beats(&site_id("crm"))
            .await
            .unwrap()
            .is_empty()
    );
    world
        .catalog
        .keep_beat(&shop(), &beat(4), day)
        .await
        .unwrap();
    let world = world.reopened().await;
    assert_eq!(
        world.catalog.beats(&shop()).await.unwrap(),
        [beat(2), beat(3), beat(4)],
        "the first is older than a day"
    );
    let nowhere = world
        .catalog
        .keep_beat(&site_id("nowhere"), &beat(1), day)
        .await;
    assert_eq!(nowhere.unwrap_err().code(), "no-site");
    world.catalog.delete_site(&shop()).await.unwrap();
    assert!(world.catalog.beats(&shop()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_clock_that_was_put_back_neither_keeps_beats_for_ever_nor_turns_their_order() {
    let world = World::with_site().await;
    let day = Duration::from_secs(86_400);
    let beat = |n: u32| Beat(json!(n));
    world.later(90 * 86_400);
    world
        .catalog
        .keep_beat(&shop(), &beat(1), day)
        .await
        .unwrap();
    world.clock.set("2026-02-15T02:00:00Z".parse().unwrap());
    for n in 2..=3 {
        world
            .catalog
            .keep_beat(&shop(), &beat(n), day)
            .await
            .unwrap();
    }
    assert_eq!(
        world.catalog.beats(&shop()).await.unwrap(),
        [beat(2), beat(3)]
    );
}
