//! What a restore finds at its target: nothing, something, too little, too few roles.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::postgres::{Roles, Server as Postgres};

use crate::http::Api;

const ROWS: &str = "CREATE TABLE customer (id int PRIMARY KEY);
    CREATE TABLE sale (id int PRIMARY KEY, customer int REFERENCES customer);
    INSERT INTO customer SELECT generate_series(1, 100);
    INSERT INTO sale SELECT i, 1 + i % 100 FROM generate_series(1, 1000) i;";

fn shop(postgres: &Postgres, owner: &str) -> Roles {
    let roles = postgres.least_rights_role();
    if owner != roles.restore {
        let role = format!("CREATE ROLE {owner}; GRANT {owner} TO {}", roles.restore);
        postgres.psql("postgres", &role);
    }
    postgres.psql("postgres", &format!("CREATE DATABASE shop OWNER {owner}"));
    postgres.psql("shop", &format!("SET ROLE {owner}; {ROWS}"));
    roles
}

/// A restore of the shop to the database `copy` of a site; `more` goes into its settings.
async fn restored(
    api: &Api,
    (job, backup): (&str, &str),
    target: &str,
    more: Value,
    roles: &Roles,
) -> crate::http::Answer {
    let mut settings = json!({
        "objects": [{"object_name": "shop", "object_type": "DATABASE", "include_all": true}],
        "restore_to_a_different_database_on_target_site": "copy",
    });
    for (name, value) in more.as_object().unwrap() {
        settings[name] = value.clone();
    }
    let body = json!({"name": "r", "target_site": target, "job_settings": settings});
    let path = format!("/sites/pg/jobs/{job}/executions/{backup}/restores");
    let credentials = Some((roles.restore, roles.password));
    api.call(Method::POST, &path, Some(&body), credentials)
        .await
}

fn databases(postgres: &Postgres) -> Vec<String> {
    let sql = "SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1";
    postgres
        .psql("postgres", sql)
        .lines()
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filled_target_is_put_aside_only_where_that_is_asked_for() {
    let postgres = Postgres::version(17).tcp().start();
    let roles = shop(&postgres, "backstay_restore");
    let api = Api::start(&postgres);
    api.postgres_site("pg", &postgres).await;
    let job = api.job("pg", "shop", json!({})).await;
    let backup = api.back_up("pg", &job).await;
    postgres.psql("postgres", "CREATE DATABASE copy OWNER backstay_restore");
    postgres.psql(
        "copy",
        "SET ROLE backstay_restore; CREATE TABLE precious AS SELECT 42 AS n",
    );
    let from = (job.as_str(), backup.as_str());
    let refused = restored(&api, from, "pg", json!({}), &roles).await.is(409);
    assert_eq!(
        refused.json()["code"],
        "target-not-empty",
        "{}",
        refused.text
    );
    assert!(
        refused.text.contains("replace_existing"),
        "{}",
        refused.text
    );
    assert_eq!(databases(&postgres), ["copy", "postgres", "shop"]);
    let replace = json!({"replace_existing": true, "run_as_a_copy_job": false});
    let asked = restored(&api, from, "pg", replace, &roles).await.is(202);
    let ended = api.ended("pg", &asked.id()).await;
    assert_eq!(ended["status"], "SUCCESSFUL", "{ended:#}");
    assert_eq!(postgres.psql("copy", "SELECT count(*) FROM sale"), "1000");
    let all = databases(&postgres);
    let kept = all
        .iter()
        .find(|name| name.starts_with("copy_kept_"))
        .unwrap();
    assert_eq!(postgres.psql(kept, "SELECT n FROM precious"), "42");
    let told = ended["status_detail"].as_str().unwrap();
    assert!(told.contains(kept.as_str()), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_target_is_used() {
    let postgres = Postgres::version(17).tcp().start();
    let roles = shop(&postgres, "backstay_restore");
    let api = Api::start(&postgres);
    api.postgres_site("pg", &postgres).await;
    let job = api.job("pg", "shop", json!({})).await;
    let backup = api.back_up("pg", &job).await;
    postgres.psql("postgres", "CREATE DATABASE copy OWNER backstay_restore");
    let from = (job.as_str(), backup.as_str());
    let asked = restored(&api, from, "pg", json!({}), &roles).await.is(202);
    let ended = api.ended("pg", &asked.id()).await;
    assert_eq!(ended["status"], "SUCCESSFUL", "{ended:#}");
    assert_eq!(postgres.psql("copy", "SELECT count(*) FROM sale"), "1000");
    // The empty one is put aside as any other would be, and told of.
    let told = ended["status_detail"].as_str().unwrap();
    for name in databases(&postgres) {
        let known = ["copy", "postgres", "shop"].contains(&name.as_str());
        assert!(known || told.contains(&name), "{name} is not in {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_rows_break_is_named_and_the_rows_are_there() {
    let postgres = Postgres::version(17).tcp().start();
    let roles = shop(&postgres, "backstay_restore");
    // As a replica's mistakes leave it: rows that their foreign key does not allow.
    let broken = "SET session_replication_role = replica; INSERT INTO sale VALUES (5000, 777)";
    postgres.psql("shop", broken);
    let api = Api::start(&postgres);
    api.postgres_site("pg", &postgres).await;
    let job = api.job("pg", "shop", json!({})).await;
    let backup = api.back_up("pg", &job).await;
    let from = (job.as_str(), backup.as_str());
    let asked = restored(&api, from, "pg", json!({}), &roles).await.is(202);
    let ended = api.ended("pg", &asked.id()).await;
    assert_eq!(ended["status"], "COMPLETED_WITH_ERRORS", "{ended:#}");
    let told = ended["status_detail"].as_str().unwrap();
    assert!(told.contains("sale_customer_fkey"), "{told}");
    assert_eq!(postgres.psql("copy", "SELECT count(*) FROM sale"), "1001");
    let keys = "SELECT string_agg(conname, ' ' ORDER BY conname) FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'f')";
    assert_eq!(postgres.psql("copy", keys), "customer_pkey sale_pkey");
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_that_the_target_does_not_have_are_left_out_of_a_copy_and_stop_anything_else() {
    let (source, target) = (
        Postgres::version(16).tcp().start(),
        Postgres::version(17).tcp().start(),
    );
    shop(&source, "unknown_elsewhere");
    let roles = target.least_rights_role();
    let api = Api::start(&target);
    api.postgres_site("pg", &source).await;
    api.postgres_site("other", &target).await;
    let job = api.job("pg", "shop", json!({})).await;
    let backup = api.back_up("pg", &job).await;
    let from = (job.as_str(), backup.as_str());
    let no_copy = json!({"run_as_a_copy_job": false});
    let refused = restored(&api, from, "other", no_copy, &roles).await.is(409);
    assert!(
        refused.text.contains("unknown_elsewhere"),
        "{}",
        refused.text
    );
    assert_eq!(databases(&target), ["postgres"], "nothing was touched");
    let asked = restored(&api, from, "other", json!({}), &roles)
        .await
        .is(202);
    let ended = api.ended("other", &asked.id()).await;
    assert_eq!(ended["status"], "COMPLETED_WITH_WARNINGS", "{ended:#}");
    assert!(
        ended["warnings"].to_string().contains("unknown_elsewhere"),
        "{ended:#}"
    );
    assert_eq!(target.psql("copy", "SELECT count(*) FROM sale"), "1000");
    let owner = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'sale'";
    assert_eq!(target.psql("copy", owner), roles.restore);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_read_a_table_fails_the_backup_and_is_told_which() {
    let postgres = Postgres::version(17).tcp().start();
    shop(&postgres, "keeper");
    postgres.psql("postgres", "CREATE ROLE weak LOGIN PASSWORD 'weak'");
    postgres.psql("shop", "GRANT SELECT ON customer TO weak");
    let api = Api::start(&postgres);
    let url = postgres.url("postgres", "weak");
    api.site_at("pg", &url, "weak").await.is(201);
    let job = api.job("pg", "shop", json!({})).await;
    let failed = api.execute("pg", &job).await;
    let failed = api.ended("pg", &failed).await;
    assert_eq!(failed["status"], "FAILED", "{failed:#}");
    let told = failed["status_detail"].as_str().unwrap();
    assert!(
        told.contains("weak") && told.contains("public.sale"),
        "{told}"
    );
    assert!(
        !told.contains("public.customer"),
        "that may be read: {told}"
    );
    let absent = api.job("pg", "nowhere", json!({})).await;
    let failed = api.execute("pg", &absent).await;
    let failed = api.ended("pg", &failed).await;
    assert_eq!(failed["status"], "FAILED", "{failed:#}");
    assert!(
        failed["status_detail"]
            .as_str()
            .unwrap()
            .contains("nowhere"),
        "{failed:#}"
    );
}
