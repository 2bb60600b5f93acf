//! What of a base holds: files that nobody touched, and pages that hash as before.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use engine_sqlite::SqliteEngine;
use model::{Base, Basis, BlockRange, BlockSet, Engine, Patching, SegmentTask, Source};
use testkit::RecordedProgress;

use crate::hand::{Copy, back_up, make, read_segment, site, source_request};

const TABLE: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, x TEXT);
    WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
    INSERT INTO t SELECT i, hex(randomblob(100)) FROM n;";

fn an_hour_ago() -> SystemTime {
    SystemTime::now() - Duration::from_secs(3600)
}

fn made(directory: &tempfile::TempDir, script: &str) -> PathBuf {
    let file = directory.path().join("shop.db");
    make(&file, script);
    file
}

fn set_back(file: &Path, to: SystemTime) {
    File::options()
        .write(true)
        .open(file)
        .unwrap()
        .set_modified(to)
        .unwrap();
}

async fn source_on(directory: &Path, copy: &Copy) -> Box<dyn Source> {
    let progress = Arc::new(RecordedProgress::new());
    let mut request = source_request("shop.db", &progress);
    request.base = Some(Arc::new(Base {
        facts: copy.facts.clone(),
        tables: copy.plan.tables.clone(),
    }));
    let engine = SqliteEngine::new();
    engine.open_source(&site(directory), request).await.unwrap()
}

async fn basis_of(directory: &Path, copy: &Copy) -> Basis {
    let mut source = source_on(directory, copy).await;
    let plan = source.plan().await.unwrap();
    assert!(plan.changed_blocks.is_some());
    plan.basis[0].clone()
}

fn is_untouched(basis: &Basis) -> bool {
    matches!(basis, Basis::Changed { blocks, .. } if blocks.is_empty())
}

fn sql(file: &Path, script: &str) {
    let database = rusqlite::Connection::open(file).unwrap();
    database.execute_batch(script).unwrap();
}

#[tokio::test]
async fn a_file_that_nobody_touched_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let file = made(&directory, TABLE);
    set_back(&file, an_hour_ago());
    let base = back_up(directory.path(), "shop.db").await.unwrap();
    let mut source = source_on(directory.path(), &base).await;
    let plan = source.plan().await.unwrap();
    assert!(is_untouched(&plan.basis[0]) && plan.tasks.is_empty());
    // The rows that were counted for the base are told again.
    assert_eq!(source.finish().await.unwrap(), base.facts);
}

/// Nothing of what happens here shows in the time of the file's last change.
async fn is_compared_after(touch: impl FnOnce(&Path)) {
    let directory = tempfile::tempdir().unwrap();
    let file = made(&directory, TABLE);
    let then = an_hour_ago();
    set_back(&file, then);
    let base = back_up(directory.path(), "shop.db").await.unwrap();
    touch(&file);
    set_back(&file, then);
    let basis = basis_of(directory.path(), &base).await;
    assert!(matches!(basis, Basis::Compare { .. }), "{basis:?}");
}

#[tokio::test]
async fn a_change_counter_that_moved_is_seen_though_size_and_time_are_the_old_ones() {
    is_compared_after(|file| {
        sql(file, "UPDATE t SET x = hex(randomblob(100)) WHERE id = 7");
    })
    .await;
}

#[tokio::test]
async fn another_file_in_its_place_is_seen_though_it_is_a_copy_of_the_same_time() {
    is_compared_after(|file| {
        let copy = file.with_extension("copy");
        fs::copy(file, &copy).unwrap();
        fs::rename(&copy, file).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_file_that_grew_is_compared() {
    is_compared_after(|file| sql(file, "INSERT INTO t SELECT id + 9000, x FROM t")).await;
}

#[tokio::test]
async fn a_later_time_alone_is_reason_enough_to_compare() {
    let directory = tempfile::tempdir().unwrap();
    let file = made(&directory, TABLE);
    set_back(&file, an_hour_ago());
    let base = back_up(directory.path(), "shop.db").await.unwrap();
    set_back(&file, an_hour_ago() + Duration::from_secs(60));
    let basis = basis_of(directory.path(), &base).await;
    assert!(matches!(basis, Basis::Compare { .. }), "{basis:?}");
}

#[tokio::test]
async fn a_base_that_was_read_right_behind_a_change_is_not_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let file = made(&directory, TABLE);
    let just_now = SystemTime::now();
    set_back(&file, just_now);
    let base = back_up(directory.path(), "shop.db").await.unwrap();
    // In the same tick of the file system's clock, and without the change counter, as WAL mode may.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    set_back(&file, just_now);
    let basis = basis_of(directory.path(), &base).await;
    assert!(matches!(basis, Basis::Compare { .. }), "{basis:?}");
}

#[tokio::test]
async fn what_stands_in_the_wal_counts_though_the_file_is_still() {
    let directory = tempfile::tempdir().unwrap();
    let file = made(&directory, &format!("PRAGMA journal_mode = WAL; {TABLE}"));
    set_back(&file, an_hour_ago());
    let base = back_up(directory.path(), "shop.db").await.unwrap();
    assert!(is_untouched(&basis_of(directory.path(), &base).await));
    let writer = rusqlite::Connection::open(&file).unwrap();
    writer
        .execute("UPDATE t SET x = 'new' WHERE id = 7", [])
        .unwrap();
    assert_eq!(
        fs::metadata(&file)
            .unwrap()
            .modified()
            .unwrap()
            .elapsed()
            .unwrap()
            .as_secs()
            / 3600,
        1,
        "the change stands in the -wal alone"
    );
    let basis = basis_of(directory.path(), &base).await;
    assert!(matches!(basis, Basis::Compare { .. }), "{basis:?}");
}

#[tokio::test]
async fn pages_of_another_size_are_read_whole() {
    let directory = tempfile::tempdir().unwrap();
    let file = made(&directory, TABLE);
    let base = back_up(directory.path(), "shop.db").await.unwrap();
    sql(&file, "PRAGMA page_size = 8192; VACUUM");
    let mut source = source_on(directory.path(), &base).await;
    let plan = source.plan().await.unwrap();
    assert!(matches!(plan.basis[0], Basis::Nothing { .. }) && !plan.tasks.is_empty());
}

#[tokio::test]
async fn a_patch_has_only_the_pages_that_hash_otherwise() {
    let directory = tempfile::tempdir().unwrap();
    let file = made(&directory, TABLE);
    let base = back_up(directory.path(), "shop.db").await.unwrap();
    let page_size: usize = 4096;
    let before = fs::read(&file).unwrap();
    sql(
        &file,
        "UPDATE t SET x = hex(randomblob(100)) WHERE id IN (10, 2500, 4990)",
    );
    let after = fs::read(&file).unwrap();
    let pages = before.chunks(page_size).zip(after.chunks(page_size));
    let changed: BlockSet = (0_u32..)
        .zip(pages)
        .filter(|(_, (a, b))| a != b)
        .map(|(at, _)| at)
        .collect();
    assert!((3..8).contains(&changed.len()), "{changed:?}");
    assert_eq!(base.segments.len(), 1);

    let mut source = source_on(directory.path(), &base).await;
    source.plan().await.unwrap();
    let mut reader = source.reader().await.unwrap();
    let count = (after.len() / page_size) as u32;
    let task = SegmentTask {
        table: 0,
        blocks: BlockRange {
            start: 0,
            end: Some(count),
        },
        estimated_bytes: 0,
        patch: Some(Arc::new(Patching {
            blocks: (0..count).collect(),
            known: base.segments[0].index.clone(),
            must: BlockSet::new(),
        })),
    };
    let patch = read_segment(reader.as_mut(), task, &|| {}).unwrap();
    let listed: BlockSet = patch.index.spans().iter().map(|span| span.block).collect();
    assert_eq!(listed, changed);
    let wanted: Vec<u8> = changed
        .iter()
        .flat_map(|at| &after[at as usize * page_size..][..page_size])
        .copied()
        .collect();
    assert_eq!(patch.bytes, wanted);
}
