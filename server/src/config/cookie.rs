//! `[cookie]`: the session cookie and the CSRF cookie, and the combinations that browsers drop or that are unsafe.
//!
//! The path is always `/`, and the session cookie is always `HttpOnly`; neither can be configured away. Browsers
//! compare the prefixes `__Host-` and `__Secure-` without regard to case (RFC 6265bis, 4.1.3), so we do too.

use super::Values;
use super::key::{Key, Section};
use super::problem::Problem;
use super::setting::{Word, choices};
use serde_json::{Value as Json, json};
use std::net::IpAddr;

pub(super) const SECTION: Section = Section {
    name: "cookie",
    about: "The session cookie and the CSRF cookie; unsafe combinations are refused at start",
    keys: &[
        Key::new::<Token>("cookie", "name", "__Host-handstamp", "Name of the session cookie"),
        Key::new::<SameSite>("cookie", "same_site", "Lax", "Strict, Lax or None, for both cookies"),
        Key::new::<Option<Domain>>(
            "cookie",
            "domain",
            "",
            "Domain of the session cookie; needs a name without __Host-",
        )
        .example("\"example.org\""),
        Key::new::<Option<Domain>>("cookie", "csrf_domain", "", "Domain of the CSRF cookie")
            .example("\"example.org\""),
        Key::new::<bool>(
            "cookie",
            "secure",
            "true",
            "Only over HTTPS; most browsers count http://localhost as secure too",
        ),
        Key::new::<bool>("cookie", "partitioned", "false", "A jar for each embedding site (CHIPS)"),
        Key::new::<Token>(
            "cookie",
            "csrf_cookie",
            "XSRF-TOKEN",
            "Name of the CSRF cookie, which scripts can read",
        ),
        Key::new::<Token>(
            "cookie",
            "csrf_header",
            "X-XSRF-TOKEN",
            "Header in which scripts send its value back",
        ),
    ],
};

choices! {
    /// With which requests of other sites a cookie travels.
    SameSite {
        /// With none.
        Strict = "Strict",
        /// With top-level navigations.
        Lax = "Lax",
        /// With all.
        None = "None",
    }
}

/// `[cookie]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// Of the session cookie.
    pub name: String,
    /// Of both.
    pub same_site: SameSite,
    /// Of the session cookie.
    pub domain: Option<String>,
    /// Of the CSRF cookie.
    pub csrf_domain: Option<String>,
    /// Of both.
    pub secure: bool,
    /// Of both.
    pub partitioned: bool,
    /// Its name.
    pub csrf_cookie: String,
    /// Its name, in the case it was written in.
    pub csrf_header: String,
}

/// A `token` of RFC 9110: what cookie and header names are made of.
struct Token(String);

impl Word for Token {
    const NAME: &'static str = "a name";
    fn parse(text: &str) -> Result<Token, String> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if text.is_empty() || text.len() > 128 || !text.bytes().all(good) {
            return Err(format!(
                "`{}` is not a name for a cookie or a header: 1 to 128 letters, digits and - _ . without blanks",
                text.escape_debug()
            ));
        }
        Ok(Token(text.to_owned()))
    }
    fn text(&self) -> String {
        self.0.clone()
    }
    fn schema() -> Json {
        json!({"type": "string", "pattern": "^[-!#$%&'*+.^_`|~0-9A-Za-z]{1,128}$"})
    }
}

/// A domain that a browser takes in a cookie.
struct Domain(String);

impl Word for Domain {
    const NAME: &'static str = "a domain";
    fn parse(text: &str) -> Result<Domain, String> {
        let right = "write it such as \"example.org\"";
        if let Some(bare) = text.strip_prefix('.') {
            return Err(format!(
                "`{}` begins with a dot: write \"{}\"",
                text.escape_debug(),
                bare.escape_debug()
            ));
        }
        if text.parse::<IpAddr>().is_ok() {
            return Err(format!("`{text}` is an address, which browsers take in no cookie: {right}"));
        }
        let label = |part: &str| {
            let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            !part.is_empty()
                && part.len() <= 63
                && part.bytes().all(good)
                && !part.starts_with('-')
                && !part.ends_with('-')
        };
        if text.len() > 253 || !text.contains('.') || !text.split('.').all(label) {
            return Err(format!("`{}` is not a domain: {right}, in lower case", text.escape_debug()));
        }
        Ok(Domain(text.to_owned()))
    }
    fn text(&self) -> String {
        self.0.clone()
    }
}

impl Cookie {
    pub(super) fn read(values: &Values) -> Result<Cookie, Problem> {
        let at = values.section("cookie");
        let token = |name: &str| at.get::<Token>(name).map(|token| token.0);
        let domain = |name: &str| at.get::<Option<Domain>>(name).map(|domain| domain.map(|d| d.0));
        Ok(Cookie {
            name: token("name")?,
            same_site: at.get("same_site")?,
            domain: domain("domain")?,
            csrf_domain: domain("csrf_domain")?,
            secure: at.get("secure")?,
            partitioned: at.get("partitioned")?,
            csrf_cookie: token("csrf_cookie")?,
            csrf_header: token("csrf_header")?,
        })
    }
}

/// Combinations that a browser drops without a word, or that give a session away.
pub(super) fn check(values: &Values, cookie: &Cookie) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut refuse = |keys: &[&'static str], message: String| found.extend(values.conflict(keys, message));
    let prefixed = |name: &str, prefix: &str| {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    for (key, name, domain_key, domain) in [
        ("cookie.name", &cookie.name, "cookie.domain", &cookie.domain),
        ("cookie.csrf_cookie", &cookie.csrf_cookie, "cookie.csrf_domain", &cookie.csrf_domain),
    ] {
        let host = prefixed(name, "__Host-");
        if host && domain.is_some() {
            refuse(
                &[key, domain_key],
                format!(
                    "`{name}` begins with __Host-, which browsers take without a domain only: leave {domain_key} \
                     out, or choose a name that begins with __Secure-"
                ),
            );
        }
        if !cookie.secure && ["__Host-", "__Secure-", "__Http-"].iter().any(|prefix| prefixed(name, prefix)) {
            refuse(
                &[key, "cookie.secure"],
                format!(
                    "`{name}` has a prefix that browsers take with Secure only: set cookie.secure = true, or choose a \
                     plain name"
                ),
            );
        }
    }
    if prefixed(&cookie.csrf_cookie, "__Http-") || prefixed(&cookie.csrf_cookie, "__Host-Http-") {
        refuse(
            &["cookie.csrf_cookie"],
            format!(
                "`{}` has a prefix for cookies that scripts cannot read, and scripts must read this one: choose \
                 another name",
                cookie.csrf_cookie
            ),
        );
    }
    if cookie.name == cookie.csrf_cookie {
        refuse(
            &["cookie.csrf_cookie", "cookie.name"],
            format!("both cookies are named `{}`: choose another name for one of them", cookie.name),
        );
    }
    if cookie.same_site == SameSite::None && !cookie.secure {
        refuse(
            &["cookie.same_site", "cookie.secure"],
            "browsers take SameSite=None with Secure only: set cookie.secure = true, or same_site to Lax"
                .to_owned(),
        );
    }
    if cookie.partitioned && !cookie.secure {
        refuse(
            &["cookie.partitioned", "cookie.secure"],
            "browsers take Partitioned with Secure only: set cookie.secure = true, or partitioned = false"
                .to_owned(),
        );
    }
    found
}

/// What is allowed, and worth a line in the log.
pub(super) fn warnings(cookie: &Cookie) -> Vec<String> {
    if cookie.secure {
        Vec::new()
    } else {
        vec!["cookie.secure is false: session cookies also travel over plain HTTP; use it for development only".to_owned()]
    }
}
