//! The OpenAPI document: made from the routes, completed from [`contract::Operation`].
//!
//! The routes give method, path, request body and the answer that is no error. What every operation
//! has by rule is added here: parameters, errors, headers of answers, who may call it.

use contract::{Access, Code, Facts, Operation, Page, Parameter, ParameterKind, ParameterSchema};
use serde_json::{Map, Value, json};
use strum::IntoEnumIterator;

use crate::routes;

/// Schemas of answers: all their keys are always present.
const ANSWERS: [&str; 22] = [
    "AdoptedSite",
    "CheckedThing",
    "Concerned",
    "CreatedSite",
    "DamagedObject",
    "Execution",
    "ExecutionPhase",
    "Job",
    "LastExecutionDetails",
    "ListedJob",
    "ListedObject",
    "MissingRight",
    "OneExecution",
    "Plan",
    "PlanObstacle",
    "Preparation",
    "RestorePermissions",
    "Saveset",
    "Site",
    "SiteCheck",
    "Skipped",
    "Verification",
];

/// Schemas in which a name that is not known is refused. Not those of a whole job or site: a PUT
/// takes what a GET gives, read-only fields too.
const CLOSED: [&str; 11] = [
    "AdoptRequest",
    "ExecuteRequest",
    "Exclusion",
    "JobObject",
    "JobSettings",
    "RestoreJobSettings",
    "RestoreRequest",
    "SavesetPatch",
    "SiteVault",
    "TargetSiteDetails",
    "VerifyRequest",
];

/// The document as text.
pub fn openapi() -> String {
    let document = serde_json::to_value(routes::all().into_openapi()).unwrap_or_default();
    let mut document = document;
    describe(&mut document);
    for operation in Operation::iter() {
        let facts = operation.facts();
        let method = facts.method.to_string().to_lowercase();
        let described = &mut document["paths"][operation.full_path()][method];
        complete(described, operation, facts);
    }
    require_all_keys(&mut document);
    for name in CLOSED {
        document["components"]["schemas"][name]["additionalProperties"] = json!(false);
    }
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

fn describe(document: &mut Value) {
    document["info"] = json!({
        "title": "Backstay",
        "version": env!("CARGO_PKG_VERSION"),
        "summary": "Backup as a service: data-protection v2",
        "description": "Backs up PostgreSQL and SQLite object by object into encrypted savesets, \
            and restores them. Every error is application/problem+json with a stable code. \
            Lists answer X-Total-Count and, page by page, Link.",
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}
    });
    document["servers"] = json!([{"url": "/"}]);
    document["components"]["securitySchemes"] = json!({
        "bearer": {"type": "http", "scheme": "bearer"},
        "basic": {"type": "http", "scheme": "basic", "description": "The token is the password."}
    });
    let problem =
        serde_json::to_value(<contract::ProblemDocument as utoipa::PartialSchema>::schema());
    document["components"]["schemas"]["ProblemDocument"] = problem.unwrap_or_default();
}

fn complete(described: &mut Value, operation: Operation, facts: Facts) {
    let parameters = path_parameters(facts.path)
        .chain(facts.parameters.iter().map(parameter))
        .collect::<Vec<_>>();
    if !parameters.is_empty() {
        described["parameters"] = Value::Array(parameters);
    }
    described["security"] = match facts.access {
        Access::Open => json!([]),
        Access::Token | Access::Administrator => json!([{"bearer": []}, {"basic": []}]),
    };
    if matches!(operation, Operation::ExecuteJob | Operation::VerifySaveset) {
        // Bodies that may be absent; what makes clients cannot say "this or null" of a body.
        described["requestBody"]["required"] = json!(false);
    }
    if facts.access == Access::Administrator {
        described["x-access"] = json!("administrator");
    }
    if let Some(responses) = described["responses"].as_object_mut() {
        for (status, response) in responses.iter_mut() {
            add_headers(response, operation, status);
        }
        for status in operation.error_statuses() {
            responses.insert(status.to_string(), error(status));
        }
    }
}

fn path_parameters(path: &str) -> impl Iterator<Item = Value> + '_ {
    let names = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| {
        let schema = if name == "site_id" {
            json!({"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"})
        } else {
            json!({"type": "integer", "format": "int64", "minimum": 1})
        };
        json!({"name": name, "in": "path", "required": true, "schema": schema})
    })
}

fn parameter(parameter: &Parameter) -> Value {
    let place = match parameter.kind {
        ParameterKind::Query => "query",
        ParameterKind::Header => "header",
    };
    let mut value = json!({
        "name": parameter.name,
        "in": place,
        "required": false,
        "description": parameter.text,
        "schema": schema_of(parameter.schema)
    });
    if parameter.schema == ParameterSchema::Flag {
        value["allowEmptyValue"] = json!(true);
    }
    value
}

fn schema_of(schema: ParameterSchema) -> Value {
    match schema {
        ParameterSchema::Text => json!({"type": "string"}),
        ParameterSchema::Flag => json!({"type": "boolean"}),
        ParameterSchema::Count => json!({"type": "integer", "minimum": 1}),
        ParameterSchema::PageSize => json!({
            "type": "integer", "minimum": 1, "maximum": Page::MAX_SIZE, "default": Page::DEFAULT_SIZE
        }),
        ParameterSchema::Moment => json!({"type": "string", "format": "date-time"}),
        ParameterSchema::JobType
        | ParameterSchema::RunType
        | ParameterSchema::Status
        | ParameterSchema::Database => json!({"type": "string", "enum": schema.words()}),
    }
}

/// Headers that answers have by rule.
fn add_headers(response: &mut Value, operation: Operation, status: &str) {
    let mut headers = Map::new();
    let mut add = |name: &str, text: &str| {
        let header = json!({"description": text, "schema": {"type": "string"}});
        headers.insert(name.to_owned(), header);
    };
    add("x-request-id", "The request's id, as in the server's log.");
    let method = operation.facts().method;
    if matches!(status, "201" | "202") {
        add("x-resource-id", "The id of what was made or asked for.");
        if operation != Operation::AbortExecution {
            add("Location", "Its path.");
        }
    }
    let schema = &response["content"]["application/json"]["schema"];
    if schema["type"] == "array" {
        add("X-Total-Count", "All rows that the list has.");
        add("Link", "With a page: first, prev, next, last.");
    } else if status == "200" && !operation.is_service() && method != contract::Method::Post {
        add("ETag", "For If-Match.");
    }
    if let Some(headers_there) = response.as_object_mut() {
        headers_there.insert("headers".to_owned(), Value::Object(headers));
    }
}

fn error(status: u16) -> Value {
    let codes: Vec<&str> = Code::ALL
        .iter()
        .filter(|code| code.status() == status)
        .map(|code| code.as_str())
        .collect();
    json!({
        "description": format!("Code {}.", codes.join(", ")),
        "content": {"application/problem+json": {
            "schema": {"$ref": "#/components/schemas/ProblemDocument"}
        }}
    })
}

fn require_all_keys(document: &mut Value) {
    for name in ANSWERS {
        let schema = &mut document["components"]["schemas"][name];
        require_keys_of(schema);
        // Not by index: that would put a null where there is none.
        if let Some(Value::Array(parts)) = schema.get_mut("allOf") {
            parts.iter_mut().for_each(require_keys_of);
        }
    }
}

fn require_keys_of(schema: &mut Value) {
    if let Some(properties) = schema["properties"].as_object() {
        let keys: Vec<String> = properties.keys().cloned().collect();
        schema["required"] = json!(keys);
    }
}
