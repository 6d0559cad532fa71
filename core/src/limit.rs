//! How many sessions there may be, of one user (`max_sessions`) or of all who carry a tag (`seats`), and what happens at
//! the limit.
//!
//! The user's record bounds the number of live sessions from above. Only at the limit are the sessions themselves looked
//! at again, because time may have ended some of them. For seats, [`crate::seats`] keeps that bound.

use crate::id::SessionId;
pub use crate::policy::modes::OnLimit;
use crate::policy::{Cap, Origin, Pattern};
use crate::refusal::{Code, Evidence, Refusal, Value};
use crate::session::{Actor, Session};
use crate::subject::Subject;
use crate::tag::Tag;
use crate::time::Millis;

/// The rule about one user's sessions, as events name it.
pub const RULE: &str = "max_sessions";
/// The rule about all users' sessions with a tag, as events name it.
pub const SEATS: &str = "seats";

/// A cap, where it meets the tags of one session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limit {
    /// [`RULE`] or [`SEATS`].
    pub rule: &'static str,
    /// Only sessions with this very tag count; `None`: all.
    pub tag: Option<Tag>,
    /// So many may live at once.
    pub most: u32,
    /// Who said so.
    pub origin: Origin,
}

impl Limit {
    /// Whether a session counts. Whoever acts in the user's place takes nobody's room, and nobody goes for them: theirs count
    /// only where a limit is set on just that.
    pub fn counts(&self, session: &impl Subject) -> bool {
        self.is_for(session.actor().is_some()) && self.tag.as_ref().is_none_or(|tag| session.has_tag(tag))
    }

    /// Whether it is about sessions in which somebody acts in the user's place, or those in which nobody does.
    pub fn is_for(&self, acting: bool) -> bool {
        !acting || self.tag.as_ref().is_some_and(|tag| tag.as_str() == Actor::TAG)
    }

    /// What was compared: how many there would be with one more than `current`.
    pub fn evidence(&self, current: u32) -> Evidence {
        let seen = Value::Number(u64::from(current) + 1);
        Evidence::Limit { allowed: Value::Number(u64::from(self.most)), seen }
    }

    /// There is no room beside `current`.
    pub fn refusal(&self, current: u32) -> Refusal {
        Refusal {
            code: Code::SessionLimitReached,
            rule: self.rule,
            origin: Some(self.origin.clone()),
            evidence: Some(self.evidence(current)),
        }
    }
}

/// What caps come to for a session that is made with these tags: of a cap on `name:*`, each value is a limit of its own.
pub fn of_new(rule: &'static str, caps: &[Cap], tags: &[Tag]) -> Vec<Limit> {
    let mut sorted: Vec<&Tag> = tags.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    caps.iter().flat_map(|cap| of_cap(rule, cap, &sorted)).collect()
}

/// What caps come to for a live session that has got other tags: only where it begins to count. `was` are the caps that held
/// before: without the tag whose limit took its place, the limit of all sessions holds again.
pub fn of_gained(
    rule: &'static str,
    was: &[Cap],
    caps: &[Cap],
    before: &Session,
    after: &Session,
) -> Vec<Limit> {
    let gained: Vec<&Tag> =
        after.tags.iter().map(|held| &held.tag).filter(|tag| !before.has_tag(tag)).collect();
    let counted = was.iter().any(|cap| cap.of.is_none());
    let begins = caps.iter().filter(|cap| cap.of.is_some() || !counted);
    let limits = begins.flat_map(|cap| of_cap(rule, cap, &gained));
    limits.filter(|limit| limit.is_for(after.actor.is_some())).collect()
}

fn of_cap(rule: &'static str, cap: &Cap, tags: &[&Tag]) -> Vec<Limit> {
    let limit = |tag| Limit { rule, tag, most: cap.most, origin: cap.origin.clone() };
    let matching = |of: &Pattern| {
        let found = tags.iter().filter(|tag| of.matches(tag.as_str()));
        found.map(|tag| limit(Some(Tag::clone(tag)))).collect()
    };
    cap.of.as_ref().map_or_else(|| vec![limit(None)], matching)
}

/// A session that counts, judged live at this instant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counted {
    /// Which.
    pub id: SessionId,
    /// Its last activity.
    pub seen: Millis,
}

/// The answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Room {
    /// There is room.
    Free,
    /// There is, once these have ended.
    Evict(Vec<SessionId>),
    /// There is none.
    Full {
        /// Live sessions.
        current: u32,
        /// Allowed.
        maximum: u32,
    },
}

/// Whether one more session fits beside `live`.
pub fn room(live: &[Counted], maximum: u32, mode: OnLimit) -> Room {
    let current = u32::try_from(live.len()).unwrap_or(u32::MAX);
    if current < maximum {
        return Room::Free;
    }
    if maximum == 0 {
        return Room::Full { current, maximum };
    }
    let mut order = live.to_vec();
    match mode {
        OnLimit::Reject => return Room::Full { current, maximum },
        OnLimit::EndOldest => order.sort_by_key(|s| s.id),
        OnLimit::EndLeastRecent => order.sort_by_key(|s| (s.seen, s.id)),
    }
    let surplus = live.len() - usize::try_from(maximum - 1).unwrap_or(usize::MAX).min(live.len());
    Room::Evict(order.iter().take(surplus).map(|s| s.id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Bucket;

    fn live(seen: &[i64]) -> Vec<Counted> {
        (0..).zip(seen).map(|(n, seen)| Counted { id: id(n), seen: Millis(*seen) }).collect()
    }
    fn id(n: i64) -> SessionId {
        SessionId::new(Millis(n), Bucket::new(0), [0; 9])
    }

    #[test]
    fn each_value_is_a_limit_of_its_own() {
        let tag = |text: &str| Tag::parse(text).unwrap();
        let cap = |of: Option<&str>, most| Cap {
            of: of.map(|text| Pattern::parse(text).unwrap()),
            most,
            origin: of.map_or(Origin::Default, |text| Origin::Tag(text.into())),
        };
        let tags = ["role:b", "org:acme", "role:a", "role:b"].map(tag);
        let caps = [cap(None, 9), cap(Some("org:acme"), 3), cap(Some("role:*"), 2), cap(Some("team:*"), 1)];
        let found = of_new(RULE, &caps, &tags);
        let told: Vec<_> = found.iter().map(|l| (l.tag.as_ref().map(Tag::as_str), l.most)).collect();
        assert_eq!(told, [(None, 9), (Some("org:acme"), 3), (Some("role:a"), 2), (Some("role:b"), 2)]);
        assert_eq!(found[1].refusal(3).detail(), "max_sessions would be 4, allowed 3 by tag org:acme");
        assert_eq!(of_new(SEATS, &[], &tags), []);
    }

    #[test]
    fn both_sides_of_the_limit_in_each_mode() {
        let three = live(&[30, 10, 20]);
        for mode in [OnLimit::Reject, OnLimit::EndOldest, OnLimit::EndLeastRecent] {
            assert_eq!(room(&three, 4, mode), Room::Free);
            assert_eq!(room(&three, 0, mode), Room::Full { current: 3, maximum: 0 });
        }
        assert_eq!(room(&three, 3, OnLimit::Reject), Room::Full { current: 3, maximum: 3 });
        assert_eq!(room(&three, 3, OnLimit::EndOldest), Room::Evict(vec![id(0)]));
        assert_eq!(room(&three, 3, OnLimit::EndLeastRecent), Room::Evict(vec![id(1)]));
        assert_eq!(room(&three, 1, OnLimit::EndLeastRecent), Room::Evict(vec![id(1), id(2), id(0)]));
        assert_eq!(room(&three, 2, OnLimit::EndOldest), Room::Evict(vec![id(0), id(1)]));
        assert_eq!(room(&[], 1, OnLimit::Reject), Room::Free);
    }
}
