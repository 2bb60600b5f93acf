//! What the log says, and what it never says.

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::http::Method;
use tracing_subscriber::fmt::MakeWriter;

use crate::app::{App, TOKEN};

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Kept {
    type Writer = Kept;

    fn make_writer(&self) -> Kept {
        self.clone()
    }
}

#[tokio::test]
async fn the_access_log_has_a_line_for_each_request_and_no_secret() {
    let kept = Kept::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(kept.clone())
        .finish();
    // For this test's thread: its runtime has no other.
    let _guard = tracing::subscriber::set_default(subscriber);
    let app = App::start().await;
    let made = app.postgres_site("shop", "geheim").await;
    let key = made.json()["recovery_key"].as_str().unwrap().to_owned();
    app.call("/sites/shop/recovery-key").await.must_be(200);
    let header = [
        ("x-request-id", "mine-1"),
        ("x-auth-credentials", "Basic geheim"),
    ];
    let path = "/sites/shop/jobs?password=geheim";
    app.send_with(Method::GET, path, &header, None)
        .await
        .must_be(400);
    let log = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    for part in [
        "request_id=\"mine-1\"",
        "operation=\"list_jobs\"",
        "status=400",
        "unknown-parameter",
    ] {
        assert!(log.contains(part), "{part} is not in\n{log}");
    }
    for secret in ["geheim", TOKEN, &key] {
        assert!(!log.contains(secret), "{log}");
    }
}
