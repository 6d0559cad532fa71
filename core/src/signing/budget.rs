//! How often a data key may seal. AES-GCM with random 96-bit nonces stays safe up to 2^32 sealings under one key (NIST
//! SP 800-38D, 8.3). A key is given half of that, so that a store that was once put back to an earlier copy, and counts
//! again what it had counted before, does not pass the limit either.
//!
//! A node takes sealings in blocks, and uses a block only once it is written down that it is taken: what a crash leaves
//! unused is lost, and nothing is used twice.

use super::{Job, Life, Plan, RETIRE_IN, State, TokenKey, active, pending};
use crate::time::Millis;

/// How much a key may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// The most sealings of one key.
    pub most: u64,
    /// How many a node takes at once.
    pub block: u64,
}

/// What somebody who wants to seal gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reserve {
    /// Sealings of the active key.
    Take {
        /// Which.
        kid: Box<str>,
        /// How many, at least 1; they are counted in the keys that come with it.
        sealings: u64,
        /// Half of the budget is spent and no key waits: time for a rotation.
        rotate: bool,
    },
    /// The key that waits is to begin now.
    Advance,
    /// There is no key that may seal: one is to be made that does so at once.
    Replace,
}

impl Budget {
    /// Half of what NIST allows; a million at once.
    pub const USUAL: Budget = Budget { most: 1 << 31, block: 1 << 20 };
}

/// What to do for somebody who wants to seal.
pub fn reserve(keys: &[TokenKey], now: Millis, budget: Budget) -> Reserve {
    let waiting = pending(keys, Job::Data, now);
    let left = active(keys, Job::Data, now)
        .map(|key| (key, budget.most.saturating_sub(key.sealings).min(budget.block)))
        .filter(|(_, left)| *left > 0);
    match (left, waiting) {
        (Some((key, sealings)), _) => Reserve::Take {
            kid: key.kid.clone(),
            sealings,
            rotate: waiting.is_none() && key.sealings.saturating_add(sealings) >= budget.most / 2,
        },
        (None, Some(_)) => Reserve::Advance,
        (None, None) => Reserve::Replace,
    }
}

/// The keys with `sealings` more of one key handed out.
#[must_use]
pub fn count(keys: &[TokenKey], kid: &str, sealings: u64) -> Vec<TokenKey> {
    let mut keys = keys.to_vec();
    let taken = keys.iter_mut().filter(|key| &*key.kid == kid);
    taken.for_each(|key| key.sealings = key.sealings.saturating_add(sealings));
    keys
}

/// The keys with the one that waits in use from now on, and the one before it no longer.
#[must_use]
pub fn advance(keys: &[TokenKey], now: Millis) -> Vec<TokenKey> {
    let next = pending(keys, Job::Data, now).map(|key| key.kid.clone());
    let change = |key: &TokenKey| {
        let mut key = key.clone();
        if Some(&key.kid) == next.as_ref() {
            key.life.activate_at = now;
        } else if next.is_some() && key.job == Job::Data && key.life.state(now) == State::Active {
            key.life.retire_at = Some(now);
            key.life.remove_at = key.life.remove_at.or(Some(now.plus(RETIRE_IN)));
        }
        key
    };
    keys.iter().map(change).collect()
}

/// The plan for a key that has to seal at once.
pub fn replace(now: Millis) -> Plan {
    Plan::at_once(Job::Data, now)
}

/// A life for the first key of a job, which nobody waits for.
pub const fn first(now: Millis) -> Life {
    Life::new(now, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing::{Ask, rotate};
    use crate::time::Span;

    const SMALL: Budget = Budget { most: 10, block: 4 };

    fn key(kid: &str, sealings: u64, life: Life) -> TokenKey {
        TokenKey { kid: kid.into(), job: Job::Data, life, sealings, wrapped: Box::new([1]) }
    }

    fn take(kid: &str, sealings: u64, rotate: bool) -> Reserve {
        Reserve::Take { kid: kid.into(), sealings, rotate }
    }

    #[test]
    fn blocks_end_with_the_budget_and_half_of_it_calls_for_the_next_key() {
        let now = Millis(5);
        for (used, said) in [
            (0, take("a", 4, false)),
            (1, take("a", 4, true)),
            (6, take("a", 4, true)),
            (8, take("a", 2, true)),
            (9, take("a", 1, true)),
            (10, Reserve::Replace),
            (11, Reserve::Replace),
        ] {
            assert_eq!(reserve(&[key("a", used, first(Millis(0)))], now, SMALL), said, "{used}");
        }
        let next = key("b", 0, Life::new(Millis(0), Millis(100)));
        let with_next = |used| [key("a", used, first(Millis(0))), next.clone()];
        assert_eq!(reserve(&with_next(8), now, SMALL), take("a", 2, false), "the next one waits already");
        assert_eq!(reserve(&with_next(10), now, SMALL), Reserve::Advance);
        assert_eq!(reserve(&[], now, SMALL), Reserve::Replace);
        let signing = TokenKey { job: Job::EdDsa, ..key("s", 0, first(Millis(0))) };
        assert_eq!(reserve(&[signing], now, SMALL), Reserve::Replace, "no other job's key seals");
    }

    #[test]
    fn the_next_key_begins_early_when_the_one_before_it_is_spent() {
        let keys = [key("a", 10, first(Millis(0)))];
        let ask = Ask {
            job: Job::Data,
            activate_in: Some(Span::days(30)),
            retire_in: None,
            emergency: false,
            longest_token: Span::minutes(5),
        };
        let keys = rotate(&keys, Millis(5), &ask).unwrap().apply(&keys, "b".into(), Box::new([2]));
        let now = Millis(7);
        let keys = advance(&keys, now);
        let states: Vec<State> = keys.iter().map(|key| key.life.state(now)).collect();
        assert_eq!(states, [State::VerifyOnly, State::Active]);
        let promised = Millis(5).plus(Span::days(30)).plus(RETIRE_IN);
        assert_eq!(
            keys.first().and_then(|key| key.life.remove_at),
            Some(promised),
            "what was promised stays"
        );
        assert_eq!(reserve(&keys, now, SMALL), take("b", 4, false));
        let lone = [key("a", 10, first(Millis(0)))];
        assert!(advance(&lone, now) == lone, "without a next one, nothing is taken away");
        const { assert!(Budget::USUAL.most * 2 == 1 << 32) };
    }

    #[test]
    fn nobody_gets_what_somebody_else_got() {
        let mut keys = vec![key("a", 0, first(Millis(0)))];
        let mut given = 0;
        for _ in 0..10 {
            if let Reserve::Take { kid, sealings, .. } = reserve(&keys, Millis(1), SMALL) {
                keys = count(&keys, &kid, sealings);
                given += sealings;
            }
        }
        assert_eq!((given, keys.first().map(|key| key.sealings)), (10, Some(10)));
        assert!(count(&keys, "other", 5) == keys);
    }
}
