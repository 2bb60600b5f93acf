use contract::{Code, ExecuteQuery, Refusal, RestoreDraft, parse_execute, parse_restore};
use model::{RunType, SavesetId, SiteType};
use serde_json::{Value, json};

use crate::assert_refused;

const TO_ANOTHER: &str = "restore_to_a_different_database_on_target_site";

fn body(settings: Value) -> Value {
    let mut body = json!({
        "name": "bring it back",
        "job_settings": {"objects": [{"object_name": "shop", "object_type": "DATABASE",
                                      "include_all": true}]}
    });
    for (name, value) in settings.as_object().unwrap() {
        body["job_settings"][name] = value.clone();
    }
    body
}

fn parse(settings: Value) -> Result<RestoreDraft, Refusal> {
    parse_restore(&body(settings), &"shop".parse().unwrap())
}

#[test]
fn the_new_name_comes_once_in_either_of_its_two_places() {
    let draft = parse(json!({TO_ANOTHER: "shop_copy"})).unwrap();
    assert_eq!(
        (draft.new_name, draft.named_by_rename_to),
        (Some(model::ObjectName::one("shop_copy")), false)
    );
    assert_eq!(draft.target_site.as_str(), "shop");
    let renamed = |other: Value| {
        let mut body = body(json!({TO_ANOTHER: other}));
        body["job_settings"]["objects"][0]["rename_to"] = json!("shop_copy");
        parse_restore(&body, &"shop".parse().unwrap())
    };
    assert!(renamed(Value::Null).unwrap().named_by_rename_to);
    assert!(renamed(json!("shop_copy")).is_ok());
    let field = format!("job_settings.{TO_ANOTHER}");
    assert_refused(renamed(json!("different")), Code::InvalidField, &field);
    assert_eq!(
        parse(json!({})).unwrap().new_name,
        None,
        "back in its place"
    );
}

#[test]
fn skip_statstics_is_taken_in_either_spelling_but_not_in_two_minds() {
    for name in ["skip_statstics", "skip_statistics"] {
        let draft = parse(json!({TO_ANOTHER: "x", name: true})).unwrap();
        assert!(draft.skip_statistics, "{name}");
    }
    let both = json!({TO_ANOTHER: "x", "skip_statstics": true, "skip_statistics": false});
    assert_refused(
        parse(both),
        Code::InvalidField,
        "job_settings.skip_statistics",
    );
}

#[test]
fn retained_copy_is_the_path_s_saveset_as_number_or_string_or_absent() {
    let saveset = SavesetId::new(12).unwrap();
    for (copy, right) in [
        (json!("12"), true),
        (json!(12), true),
        (Value::Null, true),
        (json!("13"), false),
        (json!("latest"), false),
    ] {
        let draft = parse(json!({TO_ANOTHER: "x", "retained_copy": copy})).unwrap();
        assert_eq!(draft.means(saveset).is_ok(), right, "{copy}");
    }
}

#[test]
fn objects_are_chosen_and_named_anew_each_by_itself() {
    let table = json!({"object_name": "public.orders", "object_type": "TABLE",
                       "parent_name": "shop", "parent_type": "DATABASE",
                       "rename_to": "public.orders_of_monday"});
    let database = |name: &str, to: Value| {
        json!({"object_name": name, "object_type": "DATABASE", "parent_name": "DBC",
               "parent_type": "DATABASE", "include_all": true, "rename_to": to})
    };
    let draft = parse(json!({"objects": [table]})).unwrap();
    let chosen = &draft.job.selection.objects[0];
    assert_eq!(chosen.rename_to, "public.orders_of_monday".parse().ok());
    let several = json!({"objects": [database("a", json!("b")), database("b", json!("c"))]});
    assert_eq!(parse(several).unwrap().job.selection.objects.len(), 2);
    let one = json!({"objects": [database("a", json!("b")), database("b", Value::Null)]});
    assert_refused(parse(one), Code::InvalidField, "job_settings.objects[1]");
    let field = format!("job_settings.{TO_ANOTHER}");
    let elsewhere = json!({TO_ANOTHER: "x", "objects": [table]});
    assert_refused(parse(elsewhere), Code::InvalidField, &field);
}

#[test]
fn two_objects_never_become_one() {
    let table = |name: &str, parent: &str, to: Value| {
        json!({"object_name": name, "object_type": "TABLE", "parent_name": parent,
               "parent_type": "DATABASE", "rename_to": to})
    };
    let a = || table("a", "shop", Value::Null);
    for second in [
        table("b", "shop", json!("a")),
        table("b", "shop", json!("public.a")),
    ] {
        let refused = parse(json!({"objects": [a(), second]}));
        assert_refused(refused, Code::InvalidField, "job_settings.objects[1]");
    }
    for second in [
        table("b", "shop", json!("c")),
        table("sales.b", "shop", json!("a")),
        table("b", "other", json!("a")),
    ] {
        assert!(parse(json!({"objects": [a(), second]})).is_ok());
    }
    let cases = parse(json!({"objects": [a(), table("b", "shop", json!("A"))]})).unwrap();
    assert!(cases.fits(SiteType::Postgresql).is_ok());
    let refused = cases.fits(SiteType::Sqlite);
    assert_refused(refused, Code::InvalidField, "job_settings.objects[1]");
    let root = json!({"object_name": "DBC", "object_type": "DATABASE", "include_all": true,
                      "rename_to": "x"});
    let field = "job_settings.objects[0].rename_to";
    assert_refused(parse(json!({"objects": [root]})), Code::InvalidField, field);
}

#[test]
fn a_restore_that_goes_on_without_rights_is_not_built_yet() {
    let rights = json!({TO_ANOTHER: "x", "continue_job_on_access_right_violation": true});
    let field = "job_settings.continue_job_on_access_right_violation";
    assert_refused(parse(rights), Code::SettingNotBuiltYet, field);
}

#[test]
fn a_new_name_must_fit_the_target_site() {
    let field = format!("job_settings.{TO_ANOTHER}");
    let draft = parse(json!({TO_ANOTHER: "../x.db"})).unwrap();
    assert_refused(draft.fits(SiteType::Sqlite), Code::InvalidField, &field);
    let draft = parse(json!({TO_ANOTHER: "x".repeat(64)})).unwrap();
    assert_refused(draft.fits(SiteType::Postgresql), Code::InvalidField, &field);
}

#[test]
fn run_type_comes_in_the_body_or_the_query_but_not_in_two_minds() {
    let query = |run_type| ExecuteQuery { run_type };
    let full = json!({"run_type": "fuLL"});
    assert_eq!(parse_execute(query(None), None), Ok(None));
    assert_eq!(
        parse_execute(query(None), Some(&full)),
        Ok(Some(RunType::Full))
    );
    assert_eq!(
        parse_execute(query(Some(RunType::Full)), Some(&full)),
        Ok(Some(RunType::Full))
    );
    let refused = parse_execute(query(Some(RunType::Delta)), Some(&full));
    assert_refused(refused, Code::InvalidField, "run_type");
    assert_eq!(
        parse_execute(query(None), Some(&json!({"run_type": "Delta"}))),
        Ok(Some(RunType::Delta))
    );
}

#[test]
fn what_no_restore_can_bring_by_itself_is_refused_with_its_place() {
    let objects = |second: Value| {
        let first = json!({"object_name": "public.orders", "object_type": "TABLE",
                           "parent_name": "shop", "parent_type": "DATABASE"});
        parse(json!({"objects": [first, second]})).unwrap()
    };
    let one = |kind: &str, name: &str| {
        json!({"object_name": name, "object_type": kind, "parent_name": "shop",
               "parent_type": "DATABASE", "include_all": kind == "SCHEMA"})
    };
    let mut without = one("SCHEMA", "sales");
    without["exclude_objects"] = json!([{"object_name": "log", "object_type": "TABLE"}]);
    use SiteType::{Postgresql, Sqlite};
    for (object, target, field) in [
        (one("FUNCTION", "public.paid"), Postgresql, "object_type"),
        (one("INDEX", "public.by_day"), Postgresql, "object_type"),
        (without, Postgresql, "exclude_objects"),
        (one("VIEW", "sales"), Sqlite, "object_type"),
    ] {
        let refused = objects(object.clone()).fits(target);
        let field = format!("job_settings.objects[1].{field}");
        assert_refused(refused, Code::SettingNotBuiltYet, &field);
    }
    for (object, target) in [
        (one("SCHEMA", "sales"), Postgresql),
        (one("VIEW", "public.totals"), Postgresql),
        (one("TABLE", "item"), Sqlite),
    ] {
        assert!(objects(object.clone()).fits(target).is_ok(), "{object}");
    }
}
