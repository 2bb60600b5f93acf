//! The demo is the first thing that anybody sees.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::process::{Done, backstay};

#[test]
fn the_demo_protects_changes_restores_and_checks_a_shop() {
    let folder = tempfile::tempdir().unwrap();
    let scratch = folder.path().join("tmp");
    std::fs::create_dir(&scratch).unwrap();
    let mut demo = backstay(folder.path());
    let done = Done::of(
        demo.env("TMPDIR", &scratch)
            .args(["demo", "--once", "--port", "0"]),
    )
    .exits(0);
    let done = done
        .says("1. A site")
        .says("2. A job")
        .says("3. The first backup")
        .says("4. A day in the shop")
        .says("5. The second backup")
        .says("6. The second saveset restored as shop-restored.db")
        .says("7. Checked: integrity ok")
        .says("curl -i -X POST -u :$TOKEN http://127.0.0.1:")
        .says("TOKEN=");
    assert!(!done.stdout.contains("until Ctrl-C"));
    let left: Vec<_> = std::fs::read_dir(&scratch).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_kept_demo_can_be_served_again() {
    let folder = tempfile::tempdir().unwrap();
    let keep = ["demo", "--once", "--port", "0", "--keep", "kept"];
    Done::of(backstay(folder.path()).args(keep))
        .exits(0)
        .says("Everything is kept in");
    for left in [
        "databases/shop.db",
        "databases/shop-restored.db",
        "vault/vault.json",
        "server/catalog.db",
    ] {
        assert!(folder.path().join("kept").join(left).exists(), "{left}");
    }
    Done::of(backstay(folder.path()).args(keep))
        .exits(2)
        .complains("not empty");
}

#[test]
fn a_port_that_is_taken_is_an_error_only_if_it_was_asked_for() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let demo = ["demo", "--once", "--port", &port];
    Done::of(backstay(folder.path()).args(demo))
        .exits(1)
        .complains(&port);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_stays_up_and_its_lines_work_until_it_is_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let scratch = folder.path().join("tmp");
    std::fs::create_dir(&scratch).unwrap();
    let mut demo = backstay(folder.path())
        .env("TMPDIR", &scratch)
        .args(["demo", "--port", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let told: Vec<String> = lines
        .by_ref()
        .take_while(|line| !line.contains("until Ctrl-C"))
        .collect();
    let token = told
        .iter()
        .find_map(|line| line.trim().strip_prefix("TOKEN="))
        .unwrap();
    let (mut looked, mut executed) = (0, 0);
    let http = reqwest::Client::new();
    for line in told.iter().map(|line| line.trim()) {
        let url = line.rsplit(' ').next().unwrap_or_default();
        let call = match line {
            _ if line.starts_with("curl -u :$TOKEN") => http.get(url),
            _ if line.starts_with("curl") && line.ends_with("/execute") => http.post(url),
            _ if line.ends_with("/docs") => http.get(line),
            _ => continue,
        };
        let answer = call.basic_auth("", Some(token)).send().await.unwrap();
        match answer.status().as_u16() {
            200 => looked += 1,
            // The line stands there twice; the second time the first may still run.
            202 | 409 => executed += 1,
            other => panic!("{other}: {line}"),
        }
    }
    assert_eq!((looked, executed), (4, 2), "{told:#?}");
    let status = Command::new("kill")
        .args(["-s", "INT", &demo.id().to_string()])
        .status();
    assert!(status.unwrap().success());
    assert_eq!(demo.wait().unwrap().code(), Some(0), "{told:#?}");
    assert!(std::fs::read_dir(&scratch).unwrap().next().is_none());
}
