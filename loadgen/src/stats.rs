//! Small arithmetic of measurements: percentiles, medians, and a random source that needs no crate.
//!
//! Every single latency is kept (four bytes each) instead of a histogram: a window of twenty seconds is a few
//! megabytes, and the percentiles are then exact.

/// The value below which `permille` thousandths of the sorted latencies lie; 0 of none.
pub(crate) fn percentile(sorted: &[u32], permille: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get(last * permille / 1000).map_or(0.0, |nanos| f64::from(*nanos))
}

/// The median of figures of several rounds; the mean of the middle two when their number is even.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.len() % 2, values.get(middle)) {
        (_, None) => 0.0,
        (1, Some(value)) => *value,
        (_, Some(value)) => (values.get(middle.saturating_sub(1)).copied().unwrap_or(*value) + value) / 2.0,
    }
}

/// SplitMix64. Picks sessions; nothing here is a secret, and a fixed seed makes two runs ask the same.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `bound`, which must not be 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        // The high half of the product: no division, and the bias is far below what a benchmark could see.
        let wide = u128::from(self.next()) * (bound as u128);
        usize::try_from(wide >> 64).unwrap_or(0)
    }
}

/// Spreads consecutive numbers over all 64 bits.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_a_hundred() {
        let sorted: Vec<u32> = (1..=100).collect();
        assert_eq!(percentile(&sorted, 500), 50.0);
        assert_eq!(percentile(&sorted, 990), 99.0);
        assert_eq!(percentile(&sorted, 1000), 100.0);
        assert_eq!(percentile(&[], 500), 0.0);
    }

    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median([]), 0.0);
    }

    #[test]
    fn random_numbers_stay_below_and_reach_everything() {
        let mut random = Random::new(1);
        let mut seen = [false; 10];
        for _ in 0..1000 {
            seen[random.below(10)] = true;
        }
        assert!(seen.iter().all(|hit| *hit));
    }
}
