//! The door of proxies: what it lets pass, and what it says of whom.

mod hops;
mod over_time;
mod wishes;

use crate::world::{Answer, Call, Options, World};
use handstamp_core::address::{Network, Networks};
use handstamp_core::policy::Policy;
use handstamp_server::http::peer::{SaidIn, Trust};
use http::{HeaderValue, Method};
use serde_json::{Value, json};

const COOKIE: &str = "__Host-handstamp";
const PATH: &str = "/v1/forward-auth";
const IDENTITY: [&str; 5] =
    ["x-session-id", "x-session-user", "x-session-tags", "x-session-groups", "x-session-data"];

fn trusting() -> Trust {
    let proxies: Networks = [Network::parse("127.0.0.1").unwrap()].into_iter().collect();
    Trust { proxies, said_in: SaidIn::XForwardedFor }
}

async fn trusted(policy: Option<Policy>) -> World {
    Box::pin(World::with(Options { trust: trusting(), policy, ..Options::default() })).await
}

fn with(token: &str) -> String {
    format!("other=1; {COOKIE}={token}")
}

impl Call<'_> {
    fn cookie(self, token: &str) -> Self {
        self.header("cookie", &with(token))
    }
    /// On the way to a page.
    fn navigation(self, url: &str) -> Self {
        self.header("accept", "text/html,*/*;q=0.8").header("x-forwarded-uri", url)
    }
}

impl Answer {
    #[track_caller]
    fn passes(&self) -> [&str; 5] {
        assert_eq!(self.status, 200, "{}: {}", self.what, self.text());
        assert!(self.body.is_empty() && self.header("cache-control") == "no-store", "{:?}", self.headers);
        IDENTITY.map(|name| {
            assert_eq!(self.headers.get_all(name).iter().count(), 1, "{name}: {:?}", self.headers);
            self.header(name)
        })
    }
    /// The token in the cookie that is set, and its whole line.
    fn set(&self) -> Option<(String, &str)> {
        let line = self.header("set-cookie");
        let value = line.strip_prefix(COOKIE)?.strip_prefix('=')?.split(';').next()?;
        Some((value.to_owned(), line))
    }
    /// A refusal, whose code proxies find in a header, too.
    #[track_caller]
    fn denied(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.header("x-handstamp-code"), code, "{}: {}", self.what, self.text());
        assert!(IDENTITY.iter().all(|name| !self.headers.contains_key(*name)), "{:?}", self.headers);
        self.refused(status, code)
    }
}

#[tokio::test]
async fn who_it_is_stands_in_five_headers_each_of_them_always() {
    let world = World::new().await;
    let made = world.login("ada").await;
    let answer = world.ask(PATH).cookie(&made.token).send().await;
    assert_eq!(answer.passes(), [&made.id, "ada", "", "", ""]);
    // Neither tags nor groups have what separates them.
    let body = json!({"user_id": "zoë, 100%\"", "tags": ["role:a-b", "org:ac-me"], "access_groups": ["x.y"],
                      "data": {"k": "ü"}});
    let made = world.create(body).await;
    let answer = world.ask(&format!("{PATH};data=1")).cookie(&made.token).send().await;
    let [id, user, tags, groups, data] = answer.passes();
    assert_eq!((id, user), (made.id.as_str(), "zo%C3%AB%2C%20100%25%22"));
    assert_eq!((tags, groups), ("org:ac-me,role:a-b", "x.y"));
    assert_eq!(data, "eyJrIjoiw7wifQ");
    // Not asked for, it is not told; and the query of nginx and Traefik says the same.
    assert_eq!(world.ask(PATH).cookie(&made.token).send().await.passes()[4], "");
    let answer = world.ask(&format!("{PATH}?data=1")).cookie(&made.token).send().await;
    assert_eq!(answer.passes()[4], "eyJrIjoiw7wifQ");
}

#[tokio::test]
async fn data_that_does_not_fit_into_a_head_is_left_out() {
    let world = World::new().await;
    for (length, told) in [(3_000, true), (3_200, false), (16_000, false)] {
        let made = world.create(json!({"user_id": "ada", "data": {"pad": "x".repeat(length)}})).await;
        let answer = world.ask(&format!("{PATH};data=1")).cookie(&made.token).send().await;
        assert_eq!(!answer.passes()[4].is_empty(), told, "{length}");
    }
    let made = world.login("ada").await;
    let answer = world.ask(&format!("{PATH};data=1")).cookie(&made.token).send().await;
    assert_eq!(answer.passes()[4], "bnVsbA", "no data is null, and not nothing");
}

#[tokio::test]
async fn any_method_any_suffix_and_no_body() {
    let world = World::new().await;
    let made = world.login("ada").await;
    for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        for path in
            ["", "/", "/a/b", "/v1/sessions", "/%00%ff/../x", ";rotate=never", ";/x?apikey=hsk_1&token=2"]
        {
            let call = world.ask(&format!("{PATH}{path}")).cookie(&made.token);
            let answer = call.method(method.clone()).body(vec![b'x'; 100_000]).send().await;
            answer.passes();
            assert_eq!(answer.header("connection"), "close", "an unread body stands before the next request");
        }
    }
    for path in [
        "/v1/forward-authx",
        "/v1/forward-aut",
        "/v1/sessions",
        "/metrics",
        "/openapi.json",
        "/v1/auth/session",
    ] {
        world.ask(path).cookie(&made.token).send().await.refused(404, "not_found");
    }
    world.ask("/livez").send().await.expect(200);
}

#[tokio::test]
async fn refusals_say_to_strangers_what_the_code_says() {
    let world = World::new().await;
    let made = world.login("ada").await;
    let dead = world.login("bob").await;
    world.delete(&format!("/v1/sessions/{}", dead.id)).await;
    let both = format!("{COOKIE}={}; {COOKIE}={}", made.token, dead.token);
    for (cookie, code) in [
        ("", "token_missing"),
        (with("").as_str(), "token_missing"),
        (with("x").as_str(), "session_not_found"),
        (with(&world.key).as_str(), "session_not_found"),
        (with(&dead.token).as_str(), "session_revoked"),
        (both.as_str(), "session_not_found"),
        (format!("__host-handstamp={}", made.token).as_str(), "token_missing"),
    ] {
        let problem = world.ask(PATH).header("cookie", cookie).send().await.denied(401, code);
        assert!(problem.get("evidence").is_none(), "{problem}");
    }
    let long = "x".repeat(8_000);
    for odd in [long.as_bytes(), b"__Host-handstamp=\xff\xfe", b";;=;", b"=", b"\t"] {
        let cookie = HeaderValue::from_bytes(odd).unwrap();
        assert_eq!(world.ask(PATH).header_bytes("cookie", cookie).send().await.status, 401, "{odd:?}");
    }
    assert_eq!(world.verdict(&made.token).await, "valid", "two cookies change nothing");
}

#[tokio::test]
async fn a_token_may_stand_in_a_header_and_several_must_agree() {
    let world = World::new().await;
    let (one, two) = (world.login("ada").await, world.login("bob").await);
    let bearer = |token: &str| format!("Bearer {token}");
    let good = [
        world.ask(PATH).header("authorization", &bearer(&one.token)),
        world.ask(PATH).header("session", &one.token),
        world.ask(PATH).header("session", &one.token).cookie(&one.token),
        world.ask(PATH).header("authorization", &bearer("the-apps-own")).cookie(&one.token),
        world.ask(PATH).header("authorization", "Basic YTpi").cookie(&one.token),
    ];
    for call in good {
        assert_eq!(call.send().await.passes()[1], "ada");
    }
    for call in [
        world.ask(PATH).header("authorization", &bearer(&two.token)).cookie(&one.token),
        world.ask(PATH).header("session", &two.token).cookie(&one.token),
        world.ask(PATH).header("session", &two.token).header("authorization", &bearer(&one.token)),
        world.ask(PATH).header("authorization", &bearer("the-apps-own")),
    ] {
        call.send().await.denied(401, "session_not_found");
    }
    world.ask(PATH).header("authorization", "Basic YTpi").send().await.denied(401, "token_missing");
}

#[tokio::test]
async fn an_accident_lets_nobody_pass() {
    let store: std::sync::Arc<dyn handstamp_server::store::Store> =
        std::sync::Arc::new(handstamp_server::store::memory::Memory::new());
    let made = World::with(Options { store: store.clone(), ..Options::default() }).await.login("ada").await;
    // Another node, which has not seen the session yet: it can only ask the store.
    let world = World::with(Options { store, ..Options::default() }).await;
    world.app.close().await;
    for path in [PATH.to_owned(), format!("{PATH};rotate=auto")] {
        world.ask(&path).cookie(&made.token).send().await.denied(503, "store_unavailable");
    }
}
