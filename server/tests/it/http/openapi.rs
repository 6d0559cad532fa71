//! The OpenAPI document says what the server does: committed, complete, and whole in itself.

use crate::world::World;
use handstamp_core::refusal::Code;
use handstamp_server::compat::propelauth_byo;
use handstamp_server::http::openapi;
use handstamp_server::http::routes::{Needs, table};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

/// The document of all that is served.
fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| openapi::document([propelauth_byo::described()]));
    &DOCUMENT
}

fn committed() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi.json")
}

#[test]
fn the_committed_document_is_the_generated_one() {
    #[expect(
        clippy::disallowed_methods,
        reason = "how a developer says that the file is to be written again"
    )]
    let update = std::env::var_os("HANDSTAMP_UPDATE").is_some_and(|value| value == "1");
    if update {
        std::fs::write(committed(), openapi::text(document())).unwrap();
    }
    let stale = std::fs::read_to_string(committed()).unwrap_or_default() != openapi::text(document());
    assert!(!stale, "openapi.json is stale; run the tests with HANDSTAMP_UPDATE=1 and commit it");
}

/// (method, path) of every operation.
fn described() -> BTreeSet<(String, String)> {
    let paths = document()["paths"].as_object().unwrap();
    let of = |(path, item): (&String, &Value)| {
        let methods =
            item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect::<Vec<_>>();
        methods.into_iter().map(move |method| (method, path.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(|(path, item)| of((path, item))).collect()
}

#[test]
fn every_route_is_described_and_every_description_is_a_route() {
    let ours = table().into_iter().map(|route| (route.method.to_owned(), route.path.to_owned()));
    let foreign = [("POST".to_owned(), propelauth_byo::PATH.to_owned())];
    let routed: BTreeSet<_> = ours.chain(foreign).collect();
    assert_eq!(routed, described());
}

#[test]
fn parameters_keys_and_codes_are_those_of_the_table() {
    for route in table() {
        let at = format!("/paths/{}/{}", route.path.replace('/', "~1"), route.method.to_lowercase());
        let operation = document().pointer(&at).unwrap();
        let empty = Vec::new();
        let params = operation["parameters"].as_array().unwrap_or(&empty);
        let named = |place: &str| -> BTreeSet<&str> {
            params.iter().filter(|p| p["in"] == place).map(|p| p["name"].as_str().unwrap()).collect()
        };
        assert_eq!(named("query"), route.params.iter().copied().collect(), "{at}");
        let braced: BTreeSet<&str> =
            route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        assert_eq!(named("path"), braced, "{at}");
        assert!(params.iter().all(|p| p["description"].as_str().is_some_and(|d| !d.is_empty())), "{at}");
        let open = operation["security"].as_array().unwrap().is_empty();
        assert_eq!(open, route.needs == Needs::Nothing, "{at}");
        let mut codes = BTreeSet::new();
        for (status, response) in operation["responses"].as_object().unwrap() {
            let Some(examples) = response["content"]["application/problem+json"]["examples"].as_object()
            else {
                continue;
            };
            for code in examples.keys() {
                assert_eq!(Code::parse(code).unwrap().status().to_string(), *status, "{at}");
                codes.insert(Code::parse(code).unwrap());
            }
        }
        assert_eq!(codes, route.refusals.iter().copied().collect(), "{at}");
    }
}

#[test]
fn codes_are_the_closed_list_and_every_reference_leads_somewhere() {
    let document = document();
    assert_eq!(document["openapi"].as_str().unwrap().get(..3), Some("3.1"));
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.text()).collect();
    assert_eq!(document["components"]["schemas"]["Code"]["enum"], serde_json::json!(codes));
    let mut seen = 0;
    each(document, &mut |value| {
        if let Some(target) = value["$ref"].as_str() {
            let found = document.pointer(target.strip_prefix('#').unwrap());
            assert!(found.is_some_and(|found| !found.is_null()), "{target} leads nowhere");
            seen += 1;
        }
    });
    assert!(seen > 100, "{seen}");
}

fn each(value: &Value, visit: &mut dyn FnMut(&Value)) {
    visit(value);
    match value {
        Value::Array(all) => all.iter().for_each(|one| each(one, visit)),
        Value::Object(all) => all.values().for_each(|one| each(one, visit)),
        _ => {}
    }
}

#[tokio::test]
async fn it_is_served() {
    let world = World::new().await;
    let answer = world.call(http::Method::GET, "/openapi.json").no_key().send().await;
    assert_eq!(answer.expect(200), *document());
    assert_eq!(answer.text(), openapi::text(document()));
    assert_eq!(answer.header("content-type"), "application/json");
}
