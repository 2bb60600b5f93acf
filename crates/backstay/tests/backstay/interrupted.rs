//! What is stopped half-way, by its user or by a server that goes away, is told truly.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::postgres::{SUPERUSER, SUPERUSER_PASSWORD, Server as Postgres};

use crate::process::{Done, Server, TOKEN, backstay};

fn with_postgres<'a>(postgres: &'a Postgres) -> impl Fn(&mut Command) + 'a {
    |command| {
        command
            .env("BACKSTAY_ADMIN_TOKEN", TOKEN)
            .env("BACKSTAY_PG_BIN", postgres.tools_dir());
    }
}

/// A server with a site `pg`, whose database `shop` a job `nightly` backs up.
fn shop(postgres: &Postgres) -> Server {
    postgres.psql("postgres", "CREATE DATABASE shop");
    postgres.psql(
        "shop",
        "CREATE TABLE item AS SELECT generate_series(1, 1000) AS id",
    );
    let server = Server::start_in(tempfile::tempdir().unwrap(), &with_postgres(postgres));
    let vault = server.folder().join("vault");
    let url = postgres.url("postgres", SUPERUSER);
    let add = [
        "site",
        "add",
        "pg",
        "--type",
        "postgresql",
        "--url",
        &url,
        "--vault",
        vault.to_str().unwrap(),
    ];
    Done::of(server.client(&add).env("PGPASSWORD", SUPERUSER_PASSWORD)).exits(0);
    server
        .run(&[
            "job",
            "create",
            "pg",
            "--name",
            "nightly",
            "--database",
            "shop",
        ])
        .exits(0);
    server
}

/// Runs the job in the background and waits until it stands before a table that is locked.
fn running(server: &Server) -> JoinHandle<Done> {
    let mut client = server.client(&["job", "run", "pg", "nightly", "--wait"]);
    let waiting = std::thread::spawn(move || Done::of(&mut client));
    let started = Instant::now();
    while server.ask(&["execution", "list", "pg", "--status", "running"]) == json!([]) {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "{}",
            server.log()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    waiting
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_aborted_exits_with_4() {
    let postgres = Postgres::version(17).tcp().start();
    let server = shop(&postgres);
    let holder = postgres.connect("shop").await;
    holder
        .batch_execute("BEGIN; LOCK TABLE item")
        .await
        .unwrap();
    let waiting = running(&server);
    server
        .run(&["execution", "abort", "pg", "1", "--wait"])
        .exits(0)
        .says("ABORTED");
    waiting.join().unwrap().exits(4).says("ABORTED");
    let savesets = server.ask(&["saveset", "list", "pg"]);
    assert_eq!(savesets, json!([]), "an aborted run leaves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_outlives_a_restart_of_its_server() {
    let postgres = Postgres::version(17).tcp().start();
    let server = shop(&postgres);
    let holder = postgres.connect("shop").await;
    holder
        .batch_execute("BEGIN; LOCK TABLE item")
        .await
        .unwrap();
    let waiting = running(&server);
    let address = server.url.trim_start_matches("http://").to_owned();
    let (_, folder) = server.ended_by("KILL");
    let server = Server::start_at(&address, folder, &with_postgres(&postgres));
    waiting.join().unwrap().exits(1).says("FAILED");
    holder.batch_execute("ROLLBACK").await.unwrap();
    // It was queued again, once.
    server
        .run(&["execution", "show", "pg", "2", "--wait"])
        .exits(0)
        .says("SUCCESSFUL");
}

#[test]
fn a_trial_that_is_interrupted_leaves_nothing_behind() {
    let postgres = Postgres::version(17).tcp().start();
    postgres.psql("postgres", "CREATE DATABASE shop");
    postgres.psql(
        "shop",
        "CREATE TABLE big AS SELECT i, repeat(md5(i::text), 8) AS filler FROM generate_series(1, 300000) i;
         ALTER TABLE big ADD PRIMARY KEY (i); CREATE INDEX ON big (filler)",
    );
    let folder = tempfile::tempdir().unwrap();
    let scratch = folder.path().join("tmp");
    std::fs::create_dir(&scratch).unwrap();
    let mut trial = backstay(folder.path())
        .env("TMPDIR", &scratch)
        .env("PGPASSWORD", SUPERUSER_PASSWORD)
        .env("BACKSTAY_PG_BIN", postgres.tools_dir())
        .args(["try", &postgres.url("shop", SUPERUSER)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(trial.stderr.take().unwrap()).lines();
    // The restore has begun: everything that a trial makes is there or in the making.
    let begun = lines.find(|line| {
        line.as_ref()
            .is_ok_and(|line| line.starts_with("execution 2: RUNNING"))
    });
    assert!(begun.is_some());
    let status = Command::new("kill")
        .args(["-s", "INT", &trial.id().to_string()])
        .status();
    assert!(status.unwrap().success());
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(trial.wait().unwrap().code(), Some(1), "{rest:#?}");
    assert!(
        rest.iter().any(|line| line.contains("stopped by a signal")),
        "{rest:#?}"
    );
    let left = postgres.psql(
        "postgres",
        "SELECT string_agg(datname, ' ') FROM pg_database WHERE datname ~ 'shop|backstay'",
    );
    assert_eq!(left, "shop", "{rest:#?}");
    assert!(std::fs::read_dir(&scratch).unwrap().next().is_none());
}
