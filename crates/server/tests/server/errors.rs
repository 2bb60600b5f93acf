use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::json;
use server::Limits;
use testkit::memory_engine::{Stage, Trouble};

use crate::app::{App, BASE, TOKEN, job_body, restore_body};

fn request(method: Method, path: &str) -> axum::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(format!("{BASE}{path}"))
        .header("authorization", format!("Bearer {TOKEN}"))
}

#[tokio::test]
async fn a_wrong_path_is_404_and_a_wrong_method_405_with_allow() {
    let app = App::start().await;
    app.get("/nothing").await.must_fail(404, "no-such-path");
    app.get("/sites/shop/nothing")
        .await
        .must_fail(404, "no-such-path");
    app.get("/sites/").await.must_fail(404, "no-such-path");
    let answer = app.send(Method::DELETE, "/sites", None).await;
    assert_eq!(answer.header("allow"), "GET, HEAD, POST");
    answer.must_fail(405, "method-not-allowed");
    let answer = app
        .send(Method::PATCH, "/sites/shop/jobs/1/execute", None)
        .await;
    assert_eq!(answer.header("allow"), "POST");
}

#[tokio::test]
async fn bad_json_is_400_with_line_and_column() {
    let app = App::start().await;
    let broken = request(Method::POST, "/sites").header("content-type", "application/json");
    let answer = app
        .raw(broken.body(Body::from("{\n\"site_id\": shop}")).unwrap())
        .await;
    let detail = answer.must_fail(400, "bad-json");
    assert!(detail.contains("line 2, column 12"), "{detail}");
    let empty = request(Method::POST, "/sites").body(Body::empty()).unwrap();
    app.raw(empty).await.must_fail(400, "bad-json");
}

#[tokio::test]
async fn a_key_that_is_there_twice_is_400_as_one_of_the_two_would_be_lost() {
    let app = App::start().await;
    let twice = request(Method::POST, "/sites").header("content-type", "application/json");
    let body = Body::from(r#"{"site_id": "a", "site_id": "b"}"#);
    let detail = app
        .raw(twice.body(body).unwrap())
        .await
        .must_fail(400, "bad-json");
    assert!(detail.contains("`site_id` is there twice"), "{detail}");
}

#[tokio::test]
async fn a_body_that_is_not_declared_as_json_is_415() {
    let app = App::start().await;
    for kind in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
    ] {
        let mut asked = request(Method::POST, "/sites");
        if let Some(kind) = kind {
            asked = asked.header("content-type", kind);
        }
        let answer = app.raw(asked.body(Body::from("{}")).unwrap()).await;
        answer.must_fail(415, "unsupported-media-type");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413_announced_or_not() {
    let limits = Limits {
        body_bytes: 100,
        ..Limits::default()
    };
    let app = App::with(limits, false).await;
    let large = format!("{{\"description\": \"{}\"}}", "x".repeat(200));
    let announced = request(Method::POST, "/sites").header("content-type", "application/json");
    let announced = announced.header("content-length", large.len());
    let answer = app
        .raw(announced.body(Body::from(large.clone())).unwrap())
        .await;
    answer.must_fail(413, "body-too-large");
    let pieces = futures::stream::iter([Ok::<_, std::io::Error>(large)]);
    let chunked = request(Method::POST, "/sites").header("content-type", "application/json");
    let answer = app
        .raw(chunked.body(Body::from_stream(pieces)).unwrap())
        .await;
    answer.must_fail(413, "body-too-large");
}

#[tokio::test]
async fn too_many_requests_at_once_are_429_with_retry_after() {
    let limits = Limits {
        requests_at_once: 0,
        ..Limits::default()
    };
    let app = App::with(limits, false).await;
    let answer = app.get("/sites").await;
    assert_eq!(answer.header("retry-after"), "5");
    answer.must_fail(429, "too-many-requests");
}

#[tokio::test]
async fn too_many_listeners_to_events_are_429() {
    let limits = Limits {
        event_streams: 0,
        ..Limits::default()
    };
    let app = App::with(limits, false).await;
    app.site("shop").await;
    let job = app.job("shop").await;
    let queued = app
        .call(&format!("/sites/shop/jobs/{job}/execute"))
        .await
        .must_be(202);
    let id = queued.header("x-resource-id");
    let answer = app
        .get(&format!("/sites/shop/executions/{id}/events"))
        .await;
    answer.must_fail(429, "too-many-requests");
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_504_and_the_work_goes_on_without_it() {
    let limits = Limits {
        request: Duration::from_secs(2),
        ..Limits::default()
    };
    let app = App::with(limits, true).await;
    app.site("shop").await;
    let job = app.job("shop").await;
    let backup = app.backup("shop", &job).await;
    app.engine.trouble(Stage::Findings, 1, Trouble::Hang);
    let path = format!("/sites/shop/jobs/{job}/executions/{backup}/restores");
    app.post(&path, restore_body("copy"))
        .await
        .must_fail(504, "timed-out");
    app.engine.heal();
    // What had begun was not cut off: the restore is queued all the same.
    let queued = async {
        while app.get("/sites/shop/restores").await.json() == json!([]) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), queued)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_request_s_id_is_taken_if_it_is_plain_and_made_otherwise() {
    let app = App::start().await;
    let answer = app
        .send_with(Method::GET, "/sites", &[("x-request-id", "mine-1")], None)
        .await;
    assert_eq!(answer.header("x-request-id"), "mine-1");
    let answer = app
        .send_with(Method::GET, "/sites", &[("x-request-id", "a b\"")], None)
        .await;
    assert_eq!(answer.header("x-request-id").len(), 36);
}

#[tokio::test]
async fn an_unknown_query_name_is_400_naming_the_nearest() {
    let app = App::start().await;
    app.site("shop").await;
    let detail = app
        .get("/sites/shop/jobs?is_active=true")
        .await
        .must_fail(400, "unknown-parameter");
    assert!(detail.contains("did you mean `is-active`?"), "{detail}");
    for path in [
        "/sites?x=1",
        "/sites/shop?page=1",
        "/sites/shop/executions?run_type=FULL",
    ] {
        app.get(path).await.must_fail(400, "unknown-parameter");
    }
}

#[tokio::test]
async fn an_unknown_body_field_is_400_naming_it() {
    let app = App::start().await;
    app.site("shop").await;
    let mut body = job_body();
    body["job_settings"]["onlin"] = json!(true);
    let answer = app.post("/sites/shop/jobs", body).await;
    assert_eq!(answer.json()["field"], "job_settings.onlin");
    let detail = answer.must_fail(400, "unknown-field");
    assert!(detail.contains("`online`"), "{detail}");
}

#[tokio::test]
async fn what_is_no_id_is_404() {
    let app = App::start().await;
    app.site("shop").await;
    app.get("/sites/-x").await.must_fail(404, "no-site");
    app.get("/sites/other/jobs").await.must_fail(404, "no-site");
    for job in ["abc", "0", "-1", "1.5", "99999999999999999999"] {
        app.get(&format!("/sites/shop/jobs/{job}"))
            .await
            .must_fail(404, "no-job");
    }
    app.get("/sites/shop/executions/x")
        .await
        .must_fail(404, "no-execution");
    app.get("/sites/shop/savesets/x")
        .await
        .must_fail(404, "no-saveset");
    app.get("/sites/%ff/jobs").await.must_be(404);
}

#[tokio::test]
async fn another_site_s_job_is_404() {
    let app = App::start().await;
    app.site("shop").await;
    app.site("other").await;
    let job = app.job("shop").await;
    app.get(&format!("/sites/shop/jobs/{job}"))
        .await
        .must_be(200);
    app.get(&format!("/sites/other/jobs/{job}"))
        .await
        .must_fail(404, "no-job");
    app.call(&format!("/sites/other/jobs/{job}/execute"))
        .await
        .must_fail(404, "no-job");
}

#[tokio::test]
async fn operations_of_later_versions_are_501() {
    let app = App::start().await;
    for (method, path) in [
        (Method::GET, "/sites/shop/jobs/1/schedules"),
        (Method::POST, "/sites/shop/jobs/1/schedules/preview"),
        (Method::PUT, "/sites/shop/jobs/1/schedules/1"),
        (Method::GET, "/sites/shop/kept-objects"),
    ] {
        app.send(method, path, None)
            .await
            .must_fail(501, "not-built-yet");
    }
}

#[tokio::test]
async fn there_is_no_cors() {
    let app = App::start().await;
    let origin = [("origin", "https://elsewhere.example")];
    let answer = app
        .send_with(Method::GET, "/sites", &origin, None)
        .await
        .must_be(200);
    assert_eq!(answer.header("access-control-allow-origin"), "");
    let preflight = app
        .send_with(Method::OPTIONS, "/sites", &origin, None)
        .await;
    preflight.must_fail(405, "method-not-allowed");
}
