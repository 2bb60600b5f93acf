//! Very many tables, partitions and large objects: nothing grows with their square, and no
//! question is asked once for each.

use std::time::{Duration, Instant};

use model::{Engine, FindingLevel, Retry};
use testkit::postgres::Server;

use crate::reading::Reading;

/// How many tables: all that a large database has where the long tests are asked for.
fn tables() -> u32 {
    match long_tests() {
        true => 10_000,
        false => 3_000,
    }
}

/// Whether tests that take minutes are asked for.
pub fn long_tests() -> bool {
    std::env::var_os("BACKSTAY_LONG_TESTS").is_some_and(|value| value == "1")
}

fn server_with_room_for_locks() -> Server {
    let server = Server::version(17)
        .setting("max_locks_per_transaction", "1024")
        .setting("max_connections", "60")
        .start();
    server.psql("postgres", "CREATE DATABASE shop");
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_thousands_of_tables_and_partitions_is_read_in_one_go() {
    let server = server_with_room_for_locks();
    let (tables, partitions) = (tables(), tables() / 10);
    server.psql(
        "shop",
        &format!(
            "CREATE SCHEMA many; CREATE TYPE many.mood AS ENUM ('sad', 'ok');
             DO $$ BEGIN FOR i IN 1..{tables} LOOP
               EXECUTE format('CREATE TABLE many.t%s (id int PRIMARY KEY, m many.mood, x text)', i);
               IF i % 100 = 0 THEN EXECUTE format('INSERT INTO many.t%s VALUES (1, ''ok'', ''x'')', i); END IF;
             END LOOP; END $$;
             CREATE TABLE many.parts (id int) PARTITION BY RANGE (id);
             DO $$ BEGIN FOR i IN 1..{partitions} LOOP
               EXECUTE format('CREATE TABLE many.p%s PARTITION OF many.parts FOR VALUES FROM (%s) TO (%s)', i, i, i + 1);
             END LOOP; END $$;
             INSERT INTO many.parts SELECT generate_series(1, {partitions})"
        ),
    );
    let begun = Instant::now();
    let backup = Reading::new(&server, "shop").read().await.unwrap();
    let took = begun.elapsed();
    eprintln!("{tables} tables and {partitions} partitions: {took:?}");
    let expected = usize::try_from(tables + partitions).unwrap();
    assert_eq!(backup.plan.tables.len(), expected);
    let rows: u64 = backup.segments.iter().map(|s| s.index.rows()).sum();
    assert_eq!(rows, u64::from(tables / 100 + partitions));
    // Twenty times what it takes: whatever grows with the square takes much longer.
    assert!(took < Duration::from_secs(120), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tens_of_thousands_of_large_objects_are_read_with_owners_grants_and_comments() {
    let server = server_with_room_for_locks();
    server.psql(
        "shop",
        "CREATE ROLE clerk;
         SELECT count(lo_from_bytea(50000 + i, convert_to('large ' || i, 'UTF8'))) FROM generate_series(1, 35000) AS i;",
    );
    for part in 0..7 {
        // One transaction holds a lock on each of them.
        server.psql(
            "shop",
            &format!(
                "DO $$ BEGIN FOR i IN {}..{} LOOP
                   EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO clerk', 50000 + i);
                   EXECUTE format('COMMENT ON LARGE OBJECT %s IS ''number %s''', 50000 + i, i);
                   IF i % 2 = 0 THEN EXECUTE format('ALTER LARGE OBJECT %s OWNER TO clerk', 50000 + i); END IF;
                 END LOOP; END $$",
                part * 5000 + 1,
                (part + 1) * 5000
            ),
        );
    }
    let begun = Instant::now();
    let backup = Reading::new(&server, "shop").read().await.unwrap();
    let took = begun.elapsed();
    eprintln!("35,000 large objects: {took:?}");
    assert_eq!(backup.count_of("pg_catalog.pg_largeobject"), 35_000);
    let lines = backup.lines("large_objects.jsonl");
    assert_eq!(lines.len(), 35_000);
    for (i, line) in (1..).zip(&lines) {
        assert_eq!(line["oid"], 50_000 + i);
        assert_eq!(line["comment"], format!("number {i}"));
        let owner = if i % 2 == 0 { "clerk" } else { "postgres" };
        assert_eq!(line["owner"], owner);
        let granted = line["grants"].as_array().unwrap().iter();
        assert!(granted.clone().any(|g| g["grantee"] == "clerk"));
    }
    assert!(took < Duration::from_secs(60), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_table_that_is_too_small_is_named_with_the_value_that_is_needed() {
    let server = Server::version(16)
        .setting("max_locks_per_transaction", "10")
        .setting("max_connections", "20")
        .start();
    server.psql("postgres", "CREATE DATABASE shop");
    let make = |from: u32, to: u32| {
        format!(
            "DO $$ BEGIN FOR i IN {from}..{to} LOOP EXECUTE format('CREATE TABLE t%s (a int)', i); END LOOP; END $$"
        )
    };
    for hundred in 0..20 {
        server.psql("shop", &make(hundred * 100, hundred * 100 + 99));
    }
    let begun = Instant::now();
    let error = Reading::new(&server, "shop").open().await;
    let error = error.err().expect("there is no room for so many locks");
    assert_eq!(
        (error.code(), error.retry()),
        ("out-of-lock-memory", Retry::Never)
    );
    let said = error.sentence();
    assert!(said.contains("max_locks_per_transaction is 10"), "{said}");
    assert!(
        said.contains("4 sessions of this run lock 2000 tables"),
        "{said}"
    );
    // It is not waited for what no waiting mends.
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );

    let mut connection = crate::reading::connection(&server, "backstay");
    if let model::Connection::Postgresql { url, .. } = &mut connection {
        *url = server.url("shop", "backstay");
    }
    let engine = crate::reading::engine(&server);
    let report = engine.check(&connection, 2).await.unwrap();
    let locks = report.findings.iter().find(|f| f.what == "locks").unwrap();
    assert_eq!(locks.level, FindingLevel::Error);
    assert!(
        locks.detail.contains("max_locks_per_transaction = 10"),
        "{}",
        locks.detail
    );

    let hint = error.hint().unwrap();
    let value = hint.split_once(" = ").unwrap().1.split(';').next().unwrap();
    server.set("max_locks_per_transaction", value);
    server.restart();
    let backup = Reading::new(&server, "shop").read().await.unwrap();
    assert_eq!(backup.plan.tables.len(), 2000);
}
