//! Where a restore goes, and that nothing is lost on the way.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use engine_sqlite::SqliteEngine;
use model::{Engine, Outcome, Published};
use testkit::RecordedProgress;
use testkit::digest::{Digest, assert_equal, sqlite_digest};

use crate::hand::{
    Copy, back_up, fill, make, names, open_target, request, restore, restore_new, rows_sql, site,
};

/// A site with `shop.db`, and a copy of another database that is to be restored there.
struct Scene {
    directory: tempfile::TempDir,
    copy: Copy,
    progress: Arc<RecordedProgress>,
}

impl Scene {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        make(
            &directory.path().join("shop.db"),
            "CREATE TABLE old(x); INSERT INTO old VALUES('precious')",
        );
        let other = tempfile::tempdir().unwrap();
        make(&other.path().join("shop.db"), &rows_sql(3000));
        Scene {
            copy: back_up(other.path(), "shop.db").await.unwrap(),
            directory,
            progress: Arc::new(RecordedProgress::new()),
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn request(&self, name: &str) -> model::RestoreRequest {
        request(&self.copy, name, &self.progress)
    }

    fn replacing(&self) -> model::RestoreRequest {
        let mut request = self.request("shop.db");
        request.replace_existing = true;
        request
    }

    async fn replace(&self) -> Outcome<Published> {
        restore(self.path(), self.replacing(), &self.copy).await
    }

    fn digest(&self, name: &str) -> Digest {
        sqlite_digest(&self.path().join(name)).unwrap()
    }

    /// The old database is there as it was, and nothing else.
    fn assert_untouched(&self) {
        assert_eq!(names(self.path()), ["shop.db"]);
        let digest = self.digest("shop.db");
        assert!(digest.contains_key("table old"), "{digest:?}");
    }
}

#[tokio::test]
async fn a_filled_target_is_an_obstacle_and_stays_as_it_is() {
    let scene = Scene::new().await;
    for (as_copy, replace, code) in [
        (false, false, "target-not-empty"),
        (true, false, "target-not-empty"),
        (true, true, "target-exists"),
    ] {
        let mut request = scene.request("shop.db");
        (request.as_copy, request.replace_existing) = (as_copy, replace);
        let mut target = open_target(scene.path(), request).await.unwrap();
        let findings = target.findings().await.unwrap();
        assert_eq!(findings.obstacles[0].code, code);
        assert!(findings.obstacles[0].remedy.is_some());
        assert_eq!(
            target.prepare().await.unwrap_err().code(),
            code,
            "not only findings stops it"
        );
        target.discard().await.unwrap();
        scene.assert_untouched();
    }
}

#[tokio::test]
async fn findings_say_what_will_be_done_and_do_nothing() {
    let scene = Scene::new().await;
    let mut target = open_target(scene.path(), scene.replacing()).await.unwrap();
    let findings = target.findings().await.unwrap();
    assert_eq!(findings.obstacles, []);
    assert!(
        findings
            .steps
            .iter()
            .any(|step| step.contains("shop.db.before-restore-"))
    );
    assert!(findings.warnings[0].contains("open"));
    let bytes: usize = scene.copy.segments.iter().map(|s| s.bytes.len()).sum();
    assert_eq!(findings.bytes_needed, bytes as u64);
    scene.assert_untouched();
}

#[tokio::test]
async fn replacing_keeps_the_old_file_under_a_name_that_says_when_and_why() {
    let scene = Scene::new().await;
    let old = scene.path().join("shop.db");
    fs::set_permissions(&old, fs::Permissions::from_mode(0o604)).unwrap();
    let before = scene.digest("shop.db");
    let published = scene.replace().await.unwrap();
    let kept = published.kept.unwrap();
    assert!(
        kept.last().starts_with("shop.db.before-restore-2"),
        "{kept}"
    );
    assert!(kept.last().ends_with("Z-122.1"), "{kept}");
    assert_equal(&before, &scene.digest(kept.last()));
    assert!(scene.digest("shop.db").contains_key("table item"));
    assert_eq!(
        fs::metadata(&old).unwrap().permissions().mode() & 0o777,
        0o604
    );
    let mut expected = vec!["shop.db".to_owned(), kept.last().to_owned()];
    expected.sort();
    assert_eq!(names(scene.path()), expected);
}

/// What a killed program leaves: committed rows that are in the -wal only.
#[tokio::test]
async fn the_wal_of_the_old_file_goes_into_the_kept_one_and_never_into_the_new_one() {
    let scene = Scene::new().await;
    let live = tempfile::tempdir().unwrap();
    let writer = rusqlite::Connection::open(live.path().join("shop.db")).unwrap();
    writer
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
             CREATE TABLE old(x); INSERT INTO old VALUES('only in the wal');",
        )
        .unwrap();
    for name in ["shop.db", "shop.db-wal"] {
        fs::copy(live.path().join(name), scene.path().join(name)).unwrap();
    }
    let before = sqlite_digest(&live.path().join("shop.db")).unwrap();
    let kept = scene.replace().await.unwrap().kept.unwrap();
    assert_equal(&before, &scene.digest(kept.last()));
    assert!(!scene.path().join("shop.db-wal").exists());
    let new = scene.digest("shop.db");
    assert!(new.contains_key("table item") && !new.contains_key("table old"));
}

#[tokio::test]
async fn a_target_that_is_in_use_is_not_replaced() {
    for mode in ["WAL", "DELETE"] {
        let scene = Scene::new().await;
        let user = rusqlite::Connection::open(scene.path().join("shop.db")).unwrap();
        user.execute_batch(&format!(
            "PRAGMA journal_mode = {mode}; INSERT INTO old VALUES('more');"
        ))
        .unwrap();
        // In WAL mode being open is enough to be seen.
        if mode == "DELETE" {
            user.execute_batch("BEGIN; SELECT * FROM old;").unwrap();
        }
        let fault = scene.replace().await.unwrap_err();
        assert_eq!(
            fault.code(),
            "sqlite-target-in-use",
            "{mode}: {}",
            fault.sentence()
        );
        drop(user);
        scene.assert_untouched();
        scene.replace().await.unwrap();
    }
}

#[tokio::test]
async fn a_journal_without_its_database_is_in_the_way() {
    let scene = Scene::new().await;
    fs::write(scene.path().join("new.db-wal"), "whose is it?").unwrap();
    let mut target = open_target(scene.path(), scene.request("new.db"))
        .await
        .unwrap();
    let findings = target.findings().await.unwrap();
    assert_eq!(findings.obstacles[0].code, "target-in-the-way");
    assert!(findings.obstacles[0].detail.contains("new.db-wal"));
}

#[tokio::test]
async fn something_that_is_no_database_is_never_replaced() {
    let scene = Scene::new().await;
    fs::write(scene.path().join("letter.txt"), "dear reader, ".repeat(100)).unwrap();
    fs::create_dir(scene.path().join("folder")).unwrap();
    std::os::unix::fs::symlink("shop.db", scene.path().join("link")).unwrap();
    for name in ["letter.txt", "folder", "link"] {
        let mut request = scene.request(name);
        request.replace_existing = true;
        let mut target = open_target(scene.path(), request).await.unwrap();
        assert_eq!(
            target.findings().await.unwrap().obstacles[0].code,
            "target-in-the-way",
            "{name}"
        );
        assert!(target.prepare().await.is_err());
    }
}

#[tokio::test]
async fn an_empty_database_is_used_and_kept_all_the_same() {
    let scene = Scene::new().await;
    fs::write(scene.path().join("new.db"), "").unwrap();
    let mut copying = scene.request("new.db");
    copying.as_copy = true;
    let published = restore(scene.path(), copying, &scene.copy).await.unwrap();
    let kept = published.kept.unwrap();
    assert_eq!(
        fs::metadata(scene.path().join(kept.last())).unwrap().len(),
        0
    );
    assert!(scene.digest("new.db").contains_key("table item"));
}

#[tokio::test]
async fn a_restore_that_ends_before_publish_leaves_the_target_as_it_was() {
    let scene = Scene::new().await;
    let mut target = open_target(scene.path(), scene.replacing()).await.unwrap();
    fill(target.as_mut(), &scene.copy.segments).await.unwrap();
    target.build(1).await.unwrap();
    target.postscript().await.unwrap();
    assert_eq!(
        names(scene.path()).len(),
        2,
        "the working file is beside the target"
    );
    drop(target);
    scene.assert_untouched();

    let mut target = open_target(scene.path(), scene.replacing()).await.unwrap();
    fill(target.as_mut(), &scene.copy.segments).await.unwrap();
    target.discard().await.unwrap();
    scene.assert_untouched();
}

/// A killed process runs no destructor: the working file stays, hidden and told by `check`.
#[tokio::test]
async fn a_restore_that_is_killed_leaves_a_working_file_that_check_names() {
    let scene = Scene::new().await;
    let mut target = open_target(scene.path(), scene.replacing()).await.unwrap();
    fill(target.as_mut(), &scene.copy.segments).await.unwrap();
    std::mem::forget(target);
    let left = names(scene.path());
    assert!(left[0].starts_with(".backstay-restore-122.1-"), "{left:?}");
    assert!(scene.digest("shop.db").contains_key("table old"));
    let report = SqliteEngine::new()
        .check(&site(scene.path()), 1)
        .await
        .unwrap();
    assert!(
        report
            .findings
            .iter()
            .any(|finding| finding.detail.contains(&left[0]))
    );
    let mut again = scene.replacing();
    again.server_execution_id = "123.1".parse().unwrap();
    again.earlier = vec!["122.1".parse().unwrap()];
    restore(scene.path(), again, &scene.copy).await.unwrap();
    assert!(
        !names(scene.path()).contains(&left[0]),
        "the next run takes it away"
    );
}

#[tokio::test]
async fn a_target_that_appears_meanwhile_is_not_overwritten() {
    let scene = Scene::new().await;
    let mut target = open_target(scene.path(), scene.request("new.db"))
        .await
        .unwrap();
    fill(target.as_mut(), &scene.copy.segments).await.unwrap();
    target.build(1).await.unwrap();
    make(&scene.path().join("new.db"), "CREATE TABLE mine(x)");
    assert_eq!(
        target.publish().await.unwrap_err().code(),
        "target-not-empty"
    );
    assert!(scene.digest("new.db").contains_key("table mine"));
    assert_eq!(names(scene.path()), ["new.db", "shop.db"]);
}

#[tokio::test]
async fn a_missing_segment_is_found_before_anything_is_replaced() {
    let scene = Scene::new().await;
    let mut segments = scene.copy.segments.clone();
    segments.clear();
    let mut target = open_target(scene.path(), scene.replacing()).await.unwrap();
    fill(target.as_mut(), &segments).await.unwrap();
    assert_eq!(target.build(1).await.unwrap_err().code(), "sqlite-pages");
    drop(target);
    scene.assert_untouched();
}

#[tokio::test]
async fn a_damaged_file_never_replaces_a_good_one_but_is_restored_under_a_new_name() {
    let mut scene = Scene::new().await;
    // A page in the middle: the source was damaged when it was backed up.
    let bytes = &mut scene.copy.segments[0].bytes;
    bytes[20 * 4096..21 * 4096].fill(0x5a);
    let mut target = open_target(scene.path(), scene.replacing()).await.unwrap();
    fill(target.as_mut(), &scene.copy.segments).await.unwrap();
    let fault = target.build(1).await.unwrap_err();
    assert_eq!(fault.code(), "sqlite-integrity", "{}", fault.sentence());
    drop(target);
    scene.assert_untouched();

    let mut target = open_target(scene.path(), scene.request("new.db"))
        .await
        .unwrap();
    fill(target.as_mut(), &scene.copy.segments).await.unwrap();
    assert!(!target.build(1).await.unwrap().errors.is_empty());
    target.publish().await.unwrap();
    assert_eq!(names(scene.path()), ["new.db", "shop.db"]);
}

#[tokio::test]
async fn another_number_of_rows_than_backed_up_is_an_error() {
    let mut scene = Scene::new().await;
    scene.copy.facts.0["rows"][0]["rows"] = 2999.into();
    let mut target = open_target(scene.path(), scene.request("new.db"))
        .await
        .unwrap();
    fill(target.as_mut(), &scene.copy.segments).await.unwrap();
    target.build(1).await.unwrap();
    let fault = target.postscript().await.unwrap_err();
    assert_eq!(fault.code(), "sqlite-row-count");
    assert!(fault.sentence().contains("3000") && fault.sentence().contains("2999"));
}

/// A collation of the application: only its own program can check that index. The schema is edited
/// because this test has no such collation either.
#[tokio::test]
async fn an_index_that_only_its_program_can_check_is_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    make(
        &directory.path().join("app.db"),
        "CREATE TABLE t(x TEXT COLLATE NOCASE); CREATE INDEX i ON t(x); INSERT INTO t VALUES('a');
         CREATE TABLE plain(y); INSERT INTO plain VALUES(1), (2);
         PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = replace(sql, 'NOCASE', 'german') WHERE name = 't';",
    );
    let copy = back_up(directory.path(), "app.db").await.unwrap();
    let other = tempfile::tempdir().unwrap();
    let progress = Arc::new(RecordedProgress::new());
    restore(other.path(), request(&copy, "app.db", &progress), &copy)
        .await
        .unwrap();
    let warnings = progress.warnings();
    assert!(
        warnings
            .iter()
            .any(|w| w.contains("table t") && w.contains("german")),
        "{warnings:?}"
    );
    assert_eq!(warnings.len(), 1, "table plain was checked: {warnings:?}");
}

#[tokio::test]
async fn rows_that_break_a_constraint_are_restored_with_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    make(
        &directory.path().join("app.db"),
        "CREATE TABLE t(x, y); INSERT INTO t VALUES(NULL, 1);
         PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = 'CREATE TABLE t(x NOT NULL, y)' WHERE name = 't';",
    );
    let copy = back_up(directory.path(), "app.db").await.unwrap();
    let other = tempfile::tempdir().unwrap();
    let progress = Arc::new(RecordedProgress::new());
    restore(other.path(), request(&copy, "app.db", &progress), &copy)
        .await
        .unwrap();
    assert!(
        progress.warnings()[0].contains("NULL value in t.x"),
        "{:?}",
        progress.warnings()
    );
}

#[tokio::test]
async fn what_cannot_be_kept_or_read_is_refused() {
    let scene = Scene::new().await;
    let mut without = scene.request("new.db");
    (without.skip_indexes, without.skip_statistics) = (true, true);
    let mut target = open_target(scene.path(), without).await.unwrap();
    assert_eq!(target.findings().await.unwrap().obstacles.len(), 2);

    let refused = async |change: &dyn Fn(&mut model::RestoreRequest)| {
        let mut request = scene.request("new.db");
        change(&mut request);
        open_target(scene.path(), request)
            .await
            .err()
            .unwrap()
            .sentence()
    };
    let newer = refused(&|r| r.facts.0["version"] = 2.into()).await;
    assert!(newer.contains("form 2"), "{newer}");
    let postgres = refused(&|r| r.source_type = model::SiteType::Postgresql).await;
    assert!(postgres.contains("PostgreSQL"), "{postgres}");
    let odd = refused(&|r| r.tables[0].plan.facts["page_size"] = 1000.into()).await;
    assert!(odd.contains("1000"), "{odd}");
    assert!(
        refused(&|r| r.tables.clear())
            .await
            .contains("exactly one file")
    );
}

#[tokio::test]
async fn a_new_file_has_the_permissions_of_the_backed_up_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("shop.db");
    make(&file, "CREATE TABLE t(x)");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let copy = back_up(directory.path(), "shop.db").await.unwrap();
    let (_other, restored) = restore_new(&copy).await;
    assert_eq!(
        fs::metadata(restored).unwrap().permissions().mode() & 0o777,
        0o640
    );
}

#[tokio::test]
async fn steps_out_of_order_are_refused() {
    let scene = Scene::new().await;
    let mut target = open_target(scene.path(), scene.request("new.db"))
        .await
        .unwrap();
    assert_eq!(target.build(1).await.unwrap_err().code(), "sqlite-order");
    assert_eq!(target.publish().await.unwrap_err().code(), "sqlite-order");
    let mut target = open_target(scene.path(), scene.request("new.db"))
        .await
        .unwrap();
    target.prepare().await.unwrap();
    target.prepare().await.expect("a step may be repeated");
}
