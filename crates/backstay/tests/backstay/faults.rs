//! What can be wrong around a server: its vault, its passwords, its database host, the names there.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};
use testkit::postgres::Server as Postgres;

use crate::http::{Api, quoted};

/// Incompressible rows: more than the largest file that the small disk of a test can hold.
pub const ROWS: &str = "CREATE TABLE random AS SELECT i AS id, decode(string_agg(md5(i || '.' || j), ''), 'hex') AS bytes
    FROM generate_series(1, 60000) i, generate_series(1, 40) j GROUP BY i";

fn shop() -> Postgres {
    let postgres = Postgres::version(17).tcp().start();
    postgres.least_rights_role();
    postgres.psql("postgres", "CREATE DATABASE shop");
    postgres
}

/// The same command behind another program, which runs what it is given.
pub fn behind(wrapper: &[&str], command: &Command) -> Command {
    let mut wrapped = Command::new(wrapper[0]);
    wrapped
        .args(&wrapper[1..])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    wrapped.current_dir(command.get_current_dir().unwrap());
    wrapped.stdin(std::process::Stdio::null());
    wrapped
}

fn directories(below: &Path) -> Vec<PathBuf> {
    let mut found = vec![below.to_owned()];
    for entry in std::fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(directories(&path));
        }
    }
    found
}

fn set_mode(folder: &Path, mode: u32) {
    for directory in directories(folder) {
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(mode)).unwrap();
    }
}

fn files(below: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for directory in directories(below) {
        for entry in std::fs::read_dir(directory).unwrap() {
            found.push(entry.unwrap().path().display().to_string());
        }
    }
    found
}

#[track_caller]
fn failed_saying(execution: &Value, words: &[&str]) {
    assert_eq!(execution["status"], "FAILED", "{execution:#}");
    let why = execution["status_detail"].as_str().unwrap();
    for part in words {
        assert!(why.contains(part), "{part:?} is not in {why:?}");
    }
}

/// The finding of a site's check about that matter, which must be an error.
#[track_caller]
fn error_about<'a>(check: &'a Value, what: &str) -> &'a str {
    let findings = check["findings"].as_array().unwrap();
    let found = findings
        .iter()
        .find(|f| f["what"] == what && f["level"] == "ERROR");
    found.unwrap_or_else(|| panic!("no error about {what}: {check:#}"))["detail"]
        .as_str()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_became_read_only_fails_backups_and_still_restores() {
    let postgres = shop();
    postgres.psql(
        "shop",
        "CREATE TABLE t AS SELECT generate_series(1, 1000) n",
    );
    let folder = tempfile::tempdir().unwrap();
    let is_root = std::fs::metadata(folder.path()).unwrap().uid() == 0;
    let api = Api::start_in(folder, &postgres, &|command| {
        if is_root {
            // Root without the right to write wherever it likes.
            *command = behind(&["setpriv", "--bounding-set", "-dac_override"], command);
        }
    });
    api.postgres_site("pg", &postgres).await;
    let job = api.job("pg", "shop", json!({})).await;
    let backup = api.back_up("pg", &job).await;
    let vault = api.process.folder().join("vault-pg");
    set_mode(&vault, 0o555);
    let failed = api.execute("pg", &job).await;
    let failed = api.ended("pg", &failed).await;
    failed_saying(&failed, &["Permission denied", "vault"]);
    let check = api.post("/sites/pg/check", &json!({})).await.is(200).json();
    let said = error_about(&check, "vault");
    assert!(said.contains("Permission denied"), "{said}");
    let credentials = ("postgres", testkit::postgres::SUPERUSER_PASSWORD);
    let restore = api
        .ask_restore(("pg", &job, &backup), ("shop", "copy"), Some(credentials))
        .await;
    let restored = api.ended("pg", &restore.is(202).id()).await;
    assert_eq!(restored["status"], "SUCCESSFUL", "{restored:#}");
    assert_eq!(postgres.psql("copy", "SELECT count(*) FROM t"), "1000");
    set_mode(&vault, 0o755);
    api.back_up("pg", &job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_takes_no_more_fails_the_backup_and_leaves_nothing_half_written() {
    let postgres = shop();
    postgres.psql("shop", ROWS);
    let folder = tempfile::tempdir().unwrap();
    // 16 MB is the most that a file can hold: the catalog has room, a pack has not.
    let small = [
        "sh",
        "-c",
        "trap '' XFSZ; ulimit -f 32768; exec \"$@\"",
        "sh",
    ];
    let api = Api::start_in(folder, &postgres, &|command| {
        *command = behind(&small, command)
    });
    api.postgres_site("pg", &postgres).await;
    let job = api.job("pg", "shop", json!({})).await;
    let failed = api.execute("pg", &job).await;
    failed_saying(
        &api.ended("pg", &failed).await,
        &["File too large", "in the vault", "not full"],
    );
    assert_eq!(api.get("/sites/pg/savesets").await, json!([]));
    let left = files(&api.process.folder().join("vault-pg"));
    assert!(
        !left
            .iter()
            .any(|file| file.contains('#') || file.contains("/pins/")),
        "{left:#?}"
    );
    let api = api.restarted_after("TERM", &postgres);
    api.back_up("pg", &job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_of_a_site_is_said_and_can_be_set_right() {
    let postgres = shop();
    let roles = postgres.least_rights_role();
    let api = Api::start(&postgres);
    let url = postgres.url("postgres", roles.backup);
    api.site_at("pg", &url, "wrong-Kq3xT9").await.is(201);
    let check = api.post("/sites/pg/check", &json!({})).await.is(200);
    assert!(
        check.text.contains("password authentication failed"),
        "{}",
        check.text
    );
    assert!(!check.text.contains("wrong-Kq3xT9"), "{}", check.text);
    let job = api.job("pg", "shop", json!({})).await;
    let failed = api.execute("pg", &job).await;
    let failed = api.ended("pg", &failed).await;
    failed_saying(&failed, &["password authentication failed", roles.backup]);
    assert!(!failed.to_string().contains("wrong-Kq3xT9"));
    let mut site = api.get("/sites/pg").await;
    site["connection"]["password"] = json!(roles.password);
    api.call(Method::PUT, "/sites/pg", Some(&site), None)
        .await
        .is(200);
    api.back_up("pg", &job).await;
    assert!(!api.process.log().contains("wrong-Kq3xT9"));
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_the_database_refuses_are_403_and_tell_nothing() {
    let postgres = shop();
    let roles = postgres.least_rights_role();
    let api = Api::start(&postgres);
    api.postgres_site("pg", &postgres).await;
    let job = api.job("pg", "shop", json!({})).await;
    let backup = api.back_up("pg", &job).await;
    let before = api.get("/sites/pg/jobs").await;
    let ask = async |credentials| {
        let backup = ("pg", job.as_str(), backup.as_str());
        api.ask_restore(backup, ("shop", "copy"), credentials).await
    };
    let wrong = ask(Some((roles.restore, "wrong-Kq3xT9"))).await.is(403);
    let nobody = ask(Some(("nobody-here", "wrong-Kq3xT9"))).await.is(403);
    for answer in [&wrong, &nobody] {
        assert_eq!(answer.json()["code"], "database-credentials");
        for secret in ["wrong-Kq3xT9", roles.password] {
            assert!(!answer.text.contains(secret), "{}", answer.text);
        }
    }
    // A role that is there is not told from one that is not.
    let without_names = |answer: &crate::http::Answer| {
        let mut body = answer.json();
        body["request_id"] = json!(null);
        let text = body.to_string();
        text.replace("nobody-here", "USER")
            .replace(roles.restore, "USER")
    };
    assert_eq!(without_names(&wrong), without_names(&nobody));
    let none = ask(None).await.is(400).json();
    assert_eq!(none["code"], "credentials-missing", "{none:#}");
    assert_eq!(api.get("/sites/pg/jobs").await, before, "no job was made");
    assert!(!api.process.log().contains("wrong-Kq3xT9"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_host_that_is_down_is_said_everywhere() {
    let postgres = shop();
    let roles = postgres.least_rights_role();
    let api = Api::start(&postgres);
    api.postgres_site("pg", &postgres).await;
    let job = api.job("pg", "shop", json!({})).await;
    let backup = api.back_up("pg", &job).await;
    postgres.stop();
    let address = format!("127.0.0.1:{}", postgres.port());
    let check = api.post("/sites/pg/check", &json!({})).await.is(200);
    assert!(check.text.contains(&address), "{}", check.text);
    assert_eq!(
        check.json()["findings"][0]["level"],
        "ERROR",
        "{}",
        check.text
    );
    let failed = api.execute("pg", &job).await;
    let failed = api.ended("pg", &failed).await;
    failed_saying(&failed, &["cannot be reached", &address]);
    let credentials = Some((roles.restore, roles.password));
    let asked = api
        .ask_restore(("pg", &job, &backup), ("shop", "copy"), credentials)
        .await
        .is(502);
    assert!(asked.text.contains(&address), "{}", asked.text);
    let live = api
        .call(Method::GET, "/sites/pg/databases", None, None)
        .await;
    assert_eq!(live.is(502).json()["code"], asked.json()["code"]);
    // What is in the vault can still be looked at.
    let objects = format!("/sites/pg/jobs/{job}/executions/{backup}/objects");
    assert_eq!(api.get(&objects).await[0]["object_name"], "shop");
    postgres.restart();
    api.back_up("pg", &job).await;
}

/// Names that somebody, somewhere, takes for something else.
const HOSTILE: [&str; 11] = [
    "a \"quote\" within it's",
    "\"quoted\"",
    "dots.in.it",
    " spaces ",
    "ünï 雪 кот",
    "new\nline\ttab\\",
    "100%s %41 $HOME;--`id`",
    "sl/ash/../..",
    "dbname=postgres host=nowhere",
    "postgres://nowhere/x",
    "sixty_three_bytes_sixty_three_bytes_sixty_three_bytes_sixty_thr",
];

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_of_databases_are_names() {
    let postgres = Postgres::version(17).tcp().start();
    let roles = postgres.least_rights_role();
    let api = Api::start(&postgres);
    api.postgres_site("pg", &postgres).await;
    let client = postgres.connect("postgres").await;
    for (place, name) in HOSTILE.iter().enumerate() {
        let owner = format!("CREATE DATABASE {} OWNER {}", quoted(name), roles.restore);
        client.batch_execute(&owner).await.unwrap();
        let inside = postgres.connect(name).await;
        let rows = format!(
            "SET ROLE {}; CREATE TABLE t AS SELECT generate_series(0, {place}) n",
            roles.restore
        );
        inside.batch_execute(&rows).await.unwrap();
    }
    let mut runs = Vec::new();
    for name in HOSTILE {
        let job = api.job("pg", name, json!({})).await;
        let backup = api.execute("pg", &job).await;
        runs.push((name, job, backup));
    }
    for (name, _, backup) in &runs {
        let ended = api.ended("pg", backup).await;
        assert_eq!(ended["status"], "SUCCESSFUL", "{name:?}: {ended:#}");
    }
    let copy = |name: &str| match name.len() {
        63 => name.replace("sixty_thr", "copy_thre"),
        _ => format!("{name}\"'.\n"),
    };
    let mut restores = Vec::new();
    for (name, job, backup) in &runs {
        let credentials = Some((roles.restore, roles.password));
        let asked = api
            .ask_restore(("pg", job, backup), (name, &copy(name)), credentials)
            .await;
        restores.push((*name, asked.is(202).id()));
    }
    for (place, (name, restore)) in restores.iter().enumerate() {
        let ended = api.ended("pg", restore).await;
        assert_eq!(ended["status"], "SUCCESSFUL", "{name:?}: {ended:#}");
        let inside = postgres.connect(&copy(name)).await;
        let rows = inside
            .query_one("SELECT count(*) FROM t", &[])
            .await
            .unwrap();
        assert_eq!(rows.get::<_, i64>(0), place as i64 + 1, "{name:?}");
    }
    // They are answered as they can be asked for.
    let live = api.get("/sites/pg/databases").await;
    for name in HOSTILE {
        let looks_quoted = name.starts_with('"') && name.ends_with('"');
        let shown = if looks_quoted {
            quoted(name)
        } else {
            name.to_owned()
        };
        let found = live.as_array().unwrap().iter();
        assert_eq!(
            found.filter(|db| db["object_name"] == shown).count(),
            1,
            "{name:?}: {live:#}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_is_not_mounted_is_not_made_anew() {
    let postgres = shop();
    let api = Api::start(&postgres);
    api.postgres_site("pg", &postgres).await;
    let job = api.job("pg", "shop", json!({})).await;
    api.back_up("pg", &job).await;
    let vault = api.process.folder().join("vault-pg");
    let elsewhere = api.process.folder().join("elsewhere");
    std::fs::rename(&vault, &elsewhere).unwrap();
    // The directory that a disk was mounted on.
    std::fs::create_dir(&vault).unwrap();
    let failed = api.execute("pg", &job).await;
    failed_saying(&api.ended("pg", &failed).await, &["vault"]);
    let left: Vec<String> = files(&vault);
    assert!(
        !left
            .iter()
            .any(|f| f.contains("/packs/") || f.ends_with("vault.json")),
        "{left:#?}"
    );
    let api = api.restarted_after("TERM", &postgres);
    let failed = api.execute("pg", &job).await;
    failed_saying(&api.ended("pg", &failed).await, &["vault"]);
    std::fs::remove_dir_all(&vault).unwrap();
    std::fs::rename(&elsewhere, &vault).unwrap();
    api.back_up("pg", &job).await;
    let savesets = api.get("/sites/pg/savesets").await;
    assert_eq!(savesets.as_array().unwrap().len(), 2, "{savesets:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_restores_to_one_name_give_one_database_and_one_failure() {
    let postgres = shop();
    let roles = postgres.least_rights_role();
    postgres.psql("postgres", "ALTER DATABASE shop OWNER TO backstay_restore");
    let rows = "SET ROLE backstay_restore; CREATE TABLE t AS SELECT generate_series(1, 1000) n";
    postgres.psql("shop", rows);
    let api = Api::start(&postgres);
    api.postgres_site("pg", &postgres).await;
    let job = api.job("pg", "shop", json!({})).await;
    let backup = api.back_up("pg", &job).await;
    let ask = || {
        let credentials = Some((roles.restore, roles.password));
        let backup = ("pg", job.as_str(), backup.as_str());
        api.ask_restore(backup, ("shop", "copy"), credentials)
    };
    let (one, other) = tokio::join!(ask(), ask());
    let one = api.ended("pg", &one.is(202).id()).await;
    let other = api.ended("pg", &other.is(202).id()).await;
    let (good, bad) = match one["status"] == "SUCCESSFUL" {
        true => (one, other),
        false => (other, one),
    };
    assert_eq!(good["status"], "SUCCESSFUL", "{good:#}");
    failed_saying(&bad, &["copy", "while the restore ran"]);
    assert_eq!(postgres.psql("copy", "SELECT count(*) FROM t"), "1000");
    let names =
        "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate";
    assert_eq!(postgres.psql("postgres", names), "copy postgres shop");
}
