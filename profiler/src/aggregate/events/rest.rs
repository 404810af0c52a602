//! When king and mars rested: moments at which nothing is under way tell what belongs together.

use profiler_common::sched::TASK_INTERRUPTIBLE;

use super::commit::Commit;
use super::frame::Frame;
use super::timeline::{Absence, Timeline};
use crate::attribute::syscall_name;
use crate::model::{Call, Capture, SyscallEvent, ThreadId};

/// A message that was about to be sent this little before mars slept may not have been there yet.
const SENDING_NS: u64 = 200_000;

/// Whether a main thread waits for work.
pub fn is_idle_in_epoll(capture: &Capture, absence: &Absence) -> bool {
    absence.task_state == TASK_INTERRUPTIBLE
        && syscall_name(&capture.meta.architecture, absence.syscall_nr).starts_with("epoll_")
}

/// Sleeps of mars for which it had computed all that had been sent.
pub fn sleeps<'a>(
    mars: &'a Timeline,
    king: (ThreadId, &Timeline),
    messages: &[Frame],
    idles: impl Fn(&Absence) -> bool,
) -> Vec<&'a Absence> {
    let sleeps = mars.absences().iter().filter(|absence| idles(absence));
    sleeps
        .filter(|sleep| {
            let rest = sleep.start_ktime_ns;
            let before = messages.partition_point(|message| message.sent_ktime_ns <= rest);
            before
                .checked_sub(1)
                .is_none_or(|last| delivered(messages[last].sent_ktime_ns, king, mars) < rest)
        })
        .collect()
}

/// When a message was surely there that was about to be sent: mars was woken for it, or some time has
/// passed. The king may have been taken off its CPU just then, by mars too, which may be asleep again
/// when the king comes back.
fn delivered(sent_ktime_ns: u64, (king_id, king): (ThreadId, &Timeline), mars: &Timeline) -> u64 {
    let soon = sent_ktime_ns + SENDING_NS;
    let is_woken = |absence: &&Absence| {
        absence.waker_tid == king_id.tid && absence.runnable_ktime_ns >= sent_ktime_ns
    };
    if let Some(woken) = mars.within(sent_ktime_ns, soon).iter().find(is_woken) {
        return woken.runnable_ktime_ns;
    }
    let away = king.within(sent_ktime_ns, soon).iter();
    away.filter(|absence| absence.is_preemption())
        .map(|absence| absence.end_ktime_ns + SENDING_NS)
        .max()
        .unwrap_or(soon)
}

/// Whether a commit was under way at any moment from `from` to `to`.
pub fn is_committing(commits: &[Commit], from: u64, to: u64) -> bool {
    let later = commits.partition_point(|commit| commit.start_ktime_ns < to);
    later
        .checked_sub(1)
        .is_some_and(|last| from < commits[last].end_ktime_ns)
}

/// When the king began to wait for what the turn of its loop is about that sent a message.
pub fn turn(sent_ktime_ns: u64, calls: &[&SyscallEvent]) -> Option<u64> {
    let until = calls.partition_point(|call| call.ktime_ns <= sent_ktime_ns);
    let mut before = calls[..until].iter().rev();
    before.find_map(|call| match call.call {
        Call::Frame { turn_ktime_ns, .. } if call.ktime_ns == sent_ktime_ns => turn_ktime_ns,
        Call::LoopTurn => Some(call.ktime_ns),
        _ => None,
    })
}

/// When the turn of the king's loop began that sent a message, by when it began to wait for it.
pub fn arrival(
    sent_ktime_ns: u64,
    turn: Option<u64>,
    king: &Timeline,
    idles: impl Fn(&Absence) -> bool,
) -> u64 {
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
