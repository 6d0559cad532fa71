//! What an operator may choose, and the effective policy in which each value knows where it came from (design,
//! section 4).
//!
//! * [`rules`]: what one section says, and how sections are laid over each other. [`setting`], [`modes`]: its values.
//! * [`check`]: what no single value can show. [`session_type`]: what the type of a session adds.
//!
//! The default is the base, a tag's section replaces what it says, and of several tags the strictest holds.
//! [`Policy::of_tags`] is the only place where values are combined; it depends on the tags alone, so that sessions with
//! the same tags share one result.

use crate::subject::Subject;
use crate::time::Span;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock};

pub mod check;
pub mod modes;
pub mod rules;
pub mod session_type;
pub mod setting;

use modes::Assurance;
use rules::Section;
pub use rules::{Cap, Effective, Pattern, Rules};
use session_type::{Life, TypeName};

/// Where an effective value came from. Refusals and explanations name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The environment's default policy.
    Default,
    /// Asked for when the session was created (`expires_in`), which may only shorten.
    Creation,
    /// What stood when the session was last extended: loosening a policy never revives.
    Stored,
    /// The section of a tag, `name:value` or `name:*`.
    Tag(Box<str>),
    /// The preset of a section; `None` is the default's.
    Preset(Assurance, Option<Box<str>>),
    /// The type of the session, by name.
    SessionType(Box<str>),
}

impl Origin {
    /// The text that answers and events carry.
    pub fn text(&self) -> String {
        match self {
            Origin::Default => "default".to_owned(),
            Origin::Creation => "creation".to_owned(),
            Origin::Stored => "stored".to_owned(),
            Origin::Tag(pattern) => format!("tag {pattern}"),
            Origin::Preset(level, None) => format!("preset {level}"),
            Origin::Preset(level, Some(pattern)) => format!("preset {level} of tag {pattern}"),
            Origin::SessionType(name) => format!("session_type {name}"),
        }
    }
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value in force.
    pub value: T,
    /// Who said so.
    pub origin: Origin,
}

/// The rules of an environment: the default's section and those of tags; and the lives of its session types.
pub struct Policy {
    default: Rules,
    tags: Vec<(Pattern, Rules)>,
    types: Vec<(TypeName, Life)>,
    /// By the hash of a whole tag, or of a name: which section. Types are numbered behind the sections.
    index: Vec<(u64, u16)>,
    base: Effective,
    alone: Vec<Effective>,
    /// What several sections come to together. A memory of a pure function.
    together: RwLock<BTreeMap<Box<[u16]>, Arc<Effective>>>,
}

/// An effective policy, as the policy has it.
pub enum Found<'a> {
    /// Of no section or one.
    Known(&'a Effective),
    /// Of several.
    Combined(Arc<Effective>),
}

impl Deref for Found<'_> {
    type Target = Effective;
    fn deref(&self) -> &Effective {
        match self {
            Found::Known(effective) => effective,
            Found::Combined(effective) => effective,
        }
    }
}

impl Policy {
    /// The most sections of tags.
    pub const SECTIONS: usize = 10_000;
    /// The most session types of an environment.
    pub const TYPES: usize = 100;
    /// How many combinations of sections are remembered.
    const REMEMBERED: usize = 4_096;

    /// Puts sections together. Whether they make sense is for [`Policy::check`].
    pub fn new(default: Rules, tags: BTreeMap<Pattern, Rules>) -> Policy {
        Policy::of_parts(default, tags.into_iter().take(Policy::SECTIONS).collect(), Vec::new())
    }

    fn of_parts(default: Rules, tags: Vec<(Pattern, Rules)>, types: Vec<(TypeName, Life)>) -> Policy {
        let mut base = Effective::base();
        base.begin(&Section { of: None, rules: &default });
        let of_tags = tags.iter().map(|(of, rules)| base.with(&[Section { of: Some(of), rules }], &[]));
        let of_types = types.iter().map(|of| base.with(&[], &[of]));
        let alone = of_tags.chain(of_types).collect();
        let keys = tags.iter().map(|(of, _)| match of {
            Pattern::Exact(tag) => hash(tag.as_str()),
            Pattern::Any(name) => hash(name),
        });
        let keys = keys.chain(types.iter().map(|(name, _)| hash(&name.tag())));
        let mut index: Vec<(u64, u16)> = keys.zip(0..).collect();
        index.sort_unstable();
        Policy { default, tags, types, index, base, alone, together: RwLock::default() }
    }

    /// The same with another default.
    #[must_use]
    pub fn with(&self, change: impl FnOnce(&mut Rules)) -> Policy {
        let mut default = self.default.clone();
        change(&mut default);
        Policy::of_parts(default, self.tags.clone(), self.types.clone())
    }

    /// The same with other session types.
    #[must_use]
    pub fn with_types(&self, types: BTreeMap<TypeName, Life>) -> Policy {
        let types = types.into_iter().filter(|(_, life)| !life.is_empty()).take(Policy::TYPES).collect();
        Policy::of_parts(self.default.clone(), self.tags.clone(), types)
    }

    /// The default's section.
    pub const fn default_rules(&self) -> &Rules {
        &self.default
    }

    /// The sections of tags, in order.
    pub fn tag_rules(&self) -> impl Iterator<Item = (&Pattern, &Rules)> {
        self.tags.iter().map(|(of, rules)| (of, rules))
    }

    /// The session types that say how long their sessions last, in order.
    pub fn type_lives(&self) -> impl Iterator<Item = (&TypeName, &Life)> {
        self.types.iter().map(|(name, life)| (name, life))
    }

    /// The longest life that an access token of any session can be made with: of several sections the shortest holds.
    pub fn longest_access_token(&self) -> Span {
        let all = std::iter::once(&self.base).chain(&self.alone);
        all.map(|effective| effective.access_token_ttl.value).max().unwrap_or_default()
    }

    /// What applies to a session now.
    pub fn of(&self, session: &impl Subject) -> Found<'_> {
        if self.index.is_empty() {
            return Found::Known(&self.base);
        }
        self.of_tags(session.tags().map(|(tag, _)| tag))
    }

    /// What applies to sessions with these tags.
    pub fn of_tags<'t>(&self, tags: impl IntoIterator<Item = &'t str>) -> Found<'_> {
        let mut matched = Matched::default();
        for tag in tags {
            self.sections_of(tag, &mut matched);
        }
        match matched.sorted() {
            [] => Found::Known(&self.base),
            [one] => Found::Known(self.alone.get(usize::from(*one)).unwrap_or(&self.base)),
            several => Found::Combined(self.combined(several)),
        }
    }

    fn sections_of(&self, tag: &str, matched: &mut Matched) {
        let name = tag.split_once(':').map_or(tag, |(name, _)| name);
        for key in [hash(tag), hash(name)] {
            let from = self.index.partition_point(|(held, _)| *held < key);
            let same = self.index.iter().skip(from).take_while(|(held, _)| *held == key);
            for (_, section) in same {
                let fits = match self.tags.get(usize::from(*section)) {
                    Some((of, _)) => of.matches(tag),
                    None => self.type_at(*section).is_some_and(|(name, _)| name.matches(tag)),
                };
                if fits {
                    matched.push(*section);
                }
            }
        }
    }

    fn type_at(&self, section: u16) -> Option<&(TypeName, Life)> {
        self.types.get(usize::from(section).checked_sub(self.tags.len())?)
    }

    fn combined(&self, sections: &[u16]) -> Arc<Effective> {
        let known = self.together.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(effective) = known.get(sections) {
            return effective.clone();
        }
        drop(known);
        let of = |n: &u16| self.tags.get(usize::from(*n)).map(|(of, rules)| Section { of: Some(of), rules });
        let said: Vec<Section<'_>> = sections.iter().filter_map(of).collect();
        let types: Vec<&(TypeName, Life)> = sections.iter().filter_map(|n| self.type_at(*n)).collect();
        let effective = Arc::new(self.base.with(&said, &types));
        let mut known = self.together.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= Policy::REMEMBERED {
            known.clear();
        }
        known.insert(sections.into(), effective.clone());
        effective
    }
}

impl Effective {
    fn with(&self, sections: &[Section<'_>], types: &[&(TypeName, Life)]) -> Effective {
        let mut effective = self.clone();
        effective.lay(sections);
        types.iter().for_each(|(name, life)| effective.shorten(name, life));
        effective
    }
}

impl Default for Policy {
    fn default() -> Policy {
        Policy::from(Rules::default())
    }
}

impl From<Rules> for Policy {
    fn from(default: Rules) -> Policy {
        Policy::new(default, BTreeMap::new())
    }
}

impl Clone for Policy {
    fn clone(&self) -> Policy {
        Policy::of_parts(self.default.clone(), self.tags.clone(), self.types.clone())
    }
}

impl PartialEq for Policy {
    fn eq(&self, other: &Policy) -> bool {
        self.default == other.default && self.tags == other.tags && self.types == other.types
    }
}

impl Eq for Policy {}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Policy");
        shown.field("default", &self.default).field("tags", &self.tags).field("types", &self.types).finish()
    }
}

/// The sections that the tags of one session match: of each tag its own, that of its name, and its type.
struct Matched {
    sections: [u16; Matched::MOST],
    count: usize,
}

impl Default for Matched {
    fn default() -> Matched {
        Matched { sections: [0; Matched::MOST], count: 0 }
    }
}

impl Matched {
    const MOST: usize = 3 * crate::tag::Tag::MOST;

    fn push(&mut self, section: u16) {
        if let Some(place) = self.sections.get_mut(self.count) {
            *place = section;
            self.count += 1;
        }
    }

    /// In order, each once: two tags of one name match the same section of that name.
    fn sorted(&mut self) -> &[u16] {
        let Some(found) = self.sections.get_mut(..self.count) else { return &[] };
        found.sort_unstable();
        let mut kept = 0;
        for at in 0..found.len() {
            let next = found.get(at).copied();
            if at == 0 || next != found.get(kept - 1).copied() {
                found.swap(kept, at);
                kept += 1;
            }
        }
        found.get(..kept).unwrap_or_default()
    }
}

/// FNV-1a. Operators choose what is in the index, and whoever is found is compared.
fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}
