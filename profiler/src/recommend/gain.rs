//! What a fix would bring, by a what-if on the capture's own events.

use serde::Serialize;

use crate::attribute::{EventTimes, Removal, p95_ns, ratio};
use crate::catalogue::{Answer, Assessment, Entry, Gain, LeafGain, Manner, Situation};
use crate::model::sum;

/// The 95th percentile of the events' time: now, and without what a fix removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct P95 {
    /// Now.
    pub before_ns: u64,
    /// If it removes as much as it could.
    pub low_ns: u64,
    /// If it removes as little as it must.
    pub high_ns: u64,
}

/// How sure a gain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// An upper bound; it may bring nothing.
    Low,
    /// Bounds on both sides that lie apart.
    Medium,
    /// Measured: the least is nearly the most.
    High,
}

impl Confidence {
    /// In tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// Of a gain from `low` to `high`. Where the time is split by an estimate, where fewer than 100
    /// events decide (a p95 is that of the five slowest then), or where the events played again come out
    /// otherwise than measured, it is one step lower.
    pub fn of(low: u64, high: u64, weak: bool) -> Self {
        let share = ratio(low, high);
        let found = if share >= HIGH_RATIO {
            Self::High
        } else if share >= MEDIUM_RATIO {
            Self::Medium
        } else {
            Self::Low
        };
        match (found, weak) {
            (Self::High, true) => Self::Medium,
            (_, true) => Self::Low,
            (found, false) => found,
        }
    }
}

/// The least as a share of the most from which on a gain is taken as measured.
const HIGH_RATIO: f64 = 0.8;
/// The same for bounds that lie apart.
const MEDIUM_RATIO: f64 = 0.4;
/// With fewer events a percentile of them is not sure.
const MANY_EVENTS: u64 = 100;

/// Most that a percentile may be off when the events are played again as they were.
const MAX_PLAYED_OFF_RATIO: f64 = 0.1;

/// Whether the events can be played so that they take as long as was measured.
fn is_played_well(events: &EventTimes) -> bool {
    let measured_ns = events.all.quantile(950).unwrap_or(0);
    let off_ns = events
        .as_it_was
        .p95_ns
        .map(|played_ns| played_ns.abs_diff(measured_ns));
    off_ns.is_some_and(|off_ns| ratio(off_ns, measured_ns) <= MAX_PLAYED_OFF_RATIO)
}

/// How sure the gain of an assessment is; nothing if it is no time and no datagrams.
pub fn confidence(
    entry: &Entry,
    assessment: &Assessment,
    situation: &Situation<'_>,
) -> Option<Confidence> {
    match assessment.answer {
        Answer::WouldHelp(Gain::StalledTime { low_ns, high_ns }) => {
            let attribution = situation.attribution;
            let estimated = entry
                .shrinks
                .iter()
                .filter_map(|leaf| attribution.parts.get(leaf))
                .any(|part| part.estimated);
            let events = attribution.events.as_ref().map(EventTimes::count);
            let weak = estimated
                || events.is_none_or(|events| events < MANY_EVENTS)
                || !attribution.events.as_ref().is_some_and(is_played_well);
            Some(Confidence::of(low_ns, high_ns, weak))
        }
        Answer::WouldHelp(Gain::Datagrams { low, high }) => Some(Confidence::of(low, high, false)),
        _ => None,
    }
}

/// Both ends of what a fix removes: the least, and the most.
pub fn removals(
    entry: &Entry,
    assessment: &Assessment,
    situation: &Situation<'_>,
) -> Option<(Removal, Removal)> {
    let Answer::WouldHelp(Gain::StalledTime { low_ns, high_ns }) = assessment.answer else {
        return None;
    };
    let leaf_ns = |leaf| situation.attribution.leaf_ns(leaf);
    let (mut least, mut most) = (Removal::default(), Removal::default());
    let mut add = |leaf, low: f64, high: f64| {
        for (removal, share) in [(&mut least, low), (&mut most, high)] {
            let shares = match assessment.manner {
                Manner::Shorter => &mut removal.shorter,
                Manner::Rarer => &mut removal.rarer,
            };
            shares.insert(leaf, share.min(1.0));
        }
    };
    if assessment.by_leaf.is_empty() {
        let all_ns = sum(entry.shrinks.iter().map(|leaf| leaf_ns(*leaf)));
        for leaf in entry.shrinks {
            add(*leaf, ratio(low_ns, all_ns), ratio(high_ns, all_ns));
        }
    }
    for LeafGain {
        leaf,
        low_ns,
        high_ns,
    } in &assessment.by_leaf
    {
        let all_ns = leaf_ns(*leaf);
        add(*leaf, ratio(*low_ns, all_ns), ratio(*high_ns, all_ns));
    }
    Some((least, most))
}

/// The p95 without `least` and without `most`; nothing if the events could not be followed.
pub fn p95(situation: &Situation<'_>, least: &Removal, most: &Removal) -> Option<P95> {
    let events = situation.attribution.events.as_ref()?;
    // As the first line of the report has it.
    let before_ns = events.all.quantile(950)?;
    Some(P95 {
        before_ns,
        low_ns: p95_ns(events, most)?.min(before_ns),
        high_ns: p95_ns(events, least)?.min(before_ns),
    })
}
