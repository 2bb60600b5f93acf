//! Ways to a database server: sockets, URLs, roles and passwords that need care.

use serde_json::json;
use testkit::postgres::Server as Postgres;

use crate::http::Api;

const ROWS: &str = "CREATE TABLE t AS SELECT generate_series(1, 1000) n; CREATE INDEX ON t (n)";

/// What a password file, a URL, a connection string and a header each take for something else.
const PASSWORD: &str = "a:b\\c d'\"ü%41 host=x #@/?&=;$HOME";
const USER: &str = "back \"up\" ünï's @host/x";

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// A role that owns a database, may log in and make databases.
fn server_of_one_role() -> Postgres {
    let postgres = Postgres::version(17).tcp().start();
    let role = crate::http::quoted(USER);
    let password = PASSWORD.replace('\'', "''");
    postgres.psql(
        "postgres",
        &format!("CREATE ROLE {role} LOGIN CREATEDB PASSWORD '{password}'"),
    );
    postgres.psql("postgres", &format!("CREATE DATABASE shop OWNER {role}"));
    postgres.psql("shop", &format!("SET ROLE {role}; {ROWS}"));
    postgres
}

async fn goes_round(postgres: &Postgres, api: &Api, credentials: (&str, &str)) {
    let job = api.job("pg", "shop", json!({})).await;
    let backup = api.back_up("pg", &job).await;
    let asked = api
        .ask_restore(("pg", &job, &backup), ("shop", "copy"), Some(credentials))
        .await;
    let ended = api.ended("pg", &asked.is(202).id()).await;
    assert_eq!(ended["status"], "SUCCESSFUL", "{ended:#}");
    assert_eq!(postgres.psql("copy", "SELECT count(*) FROM t"), "1000");
    let owner = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 't'";
    assert_eq!(postgres.psql("copy", owner), postgres.psql("shop", owner));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_and_its_password_may_have_any_character() {
    let postgres = server_of_one_role();
    let api = Api::start(&postgres);
    let url = postgres.url("postgres", USER);
    api.site_at("pg", &url, PASSWORD).await.is(201);
    goes_round(&postgres, &api, (USER, PASSWORD)).await;
    assert!(!api.process.log().contains(PASSWORD));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_within_the_url_is_taken_out_of_it_and_kept_secret() {
    let postgres = server_of_one_role();
    let api = Api::start(&postgres);
    let coded = encoded(PASSWORD);
    let port = postgres.port();
    let url = format!(
        "postgres://{}:{coded}@127.0.0.1:{port}/postgres",
        encoded(USER)
    );
    let vault = api.process.folder().join("vault-pg");
    let body = json!({
        "site_id": "pg",
        "site_type": "POSTGRESQL",
        "connection": {"url": url},
        "vault": {"url": format!("file://{}", vault.display())},
    });
    let made = api.post("/sites", &body).await.is(201);
    let shown = api.get("/sites/pg").await;
    assert_eq!(shown["connection"]["has_password"], true);
    for text in [made.text, shown.to_string(), api.process.log()] {
        assert!(!text.contains(&coded) && !text.contains(PASSWORD), "{text}");
    }
    goes_round(&postgres, &api, (USER, PASSWORD)).await;
    assert!(!api.process.log().contains(&coded));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_on_a_socket_needs_no_password() {
    let postgres = Postgres::version(18).start();
    let roles = postgres.least_rights_role();
    postgres.psql("postgres", "CREATE DATABASE shop OWNER backstay_restore");
    postgres.psql("shop", &format!("SET ROLE backstay_restore; {ROWS}"));
    let api = Api::start(&postgres);
    let vault = api.process.folder().join("vault-pg");
    let body = json!({
        "site_id": "pg",
        "site_type": "POSTGRESQL",
        "connection": {"url": postgres.url("postgres", roles.backup)},
        "vault": {"url": format!("file://{}", vault.display())},
    });
    api.post("/sites", &body).await.is(201);
    assert_eq!(
        api.get("/sites/pg").await["connection"]["has_password"],
        false
    );
    goes_round(&postgres, &api, (roles.restore, roles.password)).await;
}
