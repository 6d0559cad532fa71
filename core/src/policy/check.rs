//! What is wrong with a policy as a whole: values out of range, times beyond a preset, sections that say nothing.

use super::modes::Assurance;
use super::{Pattern, Policy, Rules};
use crate::time::Span;

/// One thing that is wrong, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrong {
    /// `None`: in the default's section.
    pub of: Option<Pattern>,
    /// Which key; empty for the section itself.
    pub key: &'static str,
    /// A sentence that says what would be right.
    pub message: String,
}

impl Policy {
    /// Any duration of at least this is possible.
    pub const SHORTEST: Span = Span::secs(1);
    /// The longest duration that can be asked for: ten years, so that sums never come near the end of time.
    pub const LONGEST: Span = Span::days(3_660);
    /// The longest that a superseded token can be late, and that an access token can live.
    pub const DAY: Span = Span::days(1);
    /// The most sessions that a limit can name.
    pub const COUNT: u32 = 1_000_000_000;

    /// Everything that is wrong, in order.
    pub fn check(&self) -> Vec<Wrong> {
        let mut found = Vec::new();
        let sections = std::iter::once((None, self.default_rules()))
            .chain(self.tag_rules().map(|(of, rules)| (Some(of), rules)));
        for (of, rules) in sections {
            let mut wrong = |key, message| found.push(Wrong { of: of.cloned(), key, message });
            for (key, message) in ranges(rules) {
                wrong(key, message);
            }
            if of.is_none() && rules.seats.is_some() {
                wrong(
                    "seats",
                    "counts the sessions with a tag: write it under [policy.tag.\"name:value\"]".to_owned(),
                );
            }
            if let (Some(allow), Some(block)) = (&rules.ip_allow, &rules.ip_block)
                && !allow.is_empty()
                && block.covers(allow)
            {
                wrong("ip_allow", "can let nobody pass: every network of it is in ip_block".to_owned());
            }
            if of.is_some() && *rules == Rules::default() {
                wrong("", "says nothing: give it a rule, or leave it out".to_owned());
            }
            // Who logs in under a level keeps it, unless the section names another level.
            let level = rules
                .preset
                .map(|level| (level, of))
                .or(self.default_rules().preset.map(|level| (level, None)));
            if let Some((level, named)) = level {
                for (key, message) in beyond(rules, level, named) {
                    wrong(key, message);
                }
            }
        }
        found
    }
}

type Said = Vec<(&'static str, String)>;

fn ranges(rules: &Rules) -> Said {
    let mut found = Said::new();
    let mut span = |key, value: Option<Span>, least: Span, most: Span| {
        if let Some(value) = value.filter(|value| *value < least || *value > most) {
            found.push((key, format!("{value} is out of range: choose between {least} and {most}")));
        }
    };
    let (shortest, longest, day) = (Policy::SHORTEST, Policy::LONGEST, Policy::DAY);
    span("absolute_timeout", rules.absolute_timeout, shortest, longest);
    span("idle_timeout", rules.idle_timeout, shortest, longest);
    span("refresh_timeout", rules.refresh_timeout, shortest, longest);
    span("rotate_every", rules.rotate_every.and_then(|every| every.0), shortest, longest);
    span("rotation_grace", rules.rotation_grace, Span(0), day);
    span("access_token_ttl", rules.access_token_ttl, shortest, day);
    for (key, value) in [("max_sessions", rules.max_sessions), ("seats", rules.seats)] {
        if let Some(value) = value.filter(|value| *value < 1 || *value > Policy::COUNT) {
            found.push((key, format!("{value} is out of range: choose between 1 and {}", Policy::COUNT)));
        }
    }
    found
}

/// Times that a section says itself and that are longer than a level allows.
fn beyond(rules: &Rules, level: Assurance, named: Option<&Pattern>) -> Said {
    let times = [
        ("absolute_timeout", rules.absolute_timeout, level.absolute_is_strict()),
        ("idle_timeout", rules.idle_timeout, false),
        ("refresh_timeout", rules.refresh_timeout, level.absolute_is_strict()),
    ];
    let mut found = Said::new();
    for (key, said, strict) in times {
        let (Some(said), Some(bound)) = (said, level.bound(key)) else { continue };
        if said <= bound || (!strict && rules.justification.is_some()) {
            continue;
        }
        let of = named.map(|pattern| format!(" of tag {pattern}")).unwrap_or_default();
        let way = if strict { "" } else { ", or say why in `justification`" };
        found.push((key, format!("{said} is above preset {level}{of}: at most {bound}{way}")));
    }
    found
}
