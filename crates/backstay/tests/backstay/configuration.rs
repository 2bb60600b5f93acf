//! `backstay.toml` < `BACKSTAY_*` < flags.

use std::path::Path;
use std::process::Command;

use crate::process::{Done, Server, TOKEN, backstay};

fn list(folder: &Path) -> Command {
    let mut command = backstay(folder);
    command.env("BACKSTAY_TOKEN", TOKEN).args(["site", "list"]);
    command
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    Done::of(&mut list(folder))
        .exits(5)
        .complains("http://127.0.0.1:8610");
    std::fs::write(
        folder.join("backstay.toml"),
        "server = \"http://127.0.0.1:2\"\n",
    )
    .unwrap();
    Done::of(&mut list(folder))
        .exits(5)
        .complains("http://127.0.0.1:2");
    let env = ("BACKSTAY_SERVER", "http://127.0.0.1:3");
    Done::of(list(folder).env(env.0, env.1))
        .exits(5)
        .complains("http://127.0.0.1:3");
    // An empty variable is what a deployment leaves where it has no value.
    Done::of(list(folder).env(env.0, "")).complains("http://127.0.0.1:2");
    let flag = ["--server", "http://127.0.0.1:4"];
    Done::of(list(folder).env(env.0, env.1).args(flag))
        .exits(5)
        .complains("http://127.0.0.1:4");
}

#[test]
fn the_file_is_looked_for_in_three_places() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let write = |path: &Path, port: u16| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("server = \"http://127.0.0.1:{port}\"\n")).unwrap();
    };
    write(&folder.join(".config/backstay/backstay.toml"), 11);
    Done::of(&mut list(folder)).complains("127.0.0.1:11");
    write(&folder.join("xdg/backstay/backstay.toml"), 12);
    Done::of(list(folder).env("XDG_CONFIG_HOME", folder.join("xdg"))).complains("127.0.0.1:12");
    write(&folder.join("backstay.toml"), 13);
    Done::of(&mut list(folder)).complains("127.0.0.1:13");
    write(&folder.join("named.toml"), 14);
    Done::of(list(folder).args(["--config", "named.toml"])).complains("127.0.0.1:14");
    Done::of(list(folder).args(["--config", "absent.toml"]))
        .exits(2)
        .complains("absent.toml");
}

#[test]
fn a_mistake_in_the_file_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let file = folder.join("backstay.toml");
    std::fs::write(&file, "[serve]\nlisten = \"127.0.0.1:0\"\nport = 3\n").unwrap();
    Done::of(&mut list(folder))
        .exits(2)
        .complains("backstay.toml:3:1: unknown field `port`");
    std::fs::write(&file, "server = \n").unwrap();
    Done::of(&mut list(folder))
        .exits(2)
        .complains("backstay.toml:1:");
    std::fs::write(&file, "token = \"hush\"\n").unwrap();
    Done::of(&mut list(folder))
        .exits(2)
        .complains("unknown field `token`")
        .hides("hush");
}

#[test]
fn a_token_comes_from_a_file_as_well() {
    let server = Server::start();
    let folder = server.folder();
    std::fs::write(folder.join("token"), format!("{TOKEN}\n")).unwrap();
    let ask = |env: &[(&str, &str)], arguments: &[&str]| {
        let mut command = backstay(folder);
        command
            .env("BACKSTAY_SERVER", &server.url)
            .envs(env.iter().copied());
        Done::of(command.args(["site", "list"]).args(arguments))
    };
    ask(&[], &["--token-file", "token"]).exits(0);
    ask(&[("BACKSTAY_TOKEN_FILE", "token")], &[]).exits(0);
    // The flag is the stronger word.
    ask(&[("BACKSTAY_TOKEN", "wrong")], &["--token-file", "token"]).exits(0);
    ask(&[], &["--token-file", "absent"])
        .exits(2)
        .complains("absent");
    std::fs::write(folder.join("empty"), "\n").unwrap();
    ask(&[], &["--token-file", "empty"])
        .exits(2)
        .complains("is empty");
    let config = format!(
        "server = \"{}\"\ntoken_file = \"token\"\noutput = \"json\"\n",
        server.url
    );
    std::fs::create_dir(folder.join("etc")).unwrap();
    std::fs::write(folder.join("etc/b.toml"), config).unwrap();
    std::fs::rename(folder.join("token"), folder.join("etc/token")).unwrap();
    let done = Done::of(backstay(folder).args(["--config", "etc/b.toml", "site", "list"])).exits(0);
    assert_eq!(done.json(), serde_json::json!([]));
}

#[test]
fn serve_takes_its_settings_from_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let config = "[serve]\ndata_dir = \"elsewhere\"\nlog_format = \"json\"\nlog = \"debug\"\n";
    std::fs::write(folder.path().join("serve.toml"), config).unwrap();
    let server = Server::start_in(folder, &|command| {
        // What `start_in` says with a flag wins, so that only the log is the file's.
        command
            .args(["--config", "serve.toml"])
            .env("BACKSTAY_ADMIN_TOKEN", TOKEN);
    });
    server.run(&["site", "list"]).exits(0);
    assert!(server.data().join("catalog.db").exists());
    assert!(!server.folder().join("elsewhere").exists());
    let log = server.log();
    let first = log.lines().next().unwrap_or_default();
    assert!(
        serde_json::from_str::<serde_json::Value>(first).is_ok(),
        "{log}"
    );
}
