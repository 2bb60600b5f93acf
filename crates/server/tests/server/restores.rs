use axum::http::Method;
use serde_json::{Value, json};
use testkit::memory_engine::{Stage, Trouble};

use crate::app::{App, restore_body};

/// A site with one backup: job and execution.
async fn backed_up(app: &App) -> (String, String) {
    app.site("shop").await;
    let job = app.job("shop").await;
    let execution = app.backup("shop", &job).await;
    (job, execution)
}

#[tokio::test]
async fn a_restore_under_a_new_name_brings_every_row_and_is_listed_everywhere() {
    let app = App::start().await;
    let (job, backup) = backed_up(&app).await;
    let id = app.restore("shop", &job, &backup, "shop_copy").await;
    let run = app.end_of("shop", &id).await;
    assert_eq!(run["status"], "SUCCESSFUL", "{run}");
    assert_eq!(
        app.engine.contents("shop_copy"),
        app.engine.contents("shop")
    );
    assert_eq!(
        (&run["job_type"], &run["target_site"]),
        (&json!("RESTORE"), &json!("shop"))
    );
    assert_eq!(run["parent_execution_id"], backup.as_str());
    let phases = run["phases"].as_array().unwrap().len();
    assert_eq!(phases, 4);
    let made_from = format!("/sites/shop/jobs/{job}/executions/{backup}/restores");
    for path in [
        made_from.clone(),
        "/sites/shop/restores".to_owned(),
        "/sites/shop/executions?job-type=Restore".to_owned(),
        format!("/sites/shop/jobs/{}/executions", run["job_id"]),
    ] {
        let rows = app.get(&path).await.must_be(200).json();
        assert_eq!(rows[0]["execution_id"], id.as_str(), "{path}: {rows}");
    }
    let one = app
        .get(&format!("{made_from}/{id}"))
        .await
        .must_be(200)
        .json();
    assert_eq!(one, run);
    app.get(&format!("{made_from}/{backup}"))
        .await
        .must_fail(404, "no-execution");
    let last = app
        .get(&format!("/sites/shop/jobs/{}", run["job_id"]))
        .await
        .json();
    let last = &last["last_execution_details"];
    assert_eq!(last["restore_execution_id"].to_string(), id);
    assert_eq!(last["backup_job_execution_id"].to_string(), backup);
    assert_eq!(last["backup_job_id"].to_string(), job);
    let of_backup = app.get(&format!("/sites/shop/jobs/{job}")).await.json();
    assert_eq!(
        of_backup["last_execution_details"]["restore_execution_id"].to_string(),
        id
    );
}

#[tokio::test]
async fn a_restore_job_shows_the_settings_of_its_request() {
    let app = App::start().await;
    let (job, backup) = backed_up(&app).await;
    let mut body = restore_body("x");
    let settings = &mut body["job_settings"];
    settings["restore_to_a_different_database_on_target_site"] = Value::Null;
    settings["objects"][0]["rename_to"] = json!("shop_copy");
    settings["skip_statistics"] = json!(true);
    settings["skip_join_or_hash_indexes"] = json!(true);
    settings["run_as_a_copy_job"] = json!(false);
    let path = format!("/sites/shop/jobs/{job}/executions/{backup}/restores");
    let queued = app.post(&path, body).await.must_be(202);
    let run = app.end_of("shop", queued.header("x-resource-id")).await;
    let made = app
        .get(&format!("/sites/shop/jobs/{}", run["job_id"]))
        .await
        .must_be(200)
        .json();
    let settings = &made["job_settings"];
    assert_eq!(settings["objects"][0]["rename_to"], "shop_copy");
    assert_eq!(
        settings["restore_to_a_different_database_on_target_site"],
        Value::Null
    );
    assert_eq!(
        (&settings["skip_statstics"], &settings["run_as_a_copy_job"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(settings["skip_join_or_hash_indexes"], true);
    assert_eq!(
        (&made["job_type"], &made["target_site"]),
        (&json!("RESTORE"), &json!("shop"))
    );
    // Its name may change, what it restores may not.
    let path = format!("/sites/shop/jobs/{}", run["job_id"]);
    let mut changed = made.clone();
    changed["name"] = json!("another name");
    app.send(Method::PUT, &path, Some(changed.clone()))
        .await
        .must_be(200);
    changed["job_settings"]["skip_statstics"] = json!(false);
    let refused = app.send(Method::PUT, &path, Some(changed)).await;
    refused.must_fail(400, "invalid-field");
}

#[tokio::test]
async fn a_dry_run_answers_the_plan_and_touches_nothing() {
    let app = App::start().await;
    let (job, backup) = backed_up(&app).await;
    let path = format!("/sites/shop/jobs/{job}/executions/{backup}/restores");
    let mut body = restore_body("shop_copy");
    body["dry_run"] = json!(true);
    let plan = app.post(&path, body.clone()).await.must_be(200).json();
    assert_eq!(plan["obstacles"], json!([]));
    assert!(
        plan["steps"].is_array() && plan["bytes_needed"].is_u64(),
        "{plan}"
    );
    assert_eq!(app.engine.contents("shop_copy"), None);
    assert_eq!(app.get("/sites/shop/restores").await.json(), json!([]));
    body["job_settings"]["restore_to_a_different_database_on_target_site"] = json!("shop");
    let plan = app.post(&path, body).await.must_be(200).json();
    assert_eq!(plan["obstacles"][0]["code"], "target-not-empty", "{plan}");
}

#[tokio::test]
async fn a_filled_target_is_409_unless_replace_existing() {
    let app = App::start().await;
    let (job, backup) = backed_up(&app).await;
    let path = format!("/sites/shop/jobs/{job}/executions/{backup}/restores");
    app.post(&path, restore_body("shop"))
        .await
        .must_fail(409, "target-not-empty");
    let mut body = restore_body("shop");
    body["job_settings"]["replace_existing"] = json!(true);
    body["job_settings"]["run_as_a_copy_job"] = json!(false);
    let queued = app.post(&path, body).await.must_be(202);
    let run = app.end_of("shop", queued.header("x-resource-id")).await;
    assert_eq!(run["status"], "SUCCESSFUL", "{run}");
}

#[tokio::test]
async fn what_cannot_be_restored_is_refused() {
    let app = App::start().await;
    let (job, backup) = backed_up(&app).await;
    let path = format!("/sites/shop/jobs/{job}/executions/{backup}/restores");
    let post = async |change: &dyn Fn(&mut Value)| {
        let mut body = restore_body("shop_copy");
        change(&mut body);
        app.post(&path, body).await
    };
    let copy =
        |value: Value| move |b: &mut Value| b["job_settings"]["retained_copy"] = value.clone();
    post(&copy(json!("latest")))
        .await
        .must_fail(400, "invalid-field");
    post(&copy(json!("77")))
        .await
        .must_fail(400, "invalid-field");
    post(&|b| b["target_site"] = json!("nowhere"))
        .await
        .must_fail(404, "no-site");
    post(&|b| b["job_settings"]["objects"][0]["object_name"] = json!("other"))
        .await
        .must_fail(400, "not-in-saveset");
    post(&|b| b["job_settings"]["objects"][0]["rename_to"] = json!("different"))
        .await
        .must_fail(400, "invalid-field");
    let other = "/sites/shop/jobs/99/executions/1/restores";
    app.post(other, restore_body("x"))
        .await
        .must_fail(404, "no-job");
    let second = app.job("shop").await;
    let mixed = format!("/sites/shop/jobs/{second}/executions/{backup}/restores");
    app.post(&mixed, restore_body("x"))
        .await
        .must_fail(404, "no-execution");
    app.get(&mixed).await.must_fail(404, "no-execution");
}

#[tokio::test]
async fn a_restore_from_an_aborted_backup_is_409() {
    let app = App::that_runs_nothing().await;
    app.site("shop").await;
    let job = app.job("shop").await;
    let queued = app
        .call(&format!("/sites/shop/jobs/{job}/execute"))
        .await
        .must_be(202);
    let id = queued.header("x-resource-id");
    app.call(&format!("/sites/shop/executions/{id}/abort"))
        .await
        .must_be(202);
    let path = format!("/sites/shop/jobs/{job}/executions/{id}");
    let refused = app
        .post(&format!("{path}/restores"), restore_body("x"))
        .await;
    refused.must_fail(409, "nothing-to-restore");
    app.get(&format!("{path}/objects"))
        .await
        .must_fail(409, "nothing-to-restore");
}

#[tokio::test]
async fn credentials_that_are_none_are_400_and_never_repeated() {
    let app = App::start().await;
    let (job, backup) = backed_up(&app).await;
    let path = format!("/sites/shop/jobs/{job}/executions/{backup}/restores");
    let header = [("x-auth-credentials", "geheim")];
    let answer = app
        .send_with(Method::POST, &path, &header, Some(restore_body("x")))
        .await;
    assert!(!answer.text.contains("geheim"));
    answer.must_fail(400, "invalid-header");
}

#[tokio::test]
async fn a_restore_job_runs_again_and_takes_no_run_type() {
    let app = App::start().await;
    let (job, backup) = backed_up(&app).await;
    let id = app.restore("shop", &job, &backup, "shop_copy").await;
    let run = app.end_of("shop", &id).await;
    let path = format!("/sites/shop/jobs/{}/execute", run["job_id"]);
    app.post(&path, json!({"run_type": "FULL"}))
        .await
        .must_fail(400, "invalid-field");
    // What the first run made is in the way now.
    app.call(&path).await.must_fail(409, "target-not-empty");
}

#[tokio::test]
async fn the_objects_of_a_saveset_are_listed_searched_and_paged() {
    let app = App::start().await;
    let (job, backup) = backed_up(&app).await;
    let path = format!("/sites/shop/jobs/{job}/executions/{backup}/objects");
    let all = app.get(&path).await.must_be(200);
    let rows = all.json();
    let rows = rows.as_array().unwrap();
    assert_eq!(all.header("x-total-count"), rows.len().to_string());
    let orders = rows.iter().find(|o| o["object_name"] == "orders").unwrap();
    assert!(orders["byte_count"].as_u64().unwrap() > 0, "{orders}");
    let found = app
        .get(&format!("{path}?search=ORD"))
        .await
        .must_be(200)
        .json();
    assert_eq!(found.as_array().unwrap().len(), 1);
    let page = app
        .get(&format!("{path}?page=1&page-size=1"))
        .await
        .must_be(200);
    assert_eq!(page.json().as_array().unwrap().len(), 1);
    assert_eq!(page.header("x-total-count"), rows.len().to_string());
}

#[tokio::test]
async fn a_postgresql_restore_needs_credentials_each_time() {
    let app = App::start().await;
    app.postgres_site("shop", "geheim").await;
    let job = app.job("shop").await;
    let backup = app.backup("shop", &job).await;
    let path = format!("/sites/shop/jobs/{job}/executions/{backup}/restores");
    app.post(&path, restore_body("copy"))
        .await
        .must_fail(400, "credentials-missing");
    // dba:geheim
    let dba = [("x-auth-credentials", "Basic ZGJhOmdlaGVpbQ==")];
    let queued = app
        .send_with(Method::POST, &path, &dba, Some(restore_body("copy")))
        .await;
    let queued = queued.must_be(202);
    let run = app.end_of("shop", queued.header("x-resource-id")).await;
    assert_eq!(run["status"], "SUCCESSFUL", "{run}");
    assert!(!run.to_string().contains("geheim"));
    let (source, copy) = (app.postgres.contents("shop"), app.postgres.contents("copy"));
    assert!(source.is_some() && source == copy);
    let again = format!("/sites/shop/jobs/{}/execute", run["job_id"]);
    app.call(&again).await.must_fail(400, "credentials-missing");
}

#[tokio::test]
async fn a_panic_is_500_and_tells_the_client_nothing_but_the_request_s_id() {
    let app = App::start().await;
    let (job, backup) = backed_up(&app).await;
    app.engine.trouble(Stage::Findings, 1, Trouble::Panic);
    let path = format!("/sites/shop/jobs/{job}/executions/{backup}/restores");
    let detail = app
        .post(&path, restore_body("copy"))
        .await
        .must_fail(500, "internal");
    assert!(detail.contains("request_id"), "{detail}");
    app.get("/sites").await.must_be(200);
}

#[tokio::test]
async fn a_database_that_fails_is_502() {
    let app = App::start().await;
    let (job, backup) = backed_up(&app).await;
    app.engine.trouble(Stage::Findings, 1, Trouble::Fail);
    let path = format!("/sites/shop/jobs/{job}/executions/{backup}/restores");
    app.post(&path, restore_body("copy"))
        .await
        .must_fail(502, "memory-injected");
}

#[tokio::test]
async fn restore_permissions_say_what_is_missing_and_the_sql_that_grants_it() {
    let app = App::start().await;
    app.site("files").await;
    let path = "/sites/files/restore-permissions";
    let nothing = app.call(path).await.must_be(200).json();
    assert_eq!(nothing, json!({"permitted": true, "missing": []}));

    app.postgres_site("shop", "geheim").await;
    let path = "/sites/shop/restore-permissions";
    app.call(path).await.must_fail(400, "credentials-missing");
    app.postgres.missing_right(model::MissingRight {
        object_name: model::ObjectName::one("shop.db"),
        object_type: model::ObjectType::Database,
        right: "membership in keeper".to_owned(),
        sql: "GRANT keeper TO dba".to_owned(),
    });
    let dba = [("x-auth-credentials", "Basic ZGJhOmdlaGVpbQ==")];
    let answer = app.send_with(Method::POST, path, &dba, None).await;
    assert_eq!(
        answer.must_be(200).json(),
        json!({"permitted": false, "missing": [{
            "object_name": "shop.db", "object_type": "DATABASE",
            "right": "membership in keeper", "sql": "GRANT keeper TO dba",
        }]})
    );
    app.call("/sites/none/restore-permissions")
        .await
        .must_fail(404, "no-site");
}
