//! A key is handed over as somebody says it who counts both delays from now: when the new key begins, and when the keys
//! before it end. [`rotation`](super::rotation) counts the second one from the last signature of the old key; this says what the one
//! means in the other's terms, and reads from the keys afterwards what came of it.

use super::rotation::least_retire_in;
use super::{Job, LONGEST_DELAY, TokenKey};
use crate::time::{Millis, Span};

/// What whoever hands over asks for. Both 0: the keys that there are are in wrong hands, and end at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handover {
    /// Which key is to be replaced.
    pub job: Job,
    /// From now to the first signature of the new key, which is published now.
    pub begin_in: Span,
    /// From now to the end of the keys that there are.
    pub end_in: Span,
}

/// The same as a rotation says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delays {
    /// From publishing to the first use.
    pub activate_in: Span,
    /// From the last use of the old key to its end.
    pub retire_in: Span,
    /// The old keys are in wrong hands.
    pub emergency: bool,
}

/// Delays that do not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Misfit {
    /// One is below 0, or longer than [`LONGEST_DELAY`].
    OutOfRange,
    /// The old keys would end before the new one begins: nothing would sign in between.
    Gap,
    /// Tokens that are out would be refused before their end.
    TooShort {
        /// The least that `end_in` may be beside this `begin_in`.
        least: Span,
    },
}

impl Handover {
    /// What it means as a rotation; `longest_token` is the longest life of a token under the policy in force.
    ///
    /// # Errors
    /// [`Misfit`]. What a rotation refuses beside that, it says itself.
    pub fn delays(&self, longest_token: Span) -> Result<Delays, Misfit> {
        let Handover { begin_in, end_in, .. } = *self;
        if [begin_in, end_in].iter().any(|delay| *delay < Span(0) || *delay > LONGEST_DELAY) {
            return Err(Misfit::OutOfRange);
        }
        if begin_in == Span(0) && end_in == Span(0) {
            return Ok(Delays { activate_in: Span(0), retire_in: Span(0), emergency: true });
        }
        let Some(retire_in) = end_in.0.checked_sub(begin_in.0).filter(|left| *left >= 0).map(Span) else {
            return Err(Misfit::Gap);
        };
        let least = least_retire_in(longest_token);
        if retire_in < least {
            return Err(Misfit::TooShort { least: Span(begin_in.0.saturating_add(least.0)) });
        }
        Ok(Delays { activate_in: begin_in, retire_in, emergency: false })
    }
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HandedOver {
    /// From then on the new key signs.
    pub begins_at: Millis,
    /// From then on no key that was there before it verifies anything. That of keys that were replaced earlier is not put
    /// off by a later handover, nor brought forward by anything but an emergency: so this is the end of the last of them, and
    /// not before the time that was asked for.
    pub others_end_at: Millis,
}

/// When the key `kid` begins, and when those that were made before it end: as the keys say it, not as somebody meant it. `None`
/// without this key.
pub fn handed_over(keys: &[TokenKey], kid: &str) -> Option<HandedOver> {
    let new = keys.iter().find(|key| &*key.kid == kid)?;
    let others = keys.iter().filter(|key| key.job == new.job && key.kid != new.kid);
    let ends = others.filter_map(|key| key.life.remove_at);
    // Without any, or with such as are gone long since, nothing is left to end.
    let others_end_at = ends.chain([new.life.created_at]).max()?;
    Some(HandedOver { begins_at: new.life.activate_at, others_end_at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing::{Ask, Life, rotate};

    const DAY: i64 = 86_400_000;

    fn asked(begin_in: i64, end_in: i64) -> Handover {
        Handover { job: Job::Rs256, begin_in: Span(begin_in), end_in: Span(end_in) }
    }

    #[test]
    fn delays_on_both_sides_of_every_boundary() {
        let good = |activate_in, retire_in| {
            Ok(Delays { activate_in: Span(activate_in), retire_in: Span(retire_in), emergency: false })
        };
        let short = |least| Err(Misfit::TooShort { least: Span(least) });
        let most = LONGEST_DELAY.0;
        // Tokens live for five minutes at most, and a minute is for clocks.
        for (begin_in, end_in, said) in [
            (0, 0, Ok(Delays { activate_in: Span(0), retire_in: Span(0), emergency: true })),
            (0, 1, short(360_000)),
            (0, 359_999, short(360_000)),
            (0, 360_000, good(0, 360_000)),
            (1, 0, Err(Misfit::Gap)),
            (1, 1, short(360_001)),
            (600_000, 599_999, Err(Misfit::Gap)),
            (600_000, 600_000, short(960_000)),
            (600_000, 959_999, short(960_000)),
            (600_000, 960_000, good(600_000, 360_000)),
            (DAY, 3 * DAY, good(DAY, 2 * DAY)),
            (0, most, good(0, most)),
            (0, most + 1, Err(Misfit::OutOfRange)),
            (most - 360_000, most, good(most - 360_000, 360_000)),
            (most, most, short(most + 360_000)),
            (most + 1, most + 1, Err(Misfit::OutOfRange)),
            (-1, 0, Err(Misfit::OutOfRange)),
            (0, -1, Err(Misfit::OutOfRange)),
            (i64::MIN, i64::MAX, Err(Misfit::OutOfRange)),
        ] {
            assert_eq!(asked(begin_in, end_in).delays(Span::minutes(5)), said, "{begin_in}, {end_in}");
        }
        assert_eq!(asked(0, DAY + 59_999).delays(Span::days(1)), short(DAY + 60_000));
        assert_eq!(asked(0, DAY + 60_000).delays(Span::days(1)), good(0, DAY + 60_000));
    }

    /// The keys as a handover at `now` leaves them.
    fn after(keys: &[TokenKey], kid: &str, now: i64, handover: Handover) -> Vec<TokenKey> {
        let longest_token = Span::minutes(5);
        let Delays { activate_in, retire_in, emergency } = handover.delays(longest_token).unwrap();
        let (activate_in, retire_in) = (Some(activate_in), Some(retire_in));
        let ask = Ask { job: handover.job, activate_in, retire_in, emergency, longest_token };
        rotate(keys, Millis(now), &ask).unwrap().apply(keys, kid.into(), Box::new([1]))
    }

    fn told(keys: &[TokenKey], kid: &str) -> (i64, i64) {
        let HandedOver { begins_at, others_end_at } = handed_over(keys, kid).unwrap();
        (begins_at.0, others_end_at.0)
    }

    /// Whether any key but `kid` verifies at an instant.
    fn others_verify(keys: &[TokenKey], kid: &str, at: i64) -> bool {
        keys.iter().any(|key| key.job == Job::Rs256 && &*key.kid != kid && key.life.verifies(Millis(at)))
    }

    #[test]
    fn what_is_told_is_true_of_every_key_that_was_there() {
        let key = |kid: &str, job| TokenKey {
            kid: kid.into(),
            job,
            life: Life::new(Millis(0), Millis(0)),
            sealings: 0,
            wrapped: Box::new([1]),
        };
        let first = vec![key("x", Job::EdDsa), key("a", Job::Rs256)];
        let now = 1_000_000;
        // One key before: its end is what was asked for.
        let keys = after(&first, "b", now, asked(600_000, 960_000));
        assert_eq!(told(&keys, "b"), (now + 600_000, now + 960_000));
        assert!(others_verify(&keys, "b", now + 959_999) && !others_verify(&keys, "b", now + 960_000));
        // The one before that ends earlier by itself, and stays with it.
        let soon = now + 700_000;
        let keys = after(&keys, "c", soon, asked(0, 400_000));
        assert_eq!(told(&keys, "c"), (soon, soon + 400_000));
        assert!(others_verify(&keys, "c", soon + 399_999) && !others_verify(&keys, "c", soon + 400_000));
        // One that was promised a later end than is asked for now keeps it, and that is what is told.
        let long = after(&first, "b", now, asked(0, DAY));
        let keys = after(&long, "c", now + 1_000, asked(0, 360_000));
        assert_eq!(told(&keys, "c"), (now + 1_000, now + DAY));
        assert!(others_verify(&keys, "c", now + DAY - 1) && !others_verify(&keys, "c", now + DAY));
        // In an emergency none keeps anything; a key that waits goes, too.
        let waiting = after(&long, "c", now + 1_000, asked(60_000, 2 * DAY));
        for before in [&keys, &waiting] {
            let keys = after(before, "d", now + 5_000, asked(0, 0));
            assert_eq!(told(&keys, "d"), (now + 5_000, now + 5_000));
            assert!(!others_verify(&keys, "d", now + 5_000));
        }
        // Where there was none, none ends; keys of another job do not count.
        assert_eq!(told(&after(&[], "b", now, asked(7, 360_007)), "b"), (now + 7, now));
        assert_eq!(told(&after(&first[..1], "b", now, asked(0, 0)), "b"), (now, now));
        assert_eq!(handed_over(&first, "b"), None);
    }
}
