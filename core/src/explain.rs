//! What every rule says of a session now, with numbers and origin; and what a policy would make of it if its last client
//! asked again. The same rules as in [`crate::judge`], asked one by one: nothing here decides anything.

use crate::address::rule as address;
use crate::agent::rule as agent;
use crate::device;
use crate::ending::{Ending, ending};
use crate::epoch::Ledger;
use crate::event::Event;
use crate::expiry;
use crate::judge;
use crate::limit::{self, Limit, OnLimit};
use crate::policy::{Effective, Origin, Pattern, Policy};
use crate::refusal::{Code, Evidence, Refusal, Value};
use crate::rotation;
use crate::subject::{Endpoint, Subject};
use crate::tag::Tag;
use crate::time::{Millis, Span};
use crate::whereabouts::{self, Came, Whereabouts};

/// What one rule says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    /// Its name, as in refusals.
    pub rule: &'static str,
    /// `None`: allowed.
    pub code: Option<Code>,
    /// Where its value came from.
    pub origin: Option<Origin>,
    /// What it compared.
    pub evidence: Option<Evidence>,
}

impl Said {
    fn limit(rule: &'static str, origin: &Origin, allowed: Value, seen: Value) -> Said {
        Said {
            rule,
            code: None,
            origin: Some(origin.clone()),
            evidence: Some(Evidence::Limit { allowed, seen }),
        }
    }
    fn refused(refusal: Refusal) -> Said {
        let Refusal { code, rule, origin, evidence } = refusal;
        Said { rule, code: Some(code), origin, evidence }
    }
}

/// What would become of a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It passes.
    Passes,
    /// It is refused, and stays.
    Refused(Refusal),
    /// It ends, or has ended.
    Ends(Refusal),
}

/// What would become of it if its last client asked again: from the same address, with the same agent, and with a proof
/// of its device if it has one.
pub fn fate(session: &impl Subject, seen: Millis, ledger: &Ledger, policy: &Effective, now: Millis) -> Fate {
    if let Some(refusal) = judge::over(session, seen, ledger, policy, now) {
        return Fate::Ends(refusal);
    }
    asked(session, policy, last(session))
}

/// The same for a request from somewhere else, whatever the time.
pub fn asked(session: &impl Subject, policy: &Effective, from: Endpoint<'_>) -> Fate {
    match whereabouts::judge(session, policy, Whereabouts { ip: from.ip, agent: from.agent }) {
        Came::Ends(refusal) => Fate::Ends(refusal),
        Came::Refused(refusal) => Fate::Refused(refusal),
        Came::Fine | Came::Noticed(_) => unbound(session, policy).map_or(Fate::Passes, Fate::Refused),
    }
}

/// Whether a login that a rule refused would be let in: the addresses that the policy allows, and the limit that refused it,
/// in so far as its line of history tells. A limit that nobody counted for then is taken to have room.
pub fn lets_in(policy: &Policy, refused: &Event) -> bool {
    let effective = policy.of_tags(refused.tags.iter().map(Tag::as_str));
    if whereabouts::judge_first(&effective, refused.client.ip).is_err() {
        return false;
    }
    match refused.code {
        Some(Code::IpNotAllowed | Code::IpBlocked | Code::IpMissing) => true,
        Some(Code::SessionLimitReached) => has_room(&effective, refused),
        // Refused for what it brought, and not by what an operator chose.
        _ => false,
    }
}

fn has_room(policy: &Effective, refused: &Event) -> bool {
    if policy.on_limit.value != OnLimit::Reject {
        return true;
    }
    let (rule, caps) = match refused.rule.as_deref() {
        Some(limit::SEATS) => (limit::SEATS, &policy.seats),
        _ => (limit::RULE, &policy.max_sessions),
    };
    let Some(Evidence::Limit { seen: Value::Number(seen), .. }) = refused.evidence else { return false };
    let counted = match &refused.origin {
        Some(Origin::Tag(section)) => Pattern::parse(section).ok(),
        _ => None,
    };
    // Of limits on other tags nobody knows how many there were. On all sessions there were at least as many.
    let same = |limit: &Limit| match (&limit.tag, &counted) {
        (None, _) => true,
        (Some(tag), Some(of)) => of.matches(tag.as_str()),
        (Some(_), None) => false,
    };
    let limits = limit::of_new(rule, caps, &refused.tags);
    let mut same = limits.iter().filter(|limit| limit.is_for(refused.actor.is_some()) && same(limit));
    same.all(|limit| u64::from(limit.most) >= seen)
}

/// Each rule in the order in which they are asked.
pub fn rules(
    session: &impl Subject,
    seen: Millis,
    ledger: &Ledger,
    policy: &Effective,
    now: Millis,
) -> Vec<Said> {
    let mut said = Vec::new();
    let (mut end, mut by_time) = (now, None);
    match ending(session, seen, ledger, policy, now) {
        Some(Ending::Recorded(recorded)) => {
            end = recorded.at;
            said.push(Said::refused(Ending::Recorded(recorded).refusal()));
        }
        Some(Ending::Raised(at, raised)) => {
            end = at;
            said.push(Said::refused(Ending::Raised(at, raised).refusal()));
        }
        Some(Ending::Time(_, refusal)) => by_time = Some(refusal),
        None => {}
    }
    said.extend(times(session, seen, policy, by_time.as_ref(), end));
    if let Some(every) = policy.rotate_every.value.0.filter(|_| !session.chain().has_refresh()) {
        let age = now.since(session.chain().made_at);
        said.push(Said::limit(
            "rotate_every",
            &policy.rotate_every.origin,
            Value::Span(every),
            Value::Span(age),
        ));
    }
    let grace = &policy.rotation_grace;
    let generation = Value::Number(u64::from(session.chain().generation));
    said.push(Said::limit(rotation::RULE, &grace.origin, Value::Span(grace.value), generation));
    said.extend(from(session, policy));
    let mode = &policy.device;
    let has = if session.device().is_some() { "registered" } else { "none" };
    said.push(unbound(session, policy).map_or_else(
        || Said::limit(device::RULE, &mode.origin, text(mode.value.text()), text(has)),
        Said::refused,
    ));
    said
}

fn times(
    session: &impl Subject,
    seen: Millis,
    policy: &Effective,
    over: Option<&Refusal>,
    now: Millis,
) -> [Said; 2] {
    let (absolute, idle) = expiry::limits(session, policy);
    let one = |rule, code, limit: crate::policy::Sourced<Span>, from: Millis| {
        let past = from.plus(limit.value) <= now;
        let age = now.since(from);
        Said {
            code: (past || over.is_some_and(|refusal| refusal.code == code)).then_some(code),
            ..Said::limit(rule, &limit.origin, Value::Span(limit.value), Value::Span(age))
        }
    };
    [
        one(expiry::ABSOLUTE, Code::SessionExpired, absolute, session.times().authenticated_at),
        one(expiry::IDLE, Code::SessionIdle, idle, seen),
    ]
}

/// Addresses and agents, as the last client would be judged.
fn from(session: &impl Subject, policy: &Effective) -> Vec<Said> {
    let (known, last) = (session.anchor(), last(session));
    let here = || text(&last.ip.map_or_else(|| "unknown address".to_owned(), |ip| ip.to_string()));
    let mut said = Vec::new();
    let refused = match address::judge(&policy.addresses, known.ip, last.ip) {
        address::Outcome::Refused(refusal) | address::Outcome::Ended(refusal) => Some(refusal),
        address::Outcome::Allowed | address::Outcome::Logged(_) => None,
    };
    let lists = [(address::ALLOW, &policy.addresses.allow), (address::BLOCK, &policy.addresses.block)];
    for (rule, lists) in lists {
        for list in lists.iter().filter(|list| !list.value.is_empty()) {
            let listed = list.value.to_string();
            let allowed = if rule == address::BLOCK { format!("all but {listed}") } else { listed };
            said.push(Said::limit(rule, &list.origin, text(&allowed), here()));
        }
    }
    let change = &policy.ip_change;
    let moved = |before: Endpoint<'_>| Evidence::Change {
        before: text(&before.ip.map_or_else(|| "unknown address".to_owned(), |ip| ip.to_string())),
        after: here(),
    };
    said.push(Said {
        evidence: Some(moved(known)),
        ..Said::limit(address::CHANGE, &change.origin, here(), here())
    });
    let words = |of: Endpoint<'_>| {
        text(&of.agent.map_or_else(|| "unknown agent".to_owned(), |agent| agent.display_name()))
    };
    let compared = Evidence::Change { before: words(known), after: words(last) };
    let mode = &policy.user_agent;
    let judged = match agent::judge(mode, known.agent, last.agent) {
        agent::Outcome::Refuse(refusal) | agent::Outcome::End(refusal) => Some(refusal),
        agent::Outcome::Allowed | agent::Outcome::Log(_) => None,
    };
    said.push(Said {
        rule: agent::RULE,
        code: judged.map(|refusal| refusal.code),
        origin: Some(mode.origin.clone()),
        evidence: Some(compared),
    });
    if let Some(refusal) = refused {
        // The one that speaks is named by rule and origin.
        match said.iter_mut().find(|one| one.rule == refusal.rule && one.origin == refusal.origin) {
            Some(one) => *one = Said::refused(refusal),
            None => said.push(Said::refused(refusal)),
        }
    }
    said
}

/// A session without a device where one is required.
fn unbound(session: &impl Subject, policy: &Effective) -> Option<Refusal> {
    let mode = &policy.device;
    (mode.value.asks(false) && session.device().is_none()).then(|| Refusal {
        code: Code::DeviceProofMissing,
        rule: device::RULE,
        origin: Some(mode.origin.clone()),
        evidence: Some(Evidence::Limit { allowed: text(mode.value.text()), seen: text("none") }),
    })
}

fn last(session: &impl Subject) -> Endpoint<'_> {
    session.last_client().unwrap_or_else(|| session.anchor())
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}
