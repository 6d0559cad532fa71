//! From which page a request comes: origins as they are listed, and what `Sec-Fetch-Site` and `Origin` let pass. Whatever
//! stands in them, only a listed origin, or the request's own host, goes on from another page and is vouched for.
#![no_main]

use handstamp_core::origin::{Allowed, Asked, Said, Site, Vouched, WebOrigin, judge};
use handstamp_core::refusal::Code;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    listed(data);
    // Lines: what Sec-Fetch-Site says (commas part headers), the host, then headers of Origin.
    let mut lines = data.split(|byte| *byte == b'\n');
    let site = lines.next().unwrap_or_default();
    let host = lines.next().and_then(|host| std::str::from_utf8(host).ok());
    let origins: Vec<&[u8]> = lines.collect();
    let allowed: Allowed = ["https://app.example.org", "http://localhost:3000"]
        .into_iter()
        .filter_map(|text| WebOrigin::parse(text).ok())
        .collect();

    let site = Site::read(site.split(|byte| *byte == b','));
    let origin = Said::read(origins.iter().copied());
    match origin {
        Said::Nothing => assert!(origins.is_empty()),
        Said::Null => assert_eq!(origins, [b"null"]),
        Said::Origin(text) => assert_eq!(origins, [text.as_bytes()]),
        Said::Garbled => assert!(!origins.is_empty() && origins != [b"null"]),
    }
    let asked = Asked { safe: false, site, origin, host };
    let text = if let Said::Origin(text) = origin { text } else { "" };
    let known = matches!(text, "https://app.example.org" | "http://localhost:3000");
    match judge(&asked, &allowed) {
        Ok(Vouched { instead_of_token }) => {
            assert!(origin != Said::Garbled);
            assert!(site == Site::SameOrigin || known || (origin == Said::Nothing && site <= Site::None));
            assert!(
                !instead_of_token
                    || (site == Site::SameOrigin && (known || same(text, host)))
                    || (site == Site::SameSite && known)
            );
        }
        Err(refusal) => {
            assert!(refusal.code == Code::OriginNotAllowed && !known);
            let detail = refusal.detail();
            assert!(detail.len() < 1_000 && !detail.chars().any(char::is_control), "{detail:?}");
        }
    }
    // What changes nothing goes on; and is vouched for no less sparingly.
    let read = judge(&Asked { safe: true, ..asked }, &allowed);
    assert!(read.is_ok_and(|read| !read.instead_of_token || known || same(text, host)));
});

/// A text that is taken for an origin is one that browsers send, and matches itself alone.
fn listed(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match WebOrigin::parse(text) {
        Ok(origin) => {
            assert_eq!(origin.as_str(), text);
            assert_eq!(Said::read([data]), Said::Origin(text));
            assert!(text.starts_with("https://") || text.starts_with("http://"));
            let host = text.split_once("://").map_or("", |(_, host)| host);
            assert!(!host.is_empty() && !host.contains(['/', '@', '?', '#', '\\', '*', '%', ' ', ',']));
            assert!(!text.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii_graphic()));
            let allowed: Allowed = [origin].into_iter().collect();
            assert!(
                allowed.has(text) && !allowed.has(&format!("{text}.")) && !allowed.has(&format!("{text}/"))
            );
            assert!(!allowed.has(host) && !allowed.has("null") && !allowed.has(""));
        }
        Err(sentence) => assert!(sentence.len() < 5_000 && !sentence.chars().any(char::is_control)),
    }
}

/// Whether an origin is that of this host: the same name, and the same port once the usual one is added.
fn same(origin: &str, host: Option<&str>) -> bool {
    let (Some((scheme, theirs)), Some(ours)) = (origin.split_once("://"), host) else { return false };
    let usual = if scheme == "https" { ":443" } else { ":80" };
    let full = |text: &str| {
        let port = text.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        if port { text.to_ascii_lowercase() } else { format!("{}{usual}", text.to_ascii_lowercase()) }
    };
    matches!(scheme, "https" | "http") && full(theirs) == full(ours)
}
