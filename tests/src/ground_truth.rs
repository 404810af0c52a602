//! The events that `profile` found against those that the ship says it had: how many, and how long each
//! phase of each took by either.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::profile::Profile;
use crate::scratch::Scratch;
use crate::ship::{RunningShip, ShipOptions};
use crate::{Error, Result};

/// A phase may be this far from the truth.
pub const GOAL_NS: u64 = 50_000;
/// And as much of its length more.
pub const GOAL_RATIO: f64 = 0.01;

/// How long a ship works before it is profiled.
const WARM_UP: Duration = Duration::from_secs(3);

/// Phases in the order of an event's way, and the whole.
pub const PHASES: [&str; 7] = [
    "king",
    "queue",
    "compute",
    "commit_queue",
    "commit",
    "release",
    "whole",
];

/// What came of a capture.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Events per second that were asked for.
    pub events_per_second: f64,
    /// Events inside of the window by the ship's own log.
    pub events: u64,
    /// Those of them that were found.
    pub found: u64,
    /// Share of them, per cent.
    pub found_percent: f64,
    /// Events that were found and are none of the ship's.
    pub invented: u64,
    /// Messages that could not be matched, by the profiler itself.
    pub unmatched: u64,
    /// Records and sums that were lost.
    pub lost: u64,
    /// Each phase, in the order of an event's way.
    pub phases: Vec<PhaseErrors>,
}

/// How far a phase is from the truth.
#[derive(Clone, Debug, Serialize)]
pub struct PhaseErrors {
    /// Which.
    pub phase: String,
    /// Share of the events in which it is within 50 µs and 1 % of its length, per cent.
    pub within_percent: f64,
    /// Median of its length by the ship's log, ns.
    pub truth_p50_ns: u64,
    /// Median of the difference, ours less theirs, ns.
    pub bias_p50_ns: i64,
    /// Median of the size of the difference, ns.
    pub error_p50_ns: u64,
    /// Its 99th percentile, ns.
    pub error_p99_ns: u64,
    /// The largest, ns.
    pub error_max_ns: u64,
}

/// Boundaries of an event's phases: arrival, sending, computing, computed, commit, durable, released.
type Moments = [u64; 7];

/// Runs a ship with its pier in `home`, profiles it, and compares.
///
/// # Errors
/// If the ship or `profile` cannot be run, or says what makes no sense.
pub fn measure(options: &ShipOptions, home: &Path, seconds: u64) -> Result<Outcome> {
    let mut ship = options.start_in(home)?;
    // A ship that has computed nothing yet shows no number.
    std::thread::sleep(WARM_UP);
    let output = Scratch::new("events")?;
    let directory = output.path().join("run");
    let dive = Profile::deep_dive(ship.pier(), seconds).output(&directory);
    dive.json().run()?.json()?;
    ship.stop()?;
    let capture = directory.join("capture");
    let events = Profile::new([Path::new("events"), &capture]);
    let listing = events.run()?.json()?;
    compare(
        options.events_per_second.unwrap_or_default(),
        &truths(&ship)?,
        &listing,
    )
}

/// How long each event took from the king's message to mars' release of its effects, by the ship's log, in
/// ascending order, ns: of those that were sent within `sent_ktime_ns`.
///
/// # Errors
/// If its log cannot be read.
pub fn turnarounds(ship: &RunningShip, sent_ktime_ns: Range<u64>) -> Result<Vec<u64>> {
    let truths = truths(ship)?;
    let whole = truths
        .values()
        .filter(|moments| !moments.contains(&0) && sent_ktime_ns.contains(&moments[1]));
    let mut lengths: Vec<u64> = whole
        .map(|moments| moments[6].saturating_sub(moments[1]))
        .collect();
    lengths.sort_unstable();
    Ok(lengths)
}

fn number(value: &Value, field: &str) -> Result<u64> {
    value[field].as_u64().ok_or_else(|| Error::Unexpected {
        what: format!("the number {field}"),
        detail: value.to_string(),
    })
}

/// What the ship says, by the number of the event.
///
/// # Errors
/// If its log cannot be read.
fn truths(ship: &RunningShip) -> Result<BTreeMap<u64, Moments>> {
    let mut truths: BTreeMap<u64, Moments> = BTreeMap::new();
    let king = ship.king_truth()?;
    let mars = ship.mars_truth()?;
    for line in king.iter().chain(&mars) {
        let mut set = |number: u64, at: usize, ktime_ns: u64| {
            truths.entry(number).or_default()[at] = ktime_ns;
        };
        match line["event"].as_str() {
            Some("applied") => {
                let event = number(line, "number")?;
                set(event, 0, number(line, "arrival_ktime_ns")?);
                set(event, 1, number(line, "sent_ktime_ns")?);
                // A king that commits also releases.
                if let Some(released) = line["released_ktime_ns"].as_u64() {
                    set(event, 6, released);
                }
            }
            Some("computed") => {
                let event = number(line, "number")?;
                set(event, 2, number(line, "compute_start_ktime_ns")?);
                set(event, 3, number(line, "compute_end_ktime_ns")?);
            }
            Some("commit") => {
                let first = number(line, "first_event")?;
                for event in first..first + number(line, "events")? {
                    set(event, 4, number(line, "start_ktime_ns")?);
                    set(event, 5, number(line, "end_ktime_ns")?);
                }
            }
            Some("released") => {
                set(
                    number(line, "number")?,
                    6,
                    number(line, "released_ktime_ns")?,
                );
            }
            _ => {}
        }
    }
    truths.retain(|_, moments| moments.iter().all(|moment| *moment > 0));
    Ok(truths)
}

/// What `profile` says, by the number of the event.
fn found(listing: &Value) -> Result<BTreeMap<u64, Moments>> {
    let events = listing["events"].as_array().map_or(&[][..], Vec::as_slice);
    let mut found = BTreeMap::new();
    for event in events.iter().filter(|event| !event["commit"].is_null()) {
        let at = |field| number(event, field);
        let commit = &event["commit"];
        let moments = [
            at("arrived_ktime_ns")?,
            at("sent_ktime_ns")?,
            at("compute_start_ktime_ns")?,
            at("compute_end_ktime_ns")?,
            number(commit, "start_ktime_ns")?,
            number(commit, "end_ktime_ns")?,
            at("released_ktime_ns")?,
        ];
        // What has no number cannot be compared, and so is not found.
        if let Some(event) = event["number"].as_u64() {
            found.insert(event, moments);
        }
    }
    Ok(found)
}

/// Lengths of the phases, the whole last.
fn phases(moments: &Moments) -> [u64; 7] {
    let mut lengths = [0; 7];
    for at in 0..6 {
        lengths[at] = moments[at + 1].saturating_sub(moments[at]);
    }
    lengths[6] = moments[6].saturating_sub(moments[0]);
    lengths
}

fn compare(rate: f64, truths: &BTreeMap<u64, Moments>, listing: &Value) -> Result<Outcome> {
    let found = found(listing)?;
    let window = number(listing, "start_ktime_ns")?..number(listing, "end_ktime_ns")?;
    let inside: BTreeMap<&u64, &Moments> = truths
        .iter()
        .filter(|(_, moments)| window.contains(&moments[0]) && window.contains(&moments[6]))
        .collect();
    let both: Vec<([u64; 7], [u64; 7])> = inside
        .iter()
        .filter_map(|(event, truth)| Some((phases(found.get(*event)?), phases(truth))))
        .collect();
    let invented = found.keys().filter(|event| !truths.contains_key(event));
    let errors = PHASES.iter().enumerate().map(|(at, phase)| {
        let lengths = both.iter().map(|(ours, truth)| (ours[at], truth[at]));
        PhaseErrors::of(phase, &lengths.collect::<Vec<_>>())
    });
    Ok(Outcome {
        events_per_second: rate,
        events: inside.len() as u64,
        found: both.len() as u64,
        found_percent: both.len() as f64 / inside.len().max(1) as f64 * 100.0,
        invented: invented.count() as u64,
        unmatched: number(listing, "unmatched")?,
        lost: number(listing, "lost")?,
        phases: errors.collect(),
    })
}

impl PhaseErrors {
    /// Of lengths by us and by the ship.
    fn of(phase: &str, lengths: &[(u64, u64)]) -> Self {
        let is_within = |(ours, truth): &&(u64, u64)| {
            ours.abs_diff(*truth) <= GOAL_NS + (*truth as f64 * GOAL_RATIO) as u64
        };
        let within = lengths.iter().filter(is_within).count();
        let sorted = |value: fn(&(u64, u64)) -> i64| {
            let mut values: Vec<i64> = lengths.iter().map(value).collect();
            values.sort_unstable();
            values
        };
        let sizes = sorted(|(ours, truth)| ours.abs_diff(*truth).cast_signed());
        let quantile = |values: &[i64], ratio: f64| {
            let at = (values.len().saturating_sub(1) as f64 * ratio).round() as usize;
            values.get(at).copied().unwrap_or(0)
        };
        Self {
            phase: phase.to_owned(),
            within_percent: within as f64 / lengths.len().max(1) as f64 * 100.0,
            truth_p50_ns: quantile(&sorted(|(_, truth)| truth.cast_signed()), 0.5).unsigned_abs(),
            bias_p50_ns: quantile(
                &sorted(|(ours, truth)| ours.cast_signed() - truth.cast_signed()),
                0.5,
            ),
            error_p50_ns: quantile(&sizes, 0.5).unsigned_abs(),
            error_p99_ns: quantile(&sizes, 0.99).unsigned_abs(),
            error_max_ns: quantile(&sizes, 1.0).unsigned_abs(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_compared_phase_by_phase() {
        let truth: Moments = [
            1_000, 2_000, 3_000, 10_003_000, 10_004_000, 20_004_000, 20_005_000,
        ];
        let truths = BTreeMap::from([(7, truth), (8, truth.map(|at| at + 30_000_000))]);
        let event = json!({
            "number": 7, "arrived_ktime_ns": 1_000, "sent_ktime_ns": 2_000,
            "compute_start_ktime_ns": 3_000, "compute_end_ktime_ns": 10_100_000,
            "commit": {"start_ktime_ns": 10_101_000, "end_ktime_ns": 20_401_000},
            "released_ktime_ns": 20_402_000,
        });
        let question = json!({"number": null, "commit": null});
        let listing = json!({
            "start_ktime_ns": 0, "end_ktime_ns": 90_000_000, "lost": 0, "unmatched": 1,
            "events": [event, question],
        });
        let outcome = compare(100.0, &truths, &listing).unwrap();
        assert_eq!((outcome.events, outcome.found, outcome.invented), (2, 1, 0));
        assert_eq!(outcome.found_percent, 50.0);
        let of = |phase: &str| {
            let found = outcome.phases.iter().find(|one| one.phase == phase);
            let found = found.unwrap();
            (found.within_percent, found.bias_p50_ns)
        };
        // 97 µs of 10 ms are within 50 µs and 1 %, 300 µs are not.
        assert_eq!(of("compute"), (100.0, 97_000));
        assert_eq!(of("commit"), (0.0, 300_000));
        assert_eq!(of("king"), (100.0, 0));
    }
}
