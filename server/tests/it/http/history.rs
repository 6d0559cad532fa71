//! `GET /v1/events`: the history of an environment in pages, each of which fits its filter; and as a stream that misses
//! nothing, costs no memory when nobody reads it, and ends with the server.

use crate::front::{Front, Fronted};
use crate::world::{Options, PATIENCE, World};
use async_trait::async_trait;
use bytes::Bytes;
use handstamp_core::event::Event;
use handstamp_core::id::EnvironmentId;
use handstamp_core::session::By;
use handstamp_core::time::Span;
use handstamp_server::codec::new_event;
use handstamp_server::store::faulty::{Call, Fault};
use handstamp_server::store::memory::Memory;
use handstamp_server::store::{Batch, Store};
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

const PATH: &str = "/v1/events";

/// Lines of history that no session is behind, in one commit.
async fn policies(world: &World, key: &str, count: u64) {
    let Ok(caller) = world.app.caller(Some(key), None) else { panic!("the key is not known") };
    let env = EnvironmentId(caller.env.record.id.0);
    let at = world.app.now();
    let line = |n| new_event(env, &Event::policy_changed(at, By::System, n, Some("of the test")));
    let events = (1..=count).map(line).collect();
    world.store.commit(Batch { bucket: 0, at, ops: Vec::new(), events, tallies: Vec::new() }).await.unwrap();
}

/// Some life of some users.
async fn busy(world: &World) {
    for n in 0..30 {
        let user = ["ada", "grace", "ada", "alan"][n % 4];
        let made = world.create(json!({ "user_id": user, "ip": "203.0.113.7" })).await;
        let path = format!("/v1/sessions/{}", made.id);
        world.advance(Span::millis(7));
        match n % 3 {
            0 => drop(world.patch(&path, json!({ "tags": { "add": ["a:b"] } })).await.expect(200)),
            1 => drop(world.delete(&path).await.expect(200)),
            _ => {}
        }
        if n % 5 == 1 {
            world.verdict(&made.token).await;
        }
        if n % 10 == 0 {
            policies(world, &world.key, 1).await;
        }
    }
    assert!(world.app.tidy().await.is_ok());
}

async fn all(world: &World, key: &str, query: &str, limit: usize) -> Vec<Value> {
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for _ in 0..1_000 {
        let path = format!("{PATH}?limit={limit}{query}{cursor}");
        let page = world.call(Method::GET, &path).key(key).send().await.expect(200);
        let items = page["items"].as_array().unwrap().clone();
        assert!(items.len() <= limit);
        seen.extend(items);
        let Some(next) = page["next_cursor"].as_str() else { return seen };
        cursor = format!("&cursor={next}");
    }
    panic!("the pages do not end");
}

fn id(line: &Value) -> u64 {
    line["id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn pages_are_the_lines_that_fit_in_the_order_of_commits() {
    let world = World::roomy().await;
    let other = world.make_environment("shop", "prd").await;
    world
        .call(Method::POST, "/v1/sessions")
        .key(&other.token)
        .json(&json!({ "user_id": "ada" }))
        .send()
        .await
        .expect(201);
    busy(&world).await;
    let whole = all(&world, &world.key, "", 200).await;
    assert!(whole.windows(2).all(|pair| id(&pair[0]) < id(&pair[1])));
    let kinds = |kind: &str| whole.iter().filter(|line| line["type"] == kind).count();
    assert_eq!(
        ["session.created", "session.updated", "session.ended", "policy.changed", "session.refused"]
            .map(kinds),
        [30, 10, 10, 3, 2]
    );
    let policy = whole.iter().find(|line| line["type"] == "policy.changed").unwrap();
    assert_eq!((&policy["session_id"], &policy["user_id"]), (&Value::Null, &Value::Null));
    assert_eq!(policy["note"], "version 1: of the test");
    // Every filter, in pages of every size, gives what a look at each line gives.
    let mut fitting = 0;
    for user in [None, Some("ada"), Some("alan"), Some("nobody")] {
        for kind in [None, Some("session.created"), Some("session.ended"), Some("policy.changed")] {
            for code in [None, Some("session_revoked")] {
                let filters = [("user_id", user), ("type", kind), ("code", code)];
                let given = || filters.iter().filter_map(|(name, value)| Some((name, (*value)?)));
                let query: String = given().map(|(name, value)| format!("&{name}={value}")).collect();
                let fits = |line: &&Value| given().all(|(name, value)| line[name] == value);
                let wanted: Vec<Value> = whole.iter().filter(fits).cloned().collect();
                fitting += wanted.len();
                for limit in [1, 3, 7, 200] {
                    assert_eq!(all(&world, &world.key, &query, limit).await, wanted, "{query} by {limit}");
                }
                let middle = id(&whole[whole.len() / 2]);
                let later: Vec<Value> = wanted.into_iter().filter(|line| id(line) > middle).collect();
                assert_eq!(all(&world, &world.key, &format!("{query}&after={middle}"), 200).await, later);
            }
        }
    }
    assert!(fitting > 100);
    // Nothing crosses environments.
    let theirs = all(&world, &other.token, "", 200).await;
    assert_eq!(theirs.iter().map(|line| &line["type"]).collect::<Vec<_>>(), ["session.created"]);
    assert!(whole.iter().all(|line| line["session_id"] != theirs[0]["session_id"]));
    assert!(!world.get(PATH).await.text().contains("hst_"));
}

/// More sessions than a user's history is put together from: then all of it is looked through, and says the same.
#[tokio::test]
async fn a_user_with_very_many_sessions() {
    let world = World::roomy().await;
    for n in 0..1_005 {
        world.login("ada").await;
        if n % 100 == 0 {
            world.login("grace").await;
        }
    }
    let seen = all(&world, &world.key, "&user_id=ada", 200).await;
    assert_eq!(seen.len(), 1_005);
    assert!(seen.iter().all(|line| line["user_id"] == "ada"));
    assert_eq!(all(&world, &world.key, "&user_id=grace", 4).await.len(), 11);
}

#[tokio::test]
async fn what_is_asked_wrongly_is_said() {
    let world = World::new().await;
    for (query, pointer) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=-1", "cursor"),
        ("after=", "after"),
        ("after=99999999999999999999", "after"),
        ("after=1&cursor=1", "after"),
        ("type=session", "type"),
        ("code=nonsense", "code"),
        ("user_id=", "user_id"),
        ("session_id=x", "session_id"),
    ] {
        world.get(&format!("{PATH}?{query}")).await.invalid(pointer);
    }
    let streamed = |path: &str| world.call(Method::GET, path).header("accept", "text/event-stream");
    streamed(&format!("{PATH}?limit=5")).send().await.invalid("limit");
    streamed(PATH).header("last-event-id", "x").send().await.invalid("Last-Event-ID");
    let poor = world.make_key(json!({ "name": "poor", "scopes": ["sessions:read"] })).await;
    world.call(Method::GET, PATH).key(&poor.token).send().await.refused(403, "insufficient_scope");
    streamed(PATH).key(&poor.token).send().await.refused(403, "insufficient_scope");
}

/// Somebody who follows.
struct Following {
    body: Incoming,
    text: String,
    waiting: VecDeque<Value>,
    last: Option<String>,
}

impl Following {
    async fn of(world: &World, key: &str, query: &str, last: Option<&str>) -> Following {
        Following::over(TcpStream::connect(world.address).await.unwrap(), key, query, last).await
    }

    async fn over(tcp: TcpStream, key: &str, query: &str, last: Option<&str>) -> Following {
        let host = tcp.peer_addr().unwrap().to_string();
        let (mut sender, connection) = handshake(TokioIo::new(tcp)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::get(format!("{PATH}{query}"))
            .header("host", host)
            .header("authorization", format!("Bearer {key}"))
            .header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let body = response.into_body();
        Following { body, text: String::new(), waiting: VecDeque::new(), last: last.map(str::to_owned) }
    }

    /// The next line; `None` at an orderly end, an error when the stream broke.
    async fn next(&mut self) -> Result<Option<Value>, hyper::Error> {
        loop {
            if let Some(line) = self.waiting.pop_front() {
                return Ok(Some(line));
            }
            let Some(frame) = timeout(PATIENCE, self.body.frame()).await.expect("nothing comes") else {
                return Ok(None);
            };
            self.text.push_str(std::str::from_utf8(&frame?.into_data().unwrap()).unwrap());
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
                if let Some(id) = field("id: ") {
                    self.last = Some(id.to_owned());
                }
                if let Some(data) = field("data: ") {
                    let line: Value = serde_json::from_str(data).unwrap();
                    assert_eq!(Some(line["id"].as_str().unwrap()), field("id: "));
                    self.waiting.push_back(line);
                }
                self.text = rest.to_owned();
            }
        }
    }

    async fn some(&mut self, count: usize) -> Vec<Value> {
        let mut lines = Vec::new();
        while lines.len() < count {
            lines.push(self.next().await.unwrap().expect("the stream ended"));
        }
        lines
    }
}

#[tokio::test]
async fn a_stream_begins_now_and_tells_what_happens() {
    let world = World::new().await;
    world.login("before").await;
    let mut all = Following::of(&world, &world.key, "", None).await;
    let mut ended = Following::of(&world, &world.key, "?type=session.ended&user_id=ada", None).await;
    world.login("grace").await;
    let made = world.login("ada").await;
    world.delete(&format!("/v1/sessions/{}", made.id)).await.expect(200);
    let lines = all.some(3).await;
    let told: Vec<_> = lines.iter().map(|line| (&line["type"], &line["user_id"])).collect();
    assert_eq!(
        json!(told),
        json!([["session.created", "grace"], ["session.created", "ada"], ["session.ended", "ada"]])
    );
    assert_eq!(ended.some(1).await, [lines[2].clone()]);
    // The line is the one of the page.
    let page =
        world.get(&format!("{PATH}?after={}", all.last.as_ref().unwrap().parse::<u64>().unwrap() - 1)).await;
    assert_eq!(page.expect(200)["items"], json!([lines[2]]));
}

/// Broken off again and again while eight write, and taken up each time with the last id that was seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_resumes_misses_nothing() {
    const EACH: usize = 40;
    let world = Arc::new(World::new().await);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let world = world.clone();
        writers.spawn(async move {
            for n in 0..EACH {
                world.login(&format!("u{writer}-{n}")).await;
            }
        });
    }
    let (mut seen, mut last) = (Vec::new(), "0".to_owned());
    while seen.len() < 8 * EACH {
        let mut following = Following::of(&world, &world.key, "", Some(&last)).await;
        let some = 17.min(8 * EACH - seen.len());
        let lines = following.some(some).await;
        // What had come already and was not looked at is lost with the connection.
        last = id(lines.last().unwrap()).to_string();
        seen.extend(lines);
    }
    writers.join_all().await;
    assert_eq!(seen, all(&world, &world.key, "", 200).await);
}

#[tokio::test]
async fn an_outage_breaks_the_stream_and_nothing_is_lost() {
    let world = World::new().await;
    let mut following = Following::of(&world, &world.key, "?after=0", None).await;
    world.login("ada").await;
    let first = following.some(1).await;
    world.store.plan(Call::History, [Fault::Before]);
    assert!(following.next().await.is_err(), "it must not look like an end");
    world.login("grace").await;
    let last = following.last.clone();
    let mut again = Following::of(&world, &world.key, "", last.as_deref()).await;
    let second = again.some(1).await;
    assert_eq!(json!([first[0]["user_id"], second[0]["user_id"]]), json!(["ada", "grace"]));
}

#[tokio::test]
async fn streams_end_with_the_server_and_with_the_key() {
    let world = World::new().await;
    let key = world.make_key(json!({ "name": "reader", "scopes": ["events:read"] })).await;
    let mut by_key = Following::of(&world, &key.token, "?after=0", None).await;
    let mut stays = Following::of(&world, &world.key, "?after=0", None).await;
    world.login("ada").await;
    by_key.some(1).await;
    let suspend = world.call(Method::PATCH, &format!("/v1/keys/{}", key.id)).key(&world.operator);
    suspend.json(&json!({ "state": "suspended" })).send().await.expect(200);
    assert_eq!(by_key.next().await.unwrap(), None);
    stays.some(1).await;
    world.stopper.ask();
    assert_eq!(stays.next().await.unwrap(), None);
}

/// Counts how often history is read.
#[derive(Default)]
struct Counting {
    inner: Memory,
    reads: AtomicU32,
}

#[async_trait]
impl Front for Counting {
    fn inner(&self) -> &dyn Store {
        &self.inner
    }
    fn before(&self, call: Call) {
        if call == Call::History {
            self.reads.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Nobody reads: then nothing is read from the store either, beyond what fits between the two.
#[tokio::test]
async fn a_slow_reader_costs_no_memory() {
    const LINES: usize = 40_000;
    let store = Arc::new(Fronted::<Counting>::default());
    let world = World::with(Options { store: store.clone(), ..Options::default() }).await;
    for _ in 0..40 {
        policies(&world, &world.key, LINES as u64 / 40).await;
    }
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8_192).unwrap();
    let tcp = socket.connect(world.address).await.unwrap();
    let mut slow = Following::over(tcp, &world.key, "?after=0", None).await;
    // Time for somebody who would read on and on.
    for _ in 0..300 {
        world.get("/livez").await.expect(200);
    }
    let reads = store.0.reads.load(Ordering::SeqCst);
    assert!(usize::try_from(reads).unwrap() < LINES / 200 / 2, "{reads} pages were read for nobody");
    let lines = slow.some(LINES).await;
    assert!(lines.windows(2).all(|pair| id(&pair[0]) + 1 == id(&pair[1])));
}
