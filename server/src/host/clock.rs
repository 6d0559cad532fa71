//! The only place that reads the time of day.

use handstamp_core::offline::clock::Tick;
use handstamp_core::store_time::{Offset, StoreTime};
use handstamp_core::time::Millis;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Tells the time; never runs backwards, also not over a restart (see [`SystemClock::raise_to`]).
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Millis;
    /// From here on time is not before `floor`: the store has seen it.
    fn raise_to(&self, floor: Millis);
    /// How long ago something is that is always the same for this process: it goes on while the machine sleeps and while
    /// this process does not run, and nobody can set it. No session is judged by it.
    fn ticks(&self) -> Tick {
        ticks()
    }
    /// A store said what time it is, at an instant between two readings of [`Clock::ticks`].
    fn store_said(&self, _told: Millis, _asked: Tick, _heard: Tick) {}
}

/// The clock of the machine.
#[derive(Default)]
pub struct SystemClock(AtomicI64);

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        #[expect(clippy::disallowed_methods, reason = "this is the one place")]
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let ms = since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
        let before = self.0.load(Ordering::Relaxed);
        if ms <= before {
            return Millis(before);
        }
        Millis(self.0.fetch_max(ms, Ordering::Relaxed).max(ms))
    }
    fn raise_to(&self, floor: Millis) {
        self.0.fetch_max(floor.0, Ordering::Relaxed);
    }
}

/// The clock of a store that several nodes use, as far as it is known from what the store said. The time of this machine does not
/// matter. Until the store has said anything, it is what it was raised to.
pub struct StoreClock {
    measured: Mutex<StoreTime>,
    /// In microseconds; [`i64::MIN`] until it was measured.
    offset: AtomicI64,
    /// Time does not run backwards, whatever is measured.
    last: AtomicI64,
}

impl Default for StoreClock {
    fn default() -> StoreClock {
        let (measured, last) = (Mutex::default(), AtomicI64::default());
        StoreClock { measured, offset: AtomicI64::new(i64::MIN), last }
    }
}

impl Clock for StoreClock {
    fn now(&self) -> Millis {
        let offset = self.offset.load(Ordering::Relaxed);
        let before = self.last.load(Ordering::Relaxed);
        if offset == i64::MIN {
            return Millis(before);
        }
        let now = Offset(offset).at(ticks());
        if now.0 <= before {
            return Millis(before);
        }
        Millis(self.last.fetch_max(now.0, Ordering::Relaxed).max(now.0))
    }
    fn raise_to(&self, floor: Millis) {
        self.last.fetch_max(floor.0, Ordering::Relaxed);
    }
    fn store_said(&self, told: Millis, asked: Tick, heard: Tick) {
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        let Offset(offset) = measured.measured(told, asked, heard);
        self.offset.store(offset, Ordering::Relaxed);
    }
}

/// A clock that stands until it is moved, for tests.
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Begins at `at`.
    pub const fn new(at: Millis) -> ManualClock {
        ManualClock(AtomicI64::new(at.0))
    }
    /// Moves it on.
    pub fn advance(&self, by: handstamp_core::time::Span) {
        self.0.fetch_add(by.0, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Millis {
        Millis(self.0.load(Ordering::Relaxed))
    }
    fn raise_to(&self, floor: Millis) {
        self.0.fetch_max(floor.0, Ordering::Relaxed);
    }
    fn ticks(&self) -> Tick {
        Tick(self.0.load(Ordering::SeqCst).saturating_mul(1_000))
    }
}

fn ticks() -> Tick {
    #[cfg(target_os = "linux")]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(CLOCK);
    Tick(now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1_000))
}

/// For waiting and measuring; not for judging.
pub fn instant() -> std::time::Instant {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    std::time::Instant::now()
}

/// Lets time pass for a timer with a purpose: housekeeping, retries with jitter.
pub async fn pause(length: std::time::Duration) {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    tokio::time::sleep(length).await;
}
