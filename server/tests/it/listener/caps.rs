//! More connections than there are places.

use handstamp_server::http::listener::{Limits, SPARE_SEATS, SPARE_SEATS_PER_PEER};

use super::{Server, limits, soon};

#[tokio::test]
async fn a_full_server_says_so_and_stays_healthy() {
    let server = Server::start(Limits { max_connections: 3, ..limits() }).await;
    let mut seated = Vec::new();
    for _ in 0..3 {
        let mut client = server.connect().await;
        assert_eq!(client.get("/").await.status, 200);
        seated.push(client);
    }
    let mut fourth = server.connect().await;
    fourth.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let answer = fourth.refused(503, "server_busy").await;
    assert!(answer.has("retry-after: 1"));

    // A health check is answered, once, and the connection closed.
    for path in ["/livez", "/readyz"] {
        let mut check = server.connect().await;
        let answer = check.get(path).await;
        assert_eq!(answer.status, 200);
        assert!(answer.has("connection: close"));
        check.until_closed().await;
    }

    // Who is seated is served as before, and a place that is left is taken.
    for client in &mut seated {
        assert_eq!(client.get("/").await.status, 200);
    }
    drop(seated.pop());
    soon("the free place", async { while server.connect().await.get("/").await.status != 200 {} }).await;
}

#[tokio::test]
async fn beyond_the_spare_places_connections_are_closed_at_once() {
    let server = Server::start(Limits { max_connections: 0, ..limits() }).await;
    let mut spare = Vec::new();
    for _ in 0..SPARE_SEATS {
        spare.push(server.connect().await);
    }
    server.connect().await.until_closed().await;
    assert_eq!(spare[SPARE_SEATS - 1].get("/livez").await.status, 200);
}

#[tokio::test]
async fn one_address_may_not_take_all() {
    let server = Server::start(Limits { max_connections_per_peer: 2, ..limits() }).await;
    let mut seated = Vec::new();
    for _ in 0..2 {
        let mut client = server.connect().await;
        assert_eq!(client.get("/").await.status, 200);
        seated.push(client);
    }
    let mut third = server.connect().await;
    third.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(third.refused(429, "too_many_connections").await.has("retry-after: 1"));
    drop(third);

    // Another address of this machine has places of its own.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = super::Client(socket.connect(server.address).await.unwrap());
    assert_eq!(other.get("/").await.status, 200);

    // The spare places of one address are few.
    let mut spare = Vec::new();
    for _ in 0..SPARE_SEATS_PER_PEER + 2 {
        spare.push(server.connect().await);
    }
    let mut last = spare.pop().unwrap();
    last.until_closed().await;
}
