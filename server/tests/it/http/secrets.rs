//! Secrets stay where they belong: marked ones are planted, the whole API is used in good ways and bad, and everything
//! that was written is searched for them.

use super::{keyed, sample};
use crate::world::{Answer, World};
use handstamp_core::time::Span;
use handstamp_server::http::routes::table;
use handstamp_server::store::faulty::{self, Fault};
use http::Method;
use serde_json::{Value, json};
use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex};
use tracing::Dispatch;
use tracing_subscriber::fmt::MakeWriter;

/// Everything that is logged on this thread, at every level.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// From now on, until what is returned is dropped.
    pub(super) fn listen(&self) -> tracing::subscriber::DefaultGuard {
        // As long as there is only one listener in the process, whoever reaches a line of logging first decides for
        // everybody whether it is heard, and that may be a test on another thread that hears nothing.
        static OTHERS: LazyLock<[Dispatch; 2]> =
            LazyLock::new(|| [(); 2].map(|()| Dispatch::new(tracing_subscriber::registry())));
        LazyLock::force(&OTHERS);
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(self.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Log;
    fn make_writer(&self) -> Log {
        self.clone()
    }
}

const DATA: &str = "PLANTED-DATA-7f3a";
const NAME: &str = "PLANTED-IDEMPOTENCY-91bc";

/// What was planted, and everything that was answered.
struct Canary {
    world: World,
    tokens: Vec<String>,
    keys: Vec<String>,
    answers: Vec<Answer>,
}

impl Canary {
    async fn send(&mut self, method: Method, path: &str, body: Option<Value>) -> Value {
        let call = self.world.call(method, path).key(&self.world.operator);
        let answer = match &body {
            Some(body) => call.json(body).send().await,
            None => call.send().await,
        };
        let json = serde_json::from_slice(&answer.body).unwrap_or_default();
        self.answers.push(answer);
        json
    }

    /// The whole life of sessions and keys.
    async fn good_ways(&mut self) {
        let body = json!({ "user_id": "ada", "tags": ["role:admin"], "data": { "card": DATA } });
        let call = self.world.call(Method::POST, "/v1/sessions").header("idempotency-key", NAME).json(&body);
        let answer = call.send().await;
        let token = answer.expect(201)["token"].as_str().unwrap().to_owned();
        let id = answer.json()["session"]["id"].as_str().unwrap().to_owned();
        self.tokens.push(token.clone());
        self.answers.push(answer);
        self.world.advance(Span::minutes(15));
        let rotate = Some(json!({ "token": token, "rotate": "auto" }));
        let next = self.send(Method::POST, "/v1/sessions/validate", rotate).await["rotated_token"].clone();
        self.tokens.push(next.as_str().unwrap().to_owned());
        let path = format!("/v1/sessions/{id}");
        self.send(Method::PATCH, &path, Some(json!({ "data_patch": { "more": DATA } }))).await;
        for path in
            [&path, &format!("{path}/events"), "/v1/sessions?state=all", "/v1/keys", "/metrics", "/docs"]
        {
            self.send(Method::GET, path, None).await;
        }
        self.send(Method::POST, "/v1/sessions/validate", Some(json!({ "token": next }))).await;
        let made = self.send(Method::POST, "/v1/keys", Some(json!({ "name": "k" }))).await;
        self.keys.push(made["secret"].as_str().unwrap().to_owned());
        let rotate = format!("/v1/keys/{}/rotate", made["key"]["id"].as_str().unwrap());
        let rotated = self.send(Method::POST, &rotate, Some(json!({}))).await;
        self.keys.push(rotated["secret"].as_str().unwrap().to_owned());
        self.world.advance(Span::minutes(2));
        let stolen = Some(json!({ "token": token, "user_agent": "thief" }));
        assert_eq!(self.send(Method::POST, "/v1/sessions/validate", stolen).await["code"], "token_reused");
        self.send(Method::POST, "/v1/sessions/revoke", Some(json!({ "token": next }))).await;
        self.send(Method::GET, &format!("{path}/events"), None).await;
    }

    /// Secrets in every wrong place.
    async fn bad_ways(&mut self) {
        let secrets: Vec<String> =
            [&self.tokens[..], &self.keys[..], &[DATA.to_owned(), NAME.to_owned()]].concat();
        for secret in &secrets {
            for route in table() {
                let (path, body) = sample(&self.world, &route).await;
                let pattern = route.path.replace("{id}", secret).replace("{code}", secret);
                let in_path = pattern.replace("{product}", secret).replace("{environment}", secret);
                let method: Method = route.method.parse().unwrap();
                let mut calls = vec![
                    self.world.call(method.clone(), &in_path),
                    self.world.call(method.clone(), &format!("/{secret}")),
                    self.world.call(method.clone(), &format!("{path}?apikey={secret}")),
                    self.world.call(method.clone(), &format!("{path}?token={secret}&cursor={secret}")),
                    self.world.call(method.clone(), &path).key(secret),
                    self.world.call(method.clone(), &path).header("x-handstamp-env", secret),
                    self.world.call(method.clone(), &path).header("x-request-id", secret),
                    self.world.call(method.clone(), &path).header("content-type", secret).body("{}"),
                    self.world.call(method.clone(), &path).header("idempotency-key", &secret.repeat(9)),
                    self.world.call(method.clone(), &path).json(&json!(secret)),
                    self.world.call(method.clone(), &path).json(&json!([secret])),
                    self.world
                        .call(method.clone(), &path)
                        .header("content-type", "application/json")
                        .body(secret.clone()),
                ];
                for member in body.iter().flat_map(|body| body.as_object().unwrap().keys()) {
                    let mut wrong = body.clone().unwrap();
                    wrong[member] = json!({ "a": secret });
                    calls.push(self.world.call(method.clone(), &path).json(&wrong));
                    wrong[member] = json!([1, secret]);
                    calls.push(self.world.call(method.clone(), &path).json(&wrong));
                }
                for (member, value) in [
                    ("all", json!(secret)),
                    ("expires_in", json!(secret)),
                    ("rotate", json!(secret)),
                    ("touch", json!(secret)),
                    ("ip", json!(secret)),
                    ("state", json!(secret)),
                    ("before", json!(secret)),
                    ("dry_run", json!(secret)),
                    ("scopes", json!([secret])),
                    ("product", json!(secret)),
                    ("tags", json!([secret])),
                    ("data", json!({ "a": { "b": [secret], "x": secret.repeat(2_000) } })),
                ] {
                    let mut wrong = body.clone().unwrap_or_else(|| json!({}));
                    wrong[member] = value;
                    calls.push(self.world.call(method.clone(), &path).json(&wrong));
                }
                for call in calls {
                    let answer = call.send().await;
                    if !answer.status.is_success() {
                        self.answers.push(answer);
                    }
                }
            }
        }
    }

    /// Accidents while secrets are on their way.
    async fn accidents(&mut self) {
        for call in [faulty::Call::Load, faulty::Call::Commit, faulty::Call::Search] {
            for route in keyed() {
                let (path, body) = sample(&self.world, &route).await;
                self.world.store.plan(call, [Fault::Before]);
                self.send(route.method.parse().unwrap(), &path, body).await;
                self.world.store.forget_plans();
            }
        }
    }
}

/// Where credentials and data may be in an answer that is no refusal.
fn belongs(answer: &Answer, secret: &str) -> bool {
    let session = answer.what.contains("/v1/sessions") && answer.status.is_success();
    let credential = session && !answer.what.starts_with("GET") && secret.starts_with("hst_");
    let key = answer.what.starts_with("POST /v1/keys") && answer.status == 201 && secret.starts_with("hsk_");
    let data = session && !answer.what.contains("/events") && secret == DATA;
    credential || key || data
}

#[tokio::test]
async fn no_secret_is_written_where_it_does_not_belong() {
    let log = Log::default();
    let _listening = log.listen();
    let world = World::new().await;
    let keys = vec![world.key.clone(), world.operator.clone()];
    let mut canary = Canary { world, tokens: Vec::new(), keys, answers: Vec::new() };
    canary.good_ways().await;
    let told = canary.answers.iter().filter(|answer| answer.status.is_success()).count();
    canary.bad_ways().await;
    canary.accidents().await;
    for path in ["/metrics", "/docs", "/openapi.json", "/docs/errors/token_reused"] {
        canary.send(Method::GET, path, None).await;
    }
    assert!(told >= 12 && canary.answers.len() > 1_000, "{told}, {}", canary.answers.len());
    let written = log.text();
    assert!(
        written.contains("a request met an accident") && written.contains("answered"),
        "the log is heard"
    );
    let planted = [&canary.tokens[..], &canary.keys[..], &[DATA.to_owned(), NAME.to_owned()]].concat();
    assert!(planted.len() >= 8);
    for secret in &planted {
        // Without kind and checksum it is as good as whole.
        let heart = if secret.len() > 40 { &secret[12..secret.len() - 8] } else { secret };
        assert!(!written.contains(heart), "in the log: {}", around(&written, heart));
        for answer in canary.answers.iter().filter(|answer| !belongs(answer, secret)) {
            let text = String::from_utf8_lossy(&answer.body);
            assert!(!text.contains(heart), "in the answer to {}: {}", answer.what, around(&text, heart));
            assert!(!format!("{:?}", answer.headers).contains(heart), "in a header of {}", answer.what);
        }
    }
}

fn around<'a>(text: &'a str, heart: &str) -> &'a str {
    text.lines().find(|line| line.contains(heart)).unwrap_or_default()
}
