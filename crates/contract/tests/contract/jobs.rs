use contract::{Code, Job, JobSettings, ListedJob, parse_job, patch_job, replace_job};
use model::{JobDefinition, JobId, Moment, RunType, SiteType};
use serde_json::{Value, json};

use crate::assert_refused;

fn body() -> Value {
    json!({
        "name": "nightly", "job_type": "Backup",
        "job_settings": {"objects": [{
            "object_name": "shop", "object_type": "database",
            "parent_name": "DBC", "parent_type": "DATABASE",
            "include_all": true, "exclude_objects": []
        }]}
    })
}

fn parse(body: &Value) -> Result<JobDefinition, contract::Refusal> {
    parse_job(body, SiteType::Postgresql)
}

/// The body with one value changed; `pointer` as in RFC 6901.
fn with(pointer: &str, value: Value) -> Value {
    let mut body = body();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap()[name] = value;
    body
}

fn answered(definition: &JobDefinition) -> Job {
    let site = "shop".parse().unwrap();
    let id = JobId::new(34).unwrap();
    Job {
        listed: ListedJob::of(&site, id, definition, "LOCAL", None),
        job_settings: JobSettings::of(definition),
        target_site: None,
        created_at: Moment::from_micros(0),
    }
}

#[test]
fn a_job_has_the_contract_s_defaults() {
    let job = parse(&body()).unwrap();
    assert_eq!(job.backup_type, RunType::Full);
    assert!(job.is_active && job.online && !job.is_auto_abort_active);
    assert_eq!((job.priority, job.no_of_retention_copies), (5, 7));
    assert_eq!(
        (job.auto_abort_in_minutes, job.yield_to_ddl_seconds),
        (0, 300)
    );
}

#[test]
fn name_job_type_and_objects_are_needed() {
    for (pointer, field) in [
        ("/name", "name"),
        ("/job_type", "job_type"),
        ("/job_settings", "job_settings"),
        ("/job_settings/objects", "job_settings.objects"),
        (
            "/job_settings/objects/0/object_name",
            "job_settings.objects[0].object_name",
        ),
    ] {
        let mut body = body();
        match pointer.rsplit_once("/0/") {
            None => body = with(pointer, Value::Null),
            Some(_) => body["job_settings"]["objects"][0]["object_name"] = Value::Null,
        }
        assert_refused(parse(&body), Code::MissingField, field);
    }
}

#[test]
fn values_that_cannot_be_are_refused_by_field() {
    for (pointer, value, field) in [
        ("/name", json!("  "), "name"),
        ("/name", json!("a\u{7}"), "name"),
        ("/priority", json!(0), "priority"),
        ("/priority", json!(6), "priority"),
        (
            "/no_of_retention_copies",
            json!(0),
            "no_of_retention_copies",
        ),
        ("/is_active", json!("yes"), "is_active"),
        ("/is_active", Value::Null, "is_active"),
        (
            "/is_auto_abort_active",
            json!(true),
            "auto_abort_in_minutes",
        ),
        ("/backup_mechanism", json!("CDP"), "backup_mechanism"),
        ("/backup_type", json!("HALF"), "backup_type"),
        ("/job_type", json!("RESTORE"), "job_type"),
        ("/job_settings/objects", json!([]), "job_settings.objects"),
        (
            "/job_settings/run_as_a_copy_job",
            json!(true),
            "job_settings.run_as_a_copy_job",
        ),
        (
            "/job_settings/skip_statistics",
            json!(true),
            "job_settings.skip_statstics",
        ),
        (
            "/job_settings/retained_copy",
            json!("latest"),
            "job_settings.retained_copy",
        ),
    ] {
        assert_refused(parse(&with(pointer, value)), Code::InvalidField, field);
    }
}

#[test]
fn what_later_versions_bring_is_refused_and_its_neutral_value_accepted() {
    let target = json!({"target_site_id": "dr", "target_retention_copies_count": 3});
    let neutral = json!({"target_site_id": null, "target_retention_copies_count": 0,
                         "target_retention_source": null});
    let pointer = "/targetSiteDetails";
    let refused = parse(&with(pointer, target)).unwrap_err();
    assert_eq!(refused.problem(), Code::SettingNotBuiltYet, "{refused}");
    assert!(parse(&with(pointer, neutral)).is_ok());
}

#[test]
fn a_job_s_backup_type_is_full_or_delta_in_any_letter_case() {
    for (word, backup_type) in [("delta", RunType::Delta), ("Full", RunType::Full)] {
        let job = parse(&with("/backup_type", json!(word))).unwrap();
        assert_eq!(job.backup_type, backup_type);
    }
}

#[test]
fn a_job_may_go_on_without_what_it_may_not_read_where_there_are_rights() {
    let rights = "continue_job_on_access_right_violation";
    for go_on in [true, false] {
        let body = with(&format!("/job_settings/{rights}"), json!(go_on));
        let job = parse(&body).unwrap();
        assert_eq!(job.continue_on_access_right_violation, go_on);
        let shown = serde_json::to_value(JobSettings::of(&job)).unwrap();
        assert_eq!(shown[rights], go_on);
        let on_sqlite = parse_job(&body, SiteType::Sqlite);
        match go_on {
            true => {
                let field = format!("job_settings.{rights}");
                assert_refused(on_sqlite, Code::InvalidField, &field);
            }
            false => assert!(!on_sqlite.unwrap().continue_on_access_right_violation),
        }
    }
}

#[test]
fn everything_of_a_site_can_be_chosen_and_is_answered_as_it_was_given() {
    let mut database = body()["job_settings"]["objects"][0].clone();
    database["object_type"] = json!("DATABASE");
    database["parent_type"] = json!("DATABASE");
    let change = |name: &str, value: Value| {
        let mut object = database.clone();
        object[name] = value;
        object
    };
    let table = json!({"object_name": "public.orders", "object_type": "TABLE",
                       "parent_name": "shop", "parent_type": "DATABASE"});
    let schema = json!({"object_name": "sales", "object_type": "SCHEMA", "include_all": true,
                        "parent_name": "shop", "parent_type": "DATABASE",
                        "exclude_objects": [{"object_name": "log", "object_type": "TABLE"}]});
    let root = json!({"object_name": "DBC", "object_type": "DATABASE", "include_all": true,
                      "exclude_objects": [{"object_name": "scratch", "object_type": "DATABASE"}]});
    let without = change(
        "exclude_objects",
        json!([{"object_name": "audit", "object_type": "DATABASE"}]),
    );
    for objects in [
        json!([database, change("object_name", json!("other"))]),
        json!([table, schema]),
        json!([root]),
        json!([without]),
    ] {
        let job = parse(&with("/job_settings/objects", objects.clone())).unwrap();
        let shown = serde_json::to_value(JobSettings::of(&job)).unwrap();
        let given = objects.as_array().unwrap();
        assert_eq!(shown["objects"].as_array().unwrap().len(), given.len());
        for (shown, given) in shown["objects"].as_array().unwrap().iter().zip(given) {
            for (name, value) in given.as_object().unwrap() {
                assert_eq!(&shown[name], value, "{name}");
            }
        }
    }
    let offline = parse(&with("/job_settings/online", json!(false))).unwrap();
    assert!(!offline.online);
}

#[test]
fn a_choice_that_contradicts_itself_is_refused_in_words() {
    let database = body()["job_settings"]["objects"][0].clone();
    let table = json!({"object_name": "public.orders", "object_type": "TABLE",
                       "parent_name": "shop", "parent_type": "DATABASE"});
    let root = json!({"object_name": "DBC", "object_type": "DATABASE", "include_all": true});
    let mut nothing = database.clone();
    nothing["include_all"] = json!(false);
    let mut elsewhere = database.clone();
    elsewhere["exclude_objects"] = json!([{"object_name": "log", "object_type": "TABLE"},
                                          {"object_name": "crm.public.log", "object_type": "TABLE"}]);
    for (objects, field) in [
        (json!([database, table]), "[1]"),
        (json!([database, database]), "[1]"),
        (json!([root, table]), "[1]"),
        (json!([nothing]), "[0].include_all"),
        (json!([elsewhere]), "[0].exclude_objects[1].object_name"),
    ] {
        let refused = parse(&with("/job_settings/objects", objects));
        let field = format!("job_settings.objects{field}");
        assert_refused(refused, Code::InvalidField, &field);
    }
    let below = with("/job_settings/objects/0/parent_name", json!("shop"));
    let field = "job_settings.objects[0].parent_name";
    assert_refused(parse(&below), Code::InvalidField, field);
}

#[test]
fn a_sqlite_file_is_backed_up_whole() {
    let parse =
        |objects: Value| parse_job(&with("/job_settings/objects", objects), SiteType::Sqlite);
    let file = |exclude: Value| {
        json!([{"object_name": "shop.db", "object_type": "DATABASE", "include_all": true,
                "exclude_objects": exclude}])
    };
    let root = |kind: &str| {
        json!([{"object_name": "DBC", "object_type": "DATABASE", "include_all": true,
                "exclude_objects": [{"object_name": "x", "object_type": kind}]}])
    };
    let table = json!([{"object_name": "orders", "object_type": "TABLE",
                        "parent_name": "shop.db", "parent_type": "DATABASE"}]);
    assert!(parse(file(json!([]))).is_ok() && parse(root("DATABASE")).is_ok());
    let place = "job_settings.objects[0]";
    let refused = [
        (table, "object_type"),
        (root("TABLE"), "exclude_objects[0]"),
        (
            file(json!([{"object_name": "x", "object_type": "TABLE"}])),
            "exclude_objects[0]",
        ),
    ];
    for (objects, field) in refused {
        assert_refused(
            parse(objects),
            Code::InvalidField,
            &format!("{place}.{field}"),
        );
    }
}

#[test]
fn an_unknown_field_deep_in_a_body_is_named_with_the_way_to_it() {
    let mut body = body();
    body["job_settings"]["objects"][0]["exclude_objects"] =
        json!([{"object_name": "a", "object_typ": "TABLE"}]);
    let refused = parse(&body).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the field `job_settings.objects[0].exclude_objects[0].object_typ` is not known; \
         did you mean `object_type`?"
    );
}

#[test]
fn a_put_takes_what_a_get_gave() {
    let job = parse(&with("/description", json!("each night"))).unwrap();
    let current = answered(&job);
    let given = serde_json::to_value(&current).unwrap();
    let again = replace_job(&given, SiteType::Postgresql, &job, &current.job_settings);
    assert_eq!(again.unwrap(), job);
    assert_refused(parse(&given), Code::UnknownField, "created_at");
}

#[test]
fn a_patch_changes_what_it_names_and_null_is_the_default() {
    let job = parse(&with("/priority", json!(1))).unwrap();
    let current = answered(&job);
    let patch = |patch: Value| patch_job(&patch, SiteType::Postgresql, &job, &current);
    let patched = patch(json!({"no_of_retention_copies": 3})).unwrap();
    assert_eq!((patched.no_of_retention_copies, patched.priority), (3, 1));
    assert_eq!(patch(json!({"priority": null})).unwrap().priority, 5);
    let patched = patch(json!({"job_settings": {"yield_to_ddl_seconds": 0}})).unwrap();
    assert_eq!(patched.yield_to_ddl_seconds, 0);
    assert_refused(patch(json!({"nmae": null})), Code::UnknownField, "nmae");
    let refused = patch(json!({"job_settings": {"onlin": null}}));
    assert_refused(refused, Code::UnknownField, "job_settings.onlin");
    assert_refused(patch(json!([])), Code::InvalidField, "body");
    assert_refused(
        patch(json!({"job_type": "RESTORE"})),
        Code::InvalidField,
        "job_type",
    );
}

#[test]
fn a_sqlite_database_is_a_plain_file_name() {
    let mut body = body();
    body["job_settings"]["objects"][0]["object_name"] = json!("shop.db");
    let job = parse_job(&body, SiteType::Sqlite).unwrap();
    assert_eq!(job.selection.objects[0].name.parts(), ["shop.db"]);
    assert_eq!(JobSettings::of(&job).objects[0].object_name, "shop.db");
    body["job_settings"]["objects"][0]["object_name"] = json!("../shop.db");
    let refused = parse_job(&body, SiteType::Sqlite);
    assert_refused(
        refused,
        Code::InvalidField,
        "job_settings.objects[0].object_name",
    );
}
