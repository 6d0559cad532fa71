//! One chain, never a fork: a token has one successor, whoever asks and wherever; whoever presents the newest token that
//! was given out is not lost, and is not called a thief. An old token is superseded only when the one after next is
//! there, and stolen only when a later one was presented at least a grace ago.

use super::Facts;
use crate::history::{Answer, Call, Operation, Token, seconds};

pub(super) fn check(facts: &Facts<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for (token, operations) in &facts.presented {
        for operation in operations {
            match &operation.answer {
                Answer::Allowed { successor: Some(next) } => {
                    if let Some(first) = facts.successor.get(token).filter(|first| *first != next) {
                        found.push(format!(
                            "{}: two successors of one token, {first:?} and {next:?}, the second told by node {} at {}",
                            session(operation),
                            operation.node,
                            seconds(operation.ended)
                        ));
                    }
                }
                Answer::Refused(code)
                    if &**code == "token_superseded"
                        && !superseded(facts, *token, operation)
                        && !refreshed(facts, operation) =>
                {
                    found.push(format!(
                        "{}: node {} called the newest token, or the one before it, superseded at {}",
                        session(operation),
                        operation.node,
                        seconds(operation.ended)
                    ));
                }
                Answer::Refused(code) if &**code == "token_reused" && !theft(facts, operation) => {
                    found.push(format!(
                        "{}: false theft, said by node {} at {}",
                        session(operation),
                        operation.node,
                        seconds(operation.ended)
                    ));
                }
                _ => {}
            }
        }
    }
    found
}

/// Whether its session rotates by refresh: then a session token is superseded as soon as the next pair is there.
fn refreshed(facts: &Facts<'_>, operation: &Operation) -> bool {
    let Call::Validate { session, .. } = &operation.call else { return false };
    let mut others = facts.verdicts.get(session).into_iter().flatten();
    others.any(|other| matches!(other.call, Call::Refresh { .. }) && other.begun <= operation.ended)
}

/// Whether the token after next may have been there: the next one was presented by somebody who could get a successor.
fn superseded(facts: &Facts<'_>, token: Token, operation: &Operation) -> bool {
    later(facts, token).iter().any(|next| {
        facts.presented.get(next).into_iter().flatten().any(|asked| {
            asked.begun <= operation.ended
                && matches!(asked.call, Call::Refresh { .. } | Call::Validate { rotate: true, .. })
        })
    })
}

/// Whether somebody presented a stolen token of the session: it ends for everybody, and is called that from then on.
fn theft(facts: &Facts<'_>, operation: &Operation) -> bool {
    let (Call::Validate { session, .. } | Call::Refresh { session, .. }) = &operation.call else {
        return false;
    };
    facts.verdicts.get(session).into_iter().flatten().any(|other| match &other.call {
        Call::Validate { token, .. } | Call::Refresh { token, .. } => {
            other.begun <= operation.ended && stolen(facts, *token, other)
        }
        _ => false,
    })
}

/// Whether a later token was presented at least a grace before.
fn stolen(facts: &Facts<'_>, token: Token, operation: &Operation) -> bool {
    let grace = facts.history.promises.grace;
    later(facts, token).iter().any(|next| {
        let presented = facts.presented.get(next).into_iter().flatten();
        presented.into_iter().any(|asked| asked.begun + grace <= operation.ended)
    })
}

/// The tokens after this one, as far as anybody was told of them. A chain has no ring, unless the server made one.
fn later(facts: &Facts<'_>, token: Token) -> Vec<Token> {
    let mut found = Vec::new();
    let mut last = token;
    while let Some(next) = facts.successor.get(&last)
        && !found.contains(next)
    {
        found.push(*next);
        last = *next;
    }
    found
}

fn session(operation: &Operation) -> &str {
    match &operation.call {
        Call::Validate { session, .. } | Call::Refresh { session, .. } => session,
        _ => "",
    }
}
