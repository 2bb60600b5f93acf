use axum::http::Method;
use serde_json::{Value, json};

use crate::app::{App, BASE, job_body};

#[tokio::test]
async fn a_new_job_answers_201_with_its_id_and_location() {
    let app = App::start().await;
    app.site("shop").await;
    let made = app.post("/sites/shop/jobs", job_body()).await.must_be(201);
    let id = made.json()["job_id"].as_i64().unwrap();
    assert_eq!(made.header("x-resource-id"), id.to_string());
    assert_eq!(
        made.header("location"),
        format!("{BASE}/sites/shop/jobs/{id}")
    );
    let got = app
        .get(&format!("/sites/shop/jobs/{id}"))
        .await
        .must_be(200);
    assert_eq!(got.json(), made.json());
    assert_eq!(got.header("etag"), "\"1\"");
    assert_eq!(got.json()["siteTargetType"], "LOCAL");
    assert_eq!(
        got.json()["targetSiteDetails"],
        json!({"target_site_id": null, "target_retention_copies_count": 0,
               "target_retention_source": null})
    );
    assert_eq!(got.json()["last_execution_details"], Value::Null);
}

#[tokio::test]
async fn jobs_are_filtered_by_is_active_and_job_type() {
    let app = App::start().await;
    app.site("shop").await;
    let active = app.job("shop").await;
    let mut body = job_body();
    body["is_active"] = json!(false);
    let other = app.post("/sites/shop/jobs", body).await.must_be(201);
    let other = other.header("x-resource-id").to_owned();
    let ids = async |query: &str| -> Vec<String> {
        let rows = app
            .get(&format!("/sites/shop/jobs{query}"))
            .await
            .must_be(200)
            .json();
        rows.as_array()
            .unwrap()
            .iter()
            .map(|job| job["job_id"].to_string())
            .collect()
    };
    assert_eq!(ids("").await, [active.clone(), other.clone()]);
    assert_eq!(ids("?is-active").await, [active.as_str()]);
    assert_eq!(ids("?is-active=true").await, [active.as_str()]);
    assert_eq!(ids("?is-active=false").await, [other.as_str()]);
    assert_eq!(ids("?job-type=backup").await, [active, other]);
    assert_eq!(ids("?job-type=Restore").await, Vec::<String>::new());
    app.get("/sites/shop/jobs?job-type=Copy")
        .await
        .must_fail(400, "invalid-parameter");
    app.get("/sites/shop/jobs?is-active=yes")
        .await
        .must_fail(400, "invalid-parameter");
}

#[tokio::test]
async fn put_and_patch_change_a_job_and_delete_removes_it() {
    let app = App::start().await;
    app.site("shop").await;
    let path = format!("/sites/shop/jobs/{}", app.job("shop").await);
    let mut job = app.get(&path).await.json();
    job["priority"] = json!(2);
    let put = app.send(Method::PUT, &path, Some(job)).await.must_be(200);
    assert_eq!(
        (put.json()["priority"].clone(), put.header("etag")),
        (json!(2), "\"2\"")
    );
    let patch = json!({"no_of_retention_copies": 3});
    let patched = app
        .send(Method::PATCH, &path, Some(patch.clone()))
        .await
        .must_be(200)
        .json();
    assert_eq!(
        (&patched["no_of_retention_copies"], &patched["priority"]),
        (&json!(3), &json!(2))
    );
    let stale = [("if-match", "\"1\"")];
    let refused = app
        .send_with(Method::PATCH, &path, &stale, Some(patch))
        .await;
    refused.must_fail(412, "stale-version");
    app.send(Method::DELETE, &path, None).await.must_be(204);
    app.get(&path).await.must_fail(404, "no-job");
}

#[tokio::test]
async fn a_running_job_is_neither_run_twice_nor_deleted() {
    let app = App::that_runs_nothing().await;
    app.site("shop").await;
    let path = format!("/sites/shop/jobs/{}", app.job("shop").await);
    let queued = app.call(&format!("{path}/execute")).await.must_be(202);
    let id = queued.header("x-resource-id").to_owned();
    assert_eq!(queued.text, "");
    assert_eq!(
        queued.header("location"),
        format!("{BASE}/sites/shop/executions/{id}")
    );
    let again = app.call(&format!("{path}/execute")).await;
    assert_eq!(again.json()["execution_id"], id.as_str());
    again.must_fail(409, "job-running");
    app.send(Method::DELETE, &path, None)
        .await
        .must_fail(409, "job-running");
}

#[tokio::test]
async fn the_same_idempotency_key_gives_the_same_answer() {
    let app = App::that_runs_nothing().await;
    app.site("shop").await;
    let path = format!("/sites/shop/jobs/{}/execute", app.job("shop").await);
    let key = [("idempotency-key", "once")];
    let first = app
        .send_with(Method::POST, &path, &key, None)
        .await
        .must_be(202);
    let second = app
        .send_with(Method::POST, &path, &key, None)
        .await
        .must_be(202);
    assert_eq!(
        first.header("x-resource-id"),
        second.header("x-resource-id")
    );
    let empty = [("idempotency-key", " ")];
    let refused = app.send_with(Method::POST, &path, &empty, None).await;
    refused.must_fail(400, "invalid-header");
}

#[tokio::test]
async fn run_type_comes_in_any_case_in_body_or_query() {
    let app = App::that_runs_nothing().await;
    app.site("shop").await;
    let path = format!("/sites/shop/jobs/{}/execute", app.job("shop").await);
    app.post(&path, json!({"run_type": "HALF"}))
        .await
        .must_fail(400, "invalid-field");
    let both = app
        .post(
            &format!("{path}?run_type=Delta"),
            json!({"run_type": "FULL"}),
        )
        .await;
    both.must_fail(400, "invalid-field");
    app.post(&path, json!({"run_typ": "FULL"}))
        .await
        .must_fail(400, "unknown-field");
    app.post(
        &format!("{path}?run_type=full"),
        json!({"run_type": "Full"}),
    )
    .await
    .must_be(202);
}

#[tokio::test]
async fn a_job_that_is_not_active_can_still_be_executed() {
    let app = App::start().await;
    app.site("shop").await;
    let mut body = job_body();
    body["is_active"] = json!(false);
    let made = app.post("/sites/shop/jobs", body).await.must_be(201);
    app.backup("shop", made.header("x-resource-id")).await;
}

#[tokio::test]
async fn every_setting_of_a_job_is_shown_as_it_was_given() {
    let app = App::start().await;
    app.site("shop").await;
    let given = json!({
        "name": "weekly", "description": "each week", "job_type": "BACKUP", "backup_type": "FULL",
        "backup_mechanism": "DSA", "is_active": false, "priority": 3, "no_of_retention_copies": 2,
        "is_auto_abort_active": true, "auto_abort_in_minutes": 90,
        "targetSiteDetails": {"target_site_id": null, "target_retention_copies_count": 0,
                              "target_retention_source": null}
    });
    let settings = json!({
        "online": true, "continue_job_on_access_right_violation": false, "yield_to_ddl_seconds": 20,
        "objects": [{"object_name": "shop", "object_type": "DATABASE", "parent_name": "DBC",
                     "parent_type": "DATABASE", "include_all": true, "exclude_objects": [],
                     "rename_to": null}]
    });
    let mut body = given.clone();
    body["job_settings"] = settings.clone();
    let id = app.post("/sites/shop/jobs", body).await.must_be(201).json()["job_id"].clone();
    let one = app.get(&format!("/sites/shop/jobs/{id}")).await.json();
    let listed = app.get("/sites/shop/jobs").await.json()[0].clone();
    for shown in [&one, &listed] {
        for (key, value) in given.as_object().unwrap() {
            assert_eq!(&shown[key], value, "{key}");
        }
        assert_eq!((&shown["job_id"], &shown["site_id"]), (&id, &json!("shop")));
        assert_eq!(
            (&shown["siteTargetType"], &shown["next_run_time"]),
            (&json!("LOCAL"), &Value::Null)
        );
    }
    for (key, value) in settings.as_object().unwrap() {
        assert_eq!(&one["job_settings"][key], value, "{key}");
    }
}

#[tokio::test]
async fn last_execution_details_are_those_of_the_newest_execution() {
    let app = App::start().await;
    app.site("shop").await;
    let job = app.job("shop").await;
    app.backup("shop", &job).await;
    let newest = app.backup("shop", &job).await;
    let restore = app.restore("shop", &job, &newest, "shop_copy").await;
    app.end_of("shop", &restore).await;
    let run = app
        .get(&format!("/sites/shop/executions/{newest}"))
        .await
        .json();
    let wanted = json!({
        "start_time": run["start_time"], "end_time": run["end_time"], "status": run["status"],
        "backup_set_size": run["backup_set_size"],
        "backup_job_id": job.parse::<i64>().unwrap(),
        "backup_job_execution_id": newest.parse::<i64>().unwrap(),
        "restore_execution_id": restore.parse::<i64>().unwrap()
    });
    let one = app.get(&format!("/sites/shop/jobs/{job}")).await.json();
    assert_eq!(one["last_execution_details"], wanted);
    let listed = app.get("/sites/shop/jobs").await.json();
    assert_eq!(listed[0]["last_execution_details"], wanted);
}
