//! A part of a site is saved, and a part of that is brought back, through HTTP alone.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::postgres::{Roles, Server as Postgres};

use crate::http::Api;

/// A server with two databases of the restoring role, and one that nobody wants.
fn postgres() -> Postgres {
    let postgres = Postgres::version(17).tcp().start();
    let owner = postgres.least_rights_role().restore;
    for database in ["shop", "archive", "scratch"] {
        let made = format!("CREATE DATABASE {database} OWNER {owner}");
        postgres.psql("postgres", &made);
        let rows = format!(
            "SET ROLE {owner}; CREATE TABLE sale (id int PRIMARY KEY, of text DEFAULT '{database}');
             INSERT INTO sale SELECT generate_series(1, 1000); CREATE VIEW sales AS TABLE sale"
        );
        postgres.psql(database, &rows);
    }
    postgres
}

fn everything_but_scratch() -> Value {
    json!({"objects": [{"object_name": "DBC", "object_type": "DATABASE", "include_all": true,
        "exclude_objects": [{"object_name": "scratch", "object_type": "DATABASE"},
                            {"object_name": "postgres", "object_type": "DATABASE"}]}]})
}

/// Restores on the same site with these settings; it must be SUCCESSFUL.
async fn restored(api: &Api, (job, backup): (&str, &str), settings: Value, roles: &Roles) {
    let body = json!({"name": "bring it back", "target_site": "pg", "job_settings": settings});
    let path = format!("/sites/pg/jobs/{job}/executions/{backup}/restores");
    let credentials = Some((roles.restore, roles.password));
    let asked = api
        .call(Method::POST, &path, Some(&body), credentials)
        .await;
    let ended = api.ended("pg", &asked.is(202).id()).await;
    assert_eq!(ended["status"], "SUCCESSFUL", "{ended:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_is_saved_whole_and_one_table_comes_back_beside_the_one_that_is_there() {
    let postgres = postgres();
    let roles = postgres.least_rights_role();
    let api = Api::start(&postgres);
    api.postgres_site("pg", &postgres).await;
    let job = api.job("pg", "", everything_but_scratch()).await;
    let backup = api.back_up("pg", &job).await;
    let path = format!("/sites/pg/jobs/{job}/executions/{backup}/objects");
    let objects = api.get(&path).await;
    let databases = objects.as_array().unwrap().iter();
    let databases: Vec<&str> = databases
        .filter(|object| object["object_type"] == "DATABASE")
        .map(|object| object["object_name"].as_str().unwrap())
        .collect();
    assert_eq!(databases, ["archive", "shop"]);

    postgres.psql("shop", "DELETE FROM sale WHERE id > 10");
    let table = json!({"object_name": "public.sale", "object_type": "TABLE", "parent_name": "shop",
                       "parent_type": "DATABASE", "rename_to": "public.sale_of_monday"});
    restored(&api, (&job, &backup), json!({"objects": [table]}), &roles).await;
    let count = "SELECT (SELECT count(*) FROM sale), (SELECT count(*) FROM sale_of_monday)";
    assert_eq!(postgres.psql("shop", count).trim(), "10|1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_one_table_saves_only_its_rows_and_they_go_back_to_their_place() {
    let postgres = postgres();
    let roles = postgres.least_rights_role();
    let api = Api::start(&postgres);
    api.postgres_site("pg", &postgres).await;
    let table = json!({"object_name": "public.sale", "object_type": "TABLE", "parent_name": "shop",
                       "parent_type": "DATABASE"});
    let job = api.job("pg", "", json!({"objects": [table]})).await;
    let backup = api.back_up("pg", &job).await;
    postgres.psql("shop", "DELETE FROM sale WHERE id > 10");
    let settings = json!({"objects": [table], "replace_existing": true});
    restored(&api, (&job, &backup), settings, &roles).await;
    // The view that stands on the table follows it.
    let count = "SELECT (SELECT count(*) FROM sale), (SELECT count(*) FROM sales)";
    assert_eq!(postgres.psql("shop", count).trim(), "1000|1000");
}
