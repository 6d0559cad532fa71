//! Budgets over several nodes: once a second each says what was spent with it since, and adds what the others say. A payer that
//! is over on one is over on all a second later.
//!
//! What is said has a bound: [`MESSAGES`] of [`TOGETHER`] payers each a second, the greatest spenders of each kind first, and no
//! kind keeps another one out. Who finds no room is told of later, with what comes until then. Where no other node was
//! heard of nothing is said, and what was spent is forgotten: nothing rests on its being heard. A node that is cut off loses
//! what was said meanwhile, and counts by itself.

use super::super::App;
use super::super::nodes::message::Said;
pub use super::super::nodes::spent::TOGETHER;
use super::super::nodes::spent::{Spent, read, write};
use super::Rates;
use super::debts::Debts;
use handstamp_core::rate::shared::Told;
use std::sync::atomic::{AtomicU64, Ordering};

/// The most messages that a node says in a second.
pub const MESSAGES: usize = 16;

/// What was said and heard since the start, in payers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Shared {
    /// The other nodes were told.
    pub told: u64,
    /// Others told this one.
    pub heard: u64,
    /// The others were told later, or will not be, because there were too many.
    pub left_out: u64,
}

/// The same while it grows.
#[derive(Default)]
pub(super) struct Counts {
    told: AtomicU64,
    heard: AtomicU64,
    left_out: AtomicU64,
}

impl Rates {
    /// The kinds of payers whose budgets are shared, in the order in which they are numbered.
    const fn kinds(&self) -> [&Debts; 3] {
        [&self.sessions, &self.keys, &self.addresses]
    }

    fn left_out(&self, n: usize) {
        self.counts.left_out.fetch_add(u64::try_from(n).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl App {
    /// Tells the other nodes what was spent here since the last time. To be called once a second.
    pub async fn share_rates(&self) {
        let Some(nodes) = &self.nodes else { return };
        let taken = self.rates.kinds().map(Debts::tell);
        if !nodes.are_others(self.clock.ticks()) {
            return;
        }
        let (said, rest) = chosen(taken, MESSAGES * TOGETHER);
        for (debts, rest) in self.rates.kinds().into_iter().zip(&rest) {
            debts.untold(rest);
            self.rates.left_out(rest.len());
        }
        let now = self.now();
        for some in said.chunks(TOGETHER) {
            let message = Said::Spent(write(now, some).into());
            if let Err(error) = self.say(message).await {
                // What was not heard is not said again: it would be old by then.
                self.rates.left_out(some.len());
                tracing::debug!(%error, "other nodes do not hear what was spent here");
            } else {
                self.rates
                    .counts
                    .told
                    .fetch_add(u64::try_from(some.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        }
    }

    /// Another node said what was spent with it.
    pub(in super::super) fn hear_spent(&self, bytes: &[u8]) {
        let Ok(all) = read(bytes) else { return };
        let (now, kinds) = (self.now(), self.rates.kinds());
        self.rates.counts.heard.fetch_add(u64::try_from(all.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
        for Spent { kind, name, told } in all {
            if let Some(debts) = kinds.get(usize::from(kind)) {
                debts.hear(name, told, now);
            }
        }
    }

    /// What was said of budgets and heard of them.
    pub fn rates_shared(&self) -> Shared {
        let kept_back: u64 = self.rates.kinds().iter().map(|debts| debts.kept_back()).sum();
        let Counts { told, heard, left_out } = &self.rates.counts;
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Shared { told: of(told), heard: of(heard), left_out: of(left_out) + kept_back }
    }
}

/// Who is told of, and for whom there is no room: of each kind those who spent most, and of each kind as many as the others
/// leave room for.
fn chosen(all: [Vec<(u64, Told)>; 3], room: usize) -> (Vec<Spent>, [Vec<(u64, Told)>; 3]) {
    let mut kinds: Vec<(usize, Vec<(u64, Told)>)> = all.into_iter().enumerate().collect();
    kinds.sort_by_key(|(_, all)| all.len());
    let (mut said, mut rest) = (Vec::new(), [const { Vec::new() }; 3]);
    for (place, (kind, mut all)) in kinds.into_iter().enumerate() {
        let share = (room - said.len()) / (3 - place);
        if all.len() > share {
            all.sort_unstable_by_key(|(_, told)| std::cmp::Reverse(told.spent));
            if let Some(slot) = rest.get_mut(kind) {
                *slot = all.split_off(share);
            }
        }
        let kind = u8::try_from(kind).unwrap_or(u8::MAX);
        said.extend(all.into_iter().map(|(name, told)| Spent { kind, name, told }));
    }
    (said, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use handstamp_core::rate::Due;
    use handstamp_core::time::Millis;

    const NOW: Millis = Millis(1_790_000_000_000);

    fn told(spent: u64) -> Told {
        Told { spent, began: Due(Due::at(NOW).0 - 900_000_000) }
    }

    #[test]
    fn no_kind_keeps_another_one_out_and_the_greatest_are_first() {
        let crowd = |n: u64| (1..=n).map(|n| (n, told(n))).collect::<Vec<_>>();
        for (counts, said) in [
            ([10, 10, 10], [10, 10, 10]),
            ([5, 1_000, 3], [5, 82, 3]),
            ([1_000, 1_000, 1_000], [30, 30, 30]),
            ([1_000, 0, 1_000], [45, 0, 45]),
        ] {
            let (chosen, rest) = chosen(counts.map(crowd), 90);
            for kind in 0..3u8 {
                let of = |s: &&Spent| s.kind == kind;
                let (n, all) = (said[usize::from(kind)], counts[usize::from(kind)]);
                assert_eq!(chosen.iter().filter(of).count(), n, "{counts:?}");
                let least = chosen.iter().filter(of).map(|s| s.told.spent).min();
                assert!(
                    least.is_none_or(|least| rest[usize::from(kind)].iter().all(|(_, t)| t.spent < least))
                );
                assert_eq!(rest[usize::from(kind)].len() + n, usize::try_from(all).unwrap());
            }
        }
    }
}
