//! What has ended, stays ended. An end counts from its acknowledgement: at once where it was acknowledged and for every
//! strong read, elsewhere after the spread. A verdict that says "ended" counts like an acknowledgement: whoever was once
//! refused for good must never be let in again.

use super::{Facts, is_end};
use crate::history::{Answer, Call, Micros, Operation, seconds};

/// A moment from which on nobody may be let in.
struct Bound {
    node: usize,
    at: Micros,
    why: String,
}

pub(super) fn check(facts: &Facts<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, verdicts) in &facts.verdicts {
        let mut bounds: Vec<Bound> = facts
            .certain_ends(name)
            .into_iter()
            .map(|end| Bound { node: end.node, at: end.ended, why: format!("{:?} acknowledged", end.call) })
            .collect();
        for verdict in verdicts {
            if let Some(code) = verdict.answer.refused().filter(|code| is_end(code)) {
                bounds.push(Bound {
                    node: verdict.node,
                    at: verdict.ended,
                    why: format!("refused as {code}"),
                });
            }
        }
        for verdict in verdicts.iter().filter(|verdict| matches!(verdict.answer, Answer::Allowed { .. })) {
            let at_once = reads_through(verdict);
            let broken = bounds.iter().find(|bound| {
                let late =
                    if at_once || bound.node == verdict.node { 0 } else { facts.history.promises.spread };
                verdict.begun > bound.at + late
            });
            if let Some(bound) = broken {
                found.push(format!(
                    "{name}: {} at {} by node {}, and let in by node {} when asked at {}{}",
                    bound.why,
                    seconds(bound.at),
                    bound.node,
                    verdict.node,
                    seconds(verdict.begun),
                    if at_once { " (a strong read or a refresh)" } else { "" }
                ));
            }
        }
    }
    found
}

/// Whether memory may not answer this.
pub(super) fn reads_through(operation: &Operation) -> bool {
    matches!(operation.call, Call::Refresh { .. } | Call::Validate { strong: true, .. })
}
