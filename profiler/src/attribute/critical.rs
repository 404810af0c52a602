//! The critical path of each event: what was waited for at each moment from its arrival to the release
//! of its effects, across threads. Every nanosecond is in exactly one leaf.
//!
//! | from, to | what counts |
//! |---|---|
//! | arrival, sending | what the king's main thread did |
//! | sending, computing | what mars' main thread did: mostly, compute the events before |
//! | computing | the same |
//! | end, commit | the commit before, while there is one; else what mars' main thread did |
//! | commit | what the commit worker did |
//! | commit, release | what mars' main thread did |
//!
//! Where the king commits (up to v3.5) the king's main thread counts from mars' answer on.
//!
//! Where mars slept although a message was on its way, the king was still sending it: what the king did
//! counts. A thread that was away for less than is recorded counts as running.

use std::collections::BTreeMap;

use super::leaf::Leaf;
use super::page_in::PageInRule;
use super::syscall::{WaitClass, classify, syscall_name};
use crate::aggregate::events::{Commit, EventSpan, EventsSummary, Timeline, snapshots};
use crate::model::{Capture, ThreadId};
use crate::ship::Role;

/// Parts of an event's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// From the turn of the king's loop that brought it to its sending.
    King,
    /// Until mars began to compute it.
    Queue,
    /// Until its result was copied.
    Compute,
    /// Until its commit began.
    CommitQueue,
    /// Until it was durable.
    Commit,
    /// Until mars sent its effects.
    Release,
}

impl Phase {
    /// As a person would call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::King => "in the king",
            Self::Queue => "waiting for mars",
            Self::Compute => "computing",
            Self::CommitQueue => "waiting for the commit",
            Self::Commit => "commit",
            Self::Release => "release",
        }
    }
}

/// What an event's time went into.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventCost {
    /// By leaf.
    pub leaves: BTreeMap<Leaf, LeafCost>,
    /// By phase.
    pub phases: BTreeMap<Phase, u64>,
}

/// An event's time in one leaf.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeafCost {
    /// All of it.
    pub total_ns: u64,
    /// Of that, behind other events: their computing, their commit, a snapshot.
    pub behind_ns: u64,
    /// Of that, mars' own time on CPU, which samples split further.
    pub mars_on_cpu_ns: u64,
    /// Whether it is an estimate from samples.
    pub is_estimate: bool,
}

impl EventCost {
    /// Moves an estimate from one leaf to another, at most what there is; what was behind others goes
    /// along in proportion.
    pub fn move_time(&mut self, from: Leaf, to: Leaf, ns: u64) {
        let Some(part) = self.leaves.get_mut(&from) else {
            return;
        };
        let moved_ns = ns.min(part.total_ns);
        if moved_ns == 0 {
            return;
        }
        let share = moved_ns as f64 / part.total_ns as f64;
        let behind_ns = (part.behind_ns as f64 * share).ceil() as u64;
        let behind_ns = behind_ns.min(moved_ns);
        part.total_ns -= moved_ns;
        part.behind_ns -= behind_ns;
        if part.total_ns == 0 {
            self.leaves.remove(&from);
        }
        let target = self.leaves.entry(to).or_default();
        target.total_ns += moved_ns;
        target.behind_ns += behind_ns;
        target.is_estimate = true;
    }
}

/// Charges events.
pub struct CriticalPaths<'a> {
    capture: &'a Capture,
    events: &'a EventsSummary,
    page_in: Leaf,
    king: ThreadId,
    mars: ThreadId,
    no_timeline: Timeline,
    /// Snapshots and upkeep of mars, in order.
    apart: Vec<(u64, u64, Leaf)>,
}

impl<'a> CriticalPaths<'a> {
    /// Of a capture; nothing if its threads are not known.
    pub fn of(
        capture: &'a Capture,
        events: &'a EventsSummary,
        page_ins: &PageInRule,
    ) -> Option<Self> {
        let mars = events.mars?;
        let snapshots = snapshots(capture, mars).into_iter();
        let snapshots = snapshots.map(|(start, end)| (start, end, Leaf::Snapshot));
        let upkeep = events.upkeep();
        let upkeep = upkeep.map(|span| (span.start_ktime_ns, span.end_ktime_ns, Leaf::Collection));
        let mut apart: Vec<(u64, u64, Leaf)> = snapshots.chain(upkeep).collect();
        apart.sort_unstable();
        Some(Self {
            capture,
            events,
            page_in: page_ins.leaf(),
            king: events.king?,
            mars,
            no_timeline: Timeline::default(),
            apart,
        })
    }

    /// What the time of an event went into.
    pub fn cost(&self, span: &EventSpan) -> EventCost {
        let mut cost = EventCost::default();
        let work = &span.work;
        let commit = span.commit.and_then(|at| self.events.commits.get(at));
        let king = Lane::thread(Role::King, self.king);
        let mars = Lane::thread(Role::Mars, self.mars);
        self.phase(
            &mut cost,
            Phase::King,
            span.arrived_ktime_ns..span.sent_ktime_ns,
            king,
        );
        self.phase(
            &mut cost,
            Phase::Queue,
            span.sent_ktime_ns..work.start_ktime_ns,
            mars.behind_others(),
        );
        self.phase(
            &mut cost,
            Phase::Compute,
            work.start_ktime_ns..work.end_ktime_ns,
            mars,
        );
        let released = span.released_ktime_ns;
        let Some(commit) = commit else {
            let rest = work.end_ktime_ns..released;
            self.phase(&mut cost, Phase::Release, rest, mars.behind_others());
            return cost;
        };
        let (owner, planned) = if self.events.king_commits {
            let planned = span.answered_ktime_ns.clamp(work.end_ktime_ns, released);
            self.phase(
                &mut cost,
                Phase::CommitQueue,
                work.end_ktime_ns..planned,
                mars,
            );
            (king.told_by_mars(), planned)
        } else {
            (mars, work.end_ktime_ns)
        };
        let owner = owner.behind_others();
        let begun = commit.start_ktime_ns.clamp(planned, released);
        self.commit_queue(&mut cost, planned..begun, span.commit, owner);
        let durable = commit.end_ktime_ns.clamp(begun, released);
        self.phase(
            &mut cost,
            Phase::Commit,
            begun..durable,
            Lane::thread(Role::CommitWorker, commit.thread),
        );
        self.phase(&mut cost, Phase::Release, durable..released, owner);
        cost
    }

    /// From the end of the computation to the commit: behind the commit before it, and then what the main
    /// thread that commits did before it began the next.
    fn commit_queue(
        &self,
        cost: &mut EventCost,
        std::ops::Range {
            start: from,
            end: to,
        }: std::ops::Range<u64>,
        commit: Option<usize>,
        owner: Lane,
    ) {
        let before: Option<&Commit> = commit
            .and_then(|at| at.checked_sub(1))
            .and_then(|at| self.events.commits.get(at));
        let free = before.map_or(from, |before| before.end_ktime_ns.clamp(from, to));
        if let Some(before) = before {
            let worker = Lane::thread(Role::CommitWorker, before.thread).behind_others();
            self.phase(cost, Phase::CommitQueue, from..free, worker);
        }
        self.phase(cost, Phase::CommitQueue, free..to, owner);
    }

    fn phase(&self, cost: &mut EventCost, phase: Phase, range: std::ops::Range<u64>, lane: Lane) {
        if range.start >= range.end {
            return;
        }
        *cost.phases.entry(phase).or_default() += range.end - range.start;
        self.thread(cost, range, lane);
    }

    /// Charges what a thread did from `range.start` to `range.end`.
    fn thread(&self, cost: &mut EventCost, range: std::ops::Range<u64>, lane: Lane) {
        let timeline = self.timeline(lane.thread);
        let mut at = range.start;
        for absence in timeline.within(range.start, range.end) {
            let cut = |ktime_ns: u64| ktime_ns.clamp(at, range.end);
            let (start, runnable, end) = (
                cut(absence.start_ktime_ns),
                cut(absence.runnable_ktime_ns),
                cut(absence.end_ktime_ns),
            );
            self.on_cpu(cost, at..start, lane);
            let name = syscall_name(&self.capture.meta.architecture, absence.syscall_nr);
            if !absence.is_preemption() {
                let class = classify(lane.role, name, absence.task_state);
                self.blocked(cost, start..runnable, lane, class);
            }
            let queued = if absence.is_preemption() {
                start..end
            } else {
                runnable..end
            };
            add(cost, Leaf::RunQueue, queued, lane.behind, false);
            at = end;
        }
        self.on_cpu(cost, at..range.end, lane);
    }

    fn timeline(&self, thread: ThreadId) -> &Timeline {
        let known = self.events.timelines.get(&thread);
        known.unwrap_or(&self.no_timeline)
    }

    fn on_cpu(&self, cost: &mut EventCost, range: std::ops::Range<u64>, lane: Lane) {
        match lane.role {
            // Writing and syncing the log is all that it does.
            Role::CommitWorker => add(cost, Leaf::LogCommit, range, lane.behind, false),
            Role::Mars => self.mars(cost, range, lane, Leaf::Computing),
            _ => add(cost, Leaf::Computing, range, lane.behind, false),
        }
    }

    fn blocked(
        &self,
        cost: &mut EventCost,
        range: std::ops::Range<u64>,
        lane: Lane,
        class: WaitClass,
    ) {
        let leaf = match class {
            WaitClass::Leaf(leaf) => leaf,
            WaitClass::PageIn => self.page_in,
            WaitClass::Idle if lane.role == Role::Mars => {
                // Asleep although it has something to do: the king has not sent it yet.
                let king = Lane::thread(Role::King, self.king);
                return self.thread(cost, range, king);
            }
            WaitClass::Idle if lane.told_by_mars => Leaf::Computing,
            WaitClass::Idle => Leaf::Unexplained,
        };
        match (lane.role, leaf) {
            // Its files are written for snapshots alone, but outside of one it is something else.
            (Role::Mars, Leaf::Snapshot) => self.mars(cost, range, lane, Leaf::OtherFile),
            (Role::Mars, _) => self.mars(cost, range, lane, leaf),
            _ => add(cost, leaf, range, lane.behind, false),
        }
    }

    /// Charges mars' time: to the snapshot inside of one, else to `leaf`, and what would be computing
    /// to upkeep inside of that.
    fn mars(&self, cost: &mut EventCost, range: std::ops::Range<u64>, lane: Lane, leaf: Leaf) {
        let mut at = range.start;
        let first = self.apart.partition_point(|(_, end, _)| *end <= at);
        for (start, end, what) in &self.apart[first..] {
            let (start, end) = ((*start).clamp(at, range.end), (*end).clamp(at, range.end));
            add(cost, leaf, at..start, lane.behind, true);
            match what {
                Leaf::Collection if leaf != Leaf::Computing => {
                    add(cost, leaf, start..end, true, true);
                }
                _ => add(cost, *what, start..end, true, false),
            }
            at = end;
            if at == range.end {
                break;
            }
        }
        add(cost, leaf, at..range.end, lane.behind, true);
    }
}

/// Whose time is charged.
#[derive(Clone, Copy)]
struct Lane {
    role: Role,
    thread: ThreadId,
    behind: bool,
    /// Whether it sleeps only until mars has sent it what it waits for.
    told_by_mars: bool,
}

impl Lane {
    fn thread(role: Role, thread: ThreadId) -> Self {
        Self {
            role,
            thread,
            behind: false,
            told_by_mars: false,
        }
    }

    /// The same, while mars sends it an answer.
    fn told_by_mars(self) -> Self {
        Self {
            told_by_mars: true,
            ..self
        }
    }

    /// The same, while it was busy with others.
    fn behind_others(self) -> Self {
        Self {
            behind: true,
            ..self
        }
    }
}

fn add(cost: &mut EventCost, leaf: Leaf, range: std::ops::Range<u64>, behind: bool, is_mars: bool) {
    let ns = range.end.saturating_sub(range.start);
    if ns == 0 {
        return;
    }
    let part = cost.leaves.entry(leaf).or_default();
    part.total_ns += ns;
    if behind {
        part.behind_ns += ns;
    }
    if is_mars && leaf == Leaf::Computing {
        part.mars_on_cpu_ns += ns;
    }
}
