//! Who is logged in, told to their own client; and how the cookie follows use and rotation.

use super::{Browser, CSRF, LOOKS, SESSION, names, rotating, set_cookies, world, world_of};
use crate::world::{Options, World};
use handstamp_core::environment::{EnvironmentName, Environments};
use handstamp_core::policy::Policy;
use handstamp_core::policy::setting::{Budget, Every};
use handstamp_core::time::Span;
use handstamp_server::http::browser::Browsers;
use http::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_session_and_its_user() {
    let expose = vec!["name".to_owned(), "missing".to_owned()];
    let world = world_of(None, Browsers { expose, ..Browsers::default() }).await;
    let body = json!({
        "user_id": "ada", "tags": ["role:admin"], "access_groups": ["editors"], "data": { "name": "Ada", "card": "4711" },
        "auth": { "level": 2 }, "actor": null
    });
    let mut browser = Browser::with(&world, body).await;
    let answer = browser.get("/v1/auth/session").await;
    let told = answer.expect(200);
    assert_eq!(told["user"], json!({ "id": "ada", "data": { "name": "Ada" } }));
    assert_eq!(told["session"]["tags"], json!(["role:admin"]));
    assert_eq!(told["session"]["access_groups"], json!(["editors"]));
    assert_eq!(told["session"]["level"], 2);
    assert_eq!(told["session"]["created_at"], "2026-01-01T00:00:00.000Z");
    assert_eq!(
        (&told["expires_at"], &told["session"]["idle_expires_at"]),
        (&json!("2026-01-02T00:00:00.000Z"), &told["expires_at"])
    );
    assert_eq!(
        told["csrf_token"].as_str(),
        browser.csrf.as_deref(),
        "the cookie is right, so it is told again"
    );
    assert!(
        told.get("rotated_token").is_none()
            && !answer.text().contains("4711")
            && !answer.text().contains("hst_")
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(answer.headers.get_all("vary").iter().any(|value| value == "Cookie"));
}

#[tokio::test]
async fn data_that_is_no_object_exposes_nothing() {
    for data in [json!(["name"]), json!("name"), json!(7), Value::Null] {
        let world = world_of(None, Browsers { expose: vec!["name".to_owned()], ..Browsers::default() }).await;
        let mut browser = Browser::with(&world, json!({ "user_id": "ada", "data": data })).await;
        assert_eq!(browser.get("/v1/auth/session").await.expect(200)["user"]["data"], json!({}));
    }
}

#[tokio::test]
async fn without_a_good_token_nobody_is_logged_in() {
    let world = world().await;
    let other = World::with(Options { seed: 9, ..Options::default() }).await;
    let strange = other.login("ada").await.token;
    let ended = world.login("ada").await;
    world.delete(&format!("/v1/sessions/{}", ended.id)).await.expect(200);
    let mut damaged = world.login("ada").await.token;
    let last = damaged.pop().unwrap();
    damaged.push(if last == 'a' { 'b' } else { 'a' });
    let key = world.key.clone();
    for (token, code) in [
        (None, "token_missing"),
        (Some(""), "token_missing"),
        (Some("-"), "session_not_found"),
        (Some("null"), "session_not_found"),
        (Some(damaged.as_str()), "session_not_found"),
        (Some(strange.as_str()), "session_not_found"),
        (Some(key.as_str()), "session_not_found"),
        (Some(ended.token.as_str()), "session_revoked"),
    ] {
        for path in LOOKS {
            let browser = Browser { world: &world, session: token.map(str::to_owned), csrf: None };
            let answer = browser.call(Method::GET, path).send().await;
            let problem = answer.refused(401, code);
            assert!(set_cookies(&answer).is_empty(), "{path} {code}: a login under way keeps its new cookie");
            assert!(problem.get("evidence").is_none() && problem.get("rule").is_none(), "{problem}");
            assert_eq!(answer.header("cache-control"), "no-store");
        }
    }
}

#[tokio::test]
async fn the_cookie_is_sent_again_at_most_once_a_minute() {
    let world = world().await;
    let mut browser = Browser::of(&world, "ada").await;
    let mut sent = Vec::new();
    for second in 0..185 {
        let answer = browser.get("/v1/auth/session/ping").await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
        if !set_cookies(&answer).is_empty() {
            assert_eq!(names(&answer), [SESSION]);
            sent.push(second);
        }
        world.advance(Span::secs(1));
    }
    assert!(sent.len() <= 4 && sent.windows(2).all(|two| two[1] - two[0] >= 60), "{sent:?}");
    assert!(sent.len() >= 3, "a session that is used is extended, and its cookie with it: {sent:?}");
    let answer = browser.get("/v1/auth/session").await;
    assert_eq!(answer.expect(200)["session"]["last_active_at"], "2026-01-01T00:03:05.000Z");
    // It lives as long as the session does from now on.
    world.advance(Span::secs(60));
    let cookie = set_cookies(&browser.get("/v1/auth/session/ping").await).remove(0);
    assert!(cookie.contains("; Max-Age=86400; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
}

#[tokio::test]
async fn a_refresh_always_sends_both_and_extends() {
    let world = world().await;
    let mut browser = Browser::of(&world, "ada").await;
    for _ in 0..3 {
        world.advance(Span::secs(1));
        let answer = browser.post("/v1/auth/session/refresh").await;
        answer.expect(200);
        let mut names = names(&answer);
        names.sort();
        assert_eq!(names, [CSRF, SESSION]);
    }
    let told = browser.get("/v1/auth/session").await.expect(200);
    assert_eq!(told["session"]["idle_expires_at"], "2026-01-02T00:00:03.000Z");
}

/// A policy that grants more since then.
#[tokio::test]
async fn the_next_request_takes_over_what_the_policy_grants_today() {
    let world = world().await;
    let put = async |idle: &str| {
        let body = json!({ "default": { "idle_timeout": idle } });
        world.call(Method::PUT, "/v1/policies").json(&body).send().await.expect(200);
    };
    put("1h").await;
    let mut browser = Browser::of(&world, "ada").await;
    put("3h").await;
    let idle = |told: Value| told["session"]["idle_expires_at"].as_str().unwrap().to_owned();
    assert_eq!(idle(browser.post("/v1/auth/session/refresh").await.expect(200)), "2026-01-01T03:00:00.000Z");
    put("5h").await;
    assert_eq!(idle(browser.get("/v1/auth/session").await.expect(200)), "2026-01-01T05:00:00.000Z");
}

#[tokio::test]
async fn a_rotation_comes_in_the_cookie() {
    let world = rotating().await;
    for path in ["/v1/auth/session", "/v1/auth/session/ping"] {
        let mut browser = Browser::of(&world, "ada").await;
        let first = browser.session.clone().unwrap();
        world.advance(Span::secs(11));
        let answer = browser.get(path).await;
        let second = browser.session.clone().unwrap();
        assert_ne!(first, second, "{path}");
        assert!(answer.text().is_empty() || !answer.text().contains(&second), "never in a body");
        // The CSRF token of an open page goes on.
        assert_eq!(browser.post("/v1/auth/session/ping").await.status.as_u16(), 204);
        assert_eq!(world.verdict(&second).await, "valid");
    }
}

/// Two tabs send the old token at once, and one answer is lost: both are told the same successor.
#[tokio::test]
async fn lost_answers_and_parallel_tabs_log_nobody_out() {
    let world = rotating().await;
    let mut first = Browser::of(&world, "ada").await;
    let mut second = first.tab();
    let lost = first.tab();
    world.advance(Span::secs(11));
    let (_, one, other) = tokio::join!(
        lost.call(Method::GET, "/v1/auth/session").send(),
        first.call(Method::GET, "/v1/auth/session").send(),
        second.call(Method::GET, "/v1/auth/session").send()
    );
    first.receive(&one);
    second.receive(&other);
    assert_eq!(first.session, second.session);
    assert_ne!(first.session, lost.session);
    for browser in [&mut first, &mut second] {
        world.advance(Span::secs(1));
        browser.get("/v1/auth/session").await.expect(200);
    }
    // The list could not bring a successor to whoever reads it with care for its size: it leaves the token alone.
    world.advance(Span::secs(11));
    let listed = first.get("/v1/auth/sessions").await;
    listed.expect(200);
    assert!(set_cookies(&listed).is_empty());
}

#[tokio::test]
async fn the_application_s_server_passes_a_cookie_on() {
    let world = rotating().await;
    let browser = Browser::of(&world, "ada").await;
    world.advance(Span::secs(11));
    let call = |key: &str| {
        let call = world.call(Method::GET, "/v1/auth/session").no_key().header("x-handstamp-key", key);
        call.header("cookie", &browser.cookies())
    };
    let answer = call(&world.key).send().await;
    assert_eq!(answer.expect(200)["user"]["id"], "ada");
    assert!(
        set_cookies(&answer).iter().all(|cookie| cookie.contains(browser.session.as_deref().unwrap())),
        "no rotation: its answer may be lost on the way"
    );
    call("hsk_nobody").send().await.refused(401, "access_key_invalid");
    let weak = world.make_key(json!({ "name": "w", "scopes": ["keys:write"] })).await;
    call(&weak.token).send().await.refused(403, "insufficient_scope");
    let elsewhere = world.make_environment("other", "prd").await;
    call(&elsewhere.token).send().await.refused(401, "session_not_found");
}

#[tokio::test]
async fn the_host_says_whose_a_keyless_request_is() {
    let named = |text| EnvironmentName::parse(text).unwrap();
    let map = [
        ("app.example.org".to_owned(), named("app/prd")),
        ("shop.example.org".to_owned(), named("shop/prd")),
    ];
    let browsers = Browsers { environments: Environments::ByHost(map.into()), ..Browsers::default() };
    let world = world_of(None, browsers).await;
    let app = world.make_environment("app", "prd").await;
    let made = world
        .call(Method::POST, "/v1/sessions")
        .key(&app.token)
        .json(&json!({ "user_id": "ada" }))
        .send()
        .await;
    let token = made.expect(201)["token"].as_str().unwrap().to_owned();
    let browser = Browser { world: &world, session: Some(token), csrf: None };
    let ask = |host: &str| browser.call(Method::GET, "/v1/auth/session").header("host", host).send();
    for host in ["app.example.org", "APP.example.org", "app.example.org:8443"] {
        assert_eq!(ask(host).await.expect(200)["user"]["id"], "ada", "{host}");
    }
    // Configured, but never made; and nobody's.
    ask("shop.example.org").await.refused(404, "not_found");
    ask("other.example.org").await.refused(404, "not_found");
    ask("app.example.org.evil.example").await.refused(404, "not_found");
}

#[tokio::test]
async fn a_session_pays_for_its_requests() {
    let policy = Policy::default().with(|rules| rules.rate_limit = Some(Budget::parse("3/1m").unwrap()));
    let world = world_of(Some(policy), Browsers::default()).await;
    let mut browser = Browser::of(&world, "ada").await;
    for left in [2, 1, 0] {
        let answer = browser.get("/v1/auth/session/ping").await;
        assert_eq!(answer.status.as_u16(), 204);
        assert_eq!(answer.header("x-ratelimit-limit"), "3");
        assert_eq!(answer.header("x-ratelimit-remaining"), left.to_string());
        assert!(!answer.header("x-ratelimit-reset").is_empty());
    }
    let over = browser.get("/v1/auth/session").await;
    over.refused(429, "rate_limit_exceeded");
    assert_eq!((over.header("x-ratelimit-remaining"), over.header("retry-after")), ("0", "20"));
    // Another session has its own, and a backend's question costs nothing.
    Browser::of(&world, "bob").await.get("/v1/auth/session").await.expect(200);
    assert_eq!(world.verdict(browser.session.as_deref().unwrap()).await, "valid");
    world.advance(Span::secs(20));
    browser.get("/v1/auth/session").await.expect(200);
}

/// Whoever has a token of long ago does not use up the budget of whoever holds its successor.
#[tokio::test]
async fn a_token_of_long_ago_is_not_paid_for_by_its_session() {
    let policy = Policy::default().with(|rules| {
        rules.rate_limit = Some(Budget::parse("5/1h").unwrap());
        rules.rotate_every = Some(Every(Some(Span::secs(10))));
        rules.rotation_grace = Some(Span::secs(30));
    });
    let world = world_of(Some(policy), Browsers::default()).await;
    let mut browser = Browser::of(&world, "ada").await;
    let old = browser.tab();
    world.advance(Span::secs(11));
    browser.get("/v1/auth/session").await.expect(200);
    browser.get("/v1/auth/session").await.expect(200);
    world.advance(Span::minutes(2));
    for _ in 0..5 {
        let answer = old.call(Method::POST, "/v1/auth/sessions/revoke-others").send().await;
        answer.refused(403, "csrf_token_invalid");
        assert_ne!(answer.header("x-ratelimit-limit"), "5");
    }
    assert_eq!(browser.get("/v1/auth/session").await.header("x-ratelimit-limit"), "5");
}
