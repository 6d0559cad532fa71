//! A login on its way: the one-time code in the place of a token, its exchange, who may, how often, how long.

use crate::world::{Answer, World};
use handstamp_core::time::Span;
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) const APP: &str = "https://app.example.org";
const BACK: &str = "https://app.example.org/data?x=1#part";
/// RFC 7636, appendix B.
const SECRET: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const EXCHANGE: &str = "/v1/login/exchange";

/// Lists origins that a login may lead back to.
async fn list(world: &World, origins: &[&str]) {
    let body = json!({ "origins": origins });
    world.call(Method::PUT, "/v1/settings/redirect-origins").json(&body).send().await.expect(200);
}

async fn begin(world: &World, user: &str, login: Value) -> Answer {
    world.post("/v1/sessions", json!({ "user_id": user, "login": login })).await
}

/// A fresh code of a login that leads back to [`APP`].
pub(super) async fn code_of(world: &World, user: &str) -> String {
    list(world, &[APP]).await;
    let made = begin(world, user, json!({ "redirect_uri": BACK })).await.expect(201);
    made["login"]["code"].as_str().unwrap().to_owned()
}

async fn exchange(world: &World, code: &str) -> Answer {
    world.post(EXCHANGE, json!({ "code": code, "origin": APP })).await
}

/// The token in the cookie.
fn token_in(set_cookie: &Value) -> String {
    let cookie = set_cookie[0].as_str().unwrap();
    assert!(cookie.ends_with("; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    cookie.strip_prefix("__Host-handstamp=").unwrap().split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_login_gives_a_code_and_the_code_gives_the_cookie() {
    let world = World::new().await;
    list(&world, &[APP]).await;
    let answer = begin(&world, "ada", json!({ "redirect_uri": BACK })).await;
    let made = answer.expect(201);
    let members: Vec<&String> = made.as_object().unwrap().keys().collect();
    assert_eq!(members, ["evicted", "login", "session"], "neither token nor cookies");
    assert!(!answer.text().contains("hst_"));
    let code = made["login"]["code"].as_str().unwrap();
    let to = format!("https://app.example.org/data?x=1&login_code={code}#part");
    assert_eq!(
        made["login"],
        json!({ "code": code, "redirect_to": to, "expires_at": "2026-01-01T00:01:00.000Z" })
    );

    let answer = exchange(&world, code).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let done = answer.expect(200);
    assert_eq!((&done["session"]["id"], &done["redirect_uri"]), (&made["session"]["id"], &json!(BACK)));
    let members: BTreeSet<&str> = done.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        members,
        BTreeSet::from(["redirect_uri", "session", "set_cookie"]),
        "the token is in a cookie only"
    );
    assert_eq!(world.verdict(&token_in(&done["set_cookie"])).await, "valid");
    exchange(&world, code).await.refused(409, "login_code_used");
    assert_eq!(world.verdict(&token_in(&done["set_cookie"])).await, "valid", "nothing was ended");

    let id = made["session"]["id"].as_str().unwrap();
    let events = world.get(&format!("/v1/sessions/{id}/events")).await.expect(200);
    let told: BTreeSet<&str> =
        events["items"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(told, BTreeSet::from(["session.created", "session.login_exchanged"]));
    assert!(!events.to_string().contains("hsc_"));
}

#[tokio::test]
async fn a_code_is_taken_where_a_code_is_and_nowhere_else() {
    let world = World::new().await;
    let code = code_of(&world, "ada").await;
    assert_eq!(world.verdict(&code).await, "token_wrong_kind");
    world.call(Method::GET, "/v1/sessions").key(&code).send().await.refused(401, "access_key_invalid");
    let token = world.login("bob").await.token;
    let other = world.make_environment("shop", "dev").await.token;
    let mut changed = code.clone();
    changed.replace_range(40..41, if &code[40..41] == "a" { "b" } else { "a" });
    for bad in [
        "",
        "x",
        &token,
        &code[..code.len() - 1],
        &changed,
        &code.to_uppercase(),
        &format!(" {code}"),
        &"h".repeat(5_000),
    ] {
        exchange(&world, bad).await.refused(400, "login_code_invalid");
    }
    let body = json!({ "code": code, "origin": APP });
    let elsewhere = world.call(Method::POST, EXCHANGE).key(&other).json(&body).send().await;
    elsewhere.refused(400, "login_code_invalid");
    world.call(Method::POST, EXCHANGE).no_key().json(&body).send().await.refused(401, "access_key_missing");
    let reader = world.make_key(json!({ "name": "r", "scopes": ["sessions:read"] })).await.token;
    world
        .call(Method::POST, EXCHANGE)
        .key(&reader)
        .json(&body)
        .send()
        .await
        .refused(403, "insufficient_scope");
    exchange(&world, &code).await.expect(200);
}

#[tokio::test]
async fn a_code_works_for_a_minute_and_once_a_second_request_has_not_used_it() {
    let world = World::new().await;
    let early = code_of(&world, "ada").await;
    let late = code_of(&world, "ada").await;
    world.advance(Span(Span::minutes(1).0 - 1));
    exchange(&world, &early).await.expect(200);
    world.advance(Span(1));
    exchange(&world, &late).await.refused(400, "login_code_expired");
    exchange(&world, &early).await.refused(409, "login_code_used");
    // The login itself was made: whoever gave it up ends it, as any other.
    assert_eq!(world.get("/v1/sessions/count?user_id=ada").await.expect(200)["count"], 2);
}

#[tokio::test]
async fn of_many_who_exchange_a_code_one_does() {
    let world = World::new().await;
    for round in 0..5 {
        let code = code_of(&world, &format!("ada{round}")).await;
        let answers = futures_util::future::join_all((0..40).map(|_| exchange(&world, &code))).await;
        let (good, used): (Vec<&Answer>, Vec<&Answer>) =
            answers.iter().partition(|answer| answer.status == 200);
        assert_eq!((good.len(), used.len()), (1, 39));
        used.iter().for_each(|answer| drop(answer.refused(409, "login_code_used")));
        assert_eq!(world.verdict(&token_in(&good[0].json()["set_cookie"])).await, "valid");
    }
}

#[tokio::test]
async fn a_code_is_for_the_origin_that_the_login_leads_back_to() {
    let world = World::new().await;
    let other = "https://other.example.org";
    list(&world, &[APP, other]).await;
    let made = begin(&world, "ada", json!({ "redirect_uri": BACK })).await.expect(201);
    let code = made["login"]["code"].as_str().unwrap();
    let from = async |origin: &str| world.post(EXCHANGE, json!({ "code": code, "origin": origin })).await;
    from(other).await.refused(400, "login_code_invalid");
    for ill in [
        "",
        "null",
        "*",
        "https://app.example.org/",
        "https://app.example.org/data",
        "https://App.example.org",
    ] {
        from(ill).await.invalid("/origin");
    }
    world.post(EXCHANGE, json!({ "code": code })).await.refused(400, "invalid_request");
    world.post(EXCHANGE, json!({ "code": code, "origin": APP, "more": 1 })).await.invalid("/more");
    // Taken off the list, and back on it: both act at once.
    list(&world, &[other]).await;
    from(APP).await.refused(400, "redirect_not_allowed");
    list(&world, &[APP]).await;
    from(APP).await.expect(200);
}

#[tokio::test]
async fn a_code_is_for_the_browser_that_began_the_login() {
    let world = World::new().await;
    list(&world, &[APP]).await;
    let bound = json!({ "redirect_uri": BACK, "code_challenge": CHALLENGE });
    let made = begin(&world, "ada", bound).await.expect(201);
    let code = made["login"]["code"].as_str().unwrap().to_owned();
    let with = async |code: &str, secret: &str| {
        world.post(EXCHANGE, json!({ "code": code, "origin": APP, "code_verifier": secret })).await
    };
    exchange(&world, &code).await.refused(400, "login_code_invalid");
    with(&code, &SECRET.replace('d', "e")).await.refused(400, "login_code_invalid");
    for ill in ["", "short", &"a".repeat(129), &format!("{SECRET}+")] {
        with(&code, ill).await.invalid("/code_verifier");
    }
    // One that somebody got without a challenge and slipped to this browser.
    let slipped = code_of(&world, "mallory").await;
    with(&slipped, SECRET).await.refused(400, "login_code_invalid");
    with(&code, SECRET).await.expect(200);
    for ill in ["", "x", &format!("{CHALLENGE}="), &CHALLENGE[1..]] {
        let answer = begin(&world, "ada", json!({ "redirect_uri": BACK, "code_challenge": ill })).await;
        answer.invalid("/login/code_challenge");
    }
}

#[tokio::test]
async fn nobody_logs_in_to_be_led_elsewhere() {
    let world = World::new().await;
    world.login("ada").await;
    for listed in [&[][..], &[APP]] {
        list(&world, listed).await;
        for uri in [
            "https://evil.example/",
            "https://app.example.org@evil.example/",
            "//app.example.org/",
            "/data",
            "",
        ] {
            let answer = begin(&world, "ada", json!({ "redirect_uri": uri })).await;
            answer.refused(400, "redirect_not_allowed");
        }
    }
    begin(&world, "ada", json!({})).await.refused(400, "invalid_request");
    begin(&world, "ada", json!({ "redirect_uri": BACK, "state": "x" })).await.invalid("/login/state");
    assert_eq!(world.get("/v1/sessions/count").await.expect(200)["count"], 1, "none of these made a session");
}

#[tokio::test]
async fn a_session_that_is_over_or_was_taken_up_anew_is_not_handed_out() {
    let world = World::new().await;
    list(&world, &[APP]).await;
    let begun = async || {
        let made = begin(&world, "ada", json!({ "redirect_uri": BACK })).await.expect(201);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&made["session"]["id"]), text(&made["login"]["code"]))
    };
    let (id, code) = begun().await;
    world.delete(&format!("/v1/sessions/{id}")).await.expect(200);
    exchange(&world, &code).await.refused(409, "session_ended");
    let (_, code) = begun().await;
    world.post("/v1/sessions/revoke", json!({ "all": true })).await.expect(202);
    exchange(&world, &code).await.refused(409, "session_ended");
    let (id, code) = begun().await;
    let again = world.patch(&format!("/v1/sessions/{id}"), json!({ "auth": {} })).await.expect(200);
    exchange(&world, &code).await.refused(409, "login_code_used");
    assert_eq!(world.verdict(again["token"].as_str().unwrap()).await, "valid");
}

#[tokio::test]
async fn the_same_request_gets_the_same_code_until_it_is_used() {
    let world = World::new().await;
    list(&world, &[APP]).await;
    let body = json!({ "user_id": "ada", "login": { "redirect_uri": BACK } });
    let create = async |name: &str| {
        world.call(Method::POST, "/v1/sessions").header("idempotency-key", name).json(&body).send().await
    };
    let first = create("one").await.expect(201);
    world.advance(Span::secs(10));
    assert_eq!(create("one").await.expect(201), first);
    exchange(&world, first["login"]["code"].as_str().unwrap()).await.expect(200);
    let spent = create("one").await;
    spent.refused(409, "idempotency_key_spent");
    assert!(!spent.text().contains("hsc_"));
    let second = create("two").await.expect(201);
    world.advance(Span::minutes(1));
    create("two").await.refused(409, "idempotency_key_spent");
    exchange(&world, second["login"]["code"].as_str().unwrap()).await.refused(400, "login_code_expired");
}
