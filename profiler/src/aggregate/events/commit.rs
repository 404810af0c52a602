//! Commits of the event log: what a worker thread does from being woken to waiting for work again, if
//! it syncs the log meanwhile. There is one at a time (`pkg/vere/disk.c`).

use super::timeline::{Absence, Timeline};
use crate::model::{SyscallEvent, ThreadId};

/// One commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// The worker.
    pub thread: ThreadId,
    /// When the worker was woken for it.
    pub start_ktime_ns: u64,
    /// When it began to make the data durable; before, it wrote.
    pub sync_ktime_ns: u64,
    /// When mars was told that it is durable; where mars was busy, when the worker had nothing more to do.
    pub end_ktime_ns: u64,
}

/// The commits of one worker: `syncs` are its calls of `fdatasync`, in order, `mars` is what mars' main
/// thread did.
pub fn commits(
    thread: ThreadId,
    timeline: &Timeline,
    mars: &Timeline,
    syncs: &[&SyscallEvent],
    waits_for_work: impl Fn(&Absence) -> bool,
) -> Vec<Commit> {
    let rests: Vec<&Absence> = timeline
        .absences()
        .iter()
        .filter(|absence| waits_for_work(absence))
        .collect();
    let mut found: Vec<Commit> = Vec::new();
    for (i, sync) in syncs.iter().enumerate() {
        let at = sync.ktime_ns;
        let later = rests.partition_point(|rest| rest.start_ktime_ns < at);
        let next_sync = syncs.get(i + 1).map(|sync| sync.ktime_ns);
        let rest_after = rests.get(later).map(|rest| rest.start_ktime_ns);
        // The last one has not ended yet.
        let told = mars
            .within(at, u64::MAX)
            .iter()
            .take_while(|absence| {
                [next_sync, rest_after]
                    .into_iter()
                    .flatten()
                    .all(|end| absence.start_ktime_ns < end)
            })
            .filter(|absence| absence.waker_tid == thread.tid)
            .map(|absence| absence.runnable_ktime_ns)
            .find(|woken| *woken > at);
        let Some(end_ktime_ns) = [next_sync, rest_after, told].into_iter().flatten().min() else {
            break;
        };
        let woken = later.checked_sub(1).map(|i| rests[i].runnable_ktime_ns);
        let before = found.last().map(|commit| commit.end_ktime_ns);
        // A rest too short to be recorded lies between this commit and the one before.
        let start_ktime_ns = woken.max(before).unwrap_or(at);
        found.push(Commit {
            thread,
            start_ktime_ns,
            sync_ktime_ns: at,
            end_ktime_ns,
        });
    }
    found
}
