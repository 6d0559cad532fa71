//! Whose time counts, and how old what is known of the server is.
//!
//! Two machines never agree on the time, so a token is judged by the clock that made it: the server's. The feed says it
//! (`as_of`) several times a second; in between, our own monotonic clock goes on from there. Neither a wall clock that is
//! wrong here nor one that is wrong there changes how old a word of the server is:
//!
//! * the first word on a connection was said after it was asked for, however long it was on its way;
//! * a later word was said as much later as it says, and never after it came. So what waits in a buffer, in a proxy or in a
//!   process that was stopped is as old as it is, although it has only just arrived.
//!
//! The server's time never goes back here: what was over stays over. If its clock is set back, time stands still until it has
//! caught up.

use crate::time::{Millis, Span};

/// A reading of a monotonic clock, in microseconds since anything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Tick(pub i64);

impl Tick {
    /// How long after `earlier` this is; zero when it is not after it.
    pub const fn since(self, earlier: Tick) -> Span {
        let micros = self.0.saturating_sub(earlier.0);
        if micros < 0 { Span(0) } else { Span(micros / 1_000) }
    }
    /// That much later.
    pub const fn plus(self, span: Span) -> Tick {
        Tick(self.0.saturating_add(span.0.saturating_mul(1_000)))
    }
}

/// Both clocks of this machine, read at the same moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// The monotonic one.
    pub tick: Tick,
    /// The wall clock.
    pub wall: Millis,
}

impl Reading {
    /// How long the monotonic clock stood still since `earlier`, as far as the wall clock shows it: a monotonic clock does not
    /// run while a machine sleeps or is restored from a snapshot, and what was heard before is older than it says. `None`: not
    /// longer than `bound`. A wall clock that was only set forward looks the same; it can add doubt here and never takes any away.
    pub fn stood_still(self, earlier: Reading, bound: Span) -> Option<Span> {
        let moved = self.wall.0.saturating_sub(earlier.wall.0);
        let further = moved.saturating_sub(self.tick.since(earlier.tick).0);
        (further > bound.0).then_some(Span(further))
    }
}

/// Words of a connection that are older than the bound when they come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OldWords {
    since: Option<Tick>,
}

impl OldWords {
    /// A word that is `age` old came at `now`. `true`: old words have been coming for more than half of the `bound`, as they do
    /// from a clock that was set back or a buffer that never empties; another connection has neither.
    pub fn hear(&mut self, age: Option<Span>, now: Tick, bound: Span) -> bool {
        if age.is_none_or(|age| age <= bound) {
            self.since = None;
            return false;
        }
        now.since(*self.since.get_or_insert(now)) > Span(bound.0 / 2)
    }
}

/// How long a connection is listened to before another takes its place: eight to ten minutes, by `random` (any number). A delay
/// on the way that grows slowly looks like clocks that drift apart, and only a new connection, which begins when it was
/// asked for, tells them apart. In this time it can hide no more than 300 ms.
pub fn renewal(random: u64) -> Span {
    let spread = i64::try_from(random % 120_000).unwrap_or(0);
    Span(Span::minutes(8).0 + spread)
}

/// Two clocks that run may drift apart by one part in this many: 500 ppm, the most that time services correct by.
const DRIFT: i64 = 2_000;

/// What is known of the server's time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerTime {
    /// Its last word,
    as_of: Millis,
    /// which was said no earlier than this.
    said: Tick,
    /// When it came, or was asked for.
    arrived: Tick,
    /// The first word of this connection: one that differs shows that the server's word moves. `None`: it has.
    first: Option<Millis>,
    /// When the newest word was said of which it is known that it was new then.
    proven: Option<Tick>,
    /// No instant before this is given any more.
    high: Millis,
}

impl ServerTime {
    /// The first word on a connection, on which it was asked for at `asked`.
    pub fn begin(before: Option<ServerTime>, asked: Tick, as_of: Millis) -> ServerTime {
        let high = before.map_or(as_of, |before| before.now(asked).max(as_of));
        // Until this connection has shown that it moves, what the last one said grows older.
        let proven = before.and_then(|before| before.proven);
        ServerTime { as_of, said: asked, arrived: asked, first: Some(as_of), proven, high }
    }

    /// The next word on the same connection.
    #[must_use]
    pub fn hear(self, as_of: Millis, arrived: Tick) -> ServerTime {
        let later = as_of.0.saturating_sub(self.as_of.0).saturating_mul(1_000);
        let slack = arrived.0.saturating_sub(self.arrived.0).max(0) / DRIFT;
        let said = Tick(self.said.0.saturating_add(later).saturating_add(slack)).min(arrived);
        let first = self.first.filter(|first| *first == as_of);
        let proven = if first.is_none() { Some(said) } else { self.proven };
        let next = ServerTime { as_of, said, arrived, first, proven, high: self.high };
        ServerTime { high: self.now(arrived).max(next.now(arrived)), ..next }
    }

    /// The server's time at `tick`; never before one that was given.
    pub fn now(&self, tick: Tick) -> Millis {
        self.reckoned(tick).max(self.high)
    }

    /// The last word.
    pub const fn as_of(&self) -> Millis {
        self.as_of
    }

    /// How old the newest word is at `tick`. What a connection said only once could be an old word that is told again and again,
    /// and does not count; `None` when there is no other.
    pub fn age(&self, tick: Tick) -> Option<Span> {
        self.proven.map(|said| tick.since(said))
    }

    /// The same, when this machine stood still: nothing that was said before shows that the server's word moves.
    #[must_use]
    pub fn unproven(self) -> ServerTime {
        ServerTime { proven: None, ..self }
    }

    /// Up to when ends can be forgotten at `tick`: `bound` before the server's time, so that who looked at the clock a moment ago
    /// and judges now still finds them.
    pub fn over(&self, tick: Tick, bound: Span) -> Millis {
        self.now(tick).minus(bound)
    }

    /// How far the server's clock was set back, as far as it has not caught up.
    pub fn behind(&self, tick: Tick) -> Span {
        self.high.since(self.reckoned(tick))
    }

    /// How far a wall clock here, which shows `wall` at `tick`, is before (positive) or behind the server's, in milliseconds.
    pub fn offset(&self, tick: Tick, wall: Millis) -> i64 {
        wall.0.saturating_sub(self.reckoned(tick).0)
    }

    fn reckoned(&self, tick: Tick) -> Millis {
        self.as_of.plus(tick.since(self.said))
    }
}

/// How long to wait before attempt number `failed` + 1: doubling from 50 ms to 1 s, of which a random half (`random`, any
/// number) is left out so that many verifiers do not come back at once.
pub fn backoff(failed: u32, random: u64) -> Span {
    let most = 50_i64.saturating_mul(1 << failed.min(5)).min(1_000);
    let half = most / 2;
    let random = i64::try_from(random % 1_000_000).unwrap_or(0);
    Span(half + (half * random) / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(ms: i64) -> Tick {
        Tick(ms * 1_000)
    }
    /// Server time is own time plus an hour, here.
    fn server(ms: i64) -> Millis {
        Millis(ms + 3_600_000)
    }
    /// Heard first at 10 (asked for at 0), then every 250 ms with 10 ms on the way.
    fn heard(until: i64) -> ServerTime {
        let mut time = ServerTime::begin(None, tick(0), server(5));
        for at in (250..=until).step_by(250) {
            time = time.hear(server(at), tick(at + 10));
        }
        time
    }

    #[test]
    fn one_word_alone_is_not_trusted() {
        let time = ServerTime::begin(None, tick(0), server(5));
        assert_eq!(time.age(tick(10)), None);
        let again = time.hear(server(5), tick(260)).hear(server(5), tick(510));
        assert_eq!(again.age(tick(510)), None, "the same word is told again and again");
        assert!(time.hear(server(250), tick(260)).age(tick(260)).is_some());
    }

    #[test]
    fn a_word_is_as_old_as_it_is_however_late_it_comes() {
        let time = heard(1_000);
        let now = time.age(tick(1_010)).unwrap();
        assert!((0..=15).contains(&now.0), "{now}");
        assert_eq!(time.age(tick(4_010)).unwrap().0, now.0 + 3_000, "silence");
        // What was said at 1,250 waits in a buffer until 4,000.
        let late = time.hear(server(1_250), tick(4_000));
        let age = late.age(tick(4_000)).unwrap();
        assert!((2_740..=2_760).contains(&age.0), "{age}");
        // The backlog is drained: each word is a little newer, the last is new.
        let drained = (1_500..=4_000).step_by(250).fold(late, |time, at| time.hear(server(at), tick(4_005)));
        assert!(drained.age(tick(4_010)).unwrap().0 <= 20);
        // A word that never moves grows old, although it is told.
        let stuck =
            (1_250..=6_000).step_by(250).fold(time, |time, at| time.hear(server(1_000), tick(at + 10)));
        assert!(stuck.age(tick(6_010)).unwrap().0 >= 4_990);
    }

    #[test]
    fn a_new_connection_takes_over_without_a_gap() {
        let time = heard(1_000);
        let again = ServerTime::begin(Some(time), tick(1_400), server(1_405));
        assert_eq!(
            again.age(tick(1_410)),
            time.age(tick(1_410)),
            "the old word, while the new one is not proven"
        );
        assert_eq!(again.hear(server(1_405), tick(1_700)).age(tick(1_700)), time.age(tick(1_700)));
        assert!(again.hear(server(1_650), tick(1_660)).age(tick(1_660)).unwrap().0 <= 15);
    }

    #[test]
    fn clocks_that_drift_are_not_stale() {
        // The server's clock is slower by 100 ppm, for a day.
        let mut time = heard(250);
        for n in 0..345_600_i64 {
            let at = 500 + n * 250;
            time = time.hear(server(at - at / 10_000), tick(at + 10));
        }
        let at = 500 + 345_600 * 250;
        assert!(time.age(tick(at)).unwrap().0 < 500, "{:?}", time.age(tick(at)));
    }

    #[test]
    fn time_is_the_servers() {
        let time = heard(1_000);
        let now = time.now(tick(1_010));
        assert!((server(1_000).0..=server(1_015).0).contains(&now.0));
        assert_eq!(time.now(tick(61_010)).0, now.0 + 60_000, "our clock goes on from there");
        assert!((59_985..=60_000).contains(&time.offset(tick(1_010), Millis(server(61_000).0))));
        assert!((-60_015..=-60_000).contains(&time.offset(tick(1_010), server(-58_990))));
    }

    #[test]
    fn a_clock_that_is_set_back_revives_nothing_and_is_caught_up_with() {
        let time = heard(1_000);
        let before = time.now(tick(1_250));
        let back = time.hear(server(1_250 - 60_000), tick(1_260));
        assert!(back.now(tick(1_260)) >= before, "what was over stays over");
        assert!(back.age(tick(1_260)).unwrap() >= Span::secs(59), "and this connection is not believed");
        // Another connection is: there it was asked for.
        let mut time = ServerTime::begin(Some(back), tick(1_300), server(1_305 - 60_000));
        assert!(time.age(tick(1_310)) >= back.age(tick(1_310)), "once said, it is not believed yet");
        time = time.hear(server(1_550 - 60_000), tick(1_560));
        assert!(time.age(tick(1_560)).unwrap().0 < 20);
        let held = time.now(tick(1_560));
        assert!(held >= before && time.behind(tick(1_560)) > Span::secs(59));
        assert_eq!(time.now(tick(30_000)), held, "it stands still");
        assert_eq!(time.behind(tick(62_000)), Span(0));
        assert!(time.now(tick(63_000)) > held, "and goes on when it was caught up with");
    }

    #[test]
    fn a_clock_that_is_set_forward_is_believed_at_once() {
        let time = heard(1_000).hear(server(1_250 + 60_000), tick(1_260));
        assert!(time.age(tick(1_260)).unwrap().0 == 0);
        assert_eq!(time.now(tick(1_260)), server(61_250));
    }

    #[test]
    fn a_machine_that_stood_still_is_found_out_by_its_wall_clock() {
        let earlier = Reading { tick: tick(5_000), wall: server(5_000) };
        for (ran, moved, stood) in [
            (250, 250, None),
            (250, 2_250, None),
            (250, 2_251, Some(Span(2_001))),
            (0, 3_600_000, Some(Span::hours(1))),
            (60_000, 60_000, None),
            (60_000, 63_000, Some(Span(3_000))),
            // A wall clock that is set back, or goes slower, says nothing.
            (250, -3_600_000, None),
            (60_000, 0, None),
        ] {
            let now = Reading { tick: tick(5_000 + ran), wall: server(5_000 + moved) };
            assert_eq!(now.stood_still(earlier, Span(2_000)), stood, "{ran} {moved}");
        }
        let end = Reading { tick: Tick(i64::MIN), wall: Millis(i64::MAX) };
        let begin = Reading { tick: Tick(i64::MAX), wall: Millis(i64::MIN) };
        assert!(end.stood_still(begin, Span(2_000)).is_some() && begin.stood_still(end, Span(0)).is_none());
    }

    #[test]
    fn what_was_proven_before_it_stood_still_proves_nothing() {
        let time = heard(1_000).unproven();
        assert_eq!(time.age(tick(1_010)), None);
        assert_eq!(time.now(tick(1_010)), heard(1_000).now(tick(1_010)), "and its time goes on");
        let again = ServerTime::begin(Some(time), tick(1_100), server(61_105));
        assert_eq!(again.age(tick(1_110)), None, "nor on the next connection");
        assert!(again.hear(server(61_350), tick(1_360)).age(tick(1_360)).is_some());
    }

    #[test]
    fn old_words_are_listened_to_for_half_of_the_bound() {
        let (old, new) = (Some(Span(2_001)), Some(Span(2_000)));
        for (words, last) in [
            (&[(0, new), (250, new), (5_000, new)][..], false),
            (&[(0, old)], false),
            (&[(0, old), (1_000, old)], false),
            (&[(0, old), (1_001, old)], true),
            (&[(0, old), (500, old), (1_001, old)], true),
            (&[(0, old), (900, new), (1_001, old)], false),
            (&[(0, old), (900, None), (1_001, old), (2_001, old)], false),
            (&[(0, old), (900, None), (1_001, old), (2_002, old)], true),
        ] {
            let mut state = OldWords::default();
            let all: Vec<bool> =
                words.iter().map(|(at, age)| state.hear(*age, tick(*at), Span(2_000))).collect();
            assert_eq!(all.last(), Some(&last), "{words:?}");
            assert!(all.iter().rev().skip(1).all(|gives_up| !gives_up), "{words:?}");
        }
    }

    #[test]
    fn a_delay_that_grows_slowly_hides_little_before_the_next_connection() {
        for (random, span) in [(0, 480_000), (119_999, 599_999), (120_000, 480_000)] {
            assert_eq!(renewal(random), Span(span));
        }
        assert!((480_000..600_000).contains(&renewal(u64::MAX).0));
        // Half a millisecond a second: as much as clocks may drift.
        let mut time = heard(250);
        let mut at = 250;
        while at < renewal(119_999).0 {
            at += 250;
            time = time.hear(server(at - at / 2_000), tick(at + 10));
        }
        let hidden = at / 2_000 - time.age(tick(at + 10)).unwrap().0;
        assert!((200..=300).contains(&hidden), "{hidden}");
    }

    #[test]
    fn ends_are_forgotten_only_when_nobody_can_still_judge_by_an_earlier_time() {
        let time = heard(1_000);
        for (bound, at) in [(0, 1_010), (500, 1_010), (2_000, 1_010), (2_000, 90_000)] {
            assert_eq!(time.over(tick(at), Span(bound)).0, time.now(tick(at)).0 - bound);
        }
    }

    #[test]
    fn attempts_are_spread_and_never_further_apart_than_a_second() {
        for (failed, least, most) in
            [(0, 25, 50), (1, 50, 100), (3, 200, 400), (4, 400, 800), (5, 500, 1_000), (u32::MAX, 500, 1_000)]
        {
            assert_eq!(backoff(failed, 0), Span(least));
            for random in [1, 499_999, 999_999, u64::MAX] {
                assert!((least..=most).contains(&backoff(failed, random).0), "{failed} {random}");
            }
        }
    }
}
