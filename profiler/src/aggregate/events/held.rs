//! Effects that the king holds back: up to v3.5 the serf answers as soon as an event is computed, and the
//! king commits it and releases its effects when that is done (vere 3.5 `pier.c`, `disk.c`).
//!
//! The king's own order tells which commit an event was in, for events and commits both come one after
//! the other, and one commit is under way at a time:
//!
//! - A commit that begins while nothing waits holds the one event that began it.
//! - One that begins because the one before ended holds all that the king had taken up by then.
//! - One after which no other begins at once left nothing behind.
//! - None is empty.

use super::commit::Commit;
use super::timeline::{Absence, Timeline};

/// A thread that has done its work and goes to rest takes less than this from telling so to resting.
const RESTING_NS: u64 = 50_000;

/// What became of an event that the serf had answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was in this commit, and released then.
    Released {
        /// Index of the commit.
        commit: usize,
        /// When the king turned to the effects of that commit.
        at_ktime_ns: u64,
    },
    /// The window closed before.
    Held,
    /// It cannot be told.
    Unknown,
}

/// The king's main thread.
pub struct King<'a> {
    /// What it did.
    pub timeline: &'a Timeline,
    /// When it looked for work, in order.
    pub turns: &'a [u64],
}

/// What became of each event, by the moments of all answers to events that are committed, in order.
pub fn fates(
    answered: &[u64],
    commits: &[Commit],
    king: &King<'_>,
    idles: impl Fn(&Absence) -> bool,
) -> Vec<Fate> {
    let released: Vec<Option<u64>> = (0..commits.len())
        .map(|at| king.released(commits, at, &idles))
        .collect();
    let fate = |commit: usize| {
        released[commit].map_or(Fate::Held, |at_ktime_ns| Fate::Released {
            commit,
            at_ktime_ns,
        })
    };
    let mut fates = Vec::with_capacity(answered.len());
    for (at, commit) in commits.iter().enumerate() {
        let begun = answered.partition_point(|answered| *answered <= commit.start_ktime_ns);
        let next = commits.get(at + 1).map(|next| next.start_ktime_ns);
        // What came while it was under way would have begun the next.
        let is_last = released[at]
            .and_then(|released| king.turn_after(released))
            .is_some_and(|turn| next.is_none_or(|next| next > turn));
        let all = answered.partition_point(|answered| *answered <= commit.sync_ktime_ns);
        let Some(before) = at.checked_sub(1) else {
            // Whether another was under way when the window opened is not known, nor when one began that
            // was under way itself.
            let is_alone = begun == 1 && commit.start_ktime_ns < commit.sync_ktime_ns;
            match is_last {
                true => fates.resize(all, fate(at)),
                false => fates.resize(begun, if is_alone { fate(at) } else { Fate::Unknown }),
            }
            continue;
        };
        let waited = released[before].is_some_and(|released| {
            commit.start_ktime_ns <= king.turn_after(released).unwrap_or(u64::MAX)
        });
        let until = match waited {
            true => {
                let until =
                    king.taken_up(&commits[before], commit.start_ktime_ns, answered, &idles);
                answered.partition_point(|answered| *answered <= until)
            }
            false => fates.len() + 1,
        };
        let until = until.max(fates.len() + 1);
        let until = if is_last { until.max(all) } else { until };
        if until > begun.max(all) {
            // Nothing had been answered that it could hold: something is missing.
            fates.resize(begun.max(fates.len()), Fate::Unknown);
            continue;
        }
        fates.resize(until, fate(at));
    }
    fates.resize(answered.len(), Fate::Held);
    fates
}

impl King<'_> {
    /// When it began its next turn.
    fn turn_after(&self, ktime_ns: u64) -> Option<u64> {
        let next = self.turns.partition_point(|turn| *turn <= ktime_ns);
        self.turns.get(next).copied()
    }

    /// When it began its last turn.
    fn turn_before(&self, ktime_ns: u64) -> Option<u64> {
        let next = self.turns.partition_point(|turn| *turn <= ktime_ns);
        next.checked_sub(1).map(|last| self.turns[last])
    }

    /// The sleep that ended because of what happened then.
    fn sleep_at(&self, ktime_ns: u64, idles: impl Fn(&Absence) -> bool) -> Option<&Absence> {
        // Told and woken are the same moment.
        let around = self
            .timeline
            .within(ktime_ns.saturating_sub(1), ktime_ns + 1);
        around.iter().find(|absence| idles(absence))
    }

    /// When it turned to the effects of a commit: woken for it, or in its next turn. The next commit
    /// begins after that.
    fn released(
        &self,
        commits: &[Commit],
        at: usize,
        idles: impl Fn(&Absence) -> bool,
    ) -> Option<u64> {
        let durable = commits[at].end_ktime_ns;
        let next = commits.get(at + 1).map(|next| next.start_ktime_ns);
        let found = match self.sleep_at(durable, idles) {
            Some(sleep) => Some(sleep.end_ktime_ns),
            // Where the worker's rest tells the end, it told the king a little before.
            None => self
                .turn_before(durable)
                .filter(|turn| durable - turn < RESTING_NS)
                .or_else(|| self.turn_after(durable)),
        };
        let found = found.into_iter().chain(next).min()?;
        Some(found.max(commits[at].sync_ktime_ns))
    }

    /// Until when answers had come that it took up before it turned to the end of a commit. What it finds
    /// ready it takes in the order in which it became so, and of the serf's socket all that is there.
    fn taken_up(
        &self,
        ended: &Commit,
        next_ktime_ns: u64,
        answered: &[u64],
        idles: impl Fn(&Absence) -> bool,
    ) -> u64 {
        let told = ended.end_ktime_ns;
        if self.sleep_at(told, idles).is_some() {
            return told;
        }
        let since = self.turn_before(told).unwrap_or(told);
        let came = answered.partition_point(|answered| *answered <= since);
        match answered.get(came) {
            Some(first) if *first <= told => next_ktime_ns,
            _ => told,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ThreadId;

    fn commit(start_ktime_ns: u64, end_ktime_ns: u64) -> Commit {
        Commit {
            thread: ThreadId { tgid: 1, tid: 2 },
            start_ktime_ns,
            sync_ktime_ns: start_ktime_ns + 1,
            end_ktime_ns,
        }
    }

    /// Commits that events were in, and when they were released, in µs.
    fn found(answered: &[u64], commits: &[(u64, u64)], turns: &[u64]) -> Vec<Option<(usize, u64)>> {
        let us = |us: &u64| us * 1000;
        let commits: Vec<Commit> = commits
            .iter()
            .map(|(from, to)| commit(from * 1000, to * 1000))
            .collect();
        let king = King {
            timeline: &Timeline::default(),
            turns: &turns.iter().map(us).collect::<Vec<_>>(),
        };
        let answered: Vec<u64> = answered.iter().map(us).collect();
        let fates = fates(&answered, &commits, &king, |_| true);
        let fates = fates.into_iter().map(|fate| match fate {
            Fate::Released {
                commit,
                at_ktime_ns,
            } => Some((commit, at_ktime_ns / 1000)),
            Fate::Held | Fate::Unknown => None,
        });
        fates.collect()
    }

    #[test]
    fn events_one_by_one_are_in_commits_one_by_one() {
        let commits = [(110, 500), (1110, 1500), (2110, 2500)];
        let turns = [50, 120, 520, 560, 1050, 1120, 1510, 1560, 2050, 2120, 2520];
        let found = found(&[100, 1100, 2100], &commits, &turns);
        assert_eq!(found, [Some((0, 520)), Some((1, 1510)), Some((2, 2520))]);
    }

    #[test]
    fn what_comes_during_a_commit_is_in_the_next() {
        let commits = [(110, 500), (1110, 1500), (1520, 1900)];
        let turns = [120, 520, 560, 1050, 1120, 1310, 1410, 1510, 1560, 1910];
        // Of two that are read at once, the first begins the commit.
        let found = found(&[100, 1090, 1100, 1300, 1400], &commits, &turns);
        let last = Some((2, 1910));
        assert_eq!(found, [Some((0, 520)), Some((1, 1510)), last, last, last]);
    }

    #[test]
    fn what_is_not_durable_at_the_end_is_held() {
        let found = found(
            &[100, 1100, 1200],
            &[(110, 500), (1110, 1500)],
            &[520, 560, 1520],
        );
        assert_eq!(found, [Some((0, 520)), Some((1, 1520)), None]);
    }

    #[test]
    fn where_it_is_not_known_what_was_before_nothing_is_guessed() {
        // The second begins as soon as the first has ended: it may hold one of the events.
        let commits = [(110, 500), (530, 900)];
        let found = found(&[90, 100, 400], &commits, &[520, 560, 910, 950]);
        assert_eq!(found, [None, None, Some((1, 910))]);
    }

    #[test]
    fn a_commit_after_which_none_begins_left_nothing() {
        let found = found(&[90, 100], &[(110, 500)], &[520, 560]);
        assert_eq!(found, [Some((0, 520)); 2]);
    }
}
