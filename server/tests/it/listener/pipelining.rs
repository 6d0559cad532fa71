//! Several requests sent before the first answer: served in order, one at a time, and no way to make the server hold more.

use handstamp_server::http::listener::Limits;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::{LARGE, Server, limits};
use std::time::Duration;

#[tokio::test]
async fn answers_come_in_order() {
    let server = Server::start(limits()).await;
    let mut client = server.connect().await;
    let requests: String = (0..500)
        .map(|n| match n % 3 {
            0 => format!("GET /mirror?{n} HTTP/1.1\r\nHost: x\r\n\r\n"),
            1 => {
                let body = format!("body {n}");
                format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            }
            _ => format!("\r\nPOST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{n:04}\r\n0\r\n\r\n"),
        })
        .collect();
    client.send(requests).await;
    for n in 0..500 {
        let expected = match n % 3 {
            0 => format!("GET /mirror?{n}"),
            1 => format!("body {n}"),
            _ => format!("{n:04}"),
        };
        assert_eq!(client.answer().await.body, expected);
    }
}

#[tokio::test]
async fn a_bad_request_does_not_take_the_answers_before_it_along() {
    let server = Server::start(limits()).await;
    for (bad, status, code) in [
        (
            "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            400,
            "request_ambiguous",
        ),
        // This one the parser behind the gate refuses.
        ("GET / HTTP/1.1\r\nHost: x\r\nbad name: 1\r\n\r\n", 400, "request_malformed"),
    ] {
        for first in ["/mirror", "/large", "/wait"] {
            let mut client = server.connect().await;
            client.send(format!("GET {first} HTTP/1.1\r\nHost: x\r\n\r\n{bad}")).await;
            server.doors.go_on.add_permits(usize::from(first == "/wait"));
            let answer = client.answer().await;
            assert_eq!(answer.status, 200);
            assert!(!answer.body.is_empty() && !answer.body.contains("HTTP/1.1"));
            client.refused(status, code).await;
        }
    }
}

/// A request in the body of another is a body.
#[tokio::test]
async fn a_request_inside_a_body_is_not_served() {
    let server = Server::start(limits()).await;
    let mut client = server.connect().await;
    let inner = "GET /mirror HTTP/1.1\r\nHost: x\r\n\r\n";
    client
        .send(format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{inner}", inner.len()))
        .await;
    assert_eq!(client.answer().await.body, inner);
    assert_eq!(client.get("/").await.body, "hello");
}

/// The client pipelines without end and reads nothing: the server stops taking its requests instead of keeping answers.
#[tokio::test]
async fn unread_answers_stop_the_reading() {
    let server = Server::start(Limits { write_stall: Duration::from_secs(600), ..limits() }).await;
    let mut client = server.connect().await;
    let requests = "GET /large HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let mut sent = 0;
    // The kernel's buffers fill up and the writing comes to a halt; if the server went on reading, it never would.
    while let Ok(wrote) = timeout(Duration::from_secs(1), client.0.write(requests.as_bytes())).await {
        sent += wrote.unwrap();
        assert!(sent < 2 * LARGE, "the server reads on although nobody reads its answers");
    }
}

/// The door answers while the body is still to come. It is not waited for, so nobody knows where the next request would
/// begin: the answer says that there will be none, and it is not left to the client to find out.
#[tokio::test]
async fn an_answer_before_the_end_of_the_body_is_the_last_one() {
    let server = Server::start(limits()).await;
    for framing in ["Content-Length: 4", "Transfer-Encoding: chunked"] {
        let mut client = server.connect().await;
        client.send(format!("POST /mirror HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n")).await;
        let answer = client.answer().await;
        assert!(answer.body == "POST /mirror" && answer.has("connection: close"), "{answer:?}");
        client.ended().await;
    }
}

/// The same, but the rest of the body and another request come in one piece just then.
#[tokio::test]
async fn a_request_behind_a_body_that_nobody_read_does_not_hang() {
    let server = Server::start(limits()).await;
    let mut client = server.connect().await;
    client.send("POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n").await;
    server.arrived().await;
    client.send("bodyGET /mirror HTTP/1.1\r\nHost: x\r\n\r\n").await;
    server.doors.go_on.add_permits(1);
    let answer = client.answer().await;
    assert!(answer.body == "waited" && answer.has("connection: close"), "{answer:?}");
    client.ended().await;
}

/// A body that is here is none to wait for, whether the door reads it or not.
#[tokio::test]
async fn a_body_that_nobody_reads_ends_nothing_when_it_is_here() {
    let server = Server::start(limits()).await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        client.send("POST /mirror HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody").await;
        let answer = client.answer().await;
        assert!(answer.body == "POST /mirror" && !answer.has("connection: close"), "{answer:?}");
    }
}
