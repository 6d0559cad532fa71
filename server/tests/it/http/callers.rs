//! Who may call what: every route against every scope, operators, publishable keys.

use super::{keyed, sample};
use crate::world::{Answer, World};
use handstamp_core::caller::Scope;
use handstamp_core::token::Kind;
use handstamp_core::token::access_key::Parts;
use handstamp_server::http::routes::{Needs, Route};
use serde_json::json;

async fn call(world: &World, route: &Route, key: &str) -> Answer {
    let (path, body) = sample(world, route).await;
    let call = world.call(route.method.parse().unwrap(), &path).key(key);
    match body {
        Some(body) => call.json(&body).send().await,
        None => call.send().await,
    }
}

#[tokio::test]
async fn each_route_takes_exactly_its_scope() {
    let world = World::new().await;
    for scope in Scope::ALL {
        let key = world.make_key(json!({ "name": "one scope", "scopes": [scope.text()] })).await.token;
        for route in keyed() {
            let answer = call(&world, &route, &key).await;
            let may = route.needs == Needs::Key(*scope);
            if may {
                assert!(
                    answer.status.is_success(),
                    "{} with {}: {}",
                    answer.what,
                    scope.text(),
                    answer.text()
                );
            } else {
                let problem = answer.refused(403, "insufficient_scope");
                let detail = problem["detail"].as_str().unwrap();
                let needed = match route.needs {
                    Needs::Key(needed) => needed.text(),
                    _ => "operator",
                };
                assert!(detail.contains(needed), "{}: {detail}", answer.what);
            }
        }
    }
}

#[tokio::test]
async fn an_operator_may_do_everything() {
    let world = World::new().await;
    let made = json!({ "name": "second operator", "operator": true });
    let second = world.make_key(made).await.token;
    for route in keyed() {
        for key in [&world.operator, &second] {
            let answer = call(&world, &route, key).await;
            assert!(answer.status.is_success(), "{}: {}", answer.what, answer.text());
        }
    }
}

#[tokio::test]
async fn a_publishable_key_may_do_nothing_here() {
    let world = World::new().await;
    let key = Parts::new(Kind::PublishableKey, [3; 16], [4; 32]).text().reveal().to_owned();
    assert!(key.starts_with("hsp_"));
    for route in keyed() {
        call(&world, &route, &key).await.refused(403, "publishable_key_forbidden");
        // In the header that is its own.
        let (path, body) = sample(&world, &route).await;
        let asked =
            world.call(route.method.parse().unwrap(), &path).no_key().header("x-publishable-key", &key);
        let asked = if let Some(body) = &body { asked.json(body) } else { asked };
        asked.send().await.refused(403, "publishable_key_forbidden");
    }
}

#[tokio::test]
async fn other_credentials_are_no_access_keys() {
    let world = World::new().await;
    let made = world.login("ada").await;
    let damaged = format!("{}x", &world.key[..world.key.len() - 1]);
    let unknown = Parts::new(Kind::AccessKey, [3; 16], [4; 32]).text().reveal().to_owned();
    let wrong_secret = Parts::new(Kind::AccessKey, [7; 16], [4; 32]).text().reveal().to_owned();
    for key in [&made.token, &made.id, &damaged, &unknown, &wrong_secret] {
        for route in keyed() {
            call(&world, &route, key).await.refused(401, "access_key_invalid");
        }
    }
}

#[tokio::test]
async fn an_operator_names_the_environment() {
    let world = World::new().await;
    let shop = world.make_environment("shop", "prd").await;
    let make = |key: String, env: &'static str, user: &'static str| {
        let call = world.call(http::Method::POST, "/v1/sessions").key(&key);
        let call = if env.is_empty() { call } else { call.header("x-handstamp-env", env) };
        call.json(&json!({ "user_id": user })).send()
    };
    make(world.operator.clone(), "", "in default").await.expect(201);
    make(world.operator.clone(), "shop/prd", "in shop").await.expect(201);
    make(world.operator.clone(), "shop/stg", "nowhere").await.refused(404, "not_found");
    make(shop.token.clone(), "", "in shop too").await.expect(201);
    make(shop.token.clone(), "shop/prd", "named by its own key").await.expect(201);
    make(shop.token.clone(), "default/prd", "stranger").await.refused(403, "insufficient_scope");
    let count = async |key: &str| {
        world.call(http::Method::GET, "/v1/sessions/count").key(key).send().await.expect(200)["count"].clone()
    };
    assert_eq!((count(&world.key).await, count(&shop.token).await), (json!(1), json!(3)));
}
