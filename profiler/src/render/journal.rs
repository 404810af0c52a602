//! The journal of changes.

use serde::Serialize;

use super::json::pretty;
use super::moment;
use super::page::{Page, WIDTH};
use crate::diff::{Entry, Journal, Taken};
use crate::report::units::{count, duration, percent, percent_range};

/// Where the text of a field begins.
const FIELD: usize = 11;

/// All changes, one line each.
pub fn list(journal: &Journal) -> String {
    let mut page = Page::default();
    if journal.entries.is_empty() {
        page.line("no change in the journal; profile journal add --help says how one gets there");
        return page.into_text();
    }
    page.line(&format!(
        "{:>4}  {:<17}{:<16}{:<14}{}",
        "NO", "WHEN (UTC)", "OUTCOME", "FIX", "WHAT"
    ));
    for (number, entry) in &journal.entries {
        let start = format!(
            "{number:>4}  {:<17}{:<16}{:<14}",
            moment(entry.at_unix_ns),
            entry.outcome.name(),
            super::harmless(entry.fix.as_deref().unwrap_or("-"))
        );
        page.line(&cut(&start, &super::harmless(&entry.what)));
    }
    page.into_text()
}

/// So much of a text as there is room for.
fn cut(start: &str, text: &str) -> String {
    let room = WIDTH.saturating_sub(start.chars().count());
    match text.chars().count() <= room {
        true => format!("{start}{text}"),
        false => {
            let kept: String = text.chars().take(room.saturating_sub(1)).collect();
            format!("{start}{kept}…")
        }
    }
}

/// One change, whole.
pub fn entry(number: Option<usize>, entry: &Entry) -> String {
    let mut page = Page::default();
    let mut field = |name: &str, text: &str| {
        page.hanging(&format!("{name:<FIELD$}"), FIELD, text);
    };
    if let Some(number) = number {
        field("number", &number.to_string());
    }
    field("when", &format!("{} UTC", moment(entry.at_unix_ns)));
    field("ship", &entry.ship);
    field("what", &entry.what);
    if let Some(fix) = &entry.fix {
        field("fix", fix);
    }
    field("before", &taken(&entry.before));
    field("after", &taken(&entry.after));
    match entry.changes.is_empty() {
        true => field("changed", "nothing of host and ship that a capture holds"),
        false => {
            for (at, change) in entry.changes.iter().enumerate() {
                let (what, before, after) = (&change.what, &change.before, &change.after);
                let name = if at == 0 { "changed" } else { "" };
                field(name, &format!("{what}: {before} → {after}"));
            }
        }
    }
    field("outcome", &entry.sentence);
    if let Some(expected) = &entry.expected {
        let predicted = expected.predicted_ratio;
        let predicted = predicted.map(|(low, high)| percent_range(low, high));
        field("predicted", predicted.as_deref().unwrap_or("nothing"));
        let measured = expected.measured_ratio.map(percent);
        field("measured", measured.as_deref().unwrap_or("not known"));
        field("gain", &expected.sentence);
    }
    page.into_text()
}

fn taken(taken: &Taken) -> String {
    let when = moment(taken.start_unix_ns);
    let mut text = format!("{when} UTC, {}", duration(taken.duration_ns));
    if let Some(events) = taken.events {
        text.push_str(&format!(", {} events", count(events)));
    }
    if let Some(p95_ns) = taken.p95_ns {
        text.push_str(&format!(", p95 {}", duration(p95_ns)));
    }
    format!("{text}   {}", taken.name)
}

/// As JSON: an entry, or all of them.
///
/// # Errors
/// Never in practice: there is nothing in it that JSON has no form for.
pub fn json(value: &impl Serialize) -> serde_json::Result<String> {
    pretty(value)
}
