//! A saveset as plain files: the server is gone, the vault and the recovery key are all there is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::S3Server;
use testkit::digest::{assert_equal, digest, sqlite_digest};

use crate::process::{Done, Server, TOKEN, backstay, sample_databases};

/// A vault with one saveset of `shop.db`, without its server.
struct Left {
    folder: tempfile::TempDir,
    saveset: String,
}

impl Left {
    fn behind() -> Left {
        let server = Server::start();
        let databases = sample_databases(server.folder());
        let vault = server.folder().join("vault");
        let made = server.ask(&[
            "site",
            "add",
            "shop",
            "--type",
            "sqlite",
            "--path",
            databases.to_str().unwrap(),
            "--vault",
            vault.to_str().unwrap(),
        ]);
        Left::of(server, &made["recovery_key"], "shop", "shop.db")
    }

    /// Backs the database up, and ends the server for good.
    fn of(server: Server, key: &serde_json::Value, site: &str, database: &str) -> Left {
        fs::write(server.folder().join("key"), key.as_str().unwrap()).unwrap();
        let job = [
            "job",
            "create",
            site,
            "--name",
            "nightly",
            "--database",
            database,
        ];
        server.run(&job).exits(0);
        let run = ["job", "run", site, "nightly", "--wait"];
        server.run(&run).exits(0);
        let savesets = server.ask(&["saveset", "list", site]);
        let saveset = savesets[0]["saveset_id"].to_string();
        let saveset = saveset.trim_matches('"').to_owned();
        let (_, folder) = server.terminate();
        fs::remove_dir_all(folder.path().join("data")).unwrap();
        Left { folder, saveset }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn export(&self, more: &[&str]) -> Done {
        Done::of(&mut self.command(&["vault", &self.saveset], more))
    }

    fn command(&self, what: &[&str], more: &[&str]) -> Command {
        let mut command = backstay(self.folder.path());
        command.arg("export").args(what);
        command.args(["--recovery-key-file", "key"]).args(more);
        command
    }
}

#[test]
fn a_sqlite_database_is_exported_as_file_as_sql_and_as_csv() {
    let left = Left::behind();
    let live = sqlite_digest(&left.path("databases/shop.db")).unwrap();
    left.export(&["--to", "out"])
        .exits(0)
        .says("pages; ")
        .says("shop.db is in out/shop.db");
    assert_equal(
        &live,
        &sqlite_digest(&left.path("out/shop.db/shop.db")).unwrap(),
    );
    let again = rusqlite::Connection::open(left.path("again.db")).unwrap();
    let dump = fs::read_to_string(left.path("out/shop.db/dump.sql")).unwrap();
    again.execute_batch(&dump).unwrap();
    assert_equal(&live, &sqlite_digest(&left.path("again.db")).unwrap());
    left.export(&["--to", "csv", "--format", "csv"]).exits(0);
    let csv = fs::read_to_string(left.path("csv/shop.db/rows/item.csv")).unwrap();
    assert_eq!(csv.lines().count(), 20_001);
    assert!(
        csv.contains("\"4\",\"item 4\",\"5\",\"X'"),
        "{}",
        &csv[..300]
    );
    for (path, mode) in [
        ("out", 0o700),
        ("out/index.json", 0o600),
        ("out/shop.db/shop.db", 0o600),
    ] {
        let found = fs::metadata(left.path(path)).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{path}");
    }
}

#[test]
fn single_tables_are_exported_and_what_is_not_there_is_told_with_what_is() {
    let left = Left::behind();
    left.export(&["--to", "out", "--table", "shop.db:item"])
        .exits(0);
    let part = rusqlite::Connection::open(left.path("out/shop.db/shop.db")).unwrap();
    let tables = "SELECT group_concat(name) FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'";
    let tables: String = part.query_row(tables, [], |row| row.get(0)).unwrap();
    assert_eq!(tables, "item");
    let index = fs::read(left.path("out/index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    assert_eq!(
        index["databases"][0]["objects"],
        serde_json::json!(["TABLE item"])
    );
    left.export(&["--to", "no", "--table", "shop.db:itme"])
        .exits(2)
        .complains("does not hold TABLE itme of the database shop.db; it holds TABLE item")
        .complains("--list");
    left.export(&["--to", "no", "--table", "item"])
        .exits(2)
        .complains("as shop:public.orders");
    let without = [
        "--to",
        "rest",
        "--database",
        "shop.db",
        "--exclude-table",
        "shop.db:item",
    ];
    left.export(&without).exits(0);
    let rest = rusqlite::Connection::open(left.path("rest/shop.db/shop.db")).unwrap();
    let there = "SELECT count(*) FROM sqlite_schema WHERE name = 'item'";
    let there: i64 = rest.query_row(there, [], |row| row.get(0)).unwrap();
    assert_eq!(there, 0);
    assert!(!left.path("no").exists());
}

#[test]
fn savesets_and_their_objects_are_listed() {
    let left = Left::behind();
    let list = |what: &[&str]| Done::of(&mut left.command(what, &["--list"])).exits(0);
    list(&["vault"]).says("nightly").says("shop.db");
    list(&["vault", &left.saveset])
        .says("item_name")
        .says("INDEX");
    let wrong = Done::of(&mut left.command(&["vault", "77"], &["--list"]));
    wrong
        .exits(1)
        .complains("no saveset 77")
        .complains("--list");
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_left_behind() {
    let left = Left::behind();
    fs::create_dir(left.path("full")).unwrap();
    fs::write(left.path("full/mine"), "mine").unwrap();
    left.export(&["--to", "full"])
        .exits(1)
        .complains("is not empty");
    assert_eq!(fs::read_dir(left.path("full")).unwrap().count(), 1);
    left.export(&["--to", "out", "--database", "other.db"])
        .exits(2)
        .complains("it holds shop.db");
    let nowhere = Done::of(&mut left.command(&["nowhere", "1"], &["--to", "out"]));
    nowhere.exits(1).complains("nowhere");
    assert!(!left.path("nowhere").exists() && !left.path("out").exists());
    // A recovery key, but another vault's.
    let other = Left::behind();
    fs::copy(other.path("key"), left.path("key")).unwrap();
    left.export(&["--to", "out"]).exits(1).complains("key");
    assert!(!left.path("out").exists());
    fs::write(left.path("key"), "BSRK1-nonsense").unwrap();
    left.export(&["--to", "out"])
        .exits(2)
        .complains("no recovery key");
}

#[test]
fn a_damaged_vault_is_told_and_gives_no_half_export() {
    let left = Left::behind();
    let pack = largest_file(&left.path("vault/packs"));
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&pack, bytes).unwrap();
    left.export(&["--to", "out"]).exits(1).complains("shop.db");
    assert!(!left.path("out").exists());
}

fn largest_file(folder: &Path) -> PathBuf {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.push(largest_file(&path));
        } else {
            files.push(path);
        }
    }
    files
        .into_iter()
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap()
}

#[test]
fn a_full_disk_is_told_in_words() {
    // The size that a process may give a file stands for the disk.
    let left = Left::behind();
    let program = env!("CARGO_BIN_EXE_backstay");
    let script = format!(
        "trap '' XFSZ; ulimit -f 100; exec {program} export vault {} --recovery-key-file key --to out",
        left.saveset
    );
    let mut command = Command::new("sh");
    command
        .args(["-c", &script])
        .current_dir(left.folder.path());
    Done::of(&mut command).exits(1).complains("cannot export");
    assert!(!left.path("out").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_in_s3_is_read_with_the_options_of_its_site() {
    let s3 = S3Server::start().await;
    let left = tokio::task::spawn_blocking(move || {
        let server = Server::start();
        let databases = sample_databases(server.folder());
        let secret = server.folder().join("secret");
        fs::write(&secret, s3.secret()).unwrap();
        let mut options = Vec::new();
        for (name, value) in s3.options() {
            let value = match name.as_str() {
                "secret_access_key" => format!("@{}", secret.display()),
                _ => value,
            };
            options.extend(["--vault-option".to_owned(), format!("{name}={value}")]);
        }
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let vault = s3.url("of-shop");
        let add = [
            "site",
            "add",
            "shop",
            "--type",
            "sqlite",
            "--path",
            databases.to_str().unwrap(),
            "--vault",
            &vault,
        ];
        let made = server.ask(&[&add[..], &options].concat());
        let left = Left::of(server, &made["recovery_key"], "shop", "shop.db");
        let more = [&["--to", "out"][..], &options].concat();
        let exported = Done::of(&mut left.command(&[&vault, &left.saveset], &more));
        exported.exits(0).hides(s3.secret());
        left
    });
    let left = left.await.unwrap();
    assert_equal(
        &sqlite_digest(&left.path("databases/shop.db")).unwrap(),
        &sqlite_digest(&left.path("out/shop.db/shop.db")).unwrap(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_database_is_loaded_by_psql_into_a_new_server() {
    let postgres = testkit::postgres::Server::version(17).tcp().start();
    let roles = postgres.least_rights_role();
    postgres.psql("postgres", "CREATE DATABASE shop");
    postgres.psql(
        "shop",
        "CREATE TABLE item (id serial PRIMARY KEY, name text, price numeric(9, 2));
         INSERT INTO item (name, price) SELECT 'item ' || i, i * 1.25 FROM generate_series(1, 30000) i;",
    );
    let before = digest(&postgres.connect("shop").await).await.unwrap();
    let server = Server::start_in(tempfile::tempdir().unwrap(), &|command| {
        command
            .env("BACKSTAY_ADMIN_TOKEN", TOKEN)
            .env("BACKSTAY_PG_BIN", postgres.tools_dir());
    });
    let vault = server.folder().join("vault");
    let url = postgres.url("postgres", roles.backup);
    let mut add = server.client(&[
        "site",
        "add",
        "pg",
        "--type",
        "postgresql",
        "--url",
        &url,
        "--vault",
        vault.to_str().unwrap(),
        "--output",
        "json",
    ]);
    let made = Done::of(add.env("PGPASSWORD", roles.password))
        .exits(0)
        .json();
    let left = Left::of(server, &made["recovery_key"], "pg", "shop");
    let tools = postgres.tools_dir().to_str().unwrap();
    left.export(&["--to", "out", "--pg-bin", tools])
        .exits(0)
        .says("30000 rows");
    let other = testkit::postgres::Server::version(17).start();
    let load = |script: &str| {
        let mut psql = other.tool("psql", "postgres");
        psql.current_dir(left.path("out/shop"))
            .args(["-X", "-f", script]);
        Done::of(&mut psql).exits(0);
    };
    load("globals.sql");
    load("create.sql");
    let after = digest(&other.connect("shop").await).await.unwrap();
    assert_equal(&before, &after);
}
