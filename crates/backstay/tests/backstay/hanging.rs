//! A database server that no longer answers: its connections are open, and nothing comes.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use testkit::postgres::Server as Postgres;

use crate::http::{Api, process_of_a_stream};

const ROWS: &str = "SET ROLE backstay_restore;
    CREATE TABLE big AS SELECT i AS id, repeat(md5(i::text), 5) AS filler FROM generate_series(1, 400000) i";

async fn protected() -> (Postgres, Api, String) {
    let postgres = Postgres::version(17).tcp().start();
    postgres.least_rights_role();
    postgres.psql("postgres", "CREATE DATABASE shop OWNER backstay_restore");
    postgres.psql("shop", ROWS);
    let api = Api::start(&postgres);
    api.postgres_site("pg", &postgres).await;
    let job = api.job("pg", "shop", json!({})).await;
    (postgres, api, job)
}

/// Aborts a run whose database hangs; the execution, which must have ended in time.
async fn aborted(api: &Api, execution: &str) -> Value {
    let asked = Instant::now();
    let path = format!("/sites/pg/executions/{execution}/abort");
    api.call(Method::POST, &path, None, None).await.is(202);
    let ended = api.ended("pg", execution).await;
    // Two seconds are promised; the rest is for a machine with other tests on it.
    assert!(
        asked.elapsed() < Duration::from_secs(4),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(ended["status"], "ABORTED", "{ended:#}");
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_from_a_hanging_server_is_aborted_in_time() {
    let (postgres, api, job) = protected().await;
    let backup = api.execute("pg", &job).await;
    process_of_a_stream(&postgres, "big").await;
    postgres.pause();
    aborted(&api, &backup).await;
    postgres.resume();
    api.back_up("pg", &job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_to_a_hanging_server_is_aborted_in_time_and_the_next_one_clears_up() {
    let (postgres, api, job) = protected().await;
    let roles = postgres.least_rights_role();
    let backup = api.back_up("pg", &job).await;
    let credentials = Some((roles.restore, roles.password));
    let asked = api
        .ask_restore(("pg", &job, &backup), ("shop", "copy"), credentials)
        .await;
    let restore = asked.is(202).id();
    process_of_a_stream(&postgres, "big").await;
    postgres.pause();
    let ended = aborted(&api, &restore).await;
    postgres.resume();
    let again = format!("/sites/pg/jobs/{}/execute", ended["job_id"]);
    let again = api.call(Method::POST, &again, None, credentials).await;
    let again = api.ended("pg", &again.is(202).id()).await;
    assert_eq!(again["status"], "SUCCESSFUL", "{again:#}");
    assert_eq!(postgres.psql("copy", "SELECT count(*) FROM big"), "400000");
    let names =
        "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate";
    assert_eq!(postgres.psql("postgres", names), "copy postgres shop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_database_hangs_still_ends_in_order() {
    let (postgres, api, job) = protected().await;
    let backup = api.execute("pg", &job).await;
    process_of_a_stream(&postgres, "big").await;
    postgres.pause();
    let asked = Instant::now();
    let (status, folder) = api.process.ended_by("TERM");
    assert_eq!(status.code(), Some(0));
    assert!(
        asked.elapsed() < Duration::from_secs(10),
        "{:?}",
        asked.elapsed()
    );
    postgres.resume();
    let api = Api::start_in(folder, &postgres, &|_| {});
    let failed = api.execution("pg", &backup).await;
    assert_eq!(failed["status"], "FAILED", "{failed:#}");
    let all = api.get(&format!("/sites/pg/jobs/{job}/executions")).await;
    let newest = all[0]["execution_id"].as_str().unwrap();
    let ended = api.ended("pg", newest).await;
    assert_eq!(ended["status"], "SUCCESSFUL", "{ended:#}");
    assert_eq!(all.as_array().unwrap().len(), 2, "{all:#}");
}
