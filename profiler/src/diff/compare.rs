//! Two samples of a ship's events against each other: for each measure whether it got better, worse, or
//! neither, by more than such a ship differs from itself.
//!
//! | outcome | when |
//! |---|---|
//! | *helped*, *worse* | it changed by more than the noise, and by more than is worth a word |
//! | *no effect* | it did not, and the noise is so low that a change of 20 % would have been seen |
//! | *not enough data* | too few events, too much noise, or loads that cannot be compared |
//!
//! Event latency decides for the whole: its p95, or where that did not change or nothing can be said of
//! it, its p50, or else the mean of its quickest quarter, which is the surest of the three and says nothing
//! of the slow ones ([`super::estimate`]). Causes and throughput say where a change came from. Latency (three
//! measures) and the others (six) share 5 % of false alarms each, divided equally (Bonferroni), so that of a
//! hundred pairs of an unchanged ship at most five are called *helped* or *worse*.

use serde::{Deserialize, Serialize};

use super::estimate::{Demands, LATENCIES, noise, values};
use super::load::Load;
use super::sample::{CAUSES, Sample};
use crate::attribute::{Cause, MIN_EVENTS};
use crate::report::units::count;

/// Share of pairs of an unchanged ship of which something else may be said, for latency and for the rest.
const FALSE_ALARMS: f64 = 0.05;
/// A smaller change of latency is not worth a word, as a share of what it was: the p50 of an unchanged ship
/// on a quiet host moved by as much within three minutes (`cargo xtask bench diff`).
const MIN_CHANGE_RATIO: f64 = 0.10;
/// The same for a cause, as a share of the time of an event (as for the gains of fixes).
const MIN_CAUSE_RATIO: f64 = 0.02;
/// With more noise, as a share of what it was, "no effect" would say too much.
const MAX_NOISE_RATIO: f64 = 0.20;
/// A p95 of fewer events is that of the five slowest.
const MIN_EVENTS_OF_P95: u64 = 100;

/// What became of a measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It got better.
    Helped,
    /// It is as it was.
    NoEffect,
    /// It got worse.
    Worse,
    /// Nothing can be said.
    NotEnoughData,
}

impl Outcome {
    /// In tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Helped => "helped",
            Self::NoEffect => "no effect",
            Self::Worse => "worse",
            Self::NotEnoughData => "not enough data",
        }
    }

    /// At the beginning of a sentence.
    pub fn title(self) -> &'static str {
        match self {
            Self::Helped => "Helped",
            Self::NoEffect => "No effect",
            Self::Worse => "Worse",
            Self::NotEnoughData => "Not enough data",
        }
    }

    /// Whether it says that something changed.
    pub fn is_change(self) -> bool {
        matches!(self, Self::Helped | Self::Worse)
    }
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Median of the events' time.
    P50,
    /// 95th percentile of it.
    P95,
    /// Mean of the quickest quarter of each kind of events, in logarithms.
    Quick,
    /// Time that a cause took of an event, on average.
    Cause(Cause),
    /// Events a second.
    Throughput,
}

impl Metric {
    /// All, in the order of [`Values`].
    pub const ALL: [Self; LATENCIES + CAUSES + 1] = [
        Self::P50,
        Self::P95,
        Self::Quick,
        Self::Cause(Cause::Disk),
        Self::Cause(Cause::Cpu),
        Self::Cause(Cause::Memory),
        Self::Cause(Cause::Ames),
        Self::Cause(Cause::Unexplained),
        Self::Throughput,
    ];

    /// Whether it is event latency, which decides for the whole.
    pub fn is_latency(self) -> bool {
        matches!(self, Self::P50 | Self::P95 | Self::Quick)
    }

    /// How many events it needs.
    fn events(self) -> u64 {
        match self {
            Self::P95 => MIN_EVENTS_OF_P95,
            _ => MIN_EVENTS,
        }
    }

    /// Share of false alarms that it may make.
    fn errors(self) -> f64 {
        match self.is_latency() {
            true => FALSE_ALARMS / LATENCIES as f64,
            false => FALSE_ALARMS / (Self::ALL.len() - LATENCIES) as f64,
        }
    }
}

/// A measure before and after: ns, of causes ns an event, of throughput events a second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// Which.
    pub metric: Metric,
    /// Before.
    pub before: f64,
    /// After.
    pub after: f64,
    /// By how much it may differ where nothing changed.
    pub noise: f64,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it is not that which the numbers alone would say; nothing where they do.
    pub reason: Option<String>,
}

impl Line {
    /// The change.
    pub fn change(&self) -> f64 {
        self.after - self.before
    }
}

/// Two samples against each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// What became of event latency, or of lost datagrams where their number changed.
    pub outcome: Outcome,
    /// Every measure; none where nothing can be compared.
    pub lines: Vec<Line>,
    /// Both loads.
    pub load: Load,
    /// Why nothing can be said at all; nothing if something can.
    pub unknown: Option<String>,
    /// How long both captures should last, so that a change of 20 % is seen; nothing if they do.
    pub needed_ns: Option<u64>,
}

impl Comparison {
    /// Of captures of which nothing can be said.
    pub fn unknown(reason: String) -> Self {
        let none = Sample {
            window_ns: 1,
            windows: 1,
            events: Vec::new(),
        };
        Self {
            outcome: Outcome::NotEnoughData,
            lines: Vec::new(),
            load: Load::of(&none, &none),
            unknown: Some(reason),
            needed_ns: None,
        }
    }
}

/// Compares. The same samples always give the same.
pub fn compare(before: &Sample, after: &Sample) -> Comparison {
    let load = Load::of(before, after);
    let mut comparison = Comparison {
        outcome: Outcome::NotEnoughData,
        lines: Vec::new(),
        unknown: too_few(before, after).or_else(|| load.too_different.clone()),
        needed_ns: None,
        load,
    };
    if comparison.unknown.is_some() {
        return comparison;
    }
    let mix = comparison.load.mix();
    let (Some(old), Some(new)) = (values(before, &mix), values(after, &mix)) else {
        return comparison;
    };
    let demands = Demands {
        errors: Metric::ALL.map(Metric::errors),
        events: Metric::ALL.map(|metric| metric.events() as f64),
    };
    let noise = noise(before, after, &mix, &demands);
    let events = before.events.len().min(after.events.len()) as u64;
    let event_ns: f64 = old[LATENCIES..LATENCIES + CAUSES].iter().sum();
    for (at, metric) in Metric::ALL.into_iter().enumerate() {
        let mut line = Line {
            metric,
            before: old[at],
            after: new[at],
            noise: noise[at],
            outcome: Outcome::NoEffect,
            reason: None,
        };
        (line.outcome, line.reason) = judge(&line, event_ns, events, &comparison.load);
        comparison.lines.push(line);
    }
    comparison.outcome = whole(&comparison.lines);
    comparison.needed_ns = needed_ns(&comparison.lines, before.window_ns.max(after.window_ns));
    comparison
}

fn too_few(before: &Sample, after: &Sample) -> Option<String> {
    let of = [("BEFORE", before), ("AFTER", after)];
    of.into_iter().find_map(|(name, sample)| {
        let events = sample.events.len() as u64;
        (events < MIN_EVENTS).then(|| {
            format!("{name} has {events} events that could be followed, {MIN_EVENTS} are needed")
        })
    })
}

/// What became of one measure.
fn judge(line: &Line, event_ns: f64, events: u64, load: &Load) -> (Outcome, Option<String>) {
    let (whole, least) = match line.metric {
        Metric::P95 if events < MIN_EVENTS_OF_P95 => {
            let reason = format!(
                "{} events: a p95 needs {MIN_EVENTS_OF_P95} in each",
                count(events)
            );
            return (Outcome::NotEnoughData, Some(reason));
        }
        Metric::Throughput if !load.before_at_limit && !load.after_at_limit => {
            let reason = "it did all that came, before and after";
            return (Outcome::NoEffect, Some(reason.to_owned()));
        }
        Metric::Cause(_) => (event_ns, MIN_CAUSE_RATIO),
        _ => (line.before, MIN_CHANGE_RATIO),
    };
    let limit = line.noise.max(least * whole);
    let better = match line.metric {
        Metric::Throughput => line.change(),
        _ => -line.change(),
    };
    let outcome = if better > limit {
        Outcome::Helped
    } else if -better > limit {
        Outcome::Worse
    } else if line.noise > MAX_NOISE_RATIO * whole {
        Outcome::NotEnoughData
    } else {
        Outcome::NoEffect
    };
    (outcome, None)
}

/// Latency, in the order in which it decides.
pub const DECIDING: [Metric; LATENCIES] = [Metric::P95, Metric::P50, Metric::Quick];

/// What latency says as a whole.
fn whole(lines: &[Line]) -> Outcome {
    let of = |metric| {
        let line = lines.iter().find(|line| line.metric == metric);
        line.map_or(Outcome::NotEnoughData, |line| line.outcome)
    };
    let mut found = DECIDING.into_iter().map(of);
    let change = found.find(|outcome| outcome.is_change());
    // A p95 is often beyond telling on a host that is not quiet; the sentence says so. That the quickest
    // quarter did not change says nothing of the others.
    change.unwrap_or(match of(Metric::P50) {
        Outcome::NoEffect => Outcome::NoEffect,
        _ => Outcome::NotEnoughData,
    })
}

/// How long captures should last for the noise of the p50, on which "no effect" rests, to be low enough: it
/// falls with the root of their length at best.
fn needed_ns(lines: &[Line], window_ns: u64) -> Option<u64> {
    let p50 = lines.iter().find(|line| line.metric == Metric::P50)?;
    let times = (p50.noise / p50.before.max(1.0) / MAX_NOISE_RATIO).powi(2);
    (times > 1.0).then_some((window_ns as f64 * times) as u64)
}
