//! `/v1/environments`: made, listed, removed with everything in them.

use crate::world::{Answer, World};
use handstamp_core::environment::EnvironmentName;
use handstamp_server::codec::sessions;
use handstamp_server::store::{Query, Store};
use http::Method;
use serde_json::{Value, json};

async fn operate(world: &World, method: Method, path: &str, body: Option<Value>) -> Answer {
    let call = world.call(method, path).key(&world.operator);
    match body {
        Some(body) => call.json(&body).send().await,
        None => call.send().await,
    }
}

#[tokio::test]
async fn made_and_listed() {
    let world = World::new().await;
    let body = json!({ "product": "shop", "environment": "prd" });
    let made = operate(&world, Method::POST, "/v1/environments", Some(body.clone())).await.expect(201);
    assert_eq!(
        made,
        json!({ "product": "shop", "environment": "prd", "created_at": "2026-01-01T00:00:00.000Z" })
    );
    operate(&world, Method::POST, "/v1/environments", Some(body)).await.refused(409, "already_exists");
    let list = operate(&world, Method::GET, "/v1/environments", None).await.expect(200);
    assert_eq!(list["next_cursor"], Value::Null);
    let names: Vec<&Value> = list["items"].as_array().unwrap().iter().map(|env| &env["product"]).collect();
    assert_eq!(json!(names), json!(["default", "shop"]));
}

#[tokio::test]
async fn names_are_checked_each_in_its_place() {
    let world = World::new().await;
    for (product, environment, pointer) in [
        ("", "prd", "/product"),
        ("Shop", "prd", "/product"),
        ("a/b", "prd", "/product"),
        ("-a", "prd", "/product"),
        ("shop", "", "/environment"),
        ("shop", "p d", "/environment"),
        ("shop", &"e".repeat(41), "/environment"),
    ] {
        let body = json!({ "product": product, "environment": environment });
        operate(&world, Method::POST, "/v1/environments", Some(body)).await.invalid(pointer);
    }
    let longest = json!({ "product": "p".repeat(40), "environment": "e".repeat(40) });
    operate(&world, Method::POST, "/v1/environments", Some(longest)).await.expect(201);
    let reserved = json!({ "product": "handstamp", "environment": "prd" });
    operate(&world, Method::POST, "/v1/environments", Some(reserved)).await.refused(409, "reserved");
}

#[tokio::test]
async fn removed_at_once_and_swept_away_behind() {
    let world = World::new().await;
    let shop = world.make_environment("shop", "prd").await;
    let name = EnvironmentName::parse("shop/prd").unwrap();
    let id = world.app.all_environments().iter().find(|env| env.record.name == name).unwrap().record.id;
    let create = || {
        let call = world.call(Method::POST, "/v1/sessions").key(&shop.token).header("idempotency-key", "one");
        call.json(&json!({ "user_id": "ada", "data": { "a": 1 } })).send()
    };
    create().await.expect(201);
    let left = async || {
        let query =
            Query { space: sessions(id), all: vec![], from: None, until: None, cursor: None, limit: 10 };
        world.store.search(&query).await.unwrap().items.len()
    };
    assert_eq!(left().await, 1);
    let gone = operate(&world, Method::DELETE, "/v1/environments/shop/prd", None).await.expect(200);
    assert_eq!(gone, json!({ "removed": 1 }));
    create().await.refused(401, "access_key_invalid");
    operate(&world, Method::DELETE, "/v1/environments/shop/prd", None).await.refused(404, "not_found");
    let named =
        world.call(Method::GET, "/v1/sessions").key(&world.operator).header("x-handstamp-env", "shop/prd");
    named.send().await.refused(404, "not_found");
    assert!(world.app.tidy().await.is_ok());
    assert_eq!(left().await, 0, "its records are gone");
    world.login("ada").await;
}

#[tokio::test]
async fn the_last_one_stays() {
    let world = World::new().await;
    operate(&world, Method::DELETE, "/v1/environments/default/prd", None).await.refused(409, "reserved");
    world.make_environment("shop", "prd").await;
    operate(&world, Method::DELETE, "/v1/environments/default/prd", None).await.expect(200);
    operate(&world, Method::DELETE, "/v1/environments/shop/prd", None).await.refused(409, "reserved");
    for path in ["/v1/environments/Shop/prd", "/v1/environments/a/b", "/v1/environments/handstamp/prd"] {
        operate(&world, Method::DELETE, path, None).await.refused(404, "not_found");
    }
}
