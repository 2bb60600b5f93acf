//! Statements that want ACCESS EXCLUSIVE, before and while rows are read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Blame, Retry};
use testkit::postgres::Server;

use crate::reading::{Reading, begin};

fn shop(version: u32) -> Arc<Server> {
    let server = Server::version(version).start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql(
        "shop",
        "CREATE TABLE t AS SELECT i, repeat('x', 200) AS x FROM generate_series(1, 20000) i;
         CREATE TABLE u AS SELECT i FROM generate_series(1, 20000) i;",
    );
    Arc::new(server)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alter_table_that_queues_up_during_the_read_stops_nobody_for_ever() {
    let server = shop(17);
    let reading = Reading::new(&server, "shop");
    let mut source = reading.open().await.unwrap();
    let alter = tokio::task::spawn_blocking({
        let server = server.clone();
        move || server.psql("shop", "ALTER TABLE t ADD COLUMN y int")
    });
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let read = async {
        let mut backup = begin(source.as_mut()).await?;
        backup.read_rows(source.as_mut(), 2).await?;
        backup.end(source).await?;
        Ok::<_, model::BoxFault>(backup)
    };
    let backup = tokio::time::timeout(Duration::from_secs(20), read).await;
    let backup = backup.expect("nobody waits for anybody").unwrap();
    assert_eq!(backup.count_of("public.t"), 20_000);
    alter.await.unwrap();
    let warnings = reading.progress.warnings();
    assert!(
        warnings
            .iter()
            .any(|w| w.contains("ALTER TABLE t ADD COLUMN y int")),
        "{warnings:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_run_gives_way_so_that_the_application_waits_no_longer_than_it_is_told_to() {
    let server = shop(16);
    let mut reading = Reading::new(&server, "shop");
    reading.yield_to_ddl = Some(Duration::from_secs(2));
    let mut source = reading.open().await.unwrap();
    let mut backup = begin(source.as_mut()).await.unwrap();
    let alter = tokio::task::spawn_blocking({
        let server = server.clone();
        move || server.psql("shop", "ALTER TABLE t ADD COLUMN y int")
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    // The application reads a table that nothing is wrong with, and stands behind the ALTER.
    let application = tokio::task::spawn_blocking({
        let server = server.clone();
        move || {
            let begun = Instant::now();
            server.psql("shop", "SELECT count(*) FROM t");
            begun.elapsed()
        }
    });
    let waited = application.await.unwrap();
    alter.await.unwrap();
    assert!(waited < Duration::from_millis(2500), "{waited:?}");
    let error = backup.read_rows(source.as_mut(), 2).await.unwrap_err();
    assert_eq!(
        (error.code(), error.retry()),
        ("gave-way-to-ddl", Retry::Later)
    );
    assert!(
        error.to_string().contains("ALTER TABLE t ADD COLUMN y int"),
        "{error}"
    );
    let error = backup.end(source).await.unwrap_err();
    assert_eq!(error.code(), "gave-way-to-ddl");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_somebody_keeps_fails_the_run_and_names_him() {
    let server = shop(17);
    let client = server.connect("shop").await;
    client
        .batch_execute("BEGIN; SET application_name = 'the culprit'; LOCK TABLE u")
        .await
        .unwrap();
    let begun = Instant::now();
    let mut reading = Reading::new(&server, "shop");
    reading.lock_patience = Some(Duration::from_secs(2));
    let error = reading.open().await.err().expect("u is locked");
    assert!(
        begun.elapsed() >= Duration::from_secs(2),
        "it was tried again"
    );
    assert_eq!(
        (error.code(), error.blame()),
        ("lock-not-available", Blame::Busy)
    );
    let said = error.to_string();
    assert!(
        said.contains("public.u") && said.contains("the culprit"),
        "{said}"
    );
    assert!(said.contains("LOCK TABLE u"), "{said}");
    // All is given back: others may have what they want.
    let ours = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                 WHERE a.application_name = 'backstay 121.1' AND l.locktype = 'relation'";
    assert_eq!(server.psql("postgres", ours), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_given_back_in_time_is_waited_for() {
    let server = shop(17);
    let client = server.connect("shop").await;
    client
        .batch_execute("BEGIN; ALTER TABLE u ADD COLUMN z int DEFAULT 5")
        .await
        .unwrap();
    let release = async {
        tokio::time::sleep(Duration::from_millis(900)).await;
        client.batch_execute("COMMIT").await.unwrap();
    };
    let reading = Reading::new(&server, "shop");
    let (backup, ()) = tokio::join!(reading.read(), release);
    let backup = backup.unwrap();
    assert_eq!(
        backup.facts_of("public.u")["columns"],
        serde_json::json!(["i", "z"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_get_through_while_tables_are_truncated_and_made_anew() {
    let server = shop(17);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ddl = std::thread::spawn({
        let (server, stop) = (server.clone(), stop.clone());
        move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                server.psql(
                    "shop",
                    "BEGIN; TRUNCATE u; INSERT INTO u SELECT i FROM generate_series(1, 100) i; COMMIT;
                     DROP TABLE IF EXISTS again; CREATE TABLE again (a int);
                     ALTER TABLE t ALTER x SET DEFAULT 'y';",
                );
                std::thread::sleep(Duration::from_millis(400));
            }
        }
    });
    let mut outcomes = Vec::new();
    for _ in 0..5 {
        outcomes.push(Reading::new(&server, "shop").read().await);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    ddl.join().unwrap();
    for outcome in outcomes {
        let backup = outcome.unwrap();
        let rows = backup.count_of("public.u");
        assert!(
            rows == 100 || rows == 20_000,
            "{rows}: a truncated table came out empty"
        );
        assert_eq!(backup.count_of("public.t"), 20_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_transaction_of_the_application_becomes_the_victim_of_a_deadlock() {
    let server = shop(17);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    // Locks against the order in which a backup takes them.
    let application = std::thread::spawn({
        let (server, stop) = (server.clone(), stop.clone());
        move || {
            let mut transactions = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                server.psql(
                    "shop",
                    "BEGIN; LOCK TABLE u; SELECT pg_sleep(0.2); LOCK TABLE t; COMMIT;",
                );
                transactions += 1;
                std::thread::sleep(Duration::from_millis(600));
            }
            transactions
        }
    });
    let met = || server.log().contains("lock timeout");
    for backups in 1..=20 {
        let backup = Reading::new(&server, "shop").read().await.unwrap();
        assert_eq!(backup.count_of("public.t"), 20_000);
        if backups >= 4 && met() {
            break;
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let transactions = application.join().expect("psql met no deadlock");
    assert!(transactions > 0);
    assert!(!server.log().contains("deadlock detected"));
    assert!(met(), "they never met: nothing is shown");
}
