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
use std::ops::Range;

use super::leaf::Leaf;
use super::page_in::PageInRule;
use super::syscall::{WaitClass, classify, syscall_name};
use crate::aggregate::events::{
    Absence, Commit, Computation, EventSpan, EventsSummary, Timeline, snapshots,
};
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
    /// How many there are.
    pub const COUNT: usize = Self::Release as usize + 1;

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
    parts: BTreeMap<Charge, LeafCost>,
}

/// What part of an event's time is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Charge {
    phase: Phase,
    leaf: Leaf,
    /// Whether the event stood in line: mars or the log had the one before it in hand.
    in_line: bool,
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

impl LeafCost {
    fn add(&mut self, other: Self) {
        self.total_ns += other.total_ns;
        self.behind_ns += other.behind_ns;
        self.mars_on_cpu_ns += other.mars_on_cpu_ns;
        self.is_estimate |= other.is_estimate;
    }
}

impl EventCost {
    /// By leaf.
    pub fn leaves(&self) -> BTreeMap<Leaf, LeafCost> {
        let mut leaves: BTreeMap<Leaf, LeafCost> = BTreeMap::new();
        for (charge, cost) in &self.parts {
            leaves.entry(charge.leaf).or_default().add(*cost);
        }
        leaves
    }

    /// By phase.
    pub fn phases(&self) -> BTreeMap<Phase, u64> {
        let mut phases = BTreeMap::new();
        for (charge, cost) in &self.parts {
            *phases.entry(charge.phase).or_default() += cost.total_ns;
        }
        phases
    }

    /// By phase and leaf, without the time in line.
    pub fn own(&self) -> impl Iterator<Item = (Phase, Leaf, u64)> {
        let own = self.parts.iter().filter(|(charge, _)| !charge.in_line);
        own.map(|(charge, cost)| (charge.phase, charge.leaf, cost.total_ns))
    }

    /// Moves an estimate from one leaf to another: `share` of what `divided` finds in each part, at most
    /// what there is; what was behind others goes along in proportion.
    pub fn move_share(
        &mut self,
        from: Leaf,
        to: Leaf,
        share: f64,
        divided: impl Fn(&LeafCost) -> u64,
    ) {
        let mut moved = Vec::new();
        for (charge, part) in &mut self.parts {
            if charge.leaf != from {
                continue;
            }
            let moved_ns = ((divided(part) as f64 * share) as u64).min(part.total_ns);
            if moved_ns == 0 {
                continue;
            }
            let behind_ns = part.behind_ns as f64 * (moved_ns as f64 / part.total_ns as f64);
            let behind_ns = (behind_ns.ceil() as u64).min(moved_ns);
            part.total_ns -= moved_ns;
            part.behind_ns -= behind_ns;
            let cost = LeafCost {
                total_ns: moved_ns,
                behind_ns,
                mars_on_cpu_ns: 0,
                is_estimate: true,
            };
            moved.push((
                Charge {
                    leaf: to,
                    ..*charge
                },
                cost,
            ));
        }
        for (charge, cost) in moved {
            self.parts.entry(charge).or_default().add(cost);
        }
        self.parts.retain(|_, part| part.total_ns > 0);
    }

    fn add(&mut self, lane: Lane, leaf: Leaf, range: Range<u64>) {
        let ns = range.end.saturating_sub(range.start);
        if ns == 0 {
            return;
        }
        let charge = Charge {
            phase: lane.phase,
            leaf,
            in_line: lane.in_line,
        };
        let is_computing = leaf == Leaf::Computing && lane.role == Role::Mars;
        self.parts.entry(charge).or_default().add(LeafCost {
            total_ns: ns,
            behind_ns: if lane.behind { ns } else { 0 },
            mars_on_cpu_ns: if is_computing { ns } else { 0 },
            is_estimate: false,
        });
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
        let king = Lane::thread(Role::King, self.king);
        let mars = Lane::thread(Role::Mars, self.mars);
        let (sent, released) = (span.sent_ktime_ns, span.released_ktime_ns);
        self.thread(&mut cost, span.arrived_ktime_ns..sent, king);
        let queue = mars.of(Phase::Queue).behind_others();
        let free = self.end_of_the_one_before(work.start_ktime_ns);
        self.in_line(&mut cost, sent..work.start_ktime_ns, free, queue);
        let computing = work.start_ktime_ns..work.end_ktime_ns;
        self.thread(&mut cost, computing, mars.of(Phase::Compute));
        let release = |owner: Lane| owner.of(Phase::Release).behind_others();
        let Some(at) = span.commit else {
            self.thread(&mut cost, work.end_ktime_ns..released, release(mars));
            return cost;
        };
        let (owner, planned) = if self.events.king_commits {
            let planned = span.answered_ktime_ns.clamp(work.end_ktime_ns, released);
            let answer = work.end_ktime_ns..planned;
            self.thread(&mut cost, answer, mars.of(Phase::CommitQueue));
            (king.told_by_mars(), planned)
        } else {
            (mars, work.end_ktime_ns)
        };
        let commit = &self.events.commits[at];
        let begun = commit.start_ktime_ns.clamp(planned, released);
        self.commit_queue(&mut cost, planned..begun, at, owner);
        let durable = commit.end_ktime_ns.clamp(begun, released);
        let worker = Lane::thread(Role::CommitWorker, commit.thread);
        self.thread(&mut cost, begun..durable, worker.of(Phase::Commit));
        let free = self.end_of_the_one_at(durable, owner);
        self.in_line(&mut cost, durable..released, free, release(owner));
        cost
    }

    /// When a computation that belongs to no event that was followed was ready to begin, and what it took
    /// from then on beside standing in line. Where mars did not rest before it, it stood there since
    /// `queued_ktime_ns`.
    pub fn other(&self, computation: &Computation, queued_ktime_ns: u64) -> (u64, EventCost) {
        let mut cost = EventCost::default();
        let mars = Lane::thread(Role::Mars, self.mars);
        let (start, end) = (computation.start_ktime_ns, computation.end_ktime_ns);
        let free = self
            .end_of_the_one_before(start)
            .max(queued_ktime_ns)
            .min(start);
        let mut absences = self.timeline(self.mars).within(free, start).iter();
        let rested = absences.any(|absence| {
            !absence.is_preemption() && self.class(Role::Mars, absence) == WaitClass::Idle
        });
        let ready = if rested { start } else { queued_ktime_ns };
        if !rested {
            self.thread(&mut cost, free..start, mars.of(Phase::Queue));
        }
        self.thread(&mut cost, start..end, mars.of(Phase::Compute));
        (ready, cost)
    }

    /// From the end of the computation to the commit: behind the commit before it, and then what the main
    /// thread that commits did before it began the next.
    fn commit_queue(&self, cost: &mut EventCost, range: Range<u64>, commit: usize, owner: Lane) {
        let Range { start, end } = range;
        let before: Option<&Commit> = commit
            .checked_sub(1)
            .and_then(|at| self.events.commits.get(at));
        let free = before.map_or(start, |before| before.end_ktime_ns.clamp(start, end));
        let in_queue = |lane: Lane| lane.of(Phase::CommitQueue).behind_others();
        if let Some(before) = before {
            let worker = Lane::thread(Role::CommitWorker, before.thread);
            self.thread(cost, start..free, in_queue(worker).in_line());
        }
        let told = self.end_of_the_one_at(free, owner);
        self.in_line(cost, free..end, told, in_queue(owner));
    }

    /// Charges what a thread did, in line until it was `free`.
    fn in_line(&self, cost: &mut EventCost, range: Range<u64>, free: u64, lane: Lane) {
        let free = free.clamp(range.start, range.end.max(range.start));
        self.thread(cost, range.start..free, lane.in_line());
        self.thread(cost, free..range.end, lane);
    }

    /// When the computation before the one that began then had ended.
    fn end_of_the_one_before(&self, start_ktime_ns: u64) -> u64 {
        let all = &self.events.computations;
        let at = all.partition_point(|one| one.start_ktime_ns < start_ktime_ns);
        at.checked_sub(1).map_or(0, |at| all[at].end_ktime_ns)
    }

    /// When mars' main thread had ended what it computed then, if that is who `owner` is.
    fn end_of_the_one_at(&self, ktime_ns: u64, owner: Lane) -> u64 {
        match owner.role {
            Role::Mars => self.end_of_the_one_before(ktime_ns),
            _ => 0,
        }
    }

    /// Charges what a thread did from `range.start` to `range.end`.
    fn thread(&self, cost: &mut EventCost, range: Range<u64>, lane: Lane) {
        if range.is_empty() {
            return;
        }
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
            if !absence.is_preemption() {
                let class = self.class(lane.role, absence);
                self.blocked(cost, start..runnable, lane, class);
            }
            let queued = if absence.is_preemption() {
                start..end
            } else {
                runnable..end
            };
            cost.add(lane, Leaf::RunQueue, queued);
            at = end;
        }
        self.on_cpu(cost, at..range.end, lane);
    }

    fn class(&self, role: Role, absence: &Absence) -> WaitClass {
        let name = syscall_name(&self.capture.meta.architecture, absence.syscall_nr);
        classify(role, name, absence.task_state)
    }

    fn timeline(&self, thread: ThreadId) -> &Timeline {
        let known = self.events.timelines.get(&thread);
        known.unwrap_or(&self.no_timeline)
    }

    fn on_cpu(&self, cost: &mut EventCost, range: Range<u64>, lane: Lane) {
        match lane.role {
            // Writing and syncing the log is all that it does.
            Role::CommitWorker => cost.add(lane, Leaf::LogCommit, range),
            Role::Mars => self.mars(cost, range, lane, Leaf::Computing),
            _ => cost.add(lane, Leaf::Computing, range),
        }
    }

    fn blocked(&self, cost: &mut EventCost, range: Range<u64>, lane: Lane, class: WaitClass) {
        let leaf = match class {
            WaitClass::Leaf(leaf) => leaf,
            WaitClass::PageIn => self.page_in,
            WaitClass::Idle if lane.role == Role::Mars => {
                // Asleep although it has something to do: the king has not sent it yet.
                let king = Lane {
                    in_line: lane.in_line,
                    ..Lane::thread(Role::King, self.king).of(lane.phase)
                };
                return self.thread(cost, range, king);
            }
            WaitClass::Idle if lane.told_by_mars => Leaf::Computing,
            WaitClass::Idle => Leaf::Unexplained,
        };
        match (lane.role, leaf) {
            // Its files are written for snapshots alone, but outside of one it is something else.
            (Role::Mars, Leaf::Snapshot) => self.mars(cost, range, lane, Leaf::OtherFile),
            (Role::Mars, _) => self.mars(cost, range, lane, leaf),
            _ => cost.add(lane, leaf, range),
        }
    }

    /// Charges mars' time: to the snapshot inside of one, else to `leaf`, and what would be computing
    /// to upkeep inside of that.
    fn mars(&self, cost: &mut EventCost, range: Range<u64>, lane: Lane, leaf: Leaf) {
        let mut at = range.start;
        let first = self.apart.partition_point(|(_, end, _)| *end <= at);
        for (start, end, what) in &self.apart[first..] {
            let (start, end) = ((*start).clamp(at, range.end), (*end).clamp(at, range.end));
            cost.add(lane, leaf, at..start);
            match what {
                Leaf::Collection if leaf != Leaf::Computing => {
                    cost.add(lane.behind_others(), leaf, start..end);
                }
                _ => cost.add(lane.behind_others(), *what, start..end),
            }
            at = end;
            if at == range.end {
                break;
            }
        }
        cost.add(lane, leaf, at..range.end);
    }
}

/// Whose time is charged.
#[derive(Clone, Copy)]
struct Lane {
    role: Role,
    thread: ThreadId,
    phase: Phase,
    behind: bool,
    /// Whether it had the event before in hand.
    in_line: bool,
    /// Whether it sleeps only until mars has sent it what it waits for.
    told_by_mars: bool,
}

impl Lane {
    fn thread(role: Role, thread: ThreadId) -> Self {
        Self {
            role,
            thread,
            phase: Phase::King,
            behind: false,
            in_line: false,
            told_by_mars: false,
        }
    }

    /// The same, in a later phase.
    fn of(self, phase: Phase) -> Self {
        Self { phase, ..self }
    }

    /// The same, while it had the event before in hand.
    fn in_line(self) -> Self {
        Self {
            in_line: true,
            ..self
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
