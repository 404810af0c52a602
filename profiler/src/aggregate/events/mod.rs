//! The ship's events: from a packet's, request's or timer's arrival at the king to the release of its
//! effects, each with its way. Mars commits and releases them (vere 4.0 to 4.6), or the king does (up to
//! 3.5): then mars, the serf, answers as soon as an event is computed.
//!
//! Nothing of it needs a symbol: messages are `writev`s of frames, computations are bracketed by
//! `sigaltstack`, commits are the `fdatasync`s of a worker, and what happens between is in the switches.

mod away;
mod commit;
mod computation;
mod course;
mod follow;
mod frame;
mod held;
mod message;
mod pairing;
mod play;
mod release;
mod rest;
mod span;
mod timeline;
mod under_way;
mod unread;

pub use away::snapshots;
pub use commit::Commit;
pub use computation::{Computation, Work};
pub use message::{Content, EventKind, content};
pub use pairing::LIMIT;
pub use span::{MarsSpan, SpanKind};
pub use timeline::{Absence, Timeline};

use std::collections::BTreeMap;

use profiler_common::sched::TASK_INTERRUPTIBLE;

use super::role;
use crate::attribute::syscall_name;
use crate::model::{Call, Capture, Event, Meta, SyscallEvent, ThreadId, sum};
use crate::ship::{Generation, Role};
use course::Course;
use frame::Frame;

/// An event, or a question to the namespace, from its arrival to its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventSpan {
    /// Kind of the event; nothing for a question.
    pub kind: Option<EventKind>,
    /// Whether it is the question that `|mass` begins with.
    pub is_mass: bool,
    /// When the king began with what brought it: the turn of its loop.
    pub arrived_ktime_ns: u64,
    /// When the king sent it to mars.
    pub sent_ktime_ns: u64,
    /// How it was computed.
    pub work: Work,
    /// Its commit, as an index into [`EventsSummary::commits`]; nothing for a question.
    pub commit: Option<usize>,
    /// When mars sent its answer. From 4.0 on these are the effects themselves.
    pub answered_ktime_ns: u64,
    /// When its effects were released: by mars, or by the king; the answer of a question.
    pub released_ktime_ns: u64,
}

impl EventSpan {
    /// From its arrival to the release of its effects.
    pub fn duration_ns(&self) -> u64 {
        self.released_ktime_ns - self.arrived_ktime_ns
    }
}

/// All that is known of the ship's events in the window.
#[derive(Debug, Clone, Default)]
pub struct EventsSummary {
    /// Events and questions that were followed from arrival to answer, in the order of their sending.
    pub spans: Vec<EventSpan>,
    /// Commits, in order.
    pub commits: Vec<Commit>,
    /// Computations, in order.
    pub computations: Vec<Computation>,
    /// Beginning of the computation under way when the window closed.
    pub computing_since_ktime_ns: Option<u64>,
    /// What mars did beside computing, in order: upkeep, replaying, waiting for the king.
    pub mars_spans: Vec<MarsSpan>,
    /// Messages that had no answer when the window closed.
    pub unfinished: u64,
    /// Messages that could not be matched with their computation, commit and answer.
    pub unmatched: u64,
    /// Events that were sent when one of ten that were under way was answered: they may have waited in the
    /// king's own queue before, which nothing tells.
    pub sent_at_limit: u64,
    /// Whether mars never slept, so that it was the king's limit that told which answer is whose.
    pub matched_by_limit: bool,
    /// What king, mars and the workers did.
    pub timelines: BTreeMap<ThreadId, Timeline>,
    /// Main thread of the king.
    pub king: Option<ThreadId>,
    /// Main thread of mars.
    pub mars: Option<ThreadId>,
    /// Whether the king commits, and holds effects back until that is done.
    pub king_commits: bool,
    /// Numbers of the first and the last event that a serf answered; nothing from 4.0 on, where the loom
    /// has them.
    pub answered_numbers: Option<(u64, u64)>,
}

impl EventsSummary {
    /// Time of mars on CPU while it did something.
    pub fn mars_on_cpu_ns(&self, span: &MarsSpan) -> u64 {
        let (start, end) = (span.start_ktime_ns, span.end_ktime_ns);
        let timeline = self.mars.and_then(|mars| self.timelines.get(&mars));
        let absences = timeline.map_or(&[][..], |timeline| timeline.within(start, end));
        let away = absences.iter().map(|absence| {
            let (from, to) = (absence.start_ktime_ns, absence.end_ktime_ns);
            to.min(end) - from.max(start)
        });
        span.duration_ns().saturating_sub(sum(away))
    }

    /// Whether the computation that began then is that of `|mass`.
    fn is_mass(&self, start_ktime_ns: u64) -> bool {
        let is_it =
            |span: &MarsSpan| (span.kind, span.start_ktime_ns) == (SpanKind::Mass, start_ktime_ns);
        self.mars_spans.iter().any(is_it)
    }

    /// Upkeep of the loom.
    pub fn upkeep(&self) -> impl Iterator<Item = &MarsSpan> {
        self.mars_spans.iter().filter(|span| span.kind.is_upkeep())
    }

    /// Events, questions left out.
    pub fn events(&self) -> impl Iterator<Item = &EventSpan> {
        self.spans.iter().filter(|span| span.kind.is_some())
    }
}

/// Whether the entries of syscalls were seen: by one program, or by one for each (at tracepoints in
/// captures of before).
fn has_entries(meta: &Meta) -> bool {
    let has = |call| {
        ["enter", "sys_enter"]
            .iter()
            .any(|at| meta.attached(&format!("{at}_{call}")))
    };
    meta.attached("sys_enter")
        || (["sigaltstack", "writev", "fdatasync"].into_iter().all(has)
            && (meta.ship.generation != Generation::Serf || has("epoll_pwait")))
}

/// Follows the ship's events; nothing if the calls that bound them were not seen, or the ship's processes
/// are not known.
pub fn summarise(capture: &Capture) -> Option<EventsSummary> {
    let meta = &capture.meta;
    let mars = meta.ship.mars.as_ref()?;
    let owner_tgid = meta.ship.log_owner_tgid()?;
    if !has_entries(meta) || !meta.followed_tgids.is_empty() {
        return None;
    }
    let king_commits = meta.ship.generation == Generation::Serf;
    let main = |tgid| ThreadId { tgid, tid: tgid };
    let (king, mars, owner) = (main(meta.ship.king.tgid), main(mars.tgid), main(owner_tgid));
    let mut calls: BTreeMap<ThreadId, Vec<&SyscallEvent>> = BTreeMap::new();
    for event in &capture.events {
        if let Event::Syscall(call) = event {
            calls.entry(call.thread).or_default().push(call);
        }
    }
    let of = |thread| calls.get(&thread).map_or(&[][..], Vec::as_slice);
    let mut timelines: BTreeMap<ThreadId, Timeline> = [king, mars]
        .into_iter()
        .map(|thread| (thread, Timeline::of(capture, thread)))
        .collect();
    let commits = commits(capture, &calls, owner, &mut timelines);
    let course = Course::of(
        capture,
        (king, of(king)),
        (mars, of(mars)),
        &commits,
        &timelines,
    );
    let mut summary = EventsSummary {
        computing_since_ktime_ns: course.opened,
        mars_spans: course.mars_spans.clone(),
        king: Some(king),
        mars: Some(mars),
        king_commits,
        commits,
        timelines,
        ..EventsSummary::default()
    };
    let mut numbers = course.answered.iter().filter_map(Frame::number);
    summary.answered_numbers = numbers
        .next()
        .map(|first| (first, numbers.next_back().unwrap_or(first)));
    follow::follow(capture, &course, of(king), &mut summary);
    let computations = course.replayed.into_iter().chain(course.computations);
    summary.computations = computations.collect();
    Some(summary)
}

/// The commits of the workers of the log's owner, in order; their timelines are added.
fn commits(
    capture: &Capture,
    calls: &BTreeMap<ThreadId, Vec<&SyscallEvent>>,
    owner: ThreadId,
    timelines: &mut BTreeMap<ThreadId, Timeline>,
) -> Vec<Commit> {
    let ship = &capture.meta.ship;
    let mut commits = Vec::new();
    for (thread, calls) in calls {
        if thread.tgid != owner.tgid || *thread == owner {
            continue;
        }
        if role(ship, &[], *thread, "libuv-worker") != Role::CommitWorker {
            continue;
        }
        let syncs: Vec<&SyscallEvent> = calls
            .iter()
            .copied()
            .filter(|call| matches!(call.call, Call::Sync { .. }))
            .collect();
        let timeline = Timeline::of(capture, *thread);
        let waits_for_work = |absence: &Absence| {
            absence.task_state == TASK_INTERRUPTIBLE
                && syscall_name(&capture.meta.architecture, absence.syscall_nr) == "futex"
        };
        commits.extend(commit::commits(
            *thread,
            &timeline,
            &timelines[&owner],
            &syncs,
            waits_for_work,
        ));
        timelines.insert(*thread, timeline);
    }
    commits.sort_by_key(|commit| commit.sync_ktime_ns);
    commits
}
