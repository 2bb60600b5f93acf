use serde_json::{Value, json};

use crate::app::{App, BASE};

/// A site with a job that ran `count` times; the executions' ids, newest first.
async fn history(app: &App, count: usize) -> (String, Vec<String>) {
    app.site("shop").await;
    let job = app.job("shop").await;
    let mut ids = Vec::new();
    for _ in 0..count {
        let queued = app
            .call(&format!("/sites/shop/jobs/{job}/execute"))
            .await
            .must_be(202);
        let id = queued.header("x-resource-id").to_owned();
        app.call(&format!("/sites/shop/executions/{id}/abort"))
            .await
            .must_be(202);
        ids.insert(0, id);
    }
    (job, ids)
}

fn ids(rows: &Value) -> Vec<String> {
    let rows = rows.as_array().unwrap();
    rows.iter()
        .map(|row| row["execution_id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn without_a_page_every_row_is_streamed_and_with_one_only_its_rows() {
    let app = App::that_runs_nothing().await;
    let (job, all) = history(&app, 25).await;
    for path in [
        "/sites/shop/executions".to_owned(),
        format!("/sites/shop/jobs/{job}/executions"),
    ] {
        let every = app.get(&path).await.must_be(200);
        assert_eq!(every.header("x-total-count"), "25");
        assert_eq!(every.header("link"), "");
        assert_eq!(ids(&every.json()), all);
        let second = app.get(&format!("{path}?page=2")).await.must_be(200);
        assert_eq!(ids(&second.json()), all[10..20]);
        assert_eq!(second.header("x-total-count"), "25");
        let link = second.header("link");
        for part in [
            &format!("<{BASE}{path}?page=1&page-size=10>; rel=\"first\""),
            "rel=\"prev\"",
            "page=3",
            "rel=\"last\"",
        ] {
            assert!(link.contains(part), "{link}");
        }
        let last = app
            .get(&format!("{path}?page=13&page-size=2"))
            .await
            .must_be(200);
        assert_eq!(ids(&last.json()), all[24..]);
    }
}

#[tokio::test]
async fn past_the_end_a_page_is_empty_and_a_page_that_cannot_be_is_400() {
    let app = App::that_runs_nothing().await;
    app.site("shop").await;
    app.job("shop").await;
    for path in [
        "/sites",
        "/sites/shop/jobs",
        "/sites/shop/executions",
        "/sites/shop/savesets",
    ] {
        for page in ["99", "18446744073709551615"] {
            let past = app.get(&format!("{path}?page={page}")).await.must_be(200);
            assert_eq!(past.json(), json!([]), "{path}");
        }
        for query in ["page=0", "page=x", "page-size=0", "page-size=1001", "page="] {
            app.get(&format!("{path}?{query}"))
                .await
                .must_fail(400, "invalid-parameter");
        }
    }
}

#[tokio::test]
async fn jobs_come_ten_at_a_time_by_default_in_the_order_of_their_ids() {
    let app = App::that_runs_nothing().await;
    app.site("shop").await;
    let mut all = Vec::new();
    for _ in 0..12 {
        all.push(app.job("shop").await);
    }
    let job_ids = async |query: &str| -> Vec<String> {
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
    assert_eq!(job_ids("").await, all[..10]);
    assert_eq!(job_ids("?page=2").await, all[10..]);
    assert_eq!(job_ids("?page-size=12").await, all);
}

#[tokio::test]
async fn executions_are_filtered_by_status_type_and_time() {
    let app = App::start().await;
    app.site("shop").await;
    let job = app.job("shop").await;
    let first = app.backup("shop", &job).await;
    let second = app.backup("shop", &job).await;
    let start = |rows: &Value, at: usize| rows[at]["start_time"].as_str().unwrap().to_owned();
    let rows = app.get("/sites/shop/executions").await.json();
    let (newer, older) = (start(&rows, 0), start(&rows, 1));
    let found = async |query: String| {
        ids(&app
            .get(&format!("/sites/shop/executions?{query}"))
            .await
            .must_be(200)
            .json())
    };
    assert_eq!(
        found("status=successful".to_owned()).await,
        [second.clone(), first.clone()]
    );
    assert_eq!(
        found("status=FAILED".to_owned()).await,
        Vec::<String>::new()
    );
    assert_eq!(
        found("job-type=Restore".to_owned()).await,
        Vec::<String>::new()
    );
    // since is part of it, until is not.
    assert_eq!(found(format!("since={newer}")).await, [second]);
    assert_eq!(found(format!("since={older}&until={newer}")).await, [first]);
    app.get("/sites/shop/executions?status=LOST")
        .await
        .must_fail(400, "invalid-parameter");
    app.get("/sites/shop/executions?since=now")
        .await
        .must_fail(400, "invalid-parameter");
}
