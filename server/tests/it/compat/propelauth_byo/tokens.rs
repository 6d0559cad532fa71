//! Stateless tokens: what they say, of which session they are, who verifies them, when their keys change; and every way in
//! which there is none.

use super::{fails, good, login, names, text};
use crate::http::access_tokens::{ask, claims};
use crate::http::revocations::items;
use crate::world::World;
use handstamp_core::jose::jws::Unverified;
use handstamp_core::jose::key::VerifyingKey;
use handstamp_core::time::Span;
use handstamp_server::store::faulty::{self, Fault};
use serde_json::{Value, json};

const START: i64 = 1_767_225_600; // 2026-01-01
const FAILED: &str = "TokenCreationFailed";

/// A token that must be made, and until when it is good.
async fn token(world: &World, data: Value) -> (String, i64) {
    let made = good(world, "CreateStatelessToken", data).await;
    assert_eq!(names(&made), ["expiresAt", "statelessToken"]);
    let token = made["statelessToken"].as_str().unwrap().to_owned();
    assert_eq!(claims(&token)["exp"], made["expiresAt"]);
    (token, made["expiresAt"].as_i64().unwrap())
}

/// Why there is none.
async fn none(world: &World, data: Value, status: u16) -> String {
    text(&fails(world, "CreateStatelessToken", data, status, FAILED).await).to_owned()
}

async fn jwks(world: &World) -> Vec<Value> {
    let answer = good(world, "GetJwks", json!({})).await;
    assert_eq!(names(&answer), ["keys"]);
    answer["keys"].as_array().unwrap().clone()
}

/// What a token says that one of these keys signed.
fn verified(keys: &[Value], token: &str) -> Option<Value> {
    let read = Unverified::read(token, "at+jwt").ok().unwrap();
    let key = keys.iter().find(|key| key["kid"] == read.kid().as_str())?;
    assert_eq!(names(key), ["alg", "e", "kid", "kty", "n", "use"]);
    let key = VerifyingKey::parse_jwk(key.to_string().as_bytes()).unwrap();
    read.verify(&key).ok().map(|payload| serde_json::from_slice(&payload).unwrap())
}

async fn rotated(world: &World, begin_in: i64, end_in: i64) -> (String, i64, i64) {
    let told = good(world, "RotateStatelessTokenKey", delays(begin_in, end_in)).await;
    assert_eq!(names(&told), ["existingKeysExpireAt", "newKeyBecomesDefaultAt", "newKeyId"]);
    let at = |name: &str| told[name].as_i64().unwrap();
    (told["newKeyId"].as_str().unwrap().to_owned(), at("newKeyBecomesDefaultAt"), at("existingKeysExpireAt"))
}

fn delays(begin_in: i64, end_in: i64) -> Value {
    json!({ "secsBeforeNewKeyBecomesDefault": begin_in, "secsBeforeExistingKeysAreDeactivated": end_in })
}

#[tokio::test]
async fn it_says_what_its_session_is_and_what_was_asked_for() {
    let world = World::new().await;
    let made =
        login(&world, json!({ "userId": "ada", "tags": ["role:admin"], "metadata": { "plan": "pro" } }))
            .await;
    // Of everything that may be left out, nothing; and the same said with nulls.
    for data in [
        json!({ "userId": "ada" }),
        json!({
            "userId": "ada", "sessionId": null, "customClaims": null, "issuer": null, "audience": null,
            "notBeforeUnixtime": null, "lifetimeSecs": null
        }),
    ] {
        let (token, until) = token(&world, data).await;
        let said = verified(&jwks(&world).await, &token).unwrap();
        let expected = json!({
            "iss": "handstamp:default/prd", "aud": "default/prd", "sub": "ada", "sid": made.id, "iat": START, "nbf": START,
            "exp": START + 300, "jti": said["jti"], "tags": ["role:admin"], "groups": [], "auth_time": START,
            "auth_epoch": START * 1_000, "epoch": 0, "data": said["data"]
        });
        assert_eq!((said, until), (expected, START + 300));
        assert_eq!(world.verdict(&token).await, "valid", "the server takes it as any other");
    }
    let (token, until) = token(
        &world,
        json!({
            "userId": "ada", "sessionId": made.id, "customClaims": { "tenant": { "id": 7, "none": null }, "more": null },
            "issuer": "https://shop.example", "audience": "billing", "notBeforeUnixtime": START + 60, "lifetimeSecs": 120
        }),
    )
    .await;
    let said = verified(&jwks(&world).await, &token).unwrap();
    for (name, value) in [
        ("iss", json!("https://shop.example")),
        ("aud", json!("billing")),
        ("nbf", json!(START + 60)),
        ("exp", json!(START + 180)),
        ("iat", json!(START)),
        ("sid", json!(made.id)),
        ("tenant", json!({ "id": 7, "none": null })),
        ("more", Value::Null),
    ] {
        assert_eq!(said.get(name), Some(&value), "{name}");
    }
    assert_eq!(until, START + 180);
    let header: Value = serde_json::from_slice(
        &handstamp_core::jose::base64url::decode(token.split('.').next().unwrap()).unwrap(),
    )
    .unwrap();
    assert_eq!(header, json!({ "alg": "RS256", "typ": "at+jwt", "kid": jwks(&world).await[0]["kid"] }));
}

#[tokio::test]
async fn its_times_are_those_of_the_policy_and_of_the_session() {
    let world = World::new().await;
    let made = world.create(json!({ "user_id": "ada", "expires_in": 3_600 })).await;
    let times = async |not_before: Value, lifetime: Value| {
        let data = json!({ "userId": "ada", "notBeforeUnixtime": not_before, "lifetimeSecs": lifetime });
        let (token, until) = token(&world, data).await;
        (claims(&token)["nbf"].as_i64().unwrap() - START, until - START)
    };
    let null = || Value::Null;
    assert_eq!(times(null(), json!(1)).await, (0, 1));
    assert_eq!(times(null(), json!(300)).await, (0, 300));
    assert_eq!(times(null(), json!(86_400)).await, (0, 300), "shortened to what the policy allows");
    for past in [0, -1, START - 1, START, i64::MIN] {
        assert_eq!(times(json!(past), null()).await, (0, 300), "{past} is now");
    }
    assert_eq!(times(json!(START + 600), null()).await, (600, 900));
    assert_eq!(times(json!(START + 3_480), null()).await, (3_480, 3_600), "nor beyond its session");
    for (field, value, told) in [
        ("lifetimeSecs", json!(0), "invalid_request: /data/lifetimeSecs: seconds, from 1 to 86400"),
        ("lifetimeSecs", json!(-1), "invalid_request: /data/lifetimeSecs: "),
        ("lifetimeSecs", json!(86_401), "invalid_request: /data/lifetimeSecs: "),
        ("lifetimeSecs", json!(i64::MAX), "invalid_request: /data/lifetimeSecs: "),
        (
            "notBeforeUnixtime",
            json!(START + 86_401),
            "invalid_request: /data/notBeforeUnixtime: at most a day",
        ),
        ("notBeforeUnixtime", json!(i64::MAX), "invalid_request: /data/notBeforeUnixtime: at most a day"),
        (
            "notBeforeUnixtime",
            json!(START + 3_600),
            "invalid_request: /data/notBeforeUnixtime: is not before the end",
        ),
    ] {
        let said = none(&world, json!({ "userId": "ada", "sessionId": made.id, field: value }), 400).await;
        assert!(said.starts_with(told), "{said}");
    }
}

#[tokio::test]
async fn of_which_session() {
    let world = World::new().await;
    let first = login(&world, json!({ "userId": "ada" })).await;
    let bobs = login(&world, json!({ "userId": "bob" })).await;
    world.advance(Span::secs(1));
    let second = login(&world, json!({ "userId": "ada" })).await;
    let acting = json!({ "user_id": "ada", "actor": { "id": "grace", "reason": "ticket 1" } });
    world.advance(Span::secs(1));
    let acting = world.create(acting).await;
    let of = async |data: Value| claims(&token(&world, data).await.0)["sid"].as_str().unwrap().to_owned();
    assert_eq!(
        of(json!({ "userId": "ada" })).await,
        second.id,
        "the user's own, though another one is younger"
    );
    world.advance(Span::secs(1));
    assert_eq!(world.verdict(&first.token).await, "valid");
    assert_eq!(of(json!({ "userId": "ada" })).await, first.id, "active last");
    assert_eq!(of(json!({ "userId": "ada", "sessionId": second.id })).await, second.id);
    assert_eq!(of(json!({ "userId": "ada", "sessionId": acting.id })).await, acting.id);
    for (data, status, told) in [
        (json!({ "userId": "carl" }), 404, "not_found: this user has no live session of their own"),
        (json!({ "userId": "ada", "sessionId": bobs.id }), 404, "not_found: there is no session ses_"),
        (json!({ "userId": "ada", "sessionId": "ses_1" }), 404, "not_found: sessionId names no session"),
        (json!({ "userId": "ada", "sessionId": "" }), 404, "not_found: sessionId names no session"),
    ] {
        let said = none(&world, data, status).await;
        assert!(said.starts_with(told), "{said}");
    }
    good(&world, "InvalidateSessionById", json!({ "sessionId": first.id })).await;
    let said = none(&world, json!({ "userId": "ada", "sessionId": first.id }), 409).await;
    assert!(said.starts_with("session_ended: the session has ended (session_revoked)"), "{said}");
    assert_eq!(of(json!({ "userId": "ada" })).await, second.id);
    good(&world, "InvalidateSessionById", json!({ "sessionId": second.id })).await;
    let said = none(&world, json!({ "userId": "ada" }), 404).await;
    assert!(said.starts_with("not_found: "), "only somebody in their place is left: {said}");
}

#[tokio::test]
async fn what_cannot_be_in_it() {
    let world = World::new().await;
    let made = login(&world, json!({ "userId": "ada" })).await;
    let long = "x".repeat(257);
    for (field, value, told) in [
        (
            "customClaims",
            json!({ "sub": "bob" }),
            "invalid_request: /data/customClaims: `sub` is the server's own",
        ),
        ("customClaims", json!({ "a": 1, "epoch": 9 }), "invalid_request: /data/customClaims: `epoch`"),
        (
            "customClaims",
            json!({ "a": "x".repeat(2_048) }),
            "invalid_request: /data/customClaims: at most 2048 bytes",
        ),
        ("customClaims", json!([1]), "invalid_request: /data/customClaims: a JSON object"),
        ("customClaims", json!("x"), "invalid_request: /data/customClaims: a JSON object"),
        ("issuer", json!(""), "invalid_request: /data/issuer: 1 to 256 bytes"),
        ("issuer", json!(long), "invalid_request: /data/issuer: "),
        ("issuer", json!("a\nb"), "invalid_request: /data/issuer: "),
        ("audience", json!(""), "invalid_request: /data/audience: "),
        ("audience", json!(long), "invalid_request: /data/audience: "),
    ] {
        let said = none(&world, json!({ "userId": "ada", field: value }), 400).await;
        assert!(said.starts_with(told), "{said}");
    }
    // What is not even of the right form has no type of its own.
    for (data, told) in [
        (json!({}), "/data/userId: is missing"),
        (json!({ "userId": "" }), "/data/userId: "),
        (json!({ "userId": "ada", "lifetimeSecs": 1.5 }), "/data/lifetimeSecs: "),
        (json!({ "userId": "ada", "lifetimeSecs": "60" }), "/data/lifetimeSecs: "),
        (json!({ "userId": "ada", "audience": ["a"] }), "/data/audience: "),
        (json!({ "userId": "ada", "algorithm": "EdDSA" }), "/data/algorithm: unknown"),
    ] {
        let body = fails(&world, "CreateStatelessToken", data, 400, "UnexpectedError").await;
        assert!(text(&body).starts_with(&format!("invalid_request: {told}")), "{body}");
    }
    let data = json!({ "sessionId": made.id, "newMetadata": { "big": "x".repeat(4_000) } });
    good(&world, "UpdateSession", data).await;
    let said = none(&world, json!({ "userId": "ada" }), 409).await;
    assert!(said.starts_with("data_too_large: "), "{said}");
}

/// A token dies with its session: for this server at once, and for those who verify themselves by what the feed tells them.
#[tokio::test]
async fn the_end_of_its_session_is_its_end() {
    let world = World::new().await;
    let made = login(&world, json!({ "userId": "ada" })).await;
    let (own, _) = token(&world, json!({ "userId": "ada" })).await;
    let (other, until) = token(&world, json!({ "userId": "ada", "issuer": "https://shop.example" })).await;
    assert_eq!(world.verdict(&own).await, "valid");
    assert_eq!(world.verdict(&other).await, "token_malformed", "of another issuer's name");
    assert!(items(&world).await.is_empty());
    good(&world, "InvalidateSessionByToken", json!({ "sessionToken": made.token })).await;
    assert_eq!(world.verdict(&own).await, "session_revoked");
    assert_eq!(claims(&other)["sid"], made.id.as_str());
    let told = items(&world).await;
    assert_eq!((told.len(), told[0]["session_id"].as_str()), (1, Some(made.id.as_str())), "{told:?}");
    world.advance(Span::secs(until - START));
    assert_eq!(items(&world).await.len(), 1, "for as long as a token of it can live");
    world.advance(Span::hours(1));
    assert!(items(&world).await.is_empty());
}

#[tokio::test]
async fn the_public_keys_are_those_that_anybody_gets_of_rsa() {
    let world = World::new().await;
    let public =
        async || world.get("/.well-known/jwks.json").await.expect(200)["keys"].as_array().unwrap().clone();
    assert!(public().await.iter().all(|key| key["kty"] != "RSA"), "none until it is needed");
    // Whoever has a key may ask, and the first one who does makes it.
    let key = world.make_key(json!({ "name": "k", "scopes": ["events:read"] })).await.token;
    let body = json!({ "command": "GetJwks", "data": {} });
    let call = world.call(http::Method::POST, "/run-command").key(&key).json(&body);
    let first = call.send().await.expect(200);
    let rsa: Vec<Value> = public().await.into_iter().filter(|key| key["kty"] == "RSA").collect();
    assert_eq!((&first["keys"], rsa.len()), (&json!(rsa), 1));
    assert_eq!(jwks(&world).await, rsa, "the same ever after");
    // Others see what happened.
    let lines = world.get("/v1/events?type=keys.rotated").await.expect(200);
    let note = lines["items"][0]["note"].as_str().unwrap();
    assert!(
        note.starts_with(&format!("RS256 {}, in use from 2026-01-01", rsa[0]["kid"].as_str().unwrap())),
        "{note}"
    );
    let made = login(&world, json!({ "userId": "ada" })).await;
    ask(&world, &made.id, json!({ "algorithm": "RS256" })).await.expect(201);
}

#[tokio::test]
async fn a_key_is_handed_over() {
    let world = World::new().await;
    login(&world, json!({ "userId": "ada" })).await;
    let ada = || json!({ "userId": "ada" });
    let (old, _) = token(&world, ada()).await;
    let (kid, begins, ends) = rotated(&world, 60, 1_200).await;
    assert_eq!((begins, ends), (START + 60, START + 1_200));
    let keys = jwks(&world).await;
    assert!(keys.len() == 2 && keys[1]["kid"] == kid.as_str(), "published before it is used");
    assert_eq!(
        verified(&keys[..1], &token(&world, ada()).await.0).map(|said| said["sub"].clone()),
        Some(json!("ada"))
    );
    let body = fails(&world, "RotateStatelessTokenKey", delays(0, 3_600), 409, "RotationFailed").await;
    assert!(text(&body).starts_with(&format!("rotation_under_way: the key {kid} ")), "{body}");
    world.advance(Span::secs(60));
    let (new, _) = token(&world, ada()).await;
    assert!(verified(&keys[1..], &new).is_some() && verified(&keys[..1], &new).is_none());
    // The older key keeps what it was promised, and the answer says so; at once, and with a part of a second gone.
    world.advance(Span::millis(1));
    let (third, begins, ends) = rotated(&world, 0, 360).await;
    assert_eq!((begins, ends), (START + 60, START + 1_200));
    assert!(verified(&jwks(&world).await[2..], &token(&world, ada()).await.0).is_some());
    world.advance(Span::millis(1_139_999 - 1));
    assert!(jwks(&world).await.iter().any(|key| key["kid"] == keys[0]["kid"]));
    world.advance(Span::millis(1));
    let left: Vec<Value> = jwks(&world).await.iter().map(|key| key["kid"].clone()).collect();
    assert_eq!(left, [json!(third)]);
    assert_eq!(verified(&jwks(&world).await, &old), None);
    // A wrong hand has it: whatever was signed is worth nothing.
    let (token_of_third, _) = token(&world, ada()).await;
    assert_eq!(world.verdict(&token_of_third).await, "valid");
    world.advance(Span::millis(1));
    let now = world.app.now().0;
    let (fourth, begins, ends) = rotated(&world, 0, 0).await;
    assert!(begins <= now.div_euclid(1_000) && ends * 1_000 >= now && ends - begins <= 1);
    assert_eq!(world.verdict(&token_of_third).await, "token_malformed");
    assert_eq!(world.verdict(&token(&world, ada()).await.0).await, "valid");
    assert!(jwks(&world).await.len() == 1 && jwks(&world).await[0]["kid"] == fourth.as_str());
}

#[tokio::test]
async fn delays_that_do_not_fit() {
    let world = World::new().await;
    for (begin_in, end_in, told) in [
        (0, 359, "invalid_request: the keys that there are end after 360 seconds at the earliest"),
        (60, 419, "invalid_request: the keys that there are end after 420 seconds at the earliest"),
        (60, 59, "invalid_request: the keys that there are would end before the new one begins"),
        (1, 0, "invalid_request: the keys that there are would end before the new one begins"),
        (-1, 3_600, "invalid_request: a delay is a number of seconds, from 0 to 31622400"),
        (0, 31_622_401, "invalid_request: a delay is a number of seconds"),
        (i64::MAX, i64::MAX, "invalid_request: a delay is a number of seconds"),
    ] {
        let body =
            fails(&world, "RotateStatelessTokenKey", delays(begin_in, end_in), 400, "InvalidParameters")
                .await;
        assert!(text(&body).starts_with(told), "{body}");
    }
    let listed = world.get("/v1/keys/signing").await.expect(200);
    assert!(
        listed["items"].as_array().unwrap().iter().all(|key| key["algorithm"] != "RS256"),
        "nothing happened"
    );
    for (data, told) in [
        (
            json!({ "secsBeforeNewKeyBecomesDefault": 0 }),
            "/data/secsBeforeExistingKeysAreDeactivated: is missing",
        ),
        (
            json!({ "secsBeforeExistingKeysAreDeactivated": 0 }),
            "/data/secsBeforeNewKeyBecomesDefault: is missing",
        ),
        (
            json!({ "secsBeforeNewKeyBecomesDefault": null, "secsBeforeExistingKeysAreDeactivated": null }),
            "/data/secsBeforeNewKeyBecomesDefault: is missing",
        ),
        (
            json!({ "secsBeforeNewKeyBecomesDefault": 0.5, "secsBeforeExistingKeysAreDeactivated": 3_600 }),
            "/data/secsBeforeNewKeyBecomesDefault: ",
        ),
    ] {
        let body = fails(&world, "RotateStatelessTokenKey", data, 400, "UnexpectedError").await;
        assert!(text(&body).starts_with(&format!("invalid_request: {told}")), "{body}");
    }
}

/// A store that does not answer says nothing of any session or parameter.
#[tokio::test]
async fn accidents_are_none_of_the_commands_types() {
    let world = World::new().await;
    login(&world, json!({ "userId": "ada" })).await;
    for (command, data) in [
        ("GetJwks", json!({})),
        ("CreateStatelessToken", json!({ "userId": "ada" })),
        ("RotateStatelessTokenKey", delays(0, 3_600)),
    ] {
        world.store.plan(faulty::Call::Commit, [Fault::Before]);
        let body = fails(&world, command, data.clone(), 503, "UnexpectedError").await;
        assert!(text(&body).starts_with("store_unavailable: "), "{body}");
        good(&world, command, data).await;
    }
}
