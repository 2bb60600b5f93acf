//! Files that are none, names that hurt, rights that are missing.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use engine_sqlite::SqliteEngine;
use model::{Blame, Connection, Engine, FindingLevel, ObjectName, Parent, Retry};
use testkit::RecordedProgress;
use testkit::digest::{assert_equal, sqlite_digest};

use crate::hand::{back_up, make, names, open_source, request, restore, rows_sql, site};

#[tokio::test]
async fn hostile_file_names_come_back_under_hostile_names() {
    let long = "x".repeat(247);
    let hostile = [
        "a b.db",
        "schöne Daten",
        "file:x?mode=memory",
        ":memory:",
        "-rf",
        "'; DROP TABLE item; --",
        "\"quoted\".db",
        "%41%00",
        "back\\slash",
        "new\nline",
        "*",
        "~",
        ".hidden",
        "DBC",
        &long,
    ];
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for name in hostile {
        let file = from.path().join(name);
        make(&file, &rows_sql(20));
        let copy = back_up(from.path(), name)
            .await
            .unwrap_or_else(|e| panic!("{name}: {}", e.sentence()));
        let progress = Arc::new(RecordedProgress::new());
        let again = request(&copy, name, &progress);
        restore(to.path(), again, &copy)
            .await
            .unwrap_or_else(|e| panic!("{name}: {}", e.sentence()));
        let restored = to.path().join(name);
        assert_equal(
            &sqlite_digest(&file).unwrap(),
            &sqlite_digest(&restored).unwrap(),
        );
        // And once more over itself, so that the kept file's name is hostile too.
        let mut over = request(&copy, name, &progress);
        over.replace_existing = true;
        let kept = restore(to.path(), over, &copy).await.unwrap().kept.unwrap();
        assert_equal(
            &sqlite_digest(&file).unwrap(),
            &sqlite_digest(&to.path().join(kept.last())).unwrap(),
        );
    }
    let browsed = SqliteEngine::new()
        .browse(&site(from.path()), &Parent::Root)
        .await
        .unwrap();
    assert_eq!(browsed.len(), hostile.len());
}

#[tokio::test]
async fn names_that_leave_the_directory_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let inside = directory.path().join("site");
    fs::create_dir(&inside).unwrap();
    make(&directory.path().join("outside.db"), "CREATE TABLE t(x)");
    make(&inside.join("in.db"), "CREATE TABLE t(x)");
    let copy = back_up(&inside, "in.db").await.unwrap();
    for name in [
        "../outside.db",
        "a/b",
        "/etc/passwd",
        ".",
        "..",
        "in.db-wal",
        ".backstay-restore-1",
    ] {
        let fault = back_up(&inside, name).await.err().unwrap();
        assert_eq!(
            (fault.code(), fault.blame()),
            ("sqlite-bad-name", Blame::Request),
            "{name}"
        );
        let progress = Arc::new(RecordedProgress::new());
        let fault = restore(&inside, request(&copy, name, &progress), &copy)
            .await
            .unwrap_err();
        assert_eq!(fault.code(), "sqlite-bad-name", "{name}");
    }
    assert_eq!(names(&inside), ["in.db"]);
}

#[tokio::test]
async fn what_is_no_database_is_named_and_never_listed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    make(&path.join("real.db"), "CREATE TABLE t(x)");
    fs::write(
        path.join("text.db"),
        "no database, but a text of some length\n".repeat(100),
    )
    .unwrap();
    fs::write(
        path.join("noise.db"),
        blake3::hash(b"noise").to_hex().repeat(500),
    )
    .unwrap();
    fs::write(path.join("tiny"), "xx").unwrap();
    fs::write(path.join("empty"), "").unwrap();
    fs::create_dir(path.join("folder.db")).unwrap();
    std::os::unix::fs::symlink(path.join("real.db"), path.join("link.db")).unwrap();
    let code = async |name: &str| back_up(path, name).await.err().unwrap().code();
    assert_eq!(code("text.db").await, "sqlite-not-a-database");
    assert_eq!(code("noise.db").await, "sqlite-not-a-database");
    assert_eq!(code("tiny").await, "sqlite-not-a-database");
    assert_eq!(code("folder.db").await, "sqlite-not-a-file");
    assert_eq!(code("link.db").await, "sqlite-not-a-file");
    assert_eq!(code("absent.db").await, "sqlite-no-database");
    let browsed = SqliteEngine::new()
        .browse(&site(path), &Parent::Root)
        .await
        .unwrap();
    let listed: Vec<&str> = browsed.iter().map(|object| object.name.last()).collect();
    assert_eq!(listed, ["real.db"]);
    assert_eq!(browsed[0].byte_count, Some(8192));
}

#[tokio::test]
async fn a_locked_file_is_busy_and_worth_another_try() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("shop.db");
    make(&file, "CREATE TABLE t(x)");
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let fault = back_up(directory.path(), "shop.db").await.err().unwrap();
    assert_eq!(
        (fault.code(), fault.blame(), fault.retry()),
        ("sqlite-locked", Blame::Busy, Retry::Later)
    );
    assert!(fault.sentence().contains("shop.db"), "{}", fault.sentence());
    other.execute_batch("ROLLBACK").unwrap();
    back_up(directory.path(), "shop.db").await.unwrap();
}

/// The files of a program that was killed, as a copy taken in the middle of its transaction.
#[tokio::test]
async fn a_file_with_a_hot_journal_waits_for_its_recovery_and_is_not_touched() {
    let (live, dead) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = live.path().join("shop.db");
    make(&file, &rows_sql(2000));
    let writer = rusqlite::Connection::open(&file).unwrap();
    writer
        .execute_batch(
            "PRAGMA cache_size = 10; PRAGMA cache_spill = 1; BEGIN; UPDATE item SET name = 'lost';",
        )
        .unwrap();
    for name in names(live.path()) {
        fs::copy(live.path().join(&name), dead.path().join(&name)).unwrap();
    }
    let before = fs::read(dead.path().join("shop.db")).unwrap();
    let fault = back_up(dead.path(), "shop.db").await.err().unwrap();
    assert_eq!(
        fault.code(),
        "sqlite-needs-recovery",
        "{}",
        fault.sentence()
    );
    assert_eq!(fs::read(dead.path().join("shop.db")).unwrap(), before);
    assert!(dead.path().join("shop.db-journal").exists());
}

#[tokio::test]
async fn a_damaged_file_is_told_as_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("shop.db");
    make(&file, &rows_sql(100));
    let mut bytes = fs::read(&file).unwrap();
    bytes[100..200].fill(0xff);
    fs::write(&file, bytes).unwrap();
    let fault = back_up(directory.path(), "shop.db").await.err().unwrap();
    assert_eq!(fault.code(), "sqlite-damaged", "{}", fault.sentence());
}

#[tokio::test]
async fn only_a_whole_file_is_backed_up() {
    let directory = tempfile::tempdir().unwrap();
    make(&directory.path().join("shop.db"), "CREATE TABLE t(x)");
    let progress = Arc::new(RecordedProgress::new());
    let refused = async |change: &dyn Fn(&mut model::SourceRequest)| {
        let mut request = crate::hand::source_request("shop.db", &progress);
        change(&mut request);
        let engine = SqliteEngine::new();
        let opened = engine.open_source(&site(directory.path()), request).await;
        opened.err().map(|fault| fault.code())
    };
    assert_eq!(refused(&|_| {}).await, None);
    let not_yet = Some("not-built-yet");
    let table = model::ChosenObject::new(ObjectName::one("t"), model::ObjectType::Table);
    let only = |r: &mut model::SourceRequest| {
        r.selection.scope = model::Scope::Only(vec![table.clone()]);
    };
    assert_eq!(refused(&only).await, not_yet);
}

#[tokio::test]
async fn browse_shows_the_objects_of_a_database() {
    let directory = tempfile::tempdir().unwrap();
    make(
        &directory.path().join("shop.db"),
        "CREATE TABLE \"my.table\"(x PRIMARY KEY); CREATE VIEW v AS SELECT 1;",
    );
    let parent = Parent::Database(ObjectName::one("shop.db"));
    let found = SqliteEngine::new()
        .browse(&site(directory.path()), &parent)
        .await
        .unwrap();
    let listed: Vec<String> = found
        .iter()
        .map(|o| format!("{} {}", o.object_type, o.name))
        .collect();
    assert_eq!(listed, ["TABLE \"my.table\"", "VIEW v"]);
    assert!(found.iter().all(|object| object.byte_count.is_none()));
}

#[tokio::test]
async fn check_tells_what_is_there_and_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    make(
        &path.join("wal.db"),
        "PRAGMA journal_mode = WAL; CREATE TABLE t(x)",
    );
    make(&path.join("rollback.db"), "CREATE TABLE t(x)");
    fs::write(path.join(std::ffi::OsStr::from_bytes(b"\xff.db")), "x").unwrap();
    fs::write(path.join(".backstay-restore-9.1-00000000"), "x").unwrap();
    let report = SqliteEngine::new().check(&site(path), 2).await.unwrap();
    assert!(report.version.unwrap().starts_with("SQLite 3."));
    let told = |level: FindingLevel, words: &str| {
        report
            .findings
            .iter()
            .any(|f| f.level == level && f.detail.contains(words))
    };
    assert!(told(FindingLevel::Ok, "sqlite_dbpage"));
    assert!(told(FindingLevel::Ok, "holds 2 SQLite databases"));
    assert!(told(
        FindingLevel::Warning,
        "rollback.db is not in WAL mode"
    ));
    assert!(told(FindingLevel::Warning, "not UTF-8"));
    assert!(told(FindingLevel::Warning, "working file of a restore"));
    assert_eq!(report.findings.len(), 5, "{:?}", report.findings);
}

#[tokio::test]
async fn a_directory_that_is_none_is_a_finding_of_check_and_an_error_of_a_backup() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    for wrong in [directory.path().join("absent"), file] {
        let report = SqliteEngine::new().check(&site(&wrong), 2).await.unwrap();
        assert!(
            report
                .findings
                .iter()
                .any(|f| f.level == FindingLevel::Error)
        );
        assert_eq!(
            back_up(&wrong, "a.db").await.err().unwrap().code(),
            "sqlite-directory"
        );
    }
    let postgres = Connection::Postgresql {
        url: "postgres://u@h/d".to_owned(),
        password: None,
    };
    assert!(SqliteEngine::new().check(&postgres, 2).await.is_err());
}

#[tokio::test]
async fn a_link_to_the_site_directory_itself_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().join("real");
    fs::create_dir(&real).unwrap();
    make(&real.join("shop.db"), "CREATE TABLE t(x)");
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let progress = Arc::new(RecordedProgress::new());
    assert!(open_source(&link, "shop.db", &progress).await.is_ok());
}
