//! The codes of the network edge, which answers before any door: in the closed list, with the same status and title, and
//! with a page each.

use crate::world::World;
use handstamp_core::refusal::Code;
use std::collections::BTreeMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What the edge can say, from its own source: code, status, titles.
fn said() -> BTreeMap<String, (u16, Vec<String>)> {
    let source = include_str!("../../../src/http/listener/refusal.rs");
    let (_, table) = source.split_once("match self {").unwrap();
    let (table, _) = table.split_once("/// The code of the problem document").unwrap();
    let mut all: BTreeMap<String, (u16, Vec<String>)> = BTreeMap::new();
    for arm in table.split("Refusal::").skip(1) {
        let (_, tuple) = arm.split_once('(').unwrap();
        let tuple = if tuple.starts_with("detail)") || tuple.starts_with('_') {
            tuple.split_once('(').unwrap().1
        } else {
            tuple
        };
        let status: u16 = tuple.trim_start().split(',').next().unwrap().parse().unwrap();
        let texts: Vec<&str> = tuple.split('"').skip(1).step_by(2).collect();
        let entry = all.entry(texts[1].to_owned()).or_insert((status, Vec::new()));
        assert_eq!(entry.0, status);
        entry.1.push(texts[2].to_owned());
    }
    all
}

#[test]
fn the_edges_words_and_the_closed_list_agree() {
    let said = said();
    assert!(said.len() >= 10, "{said:?}");
    let codes: Vec<&str> = said.keys().map(String::as_str).collect();
    let mut listed: Vec<&str> = Code::EDGE.iter().map(|code| code.text()).collect();
    listed.sort_unstable();
    assert_eq!(codes, listed);
    for (text, (status, titles)) in &said {
        let code = Code::parse(text).unwrap();
        assert_eq!(code.status(), *status, "{text}");
        assert!(
            matches!(code, Code::RequestTimeout | Code::UriTooLong)
                || titles.iter().any(|title| title == code.title()),
            "{text}: {titles:?}"
        );
    }
}

#[tokio::test]
async fn what_the_edge_says_over_a_socket_has_a_page() {
    let world = World::new().await;
    let long = "x".repeat(9_000);
    let many = "a: b\r\n".repeat(120);
    for (bytes, status, code) in [
        ("nonsense\r\n\r\n".to_owned(), 400, "request_malformed"),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            400,
            "request_ambiguous",
        ),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n".to_owned(),
            501,
            "transfer_coding_unknown",
        ),
        ("GET / HTTP/2.0\r\nHost: x\r\n\r\n".to_owned(), 505, "http_version_unknown"),
        (format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), 414, "uri_too_long"),
        (format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n"), 431, "header_too_large"),
    ] {
        let mut tcp = tokio::net::TcpStream::connect(world.address).await.unwrap();
        tcp.write_all(bytes.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{code}: {answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["code"], code);
        let page = world.get(problem["type"].as_str().unwrap()).await;
        assert_eq!(page.status, 200, "{code}");
    }
}
