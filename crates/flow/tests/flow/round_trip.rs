//! What was read is what is restored.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use model::{FRAME_BYTES, Phase, SkippedObject};
use object_store::ObjectStore;
use testkit::Operation;
use testkit::memory_engine::{MemoryDatabase, Stage};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use vault::{Saveset, SavesetState, SegmentEntry};

use crate::rig::{Rig, rows, shop};

async fn comes_back(rig: &Rig) {
    let made = rig.backup().await.unwrap();
    let restored = rig.restore(&made.saveset, "copy").await.unwrap();
    assert_eq!(rig.engine.contents("copy"), rig.engine.contents("shop"));
    let all = rig.engine.contents("shop").unwrap();
    let rows = all.tables.values().map(Vec::len).sum::<usize>() as u64;
    assert_eq!((made.rows, restored.rows), (rows, rows));
    assert_eq!(restored.published[0].database.to_string(), "copy");
    assert_eq!(restored.errors, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_comes_back_equal_from_a_vault_in_memory() {
    comes_back(&Rig::with_a_shop().await).await;
}

#[tokio::test]
async fn a_database_comes_back_equal_where_the_runtime_has_one_thread() {
    comes_back(&Rig::with_a_shop().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_comes_back_equal_from_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().display());
    let (store, _) = vault::open_store(&url, &Default::default()).unwrap();
    let rig = Rig::over(store).await;
    rig.engine.put_database("shop", shop());
    comes_back(&rig).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_without_tables_and_without_rows_comes_back() {
    let rig = Rig::new().await;
    rig.engine
        .put_database("shop", MemoryDatabase::new().ddl("nothing"));
    comes_back(&rig).await;
    let rig = Rig::new().await;
    let empty = MemoryDatabase::new().table("a", Vec::new(), 1);
    rig.engine
        .put_database("shop", empty.table("b", Vec::new(), 1));
    comes_back(&rig).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dictionary_may_be_longer_than_a_frame() {
    let rig = Rig::new().await;
    let mut ddl = String::new();
    while ddl.len() < 3 * FRAME_BYTES {
        ddl.push_str(&blake3::hash(ddl.len().to_string().as_bytes()).to_string());
    }
    let database = MemoryDatabase::new().ddl(&ddl).table("a", rows(5, 5), 1);
    rig.engine.put_database("shop", database);
    comes_back(&rig).await;
    assert!(rig.progress.bytes_moved(Phase::Dictionary) > 6 * FRAME_BYTES as u64);
}

async fn segments(saveset: &Saveset) -> Vec<Vec<(u32, u64, u64, String)>> {
    let told = |entry: &SegmentEntry| {
        let hash = entry.hash.to_string();
        (entry.blocks.start, entry.row_count, entry.plain_bytes, hash)
    };
    let mut all = Vec::new();
    for table in 0..saveset.databases()[0].tables.len() {
        let sheet = saveset.sheet(0, table).await.unwrap();
        all.push(sheet.segments.iter().map(told).collect());
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_stream_and_four_give_equal_savesets_and_equal_restores() {
    let mut found = Vec::new();
    for streams in [1, 4] {
        let mut rig = Rig::with_a_shop().await;
        rig.streams = streams;
        let made = rig.backup().await.unwrap();
        assert_eq!(rig.engine.count(Stage::Reader), streams);
        rig.restore(&made.saveset, "copy").await.unwrap();
        assert_eq!(rig.engine.count(Stage::Loader), streams);
        assert_eq!(rig.engine.contents("copy"), rig.engine.contents("shop"));
        found.push(segments(&made.saveset).await);
    }
    assert_eq!(found[0], found[1]);
    assert!(found[0].iter().map(Vec::len).sum::<usize>() > 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_segments_index_covers_its_rows() {
    let rig = Rig::with_a_shop().await;
    let saveset = rig.backup().await.unwrap().saveset;
    let mut rows = 0;
    for table in 0..saveset.databases()[0].tables.len() {
        for segment in saveset.sheet(0, table).await.unwrap().segments {
            let index = saveset.index(&segment).await.unwrap();
            assert_eq!(index.rows(), segment.row_count);
            assert!(
                index
                    .spans()
                    .iter()
                    .all(|s| segment.blocks.contains(s.block))
            );
            rows += index.rows();
        }
    }
    assert_eq!(rows, 2_000 + 300 + 4 + 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_takes_the_streams_that_are_free_and_gives_them_back() {
    let mut rig = Rig::with_a_shop().await;
    rig.streams = 4;
    rig.limits = Arc::new(Semaphore::new(3));
    let held = rig.limits.clone().acquire_owned().await.unwrap();
    let made = rig.backup().await.unwrap();
    assert_eq!(made.saveset.databases()[0].facts.0["streams"], 2);
    assert_eq!(rig.engine.count(Stage::Reader), 2);
    assert_eq!(rig.limits.available_permits(), 2);
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_waits_for_its_first_stream_before_it_touches_anything() {
    let mut rig = Rig::with_a_shop().await;
    rig.limits = Arc::new(Semaphore::new(1));
    let held = rig.limits.clone().acquire_owned().await.unwrap();
    let cancel = CancellationToken::new();
    let run = flow::backup(rig.backup_input("7.1"), |_| async { Ok(()) }, cancel);
    let run = tokio::spawn(run);
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    assert!(!run.is_finished());
    assert_eq!(rig.engine.count(Stage::OpenSource), 0);
    assert_eq!(rig.store.calls().len(), 0);
    drop(held);
    run.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_tells_phases_objects_and_bytes() {
    let rig = Rig::with_a_shop().await;
    let made = rig.backup().await.unwrap();
    let progress = &rig.progress;
    assert_eq!(progress.started(), [Phase::Dictionary, Phase::Data]);
    assert_eq!(progress.done(), [Phase::Dictionary, Phase::Data]);
    assert_eq!(progress.objects_total(Phase::Data), 5);
    assert_eq!(progress.objects(Phase::Data), 5);
    let tables = &made.saveset.databases()[0].tables;
    let of_rows = tables.iter().map(|table| table.plain_bytes).sum::<u64>();
    assert_eq!(progress.bytes_moved(Phase::Data), of_rows);
    let all = of_rows + progress.bytes_moved(Phase::Dictionary);
    assert_eq!(made.bytes_read, all);

    let again = Arc::new(testkit::RecordedProgress::new());
    let mut input = rig.restore_input(&made.saveset, "copy");
    input.progress = again.clone();
    flow::restore(input, CancellationToken::new())
        .await
        .unwrap();
    let phases = [
        Phase::Dictionary,
        Phase::Data,
        Phase::Build,
        Phase::Postscript,
    ];
    assert_eq!(again.started(), phases);
    assert_eq!(again.done(), phases);
    assert_eq!(again.objects(Phase::Data), 5);
    assert_eq!(again.bytes_moved(Phase::Data), of_rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_are_counted_as_they_lie_in_the_vault() {
    use futures::TryStreamExt;
    let rig = Rig::with_a_shop().await;
    let made = rig.backup().await.unwrap();
    let packs = rig.store.inner().list(Some(&"packs".into()));
    let packs: Vec<_> = packs.try_collect().await.unwrap();
    let stored = packs.iter().map(|pack| pack.size).sum::<u64>();
    assert_eq!(made.bytes_stored, stored);
    // Footers and indexes are stored, and neither is a row.
    let restored = rig.restore(&made.saveset, "copy").await.unwrap();
    assert!(restored.bytes_read > 0 && restored.bytes_read < stored);
    assert_eq!(made.backup_set_size, made.saveset.bytes_referred());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_backup_leaves_one_pack_a_stream_at_most() {
    for streams in [1, 3] {
        let mut rig = Rig::with_a_shop().await;
        rig.streams = streams;
        rig.backup().await.unwrap();
        let packs = rig.calls_to(Operation::Put, "packs/");
        assert!((1..=streams).contains(&packs), "{packs} packs");
        assert_eq!(rig.calls_to(Operation::Put, "manifests/"), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_id_is_told_when_its_pin_is_there_and_nothing_else() {
    let rig = Rig::with_a_shop().await;
    let (store, told) = (rig.store.clone(), Arc::new(Mutex::new(Vec::new())));
    let (times, calls) = (Arc::new(AtomicUsize::new(0)), told.clone());
    let counted = times.clone();
    let on_saveset = move |id| async move {
        counted.fetch_add(1, Ordering::SeqCst);
        let puts = store.calls().into_iter();
        let puts = puts.filter(|call| call.operation == Operation::Put);
        *calls.lock().unwrap() = puts.map(|call| (id, call.path)).collect();
        Ok(())
    };
    let run = flow::backup(
        rig.backup_input("7.1"),
        on_saveset,
        CancellationToken::new(),
    );
    let id = run.await.unwrap().saveset.id();
    assert_eq!(*told.lock().unwrap(), [(id, "pins/7".to_owned())]);
    assert_eq!(times.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn warnings_and_skipped_objects_stand_in_the_manifest() {
    let rig = Rig::with_a_shop().await;
    rig.engine.warn("the file is not in WAL mode");
    rig.engine.skip("note", "no right to read it");
    let made = rig.backup().await.unwrap();
    let skipped = [SkippedObject {
        object: "note".to_owned(),
        reason: "no right to read it".to_owned(),
    }];
    assert_eq!(made.warnings, ["the file is not in WAL mode"]);
    assert_eq!(made.skipped, skipped);
    assert_eq!(rig.progress.warnings(), made.warnings);
    let contents = &made.saveset.manifest().contents;
    assert_eq!(contents.skipped, skipped);
    assert!(
        contents
            .tables()
            .all(|table| table.plan.name.last() != "note")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_manifest_says_where_it_comes_from() {
    let rig = Rig::with_a_shop().await;
    let made = rig.backup().await.unwrap();
    let contents = &made.saveset.manifest().contents;
    assert_eq!(contents.execution.to_string(), "7.1");
    assert_eq!(contents.job_name, "nightly");
    assert_eq!(contents.databases[0].name.to_string(), "shop");
    assert_eq!(contents.start.to_the_second(), "2026-01-31T02:00:00Z");
    assert_eq!(contents.end.to_the_second(), "2026-01-31T02:01:00Z");
    assert_eq!(contents.objects().count(), 6);
    assert_eq!(contents.base, None);
    let states = rig.states().await;
    assert_eq!(states[&made.saveset.id()], SavesetState::Committed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_changes_nothing() {
    let rig = Rig::with_a_shop().await;
    let made = rig.backup().await.unwrap();
    let found = flow::plan_restore(&rig.restore_input(&made.saveset, "copy"))
        .await
        .unwrap();
    assert_eq!(found.obstacles, []);
    assert_eq!(found.steps, ["make copy"]);
    let found = flow::plan_restore(&rig.restore_input(&made.saveset, "shop"))
        .await
        .unwrap();
    assert_eq!(found.obstacles[0].code, "target-not-empty");
    assert_eq!(rig.engine.count(Stage::Prepare), 0);
    rig.assert_no_trace_of_a_restore().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stood_in_the_place_before_is_kept() {
    let rig = Rig::with_a_shop().await;
    let made = rig.backup().await.unwrap();
    let before = rig.engine.contents("shop");
    rig.engine
        .put_database("shop", MemoryDatabase::new().table("new", rows(1, 1), 1));
    let mut input = rig.restore_input(&made.saveset, "shop");
    input.options.replace_existing = true;
    let restored = flow::restore(input, CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(rig.engine.contents("shop"), before);
    let kept = restored.published[0].kept.clone().unwrap();
    let kept = rig.engine.contents(kept.last()).unwrap();
    assert!(kept.tables.contains_key("new"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_backups_at_once_make_two_savesets() {
    let rig = Rig::with_a_shop().await;
    let run = |id: &str| {
        let input = rig.backup_input(id);
        flow::backup(input, |_| async { Ok(()) }, CancellationToken::new())
    };
    let (one, two) = tokio::join!(run("7.1"), run("9.1"));
    let (one, two) = (one.unwrap().saveset, two.unwrap().saveset);
    assert_ne!(one.id(), two.id());
    for saveset in [one, two] {
        let name = format!("copy-{}", saveset.id());
        rig.restore(&saveset, &name).await.unwrap();
        assert_eq!(rig.engine.contents(&name), rig.engine.contents("shop"));
    }
}
