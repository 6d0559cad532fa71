//! Whom the door believes: trusted proxies, those that show a key, and nobody else.

use super::{PATH, trusting};
use crate::world::{Options, World};
use handstamp_core::address::Network;
use handstamp_core::environment::{EnvironmentName, Environments};
use handstamp_core::policy::{Policy, Rules};
use handstamp_server::http::browser::Browsers;
use handstamp_server::http::peer::Trust;
use http::Method;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

#[tokio::test]
async fn only_a_trusted_proxy_says_where_its_client_is() {
    let rules = Rules {
        ip_allow: Some(Arc::new([Network::parse("203.0.113.0/24").unwrap()].into_iter().collect())),
        ..Rules::default()
    };
    for (trust, code) in [(trusting(), ""), (Trust::default(), "ip_missing")] {
        let world =
            World::with(Options { trust, policy: Some(Policy::from(rules.clone())), ..Options::default() })
                .await;
        let made = world.create(json!({"user_id": "ada", "ip": "203.0.113.7"})).await;
        let ask =
            |forwarded: &str| world.ask(PATH).cookie(&made.token).header("x-forwarded-for", forwarded).send();
        let answer = ask("203.0.113.7").await;
        if code.is_empty() {
            answer.passes();
            ask("198.51.100.1").await.denied(403, "ip_not_allowed");
            ask("203.0.113.7, 198.51.100.1").await.denied(403, "ip_not_allowed");
            // A proxy that says nothing of its client has not been asked by itself.
            world.ask(PATH).cookie(&made.token).send().await.denied(403, "ip_missing");
            ask("nonsense").await.denied(403, "ip_missing");
        } else {
            answer.denied(403, code);
        }
    }
}

#[tokio::test]
async fn the_environment_goes_by_the_host_of_the_client() {
    let name = |text: &str| EnvironmentName::parse(text).unwrap();
    let map = [("app.example.org", "default/prd"), ("dev.example.org", "shop/dev")];
    let map: BTreeMap<_, _> = map.into_iter().map(|(host, env)| (host.to_owned(), name(env))).collect();
    for trust in [trusting(), Trust::default()] {
        let believed = !trust.proxies.is_empty();
        let browsers = Browsers { environments: Environments::ByHost(map.clone()), ..Browsers::default() };
        let world = World::with(Options { trust, browsers, ..Options::default() }).await;
        let key = world.make_environment("shop", "dev").await;
        let here = world.login("ada").await;
        let there =
            world.call(Method::POST, "/v1/sessions").key(&key.token).json(&json!({"user_id": "dora"}));
        let there = there.send().await.expect(201)["token"].as_str().unwrap().to_owned();
        let ask = |host: &str, token: &str| world.ask(PATH).cookie(token).header("host", host);
        assert_eq!(ask("app.example.org", &here.token).send().await.passes()[1], "ada");
        assert_eq!(ask("DEV.example.org:8443", &there).send().await.passes()[1], "dora");
        ask("dev.example.org", &here.token).send().await.denied(401, "session_not_found");
        ask("evil.example.org", &here.token).send().await.denied(404, "not_found");
        let forwarded =
            ask("app.example.org", &there).header("x-forwarded-host", "dev.example.org").send().await;
        if believed {
            assert_eq!(forwarded.passes()[1], "dora");
        } else {
            forwarded.denied(401, "session_not_found");
        }
        // The last of several hops spoke to us; several lines are nobody's word.
        let hops = ask("app.example.org", &here.token)
            .header("x-forwarded-host", "dev.example.org, app.example.org");
        hops.send().await.passes();
    }
}

#[tokio::test]
async fn on_the_main_listener_a_proxy_shows_its_key() {
    let world = World::new().await;
    let made = world.create(json!({"user_id": "ada", "ip": "203.0.113.7"})).await;
    let ask = || world.call(Method::GET, PATH).no_key().cookie(&made.token);
    ask().send().await.denied(401, "access_key_missing");
    ask()
        .header("authorization", &format!("Bearer {}", world.key))
        .send()
        .await
        .denied(401, "access_key_missing");
    ask().header("x-handstamp-key", "hsk_wrong").send().await.denied(401, "access_key_invalid");
    let twice = ask().header("x-handstamp-key", &world.key).add_header("x-handstamp-key", &world.key);
    twice.send().await.denied(401, "access_key_invalid");
    let weak = world.make_key(json!({"name": "weak", "scopes": ["keys:write"]})).await;
    ask().header("x-handstamp-key", &weak.token).send().await.denied(403, "insufficient_scope");
    let answer = ask().header("x-handstamp-key", &world.key).send().await;
    assert_eq!(answer.passes()[1], "ada");
    // Its environment is its own, whatever a client may have written beside it.
    world.make_environment("shop", "dev").await;
    let named = ask().header("x-handstamp-key", &world.key).header("x-handstamp-env", "shop/dev");
    named.send().await.passes();
    // On their own listener nobody looks at a key.
    world.ask(PATH).cookie(&made.token).header("x-handstamp-key", "hsk_wrong").send().await.passes();
}
