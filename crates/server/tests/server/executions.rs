use axum::http::Method;
use serde_json::{Value, json};

use crate::app::App;

#[tokio::test]
async fn a_backup_runs_to_its_end_and_tells_its_phases() {
    let app = App::start().await;
    app.site("shop").await;
    let job = app.job("shop").await;
    let id = app.backup("shop", &job).await;
    let got = app
        .get(&format!("/sites/shop/executions/{id}"))
        .await
        .must_be(200);
    assert!(!got.header("etag").is_empty());
    let run = got.json();
    assert_eq!(run["server_execution_id"], format!("{id}.1"));
    assert_eq!(
        (&run["run_type"], &run["parent_execution_id"]),
        (&json!("FULL"), &Value::Null)
    );
    let start = run["start_time"].as_str().unwrap();
    assert_eq!(run["execution_name"], format!("nightly {}Z", &start[..19]));
    assert!(run["saveset_id"].is_i64() && run["backup_set_size"].as_u64().unwrap() > 0);
    let phases: Vec<&str> = run["phases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["phase"].as_str().unwrap())
        .collect();
    assert_eq!(phases, ["DICTIONARY", "DATA"]);
    assert!(run["phases"][1]["bytes"].as_u64().unwrap() > 0);
    assert_eq!(run["changed_blocks_source"], Value::Null);
    assert_eq!(
        (&run["warnings"], &run["skipped_objects"]),
        (&json!([]), &json!([]))
    );
    let last = app.get(&format!("/sites/shop/jobs/{job}")).await.json();
    let last = &last["last_execution_details"];
    assert_eq!(last["backup_job_execution_id"].to_string(), id);
    assert_eq!(last["backup_job_id"].to_string(), job);
    assert_eq!(
        (&last["status"], &last["restore_execution_id"]),
        (&json!("SUCCESSFUL"), &Value::Null)
    );
}

#[tokio::test]
async fn a_queued_execution_has_neither_start_nor_attempt_and_can_be_aborted_once() {
    let app = App::that_runs_nothing().await;
    app.site("shop").await;
    let job = app.job("shop").await;
    let queued = app
        .call(&format!("/sites/shop/jobs/{job}/execute"))
        .await
        .must_be(202);
    let path = format!("/sites/shop/executions/{}", queued.header("x-resource-id"));
    let run = app.get(&path).await.json();
    for key in [
        "start_time",
        "end_time",
        "server_execution_id",
        "execution_name",
        "saveset_id",
    ] {
        assert_eq!(run[key], Value::Null, "{key}");
    }
    assert_eq!(run["status"], "QUEUED");
    let answer = app.call(&format!("{path}/abort")).await.must_be(202);
    assert_eq!(answer.text, "");
    let run = app.get(&path).await.json();
    assert_eq!(run["status"], "ABORTED");
    assert!(
        run["status_detail"].as_str().unwrap().contains("request"),
        "{run}"
    );
    app.call(&format!("{path}/abort"))
        .await
        .must_fail(409, "execution-ended");
    app.call("/sites/shop/executions/999/abort")
        .await
        .must_fail(404, "no-execution");
}

#[tokio::test]
async fn an_execution_is_shown_under_its_own_site_only() {
    let app = App::that_runs_nothing().await;
    app.site("shop").await;
    app.site("other").await;
    let job = app.job("shop").await;
    let queued = app
        .call(&format!("/sites/shop/jobs/{job}/execute"))
        .await
        .must_be(202);
    let id = queued.header("x-resource-id");
    app.get(&format!("/sites/shop/executions/{id}"))
        .await
        .must_be(200);
    app.get(&format!("/sites/other/executions/{id}"))
        .await
        .must_fail(404, "no-execution");
}

#[tokio::test]
async fn events_tell_an_execution_until_it_has_ended() {
    let app = App::start().await;
    app.site("shop").await;
    let job = app.job("shop").await;
    let queued = app
        .call(&format!("/sites/shop/jobs/{job}/execute"))
        .await
        .must_be(202);
    let id = queued.header("x-resource-id");
    let events = app
        .get(&format!("/sites/shop/executions/{id}/events"))
        .await
        .must_be(200);
    assert_eq!(events.header("content-type"), "text/event-stream");
    let last = events
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .next_back()
        .unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["status"], "SUCCESSFUL", "{last}");
    app.get("/sites/shop/executions/999/events")
        .await
        .must_fail(404, "no-execution");
}

#[tokio::test]
async fn head_answers_as_get_without_a_body() {
    let app = App::start().await;
    app.site("shop").await;
    for path in [
        "/sites",
        "/sites/shop",
        "/sites/shop/jobs",
        "/sites/shop/executions",
        "/healthz",
    ] {
        let got = app.get(path).await.must_be(200);
        let head = app.send(Method::HEAD, path, None).await.must_be(200);
        assert_eq!(head.text, "", "{path}");
        for name in ["content-type", "etag", "x-total-count", "link"] {
            assert_eq!(head.header(name), got.header(name), "{path} {name}");
        }
    }
}

/// Everything that a list says about a backup and about its restore.
#[tokio::test]
async fn every_field_of_an_execution_says_what_happened() {
    let app = App::start().await;
    app.site("shop").await;
    app.site("other").await;
    let job = app.job("shop").await;
    let backup = app.backup("shop", &job).await;
    let mut body = crate::app::restore_body("shop_copy");
    body["target_site"] = json!("other");
    let path = format!("/sites/shop/jobs/{job}/executions/{backup}/restores");
    let queued = app.post(&path, body).await.must_be(202);
    let restore = queued.header("x-resource-id").to_owned();
    // Under the site that it goes to, too.
    let run = app.end_of("other", &restore).await;
    assert_eq!(run["status"], "SUCCESSFUL", "{run}");
    let rows = app.get("/sites/shop/executions").await.json();
    let job_number: i64 = job.parse().unwrap();
    let of_backup = app
        .get(&format!("/sites/shop/jobs/{job}/executions"))
        .await
        .json()[0]
        .clone();
    assert_eq!(rows[1], of_backup);
    let of_restore = format!("/sites/shop/jobs/{}/executions", run["job_id"]);
    assert_eq!(rows[0], app.get(&of_restore).await.json()[0]);
    for (row, id, wanted) in [
        (
            &rows[1],
            &backup,
            json!({"job_id": job_number, "job_name": "nightly", "job_type": "BACKUP",
                   "target_site": null, "parent_execution_id": null, "run_type": "FULL"}),
        ),
        (
            &rows[0],
            &restore,
            json!({"job_id": run["job_id"], "job_name": "bring it back", "job_type": "RESTORE",
                   "target_site": "other", "parent_execution_id": backup}),
        ),
    ] {
        for (key, value) in wanted.as_object().unwrap() {
            assert_eq!(&row[key], value, "{key}");
        }
        let (start, end) = (
            row["start_time"].as_str().unwrap(),
            row["end_time"].as_str().unwrap(),
        );
        let common = json!({
            "site_id": "shop", "site_type": "SQLITE", "backup_mechanism": "DSA",
            "execution_id": id, "server_execution_id": format!("{id}.1"),
            "execution_name": format!("{} {}Z", row["job_name"].as_str().unwrap(), &start[..19]),
            "status": "SUCCESSFUL", "saveset_replication_status": null, "saveset_id": 1,
            "is_saveset_retained": false, "is_saveset_deleted": false
        });
        for (key, value) in common.as_object().unwrap() {
            assert_eq!(&row[key], value, "{key}");
        }
        for time in [start, end] {
            assert!(time.len() == 27 && time.ends_with('Z'), "{time}");
        }
        assert!(start < end);
        assert!(row["backup_set_size"].as_u64().unwrap() > 0);
        assert!(!row["status_detail"].as_str().unwrap().is_empty());
    }
    let restores = app.get("/sites/other/restores").await.json();
    assert_eq!(restores[0], rows[0]);
    assert_eq!(app.get("/sites/other/executions").await.json(), json!([]));
}

async fn run_as(app: &App, job: &str, run_type: &str) -> Value {
    let path = format!("/sites/shop/jobs/{job}/execute");
    let queued = app.post(&path, json!({ "run_type": run_type })).await;
    let id = queued.must_be(202).header("x-resource-id").to_owned();
    app.end_of("shop", &id).await
}

#[tokio::test]
async fn a_delta_says_what_it_builds_on_and_how_its_changed_blocks_were_found() {
    let app = App::start().await;
    app.site("shop").await;
    let job = app.job("shop").await;
    let first = run_as(&app, &job, "delta").await;
    assert_eq!(first["run_type"], "FULL", "{first}");
    let said = first["status_detail"].as_str().unwrap();
    assert!(
        said.starts_with("FULL, because the job has no saveset to build on"),
        "{said}"
    );
    let second = run_as(&app, &job, "delta").await;
    let id = second["execution_id"].as_str().unwrap();
    let path = format!("/sites/shop/executions/{id}");
    let one = app.get(&path).await.must_be(200).json();
    assert_eq!(one["changed_blocks_source"], "WAL_SUMMARY", "{one}");
    let data = &one["phases"][1];
    assert_eq!(data["phase"], "DATA");
    let databases = json!([{
        "object_name": "shop", "changed_blocks_source": "WAL_SUMMARY", "reason": null,
    }]);
    assert_eq!(data["databases"], databases);
    assert_eq!(one["phases"][0]["databases"], json!([]));
    for list in [
        "/sites/shop/executions".to_owned(),
        format!("/sites/shop/jobs/{job}/executions"),
    ] {
        let rows = app.get(&list).await.must_be(200).json();
        assert_eq!(rows[0]["run_type"], "DELTA");
        assert_eq!(rows[0]["parent_execution_id"], first["execution_id"]);
        assert_eq!(rows[1]["run_type"], "FULL");
        assert_eq!(rows[1]["parent_execution_id"], Value::Null);
    }
    let savesets = app.get("/sites/shop/savesets").await.must_be(200).json();
    assert_eq!(savesets[0]["run_type"], "DELTA");
    assert_eq!(savesets[1]["run_type"], "FULL");
    let full = run_as(&app, &job, "Full").await;
    assert_eq!(full["run_type"], "FULL");
    let said = full["status_detail"].as_str().unwrap();
    assert!(said.starts_with("FULL, as asked"), "{said}");
}

#[tokio::test]
async fn the_backup_type_of_a_job_is_what_its_runs_are() {
    let app = App::start().await;
    app.site("shop").await;
    let job = app.job("shop").await;
    let path = format!("/sites/shop/jobs/{job}");
    let changed = app
        .send(Method::PATCH, &path, Some(json!({"backup_type": "Delta"})))
        .await;
    assert_eq!(changed.must_be(200).json()["backup_type"], "DELTA");
    let listed = app.get("/sites/shop/jobs").await.json();
    assert_eq!(listed[0]["backup_type"], "DELTA");
    app.backup("shop", &job).await;
    let second = app.backup("shop", &job).await;
    let second = app
        .get(&format!("/sites/shop/executions/{second}"))
        .await
        .json();
    assert_eq!(second["run_type"], "DELTA", "{second}");
}
