use contract::{
    Code, PasswordChange, RecoveryKeyAnswer, Site, SiteConnectionBody, parse_site, replace_site,
};
use model::{ExposeSecret, Moment, SiteConnection};
use serde_json::{Value, json};

use crate::assert_refused;

fn body() -> Value {
    json!({
        "site_id": "shop", "site_type": "postgresql",
        "connection": {"url": "postgres://backup@db:5432/postgres"},
        "vault": {"url": "file:///srv/backups/shop", "options": {}}
    })
}

fn with(path: &str, value: Value) -> Value {
    let mut body = body();
    match path.split_once('.') {
        None => body[path] = value,
        Some((outer, inner)) => body[outer][inner] = value,
    }
    body
}

#[test]
fn a_site_has_the_contract_s_defaults() {
    let site = parse_site(&body()).unwrap().definition;
    assert_eq!(
        (site.soft_limit, site.hard_limit, site.max_snapshot_minutes),
        (2, 4, 0)
    );
    assert_eq!(site.description, None);
}

#[test]
fn a_password_inside_the_url_is_taken_out_and_kept_as_a_secret() {
    let draft = parse_site(&with(
        "connection.url",
        json!("postgres://backup:geheim@db/postgres"),
    ));
    let draft = draft.unwrap();
    let SiteConnection::Postgresql { url } = &draft.definition.connection else {
        panic!("a PostgreSQL site")
    };
    assert_eq!(url, "postgres://backup@db/postgres");
    assert!(matches!(&draft.password, PasswordChange::Set(p) if p.expose_secret() == "geheim"));
    assert!(!format!("{draft:?}").contains("geheim"));
    let site = Site::of(&draft.definition, true, Moment::from_micros(0));
    assert!(!serde_json::to_string(&site).unwrap().contains("geheim"));
}

#[test]
fn no_refusal_of_a_site_repeats_a_secret() {
    for (path, value) in [
        ("connection.url", json!("postgres://u:geheim@x@db/d")),
        ("connection.url", json!("mysql://u:geheim@db")),
        ("connection.password", json!({"geheim": 1})),
        ("vault.url", json!("file://u:geheim@/srv")),
        ("vault.url", json!("s3://key:geheim@bucket")),
    ] {
        let refused = parse_site(&with(path, value)).unwrap_err();
        assert!(!refused.to_string().contains("geheim"), "{refused}");
        assert_eq!(refused.field(), Some(path));
    }
    let mut twice = with("connection.url", json!("postgres://u:geheim@db/d"));
    twice["connection"]["password"] = json!("anders");
    assert_refused(
        parse_site(&twice),
        Code::InvalidField,
        "connection.password",
    );
}

#[test]
fn limits_are_held() {
    for (field, value) in [
        ("soft_limit", json!(0)),
        ("hard_limit", json!(1)),
        ("soft_limit", json!(1001)),
        ("soft_limit", json!(1.5)),
        ("soft_limit", json!("2")),
        ("max_snapshot_minutes", json!(-1)),
        ("site_id", json!("a/b")),
        ("site_type", json!("ORACLE")),
        ("connection.url", json!("")),
        ("vault.url", json!("/srv/backups")),
        ("vault.url", json!("file:///srv/../etc")),
        ("vault.options", json!({"region": "x"})),
    ] {
        assert_refused(parse_site(&with(field, value)), Code::InvalidField, field);
    }
    for field in ["site_id", "site_type", "connection", "vault"] {
        assert_refused(
            parse_site(&with(field, Value::Null)),
            Code::MissingField,
            field,
        );
    }
}

#[test]
fn a_vault_elsewhere_has_options_and_its_keys_are_secrets() {
    let mut body = with("vault.url", json!("s3://backups/shop"));
    body["vault"]["options"] = json!({
        "region": "eu-central-1", "access_key_id": "AK", "secret_access_key": "geheim",
        "session_token": null,
    });
    let draft = parse_site(&body).unwrap();
    let options: Vec<_> = draft.definition.vault.options.keys().collect();
    assert_eq!(options, ["access_key_id", "region"]);
    let change = |name: &str| &draft.vault_secrets[name];
    assert!(
        matches!(change("secret_access_key"), PasswordChange::Set(s) if s.expose_secret() == "geheim")
    );
    assert!(matches!(change("session_token"), PasswordChange::Clear));
    // What only another kind of store has is forgotten.
    assert!(matches!(
        change("service_account_key"),
        PasswordChange::Clear
    ));
    assert!(!format!("{draft:?}").contains("geheim"));
    let answered = Site::of(&draft.definition, false, Moment::from_micros(0));
    let answered = serde_json::to_value(answered).unwrap();
    assert!(!answered.to_string().contains("geheim"));
    assert_eq!(answered["siteTargetType"], "AWS");
    let again = replace_site(&answered, &draft.definition).unwrap();
    assert_eq!(again.definition, draft.definition);
    assert!(!again.vault_secrets.contains_key("secret_access_key"));
    for (url, kind) in [
        ("az://backups/shop", "AZURE"),
        ("gs://backups", "GCP"),
        ("file:///srv", "LOCAL"),
    ] {
        let draft = parse_site(&with("vault.url", json!(url))).unwrap();
        assert_eq!(contract::site_target_type(&draft.definition.vault), kind);
        assert!(matches!(
            draft.vault_secrets["secret_access_key"],
            PasswordChange::Clear
        ));
    }
}

#[test]
fn a_vault_elsewhere_that_cannot_be_is_refused_by_its_field() {
    for url in [
        "s3://",
        "s3:///shop",
        "s3://b/../x",
        "s3://b//x",
        "s3://b:1/x",
        "s3://b/x?y",
        "az://c c",
        "gs://b#x",
        "http://x",
    ] {
        let refused = parse_site(&with("vault.url", json!(url)));
        assert_refused(refused, Code::InvalidField, "vault.url");
    }
    let options = |options: Value| {
        let mut body = with("vault.url", json!("s3://backups/shop"));
        body["vault"]["options"] = options;
        parse_site(&body)
    };
    let refused = options(json!({"acess_key_id": "AK"})).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the field `vault.options.acess_key_id` is not known; did you mean `access_key_id`?"
    );
    for value in [json!(""), json!(1), json!(true), json!({"geheim": 1})] {
        for name in ["region", "secret_access_key"] {
            let refused = options(json!({name: value}));
            assert_refused(
                refused,
                Code::InvalidField,
                &format!("vault.options.{name}"),
            );
        }
    }
    assert_refused(options(json!([1])), Code::InvalidField, "vault.options");
}

#[test]
fn an_unknown_field_is_named_with_the_way_to_it() {
    let refused = parse_site(&with("connection.pasword", json!("x"))).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the field `connection.pasword` is not known; did you mean `password`?"
    );
}

#[test]
fn a_put_takes_what_a_get_gave_and_keeps_an_absent_secret() {
    let draft = parse_site(&with("description", json!("the shop"))).unwrap();
    let answered = Site::of(&draft.definition, true, Moment::from_micros(1));
    let mut answered = serde_json::to_value(answered).unwrap();
    let again = replace_site(&answered, &draft.definition).unwrap();
    assert_eq!(again.definition, draft.definition);
    assert!(matches!(again.password, PasswordChange::Keep));
    answered["connection"]["password"] = Value::Null;
    let cleared = replace_site(&answered, &draft.definition).unwrap();
    assert!(matches!(cleared.password, PasswordChange::Clear));
    answered["site_id"] = json!("other");
    let refused = replace_site(&answered, &draft.definition);
    assert_refused(refused, Code::InvalidField, "site_id");
    let refused = replace_site(&with("site_type", json!("SQLITE")), &draft.definition);
    assert_refused(refused, Code::InvalidField, "site_type");
}

#[test]
fn a_sqlite_site_has_a_directory() {
    let mut body = with("site_type", json!("SQLITE"));
    assert_refused(parse_site(&body), Code::UnknownField, "connection.url");
    body["connection"] = json!({"path": "data"});
    assert_refused(parse_site(&body), Code::InvalidField, "connection.path");
    body["connection"] = json!({"path": "/srv/data"});
    assert!(parse_site(&body).is_ok());
}

#[test]
fn no_debug_text_of_a_wire_type_shows_a_secret() {
    let connection = SiteConnectionBody {
        url: Some("postgres://u:geheim@db/d".to_owned()),
        password: Some("geheim".to_owned()),
        ..SiteConnectionBody::default()
    };
    let key = RecoveryKeyAnswer {
        recovery_key: "geheim".to_owned(),
    };
    assert!(!format!("{connection:?} {key:?}").contains("geheim"));
}
