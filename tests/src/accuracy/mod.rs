//! How right the profiler is: faults of known size against what it reports of them.
//!
//! A scenario is a ship and what is done to it ([`scenarios`]). What that cost the ship's events is known
//! from the ship's own notes and the kernel's counters ([`truth`], [`witness`]); the report is of the
//! same seconds. From either, what the same ship has when nothing is done to it is taken off.

pub mod scenarios;
mod spans;
mod stage;
mod taskstats;
pub mod truth;
pub mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use crate::{Error, Result};
pub use scenarios::{Scenario, scenarios};
use stage::Measured;

/// Length of most captures, s.
pub const SECONDS: u64 = 4;
/// The same of a ship that nothing is done to.
const QUIET_SECONDS: u64 = 3;

/// What came of a scenario. Shares are in points: per cent of the time of events.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// The cause that was injected; nothing for a quiet ship.
    pub expected_cause: Option<String>,
    /// Kind of the verdict.
    pub verdict: String,
    /// The verdict's cause.
    pub cause: Option<String>,
    /// Whether the verdict names what was injected, or that nothing is wrong.
    pub top_cause_right: bool,
    /// Whether the report followed the events; else its shares are those of threads, and not compared.
    pub events_followed: bool,
    /// Events in the window, by the ship and by the report.
    pub events: (u64, u64),
    /// Every leaf that has a point.
    pub leaves: Vec<LeafShare>,
    /// The largest error of a leaf; nothing if not compared.
    pub worst_error_points: Option<f64>,
    /// The leaf that has it.
    pub worst_leaf: Option<String>,
    /// Share of the stalled time that the report cannot explain, per cent.
    pub unexplained_percent: f64,
    /// 95th percentile of the events' time if the report plays them again, against the measured one, per
    /// cent: how far what it expects of fixes can be trusted. Nothing if the events were not followed.
    pub played_p95_percent: Option<f64>,
}

/// A leaf's share, by either.
#[derive(Clone, Debug, Serialize)]
pub struct LeafShare {
    /// Its name.
    pub leaf: String,
    /// Points by ship and kernel, less the quiet ship's.
    pub injected_points: f64,
    /// Points in the report, less the quiet ship's.
    pub reported_points: f64,
    /// Points by ship and kernel, nothing taken off.
    pub injected_with_baseline_points: f64,
    /// Points in the report, nothing taken off.
    pub reported_with_baseline_points: f64,
}

impl LeafShare {
    /// How far the report is off.
    pub fn error_points(&self) -> f64 {
        (self.reported_points - self.injected_points).abs()
    }
}

/// Runs scenarios, and keeps what quiet ships showed.
#[derive(Debug, Default)]
pub struct Accuracy {
    /// Where captures and reports are kept, each in a directory of its scenario's name.
    pub keep: Option<PathBuf>,
    quiet: BTreeMap<String, Measured>,
}

impl Accuracy {
    /// Runs one.
    pub fn run(&mut self, scenario: &Scenario) -> Result<Outcome> {
        let quiet = self.quiet(scenario)?;
        let measured = self.measured(scenario)?;
        Ok(outcome(scenario, &measured, &quiet))
    }

    /// Runs one without the quiet ship: for its verdict alone.
    pub fn verdict(&mut self, scenario: &Scenario) -> Result<Outcome> {
        let measured = self.measured(scenario)?;
        Ok(outcome(scenario, &measured, &Measured::default()))
    }

    fn measured(&mut self, scenario: &Scenario) -> Result<Measured> {
        let keep = self.keep.as_ref().map(|keep| keep.join(scenario.name));
        if let Some(keep) = &self.keep {
            std::fs::create_dir_all(keep).map_err(Error::path("create", keep))?;
        }
        stage::measure(scenario, scenario.seconds, keep.as_deref())
    }

    /// The same ship, with nothing done to it. What only its own options make slow has no other.
    fn quiet(&mut self, scenario: &Scenario) -> Result<Measured> {
        if scenario.is_slow_by_itself() {
            return Ok(Measured::default());
        }
        let quiet = scenario.without_faults();
        let key = format!("{:?} {:?}", quiet.ship, quiet.place);
        if let Some(known) = self.quiet.get(&key) {
            return Ok(known.clone());
        }
        let mut measured = stage::measure(&quiet, QUIET_SECONDS, None)?;
        if measured.report["event_times"].is_null() {
            // Shares of threads, which are no base for those of events.
            measured = Measured::default();
        }
        self.quiet.insert(key, measured.clone());
        Ok(measured)
    }
}

fn outcome(scenario: &Scenario, measured: &Measured, quiet: &Measured) -> Outcome {
    let report = &measured.report;
    let verdict = &report["verdict"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let kind = text(&verdict["kind"]).unwrap_or_default();
    let cause = text(&verdict["cause"]);
    let top_cause_right = match scenario.cause {
        Some(expected) => kind == "stalled" && cause.as_deref() == Some(expected),
        None => kind == "healthy",
    };
    let events_followed = !report["event_times"].is_null();
    let leaves = match events_followed {
        true => leaf_shares(measured, quiet),
        false => Vec::new(),
    };
    let worst = leaves
        .iter()
        .max_by(|a, b| a.error_points().total_cmp(&b.error_points()));
    Outcome {
        name: scenario.name.to_owned(),
        expected_cause: scenario.cause.map(str::to_owned),
        verdict: kind,
        cause,
        top_cause_right,
        events_followed,
        events: (measured.truth.events, measured.reported_events()),
        worst_error_points: worst.map(LeafShare::error_points),
        worst_leaf: worst.map(|share| share.leaf.clone()),
        leaves,
        unexplained_percent: measured.unexplained_percent(),
        played_p95_percent: played_p95_percent(&report["event_times"]),
    }
}

fn played_p95_percent(times: &Value) -> Option<f64> {
    let (played, measured) = (&times["played_p95_ns"], &times["all"]["p95_ns"]);
    Some(100.0 * played.as_f64()? / measured.as_f64()?)
}

fn leaf_shares(measured: &Measured, quiet: &Measured) -> Vec<LeafShare> {
    let (ours, theirs) = (&measured.truth.leaves, measured.reported());
    let (our_quiet, their_quiet) = (&quiet.truth.leaves, quiet.reported());
    let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let of = |leaves: &truth::Leaves, events: u64, name: &str| {
        leaves.get(name).copied().unwrap_or(0) as f64 / events.max(1) as f64
    };
    let (our_events, their_events) = (measured.truth.events, measured.reported_events());
    let whole = |leaves: &truth::Leaves, events: u64| {
        leaves.values().sum::<u64>().max(1) as f64 / events.max(1) as f64
    };
    let (our_whole, their_whole) = (whole(ours, our_events), whole(&theirs, their_events));
    let quiet_events = (quiet.truth.events, quiet.reported_events());
    names
        .into_iter()
        .map(|name| {
            let injected = of(ours, our_events, name);
            let reported = of(&theirs, their_events, name);
            let our_base = of(our_quiet, quiet_events.0, name);
            let their_base = of(&their_quiet, quiet_events.1, name);
            LeafShare {
                leaf: name.clone(),
                injected_points: 100.0 * (injected - our_base) / our_whole,
                reported_points: 100.0 * (reported - their_base) / their_whole,
                injected_with_baseline_points: 100.0 * injected / our_whole,
                reported_with_baseline_points: 100.0 * reported / their_whole,
            }
        })
        .filter(|share| {
            share.injected_with_baseline_points >= 1.0 || share.reported_with_baseline_points >= 1.0
        })
        .collect()
}
