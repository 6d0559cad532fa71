//! Whose request it is: a corpus of headers, honest ones and tricks, against the pure function.

use handstamp_core::address::{Network, Networks};
use handstamp_server::http::peer::{SaidIn, Trust};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use std::net::IpAddr;

/// The proxies of these tests: one beside us, a network of them, one with IPv6.
fn trust(said_in: SaidIn) -> Trust {
    let proxies: Networks = ["127.0.0.1", "10.0.0.0/8", "2001:db8:aaaa::/48"]
        .map(|text| Network::parse(text).unwrap())
        .into_iter()
        .collect();
    Trust { proxies, said_in }
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

#[track_caller]
fn is(said_in: SaidIn, connection: &str, lines: &[(&str, &str)], client: &str) {
    let found = trust(said_in).client(connection.parse().unwrap(), &headers(lines));
    assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{connection} {lines:?}");
}

/// Each value as the one header, on a connection of a trusted proxy.
#[track_caller]
fn each(said_in: SaidIn, name: &str, cases: &[(&str, &str)]) {
    for (value, client) in cases {
        is(said_in, "10.0.0.1", &[(name, value)], client);
    }
}

const XFF: &str = "X-Forwarded-For";
/// A client, and an address that somebody makes up.
const CLIENT: &str = "198.51.100.9";
const SPOOF: &str = "6.6.6.6";

#[test]
fn nobody_is_believed_who_is_not_trusted() {
    for connection in
        ["198.51.100.9", "127.0.0.2", "11.0.0.0", "9.255.255.255", "2001:db8:aaab::1", "::1", "::10.0.0.1"]
    {
        for said_in in [SaidIn::XForwardedFor, SaidIn::Forwarded] {
            is(said_in, connection, &[], connection);
            is(said_in, connection, &[(XFF, SPOOF), ("Forwarded", "for=6.6.6.6")], connection);
        }
    }
    // Nobody at all by default.
    let lines = headers(&[(XFF, SPOOF), ("Forwarded", "for=6.6.6.6")]);
    for connection in ["127.0.0.1", "10.0.0.1", "::1"].map(|text| text.parse().unwrap()) {
        assert_eq!(Trust::default().client(connection, &lines), connection);
    }
    // An address has one form, whether it is trusted or not.
    is(SaidIn::XForwardedFor, "::ffff:198.51.100.9", &[(XFF, SPOOF)], CLIENT);
    is(SaidIn::XForwardedFor, "::ffff:10.0.0.1", &[(XFF, CLIENT)], CLIENT);
}

#[test]
fn the_rightmost_that_is_not_trusted_is_the_client() {
    each(
        SaidIn::XForwardedFor,
        XFF,
        &[
            ("198.51.100.9", CLIENT),
            ("6.6.6.6, 198.51.100.9", CLIENT),
            ("6.6.6.6,198.51.100.9", CLIENT),
            ("6.6.6.6 ,\t198.51.100.9 ", CLIENT),
            ("6.6.6.6, 198.51.100.9, 10.0.0.2", CLIENT),
            ("6.6.6.6, 10.9.9.9, 198.51.100.9, 10.0.0.2, 2001:db8:aaaa::7", CLIENT),
            // All of them are ours: the one furthest away.
            ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
            ("10.0.0.3", "10.0.0.3"),
            ("2001:db8::9", "2001:db8::9"),
            ("::ffff:198.51.100.9", CLIENT),
            ("::ffff:10.0.0.2", "10.0.0.2"),
            // With a port, as some write it.
            ("198.51.100.9:50123", CLIENT),
            ("[2001:db8::9]:50123", "2001:db8::9"),
            ("[2001:db8::9]", "2001:db8::9"),
            ("6.6.6.6, 198.51.100.9:1, 10.0.0.2:2", CLIENT),
            ("2001:DB8:0:0::9", "2001:db8::9"),
        ],
    );
    is(SaidIn::XForwardedFor, "10.0.0.1", &[], "10.0.0.1");
}

/// What is no address ends the walk: the hop that said it is as far as anybody knows, and nothing to the left counts.
#[test]
fn what_is_no_address_is_never_believed() {
    for wrong in [
        "",
        " ",
        "unknown",
        "_hidden",
        "localhost",
        "client.example.org",
        "010.0.0.9",
        "198.51.100.09",
        "198.51.100",
        "3325256713",
        "0xc6336409",
        "198.51.100.9/32",
        "198.51.100.9:",
        "198.51.100.9:65536",
        "198.51.100.9:-1",
        "198.51.100.9:+80",
        "[198.51.100.9]",
        "[2001:db8::9",
        "2001:db8::9]",
        "[2001:db8::9]80",
        "[2001:db8::9]:",
        "fe80::1%eth0",
        "[fe80::1%eth0]",
        "\"198.51.100.9\"",
        "198.51.100.9 198.51.100.8",
        "198.51.100.9;198.51.100.8",
        "for=198.51.100.9",
        "198.51.100.9\u{a0}",
        "1９8.51.100.9",
        "<script>",
    ] {
        let lists = [wrong.to_owned(), format!("{SPOOF}, {wrong}"), format!("{SPOOF},{wrong}")];
        for list in lists {
            is(SaidIn::XForwardedFor, "10.0.0.1", &[(XFF, &list)], "10.0.0.1");
        }
        // Behind two proxies of ours: the outer one.
        is(SaidIn::XForwardedFor, "10.0.0.1", &[(XFF, &format!("{SPOOF}, {wrong}, 10.0.0.2"))], "10.0.0.2");
        // To the left of the client it is not even looked at.
        is(SaidIn::XForwardedFor, "10.0.0.1", &[(XFF, &format!("{wrong}, {CLIENT}"))], CLIENT);
    }
    let mut bytes = HeaderMap::new();
    bytes.append(XFF, HeaderValue::from_bytes(b"6.6.6.6, \xff\xfe").unwrap());
    let proxy = "10.0.0.1".parse().unwrap();
    assert_eq!(trust(SaidIn::XForwardedFor).client(proxy, &bytes), proxy);
}

#[test]
fn tricks_with_names_do_nothing() {
    let x = SaidIn::XForwardedFor;
    // Other spellings are other headers.
    for name in [
        "X_Forwarded_For",
        "X-Forwarded_For",
        "x_forwarded-for",
        "X-Forwarded-For-",
        "X-Real-IP",
        "X-Client-IP",
        "Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "Via",
        "X-Forwarded",
        "X-Original-Forwarded-For",
        "Forwarded-For",
    ] {
        is(x, "10.0.0.1", &[(name, SPOOF)], "10.0.0.1");
        is(x, "10.0.0.1", &[(name, SPOOF), (XFF, CLIENT)], CLIENT);
        is(x, "10.0.0.1", &[(XFF, CLIENT), (name, SPOOF)], CLIENT);
    }
    // `Connection` names it as a header of this hop alone: still what the trusted hop said.
    for connection in ["x-forwarded-for", "close, X-Forwarded-For", "forwarded", "X_Forwarded_For"] {
        is(x, "10.0.0.1", &[("Connection", connection), (XFF, &format!("{SPOOF}, {CLIENT}"))], CLIENT);
        is(x, "198.51.100.9", &[("Connection", connection), (XFF, SPOOF)], CLIENT);
    }
    // Several lines are one list, in their order, however the name is written.
    is(x, "10.0.0.1", &[(XFF, SPOOF), ("x-forwarded-for", CLIENT)], CLIENT);
    is(x, "10.0.0.1", &[(XFF, SPOOF), ("X-FORWARDED-FOR", CLIENT), (XFF, "10.0.0.2")], CLIENT);
    is(x, "10.0.0.1", &[(XFF, "6.6.6.6, 198.51.100.9"), (XFF, "10.0.0.3, 10.0.0.2")], CLIENT);
    is(x, "10.0.0.1", &[(XFF, SPOOF), (XFF, "")], "10.0.0.1");
    // One header counts; a proxy that writes the other one passes this one on as its client sent it.
    is(x, "10.0.0.1", &[("Forwarded", "for=6.6.6.6")], "10.0.0.1");
    is(x, "10.0.0.1", &[("Forwarded", "for=6.6.6.6"), (XFF, CLIENT)], CLIENT);
    is(SaidIn::Forwarded, "10.0.0.1", &[(XFF, SPOOF)], "10.0.0.1");
    is(SaidIn::Forwarded, "10.0.0.1", &[(XFF, SPOOF), ("Forwarded", "for=198.51.100.9")], CLIENT);
}

#[test]
fn forwarded_as_rfc_7239_writes_it() {
    each(
        SaidIn::Forwarded,
        "Forwarded",
        &[
            ("for=198.51.100.9", CLIENT),
            ("For=\"198.51.100.9\"", CLIENT),
            ("FOR=\"198.51.100.9:50123\"", CLIENT),
            ("for=\"198.51.100.9:_gazonk\"", CLIENT),
            ("for=\"[2001:db8::9]\"", "2001:db8::9"),
            ("for=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=\"[::ffff:198.51.100.9]\"", CLIENT),
            ("for=198.51.100.9;proto=https;by=203.0.113.43", CLIENT),
            ("proto=https;by=203.0.113.43;for=198.51.100.9", CLIENT),
            ("by=203.0.113.43; for=198.51.100.9 ; host=\"a,b;c=\\\"d\\\"\"", CLIENT),
            (";;for=198.51.100.9;;", CLIENT),
            ("for=198.51.100.9;host=\"a,\\\"b\"", CLIENT),
            ("for=\"1\\98.51.100.9\"", CLIENT),
            ("for=6.6.6.6, for=198.51.100.9", CLIENT),
            ("for=6.6.6.6,for=198.51.100.9;by=\"10.0.0.2:80\", for=10.0.0.2", CLIENT),
            ("for=10.0.0.3, for=10.0.0.2", "10.0.0.3"),
            // What proxies forget to quote, and could not mean otherwise.
            ("for=198.51.100.9:50123", CLIENT),
            ("for=[2001:db8::9]:443;proto=https", "2001:db8::9"),
            // Quotes and commas of a client's own do not swallow what the proxy added.
            ("for=\"6.6.6.6, for=198.51.100.9", CLIENT),
            ("for=\"6.6.6.6\\, for=198.51.100.9", CLIENT),
            ("\", for=198.51.100.9", CLIENT),
            ("\\\", for=\"198.51.100.9\"", CLIENT),
            ("for=\"6.6.6.6, for=\"[2001:db8::9]:443\"", "2001:db8::9"),
        ],
    );
    is(
        SaidIn::Forwarded,
        "10.0.0.1",
        &[("Forwarded", "for=\"6.6.6.6"), ("Forwarded", "for=198.51.100.9")],
        CLIENT,
    );
}

#[test]
fn forwarded_that_says_no_address() {
    for wrong in [
        "",
        "for",
        "for=",
        "for=\"\"",
        "for=unknown",
        "for=_hidden",
        "for=\"_SEVKISEK\"",
        "for=\"unknown:80\"",
        "by=198.51.100.9",
        "proto=https",
        "198.51.100.9",
        "for =198.51.100.9",
        "for= 198.51.100.9",
        "for=198.51.100.9;for=198.51.100.9",
        "for=198.51.100.9 by=1.1.1.1",
        "for=2001:db8::9",
        "for=\"2001:db8::9\"",
        "for=\"[2001:db8::9\"",
        "for=\"[198.51.100.9]\"",
        "for=\"198.51.100.9",
        "for=198.51.100.9\"",
        "for=\"198.51.100.9\"x",
        "for=010.0.0.9",
        "for=\"198.51.100.9:_\"",
        "for=\"198.51.100.9:99999\"",
        "for=198.51.100.9;x",
        "for=198.51.100.9;=y",
        "f\u{f6}r=198.51.100.9",
        "for=198.51.100.9;b@d=1",
        "for=<6.6.6.6>",
        "for=\"[fe80::1%25eth0]\"",
    ] {
        is(SaidIn::Forwarded, "10.0.0.1", &[("Forwarded", wrong)], "10.0.0.1");
        is(
            SaidIn::Forwarded,
            "10.0.0.1",
            &[("Forwarded", &format!("for=6.6.6.6, {wrong}, for=10.0.0.2"))],
            "10.0.0.2",
        );
        is(SaidIn::Forwarded, "10.0.0.1", &[("Forwarded", &format!("{wrong}, for=198.51.100.9"))], CLIENT);
    }
}

/// What a client may send: bits of both headers, in any order, and any other byte.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let bit = prop_oneof![
        prop::sample::select(
            &[
                "for=",
                "\"",
                "\\",
                ",",
                ";",
                " ",
                "6.6.6.6",
                "10.0.0.2",
                "[2001:db8::6]",
                ":80",
                "unknown",
                "by=",
                "="
            ][..]
        )
        .prop_map(|bit| bit.as_bytes().to_vec()),
        prop::sample::select((0x20..=0xff).filter(|byte| *byte != 0x7f).collect::<Vec<u8>>())
            .prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(bit, 0..24).prop_map(|bits| bits.concat())
}

proptest! {
    /// Whatever a client sends, in however many lines: a proxy adds who it was, and that is who it is.
    #[test]
    fn a_client_cannot_hide_from_the_proxy(sent in prop::collection::vec(text(), 0..4), same_line in any::<bool>(), six in any::<bool>()) {
        let client: IpAddr = if six { "2001:db8::9" } else { CLIENT }.parse().unwrap();
        let quoted = if six { "for=\"[2001:db8::9]:443\";proto=https" } else { "for=198.51.100.9" };
        for (said_in, name, added) in [(SaidIn::XForwardedFor, "x-forwarded-for", client.to_string()), (SaidIn::Forwarded, "forwarded", quoted.to_owned())] {
            let mut lines = sent.clone();
            match lines.last_mut().filter(|_| same_line) {
                Some(last) => last.extend([b", ", added.as_bytes()].concat()),
                None => lines.push(added.into_bytes()),
            }
            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(line).unwrap());
            }
            prop_assert_eq!(trust(said_in).client("10.0.0.1".parse().unwrap(), &headers), client, "{:?}", headers);
        }
    }
}
