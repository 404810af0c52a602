//! How long the ship's events took, and what for: the sum of their critical paths.

use std::collections::BTreeMap;

use super::critical::{CriticalPaths, EventCost, Phase};
use super::leaf::Leaf;
use super::page_in::PageInRule;
use super::{MIN_EVENTS, Part};
use crate::aggregate::Summaries;
use crate::aggregate::events::{EventKind, EventSpan, EventsSummary};
use crate::model::{Capture, Histogram};

/// Share of the messages that may be unmatched before events are no longer what the verdict rests on.
const MAX_UNMATCHED_RATIO: f64 = 0.10;
/// How many of the slowest events are kept.
pub const WORST_EVENTS: usize = 5;

/// Durations of the events of a kind, or of a phase.
#[derive(Debug, Clone, Default)]
pub struct Times {
    /// Their sum.
    pub total_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// Each of them.
    pub histogram: Histogram,
}

impl Times {
    fn add(&mut self, ns: u64) {
        self.total_ns += ns;
        self.max_ns = self.max_ns.max(ns);
        self.histogram.add_value(ns);
    }
}

/// The ship's events.
#[derive(Debug, Clone, Default)]
pub struct EventTimes {
    /// From arrival to release.
    pub all: Times,
    /// The same by kind.
    pub kinds: BTreeMap<EventKind, Times>,
    /// Questions to the namespace, which are not among the others.
    pub questions: Times,
    /// By phase.
    pub phases: BTreeMap<Phase, Times>,
    /// Time behind other events, by leaf.
    pub behind: BTreeMap<Leaf, u64>,
    /// The events' own computing.
    pub own_computing_ns: u64,
    /// The slowest, slowest first.
    pub worst: Vec<(EventSpan, EventCost)>,
    /// Each event's time by leaf, in the order in which they were computed.
    pub each: Vec<EventLeaves>,
    /// Messages that could not be matched.
    pub unmatched: u64,
    /// Messages that had no answer when the window closed.
    pub unfinished: u64,
}

/// How long one event took, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLeaves {
    /// From arrival to release.
    pub duration_ns: u64,
    /// The same by leaf, in the order of the leaves.
    pub leaves: Vec<(Leaf, u64)>,
}

impl EventTimes {
    /// How many events.
    pub fn count(&self) -> u64 {
        self.all.histogram.count()
    }
}

/// What an estimate splits off a leaf: the leaf it belongs to, and the share.
pub type Split = (Leaf, f64);

/// What estimates split off.
#[derive(Debug, Clone, Default)]
pub struct Splits {
    /// Of mars' time on CPU.
    pub mars: Vec<Split>,
    /// Of the time in the run queue, because of a quota.
    pub throttled: f64,
    /// Of what is left of both, taken by the hypervisor.
    pub stolen: f64,
}

impl Splits {
    /// An event's time with what they split off in leaves of its own.
    fn split(&self, mut cost: EventCost) -> EventCost {
        let throttled = [(Leaf::Throttled, self.throttled)];
        let stolen = [(Leaf::Stolen, self.stolen)];
        for (leaf, shares) in [
            (Leaf::Computing, self.mars.as_slice()),
            (Leaf::RunQueue, &throttled),
        ] {
            let whole = cost.leaves.get(&leaf).copied().unwrap_or_default();
            // Samples are of mars alone.
            let divided_ns = match leaf {
                Leaf::Computing => whole.mars_on_cpu_ns,
                _ => whole.total_ns,
            };
            for (to, share) in shares {
                cost.move_time(leaf, *to, (divided_ns as f64 * share) as u64);
            }
            let rest = cost.leaves.get(&leaf).copied().unwrap_or_default();
            for (to, share) in stolen {
                cost.move_time(leaf, to, (rest.total_ns as f64 * share) as u64);
            }
        }
        cost
    }
}

/// Adds the events' critical paths up; nothing if too few could be followed for a verdict.
pub fn event_times(
    capture: &Capture,
    summaries: &Summaries,
    page_ins: &PageInRule,
    splits: &Splits,
) -> Option<(EventTimes, BTreeMap<Leaf, Part>)> {
    let events: &EventsSummary = summaries.events.as_ref()?;
    let followed = events.spans.len() as u64;
    let seen = followed + events.unmatched;
    if (events.events().count() as u64) < MIN_EVENTS
        || events.unmatched as f64 > seen as f64 * MAX_UNMATCHED_RATIO
    {
        return None;
    }
    let paths = CriticalPaths::of(capture, events, page_ins)?;
    let mut times = EventTimes {
        unmatched: events.unmatched,
        unfinished: events.unfinished,
        ..EventTimes::default()
    };
    let mut parts: BTreeMap<Leaf, Part> = BTreeMap::new();
    for span in &events.spans {
        let duration_ns = span.duration_ns();
        let Some(kind) = span.kind else {
            if !span.is_mass {
                times.questions.add(duration_ns);
            }
            continue;
        };
        times.all.add(duration_ns);
        times.kinds.entry(kind).or_default().add(duration_ns);
        let cost = paths.cost(span);
        for (phase, ns) in &cost.phases {
            times.phases.entry(*phase).or_default().add(*ns);
        }
        if let Some(computing) = cost.leaves.get(&Leaf::Computing) {
            times.own_computing_ns += computing.total_ns - computing.behind_ns;
        }
        let cost = splits.split(cost);
        for (leaf, cost) in &cost.leaves {
            *times.behind.entry(*leaf).or_default() += cost.behind_ns;
            let part = parts.entry(*leaf).or_default();
            part.total_ns += cost.total_ns;
            part.waits.add_value(cost.total_ns);
            part.estimated |= cost.is_estimate;
        }
        times.each.push(EventLeaves {
            duration_ns,
            leaves: cost
                .leaves
                .iter()
                .map(|(leaf, cost)| (*leaf, cost.total_ns))
                .collect(),
        });
        keep_if_worst(&mut times.worst, span, cost);
    }
    Some((times, parts))
}

fn keep_if_worst(worst: &mut Vec<(EventSpan, EventCost)>, span: &EventSpan, cost: EventCost) {
    let duration_ns = span.duration_ns();
    let place = worst.partition_point(|(other, _)| other.duration_ns() >= duration_ns);
    if place < WORST_EVENTS {
        worst.insert(place, (*span, cost));
        worst.truncate(WORST_EVENTS);
    }
}
