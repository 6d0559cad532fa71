//! The PROXY protocol: who must say it, who may not, and what is made of it.

use super::{Client, Server, limits, soon};
use handstamp_core::address::Network;
use handstamp_server::http::listener::proxy::{LONGEST_V1, LONGEST_V2, Look, Whose, examine};
use handstamp_server::http::listener::{Limits, Preface};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};

/// Trusts 127.0.0.2 alone.
async fn server(limits: Limits) -> Server {
    let proxies = [Network::parse("127.0.0.2").unwrap()].into_iter().collect();
    Server::start_after(limits, Preface { proxies: Some(Arc::new(proxies)), tls: None }).await
}

impl Server {
    /// A connection from another address of this machine.
    async fn connect_from(&self, address: &str) -> Client<TcpStream> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
        let tcp = socket.connect(self.address).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        Client(tcp)
    }
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const GET: &[u8] = b"GET /peer HTTP/1.1\r\nHost: x\r\n\r\n";

/// Version 2, with whatever follows the addresses.
fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, block].concat()
}

fn four(source: [u8; 4], port: u16) -> Vec<u8> {
    [&source[..], &[203, 0, 113, 1], &port.to_be_bytes(), &443u16.to_be_bytes()].concat()
}

fn six(source: &str, port: u16) -> Vec<u8> {
    let IpAddr::V6(source) = source.parse().unwrap() else { panic!() };
    [&source.octets()[..], &[0; 16], &port.to_be_bytes(), &443u16.to_be_bytes()].concat()
}

fn client(text: &str) -> Whose {
    Whose::Client(text.parse().unwrap())
}

/// Good ones, and whose they are.
fn good() -> Vec<(Vec<u8>, Whose)> {
    let tlv = [&four([198, 51, 100, 9], 5_000)[..], &[0x04, 0, 3, 1, 2, 3], &[0x30, 0, 0]].concat();
    vec![
        (b"PROXY TCP4 198.51.100.9 203.0.113.1 5000 443\r\n".to_vec(), client("198.51.100.9:5000")),
        (b"PROXY TCP4 198.51.100.9 203.0.113.1 0 65535\r\n".to_vec(), client("198.51.100.9:0")),
        (b"PROXY TCP6 2001:db8::9 2001:db8::1 5000 443\r\n".to_vec(), client("[2001:db8::9]:5000")),
        (b"PROXY TCP6 ::ffff:198.51.100.9 ::1 5000 443\r\n".to_vec(), client("198.51.100.9:5000")),
        (b"PROXY UNKNOWN\r\n".to_vec(), Whose::Own),
        (b"PROXY UNKNOWN 6.6.6.6 whatever\r\n".to_vec(), Whose::Own),
        (binary(0x21, 0x11, &four([198, 51, 100, 9], 5_000)), client("198.51.100.9:5000")),
        (binary(0x21, 0x21, &six("2001:db8::9", 5_000)), client("[2001:db8::9]:5000")),
        (binary(0x21, 0x21, &six("::ffff:198.51.100.9", 5_000)), client("198.51.100.9:5000")),
        (binary(0x21, 0x11, &tlv), client("198.51.100.9:5000")),
        (binary(0x20, 0x00, &[]), Whose::Own),
        (binary(0x20, 0x11, &four([6, 6, 6, 6], 5_000)), Whose::Own),
        (binary(0x20, 0xff, &[1, 2, 3]), Whose::Own),
        (binary(0x21, 0x00, &[1, 2, 3]), Whose::Own),
        (binary(0x21, 0x31, &[0; 216]), Whose::Own),
        (binary(0x20, 0x00, &vec![0; LONGEST_V2 - 16]), Whose::Own),
        ([b"PROXY UNKNOWN ", &[b'x'; LONGEST_V1 - 16][..], b"\r\n"].concat(), Whose::Own),
    ]
}

fn wrong() -> Vec<Vec<u8>> {
    let lines = [
        "PROXY TCP4 198.51.100.9 203.0.113.1 5000 443\n",
        "PROXY TCP4 198.51.100.9 203.0.113.1 5000 443 \r\n",
        "PROXY  TCP4 198.51.100.9 203.0.113.1 5000 443\r\n",
        "PROXY TCP4 198.51.100.9 203.0.113.1 5000\r\n",
        "PROXY TCP4 198.51.100.9 203.0.113.1 5000 443 1\r\n",
        "PROXY TCP4 198.51.100.09 203.0.113.1 5000 443\r\n",
        "PROXY TCP4 2001:db8::9 2001:db8::1 5000 443\r\n",
        "PROXY TCP6 198.51.100.9 203.0.113.1 5000 443\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 5000 443\r\n",
        "PROXY TCP4 198.51.100.9 203.0.113.1 05000 443\r\n",
        "PROXY TCP4 198.51.100.9 203.0.113.1 +5000 443\r\n",
        "PROXY TCP4 198.51.100.9 203.0.113.1 65536 443\r\n",
        "PROXY TCP4 198.51.100.9 203.0.113.1 -1 443\r\n",
        "PROXY UDP4 198.51.100.9 203.0.113.1 5000 443\r\n",
        "PROXY tcp4 198.51.100.9 203.0.113.1 5000 443\r\n",
        "PROXY\r\n",
        "PROXY \r\n",
        "proxy TCP4 198.51.100.9 203.0.113.1 5000 443\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "\x16\x03\x01",
    ];
    let mut all: Vec<Vec<u8>> = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
    all.extend([
        [b"PROXY UNKNOWN ", &[b'x'; LONGEST_V1 - 15][..], b"\r\n"].concat(),
        b"PROXY TCP4 \xff 203.0.113.1 5000 443\r\n".to_vec(),
        binary(0x11, 0x11, &four([198, 51, 100, 9], 1)),
        binary(0x22, 0x11, &four([198, 51, 100, 9], 1)),
        binary(0x21, 0x12, &four([198, 51, 100, 9], 1)),
        binary(0x21, 0x11, &four([198, 51, 100, 9], 1)[..11]),
        binary(0x21, 0x21, &four([198, 51, 100, 9], 1)),
        binary(0x21, 0x11, &[&four([198, 51, 100, 9], 1)[..], &[4, 0]].concat()),
        binary(0x21, 0x11, &[&four([198, 51, 100, 9], 1)[..], &[4, 0, 9, 1]].concat()),
        binary(0x20, 0x00, &vec![0; LONGEST_V2 - 15]),
        [&SIGNATURE[..11], b"X"].concat(),
    ]);
    all
}

#[test]
fn what_is_read_and_what_is_not() {
    for (header, of) in good() {
        let whole = Look::Whole { len: header.len(), of };
        assert_eq!(examine(&header), whole, "{:?}", String::from_utf8_lossy(&header));
        // What follows is not looked at, and nothing less is enough.
        assert_eq!(examine(&[&header[..], b"PROXY \0"].concat()), whole);
        for n in 0..header.len() {
            assert_eq!(examine(&header[..n]), Look::Partial, "{n} of {:?}", String::from_utf8_lossy(&header));
        }
    }
    for header in wrong() {
        assert!(matches!(examine(&header), Look::Wrong(_)), "{:?}", String::from_utf8_lossy(&header));
    }
    // The longest address there is fits.
    let most = ["ffff"; 8].join(":");
    let line = format!("PROXY TCP6 {most} {most} 65535 65535\r\n");
    assert!(matches!(examine(line.as_bytes()), Look::Whole { len, .. } if len == line.len()));
}

#[tokio::test]
async fn a_trusted_proxy_names_its_client() {
    let server = server(limits()).await;
    for (header, of) in good() {
        for pieces in [1, 2, header.len()] {
            let mut proxy = server.connect_from("127.0.0.2").await;
            let own = proxy.0.local_addr().unwrap();
            let mut rest = [&header[..], GET].concat();
            // In one write with the request, cut in two, or byte by byte.
            for _ in 1..pieces {
                let next = rest.split_off(if pieces == 2 { header.len() / 2 } else { 1 });
                proxy.send(&rest).await;
                rest = next;
            }
            proxy.send(&rest).await;
            let named = match of {
                Whose::Own => own,
                Whose::Client(client) => client,
            };
            assert_eq!(proxy.answer().await.body, format!("{named} tls=false"), "{header:?}");
            // It stands for the whole connection, and is said once.
            assert_eq!(proxy.get("/peer").await.body, format!("{named} tls=false"));
        }
    }
}

#[tokio::test]
async fn a_trusted_proxy_that_does_not_say_it_is_refused() {
    let server = server(limits()).await;
    for header in wrong() {
        let mut proxy = server.connect_from("127.0.0.2").await;
        proxy.send([&header[..], GET].concat()).await;
        let answer = proxy.refused(400, "request_malformed").await;
        assert!(answer.body.contains("PROXY protocol"), "{answer:?}");
    }
    // A monitor that only looks whether somebody is there is left alone.
    for sent in [&b""[..], b"PROXY TCP4 198.51"] {
        let mut proxy = server.connect_from("127.0.0.2").await;
        proxy.send(sent).await;
        tokio::io::AsyncWriteExt::shutdown(&mut proxy.0).await.unwrap();
        assert_eq!(proxy.until_closed().await, b"");
    }
    // Twice is once too often: the second one is no HTTP.
    let (mut proxy, line) = (server.connect_from("127.0.0.2").await, &good()[0].0);
    proxy.send([&line[..], line, GET].concat()).await;
    assert!(!proxy.refused(400, "request_malformed").await.body.contains("PROXY"));
}

#[tokio::test]
async fn nobody_else_may_say_it() {
    let server = server(limits()).await;
    for (header, _) in good() {
        let mut client = server.connect().await;
        client.send([&header[..], GET].concat()).await;
        client.refused(400, "request_malformed").await;
    }
    let mut client = server.connect().await;
    let own = client.0.local_addr().unwrap();
    assert_eq!(client.get("/peer").await.body, format!("{own} tls=false"));
    // Switched off, it is nobody's.
    let off = Server::start(limits()).await;
    let mut proxy = off.connect_from("127.0.0.2").await;
    proxy.send([&good()[0].0[..], GET].concat()).await;
    proxy.refused(400, "request_malformed").await;
}

/// The bound on connections of one address counts clients, and no client takes the places of another.
#[tokio::test]
async fn places_are_the_clients() {
    let server = server(Limits { max_connections_per_peer: 2, ..limits() }).await;
    let by_proxy = async |client: &str| {
        let mut proxy = server.connect_from("127.0.0.2").await;
        proxy.send(format!("PROXY TCP4 {client} 203.0.113.1 5000 443\r\n")).await;
        proxy
    };
    let mut seated = Vec::new();
    for client in ["198.51.100.9", "198.51.100.9", "198.51.100.8", "198.51.100.8"] {
        let mut proxy = by_proxy(client).await;
        assert_eq!(proxy.get("/").await.status, 200, "{client}");
        seated.push(proxy);
    }
    let mut third = by_proxy("198.51.100.9").await;
    third.send(GET).await;
    third.refused(429, "too_many_connections").await;
    drop(third);
    // A place that is left is that client's again.
    drop(seated.remove(0));
    soon("the free place", async { while by_proxy("198.51.100.9").await.get("/").await.status != 200 {} })
        .await;
    // Connections that have not said whose they are take no client's place.
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(server.connect_from("127.0.0.2").await);
    }
    assert_eq!(by_proxy("198.51.100.7").await.get("/").await.status, 200);
}

#[tokio::test]
async fn one_that_says_nothing_is_closed_in_time_and_holds_up_no_end() {
    let slow = server(Limits { handshake: Duration::from_millis(100), ..limits() }).await;
    for sent in [&b""[..], b"PROXY ", SIGNATURE] {
        let mut proxy = slow.connect_from("127.0.0.2").await;
        proxy.send(sent).await;
        assert_eq!(proxy.until_closed().await, b"");
    }
    let server = server(limits()).await;
    let mut silent = server.connect_from("127.0.0.2").await;
    silent.send(b"PROXY TCP4 ").await;
    // An answer to a later connection: the first has been accepted.
    assert_eq!(server.connect().await.get("/").await.status, 200);
    server.stopper.ask();
    assert_eq!(silent.until_closed().await, b"");
    assert_eq!(server.drained().await.cut, 0);
}

/// TLS comes behind it.
#[tokio::test]
async fn before_tls() {
    let desk = super::tls::Desk::new("proxied");
    let proxies = [Network::parse("127.0.0.2").unwrap()].into_iter().collect();
    let preface = Preface { proxies: Some(Arc::new(proxies)), tls: Some(desk.load().unwrap()) };
    let server = Server::start_after(limits(), preface).await;
    let mut proxy = server.connect_from("127.0.0.2").await;
    proxy.send(&good()[0].0).await;
    let mut client = desk.handshake(proxy.0).await;
    assert_eq!(client.get("/peer").await.body, "198.51.100.9:5000 tls=true");
    let mut plain = server.connect_from("127.0.0.2").await;
    plain.send(GET).await;
    assert_eq!(plain.until_closed().await, b"");
}
