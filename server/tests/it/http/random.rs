//! Anything at all, thrown at every route: never an accident, never a panic, always a whole answer.

use super::keyed;
use crate::world::{Made, World};
use handstamp_server::http::routes::table;
use http::Method;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::{Value, json};

/// JSON of any shape, with the names that requests use.
fn any_json() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "user_id",
        "tags",
        "data",
        "data_patch",
        "access_groups",
        "expires_in",
        "ip",
        "user_agent",
        "token",
        "rotate",
        "touch",
        "consistency",
        "required_tags",
        "required_access_groups",
        "requests",
        "filter",
        "update",
        "extend",
        "add",
        "remove",
        "all",
        "before",
        "after",
        "except",
        "dry_run",
        "reason",
        "name",
        "scopes",
        "operator",
        "state",
        "overlap",
        "product",
        "environment",
        "x",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|n| json!(n)),
        ".{0,20}".prop_map(Value::from),
        prop::sample::select(vec![
            "ada",
            "role:admin",
            "203.0.113.7",
            "203.0.113.0/24",
            "::1/129",
            "2026-01-01T00:00:00Z",
            "auto",
            "never",
            "strong",
            "cached",
            "TOKEN",
            "ID",
            "KEY",
            "9999-12-31T23:59:59.999Z",
            "0000-01-01T00:00:00Z",
            "sessions:read",
            "suspended",
            "",
        ])
        .prop_map(Value::from),
        prop::sample::select(vec![0u64, 1, 60, 316_224_000, 316_224_001, u64::MAX]).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

#[derive(Clone, Debug)]
enum Body {
    None,
    Bytes(Vec<u8>),
    Json(Value),
}

#[derive(Clone, Debug)]
struct Throw {
    route: usize,
    part: String,
    query: Option<String>,
    body: Body,
    method: Option<&'static str>,
    header: Option<(usize, Vec<u8>)>,
}

fn throws() -> impl Strategy<Value = Throw> {
    let parts = prop_oneof![
        Just("ID".to_owned()),
        Just("KEYID".to_owned()),
        "[a-zA-Z0-9_%.-]{1,30}",
        "(%[0-9a-f]{2}){1,8}",
        prop::sample::select(vec!["default", "prd", "ses_", "key_", "..", "%2e%2e", "%00"])
            .prop_map(str::to_owned),
    ];
    let queries = prop_oneof![
        "[a-z_]{1,10}=[a-zA-Z0-9%:/+.-]{0,20}(&[a-z_]{1,8}=.{0,6})?",
        prop::sample::select(vec![
            "user_id=ada",
            "tag=role:admin",
            "ip=203.0.113.0/24",
            "state=all",
            "limit=200",
            "cursor=00",
            "created_after=x",
            "state=ended&code=session_idle",
            "reason=%F0%9F%98%80",
            "&&&",
            "=",
            "%",
            "limit=7&state=all",
        ])
        .prop_map(str::to_owned),
    ];
    let bodies = prop_oneof![
        Just(Body::None),
        vec(any::<u8>(), 0..200).prop_map(Body::Bytes),
        any_json().prop_map(Body::Json),
        any_json().prop_map(Body::Json),
    ];
    let methods = prop::option::weighted(
        0.1,
        prop::sample::select(vec!["GET", "PUT", "HEAD", "OPTIONS", "TRACE", "BREW"]),
    );
    let header = prop::option::weighted(0.3, (0usize..7, vec(0x20u8..=0xff, 0..40)));
    (any::<prop::sample::Index>(), parts, prop::option::weighted(0.4, queries), bodies, methods, header)
        .prop_map(|(route, part, query, body, method, header)| Throw {
            route: route.index(table().len()),
            part,
            query,
            body,
            method,
            header,
        })
}

/// Puts real names in the place of words.
fn real(value: Value, made: &Made, key: &str) -> Value {
    match value {
        Value::String(text) if text == "TOKEN" => json!(made.token),
        Value::String(text) if text == "ID" => json!(made.id),
        Value::String(text) if text == "KEY" => json!(key),
        Value::Array(all) => all.into_iter().map(|one| real(one, made, key)).collect(),
        Value::Object(all) => {
            Value::Object(all.into_iter().map(|(name, one)| (name, real(one, made, key))).collect())
        }
        other => other,
    }
}

async fn throw(world: &World, made: &Made, key: &Made, throw: &Throw) -> Result<(), TestCaseError> {
    let routes = table();
    let route = &routes[throw.route];
    let part = throw.part.replace("KEYID", &key.id).replace("ID", &made.id);
    let mut path = route.path.to_owned();
    for name in ["{id}", "{product}", "{environment}", "{code}"] {
        path = path.replace(name, &part);
    }
    if let Some(query) = &throw.query {
        path = format!("{path}?{query}");
    }
    let Ok(uri) = path.parse::<http::Uri>() else { return Ok(()) };
    let method: Method = throw.method.unwrap_or(route.method).parse().unwrap();
    let mut call = world.call(method, &uri.to_string()).key(&world.operator);
    call = match &throw.body {
        Body::None => call,
        Body::Bytes(bytes) => call.header("content-type", "application/json").body(bytes.clone()),
        Body::Json(value) => call.json(&real(value.clone(), made, &world.key)),
    };
    if let Some((which, value)) = &throw.header {
        let names = [
            "authorization",
            "content-type",
            "x-handstamp-env",
            "idempotency-key",
            "accept",
            "x-request-id",
            "host",
        ];
        let Ok(text) = http::HeaderValue::from_bytes(value) else { return Ok(()) };
        call = call.header_bytes(names[*which], text);
    }
    let answer = call.send().await;
    prop_assert!(answer.status.as_u16() < 500, "{}: {}", answer.what, String::from_utf8_lossy(&answer.body));
    let name = answer.header("x-request-id");
    prop_assert!(name.len() == 16 || name.starts_with("connection-"), "{}", name);
    Ok(())
}

#[test]
fn nothing_thrown_at_a_route_is_an_accident() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (world, key) = runtime.block_on(async {
        let world = World::new().await;
        let key = world.make_key(json!({ "name": "thrown at" })).await;
        (world, key)
    });
    let made = runtime.block_on(world.login("ada"));
    // The same throws each time, so that a red run says something of the change; other ones in the long run.
    let rng_seed = if crate::engine::full() { RngSeed::Random } else { RngSeed::Fixed(0x5EED) };
    let mut runner =
        TestRunner::new(Config { cases: 1_500, failure_persistence: None, rng_seed, ..Config::default() });
    runner.run(&throws(), |thrown| runtime.block_on(throw(&world, &made, &key, &thrown))).unwrap();
    // The server still works.
    runtime.block_on(async {
        let made = world.login("after").await;
        assert_eq!(world.verdict(&made.token).await, "valid");
        assert!(keyed().len() >= 20);
    });
}
