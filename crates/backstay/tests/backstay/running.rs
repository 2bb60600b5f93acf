//! What is seen of a run while it runs, and how it is stopped, against real PostgreSQL.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use testkit::postgres::Server as Postgres;

use crate::contract_live::{LIST_EXECUTIONS, LIST_JOB_EXECUTIONS, LIST_JOBS, nulls, set};
use crate::http::{Api, process_of_a_stream, until_answered};
use crate::slow_network::SlowNetwork;

/// Twice what a stalled network lets through, and more.
const ROWS: &str = "CREATE TABLE big AS SELECT i AS id, repeat(md5(i::text), 6) AS filler
    FROM generate_series(1, 300000) i";

/// A site behind a network that stands still once rows flow, with a job.
async fn behind_a_network(owner_of_rows: &str) -> (Postgres, SlowNetwork, Api, String) {
    let postgres = Postgres::version(17).tcp().start();
    let roles = postgres.least_rights_role();
    let database = format!("CREATE DATABASE shop OWNER {owner_of_rows}");
    postgres.psql("postgres", &database);
    let rows = format!("SET ROLE {owner_of_rows}; {ROWS}");
    postgres.psql("shop", &rows);
    let network = SlowNetwork::before(postgres.port()).await;
    let url = postgres.url("postgres", roles.backup);
    let url = url.replace(&postgres.port().to_string(), &network.port().to_string());
    let api = Api::start(&postgres);
    api.site_at("pg", &url, roles.password).await.is(201);
    let job = api.job("pg", "shop", json!({})).await;
    (postgres, network, api, job)
}

/// The execution, once it is in that phase.
async fn in_phase(api: &Api, execution: &str, phase: &str) -> Value {
    let started = Instant::now();
    loop {
        let found = api.execution("pg", execution).await;
        if found["phases"]
            .as_array()
            .unwrap()
            .iter()
            .any(|p| p["phase"] == phase)
        {
            return found;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{found:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Asks for the abort and answers the execution, which must have ended in time.
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
    assert_eq!(ended["status_detail"], "Aborted on request of admin");
    let again = api.call(Method::POST, &path, None, None).await.is(409);
    assert_eq!(again.json()["code"], "execution-ended");
    ended
}

/// No session of ours stays for long.
async fn nobody_is_left(postgres: &Postgres) {
    let gone = "SELECT 'gone' WHERE NOT EXISTS (SELECT FROM pg_stat_activity
        WHERE application_name LIKE 'backstay%')";
    until_answered(postgres, "postgres", gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_shows_how_far_it_is_and_is_aborted_in_the_middle_of_its_rows() {
    let (postgres, _network, api, job) = behind_a_network("postgres").await;
    let id = api.execute("pg", &job).await;
    process_of_a_stream(&postgres, "big").await;
    let running = in_phase(&api, &id, "DATA").await;
    assert_eq!(running["status"], "RUNNING", "{running:#}");
    assert_eq!(running["end_time"], Value::Null);
    assert_eq!(running["saveset_id"], Value::Null, "it is not committed");
    assert_eq!(running["phases"][0]["status"], "SUCCESSFUL", "{running:#}");
    assert_eq!(running["phases"][1]["status"], "RUNNING", "{running:#}");
    let names = postgres.psql(
        "postgres",
        "SELECT DISTINCT application_name FROM pg_stat_activity WHERE application_name LIKE 'backstay%'",
    );
    assert_eq!(
        names,
        format!(
            "backstay {}",
            running["server_execution_id"].as_str().unwrap()
        )
    );

    // The lists have the reference's shape in the middle of a run too.
    let jobs = api.get("/sites/pg/jobs").await;
    let wanted = [
        "[].description",
        "[].last_execution_details.end_time",
        "[].last_execution_details.restore_execution_id",
        "[].next_run_time",
        "[].targetSiteDetails.target_retention_source",
        "[].targetSiteDetails.target_site_id",
    ];
    assert_eq!(nulls(LIST_JOBS, &jobs), set(&wanted));
    assert_eq!(
        jobs[0]["last_execution_details"]["backup_job_execution_id"].to_string(),
        id
    );
    let wanted = set(&[
        "[].end_time",
        "[].parent_execution_id",
        "[].saveset_id",
        "[].saveset_replication_status",
        "[].target_site",
    ]);
    let listed = api.get("/sites/pg/executions").await;
    assert_eq!(nulls(LIST_EXECUTIONS, &listed), wanted);
    let listed = api.get(&format!("/sites/pg/jobs/{job}/executions")).await;
    assert_eq!(nulls(LIST_JOB_EXECUTIONS, &listed), wanted);

    let path = format!("/sites/pg/jobs/{job}/execute");
    let busy = api.post(&path, &json!({})).await.is(409).json();
    assert_eq!(
        (&busy["code"], &busy["execution_id"]),
        (&json!("job-running"), &json!(id))
    );

    let ended = aborted(&api, &id).await;
    assert_eq!(ended["phases"][1]["status"], "ABORTED", "{ended:#}");
    assert_eq!(api.get("/sites/pg/savesets").await, json!([]));
    nobody_is_left(&postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_is_aborted_in_the_middle_of_its_rows_and_takes_away_what_it_made() {
    let (postgres, network, api, job) = behind_a_network("backstay_restore").await;
    network.flow();
    let backup = api.back_up("pg", &job).await;
    network.stall();
    let roles = postgres.least_rights_role();
    let credentials = Some((roles.restore, roles.password));
    let names = ("shop", "copy");
    let asked = api
        .ask_restore(("pg", &job, &backup), names, credentials)
        .await;
    let id = asked.is(202).id();
    process_of_a_stream(&postgres, "big").await;
    let running = in_phase(&api, &id, "DATA").await;
    assert_eq!(running["status"], "RUNNING", "{running:#}");
    assert_eq!(running["saveset_id"], 1);
    aborted(&api, &id).await;
    nobody_is_left(&postgres).await;
    let left =
        "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate";
    assert_eq!(postgres.psql("postgres", left), "postgres shop");
    network.flow();
    api.restore(("pg", &job, &backup), names, &roles).await;
    assert_eq!(postgres.psql("copy", "SELECT count(*) FROM big"), "300000");
}
