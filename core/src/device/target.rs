//! To which request a proof belongs: its method, and its URL in one form.
//!
//! As with DPoP (RFC 9449, section 4.3), two URLs are the same when they are after the normalisation of RFC 3986,
//! section 6.2.2 and 6.2.3, without query and fragment. What cannot be brought into that form matches nothing.

/// The most bytes of a URL.
pub const LONGEST_URL: usize = 4_096;
/// The most bytes of a method.
pub const LONGEST_METHOD: usize = 32;

/// A method: a token (RFC 9110, section 9.1). Case counts.
pub fn method(text: &str) -> Option<&str> {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    ((1..=LONGEST_METHOD).contains(&text.len()) && text.bytes().all(letter)).then_some(text)
}

/// An `http` or `https` URL in its one form, without query and fragment.
pub fn url(text: &str) -> Option<String> {
    if text.len() > LONGEST_URL || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    let (scheme, rest) = text.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let standard = match scheme.as_str() {
        "https" => "443",
        "http" => "80",
        _ => return None,
    };
    let rest = rest.split(['?', '#']).next()?;
    let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
    let (host, port) = authority_of(authority)?;
    let mut url = format!("{scheme}://{host}");
    if let Some(port) = port.filter(|port| *port != standard) {
        url.push(':');
        url.push_str(port);
    }
    url.push_str(&path_of(path)?);
    Some(url)
}

/// Host and port. User information is refused: no request is sent to it, and people are fooled by it.
fn authority_of(text: &str) -> Option<(String, Option<&str>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inner, after) = rest.split_once(']')?;
            let address: std::net::Ipv6Addr = inner.parse().ok()?;
            (format!("[{address}]"), after)
        }
        None => {
            let (host, port) = text.split_at_checked(text.find(':').unwrap_or(text.len()))?;
            let letter = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
            let labels = host.strip_suffix('.').unwrap_or(host);
            if labels.split('.').any(str::is_empty) || !host.bytes().all(letter) {
                return None;
            }
            (host.to_ascii_lowercase(), port)
        }
    };
    let port = match port.strip_prefix(':') {
        // A colon with nothing behind it is the standard port (RFC 3986, section 6.2.3).
        Some("") => None,
        Some(digits) => {
            let good = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
            Some(digits).filter(|digits| good && digits.parse::<u16>().is_ok()).map(Some)?
        }
        None if port.is_empty() => None,
        None => return None,
    };
    Some((host, port))
}

/// The path with its escapes in one form, and without `.` and `..`.
fn path_of(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len().max(1));
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if letter == '%' {
            let digits = rest.get(1..3).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
            let byte = u8::from_str_radix(digits, 16).ok()?;
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                plain.push(char::from(byte));
            } else {
                plain.push('%');
                plain.push_str(&digits.to_ascii_uppercase());
            }
            rest = rest.get(3..)?;
        } else {
            // What may stand in a path (RFC 3986, section 3.3); a backslash, for one, means different things to
            // different programs.
            if !letter.is_ascii_alphanumeric() && !"-._~!$&'()*+,;=:@/".contains(letter) {
                return None;
            }
            plain.push(letter);
            rest = rest.get(1..)?;
        }
    }
    Some(without_dots(&plain))
}

/// RFC 3986, section 5.2.4, for a path that is empty or begins with a slash.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut steps = path.split('/').skip(1).peekable();
    while let Some(step) = steps.next() {
        let last = steps.peek().is_none();
        match step {
            "." | ".." => {
                if step == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            step => kept.push(step),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_are_the_same() {
        for (form, same) in [
            (
                "https://app.example/",
                &["https://app.example", "HTTPS://APP.example:443/", "https://app.example:/?a=b#c"][..],
            ),
            (
                "http://app.example/",
                &["http://app.example:80", "http://app.example#/x", "http://app.example?/x"],
            ),
            (
                "https://app.example:8443/a",
                &["https://app.example:8443/%61", "https://App.Example:8443/x/../a"],
            ),
            ("https://app.example/~a/b", &["https://app.example/%7ea/./b", "https://app.example/%7Ea/b?x"]),
            ("https://app.example/a%2Fb", &["https://app.example/a%2fb"]),
            ("https://app.example/a/", &["https://app.example/a/.", "https://app.example/a/b/.."]),
            ("https://app.example/a//b", &["https://app.example/a//./b"]),
            ("https://app.example/b", &["https://app.example/%2e%2e/../b"]),
            ("https://[2001:db8::1]/", &["https://[2001:DB8:0::1]:443"]),
        ] {
            assert_eq!(url(form).as_deref(), Some(form));
            for other in same {
                assert_eq!(url(other).as_deref(), Some(form), "{other}");
            }
        }
    }

    #[test]
    fn urls_that_differ() {
        let forms: Vec<_> = [
            "https://app.example/a",
            "http://app.example/a",
            "https://app.example:8443/a",
            "https://app.example/A",
            "https://app.example/a/",
            "https://app.example/a%2F",
            "https://app.example.com/a",
            "https://app.example//a",
            "https://app.example/a%20",
            "https://app.example/a+",
            "https://app.example./a",
        ]
        .map(|text| url(text).unwrap())
        .into();
        for (at, form) in forms.iter().enumerate() {
            assert!(!forms[at + 1..].contains(form), "{form}");
        }
    }

    #[test]
    fn what_is_no_url() {
        let long = format!("https://a/{}", "x".repeat(LONGEST_URL));
        for text in [
            "",
            "/a",
            "//app.example/a",
            "app.example/a",
            "ftp://app.example/",
            "https:/app.example",
            "https://",
            "https:///a",
            "https://user@app.example/",
            "https://user:pw@app.example/",
            "https://app.example:0/",
            "https://app.example:65536/",
            "https://app.example:080/",
            "https://app.example:1x/",
            "https://[::1/",
            "https://[::1]x/",
            "https://[app]/",
            "https://app.example/%",
            "https://app.example/%2",
            "https://app.example/%zz",
            "https://app.example/%+1",
            "https://app.example/a b",
            "https://app.example/\\",
            "https://app.example/é",
            "https://äpp.example/",
            "https://app%2eexample/",
            "https://app.example/\u{0}",
            "javascript://app/",
            "https://./",
            "https://.app.example/",
            "https://app..example/",
            "https://app.example../",
            &long,
        ] {
            assert_eq!(url(text), None, "{text}");
        }
        assert!(url(&long[..LONGEST_URL]).is_some());
    }

    #[test]
    fn methods() {
        for text in ["GET", "PATCH", "M-SEARCH", "x"] {
            assert_eq!(method(text), Some(text));
        }
        for text in ["", "GET ", "GE T", "GET\n", "GÉT", "G,T", &"G".repeat(LONGEST_METHOD + 1)] {
            assert_eq!(method(text), None, "{text}");
        }
    }
}
