//! May this request pass? The order of the rules, and nothing else; each rule is in a file of its own.
//!
//! Genuine -> not ended -> not ended by an epoch -> not over by time -> not stolen or late -> carries what is required.
//! The first refusal is the answer.

use crate::epoch::Ledger;
use crate::expiry;
use crate::id::EnvironmentId;
use crate::policy::{Effective, Origin};
use crate::refusal::{Code, Evidence, Refusal, Value};
use crate::rotation::Place;
use crate::session::{Session, State};
use crate::tag::{Group, Tag};
use crate::time::Millis;
use crate::token::Kind;
use crate::token::keyring::Keyring;
use crate::token::opaque::{Holder, Opened};

/// What stands behind every judgement of one environment.
#[derive(Clone, Copy)]
pub struct Bench<'a> {
    /// The environment.
    pub env: EnvironmentId,
    /// What was ended at once.
    pub ledger: &'a Ledger,
    /// What recognises tokens.
    pub keys: &'a Keyring,
}

/// What a request demands.
#[derive(Clone, Copy, Default)]
pub struct Demand<'a> {
    /// Tags that the session must carry, all of them.
    pub tags: &'a [Tag],
    /// Groups that the session must be in, all of them.
    pub groups: &'a [Group],
    /// Whether the caller can deliver a successor to the client.
    pub can_deliver: bool,
}

/// The answer to "may this request pass?", and what must become of the session before it is given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// `None`: allowed.
    pub refusal: Option<Refusal>,
    /// What is to be done first.
    pub effect: Effect,
    /// Today's policy is looser than what the session has: it takes it over.
    pub adopt: bool,
}

/// What a judgement brings about. Everything but [`Effect::Nothing`] is decided on a fresh load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The session stays as it is.
    Nothing,
    /// The newest generation was presented for the first time: commit that.
    Note,
    /// Its time has come: make the next generation, and give it out.
    Rotate,
    /// Give the same successor again.
    Again,
    /// A stolen token: end the session.
    EndStolen,
    /// A genuine token that the record does not know: the store is behind, which history should say.
    StoreBehind,
}

/// Judges a session token. `seen` is the session's last activity.
pub fn judge(
    session: &Session,
    seen: Millis,
    token: &Opened,
    bench: Bench<'_>,
    policy: &Effective,
    demand: Demand<'_>,
    now: Millis,
) -> Verdict {
    let place = place(session, token, bench, policy, now);
    if let Some(verdict) = standing(session, seen, place, bench, policy, now) {
        return verdict;
    }
    let missing = missing_tags(session, demand.tags).or_else(|| missing_groups(session, demand.groups));
    let effect = match place {
        Place::Again if missing.is_none() && demand.can_deliver => Effect::Again,
        Place::Current if missing.is_none() && demand.can_deliver && rotation_due(session, policy, now) => {
            Effect::Rotate
        }
        Place::Current if session.chain.awaiting => Effect::Note,
        Place::Again | Place::Current | Place::Late | Place::Stolen | Place::Unknown => Effect::Nothing,
    };
    Verdict { refusal: missing, effect, adopt: expiry::adopt(session, policy).is_some() }
}

/// Judges a refresh token: allowed is either [`Effect::Rotate`] or [`Effect::Again`].
pub fn judge_refresh(
    session: &Session,
    seen: Millis,
    token: &Opened,
    bench: Bench<'_>,
    policy: &Effective,
    now: Millis,
) -> Verdict {
    let place = match token.kind {
        Kind::Refresh => place(session, token, bench, policy, now),
        Kind::Session | Kind::AccessKey | Kind::PublishableKey => Place::Unknown,
    };
    if let Some(verdict) = standing(session, seen, place, bench, policy, now) {
        return verdict;
    }
    let effect = if place == Place::Again { Effect::Again } else { Effect::Rotate };
    Verdict { refusal: None, effect, adopt: expiry::adopt(session, policy).is_some() }
}

/// Whether the session itself stands at `now`, whatever is presented: the part that lists, counts and limits share.
pub fn over(
    session: &Session,
    seen: Millis,
    ledger: &Ledger,
    policy: &Effective,
    now: Millis,
) -> Option<Refusal> {
    if let State::Ended(end) = &session.state {
        let rule = if end.code == Code::TokenReused { "rotation" } else { "ended" };
        return Some(Refusal {
            code: end.code,
            rule,
            origin: end.origin.clone(),
            evidence: end.evidence.clone(),
        });
    }
    if ledger.ended(session).is_some() {
        return Some(Refusal::plain(Code::SessionRevoked, "epoch"));
    }
    expiry::expired(session, seen, policy, now)
}

fn place(session: &Session, token: &Opened, bench: Bench<'_>, policy: &Effective, now: Millis) -> Place {
    if token.session != session.id {
        return Place::Unknown;
    }
    let holder = Holder { env: bench.env, session: session.id, user: &session.user };
    session.chain.place(token, holder, bench.keys, policy.rotation_grace.value, now)
}

/// The refusals that do not depend on what the request demands.
fn standing(
    session: &Session,
    seen: Millis,
    place: Place,
    bench: Bench<'_>,
    policy: &Effective,
    now: Millis,
) -> Option<Verdict> {
    let refuse = |refusal, effect| Some(Verdict { refusal: Some(refusal), effect, adopt: false });
    if place == Place::Unknown {
        return refuse(Refusal::plain(Code::SessionNotFound, "token"), Effect::StoreBehind);
    }
    if let Some(refusal) = over(session, seen, bench.ledger, policy, now) {
        return refuse(refusal, Effect::Nothing);
    }
    match place {
        Place::Stolen => refuse(stolen(session, policy), Effect::EndStolen),
        Place::Late => refuse(Refusal::plain(Code::TokenSuperseded, "rotation"), Effect::Nothing),
        Place::Current | Place::Again | Place::Unknown => None,
    }
}

fn stolen(session: &Session, policy: &Effective) -> Refusal {
    let origin: Origin = policy.rotation_grace.origin.clone();
    let current = u64::from(session.chain.generation);
    Refusal {
        code: Code::TokenReused,
        rule: "rotation",
        origin: Some(origin),
        evidence: Some(Evidence::Limit {
            allowed: Value::Text(format!("generation {current}").into()),
            seen: Value::Text("a replaced generation".into()),
        }),
    }
}

fn rotation_due(session: &Session, policy: &Effective, now: Millis) -> bool {
    !session.chain.has_refresh()
        && policy.rotate_every.value.is_some_and(|every| now.since(session.chain.made_at) >= every)
}

fn missing_tags(session: &Session, required: &[Tag]) -> Option<Refusal> {
    let missing: Vec<Box<str>> =
        required.iter().filter(|t| !session.has_tag(t)).map(|t| t.as_str().into()).collect();
    (!missing.is_empty()).then(|| Refusal {
        code: Code::TagMissing,
        rule: "required_tags",
        origin: None,
        evidence: Some(Evidence::Limit {
            allowed: Value::Texts(missing),
            seen: Value::Texts(session.tags.iter().map(|held| held.tag.as_str().into()).collect()),
        }),
    })
}

fn missing_groups(session: &Session, required: &[Group]) -> Option<Refusal> {
    let missing: Vec<Box<str>> =
        required.iter().filter(|g| !session.in_group(g)).map(|g| g.as_str().into()).collect();
    (!missing.is_empty()).then(|| Refusal {
        code: Code::AccessGroupMissing,
        rule: "required_access_groups",
        origin: None,
        evidence: Some(Evidence::Limit {
            allowed: Value::Texts(missing),
            seen: Value::Texts(session.groups.iter().map(|group| group.as_str().into()).collect()),
        }),
    })
}
