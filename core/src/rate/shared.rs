//! One budget over several nodes: each counts exactly what is spent with it, says once in a while how much that was, and adds
//! what the others say.
//!
//! A debt is a queue that is worked off at one second a second. What another node took is put into that queue at the earliest
//! instant at which it can have been spent, so it may have been worked off since, while the payer owed nothing here: that
//! much is left out. So nobody owes more on any node than all that was spent on all of them comes to, and whoever owes
//! something all the time owes exactly that.

use super::Due;
use crate::time::Span;

/// How often the nodes tell each other: the time between two calls of [`Recent::turn`], at least.
pub const TURN: Span = Span::secs(1);
/// How far back a node knows for how long a payer owed nothing, at least: what was spent since the last telling, and a
/// second on the way.
const KNOWN_NANOS: u64 = 2_000_000_000;

/// What one payer spent on a node, as it is told: amounts and instants in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Told {
    /// How much.
    pub spent: u64,
    /// When the first of it was spent.
    pub began: Due,
}

/// What a node notes of a payer beside the debt: what the others do not know yet, and for how long nothing was owed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Recent {
    spent: u64,
    began: u64,
    /// For how long nothing was owed: since the last [`Recent::turn`], between the two before it, and between the two before
    /// these.
    idle: [u64; 3],
    /// When that ended last.
    busy_since: u64,
}

impl Recent {
    /// Takes note of what was spent here: `before` was owed, `after` is owed now.
    pub fn paid(&mut self, before: Due, after: Due, now: Due) {
        self.rests(before, now);
        if self.spent == 0 {
            self.began = now.0;
        }
        self.spent = self.spent.saturating_add(after.0.saturating_sub(before.max(now).0));
    }

    /// Nothing was owed from `from` to `until`.
    fn rests(&mut self, from: Due, until: Due) {
        let [idle, ..] = &mut self.idle;
        if from < until {
            *idle = idle.saturating_add(until.0 - from.0);
            self.busy_since = until.0;
        }
    }

    /// What the others do not know yet.
    pub const fn spent(&self) -> u64 {
        self.spent
    }

    /// What the others are to be told; from then on they know.
    pub fn tell(&mut self) -> Option<Told> {
        let spent = std::mem::take(&mut self.spent);
        (spent > 0).then_some(Told { spent, began: Due(self.began) })
    }

    /// What was to be told was not.
    pub fn untold(&mut self, told: Told) {
        self.began = if self.spent == 0 { told.began.0 } else { self.began.min(told.began.0) };
        self.spent = self.spent.saturating_add(told.spent);
    }

    /// A while, at least [`TURN`], is over. Whether there is anything to remember.
    pub fn turn(&mut self) -> bool {
        let [now, before, oldest] = &mut self.idle;
        *oldest = std::mem::replace(before, std::mem::take(now));
        *before > 0 || *oldest > 0 || self.spent > 0
    }

    /// How much of what began at `began` may have been worked off here while nothing was owed, and takes that out.
    fn absorb(&mut self, spent: u64, began: Due) -> u64 {
        // What lies before that instant worked off nothing of it.
        let after = self.busy_since.saturating_sub(began.0);
        let absorbed =
            spent.min(after).min(self.idle.iter().fold(0, |sum: u64, idle| sum.saturating_add(*idle)));
        let mut left = absorbed;
        for idle in self.idle.iter_mut().rev() {
            let part = left.min(*idle);
            *idle -= part;
            left -= part;
        }
        absorbed
    }
}

/// Adds what another node told to what is owed here.
pub fn hear(due: Due, recent: &mut Recent, told: Told, now: Due) -> Due {
    let began = told.began.min(now);
    // Nobody remembers whether anything was owed before that.
    let unknown = now.0.saturating_sub(KNOWN_NANOS).saturating_sub(began.0);
    let spent = told.spent.saturating_sub(unknown);
    let rest = spent - recent.absorb(spent, began);
    recent.rests(due, began);
    Due(due.max(began).0.saturating_add(rest))
}

#[cfg(test)]
mod tests {
    use super::super::{Standing, spend, whole};
    use super::*;
    use crate::policy::modes::Rate;
    use crate::time::Millis;
    use proptest::prelude::*;

    const NOW: Millis = Millis(1_767_225_600_000);

    fn rate(text: &str) -> Rate {
        Rate::parse(text).unwrap()
    }
    fn at(ms: i64) -> Millis {
        Millis(NOW.0 + ms)
    }
    fn due(ms: i64) -> Due {
        Due::at(at(ms))
    }

    /// A node, and what it knows of one payer.
    #[derive(Default, Clone)]
    struct Node {
        due: Due,
        recent: Recent,
    }

    impl Node {
        fn spend(&mut self, rate: Rate, now: Millis) -> Option<Standing> {
            let (after, standing) = spend(self.due, rate, now).ok()?;
            self.recent.paid(self.due, after, Due::at(now));
            self.due = after;
            Some(standing)
        }
        fn burst(&mut self, rate: Rate, now: Millis, n: u32) -> usize {
            (0..n).filter(|_| self.spend(rate, now).is_some()).count()
        }
        fn hear(&mut self, told: Told, now: Millis) {
            self.due = hear(self.due, &mut self.recent, told, Due::at(now));
        }
        fn tell(&mut self) -> Option<Told> {
            let told = self.recent.tell();
            self.recent.turn();
            told
        }
    }

    #[test]
    fn what_was_spent_elsewhere_counts_here() {
        for text in ["15000/1h", "50/1h", "100/1s", "1/1s"] {
            let rate = rate(text);
            let (mut a, mut b) = (Node::default(), Node::default());
            assert_eq!(a.burst(rate, at(0), rate.requests), usize::try_from(rate.requests).unwrap());
            let told = a.tell().unwrap();
            assert_eq!((told.spent, told.began, a.tell()), (whole(rate), due(0), None), "{text}");
            b.hear(told, at(900));
            assert_eq!(a.due, b.due, "{text}");
        }
        // Twice the budget was spent, and both know it: nothing passes for as long as one of them takes.
        let rate = rate("50/1h");
        let (mut a, mut b) = (Node::default(), Node::default());
        a.burst(rate, at(0), 50);
        b.burst(rate, at(0), 50);
        let (of_a, of_b) = (a.tell().unwrap(), b.tell().unwrap());
        a.hear(of_b, at(1_000));
        b.hear(of_a, at(1_000));
        assert_eq!((a.due, b.due), (due(7_200_000), due(7_200_000)));
        let over = spend(a.due, rate, at(1_000)).unwrap_err();
        let passes = at(1_000 + i64::try_from(over.retry_after).unwrap() * 1_000);
        assert!(spend(a.due, rate, passes).is_ok() && spend(a.due, rate, at(3_600_000)).is_err());
    }

    #[test]
    fn what_was_worked_off_before_it_was_heard_of_is_not_owed() {
        let rate = rate("100/1s");
        let (mut a, mut b) = (Node::default(), Node::default());
        a.burst(rate, at(0), 50);
        // Paid back at 500; here something is spent only after that.
        b.burst(rate, at(900), 60);
        let before = b.due;
        b.hear(a.tell().unwrap(), at(1_000));
        assert_eq!(b.due, before, "all of it was worked off");
        // Half of it was.
        let (mut a, mut b) = (Node::default(), Node::default());
        a.burst(rate, at(0), 50);
        b.burst(rate, at(250), 60);
        b.hear(a.tell().unwrap(), at(1_000));
        assert_eq!(b.due, due(250 + 600 + 250));
        // A third node of the same instant is not worked off in the time before it.
        let told = Told { spent: 300_000_000, began: due(250) };
        b.hear(told, at(1_000));
        assert_eq!(b.due, due(250 + 600 + 250 + 300));
    }

    #[test]
    fn what_is_old_counts_less_and_what_cannot_be_does_no_harm() {
        let mut b = Node::default();
        b.hear(Told { spent: 5_000_000_000, began: due(-3_000) }, at(0));
        // Three of the five were worked off; of one of these nobody knows whether anything else was owed.
        assert_eq!(b.due, due(1_000));
        for told in [
            Told { spent: u64::MAX, began: Due(u64::MAX) },
            Told { spent: u64::MAX, began: Due(0) },
            Told { spent: 0, began: due(0) },
        ] {
            let mut b = Node::default();
            b.hear(told, at(0));
            let over = spend(b.due, rate("1/1s"), at(0));
            assert!(over.map_or_else(|over| over.retry_after, |_| 0) <= 2, "{told:?}");
        }
    }

    #[test]
    fn what_could_not_be_told_is_told_the_next_time() {
        let rate = rate("50/1h");
        let mut a = Node::default();
        a.burst(rate, at(0), 2);
        let told = a.tell().unwrap();
        a.burst(rate, at(1_000), 1);
        a.recent.untold(told);
        assert_eq!(a.recent.tell(), Some(Told { spent: 3 * 72_000_000_000, began: due(0) }));
        a.recent.untold(told);
        assert_eq!(a.recent.tell(), Some(told));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_024, ..ProptestConfig::default() })]

        /// Several nodes, each of which tells the others once a second what reaches them up to a second later, beside one
        /// budget that knows of everything at once.
        #[test]
        fn never_more_is_owed_than_was_spent_and_what_is_spent_all_the_time_is_owed(
            nodes in 2usize..5,
            requests in 1u32..60,
            secs in 1i64..120,
            delay in 0i64..1_000,
            steps in proptest::collection::vec((0i64..700, 0usize..5, 1u32..40), 1..120),
        ) {
            let rate = Rate { requests, time: Span::secs(secs) };
            let mut all: Vec<Node> = vec![Node::default(); nodes];
            let (mut sum, mut passed) = (Due::default(), 0u64);
            let mut way: Vec<(i64, usize, Told)> = Vec::new();
            let mut now = 0i64;
            for (pause, which, count) in steps {
                for _ in 0..pause {
                    now += 1;
                    // Each has a millisecond of its own in the second.
                    for (from, node) in all.iter_mut().enumerate() {
                        if now % 1_000 == i64::try_from(from * 211).unwrap() && let Some(told) = node.tell() {
                            way.push((now + delay, from, told));
                        }
                    }
                    for (_, from, told) in way.extract_if(.., |(due, ..)| *due <= now) {
                        for (to, node) in all.iter_mut().enumerate() {
                            if to != from {
                                node.hear(told, at(now));
                            }
                        }
                    }
                }
                let (len, clock) = (all.len(), Due::at(at(now)).0);
                let node = &mut all[which % len];
                for _ in 0..count {
                    let before = node.due;
                    if node.spend(rate, at(now)).is_some() {
                        let paid = node.due.0 - before.0.max(clock);
                        sum = Due(sum.0.max(clock) + paid);
                        passed += 1;
                    } else {
                        // Refused here: the sum of all that passed anywhere has no room either.
                        prop_assert!(spend(sum, rate, at(now)).is_err(), "at {now}");
                    }
                }
                for node in &all {
                    prop_assert!(node.due.0.saturating_sub(clock) <= sum.0.saturating_sub(clock), "at {now}");
                }
            }
            // Each node gives one budget away before it hears of the others, and what comes back meanwhile.
            let price = whole(rate) / u64::from(requests);
            let back = |ms: i64| u64::try_from(ms).unwrap() * 1_000_000 / price + 1;
            let most = u64::try_from(nodes).unwrap() * (u64::from(requests) + back(4_000)) + back(now);
            prop_assert!(passed <= most, "{passed} passed of {most}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        /// Who asks everybody as fast as they can gets, in the long run, what comes back, and not that for each node.
        #[test]
        fn whoever_never_rests_gets_one_budget(nodes in 2usize..5, requests in 10u32..200, secs in 2i64..20) {
            let rate = Rate { requests, time: Span::secs(secs) };
            let mut all = vec![Node::default(); nodes];
            let mut passed = 0usize;
            let (begin, end) = (secs * 5_000, secs * 25_000);
            for now in (0..end).step_by(20) {
                for node in &mut all {
                    let more = node.burst(rate, at(now), 20);
                    if now >= begin {
                        passed += more;
                    }
                }
                if now % 1_000 == 980 {
                    let told: Vec<_> = all.iter_mut().map(Node::tell).collect();
                    for (to, node) in all.iter_mut().enumerate() {
                        for (from, told) in told.iter().enumerate() {
                            if let Some(told) = told.filter(|_| from != to) {
                                node.hear(told, at(now));
                            }
                        }
                    }
                }
            }
            let fair = usize::try_from(requests).unwrap() * 20;
            // Each burst of a second is owed afterwards.
            prop_assert!(passed <= fair + fair / 5 + nodes * 8, "{passed}, fair would be {fair}");
        }
    }
}
