//! Live answers against the reference's payloads.

use std::collections::BTreeSet;

use contract::{Job, JobSettings, ListedJob};
use model::{ExcludedObject, Moment, ObjectName, ObjectType};
use serde_json::{Value, json};

use crate::app::App;
use testkit::shape::compare;

pub const LIST_JOBS: &str = include_str!("samples/list-jobs.json");
pub const GET_JOB: &str = include_str!("samples/get-job.json");
pub const EXECUTE: &str = include_str!("samples/execute-request.json");
pub const LIST_EXECUTIONS: &str = include_str!("samples/list-executions.json");
pub const LIST_JOB_EXECUTIONS: &str = include_str!("samples/list-job-executions.json");

fn sample(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn set(paths: &[&str]) -> BTreeSet<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

/// What a job has no value for as long as there are no schedules and no second sites.
const JOB_NULLS: [&str; 3] = [
    "next_run_time",
    "targetSiteDetails.target_retention_source",
    "targetSiteDetails.target_site_id",
];

/// A backup that ran and was restored by `rename_to`: the backup job, the restore job.
async fn lived(app: &App) -> (String, String) {
    app.site("shop").await;
    let job = app.job("shop").await;
    let backup = app.backup("shop", &job).await;
    let mut body = crate::app::restore_body("x");
    let settings = &mut body["job_settings"];
    settings["restore_to_a_different_database_on_target_site"] = Value::Null;
    settings["objects"][0]["rename_to"] = json!("shop_copy");
    settings["retained_copy"] = json!("1");
    body["description"] = json!("bring it back");
    let path = format!("/sites/shop/jobs/{job}/executions/{backup}/restores");
    let queued = app.post(&path, body).await.must_be(202);
    let run = app.end_of("shop", queued.header("x-resource-id")).await;
    assert_eq!(run["status"], "SUCCESSFUL", "{run}");
    (job, run["job_id"].to_string())
}

#[tokio::test]
async fn the_list_of_jobs_has_the_sample_s_shape() {
    let app = App::start().await;
    lived(&app).await;
    let live = app.get("/sites/shop/jobs").await.must_be(200).json();
    assert_eq!(live.as_array().unwrap().len(), 2);
    let nulls = compare(&sample(LIST_JOBS), &live, &[]);
    let wanted = JOB_NULLS.map(|path| format!("[].{path}"));
    assert_eq!(nulls, BTreeSet::from(wanted));
}

#[tokio::test]
async fn a_job_has_the_sample_s_shape_and_our_keys() {
    let app = App::start().await;
    let (backup, restore) = lived(&app).await;
    let ours = [
        "target_site",
        "created_at",
        "job_settings.skip_join_or_hash_indexes",
        "job_settings.replace_existing",
        "job_settings.yield_to_ddl_seconds",
    ];
    let live = app
        .get(&format!("/sites/shop/jobs/{restore}"))
        .await
        .must_be(200)
        .json();
    let mut wanted = set(&JOB_NULLS);
    wanted.insert("job_settings.restore_to_a_different_database_on_target_site".to_owned());
    assert_eq!(compare(&sample(GET_JOB), &live, &ours), wanted);
    // A BACKUP shows the keys of a restore as null or false.
    let live = app
        .get(&format!("/sites/shop/jobs/{backup}"))
        .await
        .must_be(200)
        .json();
    wanted.insert("job_settings.objects[].rename_to".to_owned());
    wanted.insert("job_settings.retained_copy".to_owned());
    assert_eq!(compare(&sample(GET_JOB), &live, &ours), wanted);
    for key in [
        "run_as_a_copy_job",
        "skip_statstics",
        "continue_job_on_access_right_violation",
    ] {
        assert_eq!(live["job_settings"][key], false, "{key}");
    }
}

#[test]
fn a_job_with_exclusions_has_the_sample_s_shape() {
    let body = crate::app::job_body();
    let mut job = contract::parse_job(&body, model::SiteType::Postgresql).unwrap();
    job.selection.objects[0].exclude.push(ExcludedObject::new(
        ObjectName::one("DEPARTMENT"),
        ObjectType::Database,
    ));
    let site = "shop".parse().unwrap();
    let shown = Job {
        listed: ListedJob::of(&site, model::JobId::new(34).unwrap(), &job, "AWS", None),
        job_settings: JobSettings::of(&job),
        target_site: None,
        created_at: Moment::from_micros(0),
    };
    let shown = serde_json::to_value(shown).unwrap();
    let pointer = "/job_settings/objects/0/exclude_objects";
    assert_eq!(shown.pointer(pointer), sample(GET_JOB).pointer(pointer));
}

#[tokio::test]
async fn the_lists_of_executions_have_the_samples_shape() {
    let app = App::start().await;
    let (backup, restore) = lived(&app).await;
    for (text, path) in [
        (LIST_EXECUTIONS, "/sites/shop/executions".to_owned()),
        (
            LIST_JOB_EXECUTIONS,
            format!("/sites/shop/jobs/{restore}/executions"),
        ),
        (LIST_EXECUTIONS, "/sites/shop/restores".to_owned()),
    ] {
        let live = app.get(&path).await.must_be(200).json();
        let restores: Vec<Value> = live
            .as_array()
            .unwrap()
            .iter()
            .filter(|row| row["job_type"] == "RESTORE")
            .cloned()
            .collect();
        assert_eq!(restores.len(), 1, "{path}");
        let mut nulls = compare(&sample(text), &Value::Array(restores), &[]);
        // A restore became neither FULL nor DELTA unless the runner says so.
        nulls.remove("[].run_type");
        assert_eq!(nulls, set(&["[].saveset_replication_status"]), "{path}");
    }
    let path = format!("/sites/shop/jobs/{backup}/executions");
    let live = app.get(&path).await.must_be(200).json();
    let nulls = compare(&sample(LIST_JOB_EXECUTIONS), &live, &[]);
    let wanted = [
        "[].parent_execution_id",
        "[].saveset_replication_status",
        "[].target_site",
    ];
    assert_eq!(nulls, set(&wanted));
}

#[tokio::test]
async fn one_execution_has_the_list_s_fields_and_its_own() {
    let app = App::start().await;
    app.site("shop").await;
    let job = app.job("shop").await;
    let id = app.backup("shop", &job).await;
    let live = app
        .get(&format!("/sites/shop/executions/{id}"))
        .await
        .must_be(200)
        .json();
    let ours = [
        "phases",
        "warnings",
        "skipped_objects",
        "bytes_read",
        "bytes_stored",
        "changed_blocks_source",
    ];
    compare(&sample(LIST_EXECUTIONS)[0], &live, &ours);
    assert!(ours.iter().all(|key| live.get(*key).is_some()), "{live}");
}

#[tokio::test]
async fn the_sample_s_execute_request_runs_a_job() {
    let app = App::start().await;
    app.site("shop").await;
    let job = app.job("shop").await;
    let path = format!("/sites/shop/jobs/{job}/execute");
    let queued = app.post(&path, sample(EXECUTE)).await.must_be(202);
    let id = queued.header("x-resource-id").to_owned();
    assert!(id.bytes().all(|b| b.is_ascii_digit()) && queued.text.is_empty());
    assert_eq!(app.end_of("shop", &id).await["run_type"], "FULL");
}
