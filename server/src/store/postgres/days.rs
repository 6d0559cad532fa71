//! On which day a record that rests may be forgotten: the name of the partition it lies in.

use super::super::Millis;

/// A day, in milliseconds.
pub(super) const DAY: i64 = 86_400_000;
/// How many partitions lie ahead before they get longer.
const NEAR: i64 = 64;
/// Days from 1970 on that have a partition: up to the year 4840. What is to be kept for longer is swept row by row.
const LAST: i64 = 1 << 20;

/// The partition of a record that may be forgotten at `forget_at`, seen from `now`: all that is in it may be forgotten
/// when that many days have passed since 1970. Farther off the days are rounded up, to even ones, to every fourth and so
/// on, so that records that are kept for a fixed time make about 70 partitions however long that is, and lie there for at
/// most a thirty-second part longer than they must. `None`: it is too far off for a partition.
pub fn day_of(forget_at: Millis, now: Millis) -> Option<i32> {
    let whole = |at: i64| at.div_euclid(DAY) + i64::from(at.rem_euclid(DAY) > 0);
    let day = whole(forget_at.0).max(1);
    let ahead = day.saturating_sub(whole(now.0));
    let mut step = 1;
    while ahead / step > NEAR && step < LAST {
        step *= 2;
    }
    let day = day.checked_add(step - 1)? / step * step;
    if day > LAST { None } else { i32::try_from(day).ok() }
}

/// The instant at which all of a day's partition may be forgotten.
pub(super) fn end_of(day: i32) -> Millis {
    Millis(i64::from(day) * DAY)
}
