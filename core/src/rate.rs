//! How often somebody may ask: the generic cell rate algorithm (GCRA) over one number a subject.
//!
//! That number is the instant at which everything the subject has spent is paid back ([`Due`]). A request costs the
//! time that a budget takes per request, and passes while what is owed fits into the whole budget. So a rested budget
//! can be spent at once and comes back evenly, no window begins or ends at any hour, and nothing needs to be counted.

//!
//! Several nodes tell each other what was spent with them: [`shared`]. Who spends: [`names`].

use crate::policy::modes::Rate;
use crate::time::Millis;

pub mod names;
pub mod shared;

pub use names::{Names, Payer, canonical};

/// When everything that was spent is paid back: nanoseconds since 1970, because a budget of thousands a second has a
/// price below a millisecond. From that instant on it is worth as much as none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Due(pub u64);

/// What a budget looks like from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// How many requests the whole budget is.
    pub limit: u32,
    /// How many of them could be spent now.
    pub remaining: u32,
    /// When the whole budget is there again if nothing more is spent: Unix seconds, rounded up.
    pub reset: u64,
}

/// A request that the budget does not cover.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Over {
    /// The budget, of which nothing was taken.
    pub standing: Standing,
    /// Seconds after which one request passes, if nothing is spent meanwhile; rounded up, at least 1.
    pub retry_after: u64,
}

const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;

impl Due {
    /// The instant in nanoseconds; before 1970 and after 2554 it saturates.
    pub fn at(now: Millis) -> Due {
        Due(u64::try_from(now.0).unwrap_or(0).saturating_mul(MILLISECOND))
    }
}

/// What one request costs, in nanoseconds. Rounded down, so that a budget is whole again after its time at the latest.
fn price(rate: Rate) -> u64 {
    let time = u64::try_from(rate.time.0).unwrap_or(0).saturating_mul(MILLISECOND);
    (time / u64::from(rate.requests.max(1))).max(1)
}

/// The whole budget, in nanoseconds.
fn whole(rate: Rate) -> u64 {
    price(rate).saturating_mul(u64::from(rate.requests.max(1)))
}

/// What is owed at most: two whole budgets, one that was spent here, and one that was spent on another node before this one
/// heard of it. What is beyond that is forgiven: it is of a rate for a longer time, or of a clock that was wrong.
pub fn bounded(due: Due, rate: Rate, now: Millis) -> Due {
    due.min(Due(Due::at(now).0.saturating_add(whole(rate).saturating_mul(2))))
}

/// Spends one request of a budget. `due` is what was stored for the subject, or [`Due::default`].
///
/// The rate may be another one than last time: what is owed is a time, so of a budget that was half spent half is
/// spent under the new rate, too, if both are for the same time. Nobody owes more than [`bounded`] says.
///
/// # Errors
/// [`Over`]: nothing is spent, and nothing is to be stored but [`bounded`].
pub fn spend(due: Due, rate: Rate, now: Millis) -> Result<(Due, Standing), Over> {
    let due = bounded(due, rate, now);
    let (price, whole, now) = (price(rate), whole(rate), Due::at(now).0);
    let owed = due.0.saturating_sub(now);
    let after = owed.saturating_add(price);
    let standing = |owed: u64| Standing {
        limit: rate.requests,
        remaining: u32::try_from(whole.saturating_sub(owed) / price).unwrap_or(u32::MAX),
        reset: now.saturating_add(owed).div_ceil(SECOND),
    };
    if after > whole {
        let wait = (after - whole).div_ceil(SECOND);
        return Err(Over { standing: standing(owed), retry_after: wait });
    }
    Ok((Due(now.saturating_add(after)), standing(after)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Millis = Millis(1_767_225_600_000); // 2026-01-01, a whole second

    fn rate(text: &str) -> Rate {
        Rate::parse(text).unwrap()
    }

    /// Spends `n` at one instant; the last outcome.
    fn burst(due: &mut Due, rate: Rate, now: Millis, n: u32) -> Result<Standing, Over> {
        let mut last = Err(Over { standing: Standing { limit: 0, remaining: 0, reset: 0 }, retry_after: 0 });
        for _ in 0..n {
            last = spend(*due, rate, now).map(|(next, standing)| {
                *due = next;
                standing
            });
        }
        last
    }

    fn at(ms: i64) -> Millis {
        Millis(NOW.0 + ms)
    }

    fn second(ms: i64) -> u64 {
        u64::try_from(at(ms).0).unwrap().div_ceil(1_000)
    }

    #[test]
    fn a_rested_budget_can_be_spent_at_once_and_not_one_more() {
        for text in ["1/1s", "3/1s", "7/1h", "50/1h", "15000/1h", "1000/1s", "999/250s", "1/1d"] {
            let (rate, mut due) = (rate(text), Due::default());
            for n in 0..rate.requests {
                let (next, standing) = spend(due, rate, NOW).unwrap();
                assert_eq!(standing.limit, rate.requests, "{text}");
                assert_eq!(standing.remaining, rate.requests - 1 - n, "{text}");
                due = next;
            }
            let over = spend(due, rate, NOW).unwrap_err();
            assert_eq!(over.standing.remaining, 0, "{text}");
            assert_eq!(over.standing.reset, second(rate.time.0), "{text}");
            // After its whole time everything is there again, also where the price is no whole number.
            let later = at(rate.time.0);
            assert_eq!(burst(&mut due, rate, later, rate.requests).unwrap().remaining, 0, "{text}");
            assert!(spend(due, rate, later).is_err(), "{text}");
        }
    }

    #[test]
    fn a_request_comes_back_at_its_instant_and_not_a_millisecond_before() {
        // (rate, price in ms)
        for (text, price) in
            [("15000/1h", 240), ("50/1h", 72_000), ("1/1s", 1_000), ("60/1m", 1_000), ("1/1d", 86_400_000)]
        {
            let (rate, mut due) = (rate(text), Due::default());
            burst(&mut due, rate, NOW, rate.requests).unwrap();
            let early = spend(due, rate, at(price - 1)).unwrap_err();
            assert_eq!((early.retry_after, early.standing.remaining), (1, 0), "{text}");
            let (spent, standing) = spend(due, rate, at(price)).unwrap();
            assert_eq!(standing.remaining, 0, "{text}");
            assert!(spend(spent, rate, at(price)).is_err(), "{text}");
            assert_eq!(
                spend(due, rate, at(2 * price)).unwrap().1.remaining,
                u32::from(rate.requests > 1),
                "{text}"
            );
        }
    }

    #[test]
    fn waiting_as_long_as_was_said_is_enough_and_a_second_less_is_not() {
        for (text, said) in
            [("15000/1h", 1), ("50/1h", 72), ("7/1h", 515), ("3/1s", 1), ("2/3s", 2), ("1/1d", 86_400)]
        {
            let (rate, mut due) = (rate(text), Due::default());
            burst(&mut due, rate, NOW, rate.requests).unwrap();
            let over = spend(due, rate, NOW).unwrap_err();
            assert_eq!(over.retry_after, said, "{text}");
            let wait = i64::try_from(said).unwrap() * 1_000;
            assert!(spend(due, rate, at(wait)).is_ok(), "{text}");
            assert!(said == 1 || spend(due, rate, at(wait - 1_000)).is_err(), "{text}");
        }
    }

    #[test]
    fn reset_is_when_all_is_paid_back_in_whole_seconds() {
        let rate = rate("15000/1h");
        let (due, one) = spend(Due::default(), rate, NOW).unwrap();
        assert_eq!(one.reset, second(240));
        assert_eq!(one.reset, second(1_000));
        let (_, two) = spend(due, rate, at(100)).unwrap();
        assert_eq!(two.remaining, 14_998);
        // What is owed already is nothing once its instant has come.
        assert_eq!(spend(due, rate, at(239)).unwrap().1.remaining, 14_998);
        assert_eq!(spend(due, rate, at(240)).unwrap().1.remaining, 14_999);
        assert_eq!(spend(due, rate, at(3_600_000)).unwrap().1.reset, second(3_601_000));
    }

    #[test]
    fn a_refusal_takes_nothing() {
        let (rate, mut due) = (rate("50/1h"), Due::default());
        burst(&mut due, rate, NOW, 50).unwrap();
        let before = due;
        assert!(burst(&mut due, rate, at(10), 1_000).is_err());
        assert_eq!(due, before);
        assert!(spend(due, rate, at(72_000)).is_ok());
    }

    #[test]
    fn a_changed_rate_takes_the_share_that_was_spent_along() {
        // The same time: half of one budget is half of the other.
        let mut due = Due::default();
        assert_eq!(burst(&mut due, rate("1000/1h"), NOW, 500).unwrap().remaining, 500);
        assert_eq!(spend(due, rate("10/1h"), NOW).unwrap().1.remaining, 4);
        assert_eq!(spend(due, rate("20000/1h"), NOW).unwrap().1.remaining, 9_999);
        // All of one is all of the other.
        assert_eq!(burst(&mut due, rate("1000/1h"), NOW, 500).unwrap().remaining, 0);
        assert_eq!(spend(due, rate("10/1h"), NOW).unwrap_err().retry_after, 360);
        assert!(spend(due, rate("1000000/1h"), NOW).is_err());
        assert!(spend(due, rate("1000000/1h"), at(4)).is_ok());
        // A shorter time: two whole budgets of it are owed and no more, although an hour was; and what was said is enough.
        let over = spend(due, rate("10/1m"), NOW).unwrap_err();
        assert_eq!((over.retry_after, over.standing.reset), (66, second(120_000)));
        let forgiven = bounded(due, rate("10/1m"), NOW);
        assert!(spend(forgiven, rate("10/1m"), at(65_999)).is_err());
        assert!(spend(forgiven, rate("10/1m"), at(66_000)).is_ok());
        // And back again nothing was forgiven, unless somebody stored that.
        assert!(spend(due, rate("1000/1h"), NOW).is_err());
        // A longer time: a spent minute is a minute of the day.
        let mut due = Due::default();
        burst(&mut due, rate("60/1m"), NOW, 60).unwrap();
        assert_eq!(spend(due, rate("1440/1d"), NOW).unwrap().1.remaining, 1_438);
    }

    #[test]
    fn the_extremes_neither_overflow_nor_divide_by_zero() {
        for text in ["4294967295/1s", "4294967295/1d", "1/1s", "1/1d"] {
            for now in [Millis(i64::MIN), Millis(-1), Millis(0), Millis(i64::MAX)] {
                for due in [Due(0), Due(1), Due(u64::MAX)] {
                    let rate = rate(text);
                    let standing =
                        spend(due, rate, now).map_or_else(|over| over.standing, |(_, standing)| standing);
                    assert!(standing.remaining <= rate.requests, "{text} {now:?} {due:?}");
                }
            }
        }
        assert_eq!(price(rate("4294967295/1s")), 1);
        // A debt from far in the future, as after a clock that was wrong, is two budgets and not for ever.
        assert_eq!(spend(Due(u64::MAX), rate("50/1h"), NOW).unwrap_err().retry_after, 3_672);
    }

    /// A bucket that holds tokens, each in `time` parts, and gets `requests` parts every millisecond.
    struct Bucket {
        parts: i128,
        at: Millis,
    }

    impl Bucket {
        fn take(&mut self, rate: Rate, now: Millis) -> Option<i128> {
            let (requests, time) = (i128::from(rate.requests), i128::from(rate.time.0));
            self.parts = (self.parts + i128::from(now.0 - self.at.0) * requests).min(requests * time);
            self.at = now;
            (self.parts >= time).then(|| {
                self.parts -= time;
                self.parts / time
            })
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

        #[test]
        fn it_is_a_bucket_of_tokens(
            requests in 1u32..40,
            price in 30i64..3_000,
            steps in proptest::collection::vec((0i64..4_000, 1u32..30), 1..60),
        ) {
            let time = crate::time::Span::millis(price * i64::from(requests));
            let (rate, mut due) = (Rate { requests, time }, Due::default());
            let mut bucket = Bucket { parts: i128::from(requests) * i128::from(time.0), at: NOW };
            let mut now = NOW;
            for (pause, count) in steps {
                now = Millis(now.0 + pause);
                for _ in 0..count {
                    match (spend(due, rate, now), bucket.take(rate, now)) {
                        (Ok((next, standing)), Some(left)) => {
                            prop_assert_eq!(i128::from(standing.remaining), left);
                            due = next;
                        }
                        (Err(over), None) => prop_assert_eq!(over.standing.remaining, 0),
                        (ours, theirs) => prop_assert!(false, "{:?} and {:?} at {:?}", ours.is_ok(), theirs, now),
                    }
                }
            }
        }

        #[test]
        fn no_time_lets_more_through_than_a_budget_and_what_came_back(
            requests in 1u32..2_000,
            secs in 1i64..86_400,
            pauses in proptest::collection::vec(0i64..5_000, 1..400),
        ) {
            let rate = Rate { requests, time: crate::time::Span::secs(secs) };
            let (mut due, mut now, mut passed) = (Due::default(), NOW, 0u64);
            for pause in pauses {
                now = Millis(now.0 + pause);
                match spend(due, rate, now) {
                    Ok((next, _)) => {
                        due = next;
                        passed += 1;
                    }
                    Err(over) => {
                        prop_assert!(over.retry_after >= 1);
                        let wait = Millis(now.0 + i64::try_from(over.retry_after).unwrap() * 1_000);
                        prop_assert!(spend(due, rate, wait).is_ok());
                    }
                }
            }
            let elapsed = u64::try_from(now.0 - NOW.0).unwrap() * MILLISECOND;
            prop_assert!(passed <= u64::from(requests) + elapsed / price(rate));
        }
    }
}
