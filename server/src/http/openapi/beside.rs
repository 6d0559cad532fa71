//! What is served beside our own calls, in the same document: foreign APIs say their shapes, the door says what all calls
//! have in common.

use super::{BUDGET, Value, header};
use serde_json::{Map, json};

/// Adds another API's paths and schemas. Every call of it takes an access key.
pub(super) fn add(document: &mut Value, other: Value) {
    let Value::Object(mut other) = other else { return };
    let schemas = other.get_mut("components").and_then(|parts| parts.get_mut("schemas")).map(Value::take);
    extend(document.pointer_mut("/components/schemas"), schemas);
    if let Some(tag) = other.remove("tags") {
        let more = tag.as_array().cloned().unwrap_or_default();
        if let Some(Value::Array(tags)) = document.pointer_mut("/tags") {
            // Before what concerns the documents themselves.
            let at = tags.len().saturating_sub(2);
            tags.splice(at..at, more);
        }
    }
    let mut paths = other.remove("paths").unwrap_or_default();
    for item in paths.as_object_mut().into_iter().flat_map(|paths| paths.values_mut()) {
        item.as_object_mut().into_iter().flat_map(Map::values_mut).for_each(complete);
    }
    extend(document.pointer_mut("/paths"), Some(paths));
}

fn extend(target: Option<&mut Value>, more: Option<Value>) {
    if let (Some(Value::Object(target)), Some(Value::Object(more))) = (target, more) {
        target.extend(more);
    }
}

/// Adds what the door knows of a call.
fn complete(operation: &mut Value) {
    operation["security"] = json!([{ "accessKey": [] }]);
    let Some(Value::Object(responses)) = operation.get_mut("responses") else { return };
    for (status, response) in responses.iter_mut() {
        let mut with = vec!["X-Request-Id"];
        if status == "200" || status == "429" {
            with.extend(BUDGET);
        }
        if status == "429" || status == "503" {
            with.push("Retry-After");
        }
        response["headers"] = with.iter().map(|name| ((*name).to_owned(), header(name))).collect();
    }
    responses.insert("default".to_owned(), json!({ "$ref": "#/components/responses/Edge" }));
}
