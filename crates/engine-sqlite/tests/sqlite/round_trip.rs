//! What goes in comes out, for every shape of file.

use std::fs;

use model::{ObjectType, SEGMENT_BYTES};
use testkit::digest::{assert_equal, sqlite_digest};

use crate::hand::{back_up, make, restore_new, rows_sql, there_and_back};

async fn comes_back(setup: &str) -> crate::hand::Copy {
    let site = tempfile::tempdir().unwrap();
    let file = site.path().join("shop.db");
    make(&file, setup);
    let (copy, _other, restored) = there_and_back(site.path(), "shop.db").await;
    assert_equal(
        &sqlite_digest(&file).unwrap(),
        &sqlite_digest(&restored).unwrap(),
    );
    assert_eq!(
        fs::read(&file).unwrap(),
        fs::read(&restored).unwrap(),
        "page for page"
    );
    copy
}

#[tokio::test]
async fn files_of_every_page_size_come_back() {
    for size in [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536] {
        let copy = comes_back(&format!("PRAGMA page_size = {size}; {}", rows_sql(3000))).await;
        assert_eq!(copy.plan.tables[0].facts["page_size"], size);
    }
}

#[tokio::test]
async fn a_file_of_several_segments_comes_back() {
    let copy = comes_back(&rows_sql(100_000)).await;
    assert!(copy.segments.len() > 2, "{} segments", copy.segments.len());
    assert!(
        copy.plan
            .tasks
            .iter()
            .all(|task| task.estimated_bytes <= SEGMENT_BYTES)
    );
}

#[tokio::test]
async fn auto_vacuum_free_pages_and_settings_come_back() {
    for vacuum in ["FULL", "INCREMENTAL", "NONE"] {
        let setup = format!(
            "PRAGMA auto_vacuum = {vacuum}; PRAGMA user_version = 42; PRAGMA application_id = 77;
             {} DELETE FROM item WHERE id % 3 = 0;",
            rows_sql(5000)
        );
        let copy = comes_back(&setup).await;
        assert_eq!(copy.facts.0["header"]["user_version"], 42);
        assert_eq!(copy.facts.0["header"]["application_id"], 77);
    }
}

#[tokio::test]
async fn every_kind_of_table_comes_back() {
    let copy = comes_back(
        "PRAGMA encoding = 'UTF-16le';
         CREATE TABLE plain(a, b); INSERT INTO plain VALUES(1, 'ä'), (2.5, x'00ff'), (NULL, '');
         CREATE TABLE rowless(k TEXT PRIMARY KEY, v) WITHOUT ROWID;
         INSERT INTO rowless VALUES('x', 1), ('y', 2);
         CREATE TABLE strict(a INTEGER, g INTEGER AS (a * 2) STORED) STRICT;
         INSERT INTO strict(a) VALUES(7);
         CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT, x);
         INSERT INTO counted(x) VALUES('one'), ('two');
         CREATE VIRTUAL TABLE note USING fts5(title, body);
         INSERT INTO note VALUES('first', 'a note of some words'), ('second', 'other words');
         CREATE VIRTUAL TABLE place USING rtree(id, x0, x1);
         INSERT INTO place VALUES(1, 0.5, 1.5);
         CREATE VIEW both AS SELECT a FROM plain UNION SELECT k FROM rowless;
         CREATE UNIQUE INDEX by_b ON plain(b) WHERE b <> '';
         CREATE TRIGGER copied AFTER INSERT ON plain BEGIN INSERT INTO counted(x) VALUES(new.a); END;
         ANALYZE;",
    )
    .await;
    let has = |name: &str, object_type: ObjectType| {
        copy.plan.objects.iter().any(|object| {
            object.name.last() == name
                && object.object_type == object_type
                && object.parent_name.last() == "shop.db"
        })
    };
    assert!(has("rowless", ObjectType::Table) && has("note", ObjectType::Table));
    assert!(has("both", ObjectType::View) && has("by_b", ObjectType::Index));
    assert!(has("copied", ObjectType::Trigger));
    assert!(
        !copy
            .plan
            .objects
            .iter()
            .any(|o| o.name.last().starts_with("sqlite_"))
    );
    assert_eq!(
        copy.plan.objects[0].table,
        Some(0),
        "the database holds the pages"
    );
}

#[tokio::test]
async fn the_full_text_index_still_finds_words() {
    let site = tempfile::tempdir().unwrap();
    make(
        &site.path().join("n.db"),
        "CREATE VIRTUAL TABLE note USING fts5(body);
         INSERT INTO note VALUES('a needle in hay'), ('only hay');",
    );
    let (_, _other, restored) = there_and_back(site.path(), "n.db").await;
    let database = rusqlite::Connection::open(restored).unwrap();
    let found: i64 = database
        .query_row(
            "SELECT count(*) FROM note WHERE note MATCH 'needle'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(found, 1);
}

#[tokio::test]
async fn the_schema_text_makes_an_empty_database_of_the_same_objects() {
    let site = tempfile::tempdir().unwrap();
    let file = site.path().join("shop.db");
    make(
        &file,
        &format!("{} CREATE VIEW v AS SELECT name FROM item;", rows_sql(10)),
    );
    let copy = back_up(site.path(), "shop.db").await.unwrap();
    let script = String::from_utf8(copy.dictionary["schema.sql"].clone()).unwrap();
    let empty = rusqlite::Connection::open_in_memory().unwrap();
    empty.execute_batch(&script).unwrap();
    let count = |database: &rusqlite::Connection| -> i64 {
        database
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .unwrap()
    };
    assert_eq!(
        count(&empty),
        count(&rusqlite::Connection::open(&file).unwrap())
    );
    let facts: serde_json::Value =
        serde_json::from_slice(&copy.dictionary["database.json"]).unwrap();
    assert_eq!(facts["name"], "shop.db");
}

#[tokio::test]
async fn an_empty_file_is_an_empty_database() {
    let site = tempfile::tempdir().unwrap();
    fs::write(site.path().join("empty.db"), b"").unwrap();
    let copy = back_up(site.path(), "empty.db").await.unwrap();
    assert!(copy.segments.is_empty());
    let (_other, restored) = restore_new(&copy).await;
    // Looking at it with SQLite has not changed it either.
    assert_eq!(fs::metadata(restored).unwrap().len(), 0);
}

#[tokio::test]
async fn what_lies_in_the_wal_is_in_the_backup() {
    let site = tempfile::tempdir().unwrap();
    let file = site.path().join("shop.db");
    let writer = rusqlite::Connection::open(&file).unwrap();
    writer
        .execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; {}",
            rows_sql(2000)
        ))
        .unwrap();
    assert!(fs::metadata(site.path().join("shop.db-wal")).unwrap().len() > 100_000);
    let (copy, _other, restored) = there_and_back(site.path(), "shop.db").await;
    assert_equal(
        &sqlite_digest(&file).unwrap(),
        &sqlite_digest(&restored).unwrap(),
    );
    assert_eq!(copy.facts.0["header"]["journal_mode"], "wal");
    assert_eq!(copy.facts.0["rows"][0]["rows"], 2000);
}

/// SQLite never uses the page at 1 GiB: its locks lie there. The file is sparse, and all but its
/// first pages are on the free list.
#[tokio::test]
async fn the_page_of_the_lock_bytes_is_read_as_zeros_in_its_place() {
    const SIZE: u32 = 65_536;
    const LOCK_PAGE: u32 = (1 << 30) / SIZE + 1;
    let site = tempfile::tempdir().unwrap();
    let file = site.path().join("big.db");
    make(
        &file,
        "PRAGMA page_size = 65536; CREATE TABLE t(x); INSERT INTO t VALUES('here');",
    );
    grow_over_the_lock_page(&file, LOCK_PAGE + 1);
    assert_eq!(
        crate::hand::integrity(&file),
        ["ok"],
        "the test's own file is in order"
    );

    let progress = std::sync::Arc::new(testkit::RecordedProgress::new());
    let mut source = crate::hand::open_source(site.path(), "big.db", &progress)
        .await
        .unwrap();
    let plan = source.plan().await.unwrap();
    let task = plan
        .tasks
        .iter()
        .find(|task| task.blocks.contains(LOCK_PAGE - 1))
        .unwrap()
        .clone();
    let mut reader = source.reader().await.unwrap();
    let start = task.blocks.start;
    let end = task.blocks.end.unwrap();
    let segment = tokio::task::spawn_blocking(move || {
        crate::hand::read_segment(reader.as_mut(), task, &|| {}).unwrap()
    })
    .await
    .unwrap();
    assert_eq!(
        segment.rows,
        u64::from(end - start),
        "every page is there, that one too"
    );
    let page = |number: u32| {
        let at = ((number - 1 - start) * SIZE) as usize;
        &segment.bytes[at..at + SIZE as usize]
    };
    assert!(page(LOCK_PAGE).iter().all(|byte| *byte == 0));
    assert!(
        page(LOCK_PAGE + 1).starts_with(b"behind"),
        "the pages behind it are in their places"
    );
}

fn grow_over_the_lock_page(file: &std::path::Path, last: u32) {
    use std::os::unix::fs::FileExt;
    const SIZE: u64 = 65_536;
    let database = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .unwrap();
    let used = (database.metadata().unwrap().len() / SIZE) as u32;
    database.set_len(u64::from(last) * SIZE).unwrap();
    let lock_page = last - 1;
    let (first_trunk, second_trunk) = (used + 1, 10_000);
    let trunk = |next: u32, leaves: Vec<u32>, at: u32| {
        let numbers = [vec![next, leaves.len() as u32], leaves].concat();
        let bytes: Vec<u8> = numbers
            .iter()
            .flat_map(|number| number.to_be_bytes())
            .collect();
        database
            .write_all_at(&bytes, u64::from(at - 1) * SIZE)
            .unwrap();
    };
    trunk(
        second_trunk,
        (first_trunk + 1..second_trunk).collect(),
        first_trunk,
    );
    trunk(
        0,
        (second_trunk + 1..=last)
            .filter(|page| *page != lock_page)
            .collect(),
        second_trunk,
    );
    database
        .write_all_at(b"behind", u64::from(last - 1) * SIZE)
        .unwrap();
    // The header's size in pages, first page and length of the free list.
    database.write_all_at(&last.to_be_bytes(), 28).unwrap();
    database
        .write_all_at(&first_trunk.to_be_bytes(), 32)
        .unwrap();
    database
        .write_all_at(&(last - used - 1).to_be_bytes(), 36)
        .unwrap();
}
