//! The keys behind access tokens over the API: the public set and who may keep it, the inventory, rotation with two
//! delays and without, and the data keys.

use crate::world::{Answer, World};
use handstamp_core::jose::base64url;
use handstamp_core::jose::key::VerifyingKey;
use handstamp_core::signing::{ACTIVATE_IN, RETIRE_IN};
use handstamp_core::time::Span;
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const JWKS: &str = "/.well-known/jwks.json";
const KEYS: &str = "/v1/keys/signing";
const ROTATE: &str = "/v1/keys/signing/rotate";
const DATA: &str = "/v1/keys/data";

async fn public(world: &World) -> Answer {
    world.call(Method::GET, JWKS).no_key().send().await
}

fn kids(set: &Value) -> Vec<String> {
    set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// Kid, algorithm and state of all keys that sign.
async fn signing(world: &World) -> Vec<(String, String, String)> {
    let items = world.get(KEYS).await.expect(200)["items"].as_array().unwrap().clone();
    let text = |key: &Value, name: &str| key[name].as_str().unwrap().to_owned();
    let signs = items.iter().filter(|key| key["purpose"] == "sign");
    signs.map(|key| (text(key, "kid"), text(key, "algorithm"), text(key, "state"))).collect()
}

#[tokio::test]
async fn the_public_set_has_public_members_alone_and_reads_as_keys() {
    let world = World::new().await;
    for algorithm in ["ES256", "RS256"] {
        world.post(ROTATE, json!({ "algorithm": algorithm })).await.expect(201);
    }
    let answer = public(&world).await;
    let set = answer.expect(200);
    assert_eq!(answer.header("content-type"), "application/jwk-set+json");
    let mut seen = BTreeSet::new();
    for jwk in set["keys"].as_array().unwrap() {
        let members: BTreeSet<&str> = jwk.as_object().unwrap().keys().map(String::as_str).collect();
        let alg = jwk["alg"].as_str().unwrap();
        let own: &[&str] = match (alg, jwk["kty"].as_str().unwrap()) {
            ("EdDSA", "OKP") => &["crv", "x"],
            ("ES256", "EC") => &["crv", "x", "y"],
            ("RS256", "RSA") => &["e", "n"],
            other => panic!("{other:?}"),
        };
        let expected: BTreeSet<&str> = ["alg", "kid", "kty", "use"].iter().chain(own).copied().collect();
        assert_eq!(members, expected);
        assert_eq!(jwk["use"], "sig");
        let key = VerifyingKey::parse_jwk(jwk.to_string().as_bytes()).ok().unwrap();
        assert_eq!(key.algorithm().text(), alg);
        let mut unnamed = jwk.clone();
        unnamed.as_object_mut().unwrap().remove("kid");
        let unnamed = VerifyingKey::parse_jwk(unnamed.to_string().as_bytes()).ok().unwrap();
        assert_eq!(unnamed.kid().as_str(), jwk["kid"], "the name is the thumbprint");
        if alg == "RS256" {
            assert_eq!(base64url::decode(jwk["n"].as_str().unwrap()).unwrap().len(), 384);
        }
        assert!(seen.insert(alg.to_owned()));
    }
    assert_eq!(seen.len(), 3);
}

#[tokio::test]
async fn the_public_set_is_kept_and_asked_for_again() {
    let world = World::new().await;
    let first = public(&world).await;
    let tag = first.header("etag").to_owned();
    assert!(tag.len() == 24 && tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let call = world.call(Method::GET, JWKS).no_key().header("if-none-match", &known);
        let answer = call.send().await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.len(), answer.header("etag")),
            (304, 0, &*tag),
            "{known}"
        );
        assert_eq!(answer.header("cache-control"), "public, max-age=300, stale-if-error=86400");
    }
    for unknown in ["\"x\"", "x", "", &tag[1..23]] {
        let answer = world.call(Method::GET, JWKS).no_key().header("if-none-match", unknown).send().await;
        assert_eq!((answer.expect(200), answer.header("etag")), (first.json(), &*tag), "{unknown}");
    }
    for (name, value) in [
        ("cache-control", "public, max-age=300, stale-if-error=86400"),
        ("access-control-allow-origin", "*"),
        ("access-control-allow-credentials", ""),
        ("set-cookie", ""),
    ] {
        assert_eq!(first.header(name), value, "{name}");
    }
    world.post(ROTATE, json!({})).await.expect(201);
    let second = public(&world).await;
    assert_ne!(second.header("etag"), tag);
    world.advance(ACTIVATE_IN);
    assert_eq!(
        public(&world).await.header("etag"),
        second.header("etag"),
        "nothing to fetch when the new one begins"
    );
    // It is also there for one who sends what nobody looks at.
    let key = world.make_key(json!({ "name": "app", "kind": "publishable" })).await;
    for key in [&*key.token, "nonsense"] {
        assert_eq!(world.call(Method::GET, JWKS).key(key).send().await.expect(200), second.json());
    }
}

#[tokio::test]
async fn every_environment_has_a_set_of_its_own() {
    let world = World::new().await;
    let other = world.make_environment("shop", "prd").await;
    let at = async |query: &str| {
        let path = format!("{JWKS}{query}");
        world.call(Method::GET, &path).no_key().send().await
    };
    let (own, shop) = (at("").await.expect(200), at("?environment=shop/prd").await.expect(200));
    assert_eq!(at("?environment=default/prd").await.expect(200), own);
    assert!(kids(&own).iter().all(|kid| !kids(&shop).contains(kid)));
    at("?environment=shop/dev").await.refused(404, "not_found");
    for bad in ["?environment=shop", "?environment=", "?environment=a/b/c", "?env=shop/prd"] {
        at(bad).await.refused(400, "invalid_request");
    }
    let list = world.call(Method::GET, KEYS).key(&other.token).send().await.expect(200);
    let listed: Vec<&str> =
        list["items"].as_array().unwrap().iter().filter_map(|k| k["kid"].as_str()).collect();
    assert!(kids(&shop).iter().all(|kid| listed.contains(&&**kid)) && listed.len() == 2);
    world
        .call(Method::POST, ROTATE)
        .key(&other.token)
        .json(&json!({ "emergency": true }))
        .send()
        .await
        .expect(201);
    assert_eq!(at("").await.expect(200), own, "an emergency is of one environment");
    assert_ne!(at("?environment=shop/prd").await.expect(200), shop);
    let call = world.call(Method::DELETE, "/v1/environments/shop/prd").key(&world.operator);
    call.send().await.expect(200);
    at("?environment=shop/prd").await.refused(404, "not_found");
    let again = world.make_environment("shop", "prd").await;
    let listed = world.call(Method::GET, KEYS).key(&again.token).send().await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 2, "made again, it is another one");
}

#[tokio::test]
async fn a_rotation_over_its_whole_time() {
    let world = World::new().await;
    let first = signing(&world).await[0].0.clone();
    let answer = world.post(ROTATE, json!({})).await.expect(201);
    let second = answer["key"]["kid"].as_str().unwrap().to_owned();
    assert_eq!(
        answer["key"],
        json!({
            "kid": second, "algorithm": "EdDSA", "purpose": "sign", "state": "pending",
            "created_at": "2026-01-01T00:00:00.000Z", "activate_at": "2026-01-01T00:10:00.000Z",
            "retire_at": null, "remove_at": null
        })
    );
    assert_eq!(answer["keys"], world.get(KEYS).await.expect(200)["items"]);
    assert_eq!(answer["keys"][0]["retire_at"], "2026-01-01T00:10:00.000Z");
    assert_eq!(answer["keys"][0]["remove_at"], "2026-01-02T00:16:00.000Z");
    assert_eq!(answer["keys"][1]["sealings"], 0);
    let said = world.post(ROTATE, json!({})).await.refused(409, "rotation_under_way");
    assert!(said["detail"].as_str().unwrap().contains(&second), "{said}");
    let one = Span::millis(1);
    let mut at = Span(0);
    for (when, states, published) in [
        (Span(0), ["active", "pending"], 2),
        (Span(ACTIVATE_IN.0 - 1), ["active", "pending"], 2),
        (ACTIVATE_IN, ["verify_only", "active"], 2),
        (Span(ACTIVATE_IN.0 + RETIRE_IN.0 - 1), ["verify_only", "active"], 2),
        (Span(ACTIVATE_IN.0 + RETIRE_IN.0), ["removed", "active"], 1),
    ] {
        world.advance(Span(when.0 - at.0));
        at = when;
        let said = signing(&world).await;
        assert_eq!([&*said[0].2, &*said[1].2], states, "{when}");
        assert!(said[0].0 == first && said[1].0 == second);
        assert_eq!(kids(&public(&world).await.expect(200)).len(), published, "{when}");
    }
    world.advance(one);
    world.post(ROTATE, json!({ "activate_in": 0, "retire_in": 360 })).await.expect(201);
    let said = signing(&world).await;
    assert_eq!([&*said[1].2, &*said[2].2], ["verify_only", "active"]);
    let events = world.get("/v1/events?type=keys.rotated").await.expect(200);
    let notes: Vec<&str> =
        events["items"].as_array().unwrap().iter().filter_map(|e| e["note"].as_str()).collect();
    assert_eq!(notes.len(), 2, "{events}");
    assert!(
        notes[0].starts_with(&format!("EdDSA {second}, in use from 2026-01-01T00:10:00.000Z")),
        "{notes:?}"
    );
}

#[tokio::test]
async fn an_emergency_leaves_the_new_key_alone() {
    let world = World::new().await;
    world.post(ROTATE, json!({})).await.expect(201);
    let answer = world.post(ROTATE, json!({ "emergency": true })).await.expect(201);
    assert_eq!(answer["key"]["state"], "active");
    let said: Vec<String> = signing(&world).await.into_iter().map(|(_, _, state)| state).collect();
    assert_eq!(said, ["removed", "removed", "active"]);
    assert_eq!(kids(&public(&world).await.expect(200)), [answer["key"]["kid"].as_str().unwrap()]);
    let events = world.get("/v1/events?type=keys.rotated").await;
    assert!(events.text().contains("an emergency"), "{}", events.text());
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_told() {
    let world = World::new().await;
    for (body, pointer) in [
        (json!({ "retire_in": 359 }), "/retire_in"),
        (json!({ "retire_in": 31_622_401 }), "/retire_in"),
        (json!({ "activate_in": 31_622_401 }), "/activate_in"),
        (json!({ "activate_in": -1 }), "/activate_in"),
        (json!({ "emergency": true, "activate_in": 1 }), "/activate_in"),
        (json!({ "emergency": true, "retire_in": 86_760 }), "/retire_in"),
        (json!({ "algorithm": "none" }), "/algorithm"),
        (json!({ "algorithm": "HS256" }), "/algorithm"),
        (json!({ "algorithm": "eddsa" }), "/algorithm"),
        (json!({ "purpose": "encrypt" }), "/purpose"),
        (json!({ "purpose": "data", "algorithm": "EdDSA" }), "/algorithm"),
        (json!({ "activate": 1 }), "/activate"),
    ] {
        world.post(ROTATE, body).await.invalid(pointer);
    }
    world.call(Method::POST, ROTATE).send().await.refused(415, "unsupported_media_type");
    assert_eq!(signing(&world).await.len(), 1, "nothing of it was done");
    world.post(ROTATE, json!({ "emergency": true, "activate_in": 0, "retire_in": 0 })).await.expect(201);
}

/// The least is that of the policy: of all its sections.
#[tokio::test]
async fn the_least_delay_is_that_of_the_longest_token() {
    let world = World::new().await;
    let policy = json!({ "default": { "access_token_ttl": "10m" }, "tag": { "role:batch": { "access_token_ttl": "2h" } } });
    world.call(Method::PUT, "/v1/policies").json(&policy).send().await.expect(200);
    let said = world.post(ROTATE, json!({ "retire_in": 7_259 })).await.invalid("/retire_in");
    assert!(said["detail"].as_str().unwrap().contains("at least 7260 seconds"), "{said}");
    world.post(ROTATE, json!({ "retire_in": 7_260 })).await.expect(201);
}

#[tokio::test]
async fn data_keys_are_for_those_who_may_open() {
    let world = World::new().await;
    let answer = world.get(DATA).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("access-control-allow-origin"), "");
    let set = answer.expect(200);
    let key = &set["keys"][0];
    for (name, value) in [("kty", "oct"), ("use", "enc"), ("alg", "dir"), ("enc", "A256GCM")] {
        assert_eq!(key[name], value, "{name}");
    }
    assert_eq!(base64url::decode(key["k"].as_str().unwrap()).unwrap().len(), 32);
    assert!(!public(&world).await.text().contains(key["kid"].as_str().unwrap()), "never in the public set");
    let list = world.get(KEYS).await;
    assert!(!list.text().contains(key["k"].as_str().unwrap()), "and the secret in no list");
    let answer = world.post(ROTATE, json!({ "purpose": "data" })).await.expect(201);
    assert_eq!(
        (&answer["key"]["algorithm"], &answer["key"]["state"]),
        (&json!("A256GCM"), &json!("pending"))
    );
    assert_eq!(kids(&world.get(DATA).await.expect(200)).len(), 2, "published before its first use");
    world.post(ROTATE, json!({ "purpose": "data", "emergency": true })).await.expect(201);
    let after = world.get(DATA).await.expect(200);
    assert_eq!(kids(&after).len(), 1);
    assert_ne!(kids(&after), kids(&set));
}

#[tokio::test]
async fn only_the_public_set_is_for_everybody() {
    let world = World::new().await;
    let app = world.make_key(json!({ "name": "app", "kind": "publishable" })).await;
    let calls = [(Method::GET, KEYS), (Method::POST, ROTATE), (Method::GET, DATA)];
    for (method, path) in &calls {
        let call = || {
            let call = world.call(method.clone(), path);
            if *method == Method::POST { call.json(&json!({})) } else { call }
        };
        call().no_key().send().await.refused(401, "access_key_missing");
        call().key(&app.token).send().await.refused(403, "publishable_key_forbidden");
        let scope = if *path == DATA { "tokens:open" } else { "keys:write" };
        let scopes =
            ["sessions:read", "sessions:write", "tokens:mint", "tokens:verify", "tokens:open", "keys:write"];
        let others: Vec<&str> = scopes.into_iter().filter(|other| *other != scope).collect();
        let key = world.make_key(json!({ "name": "k", "scopes": others })).await;
        let said = call().key(&key.token).send().await.refused(403, "insufficient_scope");
        assert!(said["detail"].as_str().unwrap().contains(scope), "{said}");
        let key = world.make_key(json!({ "name": "k", "scopes": [scope] })).await;
        assert!(call().key(&key.token).send().await.status.is_success());
    }
}

/// A store that does not answer changes nothing, and is not mistaken for a refusal.
#[tokio::test]
async fn a_rotation_that_is_not_written_down_did_not_happen() {
    use handstamp_server::store::faulty::{Call, Fault};
    let world = World::new().await;
    let before = public(&world).await.json();
    world.store.plan(Call::Commit, [Fault::Before]);
    world.post(ROTATE, json!({})).await.refused(503, "store_unavailable");
    assert_eq!(public(&world).await.json(), before);
    world.store.plan(Call::Commit, [Fault::LoseAnswer]);
    world.post(ROTATE, json!({})).await.refused(503, "store_unavailable");
    let after = public(&world).await.json();
    assert_eq!(kids(&after).len(), 2, "it did happen, and is known");
    world.post(ROTATE, json!({})).await.refused(409, "rotation_under_way");
    assert_eq!(public(&world).await.json(), after);
}

/// Tokens by the old key and the new one, as the server itself judges them: none is refused while both count, and after an
/// emergency none of them is accepted, though their sessions live.
#[tokio::test]
async fn access_tokens_over_a_rotation_and_an_emergency() {
    let world = World::new().await;
    let body = json!({ "user_id": "ada", "data": { "n": 1 }, "access_token": { "lifetime": 300 } });
    let answer = world.post("/v1/sessions", body).await.expect(201);
    let session = answer["session"]["id"].as_str().unwrap().to_owned();
    let mint = async |world: &World| -> String {
        let path = format!("/v1/sessions/{session}/access-tokens");
        let said = world.post(&path, json!({ "lifetime": 300 })).await;
        assert!(said.status.is_success(), "{}", said.text());
        let said = said.json();
        let token = said["token"].as_str().or_else(|| said["access_token"]["token"].as_str());
        token.unwrap().to_owned()
    };
    let kid = |token: &str| -> String {
        let header = base64url::decode(token.split('.').next().unwrap()).unwrap();
        serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
    };
    let first = signing(&world).await[0].0.clone();
    let second = world.post(ROTATE, json!({})).await.expect(201)["key"]["kid"].as_str().unwrap().to_owned();
    let mut out: Vec<(u32, String)> = Vec::new();
    for minute in 0..20 {
        let token = mint(&world).await;
        assert_eq!(kid(&token), if minute < 10 { &*first } else { &*second }, "{minute}");
        out.push((minute, token));
        out.retain(|(made, _)| minute - made < 5);
        for (made, token) in &out {
            assert_eq!(world.verdict(token).await, "valid", "of minute {made} in minute {minute}");
        }
        world.advance(Span::minutes(1));
    }
    world.post(ROTATE, json!({ "emergency": true })).await.expect(201);
    for (_, token) in &out {
        assert_ne!(world.verdict(token).await, "valid");
    }
    let token = mint(&world).await;
    assert_eq!(world.verdict(&token).await, "valid", "its session goes on");
    world.post(ROTATE, json!({ "purpose": "data", "emergency": true })).await.expect(201);
    assert_eq!(world.verdict(&mint(&world).await).await, "valid");
}
