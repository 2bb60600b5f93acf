//! Whether a live answer has the shape of a sample of the reference.

use std::collections::BTreeSet;

use serde_json::Value;

/// Compares keys, JSON types and nesting. `ours` are keys that the sample does not have, by their
/// whole path. Answers the paths that are null in the live answer.
pub fn compare(sample: &Value, live: &Value, ours: &[&str]) -> BTreeSet<String> {
    let mut nulls = BTreeSet::new();
    walk(sample, live, "", ours, &mut nulls);
    nulls
}

fn walk(sample: &Value, live: &Value, path: &str, ours: &[&str], nulls: &mut BTreeSet<String>) {
    match (sample, live) {
        (_, Value::Null) => {
            nulls.insert(path.to_owned());
        }
        (Value::Object(sample), Value::Object(live)) => {
            let way = |key: &String| {
                if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                }
            };
            for (key, value) in sample {
                let found = live
                    .get(key)
                    .unwrap_or_else(|| panic!("{} is missing", way(key)));
                walk(value, found, &way(key), ours, nulls);
            }
            for key in live.keys().filter(|key| !sample.contains_key(*key)) {
                assert!(
                    ours.contains(&way(key).as_str()),
                    "{} is not in the sample",
                    way(key)
                );
            }
        }
        (Value::Array(sample), Value::Array(live)) => {
            for item in live {
                walk(&sample[0], item, &format!("{path}[]"), ours, nulls);
            }
        }
        _ => assert_eq!(kind(sample), kind(live), "{path}: {sample} and {live}"),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The paths of all keys of a sample.
pub fn paths(sample: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(sample, "", &mut found);
    found
}

fn collect(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let way = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                found.insert(way.clone());
                collect(value, &way, found);
            }
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| collect(item, &format!("{path}[]"), found)),
        _ => {}
    }
}
