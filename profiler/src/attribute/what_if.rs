//! What the events' latency would be without a part of what held them up.
//!
//! The capture says of each event when it came, and what it took in each phase beside standing in line.
//! With that the line is played again: mars takes one after the other, one commit runs at a time and
//! takes all that are computed by then. Without a part of what held the events up each of them takes
//! less, and those behind it wait less; where a line grew, it may not form at all. Events are taken to
//! come when they did.
//!
//! What stood in line when the capture began would not have been as long either. It is shortened by as
//! much as what is left in line at the end.
//!
//! What is played leaves a few things out, such as the king's own line. So the capture is played as it
//! was, too, and the measured percentile changes by the proportion of the two. How near the measured one
//! it comes ([`AsItWas::p95_ns`]) says how far the rest can be trusted.

use std::collections::BTreeMap;

use super::critical::Phase;
use super::event_times::{EventTimes, Turn};
use super::leaf::Leaf;

/// Waits that come more rarely are left out evenly, beginning with another one in each of so many tries.
const TRIES: u8 = 10;

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

/// The 95th percentile of the events' time without `removal`; nothing if there are no events.
pub fn p95_ns(events: &EventTimes, removal: &Removal) -> Option<u64> {
    let measured_ns = events.all.quantile(950)?;
    let as_it_was = events.as_it_was;
    let as_it_was_ns = as_it_was.p95_ns?;
    let stood_in_line = events.turns.first().is_some_and(|turn| turn.stood_in_line);
    let tries = if removal.rarer.is_empty() { 1 } else { TRIES };
    let all = (0..tries).map(|at| f64::from(at) / f64::from(tries));
    let without = all.flat_map(|begin| {
        let played = play(events, removal, begin, 1.0);
        if !stood_in_line || as_it_was.line_ns == 0 {
            return played.durations_ns;
        }
        let stands = (played.line_ns as f64 / as_it_was.line_ns as f64).min(1.0);
        play(events, removal, begin, stands).durations_ns
    });
    let without_ns = percentile_95(without.collect())?;
    let share = without_ns as f64 / as_it_was_ns.max(1) as f64;
    Some((measured_ns as f64 * share.min(1.0)) as u64)
}

/// What comes of events that are played as they were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AsItWas {
    /// 95th percentile of their time; nothing if there are none.
    pub p95_ns: Option<u64>,
    /// How long mars goes on computing after the last message was sent.
    pub line_ns: u64,
}

impl AsItWas {
    /// Of some events.
    pub fn of(events: &EventTimes) -> Self {
        let played = play(events, &Removal::default(), 0.0, 1.0);
        Self {
            p95_ns: percentile_95(played.durations_ns),
            line_ns: played.line_ns,
        }
    }
}

fn percentile_95(mut all_ns: Vec<u64>) -> Option<u64> {
    let rank = (all_ns.len() * 95).div_ceil(100).checked_sub(1)?;
    Some(*all_ns.select_nth_unstable(rank).1)
}

/// What a turn takes without what goes away, by phase.
struct Left {
    own_ns: [u64; Phase::COUNT],
}

impl Left {
    fn of(&self, phase: Phase) -> u64 {
        self.own_ns[phase as usize]
    }

    fn shorten(&mut self, stays: f64) {
        for ns in &mut self.own_ns {
            *ns = (*ns as f64 * stays) as u64;
        }
    }
}

/// Leaves out what goes away, turn by turn.
struct Leave<'a> {
    removal: &'a Removal,
    /// Of each leaf's waits, how many are due to be left out.
    due: BTreeMap<Leaf, f64>,
}

impl<'a> Leave<'a> {
    /// `begin`: how much of the first wait is due already.
    fn new(removal: &'a Removal, begin: f64) -> Self {
        let due = removal.rarer.keys().map(|leaf| (*leaf, begin)).collect();
        Self { removal, due }
    }

    fn left(&mut self, turn: &Turn) -> Left {
        for (leaf, due) in &mut self.due {
            // What was left out before is no longer due.
            *due -= due.floor();
            if turn.own.iter().any(|(_, one, _)| one == leaf) {
                *due += self.removal.rarer[leaf].clamp(0.0, 1.0);
            }
        }
        let mut own_ns = [0_u64; Phase::COUNT];
        for (phase, leaf, ns) in &turn.own {
            let shorter = self.removal.shorter.get(leaf).copied().unwrap_or(0.0);
            let is_left_out = self.due.get(leaf).is_some_and(|due| *due >= 1.0);
            let goes = if is_left_out {
                *ns
            } else {
                (*ns as f64 * shorter.clamp(0.0, 1.0)) as u64
            };
            let of_phase = &mut own_ns[*phase as usize];
            *of_phase = of_phase.saturating_add(ns - goes.min(*ns));
        }
        Left { own_ns }
    }
}

/// A turn while it is played.
struct Played<'a> {
    turn: &'a Turn,
    left: Left,
    computed_ktime_ns: u64,
}

/// What was played.
struct Outcome {
    /// How long each event took, from its arrival to the release of its effects.
    durations_ns: Vec<u64>,
    /// How long mars goes on computing after the last message was sent.
    line_ns: u64,
}

/// Plays the events. Of what stood in line at the beginning a part stands there: `stands`.
fn play(events: &EventTimes, removal: &Removal, begin: f64, stands: f64) -> Outcome {
    let mut leave = Leave::new(removal, begin);
    let mut mars = Mars::default();
    let mut durations_ns = Vec::new();
    let mut to_commit = Vec::new();
    let mut line_ns = 0;
    for turn in &events.turns {
        let mut left = leave.left(turn);
        if turn.stood_in_line {
            left.shorten(stands);
        }
        let sent = turn.arrived_ktime_ns.saturating_add(left.of(Phase::King));
        let begun = sent.max(mars.free_ktime_ns());
        let start = begun.saturating_add(left.of(Phase::Queue));
        let computed_ktime_ns = start.saturating_add(left.of(Phase::Compute));
        mars.computing.push((start, computed_ktime_ns));
        line_ns = computed_ktime_ns - sent;
        if turn.commits {
            to_commit.push(Played {
                turn,
                left,
                computed_ktime_ns,
            });
        } else if turn.is_event {
            let released = computed_ktime_ns.saturating_add(left.of(Phase::Release));
            durations_ns.push(released - turn.arrived_ktime_ns);
        }
    }
    // Mars' main thread is told of a commit once it has computed what it has in hand.
    let told = |ktime_ns| match events.king_commits {
        true => ktime_ns,
        false => mars.done_ktime_ns(ktime_ns),
    };
    let mut durable = 0;
    let mut rest = to_commit.as_slice();
    while let Some(first) = rest.first() {
        let free = told(first.computed_ktime_ns.max(durable));
        let begun = free.saturating_add(first.left.of(Phase::CommitQueue));
        durable = begun.saturating_add(first.left.of(Phase::Commit));
        let batch = rest.partition_point(|one| one.computed_ktime_ns <= free);
        let (together, later) = rest.split_at(batch.max(1));
        let released = told(durable);
        for one in together {
            let released = released.saturating_add(one.left.of(Phase::Release));
            durations_ns.push(released - one.turn.arrived_ktime_ns);
        }
        rest = later;
    }
    Outcome {
        durations_ns,
        line_ns,
    }
}

/// What mars' main thread computed when, in order.
#[derive(Default)]
struct Mars {
    computing: Vec<(u64, u64)>,
}

impl Mars {
    /// When it has computed all so far.
    fn free_ktime_ns(&self) -> u64 {
        self.computing.last().map_or(0, |(_, end)| *end)
    }

    /// When it has done what it has in hand at a moment: that moment, if that is nothing.
    fn done_ktime_ns(&self, ktime_ns: u64) -> u64 {
        let at = self
            .computing
            .partition_point(|(start, _)| *start < ktime_ns);
        let in_hand = at.checked_sub(1).map(|at| self.computing[at].1);
        in_hand.unwrap_or(0).max(ktime_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::super::event_times::Times;
    use super::*;

    const MS: u64 = 1_000_000;

    /// Events that came `apart` ms apart, each with its phases: leaf and ms.
    fn events(apart: u64, all: &[&[(Phase, Leaf, u64)]]) -> EventTimes {
        let turns = all.iter().zip(0..).map(|(own, number)| Turn {
            is_event: true,
            commits: own.iter().any(|(phase, ..)| *phase == Phase::Commit),
            arrived_ktime_ns: number * apart * MS,
            stood_in_line: false,
            own: own
                .iter()
                .map(|(p, leaf, ms)| (*p, *leaf, ms * MS))
                .collect(),
        });
        let mut events = EventTimes {
            turns: turns.collect(),
            ..EventTimes::default()
        };
        measure(&mut events);
        events
    }

    /// What was measured is what is played.
    fn measure(events: &mut EventTimes) {
        events.all = Times::default();
        for ns in play(events, &Removal::default(), 0.0, 1.0).durations_ns {
            events.all.add(ns);
        }
        events.as_it_was = AsItWas::of(events);
    }

    fn about(found: Option<u64>, ms: u64) -> bool {
        let found = found.unwrap_or(0) as f64;
        (found / (ms * MS) as f64 - 1.0).abs() <= 0.0625
    }

    fn shorter(events: &EventTimes, leaf: Leaf, share: f64) -> Option<u64> {
        let removal = Removal {
            shorter: [(leaf, share)].into(),
            ..Removal::default()
        };
        p95_ns(events, &removal)
    }

    const QUICK: &[(Phase, Leaf, u64)] = &[(Phase::Compute, Leaf::Computing, 20)];

    #[test]
    fn what_goes_away_makes_each_event_shorter() {
        let slow: &[(Phase, Leaf, u64)] = &[
            (Phase::Compute, Leaf::Computing, 10),
            (Phase::Commit, Leaf::LogCommit, 100),
        ];
        let events = events(1000, &[slow, slow, QUICK, QUICK]);
        let without = |share| shorter(&events, Leaf::LogCommit, share);
        assert!(about(without(0.0), 110), "{:?}", without(0.0));
        assert!(about(without(0.5), 60));
        // Another event is the slowest now.
        assert!(about(without(1.0), 20));
        assert!(about(without(7.0), 20));
    }

    #[test]
    fn a_line_that_grew_does_not_form() {
        // 25 ms of work come every 20 ms: the hundredth waits for half a second.
        let event: &[(Phase, Leaf, u64)] = &[
            (Phase::Queue, Leaf::RunQueue, 5),
            (Phase::Compute, Leaf::Computing, 10),
            (Phase::Compute, Leaf::Throttled, 10),
        ];
        let events = events(20, &[event; 100]);
        let without = |share| shorter(&events, Leaf::Throttled, share);
        assert!(about(without(0.0), 25 + 5 * 94), "{:?}", without(0.0));
        assert!(about(without(0.25), 25 + 94 * 5 / 2 - 5));
        assert!(about(without(0.5), 20));
        assert!(about(without(1.0), 15));
    }

    #[test]
    fn what_stood_in_line_is_as_much_shorter_as_the_line_at_the_end() {
        // The first ten were there already; as much work comes as is done.
        let event: &[(Phase, Leaf, u64)] = &[
            (Phase::Compute, Leaf::Computing, 10),
            (Phase::Compute, Leaf::Throttled, 10),
        ];
        let mut events = events(20, &[event; 60]);
        for turn in &mut events.turns[..10] {
            (turn.is_event, turn.stood_in_line, turn.arrived_ktime_ns) = (false, true, 180 * MS);
        }
        measure(&mut events);
        let without = |share| shorter(&events, Leaf::Throttled, share);
        assert!(about(without(0.0), 200), "{:?}", without(0.0));
        assert!(about(without(1.0), 10), "{:?}", without(1.0));
    }

    #[test]
    fn commits_take_what_is_computed_by_then() {
        // A commit of 100 ms takes the ten events that came during the one before.
        let event: &[(Phase, Leaf, u64)] = &[
            (Phase::Compute, Leaf::Computing, 1),
            (Phase::Commit, Leaf::LogCommit, 100),
        ];
        let events = events(10, &[event; 200]);
        let without = |share| shorter(&events, Leaf::LogCommit, share);
        assert!(about(without(0.0), 195), "{:?}", without(0.0));
        assert!(about(without(0.5), 95), "{:?}", without(0.5));
        assert!(about(without(0.95), 6), "{:?}", without(0.95));
    }

    #[test]
    fn an_answer_waits_until_mars_has_computed_what_it_has_in_hand() {
        let first: &[(Phase, Leaf, u64)] = &[
            (Phase::Compute, Leaf::Computing, 1),
            (Phase::Commit, Leaf::LogCommit, 10),
        ];
        let second: &[(Phase, Leaf, u64)] = &[(Phase::Compute, Leaf::PageIn, 500)];
        let mut events = events(2, &[first, second]);
        assert_eq!(events.all.max_ns, 502 * MS);
        let least = |events: &EventTimes, share: f64| {
            let removal = Removal {
                shorter: [(Leaf::PageIn, share)].into(),
                ..Removal::default()
            };
            play(events, &removal, 0.0, 1.0).durations_ns
        };
        assert_eq!(least(&events, 0.0), [500 * MS, 502 * MS]);
        assert_eq!(least(&events, 1.0), [0, 11 * MS]);
        // Up to 3.5 it is the king that is told.
        events.king_commits = true;
        assert_eq!(least(&events, 0.0), [500 * MS, 11 * MS]);
    }

    #[test]
    fn what_comes_more_rarely_is_still_as_long() {
        // A freeze hits one event of ten.
        let hit: &[(Phase, Leaf, u64)] = &[
            (Phase::Queue, Leaf::Snapshot, 1000),
            (Phase::Compute, Leaf::Computing, 20),
        ];
        let mut all = vec![QUICK; 100];
        for at in (0..100).step_by(10) {
            all[at] = hit;
        }
        let events = events(2000, &all);
        let without = |share: f64| {
            let removal = Removal {
                rarer: [(Leaf::Snapshot, share)].into(),
                ..Removal::default()
            };
            p95_ns(&events, &removal)
        };
        assert!(about(without(0.0), 1020));
        // Still 8 of 100 are hit, then 4.
        assert!(about(without(0.2), 1020));
        assert!(about(without(0.6), 20));
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
