//! Keeps the numbers that are counted where they happen (`metrics::counter!` and the like), for the whole process.
//!
//! Written here because it is small: counters and gauges in one word, histograms in fixed buckets, so that nothing
//! grows between two readings.

use super::braced;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, SharedString, Unit,
};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

/// The upper bounds of a histogram's buckets, in seconds: from a commit in memory to a disk in trouble.
pub const BOUNDS: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// More series than the code has would be a mistake; it shall not cost memory without end.
const MOST: usize = 1_000;

/// All series.
#[derive(Default)]
pub struct Recorder(RwLock<BTreeMap<Key, Series>>);

#[derive(Clone)]
enum Series {
    Counter(Arc<AtomicU64>),
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<Buckets>),
}

/// How many values fell into each bucket, and their sum in nanoseconds.
#[derive(Default)]
struct Buckets {
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl HistogramFn for Buckets {
    fn record(&self, value: f64) {
        let at = BOUNDS.iter().position(|bound| value <= *bound).unwrap_or(BOUNDS.len());
        if let Some(count) = self.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let length = std::time::Duration::try_from_secs_f64(value).unwrap_or_default();
        self.nanos.fetch_add(u64::try_from(length.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// The process's recorder; from the first call on everything counted goes there.
pub fn global() -> &'static Recorder {
    static GLOBAL: LazyLock<Arc<Recorder>> = LazyLock::new(|| {
        let recorder = Arc::new(Recorder::default());
        // Somebody else's recorder stays where it is; then the page lacks what is counted where it happens.
        let _ = metrics::set_global_recorder(recorder.clone());
        recorder
    });
    &GLOBAL
}

impl Recorder {
    fn series(&self, key: &Key, make: fn() -> Series) -> Option<Series> {
        if let Some(known) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(key) {
            return Some(known.clone());
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST && !all.contains_key(key) {
            return None;
        }
        Some(all.entry(key.clone()).or_insert_with(make).clone())
    }

    /// Hands over the lines of each series.
    pub fn write(&self, mut to: impl FnMut(&str, &str)) {
        for (key, series) in self.0.read().unwrap_or_else(PoisonError::into_inner).iter() {
            let labels: Vec<(&str, &str)> = key.labels().map(|label| (label.key(), label.value())).collect();
            to(key.name(), &series.lines(key.name(), &labels));
        }
    }
}

impl Series {
    fn lines(&self, name: &str, labels: &[(&str, &str)]) -> String {
        match self {
            Series::Counter(count) => {
                format!("{name}{} {}\n", braced(labels), count.load(Ordering::Relaxed))
            }
            Series::Gauge(bits) => {
                format!("{name}{} {}\n", braced(labels), f64::from_bits(bits.load(Ordering::Relaxed)))
            }
            Series::Histogram(buckets) => buckets.lines(name, labels),
        }
    }
}

impl Buckets {
    fn lines(&self, name: &str, labels: &[(&str, &str)]) -> String {
        let mut text = String::new();
        let mut sum = 0;
        let bounds = BOUNDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (count, bound) in self.counts.iter().zip(bounds) {
            sum += count.load(Ordering::Relaxed);
            let with = [labels, &[("le", &*bound)]].concat();
            let _ = writeln!(text, "{name}_bucket{} {sum}", braced(&with));
        }
        let seconds = std::time::Duration::from_nanos(self.nanos.load(Ordering::Relaxed)).as_secs_f64();
        let _ = writeln!(text, "{name}_sum{} {seconds}", braced(labels));
        let _ = writeln!(text, "{name}_count{} {sum}", braced(labels));
        text
    }
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match self.series(key, || Series::Counter(Arc::default())) {
            Some(Series::Counter(counter)) => Counter::from_arc(Arc::new(Count(counter))),
            _ => Counter::noop(),
        }
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        match self.series(key, || Series::Gauge(Arc::default())) {
            Some(Series::Gauge(gauge)) => Gauge::from_arc(Arc::new(Level(gauge))),
            _ => Gauge::noop(),
        }
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match self.series(key, || Series::Histogram(Arc::default())) {
            Some(Series::Histogram(buckets)) => Histogram::from_arc(buckets),
            _ => Histogram::noop(),
        }
    }
}

struct Count(Arc<AtomicU64>);

impl CounterFn for Count {
    fn increment(&self, value: u64) {
        self.0.fetch_add(value, Ordering::Relaxed);
    }
    fn absolute(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }
}

struct Level(Arc<AtomicU64>);

impl Level {
    fn change(&self, to: impl Fn(f64) -> f64) {
        let next = |bits| Some(to(f64::from_bits(bits)).to_bits());
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }
}

impl GaugeFn for Level {
    fn increment(&self, value: f64) {
        self.change(|now| now + value);
    }
    fn decrement(&self, value: f64) {
        self.change(|now| now - value);
    }
    fn set(&self, value: f64) {
        self.change(|_| value);
    }
}
