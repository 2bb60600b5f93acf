//! A site on a new server from its vault and recovery key, and the check of every byte, as somebody at a
//! terminal has them.

use std::path::Path;

use rusqlite::Connection;

use crate::process::{Server, sample_databases};

/// Makes a site `lite` with one saveset; answers its recovery key.
fn site(server: &Server, databases: &Path, vault: &str) -> String {
    let path = databases.to_str().unwrap();
    let add = [
        "site", "add", "lite", "--type", "sqlite", "--path", path, "--vault", vault,
    ];
    let made = server.run(&add).exits(0);
    let key = made
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("Recovery key: "))
        .unwrap()
        .to_owned();
    server
        .run(&[
            "job",
            "create",
            "lite",
            "--name",
            "j",
            "--database",
            "shop.db",
        ])
        .exits(0);
    server.run(&["job", "run", "lite", "j", "--wait"]).exits(0);
    key
}

fn rows(database: &Path) -> (i64, f64) {
    let database = Connection::open(database).unwrap();
    let sums = "SELECT count(*), sum(price) FROM item";
    let row = database.query_row(sums, [], |row| Ok((row.get(0)?, row.get(1)?)));
    row.unwrap()
}

#[test]
fn a_site_is_adopted_restored_and_backed_up_on_another_server() {
    let (old, new) = (Server::start(), Server::start());
    let outside = tempfile::tempdir().unwrap();
    let vault = outside.path().join("vault").to_str().unwrap().to_owned();
    let databases = sample_databases(outside.path());
    let key = site(&old, &databases, &vault);
    let key_file = outside.path().join("key");
    std::fs::write(&key_file, format!("{key}\n")).unwrap();
    let file = key_file.to_str().unwrap();
    let adopt = ["site", "adopt", &vault, "--recovery-key-file", file];
    new.run(&adopt)
        .exits(1)
        .complains("--take-over")
        .hides(&key);
    let over = [&adopt[..], &["--take-over"]].concat();
    new.run(&over)
        .exits(0)
        .says("Adopted: jobs 1, savesets 1.")
        .hides(&key);
    new.run(&over).exits(1).complains("lite");

    let restore = [
        "restore", "lite", "--job", "j", "--latest", "--to", "copy.db", "--wait",
    ];
    new.run(&restore).exits(0);
    assert_eq!(
        rows(&databases.join("copy.db")),
        rows(&databases.join("shop.db"))
    );
    new.run(&["job", "run", "lite", "j", "--wait"]).exits(0);
    new.run(&["saveset", "verify", "lite", "2", "--thorough"])
        .exits(0);
    // The old server, which still runs, can no longer write.
    old.run(&["job", "run", "lite", "j", "--wait"])
        .exits(1)
        .complains("belongs to another server");
}

#[test]
fn a_damaged_saveset_fails_its_verification_and_is_shown_so() {
    let server = Server::start();
    let vault = server.folder().join("vault");
    let databases = sample_databases(server.folder());
    site(&server, &databases, vault.to_str().unwrap());
    let verify = ["saveset", "verify", "lite", "1"];
    server.run(&verify).exits(0).says("yes, ");
    let packs = crate::secrets::files(&vault.join("packs"));
    let mut bytes = std::fs::read(&packs[0]).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&packs[0], bytes).unwrap();
    let pack = packs[0].file_name().unwrap().to_str().unwrap();
    server
        .run(&verify)
        .exits(1)
        .says("DAMAGED")
        .says(pack)
        .says("concerns ");
    server
        .run(&["saveset", "list", "lite"])
        .exits(0)
        .says("DAMAGED");
    assert!(server.log().contains("the saveset is damaged"));
    let shown = server.ask(&["saveset", "show", "lite", "1"]);
    assert_eq!(shown["is_saveset_damaged"], true, "{shown}");
}
