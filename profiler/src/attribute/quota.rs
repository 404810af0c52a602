//! What of the time in the run queue was because of a quota: an estimate.
//!
//! The kernel counts how long the group had used its quota up while it had something to run, the
//! times of all CPUs added up (`throttled_clock` of each CPU's `cfs_rq`, `kernel/sched/fair.c`). It does
//! not say which threads waited: all that wanted that CPU did, at the same time. So its time is a share of
//! the time in which any thread of the ship waited for a CPU, CPU by CPU, and each thread's waits
//! have that share.

use std::collections::BTreeMap;

use super::ratio;
use crate::aggregate::sched::ThreadSummary;
use crate::model::{Capture, Event, ThreadId};

/// How much of the time in the run queue was because of a quota.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quota {
    /// Share of each wait.
    pub share: f64,
    /// Of the kernel's time, what the ship's threads were seen to wait for.
    pub seen_ns: u64,
}

impl Quota {
    /// Of a capture; nothing is charged where there is no quota, or where it is not known.
    pub fn of(capture: &Capture, threads: &[ThreadSummary]) -> Self {
        let throttled_ns = super::throttled_by_kernel_ns(&capture.meta).unwrap_or(0);
        // Without records (sampling) the places of waits are not known. The thread that waited most
        // waited beside all others, if they shared a CPU.
        let longest_ns = threads.iter().map(|thread| thread.run_queue_ns).max();
        let queued_ns = queued_ns(capture).max(longest_ns.unwrap_or(0));
        Self {
            share: ratio(throttled_ns, queued_ns).min(1.0),
            seen_ns: throttled_ns.min(queued_ns),
        }
    }

    /// Of a time in the run queue.
    pub fn of_ns(self, run_queue_ns: u64) -> u64 {
        ((run_queue_ns as f64 * self.share) as u64).min(run_queue_ns)
    }
}

/// By thread, what of its time in the run queue was because of a quota.
pub fn throttled(capture: &Capture, threads: &[ThreadSummary]) -> BTreeMap<ThreadId, u64> {
    let quota = Quota::of(capture, threads);
    let of = |thread: &ThreadSummary| (thread.thread, quota.of_ns(thread.run_queue_ns));
    threads.iter().map(of).collect()
}

/// Time in which any thread waited for a CPU that it then came onto, the CPUs' times added up.
fn queued_ns(capture: &Capture) -> u64 {
    let clocks = &capture.meta.clocks;
    let mut waits: Vec<(u32, u64, u64)> = capture
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Wait(wait) => {
                let start = wait.woken_ktime_ns.unwrap_or(wait.start_ktime_ns);
                let start = start.max(clocks.start_ktime_ns);
                let end = wait.end_ktime_ns.min(clocks.end_ktime_ns);
                (start < end).then_some((wait.cpu, start, end))
            }
            _ => None,
        })
        .collect();
    waits.sort_unstable();
    let mut reached = (u32::MAX, 0);
    let mut total_ns = 0;
    for (cpu, start, end) in waits {
        if reached.0 != cpu {
            reached = (cpu, 0);
        }
        total_ns += end.saturating_sub(start.max(reached.1));
        reached.1 = reached.1.max(end);
    }
    total_ns
}
