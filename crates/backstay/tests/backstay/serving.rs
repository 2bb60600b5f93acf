//! `backstay serve`: its start, its end, its first token.

use std::os::unix::fs::PermissionsExt;

use crate::process::{Done, Server, TOKEN, backstay};

#[test]
fn the_first_token_is_made_and_shown_once() {
    let server = Server::start_in(tempfile::tempdir().unwrap(), &|_| {});
    let token = server.said[0]
        .strip_prefix("Administrator token, shown this once: ")
        .unwrap();
    let token = token.to_owned();
    Done::of(
        server
            .client(&["site", "list"])
            .env("BACKSTAY_TOKEN", &token),
    )
    .exits(0);
    assert!(
        !server.log().contains(&token),
        "a log is kept, a token is not"
    );
    let (status, folder) = server.terminate();
    assert_eq!(status.code(), Some(0));
    let again = Server::start_in(folder, &|_| {});
    assert_eq!(again.said.len(), 1, "{:?}", again.said);
    Done::of(
        again
            .client(&["site", "list"])
            .env("BACKSTAY_TOKEN", &token),
    )
    .exits(0);
}

#[test]
fn a_given_token_is_the_administrators() {
    let server = Server::start();
    assert_eq!(server.said.len(), 1, "{:?}", server.said);
    server.run(&["site", "list"]).exits(0).says("no site yet");
}

#[test]
fn the_signal_of_a_service_manager_ends_it_in_order() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start();
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0), "{}", server.log());
        server.run(&["site", "list"]).exits(5);
    }
}

#[test]
fn plain_http_is_for_loopback_unless_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let serve = ["serve", "--data-dir", "data", "--listen", "0.0.0.0:0"];
    Done::of(backstay(folder.path()).args(serve))
        .exits(2)
        .complains("--insecure-http");
    assert!(
        !folder.path().join("data").exists(),
        "nothing is made by a refusal"
    );
    let server = Server::start_in(folder, &|command| {
        command
            .args(["--insecure-http"])
            .env("BACKSTAY_ADMIN_TOKEN", TOKEN);
    });
    server.run(&["site", "list"]).exits(0);
}

#[test]
fn a_taken_address_or_data_directory_is_said_so() {
    let server = Server::start();
    let address = server.url.trim_start_matches("http://");
    let serve = |data: &str, listen: &str| {
        Done::of(backstay(server.folder()).args(["serve", "--data-dir", data, "--listen", listen]))
    };
    serve("another", address)
        .exits(1)
        .complains(address)
        .complains("--listen");
    assert!(
        !server.folder().join("another").exists(),
        "no token was spent on it"
    );
    serve("data", "127.0.0.1:0").exits(1).complains("data");
    serve("another", "nonsense").exits(2).complains("ADDR:PORT");
}

#[test]
fn the_master_key_is_a_file_that_only_its_owner_reads() {
    let server = Server::start();
    let key = server.data().join("master.key");
    let mode = std::fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (_, folder) = server.terminate();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let serve = ["serve", "--data-dir", "data", "--listen", "127.0.0.1:0"];
    Done::of(backstay(folder.path()).args(serve))
        .exits(1)
        .complains("master.key");
}

#[test]
fn a_master_key_from_the_environment_leaves_no_file() {
    let hex = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    let server = Server::start_in(tempfile::tempdir().unwrap(), &|command| {
        command
            .env("BACKSTAY_MASTER_KEY", hex)
            .env("BACKSTAY_ADMIN_TOKEN", TOKEN);
    });
    assert!(!server.data().join("master.key").exists());
    let (_, folder) = server.terminate();
    let serve = ["serve", "--data-dir", "data", "--listen", "127.0.0.1:0"];
    let other = hex.replace("00", "01");
    Done::of(
        backstay(folder.path())
            .env("BACKSTAY_MASTER_KEY", &other)
            .args(serve),
    )
    .exits(1)
    .hides(&other);
    Done::of(
        backstay(folder.path())
            .env("BACKSTAY_MASTER_KEY", "short-key-0")
            .args(serve),
    )
    .exits(1)
    .hides("short-key-0");
}
