//! The ship's own load in two captures: how many events of which kinds. A ship that had less to do is
//! quicker, and one that had other things to do takes other times; neither is the work of a fix.
//!
//! Kinds of events of which both captures have some are compared, and each kind has the same share in
//! both (the mean of its two shares): a capture with twice as many packets looks no different for it.
//! Where most events are of kinds that the other capture lacks, or where one had more than twice the
//! events a second while the other kept up with all that came, nothing can be said. (One that did not
//! keep up has fewer events because it is slow.)

use std::collections::BTreeMap;

use serde::Serialize;

use super::estimate::Mix;
use super::sample::Sample;
use crate::aggregate::events::EventKind;

/// A kind is compared if both captures have so many events of it.
const MIN_OF_KIND: u64 = 10;
/// More of either's events may not be of kinds that are not compared.
const MAX_LEFT_OUT_RATIO: f64 = 0.5;
/// More may the rates not differ.
const MAX_RATE_RATIO: f64 = 2.0;
/// From here on a different rate is worth a warning: part of a change may be its doing.
const NOTABLE_RATE_RATIO: f64 = 1.25;
/// Shares that differ by no more need no words.
const SAME_SHARE: f64 = 0.02;

/// Both loads.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Load {
    /// Events a second before.
    pub before_hz: f64,
    /// Events a second after.
    pub after_hz: f64,
    /// Whether more came before than the ship could do.
    pub before_at_limit: bool,
    /// Whether more came after than it could do.
    pub after_at_limit: bool,
    /// The kinds that there were.
    pub kinds: Vec<KindLoad>,
    /// Whether the shares of the kinds differ, so that the values are not those of the reports.
    pub reweighted: bool,
    /// Why nothing can be said; nothing if it can.
    pub too_different: Option<String>,
}

/// Events of one kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KindLoad {
    /// Which.
    pub kind: EventKind,
    /// How many before.
    pub before: u64,
    /// How many after.
    pub after: u64,
    /// The share that it has in the comparison; nothing if it is not compared.
    pub share: Option<f64>,
}

impl Load {
    /// Of two samples.
    pub fn of(before: &Sample, after: &Sample) -> Self {
        let mut counts: BTreeMap<EventKind, [u64; 2]> = BTreeMap::new();
        for (at, sample) in [before, after].into_iter().enumerate() {
            for event in &sample.events {
                counts.entry(event.kind).or_default()[at] += 1;
            }
        }
        let compared = |counts: &[u64; 2]| counts.iter().all(|count| *count >= MIN_OF_KIND);
        let total = |at: usize, only: bool| -> u64 {
            let counts = counts.values().filter(|counts| !only || compared(counts));
            counts.map(|counts| counts[at]).sum()
        };
        let [all, kept] = [false, true].map(|only| [total(0, only), total(1, only)]);
        let share = |counts: &[u64; 2], at: usize| counts[at] as f64 / kept[at].max(1) as f64;
        let kinds: Vec<KindLoad> = counts
            .iter()
            .map(|(kind, counts)| KindLoad {
                kind: *kind,
                before: counts[0],
                after: counts[1],
                share: compared(counts).then(|| (share(counts, 0) + share(counts, 1)) / 2.0),
            })
            .collect();
        let differs = |counts: &[u64; 2]| (share(counts, 0) - share(counts, 1)).abs() > SAME_SHARE;
        let mut load = Self {
            before_hz: before.rate_hz(),
            after_hz: after.rate_hz(),
            before_at_limit: before.is_at_limit(),
            after_at_limit: after.is_at_limit(),
            reweighted: kept != all || counts.values().filter(|c| compared(c)).any(differs),
            kinds,
            too_different: None,
        };
        load.too_different = load.kinds_differ(all, kept).or_else(|| load.rates_differ());
        load
    }

    /// The shares of what is compared.
    pub fn mix(&self) -> Mix {
        let kinds = self.kinds.iter();
        kinds
            .filter_map(|kind| Some((kind.kind, kind.share?)))
            .collect()
    }

    fn kinds_differ(&self, all: [u64; 2], kept: [u64; 2]) -> Option<String> {
        let of = [("BEFORE", all[0], kept[0]), ("AFTER", all[1], kept[1])];
        of.into_iter().find_map(|(name, all, kept)| {
            let left_out = all - kept;
            (left_out as f64 > all as f64 * MAX_LEFT_OUT_RATIO).then(|| {
                format!("{left_out} of {all} events of {name} are of kinds that the other lacks")
            })
        })
    }

    /// The busier capture, and whether the other kept up with all that came.
    fn rates_differ(&self) -> Option<String> {
        let (busier, ratio, other_at_limit) = self.busier();
        (ratio > MAX_RATE_RATIO && !other_at_limit).then(|| {
            format!(
                "{busier} had {ratio:.1} times the events a second: times under such \
                 different loads cannot be compared"
            )
        })
    }

    fn busier(&self) -> (&'static str, f64, bool) {
        match self.after_hz >= self.before_hz {
            true => (
                "AFTER",
                self.after_hz / self.before_hz,
                self.before_at_limit,
            ),
            false => (
                "BEFORE",
                self.before_hz / self.after_hz,
                self.after_at_limit,
            ),
        }
    }

    /// What of the load is worth a warning although it can be compared.
    pub fn warning(&self) -> Option<String> {
        let (busier, ratio, other_at_limit) = self.busier();
        let notable = ratio > NOTABLE_RATE_RATIO && !other_at_limit && self.too_different.is_none();
        notable.then(|| {
            format!(
                "{busier} had {ratio:.1} times the events a second: part of a change may be the load's"
            )
        })
    }
}
