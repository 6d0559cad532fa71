//! The short form of a schema: `{ userId = "string", roles = "string[]", nick = "string?", address = { city = "string" } }`.
//!
//! Every field is there, unless a `?` behind its type or its name says that it may be left out; fields that are not named
//! may be there, too. What more is to be said is said in JSON Schema.

use super::{Kinds, Slip, escaped};
use serde_json::{Map, Value, json};

const TYPES: &str = "write string, number, integer, boolean, object, array or any, behind it [] for a list of them, and ? \
                     for what may be left out; or write a JSON Schema, which has a `type`";

/// The JSON Schema that a short form stands for; `None` when it is JSON Schema itself: that has a `type`, `properties` or a
/// name that begins with `$`, or something in it that is neither a text nor a table.
///
/// # Errors
/// Everything that is wrong with the short form.
pub(super) fn expanded(source: &Value) -> Result<Option<Value>, Vec<Slip>> {
    let Value::Object(table) = source else {
        if source.is_boolean() {
            return Ok(None);
        }
        return Err(vec![Slip::new("", "is no schema: write a table such as { userId = \"string\" }")]);
    };
    let is_long = |(name, value): (&String, &Value)| {
        name.starts_with('$')
            || matches!(name.as_str(), "type" | "properties")
            || !(value.is_string() || value.is_object())
    };
    if table.iter().any(is_long) {
        return Ok(None);
    }
    let mut slips = Vec::new();
    let long = fields("", table, &mut slips);
    if slips.is_empty() { Ok(Some(long)) } else { Err(slips) }
}

fn fields(at: &str, table: &Map<String, Value>, slips: &mut Vec<Slip>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    if table.is_empty() {
        slips.push(Slip::new(at, "names no field"));
    }
    for (written, value) in table {
        let place = format!("{at}/{}", escaped(written));
        let name = written.strip_suffix('?').unwrap_or(written);
        let mut may_be_missing = name != written;
        let schema = match value {
            Value::String(text) => {
                let kind = text.strip_suffix('?').unwrap_or(text);
                may_be_missing |= kind != text;
                match of_kind(kind) {
                    Some(schema) => schema,
                    None => {
                        slips.push(Slip::new(place, format!("is no type: {TYPES}")));
                        continue;
                    }
                }
            }
            Value::Object(inner) => fields(&place, inner, slips),
            _ => {
                slips.push(Slip::new(place, format!("is no type: {TYPES}")));
                continue;
            }
        };
        if properties.insert(name.to_owned(), schema).is_some() {
            slips.push(Slip::new(place, "is there twice, with and without a ?"));
        }
        if !may_be_missing {
            required.push(name);
        }
    }
    json!({ "type": "object", "properties": properties, "required": required })
}

/// `string`, `string[]`, `any`.
fn of_kind(text: &str) -> Option<Value> {
    if let Some(items) = text.strip_suffix("[]") {
        return Some(json!({ "type": "array", "items": of_kind(items)? }));
    }
    if text == "any" {
        return Some(json!(true));
    }
    // A field that is always null is nobody's field.
    Kinds::named(text).filter(|_| text != "null").map(|_| json!({ "type": text }))
}
