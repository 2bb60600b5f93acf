//! A site whose vault is in S3: a real server of it in the test's process, everything else as users
//! have it.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::S3Server;
use testkit::digest::sqlite_digest;

use crate::process::{Done, Server, TOKEN, sample_databases};
use crate::secrets::{files, holds};

/// A server with a site `shop`, whose vault is in that store, and a job `nightly`.
fn shop(s3: &S3Server) -> Server {
    let server = Server::start_in(tempfile::tempdir().unwrap(), &|command| {
        command
            .env("BACKSTAY_ADMIN_TOKEN", TOKEN)
            .env("BACKSTAY_LOG", "trace");
    });
    let added = add(&server, s3, "shop", &[]);
    added
        .exits(0)
        .says("Recovery key: BSRK1-")
        .hides(s3.secret());
    let job = [
        "job",
        "create",
        "shop",
        "--name",
        "nightly",
        "--database",
        "shop.db",
    ];
    server.run(&job).exits(0);
    server
}

/// `site add` with the options that the store needs, its secret in a file that is gone afterwards.
fn add(server: &Server, s3: &S3Server, site: &str, more: &[&str]) -> Done {
    let databases = sample_databases_once(server.folder());
    let elsewhere = tempfile::tempdir().unwrap();
    let secret = elsewhere.path().join("secret");
    std::fs::write(&secret, s3.secret()).unwrap();
    let mut options = s3.options();
    options.insert("secret_access_key".into(), format!("@{}", secret.display()));
    let mut command = server.client(&["site", "add", site, "--type", "sqlite", "--path"]);
    command.args([
        databases.as_str(),
        "--vault",
        &s3.url(&format!("of-{site}")),
    ]);
    for (name, value) in options {
        command.args(["--vault-option", &format!("{name}={value}")]);
    }
    Done::of(command.args(more))
}

fn sample_databases_once(folder: &Path) -> String {
    let databases = folder.join("databases");
    if !databases.exists() {
        sample_databases(folder);
    }
    databases.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_goes_to_s3_and_comes_back_and_the_secret_is_nowhere() {
    let s3 = S3Server::start().await;
    let server = shop(&s3);
    let databases = server.folder().join("databases");
    let mut said = vec![
        server
            .run(&["site", "check", "shop"])
            .exits(0)
            .says("does not overwrite"),
    ];
    said.push(
        server
            .run(&["job", "run", "shop", "nightly", "--wait"])
            .exits(0)
            .says("SUCCESSFUL"),
    );
    let before = sqlite_digest(&databases.join("shop.db")).unwrap();
    let restore = [
        "restore", "shop", "--job", "nightly", "--latest", "--to", "copy.db", "--wait",
    ];
    said.push(server.run(&restore).exits(0).says("SUCCESSFUL"));
    assert_eq!(sqlite_digest(&databases.join("copy.db")).unwrap(), before);

    let site: Value = server.ask(&["site", "show", "shop"]);
    assert_eq!(site["siteTargetType"], "AWS");
    assert_eq!(site["vault"]["url"], s3.url("of-shop"));
    let options = site["vault"]["options"].as_object().unwrap();
    let names: Vec<_> = options.keys().map(String::as_str).collect();
    assert_eq!(names, ["access_key_id", "endpoint", "region"]);
    for show in [
        &["site", "show", "shop"][..],
        &["site", "list"],
        &["saveset", "list", "shop"],
    ] {
        said.push(server.run(&[show, &["--output", "json"]].concat()).exits(0));
    }

    // After a restart the sealed key still opens the bucket.
    let (status, folder) = server.terminate();
    assert_eq!(status.code(), Some(0));
    let server = Server::start_in(folder, &|command| {
        command.env("BACKSTAY_LOG", "trace");
    });
    said.push(
        server
            .run(&["job", "run", "shop", "nightly", "--wait"])
            .exits(0),
    );
    let savesets = server.ask(&["saveset", "list", "shop"]);
    assert_eq!(savesets.as_array().unwrap().len(), 2, "{savesets:#}");

    for done in said {
        done.hides(s3.secret());
    }
    assert!(
        !server.log().contains(s3.secret()),
        "the secret is in the log"
    );
    let (_, folder) = server.terminate();
    let stored = files(&s3.files());
    assert!(
        stored
            .iter()
            .any(|file| file.to_string_lossy().contains("of-shop/manifests/2"))
    );
    for file in files(folder.path()).iter().chain(&stored) {
        assert!(
            !holds(file, s3.secret()),
            "the secret is in {}",
            file.display()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_is_not_made_where_its_store_cannot_be() {
    let s3 = S3Server::start().await;
    let server = shop(&s3);
    s3.overwrite();
    let refused = add(&server, &s3, "careless", &[]);
    refused.exits(1).complains("conditional puts");
    s3.heal();
    let twice = add(&server, &s3, "shop2", &["--vault-option", "regoin=x"]);
    twice.exits(2).complains("`region`");
    for (option, why) in [
        ("endpoint=http://s3.example.net", "must be https"),
        ("path_style=yes", "true or false"),
    ] {
        let command = ["site", "add", "other", "--type", "sqlite", "--path"];
        let databases = sample_databases_once(server.folder());
        let mut command = server.client(&command);
        command.args([&databases, "--vault", "s3://b/x", "--vault-option", option]);
        command.args(["--vault-option", "credentials=server"]);
        let done = Done::of(&mut command);
        assert_ne!(done.code, 0, "{done:?}");
        done.complains(why);
    }
    // What was refused left nothing: the name is free, and so is the place.
    let sites = server.ask(&["site", "list"]);
    assert_eq!(sites.as_array().unwrap().len(), 1, "{sites:#}");
    add(&server, &s3, "careless", &[]).exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_errs_fails_the_run_with_its_reason_and_the_next_one_is_good() {
    let s3 = S3Server::start().await;
    let server = shop(&s3);
    s3.err();
    let check = server.run(&["site", "check", "shop"]);
    check.exits(1).says("told so by the test");
    let failed = server.run(&["job", "run", "shop", "nightly", "--wait"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    let executions = server.ask(&["execution", "list", "shop"]);
    assert_eq!(executions[0]["status"], "FAILED", "{executions:#}");
    let shown = server.ask(&["execution", "show", "shop", "1"]);
    let detail = shown["status_detail"].as_str().unwrap();
    assert!(detail.contains("503"), "{detail}");
    s3.heal();
    server
        .run(&["job", "run", "shop", "nightly", "--wait"])
        .exits(0)
        .says("SUCCESSFUL");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_for_a_silent_store_is_aborted_and_the_next_one_is_good() {
    let s3 = S3Server::start().await;
    let server = shop(&s3);
    s3.hang();
    let before = s3.requests();
    server.run(&["job", "run", "shop", "nightly"]).exits(0);
    let begun = Instant::now();
    while s3.requests() == before {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "nothing was asked of the store"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.run(&["execution", "abort", "shop", "1"]).exits(0);
    let ended = Instant::now();
    loop {
        let shown = server.ask(&["execution", "show", "shop", "1"]);
        if shown["status"] == "ABORTED" {
            break;
        }
        assert_eq!(shown["status"], "ABORTING", "{shown:#}");
        assert!(ended.elapsed() < Duration::from_secs(10), "{shown:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    s3.heal();
    server
        .run(&["job", "run", "shop", "nightly", "--wait"])
        .exits(0)
        .says("SUCCESSFUL");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_store_is_waited_for() {
    let s3 = S3Server::start().await;
    let server = shop(&s3);
    s3.dawdle();
    server
        .run(&["job", "run", "shop", "nightly", "--wait"])
        .exits(0)
        .says("SUCCESSFUL");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_a_store_are_replaced_only_by_such_as_can_be_and_its_secret_is_kept() {
    let s3 = S3Server::start().await;
    let server = shop(&s3);
    let site: Value = server.ask(&["site", "show", "shop"]);
    let put = async |options: &[(&str, Value)]| {
        let mut site = site.clone();
        for (name, value) in options {
            site["vault"]["options"][*name] = value.clone();
        }
        let url = format!("{}/data-protection/v2/sites/shop", server.url);
        let request = reqwest::Client::new().put(url).bearer_auth(TOKEN);
        let request = request.header("content-type", "application/json");
        let answer = request.body(site.to_string()).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.text().await.unwrap())
    };
    for (options, said) in [
        (
            ("endpoint", json!("http://s3.example.net")),
            "must be https",
        ),
        (("secret_access_key", Value::Null), "secret_access_key"),
        (("acess_key_id", json!("x")), "access_key_id"),
        (("credentials", json!("server")), "exclude each other"),
    ] {
        let (status, text) = put(&[options]).await;
        assert_eq!(status, 400, "{text}");
        assert!(text.contains(said) && !text.contains(s3.secret()), "{text}");
    }
    // What was refused changed nothing; what is given back as it was read keeps the secret.
    let (status, text) = put(&[("region", json!("eu-west-1"))]).await;
    assert_eq!(status, 200, "{text}");
    server
        .run(&["job", "run", "shop", "nightly", "--wait"])
        .exits(0);
    let (status, text) = put(&[("secret_access_key", json!("another-one"))]).await;
    assert_eq!(status, 200, "{text}");
    let refused = server.run(&["site", "check", "shop"]);
    refused.exits(1).says("not permitted").hides("another-one");
}
