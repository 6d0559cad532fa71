//! Rules and keys: what was acknowledged holds everywhere after the spread, on the same node at once, and nothing holds
//! before somebody asked for it.

use super::Facts;
use super::ended::reads_through;
use crate::history::{Answer, Call, Operation, seconds};
use std::collections::HashMap;

pub(super) fn check(facts: &Facts<'_>) -> Vec<String> {
    let mut found = rules(facts);
    found.extend(keys(facts));
    found
}

/// The watched rule is a register: one writer after the other, everybody reads.
fn rules(facts: &Facts<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let operations = &facts.history.operations;
    let writes: Vec<(&Operation, u64, bool)> = operations
        .iter()
        .filter_map(|operation| match operation.call {
            Call::Rule { value, allows } if operation.answer.refused().is_none() => {
                Some((operation, value, allows))
            }
            _ => None,
        })
        .collect();
    for read in operations {
        let Call::Validate { watched: true, .. } = read.call else { continue };
        let passed = match &read.answer {
            Answer::Allowed { .. } => true,
            Answer::Refused(code) if &**code == "ip_not_allowed" => false,
            _ => continue,
        };
        let settled = |write: &Operation| {
            let same = write.node == read.node || reads_through(read);
            let late = if same { 0 } else { facts.history.promises.spread };
            write.answer == Answer::Done && write.ended + late < read.begun
        };
        // The newest value that must have been seen; every later one that was asked for may have been.
        let floor = writes.iter().filter(|(write, ..)| settled(write)).map(|(_, value, _)| *value).max();
        let may = |(write, value, allows): &(&Operation, u64, bool)| {
            *allows == passed && write.begun <= read.ended && floor.is_none_or(|floor| *value >= floor)
        };
        if (floor.is_some() || !passed) && !writes.iter().any(may) {
            found.push(format!(
                "node {} {} what the rule {floor:?}, in force for certain, does not, when asked at {}",
                read.node,
                if passed { "let in" } else { "refused" },
                seconds(read.begun)
            ));
        }
    }
    found
}

fn keys(facts: &Facts<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let operations = &facts.history.operations;
    let mut deleted: HashMap<u32, Vec<&Operation>> = HashMap::new();
    for operation in operations {
        if let Call::DeleteKey(key) = operation.call {
            deleted.entry(key).or_default().push(operation);
        }
    }
    for read in operations {
        let Call::UseKey(key) = read.call else { continue };
        let good = match &read.answer {
            Answer::Done => true,
            Answer::Refused(_) => false,
            _ => continue,
        };
        let mut deletions = deleted.get(&key).into_iter().flatten();
        if good {
            let spread = facts.history.promises.spread;
            let gone = deletions.find(|end| {
                let late = if end.node == read.node { 0 } else { spread };
                end.answer == Answer::Done && end.ended + late < read.begun
            });
            if let Some(end) = gone {
                found.push(format!(
                    "key {key}, deleted on node {} at {}, was taken by node {} when asked at {}",
                    end.node,
                    seconds(end.ended),
                    read.node,
                    seconds(read.begun)
                ));
            }
        } else if !deletions.any(|end| end.begun <= read.ended) {
            found.push(format!(
                "key {key}, which nobody deleted, was refused by node {} at {}",
                read.node,
                seconds(read.ended)
            ));
        }
    }
    found
}
