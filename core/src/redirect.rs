//! Where a login may lead back to. An address that a stranger wrote into a link is followed by a user who trusts the
//! application; so its origin must be one that the application listed (ASVS 3.7.2), and the address must be written so
//! that no two programs read different origins out of it.

use crate::origin::{Allowed, WebOrigin};
use crate::refusal::{Code, Evidence, Refusal, Value};

/// The rule's name in refusals.
pub const RULE: &str = "redirect";

/// The parameter with the one-time code in the address that a login leads back to.
pub const CODE: &str = "login_code";
/// The parameter of the login page with the address to come back to.
pub const REDIRECT_URI: &str = "redirect_uri";
/// The parameter with what the application will prove when it exchanges the code.
pub const CODE_CHALLENGE: &str = "code_challenge";

/// An address to come back to: absolute, with an origin, in characters that everybody reads alike.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReturnTo {
    text: Box<str>,
    /// How many bytes of it are the origin.
    origin: usize,
}

impl ReturnTo {
    /// In bytes. The code has to find room behind it in a request line of 8 KiB.
    pub const LONGEST: usize = 2_048;

    /// Reads an address as `location.href` has it. What a browser would write otherwise is none: spaces, other characters
    /// than ASCII, `\` (which browsers read as `/`), userinfo, the usual port, a host in capitals.
    pub fn parse(text: &str) -> Option<ReturnTo> {
        let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'\\' | b'"' | b'<' | b'>');
        if text.len() > ReturnTo::LONGEST || !text.bytes().all(plain) {
            return None;
        }
        let (scheme, rest) = text.split_once("://")?;
        let host = rest.split(['/', '?', '#']).next()?;
        let origin = scheme.len() + "://".len() + host.len();
        WebOrigin::parse(text.get(..origin)?).ok()?;
        Some(ReturnTo { text: text.into(), origin })
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its origin.
    pub fn origin(&self) -> &str {
        self.text.get(..self.origin).unwrap_or_default()
    }

    /// The address with the code in its query. A code that stands there from a login before goes: two of them would leave
    /// it to the reader which one counts.
    pub fn with_code(&self, code: &str) -> String {
        let (front, fragment) = split(&self.text, '#');
        let (path, query) = split(front, '?');
        let others = query.get(1..).unwrap_or_default().split('&');
        let others = others.filter(|part| !part.is_empty() && name_of(part) != CODE);
        let mut out = path.to_owned();
        let mut mark = '?';
        for part in others {
            out.push(mark);
            out.push_str(part);
            mark = '&';
        }
        out.push(mark);
        out.push_str(CODE);
        out.push('=');
        out.push_str(code);
        out.push_str(fragment);
        out
    }
}

/// What stands before the first `mark`, and the rest with it.
fn split(text: &str, mark: char) -> (&str, &str) {
    text.find(mark).and_then(|at| text.split_at_checked(at)).unwrap_or((text, ""))
}

/// The name of a parameter, whichever way it is written.
fn name_of(part: &str) -> String {
    let name = part.split('=').next().unwrap_or_default().as_bytes();
    let mut out = Vec::with_capacity(name.len());
    let mut left = name;
    while let [first, rest @ ..] = left {
        left = rest;
        match (first, rest) {
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    left = after;
                }
                _ => out.push(b'%'),
            },
            (byte, _) => out.push(*byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// May a login lead back there?
///
/// # Errors
/// `redirect_not_allowed`.
pub fn judge(text: &str, allowed: &Allowed) -> Result<ReturnTo, Refusal> {
    let read = ReturnTo::parse(text);
    let seen =
        read.as_ref().map_or("an address that is written otherwise than browsers do", ReturnTo::origin);
    let seen = Value::Text(seen.into());
    match read {
        Some(read) if allowed.has(read.origin()) => Ok(read),
        _ => Err(Refusal {
            code: Code::RedirectNotAllowed,
            rule: RULE,
            origin: None,
            evidence: Some(Evidence::Limit {
                allowed: Value::Text("the origins that are listed".into()),
                seen,
            }),
        }),
    }
}

/// The address of the login page, told where to lead back to and what to bind the code to. `page` is what the operator
/// configured.
pub fn login_page(page: &str, return_to: &ReturnTo, challenge: Option<&str>) -> String {
    let (front, fragment) = split(page, '#');
    let mut out = front.to_owned();
    let mut mark = match front.split_once('?') {
        None => "?",
        Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
        Some(_) => "&",
    };
    for (name, value) in [(REDIRECT_URI, Some(return_to.as_str())), (CODE_CHALLENGE, challenge)] {
        let Some(value) = value else { continue };
        out.push_str(mark);
        out.push_str(name);
        out.push('=');
        escape(value, &mut out);
        mark = "&";
    }
    out.push_str(fragment);
    out
}

/// Everything but the unreserved characters (RFC 3986, 2.3).
fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            for digit in [byte >> 4, byte & 15] {
                out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0').to_ascii_uppercase());
            }
            let at = out.len() - 2;
            out.insert(at, '%');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn allowed() -> Allowed {
        ["https://app.example.org", "http://localhost:3000", "https://[2001:db8::1]:8443"]
            .into_iter()
            .map(|text| WebOrigin::parse(text).unwrap())
            .collect()
    }

    #[test]
    fn listed_origins_lead_back() {
        for (text, origin) in [
            ("https://app.example.org", "https://app.example.org"),
            ("https://app.example.org/", "https://app.example.org"),
            ("https://app.example.org/a?next=https://evil.example#x", "https://app.example.org"),
            ("https://app.example.org?x", "https://app.example.org"),
            ("https://app.example.org#@evil.example", "https://app.example.org"),
            ("https://app.example.org/@evil.example/%5c%2f?u=a@b&v='(){}|^`", "https://app.example.org"),
            ("http://localhost:3000/a", "http://localhost:3000"),
            ("https://[2001:db8::1]:8443/", "https://[2001:db8::1]:8443"),
        ] {
            let read = judge(text, &allowed()).unwrap_or_else(|_| panic!("{text}"));
            assert_eq!((read.as_str(), read.origin()), (text, origin));
        }
    }

    #[test]
    fn nothing_else_does() {
        for text in [
            "",
            "/",
            "//app.example.org/",
            "/\\app.example.org",
            "\\\\app.example.org",
            "app.example.org",
            "app.example.org/",
            "https:app.example.org",
            "https:/app.example.org",
            "https:///app.example.org",
            "https:\\\\app.example.org",
            "https://",
            "https://evil.example/",
            "https://evil.example/https://app.example.org",
            "https://evil.example?https://app.example.org/",
            "https://evil.example#https://app.example.org/",
            "https://evil.example\\@app.example.org",
            "https://evil.example\\.app.example.org/",
            "https://app.example.org\\@evil.example/",
            "https://app.example.org\\evil.example/",
            "https://app.example.org/\\evil.example/",
            "https://app.example.org/a?b=\\c",
            "https://app.example.org@evil.example/",
            "https://app.example.org:pass@evil.example/",
            "https://user@app.example.org/",
            "https://user:pass@app.example.org/",
            "https://@app.example.org/",
            "https://app.example.org%40evil.example/",
            "https://app.example.org%2eevil.example/",
            "https://app.example.org%00.evil.example/",
            "https://app.example.org.evil.example/",
            "https://app.example.org./",
            "https://.app.example.org/",
            "https://evilapp.example.org/",
            "https://example.org/",
            "https://app-example.org/",
            "https://app.example.org:443/",
            "https://app.example.org:/",
            "https://app.example.org:8443/",
            "https://app.example.org:0443/",
            "https://app.example.org:443@evil.example/",
            "https://App.example.org/",
            "HTTPS://app.example.org/",
            "http://app.example.org/",
            "ftp://app.example.org/",
            "ws://app.example.org/",
            "javascript:alert(1)//https://app.example.org/",
            "javascript://app.example.org/%0aalert(1)",
            "data:text/html,https://app.example.org/",
            "blob:https://app.example.org/x",
            "view-source:https://app.example.org/",
            " https://app.example.org/",
            "https://app.example.org/ ",
            "https://app.example.org/a b",
            "\thttps://app.example.org/",
            "https://app.exa\tmple.org/",
            "https://app.example.org/\r\nSet-Cookie: a=b",
            "https://app.example.org/\0",
            "https://app.example.org/\u{e9}",
            "https://app.example\u{3002}org/",
            "https://\u{ff41}pp.example.org/",
            "https://app.example.org\u{2044}evil.example/",
            "https://app.example.org/\"onload=\"",
            "https://app.example.org/<script>",
            "https%3A%2F%2Fapp.example.org%2F",
            "https://localhost:3000/",
            "http://localhost/",
            "http://localhost:03000/",
            "http://127.0.0.1:3000/",
            "https://[2001:db8::1]/",
            "https://[2001:DB8::1]:8443/",
            "https://[2001:db8:0::1]:8443/",
            "https://[2001:db8::1%25eth0]:8443/",
            "null",
            "*",
            "https://*/",
        ] {
            let refusal = judge(text, &allowed()).err().unwrap_or_else(|| panic!("{text:?} is let pass"));
            assert_eq!((refusal.code, refusal.rule), (Code::RedirectNotAllowed, RULE));
        }
        let long = |n: usize| format!("https://app.example.org/{}", "a".repeat(n - 24));
        assert!(judge(&long(ReturnTo::LONGEST), &allowed()).is_ok());
        assert!(judge(&long(ReturnTo::LONGEST + 1), &allowed()).is_err());
        assert!(judge("https://app.example.org/", &Allowed::default()).is_err());
    }

    #[test]
    fn the_code_stands_once_in_the_query() {
        for (text, with) in [
            ("https://a.b", "https://a.b?login_code=C"),
            ("https://a.b/", "https://a.b/?login_code=C"),
            ("https://a.b/x?", "https://a.b/x?login_code=C"),
            ("https://a.b/x?y=1", "https://a.b/x?y=1&login_code=C"),
            ("https://a.b/x?y=1&#z?login_code=old", "https://a.b/x?y=1&login_code=C#z?login_code=old"),
            ("https://a.b/#/route", "https://a.b/?login_code=C#/route"),
            ("https://a.b/?login_code=old", "https://a.b/?login_code=C"),
            (
                "https://a.b/?login_code=1&y&login_code&login_codes=2",
                "https://a.b/?y&login_codes=2&login_code=C",
            ),
            ("https://a.b/?%6cogin%5Fcode=old&y=%&z=%zz", "https://a.b/?y=%&z=%zz&login_code=C"),
            ("https://a.b/?%=1&%6=2", "https://a.b/?%=1&%6=2&login_code=C"),
        ] {
            assert_eq!(ReturnTo::parse(text).unwrap().with_code("C"), with);
        }
    }

    #[test]
    fn the_login_page_is_told_where_to_lead_back_to() {
        let to = ReturnTo::parse("https://a.b/x?y=1&z=~#%41").unwrap();
        let told = "redirect_uri=https%3A%2F%2Fa.b%2Fx%3Fy%3D1%26z%3D~%23%2541";
        for (page, front, back) in [
            ("https://login.b/", "https://login.b/?", ""),
            ("https://login.b/in?", "https://login.b/in?", ""),
            ("https://login.b/in?tenant=1", "https://login.b/in?tenant=1&", ""),
            ("/in?tenant=1&#form", "/in?tenant=1&", "#form"),
        ] {
            assert_eq!(login_page(page, &to, None), format!("{front}{told}{back}"));
            assert_eq!(login_page(page, &to, Some("A-_")), format!("{front}{told}&code_challenge=A-_{back}"));
        }
    }

    proptest! {
        /// Whatever stands before and behind a listed origin: what passes begins with that origin, and then comes the end
        /// of a host.
        #[test]
        fn what_passes_begins_with_a_listed_origin(
            before in "[a-z:/@.\\\\?#%]{0,6}",
            behind in "[a-z0-9:/@.\\\\?#%&= -]{0,12}",
        ) {
            let text = format!("{before}https://app.example.org{behind}");
            if let Ok(read) = judge(&text, &allowed()) {
                prop_assert_eq!(read.origin(), "https://app.example.org");
                prop_assert!(before.is_empty());
                prop_assert!(behind.is_empty() || behind.starts_with(['/', '?', '#']), "{}", text);
                prop_assert!(!text.contains('\\') && !text.contains(' '));
            }
        }
        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            if let Some(read) = ReturnTo::parse(&text) {
                let with = ReturnTo::parse(&read.with_code("x")).unwrap();
                prop_assert_eq!(with.origin(), read.origin());
            }
        }
    }
}
