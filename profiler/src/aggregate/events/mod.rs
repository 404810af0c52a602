//! The ship's events: from a packet's, request's or timer's arrival at the king to the release of its
//! effects by mars, each with its way (vere 4.0 to 4.6).
//!
//! Nothing of it needs a symbol: messages are `writev`s of frames, computations are bracketed by
//! `sigaltstack`, commits are the `fdatasync`s of a worker, and what happens between is in the switches.

mod commit;
mod computation;
mod message;
mod pairing;
mod timeline;

pub use commit::Commit;
pub use computation::{Computation, Work};
pub use message::{Content, EventKind, content};
pub use timeline::{Absence, Timeline};

use std::collections::BTreeMap;

use profiler_common::sched::TASK_INTERRUPTIBLE;

use super::role;
use crate::attribute::syscall_name;
use crate::model::{Call, Capture, Event, SyscallEvent, ThreadId};
use crate::ship::loom::LoomAnswer;
use crate::ship::{Generation, Role};
use pairing::Message;

/// A message that was about to be sent this little before mars slept may not have been there yet.
const SENDING_NS: u64 = 200_000;

/// An event, or a question to the namespace, from its arrival to its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventSpan {
    /// Kind of the event; nothing for a question.
    pub kind: Option<EventKind>,
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
    let (mut computations, open) = computation::computations(of(mars).iter().copied());
    if !matches!(meta.loom_start, LoomAnswer::Home(_)) {
        // What was read is no event number in this layout.
        for computation in &mut computations {
            computation.event_number = 0;
        }
    }
    let (messages, answers) = (messages(of(king)), messages(of(mars)));
    let idles = |absence: &Absence| is_idle_in_epoll(capture, absence);
    let sleeps = sleeps(&timelines[&mars], &timelines[&king], &messages, idles);
    let start = |sleep: &&Absence| sleep.start_ktime_ns;
    let rests: Vec<u64> = sleeps.iter().map(start).collect();
    // While mars sleeps, nobody else begins a commit: one within the sleep was asked for before.
    let quiet = sleeps
        .iter()
        .filter(|sleep| !is_committing(&commits, sleep.start_ktime_ns, sleep.runnable_ktime_ns));
    let quiet: Vec<u64> = quiet.map(start).collect();
    let mut by_rests = (
        pairing::works(&messages, &computations, &rests),
        pairing::answers(&messages, &answers, &quiet),
    );
    let few = |pairs: &pairing::Pairs| pairing::matched(pairs) < messages.len() / 2;
    let mut by_commits = false;
    if few(&by_rests)
        && let Some(answered) =
            pairing::answers_by_commits(&messages, &by_rests.0, &answers, &commits)
    {
        by_rests.1 = answered;
        by_commits = true;
    }
    let by_limit = match few(&by_rests) {
        true => {
            let syncs: Vec<u64> = commits.iter().map(|commit| commit.sync_ktime_ns).collect();
            pairing::by_limit(&messages, &computations, &answers, &syncs)
        }
        false => None,
    };
    let matched_by_limit = by_limit.is_some();
    let (works, answered) = by_limit.unwrap_or(by_rests);
    let mut summary = EventsSummary {
        computing_since_ktime_ns: open.map(|(start, _)| start),
        commits,
        computations,
        king: Some(king),
        mars: Some(mars),
        matched_by_limit,
        ..EventsSummary::default()
    };
    let turns = of(king);
    // Later messages may still be under way.
    let settled = match matched_by_limit || by_commits {
        true => answers.last().map_or(0, |answer| answer.sent_ktime_ns),
        false => quiet.last().copied().unwrap_or(u64::MAX),
    };
    for ((message, work), answered) in messages.iter().zip(works).zip(answered) {
        let is_computed = matches!(message.content, Content::Poke(_) | Content::Peek);
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
            (true, _, None) if message.sent_ktime_ns > settled => summary.unfinished += 1,
            _ => summary.unmatched += 1,
        }
    }
    summary.timelines = timelines;
    Some(summary)
}

fn messages(calls: &[&SyscallEvent]) -> Vec<Message> {
    let frames = calls.iter().filter_map(|call| match &call.call {
        Call::Frame { head, .. } => Some(Message {
            sent_ktime_ns: call.ktime_ns,
            content: message::content(head)?,
        }),
        _ => None,
    });
    frames
        .filter(|message| message.content != Content::Notice)
        .collect()
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

fn is_idle_in_epoll(capture: &Capture, absence: &Absence) -> bool {
    absence.task_state == TASK_INTERRUPTIBLE
        && syscall_name(&capture.meta.architecture, absence.syscall_nr).starts_with("epoll_")
}

/// Sleeps of mars for which it had computed all that had been sent.
fn sleeps<'a>(
    mars: &'a Timeline,
    king: &Timeline,
    messages: &[Message],
    idles: impl Fn(&Absence) -> bool,
) -> Vec<&'a Absence> {
    let sleeps = mars.absences().iter().filter(|absence| idles(absence));
    sleeps
        .filter(|sleep| {
            let rest = sleep.start_ktime_ns;
            let before = messages.partition_point(|message| message.sent_ktime_ns <= rest);
            before
                .checked_sub(1)
                .is_none_or(|last| delivered(messages[last].sent_ktime_ns, king) < rest)
        })
        .collect()
}

/// When a message was surely there that was about to be sent: the king may have been taken off its CPU
/// just then.
fn delivered(sent_ktime_ns: u64, king: &Timeline) -> u64 {
    let soon = sent_ktime_ns + SENDING_NS;
    let away = king.within(sent_ktime_ns, soon).iter();
    away.filter(|absence| absence.is_preemption())
        .map(|absence| absence.end_ktime_ns + SENDING_NS)
        .max()
        .unwrap_or(soon)
}

/// Whether a commit was under way at any moment from `from` to `to`.
fn is_committing(commits: &[Commit], from: u64, to: u64) -> bool {
    let later = commits.partition_point(|commit| commit.start_ktime_ns < to);
    later
        .checked_sub(1)
        .is_some_and(|last| from < commits[last].end_ktime_ns)
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

/// When the turn of the king's loop began that sent a message.
fn arrival(
    sent_ktime_ns: u64,
    calls: &[&SyscallEvent],
    king: &Timeline,
    idles: impl Fn(&Absence) -> bool,
) -> u64 {
    let until = calls.partition_point(|call| call.ktime_ns <= sent_ktime_ns);
    let turn = calls[..until]
        .iter()
        .rev()
        .find_map(|call| match call.call {
            Call::Frame { turn_ktime_ns, .. } if call.ktime_ns == sent_ktime_ns => turn_ktime_ns,
            Call::LoopTurn => Some(call.ktime_ns),
            _ => None,
        });
    let last = king.last_before(sent_ktime_ns);
    let woken = king
        .within(turn.unwrap_or(0), sent_ktime_ns)
        .iter()
        .rev()
        .chain(last)
        .find(|absence| idles(absence))
        .map(|absence| absence.runnable_ktime_ns);
    turn.max(woken).unwrap_or(sent_ktime_ns).min(sent_ktime_ns)
}
