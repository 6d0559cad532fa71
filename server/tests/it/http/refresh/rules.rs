//! Every rule of the policy is asked at a refresh, as at a validation; and a refresh that is refused changes nothing.

use super::{Pair, present, redeem, start, started};
use crate::http::devices::hand::{Hand, URL, challenge_of};
use crate::world::{Answer, World};
use handstamp_core::device::DeviceMode;
use handstamp_core::policy::setting::Budget;
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::time::Span;
use handstamp_server::store::{Query, Space, Store, Versioned};
use http::Method;
use serde_json::{Value, json};

const HOME: &str = "203.0.113.7";
const FIREFOX: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0";
const SAFARI: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15";

async fn with(section: Value) -> World {
    let world = World::new().await;
    let policy = json!({ "default": section });
    world.call(Method::PUT, "/v1/policies").json(&policy).send().await.expect(200);
    world
}

async fn from(world: &World, refresh: &str, ip: Option<&str>, agent: Option<&str>) -> Answer {
    let body = json!({ "refresh_token": refresh, "ip": ip, "user_agent": agent });
    world.post("/v1/sessions/refresh", body).await
}

/// All that is stored, but for history.
async fn snapshot(world: &World) -> Vec<Versioned> {
    let mut all = Vec::new();
    let env = world.app.caller(Some(&world.key), None).ok().unwrap().env.record.id.0;
    for (kind, env) in (0..=u8::MAX).flat_map(|kind| [(kind, 0), (kind, env)]) {
        let space = Space { kind, env };
        let (from, until, cursor) = (None, None, None);
        let query = Query { space, all: Vec::new(), from, until, cursor, limit: 1_000 };
        all.extend(world.store.search(&query).await.unwrap().items);
    }
    assert!(all.len() > 4, "root, environment, key, user and session at least");
    all
}

#[tokio::test]
async fn from_where_it_comes_is_judged_and_who_is_refused_has_changed_nothing() {
    for (section, ip, agent, status, code) in [
        (json!({ "ip_block": ["198.51.100.0/24"] }), Some("198.51.100.1"), None, 403, "ip_blocked"),
        (json!({ "ip_allow": ["203.0.113.0/24"] }), Some("198.51.100.1"), None, 403, "ip_not_allowed"),
        (json!({ "ip_allow": ["203.0.113.0/24"] }), None, None, 403, "ip_missing"),
        (json!({ "ip_change": "refuse" }), Some("198.51.100.1"), None, 401, "ip_changed"),
        (
            json!({ "ip_change": "reauthenticate" }),
            Some("198.51.100.1"),
            None,
            403,
            "reauthentication_required",
        ),
        (json!({ "user_agent": "refuse" }), Some(HOME), Some(SAFARI), 401, "user_agent_changed"),
    ] {
        let world = with(section).await;
        let body = json!({ "user_id": "ada", "ip": HOME, "user_agent": FIREFOX });
        let first = start(&world, body).await;
        let next = Pair::of(&from(&world, &first.refresh, Some(HOME), Some(FIREFOX)).await.expect(200));
        let before = snapshot(&world).await;
        // Of the newest, which nobody has presented yet, and of the one before, which is repeated.
        for refresh in [&next.refresh, &first.refresh] {
            world.advance(Span::minutes(5));
            from(&world, refresh, ip, agent).await.refused(status, code);
            assert!(world.app.flush_activity().await.is_ok());
            assert!(snapshot(&world).await == before, "{code} has changed something");
        }
        assert!(world.app.tidy().await.is_ok());
        let events = world.get(&format!("/v1/sessions/{}/events", first.id)).await.expect(200);
        assert!(events.to_string().contains(code), "history knows: {events}");
        let third = Pair::of(&from(&world, &next.refresh, Some(HOME), Some(FIREFOX)).await.expect(200));
        assert_ne!(third.refresh, next.refresh);
    }
}

#[tokio::test]
async fn a_client_that_a_rule_ends_is_ended() {
    for (section, ip, agent, code) in [
        (json!({ "ip_change": "end" }), "198.51.100.1", FIREFOX, "ip_changed"),
        (json!({ "user_agent": "end" }), HOME, SAFARI, "user_agent_changed"),
    ] {
        let world = with(section).await;
        let first = start(&world, json!({ "user_id": "ada", "ip": HOME, "user_agent": FIREFOX })).await;
        from(&world, &first.refresh, Some(ip), Some(agent)).await.refused(401, code);
        from(&world, &first.refresh, Some(HOME), Some(FIREFOX)).await.refused(401, code);
        let session = world.get(&format!("/v1/sessions/{}", first.id)).await.expect(200);
        assert_eq!((&session["ended"]["code"], &session["generation"]), (&json!(code), &json!(0)));
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_token_changes_nothing() {
    let world = World::new().await;
    let first = started(&world, "ada").await;
    let next = redeem(&world, &first.refresh).await;
    let third = redeem(&world, &next.refresh).await;
    let reader = world.make_key(json!({ "name": "r", "scopes": ["sessions:read"] })).await.token;
    let before = snapshot(&world).await;
    world.advance(Span::secs(59));
    for text in ["", "hsr_x", &third.token, &world.key] {
        let answer = present(&world, text).await;
        assert_eq!((answer.status.as_u16(), answer.headers.get("set-cookie")), (401, None));
    }
    present(&world, &first.refresh).await.refused(401, "token_superseded");
    let body = json!({ "refresh_token": third.refresh });
    let refused = world.call(Method::POST, "/v1/sessions/refresh").key(&reader).json(&body).send().await;
    refused.refused(403, "insufficient_scope");
    world
        .post("/v1/sessions/refresh", json!({ "refresh_token": third.refresh, "ip": "x" }))
        .await
        .invalid("/ip");
    let publishable = world.call(Method::POST, "/v1/sessions/refresh").no_key();
    publishable
        .header("x-publishable-key", "hsp_x")
        .json(&body)
        .send()
        .await
        .refused(403, "publishable_key_forbidden");
    world.store.plan(
        handstamp_server::store::faulty::Call::Commit,
        [handstamp_server::store::faulty::Fault::Before],
    );
    present(&world, &third.refresh).await.refused(503, "store_unavailable");
    assert!(world.app.flush_activity().await.is_ok());
    assert!(snapshot(&world).await == before);
    redeem(&world, &third.refresh).await;
    assert!(snapshot(&world).await != before, "the snapshot sees what changes");
}

/// The answer is lost between the store and the server: 503, and the repeat is the successor that is on the disk.
#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_repeated() {
    use handstamp_server::store::faulty::{Call, Fault};
    let world = World::new().await;
    let first = started(&world, "ada").await;
    world.store.plan(Call::Commit, [Fault::LoseAnswer]);
    present(&world, &first.refresh).await.refused(503, "store_unavailable");
    let next = redeem(&world, &first.refresh).await;
    let session = world.get(&format!("/v1/sessions/{}", first.id)).await.expect(200);
    assert_eq!(session["generation"], 1);
    // One load and one commit: with neither to spare it goes through, without either it does not.
    for (call, fault) in [(Call::Load, Fault::None), (Call::Commit, Fault::None)] {
        world.store.plan(call, [fault, Fault::Before]);
    }
    redeem(&world, &next.refresh).await;
    assert_eq!(world.store.left(), 2, "a second load, or a second commit");
}

async fn proved(world: &World, hand: &Hand, pair: &Pair, refresh: &str) -> Answer {
    let challenge = challenge_of(world, &pair.id).await;
    let proof = hand.proof(world, &challenge, &pair.id);
    let body = json!({ "refresh_token": refresh, "device": { "proof": proof }, "method": "GET", "url": URL });
    world.post("/v1/sessions/refresh", body).await
}

/// A stolen refresh token opens nothing without the device: another key, no key, a used proof.
#[tokio::test]
async fn a_session_of_a_device_is_refreshed_by_that_device() {
    let (world, hand) = (World::new().await, Hand::new());
    let first = started(&world, "ada").await;
    let proof = hand.introduction(&world, &challenge_of(&world, &first.id).await, Some(&first.id));
    crate::http::devices::hand::register(&world, json!({ "token": first.token }), &proof).await.expect(201);
    let rules = Rules { device: Some(DeviceMode::IfRegistered), ..Rules::default() };
    world.app.set_file_policy(Some(Policy::from(rules))).await;
    world.advance(Span::minutes(1));
    let before = snapshot(&world).await;
    let problem = present(&world, &first.refresh).await.refused(403, "device_proof_missing");
    assert!(problem["device_challenge"]["challenge"].as_str().unwrap().starts_with("dch_"));
    proved(&world, &Hand::new(), &first, &first.refresh).await.refused(403, "device_proof_invalid");
    assert!(snapshot(&world).await == before, "also the challenge is not used up");
    let body = proved(&world, &hand, &first, &first.refresh).await.expect(200);
    let next = Pair::of(&body);
    assert_eq!(body["session"]["generation"], 1);
    // The next challenge comes along; who brings a proof twice is refused, and a lost answer needs a fresh one.
    let fresh = body["device_challenge"]["challenge"].as_str().unwrap();
    let proof = hand.proof(&world, fresh, &first.id);
    let again =
        json!({ "refresh_token": first.refresh, "device": { "proof": proof }, "method": "GET", "url": URL });
    assert_eq!(Pair::of(&world.post("/v1/sessions/refresh", again.clone()).await.expect(200)), next);
    world.post("/v1/sessions/refresh", again).await.refused(403, "device_proof_stale");
    // For another request than it was signed for it is worth nothing.
    let proof = hand.proof(&world, &challenge_of(&world, &first.id).await, &first.id);
    let moved =
        json!({ "refresh_token": next.refresh, "device": { "proof": proof }, "method": "POST", "url": URL });
    world.post("/v1/sessions/refresh", moved).await.refused(403, "device_proof_invalid");
    let third = Pair::of(&proved(&world, &hand, &first, &next.refresh).await.expect(200));
    // A thief with the old token is found, device or not.
    proved(&world, &hand, &first, &third.refresh).await.expect(200);
    world.advance(Span::minutes(1));
    present(&world, &first.refresh).await.refused(401, "token_reused");
}

/// What fails with 401 counts on the client's address, and shapes no answer of this call.
#[tokio::test]
async fn failed_refreshes_count_on_the_clients_address() {
    let world = World::new().await;
    world.app.set_anonymous_limit(Budget::parse("3/1h").unwrap().0);
    let first = started(&world, "ada").await;
    let ip = "198.51.100.44";
    let left = async || {
        let call =
            world.call(Method::GET, "/v1/auth/session").no_key().header("cookie", "__Host-handstamp=x");
        call.send().await.status.as_u16()
    };
    for text in ["hsr_x", "", &first.token, "hsr_y", "hsr_z"] {
        assert_eq!(from(&world, text, Some(ip), None).await.status, 401, "never 429 here");
    }
    let held =
        |name: &str| world.app.debts().iter().find(|(kind, _)| *kind == name).map(|(_, usage)| usage.held);
    assert_eq!(held("address"), Some(1), "one address owes");
    // A good one is never refused by that, and a wrong call counts nobody.
    from(&world, &first.refresh, Some(ip), None).await.expect(200);
    from(&world, "hsr_x", None, None).await.refused(401, "token_malformed");
    assert_eq!(held("address"), Some(1));
    assert_eq!(left().await, 401, "the test's own address owes nothing");
}
