//! Before and after: two captures of a ship against each other.

mod changes;
mod check;
mod compare;
mod datagrams;
mod estimate;
mod expect;
mod journal;
mod load;
mod pool;
mod sample;
mod sentence;
#[cfg(test)]
mod tests;

pub use changes::{Change, changes};
pub use check::{Check, Tally, check};
pub use compare::{Comparison, Line, Metric, Outcome, compare};
pub use datagrams::Datagrams;
pub use expect::{Came, Expected, expected};
pub use journal::{ENTRY_VERSION, Entry, Journal, Taken};
pub use load::{KindLoad, Load};
pub use pool::{Window, pooled};
pub use sample::{Sample, SampleEvent};

use serde::Serialize;

use crate::attribute::{Attribution, VerdictKind};
use crate::model::{Capture, Meta};
use crate::recommend::Fix;
use crate::report::{EventTimesLine, Report};

/// Version of [`Diff`] as JSON.
pub const SCHEMA_VERSION: u32 = 1;

/// One of the two captures.
pub struct Side<'a> {
    /// What the user called it.
    pub name: &'a str,
    /// The capture.
    pub capture: &'a Capture,
    /// Its causes.
    pub attribution: &'a Attribution,
    /// Its report.
    pub report: &'a Report,
}

/// A capture in one line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SideLine {
    /// What the user called it.
    pub name: String,
    /// When it began, `CLOCK_REALTIME`.
    pub start_unix_ns: u64,
    /// How long it lasted.
    pub duration_ns: u64,
    /// Events that could be followed; nothing if none could.
    pub events: Option<u64>,
    /// Their p95.
    pub p95_ns: Option<u64>,
    /// Share of their time that was not their own computing.
    pub stalled_ratio: Option<f64>,
    /// Its verdict.
    pub verdict: VerdictKind,
}

impl SideLine {
    /// Of a report.
    pub fn of(name: &str, report: &Report) -> Self {
        let times = report.event_times.as_ref();
        let all = times.map(|times| &times.all);
        Self {
            name: name.to_owned(),
            start_unix_ns: report.window.start_unix_ns,
            duration_ns: report.window.duration_ns,
            events: all.map(|all| all.count),
            p95_ns: all.map(|all| all.p95_ns),
            stalled_ratio: stalled_ratio(times.into_iter()),
            verdict: report.verdict.kind,
        }
    }
}

/// Share of the events' time that was not their own computing; nothing without events.
fn stalled_ratio<'a>(all: impl Iterator<Item = &'a EventTimesLine>) -> Option<f64> {
    let (own_ns, total_ns) = all.fold((0.0, 0.0), |(own_ns, total_ns), times| {
        let (own, total) = (times.own_computing_ns, times.all.total_ns);
        (own_ns + own as f64, total_ns + total as f64)
    });
    (total_ns > 0.0).then(|| (1.0 - own_ns / total_ns).max(0.0))
}

/// Two captures against each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diff {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The ship.
    pub ship: String,
    /// The earlier capture.
    pub before: SideLine,
    /// The later one.
    pub after: SideLine,
    /// What it comes to, in one sentence.
    pub sentence: String,
    /// The measures, and what became of each.
    #[serde(flatten)]
    pub comparison: Comparison,
    /// Datagrams that were lost; nothing if either side could not count them.
    pub datagrams: Option<Datagrams>,
    /// What of host and ship is another.
    pub changes: Vec<Change>,
    /// What weakens the comparison.
    pub warnings: Vec<String>,
    /// What was predicted of a fix, and what came; nothing if it was not asked for.
    pub expected: Option<Expected>,
}

/// Two captures that are no before and after.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{before} is of the ship {ship_before}, {after} of {ship_after}: only captures of one ship can be compared"
)]
pub struct OtherShip {
    before: String,
    after: String,
    ship_before: String,
    ship_after: String,
}

/// Compares two captures. The same captures always give the same.
///
/// # Errors
/// If they are of two ships.
pub fn diff(before: &Side<'_>, after: &Side<'_>, fix: Option<&Fix>) -> Result<Diff, OtherShip> {
    same_ship(before, after)?;
    let mut comparison = match samples(before, after) {
        Ok((old, new)) => compare(&old, &new),
        Err(reason) => Comparison::unknown(reason),
    };
    let reports = [before, after].map(|side| std::iter::once(side.report));
    let [old, new] = reports;
    let datagrams = Datagrams::of(old, new);
    let sentence = decide(&mut comparison, datagrams.as_ref());
    let changes = changes(&before.capture.meta, &after.capture.meta);
    Ok(Diff {
        schema_version: SCHEMA_VERSION,
        ship: before.report.ship.label.clone(),
        before: SideLine::of(before.name, before.report),
        after: SideLine::of(after.name, after.report),
        sentence,
        datagrams,
        warnings: warnings(before, after, &comparison, &changes),
        expected: fix.map(|fix| expected(fix, &comparison, before.report, after.report)),
        comparison,
        changes,
    })
}

/// Lets lost datagrams decide where their number changed; the sentence for the whole.
fn decide(comparison: &mut Comparison, datagrams: Option<&Datagrams>) -> String {
    let latency = sentence::sentence(comparison);
    match datagrams.filter(|found| found.outcome.is_change()) {
        Some(found) => {
            comparison.outcome = found.outcome;
            let title = found.outcome.title();
            format!(
                "{title}. {}. The events' time alone: {latency}",
                found.words()
            )
        }
        None => latency,
    }
}

/// By name, or where a capture knows none, by pier.
fn same_ship(before: &Side<'_>, after: &Side<'_>) -> Result<(), OtherShip> {
    let (old, new) = (&before.capture.meta.ship, &after.capture.meta.ship);
    let same = match (&old.name, &new.name) {
        (Some(old), Some(new)) => old.text == new.text,
        _ => old.pier.inside == new.pier.inside,
    };
    match same {
        true => Ok(()),
        false => Err(OtherShip {
            before: before.name.to_owned(),
            after: after.name.to_owned(),
            ship_before: old.label(),
            ship_after: new.label(),
        }),
    }
}

/// The events of both, or whose could not be followed.
fn samples(before: &Side<'_>, after: &Side<'_>) -> Result<(Sample, Sample), String> {
    let of = |which: &str, side: &Side<'_>| {
        Sample::of(side.capture, side.attribution).ok_or_else(|| {
            let events = "too few of its events could be followed from arrival to release";
            format!("{which} tells no event latency: {events}")
        })
    };
    Ok((of("BEFORE", before)?, of("AFTER", after)?))
}

fn warnings(
    before: &Side<'_>,
    after: &Side<'_>,
    comparison: &Comparison,
    changes: &[Change],
) -> Vec<String> {
    let mut warnings = Vec::new();
    if changes.len() > 1 {
        warnings.push(format!(
            "more than one thing changed ({}): which of them did it cannot be told; make one change \
             at a time",
            changes.len()
        ));
    }
    let start = |meta: &Meta| meta.clocks.start_unix_ns;
    let (old, new) = (&before.capture.meta, &after.capture.meta);
    if start(old) == start(new) {
        warnings.push("both are the same capture".to_owned());
    } else if start(old) > start(new) {
        warnings.push("AFTER was taken earlier than BEFORE".to_owned());
    }
    warnings.extend(comparison.load.warning());
    for (which, side) in [("BEFORE", before), ("AFTER", after)] {
        let first = side.report.incomplete.first();
        warnings.extend(first.map(|first| format!("{which} is incomplete: {first}")));
        if side.report.verdict.kind == VerdictKind::NotUp {
            warnings.push(format!("{which}: the ship was not up"));
        }
    }
    warnings
}
