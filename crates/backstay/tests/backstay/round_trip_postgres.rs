//! A PostgreSQL database protected and brought back, by the command line alone, with the rights
//! that the documentation recommends.

use testkit::digest::digest;
use testkit::postgres::Roles;

use crate::process::{Done, Server, TOKEN};

/// A server with a site `pg` of `postgres`, whose database `shop` a job `nightly` backs up.
fn shop(postgres: &testkit::postgres::Server, roles: &Roles) -> Server {
    postgres.psql(
        "postgres",
        &format!(
            "CREATE ROLE shopkeeper; GRANT shopkeeper TO {}; CREATE DATABASE shop OWNER shopkeeper",
            roles.restore
        ),
    );
    postgres.psql(
        "shop",
        "SET ROLE shopkeeper;
         CREATE SCHEMA sales;
         CREATE TABLE sales.item (id serial PRIMARY KEY, name text NOT NULL, price numeric(9, 2));
         INSERT INTO sales.item (name, price) SELECT 'item ' || i, i * 1.25 FROM generate_series(1, 30000) i;
         CREATE TABLE sales.sold (item int REFERENCES sales.item, at timestamptz DEFAULT now());
         INSERT INTO sales.sold (item) SELECT 1 + i % 30000 FROM generate_series(1, 60000) i;
         CREATE VIEW sales.top AS SELECT item, count(*) FROM sales.sold GROUP BY item;",
    );
    let server = Server::start_in(tempfile::tempdir().unwrap(), &|command| {
        command
            .env("BACKSTAY_ADMIN_TOKEN", TOKEN)
            .env("BACKSTAY_PG_BIN", postgres.tools_dir());
    });
    let vault = server.folder().join("vault");
    let url = postgres.url("postgres", roles.backup);
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
    Done::of(server.client(&add).env("PGPASSWORD", roles.password)).exits(0);
    let job = [
        "job",
        "create",
        "pg",
        "--name",
        "nightly",
        "--database",
        "shop",
    ];
    server.run(&job).exits(0).says("DATABASE shop");
    server
}

#[tokio::test]
async fn a_database_comes_back_row_for_row_with_least_rights() {
    let postgres = testkit::postgres::Server::version(17).tcp().start();
    let roles = postgres.least_rights_role();
    let server = shop(&postgres, &roles);
    server
        .run(&["site", "check", "pg"])
        // A warning, since deltas would compare all blocks.
        .exits(3)
        .says("summarize_wal is off");
    server
        .run(&["job", "run", "pg", "nightly", "--wait"])
        .exits(0)
        .says("SUCCESSFUL");
    let restore = [
        "restore",
        "pg",
        "--job",
        "nightly",
        "--latest",
        "--to",
        "shop copy",
        "--wait",
    ];
    server.run(&restore).exits(2).complains("--user");
    let with_password = |user: &str, password: &str| {
        let mut command = server.client(&restore);
        Done::of(
            command
                .args(["--user", user])
                .env("BACKSTAY_RESTORE_PASSWORD", password),
        )
    };
    with_password(roles.restore, "not-this-one")
        .exits(6)
        .complains("database-credentials")
        .hides("not-this-one");
    let done = with_password(roles.restore, roles.password);
    assert!([0, 3].contains(&done.code), "{done:#?}");
    let source = digest(&postgres.connect("shop").await).await.unwrap();
    let restored = digest(&postgres.connect("shop copy").await).await.unwrap();
    assert_eq!(restored, source);
    assert_eq!(
        source["table sales.sold"].split(',').next(),
        Some("60000 rows")
    );
    with_password(roles.restore, roles.password)
        .exits(1)
        .complains("shop copy");
}

#[tokio::test]
async fn vault_and_recovery_key_alone_bring_a_site_back_on_a_new_server() {
    let postgres = testkit::postgres::Server::version(17).tcp().start();
    let roles = postgres.least_rights_role();
    let old = shop(&postgres, &roles);
    let key = old.run(&["site", "recovery-key", "pg"]).exits(0).stdout;
    let run = ["job", "run", "pg", "nightly", "--wait"];
    old.run(&run).exits(0);
    let (_, folder) = old.terminate();
    std::fs::remove_dir_all(folder.path().join("data")).unwrap();

    let new = Server::start_in(tempfile::tempdir().unwrap(), &|command| {
        command
            .env("BACKSTAY_ADMIN_TOKEN", TOKEN)
            .env("BACKSTAY_PG_BIN", postgres.tools_dir());
    });
    let vault = folder.path().join("vault");
    let file = new.folder().join("key");
    std::fs::write(&file, key).unwrap();
    let adopt = [
        "site",
        "adopt",
        vault.to_str().unwrap(),
        "--recovery-key-file",
        file.to_str().unwrap(),
        "--take-over",
    ];
    // The place of the database is what the vault says; the password is in no vault.
    Done::of(new.client(&adopt).env("PGPASSWORD", roles.password))
        .exits(0)
        .says("jobs 1, savesets 1")
        .hides(roles.password);
    let restore = [
        "restore",
        "pg",
        "--job",
        "nightly",
        "--latest",
        "--to",
        "again",
        "--wait",
        "--user",
        roles.restore,
    ];
    let mut restore = new.client(&restore);
    let done = Done::of(restore.env("BACKSTAY_RESTORE_PASSWORD", roles.password));
    assert!([0, 3].contains(&done.code), "{done:#?}");
    let source = digest(&postgres.connect("shop").await).await.unwrap();
    let restored = digest(&postgres.connect("again").await).await.unwrap();
    assert_eq!(restored, source);
    new.run(&run).exits(0).says("SUCCESSFUL");
}

#[test]
fn a_check_says_which_rights_are_missing_and_gives_the_sql() {
    let postgres = testkit::postgres::Server::version(15).tcp().start();
    let roles = postgres.least_rights_role();
    let server = shop(&postgres, &roles);
    postgres.psql(
        "postgres",
        &format!("REVOKE pg_read_all_stats FROM {}", roles.backup),
    );
    server
        .run(&["site", "check", "pg"])
        .exits(3)
        .says("pg_read_all_stats")
        .says("What mends it");
    let grants = server.run(&["site", "check", "pg", "--grants"]).exits(3);
    postgres.psql(
        "postgres",
        // The role is there already, as the SQL says itself.
        &grants.stdout.replace("CREATE ROLE", "-- CREATE ROLE"),
    );
    server.run(&["site", "check", "pg"]).exits(0);
    postgres.stop();
    server
        .run(&["site", "check", "pg"])
        .exits(1)
        .says("connection")
        .hides(roles.password);
}
