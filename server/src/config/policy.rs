//! `[policy.default]`, `[policy.tag."name:value"]`: the rules of sessions.

use super::key::{Key, Layers, Section};
use super::network::Network;
use super::problem::Problem;
use super::setting::{Setting, Word};
use super::{Origin, Values};
use crate::sections::given;
use handstamp_core::policy::check::Wrong;
use handstamp_core::policy::modes::{Assurance, DeviceMode, OnAddress, OnAgent, OnLimit};
use handstamp_core::policy::rules::Unfit;
use handstamp_core::policy::setting::{Budget, Every, Given as Said, Setting as Rule, TagNames};
use handstamp_core::policy::{Pattern, Policy, Rules};
use handstamp_core::time::Span;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

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
        rule::<Span>("refresh_timeout", "90d", "The same of sessions with a refresh token, instead of absolute_timeout")
            .range(LEAST, MOST),
        rule::<Rotation>("rotate_every", "15m", "Age at which a session token is rotated, or \"never\"")
            .range(LEAST, MOST),
        rule::<Span>("rotation_grace", "60s", "How long a superseded token is late and not yet stolen")
            .range(0, DAY),
        rule::<u32>("max_sessions", "10", "Sessions of one user").range(1, COUNT),
        rule::<OnLimit>("on_limit", "end_oldest", "end_oldest, end_least_recent or reject"),
        rule::<OnAgent>(
            "user_agent",
            "end",
            "On change of OS, browser or device class: ignore, log, refuse or end",
        ),
        rule::<Vec<Network>>("ip_allow", "", "Addresses and networks that sessions may be used from"),
        rule::<Vec<Network>>("ip_block", "", "Addresses and networks that sessions may not be used from"),
        rule::<OnAddress>(
            "ip_change",
            "ignore",
            "On change of the network: ignore, log, reauthenticate, refuse or end",
        ),
        rule::<DeviceMode>("device", "off", "Proof of possession: off, if_registered or required"),
        rule::<Span>("access_token_ttl", "5m", "Longest life of an access token").range(LEAST, DAY),
        rule::<Budget>("rate_limit", "15000/1h", "Requests of one session in a time, or \"off\""),
        rule::<Vec<TagName>>(
            "create_only_tags",
            "org",
            "Names of tags that may not change on a live session",
        ),
        rule::<Option<Assurance>>(
            "preset",
            "",
            "Times of NIST SP 800-63B-4 for what is not said here, and a bound on what is: aal1, aal2 or aal3",
        )
        .example("\"aal2\""),
        rule::<Option<Reason>>("justification", "", "Why a time is longer than the preset recommends")
            .example("\"a kiosk in a locked room\""),
    ],
};

/// What a tag may say besides the keys of the default.
pub(super) const TAG_ONLY: &[Key] =
    &[rule::<u32>("seats", "", "Sessions of all users with this tag").range(1, COUNT)];

/// The keys that a tag's rule may set, in order.
pub(super) fn of_a_tag() -> impl Iterator<Item = &'static Key> {
    DEFAULT.keys.iter().chain(TAG_ONLY)
}

/// A duration, or `never`.
struct Rotation(Every);

impl Word for Rotation {
    const NAME: &'static str = "a duration, or \"never\",";
    fn parse(text: &str) -> Result<Rotation, String> {
        Rule::read(&Said::Text(text)).map(Rotation)
    }
    fn text(&self) -> String {
        self.0.show().to_string()
    }
    fn schema() -> Json {
        json!({"type": "string", "pattern": "^(never|([0-9]+(ms|s|m|h|d))+)$"})
    }
    fn size(&self) -> Option<u64> {
        self.0.0.as_ref().and_then(Word::size)
    }
    fn size_text(size: u64) -> String {
        <Span as Word>::size_text(size)
    }
}

/// The words of the rules.
macro_rules! words {
    ($($mode:ident),+) => { $(
        impl Word for $mode {
            const NAME: &'static str = "a word";
            fn parse(text: &str) -> Result<$mode, String> {
                $mode::parse(text)
            }
            fn text(&self) -> String {
                self.to_string()
            }
            fn schema() -> Json {
                json!({"enum": $mode::ALL.iter().map(|mode| mode.text()).collect::<Vec<_>>()})
            }
        }
    )+ };
}
words!(Assurance, DeviceMode, OnAddress, OnAgent, OnLimit);

impl Word for Budget {
    const NAME: &'static str = "a rate, or \"off\",";
    fn parse(text: &str) -> Result<Budget, String> {
        Budget::parse(text)
    }
    fn text(&self) -> String {
        self.to_string()
    }
    fn schema() -> Json {
        json!({"type": "string", "pattern": "^(off|[0-9]+/([0-9]+(ms|s|m|h|d))+)$"})
    }
}

/// A reason in an operator's own words.
struct Reason(Box<str>);

impl Word for Reason {
    const NAME: &'static str = "a text";
    fn parse(text: &str) -> Result<Reason, String> {
        Rule::read(&Said::Text(text)).map(Reason)
    }
    fn text(&self) -> String {
        self.0.to_string()
    }
}

/// The part of a tag before its colon.
struct TagName(String);

impl Word for TagName {
    const NAME: &'static str = "the name of a tag";
    fn parse(text: &str) -> Result<TagName, String> {
        TagNames::parse([text])?;
        Ok(TagName(text.to_owned()))
    }
    fn text(&self) -> String {
        self.0.clone()
    }
}

/// What the file says about sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sections {
    /// `[policy.default]` and `[policy.tag."name:value"]`.
    pub policy: Policy,
    /// Whether the file has a `[policy]`: then it decides, and the API may not change policies.
    pub managed_by_file: bool,
}

impl Sections {
    pub(super) fn read(values: &Values, managed_by_file: bool) -> Result<Sections, Problem> {
        let mut default = Rules::default();
        let mut tags: BTreeMap<Pattern, Rules> = BTreeMap::new();
        for key in DEFAULT.keys {
            let said = values.look_up(&key.path()).filter(|(_, origin)| *origin != Origin::Default);
            if let Some((value, origin)) = said {
                take(&mut default, key, value, &origin, key.path())?;
            }
        }
        for entry in values.named.iter().filter(|entry| entry.key.section == SECTION) {
            // A name that can never match is told already.
            let Some(Ok(pattern)) = entry.of.as_deref().map(Pattern::parse) else { continue };
            let rules = tags.entry(pattern).or_default();
            take(rules, entry.key, &entry.value, &entry.origin, entry.path.clone())?;
        }
        Ok(Sections { policy: Policy::new(default, tags), managed_by_file })
    }

    /// What is put in force; `None` leaves the say to the API.
    pub fn in_force(&self) -> Option<Policy> {
        self.managed_by_file.then(|| self.policy.clone())
    }
}

fn take(rules: &mut Rules, key: &Key, value: &Json, origin: &Origin, path: String) -> Result<(), Problem> {
    let message = match rules.set(key.name, &given(value)) {
        Ok(()) => return Ok(()),
        Err(Unfit::Unknown) => "the table of keys has it, and no rule".to_owned(),
        Err(Unfit::Wrong(message)) => message,
    };
    Err(Problem::new(origin.clone(), path, message))
}

/// The policy's own check has the last word; the ranges of the keys say the same with a line number.
pub(super) fn check(values: &Values, sections: &Sections) -> Vec<Problem> {
    let told = |wrong: Wrong| {
        let entry = values.named.iter().find(|entry| {
            entry.key.name == wrong.key
                && entry.of.as_deref().and_then(|of| Pattern::parse(of).ok()).as_ref() == wrong.of.as_ref()
        });
        let (path, origin) = match (&wrong.of, entry) {
            (Some(_), Some(entry)) => (entry.path.clone(), entry.origin.clone()),
            (Some(pattern), None) => (format!("policy.tag.\"{pattern}\""), Origin::Default),
            (None, _) => {
                let path = format!("{SECTION}.{}", wrong.key);
                let origin = values.origin(&path);
                (path, origin)
            }
        };
        Problem::new(origin, path, wrong.message)
    };
    sections.policy.check().into_iter().map(told).collect()
}
