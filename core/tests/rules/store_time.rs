//! Whose time it is: what the store said, as well as it is known.

use handstamp_core::offline::clock::Tick;
use handstamp_core::store_time::{Offset, StoreTime};
use handstamp_core::time::Millis;

/// One measurement, all in milliseconds: what the store said, when it was asked, when that was heard.
type Said = (i64, i64, i64);

/// What a story of measurements comes to, as the store's time when the last of them was heard, in microseconds beyond that
/// which it said.
fn ahead(story: &[Said]) -> i64 {
    let mut time = StoreTime::default();
    let mut last = Offset(0);
    for (told, asked, heard) in story {
        last = time.measured(Millis(*told), Tick(asked * 1_000), Tick(heard * 1_000));
    }
    let (told, _, heard) = story[story.len() - 1];
    last.0 + heard * 1_000 - told * 1_000
}

#[test]
fn the_best_of_the_last_few_counts() {
    let stories: &[(&str, &[Said], i64)] = &[
        // A time in milliseconds is half a millisecond old on average.
        ("at once", &[(5_000, 100, 100)], 500),
        ("half of the way is the way back", &[(5_000, 100, 140)], 20_500),
        ("a better one later", &[(5_000, 100, 140), (5_250, 360, 362)], 1_500),
        // 5,000 was said at 101 or so, so at 700 it is 5,599 or so.
        ("a worse one later changes nothing", &[(5_000, 100, 102), (5_300, 300, 700)], 299_500),
        ("as good a one later is newer", &[(5_000, 100, 102), (5_251, 350, 352)], 1_500),
        // The store is another one, a minute ahead or behind.
        ("it was set ahead", &[(5_000, 100, 102), (65_250, 350, 400)], 25_500),
        ("it was set back", &[(65_000, 100, 102), (5_250, 350, 400)], 25_500),
    ];
    for (name, story, expected) in stories {
        assert_eq!(ahead(story), *expected, "{name}");
    }
}

#[test]
fn what_is_long_ago_is_not_looked_at() {
    let mut time = StoreTime::default();
    time.measured(Millis(5_000), Tick(0), Tick(0));
    let mut last = Offset(0);
    for n in 1..=8 {
        // All of them know little, and agree with the first.
        last = time.measured(Millis(5_000 + n * 250 - 50), Tick(n * 250_000 - 100_000), Tick(n * 250_000));
    }
    assert_eq!(last.at(Tick(2_000_000)), Millis(7_000));
    assert_eq!(last.0, 5_000_500, "of eight alike the newest");
}

/// Clocks drift: an hour later what was measured then is not taken for a contradiction, nor for the truth.
#[test]
fn clocks_may_drift() {
    let mut time = StoreTime::default();
    time.measured(Millis(5_000), Tick(0), Tick(0));
    let hour = 3_600_000_000;
    let later = time.measured(Millis(5_000 + 3_600_000 + 1_000), Tick(hour), Tick(hour + 2_000));
    // One part in 2,000 of an hour is 1.8 s: both may be true, and the first was measured better, but long ago.
    assert_eq!(later.at(Tick(hour + 2_000)), Millis(3_606_001));
    let second = time.measured(Millis(5_000 + 3_600_000 + 1_001), Tick(hour), Tick(hour + 40_000));
    assert_eq!(second, later, "measured a moment ago, and better");
    let much_later = time.measured(Millis(5_000 + 3_600_000 + 3_000), Tick(hour), Tick(hour + 2_000));
    assert_eq!(much_later.at(Tick(hour + 2_000)), Millis(3_608_001));
}

#[test]
fn a_time_at_a_reading() {
    assert_eq!(Offset(5_000_500).at(Tick(0)), Millis(5_000));
    assert_eq!(Offset(5_000_500).at(Tick(500)), Millis(5_001));
    assert_eq!(Offset(-1).at(Tick(0)), Millis(-1));
}
