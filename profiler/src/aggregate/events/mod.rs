//! The ship's events: from a packet's, request's or timer's arrival at the king to the release of its
//! effects by mars, each with its way (vere 4.0 to 4.6).
//!
//! Nothing of it needs a symbol: messages are `writev`s of frames, computations are bracketed by
//! `sigaltstack`, commits are the `fdatasync`s of a worker, and what happens between is in the switches.

mod away;
mod commit;
mod computation;
mod course;
mod frame;
mod message;
mod pairing;
mod rest;
mod span;
mod timeline;
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
use crate::model::{Call, Capture, Event, SyscallEvent, ThreadId, sum};
use crate::ship::{Generation, Role};
use course::Course;
use frame::Frame;
use message::Errand;
use pairing::Message;
use rest::{arrival, is_idle_in_epoll};

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
    /// When mars sent its effects, or the answer.
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
    /// Whether mars never slept, so that it was the king's limit that told which answer is whose.
    pub matched_by_limit: bool,
    /// What king, mars and the workers did.
    pub timelines: BTreeMap<ThreadId, Timeline>,
    /// Main thread of the king.
    pub king: Option<ThreadId>,
    /// Main thread of mars.
    pub mars: Option<ThreadId>,
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

/// Follows the ship's events; nothing if the calls that bound them were not seen, or the ship is of a
/// version whose king commits.
pub fn summarise(capture: &Capture) -> Option<EventsSummary> {
    let meta = &capture.meta;
    let needed = [
        "sys_enter_sigaltstack",
        "sys_enter_writev",
        "sys_enter_fdatasync",
    ];
    let mars = meta.ship.mars.as_ref()?;
    if meta.ship.generation != Generation::Mars
        || !needed.iter().all(|probe| meta.attached(probe))
        || !meta.followed_tgids.is_empty()
    {
        return None;
    }
    let main = |tgid| ThreadId { tgid, tid: tgid };
    let (king, mars) = (main(meta.ship.king.tgid), main(mars.tgid));
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
    let commits = commits(capture, &calls, mars, &mut timelines);
    let Course {
        computations,
        replayed,
        opened,
        asked,
        mars_spans,
        answered,
        rests,
        quiet,
    } = Course::of(
        capture,
        (king, of(king)),
        (mars, of(mars)),
        &commits,
        &timelines,
    );
    let idles = |absence: &Absence| is_idle_in_epoll(capture, absence);
    let (messages, answers) = (messages(&asked), messages(&answered));
    let pairing::Paired {
        pairs: (works, answered),
        settled_ktime_ns,
        by_limit,
    } = pairing::pair(&pairing::Evidence {
        messages: &messages,
        computations: &computations,
        answers: &answers,
        commits: &commits,
        rests: &rests,
        quiet: &quiet,
    });
    let mut summary = EventsSummary {
        computing_since_ktime_ns: opened,
        commits,
        computations: replayed.into_iter().chain(computations).collect(),
        mars_spans,
        king: Some(king),
        mars: Some(mars),
        matched_by_limit: by_limit,
        ..EventsSummary::default()
    };
    let turns = of(king);
    let ways = messages.iter().zip(&asked).zip(works).zip(answered);
    for (((message, frame), work), answered) in ways {
        let is_computed = message.content != Content::Other;
        match (is_computed, work, answered) {
            (false, _, _) => {}
            (true, Some(work), Some(released)) if released >= work.end_ktime_ns => {
                let commit = commit_of(&summary.commits, &work, released);
                if message.kind().is_some() && work.succeeded && commit.is_none() {
                    summary.unmatched += 1;
                    continue;
                }
                summary.spans.push(EventSpan {
                    kind: message.kind(),
                    is_mass: frame.errand == Some(Errand::Mass)
                        || summary.is_mass(work.start_ktime_ns),
                    arrived_ktime_ns: arrival(
                        message.sent_ktime_ns,
                        turns,
                        &timelines[&king],
                        idles,
                    ),
                    sent_ktime_ns: message.sent_ktime_ns,
                    work,
                    commit: commit.filter(|_| message.kind().is_some()),
                    released_ktime_ns: released,
                });
            }
            (true, _, None) if message.sent_ktime_ns > settled_ktime_ns => summary.unfinished += 1,
            _ => summary.unmatched += 1,
        }
    }
    summary.timelines = timelines;
    Some(summary)
}

fn messages(frames: &[Frame]) -> Vec<Message> {
    let messages = frames.iter().map(|frame| Message {
        sent_ktime_ns: frame.sent_ktime_ns,
        content: frame.content.clone(),
    });
    messages.collect()
}

/// The commits of mars' workers, in order; their timelines are added.
fn commits(
    capture: &Capture,
    calls: &BTreeMap<ThreadId, Vec<&SyscallEvent>>,
    mars: ThreadId,
    timelines: &mut BTreeMap<ThreadId, Timeline>,
) -> Vec<Commit> {
    let ship = &capture.meta.ship;
    let mut commits = Vec::new();
    for (thread, calls) in calls {
        if thread.tgid != mars.tgid || *thread == mars {
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
            &timelines[&mars],
            &syncs,
            waits_for_work,
        ));
        timelines.insert(*thread, timeline);
    }
    commits.sort_by_key(|commit| commit.sync_ktime_ns);
    commits
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
