//! Every answer is one that the contract has; a creation that is repeated under its idempotency key makes one session; and
//! a node that has no store says so, and nothing else.

use super::Facts;
use crate::history::{Answer, Call, Name, seconds};
use std::collections::HashMap;

pub(super) fn check(facts: &Facts<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let mut made: HashMap<u64, &Name> = HashMap::new();
    for operation in &facts.history.operations {
        if let Answer::Wrong(what) = &operation.answer {
            found.push(format!(
                "node {} at {}: {:?}: {what}",
                operation.node,
                seconds(operation.ended),
                operation.call
            ));
        }
        if let (Call::Create { idempotency: Some(key), .. }, Answer::Created { session, .. }) =
            (&operation.call, &operation.answer)
        {
            let first = made.entry(*key).or_insert(session);
            if *first != session {
                found.push(format!(
                    "two sessions for one idempotency key, {first} and {session}, the second told by node {} at {}",
                    operation.node,
                    seconds(operation.ended)
                ));
            }
        }
    }
    found
}

/// The licence to answer from memory is over a spread after the store was cut off; from then on nothing is known.
pub(super) fn knows(facts: &Facts<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let spread = facts.history.promises.spread;
    for cut in &facts.history.cuts {
        let during = facts.history.operations.iter().filter(|operation| {
            operation.node == cut.node && operation.begun > cut.from + spread && operation.ended < cut.to
        });
        for operation in during.filter(|operation| !operation.answer.open()) {
            found.push(format!(
                "node {} had no store from {} to {}, was asked {:?} at {} and answered {:?}",
                cut.node,
                seconds(cut.from),
                seconds(cut.to),
                operation.call,
                seconds(operation.begun),
                operation.answer
            ));
        }
    }
    found
}
