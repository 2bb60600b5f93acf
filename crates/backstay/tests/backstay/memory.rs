//! Memory is bounded whatever the size of a table or of a row, in backup and in restore.
//!
//! The server is the real process; what it has had resident at most is read from the system. With
//! BACKSTAY_LONG_TESTS=1 the table holds 3 GB and a row 900 MB, which takes some minutes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::postgres::Server as Postgres;

use crate::http::Api;

/// What a backup and a restore with two streams may have resident, in bytes.
const BOUND: u64 = 300_000_000;

/// Megabytes of a table, and of one row.
struct Sizes {
    table: u32,
    row: u32,
    limit: Duration,
}

fn sizes() -> Sizes {
    match std::env::var_os("BACKSTAY_LONG_TESTS").is_some_and(|value| value == "1") {
        true => Sizes {
            table: 3000,
            row: 900,
            limit: Duration::from_secs(1800),
        },
        false => Sizes {
            table: 300,
            row: 300,
            limit: Duration::from_secs(150),
        },
    }
}

/// A table of many rows, and tables of one huge row: in COPY's binary form and in its text form,
/// which a column of a type like regclass asks for.
fn fill(postgres: &Postgres, sizes: &Sizes) {
    let roles = postgres.least_rights_role();
    postgres.psql(
        "postgres",
        &format!("CREATE DATABASE big OWNER {}", roles.restore),
    );
    let rows = sizes.table * 1000;
    let repeated = sizes.row * 1_000_000 / 32;
    postgres.psql(
        "big",
        &format!(
            "SET ROLE {};
             CREATE UNLOGGED TABLE many (id int, a text, b text, c int8, d timestamptz);
             INSERT INTO many SELECT i, repeat(md5(i::text), 14), repeat(md5((i * 7)::text), 15), i * 3, '2026-01-01' FROM generate_series(1, {rows}) AS i;
             CREATE TABLE one_binary (id int, body text);
             INSERT INTO one_binary SELECT 1, repeat(md5('binary'), {repeated});
             CREATE TABLE one_text (what regclass, body text);
             INSERT INTO one_text SELECT 'many', repeat(md5('text'), {repeated});",
            roles.restore
        ),
    );
}

/// Neither the server nor we hold a row twice to compare it.
fn contents(postgres: &Postgres, database: &str) -> String {
    postgres.psql(
        database,
        "SELECT count(*), sum(hashtext(a)::int8 + hashtext(b) + id + c) FROM many;
         SELECT id, length(body), md5(body) FROM one_binary;
         SELECT what, length(body), md5(body) FROM one_text",
    )
}

async fn ended(api: &Api, execution: &str, limit: Duration) -> Value {
    let started = Instant::now();
    loop {
        let found = api.execution("pg", execution).await;
        let status = found["status"].as_str().unwrap();
        if !["QUEUED", "RUNNING"].contains(&status) {
            assert_eq!(status, "SUCCESSFUL", "{found:#}");
            return found;
        }
        assert!(started.elapsed() < limit, "it does not end: {found:#}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_bounded_whatever_the_size_of_a_table_or_a_row() {
    let sizes = sizes();
    let postgres = Postgres::version(17).tcp().start();
    fill(&postgres, &sizes);
    let before = contents(&postgres, "big");
    let api = Api::start(&postgres);
    api.postgres_site("pg", &postgres).await;
    let at_rest = api.process.peak_memory();
    let job = api.job("pg", "big", json!({})).await;
    let started = Instant::now();
    let backup = api.execute("pg", &job).await;
    ended(&api, &backup, sizes.limit).await;
    let (backing_up, took) = (api.process.peak_memory(), started.elapsed());
    let roles = postgres.least_rights_role();
    let started = Instant::now();
    let asked = api
        .ask_restore(
            ("pg", &job, &backup),
            ("big", "copy"),
            Some((roles.restore, roles.password)),
        )
        .await;
    ended(&api, &asked.is(202).id(), sizes.limit).await;
    let restoring = api.process.peak_memory();
    eprintln!(
        "resident at most: {at_rest} bytes at rest, {backing_up} after a backup ({took:?}), {restoring} after a restore ({:?})",
        started.elapsed()
    );
    assert!(backing_up < BOUND, "{backing_up} bytes in a backup");
    assert!(restoring < BOUND, "{restoring} bytes in a restore");
    assert_eq!(before, contents(&postgres, "copy"));
}
