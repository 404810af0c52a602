//! Before and after, for people and for programs.

use super::json::pretty;
use super::moment;
use super::page::Page;
use crate::diff::{Check, Diff, Line, Load, Metric, SideLine, Tally};
use crate::model::NS_PER_S;
use crate::report::units::{count, duration, percent};

/// Shares in the table of kinds are of one of the two loads.
fn share(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".to_owned(),
        _ => format!("{:.0} %", 100.0 * part as f64 / whole as f64),
    }
}

/// For a terminal.
pub fn text(diff: &Diff) -> String {
    let mut page = Page::default();
    side(&mut page, &diff.ship, "before", &diff.before);
    side(&mut page, "", "after", &diff.after);
    page.blank();
    page.wrapped("VERDICT  ", &diff.sentence);
    for warning in &diff.warnings {
        page.wrapped("WARNING  ", warning);
    }
    if let Some(expected) = &diff.expected {
        page.wrapped("EXPECTED ", &expected.sentence);
    }
    if !diff.comparison.lines.is_empty() {
        page.blank();
        lines(&mut page, &diff.comparison.lines);
    }
    if !diff.comparison.load.kinds.is_empty() {
        page.blank();
        load(&mut page, &diff.comparison.load);
    }
    page.blank();
    changes(&mut page, diff);
    page.into_text()
}

fn side(page: &mut Page, ship: &str, which: &str, side: &SideLine) {
    let events = match side.events {
        Some(events) => format!("{} events", count(events)),
        None => "no event could be followed".to_owned(),
    };
    let start = format!("{which:<7}{}  ", moment(side.start_unix_ns));
    let length = duration(side.duration_ns);
    if !ship.is_empty() {
        page.line(ship);
    }
    page.hanging(&start, 9, &format!("{length}, {events}   {}", side.name));
}

/// The table of what was measured.
pub(super) fn lines(page: &mut Page, lines: &[Line]) {
    page.line(&format!(
        "{:<24}{:>10}{:>10}{:>10}{:>9}  {}",
        "EVENT TIME", "before", "after", "change", "noise", "outcome"
    ));
    let latency = lines.iter().filter(|line| line.metric.is_latency());
    latency.for_each(|one| line(page, one, 0.0));
    // What causes changed by is told as a share of the mean event before.
    let causes = || {
        let of = |line: &&Line| matches!(line.metric, Metric::Cause(_));
        lines.iter().filter(of)
    };
    let event_ns: f64 = causes().map(|line| line.before).sum();
    page.line("mean of an event, of that");
    causes().for_each(|one| line(page, one, event_ns));
    let rest = lines
        .iter()
        .filter(|line| line.metric == Metric::Throughput);
    rest.for_each(|one| line(page, one, 0.0));
}

fn line(page: &mut Page, line: &Line, event_ns: f64) {
    let (name, whole) = match line.metric {
        Metric::P50 => ("p50", line.before),
        Metric::P95 => ("p95", line.before),
        Metric::Quick => ("quickest quarter, mean", line.before),
        Metric::Cause(cause) => (cause.name(), event_ns),
        Metric::Throughput => ("events a second", line.before),
    };
    let indent = if event_ns > 0.0 { "  " } else { "" };
    let value = |value: f64| match line.metric {
        Metric::Throughput => format!("{value:.1}"),
        _ => duration(value as u64),
    };
    let ratio = |value: f64, sign: bool| match whole > 0.0 {
        true if value / whole >= 10.0 => format!("x {:.0}", value / whole),
        true if sign => format!("{:+.0} %", 100.0 * value / whole),
        true => format!("{:.0} %", 100.0 * value / whole),
        false => "-".to_owned(),
    };
    page.line(&format!(
        "{:<24}{:>10}{:>10}{:>10}{:>9}  {}",
        format!("{indent}{name}"),
        value(line.before),
        value(line.after),
        ratio(line.change(), true),
        ratio(line.noise, false),
        line.outcome.name()
    ));
    if let Some(reason) = &line.reason {
        page.hanging(&format!("{indent}  "), 4, reason);
    }
}

fn load(page: &mut Page, load: &Load) {
    page.line(&format!(
        "{:<24}{:>10}{:>10}{:>10}",
        "LOAD", "before", "after", "compared"
    ));
    page.line(&format!(
        "{:<24}{:>10.1}{:>10.1}",
        "events a second", load.before_hz, load.after_hz
    ));
    let total = |of: fn(&crate::diff::KindLoad) -> u64| load.kinds.iter().map(of).sum::<u64>();
    let (before, after) = (total(|kind| kind.before), total(|kind| kind.after));
    for kind in &load.kinds {
        page.line(&format!(
            "{:<24}{:>10}{:>10}{:>10}",
            format!("  {}", kind.kind.name()),
            share(kind.before, before),
            share(kind.after, after),
            kind.share
                .map_or("no".to_owned(), |share| format!("{:.0} %", share * 100.0))
        ));
    }
    if load.reweighted && load.too_different.is_none() {
        page.wrapped(
            "",
            "Kinds of events are weighted alike on both sides (\"compared\"), so the times above are \
             not those of the reports.",
        );
    }
    for (which, at_limit) in [
        ("BEFORE", load.before_at_limit),
        ("AFTER", load.after_at_limit),
    ] {
        if at_limit {
            page.line(&format!("{which}: more came than the ship could do."));
        }
    }
}

fn changes(page: &mut Page, diff: &Diff) {
    if diff.changes.is_empty() {
        page.line("CHANGED  nothing of host and ship that a capture holds");
    }
    for (at, change) in diff.changes.iter().enumerate() {
        let heading = if at == 0 { "CHANGED  " } else { "         " };
        let (before, after) = (&change.before, &change.after);
        page.hanging(heading, 11, &format!("{}: {before} → {after}", change.what));
    }
}

/// As JSON.
///
/// # Errors
/// Never in practice: there is nothing in it that JSON has no form for.
pub fn json(diff: &Diff) -> serde_json::Result<String> {
    pretty(diff)
}

/// How well it tells.
pub fn check_text(check: &Check) -> String {
    let mut page = Page::default();
    let [fewest, mean, most] = check.events;
    page.wrapped(
        "",
        &format!(
            "{} pairs of windows of {} from a capture of {}, {} to {} events each ({} on average); \
             noise, median: p50 {}, p95 {}, mean of the quickest quarter {}",
            check.same.pairs,
            duration(check.window_ns),
            duration(check.recording_ns),
            count(fewest),
            count(most),
            count(mean),
            percent(check.noise_ratios[0]),
            percent(check.noise_ratios[1]),
            percent(check.noise_ratios[2])
        ),
    );
    page.blank();
    page.line(&format!(
        "{:<26}{:>8}{:>8}{:>11}{:>17}",
        "PAIRS", "helped", "worse", "no effect", "not enough data"
    ));
    let row = |page: &mut Page, name: &str, tally: &Tally| {
        page.line(&format!(
            "{name:<26}{:>8}{:>8}{:>11}{:>17}",
            tally.helped, tally.worse, tally.no_effect, tally.not_enough_data
        ));
    };
    row(&mut page, "as they are", &check.same);
    let shift = format!("shifted by {:.0} %, up or down", check.shift_ratio * 100.0);
    row(&mut page, &shift, &check.shifted);
    page.blank();
    let of = |part: u64, tally: &Tally| percent(part as f64 / tally.pairs.max(1) as f64);
    let alarms = check.same.helped + check.same.worse;
    page.line(&format!(
        "wrongly called helped or worse  {}   (any measure at all: {})",
        of(alarms, &check.same),
        of(check.same.any_changed, &check.same)
    ));
    page.line(&format!(
        "shifts found                    {}",
        of(check.shifted.found, &check.shifted)
    ));
    page.into_text()
}

/// The same as JSON.
///
/// # Errors
/// Never in practice.
pub fn check_json(check: &Check) -> serde_json::Result<String> {
    pretty(check)
}

/// Seconds, for lists.
pub(super) fn seconds(ns: u64) -> String {
    format!("{:.0} s", ns as f64 / NS_PER_S as f64)
}
