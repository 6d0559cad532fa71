//! Schemas of session data: each keyword on both sides of what it asks, what is refused when it is saved, that work and
//! answers are bounded, the short form against JSON Schema, and selectors.

mod bounds;
mod keywords;
mod short;

use handstamp_server::schema::{Schema, Slip};
use serde_json::Value;

fn schema(source: &Value) -> Schema {
    Schema::read(source).unwrap_or_else(|slips| panic!("{source}: {slips:?}"))
}

fn told(slips: Vec<Slip>) -> Vec<String> {
    slips.into_iter().map(|slip| format!("{}: {}", slip.pointer, slip.message)).collect()
}

/// What is wrong with a value.
fn check(source: &Value, value: &Value) -> Vec<String> {
    told(schema(source).check(value))
}

/// What is wrong with a schema.
fn refused(source: &Value) -> Vec<String> {
    match Schema::read(source) {
        Ok(_) => panic!("{source} is taken"),
        Err(slips) => told(slips),
    }
}
