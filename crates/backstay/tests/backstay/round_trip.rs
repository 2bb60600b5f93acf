//! A database protected and brought back, by the command line alone.

use serde_json::json;
use testkit::digest::sqlite_digest;

use crate::process::{Server, sample_databases};

/// A server with a site `shop` of one SQLite database and a job `nightly`.
fn shop() -> Server {
    let server = Server::start();
    let databases = sample_databases(server.folder());
    let vault = server.folder().join("vault");
    let added = server.run(&[
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
    added
        .exits(0)
        .says("Recovery key: BSRK1-")
        .says("Keep this key where the vault is not");
    let job = [
        "job",
        "create",
        "shop",
        "--name",
        "nightly",
        "--database",
        "shop.db",
        "--copies",
        "2",
    ];
    server.run(&job).exits(0).says("DATABASE shop.db");
    server
}

#[test]
fn a_sqlite_database_comes_back_row_for_row() {
    let server = shop();
    let databases = server.folder().join("databases");
    server
        .run(&["site", "check", "shop"])
        .exits(0)
        .says("vault");
    let run = server
        .run(&["job", "run", "shop", "nightly", "--wait"])
        .exits(0);
    run.says("SUCCESSFUL")
        .says("DATA")
        .complains("execution 1:");
    let before = sqlite_digest(&databases.join("shop.db")).unwrap();
    let restore = [
        "restore", "shop", "--job", "nightly", "--latest", "--to", "copy.db", "--wait",
    ];
    server
        .run(&restore)
        .exits(0)
        .says("RESTORE")
        .says("SUCCESSFUL");
    assert_eq!(sqlite_digest(&databases.join("copy.db")).unwrap(), before);
    // The same name again is in the way, and nothing is lost.
    server.run(&restore).exits(1).complains("copy.db");
    assert_eq!(sqlite_digest(&databases.join("copy.db")).unwrap(), before);
}

#[test]
fn an_older_saveset_gives_the_older_rows() {
    let server = shop();
    let databases = server.folder().join("databases");
    let live = databases.join("shop.db");
    server
        .run(&["job", "run", "shop", "nightly", "--wait"])
        .exits(0);
    let older = sqlite_digest(&live).unwrap();
    let database = rusqlite::Connection::open(&live).unwrap();
    database
        .execute_batch("DELETE FROM item WHERE id % 3 = 0; UPDATE item SET price = price + 1;")
        .unwrap();
    drop(database);
    server.run(&["job", "run", "shop", "1", "--wait"]).exits(0);
    let newer = sqlite_digest(&live).unwrap();
    assert_ne!(older, newer);
    let savesets = server.ask(&["saveset", "list", "shop", "--job", "nightly"]);
    let ids: Vec<String> = (0..2)
        .map(|i| savesets[i]["saveset_id"].to_string())
        .collect();
    for (saveset, name, rows) in [(&ids[0], "new.db", &newer), (&ids[1], "old.db", &older)] {
        server
            .run(&[
                "restore",
                "shop",
                "--saveset",
                saveset,
                "--to",
                name,
                "--wait",
            ])
            .exits(0);
        assert_eq!(&sqlite_digest(&databases.join(name)).unwrap(), rows);
    }
}

#[test]
fn what_is_not_waited_for_can_be_followed() {
    let server = shop();
    let started = server.ask(&["job", "run", "shop", "nightly"]);
    let execution = started["execution_id"].as_str().unwrap();
    let ended = server.ask(&["execution", "show", "shop", execution, "--wait"]);
    assert_eq!(ended["status"], "SUCCESSFUL", "{ended:#}");
    let listed = server.ask(&[
        "execution",
        "list",
        "shop",
        "--job",
        "nightly",
        "--status",
        "successful",
    ]);
    assert_eq!(listed[0]["execution_id"], execution);
    assert_eq!(
        server.ask(&["execution", "list", "shop", "--type", "restore"]),
        json!([])
    );
    server
        .run(&["execution", "abort", "shop", execution])
        .exits(1)
        .complains("ended already");
}

#[test]
fn a_dry_run_shows_the_plan_and_touches_nothing() {
    let server = shop();
    server
        .run(&["job", "run", "shop", "nightly", "--wait"])
        .exits(0);
    let plan = server.run(&[
        "restore",
        "shop",
        "--execution",
        "1",
        "--to",
        "copy.db",
        "--dry-run",
    ]);
    plan.exits(0).says("1. ");
    assert!(!server.folder().join("databases/copy.db").exists());
    assert_eq!(
        server.ask(&["execution", "list", "shop", "--type", "restore"]),
        json!([])
    );
    let taken = server.run(&[
        "restore",
        "shop",
        "--execution",
        "1",
        "--to",
        "shop.db",
        "--dry-run",
    ]);
    taken.exits(1).says("In the way");
}

#[test]
fn a_failed_run_exits_with_1_and_says_why() {
    let server = shop();
    let job = [
        "job",
        "create",
        "shop",
        "--name",
        "typo",
        "--database",
        "shpo.db",
    ];
    server.run(&job).exits(0);
    server
        .run(&["job", "run", "shop", "typo", "--wait"])
        .exits(1)
        .says("FAILED")
        .says("shpo.db");
    server
        .run(&[
            "restore", "shop", "--job", "typo", "--latest", "--to", "x.db",
        ])
        .exits(1)
        .complains("no saveset");
    server
        .run(&["job", "run", "shop", "nowhere"])
        .exits(1)
        .complains("job list");
}

#[test]
fn the_status_is_good_only_while_savesets_are_young() {
    let server = shop();
    server
        .run(&["status"])
        .exits(1)
        .says("never")
        .says("too old");
    server
        .run(&["job", "run", "shop", "nightly", "--wait"])
        .exits(0);
    server.run(&["status"]).exits(0).says("nightly").says("ok");
    server
        .run(&["status", "--site", "shop", "--max-age", "1d"])
        .exits(0);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    server
        .run(&["status", "--max-age", "1s"])
        .exits(1)
        .says("too old");
    let rows = server.ask(&["status"]);
    assert_eq!(rows[0]["verdict"], "ok");
    assert_eq!(rows[0]["saveset_id"], 1);
}

#[test]
fn nobody_waits_for_a_job_that_is_not_active() {
    let server = shop();
    let job = json!({
        "name": "asleep", "job_type": "BACKUP", "is_active": false,
        "job_settings": {"objects": [{"object_name": "shop.db", "object_type": "DATABASE",
            "parent_name": "DBC", "parent_type": "DATABASE", "include_all": true}]},
    });
    std::fs::write(server.folder().join("job.json"), job.to_string()).unwrap();
    server
        .run(&["job", "create", "shop", "--file", "job.json"])
        .exits(0);
    server
        .run(&["job", "run", "shop", "nightly", "--wait"])
        .exits(0);
    server
        .run(&["status"])
        .exits(0)
        .says("asleep")
        .says("inactive");
}

#[test]
fn a_refused_field_is_told_as_the_flag_that_it_is() {
    let server = shop();
    let job = |more: &[&str]| {
        let create = [
            "job",
            "create",
            "shop",
            "--name",
            "j",
            "--database",
            "shop.db",
        ];
        server.run(&[&create[..], more].concat())
    };
    job(&["--copies", "0"])
        .exits(2)
        .complains("no_of_retention_copies")
        .complains("--copies");
    job(&["--priority", "9"]).exits(2).complains("--priority");
    server
        .run(&["job", "run", "shop", "nightly", "--wait"])
        .exits(0);
    let restore = ["restore", "shop", "--job", "nightly", "--latest"];
    server
        .run(&[&restore[..], &["--to", "../x.db"]].concat())
        .exits(2)
        .complains("--to");
    // Without a new name it goes back to its place, which is filled.
    server.run(&restore).exits(1).complains("target-not-empty");
    server
        .run(&["execution", "list", "shop", "--status", "good"])
        .exits(2)
        .complains("--status");
}

#[test]
fn a_protected_saveset_outlives_retention() {
    let server = shop();
    server
        .run(&["job", "run", "shop", "nightly", "--wait"])
        .exits(0);
    server
        .run(&["saveset", "protect", "shop", "1"])
        .exits(0)
        .says("Protected  yes");
    for _ in 0..3 {
        server
            .run(&["job", "run", "shop", "nightly", "--wait"])
            .exits(0);
    }
    let ids = |server: &Server| -> Vec<i64> {
        let savesets = server.ask(&["saveset", "list", "shop"]);
        savesets
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s["saveset_id"].as_i64().unwrap())
            .collect()
    };
    assert_eq!(ids(&server), [4, 3, 1]);
    server
        .run(&["saveset", "unprotect", "shop", "1"])
        .exits(0)
        .says("Protected  no");
    server
        .run(&["saveset", "show", "shop", "2"])
        .exits(1)
        .complains("no-saveset");
    server
        .run(&["job", "run", "shop", "nightly", "--wait"])
        .exits(0);
    assert_eq!(ids(&server), [5, 4]);
}

#[test]
fn a_site_goes_only_without_jobs_and_leaves_its_vault() {
    let server = shop();
    server
        .run(&["job", "run", "shop", "nightly", "--wait"])
        .exits(0);
    server
        .run(&["site", "delete", "shop"])
        .exits(1)
        .complains("site-has-jobs");
    server.run(&["job", "delete", "shop", "nightly"]).exits(0);
    assert_eq!(server.ask(&["saveset", "list", "shop"])[0]["saveset_id"], 1);
    server.run(&["site", "delete", "shop"]).exits(0);
    assert!(server.folder().join("vault/vault.json").exists());
    assert_eq!(server.ask(&["site", "list"]), json!([]));
}

#[test]
fn a_job_comes_from_a_file_as_the_api_takes_it() {
    let server = shop();
    let job = json!({
        "name": "from a file", "job_type": "BACKUP", "priority": 2,
        "job_settings": {"objects": [{"object_name": "shop.db", "object_type": "DATABASE",
            "parent_name": "DBC", "parent_type": "DATABASE", "include_all": true}]},
    });
    std::fs::write(server.folder().join("job.json"), job.to_string()).unwrap();
    let made = server.ask(&["job", "create", "shop", "--file", "job.json"]);
    assert_eq!(made["priority"], 2);
    assert_eq!(
        server.ask(&["job", "list", "shop", "--type", "backup"])[1]["name"],
        "from a file"
    );
    std::fs::write(server.folder().join("job.json"), "{").unwrap();
    server
        .run(&["job", "create", "shop", "--file", "job.json"])
        .exits(2)
        .complains("no JSON");
    let refused = server.run(&["job", "run", "shop", "nightly", "--run-type", "half"]);
    refused.exits(2).complains("full, delta");
}

#[test]
fn the_recovery_key_is_given_again() {
    let server = Server::start();
    let databases = sample_databases(server.folder());
    let vault = format!("file://{}", server.folder().join("vault").display());
    let made = server.ask(&[
        "site",
        "add",
        "shop",
        "--type",
        "sqlite",
        "--path",
        databases.to_str().unwrap(),
        "--vault",
        &vault,
    ]);
    let key = made["recovery_key"].as_str().unwrap();
    let again = server.run(&["site", "recovery-key", "shop"]).exits(0);
    assert_eq!(again.stdout, format!("{key}\n"));
    server.run(&["site", "show", "shop"]).exits(0).hides(key);
    server
        .run(&["site", "list", "--output", "json"])
        .exits(0)
        .hides(key);
}
