//! `[policy.default]`, `[policy.tag."name:value"]`, `[session_type.NAME]`: the rules of sessions.
//!
//! The default's times, rotation and grace are enforced. Every other key is known and its value is checked, so that a
//! file written for a later version is not refused and a slip in it is found; each of them is a warning at the start.

use super::Values;
use super::key::{Key, Layers, Section};
use super::network::Network;
use super::problem::Problem;
use super::setting::{Given, Setting, Word, choices};
use handstamp_core::policy::Policy;
use handstamp_core::tag::Tag;
use handstamp_core::time::Span;
use serde_json::{Value as Json, json};

const SECTION: &str = "policy.default";
const LEAST: u64 = Policy::SHORTEST.0.unsigned_abs();
const MOST: u64 = Policy::LONGEST.0.unsigned_abs();
const DAY: u64 = 86_400_000;
const COUNT: u64 = 1_000_000_000;

const fn rule<T: Setting>(name: &'static str, default: &'static str, about: &'static str) -> Key {
    Key::new::<T>(SECTION, name, default, about).only(Layers::File).live()
}

pub(super) const DEFAULT: Section = Section {
    name: SECTION,
    about: "The rules of every session. When this section is present the file decides, not the API",
    keys: &[
        rule::<Span>("absolute_timeout", "30d", "From login; re-authentication restarts it")
            .range(LEAST, MOST),
        rule::<Span>("idle_timeout", "24h", "From the last activity").range(LEAST, MOST),
        rule::<Span>("refresh_timeout", "90d", "Life of a family of refresh tokens")
            .range(LEAST, MOST)
            .later(),
        rule::<Rotation>("rotate_every", "15m", "Age at which a session token is rotated, or \"never\"")
            .range(LEAST, MOST),
        rule::<Span>("rotation_grace", "60s", "How long a superseded token is late and not yet stolen")
            .range(0, DAY),
        rule::<u32>("max_sessions", "10", "Sessions of one user").range(1, COUNT).later(),
        rule::<OnLimit>("on_limit", "end_oldest", "end_oldest, end_least_recent or reject").later(),
        rule::<OnAgent>(
            "user_agent",
            "end",
            "On change of OS, browser or device class: ignore, log, refuse or end",
        )
        .later(),
        rule::<Vec<Network>>("ip_allow", "", "Addresses and networks that sessions may be used from").later(),
        rule::<Vec<Network>>("ip_block", "", "Addresses and networks that sessions may not be used from")
            .later(),
        rule::<OnAddress>(
            "ip_change",
            "ignore",
            "On change of the network: ignore, log, reauthenticate, refuse or end",
        )
        .later(),
        rule::<Device>("device", "off", "Proof of possession: off, if_registered or required").later(),
        rule::<Span>("access_token_ttl", "5m", "Longest life of an access token").range(LEAST, DAY).later(),
        rule::<Rate>("rate_limit", "15000/1h", "Requests of one session in a time").later(),
        rule::<Vec<TagName>>(
            "create_only_tags",
            "org",
            "Names of tags that may not change on a live session",
        )
        .later(),
    ],
};

/// What a tag may say besides the keys of the default.
pub(super) const TAG_ONLY: &[Key] =
    &[rule::<u32>("seats", "", "Sessions of all users with this tag").range(1, COUNT).later()];

/// What a session type may say.
pub(super) const SESSION_TYPE: &[Key] = &[
    rule::<Span>("expires_in", "", "Life of a session of the type").range(LEAST, MOST).later(),
    rule::<Span>("refresh_expires_in", "", "Life of its refresh tokens").range(LEAST, MOST).later(),
    rule::<Selector>("selector", "", "Where in the data its user is named, such as $Session{userId}").later(),
    rule::<Schema>("schema", "", "JSON Schema of its data, or the short form { field = \"string\" }").later(),
];

/// The keys that a tag's rule may set, in order.
pub(super) fn of_a_tag() -> impl Iterator<Item = &'static Key> {
    DEFAULT.keys.iter().chain(TAG_ONLY)
}

/// Checks the name of `[policy.tag."..."]`: a tag, or `name:*` for every value.
pub(super) fn tag_pattern(text: &str) -> Result<(), String> {
    match text.strip_suffix(":*") {
        // The value does not matter: only the name is looked at.
        Some(name) => Tag::parse(&format!("{name}:x")).map(|_| ()),
        None => Tag::parse(text).map(|_| ()),
    }
}

/// A duration, or `never`.
struct Rotation(Option<Span>);

impl Word for Rotation {
    const NAME: &'static str = "a duration, or \"never\",";
    fn parse(text: &str) -> Result<Rotation, String> {
        if text == "never" {
            return Ok(Rotation(None));
        }
        Span::parse(text).map(|span| Rotation(Some(span))).map_err(|why| format!("{why}, or \"never\""))
    }
    fn text(&self) -> String {
        self.0.map_or_else(|| "never".to_owned(), |span| span.to_string())
    }
    fn schema() -> Json {
        json!({"type": "string", "pattern": "^(never|([0-9]+(ms|s|m|h|d))+)$"})
    }
    fn size(&self) -> Option<u64> {
        self.0.as_ref().and_then(Word::size)
    }
    fn size_text(size: u64) -> String {
        <Span as Word>::size_text(size)
    }
}

choices! {
    /// What happens at the limit of sessions.
    OnLimit {
        /// The session made first ends.
        EndOldest = "end_oldest",
        /// The session used last longest ago ends.
        EndLeastRecent = "end_least_recent",
        /// The new one is refused.
        Reject = "reject",
    }
}

choices! {
    /// What a changed user agent does.
    OnAgent {
        /// Nothing.
        Ignore = "ignore",
        /// An event.
        Log = "log",
        /// The request is refused.
        Refuse = "refuse",
        /// The session ends.
        End = "end",
    }
}

choices! {
    /// What a changed network does.
    OnAddress {
        /// Nothing.
        Ignore = "ignore",
        /// An event.
        Log = "log",
        /// The user must log in again.
        Reauthenticate = "reauthenticate",
        /// The request is refused.
        Refuse = "refuse",
        /// The session ends.
        End = "end",
    }
}

choices! {
    /// Whether a device must prove itself.
    Device {
        /// No.
        Off = "off",
        /// When the session has one.
        IfRegistered = "if_registered",
        /// Always.
        Required = "required",
    }
}

/// So many requests in such a time.
struct Rate {
    requests: u32,
    time: Span,
}

impl Word for Rate {
    const NAME: &'static str = "a rate";
    fn parse(text: &str) -> Result<Rate, String> {
        let read = || {
            let (requests, time) = text.split_once('/')?;
            let time = Span::parse(time).ok()?;
            let requests: u32 = requests.parse().ok()?;
            (requests > 0 && time >= Span::secs(1) && time <= Span::days(1))
                .then_some(Rate { requests, time })
        };
        read().ok_or_else(|| {
            format!(
                "`{}` is not a rate: write requests/time, such as \"15000/1h\", with a time from 1s to 1d",
                text.escape_debug()
            )
        })
    }
    fn text(&self) -> String {
        format!("{}/{}", self.requests, self.time)
    }
    fn schema() -> Json {
        json!({"type": "string", "pattern": "^[0-9]+/([0-9]+(ms|s|m|h|d))+$"})
    }
}

/// The part of a tag before its colon.
struct TagName(String);

impl Word for TagName {
    const NAME: &'static str = "the name of a tag";
    fn parse(text: &str) -> Result<TagName, String> {
        Tag::parse(&format!("{text}:x")).ok().filter(|tag| tag.name() == text).ok_or_else(|| {
            format!(
                "`{}` is not the name of a tag: 1 to 64 of a-z 0-9 _ - . beginning with a letter, without a value",
                text.escape_debug()
            )
        })?;
        Ok(TagName(text.to_owned()))
    }
    fn text(&self) -> String {
        self.0.clone()
    }
}

/// `$Session{userId}`.
struct Selector(String);

impl Word for Selector {
    const NAME: &'static str = "a selector";
    fn parse(text: &str) -> Result<Selector, String> {
        let path = text.strip_prefix("$Session{").and_then(|rest| rest.strip_suffix('}'));
        match path {
            Some(path) if !path.is_empty() && !path.contains(['{', '}']) => Ok(Selector(text.to_owned())),
            _ => Err(format!(
                "`{}` is not a selector: write it such as \"$Session{{userId}}\"",
                text.escape_debug()
            )),
        }
    }
    fn text(&self) -> String {
        self.0.clone()
    }
}

/// A table of any shape.
struct Schema(Json);

impl Setting for Schema {
    const WORD: &'static str = "a table";
    fn read(given: &Given) -> Result<Schema, String> {
        match given {
            Given::Map(_) => Ok(Schema(plain(given))),
            other => Err(format!("is {}: write a table such as {{ userId = \"string\" }}", other.word())),
        }
    }
    fn show(&self) -> Json {
        self.0.clone()
    }
    fn schema() -> Json {
        json!({"type": "object"})
    }
}

fn plain(given: &Given) -> Json {
    match given {
        Given::Loose(text) | Given::Text(text) => json!(text),
        Given::Whole(n) => json!(n),
        Given::Flag(flag) => json!(flag),
        Given::List(items) => items.iter().map(plain).collect(),
        Given::Map(pairs) => pairs.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        Given::Other(word) => json!(word),
    }
}

/// What the file says about sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// `[policy.default]`.
    pub default: Policy,
    /// Whether the file has a `[policy]`: then it decides, and the API may not change policies.
    pub managed_by_file: bool,
}

impl Rules {
    pub(super) fn read(values: &Values, managed_by_file: bool) -> Result<Rules, Problem> {
        let at = values.section(SECTION);
        let Rotation(rotate_every) = at.get("rotate_every")?;
        let default = Policy {
            absolute_timeout: at.get("absolute_timeout")?,
            idle_timeout: at.get("idle_timeout")?,
            refresh_timeout: at.get("refresh_timeout")?,
            rotate_every,
            rotation_grace: at.get("rotation_grace")?,
        };
        Ok(Rules { default, managed_by_file })
    }
}

/// The policy's own check has the last word; the ranges of the keys say the same with a line number.
pub(super) fn check(values: &Values, rules: &Rules) -> Vec<Problem> {
    match rules.default.check() {
        Ok(()) => Vec::new(),
        Err((key, message)) => {
            let path = DEFAULT.keys.iter().find(|known| known.name == key).map(Key::path).unwrap_or_default();
            vec![Problem::new(values.origin(&path), path, message)]
        }
    }
}
