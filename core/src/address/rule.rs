//! May a session be used from this address? Lists first, then what has changed since the user authenticated.
//!
//! 1. As soon as any list says something, or a change would bring something about, there must be an address.
//! 2. A block list wins over every allow list.
//! 3. Every allow list must hold the address: the default's and each tag's. An empty list says nothing.
//! 4. Then the network is compared with the one of the last authentication ([`change`]), and the ladder decides.
//!
//! What has not moved is never refused by the fourth step, and neither is what cannot be compared: a client of both
//! families uses them in turn, and would otherwise be logged out at random. That is logged instead.

use super::{Change, Networks, change};
use crate::policy::modes::OnAddress;
use crate::policy::{Origin, Sourced};
use crate::refusal::{Code, Evidence, Refusal, Value};
use std::net::IpAddr;
use std::sync::Arc;

/// The rule's name where an allow list spoke.
pub const ALLOW: &str = "ip_allow";
/// The rule's name where a block list spoke.
pub const BLOCK: &str = "ip_block";
/// The rule's name where a change spoke.
pub const CHANGE: &str = "ip_change";

/// What the policy of a session says about addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressRules {
    /// Each list on its own: the address must be in all of them, and a refusal names the one that it is not in.
    pub allow: Vec<Sourced<Arc<Networks>>>,
    /// The address may be in none of them.
    pub block: Vec<Sourced<Arc<Networks>>>,
    /// What another network brings about.
    pub change: Sourced<OnAddress>,
}

/// The answer, and what becomes of the session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It may pass, and there is nothing to say.
    Allowed,
    /// It may pass, and history should have a line: what there is to say.
    Logged(Refusal),
    /// It may not pass; the session stays. The code says whether the user must authenticate again.
    Refused(Refusal),
    /// It may not pass, and the session ends.
    Ended(Refusal),
}

/// Judges an address. `known` is the client's address at creation or, later, at the last authentication; where that is
/// missing (a creation, or a session older than the rule) nothing is compared. `now` is the request's.
pub fn judge(rules: &AddressRules, known: Option<IpAddr>, now: Option<IpAddr>) -> Outcome {
    let Some(now) = now else {
        return rules.demands().map_or(Outcome::Allowed, |(rule, origin)| {
            Outcome::Refused(refusal(Code::IpMissing, rule, origin, None))
        });
    };
    if let Some(list) = rules.block.iter().find(|list| list.value.contains(now)) {
        return Outcome::Refused(blocked(list, now));
    }
    if let Some(list) = rules.allow.iter().find(|list| !list.value.is_empty() && !list.value.contains(now)) {
        return Outcome::Refused(not_allowed(list, now));
    }
    match known {
        Some(known) if rules.change.value != OnAddress::Ignore => compared(&rules.change, known, now),
        _ => Outcome::Allowed,
    }
}

impl AddressRules {
    /// The first rule that cannot be judged without an address.
    fn demands(&self) -> Option<(&'static str, &Origin)> {
        let says = |lists: &[Sourced<Arc<Networks>>]| lists.iter().position(|list| !list.value.is_empty());
        let listed = |lists, rule| says(lists).and_then(|at| lists.get(at)).map(|list| (rule, &list.origin));
        listed(&self.block, BLOCK)
            .or_else(|| listed(&self.allow, ALLOW))
            .or_else(|| (self.change.value != OnAddress::Ignore).then_some((CHANGE, &self.change.origin)))
    }
}

/// The ladder.
fn compared(mode: &Sourced<OnAddress>, known: IpAddr, now: IpAddr) -> Outcome {
    let said = |code| {
        let before = Value::Text(known.to_canonical().to_string().into());
        let after = Value::Text(now.to_canonical().to_string().into());
        refusal(code, CHANGE, &mode.origin, Some(Evidence::Change { before, after }))
    };
    match (change(known, now), mode.value) {
        (Change::Same | Change::Near, _) | (_, OnAddress::Ignore) => Outcome::Allowed,
        (Change::Unlike, _) | (Change::Moved, OnAddress::Log) => Outcome::Logged(said(Code::IpChanged)),
        (Change::Moved, OnAddress::Reauthenticate) => Outcome::Refused(said(Code::ReauthenticationRequired)),
        (Change::Moved, OnAddress::Refuse) => Outcome::Refused(said(Code::IpChanged)),
        (Change::Moved, OnAddress::End) => Outcome::Ended(said(Code::IpChanged)),
    }
}

fn not_allowed(list: &Sourced<Arc<Networks>>, now: IpAddr) -> Refusal {
    limit(Code::IpNotAllowed, ALLOW, &list.origin, list.value.to_string(), now)
}

/// A long block list is no help to whoever reads the evidence: the network that spoke is.
fn blocked(list: &Sourced<Arc<Networks>>, now: IpAddr) -> Refusal {
    let spoke = list.value.narrowest(now).map(|network| network.to_string()).unwrap_or_default();
    limit(Code::IpBlocked, BLOCK, &list.origin, format!("all but {spoke}"), now)
}

fn limit(code: Code, rule: &'static str, origin: &Origin, allowed: String, now: IpAddr) -> Refusal {
    let seen = Value::Text(now.to_canonical().to_string().into());
    refusal(code, rule, origin, Some(Evidence::Limit { allowed: Value::Text(allowed.into()), seen }))
}

fn refusal(code: Code, rule: &'static str, origin: &Origin, evidence: Option<Evidence>) -> Refusal {
    Refusal { code, rule, origin: Some(origin.clone()), evidence }
}
