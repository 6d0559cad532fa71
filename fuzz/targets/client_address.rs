//! The client's address out of headers: whatever a client sends, an untrusted connection is its own, and what a trusted
//! proxy adds behind it is who it is.
#![no_main]

use handstamp_core::address::Network;
use handstamp_server::http::peer::{SaidIn, Trust};
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;

fuzz_target!(|data: &[u8]| {
    let proxies = Network::parse("10.0.0.0/8").into_iter().collect();
    let mut trust = Trust { proxies, said_in: SaidIn::XForwardedFor };
    let (proxy, client, other): (IpAddr, IpAddr, IpAddr) =
        ([10, 0, 0, 1].into(), [198, 51, 100, 9].into(), [192, 0, 2, 1].into());
    // The lines of the input are lines of the header.
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    for (said_in, name, added) in [
        (SaidIn::XForwardedFor, "x-forwarded-for", "198.51.100.9"),
        (SaidIn::XForwardedFor, "x-forwarded-for", "198.51.100.9:4711"),
        (SaidIn::Forwarded, "forwarded", "for=198.51.100.9"),
        (SaidIn::Forwarded, "forwarded", "by=\"_a\\\"b\";for=\"198.51.100.9:4711\""),
    ] {
        trust.said_in = said_in;
        let Some(sent) = headers(name, &lines) else { return };
        assert_eq!(trust.client(other, &sent), other);
        let claimed = trust.client(proxy, &sent);
        // A proxy beyond the last trusted one was trusted, or it would have been the last.
        assert_eq!(claimed, claimed.to_canonical());

        let mut own_line = lines.clone();
        own_line.push(added.as_bytes());
        let mut same_line = lines.clone();
        let last = [same_line.pop().unwrap_or_default(), b", ", added.as_bytes()].concat();
        same_line.push(&last);
        for lines in [own_line, same_line] {
            let Some(sent) = headers(name, &lines) else { return };
            assert_eq!(trust.client(proxy, &sent), client, "{sent:?}");
        }
    }
});

fn headers(name: &'static str, lines: &[&[u8]]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(line).ok()?);
    }
    Some(headers)
}
