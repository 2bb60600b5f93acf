//! The reference's payloads against a real backup and a real restore of PostgreSQL, over a real
//! connection; the server's own tests hold every field of them against an engine in memory.

use std::collections::BTreeSet;

use base64::Engine as _;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::postgres::Server as Postgres;
use testkit::shape;

use crate::http::Api;
use crate::process::TOKEN;

pub const LIST_JOBS: &str = include_str!("../../../server/tests/server/samples/list-jobs.json");
pub const LIST_EXECUTIONS: &str =
    include_str!("../../../server/tests/server/samples/list-executions.json");
pub const LIST_JOB_EXECUTIONS: &str =
    include_str!("../../../server/tests/server/samples/list-job-executions.json");
const GET_JOB: &str = include_str!("../../../server/tests/server/samples/get-job.json");
const EXECUTE: &str = include_str!("../../../server/tests/server/samples/execute-request.json");

/// Keys, JSON types and nesting must agree; answers the paths that are null.
pub fn nulls(sample: &str, live: &Value) -> BTreeSet<String> {
    shape::compare(&serde_json::from_str(sample).unwrap(), live, &[])
}

pub fn set(paths: &[&str]) -> BTreeSet<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_backup_and_its_restore_are_answered_as_the_reference_has_it() {
    let postgres = Postgres::version(16).tcp().start();
    let roles = postgres.least_rights_role();
    postgres.psql("postgres", "CREATE DATABASE shop OWNER backstay_restore");
    postgres.psql(
        "shop",
        "SET ROLE backstay_restore; CREATE TABLE t AS SELECT i, i::text AS text FROM generate_series(1, 10000) i",
    );
    let api = Api::start(&postgres);
    api.postgres_site("pg", &postgres).await;
    let job = api.job("pg", "shop", json!({})).await;
    let path = format!("/sites/pg/jobs/{job}/execute");
    let body: Value = serde_json::from_str(EXECUTE).unwrap();
    let started = api.post(&path, &body).await.is(202);
    assert_eq!(started.text, "", "row 3 has an empty body");
    let backup = started.id();
    let ended = api.ended("pg", &backup).await;
    assert_eq!(ended["status"], "SUCCESSFUL", "{ended:#}");
    let restored = api
        .restore(("pg", &job, &backup), ("shop", "copy"), &roles)
        .await;
    let (restore, restore_job) = (&restored["execution_id"], &restored["job_id"]);

    // Row 1: the backup's job knows the restore of its newest execution.
    let jobs = api.get("/sites/pg/jobs").await;
    let wanted = [
        "[].description",
        "[].next_run_time",
        "[].targetSiteDetails.target_retention_source",
        "[].targetSiteDetails.target_site_id",
    ];
    assert_eq!(nulls(LIST_JOBS, &jobs), set(&wanted));
    for listed in jobs.as_array().unwrap() {
        let last = &listed["last_execution_details"];
        assert_eq!(last["backup_job_id"].to_string(), job);
        assert_eq!(last["backup_job_execution_id"].to_string(), backup);
        assert_eq!(&json!(last["restore_execution_id"].to_string()), restore);
        assert!(last["backup_set_size"].as_u64().unwrap() > 0, "{listed:#}");
        assert_eq!(listed["siteTargetType"], "LOCAL");
    }

    // Row 2.
    let shown = api.get(&format!("/sites/pg/jobs/{restore_job}")).await;
    let ours = [
        "target_site",
        "created_at",
        "job_settings.skip_join_or_hash_indexes",
        "job_settings.replace_existing",
        "job_settings.yield_to_ddl_seconds",
    ];
    shape::compare(&serde_json::from_str(GET_JOB).unwrap(), &shown, &ours);
    let name = "restore_to_a_different_database_on_target_site";
    assert_eq!(shown["job_settings"][name], "copy");
    assert_eq!(shown["job_settings"]["run_as_a_copy_job"], true);

    // Rows 4 and 5: the newest first.
    let all = api.get("/sites/pg/executions").await;
    let of_job = api.get(&format!("/sites/pg/jobs/{job}/executions")).await;
    let wanted = set(&[
        "[].parent_execution_id",
        "[].saveset_replication_status",
        "[].target_site",
    ]);
    assert_eq!(nulls(LIST_JOB_EXECUTIONS, &of_job), wanted);
    let mut with_restore = wanted.clone();
    with_restore.insert("[].run_type".to_owned());
    assert_eq!(nulls(LIST_EXECUTIONS, &all), with_restore);
    let (newest, oldest) = (&all[0], &all[1]);
    assert_eq!(oldest, &of_job[0]);
    assert_eq!(
        (&newest["execution_id"], &oldest["execution_id"]),
        (restore, &json!(backup))
    );
    assert_eq!(newest["parent_execution_id"], json!(backup));
    assert_eq!(
        (&newest["target_site"], &oldest["run_type"]),
        (&json!("pg"), &json!("FULL"))
    );
    for row in [newest, oldest] {
        assert_eq!(row["site_type"], "POSTGRESQL");
        assert_eq!(row["saveset_id"], 1);
        let (id, start) = (
            row["execution_id"].as_str().unwrap(),
            row["start_time"].as_str().unwrap(),
        );
        assert_eq!(row["server_execution_id"], format!("{id}.1"));
        let name = format!("{} {}Z", row["job_name"].as_str().unwrap(), &start[..19]);
        assert_eq!(row["execution_name"], name);
        assert_eq!(start.len(), "2026-11-24T13:15:02.000000Z".len());
    }
    let (all, new) = (&oldest["backup_set_size"], &ended["bytes_stored"]);
    assert!(all.as_u64() >= new.as_u64(), "{all} with {new} new ones");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_walked_by_their_links_with_the_token_as_a_password() {
    let postgres = Postgres::version(17).tcp().start();
    let api = Api::start(&postgres);
    api.postgres_site("pg", &postgres).await;
    for _ in 0..7 {
        api.job("pg", "shop", json!({})).await;
    }
    let mut next = Some(format!(
        "{}/data-protection/v2/sites/pg/jobs?page-size=3",
        api.process.url
    ));
    let (http, mut seen) = (reqwest::Client::new(), Vec::new());
    let basic = base64::engine::general_purpose::STANDARD.encode(format!(":{TOKEN}"));
    while let Some(url) = next {
        let asked = http
            .get(&url)
            .header("authorization", format!("Basic {basic}"));
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{url}");
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("x-total-count"), "7");
        let links = header("link");
        next = links.split(", ").find_map(|link| {
            let (target, relation) = link.split_once("; ")?;
            (relation == "rel=\"next\"").then(|| target.trim_matches(['<', '>']).to_owned())
        });
        next = next.map(|path| format!("{}{path}", api.process.url));
        let rows: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        seen.extend(
            rows.as_array()
                .unwrap()
                .iter()
                .map(|row| row["job_id"].as_u64().unwrap()),
        );
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7]);
    let wrong = api
        .call(Method::GET, "/sites/pg/jobs?page=0", None, None)
        .await;
    assert_eq!(wrong.is(400).json()["field"], "page");
}
