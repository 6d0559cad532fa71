//! The graceful end: nothing new, everything that runs is finished, and a bound on all of it.

use std::time::Duration;

use handstamp_server::http::listener::Limits;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Server, limits, soon};

#[tokio::test]
async fn a_running_request_is_finished_and_resting_connections_are_closed() {
    let server = Server::start(limits()).await;
    let mut running = server.connect().await;
    running.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    server.arrived().await;
    let mut resting = server.connect().await;
    assert_eq!(resting.get("/").await.status, 200);
    let mut fresh = server.connect().await;
    let mut half = server.connect().await;
    half.send("GET / HT").await;
    // All four are seated: a fifth that came after them has been served.
    assert_eq!(server.connect().await.get("/").await.status, 200);

    server.stopper.ask();
    for client in [&mut resting, &mut fresh, &mut half] {
        assert!(client.until_closed().await.is_empty());
    }
    let address = server.address;
    soon("new connections to be refused", async { while TcpStream::connect(address).await.is_ok() {} }).await;

    server.doors.go_on.add_permits(1);
    let answer = running.answer().await;
    assert_eq!(answer.body, "waited");
    assert!(answer.has("connection: close"), "{answer:?}");
    assert!(running.until_closed().await.is_empty());
    let drained = server.drained().await;
    assert_eq!(drained.cut, 0);
    assert!((1..=5).contains(&drained.open), "{drained:?}");
}

#[tokio::test]
async fn a_body_that_is_still_coming_is_waited_for() {
    let server = Server::start(limits()).await;
    let mut client = server.connect().await;
    client.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello").await;
    assert_eq!(server.connect().await.get("/").await.status, 200);
    server.stopper.ask();
    let address = server.address;
    soon("new connections to be refused", async { while TcpStream::connect(address).await.is_ok() {} }).await;
    client.send("world").await;
    let answer = client.answer().await;
    assert_eq!(answer.body, "helloworld");
    assert!(answer.has("connection: close"));
    assert_eq!(server.drained().await.cut, 0);
}

#[tokio::test]
async fn what_does_not_end_is_cut_and_counted() {
    let drain = Duration::from_millis(300);
    let server = Server::start(Limits { drain, ..limits() }).await;
    let mut running = Vec::new();
    for _ in 0..3 {
        let mut client = server.connect().await;
        client.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
        server.arrived().await;
        running.push(client);
    }
    let began = Instant::now();
    server.stopper.ask();
    let drained = server.drained().await;
    assert_eq!(drained.cut, 3);
    assert!(began.elapsed() >= drain - drain / 4);
    for mut client in running {
        assert!(client.until_closed().await.is_empty());
    }
}

#[tokio::test]
async fn asked_twice_it_ends_at_once() {
    let server = Server::start(limits()).await;
    let mut client = server.connect().await;
    client.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    server.arrived().await;
    server.stopper.ask();
    server.stopper.ask();
    assert_eq!(server.drained().await.cut, 1);
    assert!(client.until_closed().await.is_empty());
}

#[tokio::test]
async fn without_connections_it_ends_at_once() {
    let server = Server::start(limits()).await;
    server.stopper.ask();
    let drained = server.drained().await;
    assert_eq!((drained.open, drained.cut), (0, 0));
}

/// An orderly stop that nobody asked for: the asker is gone, the server stays.
#[tokio::test]
async fn a_lost_stopper_stops_nothing() {
    let Server { address, stopper, served, doors: _doors } = Server::start(limits()).await;
    drop(stopper);
    let mut client = super::Client(TcpStream::connect(address).await.unwrap());
    assert_eq!(client.get("/").await.status, 200);
    assert!(!served.is_finished());
}
