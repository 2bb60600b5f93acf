use std::collections::BTreeSet;
use std::path::Path;

use contract::Operation;
use serde_json::Value;
use strum::IntoEnumIterator;

fn document() -> Value {
    serde_json::from_str(&server::openapi()).unwrap()
}

#[test]
fn the_document_is_the_one_in_docs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    if std::env::var_os("BACKSTAY_WRITE_DOCS").is_some() {
        std::fs::write(&path, server::openapi()).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == server::openapi(),
        "docs/openapi.json has fallen behind; BACKSTAY_WRITE_DOCS=1 writes it anew"
    );
}

#[test]
fn the_document_has_exactly_the_operations_of_the_contract() {
    let document = document();
    let mut found = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, described) in methods.as_object().unwrap() {
            let name = described["operationId"].as_str().unwrap().to_owned();
            found.insert((method.to_uppercase(), path.clone(), name));
        }
    }
    let wanted: BTreeSet<_> = Operation::iter()
        .map(|o| (o.facts().method.to_string(), o.full_path(), o.to_string()))
        .collect();
    assert_eq!(found, wanted);
}

#[test]
fn every_answer_and_parameter_is_described() {
    let document = document();
    for operation in Operation::iter() {
        let method = operation.facts().method.to_string().to_lowercase();
        let described = &document["paths"][operation.full_path()][method];
        assert!(described["summary"].is_string(), "{operation}");
        let answers = described["responses"].as_object().unwrap();
        assert!(
            answers.values().all(|a| a["description"].is_string()),
            "{operation}"
        );
        let variables = operation.full_path().matches('{').count();
        let parameters = described["parameters"].as_array().map_or(0, Vec::len);
        assert_eq!(
            parameters,
            variables + operation.facts().parameters.len(),
            "{operation}"
        );
        let built = answers.keys().any(|status| status.starts_with('2'));
        assert_eq!(built, operation.facts().built, "{operation}");
    }
}

#[test]
fn every_reference_in_the_document_leads_somewhere() {
    let document = document();
    fn check(value: &Value, document: &Value) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(to)) = map.get("$ref") {
                    let pointer = to.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{to}");
                }
                map.values().for_each(|v| check(v, document));
            }
            Value::Array(items) => items.iter().for_each(|v| check(v, document)),
            _ => {}
        }
    }
    check(&document, &document);
}

#[test]
fn nothing_in_the_document_is_null_but_a_word_that_may_be() {
    fn check(value: &Value, path: &str) {
        match value {
            Value::Null => panic!("{path} is null"),
            Value::Object(map) => map
                .iter()
                .for_each(|(key, v)| check(v, &format!("{path}/{key}"))),
            Value::Array(items) if !path.ends_with("/enum") => {
                items.iter().for_each(|v| check(v, &format!("{path}[]")));
            }
            _ => {}
        }
    }
    check(&document(), "");
}
