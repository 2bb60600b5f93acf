use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::app::App;

const STATUS: &str = "/sites/shop/objects-preparation-status";

/// The status of a preparation, once it has ended.
async fn ended(app: &App, path: &str) -> Value {
    let started = Instant::now();
    loop {
        let found = app.get(path).await.must_be(200).json();
        if !["QUEUED", "RUNNING"].contains(&found["status"].as_str().unwrap()) {
            return found;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{found}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn manifests(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_manifest = path.parent().unwrap().ends_with("manifests");
        match path.is_dir() {
            true => manifests(&path, found),
            false if is_manifest => found.push(path),
            false => {}
        }
    }
}

#[tokio::test]
async fn a_preparation_says_whether_the_objects_of_a_saveset_can_be_read() {
    let app = App::start().await;
    app.site("shop").await;
    app.get(STATUS).await.must_fail(404, "no-preparation");
    let job = app.job("shop").await;
    let execution = app.backup("shop", &job).await;
    let prepare = format!("/sites/shop/jobs/{job}/executions/{execution}/prepare-objects");
    let queued = app.call(&prepare).await.must_be(202);
    let first = queued.header("x-resource-id").to_owned();
    let done = ended(&app, &format!("{STATUS}?id={first}")).await;
    assert_eq!(done["status"], "SUCCESSFUL", "{done}");
    assert!(
        done["details"].as_str().unwrap().contains("object"),
        "{done}"
    );

    // Now the saveset is damaged: the newest preparation finds that.
    let mut files = Vec::new();
    manifests(app.dir.path(), &mut files);
    assert_eq!(files.len(), 1, "{files:?}");
    let mut bytes = std::fs::read(&files[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&files[0], bytes).unwrap();
    let second = app.call(&prepare).await.must_be(202);
    assert_ne!(second.header("x-resource-id"), first);
    let newest = ended(&app, STATUS).await;
    assert_eq!(newest["status"], "FAILED", "{newest}");
    let said = newest["details"].as_str().unwrap();
    assert!(said.contains("manifest"), "{said}");
    assert_eq!(ended(&app, &format!("{STATUS}?id={first}")).await, done);
}

#[tokio::test]
async fn a_preparation_of_what_is_not_there_is_refused() {
    let app = App::start().await;
    app.site("shop").await;
    app.site("other").await;
    let job = app.job("shop").await;
    let execution = app.backup("shop", &job).await;
    let prepare =
        |site: &str, id: &str| format!("/sites/{site}/jobs/{job}/executions/{id}/prepare-objects");
    app.call(&prepare("shop", "999"))
        .await
        .must_fail(404, "no-execution");
    app.call(&prepare("other", &execution))
        .await
        .must_fail(404, "no-execution");
    let queued = app.call(&prepare("shop", &execution)).await.must_be(202);
    let id = queued.header("x-resource-id");
    app.get(&format!("/sites/other/objects-preparation-status?id={id}"))
        .await
        .must_fail(404, "no-preparation");
    app.get(&format!("{STATUS}?id=7"))
        .await
        .must_fail(404, "no-preparation");
    app.get(&format!("{STATUS}?id=x"))
        .await
        .must_fail(400, "invalid-parameter");
    app.get(&format!("{STATUS}?page=1"))
        .await
        .must_fail(400, "unknown-parameter");
    app.get("/sites/none/objects-preparation-status")
        .await
        .must_fail(404, "no-site");
}
