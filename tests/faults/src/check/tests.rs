//! The checker accuses no good history, and finds every kind of violation that is planted into one.

use super::check;
use super::simulated::{NODES, SECONDS, good};
use crate::history::{Answer, Call, Heard, History, Micros, Name, Operation, Scope, Token};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_good_history_is_not_accused(seed: u64) {
        let history = good(seed);
        prop_assert!(history.operations.len() > 500);
        let found = check(&history);
        prop_assert!(found.is_empty(), "{:?}", found);
    }

    #[test]
    fn what_is_planted_is_found(seed: u64, pick: u64) {
        let clean = good(seed);
        for (name, promise, plant) in PLANTS {
            let mut history = clean.clone();
            // Not every history has the place for every plant; that each is planted often enough, another test sees.
            if plant(&mut history, usize::try_from(pick % 1_000).unwrap()).is_none() {
                continue;
            }
            let found = check(&history);
            prop_assert!(found.iter().any(|one| one.promise == *promise), "{}: {:?}", name, found);
        }
    }
}

#[test]
fn every_kind_is_planted() {
    for (name, _, plant) in PLANTS {
        let planted = (0..20).filter(|seed| plant(&mut good(*seed), 7).is_some()).count();
        assert!(planted >= 10, "{name} was planted in {planted} of 20 histories only");
    }
}

type Plant = fn(&mut History, usize) -> Option<()>;

const PLANTS: &[(&str, &str, Plant)] = &[
    ("ended, let in elsewhere later", "ended", |h, pick| after_end(h, pick, 1, SECONDS + 1, false)),
    ("ended, let in on the same node", "ended", |h, pick| after_end(h, pick, 0, 1, false)),
    ("ended, let in by a strong read", "ended", |h, pick| after_end(h, pick, 1, 1, true)),
    ("all of a tag ended, one let in", "ended", after_mass),
    ("evicted, let in", "ended", after_eviction),
    ("refused for good, let in again", "ended", after_refusal),
    ("two successors", "chain", fork),
    ("false theft", "chain", |h, pick| wrong_verdict(h, pick, "token_reused")),
    ("the newest is superseded", "chain", |h, pick| wrong_verdict(h, pick, "token_superseded")),
    ("one session too many", "limit", |h, _| crowd(h, "limit:reject", true)),
    ("one session too many, where the oldest ends", "limit", |h, _| crowd(h, "limit:evict", true)),
    ("one seat too many", "limit", |h, _| crowd(h, "org:seats", false)),
    ("refused although there was room", "limit", refused_room),
    ("a session is not found", "kept", |h, pick| wrong_verdict(h, pick, "session_not_found")),
    ("revoked by nobody", "kept", revoked_by_nobody),
    ("evicted by nobody", "kept", |h, pick| wrong_verdict(h, pick, "session_evicted")),
    ("idle without idling", "kept", |h, pick| wrong_verdict(h, pick, "session_idle")),
    ("a rule is forgotten", "control", rule_forgotten),
    ("a rule is forgotten by a strong read", "control", rule_forgotten_strongly),
    ("a rule nobody asked for", "control", rule_invented),
    ("a deleted key is taken", "control", key_taken),
    ("a key nobody deleted is refused", "control", key_refused),
    ("an end is never told", "feed", end_untold),
    ("an end is told after an as_of that covers it", "feed", end_told_late),
    ("a second end of a tag is not told", "feed", second_raise_untold),
    ("a follower falls silent", "feed", silence),
    ("an answer without a store", "knows", knows_too_much),
    ("an answer of no contract", "answers", |h, _| {
        push(h, 0, 0, Call::UseKey(0), Answer::Wrong("500".into()));
        Some(())
    }),
    ("two sessions of one idempotency key", "answers", twice),
];

fn end_of(history: &History) -> Micros {
    history.operations.iter().map(|operation| operation.ended).max().unwrap() + 3 * SECONDS
}

fn push(history: &mut History, node: usize, begun: Micros, call: Call, answer: Answer) {
    history.operations.push(Operation { node, begun, ended: begun + 500, call, answer });
}

fn nth<T>(mut from: Vec<T>, pick: usize) -> Option<T> {
    if from.is_empty() { None } else { Some(from.swap_remove(pick % from.len())) }
}

fn let_in(history: &mut History, node: usize, begun: Micros, session: &Name, strong: bool) {
    let call = Call::Validate {
        session: session.clone(),
        token: Token(u64::MAX),
        strong,
        rotate: false,
        watched: false,
    };
    push(history, node, begun, call, Answer::Allowed { successor: None });
}

fn find<T>(history: &History, pick: usize, see: impl Fn(&Operation) -> Option<T>) -> Option<T> {
    nth(history.operations.iter().filter_map(see).collect(), pick)
}

fn after_end(history: &mut History, pick: usize, step: usize, later: Micros, strong: bool) -> Option<()> {
    let (node, at, session) = find(history, pick, |end| match (&end.call, &end.answer) {
        (Call::End(Scope::One(session)), Answer::Done) => Some((end.node, end.ended, session.clone())),
        _ => None,
    })?;
    let_in(history, (node + step) % NODES, at + later, &session, strong);
    Some(())
}

fn after_mass(history: &mut History, pick: usize) -> Option<()> {
    let tag: Name = "group:1".into();
    let (from, at, node) = find(history, pick, |end| match (&end.call, &end.answer) {
        (Call::End(Scope::Tag(_)), Answer::Done) => Some((end.begun, end.ended, end.node)),
        _ => None,
    })?;
    let session = find(history, pick, |made| match (&made.call, &made.answer) {
        (Call::Create { tags, .. }, Answer::Created { session, .. })
            if tags.contains(&tag) && made.ended <= from =>
        {
            Some(session.clone())
        }
        _ => None,
    })?;
    let_in(history, (node + 1) % NODES, at + SECONDS + 1, &session, false);
    Some(())
}

fn after_eviction(history: &mut History, pick: usize) -> Option<()> {
    let (node, at, gone) = find(history, pick, |made| match &made.answer {
        Answer::Created { evicted, .. } => Some((made.node, made.ended, evicted.first()?.clone())),
        _ => None,
    })?;
    let_in(history, (node + 1) % NODES, at + 1, &gone, true);
    Some(())
}

fn after_refusal(history: &mut History, pick: usize) -> Option<()> {
    let (node, at, session) = find(history, pick, |verdict| match &verdict.call {
        Call::Validate { session, .. } if verdict.answer.refused() == Some("session_revoked") => {
            Some((verdict.node, verdict.ended, session.clone()))
        }
        _ => None,
    })?;
    let_in(history, (node + 1) % NODES, at + SECONDS + 1, &session, false);
    Some(())
}

fn fork(history: &mut History, pick: usize) -> Option<()> {
    let mut again = find(history, pick, |verdict| match &verdict.answer {
        Answer::Allowed { successor: Some(_) } => Some(verdict.clone()),
        _ => None,
    })?;
    again.answer = Answer::Allowed { successor: Some(Token(u64::MAX)) };
    history.operations.push(again);
    Some(())
}

/// A session of its own, whose only token is refused with this code.
fn wrong_verdict(history: &mut History, _: usize, code: &str) -> Option<()> {
    let begun = end_of(history);
    let (session, token): (Name, Token) = ("ses_planted".into(), Token(u64::MAX));
    let call = Call::Create { user: "planted".into(), tags: Vec::new(), idempotency: None, offline: false };
    push(history, 0, begun, call, Answer::Created { session: session.clone(), token, evicted: Vec::new() });
    let call = Call::Validate { session, token, strong: true, rotate: false, watched: false };
    push(history, 1, begun + 1_000, call, Answer::Refused(code.into()));
    Some(())
}

fn revoked_by_nobody(history: &mut History, pick: usize) -> Option<()> {
    // An end of everybody that nobody heard the answer of may come at any time.
    let late = |end: &Operation| matches!(end.call, Call::End(Scope::All)) && end.answer.open();
    if history.operations.iter().any(late) {
        return None;
    }
    wrong_verdict(history, pick, "session_revoked")
}

fn crowd(history: &mut History, tag: &str, own: bool) -> Option<()> {
    let begun = end_of(history);
    let limits = if own { &history.promises.limits } else { &history.promises.seats };
    let most = limits.get(tag)?.most;
    let names: Vec<Name> = (0..=most).map(|number| format!("ses_planted{number}").into()).collect();
    for (number, session) in names.iter().enumerate() {
        let user = if own { "planted".into() } else { format!("planted{number}").into() };
        let call = Call::Create { user, tags: vec![tag.into()], idempotency: None, offline: false };
        let made = Answer::Created { session: session.clone(), token: Token(u64::MAX), evicted: Vec::new() };
        push(history, number % NODES, begun, call, made);
    }
    for session in &names {
        let_in(history, 0, begun + 2_000, session, true);
    }
    Some(())
}

fn refused_room(history: &mut History, _: usize) -> Option<()> {
    let begun = end_of(history);
    let tags = vec!["limit:reject".into()];
    let call = Call::Create { user: "planted".into(), tags, idempotency: None, offline: false };
    push(history, 0, begun, call, Answer::Refused("session_limit_reached".into()));
    Some(())
}

/// The newest rule that was acknowledged, when nothing came after it.
fn last_rule(history: &History) -> Option<(usize, bool)> {
    let last = history
        .operations
        .iter()
        .filter(|one| matches!(one.call, Call::Rule { .. }))
        .max_by_key(|o| o.begun)?;
    match (&last.call, &last.answer) {
        (Call::Rule { allows, .. }, Answer::Done) => Some((last.node, *allows)),
        _ => None,
    }
}

fn watched(history: &mut History, node: usize, begun: Micros, strong: bool, passes: bool) {
    let (session, token) = ("ses_planted".into(), Token(u64::MAX));
    let call = Call::Validate { session, token, strong, rotate: false, watched: true };
    let refused = Answer::Refused("ip_not_allowed".into());
    push(history, node, begun, call, if passes { Answer::Allowed { successor: None } } else { refused });
}

fn rule_forgotten(history: &mut History, _: usize) -> Option<()> {
    let (node, allows) = last_rule(history)?;
    let begun = end_of(history);
    watched(history, (node + 1) % NODES, begun, false, !allows);
    Some(())
}

fn rule_forgotten_strongly(history: &mut History, _: usize) -> Option<()> {
    let begun = end_of(history);
    push(history, 0, begun, Call::Rule { value: u64::MAX, allows: false }, Answer::Done);
    watched(history, 1, begun + 501, true, true);
    Some(())
}

fn rule_invented(history: &mut History, _: usize) -> Option<()> {
    history.operations.retain(|operation| {
        !matches!(operation.call, Call::Rule { .. } | Call::Validate { watched: true, .. })
    });
    watched(history, 0, 1, false, false);
    Some(())
}

fn key_taken(history: &mut History, pick: usize) -> Option<()> {
    let (node, at, key) = find(history, pick, |end| match (&end.call, &end.answer) {
        (Call::DeleteKey(key), Answer::Done) => Some((end.node, end.ended, *key)),
        _ => None,
    })?;
    push(history, (node + 1) % NODES, at + SECONDS + 1, Call::UseKey(key), Answer::Done);
    Some(())
}

fn key_refused(history: &mut History, _: usize) -> Option<()> {
    push(history, 0, 1, Call::UseKey(99), Answer::Refused("access_key_invalid".into()));
    Some(())
}

/// A session that ended alone, so that only its own item tells of it.
fn ended_alone(history: &History, pick: usize) -> Option<(Micros, Name)> {
    find(history, pick, |end| match (&end.call, &end.answer) {
        (Call::End(Scope::One(session)), Answer::Done) => {
            let made = history.operations.iter().find_map(|made| match (&made.call, &made.answer) {
                (Call::Create { user, tags, .. }, Answer::Created { session: name, .. })
                    if name == session =>
                {
                    Some((user, tags))
                }
                _ => None,
            })?;
            let plain = &**made.0 != "user-1" && !made.1.contains(&"group:1".into());
            (plain && end.ended < 5 * SECONDS).then(|| (end.ended, session.clone()))
        }
        _ => None,
    })
}

fn without_all(history: &mut History) {
    for follower in &mut history.followers {
        follower.heard.retain(|(_, heard)| *heard != Heard::Ended(Scope::All));
    }
    history.operations.retain(|operation| operation.call_scope() != Some(&Scope::All));
}

fn end_untold(history: &mut History, pick: usize) -> Option<()> {
    without_all(history);
    let (_, session) = ended_alone(history, pick)?;
    history.followers[1].heard.retain(|(_, heard)| *heard != Heard::Ended(Scope::One(session.clone())));
    Some(())
}

fn end_told_late(history: &mut History, pick: usize) -> Option<()> {
    without_all(history);
    let (_, session) = ended_alone(history, pick)?;
    let item = Heard::Ended(Scope::One(session));
    let heard = &mut history.followers[0].heard;
    heard.retain(|(_, heard)| *heard != item);
    heard.push((u64::MAX, item));
    Some(())
}

fn second_raise_untold(history: &mut History, _: usize) -> Option<()> {
    let begun = end_of(history);
    let tag: Name = "group:planted".into();
    for number in 0..2 {
        let at = begun + number * SECONDS;
        let call = Call::Create {
            user: "planted".into(),
            tags: vec![tag.clone()],
            idempotency: None,
            offline: true,
        };
        let session = format!("ses_planted{number}").into();
        push(
            history,
            0,
            at,
            call,
            Answer::Created { session, token: Token(u64::MAX - number), evicted: Vec::new() },
        );
        push(history, 0, at + 1_000, Call::End(Scope::Tag(tag.clone())), Answer::Done);
    }
    for follower in &mut history.followers {
        follower.heard.push((begun + 1_200, Heard::Ended(Scope::Tag(tag.clone()))));
        follower.heard.push((begun + 9 * SECONDS, Heard::AsOf(begun + 9 * SECONDS)));
    }
    Some(())
}

fn silence(history: &mut History, _: usize) -> Option<()> {
    // Something must happen after it.
    let made = |name: &Name| {
        history.operations.iter().any(|made| {
            made.begun > SECONDS && matches!(&made.answer, Answer::Created { session, .. } if session == name)
        })
    };
    find(history, 0, |end| match (&end.call, &end.answer) {
        (Call::End(Scope::One(session)), Answer::Done) if made(session) => Some(()),
        _ => None,
    })?;
    history.followers[0].heard.retain(|(at, _)| *at <= SECONDS);
    Some(())
}

fn knows_too_much(history: &mut History, pick: usize) -> Option<()> {
    let cut = nth(history.cuts.clone(), pick)?;
    push(
        history,
        cut.node,
        cut.from + SECONDS + 1,
        Call::UseKey(0),
        Answer::Refused("access_key_invalid".into()),
    );
    push(history, cut.node, 1, Call::DeleteKey(0), Answer::Lost);
    Some(())
}

fn twice(history: &mut History, _: usize) -> Option<()> {
    for number in 0..2 {
        let call =
            Call::Create { user: "planted".into(), tags: Vec::new(), idempotency: Some(1), offline: false };
        let session = format!("ses_planted{number}").into();
        push(
            history,
            0,
            number,
            call,
            Answer::Created { session, token: Token(u64::MAX), evicted: Vec::new() },
        );
    }
    Some(())
}

impl Operation {
    fn call_scope(&self) -> Option<&Scope> {
        if let Call::End(scope) = &self.call { Some(scope) } else { None }
    }
}
