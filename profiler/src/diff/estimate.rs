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
//! and the next capture may come without it. So a capture is taken to have a level of its own beside what
//! chance there is in its events (a random effect: DerSimonian and Laird 1986, "Meta-analysis in clinical
//! trials"), and that level to vary from capture to capture as it does between eight windows within one:
//! such noise has as much power in each octave of time, so that a mean over a longer one is no surer. Of the
//! variance between windows what their events alone explain is left out; the rest is added to that of the
//! bootstrap. On a host where everything else stands still next to nothing is left.
//!
//! Not all of a ship's times are disturbed alike. A neighbour makes those events wait that it happens to
//! meet, and the others not at all; and where events are of several sorts (alone, or the third of three that
//! came together), a median may lie in the gap between two of them, and a small change in their shares
//! moves it far. The mean of the quickest quarter of each kind, in logarithms, knows neither: it is what an
//! event takes when nothing holds it up.

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
/// Of fewer it is not told how much they vary.
const MIN_WINDOWS: usize = 3;

/// How many values are latencies.
pub const LATENCIES: usize = 3;
/// How many values there are.
const VALUES: usize = LATENCIES + CAUSES + 1;
/// The quickest part of the events of a kind: up to the lower quartile, as rarely disturbed as any of which
/// there are enough.
const QUICK_SHARE: f64 = 0.25;

/// Values of one sample, in the order of [`super::Metric::ALL`]: p50, p95 and the mean of the quickest
/// quarter of the events' time, ns, the causes' time an event, ns, and events a second.
pub type Values = [f64; VALUES];

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
        let mut values = [0.0; VALUES];
        let [p50, p95, quick, causes @ .., rate] = &mut values;
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
        let shares: Vec<f64> = self.shares.iter().map(|share| share / whole).collect();
        *quick = self.quick(&shares, &counts, times);
        Some(values)
    }

    /// The geometric mean of the quickest quarter of each kind, and of those by their shares.
    fn quick(&self, shares: &[f64], counts: &[f64], times: &[f64]) -> f64 {
        let mut quarters: Vec<(f64, f64)> = vec![(0.0, 0.0); shares.len()];
        for (duration_ns, block, kind) in &self.sorted {
            let (taken, logs) = &mut quarters[*kind];
            let left = QUICK_SHARE * counts[*kind] - *taken;
            let weight = times[*block].min(left);
            if weight > 0.0 {
                *taken += weight;
                *logs += weight * (*duration_ns as f64).max(1.0).ln();
            }
        }
        let means = quarters
            .iter()
            .zip(shares)
            .filter(|((taken, _), _)| *taken > 0.0);
        means
            .map(|((taken, logs), share)| share * logs / taken)
            .sum::<f64>()
            .exp()
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

/// How much the values of other samples of the same ship would vary, by the blocks of this one.
fn variances(sample: &Sample, mix: &Mix, blocks: usize) -> Values {
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
    // A bootstrap of n blocks has (n - 1) / n of the variance.
    variance(&drawn).map(|variance| variance * blocks as f64 / (blocks - 1) as f64)
}

/// How much each value varies.
fn variance(found: &[Values]) -> Values {
    let count = found.len() as f64;
    std::array::from_fn(|at| {
        let mean = found.iter().map(|values| values[at]).sum::<f64>() / count.max(1.0);
        let squares = found.iter().map(|values| (values[at] - mean).powi(2));
        squares.sum::<f64>() / (count - 1.0).max(1.0)
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

/// A variance, and from how many independent values it is known, less one.
#[derive(Debug, Clone, Copy)]
struct Variance {
    value: f64,
    freedom: f64,
}

/// By how much two samples of an unchanged ship would differ at most, by what changes within each.
pub fn noise(before: &Sample, after: &Sample, mix: &Mix, demands: &Demands) -> Values {
    let samples = [before, after];
    let chances = BLOCKS.map(|blocks| samples.map(|sample| chance(sample, mix, blocks)));
    let levels: [[Option<Variance>; VALUES]; 2] =
        std::array::from_fn(|side| levels(samples[side], mix, &demands.events, &chances[0][side]));
    std::array::from_fn(|at| {
        let levels = levels.map(|levels| levels[at]);
        let limit = |chances: [[Variance; VALUES]; 2]| {
            let chances = chances.into_iter().map(|chances| chances[at]);
            let all: Vec<Variance> = chances.chain(levels.into_iter().flatten()).collect();
            limit(&all, demands.errors[at])
        };
        chances.map(limit).into_iter().fold(0.0, f64::max)
    })
}

/// How much the values of a sample vary by what changes between its blocks.
fn chance(sample: &Sample, mix: &Mix, blocks: usize) -> [Variance; VALUES] {
    variances(sample, mix, blocks).map(|value| Variance {
        value,
        freedom: (blocks - 1) as f64,
    })
}

/// How much the level of a sample varies from window to window; nothing where there are too few. It is cut
/// into at most [`WINDOWS`], of which each has the events that a value needs. `chance` is how much a value
/// of the whole varies by its events, so that of a window of an n-th varies n times as much.
fn levels(
    sample: &Sample,
    mix: &Mix,
    events: &Values,
    chance: &[Variance; VALUES],
) -> [Option<Variance>; VALUES] {
    let windows = |events: f64| ((sample.events.len() as f64 / events) as usize).min(WINDOWS);
    let mut levels = [None; VALUES];
    let counts: BTreeSet<usize> = events.iter().map(|events| windows(*events)).collect();
    for count in counts.into_iter().filter(|count| *count >= MIN_WINDOWS) {
        let length_ns = sample.window_ns / count as u64;
        let parts = (0..count as u64).map(|part| sample.part(part * length_ns, length_ns));
        let found: Vec<Values> = parts.filter_map(|part| values(&part, mix)).collect();
        let all = variance(&found);
        for (at, level) in levels.iter_mut().enumerate() {
            if windows(events[at]) == count {
                *level = Some(Variance {
                    value: (all[at] - chance[at].value * count as f64).max(0.0),
                    freedom: (count - 1) as f64,
                });
            }
        }
    }
    levels
}

/// How far two values may lie apart whose variances add up to these.
fn limit(variances: &[Variance], errors: f64) -> f64 {
    let sum: f64 = variances.iter().map(|one| one.value).sum();
    student(errors, freedom(variances, sum)) * sum.sqrt()
}

/// Degrees of freedom of a sum of variances (Welch 1947).
fn freedom(variances: &[Variance], sum: f64) -> f64 {
    let parts = variances.iter().map(|one| one.value.powi(2) / one.freedom);
    let parts: f64 = parts.sum();
    match parts > 0.0 {
        true => sum.powi(2) / parts,
        false => 1.0,
    }
}

/// How many standard errors a difference reaches with the probability `errors`, of both signs together
/// (Student 1908): more than a normal distribution says, because the spread is known from few blocks.
fn student(errors: f64, freedom: f64) -> f64 {
    StudentsT::new(0.0, 1.0, freedom).map_or(f64::INFINITY, |t| t.inverse_cdf(1.0 - errors / 2.0))
}
