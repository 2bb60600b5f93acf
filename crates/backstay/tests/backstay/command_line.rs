//! What the command line understands, what it refuses, and with which exit code.

use crate::process::{Done, Server, TOKEN, backstay};

fn run(arguments: &[&str]) -> Done {
    let folder = tempfile::tempdir().unwrap();
    Done::of(backstay(folder.path()).args(arguments))
}

#[test]
fn the_help_names_every_command_and_the_exit_codes() {
    let mut help = run(&["--help"]).exits(0);
    for command in [
        "serve",
        "demo",
        "try",
        "site",
        "job",
        "execution",
        "restore",
        "saveset",
        "status",
        "version",
        "completions",
    ] {
        help = help.says(&format!("\n  {command} "));
    }
    help.says("5 server unreachable")
        .says("BACKSTAY_")
        .says("backstay.toml");
}

#[test]
fn every_command_explains_itself() {
    for (command, some_option) in [
        (&["serve"][..], "--data-dir"),
        (&["demo"], "--once"),
        (&["try"], "--password-file"),
        (&["site", "add"], "--vault"),
        (&["site", "check"], "<SITE>"),
        (&["site", "recovery-key"], "<SITE>"),
        (&["job", "create"], "--database"),
        (&["job", "run"], "--wait"),
        (&["execution", "list"], "--limit"),
        (&["execution", "abort"], "<EXECUTION>"),
        (&["restore"], "--dry-run"),
        (&["saveset", "protect"], "<SAVESET>"),
        (&["status"], "--max-age"),
        (&["completions"], "bash"),
    ] {
        let done = run(&[command, &["--help"]].concat()).exits(0);
        done.says(some_option).says("Usage: backstay");
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    run(&[]).exits(2);
    run(&["bakcup"]).exits(2);
    run(&["job", "run", "shop"]).exits(2);
    run(&["restore", "shop"]).exits(2).complains("--execution");
    run(&["restore", "shop", "--job", "nightly"])
        .exits(2)
        .complains("--latest");
    run(&["site", "add", "shop", "--type", "oracle", "--vault", "/v"])
        .exits(2)
        .complains("postgresql or sqlite");
    run(&["site", "add", "shop", "--type", "sqlite", "--vault", "/v"])
        .exits(2)
        .complains("--path");
    run(&["status", "--max-age", "26"])
        .exits(2)
        .complains("26h");
    run(&["serve"]).exits(2).complains("--data-dir");
}

#[test]
fn no_flag_takes_a_secret() {
    for flag in [
        "--token",
        "--password",
        "--recovery-key",
        "--master-key",
        "--admin-token",
    ] {
        for command in [
            &["site", "list"][..],
            &["restore", "s"],
            &["serve"],
            &["try", "postgres://u@h/d"],
        ] {
            let done = run(&[command, &[flag, "hush"]].concat()).exits(2);
            done.complains("unexpected argument");
        }
    }
}

#[test]
fn a_password_in_a_url_is_refused_and_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let token = |arguments: &[&str]| {
        Done::of(
            backstay(folder.path())
                .env("BACKSTAY_TOKEN", TOKEN)
                .args(arguments),
        )
    };
    token(&["try", "postgres://me:hush@localhost/shop"])
        .exits(2)
        .complains("PGPASSWORD")
        .hides("hush");
    token(&["try", "postgres://me@localhost/shop?password=hush"])
        .exits(2)
        .hides("hush");
    let add = [
        "site",
        "add",
        "shop",
        "--type",
        "postgresql",
        "--vault",
        "/v",
        "--url",
    ];
    token(&[&add[..], &["postgres://me:hush@localhost/shop"]].concat())
        .exits(2)
        .complains("--password-file")
        .hides("hush");
    token(&["--server", "http://me:hush@localhost:1", "site", "list"])
        .exits(2)
        .hides("hush");
}

#[test]
fn a_server_that_is_not_there_exits_with_5_and_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = backstay(folder.path());
    command
        .env("BACKSTAY_TOKEN", TOKEN)
        .args(["--server", "http://127.0.0.1:1", "site", "list"]);
    Done::of(&mut command)
        .exits(5)
        .complains("cannot reach the server at http://127.0.0.1:1")
        .complains("backstay serve");
}

#[test]
fn without_a_token_nothing_is_sent() {
    run(&["--server", "http://127.0.0.1:1", "site", "list"])
        .exits(2)
        .complains("BACKSTAY_TOKEN");
}

#[test]
fn a_wrong_token_exits_with_6() {
    let server = Server::start();
    Done::of(
        server
            .client(&["site", "list"])
            .env("BACKSTAY_TOKEN", "another-token"),
    )
    .exits(6)
    .complains("unauthenticated")
    .hides("another-token");
}

#[test]
fn what_is_not_there_exits_with_1_and_names_the_code() {
    let server = Server::start();
    server
        .run(&["site", "show", "nowhere"])
        .exits(1)
        .complains("no-site");
    server
        .run(&["status", "--site", "nowhere"])
        .exits(1)
        .complains("no-site");
    server.run(&["job", "show", "nowhere", "3"]).exits(1);
}

#[test]
fn something_else_than_backstay_is_told_apart() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answering = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>";
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let folder = tempfile::tempdir().unwrap();
    let mut command = backstay(folder.path());
    command
        .env("BACKSTAY_TOKEN", TOKEN)
        .args(["--server", &url, "site", "list"]);
    Done::of(&mut command)
        .exits(1)
        .complains("not Backstay's")
        .complains("--server");
    answering.join().unwrap();
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        run(&["completions", shell])
            .exits(0)
            .says("saveset")
            .says("recovery-key");
    }
}

#[test]
fn the_version_is_one_line_or_one_object() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        run(&["version"]).exits(0).stdout,
        format!("backstay {version}\n")
    );
    assert_eq!(
        run(&["--version"]).exits(0).stdout,
        format!("backstay {version}\n")
    );
    assert_eq!(
        run(&["version", "-o", "json"]).exits(0).json()["version"],
        version
    );
}

#[test]
fn nothing_is_coloured_where_nobody_sees_it() {
    let server = Server::start();
    server
        .run(&["site", "show", "nowhere"])
        .exits(1)
        .hides("\u{1b}[");
    server.run(&["--help"]).exits(0).hides("\u{1b}[");
    assert!(!server.log().contains('\u{1b}'));
}
