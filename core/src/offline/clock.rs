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
