//! CORS at the browser's door: which pages are told that they may read an answer, which never are, whatever the answer is;
//! what browsers ask ahead.

mod lists;

use crate::world::{Answer, Call, Options, World};
use handstamp_core::origin::WebOrigin;
use handstamp_core::policy::Policy;
use handstamp_core::policy::setting::Budget;
use handstamp_server::app::origins::FileOrigins;
use http::{HeaderValue, Method};
use std::collections::{BTreeMap, BTreeSet};

const PAGE: &str = "https://app.example.org";
const LOCAL: &str = "http://localhost:3000";
const SESSION: &str = "/v1/auth/session";
const LOGOUT: &str = "/v1/auth/logout";
/// Every address of the door, and two that are none.
const PATHS: [&str; 9] = [
    SESSION,
    "/v1/auth/session/refresh",
    "/v1/auth/session/ping",
    LOGOUT,
    "/v1/auth/sessions",
    "/v1/auth/sessions/ses_08YRRPw2K0TIAusaCGTrcj",
    "/v1/auth/sessions/revoke-others",
    "/v1/auth/nothing",
    "/v1/auth/",
];

/// What no page that is listed sends: near it, far from it, and nonsense.
const OTHERS: &[&str] = &[
    "null",
    "NULL",
    "*",
    "",
    "https://",
    "app.example.org",
    "//app.example.org",
    "https:app.example.org",
    "https://evil.example",
    "https://example.org",
    "https://evilapp.example.org",
    "https://a.app.example.org",
    "https://app.example.org.evil.example",
    "https://app.example.orgevil.example",
    "https://app.example.org.",
    "https://app.example.org/",
    "https://app.example.org/x",
    "https://app.example.org?x",
    "https://app.example.org#x",
    "https://app.example.org:443",
    "https://app.example.org:8443",
    "https://app.example.org:",
    "https://app.example.org:0443",
    "http://app.example.org",
    "http://app.example.org:443",
    "HTTPS://app.example.org",
    "https://APP.example.org",
    "https://app.example.ORG",
    "https://user@app.example.org",
    "https://app.example.org@evil.example",
    "https://app.example.org\\evil.example",
    "https://app.example.org%2eevil.example",
    "https://app.example.org%0d%0a",
    "https://app.example.org, https://evil.example",
    "https://evil.example, https://app.example.org",
    "https://app.example.org https://evil.example",
    "https://app.example.org\thttps://app.example.org",
    "https://app.example.org;https://app.example.org",
    "\"https://app.example.org\"",
    "<https://app.example.org>",
    "https://xn--pp-eka.example.org",
    "https://127.0.0.1",
    "https://[::1]",
    "http://localhost",
    "http://localhost:30000",
    "http://localhost:3000/",
    "https://localhost:3000",
    "http://127.0.0.1:3000",
    "file://",
    "data:text/html,x",
    "chrome-extension://app.example.org",
    "javascript://app.example.org",
];

fn file() -> FileOrigins {
    let cors = [PAGE, LOCAL].map(|text| WebOrigin::parse(text).unwrap()).to_vec();
    FileOrigins { cors, redirect: vec![WebOrigin::parse("https://back.example.org").unwrap()] }
}

async fn world() -> World {
    World::with(Options { origins: file(), ..Options::default() }).await
}

fn names(answer: &Answer, header: &str) -> BTreeSet<String> {
    let lines = answer.headers.get_all(header).iter();
    lines
        .flat_map(|line| line.to_str().unwrap().split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect()
}

/// What an answer says of CORS, by name; but for `Vary`.
fn said(answer: &Answer) -> BTreeMap<String, String> {
    let all = answer.headers.iter().filter(|(name, _)| name.as_str().starts_with("access-control-"));
    let said: BTreeMap<String, String> =
        all.map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().to_owned())).collect();
    for name in said.keys() {
        assert_eq!(answer.headers.get_all(name).iter().count(), 1, "{:?}", answer.headers);
    }
    said
}

#[track_caller]
fn is_silent(answer: &Answer, why: &str) {
    assert_eq!(said(answer), BTreeMap::new(), "{why}: {}", answer.what);
    assert!(names(answer, "vary").contains("origin"), "{why}: {}", answer.what);
}

#[track_caller]
fn is_told(answer: &Answer, origin: &str) {
    let said = said(answer);
    assert_eq!(said["access-control-allow-origin"], origin, "{}", answer.what);
    assert_eq!(said["access-control-allow-credentials"], "true", "{}", answer.what);
    let exposed = names(answer, "access-control-expose-headers");
    let needed = [
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "retry-after",
        "x-request-id",
        "www-authenticate",
    ];
    assert_eq!(exposed, needed.map(str::to_owned).into(), "{}", answer.what);
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(names(answer, "vary").contains("origin"), "{}", answer.what);
}

fn ask<'a>(world: &'a World, method: Method, path: &str, origin: &str) -> Call<'a> {
    world.call(method, path).no_key().header("origin", origin)
}

fn ahead<'a>(world: &'a World, path: &str, origin: &str, method: &str) -> Call<'a> {
    ask(world, Method::OPTIONS, path, origin).header("access-control-request-method", method)
}

#[tokio::test]
async fn what_a_browser_asks_ahead() {
    let world = world().await;
    let allowed = [
        "content-type",
        "authorization",
        "session",
        "x-publishable-key",
        "x-client",
        "x-client-key",
        "x-xsrf-token",
    ];
    for path in PATHS {
        for (origin, method) in [(PAGE, "GET"), (PAGE, "POST"), (LOCAL, "DELETE"), (LOCAL, "BREW")] {
            let call = ahead(&world, path, origin, method);
            let answer =
                call.header("access-control-request-headers", "content-type,x-xsrf-token").send().await;
            assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0), "{path}");
            let said = said(&answer);
            assert_eq!(said["access-control-allow-origin"], origin);
            assert_eq!(said["access-control-allow-credentials"], "true");
            assert_eq!(said["access-control-allow-methods"], "GET, POST, PUT, PATCH, DELETE, OPTIONS");
            assert_eq!(said["access-control-max-age"], "7200");
            assert_eq!(names(&answer, "access-control-allow-headers"), allowed.map(str::to_owned).into());
            assert_eq!(said.len(), 5, "{said:?}");
            let vary = ["origin", "access-control-request-method", "access-control-request-headers"];
            assert_eq!(names(&answer, "vary"), vary.map(str::to_owned).into());
            assert!(answer.headers.get("set-cookie").is_none());
        }
        for origin in OTHERS {
            let answer = ahead(&world, path, origin, "GET").send().await;
            assert_eq!(answer.status.as_u16(), 403, "{origin} {path}");
            assert_eq!(answer.json()["code"], "origin_not_allowed");
            is_silent(&answer, origin);
        }
    }
    // Origins that a login may lead back to are another list.
    let answer = ahead(&world, SESSION, "https://back.example.org", "GET").send().await;
    is_silent(&answer, "a redirect origin");
    // What is not asked ahead is not answered as such.
    let answer = ask(&world, Method::OPTIONS, SESSION, PAGE).send().await;
    answer.refused(405, "method_not_allowed");
    is_told(&answer, PAGE);
    let answer = world
        .call(Method::OPTIONS, SESSION)
        .no_key()
        .header("access-control-request-method", "GET")
        .send()
        .await;
    answer.refused(405, "method_not_allowed");
    is_silent(&answer, "no origin");
}

#[tokio::test]
async fn the_name_of_the_csrf_header_is_the_one_that_is_configured() {
    let world =
        World::with(Options { origins: file(), csrf_header: "X-My-Token", ..Options::default() }).await;
    let answer = ahead(&world, SESSION, PAGE, "POST").send().await;
    let sent = names(&answer, "access-control-allow-headers");
    assert!(sent.contains("x-my-token") && !sent.contains("x-xsrf-token"), "{sent:?}");
}

#[tokio::test]
async fn every_kind_of_answer_is_told_to_a_page_that_is_listed_and_to_no_other() {
    let policy = Policy::default().with(|rules| rules.rate_limit = Some(Budget::parse("5/1h").unwrap()));
    let world = World::with(Options { origins: file(), policy: Some(policy), ..Options::default() }).await;
    let token = world.login("ada").await.token;
    for origin in [PAGE, LOCAL, "https://evil.example", "null", ""] {
        let listed = [PAGE, LOCAL].contains(&origin);
        let user = format!("user of {origin}");
        let own = format!("__Host-handstamp={}", world.login(&user).await.token);
        let from = |method, path: &str| {
            let call = world.call(method, path).no_key();
            if origin.is_empty() { call } else { call.header("origin", origin) }
        };
        let good = from(Method::GET, SESSION).header("cookie", &own);
        let csrf = from(Method::POST, LOGOUT).header("cookie", &own).header("x-xsrf-token", "c1.wrong");
        let unknown = format!("__Host-handstamp={}", of_elsewhere(&token));
        for (status, call) in [
            (200, good),
            (401, from(Method::GET, SESSION)),
            (401, from(Method::GET, SESSION).header("cookie", &unknown)),
            (403, csrf),
            (404, from(Method::GET, "/v1/auth/nothing")),
            (405, from(Method::PUT, SESSION)),
            (400, from(Method::GET, "/v1/auth/session?token=x")),
            (400, from(Method::GET, "/v1/auth/session?x=y")),
            (401, from(Method::GET, SESSION).header("x-publishable-key", "hsp_x")),
        ] {
            let answer = call.send().await;
            assert_eq!(answer.status.as_u16(), status, "{origin}: {}", answer.text());
            if listed {
                is_told(&answer, origin)
            } else {
                is_silent(&answer, origin)
            }
            assert!(names(&answer, "vary").contains("cookie") || status != 200, "{:?}", answer.headers);
        }
        // Over the budget, and how much is left before.
        for n in 0..8 {
            let answer = from(Method::GET, "/v1/auth/session/ping").header("cookie", &own).send().await;
            if listed {
                is_told(&answer, origin)
            } else {
                is_silent(&answer, origin)
            }
            if n == 7 {
                answer.refused(429, "rate_limit_exceeded");
                assert!(
                    !answer.header("retry-after").is_empty() && answer.header("x-ratelimit-remaining") == "0"
                );
            }
        }
    }
}

/// A token with another last character: of nobody here.
fn of_elsewhere(token: &str) -> String {
    let (front, last) = token.split_at(token.len() - 1);
    format!("{front}{}", if last == "a" { "b" } else { "a" })
}

#[tokio::test]
async fn what_is_not_text_or_comes_twice_is_no_page() {
    let world = world().await;
    let token = world.login("ada").await.token;
    let cookie = format!("__Host-handstamp={token}");
    for bytes in [
        &b"https://app.example.org\xff"[..],
        b"\xc3\xa9",
        b"https://\xe2\x80\x8bapp.example.org",
        b"https://app.example.org\x01",
    ] {
        let Ok(value) = HeaderValue::from_bytes(bytes) else { continue };
        let call = world.call(Method::GET, SESSION).no_key().header("cookie", &cookie);
        let answer = call.header_bytes("origin", value).send().await;
        answer.expect(200);
        is_silent(&answer, "bytes");
    }
    let long = format!("https://app.example.org{}", "a".repeat(5_000));
    is_silent(&ask(&world, Method::GET, SESSION, &long).send().await, "long");
    is_silent(&ahead(&world, SESSION, &long, "GET").send().await, "long");
    for (first, second) in
        [(PAGE, PAGE), (PAGE, "https://evil.example"), ("https://evil.example", PAGE), (PAGE, "")]
    {
        let answer = ask(&world, Method::GET, SESSION, first).add_header("origin", second).send().await;
        is_silent(&answer, "two of them");
        let answer = ahead(&world, SESSION, first, "GET").add_header("origin", second).send().await;
        answer.refused(403, "origin_not_allowed");
        is_silent(&answer, "two of them");
    }
    assert_eq!(world.verdict(&token).await, "valid");
}

#[tokio::test]
async fn a_line_that_is_broken_into_the_header_is_no_request() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = world().await;
    for broken in [
        "Origin: https://app.example.org\r\n https://evil.example",
        "Origin: https://app.example.org\rX-Evil: 1",
        "Origin: https://app.example.org\nSet-Cookie: a=b",
        "Origin: https://app.example.org\0",
        "Origin : https://app.example.org",
    ] {
        let mut tcp = tokio::net::TcpStream::connect(world.address).await.unwrap();
        let request = format!("GET {SESSION} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{broken}\r\n\r\n");
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(crate::world::PATIENCE, tcp.read_to_string(&mut answer)).await.unwrap().unwrap();
        let head = answer.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 400"), "{broken:?}: {head}");
        assert!(
            !head.contains("access-control") && !head.contains("set-cookie") && !head.contains("x-evil"),
            "{head}"
        );
    }
}
