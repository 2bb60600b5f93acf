//! What a role may not do, over HTTP: skipped and listed, or refused with the SQL that mends it.

use reqwest::Method;
use serde_json::json;
use testkit::postgres::Server as Postgres;

use crate::http::Api;

const PASSWORD: &str = "a poor role of tests";

/// A database `shop` whose table `secret` the role `poor` may not read.
fn shop() -> Postgres {
    let postgres = Postgres::version(17).tcp().start();
    let roles = postgres.least_rights_role();
    let sql = format!(
        "CREATE ROLE poor LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE keeper;
         GRANT keeper TO {}; CREATE DATABASE shop OWNER keeper",
        roles.restore
    );
    postgres.psql("postgres", &sql);
    postgres.psql(
        "shop",
        "SET ROLE keeper; CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders SELECT generate_series(1, 500);
         CREATE TABLE secret (id int PRIMARY KEY);
         CREATE VIEW secrets AS SELECT * FROM secret;
         GRANT SELECT ON orders TO poor;",
    );
    postgres
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_read_a_table_fails_the_run_or_leaves_it_out_as_asked() {
    let postgres = shop();
    let api = Api::start(&postgres);
    let url = postgres.url("postgres", "poor");
    api.site_at("pg", &url, PASSWORD).await.is(201);

    let strict = api.job("pg", "shop", json!({})).await;
    let execution = api.execute("pg", &strict).await;
    let failed = api.ended("pg", &execution).await;
    assert_eq!(failed["status"], "FAILED", "{failed:#}");
    let said = failed["status_detail"].as_str().unwrap();
    assert!(said.contains("public.secret"), "{said}");
    assert!(
        said.contains("GRANT SELECT ON public.secret TO \"poor\""),
        "{said}"
    );

    let go_on = json!({"continue_job_on_access_right_violation": true});
    let job = api.job("pg", "shop", go_on).await;
    let shown = api.get(&format!("/sites/pg/jobs/{job}")).await;
    assert_eq!(
        shown["job_settings"]["continue_job_on_access_right_violation"],
        true
    );
    let execution = api.execute("pg", &job).await;
    let ended = api.ended("pg", &execution).await;
    assert_eq!(ended["status"], "COMPLETED_WITH_WARNINGS", "{ended:#}");
    let skipped = ended["skipped_objects"].as_array().unwrap();
    let mut names: Vec<&str> = skipped
        .iter()
        .map(|one| one["object"].as_str().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["public.secret", "public.secrets"], "{ended:#}");
    let objects = format!("/sites/pg/jobs/{job}/executions/{execution}/objects");
    let objects = api.get(&objects).await;
    let has = |name: &str| {
        let all = objects.as_array().unwrap();
        all.iter().any(|one| one["object_name"] == name)
    };
    assert!(has("public.orders") && !has("public.secret"), "{objects:#}");

    // What was not left out comes back.
    let roles = postgres.least_rights_role();
    let backup = ("pg", job.as_str(), execution.as_str());
    api.restore(backup, ("shop", "copy"), &roles).await;
    let there = "SELECT count(*), to_regclass('secret') IS NULL FROM orders";
    assert_eq!(postgres.psql("copy", there), "500|t");
}

#[tokio::test(flavor = "multi_thread")]
async fn restore_permissions_name_each_missing_right_and_its_sql_mends_it() {
    let postgres = shop();
    let api = Api::start(&postgres);
    api.postgres_site("pg", &postgres).await;
    let ask = async |credentials| {
        let path = "/sites/pg/restore-permissions";
        api.call(Method::POST, path, None, credentials).await
    };
    let poor = Some(("poor", PASSWORD));
    let answer = ask(poor).await.is(200).json();
    assert_eq!(answer["permitted"], false);
    let missing = answer["missing"].as_array().unwrap();
    let of = |name: &str| missing.iter().find(|one| one["object_name"] == name);
    assert_eq!(of("DBC").unwrap()["right"], "CREATEDB", "{answer:#}");
    assert_eq!(of("shop").unwrap()["right"], "membership in \"keeper\"");
    assert_eq!(missing.len(), 2, "{answer:#}");
    for one in missing {
        postgres.psql("postgres", one["sql"].as_str().unwrap());
    }
    let mended = ask(poor).await.is(200).json();
    assert_eq!(mended, json!({"permitted": true, "missing": []}));

    let refused = ask(Some(("poor", "another"))).await.is(403).json();
    assert_eq!(refused["code"], "database-credentials", "{refused:#}");
    assert_eq!(
        ask(None).await.is(400).json()["code"],
        "credentials-missing"
    );
}
