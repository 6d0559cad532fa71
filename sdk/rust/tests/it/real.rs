//! The real server: what is revoked there is refused here; and it is killed, stopped, and its keys are taken away.

use crate::support::{SOON, now, said, until};
use handstamp::{Demand, Stop, Verifier};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// A server on a folder of its own.
struct Real {
    child: Child,
    address: SocketAddr,
    key: String,
    data: PathBuf,
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

/// `HANDSTAMP_BIN`, or what was built beside this test.
fn binary() -> PathBuf {
    let beside = || std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("handstamp");
    let found = std::env::var_os("HANDSTAMP_BIN").map_or_else(beside, PathBuf::from);
    assert!(
        found.is_file(),
        "build the server first (cargo build -p handstamp-server), or set HANDSTAMP_BIN"
    );
    found
}

fn spawn(data: &PathBuf, listen: &str) -> (Child, SocketAddr) {
    let mut child = Command::new(binary())
        .args(["serve", "--listen", listen, "--data-dir"])
        .arg(data)
        .env_clear()
        .env("HANDSTAMP_FORWARD_AUTH__LISTEN", "off")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = loop {
        let line = lines.next().expect("it ended before it listened").unwrap();
        if let Some((_, rest)) = line.split_once("listening on http://") {
            break rest
                .split(|c: char| c != '.' && c != ':' && !c.is_ascii_digit())
                .next()
                .unwrap()
                .parse()
                .unwrap();
        }
    };
    // What it says later is read, so that it never waits for us.
    std::thread::spawn(move || lines.for_each(drop));
    (child, address)
}

impl Real {
    fn start() -> Real {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let data = std::env::temp_dir().join(format!("handstamp-sdk-{}-{n}", std::process::id()));
        let (child, address) = spawn(&data, "127.0.0.1:0");
        let key = std::fs::read_to_string(data.join("access.key")).unwrap().trim().to_owned();
        Real { child, address, key, data }
    }

    /// Killed without warning, and started again at the same address.
    fn kill_and_start(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(&self.data, &self.address.to_string()).0;
    }

    fn signal(&self, signal: &str) {
        assert!(
            Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success()
        );
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let kind = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\nconnection: close\r\n{kind}content-length: {}\r\n\r\n{body}",
            self.address,
            self.key,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 2"), "{method} {path}: {answer}");
        serde_json::from_str(body).unwrap_or(Value::Null)
    }

    /// A session's id, and an access token of it.
    fn login(&self, user: &str) -> (String, String) {
        let made = self.call(
            "POST",
            "/v1/sessions",
            &json!({ "user_id": user, "tags": ["role:admin"], "data": { "plan": "pro" }, "access_token": {} }),
        );
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&made["session"]["id"]), text(&made["access_token"]["token"]))
    }

    fn end(&self, session: &str) {
        self.call("DELETE", &format!("/v1/sessions/{session}"), &Value::Null);
    }

    async fn verifier(&self) -> Verifier {
        let builder = Verifier::builder(&format!("http://{}", self.address), &self.key);
        let verifier = builder.keys_every(Duration::from_secs(1)).build().await.unwrap();
        verifier.trusted(SOON).await.unwrap();
        verifier
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_ended_is_refused_within_a_second() {
    let server = Real::start();
    let verifier = server.verifier().await;
    let mut times = Vec::new();
    for n in 0..100 {
        let (session, token) = server.login(&format!("user-{n}"));
        let verified = verifier.verify(&token, &Demand::default()).await.unwrap();
        assert_eq!((verified.session(), verified.has_tag("role:admin")), (session.clone(), true));
        let begun = Instant::now();
        server.end(&session);
        until("it is refused", || now(&verifier, &token) == "session_revoked").await;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    println!("asked to end to refused: p50 {:?}, p99 {:?}, most {:?}", times[50], times[98], times[99]);
    assert!(times[99] < Duration::from_secs(1));
    let (_, by_tag) = server.login("ada");
    assert_eq!(now(&verifier, &by_tag), "valid");
    let begun = Instant::now();
    server.call("POST", "/v1/sessions/revoke", &json!({ "tags": ["role:admin"] }));
    until("everybody with the tag is refused", || now(&verifier, &by_tag) == "session_revoked").await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    let (_, after) = server.login("ada");
    assert_eq!(now(&verifier, &after), "valid", "who logs in afterwards is not meant");
    assert_eq!(verifier.status().asked, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_started_again_it_is_taken_up() {
    let mut server = Real::start();
    let verifier = server.verifier().await;
    let (kept, good) = server.login("ada");
    for round in 0..3 {
        let (gone, dead) = server.login("eve");
        let (later, soon_dead) = server.login("mallory");
        server.end(&gone);
        // Killed at once: whether this was told before, nobody knows.
        server.kill_and_start();
        until("the end is known", || {
            let word = now(&verifier, &dead);
            assert!(
                word != "valid" || verifier.status().staleness.unwrap() <= Duration::from_secs(2),
                "{word}"
            );
            word == "session_revoked"
        })
        .await;
        verifier.trusted(SOON).await.unwrap();
        until("it hears again", || verifier.status().connected).await;
        assert_eq!(now(&verifier, &good), "valid", "round {round}");
        server.end(&later);
        until("what ends afterwards is known", || now(&verifier, &soon_dead) == "session_revoked").await;
    }
    server.end(&kept);
    until("the last", || now(&verifier, &good) == "session_revoked").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_is_not_taken_for_one_that_revokes_nothing() {
    let server = Real::start();
    let verifier = server.verifier().await;
    let (_, token) = server.login("ada");
    assert_eq!(now(&verifier, &token), "valid");
    server.signal("-STOP");
    let begun = Instant::now();
    until("it doubts", || now(&verifier, &token) == "ask").await;
    assert!(begun.elapsed() < Duration::from_millis(2_300), "{:?}", begun.elapsed());
    let Err(Stop::CannotTell(why)) = verifier.verify(&token, &Demand::default()).await else { panic!() };
    println!("{why}");
    tokio::time::sleep(Duration::from_secs(3).saturating_sub(begun.elapsed())).await;
    server.signal("-CONT");
    let begun = Instant::now();
    verifier.trusted(SOON).await.unwrap();
    println!("trusts itself again after {:?}", begun.elapsed());
    assert_eq!(said(&verifier, &token).await, "valid");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_feed_the_server_is_asked() {
    let server = Real::start();
    let address = server.address;
    // A way to the server on which only the feed gets stuck.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let way = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut from, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut first = vec![0; 4_096];
                let n = from.read(&mut first).await.unwrap();
                first.truncate(n);
                if String::from_utf8_lossy(&first).contains("/v1/revocations") {
                    return;
                }
                let mut to = tokio::net::TcpStream::connect(address).await.unwrap();
                tokio::io::AsyncWriteExt::write_all(&mut to, &first).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    let verifier = Verifier::builder(&format!("http://{way}"), &server.key).build().await.unwrap();
    let (session, token) = server.login("ada");
    let verified = verifier.verify(&token, &Demand::default()).await.unwrap();
    assert_eq!((verified.by(), verified.session()), (handstamp::By::Server, session.clone()));
    let lacking = Demand { tags: vec![handstamp::Tag::parse("role:root").unwrap()], ..Demand::default() };
    let Err(Stop::Refused(refused)) = verifier.verify(&token, &lacking).await else { panic!() };
    assert_eq!(refused.code, handstamp::Code::TagMissing);
    server.end(&session);
    assert_eq!(said(&verifier, &token).await, "session_revoked");
    assert_eq!(now(&verifier, &token), "ask", "and it knew that it does not know");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rotated_and_taken_away() {
    let server = Real::start();
    let verifier = server.verifier().await;
    let (_, old) = server.login("ada");
    let rotate = |how: Value| server.call("POST", "/v1/keys/signing/rotate", &how);
    rotate(json!({ "activate_in": 0 }));
    let (_, new) = server.login("ada");
    assert_eq!(said(&verifier, &new).await, "valid", "fetched for");
    assert_eq!(now(&verifier, &old), "valid", "the old key verifies for a while");
    rotate(json!({ "emergency": true }));
    let (_, newest) = server.login("ada");
    until("the new key is known", || now(&verifier, &newest) == "valid").await;
    for gone in [&old, &new] {
        assert_eq!(now(&verifier, gone), "ask", "its key is trusted no more");
        assert_ne!(said(&verifier, gone).await, "valid");
        assert_ne!(said(&verifier, gone).await, "valid by server");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_key_that_is_revoked_stops_hearing() {
    let server = Real::start();
    let made = server.call(
        "POST",
        "/v1/keys",
        &json!({ "name": "verifier", "scopes": ["tokens:verify", "sessions:read", "tokens:open"] }),
    );
    let text = |name: &str| {
        let found = [&made[name], &made["key"][name], &made["access_key"][name]];
        found.iter().find_map(|value| value.as_str()).unwrap_or_else(|| panic!("{made}")).to_owned()
    };
    let secret = ["secret", "key", "token", "access_key"].iter().find_map(|name| made[name].as_str());
    let builder = Verifier::builder(&format!("http://{}", server.address), secret.unwrap());
    let verifier = builder.build().await.unwrap();
    verifier.trusted(SOON).await.unwrap();
    let (_, token) = server.login("ada");
    let verified = verifier.verify(&token, &Demand::default()).await.unwrap();
    let data = verifier.open(&verified).await.unwrap().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&data).unwrap(), json!({ "plan": "pro" }));
    server.call("DELETE", &format!("/v1/keys/{}", text("id")), &Value::Null);
    until("it doubts", || now(&verifier, &token) == "ask").await;
    let Err(Stop::CannotTell(why)) = verifier.verify(&token, &Demand::default()).await else { panic!() };
    assert!(why.to_string().contains("access_key_invalid"), "{why}");
}
