//! Limits hold to the session. A session that is let in at some moment was alive from its creation until then, because
//! what has ended never lives again; so the sessions that certainly lived at the same time can be counted. The other way
//! round, whoever is refused must have met as many as the limit allows that could have been alive.

use super::Facts;
use super::ended::reads_through;
use crate::history::{Answer, Call, Limit, Micros, Name, Operation, seconds};
use std::collections::{HashMap, HashSet};

/// Who shares a bound: a user and a tag, or a tag alone.
type Group<'a> = (Option<&'a Name>, &'a Name);

pub(super) fn check(facts: &Facts<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let mut groups: HashMap<Group<'_>, (Limit, Vec<&Name>)> = HashMap::new();
    let promises = &facts.history.promises;
    for (name, session) in &facts.sessions {
        for tag in session.tags {
            for (limits, user) in [(&promises.limits, Some(session.user)), (&promises.seats, None)] {
                if let Some(limit) = limits.get(tag) {
                    groups.entry((user, tag)).or_insert_with(|| (*limit, Vec::new())).1.push(name);
                }
            }
        }
    }
    for ((user, tag), (limit, members)) in &groups {
        let whose =
            user.map_or_else(|| format!("seats of {tag}"), |user| format!("sessions of {user} with {tag}"));
        if let Some((at, count)) = most(facts, members).filter(|(_, count)| *count > limit.most) {
            found.push(format!("{count} {whose} at {}, and {} are allowed", seconds(at), limit.most));
        }
    }
    for operation in &facts.history.operations {
        let (Call::Create { user, tags, .. }, Some("session_limit_reached")) =
            (&operation.call, operation.answer.refused())
        else {
            continue;
        };
        let room = |tag: &&Name| {
            let own = promises.limits.get(*tag).filter(|limit| limit.rejects);
            own.is_none_or(|limit| possible(facts, operation, user, tag) < limit.most)
        };
        // Seats are also held for sessions whose creation failed half-way; only limits of users are judged.
        let has_seats = tags.iter().any(|tag| promises.seats.contains_key(tag));
        if !has_seats && tags.iter().all(|tag| room(&tag)) {
            found.push(format!(
                "a creation for {user} was refused by node {} at {} although there was room",
                operation.node,
                seconds(operation.ended)
            ));
        }
    }
    found
}

/// The most that certainly lived at one moment, and when.
fn most(facts: &Facts<'_>, members: &[&Name]) -> Option<(Micros, usize)> {
    let mut edges: Vec<(Micros, bool)> = Vec::new();
    for name in members {
        let Some(session) = facts.sessions.get(*name) else { continue };
        if let Some(until) = alive_until(facts, name).filter(|until| *until > session.ended) {
            edges.push((session.ended, true));
            edges.push((until, false));
        }
    }
    // Whoever leaves at a moment does so before whoever comes at the same one.
    edges.sort_unstable();
    let (mut now, mut best) = (0_usize, None);
    for (at, comes) in edges {
        now = if comes { now + 1 } else { now.saturating_sub(1) };
        if best.is_none_or(|(_, most)| now > most) {
            best = Some((at, now));
        }
    }
    best
}

/// Up to when it lived for certain: a strong read that began then let it in; a cached one may be of a spread before.
fn alive_until(facts: &Facts<'_>, name: &Name) -> Option<Micros> {
    let allowed = facts.verdicts.get(name)?.iter().filter(|v| matches!(v.answer, Answer::Allowed { .. }));
    let spread = facts.history.promises.spread;
    allowed.map(|v| if reads_through(v) { v.begun } else { v.begun.saturating_sub(spread) }).max()
}

/// How many of the user's sessions with the tag may have been alive at some moment of this creation.
fn possible(facts: &Facts<'_>, operation: &Operation, user: &Name, tag: &Name) -> usize {
    let mine =
        || facts.creations.get(user).into_iter().flatten().filter(|other| other.begun <= operation.ended);
    let with = |other: &Operation| matches!(&other.call, Call::Create { tags, .. } if tags.contains(tag));
    let known: HashSet<&Name> = mine()
        .filter(|other| with(other))
        .filter_map(
            |other| if let Answer::Created { session, .. } = &other.answer { Some(session) } else { None },
        )
        .filter(|name| !facts.certain_ends(name).iter().any(|end| end.ended < operation.begun))
        .collect();
    known.len() + mine().filter(|other| other.answer.open() && with(other)).count()
}
