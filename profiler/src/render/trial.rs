//! A trial: what it is about to do, and what came of it.

use serde::Serialize;

use super::diff::lines;
use super::json::pretty;
use super::page::Page;
use crate::diff::SideLine;
use crate::report::units::{count, duration, duration_range, percent_range};
use crate::trial::{Intent, Outcome, Predicted, StepLine, Timeline};

/// Where texts begin.
const FIELD: usize = 11;

fn field(page: &mut Page, name: &str, text: &str) {
    page.hanging(&format!("{name:<FIELD$}"), FIELD, text);
}

/// What it is about to do.
pub fn intent(intent: &Intent) -> String {
    let mut page = Page::default();
    field(
        &mut page,
        "TRIAL",
        &format!("{}: {}", intent.fix, intent.title),
    );
    field(&mut page, "ship", &intent.ship);
    steps(&mut page, "CHANGES", &intent.steps);
    field(
        &mut page,
        "undo",
        "each value as it was, at the end, on any error or signal, and by \
         profile trial --undo",
    );
    match &intent.predicted {
        Some(fix) => predicted(&mut page, fix),
        None => field(
            &mut page,
            "PREDICTED",
            "not measured: the first window tells",
        ),
    }
    field(&mut page, "WINDOWS", &timeline(intent.timeline));
    field(&mut page, "", &intent.windows.join(", "));
    page.into_text()
}

/// What came of it.
pub fn outcome(outcome: &Outcome) -> String {
    let mut page = Page::default();
    field(
        &mut page,
        "TRIAL",
        &format!("{}: {}", outcome.fix, outcome.title),
    );
    field(&mut page, "ship", &outcome.diff.ship);
    page.blank();
    field(&mut page, "VERDICT", &outcome.diff.sentence);
    predicted(&mut page, &outcome.predicted);
    if let Some(expected) = &outcome.diff.expected {
        field(&mut page, "MEASURED", &expected.sentence);
    }
    for warning in &outcome.diff.warnings {
        field(&mut page, "WARNING", warning);
    }
    page.blank();
    steps(
        &mut page,
        if outcome.kept { "KEPT" } else { "UNDONE" },
        &outcome.steps,
    );
    for left in &outcome.left {
        field(&mut page, "NOT UNDONE", left);
    }
    if outcome.kept {
        commands(&mut page, "undo", &outcome.undo);
        commands(&mut page, "to last", &outcome.lasting);
    }
    page.blank();
    field(&mut page, "WINDOWS", &timeline(outcome.timeline));
    for window in &outcome.windows {
        page.line(&row(window));
    }
    if !outcome.diff.comparison.lines.is_empty() {
        page.blank();
        lines(&mut page, &outcome.diff.comparison.lines);
    }
    page.into_text()
}

fn timeline(timeline: Timeline) -> String {
    let Timeline {
        rounds,
        window_s,
        settle_s,
    } = timeline;
    let seconds = u64::from(rounds) * 2 * window_s + u64::from(rounds) * settle_s;
    format!(
        "{rounds} without and {rounds} with the change, {window_s} s each, {settle_s} s after each change; \
         some {seconds} s in all"
    )
}

fn steps(page: &mut Page, name: &str, steps: &[StepLine]) {
    for (at, step) in steps.iter().enumerate() {
        let name = if at == 0 { name } else { "" };
        let text = format!("{}: {} → {}", step.what, step.before, step.applied);
        field(page, name, &text);
    }
}

fn predicted(page: &mut Page, predicted: &Predicted) {
    let mut text = match (&predicted.p95, predicted.gain_ratio) {
        (Some(p95), _) => format!(
            "p95 {} → {}",
            duration(p95.before_ns),
            duration_range(p95.low_ns, p95.high_ns)
        ),
        (None, Some((low, high))) => format!("{} of stalls less", percent_range(low, high)),
        (None, None) => "nothing".to_owned(),
    };
    text.push_str(&format!(" ({}: {})", predicted.answer, predicted.reason));
    field(page, "PREDICTED", &text);
}

/// Not wrapped: they are there to be copied.
fn commands(page: &mut Page, name: &str, commands: &[String]) {
    for command in commands {
        page.line(&format!("{name:<FIELD$}{command}"));
    }
}

fn row(window: &SideLine) -> String {
    let events = match window.events {
        Some(events) => format!("{} events", count(events)),
        None => "no event could be followed".to_owned(),
    };
    let p95 = window.p95_ns.map(|ns| format!(", p95 {}", duration(ns)));
    let name = &window.name;
    format!("{:FIELD$}{name:<12}{events}{}", "", p95.unwrap_or_default())
}

/// Either as JSON.
///
/// # Errors
/// Never in practice: there is nothing in it that JSON has no form for.
pub fn json(value: &impl Serialize) -> serde_json::Result<String> {
    pretty(value)
}
