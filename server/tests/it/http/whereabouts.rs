//! From where a session may be used: lists of addresses and the ladder of changes, over HTTP; and that nobody ends somebody
//! else's session.

use crate::world::{Made, World};
use handstamp_core::time::Span;
use http::Method;
use serde_json::{Value, json};

const FIREFOX: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0";
const NEWER: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:131.0) Gecko/20100101 Firefox/131.0";
const SAFARI: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15";

async fn with(policy: Value) -> World {
    let world = World::new().await;
    world.call(Method::PUT, "/v1/policies").json(&policy).send().await.expect(200);
    world
}

async fn login(world: &World, ip: &str, agent: &str) -> Made {
    world.create(json!({ "user_id": "ada", "ip": ip, "user_agent": agent })).await
}

async fn from(world: &World, token: &str, ip: Option<&str>, agent: Option<&str>) -> Value {
    let ask = json!({ "token": token, "ip": ip, "user_agent": agent, "rotate": "never" });
    world.post("/v1/sessions/validate", ask).await.expect(200)
}

fn code(told: &Value) -> &str {
    if told["valid"] == true { "valid" } else { told["code"].as_str().unwrap() }
}

async fn lines(world: &World, id: &str, kind: &str) -> Vec<Value> {
    assert!(world.app.tidy().await.is_ok());
    let events = world.get(&format!("/v1/sessions/{id}/events?limit=200")).await.expect(200);
    events["items"].as_array().unwrap().iter().filter(|e| e["type"] == kind).cloned().collect()
}

#[tokio::test]
async fn lists_are_judged_at_creation_and_on_every_request() {
    let world = with(json!({
        "default": { "ip_block": ["198.51.100.0/24"] },
        "tag": { "org:acme": { "ip_allow": ["203.0.113.0/24", "2001:db8::/32"] } },
    }))
    .await;
    let make = |ip: Option<&'static str>, tags: Value| {
        world.post("/v1/sessions", json!({ "user_id": "ada", "ip": ip, "tags": tags }))
    };
    let said = make(None, json!([])).await.refused(403, "ip_missing");
    assert!(said["detail"].as_str().unwrap().starts_with("ip_block by default looks at"), "{said}");
    make(Some("198.51.100.9"), json!([])).await.refused(403, "ip_blocked");
    let said = make(Some("192.0.2.1"), json!(["org:acme"])).await.refused(403, "ip_not_allowed");
    assert!(said["detail"].as_str().unwrap().ends_with("by tag org:acme"), "{said}");
    let acme =
        world.create(json!({ "user_id": "ada", "ip": "::ffff:203.0.113.7", "tags": ["org:acme"] })).await;
    let plain = world.create(json!({ "user_id": "bob", "ip": "192.0.2.1" })).await;
    for (token, ip, expected) in [
        (&acme.token, Some("203.0.113.255"), "valid"),
        (&acme.token, Some("2001:db8::5"), "valid"),
        (&acme.token, Some("203.0.114.0"), "ip_not_allowed"),
        (&acme.token, None, "ip_missing"),
        (&plain.token, Some("203.0.114.0"), "valid"),
        (&plain.token, Some("198.51.100.0"), "ip_blocked"),
        (&plain.token, None, "ip_missing"),
    ] {
        let told = from(&world, token, ip, None).await;
        assert_eq!(code(&told), expected, "{ip:?}");
        assert_eq!(told["valid"] == false, told["status"] == 403);
    }
    // History knows of the logins that were refused.
    assert!(world.app.tidy().await.is_ok());
    let refused = world.get("/v1/events?user_id=ada&type=session.refused").await.expect(200);
    let of_logins: Vec<_> =
        refused["items"].as_array().unwrap().iter().filter(|e| e["session_id"].is_null()).collect();
    assert_eq!(
        of_logins.iter().map(|e| e["code"].as_str().unwrap()).collect::<Vec<_>>(),
        ["ip_missing", "ip_blocked", "ip_not_allowed"]
    );
    // Nothing has ended; a list that was saved just now holds at once.
    let open = json!({ "default": { "ip_allow": ["198.51.100.0/24"] } });
    world.call(Method::PUT, "/v1/policies").json(&open).send().await.expect(200);
    assert_eq!(code(&from(&world, &plain.token, Some("198.51.100.0"), None).await), "valid");
    assert_eq!(code(&from(&world, &plain.token, Some("192.0.2.1"), None).await), "ip_not_allowed");
    let refused = lines(&world, &plain.id, "session.refused").await;
    assert!(
        refused.iter().any(|line| line["code"] == "ip_blocked" && line["origin"] == "default"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn every_rung_of_the_ladder_of_addresses() {
    for (mode, expected, ends) in [
        ("ignore", "valid", false),
        ("log", "valid", false),
        ("reauthenticate", "reauthentication_required", false),
        ("refuse", "ip_changed", false),
        ("end", "ip_changed", true),
    ] {
        let world = with(json!({ "default": { "ip_change": mode } })).await;
        let made = login(&world, "203.0.113.7", FIREFOX).await;
        assert_eq!(code(&from(&world, &made.token, Some("203.0.113.200"), None).await), "valid");
        let moved = from(&world, &made.token, Some("192.0.2.1"), None).await;
        assert_eq!(code(&moved), expected, "{mode}");
        if expected != "valid" {
            assert_eq!(moved["evidence"], json!({ "before": "203.0.113.7", "after": "192.0.2.1" }));
        }
        let back = from(&world, &made.token, Some("203.0.113.7"), None).await;
        assert_eq!(code(&back) == "valid", !ends, "{mode}");
        let noticed = lines(&world, &made.id, "session.noticed").await;
        assert_eq!(noticed.len(), usize::from(mode == "log"), "{mode}: {noticed:?}");
        if ends {
            let session = world.get(&format!("/v1/sessions/{}", made.id)).await.expect(200);
            let detail = "the address changed from 203.0.113.7 to 192.0.2.1; ip_change by default";
            assert_eq!(
                (&session["ended"]["code"], &session["ended"]["detail"]),
                (&json!("ip_changed"), &json!(detail))
            );
        }
    }
}

#[tokio::test]
async fn after_another_authentication_the_new_address_is_the_known_one() {
    let world = with(json!({ "default": { "ip_change": "reauthenticate" } })).await;
    let made = login(&world, "203.0.113.7", FIREFOX).await;
    assert_eq!(code(&from(&world, &made.token, Some("192.0.2.1"), None).await), "reauthentication_required");
    let body = json!({ "auth": { "methods": ["passkey"] }, "ip": "192.0.2.1", "user_agent": FIREFOX });
    let stepped = world.patch(&format!("/v1/sessions/{}", made.id), body).await.expect(200);
    let token = stepped["token"].as_str().unwrap();
    assert_eq!(code(&from(&world, token, Some("192.0.2.1"), Some(FIREFOX)).await), "valid");
    assert_eq!(code(&from(&world, token, Some("203.0.113.7"), None).await), "reauthentication_required");
    assert_eq!(stepped["session"]["client"]["ip"], "203.0.113.7", "from where it was made");
}

#[tokio::test]
async fn another_browser_ends_a_session_and_a_newer_one_does_not() {
    let world = World::new().await;
    let made = login(&world, "203.0.113.7", FIREFOX).await;
    for agent in [Some(FIREFOX), Some(NEWER), None, Some("okhttp/4.12"), Some("curl/8.5")] {
        assert_eq!(code(&from(&world, &made.token, None, agent).await), "valid", "{agent:?}");
    }
    let told = from(&world, &made.token, None, Some(SAFARI)).await;
    assert_eq!((code(&told), &told["status"]), ("user_agent_changed", &json!(401)));
    assert!(told["evidence"]["before"].as_str().unwrap().starts_with("Firefox 128 on Windows"), "{told}");
    assert_eq!(world.verdict(&made.token).await, "user_agent_changed");
    let ended = lines(&world, &made.id, "session.ended").await;
    assert_eq!((&ended[0]["code"], &ended[0]["rule"]), (&json!("user_agent_changed"), &json!("user_agent")));
    assert_eq!(ended[0]["client"]["user_agent"], SAFARI);

    let world = with(json!({ "default": { "user_agent": "log" } })).await;
    let made = login(&world, "203.0.113.7", FIREFOX).await;
    for _ in 0..5 {
        assert_eq!(code(&from(&world, &made.token, None, Some(SAFARI)).await), "valid");
        assert!(world.app.tidy().await.is_ok());
    }
    assert_eq!(lines(&world, &made.id, "session.noticed").await.len(), 1, "what is known is not told again");
}

/// Nobody ends a session that is not theirs: neither by its id, nor with a forged or an older token, nor by a flood, nor
/// with an address of their own making.
#[tokio::test]
async fn attackers_end_nobody() {
    let world = with(json!({ "default": { "ip_change": "end", "ip_block": ["198.51.100.0/24"] } })).await;
    let made = login(&world, "203.0.113.7", FIREFOX).await;
    let (body, crc) = made.token.split_at(made.token.len() - 6);
    let forged: Vec<String> = (5..body.len())
        .step_by(7)
        .map(|at| {
            let mut text = made.token.clone().into_bytes();
            text[at] = if text[at] == b'a' { b'b' } else { b'a' };
            String::from_utf8(text).unwrap()
        })
        .chain([made.id.clone(), format!("hst_{}", &made.id[4..]), format!("{body}000000"), crc.to_owned()])
        .collect();
    for token in &forged {
        for (ip, agent) in [("192.0.2.1", SAFARI), ("198.51.100.1", SAFARI), ("203.0.113.7", FIREFOX)] {
            let told = from(&world, token, Some(ip), Some(agent)).await;
            assert!(matches!(code(&told), "token_malformed" | "token_wrong_kind"), "{told}");
        }
    }
    // A blocked address with the genuine token is refused, and ends nothing; so does a flood of it.
    for _ in 0..2_000 {
        let told = from(&world, &made.token, Some("198.51.100.1"), Some(SAFARI)).await;
        assert_eq!(code(&told), "ip_blocked");
    }
    assert_eq!(code(&from(&world, &made.token, Some("203.0.113.7"), Some(FIREFOX)).await), "valid");
    // A token that was replaced, from elsewhere: late, and ends nothing.
    let stepped = world
        .patch(&format!("/v1/sessions/{}", made.id), json!({ "auth": {}, "ip": "203.0.113.7" }))
        .await
        .expect(200);
    assert_eq!(code(&from(&world, &made.token, Some("192.0.2.1"), Some(SAFARI)).await), "token_superseded");
    let token = stepped["token"].as_str().unwrap();
    assert_eq!(code(&from(&world, token, Some("203.0.113.7"), Some(FIREFOX)).await), "valid");
    // Headers of a caller are not the client's address: what counts is what the key holder says.
    let spoofed = world.call(Method::POST, "/v1/sessions/validate").header("x-forwarded-for", "192.0.2.1");
    let ask = json!({ "token": token, "ip": "203.0.113.7", "user_agent": FIREFOX });
    assert_eq!(code(&spoofed.json(&ask).send().await.expect(200)), "valid");
    // A flood fills no history: what repeats is counted.
    assert!(lines(&world, &made.id, "session.refused").await.len() <= 4);
    world.advance(Span::minutes(2));
    let counted = lines(&world, &made.id, "session.refused").await;
    assert!(counted.iter().any(|line| line["count"].as_u64().is_some_and(|n| n >= 1_999)), "{counted:?}");
}

#[tokio::test]
async fn an_authentication_again_is_judged_too_and_keeps_what_it_does_not_say() {
    let world = with(json!({ "default": { "ip_change": "end", "ip_block": ["198.51.100.0/24"] } })).await;
    let made = login(&world, "203.0.113.7", FIREFOX).await;
    let at = format!("/v1/sessions/{}", made.id);
    let again = |body: Value| world.patch(&at, body);
    again(json!({ "auth": {} })).await.refused(403, "ip_missing");
    again(json!({ "auth": {}, "ip": "198.51.100.1" })).await.refused(403, "ip_blocked");
    let stepped = again(json!({ "auth": {}, "ip": "203.0.113.9" })).await.expect(200);
    let token = stepped["token"].as_str().unwrap();
    // The agent is still the one of before.
    assert_eq!(code(&from(&world, token, Some("203.0.113.9"), Some(SAFARI)).await), "user_agent_changed");

    let world = World::new().await;
    let made = login(&world, "203.0.113.7", FIREFOX).await;
    let policy = json!({ "default": { "user_agent": "end" } });
    let body = json!({ "auth": {}, "user_agent": FIREFOX });
    let stepped = world.patch(&format!("/v1/sessions/{}", made.id), body).await.expect(200);
    world
        .call(Method::PUT, "/v1/policies")
        .json(&json!({ "default": { "ip_change": "refuse" } }))
        .send()
        .await
        .expect(200);
    let token = stepped["token"].as_str().unwrap();
    assert_eq!(code(&from(&world, token, Some("192.0.2.1"), None).await), "ip_changed", "{policy}");
}

#[tokio::test]
async fn who_was_told_ended_stays_so_under_looser_rules() {
    let world = World::new().await;
    let made = world.login("ada").await;
    world.advance(Span::minutes(10));
    let put = async |body: Value| {
        world.call(Method::PUT, "/v1/policies").json(&body).send().await.expect(200);
    };
    put(json!({ "default": { "idle_timeout": "5m" } })).await;
    let session = world.get(&format!("/v1/sessions/{}", made.id)).await.expect(200);
    assert_eq!(session["state"], "ended");
    put(json!({})).await;
    assert_eq!(world.verdict(&made.token).await, "session_idle");
}
