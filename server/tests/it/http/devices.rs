//! `/v1/devices` and proofs of devices: a real key registers and validates, and then everything that is wrong with a
//! proof gives its own code.

pub(crate) mod hand;
mod known;
mod races;
mod unnamed;

use crate::world::{Made, World};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use hand::{Hand, Spec, URL, challenge, challenge_of, code, register, validate, verdict};
use handstamp_core::device::DeviceMode;
use handstamp_core::device::base64url::encode;
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::time::Span;
use serde_json::{Value, json};

/// From now on sessions are asked for proofs so.
async fn asking(world: &World, mode: DeviceMode) {
    let rules = Rules { device: Some(mode), ..Rules::default() };
    world.app.set_file_policy(Some(Policy::from(rules))).await;
}

/// A world that asks for proofs, and a session of `ada` with a device.
async fn bound() -> (World, Hand, Made) {
    let (world, hand) = (World::new().await, Hand::new());
    asking(&world, DeviceMode::IfRegistered).await;
    let made = world.login("ada").await;
    let proof = hand.introduction(&world, &challenge_of(&world, &made.id).await, Some(&made.id));
    register(&world, json!({ "token": made.token }), &proof).await.expect(201);
    (world, hand, made)
}

#[tokio::test]
async fn a_key_registers_and_proves() {
    let (world, hand, made) = bound().await;
    let session = world.get(&format!("/v1/sessions/{}", made.id)).await.expect(200);
    assert_eq!(session["device"], json!({ "id": hand.id(), "registered_at": "2026-01-01T00:00:00.000Z" }));
    // What was signed to register it is used up.
    let registered = world.login("ada").await;
    let spent = challenge_of(&world, &registered.id).await;
    let proof = hand.introduction(&world, &spent, Some(&registered.id));
    register(&world, json!({ "token": registered.token }), &proof).await.expect(201);
    let answer = verdict(&world, &registered.token, &hand.proof(&world, &spent, &registered.id)).await;
    assert_eq!(answer, "device_proof_stale");
    let first = challenge_of(&world, &made.id).await;
    let answer = validate(&world, &made.token, &hand.proof(&world, &first, &made.id)).await;
    assert_eq!(code(&answer), "valid", "{answer}");
    assert_eq!(answer["session"]["device"]["id"], hand.id());
    // The answer brings the next challenge, so that no request waits for one.
    let next = answer["device_challenge"]["challenge"].as_str().unwrap();
    assert_ne!(next, first);
    assert_eq!(verdict(&world, &made.token, &hand.proof(&world, next, &made.id)).await, "valid");
    // In a batch, too, where each has its own.
    let one = async |challenge: String| json!({ "token": made.token, "device": { "proof": hand.proof(&world, &challenge, &made.id) }, "method": "GET", "url": URL });
    let (a, b) = (challenge_of(&world, &made.id).await, challenge_of(&world, &made.id).await);
    let batch = json!({ "requests": [one(a.clone()).await, one(b).await, one(a).await] });
    let answer = world.post("/v1/sessions/validate-batch", batch).await.expect(200);
    let codes: Vec<String> = answer["results"].as_array().unwrap().iter().map(code).collect();
    assert_eq!(codes, ["valid", "valid", "device_proof_stale"]);
    let events = world.get(&format!("/v1/sessions/{}/events", made.id)).await.expect(200);
    let notes: Vec<&Value> = events["items"].as_array().unwrap().iter().map(|event| &event["note"]).collect();
    assert!(notes.contains(&&json!(format!("device {}", hand.id()))), "{events}");
}

#[tokio::test]
async fn without_a_proof_a_stolen_token_opens_nothing() {
    let (world, hand, made) = bound().await;
    let answer = world.validate(&made.token).await;
    assert_eq!(
        (code(&answer).as_str(), &answer["status"]),
        ("device_proof_missing", &json!(403)),
        "{answer}"
    );
    assert_eq!(answer["detail"], "device no proof, allowed one by the session's device by default");
    // What comes with the refusal is signed, and passes.
    let fresh = answer["device_challenge"]["challenge"].as_str().unwrap();
    assert_eq!(verdict(&world, &made.token, &hand.proof(&world, fresh, &made.id)).await, "valid");
    // Nothing that a thief can do with the session's token takes the device off it, or brings another one.
    let thief = Hand::new();
    let proof = thief.introduction(&world, &challenge_of(&world, &made.id).await, Some(&made.id));
    register(&world, json!({ "token": made.token }), &proof).await.refused(409, "already_exists");
    world.advance(Span::minutes(10));
    let proof = thief.introduction(&world, &challenge_of(&world, &made.id).await, Some(&made.id));
    register(&world, json!({ "token": made.token }), &proof).await.refused(409, "already_exists");
    assert_eq!(world.verdict(&made.token).await, "device_proof_missing");
    // A rotation is not for them either.
    let body = json!({ "token": made.token, "rotate": "auto" });
    world.advance(Span::minutes(10));
    let answer = world.post("/v1/sessions/validate", body).await.expect(200);
    assert!(code(&answer) == "device_proof_missing" && answer.get("rotated_token").is_none(), "{answer}");
    let session = world.get(&format!("/v1/sessions/{}", made.id)).await.expect(200);
    assert_eq!((&session["generation"], &session["state"]), (&json!(0), &json!("live")));
    assert_eq!(session["last_active_at"], "2026-01-01T00:00:00.000Z", "who is refused is not active");
}

#[tokio::test]
async fn the_mode_says_who_is_asked() {
    let (world, hand, made) = bound().await;
    let other = world.login("bob").await;
    for (mode, with, without) in [
        (DeviceMode::Off, "valid", "valid"),
        (DeviceMode::IfRegistered, "device_proof_missing", "valid"),
        (DeviceMode::Required, "device_proof_missing", "device_proof_missing"),
    ] {
        asking(&world, mode).await;
        assert_eq!(world.verdict(&made.token).await, with, "{mode}");
        assert_eq!(world.verdict(&other.token).await, without, "{mode}");
    }
    // A session without a device gets one while it is asked for one.
    let proof = hand.introduction(&world, &challenge_of(&world, &other.id).await, Some(&other.id));
    register(&world, json!({ "token": other.token }), &proof).await.expect(201);
    let fresh = challenge_of(&world, &other.id).await;
    assert_eq!(verdict(&world, &other.token, &hand.proof(&world, &fresh, &other.id)).await, "valid");
    // What is off is not looked at.
    asking(&world, DeviceMode::Off).await;
    assert_eq!(verdict(&world, &made.token, "a.b.c").await, "valid");
}

#[tokio::test]
async fn every_wrong_proof_has_its_code() {
    let (world, hand, made) = bound().await;
    let other = world.login("ada").await;
    let fresh = async || challenge_of(&world, &made.id).await;
    let changed = async |change: &dyn Fn(&mut Spec)| {
        let mut spec = Spec::of(&world, &fresh().await, "GET", Some(&made.id));
        change(&mut spec);
        hand.sign(&spec)
    };
    let invalid = async |what: &str, proof: String| {
        let answer = validate(&world, &made.token, &proof).await;
        assert_eq!(code(&answer), "device_proof_invalid", "{what}: {answer}");
        assert!(answer.get("device_challenge").is_none() && answer["status"] == 403, "{what}: {answer}");
    };
    invalid("wrong key", Hand::new().proof(&world, &fresh().await, &made.id)).await;
    invalid("other session", hand.proof(&world, &fresh().await, &other.id)).await;
    invalid(
        "no session",
        changed(&|s| {
            s.claims.as_object_mut().unwrap().remove("sih");
        })
        .await,
    )
    .await;
    invalid("other method", changed(&|s| s.claims["htm"] = "POST".into()).await).await;
    invalid("other URL", changed(&|s| s.claims["htu"] = "https://app.example/admin".into()).await).await;
    invalid("other host", changed(&|s| s.claims["htu"] = "https://evil.example/orders".into()).await).await;
    invalid("other typ", changed(&|s| s.header["typ"] = "dpop+jwt".into()).await).await;
    invalid("jwk at use", changed(&|s| s.header["jwk"] = hand.jwk()).await).await;
    invalid("crit", changed(&|s| s.header["crit"] = json!(["b64"])).await).await;
    invalid("kid", changed(&|s| s.header["kid"] = "1".into()).await).await;
    invalid(
        "no jti",
        changed(&|s| {
            s.claims.as_object_mut().unwrap().remove("jti");
        })
        .await,
    )
    .await;
    for alg in ["none", "RS256", "HS256", "ES384", "EdDSA"] {
        invalid(alg, changed(&|s| s.header["alg"] = alg.into()).await).await;
    }
    let good = changed(&|_| ()).await;
    let (front, _) = good.rsplit_once('.').unwrap();
    invalid("no signature", format!("{front}.")).await;
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, hand.jwk().to_string().as_bytes());
    let mut spec = Spec::of(&world, &fresh().await, "GET", Some(&made.id));
    spec.header["alg"] = "HS256".into();
    let tag = aws_lc_rs::hmac::sign(&key, spec.front().as_bytes());
    invalid("the public key as a secret", format!("{}.{}", spec.front(), encode(tag.as_ref()))).await;
    let mut other = Spec::of(&world, &fresh().await, "GET", Some(&made.id));
    other.claims["iat"] = 1.into();
    let tampered = format!("{}.{}", other.front(), good.rsplit_once('.').unwrap().1);
    invalid("tampered payload", tampered).await;
    invalid("oversized", changed(&|s| s.claims["htu"] = format!("{URL}?{}", "x".repeat(9_000)).into()).await)
        .await;
    invalid("empty", String::new()).await;
    invalid("not a JWS", "{\"payload\":\"\",\"signatures\":[]}".to_owned()).await;
    // After all that, the right one still passes.
    assert_eq!(verdict(&world, &made.token, &good).await, "valid");
}

#[tokio::test]
async fn der_is_refused() {
    let world = World::new().await;
    asking(&world, DeviceMode::IfRegistered).await;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let hand = |alg| Hand(EcdsaKeyPair::from_pkcs8(alg, pkcs8.as_ref()).unwrap());
    let (fixed, der) = (hand(&ECDSA_P256_SHA256_FIXED_SIGNING), hand(&ECDSA_P256_SHA256_ASN1_SIGNING));
    let made = world.login("ada").await;
    let proof = der.introduction(&world, &challenge_of(&world, &made.id).await, Some(&made.id));
    register(&world, json!({ "token": made.token }), &proof).await.refused(403, "device_proof_invalid");
    let proof = fixed.introduction(&world, &challenge_of(&world, &made.id).await, Some(&made.id));
    register(&world, json!({ "token": made.token }), &proof).await.expect(201);
    let fresh = challenge_of(&world, &made.id).await;
    assert_eq!(
        verdict(&world, &made.token, &der.proof(&world, &fresh, &made.id)).await,
        "device_proof_invalid"
    );
    assert_eq!(verdict(&world, &made.token, &fixed.proof(&world, &fresh, &made.id)).await, "valid");
}

#[tokio::test]
async fn what_is_stale_comes_with_a_fresh_challenge() {
    let (world, hand, made) = bound().await;
    let stale = async |what: &str, proof: String| {
        let answer = validate(&world, &made.token, &proof).await;
        assert_eq!(
            (code(&answer).as_str(), &answer["status"]),
            ("device_proof_stale", &json!(403)),
            "{what}: {answer}"
        );
        answer["device_challenge"]["challenge"].as_str().unwrap().to_owned()
    };
    let used = hand.proof(&world, &challenge_of(&world, &made.id).await, &made.id);
    assert_eq!(verdict(&world, &made.token, &used).await, "valid");
    let fresh = stale("replayed", used.clone()).await;
    assert_eq!(verdict(&world, &made.token, &hand.proof(&world, &fresh, &made.id)).await, "valid");
    let other = world.login("ada").await;
    let fresh =
        stale("of another session", hand.proof(&world, &challenge_of(&world, &other.id).await, &made.id))
            .await;
    let before_login = challenge(&world, json!({ "user_id": "ada" })).await;
    stale("of a login", hand.proof(&world, &before_login, &made.id)).await;
    stale("made up", hand.proof(&world, "dch_0000", &made.id)).await;
    // To the last millisecond, and not longer.
    world.advance(Span(299_999));
    let at = |seconds: i64, challenge: &str| {
        let mut spec = Spec::of(&world, challenge, "GET", Some(&made.id));
        spec.claims["iat"] = (crate::world::BEGINNING.0 / 1_000 + seconds).into();
        hand.sign(&spec)
    };
    assert_eq!(verdict(&world, &made.token, &at(299, &fresh)).await, "valid");
    let old = challenge_of(&world, &made.id).await;
    world.advance(Span(300_000));
    let fresh = stale("expired", at(599, &old)).await;
    stale("from before its challenge", at(500, &fresh)).await;
    stale("from the future", at(620, &fresh)).await;
    // Long after, it is still known that the first was used, or it is too old: it never passes again.
    world.advance(Span::hours(1));
    world.app.tidy().await.ok().unwrap();
    stale("replayed much later", used).await;
}

#[tokio::test]
async fn a_session_gets_a_device_within_five_minutes_of_its_login() {
    let (world, hand) = (World::new().await, Hand::new());
    let made = world.login("ada").await;
    world.advance(Span(299_999));
    let early = hand.introduction(&world, &challenge_of(&world, &made.id).await, Some(&made.id));
    world.advance(Span(1));
    let answer = register(&world, json!({ "token": made.token }), &early).await;
    let problem = answer.refused(403, "reauthentication_required");
    assert_eq!(problem["detail"], "device 5m, allowed 5m");
    let made = world.login("ada").await;
    world.advance(Span(299_999));
    let proof = hand.introduction(&world, &challenge_of(&world, &made.id).await, Some(&made.id));
    register(&world, json!({ "token": made.token }), &proof).await.expect(201);
}

#[tokio::test]
async fn nobody_registers_a_device_on_somebody_elses_session() {
    let (world, thief) = (World::new().await, Hand::new());
    let (victim, own) = (world.login("ada").await, world.login("mallory").await);
    let (theirs, mine) = (challenge_of(&world, &victim.id).await, challenge_of(&world, &own.id).await);
    let victims = json!({ "session_id": victim.id });
    // With a challenge and a proof of their own session; with either of them alone.
    for (what, challenge, session, code) in [
        ("own proof", &mine, &own.id, "device_proof_invalid"),
        ("own challenge", &mine, &victim.id, "device_proof_stale"),
        ("own session", &theirs, &own.id, "device_proof_invalid"),
    ] {
        let proof = thief.introduction(&world, challenge, Some(session));
        let answer = register(&world, victims.clone(), &proof).await;
        let problem = answer.refused(403, code);
        assert_eq!(problem.get("device_challenge").is_some(), code == "device_proof_stale", "{what}");
    }
    // With what they know of it: its id, and no token.
    let forged = format!("{}{}", &victim.token[..20], &own.token[20..]);
    let proof = || thief.introduction(&world, &theirs, Some(&victim.id));
    for (body, status, code) in [
        (json!({ "token": forged }), 401, "token_malformed"),
        (json!({ "token": victim.id }), 401, "token_malformed"),
        (json!({ "token": "" }), 401, "token_missing"),
        (json!({ "token": own.token }), 403, "device_proof_invalid"),
    ] {
        register(&world, body, &proof()).await.refused(status, code);
    }
    // From another environment, and with a key that may not.
    let elsewhere = world.make_environment("other", "prd").await;
    let reader = world.make_key(json!({ "name": "reader", "scopes": ["sessions:read"] })).await;
    let body =
        json!({ "session_id": victim.id, "device": { "proof": proof() }, "method": "POST", "url": URL });
    for (key, status, code) in [(elsewhere, 404, "not_found"), (reader, 403, "insufficient_scope")] {
        let call = world.call(http::Method::POST, "/v1/devices").key(&key.token);
        call.json(&body).send().await.refused(status, code);
    }
    // With somebody else's public key in the proof.
    let mut spec = Spec::of(&world, &theirs, "POST", Some(&victim.id));
    spec.header["jwk"] = Hand::new().jwk();
    register(&world, victims.clone(), &thief.sign(&spec)).await.refused(403, "device_proof_invalid");
    let session = world.get(&format!("/v1/sessions/{}", victim.id)).await.expect(200);
    assert!(session.get("device").is_none(), "{session}");
    // None of that has used up the victim's challenge.
    let hand = Hand::new();
    let proof = hand.introduction(&world, &theirs, Some(&victim.id));
    register(&world, json!({ "token": victim.token }), &proof).await.expect(201);
    // An ended session gets none.
    world.delete(&format!("/v1/sessions/{}", own.id)).await.expect(200);
    let proof = thief.introduction(&world, &mine, Some(&own.id));
    register(&world, json!({ "token": own.token }), &proof).await.refused(401, "session_revoked");
    register(&world, json!({ "session_id": own.id }), &proof).await.refused(409, "session_ended");
}

#[tokio::test]
async fn a_proof_needs_its_request() {
    let (world, hand, made) = bound().await;
    let proof = hand.proof(&world, &challenge_of(&world, &made.id).await, &made.id);
    for (body, pointer) in [
        (json!({ "url": URL }), "/method"),
        (json!({ "method": "GET" }), "/url"),
        (json!({ "method": "GE T", "url": URL }), "/method"),
        (json!({ "method": "GET", "url": "/orders" }), "/url"),
        (json!({ "method": "GET", "url": "https://u@app.example/" }), "/url"),
        (json!({ "method": "GET", "url": URL, "device": { "proof": proof, "more": 1 } }), "/device/more"),
        (json!({ "method": "GET", "url": URL, "device": {} }), "/device/proof"),
    ] {
        let mut whole = json!({ "token": made.token, "device": { "proof": proof } });
        body.as_object().unwrap().iter().for_each(|(name, value)| whole[name] = value.clone());
        let problem = world.post("/v1/sessions/validate", whole).await.refused(400, "invalid_request");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        assert!(!problem.to_string().contains(&proof), "what was sent is not repeated");
    }
    for (body, pointer) in [
        (json!({ "token": made.token, "session_id": made.id }), "/session_id"),
        (json!({ "token": made.token, "user_id": "ada" }), "/user_id"),
        (json!({ "session_id": made.id, "ip": "203.0.113.7" }), "/ip"),
        (json!({ "user_id": "" }), "/user_id"),
        (json!({ "ip": "x" }), "/ip"),
    ] {
        let problem = world.post("/v1/devices/challenge", body).await.refused(400, "invalid_request");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let problem = register(&world, json!({}), &proof).await.refused(400, "invalid_request");
    assert_eq!(problem["errors"][0]["pointer"], "/token");
}
