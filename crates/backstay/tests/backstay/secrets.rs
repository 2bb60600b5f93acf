//! Secrets stay where they belong: in no log, no answer, no error, and in no file in clear.

use std::path::Path;

use crate::process::{Done, Server, TOKEN, sample_databases};

const PASSWORD: &str = "db-password-Wq7vRk2n";
const RESTORE_PASSWORD: &str = "restore-password-Zt5mLp8x";

#[test]
fn no_secret_is_in_a_log_an_answer_an_error_or_a_file() {
    let server = Server::start_in(tempfile::tempdir().unwrap(), &|command| {
        command
            .env("BACKSTAY_ADMIN_TOKEN", TOKEN)
            .env("BACKSTAY_LOG", "trace");
    });
    let folder = server.folder();
    let vault = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    // Nothing listens there: the errors of connections are what may give a password away.
    let url = "postgres://keeper@127.0.0.1:1/shop";
    let add = [
        "site",
        "add",
        "pg",
        "--type",
        "postgresql",
        "--url",
        url,
        "--vault",
        &vault("v1"),
    ];
    Done::of(server.client(&add).env("PGPASSWORD", PASSWORD))
        .exits(0)
        .hides(PASSWORD);
    let mut said = Vec::new();
    let databases = sample_databases(folder);
    let path = databases.to_str().unwrap();
    let add = [
        "site",
        "add",
        "lite",
        "--type",
        "sqlite",
        "--path",
        path,
        "--vault",
        &vault("v2"),
    ];
    let key = recovery_key(&Done::of(&mut server.client(&add)).exits(0).stdout);
    for (site, database) in [("pg", "shop"), ("lite", "shop.db")] {
        server
            .run(&["job", "create", site, "--name", "j", "--database", database])
            .exits(0);
    }
    said.push(server.run(&["site", "check", "pg"]).exits(1));
    said.push(server.run(&["job", "run", "pg", "j", "--wait"]).exits(1));
    said.push(server.run(&["job", "run", "lite", "j", "--wait"]).exits(0));
    let restore = [
        "restore", "lite", "--job", "j", "--latest", "--to", "c.db", "--user", "u", "--wait",
    ];
    let restored = Done::of(
        server
            .client(&restore)
            .env("BACKSTAY_RESTORE_PASSWORD", RESTORE_PASSWORD),
    );
    said.push(restored.exits(0));
    for show in [
        &["site", "show", "pg"][..],
        &["site", "list"],
        &["execution", "list", "lite"],
    ] {
        said.push(server.run(&[show, &["--output", "json"]].concat()).exits(0));
    }
    let master = std::fs::read_to_string(server.data().join("master.key")).unwrap();
    let secrets = [PASSWORD, RESTORE_PASSWORD, TOKEN, master.trim(), &key];
    for done in said {
        secrets.iter().fold(done, |done, secret| done.hides(secret));
    }
    for secret in secrets {
        assert!(!server.log().contains(secret), "{secret} is in the log");
    }
    let (status, folder) = server.terminate();
    assert_eq!(status.code(), Some(0));
    for secret in secrets {
        for file in files(folder.path()) {
            // The one file whose whole content is a secret.
            if !(file.ends_with("data/master.key") && secret == master.trim()) {
                assert!(!holds(&file, secret), "{secret} is in {}", file.display());
            }
        }
    }
}

fn recovery_key(said: &str) -> String {
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("Recovery key: "));
    line.unwrap().to_owned()
}

pub fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

pub fn holds(file: &Path, secret: &str) -> bool {
    let bytes = std::fs::read(file).unwrap();
    bytes
        .windows(secret.len())
        .any(|window| window == secret.as_bytes())
}
