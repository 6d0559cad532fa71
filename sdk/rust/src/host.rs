//! What only the operating system can say: how much time has passed, what its clock shows, and a number nobody foresees.

use handstamp_core::offline::clock::Tick;
use handstamp_core::time::Millis;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Readings of the monotonic clock, since it was made.
pub(crate) struct Clock(Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub(crate) fn new() -> Clock {
        Clock(Instant::now())
    }

    pub(crate) fn tick(&self) -> Tick {
        Tick(i64::try_from(self.0.elapsed().as_micros()).unwrap_or(i64::MAX))
    }
}

/// What the wall clock shows. Nothing is decided by it; it is compared with the server's.
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
