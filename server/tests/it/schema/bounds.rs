//! Neither a schema nor data can ask for more work, memory or words than a request is worth.

use super::{check, refused, schema};
use handstamp_server::schema::TOLD;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Does it in a time far above what it takes on a slow machine, and far below what it would take without a bound.
fn soon<T>(what: &str, work: impl FnOnce() -> T) -> T {
    #[expect(clippy::disallowed_methods, reason = "a measurement")]
    let now = Instant::now;
    let began = now();
    let done = work();
    assert!(now().duration_since(began) < Duration::from_secs(10), "{what}");
    done
}

fn nested(depth: usize, inner: Value, around: impl Fn(Value) -> Value) -> Value {
    (0..depth).fold(inner, |value, _| around(value))
}

#[test]
fn a_schema_has_bounds() {
    let deep = |n| nested(n, json!({ "type": "string" }), |inner| json!({ "items": inner, "type": "array" }));
    schema(&deep(31));
    assert!(refused(&deep(32))[0].contains("nested too deep: at most 32"));
    let wide = |n: usize| json!({ "type": "object", "description": "x".repeat(n) });
    schema(&wide(16_000));
    assert!(refused(&wide(17_000))[0].contains("at most 16384 bytes"));
    let parts = |n: usize| json!({ "allOf": vec![json!({}); n] });
    schema(&parts(999));
    assert!(refused(&parts(1_001)).iter().any(|line| line.contains("more than 1000 parts")));
    // Names of a chain of references: each leads to the next.
    let chain = |n: usize| {
        let mut defs = serde_json::Map::new();
        for at in 0..n {
            defs.insert(format!("d{at}"), json!({ "$ref": format!("#/$defs/d{}", at + 1) }));
        }
        defs.insert(format!("d{n}"), json!(true));
        json!({ "$ref": "#/$defs/d0", "$defs": defs })
    };
    schema(&chain(15));
    for n in [16, 17, 300] {
        assert!(refused(&chain(n))[0].contains("more than 16 alternatives and references"), "{n}");
    }
    let slips = refused(&json!({ "allOf": vec![json!({ "type": 5 }); 900] }));
    assert_eq!(slips.len(), 50);
}

#[test]
fn an_expression_has_bounds() {
    let one = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    schema(&one("^[a-z]{1,500}$"));
    for pattern in ["a{1,100000}", "((a{1,100}){1,100}){1,100}", "(a?){3000}a{3000}", &"a".repeat(1_001)] {
        soon(pattern, || refused(&one(pattern)));
    }
    let many: Vec<Value> = (0..100).map(|n| one(&format!("[a-z]{{1,{}}}", 400 + n))).collect();
    assert!(refused(&json!({ "allOf": many })).iter().any(|line| line.contains("together with the other")));
    // Nothing, however often.
    assert_eq!(check(&one("^(?:){4294967295}$"), &json!("")), Vec::<String>::new());
    // What takes a backtracking engine longer than the world will last.
    let told = soon("backtracking", || check(&one("^(a+)+$"), &json!("a".repeat(64) + "!")));
    assert_eq!(told.len(), 1);
}

#[test]
fn work_has_a_bound_whatever_the_schema_and_the_data() {
    let both = json!({ "anyOf": [
        { "properties": { "a": { "$ref": "#" } }, "required": ["b"] },
        { "properties": { "a": { "$ref": "#" } }, "required": ["c"] },
    ] });
    let data = nested(60, json!({}), |inner| json!({ "a": inner }));
    let pattern = json!({ "items": { "pattern": "^(a|b|ab)*c{0,300}$" }, "type": "array" });
    let long = json!(vec!["ab".repeat(400); 20]);
    let large = json!({ "items": { "anyOf": [{ "enum": [vec![0; 3_000]] }, true] }, "type": "array" });
    for (source, value) in [(both, data), (pattern, long), (large, json!(vec![json!([0]); 4_000]))] {
        let told = soon("work", || check(&source, &value));
        assert!(told[0].contains("takes more work than one request may cost"), "{told:?}");
        assert_eq!(told.len(), 1);
    }
    // The largest data that fits a session is no work at all for a usual schema.
    let usual = json!({ "cart": "integer[]" });
    assert_eq!(check(&usual, &json!({ "cart": vec![1; 8_000] })), Vec::<String>::new());
    let unique = json!({ "uniqueItems": true, "items": { "type": "integer" } });
    assert_eq!(check(&unique, &json!((0..3_000).collect::<Vec<_>>())), Vec::<String>::new());
}

#[test]
fn depth_takes_no_stack_that_is_not_there() {
    // As deep as data and references may be, on a small stack.
    let source = json!({ "$ref": "#/$defs/a", "$defs": { "a": { "allOf": [{ "allOf": [{ "anyOf": [
        { "not": { "not": { "items": { "$ref": "#/$defs/a" } } } } ] }] }] } } });
    let small = std::thread::Builder::new().stack_size(1 << 20).spawn(move || {
        let data = nested(64, json!([]), |inner| json!([inner]));
        check(&source, &data)
    });
    let told = small.unwrap().join().unwrap();
    assert!(told.is_empty() || told[0].contains("more work"), "{told:?}");
}

#[test]
fn an_answer_has_bounds() {
    let source = json!({ "items": { "type": "string" }, "type": "array" });
    assert_eq!(check(&source, &json!(vec![1; 4_000])).len(), TOLD);
    let name = "n".repeat(16_000);
    let told = check(&json!({ "additionalProperties": false }), &json!({ name: 1 }));
    assert!(told[0].len() < 600, "{}", told[0].len());
    let words: Vec<String> = (0..300).map(|n| format!("word-{n}")).collect();
    assert!(check(&json!({ "enum": words }), &json!("x"))[0].len() < 400);
}
