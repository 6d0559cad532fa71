//! What only the operating system can say: how much time has passed, what its clock shows, and a number nobody foresees.

use handstamp_core::offline::clock::{Reading, Tick};
use handstamp_core::time::Millis;
#[cfg(test)]
use handstamp_core::time::Span;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Readings of the monotonic clock, since it was made; and beside it the wall clock, which can only add doubt.
pub(crate) struct Clock {
    begun: Instant,
    /// How long the monotonic clock stood still, in milliseconds: what no test can do to a machine.
    #[cfg(test)]
    pub(crate) stood: std::sync::atomic::AtomicI64,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub(crate) fn new() -> Clock {
        Clock {
            begun: Instant::now(),
            #[cfg(test)]
            stood: std::sync::atomic::AtomicI64::new(0),
        }
    }

    pub(crate) fn tick(&self) -> Tick {
        Tick(i64::try_from(self.begun.elapsed().as_micros()).unwrap_or(i64::MAX))
    }

    /// Both clocks.
    pub(crate) fn reading(&self) -> Reading {
        let reading = Reading { tick: self.tick(), wall: wall() };
        #[cfg(test)]
        let stood = Span(self.stood.load(std::sync::atomic::Ordering::SeqCst));
        #[cfg(test)]
        let reading = Reading { wall: reading.wall.plus(stood), ..reading };
        reading
    }
}

/// What the wall clock shows. It is compared with the server's, and with how far our other clock went; it never says yes.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub(crate) fn wall() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Any number, so that many verifiers do not come back at the same instant. No secret hangs on it.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Waits.
#[expect(clippy::disallowed_methods, reason = "the one place that waits for time to pass")]
pub(crate) async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}
