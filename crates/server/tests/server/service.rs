use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::Value;
use server::Limits;

use crate::app::{Answer, App};

async fn open(app: &App, path: &str) -> Answer {
    app.raw(Request::builder().uri(path).body(Body::empty()).unwrap())
        .await
}

#[tokio::test]
async fn the_service_answers_for_itself_without_a_token_but_its_numbers_need_one() {
    let app = App::start().await;
    for path in [
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/docs",
        "/docs/scalar.js",
    ] {
        open(&app, path).await.must_be(200);
    }
    open(&app, "/metrics")
        .await
        .must_fail(401, "unauthenticated");
    open(&app, "/nothing").await.must_fail(404, "no-such-path");
    let answer = app.send(Method::POST, "/docs/start.js", None).await;
    assert_eq!(answer.header("allow"), "GET, HEAD");
}

#[tokio::test]
async fn the_document_served_is_the_one_made_from_the_routes() {
    let app = App::start().await;
    let served: Value = open(&app, "/openapi.json").await.must_be(200).json();
    assert_eq!(
        served,
        serde_json::from_str::<Value>(&server::openapi()).unwrap()
    );
}

#[tokio::test]
async fn the_reference_page_loads_nothing_from_elsewhere() {
    let app = App::start().await;
    let page = open(&app, "/docs").await;
    let start = open(&app, "/docs/start.js").await;
    for text in [&page.text, &start.text] {
        assert!(
            !text.contains("http://") && !text.contains("https://"),
            "{text}"
        );
    }
    for setting in [
        "withDefaultFonts: false",
        "telemetry: false",
        "proxyUrl: ''",
    ] {
        assert!(start.text.contains(setting), "{setting}");
    }
    let policy = page.header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && policy.contains("script-src 'self';"),
        "{policy}"
    );
    assert!(!policy.contains("http"), "{policy}");
    assert!(page.text.contains("src=\"/docs/scalar.js\"") && !page.text.contains("<script>"));
    assert!(
        open(&app, "/docs/scalar.js")
            .await
            .text
            .contains("createApiReference")
    );
}

#[tokio::test]
async fn metrics_count_requests_executions_and_the_age_of_the_last_good_saveset() {
    let app = App::start().await;
    app.site("shop").await;
    let job = app.job("shop").await;
    app.backup("shop", &job).await;
    app.get("/nothing/at/all").await;
    let metrics = app.get("/metrics").await.must_be(200);
    for line in [
        "backstay_requests_total{operation=\"create_site\",status=\"201\"} 1",
        "backstay_requests_total{operation=\"none\",status=\"404\"} 1",
        "backstay_executions{status=\"SUCCESSFUL\"} 1",
        "backstay_executions{status=\"FAILED\"} 0",
        "backstay_last_good_saveset_age_seconds{site_id=\"shop\",job_id=\"",
        "backstay_request_duration_seconds_count{operation=\"create_job\"} 1",
        "# EOF",
    ] {
        assert!(
            metrics.text.contains(line),
            "{line} is not in\n{}",
            metrics.text
        );
    }
}

#[tokio::test]
async fn serve_stops_when_told_even_while_somebody_listens_to_events() {
    let limits = Limits {
        shutdown: Duration::from_secs(5),
        ..Limits::default()
    };
    let app = App::with(limits, false).await;
    app.site("shop").await;
    let job = app.job("shop").await;
    let queued = app
        .call(&format!("/sites/shop/jobs/{job}/execute"))
        .await
        .must_be(202);
    let id = queued.header("x-resource-id").to_owned();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let state = app.state.clone();
    let serving = tokio::spawn(async move {
        let told = async move { drop(stopped.await) };
        server::serve(listener, state, told).await
    });
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET {}/sites/shop/executions/{id}/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        crate::app::BASE,
        crate::app::TOKEN
    );
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    client.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0u8; 12];
    client.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    stop.send(()).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(4), serving).await;
    ended.unwrap().unwrap().unwrap();
}
