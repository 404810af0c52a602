//! What pictures and tooltips say in words.

use super::Picture;
use crate::aggregate::hoon;
use crate::aggregate::stacks::{
    Difference, Scale, Sides, StackKind, Weight, events, faults_are_timed,
};
use crate::hoon::Folding;
use crate::model::Capture;
use crate::render::harmless;
use crate::report::units::{count, duration, percent};

/// Title and subtitle.
pub struct Text {
    /// The title.
    pub title: String,
    /// The line under it.
    pub subtitle: String,
}

/// What weights are counted in.
pub struct Unit {
    is_time: bool,
    /// What single parts are: `samples`, `waits`.
    parts: &'static str,
}

impl Unit {
    /// Of a picture.
    pub fn of(picture: &Picture<'_>) -> Self {
        let captures = [Some(picture.capture), picture.baseline];
        let mut captures = captures.into_iter().flatten();
        Self {
            is_time: picture.kind != StackKind::PageFault || captures.all(faults_are_timed),
            parts: match picture.kind {
                StackKind::OnCpu | StackKind::Hoon | StackKind::Mixed => "samples",
                StackKind::OffCpu | StackKind::Wakeup => "waits",
                StackKind::Dirty => "samples and waits",
                StackKind::BlockIo => "requests",
                StackKind::PageFault => "faults",
            },
        }
    }

    /// `12.1 s, 1,203 samples`.
    pub fn amount(&self, weight: &Weight) -> String {
        let parts = format!("{} {}", count(weight.count), self.parts);
        if self.is_time {
            format!("{}, {parts}", duration(weight.total))
        } else {
            parts
        }
    }

    /// `12.1 s`.
    pub fn of_all(&self, weight: &Weight) -> String {
        self.value(weight.total as f64)
    }

    fn value(&self, total: f64) -> String {
        if self.is_time {
            duration(total.round() as u64)
        } else {
            format!("{total:.1} {}", self.parts)
        }
    }

    /// `2.1 ms an event before, 3.0 ms after: +43 %`.
    pub fn change(&self, difference: &Difference, scale: &Scale) -> String {
        let (before, after) = (difference.before, difference.after);
        let values = match scale {
            Scale::PerEvent(_) => {
                let (before, after) = (self.value(before), self.value(after));
                format!("{before} an event before, {after} after")
            }
            Scale::Share(_) => format!("{} before, {} after", percent(before), percent(after)),
        };
        let change = if before <= 0.0 {
            "new".to_owned()
        } else if after <= 0.0 {
            "gone".to_owned()
        } else {
            format!("{:+.1} %", (after / before - 1.0) * 100.0)
        };
        let noise = if difference.is_noise {
            ", within noise"
        } else {
            ""
        };
        format!("{values}: {change}{noise}")
    }
}

/// A ship and its version: `~zod, vere 4.6`. Without parentheses, as tooltips must be.
fn ship(capture: &Capture) -> String {
    let ship = &capture.meta.ship;
    let version = ship.version.as_deref().map_or_else(
        || "vere, version unknown".to_owned(),
        |version| format!("vere {version}"),
    );
    harmless(&format!("{}, {version}", ship.label())).replace(['(', ')'], "|")
}

fn lost(capture: &Capture) -> String {
    format!("{} lost", count(capture.meta.losses.total()))
}

/// Where a tooltip's numbers come from.
pub fn source(capture: &Capture) -> String {
    let length = duration(capture.meta.clocks.duration_ns());
    format!("{}, {length}, {}", ship(capture), lost(capture))
}

/// The same of two captures.
pub fn sources(capture: &Capture, baseline: &Capture) -> String {
    format!("before {}; after {}", source(baseline), source(capture))
}

fn what(picture: &Picture<'_>) -> String {
    let what = match picture.kind {
        StackKind::OnCpu => "time on CPU",
        StackKind::OffCpu => "time off CPU by cause",
        StackKind::Hoon => "time on CPU in Hoon",
        StackKind::Mixed => "time on CPU, Hoon over C",
        StackKind::BlockIo => "block I/O from queued to done",
        StackKind::PageFault => "major page faults",
        StackKind::Dirty => "dirty tracking",
        StackKind::Wakeup => "time waited, by who ended it",
    };
    let folding = match (picture.kind, picture.folding) {
        (StackKind::Hoon | StackKind::Mixed | StackKind::Dirty, Folding::File) => ", by file",
        (StackKind::Hoon | StackKind::Mixed | StackKind::Dirty, Folding::Owner) => {
            ", by agent and vane"
        }
        _ => "",
    };
    format!("{what}{folding}")
}

/// What a kind leaves out, or what may be missing.
fn notes(picture: &Picture<'_>) -> String {
    let meta = &picture.capture.meta;
    match picture.kind {
        StackKind::OffCpu => format!(
            "; waits of {} and more, none for work",
            duration(meta.threshold_ns)
        ),
        StackKind::Wakeup => format!("; waits of {} and more", duration(meta.timeline_ns)),
        StackKind::Hoon | StackKind::Mixed => unresolved(picture.capture),
        _ => String::new(),
    }
}

/// How many frames of Hoon stacks have no name.
fn unresolved(capture: &Capture) -> String {
    let Some(hoon) = hoon::summarise(capture) else {
        return String::new();
    };
    let unresolved = hoon.unresolved.values().sum();
    format!(
        "; {} of {} Hoon frames without a name",
        count(unresolved),
        count(hoon.frames)
    )
}

/// Of one capture.
pub fn of_one(picture: &Picture<'_>, unit: &Unit, total: &Weight) -> Text {
    let capture = picture.capture;
    Text {
        title: format!("{}: {}", ship(capture), what(picture)),
        subtitle: format!(
            "{} in {}; {}{}",
            unit.amount(total),
            duration(capture.meta.clocks.duration_ns()),
            lost(capture),
            notes(picture)
        ),
    }
}

/// Of what changed between two.
pub fn of_two(
    picture: &Picture<'_>,
    baseline: &Capture,
    unit: &Unit,
    scale: &Scale,
    total: &Sides,
) -> Text {
    let per = match scale {
        Scale::PerEvent(_) => "per event",
        Scale::Share(_) => "as shares",
    };
    let of = |capture: &Capture, weight: &Weight| {
        let events = events(capture);
        let events = events.map_or("events not known".to_owned(), |n| {
            format!("{} events", count(n))
        });
        format!(
            "{} in {}, {events}, {}",
            unit.amount(weight),
            duration(capture.meta.clocks.duration_ns()),
            lost(capture)
        )
    };
    Text {
        title: format!(
            "{}: change of {}, {per}",
            ship(picture.capture),
            what(picture)
        ),
        subtitle: format!(
            "before {}; after {}; widths are the mean of both",
            of(baseline, &total[1]),
            of(picture.capture, &total[0])
        ),
    }
}
