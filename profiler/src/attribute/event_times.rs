//! How long the ship's events took, and what for: the sum of their critical paths.

use std::collections::BTreeMap;

use super::critical::{CriticalPaths, EventCost, Phase};
use super::leaf::Leaf;
use super::page_in::PageInRule;
use super::what_if::AsItWas;
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
    /// The duration below which so many thousandths of them lie, as reports say it: a bucket's bound may
    /// lie above the longest of all.
    pub fn quantile(&self, permille: u64) -> Option<u64> {
        Some(self.histogram.quantile(permille)?.min(self.max_ns))
    }

    pub(super) fn add(&mut self, ns: u64) {
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
    /// What mars took one after the other, questions among them.
    pub turns: Vec<Turn>,
    /// Whether the king commits (up to v3.5).
    pub king_commits: bool,
    /// What comes of them if they are played again.
    pub as_it_was: AsItWas,
    /// Messages that could not be matched.
    pub unmatched: u64,
    /// Messages that had no answer when the window closed.
    pub unfinished: u64,
}

/// How long one event took, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLeaves {
    /// What brought it about.
    pub kind: EventKind,
    /// When the king began with what brought it.
    pub arrived_ktime_ns: u64,
    /// From arrival to release.
    pub duration_ns: u64,
    /// The same by leaf, in the order of the leaves.
    pub leaves: Vec<(Leaf, u64)>,
}

/// An event or a question without its time in line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Whether it is an event, and one that was followed.
    pub is_event: bool,
    /// Whether its effects wait for a commit.
    pub commits: bool,
    /// When the king began with what brought it; when the window opened, if it stood in line then.
    pub arrived_ktime_ns: u64,
    /// Whether it did.
    pub stood_in_line: bool,
    /// Its time by phase and leaf, ns, but for what it stood in line.
    pub own: Vec<(Phase, Leaf, u64)>,
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
            for (to, share) in shares {
                cost.move_share(leaf, *to, *share, |part| match leaf {
                    // Samples are of mars alone.
                    Leaf::Computing => part.mars_on_cpu_ns,
                    _ => part.total_ns,
                });
            }
            for (to, share) in stolen {
                cost.move_share(leaf, to, share, |part| part.total_ns);
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
        king_commits: events.king_commits,
        ..EventTimes::default()
    };
    let mut parts: BTreeMap<Leaf, Part> = BTreeMap::new();
    let mut others = events.computations.iter().peekable();
    for span in &events.spans {
        // What mars took before it, and cannot be followed: what was under way when the window opened.
        while let Some(other) = others.next_if(|one| one.start_ktime_ns < span.work.end_ktime_ns) {
            if other.start_ktime_ns < span.work.start_ktime_ns {
                let opened = capture.meta.clocks.start_ktime_ns;
                let before = times.turns.last().map(|turn| turn.arrived_ktime_ns);
                let queued = before.unwrap_or(opened);
                let (arrived_ktime_ns, cost) = paths.other(other, queued);
                times.turns.push(Turn {
                    is_event: false,
                    commits: false,
                    arrived_ktime_ns,
                    stood_in_line: arrived_ktime_ns == opened,
                    own: splits.split(cost).own().collect(),
                });
            }
        }
        let duration_ns = span.duration_ns();
        let cost = splits.split(paths.cost(span));
        times.turns.push(Turn {
            is_event: span.kind.is_some(),
            commits: span.commit.is_some(),
            arrived_ktime_ns: span.arrived_ktime_ns,
            stood_in_line: false,
            own: cost.own().collect(),
        });
        let Some(kind) = span.kind else {
            if !span.is_mass {
                times.questions.add(duration_ns);
            }
            continue;
        };
        times.all.add(duration_ns);
        times.kinds.entry(kind).or_default().add(duration_ns);
        for (phase, ns) in cost.phases() {
            times.phases.entry(phase).or_default().add(ns);
        }
        let leaves = cost.leaves();
        if let Some(computing) = leaves.get(&Leaf::Computing) {
            times.own_computing_ns += computing.total_ns - computing.behind_ns;
        }
        for (leaf, cost) in &leaves {
            *times.behind.entry(*leaf).or_default() += cost.behind_ns;
            let part = parts.entry(*leaf).or_default();
            part.total_ns += cost.total_ns;
            part.waits.add_value(cost.total_ns);
            part.estimated |= cost.is_estimate;
        }
        times.each.push(EventLeaves {
            kind,
            arrived_ktime_ns: span.arrived_ktime_ns,
            duration_ns,
            leaves: leaves
                .iter()
                .map(|(leaf, cost)| (*leaf, cost.total_ns))
                .collect(),
        });
        keep_if_worst(&mut times.worst, span, cost);
    }
    times.as_it_was = AsItWas::of(&times);
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
