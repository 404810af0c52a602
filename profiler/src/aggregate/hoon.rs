//! Hoon stacks: whose code mars computed, and how much of it is known.

use std::collections::BTreeMap;

use profiler_common::hoon::{END_ABSENT, END_LAYOUT, END_ROADS, END_WHOLE};
use serde::Serialize;

use crate::hoon::{Folding, HoonNames, Unresolved, fold};
use crate::model::{Capture, Event, HoonEvent};

/// What Hoon stacks were taken, and what they say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HoonSummary {
    /// Samples of mars' main thread on CPU.
    pub samples: u64,
    /// Of those, under a computation; the others were in what the runtime does around it.
    pub computing: u64,
    /// Samples whose memory is of a layout that is not known: nothing was read.
    pub unknown_layout: u64,
    /// Samples whose outer frames are missing, or all: not in memory, too many, or no list of hints.
    pub incomplete: u64,
    /// Frames of all stacks.
    pub frames: u64,
    /// Of those, without a name, by reason.
    pub unresolved: BTreeMap<Unresolved, u64>,
    /// Samples under a computation by whose code ran, the most first: the innermost agent or vane.
    pub owners: Vec<(String, u64)>,
    /// Samples under a computation of which that is not known.
    pub without_owner: u64,
}

/// Sums them up; nothing if none were taken.
pub fn summarise(capture: &Capture) -> Option<HoonSummary> {
    let mut summary = HoonSummary {
        samples: 0,
        computing: 0,
        unknown_layout: 0,
        incomplete: 0,
        frames: 0,
        unresolved: BTreeMap::new(),
        owners: Vec::new(),
        without_owner: 0,
    };
    let mut owners: BTreeMap<String, u64> = BTreeMap::new();
    for event in events(capture) {
        summary.samples += 1;
        match event.end {
            END_WHOLE => {}
            END_LAYOUT => summary.unknown_layout += 1,
            _ => summary.incomplete += 1,
        }
        for frame in &event.frames {
            summary.frames += 1;
            if let Err(why) = capture.hoon.get(frame) {
                *summary.unresolved.entry(why).or_default() += 1;
            }
        }
        if !is_computing(event) {
            continue;
        }
        summary.computing += 1;
        match sites(event, &capture.hoon, Folding::Owner).pop() {
            Some(owner) => *owners.entry(owner).or_default() += 1,
            None => summary.without_owner += 1,
        }
    }
    summary.owners = owners.into_iter().collect();
    summary
        .owners
        .sort_by_key(|(_, samples)| std::cmp::Reverse(*samples));
    (summary.samples > 0).then_some(summary)
}

/// Frames of each stack as names, outermost first, with what is missing of it.
pub fn stacks(
    capture: &Capture,
    folding: Folding,
) -> impl Iterator<Item = (&HoonEvent, Vec<String>)> {
    events(capture).map(move |event| {
        let mut names = sites(event, &capture.hoon, folding);
        let note = match event.end {
            END_LAYOUT => Some("[layout of memory not known]"),
            END_ROADS => Some("[innermost road not known]"),
            END_ABSENT if event.frames.is_empty() => Some("[not in memory]"),
            END_WHOLE if !is_computing(event) => Some("[no computation]"),
            END_WHOLE if names.is_empty() => Some("[no hints]"),
            END_WHOLE => None,
            _ => Some("[outer frames missing]"),
        };
        names.splice(0..0, note.map(str::to_owned));
        (event, names)
    })
}

fn events(capture: &Capture) -> impl Iterator<Item = &HoonEvent> {
    capture.events.iter().filter_map(|event| match event {
        Event::Hoon(event) => Some(event),
        _ => None,
    })
}

/// Home alone has no hints: code runs on a road of its own.
fn is_computing(event: &HoonEvent) -> bool {
    event.roads > 1
}

fn sites(event: &HoonEvent, names: &HoonNames, folding: Folding) -> Vec<String> {
    fold(
        event.frames.iter().map(|frame| names.get(frame).ok()),
        folding,
    )
}
