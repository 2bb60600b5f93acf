//! Backups while somebody writes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use model::{Engine, Parent};
use testkit::RecordedProgress;

use crate::hand::{back_up, make, open_source, read_all, restore_new, rows_sql, site};

/// Two accounts whose sum never changes, a journal that has a row for each transfer, and ballast
/// so that a backup takes several frames.
const BANK: &str = "
    CREATE TABLE left_side(n INTEGER); INSERT INTO left_side VALUES(1000);
    CREATE TABLE right_side(n INTEGER); INSERT INTO right_side VALUES(1000);
    CREATE TABLE transfer(id INTEGER PRIMARY KEY, amount INTEGER, paper BLOB);
    CREATE TABLE done(count INTEGER); INSERT INTO done VALUES(0);";

struct Writer {
    stop: Arc<AtomicBool>,
    commits: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn start(file: &Path) -> Self {
        let (stop, commits) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let database = rusqlite::Connection::open(file).unwrap();
        database.busy_timeout(Duration::from_secs(60)).unwrap();
        let thread = std::thread::spawn({
            let (stop, commits) = (Arc::clone(&stop), Arc::clone(&commits));
            move || {
                while !stop.load(Ordering::Acquire) {
                    transfer(&database, commits.load(Ordering::Acquire));
                    commits.fetch_add(1, Ordering::AcqRel);
                }
            }
        });
        Writer {
            stop,
            commits,
            thread: Some(thread),
        }
    }

    fn commits(&self) -> u64 {
        self.commits.load(Ordering::Acquire)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

fn transfer(database: &rusqlite::Connection, round: u64) {
    let amount = (round % 37) as i64 - 18;
    database
        .execute_batch(&format!(
            "BEGIN IMMEDIATE;
             UPDATE left_side SET n = n - ({amount});
             INSERT INTO transfer(amount, paper) VALUES({amount}, randomblob(3000));
             UPDATE right_side SET n = n + ({amount});
             UPDATE done SET count = count + 1;
             COMMIT;"
        ))
        .unwrap();
    // Pages are freed and used again, and the -wal is reset, while a backup reads.
    if round % 25 == 24 {
        database
            .execute_batch(&format!(
                "UPDATE item SET body = randomblob(140) WHERE id % 50 = {};
                 DELETE FROM item WHERE id = (SELECT max(id) FROM item);
                 PRAGMA incremental_vacuum(20); PRAGMA wal_checkpoint(PASSIVE);",
                round % 50
            ))
            .unwrap();
    }
}

fn assert_books_balance(file: &Path) {
    let database = rusqlite::Connection::open(file).unwrap();
    let ask =
        |question: &str| -> i64 { database.query_row(question, [], |row| row.get(0)).unwrap() };
    assert_eq!(
        ask("SELECT (SELECT n FROM left_side) + (SELECT n FROM right_side)"),
        2000
    );
    assert_eq!(
        ask("SELECT count FROM done"),
        ask("SELECT count(*) FROM transfer")
    );
    assert_eq!(
        ask("SELECT n FROM right_side"),
        1000 + ask("SELECT coalesce(sum(amount), 0) FROM transfer")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn in_wal_mode_the_snapshot_is_consistent_and_the_writer_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bank.db");
    make(
        &file,
        &format!(
            "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; {BANK} {}",
            rows_sql(12_000)
        ),
    );
    let writer = Arc::new(Writer::start(&file));
    for _ in 0..4 {
        let progress = Arc::new(RecordedProgress::new());
        let source = open_source(directory.path(), "bank.db", &progress)
            .await
            .unwrap();
        let seen = Arc::clone(&writer);
        // After each frame the reader waits for ten commits: none of them may be in the copy.
        let between = Arc::new(move || {
            let (before, limit) = (seen.commits(), Instant::now() + Duration::from_secs(20));
            while seen.commits() < before + 10 {
                assert!(Instant::now() < limit, "the writer does not go on");
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let copy = read_all(source, between)
            .await
            .unwrap_or_else(|e| panic!("{}", e.sentence()));
        assert_eq!(progress.warnings(), [""; 0]);
        let (_other, restored) = restore_new(&copy).await;
        assert_books_balance(&restored);
    }
    assert!(writer.commits() > 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_rollback_mode_the_snapshot_is_consistent_and_a_warning_says_that_writers_wait() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bank.db");
    make(
        &file,
        &format!("PRAGMA synchronous = OFF; {BANK} {}", rows_sql(12_000)),
    );
    let writer = Arc::new(Writer::start(&file));
    for _ in 0..3 {
        let progress = Arc::new(RecordedProgress::new());
        let source = open_source(directory.path(), "bank.db", &progress)
            .await
            .unwrap();
        let at_snapshot = writer.commits();
        let copy = read_all(
            source,
            Arc::new(|| std::thread::sleep(Duration::from_millis(20))),
        )
        .await
        .unwrap_or_else(|e| panic!("{}", e.sentence()));
        let [warning] = progress.warnings().try_into().unwrap();
        assert!(warning.contains("not in WAL mode"), "{warning}");
        let (_other, restored) = restore_new(&copy).await;
        assert_books_balance(&restored);
        // It waited, and it goes on when the snapshot is closed.
        let limit = Instant::now() + Duration::from_secs(20);
        while writer.commits() < at_snapshot + 2 {
            assert!(Instant::now() < limit, "the writer does not go on");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Closing a descriptor drops all of a process's POSIX locks on that file: nothing that the engine
/// does beside a snapshot may take the snapshot's lock away.
#[tokio::test]
async fn looking_at_a_site_leaves_the_locks_of_a_running_backup_alone() {
    use std::os::unix::fs::MetadataExt;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bank.db");
    make(&file, BANK);
    let inode = std::fs::metadata(&file).unwrap().ino();
    let own = format!(" {} ", std::process::id());
    let locks = || {
        let table = std::fs::read_to_string("/proc/locks").unwrap();
        table
            .lines()
            .filter(|line| line.contains(&own) && line.contains(&format!(":{inode} ")))
            .count()
    };
    let progress = Arc::new(RecordedProgress::new());
    let source = open_source(directory.path(), "bank.db", &progress)
        .await
        .unwrap();
    let held = locks();
    assert!(held > 0, "a snapshot in rollback mode holds a lock");
    let engine = engine_sqlite::SqliteEngine::new();
    let connection = site(directory.path());
    engine.check(&connection, 2).await.unwrap();
    assert_eq!(
        engine
            .browse(&connection, &Parent::Root)
            .await
            .unwrap()
            .len(),
        1
    );
    back_up(directory.path(), "bank.db").await.unwrap();
    assert_eq!(locks(), held);
    drop(source);
    assert_eq!(locks(), 0, "a dropped source holds nothing");
}

/// -wal and -shm under the name of the backup's user could lock the database's own program out.
#[tokio::test]
async fn a_database_in_wal_mode_that_nobody_has_open_is_left_without_a_trace() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bank.db");
    make(&file, &format!("PRAGMA journal_mode = WAL; {BANK}"));
    let before = std::fs::read(&file).unwrap();
    let engine = engine_sqlite::SqliteEngine::new();
    let connection = site(directory.path());
    let names = || crate::hand::names(directory.path());
    engine.check(&connection, 2).await.unwrap();
    assert_eq!(names(), ["bank.db"]);
    engine.browse(&connection, &Parent::Root).await.unwrap();
    assert_eq!(names(), ["bank.db"]);
    back_up(directory.path(), "bank.db").await.unwrap();
    assert_eq!(names(), ["bank.db"]);
    assert!(std::fs::read(&file).unwrap() == before);
}

/// The same with somebody who came in the meantime: the -wal is theirs, and what is in it stays.
#[tokio::test]
async fn the_wal_of_a_program_that_came_during_a_backup_stays() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bank.db");
    make(&file, &format!("PRAGMA journal_mode = WAL; {BANK}"));
    let progress = Arc::new(RecordedProgress::new());
    let source = open_source(directory.path(), "bank.db", &progress)
        .await
        .unwrap();
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute_batch("UPDATE left_side SET n = 7").unwrap();
    drop(source);
    assert!(directory.path().join("bank.db-wal").exists());
    let third = rusqlite::Connection::open(&file).unwrap();
    let n: i64 = third
        .query_row("SELECT n FROM left_side", [], |row| row.get(0))
        .unwrap();
    assert_eq!(n, 7);
    other.execute_batch("UPDATE left_side SET n = 8").unwrap();
    let n: i64 = third
        .query_row("SELECT n FROM left_side", [], |row| row.get(0))
        .unwrap();
    assert_eq!(n, 8, "both see one another's writes");
}

#[tokio::test]
async fn a_reader_that_is_cancelled_ends_with_an_error() {
    let directory = tempfile::tempdir().unwrap();
    make(&directory.path().join("bank.db"), &rows_sql(12_000));
    let progress = Arc::new(RecordedProgress::new());
    let mut source = open_source(directory.path(), "bank.db", &progress)
        .await
        .unwrap();
    let task = source.plan().await.unwrap().tasks[0].clone();
    let mut reader = source.reader().await.unwrap();
    let canceller = std::sync::Mutex::new(Some(reader.canceller()));
    let stop = move || drop(canceller.lock().unwrap().take());
    let ended = tokio::task::spawn_blocking(move || {
        crate::hand::read_segment(reader.as_mut(), task, &stop).map(|_| ())
    });
    assert_eq!(ended.await.unwrap().unwrap_err().code(), "cancelled");
}

#[tokio::test]
async fn a_snapshot_past_its_limit_ends_the_run() {
    let directory = tempfile::tempdir().unwrap();
    make(&directory.path().join("bank.db"), BANK);
    let progress = Arc::new(RecordedProgress::new());
    let mut request = crate::hand::source_request("bank.db", &progress);
    request.max_snapshot = Some(Duration::ZERO);
    let engine = engine_sqlite::SqliteEngine::new();
    let mut source = engine
        .open_source(&site(directory.path()), request)
        .await
        .unwrap();
    assert_eq!(source.plan().await.unwrap_err().code(), "snapshot-too-old");
}

#[tokio::test]
async fn a_file_that_is_removed_while_it_is_read_is_saved_and_told() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bank.db");
    make(&file, BANK);
    let progress = Arc::new(RecordedProgress::new());
    let source = open_source(directory.path(), "bank.db", &progress)
        .await
        .unwrap();
    std::fs::remove_file(&file).unwrap();
    let copy = read_all(source, Arc::new(|| {})).await.unwrap();
    let (_other, restored) = restore_new(&copy).await;
    assert_books_balance(&restored);
    assert!(
        progress
            .warnings()
            .iter()
            .any(|text| text.contains("was removed"))
    );
}
