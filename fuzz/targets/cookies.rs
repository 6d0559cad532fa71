//! One cookie out of `Cookie` headers: found where it stands at the beginning of a part, as it came; another of the name
//! anywhere takes it away; and nothing that a client adds of other names makes one, hides one or changes one.
#![no_main]

use handstamp_server::http::cookies::{MOST, Trouble, one};
use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 3] = ["__Host-handstamp", "fltr_session", "a"];

fuzz_target!(|data: &[u8]| {
    // The lines of the input are lines of the header.
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let Some(headers) = sent(&lines) else { return };
    for name in NAMES {
        let found = one(&headers, name);
        assert_eq!(found, scanned(&lines, name), "{name}");
        // Ours beside it: alone it is taken, and of two neither is.
        let ours = format!("{name}=hst_1");
        let beside = sent(&[&lines[..], &[ours.as_bytes()]].concat()).map(|headers| check(&headers, name));
        let Some(beside) = beside else { return };
        match found {
            Ok(None) => assert_eq!(beside, Ok(Some("hst_1".to_owned()))),
            Ok(Some(_)) | Err(_) => assert_eq!(beside, Err(Trouble::Twice)),
        }
    }
});

fn check(headers: &HeaderMap, name: &str) -> Result<Option<String>, Trouble> {
    one(headers, name).map(|value| value.map(str::to_owned))
}

fn sent(lines: &[&[u8]]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(header::COOKIE, HeaderValue::from_bytes(line).ok()?);
    }
    Some(headers)
}

/// The same in another way: by looking for the name first, and then at what stands before it.
fn scanned<'a>(lines: &[&'a [u8]], name: &str) -> Result<Option<&'a str>, Trouble> {
    let wanted = [name.as_bytes(), b"="].concat();
    let mut values = Vec::new();
    for line in lines {
        for at in 0..line.len() {
            let before = line[..at].iter().rev().find(|byte| !matches!(byte, b' ' | b'\t'));
            if line[at..].starts_with(&wanted) && before.is_none_or(|byte| *byte == b';') {
                let rest = &line[at + wanted.len()..];
                let end = rest.iter().position(|byte| *byte == b';').unwrap_or(rest.len());
                values.push(rest[..end].trim_ascii_end());
            }
        }
    }
    match values.as_slice() {
        [] => Ok(None),
        [value] if name.len() + value.len() > MOST => Err(Trouble::TooLong),
        [value] if value.iter().any(|byte| !byte.is_ascii_graphic()) => Err(Trouble::Odd),
        [value] => Ok(std::str::from_utf8(value).ok()),
        _ => Err(Trouble::Twice),
    }
}
