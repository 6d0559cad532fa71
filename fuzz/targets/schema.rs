//! Schemas and data: the input is JSON, a list of a schema and a value. Whatever they are, the schema is compiled or refused
//! with sentences, and the value checked, in bounded time and with a bounded answer; what is shown of a schema is read to
//! the same again.
#![no_main]

use handstamp_server::schema::selector::Selector;
use handstamp_server::schema::session_type::SessionType;
use handstamp_server::schema::{Schema, Slip, TOLD};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|data: &[u8]| {
    let Ok(Value::Array(parts)) = serde_json::from_slice::<Value>(data) else { return };
    let [source, value, ..] = parts.as_slice() else { return };
    if let Value::String(text) = source {
        select(text, value);
    }
    let schema = match Schema::read(source) {
        Ok(schema) => schema,
        Err(slips) => {
            assert!(!slips.is_empty() && slips.len() <= 5_000);
            slips.iter().for_each(sentence);
            return;
        }
    };
    let slips = schema.check(value);
    assert!(slips.len() <= TOLD);
    slips.iter().for_each(sentence);
    assert_eq!(schema.check(value), slips);
    let told = json!({ "expires_in": "1h", "schema": source });
    let read = SessionType::read(told.as_object().expect("an object")).expect("what was read alone");
    let shown = read.show();
    assert_eq!(shown, told);
    assert_eq!(read.check(Some(value)), slips);
});

fn sentence(slip: &Slip) {
    assert!(!slip.message.is_empty() && slip.message.len() < 1_000, "{slip:?}");
    assert!(slip.pointer.is_empty() || slip.pointer.starts_with('/'), "{slip:?}");
}

fn select(text: &str, value: &Value) {
    let Ok(selector) = Selector::parse(text) else { return };
    assert_eq!(selector.text(), text);
    let at = value.pointer(&selector.pointer());
    match selector.find(value) {
        // Lists have places, too, for pointers; selectors lead through objects only.
        Ok(found) => assert!(at.is_some_and(|at| *at == json!(found) || at.to_string() == found)),
        Err(slip) => sentence(&slip),
    }
}
