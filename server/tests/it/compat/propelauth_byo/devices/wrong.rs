//! Proofs that prove nothing: at a validation, at a login, at a registration.

use super::super::{fails, good, login, text};
use super::{Hand, Made, Spec, World};
use super::{asking, bound, challenge, here, logging_in, proved, registering, with};
use handstamp_core::device::base64url::encode;
use handstamp_core::time::Span;
use serde_json::{Value, json};

/// A proof of a request with the session, changed; `introduces`: as it is for a login or a registration.
async fn changed(
    world: &World,
    hand: &Hand,
    session: Option<&str>,
    introduces: bool,
    change: &dyn Fn(&mut Spec),
) -> String {
    let method = if introduces { "POST" } else { "GET" };
    let mut spec = Spec::of(world, &challenge(world).await, method, session);
    if introduces {
        spec.header["jwk"] = hand.jwk();
    }
    change(&mut spec);
    hand.sign(&spec)
}

fn without(member: &'static str) -> impl Fn(&mut Spec) {
    move |spec| {
        spec.header.as_object_mut().unwrap().remove(member);
        spec.claims.as_object_mut().unwrap().remove(member);
    }
}

/// What is wrong with every proof alike.
async fn wrong_in_itself(
    world: &World,
    hand: &Hand,
    session: Option<&str>,
    introduces: bool,
) -> Vec<(&'static str, String)> {
    let of = async |change: &dyn Fn(&mut Spec)| changed(world, hand, session, introduces, change).await;
    let good = of(&|_| ()).await;
    let (front, signature) = good.rsplit_once('.').unwrap();
    let other = of(&|s| s.claims["iat"] = 1.into()).await;
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    vec![
        ("garbage", "garbage".to_owned()),
        ("empty", String::new()),
        ("three dots", "a.b.c".to_owned()),
        ("oversized", "x".repeat(9_000)),
        ("no signature", format!("{front}.")),
        ("damaged signature", format!("{front}.{flipped}{}", &signature[1..])),
        ("a signature of other claims", format!("{}.{signature}", other.rsplit_once('.').unwrap().0)),
        ("zeros", format!("{front}.{}", encode(&[0; 64]))),
        ("other typ", of(&|s| s.header["typ"] = "dpop+jwt".into()).await),
        ("no typ", of(&without("typ")).await),
        ("no challenge", of(&without("jti")).await),
        ("no time", of(&without("iat")).await),
        ("alg none", of(&|s| s.header["alg"] = "none".into()).await),
        ("alg HS256", of(&|s| s.header["alg"] = "HS256".into()).await),
        ("other method", of(&|s| s.claims["htm"] = "PUT".into()).await),
        ("other URL", of(&|s| s.claims["htu"] = "https://app.example/admin".into()).await),
        ("other host", of(&|s| s.claims["htu"] = "https://evil.example/orders".into()).await),
        ("more than there may be", of(&|s| s.claims["exp"] = 1.into()).await),
    ]
}

#[tokio::test]
async fn at_a_validation() {
    let (world, hand) = (asking().await, Hand::new());
    let (made, other) = (bound(&world, &hand).await, bound(&world, &hand).await);
    let mut wrong = wrong_in_itself(&world, &hand, Some(&made.id), false).await;
    wrong.extend([
        ("another key", Hand::new().proof(&world, &challenge(&world).await, &made.id)),
        ("another session of the device", hand.proof(&world, &challenge(&world).await, &other.id)),
        ("no session", changed(&world, &hand, None, false, &|_| ()).await),
        (
            "with its key",
            changed(&world, &hand, Some(&made.id), false, &|s| s.header["jwk"] = hand.jwk()).await,
        ),
    ]);
    for (what, proof) in wrong {
        for command in ["ValidateSession", "ValidateAndRefreshSession"] {
            let body =
                fails(&world, command, proved(&made.token, &proof), 403, "DeviceVerificationFailed").await;
            assert!(body.get("details").is_none(), "{what}: {body}");
        }
    }
    // It ended nothing, and a good proof passes still.
    let proof = hand.proof(&world, &challenge(&world).await, &made.id);
    good(&world, "ValidateSession", proved(&made.token, &proof)).await;
    // Who has no good session is told so, whatever the proof.
    let body = fails(&world, "ValidateSession", proved("abc", &proof), 401, "InvalidSessionToken").await;
    assert!(text(&body).starts_with("token_malformed: "), "{body}");
}

/// The challenge that a failure brings, which is to be signed instead.
async fn fresh(world: &World, command: &str, ask: Value) -> String {
    let body = fails(world, command, ask, 403, "NewDeviceChallengeRequired").await;
    let details = body["details"].as_object().unwrap();
    assert_eq!(details.keys().collect::<Vec<_>>(), ["deviceChallenge", "expiresAt"], "{body}");
    assert_eq!(details["expiresAt"], world.app.now().0 / 1_000 + 300);
    details["deviceChallenge"].as_str().unwrap().to_owned()
}

/// Challenges that are not good any more, or never were, each with what it is.
async fn stale(world: &World) -> Vec<(&'static str, String)> {
    let given = async |from: Value| {
        let given = good(world, "CreateDeviceChallenge", from).await;
        given["deviceChallenge"].as_str().unwrap().to_owned()
    };
    let (old, other) = (challenge(world).await, login(world, json!({ "userId": "eve" })).await);
    world.advance(Span::minutes(5));
    let of_eve = world.post("/v1/devices/challenge", json!({ "session_id": other.id })).await.expect(200);
    let named = with(json!({ "user_id": "zoe" }), json!({ "ip": "203.0.113.7", "user_agent": "Firefox" }));
    let of_zoe = world.post("/v1/devices/challenge", named).await.expect(200);
    let text = |given: &Value| given["challenge"].as_str().unwrap().to_owned();
    vec![
        ("old", old),
        ("made up", "dch_0000".to_owned()),
        ("no challenge at all", "hello".to_owned()),
        ("another address", given(with(here(), json!({ "ipAddress": "203.0.113.8" }))).await),
        ("another agent", given(with(here(), json!({ "userAgent": "Chrome" }))).await),
        ("no address", given(with(here(), json!({ "ipAddress": null }))).await),
        ("no agent", given(with(here(), json!({ "userAgent": null }))).await),
        ("nobody", given(json!({})).await),
        ("another session", text(&of_eve)),
        ("another user", text(&of_zoe)),
    ]
}

#[tokio::test]
async fn what_is_only_stale_brings_the_challenge_to_sign_instead() {
    let (world, hand) = (asking().await, Hand::new());
    let made = bound(&world, &hand).await;
    let used = challenge(&world).await;
    let first = hand.proof(&world, &used, &made.id);
    good(&world, "ValidateSession", proved(&made.token, &first)).await;
    let again = fresh(&world, "ValidateSession", proved(&made.token, &first)).await;
    good(&world, "ValidateSession", proved(&made.token, &hand.proof(&world, &again, &made.id))).await;
    for (what, one) in stale(&world).await {
        for command in ["ValidateSession", "ValidateAndRefreshSession"] {
            let proof = hand.proof(&world, &one, &made.id);
            let fresh = fresh(&world, command, proved(&made.token, &proof)).await;
            // It is the session's own: good wherever the client is by now, and at once.
            let again = hand.proof(&world, &fresh, &made.id);
            let elsewhere = with(proved(&made.token, &again), json!({ "ipAddress": "198.51.100.7" }));
            assert_eq!(good(&world, command, elsewhere).await["sessionId"], made.id.as_str(), "{what}");
        }
    }
    // A clock that is wrong.
    for seconds in [-61, 11] {
        let at = world.app.now().0 / 1_000 + seconds;
        let proof = changed(&world, &hand, Some(&made.id), false, &|s| s.claims["iat"] = at.into()).await;
        fresh(&world, "ValidateSession", proved(&made.token, &proof)).await;
    }
}

#[tokio::test]
async fn at_a_login() {
    let (world, hand) = (asking().await, Hand::new());
    let elsewhere = login(&world, json!({ "userId": "bob" })).await;
    let mut wrong = wrong_in_itself(&world, &hand, None, true).await;
    let thief = Hand::new();
    wrong.extend([
        ("no key", changed(&world, &hand, None, true, &without("jwk")).await),
        ("another's key", changed(&world, &hand, None, true, &|s| s.header["jwk"] = thief.jwk()).await),
        ("a session", changed(&world, &hand, Some(&elsewhere.id), true, &|_| ()).await),
    ]);
    for (what, one) in stale(&world).await {
        wrong.push((what, hand.introduction(&world, &one, None)));
    }
    let used = hand.introduction(&world, &challenge(&world).await, None);
    let other = with(logging_in(&used, Value::Null), json!({ "userId": "bob" }));
    good(&world, "CreateSession", other).await;
    wrong.push(("used", used));
    for (what, proof) in wrong {
        let body =
            fails(&world, "CreateSession", logging_in(&proof, json!(true)), 403, "InvalidDeviceRegistration")
                .await;
        assert!(body.get("details").is_none(), "{what}: {body}");
    }
    assert_eq!(world.get("/v1/sessions/count?user_id=ada&state=all").await.expect(200)["count"], 0);
    assert_eq!(world.get("/v1/devices?user_id=ada").await.expect(200)["items"], json!([]));
    bound(&world, &hand).await;
}

#[tokio::test]
async fn at_a_registration() {
    let (world, hand) = (asking().await, Hand::new());
    let made = login(&world, json!({ "userId": "ada" })).await;
    let other = login(&world, json!({ "userId": "ada" })).await;
    let mut wrong = wrong_in_itself(&world, &hand, Some(&made.id), true).await;
    let thief = Hand::new();
    wrong.extend([
        ("no key", changed(&world, &hand, Some(&made.id), true, &without("jwk")).await),
        (
            "another's key",
            changed(&world, &hand, Some(&made.id), true, &|s| s.header["jwk"] = thief.jwk()).await,
        ),
        ("another session", changed(&world, &hand, Some(&other.id), true, &|_| ()).await),
        ("no session, as at a login", changed(&world, &hand, None, true, &|_| ()).await),
    ]);
    let sessions = [json!({ "sessionToken": made.token }), json!({ "sessionId": made.id })];
    for (what, proof) in wrong {
        for session in &sessions {
            let ask = registering(session.clone(), &proof);
            let body = fails(&world, "RegisterDevice", ask, 403, "InvalidDeviceRegistration").await;
            assert!(body.get("details").is_none(), "{what}: {body}");
        }
    }
    let ours = world.get(&format!("/v1/sessions/{}", made.id)).await.expect(200);
    assert!(ours.get("device").is_none(), "{ours}");
    // What is only stale: the challenge that comes with it works at once, from wherever the client is by then.
    for (what, one) in stale(&world).await {
        let new: Made = login(&world, json!({ "userId": "ada" })).await;
        let proof = hand.introduction(&world, &one, Some(&new.id));
        let ask = registering(json!({ "sessionToken": new.token }), &proof);
        let fresh = fresh(&world, "RegisterDevice", ask).await;
        let proof = hand.introduction(&world, &fresh, Some(&new.id));
        let ask = registering(json!({ "sessionId": new.id }), &proof);
        let ask = with(ask, json!({ "ipAddress": "198.51.100.7", "userAgent": null }));
        assert_eq!(good(&world, "RegisterDevice", ask).await, json!({ "newDeviceDetected": true }), "{what}");
        let used = registering(
            json!({ "sessionId": other.id }),
            &hand.introduction(&world, &fresh, Some(&other.id)),
        );
        let body = fails(&world, "RegisterDevice", used, 403, "UnexpectedError").await;
        assert!(text(&body).starts_with("reauthentication_required: "), "{body}");
    }
}

#[tokio::test]
async fn sessions_that_get_none() {
    let (world, hand) = (asking().await, Hand::new());
    let made = login(&world, json!({ "userId": "ada" })).await;
    let other = login(&world, json!({ "userId": "bob" })).await;
    let dead = login(&world, json!({ "userId": "ada" })).await;
    good(&world, "InvalidateSessionById", json!({ "sessionId": dead.id })).await;
    let nobody = "ses_0000000000000000000000";
    for (session, of) in [
        (json!({}), &made.id),
        (json!({ "sessionToken": null, "sessionId": null }), &made.id),
        (json!({ "sessionToken": "" }), &made.id),
        (json!({ "sessionToken": "abc" }), &made.id),
        (json!({ "sessionToken": made.id }), &made.id),
        (json!({ "sessionToken": world.key }), &made.id),
        (json!({ "sessionId": "nonsense" }), &made.id),
        (json!({ "sessionId": made.token }), &made.id),
        (json!({ "sessionId": nobody }), &made.id),
        (json!({ "sessionToken": dead.token }), &dead.id),
        (json!({ "sessionId": dead.id }), &dead.id),
        // One of each of two.
        (json!({ "sessionToken": made.token, "sessionId": other.id }), &made.id),
        (json!({ "sessionToken": made.token, "sessionId": other.id }), &other.id),
        (json!({ "sessionToken": "abc", "sessionId": made.id }), &made.id),
    ] {
        let proof = hand.introduction(&world, &challenge(&world).await, Some(of));
        let ask = registering(session.clone(), &proof);
        let body = fails(&world, "RegisterDevice", ask, 404, "SessionNotFound").await;
        assert!(body.get("details").is_none(), "{session}: {body}");
    }
    for id in [&made.id, &other.id] {
        let ours = world.get(&format!("/v1/sessions/{id}")).await.expect(200);
        assert!(ours.get("device").is_none(), "{ours}");
    }
    // Somebody who acts in the user's place, and who comes too late.
    let actor = json!({ "id": "eve", "reason": "ticket 7" });
    let acting = world.create(json!({ "user_id": "ada", "actor": actor })).await;
    world.advance(Span(299_999));
    let early = hand.introduction(&world, &challenge(&world).await, Some(&made.id));
    world.advance(Span(1));
    for (one, code) in [(&acting, "impersonation_forbidden: "), (&made, "reauthentication_required: ")] {
        for session in [json!({ "sessionToken": one.token }), json!({ "sessionId": one.id })] {
            let ask = registering(session, &early);
            let body = fails(&world, "RegisterDevice", ask, 403, "UnexpectedError").await;
            assert!(text(&body).starts_with(code), "{body}");
        }
    }
    // A token that may not be used from there names a session all the same.
    let office =
        login(&world, json!({ "userId": "ada", "tags": ["net:office"], "ipAddress": "198.51.100.7" })).await;
    let proof = hand.introduction(&world, &challenge(&world).await, Some(&office.id));
    let ask = registering(json!({ "sessionToken": office.token }), &proof);
    let body = fails(&world, "RegisterDevice", ask, 403, "UnexpectedError").await;
    assert!(text(&body).starts_with("ip_not_allowed: "), "{body}");
}
