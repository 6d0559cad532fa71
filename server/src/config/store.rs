//! `[store]`, `[control]`, `[cache]`, `[history]`: where records live, how much of them is kept in memory, and how
//! long the ended ones stay readable.

use super::Values;
use super::key::{Care, Key, Section};
use super::problem::Problem;
use super::setting::{ByteSize, Word};
use handstamp_core::time::Span;
use std::path::{Path, PathBuf};

pub(super) const STORE: Section = Section {
    name: "store",
    about: "Where sessions are kept",
    keys: &[Key::new::<Option<StoreUrl>>(
        "store",
        "url",
        "",
        "sqlite:PATH, the embedded store; postgres://USER:PASSWORD@HOST:PORT/DATABASE, which several nodes share; without it handstamp.db in the data directory",
    )
    .example("\"sqlite:/var/lib/handstamp/handstamp.db\"")
    .flag("--store")
    .care(Care::MayHoldPassword)],
};

pub(super) const CONTROL: Section = Section {
    name: "control",
    about: "Where history and control records are kept, when the store is Redis",
    keys: &[Key::new::<Option<StoreUrl>>(
        "control",
        "url",
        "",
        "Has no effect with the embedded store, which keeps everything itself",
    )
    .example("\"sqlite:/var/lib/handstamp/control.db\"")
    .flag("--control")
    .care(Care::MayHoldPassword)],
};

pub(super) const CACHE: Section = Section {
    name: "cache",
    about: "Session records kept in memory",
    keys: &[Key::new::<ByteSize>("cache", "max_bytes", "512MiB", "The cache never grows beyond this")
        .range(1 << 20, 1 << 40)],
};

pub(super) const HISTORY: Section = Section {
    name: "history",
    about: "Ended sessions and events",
    keys: &[Key::new::<Span>(
        "history",
        "retention",
        "30d",
        "How long they stay readable, with reason and evidence",
    )
    .range(1_000, 3_660 * 86_400_000)],
};

/// An address of a store. No `Debug`: it may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// The embedded store in this file.
    Sqlite(PathBuf),
    /// `postgres://...` or `postgresql://...`, whole.
    Postgres(String),
    /// `redis://`, `rediss://`, `redis-sentinel://`, `redis-cluster://` and their TLS forms, whole.
    Redis(String),
}

const REDIS: [&str; 6] =
    ["redis", "rediss", "redis-sentinel", "rediss-sentinel", "redis-cluster", "rediss-cluster"];

impl Word for StoreUrl {
    const NAME: &'static str = "the address of a store";

    /// No error of it repeats the text, which may hold a password.
    fn parse(text: &str) -> Result<StoreUrl, String> {
        let known = "write sqlite:PATH, such as \"sqlite:/var/lib/handstamp/handstamp.db\", or postgres://USER:PASSWORD@HOST:PORT/DATABASE";
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(format!("is not the address of a store: {known}"));
        };
        if scheme == "sqlite" {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if path.is_empty() || path.starts_with(':') || path.contains(['?', '#', '\0']) {
                return Err(format!("names no file: {known}; options after a ? are not taken"));
            }
            return Ok(StoreUrl::Sqlite(PathBuf::from(path)));
        }
        if !rest.starts_with("//") || rest.len() < 3 {
            return Err(format!("is not the address of a store: {known}"));
        }
        if matches!(scheme, "postgres" | "postgresql") {
            return Ok(StoreUrl::Postgres(text.to_owned()));
        }
        if REDIS.contains(&scheme) {
            return Ok(StoreUrl::Redis(text.to_owned()));
        }
        Err(format!("has the unknown scheme `{}`: {known}", scheme.escape_debug()))
    }

    /// With `***` in the place of a password.
    fn text(&self) -> String {
        match self {
            StoreUrl::Sqlite(path) => format!("sqlite:{}", path.display()),
            StoreUrl::Postgres(url) | StoreUrl::Redis(url) => hide_password(url),
        }
    }
}

/// Of what may stand behind the `?`, what is no secret.
const OPEN: [&str; 4] = ["sslmode", "sslrootcert", "schema", "target_session_attrs"];

/// Everything between the `//` and the last `@` may be a password, also one with a `/` or a `?` that should be written as
/// %XX; without an `@`, what stands there may be one whose host was forgotten. Parameters that nobody knows are hidden, too.
fn hide_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("//") else { return "***".to_owned() };
    let (at, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, rest)| ("@", rest));
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    let place = if at.is_empty() { "" } else { place };
    let open = |pair: &str| pair.split_once('=').is_some_and(|(name, _)| OPEN.contains(&name));
    let query: Option<Vec<&str>> =
        query.map(|query| query.split('&').map(|pair| if open(pair) { pair } else { "***" }).collect());
    let query = query.map_or_else(String::new, |pairs| format!("?{}", pairs.join("&")));
    format!("{scheme}//***{at}{place}{query}")
}

impl StoreUrl {
    /// Whether there is one in it, as far as can be seen.
    pub fn has_password(&self) -> bool {
        let (StoreUrl::Postgres(url) | StoreUrl::Redis(url)) = self else { return false };
        let login = url.split_once("//").and_then(|(_, rest)| rest.rsplit_once('@'));
        login.is_some_and(|(login, _)| login.contains(':'))
    }
}

/// `[store]`.
#[derive(Clone)]
pub struct Store {
    /// The embedded store, or a PostgreSQL database.
    pub url: StoreUrl,
}

/// `[control]`.
#[derive(Clone)]
pub struct Control {
    /// None: the store itself.
    pub url: Option<StoreUrl>,
}

/// `[cache]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Bytes.
    pub max_bytes: u64,
}

/// `[history]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// From the end of a session, and from an event.
    pub retention: Span,
}

impl Store {
    pub(super) fn read(values: &Values, data_dir: &Path) -> Result<Store, Problem> {
        let url: Option<StoreUrl> = values.section("store").get("url")?;
        Ok(Store { url: url.unwrap_or_else(|| StoreUrl::Sqlite(data_dir.join("handstamp.db"))) })
    }
}

impl Control {
    pub(super) fn read(values: &Values) -> Result<Control, Problem> {
        Ok(Control { url: values.section("control").get("url")? })
    }
}

impl Cache {
    pub(super) fn read(values: &Values) -> Result<Cache, Problem> {
        let ByteSize(max_bytes) = values.section("cache").get("max_bytes")?;
        Ok(Cache { max_bytes })
    }
}

impl History {
    pub(super) fn read(values: &Values) -> Result<History, Problem> {
        Ok(History { retention: values.section("history").get("retention")? })
    }
}

/// What this version cannot do yet.
pub(super) fn check(values: &Values, store: &Store) -> Vec<Problem> {
    match &store.url {
        StoreUrl::Sqlite(_) | StoreUrl::Postgres(_) => Vec::new(),
        StoreUrl::Redis(_) => {
            let message = "Redis as a store comes in a later version: write sqlite:PATH or postgres://..., or leave it out for \
                           the embedded store";
            values.conflict(&["store.url"], message.to_owned()).into_iter().collect()
        }
    }
}

/// What is allowed, and worth a line in the log.
pub(super) fn warnings(control: &Control) -> Vec<String> {
    match control.url {
        Some(_) => vec![
            "control.url has no effect: the embedded store keeps history and control records itself"
                .to_owned(),
        ],
        None => Vec::new(),
    }
}
