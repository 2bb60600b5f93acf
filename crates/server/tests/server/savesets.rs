use axum::http::Method;
use serde_json::json;

use crate::app::App;

#[tokio::test]
async fn a_saveset_is_listed_shown_and_protected() {
    let app = App::start().await;
    app.site("shop").await;
    let job = app.job("shop").await;
    let execution = app.backup("shop", &job).await;
    let rows = app.get("/sites/shop/savesets").await.must_be(200).json();
    let of_job = app
        .get(&format!("/sites/shop/jobs/{job}/savesets"))
        .await
        .must_be(200)
        .json();
    assert_eq!(rows, of_job);
    let saveset = &rows[0];
    assert_eq!(saveset["execution_id"], execution.as_str());
    assert_eq!(
        (&saveset["is_saveset_retained"], &saveset["run_type"]),
        (&json!(false), &json!("FULL"))
    );
    let path = format!("/sites/shop/savesets/{}", saveset["saveset_id"]);
    let got = app.get(&path).await.must_be(200);
    assert_eq!(&got.json(), saveset);
    let retain = json!({"is_saveset_retained": true});
    let seen = [("if-match", got.header("etag"))];
    let patched = app
        .send_with(Method::PATCH, &path, &seen, Some(retain.clone()))
        .await
        .must_be(200);
    assert_eq!(patched.json()["is_saveset_retained"], true);
    let stale = app
        .send_with(Method::PATCH, &path, &seen, Some(retain))
        .await;
    stale.must_fail(412, "stale-version");
    let run = app
        .get(&format!("/sites/shop/executions/{execution}"))
        .await
        .json();
    assert_eq!(run["is_saveset_retained"], true);
    app.send(Method::PATCH, &path, Some(json!({})))
        .await
        .must_fail(400, "missing-field");
    app.get("/sites/shop/savesets/99")
        .await
        .must_fail(404, "no-saveset");
}

#[tokio::test]
async fn retention_drops_the_surplus_but_never_a_protected_copy() {
    let app = App::start().await;
    app.site("shop").await;
    let job = app.job("shop").await;
    let path = format!("/sites/shop/jobs/{job}");
    let one = json!({"no_of_retention_copies": 1});
    app.send(Method::PATCH, &path, Some(one)).await.must_be(200);
    let first = app.backup("shop", &job).await;
    let run = app
        .get(&format!("/sites/shop/executions/{first}"))
        .await
        .json();
    let protect = json!({"is_saveset_retained": true});
    let protected = format!("/sites/shop/savesets/{}", run["saveset_id"]);
    app.send(Method::PATCH, &protected, Some(protect))
        .await
        .must_be(200);
    let second = app.backup("shop", &job).await;
    app.backup("shop", &job).await;
    let rows = app.get(&format!("{path}/savesets")).await.json();
    assert_eq!(rows.as_array().unwrap().len(), 2, "{rows}");
    app.get(&protected).await.must_be(200);
    let run = app
        .get(&format!("/sites/shop/executions/{second}"))
        .await
        .json();
    assert_eq!(run["is_saveset_deleted"], true);
    assert!(run["saveset_id"].is_i64(), "its number stays: {run}");
}

#[tokio::test]
async fn a_deleted_job_s_savesets_stay_under_the_site() {
    let app = App::start().await;
    app.site("shop").await;
    let job = app.job("shop").await;
    app.backup("shop", &job).await;
    app.send(Method::DELETE, &format!("/sites/shop/jobs/{job}"), None)
        .await
        .must_be(204);
    app.get(&format!("/sites/shop/jobs/{job}/savesets"))
        .await
        .must_fail(404, "no-job");
    let rows = app.get("/sites/shop/savesets").await.must_be(200).json();
    assert_eq!(rows[0]["job_id"].to_string(), job);
}

#[tokio::test]
async fn a_saveset_is_deleted_but_never_a_protected_one() {
    let app = App::start().await;
    app.site("shop").await;
    let job = app.job("shop").await;
    let execution = app.backup("shop", &job).await;
    let saveset = app.get("/sites/shop/savesets").await.json()[0]["saveset_id"].clone();
    let path = format!("/sites/shop/savesets/{saveset}");
    let retain = |yes: bool| Some(json!({ "is_saveset_retained": yes }));
    app.send(Method::PATCH, &path, retain(true))
        .await
        .must_be(200);
    app.send(Method::DELETE, &path, None)
        .await
        .must_fail(409, "saveset-retained");
    app.send(Method::PATCH, &path, retain(false))
        .await
        .must_be(200);
    app.send(Method::DELETE, &path, None).await.must_be(204);
    app.get(&path).await.must_fail(404, "no-saveset");
    app.send(Method::DELETE, &path, None)
        .await
        .must_fail(404, "no-saveset");
    let run = app
        .get(&format!("/sites/shop/executions/{execution}"))
        .await
        .json();
    assert_eq!(run["is_saveset_deleted"], true);
    assert_eq!(run["saveset_id"], saveset);
}

#[tokio::test]
async fn a_saveset_is_verified_in_the_background_and_tells_the_result() {
    let app = App::start().await;
    app.site("shop").await;
    let job = app.job("shop").await;
    app.backup("shop", &job).await;
    let saveset = app.get("/sites/shop/savesets").await.json()[0].clone();
    assert_eq!(saveset["verification"], json!(null));
    assert_eq!(saveset["is_saveset_damaged"], false);
    let number = saveset["saveset_id"].to_string();
    let path = format!("/sites/shop/savesets/{number}");
    let verify = format!("{path}/verify");
    app.post(&verify, json!({"method": "VALIDATE"}))
        .await
        .must_fail(400, "not-built-yet");
    app.post(&verify, json!({"method": "GLANCE"}))
        .await
        .must_fail(400, "invalid-field");
    app.call("/sites/shop/savesets/99/verify")
        .await
        .must_fail(404, "no-saveset");
    let body = json!({"method": "read_only", "thorough": true});
    let begun = app.post(&verify, body).await.must_be(202);
    assert_eq!(begun.header("x-resource-id"), number);
    assert!(begun.header("location").ends_with(&path));
    let ended = app.verified(&path).await;
    assert_eq!(ended["status"], "SUCCESSFUL", "{ended}");
    assert_eq!(
        (&ended["method"], &ended["thorough"]),
        (&json!("READ_ONLY"), &json!(true))
    );
    let listed = app.get("/sites/shop/savesets").await.json();
    assert_eq!(listed[0]["verification"], ended);

    let manifest = app
        .dir
        .path()
        .join(format!("vault-shop/manifests/{number}"));
    let mut bytes = std::fs::read(&manifest).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&manifest, bytes).unwrap();
    app.call(&verify).await.must_be(202);
    let ended = app.verified(&path).await;
    assert_eq!(ended["status"], "FAILED", "{ended}");
    assert_eq!(ended["damaged"][0]["object"], format!("manifests/{number}"));
    assert_eq!(ended["damaged"][0]["concerns"][0]["kind"], "SAVESET");
    let metrics = app.get("/metrics").await.must_be(200);
    let line = "backstay_savesets_damaged{site_id=\"shop\"} 1";
    assert!(metrics.text.contains(line), "{}", metrics.text);
}
