//! Ready `Set-Cookie` values: the application passes them on as they are.

use handstamp_core::time::Millis;

/// How session cookies are written; checked by the configuration.
#[derive(Clone, Debug)]
pub struct Style {
    /// Its name.
    pub name: String,
    /// `Lax`, `Strict` or `None`.
    pub same_site: &'static str,
    /// For which hosts; `None`: this one only.
    pub domain: Option<String>,
    /// Only over TLS.
    pub secure: bool,
    /// Kept apart by top-level site.
    pub partitioned: bool,
}

impl Style {
    /// The cookie that carries `token` until `ends`.
    pub fn session(&self, token: &str, ends: Millis, now: Millis) -> String {
        let mut value = format!(
            "{}={token}; Path=/; Max-Age={}; HttpOnly; SameSite={}",
            self.name,
            ends.since(now).as_secs(),
            self.same_site
        );
        if self.secure {
            value.push_str("; Secure");
        }
        if let Some(domain) = &self.domain {
            value.push_str("; Domain=");
            value.push_str(domain);
        }
        if self.partitioned {
            value.push_str("; Partitioned");
        }
        value
    }
}
