//! What others make from `/openapi.json`: a fuzzer that believes every word of it, and a client.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::chance::{Chance, long};
use crate::process::{Done, Server, TOKEN, sample_databases};

/// Statuses of the 5xx that are no failure of the server: an operation that is documented as not
/// built yet, and a database or store that is not there.
const CONFIGURATION: &str = r#"
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 501, 502]

# A precondition may be looked at before the rest of the body.
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 412, 415, 422, 428, 429, 501]
"#;

/// What is there, so that more than 404 is met.
const WHAT_IS_THERE: &str = r#"
[parameters]
"path.site_id" = "shop"
"path.job_id" = [1, 2]
"path.execution_id" = [1, 2]
"path.restore_id" = 2
"path.saveset_id" = 1
"#;

/// A server with a site, a job, a backup and a restore.
fn shop() -> Server {
    let server = Server::start();
    let databases = sample_databases(server.folder());
    let vault = server.folder().join("vault");
    let (databases, vault) = (databases.to_str().unwrap(), vault.to_str().unwrap());
    for arguments in [
        &[
            "site", "add", "shop", "--type", "sqlite", "--path", databases, "--vault", vault,
        ][..],
        &[
            "job",
            "create",
            "shop",
            "--name",
            "nightly",
            "--database",
            "shop.db",
        ],
        &["job", "run", "shop", "nightly", "--wait"],
        &[
            "restore", "shop", "--job", "nightly", "--latest", "--to", "copy.db", "--wait",
        ],
    ] {
        server.run(arguments).exits(0);
    }
    server
}

async fn document(server: &Server) -> String {
    let url = format!("{}/openapi.json", server.url);
    let answer = reqwest::get(url).await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.text().await.unwrap()
}

/// The document with examples that lead nowhere but to the test's folder and to a closed port: the
/// fuzzer sends them as they are.
async fn document_for_the_fuzzer(server: &Server) -> String {
    let folder = server.folder().display();
    let mut text = document(server).await;
    for (example, instead) in [
        (
            "file:///srv/backups/shop",
            format!("file://{folder}/of-an-example"),
        ),
        (
            "postgres://backup@db:5432/postgres",
            "postgres://backup@127.0.0.1:1/postgres".into(),
        ),
    ] {
        assert!(text.contains(example), "{example}");
        text = text.replace(example, &instead);
    }
    // OpenAPI 3.1 describes a stream of events as one text; what each of them is, only 3.2 can say.
    let mut document: Value = serde_json::from_str(&text).unwrap();
    let events = "/data-protection/v2/sites/{site_id}/executions/{execution_id}/events";
    let events = &mut document["paths"][events]["get"]["responses"]["200"]["content"];
    assert!(events["text/event-stream"].is_object(), "{events:#}");
    events["text/event-stream"] = json!({"itemSchema": {
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "event": {"const": "execution"},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {"$ref": "#/components/schemas/OneExecution"},
            },
        },
    }});
    document.to_string()
}

fn fuzz(server: &Server, seed: u64, configuration: &str, more: &[&str]) {
    let folder = server.folder();
    std::fs::write(folder.join("schemathesis.toml"), configuration).unwrap();
    let examples = if long() { "150" } else { "12" };
    let mut command = Command::new(testkit::python_program("schemathesis"));
    command
        .current_dir(folder)
        .args(["--no-color", "run", "openapi.json", "--url", &server.url])
        .args(["--header", &format!("Authorization: Bearer {TOKEN}")])
        .args(["--seed", &seed.to_string(), "--max-examples", examples])
        .args(["--generation-database", "none", "--request-timeout", "20"])
        // What the schema allows may still be against a rule that no schema can say.
        .args(["--exclude-checks", "positive_data_acceptance"])
        // One: CPython 3.11 parses its own source wrongly in two threads at once.
        .args(["--workers", "1", "--warnings", "off"])
        .args(more);
    let done = Done::of(&mut command);
    assert!(done.code == 0, "{}\n{}", done.stdout, done.stderr);
    assert!(done.stdout.contains("No issues found"), "{}", done.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fuzzer_finds_no_answer_that_the_document_does_not_know() {
    let server = shop();
    let text = document_for_the_fuzzer(&server).await;
    std::fs::write(server.folder().join("openapi.json"), text).unwrap();
    // One seed for every change, so that a change is judged by what it does.
    let seed = match long() || std::env::var_os("BACKSTAY_SEED").is_some() {
        true => Chance::new("the fuzzer").below(1 << 31),
        false => 1,
    };
    let known = format!("{CONFIGURATION}{WHAT_IS_THERE}");
    fuzz(&server, seed, &known, &["--exclude-method", "DELETE"]);
    fuzz(&server, seed + 1, CONFIGURATION, &[]);
    // What it began comes to an end, and the server is as well as before.
    let log = server.log();
    assert!(!log.contains("panicked"), "{log}");
    server.run(&["site", "list"]).exits(0);
    let (status, _) = server.terminate();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_made_from_the_document_backs_up_and_restores() {
    let server = Server::start();
    let databases = sample_databases(server.folder());
    let folder = server.folder();
    std::fs::write(folder.join("openapi.json"), document(&server).await).unwrap();
    // The generator knows JSON and text; numbers for a monitor are text.
    let configuration =
        "content_type_overrides:\n  application/openmetrics-text: text/plain\npost_hooks: []\n";
    std::fs::write(folder.join("generator.yaml"), configuration).unwrap();
    let mut generator = Command::new(testkit::python_program("openapi-python-client"));
    generator
        .current_dir(folder)
        .args(["generate", "--path", "openapi.json", "--meta", "none"])
        .args(["--config", "generator.yaml", "--output-path", "made_client"])
        .arg("--fail-on-warning");
    Done::of(&mut generator).exits(0);
    let story = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/backstay/client_story.py");
    let mut client = Command::new(testkit::python_program("python"));
    client
        .current_dir(folder)
        .env("PYTHONPATH", folder)
        .arg(story)
        .args([server.url.as_str(), TOKEN])
        .arg(&databases)
        .arg(folder.join("vault"));
    let told: Value = Done::of(&mut client).exits(0).json();
    assert_eq!(told["rows"], 20_000, "{told:#}");
    assert_eq!(told["savesets"], json!([1]), "{told:#}");
    assert_eq!(told["refused"], "no-job", "{told:#}");
    let count = "SELECT count(*) FROM item";
    let copy = rusqlite::Connection::open(databases.join("copy.db")).unwrap();
    let rows: i64 = copy.query_row(count, [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 20_000);
}
