//! Whether a live answer is what the document says: as much of JSON Schema as the document uses.
//! A keyword that is not known here fails the test, so that none is passed over.

use serde_json::Value;

/// Checks a value against a schema of the document; the error says where it differs.
pub fn check(document: &Value, schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    for (keyword, rule) in schema.as_object().ok_or("a schema must be an object")? {
        match keyword.as_str() {
            "$ref" => {
                let pointer = rule
                    .as_str()
                    .and_then(|r| r.strip_prefix('#'))
                    .unwrap_or_default();
                let schema = document.pointer(pointer).ok_or(format!("no {rule}"))?;
                check(document, schema, value, path)?;
            }
            "type" => check_type(rule, value, path)?,
            "enum" => {
                if !rule.as_array().is_some_and(|words| words.contains(value)) {
                    return Err(format!("{path}: {value} is none of {rule}"));
                }
            }
            "required" => {
                for name in rule
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                {
                    if value.is_object() && value.get(name).is_none() {
                        return Err(format!("{path}: {name} is missing"));
                    }
                }
            }
            "properties" => {
                for (name, schema) in rule.as_object().into_iter().flatten() {
                    if let Some(value) = value.get(name) {
                        check(document, schema, value, &format!("{path}/{name}"))?;
                    }
                }
            }
            "additionalProperties" if rule == false => {
                for name in value.as_object().into_iter().flat_map(|map| map.keys()) {
                    if schema["properties"].get(name).is_none() {
                        return Err(format!("{path}: {name} is not known"));
                    }
                }
            }
            "additionalProperties" => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    check(document, rule, value, &format!("{path}/{name}"))?;
                }
            }
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(document, rule, item, &format!("{path}/{i}"))?;
                }
            }
            "allOf" => {
                for schema in rule.as_array().into_iter().flatten() {
                    check(document, schema, value, path)?;
                }
            }
            "oneOf" => {
                let fits = |schema: &&Value| check(document, schema, value, path).is_ok();
                let fitting = rule.as_array().into_iter().flatten().filter(fits).count();
                if fitting != 1 {
                    return Err(format!(
                        "{path}: {value} fits {fitting} of the schemas, not one"
                    ));
                }
            }
            "minimum" => {
                if value
                    .as_f64()
                    .zip(rule.as_f64())
                    .is_some_and(|(value, least)| value < least)
                {
                    return Err(format!("{path}: {value} is less than {rule}"));
                }
            }
            "maximum" => {
                if value
                    .as_f64()
                    .zip(rule.as_f64())
                    .is_some_and(|(value, most)| value > most)
                {
                    return Err(format!("{path}: {value} is more than {rule}"));
                }
            }
            // Texts for people, and what other tests look at.
            "description" | "example" | "format" | "pattern" | "default" | "readOnly"
            | "writeOnly" | "propertyNames" | "minLength" | "maxLength" => {}
            other => {
                return Err(format!(
                    "{path}: the keyword {other} is not known to this test"
                ));
            }
        }
    }
    Ok(())
}

fn check_type(rule: &Value, value: &Value, path: &str) -> Result<(), String> {
    let is = |kind: &Value| match kind.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    };
    let fits = match rule {
        Value::Array(kinds) => kinds.iter().any(is),
        kind => is(kind),
    };
    if fits {
        Ok(())
    } else {
        Err(format!("{path}: {value} is no {rule}"))
    }
}

#[test]
fn what_differs_from_its_schema_is_found() {
    let document = serde_json::json!({"components": {"schemas": {"A": {
        "type": "object", "required": ["x"],
        "properties": {"x": {"type": ["integer", "null"], "minimum": 0}, "y": {"enum": ["a"]}}
    }}}});
    let schema = serde_json::json!({"type": "array", "items": {"$ref": "#/components/schemas/A"}});
    let fits = |text: &str| {
        let value = serde_json::from_str(text).unwrap();
        check(&document, &schema, &value, "").is_ok()
    };
    assert!(fits(r#"[{"x": 1}, {"x": null, "y": "a"}]"#));
    for wrong in [
        "{}",
        "[{}]",
        r#"[{"x": "1"}]"#,
        r#"[{"x": -1}]"#,
        r#"[{"x": 1, "y": "b"}]"#,
    ] {
        assert!(!fits(wrong), "{wrong}");
    }
}
