use axum::http::Method;
use serde_json::{Value, json};

use crate::app::{App, BASE};

#[tokio::test]
async fn a_new_site_answers_its_recovery_key_once_and_an_administrator_gets_it_again() {
    let app = App::start().await;
    let made = app.post("/sites", app.site_body("shop")).await.must_be(201);
    assert_eq!(made.header("x-resource-id"), "shop");
    assert_eq!(made.header("location"), format!("{BASE}/sites/shop"));
    assert_eq!(made.header("etag"), "\"1\"");
    let key = made.json()["recovery_key"].clone();
    assert!(key.as_str().unwrap().starts_with("BSRK1-"), "{key}");
    let got = app.get("/sites/shop").await.must_be(200);
    assert_eq!(got.json().get("recovery_key"), None);
    let again = app.call("/sites/shop/recovery-key").await.must_be(200);
    assert_eq!(again.json()["recovery_key"], key);
    app.post("/sites", app.site_body("shop"))
        .await
        .must_fail(409, "site-exists");
}

#[tokio::test]
async fn a_password_is_sealed_and_never_answered() {
    let app = App::start().await;
    let made = app.postgres_site("pg", "geheim").await;
    assert!(!made.text.contains("geheim"), "{}", made.text);
    assert_eq!(
        made.json()["connection"],
        json!({"url": "postgres://backup@db:5432/postgres", "has_password": true})
    );
    let got = app.get("/sites/pg").await.json();
    // Written back as it was read, the password is kept.
    let put = app
        .send(Method::PUT, "/sites/pg", Some(got.clone()))
        .await
        .must_be(200);
    assert_eq!(put.json()["connection"]["has_password"], true);
    let mut cleared = got;
    cleared["connection"]["password"] = Value::Null;
    let put = app
        .send(Method::PUT, "/sites/pg", Some(cleared))
        .await
        .must_be(200);
    assert_eq!(put.json()["connection"]["has_password"], false);
    let list = app.get("/sites").await;
    assert!(!list.text.contains("geheim"));
}

#[tokio::test]
async fn a_put_takes_what_a_get_gave_and_if_match_holds_it_to_what_was_seen() {
    let app = App::start().await;
    app.site("shop").await;
    let got = app.get("/sites/shop").await;
    let mut site = got.json();
    site["soft_limit"] = json!(3);
    let seen = [("if-match", got.header("etag"))];
    let put = app
        .send_with(Method::PUT, "/sites/shop", &seen, Some(site.clone()))
        .await
        .must_be(200);
    assert_eq!(
        (put.json()["soft_limit"].clone(), put.header("etag")),
        (json!(3), "\"2\"")
    );
    let again = app
        .send_with(Method::PUT, "/sites/shop", &seen, Some(site.clone()))
        .await;
    again.must_fail(412, "stale-version");
    let any = [("if-match", "*")];
    app.send_with(Method::PUT, "/sites/shop", &any, Some(site))
        .await
        .must_be(200);
    let gone = app
        .send_with(Method::DELETE, "/sites/shop", &seen, None)
        .await;
    gone.must_fail(412, "stale-version");
}

#[tokio::test]
async fn a_site_with_jobs_is_not_deleted_and_its_vault_never_is() {
    let app = App::start().await;
    app.site("shop").await;
    let job = app.job("shop").await;
    app.send(Method::DELETE, "/sites/shop", None)
        .await
        .must_fail(409, "site-has-jobs");
    app.send(Method::DELETE, &format!("/sites/shop/jobs/{job}"), None)
        .await
        .must_be(204);
    app.send(Method::DELETE, "/sites/shop", None)
        .await
        .must_be(204);
    app.get("/sites/shop").await.must_fail(404, "no-site");
    assert!(app.dir.path().join("vault-shop/vault.json").exists());
    // Its vault is still there, so another site cannot take it.
    app.post("/sites", app.site_body("shop"))
        .await
        .must_fail(409, "vault-taken");
    app.get("/sites/shop").await.must_fail(404, "no-site");
}

#[tokio::test]
async fn a_check_tells_what_it_looked_at() {
    let app = App::start().await;
    app.site("shop").await;
    let check = app.call("/sites/shop/check").await.must_be(200).json();
    assert_eq!(check["ok"], true, "{check}");
    let findings = check["findings"].as_array().unwrap();
    assert!(findings.iter().any(|f| f["what"] == "vault"), "{check}");
    app.call("/sites/other/check")
        .await
        .must_fail(404, "no-site");
}

#[tokio::test]
async fn live_databases_and_their_objects_are_listed() {
    let app = App::start().await;
    app.site("shop").await;
    let databases = app.get("/sites/shop/databases").await.must_be(200);
    let rows = databases.json();
    assert_eq!(rows[0]["object_name"], "shop");
    assert_eq!(
        (&rows[0]["parent_name"], &rows[0]["object_type"]),
        (&json!("DBC"), &json!("DATABASE"))
    );
    let objects = app
        .get("/sites/shop/objects?parent_name=shop")
        .await
        .must_be(200)
        .json();
    assert!(
        objects
            .as_array()
            .unwrap()
            .iter()
            .any(|o| o["object_name"] == "orders"),
        "{objects}"
    );
    let found = app
        .get("/sites/shop/objects?parent_name=shop&search=ORDERS")
        .await
        .json();
    assert_eq!(found.as_array().unwrap().len(), 1);
    let found = app
        .get("/sites/shop/objects?parent_name=shop&search=nothing")
        .await
        .json();
    assert_eq!(found, json!([]));
}

#[tokio::test]
async fn a_site_is_adopted_from_its_vault_by_another_server() {
    let (old, new) = (App::start().await, App::start().await);
    let made = old.post("/sites", old.site_body("shop")).await.must_be(201);
    let key = made.json()["recovery_key"].clone();
    let job = old.job("shop").await;
    let execution = old.backup("shop", &job).await;
    let vault = made.json()["vault"].clone();
    let body = json!({"vault": vault, "recovery_key": key});
    let held = new.post("/site-adoptions", body.clone()).await;
    held.must_fail(409, "vault-owned");
    let wrong = json!({"vault": vault, "recovery_key": "BSRK1-TYPO"});
    new.post("/site-adoptions", wrong)
        .await
        .must_fail(400, "recovery-key-unreadable");
    let mut body = body;
    body["take_over"] = json!(true);
    let adopted = new.post("/site-adoptions", body.clone()).await.must_be(201);
    assert_eq!(adopted.header("x-resource-id"), "shop");
    assert_eq!(adopted.header("location"), format!("{BASE}/sites/shop"));
    assert!(!adopted.text.contains("BSRK1"), "{}", adopted.text);
    let site = adopted.json();
    assert_eq!((&site["jobs"], &site["savesets"]), (&json!(1), &json!(1)));
    let got = new.get("/sites/shop").await.must_be(200).json();
    for field in ["site_id", "site_type", "description", "connection", "vault"] {
        assert_eq!(got[field], site[field], "{field}");
    }
    let path = format!("/sites/shop/jobs/{job}/executions/{execution}/objects");
    let objects = new.get(&path).await.must_be(200).json();
    assert!(!objects.as_array().unwrap().is_empty());
    new.post("/site-adoptions", body)
        .await
        .must_fail(409, "site-exists");
    new.backup("shop", &job).await;
    // The old server can read no more than what it has open; it writes nothing.
    let check = old.call("/sites/shop/check").await.must_be(200).json();
    assert_eq!(check["ok"], false, "{check}");
}
