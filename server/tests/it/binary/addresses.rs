//! Whose request it is, as the real server says it: the line of a call names the client, and only a trusted proxy's word
//! about it counts. And whatever the headers say, a backend's own word is what is kept of its user's client.

use super::{Place, Server, eventually};
use serde_json::{Value as Json, json};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

/// Sends bytes from an address of this machine; the whole answer.
fn exchange(server: &Server, from: &str, bytes: &[u8]) -> String {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from.parse().unwrap(), 0).into()).unwrap();
    socket.connect(&server.address.parse::<SocketAddr>().unwrap().into()).unwrap();
    let mut socket = std::net::TcpStream::from(socket);
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.write_all(bytes).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

/// One request with more header lines.
fn request(server: &Server, method: &str, path: &str, lines: &str, body: &str) -> String {
    let key = &server.key;
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n{kind}{lines}Content-Length: \
         {}\r\n\r\n{body}",
        body.len()
    )
}

/// The `client` of the one line about a call to `route`.
fn logged(server: &Server, answer: &str, route: &str) -> String {
    let id = answer.lines().find_map(|line| line.strip_prefix("x-request-id: ")).expect(answer).to_owned();
    let line: Json = eventually("the line of the call", || {
        let log = server.log();
        let line = log.lines().find(|line| line.contains(&id) && line.ends_with('}'))?;
        Some(serde_json::from_str(line).unwrap())
    });
    let said = |name: &str| {
        [&line[name], &line["fields"][name]].into_iter().find_map(Json::as_str).map(str::to_owned)
    };
    assert_eq!(said("route").as_deref(), Some(route), "{line}");
    said("client").unwrap_or_else(|| panic!("{line}"))
}

#[test]
fn only_a_trusted_proxy_is_believed() {
    let place = Place::new();
    place.configure("[server]\ntrusted_proxies = [\"127.0.0.2\", \"10.0.0.0/8\"]\n[log]\nlevel = \"debug\"\nformat = \"json\"\n");
    let server = place.serve();
    let spoofed = "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nConnection: x-forwarded-for\r\n";
    let behind = "X-Forwarded-For: 6.6.6.6, 198.51.100.9, 10.0.0.7\r\nForwarded: for=6.6.6.6\r\n";
    let hidden = "X-Forwarded-For: 6.6.6.6, unknown\r\n";
    for (from, lines, client) in [
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", spoofed, "127.0.0.1"),
        ("127.0.0.1", behind, "127.0.0.1"),
        ("127.0.0.2", "", "127.0.0.2"),
        ("127.0.0.2", behind, "198.51.100.9"),
        ("127.0.0.2", hidden, "127.0.0.2"),
        ("127.0.0.2", "X-Forwarded-For: 2001:DB8::9\r\n", "2001:db8::9"),
    ] {
        let body = json!({"token": "hst_x"}).to_string();
        for (method, path, route, body) in [
            ("POST", "/v1/sessions/validate", "/v1/sessions/validate", body.as_str()),
            ("GET", "/v1/keys", "/v1/keys", ""),
            ("GET", "/nowhere", "none", ""),
        ] {
            let answer = exchange(&server, from, request(&server, method, path, lines, body).as_bytes());
            assert_eq!(logged(&server, &answer, route), client, "{from} {lines:?} {path}");
        }
    }
    let log = server.stop();
    assert!(!log.contains("6.6.6.6"), "a client's own text is in the log: {log}");
}

/// What a key holder says of its user's client is kept and judged; what is on the way to the key holder is not.
#[test]
fn a_backend_says_who_its_client_is() {
    let place = Place::new();
    place.configure("[server]\ntrusted_proxies = [\"127.0.0.2\"]\n");
    let server = place.serve();
    let lines = "X-Forwarded-For: 198.51.100.9\r\n";
    let call = |path: &str, body: Json| -> Json {
        let answer = exchange(
            &server,
            "127.0.0.2",
            request(&server, "POST", path, lines, &body.to_string()).as_bytes(),
        );
        serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap())
            .unwrap_or_else(|why| panic!("{why}: {answer}"))
    };
    for (body, ip) in [
        (json!({"user_id": "ada", "ip": "203.0.113.7"}), json!("203.0.113.7")),
        (json!({"user_id": "ada"}), Json::Null),
    ] {
        let made = call("/v1/sessions", body);
        assert_eq!(made["session"]["client"]["ip"], ip, "{made}");
        let said = call("/v1/sessions/validate", json!({"token": made["token"]}));
        assert_eq!((&said["valid"], &said["session"]["client"]["ip"]), (&json!(true), &ip), "{said}");
    }
    server.stop();
}

#[test]
fn the_proxy_protocol() {
    let place = Place::new();
    place.configure(
        "[server]\ntrusted_proxies = [\"127.0.0.2\"]\nproxy_protocol = true\nforwarded_header = \"forwarded\"\n[log]\nlevel = \
         \"debug\"\nformat = \"json\"\n",
    );
    let server = place.serve();
    let get = |lines| request(&server, "GET", "/v1/keys", lines, "");
    let forwarded = "Forwarded: for=6.6.6.6\r\n";
    for (line, lines, client) in [
        ("PROXY TCP4 198.51.100.9 203.0.113.1 5000 443\r\n", "", "198.51.100.9"),
        // The client behind it is not trusted, its headers are text.
        ("PROXY TCP4 198.51.100.9 203.0.113.1 5000 443\r\n", forwarded, "198.51.100.9"),
        ("PROXY UNKNOWN\r\n", "", "127.0.0.2"),
        // A proxy that is trusted stands before one that only passes bytes on.
        (
            "PROXY TCP4 127.0.0.2 203.0.113.1 5000 443\r\n",
            "Forwarded: for=6.6.6.6, for=\"[2001:db8::9]:7\"\r\n",
            "2001:db8::9",
        ),
    ] {
        let answer = exchange(&server, "127.0.0.2", format!("{line}{}", get(lines)).as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(logged(&server, &answer, "/v1/keys"), client, "{line:?} {lines:?}");
    }
    // Its own host's clients, which are not trusted, come as they are.
    let answer = exchange(&server, "127.0.0.1", get(forwarded).as_bytes());
    assert_eq!(logged(&server, &answer, "/v1/keys"), "127.0.0.1");
    for (from, bytes) in [
        ("127.0.0.1", format!("PROXY TCP4 6.6.6.6 203.0.113.1 5000 443\r\n{}", get(""))),
        ("127.0.0.2", get("")),
    ] {
        let answer = exchange(&server, from, bytes.as_bytes());
        assert!(
            answer.starts_with("HTTP/1.1 400") && answer.contains("request_malformed"),
            "{from}: {answer}"
        );
    }
    let log = server.stop();
    assert!(!log.contains("6.6.6.6"), "{log}");
    place.configure("[server]\nproxy_protocol = true\n");
    place.does_not_serve().failed(&["server.proxy_protocol", "trusted_proxies"]);
}
