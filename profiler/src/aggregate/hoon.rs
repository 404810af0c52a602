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
    sum_up(events(capture), &capture.hoon)
}

fn sum_up<'a>(
    events: impl Iterator<Item = &'a HoonEvent>,
    hoon: &HoonNames,
) -> Option<HoonSummary> {
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
    for event in events {
        summary.samples += 1;
        if let Some(reason) = Incomplete::of(event) {
            *summary.incomplete.entry(reason).or_default() += 1;
        }
        for frame in &event.frames {
            summary.frames += 1;
            if let Err(why) = hoon.get(frame) {
                *summary.unresolved.entry(why).or_default() += 1;
            }
        }
        if !is_computing(event) {
            continue;
        }
        summary.computing += 1;
        match sites(event, hoon, Folding::Owner).pop() {
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
    events(capture).map(move |event| (event, names(event, &capture.hoon, folding)))
}

fn names(event: &HoonEvent, hoon: &HoonNames, folding: Folding) -> Vec<String> {
    let mut names = sites(event, hoon, folding);
    let note = match Incomplete::of(event) {
        Some(reason) => Some(reason.note()),
        None if !is_computing(event) => Some("[no computation]"),
        None if names.is_empty() => Some("[no hints]"),
        None => None,
    };
    names.splice(0..0, note.map(str::to_owned));
    names
}

/// The Hoon stacks of a capture, in the order of their times.
pub fn events(capture: &Capture) -> impl Iterator<Item = &HoonEvent> {
    capture.events.iter().filter_map(|event| match event {
        Event::Hoon(event) => Some(event),
        _ => None,
    })
}

/// Whether a computation was under way. Home alone has no hints: code runs on a road of its own.
pub fn is_computing(event: &HoonEvent) -> bool {
    event.roads > 1
}

/// The places of a stack, outermost first.
pub fn sites(event: &HoonEvent, names: &HoonNames, folding: Folding) -> Vec<String> {
    fold(
        event.frames.iter().map(|frame| names.get(frame).ok()),
        folding,
    )
}

#[cfg(test)]
mod tests {
    use profiler_common::hoon::{FRAME_ABSENT, FRAME_SPOT, HoonFrame};

    use super::*;
    use crate::hoon::{FrameKey, Site, Spot};
    use crate::model::ThreadId;

    const fn spot(noun: u32) -> HoonFrame {
        HoonFrame {
            kind: FRAME_SPOT,
            noun,
            mug: 7,
        }
    }

    fn names_of(paths: &[(u32, &str)]) -> HoonNames {
        let named = paths.iter().map(|(noun, path)| {
            let site = Site::Spot(Spot {
                path: (*path).to_owned(),
                line: 3,
                column: 1,
                end_line: 4,
                end_column: 1,
            });
            (FrameKey::of(&spot(*noun)), Ok(site))
        });
        HoonNames::from(named.collect::<Vec<_>>())
    }

    fn sample(end: u32, roads: u32, frames: &[HoonFrame]) -> HoonEvent {
        HoonEvent {
            thread: ThreadId { tgid: 1, tid: 1 },
            ktime_ns: 1,
            event_number: 1,
            end,
            roads,
            frames: frames.to_vec(),
        }
    }

    #[test]
    fn every_sample_is_in_one_place() {
        let hoon = names_of(&[(1, "/app/dojo/hoon"), (2, "/sys/vane/gall/hoon")]);
        let absent = HoonFrame {
            kind: FRAME_SPOT | FRAME_ABSENT,
            ..spot(9)
        };
        let samples = [
            sample(END_WHOLE, 3, &[spot(1), spot(2)]),
            sample(END_WHOLE, 2, &[spot(2)]),
            sample(END_WHOLE, 2, &[absent, spot(2)]),
            sample(END_WHOLE, 2, &[spot(3)]),
            sample(END_WHOLE, 2, &[]),
            sample(END_WHOLE, 1, &[]),
            sample(END_FRAMES, 2, &[spot(1)]),
            sample(END_LAYOUT, 0, &[]),
        ];
        let summary = sum_up(samples.iter(), &hoon).unwrap();
        assert_eq!((summary.samples, summary.computing), (8, 6));
        assert_eq!(
            summary.owners,
            [("/app/dojo".to_owned(), 2), ("gall".to_owned(), 2)]
        );
        assert_eq!(summary.without_owner, 2);
        let incomplete = [
            (Incomplete::TooManyFrames, 1),
            (Incomplete::UnknownLayout, 1),
        ];
        assert_eq!(summary.incomplete, BTreeMap::from(incomplete));
        let unresolved = [(Unresolved::Absent, 1), (Unresolved::NotLookedUp, 1)];
        assert_eq!(summary.unresolved, BTreeMap::from(unresolved));
        assert_eq!(summary.frames, 7);

        let lines: Vec<String> = samples
            .iter()
            .map(|event| names(event, &hoon, Folding::File).join(" "))
            .collect();
        assert_eq!(
            lines,
            [
                "/sys/vane/gall/hoon /app/dojo/hoon",
                "/sys/vane/gall/hoon",
                "/sys/vane/gall/hoon [unresolved]",
                "[unresolved]",
                "[no hints]",
                "[no computation]",
                "[outer frames: too many] /app/dojo/hoon",
                "[layout of memory not known]",
            ]
        );
        assert_eq!(sum_up([].iter(), &hoon), None);
    }
}
