//! One snapshot for all streams, and what ends a run that reads in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::{Phase, Retry};
use testkit::postgres::Server;

use crate::reading::{Reading, begin, psql_copy};

/// The sum of a column of a COPY TEXT that psql can read back.
fn sum_of(rows: &[u8], server: &Server, table: &str, column: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut binary = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    binary.extend_from_slice(rows);
    binary.extend_from_slice(&[0xff, 0xff]);
    std::fs::write(file.path(), binary).unwrap();
    let path = file.path().display();
    server.psql(
        "scratch",
        &format!("\\copy {table} FROM '{path}' (FORMAT binary)\nSELECT sum({column}) FROM {table}"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_balances_agree_although_pgbench_writes_meanwhile() {
    let server = Arc::new(Server::version(17).start());
    server.psql("postgres", "CREATE DATABASE bank");
    server.pgbench("bank", &["-i", "-s", "5", "-q"]);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (server, stop) = (server.clone(), stop.clone());
        move || {
            while !stop.load(Ordering::Relaxed) {
                server.pgbench("bank", &["-n", "-c", "4", "-T", "1"]);
            }
        }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let backup = Reading::new(&server, "bank").read().await;
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    let backup = backup.unwrap();
    server.psql("postgres", "CREATE DATABASE scratch");
    let schema = server.dump_schema("bank");
    // Rows are loaded in the order of their blocks; keys do not matter here.
    server.psql("scratch", schema.split("ALTER TABLE ONLY").next().unwrap());
    let sums: Vec<String> = [
        ("public.pgbench_accounts", "abalance"),
        ("public.pgbench_tellers", "tbalance"),
        ("public.pgbench_branches", "bbalance"),
        ("public.pgbench_history", "delta"),
    ]
    .into_iter()
    .map(|(table, column)| sum_of(&backup.rows_of(table), &server, table, column))
    .collect();
    assert!(sums.iter().all(|sum| *sum == sums[0]), "{sums:?}");
    assert_ne!(
        backup.count_of("public.pgbench_history"),
        0,
        "nothing was written"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_come_after_the_snapshot_are_not_read() {
    let server = Server::version(15).start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql(
        "shop",
        "CREATE TABLE t AS SELECT i FROM generate_series(1, 1000) i",
    );
    let expected = psql_copy(
        &server,
        "shop",
        "SELECT i FROM public.t",
        model::RowFormat::Binary,
    );
    let reading = Reading::new(&server, "shop");
    let mut source = reading.open().await.unwrap();
    server.psql(
        "shop",
        "DELETE FROM t; INSERT INTO t SELECT i FROM generate_series(1, 9000) i",
    );
    let mut backup = begin(source.as_mut()).await.unwrap();
    server.psql(
        "shop",
        "INSERT INTO t SELECT i FROM generate_series(1, 9000) i",
    );
    backup.read_rows(source.as_mut(), 2).await.unwrap();
    backup.end(source).await.unwrap();
    assert!(backup.rows_of("public.t") == expected);
    let told = &reading.progress;
    assert_eq!(told.objects_total(Phase::Dictionary), 4);
    assert_eq!(
        told.objects(Phase::Dictionary),
        told.objects_total(Phase::Dictionary)
    );
    assert_eq!(told.warnings(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_locks_do_not_hold_makes_the_run_begin_anew() {
    let server = Server::version(16).start();
    for change in [
        "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'",
        "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'; ALTER TYPE mood RENAME VALUE 'blue' TO 'sad'",
        "ALTER TYPE pair ADD ATTRIBUTE c int",
        "ALTER SCHEMA a RENAME TO x",
        "ALTER SCHEMA a RENAME TO x; ALTER SCHEMA b RENAME TO a; ALTER SCHEMA a RENAME TO b; ALTER SCHEMA x RENAME TO a",
    ] {
        server.psql("postgres", "DROP DATABASE IF EXISTS shop; ");
        server.psql("postgres", "CREATE DATABASE shop");
        server.psql(
            "shop",
            "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (a int, b int);
             CREATE DOMAIN feeling AS mood;
             CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE b.t (a int);
             CREATE TABLE a.t (m feeling[]); INSERT INTO a.t VALUES ('{sad}');
             CREATE TYPE unused AS ENUM ('x');",
        );
        let mut source = Reading::new(&server, "shop").open().await.unwrap();
        let mut backup = begin(source.as_mut()).await.unwrap();
        // What has nothing to do with the rows does not count.
        server.psql(
            "shop",
            "ALTER TYPE unused RENAME VALUE 'x' TO 'y'; CREATE TABLE new_one (a int)",
        );
        let seen = match change.contains("pair") {
            // A type that no column has is none of the rows' business either.
            true => None,
            false => Some(Retry::NewAttempt),
        };
        server.psql("shop", change);
        let read = backup.read_rows(source.as_mut(), 2).await;
        let end = match read {
            Ok(()) => backup.end(source).await,
            Err(error) => Err(error),
        };
        assert_eq!(end.as_ref().err().map(|e| e.retry()), seen, "{change}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_composite_type_below_an_array_counts_too() {
    let server = Server::version(14).start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql(
        "shop",
        "CREATE TYPE pair AS (a int, b int); CREATE TYPE pairs AS (all_of_them pair[]);
         CREATE TABLE t (p pairs[]); CREATE TABLE u (a int);",
    );
    let shapes = |backup: &crate::reading::Backup| {
        let shape = |name: &str| backup.plan.tables[backup.place(name)].shape.clone();
        (shape("public.t"), shape("public.u"))
    };
    let before = shapes(&Reading::new(&server, "shop").read().await.unwrap());
    let again = shapes(&Reading::new(&server, "shop").read().await.unwrap());
    assert_eq!(before, again);
    // PostgreSQL refuses to change a composite that columns have; a rename it allows.
    server.psql(
        "shop",
        "ALTER TYPE pair RENAME ATTRIBUTE b TO c; ALTER TABLE u ADD b int DEFAULT 7",
    );
    let after = shapes(&Reading::new(&server, "shop").read().await.unwrap());
    assert_ne!(before.0, after.0);
    assert_ne!(before.1, after.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_becomes_too_old_ends_the_run_with_that_reason() {
    let server = Server::version(17).start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql(
        "shop",
        "CREATE TABLE t AS SELECT i FROM generate_series(1, 1000) i",
    );
    let mut reading = Reading::new(&server, "shop");
    reading.max_snapshot = Some(Duration::from_secs(1));
    let mut source = reading.open().await.unwrap();
    let mut backup = begin(source.as_mut()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let error = backup.read_rows(source.as_mut(), 2).await.unwrap_err();
    assert_eq!(error.code(), "snapshot-too-old");
    let error = backup.end(source).await.unwrap_err();
    assert_eq!(error.code(), "snapshot-too-old");
    let left = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'backstay%'";
    assert_eq!(server.psql("postgres", left), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_on_the_server_when_a_source_is_dropped() {
    let server = Server::version(17).start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql(
        "shop",
        "CREATE TABLE t AS SELECT i FROM generate_series(1, 1000) i",
    );
    let source = Reading::new(&server, "shop").open().await.unwrap();
    sessions_become(&server, 3, "two streams and the holder").await;
    drop(source);
    sessions_become(&server, 0, "nobody").await;
}

/// A session ends a moment after its client.
async fn sessions_become(server: &Server, wanted: u32, who: &str) {
    let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'backstay 121.1'";
    let mut seen = String::new();
    for _ in 0..100 {
        seen = server.psql("postgres", ours);
        if seen == wanted.to_string() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{seen} sessions, and it should be {wanted}: {who}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dictionary_of_a_database_that_nobody_changed_is_the_same_each_time() {
    for version in [14, 17, 18] {
        let server = Server::version(version).start();
        server.psql("postgres", "CREATE DATABASE shop");
        let schema =
            "CREATE TABLE item (id int PRIMARY KEY, name text); CREATE VIEW v AS TABLE item";
        server.psql("shop", schema);
        let first = Reading::new(&server, "shop").read().await.unwrap();
        // pg_dump writes the time down, to the second.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let second = Reading::new(&server, "shop").read().await.unwrap();
        for (name, part) in &first.parts {
            // pg_dumpall of today puts a random word around its script.
            if name != "globals.sql" {
                assert!(*part == second.parts[name], "{name} of {version}");
            }
        }
    }
}
