//! What a request's `Cookie` header says: one cookie by its name, and nothing cleverer than that.
//!
//! Every convenience of a cookie parser has been a way around somebody's check (RFC 6265bis, 4.2 and 5; ASVS 3.3): so
//! the name is compared byte by byte (no other case, no Unicode whitespace taken off, no percent-decoding), there is no
//! `$Version`, a quotation mark is a letter like any other, and a cookie without a name has none. Where two carry
//! the name, somebody on a sister host may have planted one of them: neither is taken.

use http::{HeaderMap, header};

/// The most bytes of name and value together: what browsers keep (RFC 6265bis, 5.6).
pub const MOST: usize = 4_096;

/// Why a cookie is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// There is more than one of the name.
    Twice,
    /// It is longer than a browser would keep.
    TooLong,
    /// It has bytes that no cookie of ours has.
    Odd,
}

/// The value of the cookie called `name`, as it came.
///
/// # Errors
/// Why it is not taken.
pub fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Trouble> {
    let mut found = None;
    // Over HTTP/2 a browser may send several lines, which are one list.
    for line in headers.get_all(header::COOKIE) {
        for pair in line.as_bytes().split(|byte| *byte == b';') {
            let pair = pair.trim_ascii_start();
            let Some(at) = pair.iter().position(|byte| *byte == b'=') else { continue };
            let Some((its_name, value)) = pair.split_at_checked(at) else { continue };
            if its_name != name.as_bytes() {
                continue;
            }
            if found.is_some() {
                return Err(Trouble::Twice);
            }
            found = Some(value.get(1..).unwrap_or_default().trim_ascii_end());
        }
    }
    let Some(value) = found else { return Ok(None) };
    if name.len() + value.len() > MOST {
        return Err(Trouble::TooLong);
    }
    if !value.iter().all(u8::is_ascii_graphic) {
        return Err(Trouble::Odd);
    }
    Ok(std::str::from_utf8(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const NAME: &str = "__Host-handstamp";

    fn read(lines: &[&[u8]]) -> Result<Option<String>, Trouble> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        one(&headers, NAME).map(|value| value.map(str::to_owned))
    }

    #[test]
    fn the_cookie_of_exactly_this_name_is_read() {
        for (line, value) in [
            ("__Host-handstamp=hst_1", Some("hst_1")),
            ("a=b; __Host-handstamp=hst_1; c=d", Some("hst_1")),
            ("a=b;__Host-handstamp=hst_1;c=d", Some("hst_1")),
            ("a=b;\t__Host-handstamp=hst_1 ;", Some("hst_1")),
            ("__Host-handstamp=", Some("")),
            ("__Host-handstamp=a=b", Some("a=b")),
            // No unescaping of any kind.
            ("__Host-handstamp=\"hst_1\"", Some("\"hst_1\"")),
            ("__Host-handstamp=hst%5f1", Some("hst%5f1")),
            // Other names, however near.
            ("__host-handstamp=hst_1", None),
            ("__HOST-HANDSTAMP=hst_1", None),
            ("__Host-handstamp =hst_1", None),
            ("_Host-handstamp=hst_1", None),
            ("__Host-handstamp2=hst_1", None),
            ("x__Host-handstamp=hst_1", None),
            ("__%48ost-handstamp=hst_1", None),
            ("\u{2000}__Host-handstamp=hst_1", None),
            ("\u{a0}__Host-handstamp=hst_1", None),
            ("\u{85}__Host-handstamp=hst_1", None),
            // Cookies without a name.
            ("=__Host-handstamp=hst_1", None),
            ("__Host-handstamp", None),
            ("", None),
            (";;; ;", None),
            // The legacy mode and the sandwich: what is in quotes is no cookie header of its own, and no value of one.
            ("$Version=1; a=\"b; __Host-handstamp=hst_1; c=\"", Some("hst_1")),
            ("$Version=1; $__Host-handstamp=hst_1", None),
        ] {
            assert_eq!(read(&[line.as_bytes()]), Ok(value.map(str::to_owned)), "{line}");
        }
    }

    #[test]
    fn of_two_neither_is_taken() {
        for lines in [
            &["__Host-handstamp=a; __Host-handstamp=b"][..],
            &["__Host-handstamp=a; __Host-handstamp=a"],
            &["__Host-handstamp=a", "__Host-handstamp=b"],
            &["__Host-handstamp=; __Host-handstamp=b"],
        ] {
            let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
            assert_eq!(read(&lines), Err(Trouble::Twice));
        }
    }

    #[test]
    fn what_no_browser_keeps_is_refused() {
        let with = |length: usize| format!("{NAME}={}", "a".repeat(length));
        assert!(matches!(read(&[with(MOST - NAME.len()).as_bytes()]), Ok(Some(_))));
        assert_eq!(read(&[with(MOST - NAME.len() + 1).as_bytes()]), Err(Trouble::TooLong));
        for odd in ["a b", "a\tb", "\u{e9}", "a\u{2000}"] {
            assert_eq!(read(&[format!("{NAME}={odd}").as_bytes()]), Err(Trouble::Odd), "{odd}");
        }
        assert_eq!(read(&[b"__Host-handstamp=\xff"]), Err(Trouble::Odd));
    }
}
