//! The header of the PROXY protocol: the same in whatever pieces it comes, bounded, and a client only where one was
//! named.
#![no_main]

use handstamp_server::http::listener::proxy::{LONGEST_V1, LONGEST_V2, Look, Whose, examine};
use libfuzzer_sys::fuzz_target;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fuzz_target!(|data: &[u8]| {
    look(data);
    // Behind a right beginning the rest is reached sooner.
    look(&[b"PROXY ", data].concat());
    look(&[SIGNATURE, b"\x21", data].concat());
});

fn look(bytes: &[u8]) {
    let whole = examine(bytes);
    for n in 0..bytes.len() {
        match (examine(&bytes[..n]), &whole) {
            (Look::Partial, _) | (Look::Wrong(_), Look::Wrong(_)) => {}
            (early, late) => assert_eq!(&early, late, "after {n} bytes"),
        }
    }
    let Look::Whole { len, of } = whole else {
        assert!(whole != Look::Partial || bytes.len() < LONGEST_V2);
        return;
    };
    assert!(len <= bytes.len() && examine(&bytes[..len - 1]) == Look::Partial);
    let header = &bytes[..len];
    if let Some(line) = header.strip_prefix(b"PROXY ") {
        assert!(len <= LONGEST_V1 && line.ends_with(b"\r\n"));
        if let Whose::Client(client) = of {
            // Said again in the one way there is, it is the same.
            let family = if line.starts_with(b"TCP4") { "TCP4 1.1.1.1" } else { "TCP6 ::1" };
            let (kind, to) = family.split_once(' ').expect("two words");
            let from = match client.ip() {
                std::net::IpAddr::V4(ip) if kind == "TCP6" => ip.to_ipv6_mapped().to_string(),
                ip => ip.to_string(),
            };
            let again = format!("PROXY {kind} {from} {to} {} 1\r\n", client.port());
            assert_eq!(examine(again.as_bytes()), Look::Whole { len: again.len(), of });
        }
    } else {
        assert!(len <= LONGEST_V2 && header.starts_with(SIGNATURE));
        let (command, family) = (header[12], header[13]);
        assert_eq!(command >> 4, 2);
        assert_eq!(matches!(of, Whose::Client(_)), command == 0x21 && [0x11, 0x21].contains(&family));
    }
}
