//! PostgreSQL databases protected and brought back through HTTP alone, as the recommended roles.

use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use testkit::digest::{Digest, assert_equal, digest};
use testkit::postgres::{Roles, Server as Postgres};

use crate::http::{Api, until_answered};
use crate::slow_network::SlowNetwork;

/// The balances that pgbench keeps equal: in accounts, tellers, branches and its history.
const BALANCES: &str = "SELECT (SELECT sum(abalance) FROM pgbench_accounts),
    (SELECT sum(tbalance) FROM pgbench_tellers), (SELECT sum(bbalance) FROM pgbench_branches),
    (SELECT sum(delta) FROM pgbench_history)";

async fn digest_of(postgres: &Postgres, database: &str) -> Digest {
    digest(&postgres.connect(database).await).await.unwrap()
}

/// A server with a pgbench database `bank` of that scale, and the roles.
fn bank(scale: &str) -> Postgres {
    let postgres = Postgres::version(17).tcp().start();
    let roles = postgres.least_rights_role();
    postgres.psql(
        "postgres",
        &format!(
            "CREATE ROLE banker; GRANT banker TO {}; CREATE DATABASE bank OWNER banker",
            roles.restore
        ),
    );
    postgres.pgbench("bank", &["-i", "-s", scale, "--quiet"]);
    postgres.psql(
        "bank",
        "ALTER TABLE pgbench_accounts OWNER TO banker; ALTER TABLE pgbench_tellers OWNER TO banker;
         ALTER TABLE pgbench_branches OWNER TO banker; ALTER TABLE pgbench_history OWNER TO banker;",
    );
    postgres
}

/// pgbench at work; it ends with this value.
struct Writing(Child);

impl Writing {
    fn to(postgres: &Postgres, database: &str) -> Writing {
        let mut pgbench = postgres.tool("pgbench", database);
        let pgbench = pgbench.args(["-n", "-c", "2", "-T", "300"]);
        Writing(pgbench.stdout(std::process::Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        // It may have ended before us.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_is_written_to_comes_back_consistent_across_its_tables() {
    let postgres = bank("20");
    let api = Api::start(&postgres);
    api.postgres_site("pg", &postgres).await;
    let job = api.job("pg", "bank", json!({})).await;
    let writing = Writing::to(&postgres, "bank");
    let history = "SELECT 'there' FROM pgbench_history OFFSET 200 LIMIT 1";
    until_answered(&postgres, "bank", history).await;
    let backup = api.back_up("pg", &job).await;
    drop(writing);
    let roles = postgres.least_rights_role();
    api.restore(("pg", &job, &backup), ("bank", "bank at noon"), &roles)
        .await;
    let balances = postgres.psql("bank at noon", BALANCES);
    let balances: Vec<&str> = balances.split('|').collect();
    assert!(
        balances.iter().all(|sum| *sum == balances[0]),
        "{balances:?}"
    );
    let rows = |database: &str, table: &str| {
        let sql = format!("SELECT count(*) FROM {table}");
        postgres.psql(database, &sql).parse::<u64>().unwrap()
    };
    let (then, now) = (
        rows("bank at noon", "pgbench_history"),
        rows("bank", "pgbench_history"),
    );
    assert!(
        200 < then && then < now,
        "{then} of {now}: it was written to meanwhile"
    );
    assert_eq!(rows("bank at noon", "pgbench_accounts"), 2_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_at_rest_comes_back_row_for_row() {
    let postgres = bank("20");
    postgres.pgbench("bank", &["-n", "-c", "2", "-t", "500"]);
    postgres.psql(
        "bank",
        "SET ROLE banker; CREATE SEQUENCE receipts START 41 INCREMENT 3; SELECT nextval('receipts'), nextval('receipts');
         SELECT lo_from_bytea(4711, decode(repeat('00ff42', 100000), 'hex')), lo_create(4712);
         SELECT lo_put(4712, 1000000, 'sparse');",
    );
    let before = digest_of(&postgres, "bank").await;
    assert_eq!(before.len(), 4 + 1 + 2, "{before:?}");
    let api = Api::start(&postgres);
    api.postgres_site("pg", &postgres).await;
    let job = api.job("pg", "bank", json!({})).await;
    let backup = api.back_up("pg", &job).await;
    let roles = postgres.least_rights_role();
    let restored = api
        .restore(("pg", &job, &backup), ("bank", "copy"), &roles)
        .await;
    let peak = api.process.peak_memory();
    // The rows are 228 MB.
    assert!(peak < 200_000_000, "{peak} bytes of memory");
    assert_equal(&before, &digest_of(&postgres, "copy").await);
    assert_eq!(postgres.dump_schema("bank"), postgres.dump_schema("copy"));
    let phases: Vec<&str> = restored["phases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["phase"].as_str().unwrap())
        .collect();
    assert_eq!(phases, ["DICTIONARY", "DATA", "BUILD", "POSTSCRIPT"]);
}

/// One of everything that a role without special rights can own; the engine's own tests have it.
const EVERYTHING: &str =
    include_str!("../../../engine-postgres/tests/postgres/restore/everything.sql");

/// Rows of partitions by an enum's hash lie in other partitions elsewhere: they are taken together.
async fn digest_of_everything(postgres: &Postgres, database: &str) -> Digest {
    let mut all = digest_of(postgres, database).await;
    all.retain(|table, _| !table.starts_with("table app.by_mood_"));
    let sql = "SELECT array_agg(format('%s %s', mood, n) ORDER BY n) FROM app.by_mood";
    all.insert("table app.by_mood".into(), postgres.psql(database, sql));
    all
}

/// The roles that own it, of which the restoring role is a member.
fn owners(roles: &Roles) -> String {
    format!(
        "CREATE ROLE \"the owner\"; CREATE ROLE reader; CREATE ROLE clerk;
         GRANT \"the owner\", clerk TO {}",
        roles.restore
    )
}

fn shop_of_everything(version: u32) -> Postgres {
    let postgres = Postgres::version(version).tcp().start();
    let roles = postgres.least_rights_role();
    postgres.psql("postgres", &owners(&roles));
    postgres.psql("postgres", "CREATE DATABASE shop");
    postgres.psql("shop", EVERYTHING);
    postgres
}

async fn everything_comes_back_on(version: u32) {
    let postgres = shop_of_everything(version);
    let roles = postgres.least_rights_role();
    let before = digest_of_everything(&postgres, "shop").await;
    let api = Api::start(&postgres);
    api.postgres_site("pg", &postgres).await;
    let checked = api.post("/sites/pg/check", &json!({})).await;
    let job = api.job("pg", "shop", json!({})).await;
    let backup = api.back_up("pg", &job).await;
    let restored = api
        .restore(("pg", &job, &backup), ("shop", "the copy"), &roles)
        .await;
    assert_eq!(restored["warnings"], json!([]), "{restored:#}");
    assert_equal(&before, &digest_of_everything(&postgres, "the copy").await);
    let (expected, found) = (
        postgres.dump_schema("shop"),
        postgres.dump_schema("the copy"),
    );
    for (expected, found) in expected.lines().zip(found.lines()) {
        assert_eq!(expected, found);
    }
    assert_eq!(expected.len(), found.len());
    let left = "SELECT count(*) FROM pg_database WHERE datname LIKE 'backstay%'";
    assert_eq!(postgres.psql("postgres", left), "0");
    let found = checked.json();
    assert!(
        !found["findings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|f| f["level"] == "ERROR"),
        "{found:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_back_through_http_on_14() {
    everything_comes_back_on(14).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_back_through_http_on_15() {
    everything_comes_back_on(15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_back_through_http_on_16() {
    everything_comes_back_on(16).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_back_through_http_on_17() {
    everything_comes_back_on(17).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_back_through_http_on_18() {
    everything_comes_back_on(18).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_moves_from_the_oldest_version_to_a_site_of_the_newest() {
    let old = shop_of_everything(14);
    let new = Postgres::version(18).tcp().start();
    let roles = new.least_rights_role();
    new.psql("postgres", &owners(&roles));
    // Programs of the newest version serve every server.
    let api = Api::start(&new);
    api.postgres_site("old", &old).await;
    api.postgres_site("new", &new).await;
    let job = api.job("old", "shop", json!({})).await;
    let backup = api.back_up("old", &job).await;
    let path = format!("/sites/old/jobs/{job}/executions/{backup}/restores");
    let body = json!({
        "name": "move",
        "target_site": "new",
        "job_settings": {
            "objects": [{"object_name": "shop", "object_type": "DATABASE", "include_all": true, "rename_to": "shop"}],
        },
    });
    let credentials = Some((roles.restore, roles.password));
    let asked = api
        .call(Method::POST, &path, Some(&body), credentials)
        .await;
    let id = asked.is(202).id();
    let ended = api.ended("new", &id).await;
    assert_eq!(ended["status"], "SUCCESSFUL", "{ended:#}");
    assert_equal(
        &digest_of_everything(&old, "shop").await,
        &digest_of_everything(&new, "shop").await,
    );
    for site in ["old", "new"] {
        let listed = api.get(&format!("/sites/{site}/restores")).await;
        assert_eq!(listed[0]["execution_id"], id.as_str());
        assert_eq!(listed[0]["target_site"], "new");
    }
}

/// A backup of two streams whose rows stand still in the middle of the accounts, with an ALTER
/// TABLE of another table queued behind the backup's lock.
struct Queued {
    postgres: Arc<Postgres>,
    network: SlowNetwork,
    api: Api,
    job: String,
    backup: String,
    alter: tokio::task::JoinHandle<String>,
}

impl Queued {
    async fn behind_a_backup(yield_to_ddl_seconds: u32) -> Queued {
        let postgres = Arc::new(bank("10"));
        let network = SlowNetwork::before(postgres.port()).await;
        let api = Api::start(&postgres);
        let roles = postgres.least_rights_role();
        let url = postgres.url("postgres", roles.backup);
        let url = url.replace(&postgres.port().to_string(), &network.port().to_string());
        api.site_at("pg", &url, roles.password).await.is(201);
        assert_eq!(api.get("/sites/pg").await["soft_limit"], 2);
        let settings = json!({"yield_to_ddl_seconds": yield_to_ddl_seconds});
        let job = api.job("pg", "bank", settings).await;
        let backup = api.execute("pg", &job).await;
        let both = "SELECT 'both' FROM pg_stat_activity WHERE application_name LIKE 'backstay %'
            AND query LIKE 'COPY%pgbench_accounts%' OFFSET 1";
        until_answered(&postgres, "bank", both).await;
        let alter = tokio::task::spawn_blocking({
            let postgres = postgres.clone();
            move || postgres.psql("bank", "ALTER TABLE pgbench_tellers ADD COLUMN note text")
        });
        let waits = "SELECT 'it waits' FROM pg_locks
            WHERE NOT granted AND relation = 'pgbench_tellers'::regclass";
        until_answered(&postgres, "bank", waits).await;
        Queued {
            postgres,
            network,
            api,
            job,
            backup,
            alter,
        }
    }

    /// How long the application waits for its rows.
    async fn application_waits(&self) -> Duration {
        let postgres = self.postgres.clone();
        let select = move || {
            let begun = Instant::now();
            postgres.psql("bank", "SELECT count(*) FROM pgbench_tellers");
            begun.elapsed()
        };
        tokio::task::spawn_blocking(select).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_gives_way_before_the_application_waits_longer_than_the_job_says() {
    let queued = Queued::behind_a_backup(3).await;
    let waited = queued.application_waits().await;
    queued.network.flow();
    // The watch looks once a second, and this machine may be busy.
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    assert!(
        waited > Duration::from_secs(1),
        "the backup held its lock: {waited:?}"
    );
    queued.alter.await.unwrap();
    let ended = queued.api.ended("pg", &queued.backup).await;
    assert_eq!(ended["status"], "FAILED", "{ended:#}");
    let why = ended["status_detail"].as_str().unwrap();
    assert!(
        why.contains("gave way") && why.contains("ALTER TABLE pgbench_tellers"),
        "{why}"
    );
    assert_eq!(queued.api.get("/sites/pg/savesets").await, json!([]));
    // The next run has the column.
    queued.api.back_up("pg", &queued.job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_done_in_time_only_warns_of_whom_it_kept_waiting() {
    let queued = Queued::behind_a_backup(60).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    queued.network.flow();
    let waited = queued.application_waits().await;
    assert!(waited < Duration::from_secs(60), "{waited:?}");
    queued.alter.await.unwrap();
    let ended = queued.api.ended("pg", &queued.backup).await;
    assert_eq!(ended["status"], "COMPLETED_WITH_WARNINGS", "{ended:#}");
    assert!(
        ended["warnings"]
            .to_string()
            .contains("ALTER TABLE pgbench_tellers"),
        "{ended:#}"
    );
}
