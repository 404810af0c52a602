//! How long the ship's events took, and what for: the sum of their critical paths.

use std::collections::BTreeMap;

use super::critical::{CriticalPaths, EventCost, LeafCost, Phase};
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
    /// Messages that could not be matched.
    pub unmatched: u64,
    /// Messages that had no answer when the window closed.
    pub unfinished: u64,
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
        for (leaf, leaf_cost) in &cost.leaves {
            let LeafCost {
                total_ns,
                behind_ns,
                mars_on_cpu_ns,
            } = *leaf_cost;
            *times.behind.entry(*leaf).or_default() += behind_ns;
            if *leaf == Leaf::Computing {
                times.own_computing_ns += total_ns - behind_ns;
            }
            let split: Vec<(Leaf, u64)> = match leaf {
                Leaf::Computing => shares_of(mars_on_cpu_ns, &splits.mars),
                Leaf::RunQueue => shares_of(total_ns, &[(Leaf::Throttled, splits.throttled)]),
                _ => Vec::new(),
            };
            let mut rest_ns = total_ns;
            for (to, ns) in split {
                rest_ns -= add_estimate(&mut parts, to, ns.min(rest_ns));
            }
            if matches!(leaf, Leaf::Computing | Leaf::RunQueue) {
                for (to, ns) in shares_of(rest_ns, &[(Leaf::Stolen, splits.stolen)]) {
                    rest_ns -= add_estimate(&mut parts, to, ns.min(rest_ns));
                }
            }
            add(&mut parts, *leaf, rest_ns);
        }
        keep_if_worst(&mut times.worst, span, cost);
    }
    Some((times, parts))
}

fn shares_of(ns: u64, splits: &[Split]) -> Vec<(Leaf, u64)> {
    let of = |share: f64| (ns as f64 * share) as u64;
    splits
        .iter()
        .map(|(leaf, share)| (*leaf, of(*share)))
        .filter(|(_, ns)| *ns > 0)
        .collect()
}

fn add(parts: &mut BTreeMap<Leaf, Part>, leaf: Leaf, ns: u64) {
    if ns > 0 {
        let part = parts.entry(leaf).or_default();
        part.total_ns += ns;
        part.waits.add_value(ns);
    }
}

fn add_estimate(parts: &mut BTreeMap<Leaf, Part>, leaf: Leaf, ns: u64) -> u64 {
    add(parts, leaf, ns);
    if let Some(part) = parts.get_mut(&leaf) {
        part.estimated = true;
    }
    ns
}

fn keep_if_worst(worst: &mut Vec<(EventSpan, EventCost)>, span: &EventSpan, cost: EventCost) {
    let duration_ns = span.duration_ns();
    let place = worst.partition_point(|(other, _)| other.duration_ns() >= duration_ns);
    if place < WORST_EVENTS {
        worst.insert(place, (*span, cost));
        worst.truncate(WORST_EVENTS);
    }
}
