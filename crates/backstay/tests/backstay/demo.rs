//! The demo is the first thing that anybody sees.

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
