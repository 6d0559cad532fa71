//! Who may change something with a cookie: by the page, then by the CSRF token, before anything changes.

use super::{Browser, CHANGES, CSRF, LOOKS, PAGE, names, rotating, set_cookies, stored, world, world_of};
use crate::world::Call;
use handstamp_core::policy::Policy;
use handstamp_core::policy::setting::Every;
use handstamp_core::time::Span;
use handstamp_server::http::browser::Browsers;
use http::Method;
use serde_json::json;

/// Ends or extends the caller's own session alone.
fn own(path: &str) -> bool {
    ["/v1/auth/session/refresh", "/v1/auth/session/ping", "/v1/auth/logout"].contains(&path)
}

async fn id(browser: &Browser<'_>) -> String {
    let token = browser.session.as_deref().unwrap();
    browser.world.validate(token).await["session"]["id"].as_str().unwrap().to_owned()
}

/// Every combination of what a browser says of the page, over every call that changes something.
#[tokio::test]
async fn the_page_is_judged_first() {
    let world = world().await;
    let browser = Browser::of(&world, "ada").await;
    let id = id(&browser).await;
    let before = stored(&world, &id).await;
    let site = ["same-origin", "same-site", "cross-site", "none", ""];
    let origins =
        ["", "null", PAGE, "https://evil.example", "garbage", "https://a.example, https://b.example"];
    for (method, path) in CHANGES {
        for site in site {
            for origin in origins {
                let allowed = match (site, origin) {
                    (_, "garbage" | "https://a.example, https://b.example") => false,
                    ("same-origin", _) | ("none" | "", "") | (_, PAGE) => true,
                    _ => false,
                };
                let mut call = world.call(method.clone(), path).no_key().header("cookie", &browser.cookies());
                // Right as the token may be: the page comes first.
                let token = if allowed { "wrong" } else { browser.csrf.as_deref().unwrap() };
                call = call.header("x-xsrf-token", token);
                if !site.is_empty() {
                    call = call.header("sec-fetch-site", site);
                }
                if !origin.is_empty() {
                    call = call.header("origin", origin);
                }
                let answer = call.send().await;
                if allowed {
                    answer.refused(403, "csrf_token_invalid");
                    assert_eq!(names(&answer), [CSRF], "{path} {site} {origin}");
                } else {
                    answer.refused(403, "origin_not_allowed");
                    assert!(set_cookies(&answer).is_empty(), "{path} {site} {origin}");
                }
            }
        }
    }
    assert_eq!(stored(&world, &id).await, before, "refused before anything changed");
}

#[tokio::test]
async fn without_the_header_only_one_s_own_session_is_ended_or_extended_and_by_a_page_that_is_vouched_for() {
    let world = world().await;
    for (method, path) in CHANGES {
        for (site, origin, vouched) in [
            ("same-origin", PAGE, true),
            ("same-site", PAGE, true),
            ("same-origin", "", false),
            ("same-origin", "https://evil.example", false),
            ("cross-site", PAGE, false),
            ("none", PAGE, false),
            ("", PAGE, false),
            ("", "", false),
        ] {
            let browser = Browser::of(&world, "ada").await;
            let mut call = world.call(method.clone(), path).no_key().header("cookie", &browser.cookies());
            if !site.is_empty() {
                call = call.header("sec-fetch-site", site);
            }
            if !origin.is_empty() {
                call = call.header("origin", origin);
            }
            let answer = call.send().await;
            if own(path) && vouched {
                assert!(answer.status.is_success(), "{path} {site} {origin}: {}", answer.text());
            } else {
                answer.refused(403, "csrf_token_invalid");
            }
        }
    }
}

/// The page's own origin needs no list.
#[tokio::test]
async fn a_page_of_the_host_itself_is_vouched_for() {
    let world = world().await;
    for (host, origin, vouched) in [
        ("app.test", "https://app.test", true),
        ("app.test:8443", "https://app.test:8443", true),
        ("app.test", "https://app.test:8443", false),
        ("app.test", "https://other.test", false),
    ] {
        let browser = Browser::of(&world, "ada").await;
        let call =
            browser.call(Method::POST, "/v1/auth/session/ping").header("host", host).header("origin", origin);
        let answer = call.send().await;
        assert_eq!(answer.status.as_u16(), if vouched { 204 } else { 403 }, "{host} {origin}");
    }
}

#[tokio::test]
async fn the_header_counts_and_never_the_cookie() {
    let world = world().await;
    let browser = Browser::of(&world, "ada").await;
    let stranger = Browser::of(&world, "eve").await;
    let (ours, theirs) = (browser.csrf.clone().unwrap(), stranger.csrf.clone().unwrap());
    let call = || browser.call(Method::POST, "/v1/auth/sessions/revoke-others");
    let cookie =
        |csrf: &str| format!("__Host-handstamp={}; XSRF-TOKEN={csrf}", browser.session.as_deref().unwrap());
    let refused = async |call: Call<'_>, what: &str| {
        let answer = call.send().await;
        answer.refused(403, "csrf_token_invalid");
        let set = set_cookies(&answer);
        assert_eq!(names(&answer), [CSRF], "{what}");
        set[0].split_once('=').unwrap().1.split(';').next().unwrap().to_owned()
    };
    refused(call(), "no header").await;
    refused(call().header("x-xsrf-token", ""), "an empty one").await;
    refused(call().header("x-xsrf-token", "undefined"), "a script's mistake").await;
    refused(call().header("x-xsrf-token", &theirs), "another session's").await;
    // A pair that somebody planted.
    let planted = call().header("cookie", &cookie(&theirs)).header("x-xsrf-token", &theirs);
    let fresh = refused(planted, "planted").await;
    assert_ne!(fresh, theirs);
    call().header("x-xsrf-token", &fresh).send().await.expect(200);
    // Without the cookie at all, the header does.
    let only = world.call(Method::POST, "/v1/auth/sessions/revoke-others").no_key();
    let session = format!("__Host-handstamp={}", browser.session.as_deref().unwrap());
    only.header("cookie", &session).header("x-xsrf-token", &ours).send().await.expect(200);
}

#[tokio::test]
async fn a_refusal_brings_what_the_next_try_needs() {
    let world = world().await;
    let mut browser = Browser::of(&world, "ada").await;
    browser.csrf = None;
    let answer = browser.post("/v1/auth/sessions/revoke-others").await;
    answer.refused(403, "csrf_token_invalid");
    assert!(browser.csrf.is_some());
    browser.post("/v1/auth/sessions/revoke-others").await.expect(200);
    // What is right is not replaced: a page that read it before goes on.
    let right = browser.csrf.clone();
    let answer = browser.call(Method::POST, "/v1/auth/sessions/revoke-others").send().await;
    browser.receive(&answer);
    assert_eq!(browser.csrf, right);
}

#[tokio::test]
async fn a_rotation_leaves_it_and_a_login_does_not() {
    let world = rotating().await;
    let mut browser = Browser::of(&world, "ada").await;
    let (before, id) = (browser.csrf.clone(), id(&browser).await);
    world.advance(Span::secs(11));
    browser.get("/v1/auth/session").await.expect(200);
    assert_eq!(browser.csrf, before);
    browser.post("/v1/auth/sessions/revoke-others").await.expect(200);
    // The user authenticates again: what was read before that is worth nothing.
    world.advance(Span::secs(1));
    let body = json!({ "auth": { "level": 2 } });
    let done = world.patch(&format!("/v1/sessions/{id}"), body).await.expect(200);
    let old = browser.csrf.clone().unwrap();
    done["set_cookie"].as_array().unwrap().iter().for_each(|cookie| browser.keep(cookie.as_str().unwrap()));
    assert_ne!(browser.csrf.as_deref(), Some(old.as_str()));
    let call = |token: &str| {
        browser.call(Method::POST, "/v1/auth/sessions/revoke-others").header("x-xsrf-token", token).send()
    };
    call(&old).await.refused(403, "csrf_token_invalid");
    call(browser.csrf.as_deref().unwrap()).await.expect(200);
}

/// Whatever page asks, a look changes nothing but when the session was last used.
#[tokio::test]
async fn safe_methods_are_not_refused_and_change_nothing() {
    let world = world().await;
    let browser = Browser::of(&world, "ada").await;
    let id = id(&browser).await;
    let (before, events) = stored(&world, &id).await;
    for path in LOOKS {
        for (site, origin) in [("cross-site", "https://evil.example"), ("cross-site", "null"), ("none", "")] {
            let mut call = world.call(Method::GET, path).no_key().header("cookie", &browser.cookies());
            call = call.header("sec-fetch-site", site);
            if !origin.is_empty() {
                call = call.header("origin", origin);
            }
            assert!(call.send().await.status.is_success(), "{path} {site} {origin}");
        }
    }
    assert_eq!(stored(&world, &id).await, (before, events));
}

/// Without a session there is nothing to forge: the answer is about the session.
#[tokio::test]
async fn without_a_session_there_is_nothing_to_protect() {
    let world = world().await;
    for (method, path) in CHANGES {
        let browser = Browser { world: &world, session: None, csrf: None };
        let answer = browser.call(method, path).send().await;
        if path == "/v1/auth/logout" {
            assert_eq!(answer.status.as_u16(), 204);
        } else {
            answer.refused(401, "token_missing");
        }
    }
}

/// Nobody else's page comes through because memory had last heard of the session long ago.
#[tokio::test]
async fn a_session_that_was_quiet_is_protected_too() {
    let never = Policy::default().with(|rules| rules.rotate_every = Some(Every(None)));
    let world = world_of(Some(never), Browsers::default()).await;
    let mut browser = Browser::of(&world, "ada").await;
    for _ in 0..4 {
        browser.get("/v1/auth/session").await.expect(200);
        world.advance(Span::hours(13));
    }
    let wrong = browser.call(Method::POST, "/v1/auth/sessions/revoke-others").header("x-xsrf-token", "wrong");
    wrong.send().await.refused(403, "csrf_token_invalid");
}
