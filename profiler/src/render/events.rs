//! Lines about single events: how long those of each kind took, and where the slowest was held up.

use super::page::Page;
use crate::report::units::{count, duration};
use crate::report::{EventTimesLine, WorstEvent};

/// Parts of the slowest event that are told.
const SHOWN_PARTS: usize = 2;
/// A part of it is told from this share on.
const SHOWN_RATIO: f64 = 0.05;

/// The lines.
pub fn events(page: &mut Page, times: &EventTimesLine) {
    if times.kinds.len() > 1 {
        let kinds = times.kinds.iter().map(|line| {
            format!(
                "{} {}, p95 {}",
                count(line.times.count),
                line.kind.name(),
                duration(line.times.p95_ns)
            )
        });
        let kinds: Vec<String> = kinds.collect();
        page.wrapped("BY KIND  ", &kinds.join(" · "));
    }
    if let Some(worst) = times.worst.first() {
        page.wrapped("SLOWEST  ", &slowest(worst));
    }
}

fn slowest(event: &WorstEvent) -> String {
    let number = event.number.map_or("an event".to_owned(), |number| {
        format!("event {}", count(number))
    });
    let kind = event
        .kind
        .map_or(String::new(), |kind| format!(" ({})", kind.name()));
    let parts = event.parts.iter().take(SHOWN_PARTS);
    let parts = parts.filter(|part| part.total_ns as f64 >= event.duration_ns as f64 * SHOWN_RATIO);
    let parts = parts.map(|part| {
        let estimate = if part.estimated { "~" } else { "" };
        format!("{} {estimate}{}", part.leaf.name(), duration(part.total_ns))
    });
    let parts: Vec<String> = parts.collect();
    format!(
        "{}, {number}{kind}: {}",
        duration(event.duration_ns),
        parts.join(" · ")
    )
}
