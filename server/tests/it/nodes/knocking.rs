//! Who may come in, by the word of now: a key that went while a body was waited for, or while an answer was made, lets nobody
//! in; and what another node made a moment ago is not refused because this one has not heard of it.

use super::doors::{Node, pair, pair_with};
use crate::world::{Answer, Made, Options, World};
use handstamp_core::environment::{EnvironmentName, Environments};
use handstamp_core::time::Span;
use handstamp_server::http::browser::Browsers;
use handstamp_server::store::faulty::{Call, Fault, Gate};
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::yield_now;

const PAGE: &str = "https://page.example.org";

/// A request whose body is still to come: the server has read its head, and waits.
struct HeldBack {
    stream: TcpStream,
    body: String,
}

impl HeldBack {
    async fn post(world: &World, path: &str, headers: &[(&str, &str)], body: &Value) -> HeldBack {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        let body = body.to_string();
        let mut head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        );
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        let mut said = [0; 25];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"HTTP/1.1 100 Continue\r\n\r\n", "{path}: {}", String::from_utf8_lossy(&said));
        HeldBack { stream, body }
    }

    /// Sends the body; the status, and the rest of the answer.
    async fn go_on(mut self) -> (u16, String) {
        self.stream.write_all(self.body.as_bytes()).await.unwrap();
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).await.unwrap();
        (answer[9..12].parse().unwrap(), answer)
    }
}

/// Calls with a body, of every kind of door. Any key that may do everything is let in.
async fn held_back(world: &World, made: &Made, key: &str) -> Vec<(&'static str, HeldBack)> {
    let (validate, bearer) = (json!({ "token": made.token }), format!("Bearer {key}"));
    let valid = json!({ "command": "ValidateSession", "data": { "sessionToken": made.token } });
    let create = json!({ "command": "CreateSession", "data": { "userId": "eve" } });
    let mut all = Vec::new();
    for (path, body) in [
        ("/v1/sessions/validate", validate.clone()),
        ("/v1/sessions/validate-batch", json!({ "requests": [validate] })),
        ("/v1/sessions", json!({ "user_id": "eve" })),
        ("/v1/sessions/revoke", json!({ "user_id": "nobody" })),
        ("/run-command", valid),
        ("/run-command", create),
    ] {
        all.push((path, HeldBack::post(world, path, &[("Authorization", &bearer)], &body).await));
    }
    let cookie = format!("__Host-handstamp={}", made.token);
    let path = "/v1/auth/session/refresh";
    let headers = [("X-Handstamp-Key", key), ("Cookie", cookie.as_str())];
    all.push((path, HeldBack::post(world, path, &headers, &json!({})).await));
    all
}

/// The first access key asks, but for those whose call this is about.
async fn change_key(world: &World, key: &Made, change: Value) {
    let call = world.call(Method::PATCH, &format!("/v1/keys/{}", key.id)).key(&world.operator);
    call.json(&change).send().await.expect(200);
}

async fn delete_key(world: &World, key: &Made) {
    let path = format!("/v1/keys/{}", key.id);
    assert!(world.call(Method::DELETE, &path).key(&world.operator).send().await.status.is_success());
}

#[tokio::test]
async fn a_key_that_went_while_the_body_was_waited_for_does_nothing() {
    let world = World::new().await;
    let made = world.login("ada").await;
    for gone in [false, true] {
        let key = world.make_key(json!({ "name": "k" })).await;
        let held = held_back(&world, &made, &key.token).await;
        if gone {
            delete_key(&world, &key).await;
        } else {
            change_key(&world, &key, json!({ "state": "suspended" })).await;
        }
        for (path, held) in held {
            let (status, answer) = held.go_on().await;
            assert_eq!(status, 401, "{path}: {answer}");
            assert!(answer.contains("access_key_") || answer.contains("IntegrationKey"), "{path}: {answer}");
        }
    }
    assert!(!world.get("/v1/sessions").await.text().contains("eve"), "nobody was let in");
}

/// Scopes, too, are those of when the body has come.
#[tokio::test]
async fn a_key_that_may_less_by_then_does_less() {
    let world = World::new().await;
    let made = world.login("ada").await;
    let key = world.make_key(json!({ "name": "k" })).await;
    let held = held_back(&world, &made, &key.token).await;
    change_key(&world, &key, json!({ "scopes": ["events:read"] })).await;
    for (path, held) in held {
        let (status, answer) = held.go_on().await;
        assert_eq!(status, 403, "{path}: {answer}");
    }
    // What has nothing to do with it goes on.
    let held = held_back(&world, &made, &world.key).await;
    change_key(&world, &key, json!({ "scopes": ["sessions:read"] })).await;
    for (path, held) in held {
        let (status, answer) = held.go_on().await;
        assert!(matches!(status, 200 | 201), "{path}: {answer}");
    }
}

/// The same where the key went on another node: as soon as that is heard of, and where nothing is heard once the licence is over.
#[tokio::test]
async fn a_key_that_went_elsewhere_meanwhile_does_nothing() {
    let (a, b) = pair().await;
    let made = a.world.login("ada").await;
    for heard in [true, false] {
        let key = a.world.make_key(json!({ "name": "k" })).await;
        b.keep_up().await;
        let held = held_back(&b.world, &made, &key.token).await;
        delete_key(&a.world, &key).await;
        if heard {
            b.keep_up().await;
        } else {
            b.world.advance(Span::secs(1));
        }
        for (path, held) in held {
            let (status, answer) = held.go_on().await;
            assert_eq!(status, 401, "{path}: {answer}");
        }
    }
    assert!(!a.world.get("/v1/sessions").await.text().contains("eve"), "nobody was let in");
}

/// The doors that know no access key but that of who speaks for a client: a verdict that is made again is not told to one
/// that went meanwhile.
#[tokio::test]
async fn who_may_not_speak_for_a_client_any_more_is_not_told() {
    for path in ["/v1/forward-auth", "/v1/auth/session", "/v1/auth/session/ping", "/v1/auth/sessions"] {
        let (a, b) = pair().await;
        let made = a.world.login("ada").await;
        let key = a.world.make_key(json!({ "name": "k", "scopes": ["sessions:read"] })).await;
        b.keep_up().await;
        let b = Arc::new(b);
        // This one asks for the stamp first.
        let first = (path == "/v1/auth/sessions").then_some(Fault::None);
        b.world.store.plan(Call::Load, first.into_iter().chain([Fault::DelayAnswer(30_000)]));
        let asking = tokio::spawn({
            let (b, made, key) = (b.clone(), made.clone(), key.clone());
            async move {
                let cookie = format!("__Host-handstamp={}", made.token);
                let call = b.world.call(Method::GET, path).no_key().header("cookie", &cookie);
                call.header("x-handstamp-key", &key.token).send().await
            }
        });
        while b.world.store.left() > 0 {
            yield_now().await;
        }
        delete_key(&a.world, &key).await;
        b.world.advance(Span::secs(1));
        assert!(!asking.is_finished());
        asking.await.unwrap().refused(401, "access_key_invalid");
    }
}

async fn list(node: &Node, what: &str, origins: &[&str]) {
    let call = node.world.call(Method::PUT, &format!("/v1/settings/{what}"));
    call.json(&json!({ "origins": origins })).send().await.expect(200);
}

fn told(answer: &Answer) -> bool {
    answer.headers.contains_key("access-control-allow-origin")
}

/// A request of a page, which is told what it may read.
async fn from_page(node: &Node, method: Method, path: &str, made: &Made) -> Answer {
    let call = node.world.call(method, path).no_key().header("origin", PAGE);
    call.header("cookie", &format!("__Host-handstamp={}", made.token)).send().await
}

#[tokio::test]
async fn a_page_that_was_taken_off_the_list_elsewhere_reads_nothing() {
    let (a, b) = pair().await;
    let made = a.world.login("ada").await;
    list(&a, "cors", &[PAGE]).await;
    b.keep_up().await;
    assert!(told(&from_page(&b, Method::GET, "/v1/auth/session", &made).await));
    list(&a, "cors", &[]).await;
    b.world.advance(Span::secs(1));
    assert!(!told(&from_page(&b, Method::GET, "/v1/auth/session", &made).await), "there is no licence");
}

#[tokio::test]
async fn a_page_that_was_listed_elsewhere_is_known_at_once() {
    for which in 0..4 {
        let (a, b) = pair().await;
        let made = a.world.login("ada").await;
        b.keep_up().await;
        list(&a, "cors", &[PAGE]).await;
        let answer = match which {
            0 => from_page(&b, Method::GET, "/v1/auth/session", &made).await,
            1 => {
                let call = b.world.call(Method::OPTIONS, "/v1/auth/session").no_key().header("origin", PAGE);
                call.header("access-control-request-method", "POST").send().await
            }
            2 => {
                let call =
                    b.world.call(Method::POST, "/v1/auth/session/refresh").no_key().header("origin", PAGE);
                let call = call.header("cookie", &format!("__Host-handstamp={}", made.token));
                call.header("sec-fetch-site", "same-site").send().await
            }
            _ => {
                let public = json!({ "name": "app", "kind": "publishable" });
                let key = a.world.make_key(public).await.token;
                let call = b.world.call(Method::GET, "/v1/auth/session").no_key().header("origin", PAGE);
                call.header("x-publishable-key", &key).header("session", &made.token).send().await
            }
        };
        assert!(answer.status.is_success(), "{which} {}: {}", answer.what, answer.text());
        assert!(told(&answer), "{which} {:?}", answer.headers);
    }
    // A proxy that holds its clients' requests to the same list.
    let (a, b) = pair().await;
    let made = a.world.login("ada").await;
    let csrf = from_page(&b, Method::GET, "/v1/auth/session", &made).await.json()["csrf_token"].clone();
    b.keep_up().await;
    list(&a, "cors", &[PAGE]).await;
    let call = b.world.ask("/v1/forward-auth;csrf=1").method(Method::POST).header("origin", PAGE);
    let call = call.header("cookie", &format!("__Host-handstamp={}", made.token));
    let answer = call.header("x-xsrf-token", csrf.as_str().unwrap()).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// A page of this very origin needs no list, and does not make the node ask its store.
#[tokio::test]
async fn a_page_of_ones_own_costs_no_question() {
    let (a, b) = pair().await;
    let made = a.world.login("ada").await;
    assert_eq!(b.world.verdict(&made.token).await, "valid");
    b.world.store.plan(Call::Load, [Fault::Before]);
    let call = b.world.call(Method::POST, "/v1/auth/session/ping").no_key().header("origin", PAGE);
    let call = call.header("host", "page.example.org").header("sec-fetch-site", "same-origin");
    let answer = call.header("cookie", &format!("__Host-handstamp={}", made.token)).send().await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(b.world.store.left(), 1);
}

#[tokio::test]
async fn where_a_login_may_lead_back_to_is_known_at_once() {
    let (a, b) = pair().await;
    b.keep_up().await;
    let login = json!({ "user_id": "ada", "login": { "redirect_uri": format!("{PAGE}/in") } });
    b.world.post("/v1/sessions", login.clone()).await.refused(400, "redirect_not_allowed");
    list(&a, "redirect-origins", &[PAGE]).await;
    b.world.post("/v1/sessions", login).await.expect(201);
}

#[tokio::test]
async fn what_a_key_may_by_now_it_may_everywhere() {
    let (a, b) = pair().await;
    let made = a.world.login("ada").await;
    let session = format!("/v1/sessions/{}", made.id);
    let cookie = format!("__Host-handstamp={}", made.token);
    for which in 0..12 {
        let key = a.world.make_key(json!({ "name": "k", "scopes": ["events:read"] })).await;
        let all = json!({ "scopes": ["sessions:read", "sessions:write", "tokens:mint"] });
        b.keep_up().await;
        change_key(&a.world, &key, all).await;
        let (world, validate) = (&b.world, json!({ "token": made.token }));
        let new = json!({ "user_id": "bob" });
        let (method, path, body) = match which {
            0 => (Method::POST, "/v1/sessions/validate", Some(validate)),
            1 => (Method::POST, "/v1/sessions/validate-batch", Some(json!({ "requests": [validate] }))),
            2 => (Method::POST, "/v1/sessions", Some(new)),
            3 => (Method::POST, "/v1/sessions", Some(json!({ "user_id": "bob", "access_token": {} }))),
            4 => (Method::GET, session.as_str(), None),
            5 => (Method::PATCH, session.as_str(), Some(json!({ "extend": true }))),
            6 => (Method::POST, "/v1/sessions/refresh", Some(json!({ "refresh_token": "x" }))),
            7 => (Method::GET, "/v1/auth/session", None),
            8 => (Method::GET, "/v1/forward-auth", None),
            9 => (
                Method::POST,
                "/run-command",
                Some(json!({ "command": "ValidateSession", "data": { "sessionToken": made.token } })),
            ),
            10 => (
                Method::POST,
                "/run-command",
                Some(json!({ "command": "CreateSession", "data": { "userId": "bob" } })),
            ),
            _ => (Method::DELETE, session.as_str(), None),
        };
        let mut call = world.call(method, path).key(&key.token);
        if matches!(which, 7 | 8) {
            call = call.no_key().header("x-handstamp-key", &key.token).header("cookie", &cookie);
        }
        let call = match body {
            Some(body) => call.json(&body),
            None => call,
        };
        let answer = call.send().await;
        assert_ne!(answer.status, 403, "{which} {}: {}", answer.what, answer.text());
    }
    // Who may not, may not.
    let key = a.world.make_key(json!({ "name": "k", "scopes": ["events:read"] })).await;
    let call = b.world.call(Method::POST, "/v1/sessions/validate").key(&key.token);
    call.json(&json!({ "token": made.token })).send().await.refused(403, "insufficient_scope");
}

#[tokio::test]
async fn an_environment_that_was_made_elsewhere_is_there() {
    let host = || ("shop.example".to_owned(), EnvironmentName::parse("shop/dev").unwrap());
    let environments = || Environments::ByHost([host()].into_iter().collect());
    let options = || Options {
        browsers: Browsers { environments: environments(), ..Browsers::default() },
        ..Options::default()
    };
    for which in 0..2 {
        let (a, b) = pair_with(options).await;
        b.keep_up().await;
        let ask = || match which {
            0 => b.world.call(Method::GET, "/v1/auth/session").no_key().header("host", "shop.example"),
            _ => b.world.ask("/v1/forward-auth").header("host", "shop.example"),
        };
        ask().send().await.refused(404, "not_found");
        a.world.make_environment("shop", "dev").await;
        ask().send().await.refused(401, "token_missing");
    }
}

/// Anybody may ask for anything; many who come together are one question to the store, also where none of them has a key.
#[tokio::test]
async fn whoever_comes_together_is_one_question() {
    let (_a, b) = pair().await;
    let b = Arc::new(b);
    for path in ["/v1/keys", "/v1/nothing-of-that-kind"] {
        let gate = Gate::default();
        // The first question is under way when the others come; theirs is the second, and a third would find no store.
        let plan = [Fault::Hold(gate.clone()), Fault::None];
        b.world.store.plan(Call::Load, plan.into_iter().chain(std::iter::repeat_n(Fault::Before, 100)));
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let b = b.clone();
            all.spawn(async move { b.world.call(Method::GET, path).no_key().send().await.status });
        }
        for _ in 0..2_000 {
            yield_now().await;
        }
        b.world.advance(Span::millis(1));
        gate.open(1);
        let statuses = all.join_all().await;
        b.world.store.forget_plans();
        assert!(statuses.iter().all(|status| matches!(status.as_u16(), 401 | 404)), "{path}: {statuses:?}");
    }
}
