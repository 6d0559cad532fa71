//! Reading the query of an address: each parameter known, each once but `tag`, and each value what the client meant,
//! percent signs and plus signs read here a second time.
#![no_main]

use handstamp_server::http::query::{Params, only};
use handstamp_server::http::search::filter;
use http::Uri;
use libfuzzer_sys::fuzz_target;

const KNOWN: [&str; 11] = [
    "user_id",
    "tag",
    "ip",
    "browser",
    "os",
    "state",
    "code",
    "created_after",
    "created_before",
    "limit",
    "cursor",
];

fuzz_target!(|data: &[u8]| {
    let Ok(uri) = Uri::try_from([b"/v1/sessions?", data].concat()) else { return };
    let Ok(params) = Params::of(&uri) else { return };
    let query = uri.query().unwrap_or_default();
    let pairs = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let pairs: Option<Vec<(String, String)>> =
        pairs.map(|(name, value)| Some((plain(name)?, plain(value)?))).collect();
    let pairs = pairs.expect("what is no text is refused");
    let known = pairs.iter().all(|(name, _)| KNOWN.contains(&name.as_str()));
    assert_eq!(only(&uri, &KNOWN).is_ok(), known);
    let values = |name| pairs.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str());
    if let Ok(limit) = params.limit() {
        assert!((1..=200).contains(&limit));
        let said: Vec<&str> = values("limit").collect();
        assert!(said.is_empty() || said.iter().map(|n| n.parse()).eq([Ok(limit)]));
    }
    let Ok(asked) = filter(&params) else { return };
    for name in KNOWN.into_iter().filter(|name| !["tag", "limit", "cursor"].contains(name)) {
        assert!(values(name).count() <= 1, "{name} twice");
    }
    assert!(asked.tags.iter().map(|tag| tag.as_str()).eq(values("tag")));
    assert_eq!(asked.user.as_ref().map(|user| user.as_str()), values("user_id").next());
    assert_eq!(asked.code.map(|code| code.text()), values("code").next());
    assert_eq!(asked.network.is_some(), values("ip").next().is_some());
    assert_eq!(asked.browser.is_some(), values("browser").next().is_some());
    assert_eq!(asked.os.is_some(), values("os").next().is_some());
    assert_eq!(asked.created_after.is_some(), values("created_after").next().is_some());
    assert_eq!(asked.created_before.is_some(), values("created_before").next().is_some());
});

/// `None` when it is no UTF-8. A percent sign without two digits stands for itself.
fn plain(text: &str) -> Option<String> {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, others @ ..] = rest {
        rest = others;
        out.push(match (first, others) {
            (b'+', _) => b' ',
            (b'%', [a, b, ..]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                rest = &others[2..];
                u8::from_str_radix(std::str::from_utf8(&others[..2]).ok()?, 16).ok()?
            }
            _ => *first,
        });
    }
    String::from_utf8(out).ok()
}
