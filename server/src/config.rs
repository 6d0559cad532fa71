//! The configuration: defaults, a file, the environment and flags, in rising order, into one checked value.
//!
//! One table of all keys (`key::SECTIONS`) drives what is not a value: unknown keys, the sample file, the JSON Schema,
//! `config show`, what a reload may change. Each value knows where it came from. All problems are found in one pass,
//! and combinations that would be unsafe are refused before anything listens.
//!
//! * `key`, `setting`: one key as data; one value as text, TOML or JSON.
//! * `layers`: the file, the environment and the flags. `problem`: what is wrong with them, and where.
//! * `server`, `store`, `privacy`, `cookie`, `browser`, `tokens`, `log`, `policy`, `session_type`: the sections.
//! * `print`: the sample file, the schema, the listing. `reload`: what may change while the server runs.

pub mod browser;
pub mod cookie;
pub mod key;
pub mod layers;
pub mod log;
pub mod network;
pub mod policy;
pub mod print;
pub mod privacy;
pub mod problem;
pub mod reload;
pub mod secret;
pub mod server;
pub mod session_type;
pub mod setting;
pub mod store;
pub mod tokens;

pub use self::layers::{ConfigFile, Environment, Flags};
pub use self::problem::{Origin, Problem, Problems};
pub use self::secret::Secret;

use self::key::{Care, Key};
use self::layers::{Heard, Said};
use self::setting::{Given, Setting};
use handstamp_core::privacy::Privacy;
use serde_json::Value as Json;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Everything an operator can say, read and checked. No `Debug`: some of it is secret.
#[derive(Clone)]
pub struct Config {
    /// `[server]`
    pub server: server::Server,
    /// `[store]`
    pub store: store::Store,
    /// `[control]`
    pub control: store::Control,
    /// `[cache]`
    pub cache: store::Cache,
    /// `[history]`
    pub history: store::History,
    /// `[privacy]`
    pub privacy: Privacy,
    /// `[forward_auth]`
    pub forward_auth: server::ForwardAuth,
    /// `[metrics]`
    pub metrics: server::Metrics,
    /// `[bootstrap]`
    pub bootstrap: server::Bootstrap,
    /// `[cookie]`
    pub cookie: cookie::Cookie,
    /// `[browser]`
    pub browser: browser::Browser,
    /// `[cors]`
    pub cors: browser::Cors,
    /// `[login]`
    pub login: browser::Login,
    /// `[tokens]`
    pub tokens: tokens::Tokens,
    /// `[log]`
    pub log: log::Log,
    /// `[policy.default]`
    pub policy: policy::Sections,
    /// `[session_type.NAME]`
    pub session_types: session_type::Types,
    /// Lines for the log at the start.
    pub warnings: Vec<String>,
    /// The file that was read, if one was.
    pub file: Option<PathBuf>,
    /// Every key with its value and origin, in the order of the table; tags and session types last.
    pub entries: Vec<Entry>,
}

/// One key as it stands.
#[derive(Clone)]
pub struct Entry {
    /// `server.listen`
    pub path: String,
    /// The tag or the session type that it is about, where there is one.
    pub of: Option<String>,
    /// Secrets are `(set)`; what is not set is null.
    pub value: Json,
    /// Who said so.
    pub origin: Origin,
    /// Its row in the table.
    pub key: &'static Key,
}

/// Where a configuration is read from. Kept, so that a reload can read again.
#[derive(Clone)]
pub struct Sources {
    /// `--config`, or `./handstamp.toml` if it is there.
    pub file: ConfigFile,
    /// Read once, in `main`.
    pub environment: Environment,
    /// Of the command line.
    pub flags: Flags,
}

/// What a configuration is read for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    /// The server: files that it names must be there and readable, the store must be one that this version has.
    Serve,
    /// A command that asks the server over HTTP and may run as somebody who cannot read its private key.
    Ask,
}

impl Config {
    /// Reads all layers and checks them.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(sources: &Sources) -> Result<Config, Problems> {
        load(sources, Purpose::Serve).map(|(config, _)| config)
    }

    /// The same for a command that only needs to find the server: what concerns the server's own files and its store is
    /// not looked at.
    ///
    /// # Errors
    /// Everything else that is wrong, at once.
    pub fn load_to_ask(sources: &Sources) -> Result<Config, Problems> {
        load(sources, Purpose::Ask).map(|(config, _)| config)
    }
}

impl Config {
    /// What somebody else finds wrong with the value of a key, told where it was said.
    pub fn problem(&self, path: &str, message: String) -> Problem {
        let said = self.entries.iter().find(|entry| entry.path == path);
        Problem::new(said.map_or(Origin::Default, |entry| entry.origin.clone()), path, message)
    }
}

/// Where the table of keys and the structs have come apart: keys that no struct reads. The tests hold it empty; keys
/// that a struct reads and the table does not have, or has with another type, are an error of every load.
pub fn unread_keys() -> Result<Vec<String>, Problems> {
    let nothing = ConfigFile::IfPresent(PathBuf::new());
    let sources = Sources { file: nothing, environment: Environment::default(), flags: Flags::default() };
    let (_, values) = load(&sources, Purpose::Serve)?;
    let read = values.read.borrow();
    Ok(key::keys().map(Key::path).filter(|path| !read.contains(path)).collect())
}

fn load(sources: &Sources, purpose: Purpose) -> Result<(Config, Values), Problems> {
    let mut heard = Heard::default();
    heard.file(&sources.file);
    heard.environment(&sources.environment);
    heard.flags(&sources.flags);
    let Heard { said, mut problems, file, decides } = heard;

    let values = Values::settle(said, &mut problems);
    let mut config = match Config::from_values(&values, file, &decides) {
        Ok(config) => config,
        Err(problem) => {
            problems.push(problem);
            return Err(Problems::sorted(problems));
        }
    };
    problems.extend(config.conflicts(&values, purpose));
    if !problems.is_empty() {
        return Err(Problems::sorted(problems));
    }
    config.warnings = config.find_warnings();
    Ok((config, values))
}

impl Config {
    fn from_values(
        values: &Values,
        file: Option<PathBuf>,
        decides: &BTreeSet<&'static str>,
    ) -> Result<Config, Problem> {
        let server = server::Server::read(values)?;
        Ok(Config {
            store: store::Store::read(values, &server.data_dir)?,
            server,
            control: store::Control::read(values)?,
            cache: store::Cache::read(values)?,
            history: store::History::read(values)?,
            privacy: privacy::read(values)?,
            forward_auth: server::ForwardAuth::read(values)?,
            metrics: server::Metrics::read(values)?,
            bootstrap: server::Bootstrap::read(values)?,
            cookie: cookie::Cookie::read(values)?,
            browser: browser::Browser::read(values)?,
            cors: browser::Cors::read(values)?,
            login: browser::Login::read(values)?,
            tokens: tokens::Tokens::read(values)?,
            log: log::Log::read(values)?,
            policy: policy::Sections::read(values, decides.contains("policy"))?,
            session_types: session_type::Types::read(values, decides.contains(session_type::SECTION))?,
            warnings: Vec::new(),
            file,
            entries: values.entries(),
        })
    }

    fn doors(&self) -> [(&'static str, Option<SocketAddr>); 2] {
        [("forward_auth.listen", self.forward_auth.listen), ("metrics.listen", self.metrics.listen)]
    }

    fn conflicts(&self, values: &Values, purpose: Purpose) -> Vec<Problem> {
        let mut found = server::check(values, &self.server, self.doors());
        if purpose == Purpose::Serve {
            found.extend(server::check_files(values, &self.server));
            found.extend(store::check(values, &self.store));
        }
        found.extend(cookie::check(values, &self.cookie));
        found.extend(policy::check(values, &self.policy));
        found.extend(session_type::check(&self.session_types));
        found
    }

    fn find_warnings(&self) -> Vec<String> {
        let mut lines = server::warnings(&self.server, self.doors());
        lines.extend(store::warnings(&self.control));
        lines.extend(privacy::warnings(&self.privacy));
        lines.extend(cookie::warnings(&self.cookie));
        lines.extend(self.file.as_deref().and_then(|file| open_secrets(file, &self.entries)));
        lines
    }
}

/// A secret in a file that others can read.
#[cfg(unix)]
fn open_secrets(file: &std::path::Path, entries: &[Entry]) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let secret = entries
        .iter()
        .find(|entry| entry.key.care == Care::Secret && matches!(entry.origin, Origin::File { .. }))?;
    let mode = std::fs::metadata(file).ok()?.permissions().mode();
    (mode & 0o044 != 0).then(|| {
        format!(
            "{}: {} is secret, and others on this machine can read the file: chmod 600 {}",
            secret.origin,
            secret.path,
            file.display()
        )
    })
}

#[cfg(not(unix))]
fn open_secrets(_: &std::path::Path, _: &[Entry]) -> Option<String> {
    None
}

/// One value for each key: the highest layer's, or the default.
pub(crate) struct Values {
    by_path: BTreeMap<String, Settled>,
    /// Keys whose value was wrong; their default stands in, so that the rest can still be checked.
    wrong: BTreeSet<String>,
    named: Vec<Entry>,
    read: RefCell<BTreeSet<String>>,
}

struct Settled {
    key: &'static Key,
    given: Given,
    origin: Origin,
    shown: Json,
}

impl Values {
    /// Lays the layers over each other. Every value is looked at, also one that a higher layer replaces.
    fn settle(said: Vec<Said>, problems: &mut Vec<Problem>) -> Values {
        let mut values = Values {
            by_path: BTreeMap::new(),
            wrong: BTreeSet::new(),
            named: Vec::new(),
            read: RefCell::new(BTreeSet::new()),
        };
        for key in key::keys() {
            let given = Given::Loose(key.default.to_owned());
            let shown = key.look(&given).unwrap_or(Json::Null);
            values.by_path.insert(key.path(), Settled { key, given, origin: Origin::Default, shown });
        }
        for Said { path, of, key, given, origin } in said {
            match key.look(&given) {
                Err(message) => {
                    problems.push(Problem::new(origin, &path, message));
                    values.wrong.insert(path);
                }
                Ok(value) if path == key.path() => {
                    values.by_path.insert(path, Settled { key, given, origin, shown: value });
                }
                Ok(value) => values.named.push(Entry { path, of, value, origin, key }),
            }
        }
        values
    }

    fn section<'a>(&'a self, section: &'static str) -> At<'a> {
        At { values: self, section }
    }

    /// A value as it is shown, and who said it.
    fn look_up(&self, path: &str) -> Option<(&Json, Origin)> {
        self.read.borrow_mut().insert(path.to_owned());
        self.by_path.get(path).map(|settled| (&settled.shown, settled.origin.clone()))
    }

    fn origin(&self, path: &str) -> Origin {
        self.by_path.get(path).map_or(Origin::Default, |settled| settled.origin.clone())
    }

    fn is_set(&self, path: &str) -> bool {
        self.by_path.get(path).is_some_and(|settled| !settled.shown.is_null())
    }

    /// A problem of several keys together, told at the first of them that somebody set. None when one of them has a
    /// wrong value of its own, which is told already.
    fn conflict(&self, paths: &[&str], message: String) -> Option<Problem> {
        if paths.iter().any(|path| self.wrong.contains(*path)) {
            return None;
        }
        let set: Vec<(&str, Origin)> = paths
            .iter()
            .map(|path| (*path, self.origin(path)))
            .filter(|(_, at)| *at != Origin::Default)
            .collect();
        let [(path, origin), others @ ..] = set.as_slice() else {
            return Some(Problem::new(Origin::Default, paths.first().copied().unwrap_or_default(), message));
        };
        let others: Vec<String> =
            others.iter().map(|(path, origin)| format!("{path} is set at {origin}")).collect();
        let others = if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
        Some(Problem::new(origin.clone(), *path, format!("{message}{others}")))
    }

    fn entries(&self) -> Vec<Entry> {
        let fixed = key::keys().filter_map(|key| {
            let settled = self.by_path.get(&key.path())?;
            let (value, origin) = (settled.shown.clone(), settled.origin.clone());
            Some(Entry { path: key.path(), of: None, value, origin, key })
        });
        fixed.chain(self.named.iter().cloned()).collect()
    }
}

/// One section of the values.
struct At<'a> {
    values: &'a Values,
    section: &'static str,
}

impl At<'_> {
    /// The value of a key. An error here is a slip of ours: values were looked at when they were settled.
    fn get<T: Setting>(&self, name: &str) -> Result<T, Problem> {
        let path = format!("{}.{name}", self.section);
        let found = self.values.by_path.get(&path);
        let settled =
            found.filter(|s| (s.key.rust_type)() == std::any::type_name::<T>()).ok_or_else(|| {
                Problem::new(
                    Origin::Default,
                    &path,
                    "the table of keys does not have this key with this type",
                )
            })?;
        self.values.read.borrow_mut().insert(path.clone());
        T::read(&settled.given).map_err(|message| Problem::new(settled.origin.clone(), path, message))
    }
}
