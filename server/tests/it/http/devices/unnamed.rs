//! Challenges that were given to nobody in particular: one is good, once, for a login, a registration or a request of a
//! session, from the same address by the same agent.

use super::hand::{Hand, URL, challenge, challenge_of, code};
use super::{asking, bound};
use crate::world::{Answer, Made, World};
use futures_util::future::join_all;
use handstamp_core::device::DeviceMode;
use handstamp_core::time::Span;
use serde_json::{Value, json};

/// Where the client is.
fn here() -> Value {
    json!({ "ip": "203.0.113.7", "user_agent": "Firefox" })
}

/// The same with one member changed; `null` takes it out.
fn but(mut from: Value, name: &str, value: Value) -> Value {
    from[name] = value;
    from.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    from
}

/// The whole answer to a `GET` from there with this proof.
async fn validate(world: &World, token: &str, proof: &str, mut from: Value) -> Value {
    from["token"] = token.into();
    from["device"] = json!({ "proof": proof });
    from["method"] = "GET".into();
    from["url"] = URL.into();
    world.post("/v1/sessions/validate", from).await.expect(200)
}

/// Registers the device on the session that `named` names, from there.
async fn register(world: &World, named: Value, proof: &str, mut from: Value) -> Answer {
    named.as_object().unwrap().iter().for_each(|(name, value)| from[name] = value.clone());
    from["device"] = json!({ "proof": proof });
    from["method"] = "POST".into();
    from["url"] = URL.into();
    world.post("/v1/devices", from).await
}

#[tokio::test]
async fn one_is_good_for_a_login_a_registration_and_a_request_each_once() {
    let (world, hand) = (World::new().await, Hand::new());
    asking(&world, DeviceMode::IfRegistered).await;
    let unnamed = async || challenge(&world, here()).await;
    // A login.
    let of_login = unnamed().await;
    let login = but(here(), "user_id", "ada".into());
    let login = but(login, "device", json!({ "proof": hand.introduction(&world, &of_login, None) }));
    let login = but(but(login, "method", "POST".into()), "url", URL.into());
    world.post("/v1/sessions", login).await.expect(201);
    // Registrations, by token and by id: both proofs say which session they are for.
    let mut spent = vec![of_login];
    let mut bound: Vec<Made> = Vec::new();
    for by in ["token", "session_id"] {
        let made = world.login("ada").await;
        let named = json!({ by: if by == "token" { &made.token } else { &made.id } });
        let fresh = unnamed().await;
        let without = hand.introduction(&world, &fresh, None);
        register(&world, named.clone(), &without, here()).await.refused(403, "device_proof_invalid");
        let proof = hand.introduction(&world, &fresh, Some(&made.id));
        let answer = register(&world, named, &proof, here()).await.expect(201);
        assert_eq!(answer["session"]["device"]["id"], hand.id());
        spent.push(fresh);
        bound.push(made);
    }
    // Requests; one proof of the session's own beside them.
    let (one, other) = (&bound[0], &bound[1]);
    let fresh = unnamed().await;
    let proof = hand.proof(&world, &fresh, &one.id);
    assert_eq!(code(&validate(&world, &one.token, &proof, here()).await), "valid");
    spent.push(fresh);
    let own = hand.proof(&world, &challenge_of(&world, &one.id).await, &one.id);
    assert_eq!(code(&validate(&world, &one.token, &own, json!({})).await), "valid");
    // Each was good once, whoever used it, and for whatever.
    for (n, challenge) in spent.iter().enumerate() {
        for made in [one, other] {
            let answer =
                validate(&world, &made.token, &hand.proof(&world, challenge, &made.id), here()).await;
            assert_eq!(code(&answer), "device_proof_stale", "{n}: {answer}");
            assert!(answer["detail"].as_str().unwrap().contains("was used"), "{n}: {answer}");
        }
        let made = world.login("ada").await;
        let proof = hand.introduction(&world, challenge, Some(&made.id));
        register(&world, json!({ "token": made.token }), &proof, here())
            .await
            .refused(403, "device_proof_stale");
    }
}

#[tokio::test]
async fn it_is_for_that_address_and_agent() {
    let (world, hand, made) = bound().await;
    let (ip, agent) = (json!("203.0.113.8"), json!("Chrome"));
    for (given_to, from, good) in [
        (here(), here(), true),
        (here(), but(here(), "ip", ip.clone()), false),
        (here(), but(here(), "user_agent", agent), false),
        (here(), but(here(), "ip", Value::Null), false),
        (here(), but(here(), "user_agent", Value::Null), false),
        (here(), json!({}), false),
        (but(here(), "ip", Value::Null), here(), false),
        (but(here(), "user_agent", Value::Null), here(), false),
        (json!({}), here(), false),
        (json!({}), json!({}), true),
        // A challenge for the logins of somebody stays one, though it is the session's own user.
        (but(here(), "user_id", "ada".into()), here(), false),
    ] {
        let what = format!("given to {given_to}, came from {from}");
        let fresh = challenge(&world, given_to).await;
        let answer = validate(&world, &made.token, &hand.proof(&world, &fresh, &made.id), from.clone()).await;
        assert_eq!(code(&answer), if good { "valid" } else { "device_proof_stale" }, "{what}: {answer}");
        // What comes with either answer is the session's own, good from wherever it comes next.
        let next = answer["device_challenge"]["challenge"].as_str().unwrap();
        let elsewhere = json!({ "ip": ip });
        let answer = validate(&world, &made.token, &hand.proof(&world, next, &made.id), elsewhere).await;
        assert_eq!(code(&answer), "valid", "{what}: {answer}");
        // And a session that gets its device.
        let new = world.login("bob").await;
        let proof = hand.introduction(&world, &fresh, Some(&new.id));
        let answer = register(&world, json!({ "token": new.token }), &proof, from).await;
        let problem = answer.refused(403, "device_proof_stale");
        let next = problem["device_challenge"]["challenge"].as_str().unwrap();
        let proof = hand.introduction(&world, next, Some(&new.id));
        register(&world, json!({ "session_id": new.id }), &proof, json!({ "ip": ip })).await.expect(201);
    }
    // For a registration where nothing was used before.
    for (from, status) in [(json!({}), 403), (but(here(), "user_agent", "Chrome".into()), 403), (here(), 201)]
    {
        let (new, fresh) = (world.login("bob").await, challenge(&world, here()).await);
        let proof = hand.introduction(&world, &fresh, Some(&new.id));
        let answer = register(&world, json!({ "token": new.token }), &proof, from).await;
        assert_eq!(answer.status, status);
    }
    // To the last millisecond.
    let fresh = challenge(&world, here()).await;
    world.advance(Span(299_999));
    let early = hand.proof(&world, &fresh, &made.id);
    assert_eq!(code(&validate(&world, &made.token, &early, here()).await), "valid");
    let fresh = challenge(&world, here()).await;
    world.advance(Span(300_000));
    let late = validate(&world, &made.token, &hand.proof(&world, &fresh, &made.id), here()).await;
    assert_eq!(code(&late), "device_proof_stale");
    assert!(late["detail"].as_str().unwrap().contains("an old challenge"), "{late}");
}

#[tokio::test]
async fn it_is_for_its_environment_and_opens_nothing_by_itself() {
    let (world, hand, made) = bound().await;
    let elsewhere = world.make_environment("other", "prd").await;
    let call = world.call(http::Method::POST, "/v1/devices/challenge").key(&elsewhere.token);
    let theirs = call.json(&here()).send().await.expect(200);
    let theirs = hand.proof(&world, theirs["challenge"].as_str().unwrap(), &made.id);
    let answer = validate(&world, &made.token, &theirs, here()).await;
    assert_eq!(code(&answer), "device_proof_stale");
    // Who holds the session's token, and a challenge, and no more: another key, and a proof of another session.
    let thief = Hand::new();
    let own = world.login("mallory").await;
    let fresh = challenge(&world, here()).await;
    for (what, proof) in [
        ("another key", thief.proof(&world, &fresh, &made.id)),
        ("another session", hand.proof(&world, &fresh, &own.id)),
        ("a login", hand.introduction(&world, &fresh, None)),
        ("a registration", hand.introduction(&world, &fresh, Some(&made.id))),
    ] {
        let answer = validate(&world, &made.token, &proof, here()).await;
        assert_eq!(code(&answer), "device_proof_invalid", "{what}: {answer}");
        assert!(answer.get("device_challenge").is_none(), "{what}: {answer}");
    }
    let proof = thief.introduction(&world, &fresh, Some(&made.id));
    register(&world, json!({ "token": made.token }), &proof, here()).await.refused(409, "already_exists");
    // None of that has used it up.
    let answer = validate(&world, &made.token, &hand.proof(&world, &fresh, &made.id), here()).await;
    assert_eq!(code(&answer), "valid", "{answer}");
}

/// Sessions of different users wait for different turns: only the store's word is common to them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_sessions_one_uses_it() {
    let (world, hand) = (World::new().await, Hand::new());
    asking(&world, DeviceMode::IfRegistered).await;
    let mut held: Vec<Made> = Vec::new();
    for n in 0..8 {
        let made = world.login(&format!("user-{n}")).await;
        let proof = hand.introduction(&world, &challenge_of(&world, &made.id).await, Some(&made.id));
        register(&world, json!({ "token": made.token }), &proof, json!({})).await.expect(201);
        held.push(made);
    }
    for round in 0..10 {
        let fresh = challenge(&world, here()).await;
        let proofs: Vec<String> = held.iter().map(|made| hand.proof(&world, &fresh, &made.id)).collect();
        let asked = (0..40).map(|n| validate(&world, &held[n % 8].token, &proofs[n % 8], here()));
        let codes: Vec<String> = join_all(asked).await.iter().map(code).collect();
        assert_eq!(codes.iter().filter(|code| *code == "valid").count(), 1, "{round}: {codes:?}");
        assert_eq!(codes.iter().filter(|code| *code == "device_proof_stale").count(), 39, "{round}");
    }
}
