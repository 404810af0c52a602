//! What the events' latency would be without a part of what held them up.
//!
//! Each event's time is the sum of its leaves, so a part of a leaf that goes away makes that event shorter
//! by as much, and those that waited behind it too: their waiting is charged to the same leaf. Events are
//! taken to arrive when they did. Of a wait that comes more rarely, each event keeps the whole or loses
//! the whole: both count, by how likely they are.

use std::collections::BTreeMap;

use super::event_times::EventTimes;
use super::leaf::Leaf;
use crate::model::Histogram;

/// How finely likelihoods are counted.
const PARTS: u64 = 1000;

/// What goes away.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Removal {
    /// Share of each leaf by which its waits get shorter.
    pub shorter: BTreeMap<Leaf, f64>,
    /// Share of each leaf's waits that no longer come.
    pub rarer: BTreeMap<Leaf, f64>,
}

impl Removal {
    /// Adds what another one removes. They overlap: of each leaf the larger share counts, once.
    pub fn and(&mut self, other: &Self) {
        let both = [
            (&mut self.shorter, &other.shorter),
            (&mut self.rarer, &other.rarer),
        ];
        for (own, others) in both {
            for (leaf, share) in others {
                let of = own.entry(*leaf).or_default();
                *of = of.max(*share);
            }
        }
    }
}

/// The 95th percentile of the events' time without `removal`; nothing if there are no events. It is read
/// from a histogram like that of the report, and so within 6.25 %.
pub fn p95_ns(events: &EventTimes, removal: &Removal) -> Option<u64> {
    let mut after = Histogram::default();
    let mut longest_ns = 0;
    for event in &events.each {
        let removed = event.leaves.iter().map(|(leaf, ns)| {
            let share = removal.shorter.get(leaf).copied().unwrap_or(0.0);
            (*ns as f64 * share.clamp(0.0, 1.0)) as u64
        });
        let stays_ns = event.duration_ns.saturating_sub(crate::model::sum(removed));
        longest_ns = longest_ns.max(stays_ns);
        let mut likely = PARTS;
        for (leaf, ns) in &event.leaves {
            let share = removal.rarer.get(leaf).copied().unwrap_or(0.0);
            let parts = (PARTS as f64 * share.clamp(0.0, 1.0)) as u64;
            let parts = parts.min(likely);
            if *ns > 0 && parts > 0 {
                after.add_values(stays_ns.saturating_sub(*ns), parts);
                likely -= parts;
            }
        }
        after.add_values(stays_ns, likely);
    }
    after.quantile(950).map(|ns| ns.min(longest_ns))
}

#[cfg(test)]
mod tests {
    use super::super::event_times::EventLeaves;
    use super::*;

    const MS: u64 = 1_000_000;

    fn events(all: &[&[(Leaf, u64)]]) -> EventTimes {
        let each = all.iter().map(|leaves| EventLeaves {
            duration_ns: leaves.iter().map(|(_, ms)| ms * MS).sum(),
            leaves: leaves.iter().map(|(leaf, ms)| (*leaf, ms * MS)).collect(),
        });
        EventTimes {
            each: each.collect(),
            ..EventTimes::default()
        }
    }

    fn about(found: Option<u64>, ms: u64) -> bool {
        let found = found.unwrap_or(0) as f64;
        (found / (ms * MS) as f64 - 1.0).abs() <= 0.0625
    }

    #[test]
    fn what_goes_away_makes_each_event_shorter() {
        let slow: &[(Leaf, u64)] = &[(Leaf::LogCommit, 100), (Leaf::Computing, 10)];
        let quick: &[(Leaf, u64)] = &[(Leaf::Computing, 20)];
        let events = events(&[slow, slow, quick, quick]);
        let without = |share: f64| {
            let removal = Removal {
                shorter: [(Leaf::LogCommit, share)].into(),
                ..Removal::default()
            };
            p95_ns(&events, &removal)
        };
        assert!(about(without(0.0), 110), "{:?}", without(0.0));
        assert!(about(without(0.5), 60));
        // Another event is the slowest now.
        assert!(about(without(1.0), 20));
        assert!(about(without(7.0), 20));
    }

    #[test]
    fn what_comes_more_rarely_is_still_as_long() {
        // A freeze hits one event of ten.
        let hit: &[(Leaf, u64)] = &[(Leaf::Snapshot, 1000), (Leaf::Computing, 10)];
        let other: &[(Leaf, u64)] = &[(Leaf::Computing, 10)];
        let events = events(&[
            hit, other, other, other, other, other, other, other, other, other,
        ]);
        let without = |share: f64| {
            let removal = Removal {
                rarer: [(Leaf::Snapshot, share)].into(),
                ..Removal::default()
            };
            p95_ns(&events, &removal)
        };
        assert!(about(without(0.0), 1010));
        // Still 8 of 100 are hit, then 4.
        assert!(about(without(0.2), 1010));
        assert!(about(without(0.6), 10));
    }

    #[test]
    fn removals_of_one_leaf_are_not_added() {
        let of = |leaf, share| Removal {
            shorter: [(leaf, share)].into(),
            ..Removal::default()
        };
        let mut both = of(Leaf::LogCommit, 0.3);
        both.and(&of(Leaf::LogCommit, 0.5));
        both.and(&of(Leaf::RunQueue, 0.2));
        let expected = [(Leaf::LogCommit, 0.5), (Leaf::RunQueue, 0.2)];
        assert_eq!(both.shorter, BTreeMap::from(expected));
        assert_eq!(p95_ns(&EventTimes::default(), &both), None);
    }
}
