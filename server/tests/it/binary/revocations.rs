//! kill -9 of the server and of who listens to it, at any moment, while sessions end: whoever takes the stream up again knows
//! every end that was acknowledged and of which a token could live.
//!
//! A listener is killed by forgetting all but what it wrote down last: what it knew then, and the last id that it had seen.

use super::process::Client;
use super::{Place, Server, clock, eventually};
use crate::engine::full;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const REVOKERS: usize = 3;

/// What a listener knows and would write down.
#[derive(Clone, Default)]
pub(super) struct Known {
    pub(super) ended: BTreeSet<String>,
    pub(super) last: Option<String>,
    /// Up to when it was told everything.
    pub(super) as_of: String,
}

/// What all listeners and revokers share.
#[derive(Default)]
struct Shared {
    /// Sessions and tags whose end was acknowledged.
    acknowledged: Mutex<BTreeSet<String>>,
    calls: AtomicU64,
    stop: AtomicBool,
}

/// A stream of the server; blocks, until it breaks.
pub(super) struct Stream(BufReader<TcpStream>);

impl Stream {
    pub(super) fn open(server: &(String, String), last: Option<&str>) -> Option<Stream> {
        let (address, key) = server;
        let mut socket = TcpStream::connect(address).ok()?;
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let last = last.map_or_else(String::new, |last| format!("Last-Event-ID: {last}\r\n"));
        let head =
            format!("Host: {address}\r\nAuthorization: Bearer {key}\r\nAccept: text/event-stream\r\n{last}");
        socket.write_all(format!("GET /v1/revocations HTTP/1.1\r\n{head}\r\n").as_bytes()).ok()?;
        let mut stream = Stream(BufReader::new(socket));
        let status = stream.line()?;
        assert!(status.starts_with("HTTP/1.1 200"), "{status}");
        while !stream.line()?.is_empty() {}
        Some(stream)
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).ok()?;
        // Of a line that broke off nothing is believed.
        (read > 0 && line.ends_with('\n')).then(|| line.trim_end().to_owned())
    }

    /// Reads on to the next event, and lets it be known.
    pub(super) fn learn(&mut self, known: &mut Known) -> Option<()> {
        let mut id = None;
        loop {
            let line = self.line()?;
            if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.to_owned());
            }
            let Some(data) = line.strip_prefix("data: ") else { continue };
            let told: Json = serde_json::from_str(data).unwrap();
            if told["reset"] == true {
                *known = Known { last: known.last.take(), ..Known::default() };
            } else if let Some(at) = told["as_of"].as_str() {
                known.as_of = at.to_owned();
            } else {
                let name = told["session_id"].as_str().or(told["tag"].as_str()).unwrap();
                known.ended.insert(name.to_owned());
            }
            known.last = id.or(known.last.take());
            return Some(());
        }
    }
}

/// Listens until the server is gone, and is killed now and then itself.
fn listen(server: &(String, String), mut known: Known, dice: u64, shared: &Shared) -> Known {
    let mut dice = dice;
    let mut stream = Stream::open(server, known.last.as_deref());
    let mut written = known.clone();
    while let Some(open) = &mut stream {
        if open.learn(&mut known).is_none() {
            break;
        }
        dice = dice.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        match (dice >> 33) % 40 {
            0..8 => written = known.clone(),
            8 if !shared.stop.load(Ordering::Relaxed) => {
                known = written.clone();
                stream = Stream::open(server, known.last.as_deref());
            }
            _ => {}
        }
    }
    known
}

/// Makes sessions with access tokens and ends them, one by one or by a tag, until the server is gone.
fn revoke(client: &mut Client, number: usize, shared: &Shared) {
    let call = |client: &mut Client, method: &str, path: &str, body: Option<&Json>| {
        let (status, said) = client.call(method, path, body).ok()?;
        assert!((200..300).contains(&status), "{method} {path}: {said}");
        shared.calls.fetch_add(1, Ordering::Relaxed);
        Some(said)
    };
    let mut step = || -> Option<()> {
        let n = shared.calls.load(Ordering::Relaxed);
        let tag = format!("t:{number}-{n}");
        let body = json!({ "user_id": format!("u{}", n % 50), "tags": [tag], "access_token": {} });
        let made = call(client, "POST", "/v1/sessions", Some(&body))?;
        let id = made["session"]["id"].as_str().unwrap().to_owned();
        assert!(made["access_token"]["token"].is_string(), "{made}");
        let ended = if n.is_multiple_of(9) {
            call(client, "POST", "/v1/sessions/revoke", Some(&json!({ "tags": [tag] })))?;
            tag
        } else {
            assert_eq!(call(client, "DELETE", &format!("/v1/sessions/{id}"), None)?["ended"], 1);
            id
        };
        shared.acknowledged.lock().unwrap().insert(ended);
        Some(())
    };
    while step().is_some() {}
}

/// Listens until everything is told that was committed before now.
fn settled(server: &Server, mut known: Known) -> Known {
    let (status, said) = server.call("POST", "/v1/sessions", Some(json!({ "user_id": "clock" })));
    assert_eq!(status, 201, "{said}");
    let now = said["session"]["created_at"].as_str().unwrap().to_owned();
    let at = (server.address.clone(), server.key.clone());
    let mut stream = Stream::open(&at, known.last.as_deref()).expect("the server is there");
    known.as_of.clear();
    while known.as_of <= now {
        stream.learn(&mut known).expect("the stream broke");
    }
    known
}

#[test]
fn who_takes_it_up_again_knows_every_end() {
    let kills: u64 = if full() { 300 } else { 30 };
    let place = Place::new();
    place.configure("[policy.default]\nmax_sessions = 1000000\n[log]\nlevel = \"warn\"\n");
    let shared = Arc::new(Shared::default());
    let mut listeners = vec![Known::default(); 2];
    let began = clock();
    let mut server = place.serve();
    for round in 0..kills {
        let at = (server.address.clone(), server.key.clone());
        shared.stop.store(false, Ordering::Relaxed);
        let revokers: Vec<_> = (0..REVOKERS)
            .map(|number| {
                let (mut client, shared) = (server.client(), shared.clone());
                thread::spawn(move || revoke(&mut client, number, &shared))
            })
            .collect();
        let listening: Vec<_> = (1..)
            .zip(listeners.drain(..))
            .map(|(number, known)| {
                let (at, shared) = (at.clone(), shared.clone());
                thread::spawn(move || listen(&at, known, round * 97 + number, &shared))
            })
            .collect();
        // At a moment counted in answers, not in time, plus a little.
        let moment = shared.calls.load(Ordering::Relaxed) + 5 + round * 37 % 111;
        eventually("the load", || (shared.calls.load(Ordering::Relaxed) >= moment).then_some(()));
        for _ in 0..round * 7919 % 5_003 {
            std::hint::spin_loop();
        }
        shared.stop.store(true, Ordering::Relaxed);
        server.kill();
        revokers.into_iter().for_each(|revoker| revoker.join().unwrap());
        listeners.extend(listening.into_iter().map(|listener| listener.join().unwrap()));
        server = place.serve();
        listeners = listeners.into_iter().map(|known| settled(&server, known)).collect();
        let acknowledged = shared.acknowledged.lock().unwrap();
        for known in &listeners {
            let missed: Vec<_> = acknowledged.difference(&known.ended).collect();
            assert!(missed.is_empty(), "round {round}: nobody was told of {missed:?}");
        }
    }
    let acknowledged = shared.acknowledged.lock().unwrap().len();
    println!(
        "{kills} kills in {:?}, {acknowledged} acknowledged ends, known to two listeners",
        began.elapsed()
    );
    assert!(acknowledged > 100, "{acknowledged}");
    server.stop();
}
