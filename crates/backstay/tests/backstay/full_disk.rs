//! Disks that are full: of the vault, and of the server's own data.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use testkit::postgres::Server as Postgres;

use crate::faults::{ROWS, behind};
use crate::http::Api;

/// A server for which that folder is a disk of its own, so large. Nobody else sees the disk.
fn with_a_small_disk(folder: TempDir, small: &str, size: &str, postgres: &Postgres) -> Api {
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let disk = folder.path().join(small);
    std::fs::create_dir_all(&disk).unwrap();
    let mount = format!(
        "mount -t tmpfs -o size={size},mode=0700 tmpfs {} && exec \"$@\"",
        disk.display()
    );
    // Who is not root is it in a world of its own.
    let own = if is_root {
        "--mount"
    } else {
        "--mount --map-root-user"
    };
    let wrapper = format!("exec unshare {own} sh -c '{mount}' sh \"$@\"");
    Api::start_in(folder, postgres, &|command: &mut Command| {
        *command = behind(&["sh", "-c", &wrapper, "sh"], command);
    })
}

/// The disk as the server sees it.
fn inside(api: &Api, small: &str) -> PathBuf {
    api.process.sees(&api.process.folder().join(small))
}

/// Fills it to its last byte; the file is to be removed.
fn fill(disk: &Path) -> PathBuf {
    let ballast = disk.join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    for piece in [1 << 16, 1] {
        while file.write_all(&vec![0; piece]).is_ok() {}
    }
    ballast
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_whose_disk_is_full_fails_the_backup_takes_its_packs_away_and_says_why() {
    let postgres = Postgres::version(17).tcp().start();
    postgres.least_rights_role();
    for database in ["shop", "small"] {
        postgres.psql("postgres", &format!("CREATE DATABASE {database}"));
    }
    postgres.psql("shop", ROWS);
    let rows = "CREATE TABLE t AS SELECT generate_series(1, 1000) n";
    postgres.psql("small", rows);
    let folder = tempfile::tempdir().unwrap();
    let api = with_a_small_disk(folder, "vault-pg", "24m", &postgres);
    api.postgres_site("pg", &postgres).await;
    let small = api.job("pg", "small", json!({})).await;
    api.back_up("pg", &small).await;
    let job = api.job("pg", "shop", json!({})).await;
    let failed = api.execute("pg", &job).await;
    let failed = api.ended("pg", &failed).await;
    assert_eq!(failed["status"], "FAILED", "{failed:#}");
    let why = failed["status_detail"].as_str().unwrap();
    for words in ["No space left on device", "vault"] {
        assert!(why.contains(words), "{why}");
    }
    // What it had written makes room at once: others' backups go on.
    let savesets = api.get("/sites/pg/savesets").await;
    assert_eq!(savesets.as_array().unwrap().len(), 1, "{savesets:#}");
    let pins = std::fs::read_dir(inside(&api, "vault-pg").join("pins"));
    assert_eq!(pins.unwrap().count(), 0, "no pin is left");
    api.back_up("pg", &small).await;
    postgres.psql(
        "shop",
        "DELETE FROM random WHERE id > 1000; VACUUM FULL random",
    );
    api.back_up("pg", &job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_whose_disk_is_full_refuses_and_waits_and_loses_no_end() {
    let postgres = Postgres::version(17).tcp().start();
    postgres.least_rights_role();
    postgres.psql("postgres", "CREATE DATABASE shop");
    let rows = "CREATE TABLE item AS SELECT generate_series(1, 1000) n";
    postgres.psql("shop", rows);
    let folder = tempfile::tempdir().unwrap();
    let api = with_a_small_disk(folder, "data", "8m", &postgres);
    api.postgres_site("pg", &postgres).await;
    let job = api.job("pg", "shop", json!({})).await;
    api.back_up("pg", &job).await;

    // Under way when the disk becomes full: its id cannot be written down, and then not its end
    // before there is room again.
    let holder = postgres.connect("shop").await;
    holder
        .batch_execute("BEGIN; LOCK TABLE item")
        .await
        .unwrap();
    let backup = api.execute("pg", &job).await;
    let begun = Instant::now();
    while api.execution("pg", &backup).await["status"] != "RUNNING" {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "it does not begin"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ballast = fill(&inside(&api, "data"));
    holder.batch_execute("ROLLBACK").await.unwrap();
    let path = format!("/sites/pg/jobs/{job}/executions");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(
        api.get(&path).await[0]["status"],
        "RUNNING",
        "reading goes on"
    );

    // Nothing new is taken on, and the reason is told.
    let objects = json!([{"object_name": "shop", "object_type": "DATABASE",
        "parent_name": "DBC", "parent_type": "DATABASE", "include_all": true}]);
    let other = json!({"name": "x", "job_type": "BACKUP", "job_settings": {"objects": objects}});
    let refused = api.post("/sites/pg/jobs", &other).await;
    assert_eq!(refused.status, 503, "{}", refused.text);
    assert_eq!(
        refused.json()["code"],
        "catalog-disk-full",
        "{}",
        refused.text
    );

    std::fs::remove_file(ballast).unwrap();
    let ended = api.ended("pg", &backup).await;
    assert_eq!(ended["status"], "FAILED", "{ended:#}");
    let why = ended["status_detail"].as_str().unwrap();
    assert!(
        why.contains("the disk that holds the catalog is full"),
        "{why}"
    );
    api.back_up("pg", &job).await;
    let savesets = api.get("/sites/pg/savesets").await;
    assert_eq!(savesets.as_array().unwrap().len(), 2, "{savesets:#}");
}
