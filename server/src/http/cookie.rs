//! Ready `Set-Cookie` values: the application passes them on as they are, the doors for browsers send them themselves.

use handstamp_core::time::Millis;
use std::fmt::Write;

/// How the session cookie and the CSRF cookie are written; checked by the configuration.
#[derive(Clone, Debug)]
pub struct Style {
    /// The name of the session cookie.
    pub name: String,
    /// `Lax`, `Strict` or `None`, of both.
    pub same_site: &'static str,
    /// For which hosts the session cookie is; `None`: this one only.
    pub domain: Option<String>,
    /// Only over TLS, both.
    pub secure: bool,
    /// Kept apart by top-level site, both.
    pub partitioned: bool,
    /// The name of the CSRF cookie.
    pub csrf_name: String,
    /// The header in which scripts send its value back.
    pub csrf_header: String,
    /// For which hosts the CSRF cookie is: where pages of a sister host must read it.
    pub csrf_domain: Option<String>,
}

impl Style {
    /// The cookie that carries `token` until `ends`.
    pub fn session(&self, token: &str, ends: Millis, now: Millis) -> String {
        self.written(&self.name, token, ends.since(now).as_secs(), self.domain.as_deref(), "; HttpOnly")
    }

    /// The cookie that carries a CSRF token, for as long: scripts read it, so it is not `HttpOnly`.
    pub fn csrf(&self, token: &str, ends: Millis, now: Millis) -> String {
        self.written(&self.csrf_name, token, ends.since(now).as_secs(), self.csrf_domain.as_deref(), "")
    }

    /// What takes both away: a browser finds the cookie to replace by name, path and domain, so all else stays as it was.
    pub fn cleared(&self) -> [String; 2] {
        [
            self.written(&self.name, "", 0, self.domain.as_deref(), "; HttpOnly"),
            self.written(&self.csrf_name, "", 0, self.csrf_domain.as_deref(), ""),
        ]
    }

    fn written(
        &self,
        name: &str,
        value: &str,
        seconds: i64,
        domain: Option<&str>,
        http_only: &str,
    ) -> String {
        let mut text =
            format!("{name}={value}; Path=/; Max-Age={seconds}{http_only}; SameSite={}", self.same_site);
        if self.secure {
            text.push_str("; Secure");
        }
        if let Some(domain) = domain {
            let _ = write!(text, "; Domain={domain}");
        }
        if self.partitioned {
            text.push_str("; Partitioned");
        }
        text
    }
}

/// As the configuration has it when nothing is said.
impl Default for Style {
    fn default() -> Style {
        Style {
            name: "__Host-handstamp".to_owned(),
            same_site: "Lax",
            domain: None,
            secure: true,
            partitioned: false,
            csrf_name: "XSRF-TOKEN".to_owned(),
            csrf_header: "X-XSRF-TOKEN".to_owned(),
            csrf_domain: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clears_a_cookie_differs_from_what_set_it_in_value_and_age_alone() {
        let style = Style {
            domain: Some("example.org".to_owned()),
            csrf_domain: Some("app.example.org".to_owned()),
            partitioned: true,
            ..Style::default()
        };
        for style in [Style::default(), style] {
            let set = [
                style.session("hst_1", Millis(90_000), Millis(0)),
                style.csrf("c1.1", Millis(90_000), Millis(0)),
            ];
            for (set, cleared) in set.iter().zip(style.cleared()) {
                let emptied = set.replace("hst_1", "").replace("c1.1", "").replace("Max-Age=90", "Max-Age=0");
                assert_eq!(cleared, emptied);
            }
            assert!(set[0].contains("; HttpOnly") && !set[1].contains("HttpOnly"), "{set:?}");
        }
    }

    #[test]
    fn the_default_is_what_browsers_take_for_this_host_alone() {
        let style = Style::default();
        assert_eq!(
            style.session("hst_1", Millis(86_400_000), Millis(0)),
            "__Host-handstamp=hst_1; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax; Secure"
        );
        assert_eq!(
            style.csrf("c1.1", Millis(86_400_999), Millis(0)),
            "XSRF-TOKEN=c1.1; Path=/; Max-Age=86400; SameSite=Lax; Secure"
        );
    }
}
