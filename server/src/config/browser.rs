//! `[browser]`, `[cors]`, `[login]`: what the doors for browsers need to know.

use super::Values;
use super::key::{Key, Section};
use super::problem::Problem;
use super::setting::{Given, Setting, Word};
use handstamp_core::environment::{EnvironmentName, Environments};
use handstamp_core::origin::WebOrigin;
use handstamp_core::policy::modes::Rate;
use handstamp_core::policy::setting::Budget;
use handstamp_core::time::Span;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

pub(super) const BROWSER: Section = Section {
    name: "browser",
    about: "The environment of requests that bring no key, and what of a session a browser sees",
    keys: &[
        Key::new::<Environments>(
            "browser",
            "environment",
            "default/prd",
            "product/environment, or a table of them by host: environment = { \"app.example.org\" = \"app/prd\" }",
        ),
        Key::new::<Vec<Member>>(
            "browser",
            "expose",
            "",
            "Members of the session's data that the browser is shown",
        )
        .example("[\"name\", \"locale\"]"),
        Key::new::<Budget>(
            "browser",
            "anonymous_limit",
            "50/1h",
            "Failing requests of one address (of IPv6, one /64) without a session in a time, or \"off\"",
        )
        .live(),
        Key::new::<bool>(
            "browser",
            "clear_site_data",
            "false",
            "A logout also asks the browser to forget cookies and storage of this origin",
        ),
        Key::new::<Fresh>(
            "browser",
            "fresh_login",
            "1h",
            "Other sessions of a user are ended only by one that logged in within this time; \"off\": by any",
        ),
    ],
};

pub(super) const CORS: Section = Section {
    name: "cors",
    about: "Pages of other origins that may call the browser API",
    keys: &[Key::new::<Vec<WebOrigin>>(
        "cors",
        "origins",
        "",
        "Exact origins; * is never possible with cookies",
    )
    .example("[\"https://app.example.org\"]")
    .live()],
};

pub(super) const LOGIN: Section = Section {
    name: "login",
    about: "Where somebody without a session is sent",
    keys: &[
        Key::new::<Option<LoginUrl>>("login", "url", "", "Address of the login page")
            .example("\"https://app.example.org/login\""),
        Key::new::<Vec<WebOrigin>>(
            "login",
            "redirect_origins",
            "",
            "Exact origins that redirect_uri may lead back to",
        )
        .example("[\"https://app.example.org\"]")
        .live(),
    ],
};

impl Word for EnvironmentName {
    const NAME: &'static str = "product/environment";
    fn parse(text: &str) -> Result<EnvironmentName, String> {
        let name = EnvironmentName::parse(text)
            .map_err(|why| format!("`{}` is not product/environment: {why}", text.escape_debug()))?;
        if name.product() == EnvironmentName::RESERVED {
            return Err(format!("`{name}` is reserved for operators' keys: name one of your own products"));
        }
        Ok(name)
    }
    fn text(&self) -> String {
        self.to_string()
    }
}

fn by_host<'a>(
    pairs: impl Iterator<Item = (&'a str, Result<EnvironmentName, String>)>,
) -> Result<Environments, String> {
    let mut map = BTreeMap::new();
    for (host, name) in pairs {
        let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '*' | '@');
        if host.is_empty() || host.contains(bad) {
            return Err(format!("`{}` is not a host: write it without scheme and port", host.escape_debug()));
        }
        if map.insert(host.to_ascii_lowercase(), name?).is_some() {
            return Err(format!("names the host `{}` twice", host.escape_debug()));
        }
    }
    if map.is_empty() {
        return Err("names no host: write \"default/prd\", or a table of them by host".to_owned());
    }
    Ok(Environments::ByHost(map))
}

/// One text, a table by host, or (in the environment) `host=product/environment` separated by commas.
impl Setting for Environments {
    const WORD: &'static str = "product/environment";
    fn read(given: &Given) -> Result<Environments, String> {
        match given {
            Given::Map(pairs) => by_host(
                pairs.iter().map(|(host, name)| (host.as_str(), <EnvironmentName as Setting>::read(name))),
            ),
            Given::Loose(text) if text.contains('=') => by_host(text.split(',').map(|pair| {
                let (host, name) = pair.split_once('=').unwrap_or((pair, ""));
                (host.trim(), <EnvironmentName as Word>::parse(name.trim()))
            })),
            given => <EnvironmentName as Setting>::read(given).map(Environments::One),
        }
    }
    fn show(&self) -> Json {
        match self {
            Environments::One(name) => json!(name.text()),
            Environments::ByHost(map) => {
                map.iter().map(|(host, name)| (host.clone(), json!(name.text()))).collect()
            }
        }
    }
    fn schema() -> Json {
        let name = json!({"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]*/[a-z0-9][a-z0-9_-]*$"});
        json!({"oneOf": [name, {"type": "object", "minProperties": 1, "additionalProperties": name}]})
    }
}

/// The name of a member of a session's data.
struct Member(String);

impl Word for Member {
    const NAME: &'static str = "the name of a member";
    fn parse(text: &str) -> Result<Member, String> {
        if text.is_empty() || text.len() > 128 || text.chars().any(char::is_control) {
            return Err("is not the name of a member: 1 to 128 bytes without control characters".to_owned());
        }
        Ok(Member(text.to_owned()))
    }
    fn text(&self) -> String {
        self.0.clone()
    }
}

/// A length of time, or `off`.
struct Fresh(Option<Span>);

impl Word for Fresh {
    const NAME: &'static str = "a duration, or \"off\",";
    fn parse(text: &str) -> Result<Fresh, String> {
        if text == "off" {
            return Ok(Fresh(None));
        }
        <Span as Word>::parse(text).map(|span| Fresh(Some(span))).map_err(|why| format!("{why}, or \"off\""))
    }
    fn text(&self) -> String {
        self.0.map_or_else(|| "off".to_owned(), |span| span.to_string())
    }
    fn schema() -> Json {
        json!({"type": "string", "pattern": "^(off|([0-9]+(ms|s|m|h|d))+)$"})
    }
}

impl Word for WebOrigin {
    const NAME: &'static str = "an origin";
    fn parse(text: &str) -> Result<WebOrigin, String> {
        WebOrigin::parse(text)
    }
    fn text(&self) -> String {
        self.to_string()
    }
    fn schema() -> Json {
        json!({"type": "string", "pattern": "^https?://[^/@?#*]+$"})
    }
}

/// An address of a login page.
struct LoginUrl(String);

impl Word for LoginUrl {
    const NAME: &'static str = "the address of a page";
    fn parse(text: &str) -> Result<LoginUrl, String> {
        let local = text.starts_with('/') && !text.starts_with("//") && !text.contains('\\');
        let web = ["https://", "http://"].iter().any(|scheme| {
            text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        });
        if (local || web) && text.bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(LoginUrl(text.to_owned()));
        }
        Err(format!(
            "`{}` is not the address of a page: write it such as \"https://app.example.org/login\" or \"/login\"",
            text.escape_debug()
        ))
    }
    fn text(&self) -> String {
        self.0.clone()
    }
}

/// `[browser]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Browser {
    /// Of requests without a key.
    pub environment: Environments,
    /// Members of the session's data that a browser sees.
    pub expose: Vec<String>,
    /// How often an address may fail without a session; a reload changes it.
    pub anonymous_limit: Option<Rate>,
    /// Whether a logout sends `Clear-Site-Data`.
    pub clear_site_data: bool,
    /// How long a login is fresh enough to end other sessions.
    pub fresh_login: Option<Span>,
}

/// `[cors]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// A reload changes them.
    pub origins: Vec<WebOrigin>,
}

/// `[login]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// None: `GET /login` is 404.
    pub url: Option<String>,
    /// A reload changes them.
    pub redirect_origins: Vec<WebOrigin>,
}

impl Browser {
    pub(super) fn read(values: &Values) -> Result<Browser, Problem> {
        let at = values.section("browser");
        let expose: Vec<Member> = at.get("expose")?;
        let Budget(anonymous_limit) = at.get("anonymous_limit")?;
        let Fresh(fresh_login) = at.get("fresh_login")?;
        let expose = expose.into_iter().map(|m| m.0).collect();
        let (environment, clear_site_data) = (at.get("environment")?, at.get("clear_site_data")?);
        Ok(Browser { environment, expose, anonymous_limit, clear_site_data, fresh_login })
    }
}

impl Cors {
    pub(super) fn read(values: &Values) -> Result<Cors, Problem> {
        Ok(Cors { origins: values.section("cors").get("origins")? })
    }
}

impl Login {
    pub(super) fn read(values: &Values) -> Result<Login, Problem> {
        let at = values.section("login");
        let url: Option<LoginUrl> = at.get("url")?;
        Ok(Login { url: url.map(|u| u.0), redirect_origins: at.get("redirect_origins")? })
    }
}
