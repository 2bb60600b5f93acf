//! Killed and stopped in the middle: what is shown afterwards is true, and the next run is good.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use testkit::digest::{assert_equal, digest};
use testkit::postgres::{Roles, Server as Postgres};

use crate::http::{Api, process_of_a_stream};

/// Large enough that a run is caught in the middle of it, small enough for a test.
const ROWS: &str =
    "CREATE TABLE big AS SELECT i AS id, md5(i::text) || repeat(md5((-i)::text), 4) AS filler
    FROM generate_series(1, 500000) i; ALTER TABLE big ADD PRIMARY KEY (id)";

fn shop() -> Postgres {
    let postgres = Postgres::version(17).tcp().start();
    let roles = postgres.least_rights_role();
    postgres.psql(
        "postgres",
        &format!(
            "CREATE ROLE keeper; GRANT keeper TO {}; CREATE DATABASE shop OWNER keeper",
            roles.restore
        ),
    );
    postgres.psql(
        "shop",
        &format!("GRANT CREATE ON SCHEMA public TO keeper; SET ROLE keeper; {ROWS}"),
    );
    postgres
}

/// A site of the shop, and a job.
async fn protected(postgres: &Postgres) -> (Api, String) {
    let api = Api::start(postgres);
    api.postgres_site("pg", postgres).await;
    let job = api.job("pg", "shop", json!({})).await;
    (api, job)
}

/// A restore under way, its rows flowing; its id.
async fn restoring(api: &Api, postgres: &Postgres, job: &str, backup: &str) -> String {
    let roles = postgres.least_rights_role();
    let credentials = Some((roles.restore, roles.password));
    let answer = api
        .ask_restore(("pg", job, backup), ("shop", "copy"), credentials)
        .await;
    let restore = answer.is(202).id();
    process_of_a_stream(postgres, "big").await;
    restore
}

/// The job's executions, the newest first.
async fn executions(api: &Api, job: &str) -> Vec<Value> {
    let listed = api.get(&format!("/sites/pg/jobs/{job}/executions")).await;
    listed.as_array().unwrap().clone()
}

#[track_caller]
fn failed_saying(execution: &Value, words: &[&str]) {
    assert_eq!(execution["status"], "FAILED", "{execution:#}");
    let why = execution["status_detail"].as_str().unwrap();
    for part in words {
        assert!(why.contains(part), "{part:?} is not in {why:?}");
    }
    assert!(execution["end_time"].is_string(), "{execution:#}");
}

/// The call that the end of a restore names, made with the credentials; its execution, ended.
async fn continued(api: &Api, failed: &Value, roles: &Roles) -> Value {
    let why = failed["status_detail"].as_str().unwrap();
    let path = why.split("POST /data-protection/v2").nth(1).unwrap();
    let path = path.split_whitespace().next().unwrap();
    let credentials = Some((roles.restore, roles.password));
    let answer = api.call(Method::POST, path, None, credentials).await;
    api.ended("pg", &answer.is(202).id()).await
}

async fn copy_is_equal(postgres: &Postgres) {
    let before = digest(&postgres.connect("shop").await).await.unwrap();
    let after = digest(&postgres.connect("copy").await).await.unwrap();
    assert_equal(&before, &after);
}

fn databases(postgres: &Postgres) -> String {
    postgres.psql(
        "postgres",
        "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate",
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_server_is_killed_has_failed_and_is_queued_again_once() {
    let postgres = shop();
    let (api, job) = protected(&postgres).await;
    let first = api.execute("pg", &job).await;
    process_of_a_stream(&postgres, "big").await;
    let api = api.restarted_after("KILL", &postgres);
    failed_saying(
        &api.execution("pg", &first).await,
        &["server stopped", "queued again"],
    );
    let all = executions(&api, &job).await;
    assert_eq!(all.len(), 2, "{all:#?}");
    let second = all[0]["execution_id"].as_str().unwrap().to_owned();
    process_of_a_stream(&postgres, "big").await;
    let api = api.restarted_after("KILL", &postgres);
    failed_saying(
        &api.execution("pg", &second).await,
        &["server stopped", "not queued again", &first],
    );
    assert_eq!(executions(&api, &job).await.len(), 2);
    assert_eq!(api.get("/sites/pg/savesets").await, json!([]));
    api.back_up("pg", &job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backup_that_is_queued_again_gives_every_row() {
    let postgres = shop();
    let (api, job) = protected(&postgres).await;
    api.execute("pg", &job).await;
    process_of_a_stream(&postgres, "big").await;
    let api = api.restarted_after("KILL", &postgres);
    let second = executions(&api, &job).await[0]["execution_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let ended = api.ended("pg", &second).await;
    assert_eq!(ended["status"], "SUCCESSFUL", "{ended:#}");
    let savesets = api.get("/sites/pg/savesets").await;
    assert_eq!(savesets.as_array().unwrap().len(), 1, "{savesets:#}");
    assert_eq!(
        savesets[0]["execution_id"].to_string().trim_matches('"'),
        second
    );
    let roles = postgres.least_rights_role();
    api.restore(("pg", &job, &second), ("shop", "copy"), &roles)
        .await;
    copy_is_equal(&postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_whose_server_is_killed_says_how_it_goes_on() {
    let postgres = shop();
    let (api, job) = protected(&postgres).await;
    let backup = api.back_up("pg", &job).await;
    let restore = restoring(&api, &postgres, &job, &backup).await;
    // The dictionary lies in the data directory as long as the run goes on.
    let temporary = |api: &Api| {
        let folder = std::fs::read_dir(api.process.data().join("backstay.tmp")).unwrap();
        let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect::<Vec<_>>()
    };
    let under_way = temporary(&api);
    assert!(
        under_way
            .iter()
            .any(|name| name.starts_with("backstay-restore-")),
        "{under_way:?}"
    );
    let api = api.restarted_after("KILL", &postgres);
    assert_eq!(temporary(&api), [""; 0], "a killed run's files are removed");
    let failed = api.execution("pg", &restore).await;
    failed_saying(
        &failed,
        &["stopped while this restore ran", "x-auth-credentials"],
    );
    // The new name is not taken; only what the working database is called is there.
    let left = databases(&postgres);
    assert!(
        left.starts_with(&format!("backstay_{restore}_1_"))
            && left.ends_with("_copy postgres shop"),
        "{left}"
    );
    let roles = postgres.least_rights_role();
    let ended = continued(&api, &failed, &roles).await;
    assert_eq!(ended["status"], "SUCCESSFUL", "{ended:#}");
    copy_is_equal(&postgres).await;
    assert_eq!(databases(&postgres), "copy postgres shop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_server_is_shut_down_is_queued_again() {
    let postgres = shop();
    let (api, job) = protected(&postgres).await;
    let first = api.execute("pg", &job).await;
    process_of_a_stream(&postgres, "big").await;
    let (status, folder) = api.process.ended_by("TERM");
    assert_eq!(status.code(), Some(0), "it ends in order");
    let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'backstay%'";
    assert_eq!(postgres.psql("postgres", ours), "0", "no session stays");
    let api = Api::start_in(folder, &postgres, &|_| {});
    failed_saying(
        &api.execution("pg", &first).await,
        &["shut down", "queued again"],
    );
    let all = executions(&api, &job).await;
    assert_eq!(all.len(), 2, "{all:#?}");
    let ended = api
        .ended("pg", all[0]["execution_id"].as_str().unwrap())
        .await;
    assert_eq!(ended["status"], "SUCCESSFUL", "{ended:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_whose_server_is_shut_down_cleans_up_and_says_how_it_goes_on() {
    let postgres = shop();
    let (api, job) = protected(&postgres).await;
    let backup = api.back_up("pg", &job).await;
    let restore = restoring(&api, &postgres, &job, &backup).await;
    let api = api.restarted_after("TERM", &postgres);
    assert_eq!(
        databases(&postgres),
        "postgres shop",
        "nothing half done stays"
    );
    let failed = api.execution("pg", &restore).await;
    failed_saying(
        &failed,
        &["was shut down while this restore ran", "x-auth-credentials"],
    );
    let roles = postgres.least_rights_role();
    let ended = continued(&api, &failed, &roles).await;
    assert_eq!(ended["status"], "SUCCESSFUL", "{ended:#}");
    copy_is_equal(&postgres).await;
    assert_eq!(databases(&postgres), "copy postgres shop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_server_that_dies_fails_the_backup_and_not_the_next_one() {
    let postgres = shop();
    let (api, job) = protected(&postgres).await;
    let backup = api.execute("pg", &job).await;
    process_of_a_stream(&postgres, "big").await;
    postgres.crash();
    let ended = api.ended("pg", &backup).await;
    assert_eq!(ended["status"], "FAILED", "{ended:#}");
    // A stream hears it from its backend's last words, or by the connection that breaks.
    let detail = ended["status_detail"].as_str().unwrap();
    let heard = ["connection to PostgreSQL", "postmaster exit"];
    assert!(heard.iter().any(|why| detail.contains(why)), "{detail}");
    let next = api.execute("pg", &job).await;
    failed_saying(
        &api.ended("pg", &next).await,
        &["cannot be reached", &postgres.port().to_string()],
    );
    postgres.restart();
    api.back_up("pg", &job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_server_that_dies_fails_the_restore_and_not_the_next_one() {
    let postgres = shop();
    let (api, job) = protected(&postgres).await;
    let backup = api.back_up("pg", &job).await;
    let restore = restoring(&api, &postgres, &job, &backup).await;
    postgres.crash();
    let ended = api.ended("pg", &restore).await;
    failed_saying(&ended, &["PostgreSQL", "cannot be reached"]);
    postgres.restart();
    let working = format!("backstay_{restore}_1_");
    if databases(&postgres).contains(&working) {
        failed_saying(
            &ended,
            &["what the restore had made could not be taken away"],
        );
    }
    let roles = postgres.least_rights_role();
    let path = format!("/sites/pg/jobs/{}/execute", ended["job_id"]);
    let again = api
        .call(
            Method::POST,
            &path,
            None,
            Some((roles.restore, roles.password)),
        )
        .await;
    let again = api.ended("pg", &again.is(202).id()).await;
    assert_eq!(again["status"], "SUCCESSFUL", "{again:#}");
    copy_is_equal(&postgres).await;
    assert_eq!(databases(&postgres), "copy postgres shop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_at_any_moment_says_of_every_run_what_became_of_it() {
    let postgres = Postgres::version(17).tcp().start();
    let roles = postgres.least_rights_role();
    postgres.psql("postgres", "CREATE DATABASE shop OWNER backstay_restore");
    let rows = "SET ROLE backstay_restore; CREATE TABLE t AS SELECT generate_series(1, 20000) n";
    postgres.psql("shop", rows);
    let (mut api, job) = protected(&postgres).await;
    // A whole run takes about half a second.
    for pause in [5, 60, 120, 200, 280, 360, 450, 550, 700] {
        // What was queued again may be running.
        let path = format!("/sites/pg/jobs/{job}/execute");
        let asked = api.post(&path, &json!({})).await;
        assert!([202, 409].contains(&asked.status), "{}", asked.text);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        api = api.restarted_after("KILL", &postgres);
    }
    let mut succeeded = Vec::new();
    for execution in executions(&api, &job).await {
        let id = execution["execution_id"].as_str().unwrap();
        let ended = api.ended("pg", id).await;
        match ended["status"].as_str().unwrap() {
            "SUCCESSFUL" => succeeded.push(ended["saveset_id"].as_u64().unwrap()),
            _ => failed_saying(&ended, &["server stopped"]),
        }
        assert!(execution["execution_name"].is_string() || execution["status"] == "QUEUED");
    }
    // Every saveset is some run's, and every good run has one.
    let savesets = api.get("/sites/pg/savesets").await;
    let ids = savesets
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["saveset_id"].as_u64().unwrap());
    let kept = succeeded.len().min(7);
    assert_eq!(ids.collect::<Vec<_>>(), succeeded[..kept], "{savesets:#}");
    api.back_up("pg", &job).await;
    for (place, saveset) in api
        .get("/sites/pg/savesets")
        .await
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        let execution = saveset["execution_id"].to_string();
        let copy = format!("copy {place}");
        api.restore(
            ("pg", &job, execution.trim_matches('"')),
            ("shop", &copy),
            &roles,
        )
        .await;
        assert_eq!(postgres.psql(&copy, "SELECT count(*) FROM t"), "20000");
    }
}
