//! Devices that a user is known to have: logging in with one, new ones, names, forgetting.

use super::hand::{Hand, Spec, URL, challenge, register};
use crate::world::World;
use handstamp_core::device::known::MOST;
use handstamp_core::time::Span;
use http::Method;
use serde_json::{Value, json};

async fn devices(world: &World, user: &str) -> Vec<Value> {
    let answer = world.get(&format!("/v1/devices?user_id={user}")).await.expect(200);
    assert_eq!(answer["next_cursor"], Value::Null);
    answer["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_login_says_whether_its_device_is_new() {
    let (world, hand) = (World::new().await, Hand::new());
    // Not remembered: new every time.
    for _ in 0..2 {
        let made = hand.login(&world, "ada", false).await;
        assert_eq!(
            (&made["new_device"], &made["session"]["device"]["id"]),
            (&json!(true), &json!(hand.id()))
        );
    }
    assert!(devices(&world, "ada").await.is_empty());
    assert_eq!(hand.login(&world, "ada", true).await["new_device"], true);
    assert_eq!(hand.login(&world, "ada", true).await["new_device"], false);
    assert_eq!(hand.login(&world, "ada", false).await["new_device"], false);
    // Another device, and another user of the same one, are new.
    assert_eq!(Hand::new().login(&world, "ada", false).await["new_device"], true);
    assert_eq!(hand.login(&world, "bob", true).await["new_device"], true);
    let known = devices(&world, "ada").await;
    assert_eq!(known.len(), 1);
    let expected = json!({
        "id": hand.id(), "user_id": "ada", "name": null, "key": "P-256",
        "first_seen_at": "2026-01-01T00:00:00.000Z", "last_seen_at": "2026-01-01T00:00:00.000Z",
        "client": {
            "ip": null, "user_agent": null, "browser": null, "os": null, "device_type": null, "display_name": null
        }
    });
    assert_eq!(known[0], expected);
    // Without a device, nothing is said of one.
    let plain = world.post("/v1/sessions", json!({ "user_id": "ada" })).await.expect(201);
    assert!(plain.get("new_device").is_none() && plain["session"].get("device").is_none());
}

#[tokio::test]
async fn a_repeated_creation_says_the_same() {
    let (world, hand) = (World::new().await, Hand::new());
    for (key, remember, new) in [("a", true, true), ("b", true, false)] {
        let proof = hand.introduction(&world, &challenge(&world, json!({ "user_id": "ada" })).await, None);
        let device = json!({ "proof": proof, "remember": remember });
        let body = json!({ "user_id": "ada", "device": device, "method": "POST", "url": URL });
        let send = async || {
            let call = world.call(Method::POST, "/v1/sessions").header("idempotency-key", key);
            call.json(&body).send().await.expect(201)
        };
        let first = send().await;
        assert_eq!((&first["new_device"], &send().await), (&json!(new), &first));
        world.advance(Span::secs(1));
    }
}

#[tokio::test]
async fn a_login_is_for_its_client_and_its_request() {
    let (world, hand) = (World::new().await, Hand::new());
    let from = json!({ "user_id": "ada", "ip": "203.0.113.7", "user_agent": "Firefox" });
    let attempt = async |with: Value, change: &dyn Fn(&mut Spec)| {
        let mut spec = Spec::of(&world, &challenge(&world, from.clone()).await, "POST", None);
        spec.header["jwk"] = hand.jwk();
        change(&mut spec);
        let mut body = with;
        body["device"] = json!({ "proof": hand.sign(&spec) });
        body["method"] = "POST".into();
        body["url"] = URL.into();
        world.post("/v1/sessions", body).await
    };
    let right = |_: &mut Spec| ();
    attempt(from.clone(), &right).await.expect(201);
    for (name, value) in [("user_id", "bob"), ("ip", "203.0.113.8"), ("user_agent", "Chrome")] {
        let mut other = from.clone();
        other[name] = value.into();
        attempt(other, &right).await.refused(403, "device_proof_stale");
    }
    for (member, value) in [("htm", "GET"), ("htu", "https://app.example/other")] {
        attempt(from.clone(), &|s| s.claims[member] = value.into())
            .await
            .refused(403, "device_proof_invalid");
    }
    let sih = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    attempt(from.clone(), &|s| s.claims["sih"] = sih.clone()).await.refused(403, "device_proof_invalid");
    attempt(from.clone(), &|s| {
        s.header.as_object_mut().unwrap().remove("jwk");
    })
    .await
    .refused(403, "device_proof_invalid");
    // A challenge that was given before anybody said who they are is answered by whoever logs in from there.
    let unnamed = challenge(&world, json!({ "ip": "203.0.113.7" })).await;
    let body = |user: &str| {
        let proof = hand.introduction(&world, &unnamed, None);
        json!({ "user_id": user, "ip": "203.0.113.7", "device": { "proof": proof }, "method": "POST", "url": URL })
    };
    world.post("/v1/sessions", body("carol")).await.expect(201);
    world.post("/v1/sessions", body("carol")).await.refused(403, "device_proof_stale");
    world.post("/v1/sessions", body("dave")).await.refused(403, "device_proof_stale");
    // Nothing was made of what was refused.
    for (user, count) in [("ada", 1), ("bob", 0), ("carol", 1), ("dave", 0)] {
        let found = world.get(&format!("/v1/sessions/count?user_id={user}")).await.expect(200);
        assert_eq!(found["count"], count, "{user}");
    }
}

#[tokio::test]
async fn devices_are_named_and_forgotten() {
    let (world, hand) = (World::new().await, Hand::new());
    let made = hand.login(&world, "ada", true).await;
    let path = format!("/v1/devices/{}?user_id=ada", hand.id());
    let named = world.patch(&path, json!({ "name": " Ada's laptop " })).await.expect(200);
    assert_eq!(named["name"], "Ada's laptop");
    assert_eq!(devices(&world, "ada").await, [named]);
    // A login keeps the name.
    world.advance(Span::minutes(1));
    assert_eq!(hand.login(&world, "ada", true).await["new_device"], false);
    assert_eq!(devices(&world, "ada").await[0]["name"], "Ada's laptop");
    assert_eq!(devices(&world, "ada").await[0]["last_seen_at"], "2026-01-01T00:01:00.000Z");
    for (name, pointer) in [("", "/name"), (" ", "/name"), ("a\nb", "/name")] {
        let problem = world.patch(&path, json!({ "name": name })).await.refused(400, "invalid_request");
        assert_eq!(problem["errors"][0]["pointer"], pointer);
    }
    for other in [
        format!("/v1/devices/{}?user_id=bob", hand.id()),
        format!("/v1/devices/{}?user_id=ada", Hand::new().id()),
    ] {
        world.patch(&other, json!({ "name": "x" })).await.refused(404, "not_found");
        world.delete(&other).await.refused(404, "not_found");
    }
    world.delete("/v1/devices/x?user_id=ada").await.refused(404, "not_found");
    world.delete(&format!("/v1/devices/{}", hand.id())).await.refused(400, "invalid_request");
    world.get("/v1/devices").await.refused(400, "invalid_request");
    assert_eq!(world.delete(&path).await.expect(200), json!({ "forgotten": 1 }));
    world.delete(&path).await.refused(404, "not_found");
    assert!(devices(&world, "ada").await.is_empty());
    // The session stays bound to it; the next login is one from a new device.
    let session =
        world.get(&format!("/v1/sessions/{}", made["session"]["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(session["device"]["id"], hand.id());
    assert_eq!(hand.login(&world, "ada", true).await["new_device"], true);
}

#[tokio::test]
async fn a_registration_remembers_too() {
    let (world, hand) = (World::new().await, Hand::new());
    let made = world.login("ada").await;
    let fresh = challenge(&world, json!({ "token": made.token })).await;
    let proof = hand.introduction(&world, &fresh, Some(&made.id));
    let answer = register(&world, json!({ "session_id": made.id }), &proof).await.expect(201);
    assert_eq!(
        (&answer["new_device"], &answer["session"]["device"]["id"]),
        (&json!(true), &json!(hand.id()))
    );
    assert!(devices(&world, "ada").await.is_empty(), "nobody asked to remember it");
}

#[tokio::test]
async fn a_user_has_a_bounded_number_of_known_devices_and_each_for_a_bounded_time() {
    let world = World::new().await;
    let first = Hand::new();
    first.login(&world, "ada", true).await;
    for _ in 0..MOST {
        world.advance(Span::secs(1));
        Hand::new().login(&world, "ada", true).await;
    }
    let known = devices(&world, "ada").await;
    assert_eq!(known.len(), MOST);
    assert!(
        known.iter().all(|device| device["id"] != first.id()),
        "the one not seen for the longest time went"
    );
    world.advance(Span::days(400));
    assert!(devices(&world, "ada").await.is_empty());
}

#[tokio::test]
async fn sessions_are_found_by_their_device_and_users_have_theirs() {
    let (world, hand, other) = (World::new().await, Hand::new(), Hand::new());
    let mine = hand.login(&world, "ada", true).await;
    other.login(&world, "ada", true).await;
    let found = world.get(&format!("/v1/sessions?device_id={}", hand.id())).await.expect(200);
    let ids: Vec<_> = found["items"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
    assert_eq!(ids, [mine["session"]["id"].clone()]);
    let count = world.get(&format!("/v1/sessions/count?device_id={}", hand.id())).await.expect(200);
    assert_eq!(count["count"], 1);
    world.get("/v1/sessions?device_id=x").await.invalid("device_id");
    let user = world.get("/v1/users/ada").await.expect(200);
    assert_eq!(user["devices"].as_array().unwrap().len(), 2);
    // What is erased is no longer known.
    world.post("/v1/users/ada/erase", json!({})).await;
    assert!(devices(&world, "ada").await.is_empty());
}

#[tokio::test]
async fn a_known_device_says_which_browser_it_is() {
    const FIREFOX: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0";
    let (world, hand) = (World::new().await, Hand::new());
    let given = challenge(&world, json!({ "user_agent": FIREFOX })).await;
    let device = json!({ "proof": hand.introduction(&world, &given, None), "remember": true });
    let body =
        json!({ "user_id": "ada", "user_agent": FIREFOX, "device": device, "method": "POST", "url": URL });
    world.post("/v1/sessions", body).await.expect(201);
    let named = world
        .patch(&format!("/v1/devices/{}?user_id=ada", hand.id()), json!({ "name": "Ada's laptop" }))
        .await
        .expect(200);
    for known in [&devices(&world, "ada").await[0], &named] {
        let client = &known["client"];
        assert_eq!((&client["browser"], &client["os"]), (&json!("Firefox"), &json!("Windows")), "{known}");
        assert_eq!(client["display_name"], "Firefox 128 on Windows");
    }
}
