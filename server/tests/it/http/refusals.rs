//! What every address refuses in the same way, and what every answer carries: methods, parameters, keys in addresses,
//! media types, sizes; names of requests and headers.

use super::{keyed, sample};
use crate::world::World;
use handstamp_core::refusal::Code;
use handstamp_server::http::routes::{Needs, table};
use http::Method;
use serde_json::json;
use std::collections::BTreeSet;

fn method(text: &str) -> Method {
    text.parse().unwrap()
}

#[tokio::test]
async fn an_address_says_which_methods_it_has() {
    let world = World::new().await;
    // A verdict is asked for with any.
    let table = || table().into_iter().filter(|route| route.needs != Needs::Proxy).collect::<Vec<_>>();
    let paths: BTreeSet<&str> = table().iter().map(|route| route.path).collect();
    for path in paths {
        let mut allowed: BTreeSet<&str> =
            table().iter().filter(|route| route.path == path).map(|route| route.method).collect();
        if allowed.contains("GET") {
            allowed.insert("HEAD");
        }
        let concrete = path.replace('{', "x").replace('}', "");
        for other in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            if allowed.contains(other) {
                continue;
            }
            let answer = world.call(method(other), &concrete).send().await;
            if other == "HEAD" {
                assert_eq!((answer.status.as_u16(), answer.body.len()), (405, 0));
            } else {
                answer.refused(405, "method_not_allowed");
            }
            let told: BTreeSet<&str> = answer.header("allow").split(',').map(str::trim).collect();
            assert_eq!(told, allowed, "{other} {concrete}");
        }
    }
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let world = World::new().await;
    for path in ["/v1/sessions", "/v1/keys", "/livez", "/docs", "/openapi.json", "/metrics"] {
        let (get, head) = (world.get(path).await, world.call(Method::HEAD, path).send().await);
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
    let refused = world.call(Method::HEAD, "/v1/sessions").no_key().send().await;
    assert_eq!((refused.status.as_u16(), refused.body.len()), (401, 0));
}

#[tokio::test]
async fn unknown_addresses_are_not_found() {
    let world = World::new().await;
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v2/sessions",
        "/v1/sessions/",
        "//v1/sessions",
        "/v1/sessions/a/b",
        "/V1/sessions",
    ] {
        world.get(path).await.refused(404, "not_found");
    }
    for path in
        ["/v1/sessions/%ff", "/v1/sessions/%00", "/v1/sessions/ses_", "/v1/keys/%ff", "/v1/keys/key_x"]
    {
        world.get(path).await.refused(404, "not_found");
    }
    let gone = world.call(Method::DELETE, "/v1/environments/%ff/x").key(&world.operator).send().await;
    gone.refused(404, "not_found");
}

#[tokio::test]
async fn unknown_parameters_are_refused_by_name() {
    let world = World::new().await;
    for route in table().into_iter().filter(|route| route.needs != Needs::Proxy) {
        let (path, body) = sample(&world, &route).await;
        let mut call = world
            .call(
                method(route.method),
                &format!("{path}{}colour=red", if path.contains('?') { '&' } else { '?' }),
            )
            .key(&world.operator);
        if let Some(body) = &body {
            call = call.json(body);
        }
        let problem = call.send().await.invalid("colour");
        for known in route.params {
            assert!(problem["detail"].as_str().unwrap().contains(known), "{path}: {problem}");
        }
    }
    world.get("/v1/sessions?limit=1&limit=2").await.invalid("limit");
    world.get("/v1/sessions?user_id=%ff").await;
}

#[tokio::test]
async fn a_key_in_the_address_is_refused_and_said_why() {
    let world = World::new().await;
    // What stands in the address of a verdict may be the query of the proxy's client.
    for route in table().into_iter().filter(|route| route.needs != Needs::Proxy) {
        for name in ["apikey", "API_KEY", "access_token", "token"] {
            let path = format!("{}?x=1&{name}={}", route.path.replace(['{', '}'], ""), world.key);
            let answer = world.call(method(route.method), &path).no_key().send().await;
            let problem = answer.invalid(&name.to_ascii_lowercase());
            assert!(problem["detail"].as_str().unwrap().contains("do not belong in addresses"), "{problem}");
            assert!(!answer.text().contains(&world.key));
        }
    }
}

#[tokio::test]
async fn bodies_are_json_and_say_so() {
    let world = World::new().await;
    for route in keyed() {
        let (path, Some(body)) = sample(&world, &route).await else { continue };
        for kind in [
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonx",
            "multipart/form-data",
        ] {
            let mut call =
                world.call(method(route.method), &path).key(&world.operator).body(body.to_string());
            if !kind.is_empty() {
                call = call.header("content-type", kind);
            }
            call.send().await.refused(415, "unsupported_media_type");
        }
        for kind in ["application/json; charset=utf-8", "Application/JSON", "application/vnd.shop+json"] {
            let call =
                world.call(method(route.method), &path).key(&world.operator).header("content-type", kind);
            call.body("[]").send().await.refused(400, "invalid_request");
        }
    }
}

#[tokio::test]
async fn bodies_have_a_greatest_size() {
    let world = World::new().await;
    for route in keyed() {
        let (path, Some(body)) = sample(&world, &route).await else { continue };
        let large = route.path.ends_with("-batch")
            || matches!(
                (route.method, route.path),
                ("PUT", "/v1/policies") | ("POST", "/v1/policies/preview")
            );
        let most = if large { 512 * 1024 } else { 64 * 1024 };
        let padded = |length: usize| {
            let text = body.to_string();
            " ".repeat(length - text.len()) + &text
        };
        let call = |text: String| {
            let call = world.call(method(route.method), &path).key(&world.operator);
            call.header("content-type", "application/json").body(text).send()
        };
        let problem = call(padded(most + 1)).await.refused(413, "body_too_large");
        assert!(problem["detail"].as_str().unwrap().contains(&format!("{} KiB", most / 1024)), "{problem}");
        let answer = call(padded(most)).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn every_answer_carries_a_name_of_ours_and_the_headers_of_safety() {
    let world = World::new().await;
    let mut names = BTreeSet::new();
    for route in table() {
        let (path, body) = sample(&world, &route).await;
        for key in [&world.operator, &"hsk_wrong".to_owned()] {
            let mut call =
                world.call(method(route.method), &path).key(key).header("x-request-id", "theirs-12345");
            if let Some(body) = &body {
                call = call.json(body);
            }
            let answer = call.send().await;
            let name = answer.header("x-request-id").to_owned();
            assert!(name.len() == 16 && name.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
            assert!(names.insert(name), "twice");
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
            if route.path.starts_with("/v1/") {
                assert_eq!(answer.header("cache-control"), "no-store", "{path}");
            }
            if route.path == "/v1/sessions/validate" {
                assert!(answer.headers.len() <= 7, "the hot path's headers: {:?}", answer.headers);
                continue;
            }
            assert!(answer.header("content-security-policy").starts_with("default-src 'none'"), "{path}");
            assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
            assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
            assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{path}");
            assert_eq!(answer.header("strict-transport-security"), "", "without TLS it would mean nothing");
        }
    }
}

#[tokio::test]
async fn the_host_of_a_request_does_not_matter() {
    let world = World::new().await;
    for host in ["localhost", "sessions.example.org", "evil.example:80"] {
        world.call(Method::GET, "/v1/sessions").header("host", host).send().await.expect(200);
    }
}

#[tokio::test]
async fn a_missing_or_doubled_key_is_refused() {
    let world = World::new().await;
    for route in keyed() {
        let (path, body) = sample(&world, &route).await;
        let call = || {
            let call = world.call(method(route.method), &path);
            if let Some(body) = &body { call.json(body) } else { call }
        };
        let answer = call().no_key().send().await;
        answer.refused(401, "access_key_missing");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        call().header("authorization", "").send().await.refused(401, "access_key_missing");
        call().add_header("authorization", "Bearer x").send().await.refused(401, "access_key_invalid");
        for wrong in ["Basic aHNrOng=", "Bearer", "Bearer hsk_", "Bearer nonsense", "Bearer \u{e4}"] {
            let answer = call().header("authorization", wrong).send().await;
            assert_eq!(answer.status.as_u16(), 401, "{wrong}");
        }
        let raw = call().header("authorization", &world.operator).send().await;
        assert!(raw.status.is_success(), "{path}: {}", raw.text());
    }
}

#[tokio::test]
async fn the_problem_of_every_status_has_a_page() {
    let world = World::new().await;
    let problem = world.get("/v1/sessions/ses_none").await.refused(404, "not_found");
    let page =
        world.call(Method::GET, problem["type"].as_str().unwrap()).header("accept", "application/json");
    assert_eq!(page.send().await.expect(200)["code"], json!("not_found"));
    assert_eq!(Code::ALL.iter().filter(|code| code.status() == 404).count(), 1);
}
