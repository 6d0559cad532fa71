//! The table of `Sec-Fetch-Site` and `Origin`, every cell of it; what is an origin; what no browser sends.

use handstamp_core::origin::{Allowed, Asked, Said, Site, Vouched, WebOrigin, judge};
use handstamp_core::refusal::Code;

const LISTED: &str = "https://app.example.org";
const OWN: &str = "https://api.example.org";
const FOREIGN: &str = "https://evil.example";

#[derive(Clone, Copy, PartialEq, Debug)]
enum Is {
    /// Goes on, and the CSRF token decides.
    On,
    /// Goes on, also without that header where the call allows it.
    Vouched,
    Refused,
}
use Is::{On, Refused};

fn allowed() -> Allowed {
    [LISTED, "http://localhost:3000"].into_iter().map(|text| WebOrigin::parse(text).unwrap()).collect()
}

fn seen(safe: bool, site: &[&[u8]], origin: &[&[u8]], host: Option<&str>) -> Is {
    let asked = Asked {
        safe,
        site: Site::read(site.iter().copied()),
        origin: Said::read(origin.iter().copied()),
        host,
    };
    match judge(&asked, &allowed()) {
        Ok(Vouched { instead_of_token: true }) => Is::Vouched,
        Ok(Vouched { instead_of_token: false }) => On,
        Err(refusal) => {
            assert_eq!((refusal.code, refusal.rule), (Code::OriginNotAllowed, "origin"));
            assert!(refusal.detail().len() < 400, "{}", refusal.detail());
            Refused
        }
    }
}

#[test]
fn every_cell_of_the_table() {
    // By Sec-Fetch-Site: without an Origin, null, listed, of this host, another, ill-formed.
    let origins = ["", "null", LISTED, OWN, FOREIGN, "https://a.example https://b.example"];
    let table: [(&str, [Is; 6]); 9] = [
        ("same-origin", [On, On, Is::Vouched, Is::Vouched, On, Refused]),
        ("same-site", [Refused, Refused, Is::Vouched, Refused, Refused, Refused]),
        ("cross-site", [Refused, Refused, On, Refused, Refused, Refused]),
        ("none", [On, Refused, On, Refused, Refused, Refused]),
        ("", [On, Refused, On, Refused, Refused, Refused]),
        // Words of a future browser, and what only looks like one of today's.
        ("near-site", [On, Refused, On, Refused, Refused, Refused]),
        ("Same-Origin", [On, Refused, On, Refused, Refused, Refused]),
        ("same-origin ", [On, Refused, On, Refused, Refused, Refused]),
        ("same-origin, cross-site", [On, Refused, On, Refused, Refused, Refused]),
    ];
    for (site, row) in table {
        for (origin, is) in origins.into_iter().zip(row) {
            let given = |text: &'static str| if text.is_empty() { vec![] } else { vec![text.as_bytes()] };
            let (site_values, origin_values) = (given(site), given(origin));
            let seen = |safe| seen(safe, &site_values, &origin_values, Some("api.example.org"));
            assert_eq!(seen(false), is, "unsafe, site `{site}`, origin `{origin}`");
            // A safe method goes on everywhere, and is vouched for in the same cells.
            let safe = if is == Refused { On } else { is };
            assert_eq!(seen(true), safe, "safe, site `{site}`, origin `{origin}`");
        }
    }
}

#[test]
fn headers_that_come_twice() {
    let host = Some("api.example.org");
    for (sites, origins, is) in [
        (vec!["same-origin", "cross-site"], vec![], Refused),
        (vec!["cross-site", "same-origin"], vec![], Refused),
        (vec!["same-origin", "same-origin"], vec![LISTED], Is::Vouched),
        (vec!["same-origin", "same-site"], vec![OWN], Refused),
        (vec!["", "same-origin"], vec![], On),
        (vec!["same-origin"], vec![LISTED, LISTED], Refused),
        (vec!["same-origin"], vec![LISTED, FOREIGN], Refused),
        (vec!["same-origin"], vec!["null", "null"], Refused),
        (vec![], vec![LISTED, LISTED], Refused),
    ] {
        let bytes = |all: &[&'static str]| all.iter().map(|text| text.as_bytes()).collect::<Vec<_>>();
        assert_eq!(seen(false, &bytes(&sites), &bytes(&origins), host), is, "{sites:?} {origins:?}");
    }
}

#[test]
fn the_origin_of_the_host_that_was_asked() {
    for (origin, host, is) in [
        ("https://api.example.org", Some("api.example.org"), Is::Vouched),
        ("https://api.example.org", Some("API.example.org"), Is::Vouched),
        ("https://api.example.org", Some("api.example.org:443"), Is::Vouched),
        ("http://api.example.org", Some("api.example.org"), Is::Vouched),
        ("http://api.example.org", Some("api.example.org:80"), Is::Vouched),
        ("http://127.0.0.1:7411", Some("127.0.0.1:7411"), Is::Vouched),
        ("http://[::1]:7411", Some("[::1]:7411"), Is::Vouched),
        ("http://[::1]", Some("[::1]"), Is::Vouched),
        // Another port is another origin, and a port says its scheme.
        ("https://api.example.org", Some("api.example.org:80"), On),
        ("https://api.example.org:8443", Some("api.example.org"), On),
        ("https://api.example.org", Some("api.example.org:8443"), On),
        ("http://[::1]:7411", Some("[::1]:7412"), On),
        // Another host is another origin, however alike.
        ("https://api.example.org.evil.example", Some("api.example.org"), On),
        ("https://evil-api.example.org", Some("api.example.org"), On),
        ("https://api.example.org.", Some("api.example.org"), On),
        ("https://api.example.org", None, On),
        ("https://:443", Some(""), On),
        ("https://:443", Some(":443"), On),
        ("ftp://api.example.org", Some("api.example.org"), On),
        ("chrome-extension://api.example.org", Some("api.example.org"), On),
    ] {
        assert_eq!(seen(false, &[b"same-origin"], &[origin.as_bytes()], host), is, "{origin} {host:?}");
        // Without the browser's word for it the host proves nothing: who sends a request chooses its Host, too.
        for site in [&b""[..], b"none", b"same-site", b"cross-site"] {
            assert_eq!(seen(false, &[site], &[origin.as_bytes()], host), Refused, "{origin} {host:?}");
        }
    }
}

#[test]
fn what_is_not_the_listed_origin() {
    let long = format!("https://{}.example", "a".repeat(8 * 1024));
    for origin in [
        "https://app.example.org.evil.example",
        "https://evil.example/https://app.example.org",
        "https://app.example.org@evil.example",
        "https://app.example.org/",
        "https://app.example.org:443",
        "https://APP.example.org",
        "HTTPS://app.example.org",
        "http://app.example.org",
        "https://app.example.org:8443",
        "https://app.example.or",
        "https://xapp.example.org",
        "https://app.example.org.",
        "https://app.example.org#",
        "https://app.example.org?",
        " https://app.example.org",
        "https://app.example.org ",
        "https://app.example.org\t",
        "https://app.example.org\r\nX: y",
        "https://app.example.org\0",
        "https://аpp.example.org",
        "https://app。example.org",
        "//app.example.org",
        "app.example.org",
        "://",
        "https://",
        "NULL",
        "Null",
        "*",
        "",
        "file://",
        "http://localhost:03000",
        "http://localhost:3000:3000",
        "http://localhost",
        long.as_str(),
    ] {
        for site in [&b"cross-site"[..], b"same-site", b"none", b""] {
            assert_eq!(
                seen(false, &[site], &[origin.as_bytes()], Some("evil.example")),
                Refused,
                "{origin:?}"
            );
        }
        assert_ne!(
            seen(false, &[b"same-origin"], &[origin.as_bytes()], Some("x")),
            Is::Vouched,
            "{origin:?}"
        );
    }
    assert_eq!(seen(false, &[b"cross-site"], &[&[0xff, 0xfe]], None), Refused);
}

#[test]
fn generated_headers_never_vouch_for_a_stranger() {
    let pieces: [&[u8]; 16] = [
        b"https://",
        b"http://",
        b"app.example.org",
        b"evil.example",
        b"null",
        b":443",
        b"@",
        b"/",
        b"\\",
        b",",
        b" ",
        b"\r\n",
        b"%2e",
        b"[::1]",
        &[0xc3],
        b".",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut passed = 0;
    for _ in 0..200_000 {
        let origin: Vec<u8> = (0..1 + next(5)).flat_map(|_| pieces[next(pieces.len())].to_vec()).collect();
        let site: &[u8] = [&b"cross-site"[..], b"same-site", b"none", b"", b"strange"][next(5)];
        let is = seen(false, &[site], &[&origin], Some("evil.example"));
        if is != Refused {
            assert_eq!(origin, LISTED.as_bytes());
            passed += 1;
        }
    }
    assert!(passed > 0, "the listed origin is among what is generated");
}

#[test]
fn what_is_an_origin() {
    for good in [
        "https://app.example.org",
        "http://localhost",
        "http://localhost:3000",
        "https://xn--bcher-kva.example",
        "http://127.0.0.1:8080",
        "https://[2001:db8::1]",
        "https://[2001:db8::1]:8443",
        "https://under_score.example.org:65535",
    ] {
        assert_eq!(WebOrigin::parse(good).unwrap().as_str(), good);
    }
    for bad in [
        "",
        "*",
        "null",
        "https://*.example.org",
        "app.example.org",
        "//app.example.org",
        "ftp://app.example.org",
        "javascript://app.example.org",
        "HTTPS://app.example.org",
        "https://App.example.org",
        "https://app.example.org/",
        "https://app.example.org/path",
        "https://app.example.org?x",
        "https://app.example.org#x",
        "https://user@app.example.org",
        "https://user:secret@app.example.org",
        "https://app.example.org:443",
        "http://app.example.org:80",
        "https://app.example.org:0",
        "https://app.example.org:08443",
        "https://app.example.org:65536",
        "https://app.example.org:+1",
        "https://app.example.org:",
        "https://bücher.example",
        "https://.example.org",
        "https://app..example.org",
        "https://[::g]",
        "https://[2001:DB8::1]",
        "https://[::1",
        "https://app.example.org\\@evil.example",
        "https://app.example.org\n",
        " https://app.example.org",
    ] {
        let why = WebOrigin::parse(bad).unwrap_err();
        assert!(!why.is_empty() && !why.contains('\n'), "{bad:?}: {why}");
    }
    assert!(WebOrigin::parse(&format!("https://{}", "a".repeat(253))).is_ok());
    assert!(WebOrigin::parse(&format!("https://{}", "a".repeat(254))).is_err());
    assert!(WebOrigin::parse(&"a".repeat(8_192)).unwrap_err().len() < 200);
}

#[test]
fn a_list_has_no_order_and_no_doubles() {
    let list = |all: &[&str]| all.iter().map(|text| WebOrigin::parse(text).unwrap()).collect::<Allowed>();
    assert_eq!(list(&[LISTED, OWN, LISTED]), list(&[OWN, LISTED]));
    assert_eq!(list(&[LISTED, OWN, LISTED]).iter().count(), 2);
    assert!(list(&[]).is_empty() && !list(&[]).has(LISTED) && !list(&[LISTED]).has(""));
}
