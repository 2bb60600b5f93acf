//! DELTA backups end to end: what they become, what they say, and that each is whole.

use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::{Value, json};
use testkit::digest::sqlite_digest;

use crate::http::Api;
use crate::process::{Server, sample_databases};

/// A server with a site `shop` of one SQLite database and a job `minutes` whose runs are DELTA.
fn shop() -> (Server, PathBuf) {
    let server = Server::start();
    let databases = sample_databases(server.folder());
    let vault = server.folder().join("vault");
    let (path, vault) = (databases.to_str().unwrap(), vault.to_str().unwrap());
    let add = [
        "site", "add", "shop", "--type", "sqlite", "--path", path, "--vault", vault,
    ];
    server.run(&add).exits(0);
    let job = [
        "job",
        "create",
        "shop",
        "--name",
        "minutes",
        "--database",
        "shop.db",
        "--type",
        "delta",
    ];
    server.run(&job).exits(0).says("DELTA");
    let live = databases.join("shop.db");
    (server, live)
}

fn change(live: &Path, sql: &str) {
    let database = rusqlite::Connection::open(live).unwrap();
    database.execute_batch(sql).unwrap();
}

/// Runs the job, and answers its execution.
fn run(server: &Server, more: &[&str]) -> Value {
    let run = [&["job", "run", "shop", "minutes", "--wait"], more].concat();
    let ended = server.ask(&run);
    assert_eq!(ended["status"], "SUCCESSFUL", "{ended:#}");
    ended
}

#[track_caller]
fn said(execution: &Value, run_type: &str, beginning: &str) {
    assert_eq!(execution["run_type"], run_type, "{execution:#}");
    let detail = execution["status_detail"].as_str().unwrap();
    assert!(detail.starts_with(beginning), "{detail}");
}

#[test]
fn a_delta_is_whole_when_all_that_it_was_built_on_is_deleted() {
    let (server, live) = shop();
    let first = run(&server, &[]);
    said(
        &first,
        "FULL",
        "FULL, because the job has no saveset to build on",
    );
    change(
        &live,
        "UPDATE item SET price = 0 WHERE id BETWEEN 500 AND 520",
    );
    let second = run(&server, &[]);
    let id = first["execution_id"].as_str().unwrap();
    let beginning = format!("DELTA on saveset 1 of execution {id}, changed blocks found by hash");
    said(&second, "DELTA", &beginning);
    assert_eq!(second["parent_execution_id"], first["execution_id"]);
    assert_eq!(second["changed_blocks_source"], "HASH");
    assert_eq!(
        second["phases"][1]["databases"][0]["object_name"],
        "shop.db"
    );
    let stored = |run: &Value| run["bytes_stored"].as_u64().unwrap();
    assert!(stored(&second) * 4 < stored(&first), "{second:#}");
    change(
        &live,
        "DELETE FROM item WHERE id > 19000; CREATE TABLE more (x); INSERT INTO more VALUES (1)",
    );
    let third = run(&server, &["--delta"]);
    assert_eq!(third["parent_execution_id"], second["execution_id"]);
    let id = third["execution_id"].as_str().unwrap();
    server
        .run(&["execution", "show", "shop", id])
        .exits(0)
        .says("BACKUP DELTA")
        .says("found by comparing hashes");
    for saveset in ["1", "2"] {
        server.run(&["saveset", "delete", "shop", saveset]).exits(0);
    }
    let restore = [
        "restore", "shop", "--job", "minutes", "--latest", "--to", "copy.db", "--wait",
    ];
    server.run(&restore).exits(0).says("SUCCESSFUL");
    let copy = live.with_file_name("copy.db");
    assert_eq!(sqlite_digest(&copy).unwrap(), sqlite_digest(&live).unwrap());
    server
        .run(&["saveset", "verify", "shop", "3", "--thorough"])
        .exits(0);
    let full = run(&server, &["--full"]);
    said(&full, "FULL", "FULL, as asked");
    assert_eq!(full["parent_execution_id"], Value::Null);
}

#[test]
fn a_file_that_nobody_touched_costs_nearly_nothing() {
    let (server, _) = shop();
    let first = run(&server, &[]);
    // A file counts as untouched when it was still for a while before it was read.
    std::thread::sleep(std::time::Duration::from_millis(2_500));
    run(&server, &[]);
    let nothing = run(&server, &[]);
    assert_eq!(nothing["run_type"], "DELTA");
    let read = |run: &Value| run["bytes_read"].as_u64().unwrap();
    assert!(read(&nothing) * 20 < read(&first), "{nothing:#}");
    let stored = nothing["bytes_stored"].as_u64().unwrap();
    assert!(stored < 20_000, "{stored}");
}

/// The API of that server, and the path of its job.
async fn api(server: Server) -> (Api, String) {
    let api = Api::of(server);
    let jobs = api.get("/sites/shop/jobs").await;
    (api, format!("/sites/shop/jobs/{}", jobs[0]["job_id"]))
}

async fn next(api: &Api, job: &str) -> Value {
    let queued = api
        .post(&format!("{job}/execute"), &json!({"run_type": "delta"}))
        .await;
    let ended = api.ended("shop", &queued.is(202).id()).await;
    assert_eq!(ended["status"], "SUCCESSFUL", "{ended:#}");
    ended
}

async fn patch(api: &Api, path: &str, body: Value) {
    let answer = api.call(Method::PATCH, path, Some(&body), None).await;
    answer.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_forces_a_full_backup_is_told_and_the_next_one_is_a_delta_again() {
    let (server, live) = shop();
    std::fs::copy(&live, live.with_file_name("crm.db")).unwrap();
    let packs = server.folder().join("vault/packs");
    let (api, job) = api(server).await;
    said(
        &next(&api, &job).await,
        "FULL",
        "FULL, because the job has no saveset",
    );
    said(&next(&api, &job).await, "DELTA", "DELTA on saveset 1 ");

    let object = |name: &str| {
        json!({"object_name": name, "object_type": "DATABASE", "parent_name": "DBC",
               "parent_type": "DATABASE", "include_all": true})
    };
    let both = json!({"job_settings": {"objects": [object("shop.db"), object("crm.db")]}});
    patch(&api, &job, both).await;
    let forced = next(&api, &job).await;
    said(
        &forced,
        "FULL",
        "FULL, because the list of objects has changed since saveset 2",
    );
    let delta = next(&api, &job).await;
    said(&delta, "DELTA", "DELTA on saveset 3 ");
    let databases = delta["phases"][1]["databases"].as_array().unwrap().len();
    assert_eq!(databases, 2, "{delta:#}");

    // What changes nothing of what is stored forces nothing.
    patch(
        &api,
        &job,
        json!({"priority": 2, "no_of_retention_copies": 9, "name": "others"}),
    )
    .await;
    said(&next(&api, &job).await, "DELTA", "DELTA on saveset 4 ");

    // A verification finds the newest one damaged.
    flip_all(&packs);
    api.post("/sites/shop/savesets/5/verify", &json!({}))
        .await
        .is(202);
    until_damaged(&api, "/sites/shop/savesets/5").await;
    let forced = next(&api, &job).await;
    let beginning = "FULL, because saveset 5, which it would build on, failed its verification";
    said(&forced, "FULL", beginning);
    said(&next(&api, &job).await, "DELTA", "DELTA on saveset 6 ");

    // All are deleted.
    for saveset in 1..=7 {
        let path = format!("/sites/shop/savesets/{saveset}");
        api.call(Method::DELETE, &path, None, None).await.is(204);
    }
    let forced = next(&api, &job).await;
    said(
        &forced,
        "FULL",
        "FULL, because the job has no saveset to build on",
    );
}

/// One byte in the middle of each pack is another one.
fn flip_all(packs: &Path) {
    for folder in std::fs::read_dir(packs).unwrap() {
        for pack in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = pack.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
}

async fn until_damaged(api: &Api, saveset: &str) {
    for _ in 0..300 {
        let found = api.get(saveset).await;
        if found["is_saveset_damaged"] == true {
            return;
        }
        assert_ne!(found["verification"]["status"], "SUCCESSFUL", "{found:#}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{saveset} is never found damaged");
}

/// A PostgreSQL whose WAL is summarized, with a database `shop` of a few megabytes.
fn summarizing() -> testkit::postgres::Server {
    let postgres = testkit::postgres::Server::version(17)
        .durable()
        .setting("summarize_wal", "on")
        .tcp()
        .start();
    filled(&postgres);
    postgres
}

fn filled(postgres: &testkit::postgres::Server) {
    let roles = postgres.least_rights_role();
    let database = format!("CREATE DATABASE shop OWNER {}", roles.restore);
    postgres.psql("postgres", &database);
    let rows = format!(
        "SET ROLE {};
         CREATE TABLE item AS SELECT i AS id, repeat(md5(i::text), 4) AS name
             FROM generate_series(1, 60000) i;
         CREATE TABLE still AS SELECT i AS id FROM generate_series(1, 1000) i;",
        roles.restore
    );
    postgres.psql("shop", &rows);
}

async fn back_up(api: &Api, job: &str, run_type: &str) -> Value {
    let path = format!("/sites/pg/jobs/{job}/execute?run_type={run_type}");
    let queued = api.call(Method::POST, &path, None, None).await.is(202);
    let ended = api.ended("pg", &queued.id()).await;
    assert_eq!(ended["status"], "SUCCESSFUL", "{ended:#}");
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_delta_reads_what_changed_and_is_whole_without_the_full_one() {
    let postgres = summarizing();
    let roles = postgres.least_rights_role();
    let api = Api::start(&postgres);
    api.postgres_site("pg", &postgres).await;
    let job = api.job("pg", "shop", json!({})).await;
    let full = back_up(&api, &job, "full").await;
    postgres.psql("shop", "UPDATE item SET name = 'new' WHERE id % 10000 = 7");
    let second = back_up(&api, &job, "delta").await;
    said(&second, "DELTA", "DELTA on saveset 1 of execution ");
    assert_eq!(second["changed_blocks_source"], "WAL_SUMMARY", "{second:#}");
    assert_eq!(second["parent_execution_id"], full["execution_id"]);
    postgres.psql(
        "shop",
        "DELETE FROM item WHERE id < 100; INSERT INTO still VALUES (0)",
    );
    let third = back_up(&api, &job, "delta").await;
    assert_eq!(third["parent_execution_id"], second["execution_id"]);
    // The first one may have read again what was loaded right before the FULL one.
    let read = |run: &Value| run["bytes_read"].as_u64().unwrap();
    assert!(read(&third) * 4 < read(&full), "{third:#}");
    let path = "/sites/pg/savesets/1";
    api.call(Method::DELETE, path, None, None).await.is(204);
    let third = third["execution_id"].as_str().unwrap();
    api.restore(("pg", &job, third), ("shop", "copy"), &roles)
        .await;
    for table in ["item", "still"] {
        let rows =
            format!("SELECT count(*), md5(string_agg(t::text, '' ORDER BY id)) FROM {table} t");
        assert_eq!(postgres.psql("copy", &rows), postgres.psql("shop", &rows));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_was_initialised_anew_is_read_in_full() {
    let postgres = summarizing();
    let api = Api::start(&postgres);
    api.postgres_site("pg", &postgres).await;
    let job = api.job("pg", "shop", json!({})).await;
    back_up(&api, &job, "full").await;
    let other = testkit::postgres::Server::version(17).fresh().tcp().start();
    filled(&other);
    let url = other.url("postgres", other.least_rights_role().backup);
    let connection =
        json!({"connection": {"url": url, "password": other.least_rights_role().password}});
    let mut site = api.get("/sites/pg").await;
    site["connection"] = connection["connection"].clone();
    let put = api.call(Method::PUT, "/sites/pg", Some(&site), None).await;
    put.is(200);
    let forced = back_up(&api, &job, "delta").await;
    let beginning = "FULL, because the database system was made anew since saveset 1: its system identifier is ";
    said(&forced, "FULL", beginning);
    assert_eq!(forced["parent_execution_id"], Value::Null);
    said(
        &back_up(&api, &job, "delta").await,
        "DELTA",
        "DELTA on saveset 2 ",
    );
}
