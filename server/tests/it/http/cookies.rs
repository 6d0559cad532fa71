//! Which cookie is ours: generated `Cookie` headers against two models, and each known trick by its name.
//!
//! The first model knows the answer because it made the header; the second finds it in any bytes by another way: it looks
//! for the name and then at what stands before it, where the parser cuts at semicolons first.

use handstamp_server::http::cookies::{MOST, Trouble, one};
use http::{HeaderMap, HeaderValue, header};
use proptest::prelude::*;

const NAME: &str = "__Host-handstamp";

/// What the parser says of these lines; `None` when no header can have them.
fn read(lines: &[Vec<u8>], name: &str) -> Option<Result<Option<String>, Trouble>> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(header::COOKIE, HeaderValue::from_bytes(line).ok()?);
    }
    Some(one(&headers, name).map(|value| value.map(str::to_owned)))
}

/// What becomes of a cookie of the name with this value.
fn judged(value: &[u8], name: &str) -> Result<Option<String>, Trouble> {
    if name.len() + value.len() > MOST {
        return Err(Trouble::TooLong);
    }
    match value.iter().all(|byte| (0x21..0x7f).contains(byte)) {
        true => Ok(Some(String::from_utf8(value.to_vec()).unwrap())),
        false => Err(Trouble::Odd),
    }
}

/// A part of a header between two semicolons.
#[derive(Clone, Debug)]
enum Part {
    /// Ours, with this value.
    Ours(Vec<u8>),
    /// Anything else.
    Other(Vec<u8>),
}

/// Bytes that a header may have, without a semicolon.
fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => 0x20_u8..0x7f,
        1 => 0x80_u8..=0xff,
        1 => Just(b'\t'),
        2 => prop::sample::select(&b"=\", $\\%_-"[..]),
    ];
    prop::collection::vec(byte.prop_filter("a semicolon ends a part", |byte| *byte != b';'), 0..most)
}

/// A value without blanks at its end, which are not the value's.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let token = "[!-:<-~]{0,60}".prop_map(String::into_bytes);
    let long = (4_000_usize..9_000).prop_map(|length| vec![b'v'; length]);
    let any = bytes(30).prop_map(|value| value.trim_ascii_end().to_vec());
    prop_oneof![6 => token, 1 => long, 2 => any]
}

/// What is nearly the name, and is not.
fn near() -> impl Strategy<Value = Vec<u8>> {
    let whole = [
        "__host-handstamp",
        "__HOST-HANDSTAMP",
        "__Host-Handstamp",
        "__Secure-handstamp",
        "__Host-Http-handstamp",
        "__Http-handstamp",
        "__HostHttp-handstamp",
        "$__Host-handstamp",
        "%5F%5FHost-handstamp",
        "__Host%2Dhandstamp",
        "\"__Host-handstamp\"",
        "__Host-handstam",
        "handstamp",
        "$Version",
        "",
    ];
    let before =
        ["\u{2000}", "\u{a0}", "\u{85}", "\u{feff}", "x", "=", "\"", ",", "$Version=1,", "a b ", "\\"];
    let behind = [" ", "\t", "\u{2000}", "\u{a0}", "\"", "2", ".", "%20", "[]"];
    prop_oneof![
        prop::sample::select(whole.to_vec()).prop_map(|name| name.as_bytes().to_vec()),
        prop::sample::select(before.to_vec()).prop_map(|before| [before, NAME].concat().into_bytes()),
        prop::sample::select(behind.to_vec()).prop_map(|behind| [NAME, behind].concat().into_bytes()),
        // As raw bytes that are no UTF-8, and that a parser for Latin-1 takes for blanks.
        prop::sample::select(&[0x85_u8, 0xa0][..]).prop_map(|byte| [&[byte][..], NAME.as_bytes()].concat()),
    ]
}

fn part() -> impl Strategy<Value = Part> {
    let ours = value().prop_map(Part::Ours);
    let with = |name: Vec<u8>, value: Vec<u8>| Part::Other([&name[..], b"=", &value].concat());
    let nearly = (near(), value()).prop_map(move |(name, value)| with(name, value));
    let usual = ("[a-z]{1,8}", value()).prop_map(move |(name, value)| with(name.into_bytes(), value));
    // Without a name: `=__Host-handstamp=x` is a cookie without a name whose value looks like one with it.
    let nameless = value().prop_map(move |value| with(Vec::new(), [NAME.as_bytes(), b"=", &value].concat()));
    let bare = prop_oneof![Just(NAME.as_bytes().to_vec()), Just(b"Secure".to_vec()), Just(Vec::new())];
    prop_oneof![2 => ours, 3 => nearly, 2 => usual, 1 => nameless, 1 => bare.prop_map(Part::Other)]
}

/// Parts, each with the blanks before and behind it, and whether another line begins behind it.
fn header() -> impl Strategy<Value = Vec<(Part, Vec<u8>, Vec<u8>, bool)>> {
    let blanks = || "[ \t]{0,3}".prop_map(String::into_bytes);
    prop::collection::vec((part(), blanks(), blanks(), prop::bool::weighted(0.2)), 0..6)
}

proptest! {
    /// Whatever stands around it: one of ours is ours, two are none, and what is not ours never is.
    #[test]
    fn what_was_put_in_is_found(parts in header()) {
        let mut lines = vec![Vec::new()];
        let mut ours = Vec::new();
        for (part, before, behind, ends) in &parts {
            let line = lines.last_mut().unwrap();
            line.extend_from_slice(before);
            match part {
                Part::Ours(value) => {
                    line.extend_from_slice(NAME.as_bytes());
                    line.push(b'=');
                    line.extend_from_slice(value);
                    ours.push(value.clone());
                }
                Part::Other(bytes) => line.extend_from_slice(bytes),
            }
            line.extend_from_slice(behind);
            if *ends { lines.push(Vec::new()) } else { line.push(b';') }
        }
        let expected = match ours.as_slice() {
            [] => Ok(None),
            [value] => judged(value, NAME),
            _ => Err(Trouble::Twice),
        };
        prop_assert_eq!(read(&lines, NAME).unwrap(), expected);
    }

    /// Any bytes, with a short name that they often have.
    #[test]
    fn any_bytes_are_read_as_the_other_way_reads_them(
        lines in prop::collection::vec("[aA= \t;\"$,%x\u{a0}]{0,24}".prop_map(String::into_bytes), 0..4)
    ) {
        prop_assert_eq!(read(&lines, "a").unwrap(), scanned(&lines, "a"));
    }
}

/// The second model.
fn scanned(lines: &[Vec<u8>], name: &str) -> Result<Option<String>, Trouble> {
    let wanted = [name.as_bytes(), b"="].concat();
    let mut values = Vec::new();
    for line in lines {
        for at in 0..line.len() {
            let begins = line[at..].starts_with(&wanted);
            let blank_before = line[..at].iter().rev().find(|byte| !matches!(byte, b' ' | b'\t'));
            if begins && blank_before.is_none_or(|byte| *byte == b';') {
                let rest = &line[at + wanted.len()..];
                let end = rest.iter().position(|byte| *byte == b';').unwrap_or(rest.len());
                values.push(rest[..end].trim_ascii_end());
            }
        }
    }
    match values.as_slice() {
        [] => Ok(None),
        [value] => judged(value, name),
        _ => Err(Trouble::Twice),
    }
}

/// The tricks, by their names: what was sent, and what is taken for the session's token.
#[test]
fn the_known_tricks() {
    let long = format!("{NAME}={}", "v".repeat(8 * 1_024));
    type Taken<'a> = Result<Option<&'a str>, Trouble>;
    type Trick<'a> = (&'a str, &'a [&'a str], Taken<'a>);
    let (ours, none): (Taken<'_>, Taken<'_>) = (Ok(Some("real")), Ok(None));
    let tricks: [Trick<'_>; 33] = [
        (
            "prefix bypass: a blank of Unicode before it",
            &["\u{2000}__Host-handstamp=evil; __Host-handstamp=real"],
            ours,
        ),
        ("prefix bypass: next line (U+0085)", &["\u{85}__Host-handstamp=evil; __Host-handstamp=real"], ours),
        ("prefix bypass: a blank that does not break", &["\u{a0}__Host-handstamp=evil"], none),
        ("prefix bypass: byte order mark", &["\u{feff}__Host-handstamp=evil"], none),
        ("prefix bypass: blanks behind the name", &["__Host-handstamp =evil; __Host-handstamp=real"], ours),
        ("prefix bypass: a tab behind the name", &["__Host-handstamp\t=evil"], none),
        ("prefix bypass: lower case", &["__host-handstamp=evil; __Host-handstamp=real"], ours),
        ("prefix bypass: upper case", &["__HOST-HANDSTAMP=evil"], none),
        ("prefix bypass: percent in the name", &["%5F%5FHost-handstamp=evil; __Host-handstamp=real"], ours),
        (
            "prefix bypass: an index, as of a list",
            &["__Host-handstamp[]=evil; __Host-handstamp[0]=evil"],
            none,
        ),
        ("prefix bypass: a dot for an underscore", &["..Host-handstamp=evil; _.Host-handstamp=evil"], none),
        ("prefix bypass: the newer prefix", &["__Host-Http-handstamp=evil"], none),
        ("legacy mode: $Version before it", &["$Version=1; __Host-handstamp=real"], ours),
        ("legacy mode: comma as a separator", &["$Version=1,__Host-handstamp=evil"], none),
        ("legacy mode: comma behind another", &["a=b,__Host-handstamp=evil; __Host-handstamp=real"], ours),
        (
            "legacy mode: $Path and $Domain",
            &["$Version=1; __Host-handstamp=real; $Path=/; $Domain=evil"],
            ours,
        ),
        ("legacy mode: a name with a dollar", &["$Version=1; $__Host-handstamp=evil"], none),
        ("quotes: taken off", &["__Host-handstamp=\"real\""], Ok(Some("\"real\""))),
        ("quotes: octal", &["__Host-handstamp=\"\\162eal\""], Ok(Some("\"\\162eal\""))),
        ("quotes: a backslash", &["__Host-handstamp=re\\al"], Ok(Some("re\\al"))),
        ("sandwich: around ours", &["$Version=1; a=\"b; __Host-handstamp=real; c=d\""], ours),
        ("sandwich: ours inside of another's value", &["a=\"x=__Host-handstamp=evil\""], none),
        ("sandwich: a quote opened in ours", &["__Host-handstamp=\"real; a=b\""], Ok(Some("\"real"))),
        ("nameless", &["=__Host-handstamp=evil; __Host-handstamp=real"], ours),
        ("nameless: blanks for a name", &[" =__Host-handstamp=evil"], none),
        ("nameless: without a sign", &["__Host-handstamp; __Host-handstamp=real"], ours),
        ("empty", &["__Host-handstamp="], Ok(Some(""))),
        ("tossing: two, ours first", &["__Host-handstamp=real; __Host-handstamp=evil"], Err(Trouble::Twice)),
        ("tossing: two, ours last", &["__Host-handstamp=evil; __Host-handstamp=real"], Err(Trouble::Twice)),
        (
            "tossing: two that are equal",
            &["__Host-handstamp=real; __Host-handstamp=real"],
            Err(Trouble::Twice),
        ),
        (
            "tossing: in two lines",
            &["a=b; __Host-handstamp=real", "__Host-handstamp=evil"],
            Err(Trouble::Twice),
        ),
        ("tossing: an empty one", &["__Host-handstamp=; __Host-handstamp=real"], Err(Trouble::Twice)),
        ("overflow: 8 KiB", &[&long], Err(Trouble::TooLong)),
    ];
    for (trick, lines, expected) in tricks {
        let lines: Vec<Vec<u8>> = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
        let expected = expected.map(|value| value.map(str::to_owned));
        assert_eq!(read(&lines, NAME).unwrap(), expected, "{trick}");
    }
}

/// Percent signs in a value are letters; letters that are no ASCII, blanks and tabs make it none of ours.
#[test]
fn values_are_neither_unescaped_nor_mended() {
    for (value, is) in [
        (&b"re%61l"[..], Ok(Some("re%61l".to_owned()))),
        (b"real\x20evil", Err(Trouble::Odd)),
        (b"real\tevil", Err(Trouble::Odd)),
        (b" real", Err(Trouble::Odd)),
        (b"real\xc2\xa0", Err(Trouble::Odd)),
        (b"r\xe9al", Err(Trouble::Odd)),
        (b"real\xff", Err(Trouble::Odd)),
        (b"real \t ", Ok(Some("real".to_owned()))),
    ] {
        let line = [NAME.as_bytes(), b"=", value].concat();
        assert_eq!(read(&[line], NAME).unwrap(), is, "{}", value.escape_ascii());
    }
}

/// No header of ours can hold what would end it, or what other programs take for an end: nothing is left to cut off.
#[test]
fn no_line_ends_in_a_cookie() {
    for ending in ["\r", "\n", "\r\n", "\0", "\u{7f}", "\u{b}", "\u{c}"] {
        let line = format!("{NAME}=real{ending}{NAME}=evil").into_bytes();
        assert_eq!(read(&[line], NAME), None, "{ending:?}");
    }
}

/// Other headers that once carried cookies do not.
#[test]
fn only_one_header_has_cookies() {
    let mut headers = HeaderMap::new();
    for name in ["cookie2", "set-cookie", "x-cookie"] {
        headers.append(name, HeaderValue::from_static("__Host-handstamp=evil"));
    }
    assert_eq!(one(&headers, NAME), Ok(None));
}
