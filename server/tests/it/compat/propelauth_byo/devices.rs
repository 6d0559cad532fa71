//! Devices with real keys: registered at a login or later, proved with every request, and every wrong proof in the clients'
//! own types.

mod wrong;

use super::{fails, good, login, names, run, text};
use crate::http::devices::hand::{Hand, Spec, URL};
use crate::world::{Made, World};
use handstamp_core::time::Span;
use http::Method;
use serde_json::{Value, json};

/// Where the client is, as the commands are told.
pub(super) fn here() -> Value {
    json!({ "ipAddress": "203.0.113.7", "userAgent": "Firefox" })
}

/// Both objects in one.
pub(super) fn with(mut one: Value, other: Value) -> Value {
    let Value::Object(members) = other else { panic!("an object") };
    members.into_iter().for_each(|(name, value)| one[name] = value);
    one
}

/// A challenge for whoever comes from here.
pub(super) async fn challenge(world: &World) -> String {
    let given = good(world, "CreateDeviceChallenge", here()).await;
    given["deviceChallenge"].as_str().unwrap().to_owned()
}

/// A proof with the request that it came with.
pub(super) fn signed(proof: &str, method: &str) -> Value {
    json!({ "signedDeviceChallenge": proof, "requestMethod": method, "requestUrl": URL })
}

/// What a validation from here is told.
pub(super) fn proved(token: &str, proof: &str) -> Value {
    with(here(), json!({ "sessionToken": token, "deviceVerification": signed(proof, "GET") }))
}

/// What a login of `ada` from here with a device is told.
pub(super) fn logging_in(proof: &str, remember: Value) -> Value {
    let device = with(signed(proof, "POST"), json!({ "rememberDevice": remember }));
    with(here(), json!({ "userId": "ada", "deviceRegistration": device }))
}

/// What a registration from here is told.
pub(super) fn registering(session: Value, proof: &str) -> Value {
    with(with(here(), session), with(signed(proof, "POST"), json!({ "rememberDevice": false })))
}

/// A world that says nothing of devices: at this door, sessions that have one are asked for it all the same.
pub(super) async fn asking() -> World {
    let world = World::new().await;
    let rules = json!({ "max_sessions": 1_000 });
    let policy = json!({ "default": rules, "tag": { "net:office": { "ip_allow": ["198.51.100.0/24"] } } });
    world.call(Method::PUT, "/v1/policies").json(&policy).send().await.expect(200);
    world
}

/// A session of `ada` with a device, bound at its login.
pub(super) async fn bound(world: &World, hand: &Hand) -> Made {
    let proof = hand.introduction(world, &challenge(world).await, None);
    login(world, logging_in(&proof, Value::Null)).await
}

#[tokio::test]
async fn a_challenge_is_told_with_its_end() {
    let world = World::new().await;
    let now = world.app.now().0 / 1_000;
    for ask in [json!({}), here(), json!({ "userAgent": null, "ipAddress": "2001:db8::7" })] {
        let given = good(&world, "CreateDeviceChallenge", ask).await;
        assert_eq!(names(&given), ["deviceChallenge", "expiresAt"]);
        assert!(given["deviceChallenge"].as_str().unwrap().starts_with("dch_"));
        assert_eq!(given["expiresAt"], now + 300);
    }
    let body =
        fails(&world, "CreateDeviceChallenge", json!({ "ipAddress": "x" }), 400, "UnexpectedError").await;
    assert!(text(&body).starts_with("invalid_request: /data/ipAddress: "), "{body}");
    let body =
        fails(&world, "CreateDeviceChallenge", json!({ "userId": "ada" }), 400, "UnexpectedError").await;
    assert!(text(&body).starts_with("invalid_request: /data/userId: "), "{body}");
}

#[tokio::test]
async fn a_device_logs_in_and_proves_every_request() {
    let (world, hand) = (asking().await, Hand::new());
    let introduce = async |hand: &Hand, remember: Value| {
        let proof = hand.introduction(&world, &challenge(&world).await, None);
        good(&world, "CreateSession", logging_in(&proof, remember)).await
    };
    // Not remembered, by a word or by none; then remembered, and known from then on; another device is not.
    for (remember, new) in [
        (json!(false), true),
        (Value::Null, true),
        (json!(true), true),
        (json!(true), false),
        (json!(false), false),
    ] {
        let made = introduce(&hand, remember).await;
        assert_eq!(names(&made), ["expiresAt", "newDeviceDetected", "sessionId", "sessionToken"]);
        assert_eq!(made["newDeviceDetected"], new);
    }
    assert_eq!(introduce(&Hand::new(), json!(true)).await["newDeviceDetected"], true);
    let known = world.get("/v1/devices?user_id=ada").await.expect(200);
    assert_eq!(known["items"].as_array().unwrap().len(), 2);

    let made = bound(&world, &hand).await;
    let ours = world.get(&format!("/v1/sessions/{}", made.id)).await.expect(200);
    assert_eq!(ours["device"]["id"], hand.id());
    for command in ["ValidateSession", "ValidateAndRefreshSession"] {
        let proof = hand.proof(&world, &challenge(&world).await, &made.id);
        let valid = good(&world, command, proved(&made.token, &proof)).await;
        assert_eq!((&valid["hasDeviceRegistered"], &valid["sessionId"]), (&json!(true), &json!(made.id)));
        // The next challenge that our own answers bring has no place in theirs.
        let expected = ["createdAt", "expiresAt", "hasDeviceRegistered", "sessionId", "tags", "userId"];
        assert_eq!(names(&valid), expected);
        let bare = json!({ "sessionToken": made.token });
        for ask in [bare.clone(), with(bare.clone(), json!({ "deviceVerification": null }))] {
            let body = fails(&world, command, ask, 403, "DeviceVerificationRequired").await;
            assert!(body.get("details").is_none(), "{body}");
        }
        // A request that cannot carry a proof, whatever it brings.
        let ignored = with(bare, json!({ "ignoreDeviceForVerification": true }));
        good(&world, command, ignored.clone()).await;
        good(&world, command, with(ignored, json!({ "deviceVerification": signed("a.b.c", "G T") }))).await;
        let asked =
            with(json!({ "sessionToken": made.token }), json!({ "ignoreDeviceForVerification": false }));
        fails(&world, command, asked, 403, "DeviceVerificationRequired").await;
    }
    // A session without a device is not asked, and a proof that came is not looked at.
    let plain = login(&world, json!({ "userId": "bob" })).await;
    let valid = good(&world, "ValidateSession", proved(&plain.token, "a.b.c")).await;
    assert_eq!(valid["hasDeviceRegistered"], false);
    // Where all are asked, it has to get one first.
    let policy = json!({ "default": { "device": "required" } });
    world.call(Method::PUT, "/v1/policies").json(&policy).send().await.expect(200);
    let ask = json!({ "sessionToken": plain.token });
    fails(&world, "ValidateSession", ask, 403, "DeviceVerificationRequired").await;
}

#[tokio::test]
async fn a_rotation_is_for_the_device_alone() {
    let (world, hand) = (asking().await, Hand::new());
    let made = bound(&world, &hand).await;
    world.advance(Span::hours(12));
    let ask = json!({ "sessionToken": made.token });
    fails(&world, "ValidateAndRefreshSession", ask.clone(), 403, "DeviceVerificationRequired").await;
    // Who leaves the proof out may pass, but is nobody who has the key.
    let ignored = with(ask, json!({ "ignoreDeviceForVerification": true }));
    let valid = good(&world, "ValidateAndRefreshSession", ignored).await;
    assert!(valid.get("newSessionToken").is_none(), "a successor without the device");
    let proof = hand.proof(&world, &challenge(&world).await, &made.id);
    let valid = good(&world, "ValidateAndRefreshSession", proved(&made.token, &proof)).await;
    let next = valid["newSessionToken"].as_str().unwrap();
    let proof = hand.proof(&world, &challenge(&world).await, &made.id);
    good(&world, "ValidateSession", proved(next, &proof)).await;
}

#[tokio::test]
async fn a_session_gets_its_device_later() {
    let (world, hand) = (asking().await, Hand::new());
    for by in ["token", "id", "both", "null"] {
        let made = login(&world, json!({ "userId": "ada" })).await;
        let session = match by {
            "token" => json!({ "sessionToken": made.token }),
            "id" => json!({ "sessionId": made.id }),
            "both" => json!({ "sessionToken": made.token, "sessionId": made.id }),
            _ => json!({ "sessionToken": null, "sessionId": made.id }),
        };
        let proof = hand.introduction(&world, &challenge(&world).await, Some(&made.id));
        let done = good(&world, "RegisterDevice", registering(session.clone(), &proof)).await;
        assert_eq!(done, json!({ "newDeviceDetected": true }), "{by}");
        let ours = world.get(&format!("/v1/sessions/{}", made.id)).await.expect(200);
        assert_eq!(ours["device"]["id"], hand.id(), "{by}");
        let proof = hand.proof(&world, &challenge(&world).await, &made.id);
        good(&world, "ValidateSession", proved(&made.token, &proof)).await;
        // Once.
        let proof = hand.introduction(&world, &challenge(&world).await, Some(&made.id));
        let again = registering(session, &proof);
        let body = fails(&world, "RegisterDevice", again, 409, "DeviceAlreadyRegistered").await;
        assert!(body.get("details").is_none(), "{body}");
    }
    // Remembered, and known with the next login.
    let made = login(&world, json!({ "userId": "ada" })).await;
    let proof = hand.introduction(&world, &challenge(&world).await, Some(&made.id));
    let ask = with(registering(json!({ "sessionId": made.id }), &proof), json!({ "rememberDevice": true }));
    assert_eq!(good(&world, "RegisterDevice", ask).await, json!({ "newDeviceDetected": true }));
    let proof = hand.introduction(&world, &challenge(&world).await, None);
    let made = good(&world, "CreateSession", logging_in(&proof, Value::Null)).await;
    assert_eq!(made["newDeviceDetected"], false);
}

#[tokio::test]
async fn method_and_url_are_compared_where_they_are_told() {
    let (world, hand) = (asking().await, Hand::new());
    let made = bound(&world, &hand).await;
    // Each of them told, left out, or null: in the proof there is GET of that URL.
    let places = [("requestMethod", "GET", "POST"), ("requestUrl", URL, "https://app.example/admin")];
    for (told, right) in
        [("none", true), ("nulls", true), ("right", true), ("one right", true), ("wrong", false)]
    {
        for (name, good_one, bad_one) in places {
            let proof = hand.proof(&world, &challenge(&world).await, &made.id);
            let mut device = json!({ "signedDeviceChallenge": proof });
            match told {
                "none" => {}
                "nulls" => (device["requestMethod"], device["requestUrl"]) = (Value::Null, Value::Null),
                "right" => (device["requestMethod"], device["requestUrl"]) = ("GET".into(), URL.into()),
                "one right" => device[name] = good_one.into(),
                _ => device[name] = bad_one.into(),
            }
            let ask = with(here(), json!({ "sessionToken": made.token, "deviceVerification": device }));
            if right {
                good(&world, "ValidateSession", ask).await;
            } else {
                fails(&world, "ValidateSession", ask, 403, "DeviceVerificationFailed").await;
            }
        }
    }
    // At a login and a registration, too; the proof is of a POST.
    for told in [json!({}), json!({ "requestMethod": null, "requestUrl": null }), signed("", "POST")] {
        let introduction = hand.introduction(&world, &challenge(&world).await, None);
        let device = with(told.clone(), json!({ "signedDeviceChallenge": introduction }));
        let ask = with(here(), json!({ "userId": "eve", "deviceRegistration": device }));
        assert_eq!(good(&world, "CreateSession", ask).await["newDeviceDetected"], true);
        let made = login(&world, json!({ "userId": "eve" })).await;
        let introduction = hand.introduction(&world, &challenge(&world).await, Some(&made.id));
        let ask = with(told, json!({ "signedDeviceChallenge": introduction, "rememberDevice": false }));
        let ask = with(with(here(), json!({ "sessionToken": made.token })), ask);
        good(&world, "RegisterDevice", ask).await;
    }
    // What is no method or URL at all is a mistake of the application.
    let fresh = login(&world, json!({ "userId": "eve" })).await;
    for (name, wrong) in
        [("requestMethod", "G T"), ("requestMethod", ""), ("requestUrl", "/orders"), ("requestUrl", "")]
    {
        let device = with(signed("a.b.c", "GET"), json!({ name: wrong }));
        let verify = json!({ "sessionToken": made.token, "deviceVerification": device });
        let create = json!({ "userId": "eve", "deviceRegistration": device });
        let register = with(json!({ "sessionToken": fresh.token, "rememberDevice": true }), device.clone());
        for (command, ask, at) in [
            ("ValidateSession", verify, "/data/deviceVerification"),
            ("CreateSession", create, "/data/deviceRegistration"),
            ("RegisterDevice", register, "/data"),
        ] {
            let body = fails(&world, command, ask, 400, "UnexpectedError").await;
            assert!(text(&body).starts_with(&format!("invalid_request: {at}/{name}: ")), "{body}");
            assert!(!text(&body).contains("a.b.c"), "what was sent is not repeated");
        }
    }
}

#[tokio::test]
async fn a_registration_needs_its_scope_and_a_store() {
    let (world, hand) = (asking().await, Hand::new());
    let made = login(&world, json!({ "userId": "ada" })).await;
    let proof = hand.introduction(&world, &challenge(&world).await, Some(&made.id));
    let ask = registering(json!({ "sessionToken": made.token }), &proof);
    for scope in ["sessions:read", "events:read"] {
        let key = world.make_key(json!({ "name": "k", "scopes": [scope] })).await.token;
        let body = json!({ "command": "RegisterDevice", "data": ask });
        let answer = world.call(Method::POST, "/run-command").key(&key).json(&body).send().await;
        let body = super::failed(&answer, 403, "UnexpectedError");
        assert!(text(&body).starts_with("insufficient_scope: "), "{body}");
    }
    for (change, at) in [
        (json!({ "rememberDevice": null }), "/data/rememberDevice"),
        (json!({ "rememberDevice": "yes" }), "/data/rememberDevice"),
        (json!({ "signedDeviceChallenge": null }), "/data/signedDeviceChallenge"),
        (json!({ "device": {} }), "/data/device"),
        (json!({ "ipAddress": "x" }), "/data/ipAddress"),
    ] {
        let body = fails(&world, "RegisterDevice", with(ask.clone(), change), 400, "UnexpectedError").await;
        assert!(text(&body).starts_with(&format!("invalid_request: {at}: ")), "{body}");
    }
    // An accident says nothing of the session, and has used up nothing.
    use handstamp_server::store::faulty::{Call, Fault};
    world.store.plan(Call::Commit, [Fault::Before]);
    let body = fails(&world, "RegisterDevice", ask.clone(), 503, "UnexpectedError").await;
    assert!(text(&body).starts_with("store_unavailable: "), "{body}");
    let writer = world.make_key(json!({ "name": "w", "scopes": ["sessions:write"] })).await.token;
    let body = json!({ "command": "RegisterDevice", "data": ask });
    world.call(Method::POST, "/run-command").key(&writer).json(&body).send().await.expect(200);
    // A proof that meets an accident at a validation is good afterwards.
    let proof = hand.proof(&world, &challenge(&world).await, &made.id);
    world.store.plan(Call::Commit, [Fault::Before]);
    fails(&world, "ValidateSession", proved(&made.token, &proof), 503, "UnexpectedError").await;
    good(&world, "ValidateSession", proved(&made.token, &proof)).await;
    assert_eq!(run(&world, "ValidateSession", proved(&made.token, &proof)).await.status, 403);
}
