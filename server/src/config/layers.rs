//! The three layers above the defaults, each read into (key, value, origin): the file, the environment, the flags.
//!
//! Nothing is interpreted here but names: which key is meant, and whether there is one.

use super::key::{self, Care, Key, Layers};
use super::problem::{Origin, Problem};
use super::setting::Given;
use super::{policy, session_type};
use handstamp_core::policy::Pattern;
use handstamp_core::policy::session_type::TypeName;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where the file is.
#[derive(Clone, Debug)]
pub enum ConfigFile {
    /// It was named, and must be there.
    Named(PathBuf),
    /// It is read if it is there.
    IfPresent(PathBuf),
}

/// The environment variables that begin with `HANDSTAMP_`. No `Debug`: some are secret.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    not_text: Vec<String>,
}

/// Variables of the command line, which are no part of the configuration.
const OF_THE_COMMAND_LINE: [&str; 2] = ["HANDSTAMP_KEY", "HANDSTAMP_KEY_FILE"];
const PREFIX: &str = "HANDSTAMP_";

impl Environment {
    /// Keeps what begins with `HANDSTAMP_`.
    pub fn new<N: Into<String>, V: Into<String>>(variables: impl IntoIterator<Item = (N, V)>) -> Environment {
        let all = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        Environment {
            variables: all.filter(|(name, _): &(String, String)| name.starts_with(PREFIX)).collect(),
            not_text: Vec::new(),
        }
    }

    /// The environment of this process. Called once, in `main`.
    pub fn of_this_process() -> Environment {
        let mut environment = Environment::default();
        // `vars` would panic on a variable that is not UTF-8, even on one that is none of ours.
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
            match value.into_string() {
                Ok(value) => drop(environment.variables.insert(name.to_owned(), value)),
                Err(_) => environment.not_text.push(name.to_owned()),
            }
        }
        environment
    }

    /// One variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }
}

/// The flags of the command line that are part of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--listen`
    pub listen: Option<String>,
    /// `--data-dir`
    pub data_dir: Option<String>,
    /// `--store`
    pub store: Option<String>,
    /// `--control`
    pub control: Option<String>,
}

/// A value that some layer gave.
pub(super) struct Said {
    /// With the tag or the session type, where there is one.
    pub(super) path: String,
    /// The tag or the session type, where there is one.
    pub(super) of: Option<String>,
    pub(super) key: &'static Key,
    pub(super) given: Given,
    pub(super) origin: Origin,
}

/// What all layers said, in rising order, and what could not be understood.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) said: Vec<Said>,
    pub(super) problems: Vec<Problem>,
    /// The file that was read.
    pub(super) file: Option<PathBuf>,
    /// What it decides, so that the API does not: `policy`, `session_type`.
    pub(super) decides: BTreeSet<&'static str>,
}

impl Heard {
    fn say(&mut self, path: String, key: &'static Key, given: Given, origin: Origin) {
        self.said.push(Said { path, of: None, key, given, origin });
    }

    pub(super) fn file(&mut self, file: &ConfigFile) {
        let (ConfigFile::Named(path) | ConfigFile::IfPresent(path)) = file;
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e)
                if e.kind() == std::io::ErrorKind::NotFound && matches!(file, ConfigFile::IfPresent(_)) =>
            {
                return;
            }
            Err(e) => {
                let help = "`handstamp config init` prints a file to begin with";
                self.problems.push(Problem::new(
                    Origin::File { path: path.clone(), line: 0 },
                    "",
                    format!("cannot be read: {e}; {help}"),
                ));
                return;
            }
        };
        self.file = Some(path.clone());
        let (table, errors) = DeTable::parse_recoverable(&text);
        let reader = Reader { path, text: &text };
        if errors.is_empty() {
            reader.sections(table.get_ref(), self);
        }
        for error in errors {
            // Only the message: the library's own text repeats the line, which may hold a secret.
            let line = error.span().map_or(1, |span| reader.line(span.start));
            self.problems.push(Problem::new(
                reader.at(line),
                "",
                format!("is not TOML: {}", error.message()),
            ));
        }
    }

    pub(super) fn environment(&mut self, environment: &Environment) {
        for name in &environment.not_text {
            self.problems.push(Problem::new(
                Origin::Environment(name.clone()),
                "",
                "is not UTF-8: write the value as text",
            ));
        }
        for (name, value) in &environment.variables {
            if OF_THE_COMMAND_LINE.contains(&name.as_str()) || is_service_link(name) {
                continue;
            }
            let origin = Origin::Environment(name.clone());
            let secret = name.strip_suffix("_FILE").and_then(variable).filter(|key| key.care != Care::Plain);
            let plain = secret.and_then(Key::variable);
            if let Some(plain) = plain.filter(|plain| environment.variables.contains_key(plain)) {
                let message = format!("is set together with {plain}: set one of the two");
                self.problems.push(Problem::new(origin, "", message));
            } else if let Some(key) = variable(name) {
                self.say(key.path(), key, Given::Loose(value.clone()), origin);
            } else if let Some(key) = secret {
                match std::fs::read_to_string(value) {
                    Ok(text) => self.say(key.path(), key, Given::Loose(text.trim().to_owned()), origin),
                    Err(e) => {
                        let message = format!("`{}` cannot be read: {e}", value.escape_debug());
                        self.problems.push(Problem::new(origin, key.path(), message));
                    }
                }
            } else if name.starts_with("HANDSTAMP_POLICY__") || name.starts_with("HANDSTAMP_SESSION_TYPE__") {
                let message =
                    "policies and session types are set in the file or over the API, not by the environment";
                self.problems.push(Problem::new(origin, "", message));
            } else {
                let nearest = key::nearest(name, key::keys().filter_map(Key::variable)).unwrap_or_default();
                let message = format!("unknown environment variable; the nearest known one is {nearest}");
                self.problems.push(Problem::new(origin, "", message));
            }
        }
    }

    pub(super) fn flags(&mut self, flags: &Flags) {
        let given = [
            ("--listen", &flags.listen),
            ("--data-dir", &flags.data_dir),
            ("--store", &flags.store),
            ("--control", &flags.control),
        ];
        for (flag, value) in given {
            let key = key::keys().find(|key| key.flag == Some(flag));
            if let (Some(key), Some(value)) = (key, value) {
                self.say(key.path(), key, Given::Loose(value.clone()), Origin::Flag(flag));
            }
        }
    }
}

/// The key of `HANDSTAMP_SECTION__KEY`.
fn variable(name: &str) -> Option<&'static Key> {
    key::keys().find(|key| key.variable().as_deref() == Some(name))
}

/// Kubernetes and Docker put addresses of other services into the environment of every container: of a service named
/// `handstamp` they are `HANDSTAMP_SERVICE_HOST`, `HANDSTAMP_PORT`, `HANDSTAMP_PORT_7411_TCP_ADDR` and so on. They are
/// none of ours, and a server that refused to start because of them could not run there.
fn is_service_link(name: &str) -> bool {
    let words: Vec<&str> = name.split('_').collect();
    let number = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    let link = |tail: &[&str]| match tail {
        ["SERVICE", "HOST"] | ["PORT"] => true,
        ["SERVICE", "PORT", rest @ ..] => rest.iter().all(|word| !word.is_empty()),
        ["PORT", port, "TCP" | "UDP" | "SCTP"] => number(port),
        ["PORT", port, "TCP" | "UDP" | "SCTP", "ADDR" | "PORT" | "PROTO"] => number(port),
        _ => false,
    };
    !name.contains("__") && (1..words.len()).any(|from| words.get(from..).is_some_and(link))
}

/// The file's text with its name, to say where in it something stands.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

type Table<'a> = DeTable<'a>;
type Value<'a> = Spanned<DeValue<'a>>;

impl Reader<'_> {
    /// Counted from 1.
    fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1
    }
    fn at(&self, line: usize) -> Origin {
        Origin::File { path: self.path.to_owned(), line }
    }
    fn origin<T>(&self, of: &Spanned<T>) -> Origin {
        self.at(self.line(of.span().start))
    }

    fn sections(&self, table: &Table<'_>, heard: &mut Heard) {
        for (name, value) in table {
            let (place, section) = (self.origin(name), name.get_ref().as_ref());
            let Some(inner) = value.get_ref().as_table() else {
                let message = match key::keys().find(|key| key.name == section) {
                    Some(key) => format!("stands in no section; write it under [{}]", key.section),
                    None => unknown_section(section),
                };
                heard.problems.push(Problem::new(place, section, message));
                continue;
            };
            match section {
                "policy" => {
                    heard.decides.insert("policy");
                    self.policy(inner, heard);
                }
                "session_type" => {
                    heard.decides.insert(session_type::SECTION);
                    self.session_types(inner, heard);
                }
                section if key::SECTIONS.iter().any(|known| known.name == section) => {
                    self.keys(section, inner, heard);
                }
                _ => heard.problems.push(Problem::new(place, section, unknown_section(section))),
            }
        }
    }

    fn keys(&self, section: &str, table: &Table<'_>, heard: &mut Heard) {
        for (name, value) in table {
            let (origin, typed) = (self.origin(name), name.get_ref().as_ref());
            let path = format!("{section}.{typed}");
            match key::find(section, typed) {
                Some(key) if key.layers == Layers::Environment => {
                    let variable = key.variable().unwrap_or_default();
                    let message = format!(
                        "is not taken from this file: set {variable} or {variable}_FILE, or write {section}.{typed}_file"
                    );
                    heard.problems.push(Problem::new(origin, path, message));
                }
                Some(key) => heard.say(path, key, given(value), origin),
                None => {
                    let nearest = key::nearest_key(section, typed).unwrap_or_default();
                    let message = format!("unknown key; the nearest known one is {nearest}");
                    heard.problems.push(Problem::new(origin, path, message));
                }
            }
        }
    }

    fn policy(&self, table: &Table<'_>, heard: &mut Heard) {
        for (name, value) in table {
            let (origin, typed) = (self.origin(name), name.get_ref().as_ref());
            match (typed, value.get_ref().as_table()) {
                ("default", Some(inner)) => self.keys("policy.default", inner, heard),
                ("tag", Some(inner)) => {
                    for (tag, value) in inner {
                        let path = format!("policy.tag.{}", quoted(tag.get_ref()));
                        let says_nothing = value.get_ref().as_table().is_some_and(|table| table.is_empty());
                        if let Err(message) = Pattern::parse(tag.get_ref()) {
                            heard.problems.push(Problem::new(self.origin(tag), &path, message));
                        } else if says_nothing {
                            let message = "says nothing: give it a rule, or leave it out";
                            heard.problems.push(Problem::new(self.origin(tag), &path, message));
                        }
                        self.dynamic(path, tag, value, policy::of_a_tag(), heard);
                    }
                }
                _ => {
                    let message = "unknown section; the known ones are [policy.default] and [policy.tag.\"name:value\"]";
                    heard.problems.push(Problem::new(origin, format!("policy.{typed}"), message));
                }
            }
        }
    }

    fn session_types(&self, table: &Table<'_>, heard: &mut Heard) {
        for (name, value) in table {
            let path = format!("session_type.{}", quoted(name.get_ref()));
            let says_nothing = value.get_ref().as_table().is_some_and(|table| table.is_empty());
            if let Err(message) = TypeName::parse(name.get_ref()) {
                heard.problems.push(Problem::new(self.origin(name), &path, message));
            } else if says_nothing {
                let message = "says nothing: give it a key, or leave it out";
                heard.problems.push(Problem::new(self.origin(name), &path, message));
            }
            self.dynamic(path, name, value, session_type::KEYS, heard);
        }
    }

    /// A table whose name the operator chose.
    fn dynamic<N: AsRef<str>>(
        &self,
        path: String,
        name: &Spanned<N>,
        value: &Value<'_>,
        known: impl IntoIterator<Item = &'static Key>,
        heard: &mut Heard,
    ) {
        let known: Vec<&'static Key> = known.into_iter().collect();
        let Some(table) = value.get_ref().as_table() else {
            let message = format!("is {}: write a section [{path}]", given(value).word());
            heard.problems.push(Problem::new(self.origin(name), path, message));
            return;
        };
        let of = name.get_ref().as_ref();
        for (name, value) in table {
            let (origin, typed) = (self.origin(name), name.get_ref().as_ref());
            let path = format!("{path}.{typed}");
            match known.iter().find(|key| key.name == typed) {
                Some(key) => {
                    let of = Some(of.to_owned());
                    heard.said.push(Said { path, of, key, given: given(value), origin });
                }
                None => {
                    let names = known.iter().map(|key| key.name.to_owned());
                    let nearest = key::nearest(typed, names).unwrap_or_default();
                    let message = format!("unknown key; the nearest known one is {nearest}");
                    heard.problems.push(Problem::new(origin, path, message));
                }
            }
        }
    }
}

fn unknown_section(typed: &str) -> String {
    let known = key::SECTIONS.iter().map(|section| section.name.to_owned());
    let nearest = key::nearest(typed, known.chain(["session_type".to_owned()])).unwrap_or_default();
    format!("unknown section; the nearest known one is [{nearest}]")
}

/// As TOML writes it in a dotted name.
fn quoted(name: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if !name.is_empty() && name.bytes().all(bare) { name.to_owned() } else { format!("{name:?}") }
}

fn given(value: &Value<'_>) -> Given {
    match value.get_ref() {
        DeValue::String(text) => Given::Text(text.as_ref().to_owned()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Given::Whole(number),
            Err(_) => Given::Other("a number that is too large"),
        },
        DeValue::Boolean(flag) => Given::Flag(*flag),
        DeValue::Array(items) => Given::List(items.iter().map(given).collect()),
        DeValue::Table(table) => Given::Map(
            table.iter().map(|(name, value)| (name.get_ref().as_ref().to_owned(), given(value))).collect(),
        ),
        DeValue::Float(number) => match number.as_str().replace('_', "").parse() {
            Ok(number) => Given::Fraction(number),
            Err(_) => Given::Other("a number with a fraction"),
        },
        DeValue::Datetime(_) => Given::Other("a date"),
    }
}
