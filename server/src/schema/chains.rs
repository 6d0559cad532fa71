//! Ways through a schema that look at one and the same value again and again: alternatives in alternatives, references to
//! references. They must end, and soon, because each step of one takes stack when a value is checked.

use super::{Id, Node, Test};

/// How many alternatives and references may follow each other without looking deeper into the data.
pub(super) const CHAIN: u16 = 16;

/// Whether every way through a schema soon looks deeper into the data; else where it does not.
pub(super) fn chains(nodes: &[Node]) -> Result<(), Id> {
    let mut longest = vec![None; nodes.len()];
    for id in 0..nodes.len() {
        let mut way = vec![(id, 0)];
        // Depth first, by hand: a schema must not choose how much stack it takes.
        while let Some((id, next)) = way.pop() {
            let inside: Vec<Id> = nodes.get(id).map(in_place).unwrap_or_default();
            match inside.get(next) {
                _ if longest.get(id).copied().flatten().is_some() => {}
                Some(inner) => {
                    way.push((id, next + 1));
                    if way.iter().any(|(on_the_way, _)| on_the_way == inner) {
                        return Err(id);
                    }
                    way.push((*inner, 0));
                    if way.len() > usize::from(CHAIN) + 1 {
                        return Err(id);
                    }
                }
                None => {
                    let depths = inside.iter().filter_map(|inner| longest.get(*inner).copied().flatten());
                    let depth: u16 = depths.max().map_or(0, |depth| depth + 1);
                    if depth > CHAIN {
                        return Err(id);
                    }
                    if let Some(known) = longest.get_mut(id) {
                        *known = Some(depth);
                    }
                }
            }
        }
    }
    Ok(())
}

/// The nodes that look at the same value.
fn in_place(node: &Node) -> Vec<Id> {
    let of = |test: &Test| match test {
        Test::All(all) | Test::Any(all) | Test::One(all) => all.clone(),
        Test::Not(id) => vec![*id],
        Test::If { when, then, otherwise } => {
            [Some(*when), *then, *otherwise].into_iter().flatten().collect()
        }
        Test::Never
        | Test::Kinds(_)
        | Test::Among(_)
        | Test::Bound(..)
        | Test::Multiple(_)
        | Test::Size(..)
        | Test::Pattern(_)
        | Test::Members { .. }
        | Test::Names(_)
        | Test::Required(_)
        | Test::Dependent(_)
        | Test::Items { .. }
        | Test::Unique => Vec::new(),
    };
    node.tests.iter().flat_map(of).collect()
}
