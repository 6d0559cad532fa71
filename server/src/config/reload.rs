//! What may change while the server runs: policies, privacy, origins, the log level, the TLS files. Everything else is told,
//! and waits for a restart.

use super::server::MasterKey;
use super::{Care, Config, Entry, Origin, Problems, Secret, Sources};
use serde_json::Value as Json;
use std::fmt;

/// A key that stands otherwise than before. Secrets show `(set)` on both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// `log.level`
    pub path: String,
    /// As in [`Entry::value`].
    pub before: Json,
    /// As in [`Entry::value`].
    pub after: Json,
    /// Who says so now.
    pub origin: Origin,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { path, before, after, origin } = self;
        write!(f, "{path}: {before} is now {after} ({origin})")
    }
}

/// What a second reading found.
pub struct Reload {
    /// The running configuration with what may change taken from the second reading. The TLS files are to be read
    /// again also when their names stay, because that is how certificates are renewed.
    pub config: Config,
    /// Now in force.
    pub changed: Vec<Change>,
    /// In force after a restart; the running server keeps what it has.
    pub restart: Vec<Change>,
}

/// Reads `sources` again and lays what may change over `running`.
///
/// # Errors
/// Everything that is wrong with the second reading; nothing changes then.
pub fn reload(running: &Config, sources: &Sources) -> Result<Reload, Problems> {
    let next = Config::load(sources)?;
    let mut changed = Vec::new();
    let mut restart = Vec::new();
    let switches_tls = running.server.tls.is_some() != next.server.tls.is_some();

    let mut entries = Vec::new();
    for entry in &next.entries {
        let old = running.entries.iter().find(|old| old.path == entry.path);
        let live = is_live(entry, switches_tls);
        if old.is_none_or(|old| old.value != entry.value || hidden_change(&entry.path, running, &next)) {
            let before = old.map_or(Json::Null, |old| old.value.clone());
            let list = if live { &mut changed } else { &mut restart };
            list.push(change(entry, before, entry.value.clone()));
        }
        entries.push(if live { entry.clone() } else { old.unwrap_or(entry).clone() });
    }
    // A tag or a session type that the file no longer names.
    for old in &running.entries {
        if !next.entries.iter().any(|entry| entry.path == old.path) {
            changed.push(change(old, old.value.clone(), Json::Null));
        }
    }

    let mut config = running.clone();
    config.entries = entries;
    config.policy = next.policy;
    config.session_types = next.session_types;
    config.privacy = next.privacy;
    config.browser.anonymous_limit = next.browser.anonymous_limit;
    config.cors = next.cors;
    config.login.redirect_origins = next.login.redirect_origins;
    config.log.level = next.log.level;
    config.warnings = next.warnings;
    if !switches_tls {
        config.server.tls = next.server.tls;
    }
    Ok(Reload { config, changed, restart })
}

/// What several nodes on one store are to have alike, a line for each setting: what one of them judges by, the others must, too.
pub fn to_be_alike(config: &Config) -> String {
    const SECTIONS: [&str; 8] =
        ["policy", "session_type", "browser", "cors", "login", "tokens", "privacy", "history"];
    let is_one = |entry: &&Entry| {
        let section = entry.path.split('.').next().unwrap_or_default();
        SECTIONS.contains(&section) && entry.key.care == Care::Plain
    };
    let line = |entry: &Entry| format!("{} = {}\n", entry.path, entry.value);
    let mut lines: Vec<String> = config.entries.iter().filter(is_one).map(line).collect();
    lines.sort_unstable();
    lines.concat()
}

fn change(entry: &Entry, before: Json, after: Json) -> Change {
    Change { path: entry.path.clone(), before, after, origin: entry.origin.clone() }
}

/// A listener cannot begin or stop to speak TLS, but it can take other certificates.
fn is_live(entry: &Entry, switches_tls: bool) -> bool {
    entry.key.live && !(switches_tls && entry.key.name.starts_with("tls_"))
}

/// A change that the shown value does not show.
fn hidden_change(path: &str, running: &Config, next: &Config) -> bool {
    let differ = |a: Option<&Secret>, b: Option<&Secret>| match (a, b) {
        (Some(a), Some(b)) => !a.same_as(b),
        (a, b) => a.is_some() != b.is_some(),
    };
    match path {
        "bootstrap.access_key" => {
            differ(running.bootstrap.access_key.as_ref(), next.bootstrap.access_key.as_ref())
        }
        "server.master_key" => differ(given(running), given(next)),
        "store.url" => running.store.url != next.store.url,
        "control.url" => running.control.url != next.control.url,
        _ => false,
    }
}

fn given(config: &Config) -> Option<&Secret> {
    match &config.server.master_key {
        MasterKey::Given(secret) => Some(secret),
        MasterKey::File(_) | MasterKey::Made(_) => None,
    }
}
