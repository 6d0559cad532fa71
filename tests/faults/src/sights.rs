//! What a scene must have seen: promises that nobody put to the test are not kept, only unasked.

use crate::history::{Answer, Call, Heard, History, Operation, Scope, Violation};

/// What was done, and how an operation shows it.
type Sight = (&'static str, fn(&Operation) -> bool);

/// What a scene must have seen at least once, or its promises held because nobody asked for them.
const SEEN: &[Sight] = &[
    ("a rotation", |o| {
        matches!(o.call, Call::Validate { .. }) && matches!(o.answer, Answer::Allowed { successor: Some(_) })
    }),
    ("a refresh", |o| matches!(o.call, Call::Refresh { .. }) && matches!(o.answer, Answer::Allowed { .. })),
    ("an end of one", |o| matches!(o.call, Call::End(Scope::One(_))) && o.answer == Answer::Done),
    ("an end of many", |o| {
        matches!(o.call, Call::End(Scope::Tag(_) | Scope::User(_))) && o.answer == Answer::Done
    }),
    ("a verdict about an ended one", |o| o.answer.refused() == Some("session_revoked")),
    ("an eviction", |o| matches!(&o.answer, Answer::Created { evicted, .. } if !evicted.is_empty())),
    ("a creation refused at a limit", |o| o.answer.refused() == Some("session_limit_reached")),
    ("a changed rule", |o| matches!(o.call, Call::Rule { .. }) && o.answer == Answer::Done),
    ("a verdict by the changed rule", |o| o.answer.refused() == Some("ip_not_allowed")),
    ("a deleted key", |o| matches!(o.call, Call::DeleteKey(_)) && o.answer == Answer::Done),
    ("a refused key", |o| o.answer.refused() == Some("access_key_invalid")),
    ("a lost answer", |o| o.answer == Answer::Lost),
];

/// What was not seen yet.
pub(crate) fn missing(operations: &[Operation]) -> Vec<&'static str> {
    let seen = |sight: fn(&Operation) -> bool| operations.iter().any(sight);
    SEEN.iter().filter(|(_, sight)| !seen(*sight)).map(|(what, _)| *what).collect()
}

pub(crate) fn idle(history: &History) -> Vec<Violation> {
    let missing = missing(&history.operations);
    let mut found: Vec<String> = missing.iter().map(|what| format!("not once was there {what}")).collect();
    for (number, follower) in history.followers.iter().enumerate() {
        if !follower.heard.iter().any(|(_, heard)| matches!(heard, Heard::Ended(_))) {
            found.push(format!("follower {number} heard of no end"));
        }
    }
    found.into_iter().map(|what| Violation { promise: "exercised", what }).collect()
}
