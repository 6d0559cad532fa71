//! Somebody who verifies access tokens: what they were told, and what they know.

use crate::world::{PATIENCE, World};
use bytes::Bytes;
use handstamp_core::id::SessionId;
use handstamp_core::time::{Millis, Span};
use handstamp_core::transition::mint::minted;
use handstamp_server::codec::{read_session, session_key, session_record};
use handstamp_server::store::{Batch, Expect, Op, Store};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::VecDeque;
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(crate) const PATH: &str = "/v1/revocations";

/// An access token of the session is made that lives so long, as far as the session notes that.
pub(crate) async fn mint(world: &World, id: &str, life: Span) {
    let id = SessionId::parse(id).unwrap();
    let Ok(caller) = world.app.caller(Some(&world.key), None) else { panic!("the key is not known") };
    let (env, now) = (caller.env.record.id, world.app.now());
    let found = world.store.load(&[session_key(env, id)]).await.unwrap()[0].clone().unwrap();
    let (session, seen) = read_session(&found).unwrap();
    let session = minted(&session, now.plus(life), None, now).unwrap();
    let record = session_record(env, &session, Millis(i64::MAX), seen, Span::days(30));
    let ops = vec![Op::Put { expect: Expect::Version(found.version), record }];
    let (events, tallies) = (Vec::new(), Vec::new());
    world.store.commit(Batch { bucket: id.bucket().get(), at: now, ops, events, tallies }).await.unwrap();
}

/// A session of a user with an access token of five minutes.
pub(crate) async fn verified(world: &World, user: &str) -> String {
    let made = world.create(json!({ "user_id": user, "tags": ["org:acme"] })).await;
    mint(world, &made.id, Span::minutes(5)).await;
    made.id
}

pub(crate) async fn end(world: &World, id: &str) {
    assert_eq!(world.delete(&format!("/v1/sessions/{id}")).await.expect(200)["ended"], 1);
}

/// A connection on which somebody listens.
pub(crate) struct Hearing {
    body: Incoming,
    text: String,
    waiting: VecDeque<Value>,
    /// The last id that came.
    pub(crate) last: Option<String>,
}

impl Hearing {
    pub(crate) async fn of(world: &World, last: Option<&str>) -> Hearing {
        Hearing::over(TcpStream::connect(world.address).await.unwrap(), &world.key, last).await
    }

    pub(crate) async fn over(tcp: TcpStream, key: &str, last: Option<&str>) -> Hearing {
        let host = tcp.peer_addr().unwrap().to_string();
        let (mut sender, connection) = handshake(TokioIo::new(tcp)).await.unwrap();
        tokio::spawn(connection);
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {key}").parse().unwrap());
        if let Some(last) = last {
            headers.insert("last-event-id", last.parse().unwrap());
        }
        let mut request = Request::get(PATH).header("host", host).header("accept", "text/event-stream");
        request.headers_mut().unwrap().extend(headers);
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let (body, last) = (response.into_body(), last.map(str::to_owned));
        Hearing { body, text: String::new(), waiting: VecDeque::new(), last }
    }

    /// What comes next; `None` at an orderly end, an error when the stream broke. `last` is the id of what is looked at.
    pub(crate) async fn next(&mut self) -> Result<Option<Value>, hyper::Error> {
        loop {
            if let Some(told) = self.waiting.pop_front() {
                if let Some(id) = told["id"].as_str() {
                    self.last = Some(id.to_owned());
                }
                return Ok(Some(told["data"].clone()));
            }
            let Some(frame) = timeout(PATIENCE, self.body.frame()).await.expect("nothing comes") else {
                return Ok(None);
            };
            self.text.push_str(std::str::from_utf8(&frame?.into_data().unwrap()).unwrap());
            let mut rest = self.text.as_str();
            while let Some((block, after)) = rest.split_once("\n\n") {
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
                if let Some(data) = field("data: ") {
                    let data: Value = serde_json::from_str(data).unwrap();
                    self.waiting.push_back(json!({ "data": data, "id": field("id: ") }));
                }
                rest = after;
            }
            self.text = rest.to_owned();
        }
    }

    /// Everything up to the first beat, which is told last.
    pub(crate) async fn until_beat(&mut self) -> Vec<Value> {
        let mut told = Vec::new();
        loop {
            let one = self.next().await.unwrap().expect("the stream ended");
            let beat = one.get("as_of").is_some();
            told.push(one);
            if beat {
                return told;
            }
        }
    }

    /// The next so many that are no beats.
    pub(crate) async fn some(&mut self, count: usize) -> Vec<Value> {
        let mut told = Vec::new();
        while told.len() < count {
            let one = self.next().await.unwrap().expect("the stream ended");
            told.extend(Some(one).filter(|one| one.get("as_of").is_none()));
        }
        told
    }
}
