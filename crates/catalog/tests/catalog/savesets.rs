use catalog::{Page, SavesetRecord};
use model::Fault;

use crate::world::{World, restore_of, saveset_id, shop, site_id};

async fn ids(world: &World) -> Vec<i64> {
    let rows = world
        .catalog
        .savesets(&shop(), None, Page::All)
        .await
        .unwrap();
    assert_eq!(rows.total, rows.rows.len() as u64);
    rows.rows
        .iter()
        .map(|saveset| saveset.saveset_id.get())
        .collect()
}

#[tokio::test]
async fn savesets_are_listed_by_site_and_by_job_the_newest_first() {
    let (world, job) = World::with_job().await;
    let other = world.add_job("other").await;
    world.back_up(job, 1).await;
    world.back_up(other, 2).await;
    world.back_up(job, 5).await;
    assert_eq!(ids(&world).await, [5, 2, 1]);
    let of_job = world.catalog.savesets_of_job(&shop(), job).await.unwrap();
    assert_eq!(
        of_job
            .iter()
            .map(|s| s.saveset_id.get())
            .collect::<Vec<_>>(),
        [5, 1]
    );
    let page = Page::Numbered { number: 2, size: 1 };
    let rows = world
        .catalog
        .savesets(&shop(), Some(job), page)
        .await
        .unwrap();
    assert_eq!((rows.rows[0].saveset_id.get(), rows.total), (1, 2));
    let missing = world
        .catalog
        .saveset(&shop(), saveset_id(3))
        .await
        .unwrap_err();
    assert_eq!(missing.to_string(), "site shop has no saveset 3");
    let nowhere = world
        .catalog
        .saveset(&site_id("nowhere"), saveset_id(1))
        .await
        .unwrap_err();
    assert_eq!(nowhere.code(), "no-site");
}

#[tokio::test]
async fn protection_is_seen_on_the_execution_and_keeps_a_saveset() {
    let (world, job) = World::with_job().await;
    let execution = world.back_up(job, 1).await;
    let one = saveset_id(1);
    let kept = world
        .catalog
        .set_retained(&shop(), one, true, Some(1))
        .await
        .unwrap();
    assert_eq!((kept.is_retained, kept.version), (true, 2));
    assert!(world.get(execution).await.is_saveset_retained);
    let stale = world
        .catalog
        .set_retained(&shop(), one, false, Some(1))
        .await
        .unwrap_err();
    assert_eq!(stale.code(), "stale-version");
    let refused = world
        .catalog
        .condemn_saveset(&shop(), one)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "saveset-retained");
    world
        .catalog
        .set_retained(&shop(), one, false, None)
        .await
        .unwrap();
    world.catalog.condemn_saveset(&shop(), one).await.unwrap();
    let late = world
        .catalog
        .set_retained(&shop(), one, true, None)
        .await
        .unwrap_err();
    assert_eq!(late.code(), "no-saveset", "its deletion has begun");
}

#[tokio::test]
async fn a_deleted_saveset_leaves_the_lists_and_its_execution_says_so() {
    let (world, job) = World::with_job().await;
    let execution = world.back_up(job, 1).await;
    world.back_up(job, 2).await;
    assert!(!world.get(execution).await.is_saveset_deleted);
    world
        .catalog
        .condemn_saveset(&shop(), saveset_id(1))
        .await
        .unwrap();
    assert_eq!(ids(&world).await, [2, 1], "its manifest is still there");
    let restore = restore_of(job, execution, 1, &shop());
    let refused = world
        .catalog
        .enqueue_restore(&shop(), &restore, None)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "no-saveset");

    let world = world.reopened().await;
    let unfinished = world.catalog.condemned_savesets().await.unwrap();
    assert_eq!(unfinished.len(), 1, "a restart finishes what was begun");
    world
        .catalog
        .mark_deleted(&shop(), saveset_id(1))
        .await
        .unwrap();
    assert_eq!(ids(&world).await, [2]);
    assert!(world.catalog.condemned_savesets().await.unwrap().is_empty());
    let found = world.get(execution).await;
    assert_eq!(
        (found.saveset_id, found.is_saveset_deleted),
        (Some(saveset_id(1)), true)
    );
    let twice = world
        .catalog
        .mark_deleted(&shop(), saveset_id(1))
        .await
        .unwrap_err();
    assert_eq!(twice.code(), "no-saveset");
    assert!(world.catalog.has_savesets(&shop()).await.unwrap());
}

#[tokio::test]
async fn a_saveset_is_not_deleted_while_it_is_restored() {
    let (world, job) = World::with_job().await;
    let backup = world.back_up(job, 1).await;
    let restore = restore_of(job, backup, 1, &shop());
    let restore = world
        .catalog
        .enqueue_restore(&shop(), &restore, None)
        .await
        .unwrap();
    let refused = world
        .catalog
        .condemn_saveset(&shop(), saveset_id(1))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "saveset-in-use");
    world
        .catalog
        .request_abort(restore.execution_id, "by admin")
        .await
        .unwrap();
    world
        .catalog
        .condemn_saveset(&shop(), saveset_id(1))
        .await
        .unwrap();
}

#[tokio::test]
async fn the_vault_brings_back_a_saveset_that_the_catalog_took_for_deleted() {
    let (world, job) = World::with_job().await;
    let execution = world.back_up(job, 1).await;
    let record: SavesetRecord = world.catalog.saveset(&shop(), saveset_id(1)).await.unwrap();
    world
        .catalog
        .mark_deleted(&shop(), saveset_id(1))
        .await
        .unwrap();
    world.catalog.record_saveset(&record).await.unwrap();
    assert_eq!(
        world.catalog.saveset(&shop(), saveset_id(1)).await.unwrap(),
        record
    );
    assert!(!world.get(execution).await.is_saveset_deleted);
    world
        .catalog
        .set_retained(&shop(), saveset_id(1), true, None)
        .await
        .unwrap();
    world.catalog.record_saveset(&record).await.unwrap();
    let kept = world.catalog.saveset(&shop(), saveset_id(1)).await.unwrap();
    assert!(kept.is_retained, "recording it again keeps its protection");
}
