//! Log-linear histograms in user space.

use profiler_common::histogram::{BUCKETS, index, representative};
use serde::{Deserialize, Serialize};

use super::sum;

/// Counts per bucket of `profiler_common::histogram`. Serialised as its [`Histogram::sparse`]
/// pairs: most buckets are empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<(usize, u64)>", try_from = "Vec<(usize, u64)>")]
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

    /// Adds one value so many times.
    pub fn add_values(&mut self, value: u64, times: u64) {
        if let Some(count) = self.counts.get_mut(index(value)) {
            *count = count.saturating_add(times);
        }
    }

    /// Adds another histogram.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
    }

    /// The buckets that are not empty, each as its index and count, ascending.
    pub fn sparse(&self) -> impl Iterator<Item = (usize, u64)> {
        let counted = self.counts.iter().copied().enumerate();
        counted.filter(|(_, count)| *count > 0)
    }

    /// The histogram of such pairs; nothing if there is no such bucket.
    pub fn from_sparse(pairs: impl IntoIterator<Item = (usize, u64)>) -> Option<Self> {
        let mut histogram = Self::default();
        for (bucket, more) in pairs {
            let count = histogram.counts.get_mut(bucket)?;
            *count = count.saturating_add(more);
        }
        Some(histogram)
    }

    /// Values in it.
    pub fn count(&self) -> u64 {
        sum(self.counts.iter().copied())
    }

    /// The value below which `permille` thousandths of all values lie, within 6.25 %. Nothing if
    /// it is empty.
    pub fn quantile(&self, permille: u64) -> Option<u64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        // The smallest value such that at least that many are not above it.
        let rank = (u128::from(total) * u128::from(permille))
            .div_ceil(1000)
            .max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += u128::from(*count);
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
        let counted = self.buckets().filter(|(middle, _)| *middle >= value);
        sum(counted.map(|(_, count)| count))
    }

    /// The buckets that are not empty, each with its middle.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        self.sparse()
            .map(|(bucket, count)| (representative(bucket), count))
    }
}

impl From<Histogram> for Vec<(usize, u64)> {
    fn from(histogram: Histogram) -> Self {
        histogram.sparse().collect()
    }
}

impl TryFrom<Vec<(usize, u64)>> for Histogram {
    type Error = &'static str;

    fn try_from(pairs: Vec<(usize, u64)>) -> Result<Self, Self::Error> {
        Self::from_sparse(pairs).ok_or("a histogram has no such bucket")
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
    fn sparse_pairs_give_the_same_histogram() {
        let histogram = histogram(&[3, 3, 40_000, u64::MAX]);
        let json = serde_json::to_string(&histogram).expect("it is plain");
        assert!(json.starts_with("[[3,2],"), "{json}");
        assert_eq!(
            serde_json::from_str::<Histogram>(&json).ok(),
            Some(histogram)
        );
        assert!(serde_json::from_str::<Histogram>("[[100000,1]]").is_err());
    }

    #[test]
    fn counts_beyond_all_measure_do_not_overflow() {
        let mut full = Histogram::from_sparse([(5, u64::MAX), (6, u64::MAX)]).expect("buckets");
        full.add(&full.clone());
        assert_eq!(full.count(), u64::MAX);
        assert!(full.quantile(1000).is_some());
        assert_eq!(full.at_least(6), u64::MAX);
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
