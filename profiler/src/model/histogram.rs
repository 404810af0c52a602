//! Log-linear histograms in user space.

use profiler_common::histogram::{BUCKETS, index, representative};

/// Counts per bucket of `profiler_common::histogram`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    counts: Vec<u64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
        }
    }
}

impl Histogram {
    /// Adds the buckets that a program filled.
    pub fn add_buckets(&mut self, buckets: &[u32; BUCKETS]) {
        for (count, &more) in self.counts.iter_mut().zip(buckets) {
            *count += u64::from(more);
        }
    }

    /// Adds one value.
    pub fn add_value(&mut self, value: u64) {
        if let Some(count) = self.counts.get_mut(index(value)) {
            *count += 1;
        }
    }

    /// Adds another histogram.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    /// Values in it.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The value below which `permille` thousandths of all values lie, within 6.25 %. Nothing if
    /// it is empty.
    pub fn quantile(&self, permille: u64) -> Option<u64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        // The smallest value such that at least that many are not above it.
        let rank = (total * permille).div_ceil(1000).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        bucket.map(representative)
    }

    /// The value such that values up to it make up `permille` thousandths of their sum: where most
    /// of the *time* went, however many short waits there were beside. Nothing if the sum is 0.
    pub fn sum_quantile(&self, permille: u64) -> Option<u64> {
        let total: u128 = self
            .buckets()
            .map(|(value, count)| u128::from(value) * u128::from(count))
            .sum();
        if total == 0 {
            return None;
        }
        let mut seen = 0;
        let mut buckets = self.buckets();
        let found = buckets.find(|(value, count)| {
            seen += u128::from(*value) * u128::from(*count);
            seen * 1000 >= total * u128::from(permille)
        });
        found.map(|(value, _)| value)
    }

    /// How many values are at least `value` (by their bucket's middle).
    pub fn at_least(&self, value: u64) -> u64 {
        let counted = self.counts.iter().enumerate();
        counted
            .filter(|(bucket, _)| representative(*bucket) >= value)
            .map(|(_, count)| count)
            .sum()
    }

    /// The buckets that are not empty, each with its middle.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let counted = self.counts.iter().enumerate();
        counted
            .filter(|(_, count)| **count > 0)
            .map(|(bucket, count)| (representative(bucket), *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        for &value in values {
            histogram.add_value(value);
        }
        histogram
    }

    #[test]
    fn quantiles_are_within_the_promised_error() {
        let values: Vec<u64> = (1..=10_000).map(|i| i * 1_000).collect();
        let histogram = histogram(&values);
        for (permille, exact) in [(500, 5_000_000_u64), (950, 9_500_000), (990, 9_900_000)] {
            let found = histogram.quantile(permille).expect("not empty");
            assert!(
                found.abs_diff(exact) as f64 <= exact as f64 * 0.0625,
                "{found} {exact}"
            );
        }
    }

    #[test]
    fn the_sum_is_where_the_long_waits_are() {
        let mut values = vec![1_000; 1_000];
        values.extend([50_000_000; 10]);
        let histogram = histogram(&values);
        assert!(histogram.quantile(500).is_some_and(|ns| ns < 2_000));
        assert!(
            histogram
                .sum_quantile(500)
                .is_some_and(|ns| ns > 40_000_000)
        );
        assert_eq!(Histogram::default().sum_quantile(500), None);
    }

    #[test]
    fn one_value_is_every_quantile_and_none_is_none() {
        let one = histogram(&[3]);
        assert_eq!(
            (one.quantile(1), one.quantile(500), one.quantile(1000)),
            (Some(3), Some(3), Some(3))
        );
        assert_eq!(Histogram::default().quantile(500), None);
    }
}
