//! When the effects of an event were released, and by which commit.

use std::collections::BTreeMap;

use super::commit::Commit;
use super::computation::Work;
use super::course::Course;
use super::frame::Frame;
use super::held::{self, Fate, King};
use super::message::Worked;
use super::rest::is_idle_in_epoll;
use super::timeline::Absence;
use super::{Content, EventsSummary};
use crate::model::{Call, Capture, SyscallEvent};

/// What became of an event that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Released then, by the commit with this index; none, if nothing of it was committed.
    Done(Option<usize>, u64),
    /// Not before the window closed.
    Held,
    /// It cannot be told.
    Unknown,
}

/// Who releases effects.
#[derive(Debug)]
pub enum Releases {
    /// Mars: its answer is the release.
    OfMars,
    /// The king: what became of each event, and its number if it was told, by when it was answered.
    OfKing(BTreeMap<u64, (Fate, Option<u64>)>),
}

impl Releases {
    /// Of a ship whose king commits.
    pub fn of_king(
        capture: &Capture,
        course: &Course,
        calls: &[&SyscallEvent],
        summary: &EventsSummary,
    ) -> Self {
        let timeline = summary.king.and_then(|king| summary.timelines.get(&king));
        let Some(timeline) = timeline else {
            return Self::OfKing(BTreeMap::new());
        };
        let turns = calls.iter().filter(|call| call.call == Call::LoopTurn);
        let turns: Vec<u64> = turns.map(|call| call.ktime_ns).collect();
        let events = course.answered.iter().filter(|frame| {
            matches!(frame.content, Content::Poke(_)) && frame.worked != Some(Worked::Bail)
        });
        let answered: Vec<u64> = events.clone().map(|frame| frame.sent_ktime_ns).collect();
        let king = King {
            timeline,
            turns: &turns,
        };
        let idles = |absence: &Absence| is_idle_in_epoll(capture, absence);
        let fates = held::fates(&answered, &summary.commits, &king, idles);
        let numbers = events.map(Frame::number);
        Self::OfKing(
            answered
                .into_iter()
                .zip(fates.into_iter().zip(numbers))
                .collect(),
        )
    }

    /// Of an event.
    pub fn of(&self, commits: &[Commit], work: &Work, answered_ktime_ns: u64) -> Release {
        let fates = match self {
            Self::OfMars => {
                let commit = commit_of(commits, work, answered_ktime_ns);
                if work.succeeded && commit.is_none() {
                    return Release::Unknown;
                }
                return Release::Done(commit, answered_ktime_ns);
            }
            Self::OfKing(fates) => fates,
        };
        match fates.get(&answered_ktime_ns) {
            Some((
                Fate::Released {
                    commit,
                    at_ktime_ns,
                },
                _,
            )) => Release::Done(Some(*commit), (*at_ktime_ns).max(answered_ktime_ns)),
            Some((Fate::Held, _)) => Release::Held,
            Some((Fate::Unknown, _)) => Release::Unknown,
            // Neither it nor the note of its failure was done.
            None => Release::Done(None, answered_ktime_ns),
        }
    }

    /// Number of the event that was answered then, if the answer told it.
    pub fn number(&self, answered_ktime_ns: u64) -> Option<u64> {
        match self {
            Self::OfMars => None,
            Self::OfKing(fates) => fates.get(&answered_ktime_ns)?.1,
        }
    }
}

/// The commit that an event was released by: the first that began after it was computed, because a commit
/// takes all events that wait (up to 100, and no more than 10 are under way). Its beginning may be told
/// too early; then it is the last that had ended before the release, because mars begins no other before.
fn commit_of(commits: &[Commit], work: &Work, released_ktime_ns: u64) -> Option<usize> {
    let next = commits.partition_point(|commit| commit.start_ktime_ns < work.end_ktime_ns);
    let last = commits
        .partition_point(|commit| commit.end_ktime_ns <= released_ktime_ns)
        .checked_sub(1);
    [Some(next), last].into_iter().flatten().find(|at| {
        commits.get(*at).is_some_and(|commit| {
            commit.sync_ktime_ns >= work.end_ktime_ns && commit.sync_ktime_ns < released_ktime_ns
        })
    })
}
