//! No acknowledged session is lost: every verdict against one needs something that could have brought it about, and the
//! code must name just that. A session that is "not found" was lost; there is no other way to it here.

use super::{Facts, Session};
use crate::history::{Answer, Call, Limit, Name, Operation, Scope, seconds};
use std::collections::HashMap;

pub(super) fn check(facts: &Facts<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, verdicts) in &facts.verdicts {
        let Some(session) = facts.sessions.get(name) else { continue };
        for verdict in verdicts {
            let Some(code) = verdict.answer.refused() else { continue };
            let good = match code {
                "session_revoked" => revoked(facts, name, session, verdict),
                "session_evicted" => evicted(facts, name, session, verdict),
                // Judged by their own rules.
                "token_superseded" | "token_reused" | "ip_not_allowed" | "access_key_invalid" => true,
                _ => false,
            };
            if !good {
                found.push(format!(
                    "{name}: created at {}, refused as {code} by node {} at {}, and nothing explains it",
                    seconds(session.ended),
                    verdict.node,
                    seconds(verdict.ended)
                ));
            }
        }
    }
    found
}

/// Somebody asked for its end, in whatever way, and may have got it.
fn revoked(facts: &Facts<'_>, name: &Name, session: &Session<'_>, verdict: &Operation) -> bool {
    let asked = |end: &&Operation| {
        end.begun <= verdict.ended && matches!(end.answer, Answer::Done | Answer::NotKnown | Answer::Lost)
    };
    let one = facts.ends.get(name).into_iter().flatten().copied();
    let one = one.filter(|end| matches!(end.call, Call::End(Scope::One(_))));
    // What was answered before its creation began is about others.
    let overlaps = |end: &&Operation| end.answer.open() || end.ended >= session.begun;
    let many = facts.mass.iter().copied().filter(|end| Facts::names(end, session)).filter(overlaps);
    one.chain(many).any(|end| asked(&end))
}

/// A creation for the same user, or with a tag that has seats, which may have put it out.
fn evicted(facts: &Facts<'_>, name: &Name, session: &Session<'_>, verdict: &Operation) -> bool {
    let promises = &facts.history.promises;
    facts.creations.values().flatten().any(|operation| {
        let Call::Create { user, tags, .. } = &operation.call else { return false };
        let may = match &operation.answer {
            Answer::Created { session: other, evicted, .. } => other != name && evicted.contains(name),
            answer => answer.open(),
        };
        let shares = |limits: &HashMap<Name, Limit>| {
            tags.iter()
                .any(|tag| session.tags.contains(tag) && limits.get(tag).is_some_and(|limit| !limit.rejects))
        };
        may && operation.begun <= verdict.ended
            && (user == session.user && shares(&promises.limits) || shares(&promises.seats))
    })
}
