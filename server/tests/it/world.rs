//! A whole server in this process: the real door on a real socket, over the real service, with a clock that the test
//! moves, randomness that repeats itself, and a store in memory that can be told to have accidents.
//!
//! Every option has a default, so that what a test sets is what it is about.

mod answer;

pub(crate) use answer::Answer;
use bytes::Bytes;
use handstamp_core::jose::key::Algorithm;
use handstamp_core::policy::Policy;
use handstamp_core::time::{Millis, Span};
use handstamp_core::token::Kind;
use handstamp_core::token::access_key::Parts;
use handstamp_core::token::keyring::MasterKey;
use handstamp_server::app::App;
use handstamp_server::app::access_tokens::Makers;
use handstamp_server::app::callers::root_key;
use handstamp_server::app::open::Setup;
use handstamp_server::app::origins::FileOrigins;
use handstamp_server::host::clock::ManualClock;
use handstamp_server::host::entropy::SeededEntropy;
use handstamp_server::host::signals::{Stopper, stop};
use handstamp_server::http::browser::Browsers;
use handstamp_server::http::cookie::Style;
use handstamp_server::http::listener::{Limits, Preface, serve};
use handstamp_server::http::peer::Trust;
use handstamp_server::http::{Door, Web};
use handstamp_server::run::foreign::foreign;
use handstamp_server::schema::session_type::SessionTypes;
use handstamp_server::store::Store;
use handstamp_server::store::faulty::{self, Fault, Faulty};
use handstamp_server::store::memory::Memory;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// No answer takes longer on the slowest machine; reaching it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// When a world's clock begins: 2026-01-01T00:00:00.000Z.
pub(crate) const BEGINNING: Millis = Millis(1_767_225_600_000);

/// What a test may choose.
pub(crate) struct Options {
    /// The rules.
    pub(crate) policy: Option<Policy>,
    /// The types of sessions.
    pub(crate) types: Option<SessionTypes>,
    /// The origins that a file lists.
    pub(crate) origins: FileOrigins,
    /// What access tokens say of whoever makes them.
    pub(crate) tokens: Makers,
    /// What stands behind the accidents.
    pub(crate) store: Arc<dyn Store>,
    /// The time; share it to open a second server at the same instant.
    pub(crate) clock: Arc<ManualClock>,
    /// How many bytes of sessions are kept in memory.
    pub(crate) cache_bytes: u64,
    /// How long ended sessions stay readable.
    pub(crate) retention: Span,
    /// What randomness repeats.
    pub(crate) seed: u64,
    /// What the edge allows.
    pub(crate) limits: Limits,
    /// What the doors for browsers do.
    pub(crate) browsers: Browsers,
    /// Whose word about clients is believed.
    pub(crate) trust: Trust,
    /// The header in which scripts send the CSRF token.
    pub(crate) csrf_header: &'static str,
    /// The one secret.
    pub(crate) master: [u8; 32],
}

impl Default for Options {
    fn default() -> Options {
        Options {
            policy: None,
            types: None,
            origins: FileOrigins::default(),
            tokens: Makers { issuer: None, algorithm: Algorithm::EdDsa },
            store: Arc::new(Memory::new()),
            clock: Arc::new(ManualClock::new(BEGINNING)),
            cache_bytes: 1 << 20,
            retention: Span::days(30),
            seed: 1,
            limits: Limits::default(),
            browsers: Browsers::default(),
            trust: Trust::default(),
            csrf_header: "X-XSRF-TOKEN",
            master: [5; 32],
        }
    }
}

/// A running server, and a client that holds its first access key.
pub(crate) struct World {
    /// The service behind the door.
    pub(crate) app: Arc<App>,
    /// The time: stands until the test moves it.
    pub(crate) clock: Arc<ManualClock>,
    /// The store; plan accidents on it.
    pub(crate) store: Arc<Faulty>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Where proxies ask for verdicts.
    pub(crate) asked: SocketAddr,
    /// The first access key: every scope of `default/prd`.
    pub(crate) key: String,
    /// An operator's key.
    pub(crate) operator: String,
    /// Tells the server to leave.
    pub(crate) stopper: Stopper,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl World {
    /// With every default.
    pub(crate) async fn new() -> World {
        World::with(Options::default()).await
    }

    /// With room for any number of sessions of one user, for a test that is not about their number.
    pub(crate) async fn roomy() -> World {
        let policy = Policy::default().with(|rules| rules.max_sessions = Some(Policy::COUNT));
        World::with(Options { policy: Some(policy), ..Options::default() }).await
    }

    /// With some options. Opened twice on one store, it is a restart (or a second node).
    pub(crate) async fn with(options: Options) -> World {
        let store = Arc::new(Faulty::new(options.store));
        let first = || Parts::new(Kind::AccessKey, [7; 16], [9; 32]);
        let setup = Setup {
            store: store.clone(),
            clock: options.clock.clone(),
            entropy: Arc::new(SeededEntropy::new(options.seed)),
            master: MasterKey::new(options.master),
            policy: options.policy,
            types: options.types,
            origins: options.origins,
            tokens: options.tokens,
            cache_bytes: options.cache_bytes,
            retention: options.retention,
        };
        let (app, _) = App::open(setup, || Ok(first())).await.unwrap();
        let app = Arc::new(app);
        let style = Style { csrf_header: options.csrf_header.to_owned(), ..Style::default() };
        let web = Web::new(app.clone(), style, options.seed).beside(foreign(&app));
        let web = Arc::new(web.for_browsers(options.browsers).behind(options.trust));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxies = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), proxies.local_addr().unwrap());
        let (stopper, stop) = stop();
        tokio::spawn({
            let (app, mut stop) = (app.clone(), stop.clone());
            async move {
                stop.begun().await;
                app.leave();
            }
        });
        let door = Door::of_forward_auth(web.clone());
        tokio::spawn(serve(proxies, Preface::default(), door, options.limits.clone(), stop.clone()));
        tokio::spawn(serve(listener, Preface::default(), Door::new(web), options.limits, stop));
        World {
            app,
            clock: options.clock,
            store,
            address,
            asked,
            key: first().text().reveal().to_owned(),
            operator: root_key(&MasterKey::new(options.master)).text().reveal().to_owned(),
            stopper,
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Moves the clock on.
    pub(crate) fn advance(&self, by: Span) {
        self.clock.advance(by);
    }

    /// A request with the first access key, to be finished and sent.
    pub(crate) fn call(&self, method: Method, path: &str) -> Call<'_> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, format!("Bearer {}", self.key).parse().unwrap());
        Call { world: self, at: self.address, method, path: path.to_owned(), headers, body: Bytes::new() }
    }

    /// A proxy's question, without an access key, on the listener for them.
    pub(crate) fn ask(&self, path: &str) -> Call<'_> {
        Call { at: self.asked, ..self.call(Method::GET, path).no_key() }
    }

    /// `GET`
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path).send().await
    }
    /// `POST` of JSON.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path).json(&body).send().await
    }
    /// `PATCH` with JSON.
    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PATCH, path).json(&body).send().await
    }
    /// `DELETE`
    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path).send().await
    }

    /// Makes a session of `body` and gives its id and its token.
    pub(crate) async fn create(&self, body: Value) -> Made {
        let answer = self.post("/v1/sessions", body).await.expect(201);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Made { id: text(&answer["session"]["id"]), token: text(&answer["token"]) }
    }
    /// Makes an access key and gives its id and its text.
    pub(crate) async fn make_key(&self, body: Value) -> Made {
        let answer =
            self.call(Method::POST, "/v1/keys").key(&self.operator).json(&body).send().await.expect(201);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Made { id: text(&answer["key"]["id"]), token: text(&answer["secret"]) }
    }
    /// Makes an environment and gives a key of it that has every scope.
    pub(crate) async fn make_environment(&self, product: &str, environment: &str) -> Made {
        let body = json!({ "product": product, "environment": environment });
        self.call(Method::POST, "/v1/environments").key(&self.operator).json(&body).send().await.expect(201);
        let call = self.call(Method::POST, "/v1/keys").key(&self.operator);
        let named = call.header("x-handstamp-env", &format!("{product}/{environment}"));
        let answer = named.json(&json!({ "name": "k" })).send().await.expect(201);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Made { id: text(&answer["key"]["id"]), token: text(&answer["secret"]) }
    }
    /// Makes a session of a user and gives its id and its token.
    pub(crate) async fn login(&self, user: &str) -> Made {
        self.create(json!({ "user_id": user })).await
    }
    /// The verdict on a token, as a default validation gives it.
    pub(crate) async fn validate(&self, token: &str) -> Value {
        self.post("/v1/sessions/validate", json!({ "token": token })).await.expect(200)
    }
    /// The code of the refusal of a token, or `"valid"`.
    pub(crate) async fn verdict(&self, token: &str) -> String {
        let answer = self.validate(token).await;
        if answer["valid"] == true { "valid".to_owned() } else { answer["code"].as_str().unwrap().to_owned() }
    }

    /// A connection that rests, or a new one.
    async fn connection(&self, at: SocketAddr) -> SendRequest<Full<Bytes>> {
        while let Some(mut rested) = {
            let mut idle = self.idle.lock().unwrap();
            if at == self.address { idle.pop() } else { None }
        } {
            if rested.ready().await.is_ok() {
                return rested;
            }
        }
        let tcp = TcpStream::connect(at).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let (sender, connection) = handshake(TokioIo::new(tcp)).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}

/// A session or a key that was made: its id, and its secret text.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) id: String,
    pub(crate) token: String,
}

/// A request in the making.
pub(crate) struct Call<'a> {
    world: &'a World,
    at: SocketAddr,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Call<'_> {
    /// Another method.
    pub(crate) fn method(self, method: Method) -> Self {
        Call { method, ..self }
    }
    /// Sets a header; what was there under that name is gone.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        self
    }
    /// Sets a header to a value that need not be text.
    pub(crate) fn header_bytes(mut self, name: &'static str, value: http::HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
    /// Adds a header beside those of the same name.
    pub(crate) fn add_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        self
    }
    /// The same with a value that need not be text.
    pub(crate) fn add_header_bytes(mut self, name: &'static str, value: http::HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }
    /// Another access key.
    pub(crate) fn key(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }
    /// Without an access key.
    pub(crate) fn no_key(mut self) -> Self {
        self.headers.remove(header::AUTHORIZATION);
        self
    }
    /// A JSON body.
    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }
    /// Any body; says nothing about its type.
    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it, and reads the whole answer.
    pub(crate) async fn send(self) -> Answer {
        let what = format!("{} {}", self.method, self.path);
        tokio::time::timeout(PATIENCE, self.exchange())
            .await
            .unwrap_or_else(|_| panic!("no answer to {what}"))
    }

    async fn exchange(self) -> Answer {
        let mut connection = self.world.connection(self.at).await;
        let what = format!("{} {}", self.method, self.path);
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = self.path.parse().unwrap();
        *request.headers_mut() = self.headers;
        request.headers_mut().entry(header::HOST).or_insert_with(|| self.at.to_string().parse().unwrap());
        let response = connection.send_request(request).await.unwrap_or_else(|why| panic!("{what}: {why}"));
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap_or_else(|why| panic!("{what}: {why}")).to_bytes();
        if self.at == self.world.address {
            self.world.idle.lock().unwrap().push(connection);
        }
        let answer = Answer { what, status: head.status, headers: head.headers, body };
        answer.is_documented();
        answer
    }
}

#[tokio::test]
async fn a_world_makes_checks_and_ends_a_session() {
    let world = World::new().await;
    let made = world.login("ada").await;
    assert_eq!(world.verdict(&made.token).await, "valid");
    world.advance(Span::hours(24));
    assert_eq!(world.verdict(&made.token).await, "session_idle");
    let made = world.login("ada").await;
    assert_eq!(world.delete(&format!("/v1/sessions/{}", made.id)).await.expect(200), json!({ "ended": 1 }));
    assert_eq!(world.verdict(&made.token).await, "session_revoked");
    world.call(Method::GET, "/v1/environments").key(&world.operator).send().await.expect(200);
}

#[tokio::test]
async fn a_world_has_the_accidents_it_is_told() {
    let world = World::new().await;
    let made = world.login("ada").await;
    world.store.plan(faulty::Call::Load, [Fault::Before]);
    world.get(&format!("/v1/sessions/{}", made.id)).await.refused(503, "store_unavailable");
    assert_eq!(world.store.left(), 0);
    assert_eq!(world.verdict(&made.token).await, "valid");
    world.app.close().await;
    world.get(&format!("/v1/sessions/{}", made.id)).await.refused(503, "store_unavailable");
}

#[tokio::test]
async fn a_world_opened_again_on_its_store_is_a_restart() {
    let (store, clock) = (Arc::new(Memory::new()), Arc::new(ManualClock::new(BEGINNING)));
    let options = || Options { store: store.clone(), clock: clock.clone(), ..Options::default() };
    let made = World::with(options()).await.login("ada").await;
    assert_eq!(World::with(Options { seed: 2, ..options() }).await.verdict(&made.token).await, "valid");
}
