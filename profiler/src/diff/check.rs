//! How well a comparison tells, shown on one long capture of an unchanged ship: pairs of windows of it are
//! compared as they are, and with the second one's events made longer or shorter. The first say how often
//! it finds what is not there, the others how often it finds what is.

use fastrand::Rng;
use serde::Serialize;

use super::compare::{Comparison, Outcome, compare};
use super::estimate::LATENCIES;
use super::sample::Sample;

/// What was tried and found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// How long the capture is.
    pub recording_ns: u64,
    /// How long a window is.
    pub window_ns: u64,
    /// Events in a window: fewest, on average, most.
    pub events: [u64; 3],
    /// By how much events were made longer or shorter, as a share.
    pub shift_ratio: f64,
    /// Pairs as they are.
    pub same: Tally,
    /// Pairs of which the second was shifted, half of them each way.
    pub shifted: Tally,
    /// Noise of p50, p95 and the mean of the quickest quarter of all pairs, as a share of what they are: the
    /// median.
    pub noise_ratios: [f64; LATENCIES],
}

/// What was said of pairs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// How many there were.
    pub pairs: u64,
    /// Called helped.
    pub helped: u64,
    /// Called worse.
    pub worse: u64,
    /// Called without effect.
    pub no_effect: u64,
    /// Not judged.
    pub not_enough_data: u64,
    /// Of shifted pairs, those called what they are.
    pub found: u64,
    /// Pairs of which any measure at all was called helped or worse.
    pub any_changed: u64,
}

impl Tally {
    fn add(&mut self, comparison: &Comparison, is: Option<Outcome>) {
        self.pairs += 1;
        match comparison.outcome {
            Outcome::Helped => self.helped += 1,
            Outcome::Worse => self.worse += 1,
            Outcome::NoEffect => self.no_effect += 1,
            Outcome::NotEnoughData => self.not_enough_data += 1,
        }
        self.found += u64::from(is == Some(comparison.outcome));
        let changed = comparison.lines.iter().any(|line| line.outcome.is_change());
        self.any_changed += u64::from(changed);
    }
}

/// Draws pairs of windows that do not overlap, half of them as they are and half of them shifted. Nothing
/// if the recording is not three windows long: there would be next to nothing to draw from.
pub fn check(recording: &Sample, window_ns: u64, pairs: u64, shift_ratio: f64) -> Option<Check> {
    if window_ns == 0 || recording.window_ns / window_ns < 3 {
        return None;
    }
    let mut random = Rng::with_seed(recording.seed());
    let mut check = Check {
        recording_ns: recording.window_ns,
        window_ns,
        events: [u64::MAX, 0, 0],
        shift_ratio,
        same: Tally::default(),
        shifted: Tally::default(),
        noise_ratios: [0.0; LATENCIES],
    };
    let (mut events_total, mut noises) = (0, [const { Vec::new() }; LATENCIES]);
    for pair in 0..pairs {
        let [before, after] = windows(recording, window_ns, &mut random);
        for sample in [&before, &after] {
            let events = sample.events.len() as u64;
            check.events[0] = check.events[0].min(events);
            check.events[2] = check.events[2].max(events);
            events_total += events;
        }
        let comparison = compare(&before, &after);
        for (noises, line) in noises.iter_mut().zip(&comparison.lines) {
            noises.push(line.noise / line.before.max(1.0));
        }
        check.same.add(&comparison, None);
        let (ratio, is) = match pair % 2 {
            0 => (1.0 + shift_ratio, Outcome::Worse),
            _ => (1.0 - shift_ratio, Outcome::Helped),
        };
        let comparison = compare(&before, &after.stretched(ratio));
        check.shifted.add(&comparison, Some(is));
    }
    check.events[1] = events_total / (2 * pairs).max(1);
    check.noise_ratios = noises.map(|mut noises| {
        noises.sort_by(f64::total_cmp);
        noises.get(noises.len() / 2).copied().unwrap_or(f64::NAN)
    });
    Some(check)
}

/// Two windows that do not overlap, in any order.
fn windows(recording: &Sample, window_ns: u64, random: &mut Rng) -> [Sample; 2] {
    let room_ns = recording.window_ns - 2 * window_ns;
    let (mut a, mut b) = (random.u64(0..=room_ns), random.u64(0..=room_ns));
    if a > b {
        std::mem::swap(&mut a, &mut b);
    }
    let mut starts = [a, b + window_ns];
    if random.bool() {
        starts.reverse();
    }
    starts.map(|start_ns| recording.part(start_ns, window_ns))
}
