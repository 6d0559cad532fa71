//! Clients that take their time: each gets its limit and not more, and an honest client beside it notices nothing.

use std::time::Duration;

use handstamp_server::http::listener::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::task::yield_now;
use tokio::time::{Instant, interval, timeout};

use super::{Client, LARGE, Server, limits, soon};

const SHORT: Duration = Duration::from_millis(500);

/// For tests in which an honest client must stay within the limit, however busy the machine is.
const ROOMY: Duration = Duration::from_millis(1500);

/// Sends `bytes` one by one, faster than any limit, until the server answers or closes; returns what it said.
async fn trickle(client: Client<tokio::net::TcpStream>, bytes: &[u8]) -> Vec<u8> {
    let (mut read, mut write) = client.0.into_split();
    let mut said = Vec::new();
    let mut pace = interval(SHORT / 10);
    let mut bytes = bytes.iter().cycle();
    soon("the trickle to be stopped", async {
        loop {
            tokio::select! {
                // An error here is the reset that follows bytes sent to a closed connection.
                n = read.read_buf(&mut said) => if n.unwrap_or(0) == 0 { return },
                _ = pace.tick() => {
                    if let Some(byte) = bytes.next() {
                        let _ = write.write_all(&[*byte]).await;
                    }
                }
            }
        }
    })
    .await;
    said
}

#[tokio::test]
async fn a_header_that_never_ends_is_refused_in_time() {
    let server = Server::start(Limits { header_read: SHORT, ..limits() }).await;
    let began = Instant::now();
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: x\r\n").await;
    let said = String::from_utf8(trickle(client, b"X-Slow: a\r\n").await).unwrap();
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    assert!(said.contains(r#""code":"request_timeout""#), "{said}");
    assert!(began.elapsed() >= SHORT, "not earlier than the limit");
}

#[tokio::test]
async fn the_limit_counts_again_for_the_next_request() {
    let server = Server::start(Limits { header_read: SHORT, ..limits() }).await;
    let mut client = server.connect().await;
    assert_eq!(client.get("/").await.status, 200);
    client.send("GET / HT").await;
    client.refused(408, "request_timeout").await;
}

#[tokio::test]
async fn for_the_first_request_the_limit_counts_from_the_connection() {
    let server = Server::start(Limits { header_read: ROOMY, ..limits() }).await;
    let began = Instant::now();
    let mut client = server.connect().await;
    assert!(timeout(ROOMY / 5 * 4, client.0.read_u8()).await.is_err(), "not closed before the limit");
    client.send("GET").await;
    client.refused(408, "request_timeout").await;
    assert!(began.elapsed() < ROOMY / 5 * 8, "a first byte does not buy the whole time again");
}

#[tokio::test]
async fn who_connects_and_says_nothing_is_closed_without_a_word() {
    let server = Server::start(Limits { header_read: SHORT, ..limits() }).await;
    let began = Instant::now();
    assert!(server.connect().await.until_closed().await.is_empty());
    assert!(began.elapsed() >= SHORT);
}

#[tokio::test]
async fn a_body_that_never_ends_is_refused_in_time() {
    let server = Server::start(Limits { body_read: SHORT, ..limits() }).await;
    for framing in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
        let began = Instant::now();
        let mut client = server.connect().await;
        client.send(format!("POST /echo HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n")).await;
        let said = String::from_utf8(trickle(client, b"1\r\na\r\n").await).unwrap();
        assert!(said.starts_with("HTTP/1.1 408 "), "{framing}: {said}");
        assert!(began.elapsed() >= SHORT);
    }
}

#[tokio::test]
async fn a_body_that_was_asked_for_and_does_not_come() {
    let server = Server::start(Limits { body_read: SHORT, ..limits() }).await;
    let mut client = server.connect().await;
    client.send("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 100);
    client.refused(408, "request_timeout").await;
}

#[tokio::test]
async fn a_door_that_takes_its_time_is_not_the_clients_fault() {
    let short = Limits { header_read: SHORT, body_read: SHORT, idle: SHORT, write_stall: SHORT, ..limits() };
    let server = Server::start(short).await;
    let mut client = server.connect().await;
    client.send("POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab").await;
    server.arrived().await;
    // Another connection outlives its limit meanwhile: so this one's would have passed as well.
    server.connect().await.until_closed().await;
    server.doors.go_on.add_permits(1);
    assert_eq!(client.answer().await.body, "waited");
}

#[tokio::test]
async fn a_resting_connection_is_closed_and_a_used_one_is_not() {
    let server = Server::start(Limits { idle: ROOMY, ..limits() }).await;
    let mut used = server.connect().await;
    let mut resting = server.connect().await;
    assert_eq!(used.get("/").await.status, 200);
    assert_eq!(resting.get("/").await.status, 200);
    let began = Instant::now();
    let mut pace = interval(ROOMY / 10);
    let closed = soon("the resting connection to be closed", async {
        loop {
            tokio::select! {
                n = resting.0.read_u8() => return n.is_err(),
                _ = pace.tick() => assert_eq!(used.get("/").await.status, 200),
            }
        }
    });
    assert!(closed.await);
    assert!(began.elapsed() + Duration::from_millis(1) >= ROOMY);
    assert_eq!(used.get("/").await.status, 200);
    used.until_closed().await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_reset() {
    let server = Server::start(Limits { write_stall: SHORT, ..limits() }).await;
    for path in ["/flood", "/large"] {
        let mut client = server.connect().await;
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        // Nothing is read, so an orderly end would never arrive behind what is unread; a reset does.
        let reset = async { while !client.0.ready(Interest::ERROR).await.unwrap().is_error() {} };
        soon("the reset", reset).await;
    }
    assert_eq!(server.connect().await.get("/").await.status, 200);
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_everything() {
    // The request is long over for the door, and the connection is not resting either.
    let server = Server::start(Limits { write_stall: ROOMY, idle: ROOMY, ..limits() }).await;
    let mut client = server.connect().await;
    let began = Instant::now();
    client.send("GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    let mut pace = interval(ROOMY / 12);
    let mut some = vec![0; LARGE / 64];
    let mut all = 0;
    soon("the large answer", async {
        loop {
            match client.0.read(&mut some).await.unwrap() {
                0 => break,
                n => all += n,
            }
            if began.elapsed() < ROOMY * 2 {
                pace.tick().await;
            }
        }
    })
    .await;
    assert!(began.elapsed() > ROOMY, "slower than one stall may be");
    assert!(all > LARGE);
}

#[tokio::test]
async fn many_slow_clients_do_not_slow_the_others() {
    let server = Server::start(Limits { header_read: SHORT * 4, ..limits() }).await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut client = server.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: x\r\nX: ").await;
        slow.push(client);
    }
    let mut honest = server.connect().await;
    for _ in 0..100 {
        assert_eq!(honest.get("/").await.status, 200);
    }
    for mut client in slow {
        client.refused(408, "request_timeout").await;
    }
}

/// The door answers without reading: what the client still sends is taken for a while and thrown away. Otherwise it would
/// be answered with a reset, and many clients report that instead of reading the answer.
#[tokio::test]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let server = Server::start(limits()).await;
    let mut client = server.connect().await;
    client.send("POST /mirror HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n").await;
    client.send(vec![b'x'; 1_000_000]).await;
    assert_eq!(client.answer().await.body, "POST /mirror");
    for _ in 0..20 {
        client.send(vec![b'x'; 50_000]).await;
        yield_now().await;
    }
    client.ended().await;
}
