//! Commits of the event log: what a worker thread does from being woken to waiting for work again, if
//! it syncs the log meanwhile. There is one at a time (`pkg/vere/disk.c`).

use std::collections::BTreeSet;

use super::timeline::{Absence, Timeline};
use crate::attribute::syscall_name;
use crate::model::{Call, Event, SyscallEvent, ThreadId};

/// One commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// The worker.
    pub thread: ThreadId,
    /// When the worker was woken for it.
    pub start_ktime_ns: u64,
    /// When it began to make the data durable; before, it wrote.
    pub sync_ktime_ns: u64,
    /// When the main thread was told that it is durable; where that was busy, when the worker had nothing
    /// more to do.
    pub end_ktime_ns: u64,
}

/// A lock that the worker waits for, such as that of the allocator, is given back within this.
const LOCK_NS: u64 = 1_000_000;

/// When a worker was woken for a commit, by its rests before it, and when it synced the one before: the
/// last rest may have been one for a lock that the main thread held.
fn woken(rests: &[&Absence], previous_sync_ktime_ns: u64) -> Option<u64> {
    let mut woken = rests.last()?;
    for before in rests.iter().rev().skip(1) {
        let is_lock = woken.end_ktime_ns - woken.start_ktime_ns < LOCK_NS
            && woken.start_ktime_ns - before.end_ktime_ns < LOCK_NS;
        if !is_lock || before.end_ktime_ns <= previous_sync_ktime_ns {
            break;
        }
        woken = before;
    }
    Some(woken.runnable_ktime_ns)
}

/// The commits of one worker: `syncs` are its calls of `fdatasync`, in order, `main` is what the main
/// thread of its process did.
pub fn commits(
    thread: ThreadId,
    timeline: &Timeline,
    main: &Timeline,
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
        let told = main
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
        let previous = i.checked_sub(1).map_or(0, |i| syncs[i].ktime_ns);
        let woken = woken(&rests[..later], previous);
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

/// Up to when there was a commit whose beginning was not seen: a thread beside `owner`, the main thread of
/// the process that commits, waited for its sync or its last write, and had not been seen to begin one. 0
/// if there was none.
pub fn unseen_until(events: &[Event], architecture: &str, owner: ThreadId) -> u64 {
    let mut syncing: BTreeSet<ThreadId> = BTreeSet::new();
    let mut until = 0;
    for event in events {
        match event {
            Event::Syscall(call) if matches!(call.call, Call::Sync { .. }) => {
                syncing.insert(call.thread);
            }
            Event::Wait(wait)
                if wait.thread.tgid == owner.tgid
                    && wait.thread != owner
                    && !syncing.contains(&wait.thread)
                    && ["fdatasync", "pwrite64"]
                        .contains(&syscall_name(architecture, wait.syscall_nr)) =>
            {
                until = until.max(wait.end_ktime_ns);
            }
            _ => {}
        }
    }
    until
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Stack, WaitEvent};

    const FDATASYNC: i32 = 75;
    const PWRITE64: i32 = 18;
    const FUTEX: i32 = 202;

    /// A worker's commit was under way when the capture began; its next one is seen from its beginning. The
    /// main thread's own sync is of a snapshot.
    #[test]
    fn a_commit_from_before_the_capture_lasts_until_its_last_write() {
        let mars = ThreadId { tgid: 9, tid: 9 };
        let worker = ThreadId { tgid: 9, tid: 11 };
        let wait = |thread, syscall_nr, end_ktime_ns| {
            Event::Wait(Box::new(WaitEvent {
                thread,
                start_ktime_ns: end_ktime_ns - 90,
                woken_ktime_ns: Some(end_ktime_ns - 1),
                end_ktime_ns,
                syscall_nr,
                task_state: 2,
                waker: (mars, String::new()),
                behind: (mars, String::new()),
                cpu: 0,
                stack: Stack::default(),
            }))
        };
        let sync = Event::Syscall(SyscallEvent {
            thread: worker,
            ktime_ns: 500,
            call: Call::Sync { fd: 3 },
        });
        let seen = [
            wait(worker, FUTEX, 450),
            sync,
            wait(worker, FDATASYNC, 700),
            wait(mars, FDATASYNC, 900),
        ];
        assert_eq!(unseen_until(&seen, "x86_64", mars), 0);
        let before = [wait(worker, FDATASYNC, 200), wait(worker, PWRITE64, 300)];
        let events = [&before[..], &seen].concat();
        assert_eq!(unseen_until(&events, "x86_64", mars), 300);
    }

    /// As on a real ship: mars has just been told of the end of a commit and plans the next one. The
    /// worker is woken, waits for a lock of mars, and begins.
    #[test]
    fn a_wait_for_a_lock_is_part_of_the_commit() {
        let rest = |start_ktime_ns, end_ktime_ns| Absence {
            start_ktime_ns,
            runnable_ktime_ns: end_ktime_ns - 5_000,
            end_ktime_ns,
            syscall_nr: 202,
            task_state: 1,
            waker_tid: 1,
        };
        let work = rest(10_000_000, 50_000_000);
        let lock = rest(50_011_000, 50_106_000);
        assert_eq!(woken(&[&work, &lock], 8_000_000), Some(49_995_000));
        // What it did before the last sync was another commit.
        assert_eq!(woken(&[&work, &lock], 50_005_000), Some(50_101_000));
        // A rest that is not followed by a lock is one for work.
        assert_eq!(
            woken(&[&lock, &rest(52_000_000, 53_000_000)], 0),
            Some(52_995_000)
        );
        assert_eq!(woken(&[], 0), None);
    }
}
