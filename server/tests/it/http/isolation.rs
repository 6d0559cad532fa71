//! Nothing crosses environments: every route, with the ids, keys, tokens and cursors of one and the key of another.

use crate::world::{Answer, Made, World};
use http::Method;
use serde_json::{Value, json};

struct Two {
    world: World,
    shop: Made,
    mine: Made,
    theirs: Made,
}

async fn two() -> Two {
    let world = World::new().await;
    let shop = world.make_environment("shop", "prd").await;
    let mine = world.create(json!({ "user_id": "ada", "tags": ["a:b"], "ip": "203.0.113.7" })).await;
    let body = json!({ "user_id": "ada", "tags": ["a:b"], "ip": "203.0.113.7" });
    let call = world.call(Method::POST, "/v1/sessions").key(&shop.token).json(&body);
    let made = call.send().await.expect(201);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let theirs = Made { id: text(&made["session"]["id"]), token: text(&made["token"]) };
    Two { world, shop, mine, theirs }
}

impl Two {
    async fn theirs_is_untouched(&self) {
        let call =
            self.world.call(Method::GET, &format!("/v1/sessions/{}", self.theirs.id)).key(&self.shop.token);
        let session = call.send().await.expect(200);
        assert_eq!((&session["state"], &session["tags"]), (&json!("live"), &json!(["a:b"])));
        let body = json!({ "token": self.theirs.token });
        let call = self.world.call(Method::POST, "/v1/sessions/validate").key(&self.shop.token).json(&body);
        assert_eq!(call.send().await.expect(200)["valid"], true);
    }
    async fn shop(&self, method: Method, path: &str) -> Answer {
        self.world.call(method, path).key(&self.shop.token).send().await
    }
}

#[tokio::test]
async fn sessions_of_another_environment_are_not_there() {
    let two = two().await;
    let path = format!("/v1/sessions/{}", two.theirs.id);
    two.world.get(&path).await.refused(404, "not_found");
    two.world.get(&format!("{path}/events")).await.refused(404, "not_found");
    two.world.patch(&path, json!({ "tags": { "add": ["x:y"] } })).await.refused(404, "not_found");
    two.world.delete(&path).await.refused(404, "not_found");
    two.theirs_is_untouched().await;
}

#[tokio::test]
async fn tokens_of_another_environment_are_no_tokens() {
    let two = two().await;
    assert_eq!(two.world.verdict(&two.theirs.token).await, "token_malformed");
    let batch = json!({ "requests": [{ "token": two.theirs.token }, { "token": two.mine.token }] });
    let results = two.world.post("/v1/sessions/validate-batch", batch).await.expect(200)["results"].clone();
    assert_eq!((&results[0]["code"], &results[1]["valid"]), (&json!("token_malformed"), &json!(true)));
    let none = json!({ "ended": 0, "sessions": [] });
    assert_eq!(
        two.world.post("/v1/sessions/revoke", json!({ "token": two.theirs.token })).await.expect(200),
        none
    );
    for except in [&two.theirs.token, &two.theirs.id] {
        let body = json!({ "user_id": "ada", "except": except });
        two.world.post("/v1/sessions/revoke", body).await.refused(409, "except_invalid");
    }
    assert_eq!(two.world.verdict(&two.mine.token).await, "valid");
    two.theirs_is_untouched().await;
}

#[tokio::test]
async fn lists_counts_and_mass_ends_stay_inside() {
    let two = two().await;
    for query in ["", "?user_id=ada", "?tag=a:b", "?ip=203.0.113.0/24", "?state=all"] {
        let page = two.world.get(&format!("/v1/sessions{query}")).await.expect(200);
        assert_eq!(
            (page["items"].as_array().unwrap().len(), &page["items"][0]["id"]),
            (1, &json!(two.mine.id))
        );
        assert_eq!(two.world.get(&format!("/v1/sessions/count{query}")).await.expect(200)["count"], 1);
    }
    let change = json!({ "filter": { "tags": ["a:b"] }, "update": { "tags": { "add": ["x:y"] } } });
    assert_eq!(two.world.post("/v1/sessions/update", change).await.expect(200)["updated"], 1);
    for body in [json!({ "ip": "203.0.113.7" }), json!({ "user_id": "ada" })] {
        two.world.login("ada").await;
        two.world.post("/v1/sessions/revoke", body).await.expect(200);
    }
    for body in [json!({ "tags": ["a:b"] }), json!({ "all": true })] {
        two.world.post("/v1/sessions/revoke", body).await.expect(202);
    }
    assert!(two.world.app.tidy().await.is_ok());
    two.theirs_is_untouched().await;
}

#[tokio::test]
async fn idempotency_names_stay_inside() {
    let two = two().await;
    let create = async |key: &str, env: &str| {
        let call = two.world.call(Method::POST, "/v1/sessions").key(key).header("x-handstamp-env", env);
        call.header("idempotency-key", "one").json(&json!({ "user_id": "ada" })).send().await.expect(201)["token"].clone()
    };
    let key = &two.world.operator;
    assert_ne!(create(key, "default/prd").await, create(key, "shop/prd").await);
    assert_eq!(create(key, "shop/prd").await, create(key, "shop/prd").await);
}

#[tokio::test]
async fn keys_of_another_environment_are_not_there() {
    let two = two().await;
    let path = format!("/v1/keys/{}", two.shop.id);
    two.world.get(&path).await.refused(404, "not_found");
    two.world.patch(&path, json!({ "state": "suspended" })).await.refused(404, "not_found");
    two.world.post(&format!("{path}/rotate"), json!({})).await.refused(404, "not_found");
    two.world.delete(&path).await.refused(404, "not_found");
    let mine = two.world.get("/v1/keys").await.expect(200)["items"].clone();
    assert!(mine.as_array().unwrap().iter().all(|key| key["product"] == "default"), "{mine}");
    let theirs = two.shop(Method::GET, "/v1/keys").await.expect(200)["items"].clone();
    assert_eq!((theirs.as_array().unwrap().len(), &theirs[0]["id"]), (1, &json!(two.shop.id)));
    two.theirs_is_untouched().await;
}

#[tokio::test]
async fn the_same_name_made_again_is_another_environment() {
    let two = two().await;
    let call = two.world.call(Method::DELETE, "/v1/environments/shop/prd").key(&two.world.operator);
    call.send().await.expect(200);
    let again = two.world.make_environment("shop", "prd").await;
    let get = two.world.call(Method::GET, &format!("/v1/sessions/{}", two.theirs.id)).key(&again.token);
    get.send().await.refused(404, "not_found");
    let body = json!({ "token": two.theirs.token });
    let validate = two.world.call(Method::POST, "/v1/sessions/validate").key(&again.token).json(&body);
    assert_eq!(validate.send().await.expect(200)["code"], "token_malformed");
    two.shop(Method::GET, "/v1/sessions").await.refused(401, "access_key_invalid");
}
