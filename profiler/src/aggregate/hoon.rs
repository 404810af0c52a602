//! Hoon stacks: whose code mars computed, and how much of it is known.

use std::collections::BTreeMap;

use profiler_common::hoon::{END_ABSENT, END_FRAMES, END_LAYOUT, END_ROADS, END_WHOLE};
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
    /// Samples of which frames are missing, or all, by reason.
    pub incomplete: BTreeMap<Incomplete, u64>,
    /// Frames of all stacks.
    pub frames: u64,
    /// Of those, without a name, by reason.
    pub unresolved: BTreeMap<Unresolved, u64>,
    /// Samples under a computation by whose code ran, the most first: the innermost agent or vane.
    pub owners: Vec<(String, u64)>,
    /// Samples under a computation of which that is not known.
    pub without_owner: u64,
}

/// Why frames of a stack are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Incomplete {
    /// It has more than are followed: the outermost.
    TooManyFrames,
    /// There are more roads than are followed, so it is not known which is the innermost: all.
    TooManyRoads,
    /// A page was not in memory: what lies further out.
    NotInMemory,
    /// What was read is no list of hints: what lies further out.
    Malformed,
    /// The memory is of a layout that is not known: all.
    UnknownLayout,
}

impl Incomplete {
    fn of(event: &HoonEvent) -> Option<Self> {
        match event.end {
            END_WHOLE => None,
            END_FRAMES => Some(Self::TooManyFrames),
            END_ROADS => Some(Self::TooManyRoads),
            END_ABSENT => Some(Self::NotInMemory),
            END_LAYOUT => Some(Self::UnknownLayout),
            _ => Some(Self::Malformed),
        }
    }

    /// What stands in a stack for what is missing.
    fn note(self) -> &'static str {
        match self {
            Self::TooManyFrames => "[outer frames: too many]",
            Self::TooManyRoads => "[too many roads]",
            Self::NotInMemory => "[outer frames: not in memory]",
            Self::Malformed => "[outer frames: no list of hints]",
            Self::UnknownLayout => "[layout of memory not known]",
        }
    }
}

/// Sums them up; nothing if none were taken.
pub fn summarise(capture: &Capture) -> Option<HoonSummary> {
    let mut summary = HoonSummary {
        samples: 0,
        computing: 0,
        incomplete: BTreeMap::new(),
        frames: 0,
        unresolved: BTreeMap::new(),
        owners: Vec::new(),
        without_owner: 0,
    };
    let mut owners: BTreeMap<String, u64> = BTreeMap::new();
    for event in events(capture) {
        summary.samples += 1;
        if let Some(reason) = Incomplete::of(event) {
            *summary.incomplete.entry(reason).or_default() += 1;
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
        let note = match Incomplete::of(event) {
            Some(reason) => Some(reason.note()),
            None if !is_computing(event) => Some("[no computation]"),
            None if names.is_empty() => Some("[no hints]"),
            None => None,
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
