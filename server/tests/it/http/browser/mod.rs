//! The browser's door over real sockets: a client with a cookie, or with a publishable key and a token.

mod apps;
mod cookies;
mod csrf;
mod hostile;
mod logout;
mod own;
mod session;

use crate::world::{Answer, Call, Options, World};
use handstamp_core::origin::WebOrigin;
use handstamp_core::policy::Policy;
use handstamp_core::policy::setting::Every;
use handstamp_core::time::Span;
use handstamp_server::app::origins::FileOrigins;
use handstamp_server::http::browser::Browsers;
use http::Method;
use serde_json::{Value, json};

/// The page that may call from elsewhere.
const PAGE: &str = "https://app.example.org";
const SESSION: &str = "__Host-handstamp";
const CSRF: &str = "XSRF-TOKEN";

/// Every call that changes something, with a session that is not there in its address.
const CHANGES: [(Method, &str); 5] = [
    (Method::POST, "/v1/auth/session/refresh"),
    (Method::POST, "/v1/auth/session/ping"),
    (Method::POST, "/v1/auth/logout"),
    (Method::POST, "/v1/auth/sessions/revoke-others"),
    (Method::DELETE, "/v1/auth/sessions/ses_08YRRPw2K0TIAusaCGTrcj"),
];
/// Every call that changes nothing.
const LOOKS: [&str; 3] = ["/v1/auth/session", "/v1/auth/session/ping", "/v1/auth/sessions"];

fn origins() -> FileOrigins {
    FileOrigins { cors: vec![WebOrigin::parse(PAGE).unwrap()], ..FileOrigins::default() }
}

/// With a page elsewhere, and a policy.
async fn world_of(policy: Option<Policy>, browsers: Browsers) -> World {
    Box::pin(World::with(Options { policy, browsers, origins: origins(), ..Options::default() })).await
}

async fn world() -> World {
    world_of(None, Browsers::default()).await
}

/// Tokens rotate with each request after ten seconds.
async fn rotating() -> World {
    let policy = Policy::default().with(|rules| {
        rules.rotate_every = Some(Every(Some(Span::secs(10))));
        rules.rotation_grace = Some(Span::secs(30));
    });
    world_of(Some(policy), Browsers::default()).await
}

/// A browser: what it keeps, and what it would send.
struct Browser<'a> {
    world: &'a World,
    session: Option<String>,
    csrf: Option<String>,
}

impl<'a> Browser<'a> {
    /// One in which a user is logged in.
    async fn of(world: &'a World, user: &str) -> Browser<'a> {
        Browser::with(world, json!({ "user_id": user })).await
    }

    /// One that keeps what a login set.
    async fn with(world: &'a World, body: Value) -> Browser<'a> {
        let made = world.post("/v1/sessions", body).await.expect(201);
        let mut browser = Browser { world, session: None, csrf: None };
        made["set_cookie"]
            .as_array()
            .unwrap()
            .iter()
            .for_each(|cookie| browser.keep(cookie.as_str().unwrap()));
        assert_eq!(browser.session.as_deref(), made["token"].as_str());
        browser
    }

    /// A tab beside it, with the same jar.
    fn tab(&self) -> Browser<'a> {
        Browser { world: self.world, session: self.session.clone(), csrf: self.csrf.clone() }
    }

    fn cookies(&self) -> String {
        let pair = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("{name}={value}"));
        [pair(SESSION, &self.session), pair(CSRF, &self.csrf)]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("; ")
    }

    /// A call from a page of this origin, as a browser would make it, with nothing of a script's.
    fn call(&self, method: Method, path: &str) -> Call<'a> {
        let call = self.world.call(method, path).no_key().header("sec-fetch-site", "same-origin");
        let cookies = self.cookies();
        if cookies.is_empty() { call } else { call.header("cookie", &cookies) }
    }

    /// The same by a script that sends the CSRF header, as axios does.
    fn change(&self, method: Method, path: &str) -> Call<'a> {
        let call = self.call(method, path);
        match &self.csrf {
            Some(token) => call.header("x-xsrf-token", token),
            None => call,
        }
    }

    async fn get(&mut self, path: &str) -> Answer {
        let answer = self.call(Method::GET, path).send().await;
        self.receive(&answer);
        answer
    }

    async fn post(&mut self, path: &str) -> Answer {
        let answer = self.change(Method::POST, path).send().await;
        self.receive(&answer);
        answer
    }

    /// Keeps the cookies of an answer.
    fn receive(&mut self, answer: &Answer) {
        for cookie in set_cookies(answer) {
            self.keep(&cookie);
        }
    }

    fn keep(&mut self, cookie: &str) {
        let (pair, attributes) = cookie.split_once(';').unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        let kept = (!attributes.contains("Max-Age=0")).then(|| value.to_owned());
        match name {
            SESSION => self.session = kept,
            CSRF => self.csrf = kept,
            _ => panic!("{cookie}"),
        }
    }
}

/// What an answer sets.
fn set_cookies(answer: &Answer) -> Vec<String> {
    answer.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

/// The names of the cookies that an answer sets.
fn names(answer: &Answer) -> Vec<String> {
    set_cookies(answer).iter().map(|cookie| cookie.split_once('=').unwrap().0.to_owned()).collect()
}

/// What is stored of a session and its history: what a refused request must not change.
async fn stored(world: &World, id: &str) -> (Value, Value) {
    let session = world.get(&format!("/v1/sessions/{id}")).await.expect(200);
    (session, world.get(&format!("/v1/sessions/{id}/events")).await.expect(200))
}
