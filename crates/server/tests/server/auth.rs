use axum::body::Body;
use axum::http::{Method, Request};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::app::{App, BASE, TOKEN};

async fn sites_with(app: &App, authorization: Option<&str>) -> crate::app::Answer {
    let mut request = Request::builder().uri(format!("{BASE}/sites"));
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    app.raw(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_token_is_taken_as_bearer_and_as_the_password_of_basic() {
    let app = App::start().await;
    for user in ["", "anybody"] {
        let basic = format!(
            "Basic {}",
            BASE64_STANDARD.encode(format!("{user}:{TOKEN}"))
        );
        sites_with(&app, Some(&basic)).await.must_be(200);
    }
    sites_with(&app, Some(&format!("bearer {TOKEN}")))
        .await
        .must_be(200);
}

#[tokio::test]
async fn without_a_valid_token_the_answer_is_always_the_same_401() {
    let app = App::start().await;
    let mut details = Vec::new();
    for wrong in [
        None,
        Some("Bearer"),
        Some("Bearer wrong"),
        Some("Basic !!"),
        Some("Digest x"),
    ] {
        let answer = sites_with(&app, wrong).await.must_be(401);
        assert!(answer.header("www-authenticate").contains("Bearer"));
        details.push(answer.must_fail(401, "unauthenticated"));
    }
    details.dedup();
    assert_eq!(details, ["The request has no valid token."]);
}

#[tokio::test]
async fn whether_a_path_below_the_base_exists_is_told_to_nobody_without_a_token() {
    let app = App::start().await;
    for path in ["/nothing", "/sites/shop", "/sites/other/jobs/1"] {
        let request = Request::builder().uri(format!("{BASE}{path}"));
        let answer = app.raw(request.body(Body::empty()).unwrap()).await;
        answer.must_fail(401, "unauthenticated");
    }
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing_even_with_the_browser_s_credentials() {
    let app = App::that_runs_nothing().await;
    app.site("shop").await;
    let path = format!("/sites/shop/jobs/{}/execute", app.job("shop").await);
    for from in ["cross-site", "same-site"] {
        let header = [("sec-fetch-site", from)];
        let refused = app.send_with(Method::POST, &path, &header, None).await;
        refused.must_fail(403, "forbidden");
    }
    let own = [("sec-fetch-site", "same-origin")];
    app.send_with(Method::POST, &path, &own, None)
        .await
        .must_be(202);
}
