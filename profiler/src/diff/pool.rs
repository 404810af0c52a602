//! Several windows without a change against several with it, put together: what a trial measures. Events of
//! all windows of a side count as those of one capture; how much its windows differ is then part of the
//! noise, so what comes and goes by itself is not taken for the change's work.

use super::compare::{Comparison, compare};
use super::datagrams::Datagrams;
use super::sample::{Sample, SampleEvent};
use super::{Diff, SCHEMA_VERSION, SideLine, changes, decide, expected, stalled_ratio};
use crate::attribute::{Attribution, VerdictKind};
use crate::model::{Capture, Meta};
use crate::recommend::Fix;
use crate::report::Report;

/// What is kept of a window.
pub struct Window {
    /// In one line.
    pub line: SideLine,
    /// Its circumstances.
    pub meta: Meta,
    /// Its report.
    pub report: Report,
    /// Its events; nothing if too few could be followed.
    sample: Option<Sample>,
}

impl Window {
    /// Of a capture, of which no more is kept than is compared.
    pub fn of(name: &str, capture: Capture, attribution: &Attribution, report: Report) -> Self {
        Self {
            line: SideLine::of(name, &report),
            sample: Sample::of(&capture, attribution),
            meta: capture.meta,
            report,
        }
    }
}

/// Compares the windows of both sides. Nothing if a side has none.
pub fn pooled(without: &[Window], with: &[Window], fix: &Fix) -> Option<Diff> {
    let (first, changed) = (without.first()?, with.first()?);
    let (old, new) = (pool(without), pool(with));
    let mut comparison = match (&old, &new) {
        (Some(old), Some(new)) => compare(old, new),
        _ => Comparison::unknown(
            "in some window too few events could be followed from arrival to release".to_owned(),
        ),
    };
    comparison.unknown = comparison.unknown.map(|why| renamed(&why));
    let [lost, still] = [without, with].map(|side| side.iter().map(|window| &window.report));
    let datagrams = Datagrams::of(lost, still);
    let (before, after) = (&first.report, &changed.report);
    let mut expected = expected(fix, &comparison, before, after);
    expected.sentence = expected.sentence.replace("BEFORE", "the first window");
    let sentence = decide(&mut comparison, datagrams.as_ref());
    Some(Diff {
        schema_version: SCHEMA_VERSION,
        ship: before.ship.label.clone(),
        before: line("without", without, old.as_ref()),
        after: line("with", with, new.as_ref()),
        sentence,
        datagrams,
        warnings: warnings(without, with, &comparison),
        expected: Some(expected),
        comparison,
        changes: changes(&first.meta, &changed.meta),
    })
}

/// One after the other.
fn pool(windows: &[Window]) -> Option<Sample> {
    let mut all = Sample {
        window_ns: 0,
        windows: 0,
        events: Vec::new(),
    };
    for window in windows {
        let sample = window.sample.as_ref()?;
        let begun_ns = all.window_ns;
        all.events
            .extend(sample.events.iter().map(|event| SampleEvent {
                at_ns: event.at_ns.saturating_add(begun_ns),
                ..*event
            }));
        all.window_ns += sample.window_ns;
        all.windows += sample.windows;
    }
    Some(all)
}

/// A comparison's words for its two sides, as they are called here.
fn renamed(text: &str) -> String {
    text.replace("BEFORE", "WITHOUT").replace("AFTER", "WITH")
}

fn line(name: &str, windows: &[Window], pooled: Option<&Sample>) -> SideLine {
    let p95_ns = |sample: &Sample| {
        let times = sample.events.iter().map(|event| event.duration_ns);
        let mut times: Vec<u64> = times.collect();
        times.sort_unstable();
        let rank = (times.len() as f64 * 0.95).ceil() as usize;
        times.get(rank.max(1) - 1).copied()
    };
    let first = windows.first().map(|window| &window.line);
    let times = windows
        .iter()
        .filter_map(|window| window.report.event_times.as_ref());
    SideLine {
        name: format!("{} windows {name} the change", windows.len()),
        start_unix_ns: first.map_or(0, |line| line.start_unix_ns),
        duration_ns: windows.iter().map(|window| window.line.duration_ns).sum(),
        events: pooled.map(|sample| sample.events.len() as u64),
        p95_ns: pooled.and_then(p95_ns),
        stalled_ratio: stalled_ratio(times),
        verdict: first.map_or(VerdictKind::NotUp, |line| line.verdict),
    }
}

fn warnings(without: &[Window], with: &[Window], comparison: &Comparison) -> Vec<String> {
    let mut warnings: Vec<String> = comparison
        .load
        .warning()
        .map(|one| renamed(&one))
        .into_iter()
        .collect();
    for window in without.iter().chain(with) {
        let name = &window.line.name;
        let first = window.report.incomplete.first();
        warnings.extend(first.map(|first| format!("{name} is incomplete: {first}")));
        if window.line.verdict == VerdictKind::NotUp {
            warnings.push(format!("{name}: the ship was not up"));
        }
    }
    warnings
}
