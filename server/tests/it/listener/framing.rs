//! Requests that a proxy and a server could read in two ways, or that are too big: refused before any door sees them.

use super::{Server, limits};
use handstamp_server::http::listener::head::{Look, examine};

/// Sends `request` on a connection of its own; it must be refused so.
async fn refused(server: &Server, request: impl AsRef<[u8]>, status: u16, code: &str) {
    let mut client = server.connect().await;
    client.send(&request).await;
    let shown = String::from_utf8_lossy(&request.as_ref()[..request.as_ref().len().min(120)]).into_owned();
    println!("{shown:?}");
    client.refused(status, code).await;
}

#[tokio::test]
async fn two_ways_to_find_the_end_of_a_body() {
    let server = Server::start(limits()).await;
    let post = "POST /echo HTTP/1.1\r\nHost: x\r\n";
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "transfer-encoding:chunked\r\ncontent-length:\t5 \r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 0\r\nX: y\r\ncontent-length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length:\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    ] {
        refused(&server, format!("{post}{fields}\r\n0\r\n\r\n"), 400, "request_ambiguous").await;
    }
    for coding in ["gzip, chunked", "identity", "xchunked", "chunked, chunked", "\"chunked\"", ""] {
        let request = format!("{post}Transfer-Encoding: {coding}\r\n\r\n0\r\n\r\n");
        refused(&server, request, 501, "transfer_coding_unknown").await;
    }
    let old = "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    refused(&server, old, 400, "request_ambiguous").await;
}

#[tokio::test]
async fn lines_and_names_that_parsers_disagree_about() {
    let server = Server::start(limits()).await;
    for request in [
        &b"GET / HTTP/1.1\nHost: x\n\n"[..],
        b"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: y\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\rContent-Length: 5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\x0b\r\n\r\n0\r\n\r\n"
            .as_slice()
            .split_at(0)
            .1,
        b"GET / HTTP/1.1\r\nHost: x\r\n X: folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: y\r\n\tfolded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nno colon here\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nhost: y\r\n\r\n",
        b"GET /\r\nHost: x\r\n\r\n",
        b"GET / http/1.1\r\nHost: x\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"G\xc3\xa9T / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    ] {
        // One of them has an unknown coding besides.
        if request.windows(8).any(|bytes| bytes == b"chunked\x0b") {
            refused(&server, request, 501, "transfer_coding_unknown").await;
        } else {
            refused(&server, request, 400, "request_malformed").await;
        }
    }
    for request in
        ["GET / HTTP/2.0\r\nHost: x\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.2\r\n\r\n"]
    {
        refused(&server, request, 505, "http_version_unknown").await;
    }
}

#[tokio::test]
async fn too_much_header() {
    let server = Server::start(limits()).await;
    let fields = |n: usize| "X: y\r\n".repeat(n);
    let mut client = server.connect().await;
    client.send(format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", fields(99))).await;
    assert_eq!(client.answer().await.status, 200, "100 fields are allowed");
    let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", fields(100));
    refused(&server, request, 431, "header_too_large").await;
    // Refused as soon as it is too much, not when it ends.
    refused(&server, format!("GET / HTTP/1.1\r\nHost: x\r\n{}", fields(100)), 431, "header_too_large").await;

    let sized = |bytes: usize| {
        let frame = "GET / HTTP/1.1\r\nHost: x\r\nCookie: \r\n\r\n";
        format!("GET / HTTP/1.1\r\nHost: x\r\nCookie: {}\r\n\r\n", "c".repeat(bytes - frame.len()))
    };
    client.send(sized(16 * 1024)).await;
    assert_eq!(client.answer().await.status, 200, "16 KiB are allowed");
    refused(&server, sized(16 * 1024 + 8), 431, "header_too_large").await;
    let endless = format!("GET / HTTP/1.1\r\nHost: x\r\nCookie: {}", "c".repeat(20 * 1024));
    refused(&server, endless, 431, "header_too_large").await;
    refused(&server, "\r\n".repeat(20 * 1024), 431, "header_too_large").await;
}

#[test]
fn the_limit_is_the_same_in_whatever_pieces_a_header_comes() {
    let limits = limits();
    let frame = "GET / HTTP/1.1\r\nHost: x\r\nCookie: \r\n";
    let sized = |lines: usize| {
        format!("GET / HTTP/1.1\r\nHost: x\r\nCookie: {}\r\n\r\n", "c".repeat(lines - frame.len()))
    };
    let most = sized(limits.header_bytes);
    assert!(matches!(examine(most.as_bytes(), &limits), Look::Whole { .. }), "the longest that is allowed");
    let over = sized(limits.header_bytes + 1);
    assert!(matches!(examine(over.as_bytes(), &limits), Look::Refused(_)), "one byte more");
    for n in 0..most.len() {
        assert_eq!(examine(&most.as_bytes()[..n], &limits), Look::Partial, "{n} bytes of {}", most.len());
    }
}

#[tokio::test]
async fn too_long_a_target() {
    let server = Server::start(limits()).await;
    let mut client = server.connect().await;
    let target = |bytes: usize| format!("/{}", "a".repeat(bytes - 1));
    assert_eq!(client.get(&target(8 * 1024)).await.status, 200, "8 KiB are allowed");
    let request = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", target(8 * 1024 + 1));
    refused(&server, request, 414, "uri_too_long").await;
    refused(&server, format!("GET {}", target(9 * 1024)), 414, "uri_too_long").await;
}

#[tokio::test]
async fn chunked_bodies() {
    let server = Server::start(limits()).await;
    let mut client = server.connect().await;
    let post = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (chunks, body) in [
        ("0\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        (
            "00000005;name=value\r\nhello\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\nX: y\r\n\r\n",
            "hello0123456789",
        ),
    ] {
        // At once, and in every two pieces, on one connection: the boundary is found wherever it falls.
        let request = format!("{post}{chunks}");
        for cut in 0..request.len() {
            client.send(&request[..cut]).await;
            client.send(&request[cut..]).await;
            assert_eq!(client.answer().await.body, body, "{chunks:?} cut at {cut}");
        }
    }
    for broken in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "g\r\n",
        "\r\n",
        ";\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "000000005\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "0\r\n\n",
        "0\r\nX: y\n\r\n",
    ] {
        let mut client = server.connect().await;
        client.send(format!("{post}{broken}")).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 422, "the door learns that the body is broken: {broken:?} {answer:?}");
        client.until_closed().await;
    }
    let mut client = server.connect().await;
    client.send(format!("{post}5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(5 * 1024))).await;
    assert_eq!(client.answer().await.status, 422, "extensions are bounded");
}

/// RFC 9110, 7.8: a server may ignore `Upgrade`; it answers the request itself, and the connection goes on.
#[tokio::test]
async fn an_offer_to_upgrade_is_ignored() {
    let server = Server::start(limits()).await;
    let mut client = server.connect().await;
    for upgrade in ["h2c", "websocket"] {
        client
            .send(format!(
                "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {upgrade}\r\n\
                 HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n"
            ))
            .await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
        assert_eq!(client.get("/").await.status, 200);
    }
}
