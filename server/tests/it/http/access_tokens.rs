//! Access tokens over HTTP: made of live sessions, verified by the server, dead with their session.

mod sessions;
mod verdicts;

use crate::world::{Answer, Options, World};
use handstamp_core::jose::base64url;
use handstamp_core::jose::key::Algorithm;
use handstamp_core::time::Span;
use handstamp_server::app::access_tokens::Makers;
use serde_json::{Value, json};

/// What a token says, whoever signed it.
pub(crate) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap_or_else(|| panic!("{token}"));
    serde_json::from_slice(&base64url::decode(payload).unwrap()).unwrap()
}

fn header(token: &str) -> Value {
    serde_json::from_slice(&base64url::decode(token.split('.').next().unwrap()).unwrap()).unwrap()
}

/// Asks for a token of a session.
pub(crate) async fn ask(world: &World, id: &str, body: Value) -> Answer {
    world.post(&format!("/v1/sessions/{id}/access-tokens"), body).await
}

/// A token of a session.
pub(crate) async fn minted(world: &World, id: &str, body: Value) -> String {
    ask(world, id, body).await.expect(201)["token"].as_str().unwrap().to_owned()
}

const START: u64 = 1_767_225_600; // 2026-01-01

#[tokio::test]
async fn a_token_says_what_its_session_is() {
    let world = World::new().await;
    let made = world
        .post(
            "/v1/sessions",
            json!({
                "user_id": "ada", "tags": ["role:admin", "type:web"], "access_groups": ["staff"],
                "data": { "plan": "secret-plan" }, "auth": { "methods": ["password", "otp"], "level": 2 },
                "access_token": { "claims": { "tenant": { "id": 7 } } }
            }),
        )
        .await
        .expect(201);
    let token = made["access_token"]["token"].as_str().unwrap();
    assert_eq!(made["access_token"]["expires_at"], "2026-01-01T00:05:00.000Z");
    let (header, said) = (header(token), claims(token));
    assert_eq!((header["alg"].as_str(), header["typ"].as_str()), (Some("EdDSA"), Some("at+jwt")));
    assert_eq!(header.as_object().unwrap().len(), 3, "{header}");
    assert_eq!(said["sid"], made["session"]["id"], "readable by whoever holds it");
    let expected = json!({
        "iss": "handstamp:default/prd", "aud": "default/prd", "sub": "ada", "sid": made["session"]["id"],
        "iat": START, "nbf": START, "exp": START + 300, "jti": said["jti"], "tags": ["role:admin", "type:web"],
        "groups": ["staff"], "amr": ["password", "otp"], "acr": "2", "auth_time": START, "auth_epoch": START * 1_000,
        "epoch": 0, "data": said["data"], "tenant": { "id": 7 }
    });
    assert_eq!(said, expected);
    // The data is in it, and nobody without the key reads it.
    let sealed = said["data"].as_str().unwrap();
    assert_eq!(sealed.split('.').count(), 5);
    for part in token.split('.').chain(sealed.split('.')) {
        assert!(!String::from_utf8_lossy(&base64url::decode(part).unwrap()).contains("secret-plan"));
    }
    let keys = world.get("/v1/keys/data").await.expect(200);
    let key = &keys["keys"][0];
    let jwe: Value =
        serde_json::from_slice(&base64url::decode(sealed.split('.').next().unwrap()).unwrap()).unwrap();
    assert_eq!(jwe, json!({ "alg": "dir", "enc": "A256GCM", "kid": key["kid"], "typ": "session+jwe" }));
    // Every token has a name of its own, and data that is sealed anew.
    let again = claims(&minted(&world, made["session"]["id"].as_str().unwrap(), json!({})).await);
    assert!(again["jti"] != said["jti"] && again["data"] != said["data"]);
    // A session without data, without anything.
    let plain = world.post("/v1/sessions", json!({ "user_id": "bob", "access_token": {} })).await.expect(201);
    let said = claims(plain["access_token"]["token"].as_str().unwrap());
    for absent in ["data", "amr", "acr", "act", "status"] {
        assert!(said.get(absent).is_none(), "{said}");
    }
    assert!(
        world.post("/v1/sessions", json!({ "user_id": "c" })).await.expect(201).get("access_token").is_none()
    );
}

#[tokio::test]
async fn who_acts_in_the_users_place_is_named() {
    let world = World::new().await;
    let body =
        json!({ "user_id": "ada", "actor": { "id": "grace", "reason": "ticket 1" }, "access_token": {} });
    let made = world.post("/v1/sessions", body).await.expect(201);
    let said = claims(made["access_token"]["token"].as_str().unwrap());
    assert_eq!((&said["act"], &said["sub"]), (&json!({ "sub": "grace" }), &json!("ada")));
    assert!(said["tags"].as_array().unwrap().contains(&json!("kind:impersonation")));
}

#[tokio::test]
async fn a_token_is_as_short_as_everybody_wants() {
    let world = World::new().await;
    let made = world.create(json!({ "user_id": "ada", "expires_in": 3_600 })).await;
    let end = async |body: Value| {
        let said = claims(&minted(&world, &made.id, body).await);
        (said["nbf"].as_u64().unwrap() - START, said["exp"].as_u64().unwrap() - START)
    };
    assert_eq!(end(json!({})).await, (0, 300), "the policy's");
    assert_eq!(end(json!({ "lifetime": 60 })).await, (0, 60));
    assert_eq!(end(json!({ "lifetime": 86_400 })).await, (0, 300), "never longer than the policy's");
    assert_eq!(end(json!({ "not_before": "2026-01-01T00:10:00.000Z" })).await, (600, 900));
    assert_eq!(end(json!({ "not_before": "2025-01-01T00:00:00.000Z" })).await, (0, 300), "not before now");
    let late = json!({ "not_before": "2026-01-01T01:00:00.000Z" });
    ask(&world, &made.id, late).await.invalid("/not_before");
    assert_eq!(
        end(json!({ "not_before": "2026-01-01T00:58:00.000Z" })).await,
        (3_480, 3_600),
        "nor beyond its session"
    );
    world.advance(Span::millis(3_600_000 - 1_500));
    assert_eq!(end(json!({})).await, (3_598, 3_600), "not even by a part of a second");
}

#[tokio::test]
async fn for_whom_and_with_what() {
    let world = World::new().await;
    let made = world.login("ada").await;
    let to = async |body: Value| claims(&minted(&world, &made.id, body).await)["aud"].clone();
    assert_eq!(to(json!({ "audience": "billing" })).await, "billing");
    assert_eq!(to(json!({ "audience": ["a", "b"] })).await, json!(["a", "b"]));
    assert_eq!(to(json!({ "audience": ["a"] })).await, "a");
    ask(&world, &made.id, json!({ "algorithm": "ES256" })).await.refused(409, "signing_key_missing");
    world.post("/v1/keys/signing/rotate", json!({ "algorithm": "ES256" })).await.expect(201);
    let token = minted(&world, &made.id, json!({ "algorithm": "ES256" })).await;
    assert_eq!(header(&token)["alg"], "ES256");
    assert_eq!(world.verdict(&token).await, "valid");
}

#[tokio::test]
async fn what_the_configuration_says_has_a_key_from_the_start_on_and_gives_tokens_their_issuer() {
    let issuer = Some("https://auth.example.org".to_owned());
    let tokens = Makers { issuer, algorithm: Algorithm::Es256 };
    let world = World::with(Options { tokens, ..Options::default() }).await;
    let made = world.login("ada").await;
    let token = minted(&world, &made.id, json!({})).await;
    assert_eq!(header(&token)["alg"], "ES256");
    let said = claims(&token);
    assert_eq!(said["iss"], "https://auth.example.org/default/prd");
    let list = &said["status"]["status_list"];
    assert!(list["uri"].as_str().unwrap().starts_with("https://auth.example.org/v1/status-lists/"), "{said}");
    assert_eq!(world.verdict(&token).await, "valid");
    let edwards = minted(&world, &made.id, json!({ "algorithm": "EdDSA" })).await;
    assert_eq!(world.verdict(&edwards).await, "valid");
    assert_eq!(claims(&edwards)["status"], said["status"], "a session has one place");
    // An environment that is made later has both, too.
    let shop = world.make_environment("shop", "stg").await;
    let call = world.call(http::Method::POST, "/v1/sessions").key(&shop.token);
    let made = call.json(&json!({ "user_id": "ada", "access_token": {} })).send().await.expect(201);
    let token = made["access_token"]["token"].as_str().unwrap();
    assert_eq!(
        (&header(token)["alg"], &claims(token)["iss"]),
        (&json!("ES256"), &json!("https://auth.example.org/shop/stg"))
    );
}

#[tokio::test]
async fn what_cannot_be_asked_for() {
    let world = World::new().await;
    let made = world.login("ada").await;
    let long = "x".repeat(257);
    let many: Vec<String> = (0..9).map(|n| n.to_string()).collect();
    let big = "y".repeat(2_040);
    for (body, field) in [
        (json!({ "audience": "" }), "audience"),
        (json!({ "audience": [] }), "audience"),
        (json!({ "audience": ["a", ""] }), "audience"),
        (json!({ "audience": long }), "audience"),
        (json!({ "audience": many }), "audience"),
        (json!({ "audience": "a\nb" }), "audience"),
        (json!({ "lifetime": 0 }), "lifetime"),
        (json!({ "lifetime": 86_401 }), "lifetime"),
        (json!({ "lifetime": u64::MAX }), "lifetime"),
        (json!({ "not_before": "2026-01-02T00:00:00.001Z" }), "not_before"),
        (json!({ "not_before": "tomorrow" }), "not_before"),
        (json!({ "claims": [] }), "claims"),
        (json!({ "claims": { "sub": "eve" } }), "claims"),
        (json!({ "claims": { "cnf": {} } }), "claims"),
        (json!({ "claims": { "big": big } }), "claims"),
        (json!({ "algorithm": "HS256" }), "algorithm"),
        (json!({ "algorithm": "none" }), "algorithm"),
    ] {
        ask(&world, &made.id, body.clone()).await.invalid(&format!("/{field}"));
        let nested = json!({ "user_id": "eve", "access_token": body });
        world.post("/v1/sessions", nested).await.invalid(&format!("/access_token/{field}"));
    }
    let twice = r#"{"claims":{"a":1,"a":2}}"#;
    let call = world.call(http::Method::POST, &format!("/v1/sessions/{}/access-tokens", made.id));
    call.header("content-type", "application/json").body(twice).send().await.refused(400, "invalid_request");
    ask(&world, &made.id, json!({ "audience": "a", "extra": 1 })).await.refused(400, "invalid_request");
    let login = json!({ "redirect_uri": "https://app.example/" });
    let body = json!({ "user_id": "eve", "access_token": {}, "login": login });
    world.post("/v1/sessions", body).await.invalid("/access_token");
    assert_eq!(world.get("/v1/sessions/count?user_id=eve").await.expect(200)["count"], 0, "nothing was made");
    ask(&world, "ses_0000000000000000000000", json!({})).await.refused(404, "not_found");
    world.delete(&format!("/v1/sessions/{}", made.id)).await.expect(200);
    ask(&world, &made.id, json!({})).await.refused(409, "session_ended");
}

#[tokio::test]
async fn data_that_is_too_long_for_a_token() {
    let world = World::new().await;
    let of = |n: usize| json!({ "x": "d".repeat(n - 8) }); // `{"x":""}` are eight
    let fits = world.create(json!({ "user_id": "ada", "data": of(3_072) })).await;
    let token = minted(&world, &fits.id, json!({})).await;
    assert!(token.len() <= 8_192);
    assert_eq!(world.validate(&token).await["session"]["data"], of(3_072));
    let over = world.create(json!({ "user_id": "ada", "data": of(3_073) })).await;
    let problem = ask(&world, &over.id, json!({})).await.refused(409, "data_too_large");
    assert!(problem["detail"].as_str().unwrap().contains("3072"), "{problem}");
    // Nothing is made, where one is wanted with the session; nothing is changed, where one is wanted with a refresh.
    let body = json!({ "user_id": "bob", "data": of(3_073), "refresh": true, "access_token": {} });
    world.post("/v1/sessions", body).await.refused(409, "data_too_large");
    assert_eq!(world.get("/v1/sessions/count?user_id=bob").await.expect(200)["count"], 0);
    let long = world
        .post("/v1/sessions", json!({ "user_id": "bob", "data": of(3_073), "refresh": true }))
        .await
        .expect(201);
    let again = json!({ "refresh_token": long["refresh_token"], "access_token": {} });
    world.post("/v1/sessions/refresh", again).await.refused(409, "data_too_large");
    let id = long["session"]["id"].as_str().unwrap();
    assert_eq!(world.get(&format!("/v1/sessions/{id}")).await.expect(200)["generation"], 0);
    // Everything together, too long for a reader: names of tags and groups count.
    let tags: Vec<String> = (0..32).map(|n| format!("t{n}:{}", "v".repeat(100))).collect();
    let wide = world.create(json!({ "user_id": "eve", "tags": tags, "data": of(3_072) })).await;
    ask(&world, &wide.id, json!({})).await.refused(409, "data_too_large");
}

/// So many would have to go that they go ahead of it: not for a session that is not made.
#[tokio::test]
async fn nobody_goes_for_a_session_whose_token_cannot_be_made() {
    let world = World::new().await;
    let most = async |n: u32| {
        let policy = json!({ "default": { "max_sessions": n } });
        world.call(http::Method::PUT, "/v1/policies").json(&policy).send().await.expect(200);
    };
    most(600).await;
    for _ in 0..510 {
        world.login("ada").await;
    }
    most(1).await;
    let body = json!({ "user_id": "ada", "data": { "x": "d".repeat(3_072) }, "access_token": {} });
    world.post("/v1/sessions", body).await.refused(409, "data_too_large");
    assert_eq!(world.get("/v1/sessions/count?user_id=ada").await.expect(200)["count"], 510);
    let body = json!({ "user_id": "ada", "access_token": {} });
    world.post("/v1/sessions", body).await.expect(201);
    assert_eq!(world.get("/v1/sessions/count?user_id=ada").await.expect(200)["count"], 1);
}
