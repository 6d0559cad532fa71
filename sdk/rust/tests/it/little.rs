//! A small server: the public keys, the feed, the verdicts and the data keys of one environment, with a clock and faults of its own.

use handstamp_core::jose::key::SigningKey;
use handstamp_core::secret::Secret;
use handstamp_core::time::Millis;
use serde_json::{Value, json};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The only access key that it takes.
pub(crate) const KEY: &str = "hsk_a-secret-that-is-nowhere-else";
const BEAT: Duration = Duration::from_millis(50);

/// What it does when it is asked about a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Valid,
    Refused(&'static str),
    Status(u16),
    Hangs,
    Nonsense,
}

/// What tests turn.
pub(crate) struct Turns {
    pub(crate) keys: Mutex<Vec<String>>,
    pub(crate) data_keys: Mutex<Vec<String>>,
    pub(crate) key_is_good: AtomicBool,
    pub(crate) verdict: Mutex<Verdict>,
    /// How far its clock is off, in milliseconds.
    pub(crate) offset: AtomicI64,
    /// Says the same `as_of` again and again: this one, unless it is 0.
    pub(crate) frozen: AtomicI64,
    /// How long its words lie in a buffer before they go out, in milliseconds.
    pub(crate) late: AtomicI64,
    /// Streams say nothing.
    pub(crate) silent: AtomicBool,
    /// A stream that begins ends after so many entries.
    pub(crate) half: AtomicU64,
    pub(crate) jwks_fails: AtomicBool,
    pub(crate) max_age: AtomicU64,
    /// How long the keys lay in a cache on the way, in seconds.
    pub(crate) cached: AtomicU64,
    pub(crate) run: AtomicU64,
    entries: Mutex<Vec<String>>,
    changed: watch::Sender<u64>,
    cut: watch::Sender<u64>,
    // What it saw.
    pub(crate) jwks: AtomicU64,
    pub(crate) not_modified: AtomicU64,
    pub(crate) validated: Mutex<Vec<Value>>,
    pub(crate) streams: AtomicI64,
    pub(crate) opened: AtomicU64,
    pub(crate) last_ids: Mutex<Vec<Option<String>>>,
    pub(crate) env_headers: Mutex<Vec<String>>,
}

/// The server, until it is dropped.
pub(crate) struct Little {
    pub(crate) turns: Arc<Turns>,
    pub(crate) address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Drop for Little {
    fn drop(&mut self) {
        self.down();
    }
}

pub(crate) fn signing_key(byte: u8) -> SigningKey {
    SigningKey::ed25519(&Secret::new([byte; 32])).unwrap()
}

impl Little {
    pub(crate) async fn start() -> Little {
        let turns = Turns {
            keys: Mutex::new(vec![signing_key(1).public().to_jwk()]),
            data_keys: Mutex::default(),
            key_is_good: AtomicBool::new(true),
            verdict: Mutex::new(Verdict::Valid),
            offset: AtomicI64::new(0),
            frozen: AtomicI64::new(0),
            late: AtomicI64::new(0),
            silent: AtomicBool::new(false),
            half: AtomicU64::new(u64::MAX),
            jwks_fails: AtomicBool::new(false),
            max_age: AtomicU64::new(300),
            cached: AtomicU64::new(0),
            run: AtomicU64::new(1),
            entries: Mutex::default(),
            changed: watch::Sender::new(0),
            cut: watch::Sender::new(0),
            jwks: AtomicU64::new(0),
            not_modified: AtomicU64::new(0),
            validated: Mutex::default(),
            streams: AtomicI64::new(0),
            opened: AtomicU64::new(0),
            last_ids: Mutex::default(),
            env_headers: Mutex::default(),
        };
        let turns = Arc::new(turns);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Little { accepting: tokio::spawn(accept(listener, Arc::clone(&turns))), turns, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Nobody listens, and every connection is cut.
    pub(crate) fn down(&self) {
        self.accepting.abort();
        self.cut();
    }

    /// Listens again, at the same port.
    pub(crate) async fn up(&mut self) {
        let bind = || {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            socket.bind(self.address)?;
            socket.listen(64)
        };
        let mut listener = bind();
        while listener.is_err() {
            tokio::task::yield_now().await;
            listener = bind();
        }
        self.accepting = tokio::spawn(accept(listener.unwrap(), Arc::clone(&self.turns)));
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        self.turns.cut.send_modify(|n| *n += 1);
    }

    /// Another process with the same store, or with another one: places of before are unknown.
    pub(crate) fn restart(&self) {
        self.turns.run.fetch_add(1, Ordering::SeqCst);
        self.cut();
    }

    pub(crate) fn forget_entries(&self) {
        self.turns.entries.lock().unwrap().clear();
    }

    /// Tells of an end.
    pub(crate) fn tell(&self, mut entry: Value) {
        let until = Millis(self.turns.now().0 + 3_600_000);
        entry["until"] = json!(until.to_string());
        self.turns.entries.lock().unwrap().push(entry.to_string());
        self.turns.changed.send_modify(|n| *n += 1);
    }

    pub(crate) fn tell_raw(&self, text: &str) {
        self.turns.entries.lock().unwrap().push(text.to_owned());
        self.turns.changed.send_modify(|n| *n += 1);
    }

    pub(crate) fn asked(&self) -> usize {
        self.turns.validated.lock().unwrap().len()
    }

    pub(crate) fn set_verdict(&self, verdict: Verdict) {
        *self.turns.verdict.lock().unwrap() = verdict;
    }

    pub(crate) fn publish(&self, keys: &[u8]) {
        *self.turns.keys.lock().unwrap() =
            keys.iter().map(|byte| signing_key(*byte).public().to_jwk()).collect();
    }
}

impl Turns {
    pub(crate) fn now(&self) -> Millis {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        Millis(i64::try_from(wall).unwrap() + self.offset.load(Ordering::SeqCst))
    }

    fn as_of(&self) -> Millis {
        match self.frozen.load(Ordering::SeqCst) {
            0 => self.now(),
            frozen => Millis(frozen),
        }
    }

    fn after(&self, at: usize) -> Vec<String> {
        self.entries.lock().unwrap().get(at..).unwrap_or_default().to_vec()
    }
}

async fn accept(listener: TcpListener, turns: Arc<Turns>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(attend(stream, Arc::clone(&turns)));
    }
}

/// One connection, until it is cut. Public for tests that put something around it.
pub(crate) async fn attend<S: AsyncRead + AsyncWrite + Unpin>(stream: S, turns: Arc<Turns>) {
    let mut cut = turns.cut.subscribe();
    tokio::select! {
        _ = cut.changed() => {}
        _ = requests(stream, &turns) => {}
    }
}

impl Little {
    /// Attends to one connection that somebody else accepted.
    pub(crate) fn attend_tls(&self, stream: tokio_rustls::server::TlsStream<TcpStream>) {
        tokio::spawn(attend(stream, Arc::clone(&self.turns)));
    }
}

struct Request {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> Option<String> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        let mut some = [0; 4_096];
        let n = stream.read(&mut some).await.ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&some[..n]);
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let line = lines.next().unwrap().to_owned();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let mut request = Request { line, headers, body: bytes[end + 4..].to_vec() };
    let length: usize = request.header("content-length").map_or(0, |n| n.parse().unwrap());
    while request.body.len() < length {
        let mut some = [0; 4_096];
        let n = stream.read(&mut some).await.ok().filter(|n| *n > 0)?;
        request.body.extend_from_slice(&some[..n]);
    }
    Some(request)
}

async fn requests<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, turns: &Turns) -> Option<()> {
    loop {
        let request = read(&mut stream).await?;
        let path = request.line.split(' ').nth(1).unwrap().to_owned();
        if path.starts_with("/.well-known/jwks.json") {
            assert_eq!(path, "/.well-known/jwks.json?environment=default/prd");
            jwks(&mut stream, turns, &request).await?;
            continue;
        }
        turns.env_headers.lock().unwrap().extend(request.header("x-handstamp-env"));
        let good = turns.key_is_good.load(Ordering::SeqCst)
            && request.header("authorization").as_deref() == Some(&format!("Bearer {KEY}"));
        if !good {
            answer(&mut stream, "401 Unauthorized", "", r#"{"code":"access_key_invalid"}"#).await?;
            continue;
        }
        match path.as_str() {
            "/v1/revocations" => return feed(stream, turns, request.header("last-event-id")).await,
            "/v1/keys/data" => {
                let keys = format!(r#"{{"keys":[{}]}}"#, turns.data_keys.lock().unwrap().join(","));
                answer(&mut stream, "200 OK", "", &keys).await?;
            }
            "/v1/sessions/validate" => {
                let asked: Value = serde_json::from_slice(&request.body).unwrap();
                turns.validated.lock().unwrap().push(asked);
                let verdict = *turns.verdict.lock().unwrap();
                match verdict {
                    Verdict::Valid => {
                        answer(&mut stream, "200 OK", "", r#"{"valid":true,"session":{}}"#).await?
                    }
                    Verdict::Refused(code) => {
                        let body =
                            format!(r#"{{"valid":false,"code":"{code}","detail":"said so","status":401}}"#);
                        answer(&mut stream, "200 OK", "", &body).await?;
                    }
                    Verdict::Status(status) => {
                        let body = r#"{"code":"store_unavailable"}"#;
                        answer(&mut stream, &format!("{status} x"), "", body).await?;
                    }
                    Verdict::Nonsense => answer(&mut stream, "200 OK", "", r#"{"valid":"yes"}"#).await?,
                    Verdict::Hangs => std::future::pending().await,
                }
            }
            other => panic!("nobody asks for {other}"),
        }
    }
}

async fn jwks<S: AsyncWrite + Unpin>(stream: &mut S, turns: &Turns, request: &Request) -> Option<()> {
    turns.jwks.fetch_add(1, Ordering::SeqCst);
    if turns.jwks_fails.load(Ordering::SeqCst) {
        return answer(stream, "503 x", "", "{}").await;
    }
    let set = format!(r#"{{"keys":[{}]}}"#, turns.keys.lock().unwrap().join(","));
    let tag = format!("\"{}\"", BuildHasherDefault::<DefaultHasher>::default().hash_one(&set));
    let age = turns.max_age.load(Ordering::SeqCst);
    assert_eq!(request.header("cache-control").as_deref(), Some("no-cache"), "caches are passed by");
    let cached = turns.cached.load(Ordering::SeqCst);
    let headers = format!("etag: {tag}\r\ncache-control: public, max-age={age}\r\nage: {cached}\r\n");
    if request.header("if-none-match") == Some(tag) {
        turns.not_modified.fetch_add(1, Ordering::SeqCst);
        return answer(stream, "304 Not Modified", &headers, "").await;
    }
    answer(stream, "200 OK", &headers, &set).await
}

async fn answer<S: AsyncWrite + Unpin>(
    stream: &mut S,
    status: &str,
    headers: &str,
    body: &str,
) -> Option<()> {
    let text = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).await.ok()
}

/// Counts down when a stream ends, however it ends.
struct Open<'a>(&'a Turns);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn feed<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    turns: &Turns,
    last: Option<String>,
) -> Option<()> {
    turns.opened.fetch_add(1, Ordering::SeqCst);
    turns.streams.fetch_add(1, Ordering::SeqCst);
    let _open = Open(turns);
    turns.last_ids.lock().unwrap().push(last.clone());
    let run = format!("{:016x}", turns.run.load(Ordering::SeqCst));
    let known = last.as_deref().and_then(|last| last.split_once('-')).filter(|(_, of)| **of == run);
    let known: Option<usize> =
        known.map(|(at, _)| at.parse().unwrap()).filter(|at| *at <= turns.entries.lock().unwrap().len());
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nretry: 250\n\n";
    stream.write_all(head.as_bytes()).await.ok()?;
    if known.is_none() {
        stream.write_all(b"data: {\"reset\":true}\n\n").await.ok()?;
    }
    let position = |at: usize| format!("{at}-{run}");
    let mut at = known.unwrap_or(0);
    let mut changed = turns.changed.subscribe();
    let half = turns.half.load(Ordering::SeqCst);
    let mut told = 0;
    let mut waiting: Vec<(Millis, String)> = Vec::new();
    let mut unused = [0; 1];
    loop {
        if !turns.key_is_good.load(Ordering::SeqCst) {
            return None;
        }
        let (some, as_of) = (turns.after(at), turns.as_of());
        for entry in some {
            if told == half {
                return None;
            }
            (at, told) = (at + 1, told + 1);
            waiting.push((turns.now(), format!("id: {}\ndata: {entry}\n\n", position(at))));
        }
        if !turns.silent.load(Ordering::SeqCst) {
            let beat = json!({ "as_of": as_of.to_string() });
            waiting.push((turns.now(), format!("id: {}\ndata: {beat}\n\n", position(at))));
            let due = turns.now().0 - turns.late.load(Ordering::SeqCst);
            let ready = waiting.iter().take_while(|(at, _)| at.0 <= due).count();
            let text: String = waiting.drain(..ready).map(|(_, text)| text).collect();
            stream.write_all(text.as_bytes()).await.ok()?;
        }
        tokio::select! {
            _ = changed.changed() => {}
            () = tokio::time::sleep(BEAT) => {}
            // Whoever listened has gone.
            _ = stream.read(&mut unused) => return None,
        }
    }
}
