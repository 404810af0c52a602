//! The ship's events as a report shows them.

use serde::Serialize;

use crate::aggregate::events::EventKind;
use crate::attribute::{EventTimes, Leaf, Phase, Times};
use crate::model::Meta;

/// How long the events took that were followed from arrival to release.
#[derive(Debug, Clone, Serialize)]
pub struct EventTimesLine {
    /// All of them.
    pub all: TimesLine,
    /// By kind, only those that there were.
    pub kinds: Vec<KindLine>,
    /// Questions to the namespace, which are no events; nothing if there were none.
    pub questions: Option<TimesLine>,
    /// By phase, in the order of an event's way.
    pub phases: Vec<PhaseLine>,
    /// Time behind other events: their computing, their commit, a snapshot.
    pub behind: Vec<BehindLine>,
    /// The events' own computing.
    pub own_computing_ns: u64,
    /// 95th percentile of all if their line is played again as it was: what is expected of fixes is
    /// played too, and can be trusted as far as this is near the measured one.
    pub played_p95_ns: Option<u64>,
    /// The slowest, slowest first.
    pub worst: Vec<WorstEvent>,
    /// Messages to mars that could not be matched with their computation, commit or answer.
    pub unmatched: u64,
    /// Messages to mars that had no answer when the window closed.
    pub unfinished: u64,
}

/// Some durations.
#[derive(Debug, Clone, Serialize)]
pub struct TimesLine {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub total_ns: u64,
    /// Median.
    pub p50_ns: u64,
    /// 95th percentile.
    pub p95_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// Lower bound and count of each bucket that is not empty.
    pub histogram: Vec<(u64, u64)>,
}

impl TimesLine {
    fn of(times: &Times) -> Self {
        let quantile = |permille| times.quantile(permille).unwrap_or(0);
        Self {
            count: times.histogram.count(),
            total_ns: times.total_ns,
            p50_ns: quantile(500),
            p95_ns: quantile(950),
            p99_ns: quantile(990),
            max_ns: times.max_ns,
            histogram: times.histogram.buckets().collect(),
        }
    }
}

/// Durations of the events of a kind.
#[derive(Debug, Clone, Serialize)]
pub struct KindLine {
    /// Which.
    pub kind: EventKind,
    /// Their durations.
    pub times: TimesLine,
}

/// Durations of a phase.
#[derive(Debug, Clone, Serialize)]
pub struct PhaseLine {
    /// Which.
    pub phase: Phase,
    /// In the events that have it.
    pub times: TimesLine,
}

/// Time in a leaf that was other events'.
#[derive(Debug, Clone, Serialize)]
pub struct BehindLine {
    /// Which leaf.
    pub leaf: Leaf,
    /// Its time behind others.
    pub total_ns: u64,
}

/// One of the slowest events.
#[derive(Debug, Clone, Serialize)]
pub struct WorstEvent {
    /// Its number, if the loom's layout is known, or a serf told it.
    pub number: Option<u64>,
    /// Its kind.
    pub kind: Option<EventKind>,
    /// When it arrived, since the capture began.
    pub arrived_ns: u64,
    /// From arrival to release.
    pub duration_ns: u64,
    /// Whether its computation failed at first.
    pub failed: bool,
    /// Its phases, in order.
    pub phases: Vec<(Phase, u64)>,
    /// What its time went into, most first.
    pub parts: Vec<WorstPart>,
}

/// A part of one of the slowest events.
#[derive(Debug, Clone, Serialize)]
pub struct WorstPart {
    /// Which leaf.
    pub leaf: Leaf,
    /// Its time.
    pub total_ns: u64,
    /// Of that, behind others.
    pub behind_ns: u64,
    /// Whether it is an estimate from samples of all events.
    pub estimated: bool,
}

/// The events of an attribution.
pub fn event_times(times: &EventTimes, meta: &Meta) -> EventTimesLine {
    let kinds = times.kinds.iter().map(|(kind, times)| KindLine {
        kind: *kind,
        times: TimesLine::of(times),
    });
    let phases = times.phases.iter().map(|(phase, times)| PhaseLine {
        phase: *phase,
        times: TimesLine::of(times),
    });
    let behind = times.behind.iter().filter(|(_, ns)| **ns > 0);
    let questions = Some(&times.questions).filter(|times| times.histogram.count() > 0);
    EventTimesLine {
        all: TimesLine::of(&times.all),
        kinds: kinds.collect(),
        questions: questions.map(TimesLine::of),
        phases: phases.collect(),
        behind: behind
            .map(|(leaf, total_ns)| BehindLine {
                leaf: *leaf,
                total_ns: *total_ns,
            })
            .collect(),
        own_computing_ns: times.own_computing_ns,
        played_p95_ns: times.as_it_was.p95_ns,
        worst: worst(times, meta),
        unmatched: times.unmatched,
        unfinished: times.unfinished,
    }
}

fn worst(times: &EventTimes, meta: &Meta) -> Vec<WorstEvent> {
    let start = meta.clocks.start_ktime_ns;
    let worst = times.worst.iter().map(|(span, cost)| {
        let mut parts: Vec<WorstPart> = cost
            .leaves()
            .into_iter()
            .map(|(leaf, cost)| WorstPart {
                leaf,
                total_ns: cost.total_ns,
                behind_ns: cost.behind_ns,
                estimated: cost.is_estimate,
            })
            .collect();
        parts.sort_by_key(|part| (std::cmp::Reverse(part.total_ns), part.leaf));
        WorstEvent {
            number: span.work.event_number,
            kind: span.kind,
            arrived_ns: span.arrived_ktime_ns.saturating_sub(start),
            duration_ns: span.duration_ns(),
            failed: !span.work.succeeded,
            phases: cost.phases().into_iter().collect(),
            parts,
        }
    });
    worst.collect()
}
