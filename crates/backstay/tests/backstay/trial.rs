//! `backstay try` against real servers.

use std::path::Path;
use std::process::Command;

use testkit::postgres::{SUPERUSER, SUPERUSER_PASSWORD, Server};

use crate::process::{Done, TOKEN, backstay};

const SCHEMA: &str = r#"
    CREATE SCHEMA "odd schema";
    CREATE TYPE mood AS ENUM ('good', 'bad');
    CREATE TABLE item (id serial PRIMARY KEY, name text NOT NULL, mood mood, at timestamptz DEFAULT now());
    INSERT INTO item (name, mood) SELECT repeat('x', i % 50), 'bad' FROM generate_series(1, 5000) i;
    CREATE INDEX ON item (name);
    CREATE TABLE "odd schema"."Odd ""Table""" (a numeric, b bytea, c jsonb);
    INSERT INTO "odd schema"."Odd ""Table""" SELECT i / 7.0, sha256(i::text::bytea), jsonb_build_object('i', i)
        FROM generate_series(1, 300) i;
    CREATE TABLE part (k int, v text) PARTITION BY RANGE (k);
    CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (100);
    CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (100) TO (1000);
    INSERT INTO part SELECT i, i::text FROM generate_series(1, 999) i;
    CREATE TABLE nothing ();
    INSERT INTO nothing DEFAULT VALUES;
    CREATE MATERIALIZED VIEW counted AS SELECT mood, count(*) FROM item GROUP BY mood;
    SELECT lo_from_bytea(0, decode(repeat('0011', 5000), 'hex'));
"#;

fn try_it(folder: &Path, server: &Server, user: &str, password: &str, database: &str) -> Command {
    let mut command = backstay(folder);
    let scratch = folder.join("tmp");
    std::fs::create_dir_all(&scratch).unwrap();
    command
        .env("TMPDIR", scratch)
        .env("PGPASSWORD", password)
        .env("BACKSTAY_PG_BIN", server.tools_dir())
        .args(["try", &server.url(database, user)]);
    command
}

fn databases(server: &Server) -> String {
    server.psql(
        "postgres",
        "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate",
    )
}

#[test]
fn a_quiet_database_is_proved_equal_and_nothing_is_left_behind() {
    let server = Server::version(17).tcp().start();
    server.psql("postgres", "CREATE DATABASE \"a shop\"");
    server.psql("a shop", SCHEMA);
    let folder = tempfile::tempdir().unwrap();
    let mut command = try_it(
        folder.path(),
        &server,
        SUPERUSER,
        SUPERUSER_PASSWORD,
        "a shop",
    );
    Done::of(&mut command)
        .exits(0)
        .says("table public.item")
        .says("sequence public.item_id_seq")
        .says("large objects")
        .says("Equal: all ")
        .hides(SUPERUSER_PASSWORD);
    assert_eq!(databases(&server), "a shop postgres");
    assert!(
        std::fs::read_dir(folder.path().join("tmp"))
            .unwrap()
            .next()
            .is_none()
    );
    let answer = Done::of(command.args(["--output", "json"])).exits(0).json();
    assert_eq!(answer["equal"], true);
    let item = answer["objects"]
        .as_array()
        .unwrap()
        .iter()
        .find(|o| o["object"] == "table public.item");
    assert_eq!(item.unwrap()["restored_count"], 5000);
}

#[test]
fn a_role_that_is_no_superuser_can_try_its_own_database() {
    let server = Server::version(15).tcp().start();
    server.psql(
        "postgres",
        "CREATE ROLE owner LOGIN CREATEDB PASSWORD 'of the owner'; CREATE DATABASE shop OWNER owner;
         GRANT pg_read_all_data TO owner",
    );
    server.psql("shop", "SET ROLE owner; CREATE SCHEMA mine; CREATE TABLE mine.t AS SELECT generate_series(1, 100) n");
    let folder = tempfile::tempdir().unwrap();
    let done = Done::of(&mut try_it(
        folder.path(),
        &server,
        "owner",
        "of the owner",
        "shop",
    ));
    assert!([0, 3].contains(&done.code), "{done:#?}");
    done.says("table mine.t").hides("of the owner");
    assert_eq!(databases(&server), "postgres shop");
}

#[test]
fn a_database_that_is_written_to_is_never_called_different() {
    let server = Server::version(17).tcp().start();
    server.psql("postgres", "CREATE DATABASE bank");
    server.pgbench("bank", &["-i", "-s", "2", "--quiet"]);
    let mut writing = server.tool("pgbench", "bank");
    let mut writing = writing.args(["-T", "60", "-c", "2"]).spawn().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let done = Done::of(&mut try_it(
        folder.path(),
        &server,
        SUPERUSER,
        SUPERUSER_PASSWORD,
        "bank",
    ));
    // It may have ended before us.
    let _ = writing.kill();
    writing.wait().unwrap();
    done.exits(3)
        .says("written to meanwhile")
        .says("cannot judge");
    assert_eq!(databases(&server), "bank postgres");
}

#[test]
fn a_password_that_is_wrong_or_a_database_that_is_not_there_is_said_at_once() {
    let server = Server::version(17).tcp().start();
    let folder = tempfile::tempdir().unwrap();
    Done::of(&mut try_it(
        folder.path(),
        &server,
        SUPERUSER,
        "wrong-password",
        "postgres",
    ))
    .exits(1)
    .complains("password authentication failed")
    .hides("wrong-password");
    Done::of(&mut try_it(
        folder.path(),
        &server,
        SUPERUSER,
        SUPERUSER_PASSWORD,
        "absent",
    ))
    .exits(1)
    .complains("absent");
    Done::of(
        try_it(folder.path(), &server, SUPERUSER, SUPERUSER_PASSWORD, "").args(["-o", "json"]),
    )
    .exits(2)
    .complains("must name the user and the database");
}

#[test]
fn the_scratch_stays_if_it_is_wanted() {
    let server = Server::version(17).tcp().start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", "CREATE TABLE t AS SELECT generate_series(1, 10) n");
    server.psql("postgres", "CREATE DATABASE shop_backstay_try_1");
    let folder = tempfile::tempdir().unwrap();
    let mut command = try_it(
        folder.path(),
        &server,
        SUPERUSER,
        SUPERUSER_PASSWORD,
        "shop",
    );
    Done::of(command.arg("--keep-scratch"))
        .exits(0)
        .complains("shop_backstay_try_2 stays");
    assert_eq!(
        server.psql("shop_backstay_try_2", "SELECT count(*) FROM t"),
        "10"
    );
}

#[test]
fn a_running_server_can_be_tried_as_well() {
    let postgres = Server::version(17).tcp().start();
    postgres.psql("postgres", "CREATE DATABASE shop");
    postgres.psql("shop", "CREATE TABLE t AS SELECT generate_series(1, 10) n");
    let server = crate::process::Server::start_in(tempfile::tempdir().unwrap(), &|command| {
        command
            .env("BACKSTAY_ADMIN_TOKEN", TOKEN)
            .env("BACKSTAY_PG_BIN", postgres.tools_dir());
    });
    let url = postgres.url("shop", SUPERUSER);
    let vault = server.folder().join("vault");
    let mut trial = server.client(&["try", &url, "--server", &server.url]);
    trial.env("PGPASSWORD", SUPERUSER_PASSWORD);
    Done::of(&mut trial).exits(2).complains("--vault");
    trial.args(["--vault", vault.to_str().unwrap()]);
    Done::of(&mut trial)
        .exits(0)
        .says("Equal: all ")
        .complains("stay on that server");
    assert_eq!(databases(&postgres), "postgres shop");
    let sites = server.ask(&["site", "list"]);
    let site = sites[0]["site_id"].as_str().unwrap();
    assert!(site.starts_with("try-"), "{sites:#}");
    assert_eq!(server.ask(&["saveset", "list", site])[0]["saveset_id"], 1);
}

#[test]
fn a_vault_of_ones_own_stays_and_its_key_is_told() {
    let server = Server::version(17).tcp().start();
    server.psql("postgres", "CREATE DATABASE shop");
    let folder = tempfile::tempdir().unwrap();
    let vault = folder.path().join("vault");
    let mut command = try_it(
        folder.path(),
        &server,
        SUPERUSER,
        SUPERUSER_PASSWORD,
        "shop",
    );
    Done::of(command.args(["--vault", vault.to_str().unwrap()]))
        .exits(0)
        .says("Equal: all ")
        .complains("this recovery key opens it: BSRK1-");
    assert!(vault.join("vault.json").exists());
    // A vault that is there belongs to somebody: it is refused, and nothing is dropped.
    server.psql("postgres", "CREATE DATABASE shop_backstay_try_7");
    Done::of(&mut command).exits(1).complains("vault");
    assert_eq!(databases(&server), "postgres shop shop_backstay_try_7");
}
