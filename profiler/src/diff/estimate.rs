//! What a sample's events say, and how sure that is: a bootstrap over blocks of time, and what the windows
//! of one capture differ by.
//!
//! Events near each other in time are alike: they wait for the same commit, the same neighbour. So not
//! events are drawn anew, with replacement, but blocks of the capture's time with all that arrived in
//! them. How long must a block be? Long enough to hold what lasts; but of few blocks nothing can be told.
//! The rule is that of Flyvbjerg and Petersen (1989, "Error estimates on averages of correlated data"):
//! the time is cut into 32, 16 and 8 blocks, and the largest spread counts. Where events are independent,
//! all three give about the same; where something lasts for seconds, the short blocks give too little.
//!
//! What lasts as long as a capture (a neighbour that compiles, a disk with a slow hour) no block holds,
//! and the next capture may come without it. It shows in how much the capture differs from itself: two
//! captures must differ by more than any two of eight windows within either do. On a host where everything
//! else stands still, that is about twice the noise that the bootstrap gives, and on one where it does not,
//! what keeps neighbours from being taken for a fix (`cargo xtask bench diff` shows both).

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::sample::{CAUSES, Sample};
use crate::aggregate::events::EventKind;

/// How often blocks are drawn. A standard deviation of so many is itself sure to 5 % (1 / √(2 · 200)).
const DRAWS: usize = 200;
/// Into how many blocks the time of a sample is cut.
pub const BLOCKS: [usize; 3] = [32, 16, 8];

/// Into how many windows a capture is cut to compare it with itself, if each has events enough.
const WINDOWS: usize = 8;

/// Values of one sample, in the order of [`super::Metric::ALL`]: p50 and p95 of the events' time, ns, the
/// causes' time an event, ns, and events a second.
pub type Values = [f64; 2 + CAUSES + 1];

/// The share that each kind of events has in what is compared.
pub type Mix = BTreeMap<EventKind, f64>;

/// A sample, cut into blocks.
struct Blocks<'a> {
    sample: &'a Sample,
    /// Share of each kind that is compared.
    shares: Vec<f64>,
    /// Time of each event that is compared, its block and its kind, the shortest first.
    sorted: Vec<(u64, usize, usize)>,
    /// By block and kind: events, and their time by cause.
    sums: Vec<Vec<(f64, [f64; CAUSES])>>,
    /// Events of every kind, by block.
    counts: Vec<f64>,
}

impl<'a> Blocks<'a> {
    fn new(sample: &'a Sample, mix: &Mix, blocks: usize) -> Self {
        let kinds: Vec<EventKind> = mix.keys().copied().collect();
        let mut sorted = Vec::with_capacity(sample.events.len());
        let mut sums = vec![vec![(0.0, [0.0; CAUSES]); kinds.len()]; blocks];
        let mut counts = vec![0.0; blocks];
        for event in &sample.events {
            let at = u128::from(event.at_ns) * blocks as u128 / u128::from(sample.window_ns);
            let block = (at as usize).min(blocks - 1);
            counts[block] += 1.0;
            let Some(kind) = kinds.iter().position(|kind| *kind == event.kind) else {
                continue;
            };
            let (count, causes) = &mut sums[block][kind];
            *count += 1.0;
            for (sum, ns) in causes.iter_mut().zip(event.causes_ns) {
                *sum += ns as f64;
            }
            sorted.push((event.duration_ns, block, kind));
        }
        sorted.sort_unstable();
        Self {
            sample,
            shares: mix.values().copied().collect(),
            sorted,
            sums,
            counts,
        }
    }

    /// The values with each block taken so many times; nothing if no event is left.
    fn values(&self, times: &[f64]) -> Option<Values> {
        let counts: Vec<f64> = (0..self.shares.len())
            .map(|kind| {
                let counts = self.sums.iter().zip(times);
                counts.map(|(sums, times)| sums[kind].0 * times).sum()
            })
            .collect();
        // A kind of which no event was drawn leaves its share to the others.
        let present = self.shares.iter().zip(&counts).filter(|(_, n)| **n > 0.0);
        let whole: f64 = present.map(|(share, _)| share).sum();
        if whole <= 0.0 {
            return None;
        }
        let weights: Vec<f64> = (self.shares.iter().zip(&counts))
            .map(|(share, count)| share / whole / count.max(1.0))
            .collect();
        let mut values = [0.0; 2 + CAUSES + 1];
        let [p50, p95, causes @ .., rate] = &mut values;
        for (sums, times) in self.sums.iter().zip(times) {
            for ((_, sums), weight) in sums.iter().zip(&weights) {
                for (cause, sum) in causes.iter_mut().zip(sums) {
                    *cause += sum * weight * times;
                }
            }
        }
        let events: f64 = self.counts.iter().zip(times).map(|(n, t)| n * t).sum();
        let drawn: f64 = times.iter().sum();
        *rate = events * 1e9 / self.sample.window_ns as f64 * self.counts.len() as f64 / drawn;
        (*p50, *p95) = self.quantiles(&weights, times);
        Some(values)
    }

    /// The times that half of the weight, and 95 % of it, lie below or at.
    fn quantiles(&self, weights: &[f64], times: &[f64]) -> (f64, f64) {
        let (mut below, mut p50) = (0.0, None);
        // What is added up is 1 but for rounding.
        const ROUNDING: f64 = 1e-9;
        for (duration_ns, block, kind) in &self.sorted {
            below += weights[*kind] * times[*block];
            if p50.is_none() && below >= 0.5 - ROUNDING {
                p50 = Some(*duration_ns as f64);
            }
            if below >= 0.95 - ROUNDING {
                let p95 = *duration_ns as f64;
                return (p50.unwrap_or(p95), p95);
            }
        }
        (0.0, 0.0)
    }
}

/// The values of a sample; nothing if it has no event of the mix.
pub fn values(sample: &Sample, mix: &Mix) -> Option<Values> {
    Blocks::new(sample, mix, 1).values(&[1.0])
}

/// How far the values of another sample of the same ship would lie off (a standard deviation), by the
/// blocks of this one.
fn spread(sample: &Sample, mix: &Mix, blocks: usize) -> Values {
    let cut = Blocks::new(sample, mix, blocks);
    let mut random = Rng::with_seed(sample.seed() ^ blocks as u64);
    let mut drawn: Vec<Values> = Vec::with_capacity(DRAWS);
    for _ in 0..DRAWS {
        let mut times = vec![0.0; blocks];
        for _ in 0..blocks {
            times[random.usize(0..blocks)] += 1.0;
        }
        drawn.extend(cut.values(&times));
    }
    let count = drawn.len().max(2) as f64;
    std::array::from_fn(|at| {
        let mean = drawn.iter().map(|values| values[at]).sum::<f64>() / count;
        let squares = drawn.iter().map(|values| (values[at] - mean).powi(2));
        let variance = squares.sum::<f64>() / (count - 1.0);
        // A bootstrap of n blocks has (n - 1) / n of the variance.
        (variance * blocks as f64 / (blocks - 1) as f64).sqrt()
    })
}

/// What is asked of each value.
#[derive(Debug, Clone, Copy)]
pub struct Demands {
    /// Share of pairs of an unchanged ship (of both signs together) that may differ by more than the noise,
    /// by the bootstrap.
    pub errors: Values,
    /// How many events a window must have for its value to mean something.
    pub events: Values,
}

/// By how much two samples of an unchanged ship would differ at most, by what changes within each.
pub fn noise(before: &Sample, after: &Sample, mix: &Mix, demands: &Demands) -> Values {
    let mut noise = [before, after].map(|sample| range(sample, mix, &demands.events));
    for blocks in BLOCKS {
        let spreads = [before, after].map(|sample| spread(sample, mix, blocks));
        for (at, noise) in noise[0].iter_mut().enumerate() {
            let [before, after] = spreads.map(|spread| spread[at].powi(2));
            let freedom = freedom(before, after, (blocks - 1) as f64);
            let limit = student(demands.errors[at], freedom);
            *noise = noise.max(limit * (before + after).sqrt());
        }
    }
    std::array::from_fn(|at| noise[0][at].max(noise[1][at]))
}

/// By how much the windows within a sample differ at most: of so many windows, at most [`WINDOWS`], that
/// each has the events that a value needs.
fn range(sample: &Sample, mix: &Mix, events: &Values) -> Values {
    let windows = |events: f64| ((sample.events.len() as f64 / events) as usize).min(WINDOWS);
    let mut ranges = [0.0; 2 + CAUSES + 1];
    let counts: BTreeSet<usize> = events.iter().map(|events| windows(*events)).collect();
    for count in counts.into_iter().filter(|count| *count > 1) {
        let length_ns = sample.window_ns / count as u64;
        let parts = (0..count as u64).map(|part| sample.part(part * length_ns, length_ns));
        let values: Vec<Values> = parts.filter_map(|part| values(&part, mix)).collect();
        for (at, range) in ranges.iter_mut().enumerate() {
            if windows(events[at]) == count {
                let of = values.iter().map(|values| values[at]);
                *range = of.clone().fold(f64::MIN, f64::max) - of.fold(f64::MAX, f64::min);
            }
        }
    }
    ranges.map(|range| range.max(0.0))
}

/// Degrees of freedom of a sum of two variances, each of which has `each` (Welch 1947).
fn freedom(a: f64, b: f64, each: f64) -> f64 {
    match a + b > 0.0 {
        true => (a + b).powi(2) * each / (a.powi(2) + b.powi(2)),
        false => each,
    }
}

/// How many standard errors a difference reaches with the probability `errors`, of both signs together
/// (Student 1908): more than a normal distribution says, because the spread is known from few blocks.
fn student(errors: f64, freedom: f64) -> f64 {
    StudentsT::new(0.0, 1.0, freedom).map_or(f64::INFINITY, |t| t.inverse_cdf(1.0 - errors / 2.0))
}
