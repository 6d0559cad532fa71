//! Budgets at the doors for browsers: a session's own, and an address's for what fails there.

use super::{limited, standing};
use crate::world::{Answer, Call, Options, World};
use handstamp_core::policy::modes::Rate;
use handstamp_core::policy::setting::Budget;
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::time::Span;
use http::Method;
use serde_json::json;
use std::sync::Arc;

const SESSION: &str = "/v1/auth/session";

fn rate(text: &str) -> Option<Rate> {
    Some(Rate::parse(text).unwrap())
}

/// Sessions have 1000 requests an hour, those of a kiosk fewer.
async fn world(kiosk: &str) -> World {
    let rules = |text| Rules { rate_limit: Some(Budget::parse(text).unwrap()), ..Rules::default() };
    let tag = handstamp_core::policy::Pattern::parse("kind:kiosk").unwrap();
    let policy = Policy::new(rules("1000/1h"), [(tag, rules(kiosk))].into());
    Box::pin(World::with(Options { policy: Some(policy), ..Options::default() })).await
}

fn call<'a>(world: &'a World, method: Method, path: &str, token: &str) -> Call<'a> {
    let call = world.call(method, path).no_key();
    if token.is_empty() { call } else { call.header("cookie", &format!("__Host-handstamp={token}")) }
}

async fn get(world: &World, token: &str) -> Answer {
    call(world, Method::GET, SESSION, token).send().await
}

/// A request that the application's server passes on for a client at `ip`.
async fn from(world: &World, ip: &str, token: &str) -> Answer {
    let call = call(world, Method::GET, SESSION, token).header("x-handstamp-key", &world.key);
    call.header("x-forwarded-for", ip).send().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_of_one_session_that_come_together_get_exactly_its_budget() {
    let world = Arc::new(world("25/1h").await);
    let kiosk = world.create(json!({ "user_id": "ada", "tags": ["kind:kiosk"] })).await;
    let calls = (0..100).map(|_| {
        let (world, token) = (world.clone(), kiosk.token.clone());
        tokio::spawn(async move { get(&world, &token).await })
    });
    let mut left = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        let answer = call.await.unwrap();
        match answer.status.as_u16() {
            200 => left.push(standing(&answer).unwrap().1),
            _ => {
                answer.refused(429, "rate_limit_exceeded");
                assert_eq!(answer.header("retry-after"), "144");
            }
        }
    }
    left.sort_unstable();
    assert_eq!(left, (0..25).collect::<Vec<_>>());
    // The budget is that of the session's tag; another session of the same user has its own.
    let other = world.login("ada").await;
    assert_eq!(standing(&get(&world, &other.token).await), Some((1000, 999, 4)));
}

#[tokio::test]
async fn over_its_budget_a_session_can_do_nothing_but_end() {
    let world = world("2/1h").await;
    let kiosk = world.create(json!({ "user_id": "ada", "tags": ["kind:kiosk"] })).await;
    let shown = get(&world, &kiosk.token).await.expect(200);
    // What is refused for another reason has been paid for, too.
    let forged = call(&world, Method::POST, "/v1/auth/session/refresh", &kiosk.token).send().await;
    forged.refused(403, "csrf_token_invalid");
    assert_eq!(standing(&forged).map(|said| said.1), Some(0));
    let before = world.get(&format!("/v1/sessions/{}", kiosk.id)).await.expect(200);
    // Long after its token was to be rotated: no successor, no activity, no cookie.
    world.advance(Span::minutes(20));
    for path in ["/v1/auth/session", "/v1/auth/session/ping", "/v1/auth/sessions"] {
        let answer = call(&world, Method::GET, path, &kiosk.token).send().await;
        answer.refused(429, "rate_limit_exceeded");
        assert!(answer.header("set-cookie").is_empty() && answer.header("retry-after") == "600", "{path}");
        // A stranger's page cannot read the numbers of the policy in a sentence.
        assert!(!answer.text().contains("2/1h"));
    }
    assert_eq!(world.get(&format!("/v1/sessions/{}", kiosk.id)).await.expect(200), before);
    // The backend's question is another matter: it asks as often as it likes.
    for _ in 0..5 {
        let asked = world.post("/v1/sessions/validate", json!({ "token": kiosk.token })).await;
        assert_eq!((asked.expect(200)["valid"].as_bool(), standing(&asked)), (Some(true), None));
    }
    // And whoever wants to leave leaves.
    let csrf = shown["csrf_token"].as_str().unwrap();
    let out = call(&world, Method::POST, "/v1/auth/logout", &kiosk.token).header("x-xsrf-token", csrf);
    let out = out.send().await;
    assert_eq!((out.status.as_u16(), standing(&out).map(|said| said.1)), (204, Some(0)));
    assert!(out.header("set-cookie").contains("Max-Age=0"), "{:?}", out.headers);
    assert_eq!(world.verdict(&kiosk.token).await, "session_revoked");
}

#[tokio::test]
async fn what_fails_counts_on_the_address_and_a_good_session_never_does() {
    let world = world("1/1d").await;
    let made = world.login("ada").await;
    assert_eq!(standing(&get(&world, "").await), None, "nobody said that there is a limit");
    world.app.set_anonymous_limit(rate("4/1h"));
    for (left, token) in [(3, ""), (2, "nonsense"), (1, ""), (0, "hst_nonsense")] {
        let answer = get(&world, token).await;
        assert_eq!((answer.status.as_u16(), standing(&answer).unwrap().1), (401, left), "{token}");
    }
    let over = get(&world, "").await;
    over.refused(429, "rate_limit_exceeded");
    assert_eq!((over.header("retry-after"), standing(&over)), ("900", Some((4, 0, 3600))));
    // From the same address: whoever has a session is in, and has spent nothing but of their own.
    let good = get(&world, &made.token).await;
    assert_eq!((good.status.as_u16(), standing(&good)), (200, Some((1000, 999, 4))));
    // Until it has ended: then it fails as all others do.
    world.delete(&format!("/v1/sessions/{}", made.id)).await.expect(200);
    get(&world, &made.token).await.refused(429, "rate_limit_exceeded");
    // What succeeds without a session costs nothing: a logout of nobody.
    let out = call(&world, Method::POST, "/v1/auth/logout", "").send().await;
    assert_eq!((out.status.as_u16(), standing(&out)), (204, None));
    world.advance(Span::minutes(15));
    get(&world, "").await.refused(401, "token_missing");
    get(&world, "").await.refused(429, "rate_limit_exceeded");
    world.app.set_anonymous_limit(None);
    get(&world, "").await.refused(401, "token_missing");
}

#[tokio::test]
async fn an_address_is_one_however_it_is_written_and_a_network_of_one_customer_is_one() {
    let world = world("1/1d").await;
    world.app.set_anonymous_limit(rate("2/1h"));
    for spellings in [
        ["203.0.113.7", "::ffff:203.0.113.7", "::ffff:cb00:7107"],
        ["2001:db8:0:1::1", "2001:0DB8:0:1:ffff::", "2001:db8::1:a:b:c:d"],
    ] {
        let [one, two, three] = spellings;
        assert_eq!(from(&world, one, "").await.status.as_u16(), 401, "{one}");
        assert_eq!(from(&world, two, "").await.status.as_u16(), 401, "{two}");
        from(&world, three, "").await.refused(429, "rate_limit_exceeded");
    }
    for other in ["203.0.113.8", "2001:db8:0:2::1"] {
        from(&world, other, "").await.refused(401, "token_missing");
    }
    // In another environment it is another budget, and the server that passed the requests on has spent nothing.
    let shop = world.make_environment("shop", "prd").await;
    let there = call(&world, Method::GET, SESSION, "").header("x-handstamp-key", &shop.token);
    there.header("x-forwarded-for", "203.0.113.7").send().await.refused(401, "token_missing");
    get(&world, "").await.refused(401, "token_missing");
}

/// Tokens that a backend asks about: whoever brought them pays, the backend never does, and no verdict is another for it.
#[tokio::test]
async fn failing_validations_count_on_the_clients_address() {
    let world = world("1/1d").await;
    world.app.set_anonymous_limit(rate("3/1h"));
    let ask = json!({ "token": "nonsense", "ip": "203.0.113.7" });
    for _ in 0..4 {
        let answer = world.post("/v1/sessions/validate", ask.clone()).await;
        assert_eq!((answer.expect(200)["code"].as_str(), standing(&answer)), (Some("token_malformed"), None));
    }
    from(&world, "203.0.113.7", "").await.refused(429, "rate_limit_exceeded");
    // Without an address nobody pays, and a good token from there is good.
    let made = world.login("ada").await;
    world.post("/v1/sessions/validate", json!({ "token": "nonsense" })).await.expect(200);
    let good = json!({ "token": made.token, "ip": "203.0.113.7" });
    assert_eq!(world.post("/v1/sessions/validate", good).await.expect(200)["valid"], true);
    assert_eq!(from(&world, "203.0.113.7", &made.token).await.status.as_u16(), 200);
    from(&world, "203.0.113.8", "").await.refused(401, "token_missing");
    assert_eq!(world.app.over_budget(), [("session", 0), ("key", 0), ("address", 2)]);
}

/// A server that passes on a cookie has two to pay: the session, and its own key where that is limited.
#[tokio::test]
async fn a_limited_key_pays_for_the_cookies_it_passes_on() {
    let world = world("off").await;
    let (key, kiosk) = (limited(&world, "3/1h").await, json!({ "user_id": "ada", "tags": ["kind:kiosk"] }));
    let (session, kiosk) = (world.login("ada").await, world.create(kiosk).await);
    let pass = async |token: &str| {
        call(&world, Method::GET, SESSION, token).header("x-handstamp-key", &key.token).send().await
    };
    let of_session = pass(&session.token).await;
    assert_eq!((of_session.status.as_u16(), standing(&of_session)), (200, Some((1000, 999, 4))));
    let of_key = pass(&kiosk.token).await;
    assert_eq!(
        (of_key.status.as_u16(), standing(&of_key)),
        (200, Some((3, 1, 2400))),
        "the kiosk has no limit"
    );
    pass("").await.refused(401, "token_missing");
    let over = pass(&session.token).await;
    over.refused(429, "rate_limit_exceeded");
    assert_eq!(standing(&over), Some((3, 0, 3600)));
    assert_eq!(world.app.over_budget(), [("session", 0), ("key", 1), ("address", 0)]);
}
