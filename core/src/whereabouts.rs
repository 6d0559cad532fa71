//! Where a request comes from: its address and its user agent, against those of the last authentication.

use crate::address::rule::{self as address, Outcome as AddressOutcome};
use crate::address::{Change, change};
use crate::agent::Agent;
use crate::agent::rule::{self as agent, Outcome as AgentOutcome};
use crate::policy::Effective;
use crate::refusal::{Code, Refusal};
use crate::subject::Subject;
use std::net::IpAddr;

/// What a caller says of its client.
#[derive(Clone, Copy, Default)]
pub struct Whereabouts<'a> {
    /// The address, in its canonical form.
    pub ip: Option<IpAddr>,
    /// What was read of the user agent.
    pub agent: Option<Agent<&'a str>>,
}

/// The answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Came {
    /// From where it may.
    Fine,
    /// It may pass, and history should know.
    Noticed(Refusal),
    /// It may not pass; the session stays.
    Refused(Refusal),
    /// It may not pass, and the session ends.
    Ends(Refusal),
}

/// Judges the client of a session's request: lists of addresses first, then what has changed.
pub fn judge(session: &impl Subject, policy: &Effective, from: Whereabouts<'_>) -> Came {
    let known = session.anchor();
    let noticed = match address::judge(&policy.addresses, known.ip, from.ip) {
        AddressOutcome::Refused(refusal) => return Came::Refused(refusal),
        AddressOutcome::Ended(refusal) => return Came::Ends(refusal),
        AddressOutcome::Logged(what) if !was_there(session, from.ip) => Some(what),
        AddressOutcome::Logged(_) | AddressOutcome::Allowed => None,
    };
    match agent::judge(&policy.user_agent, known.agent, from.agent) {
        AgentOutcome::Refuse(refusal) => Came::Refused(refusal),
        AgentOutcome::End(refusal) => Came::Ends(refusal),
        AgentOutcome::Log(found) if noticed.is_none() && !was_used(session, from.agent) => {
            Came::Noticed(Refusal {
                code: Code::UserAgentChanged,
                rule: agent::RULE,
                origin: Some(found.origin),
                evidence: Some(found.evidence),
            })
        }
        AgentOutcome::Log(_) | AgentOutcome::Allowed => noticed.map_or(Came::Fine, Came::Noticed),
    }
}

/// Judges the client of a creation: there is nothing to compare with yet.
///
/// # Errors
/// The refusal of a list, or of a missing address.
pub fn judge_first(policy: &Effective, ip: Option<IpAddr>) -> Result<(), Refusal> {
    match address::judge(&policy.addresses, None, ip) {
        AddressOutcome::Refused(refusal) | AddressOutcome::Ended(refusal) => Err(refusal),
        AddressOutcome::Logged(_) | AddressOutcome::Allowed => Ok(()),
    }
}

/// Whether the session was last used from the same network: then history knows already.
fn was_there(session: &impl Subject, ip: Option<IpAddr>) -> bool {
    let last = session.last_client().and_then(|client| client.ip);
    last.zip(ip).is_some_and(|(last, now)| matches!(change(last, now), Change::Same | Change::Near))
}

/// The same of the agent.
fn was_used(session: &impl Subject, agent: Option<Agent<&str>>) -> bool {
    session.last_client().is_some_and(|client| client.agent == agent)
}
