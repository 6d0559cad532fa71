//! What one section of a policy says: the default's, or one tag's. What it leaves out is for others to say.

use super::modes::{Assurance, DeviceMode, OnAddress, OnAgent, OnLimit, Rate};
use super::setting::{Budget, Every, Given, Setting, TagNames};
use super::{Origin, Sourced};
use crate::address::Networks;
use crate::address::rule::AddressRules;
use crate::refusal::Value;
use crate::tag::Tag;
use crate::time::Span;
use std::fmt;
use std::sync::Arc;

/// Whose sessions a tag's section is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Pattern {
    /// Those that carry this tag.
    Exact(Tag),
    /// Those that carry a tag of this name, whatever its value.
    Any(Box<str>),
}

impl Pattern {
    /// Reads `name:value` or `name:*`.
    ///
    /// # Errors
    /// A sentence that says why no session could ever match, and what would be right.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        if let Some(name) = text.strip_suffix(":*") {
            let tag = Tag::parse(&format!("{name}:x")).ok().filter(|tag| tag.name() == name);
            return tag.map(|_| Pattern::Any(name.into())).ok_or_else(|| {
                let name = name.escape_debug();
                format!(
                    "can never match: `{name}` is not the name of a tag, which has 1 to 64 of a-z 0-9 _ - . and begins \
                     with a letter"
                )
            });
        }
        let tag =
            Tag::parse(text).map_err(|why| format!("can never match: {why}, or name:* for every value"))?;
        if tag.value().ends_with('*') {
            return Err(format!(
                "can never match what it looks like: `*` stands for a whole value only, as in {}:*",
                tag.name()
            ));
        }
        Ok(Pattern::Exact(tag))
    }
    /// Whether a tag matches.
    pub fn matches(&self, tag: &str) -> bool {
        match self {
            Pattern::Exact(exact) => exact.as_str() == tag,
            Pattern::Any(name) => tag.split_once(':').is_some_and(|(held, _)| *held == **name),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Exact(tag) => f.write_str(tag.as_str()),
            Pattern::Any(name) => write!(f, "{name}:*"),
        }
    }
}

/// Why something cannot be said in a section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unfit {
    /// There is no such key.
    Unknown,
    /// The value is wrong; a sentence says what would be right.
    Wrong(String),
}

macro_rules! rules {
    (
        one { $($(#[$doc:meta])* $key:ident: $type:ty = $default:expr;)+ }
        own { $($(#[$own_doc:meta])* $own:ident: $own_type:ty;)+ }
    ) => {
        /// What one section says.
        #[derive(Clone, PartialEq, Eq, Debug, Default)]
        pub struct Rules {
            $($(#[$doc])* pub $key: Option<$type>,)+
            $($(#[$own_doc])* pub $own: Option<$own_type>,)+
        }

        impl Rules {
            /// Every key of a section.
            pub const KEYS: &'static [&'static str] = &[$(stringify!($key),)+ $(stringify!($own),)+];

            /// Takes one key over.
            ///
            /// # Errors
            /// [`Unfit`].
            pub fn set(&mut self, key: &str, given: &Given<'_>) -> Result<(), Unfit> {
                match key {
                    $(stringify!($key) => self.$key = Some(Setting::read(given).map_err(Unfit::Wrong)?),)+
                    $(stringify!($own) => self.$own = Some(Setting::read(given).map_err(Unfit::Wrong)?),)+
                    _ => return Err(Unfit::Unknown),
                }
                Ok(())
            }

            /// What it says, as files and bodies say it, in the order of the keys.
            pub fn list(&self) -> Vec<(&'static str, Value)> {
                let mut said = Vec::new();
                $(if let Some(value) = &self.$key { said.push((stringify!($key), value.show())); })+
                $(if let Some(value) = &self.$own { said.push((stringify!($own), value.show())); })+
                said
            }
        }

        /// What applies to the sessions that carry certain tags: each value with the section that said it.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct Effective {
            $($(#[$doc])* pub $key: Sourced<$type>,)+
            /// Names of tags that may not change on a live session: every list holds, and the default's is the first.
            pub create_only_tags: Vec<Sourced<TagNames>>,
            /// How many sessions one user may have: every one of them holds.
            pub max_sessions: Vec<Cap>,
            /// How many sessions all users together may have.
            pub seats: Vec<Cap>,
            /// What the type of the session says of its life; never longer than `absolute_timeout` lets it be.
            pub expires_in: Option<Sourced<Span>>,
            /// The same of a refresh family and `refresh_timeout`.
            pub refresh_expires_in: Option<Sourced<Span>>,
            /// From where sessions may be used: every list holds.
            pub addresses: AddressRules,
        }

        impl Effective {
            /// What holds where nobody says anything (design, section 4).
            pub(super) fn base() -> Effective {
                let origin = Origin::Default;
                Effective {
                    $($key: Sourced { value: $default, origin: origin.clone() },)+
                    create_only_tags: vec![Sourced { value: TagNames::org(), origin: origin.clone() }],
                    max_sessions: vec![Cap { of: None, most: 10, origin }],
                    seats: Vec::new(),
                    expires_in: None,
                    refresh_expires_in: None,
                    addresses: AddressRules {
                        allow: Vec::new(),
                        block: Vec::new(),
                        change: Sourced { value: OnAddress::Ignore, origin: Origin::Default },
                    },
                }
            }

            /// The default's section replaces what nobody had said.
            pub(super) fn begin(&mut self, section: &Section<'_>) {
                $(if let Some((value, origin)) = section.$key() { self.$key = Sourced { value, origin }; })+
                if let Some(value) = section.rules.create_only_tags.clone() {
                    self.create_only_tags = vec![Sourced { value, origin: section.origin() }];
                }
                if let Some(most) = section.rules.max_sessions {
                    self.max_sessions = vec![Cap { of: None, most, origin: section.origin() }];
                }
                self.lists(&[Section { of: section.of, rules: section.rules }]);
            }

            /// The sections of tags replace what the default says, and of several the strictest holds.
            pub(super) fn lay(&mut self, sections: &[Section<'_>]) {
                $(
                    let said = sections.iter().filter_map(Section::$key);
                    let strictest = said.reduce(|held, next| {
                        let both = Setting::stricter(&held.0, &next.0);
                        // Where both say the same, the first one is named.
                        if both == held.0 { held } else { (both, next.1) }
                    });
                    if let Some((value, origin)) = strictest { self.$key = Sourced { value, origin }; }
                )+
                // Whoever could bring or take a tag that says less could take the names out of the list first.
                let fixed = sections.iter().filter_map(|s| Some((s.rules.create_only_tags.clone()?, s.origin())));
                let fixed = fixed.filter(|(names, _)| !names.is_empty());
                self.create_only_tags.extend(fixed.map(|(value, origin)| Sourced { value, origin }));
                let cap = |section: &Section<'_>, most| Cap {
                    of: section.of.cloned(), most, origin: section.origin(),
                };
                let of_user: Vec<Cap> =
                    sections.iter().filter_map(|s| Some(cap(s, s.rules.max_sessions?))).collect();
                if !of_user.is_empty() {
                    self.max_sessions = of_user;
                }
                self.seats = sections.iter().filter_map(|s| Some(cap(s, s.rules.seats?))).collect();
                self.lists(sections);
            }

            /// An address must be in every list of those that allow, and in none of those that block.
            fn lists(&mut self, sections: &[Section<'_>]) {
                let said = |of: fn(&Rules) -> Option<&Arc<Networks>>| -> Vec<Sourced<Arc<Networks>>> {
                    let lists = sections.iter().filter_map(|s| Some((of(s.rules)?.clone(), s.origin())));
                    lists.map(|(value, origin)| Sourced { value, origin }).collect()
                };
                let (allow, block) = (said(|rules| rules.ip_allow.as_ref()), said(|rules| rules.ip_block.as_ref()));
                if !allow.is_empty() {
                    self.addresses.allow = allow;
                }
                if !block.is_empty() {
                    self.addresses.block = block;
                }
                self.addresses.change = self.ip_change.clone();
            }

            /// Each value and where it came from, as files and bodies say it. A key of which several sections hold
            /// together comes once for each.
            pub fn list(&self) -> Vec<(&'static str, Value, Origin)> {
                let mut said = vec![$((stringify!($key), self.$key.value.show(), self.$key.origin.clone()),)+];
                let fixed = self.create_only_tags.iter();
                said.extend(fixed.map(|list| ("create_only_tags", list.value.show(), list.origin.clone())));
                for (key, caps) in [("max_sessions", &self.max_sessions), ("seats", &self.seats)] {
                    said.extend(caps.iter().map(|cap| (key, cap.most.show(), cap.origin.clone())));
                }
                for (key, lists) in [("ip_allow", &self.addresses.allow), ("ip_block", &self.addresses.block)] {
                    said.extend(lists.iter().map(|list| (key, list.value.show(), list.origin.clone())));
                }
                let of_type =
                    [("expires_in", &self.expires_in), ("refresh_expires_in", &self.refresh_expires_in)];
                for (key, life) in of_type {
                    said.extend(life.iter().map(|life| (key, life.value.show(), life.origin.clone())));
                }
                said
            }
        }

        impl Section<'_> {
            $(
                #[doc(hidden)]
                fn $key(&self) -> Option<($type, Origin)> {
                    match &self.rules.$key {
                        Some(value) => Some((value.clone(), self.origin())),
                        None => self.preset(stringify!($key)),
                    }
                }
            )+
        }
    };
}

rules! {
    one {
        /// From the last authentication.
        absolute_timeout: Span = Span::days(30);
        /// From the last activity.
        idle_timeout: Span = Span::hours(24);
        /// Life of a refresh family; takes the place of `absolute_timeout` for a session made with `refresh: true`.
        refresh_timeout: Span = Span::days(90);
        /// Age at which a session token is rotated where the caller can deliver the successor.
        rotate_every: Every = Every(Some(Span::minutes(15)));
        /// How long a superseded token is late and not yet stolen, counted from the first presentation of a later one.
        rotation_grace: Span = Span::secs(60);
        /// What happens at a limit of sessions.
        on_limit: OnLimit = OnLimit::EndOldest;
        /// What another browser, system or device class brings about.
        user_agent: OnAgent = OnAgent::End;
        /// What an address of another network brings about.
        ip_change: OnAddress = OnAddress::Ignore;
        /// Whether the client must prove to have the key of its device.
        device: DeviceMode = DeviceMode::Off;
        /// The longest life of an access token.
        access_token_ttl: Span = Span::minutes(5);
        /// How often one session may ask at the doors that take no key.
        rate_limit: Budget = Budget(Some(Rate { requests: 15_000, time: Span::hours(1) }));
    }
    own {
        /// Names of tags that may not change on a live session.
        create_only_tags: TagNames;
        /// How many sessions one user may have; in a tag's section, how many with that tag.
        max_sessions: u32;
        /// In a tag's section: how many sessions all users together may have with that tag.
        seats: u32;
        /// Networks that sessions may be used from; an empty list says nothing.
        ip_allow: Arc<Networks>;
        /// Networks that sessions may not be used from.
        ip_block: Arc<Networks>;
        /// Times of an assurance level for what the section does not say itself, and a bound on what it does.
        preset: Assurance;
        /// Why a time is longer than the preset recommends.
        justification: Box<str>;
    }
}

/// At most so many live sessions at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cap {
    /// Those that carry a matching tag, each value by itself; `None`: all.
    pub of: Option<Pattern>,
    /// At least 1.
    pub most: u32,
    /// Who said so.
    pub origin: Origin,
}

/// One section, with its name.
pub(super) struct Section<'a> {
    /// `None`: the default's.
    pub(super) of: Option<&'a Pattern>,
    /// What it says.
    pub(super) rules: &'a Rules,
}

impl Section<'_> {
    fn name(&self) -> Option<Box<str>> {
        self.of.map(|pattern| pattern.to_string().into())
    }
    fn origin(&self) -> Origin {
        self.name().map_or(Origin::Default, Origin::Tag)
    }
    /// What its preset says of a time.
    fn preset<T: Setting>(&self, key: &str) -> Option<(T, Origin)> {
        let level = self.rules.preset?;
        Some((T::of_span(level.bound(key)?)?, Origin::Preset(level, self.name())))
    }
}
