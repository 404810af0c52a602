//! From budgets to causes.
//!
//! Until a capture knows the ship's events, the verdict rests on threads: the time that king,
//! mars and the commit worker did not idle is what was felt, and its parts are charged to the
//! leaves of one tree of causes. Every nanosecond of it is in exactly one leaf.

pub mod blame;
mod computing;
mod leaf;
mod page_in;
mod steal;
mod syscall;
mod verdict;

pub use blame::Party;
pub use leaf::{Cause, Leaf};
pub use page_in::PageInRule;
pub use steal::Steal;
pub use syscall::syscall_name;
pub use verdict::{
    Circumstances, HEALTHY_STALL_RATIO, LONG_WAIT_NS, LONG_WAITS, MIN_EVENTS, SATURATED_RATIO,
    VerdictKind, judge,
};

use std::collections::BTreeMap;

use crate::aggregate::Summaries;
use crate::aggregate::sched::{ThreadSummary, WaitSummary};
use crate::model::{Capture, Histogram, Meta};
use crate::ship::Role;
use syscall::{WaitClass, classify};

/// Time of one leaf.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// All of it.
    pub total_ns: u64,
    /// Single waits, how many and how long. Empty for computing.
    pub waits: Histogram,
    /// Whether it was split off by an estimate.
    pub estimated: bool,
}

/// The time of king, mars and commit worker, by cause.
#[derive(Debug, Clone, Default)]
pub struct Attribution {
    /// Wall time of those threads.
    pub wall_ns: u64,
    /// Of that, waiting for work.
    pub idle_ns: u64,
    /// The rest, by leaf. Sums to `wall_ns - idle_ns`.
    pub parts: BTreeMap<Leaf, Part>,
    /// The largest share of the wall time that king, mars, or the commit workers neither idled nor
    /// computed. The workers count as one: vere has only one commit under way at a time
    /// (`pkg/vere/disk.c`), which any of them may do.
    pub worst_stall_ratio: f64,
    /// The largest share of one thread's wall time on CPU.
    pub worst_on_cpu_ratio: f64,
    /// The rule by which page-ins were charged, and what it saw.
    pub page_ins: PageInRule,
    /// What the hypervisor took; nothing if the kernel does not say.
    pub steal: Option<Steal>,
}

impl Attribution {
    /// Time that the threads did not idle.
    pub fn busy_ns(&self) -> u64 {
        self.wall_ns - self.idle_ns
    }

    /// Time of a leaf.
    pub fn leaf_ns(&self, leaf: Leaf) -> u64 {
        self.parts.get(&leaf).map_or(0, |part| part.total_ns)
    }

    /// Time of a cause.
    pub fn cause_ns(&self, cause: Cause) -> u64 {
        let parts = self.parts.iter().filter(|(leaf, _)| leaf.cause() == cause);
        parts.map(|(_, part)| part.total_ns).sum()
    }

    /// Whether a thread computed nearly all the time, so that computing is what holds the ship up.
    pub fn is_saturated(&self) -> bool {
        self.worst_on_cpu_ratio >= SATURATED_RATIO
    }

    /// Time of a cause that held the ship up.
    pub fn stalling_ns(&self, cause: Cause) -> u64 {
        let computing = match cause {
            Cause::Cpu if !self.is_saturated() => self.leaf_ns(Leaf::Computing),
            _ => 0,
        };
        self.cause_ns(cause) - computing
    }

    /// Busy time without computing.
    pub fn stalled_ns(&self) -> u64 {
        self.busy_ns() - self.leaf_ns(Leaf::Computing)
    }

    /// Waits of at least [`LONG_WAIT_NS`], idle ones left out.
    pub fn long_waits(&self) -> u64 {
        self.parts
            .values()
            .map(|part| part.waits.at_least(LONG_WAIT_NS))
            .sum()
    }
}

/// Charges the time of king, mars and commit workers.
pub fn attribute(capture: &Capture, summaries: &Summaries) -> Attribution {
    let page_ins = PageInRule::of(&capture.meta);
    let mut attribution = Attribution {
        page_ins,
        steal: Steal::of(&capture.meta),
        ..Attribution::default()
    };
    let threads: Vec<&ThreadSummary> = summaries
        .threads
        .iter()
        .filter(|thread| thread.role != Role::Other)
        .collect();
    let throttled_ns = throttled_ns(capture, &summaries.threads);
    let run_queue_ns: u64 = summaries
        .threads
        .iter()
        .map(|thread| thread.run_queue_ns)
        .sum();
    let upkeep = computing::shares(capture);
    let mut stalls: BTreeMap<Role, (u64, u64)> = BTreeMap::new();
    for thread in threads {
        // The kernel says how long the group was throttled, not which thread: by their waits.
        let share = ratio(thread.run_queue_ns, run_queue_ns);
        let throttled = ((throttled_ns as f64 * share) as u64).min(thread.run_queue_ns);
        let shares = upkeep.get(&thread.thread);
        let stalled_ns = attribution.add_thread(capture, thread, throttled, shares);
        let (of_role_ns, wall_ns) = stalls.entry(thread.role).or_default();
        *of_role_ns += stalled_ns;
        *wall_ns = thread.wall_ns.max(*wall_ns);
    }
    attribution.worst_stall_ratio = stalls
        .values()
        .map(|(stalled_ns, wall_ns)| ratio(*stalled_ns, *wall_ns))
        .fold(0.0, f64::max);
    attribution
}

impl Attribution {
    /// Charges a thread's time. Returns how much of it was neither idle nor computing.
    fn add_thread(
        &mut self,
        capture: &Capture,
        thread: &ThreadSummary,
        throttled_ns: u64,
        shares: Option<&BTreeMap<Leaf, f64>>,
    ) -> u64 {
        let mut idle_ns = 0;
        self.wall_ns += thread.accounted_ns();
        let upkeep_ns = self.add_upkeep(thread, shares);
        let (computing_ns, queued_ns) = (
            thread.on_cpu_ns - upkeep_ns,
            thread.run_queue_ns - throttled_ns,
        );
        let stolen = self.steal.map_or(0.0, |steal| steal.charged_ratio());
        let stolen_of = |ns: u64| ((ns as f64 * stolen) as u64).min(ns);
        let (of_computing_ns, of_queued_ns) = (stolen_of(computing_ns), stolen_of(queued_ns));
        self.add(Leaf::Computing, computing_ns - of_computing_ns, None);
        self.add(
            Leaf::RunQueue,
            queued_ns - of_queued_ns,
            Some(&thread.run_queue),
        );
        self.add_estimate(Leaf::Throttled, throttled_ns);
        self.add_estimate(Leaf::Stolen, of_computing_ns + of_queued_ns);
        self.add(Leaf::Unexplained, thread.unexplained_ns, None);
        for wait in &thread.waits {
            match class(&capture.meta, thread.role, wait) {
                WaitClass::Idle => idle_ns += wait.total_ns,
                WaitClass::PageIn => {
                    self.add(self.page_ins.leaf(), wait.total_ns, Some(&wait.histogram));
                }
                WaitClass::Leaf(leaf) => self.add(leaf, wait.total_ns, Some(&wait.histogram)),
            }
        }
        self.idle_ns += idle_ns;
        // Of the window, not of the thread's own time: one that has just begun is not saturated.
        self.worst_on_cpu_ratio = self
            .worst_on_cpu_ratio
            .max(ratio(thread.on_cpu_ns, capture.meta.clocks.duration_ns()));
        thread.accounted_ns() - idle_ns - (computing_ns - of_computing_ns)
    }

    /// Charges what of a thread's time on CPU was upkeep of memory: what the kernel made it do, by
    /// tracepoints, and an estimate by samples. Returns the sum.
    fn add_upkeep(&mut self, thread: &ThreadSummary, shares: Option<&BTreeMap<Leaf, f64>>) -> u64 {
        let memory = &thread.memory;
        let reclaim_ns = memory.reclaim_on_cpu_ns.min(thread.on_cpu_ns);
        let compaction_ns = memory
            .compaction_on_cpu_ns
            .min(thread.on_cpu_ns - reclaim_ns);
        self.add(Leaf::Reclaim, reclaim_ns, None);
        self.add(Leaf::Compaction, compaction_ns, None);
        let mut upkeep_ns = reclaim_ns + compaction_ns;
        let rest_ns = thread.on_cpu_ns - upkeep_ns;
        for (leaf, share) in shares.into_iter().flatten() {
            let ns = ((rest_ns as f64 * share) as u64).min(thread.on_cpu_ns - upkeep_ns);
            self.add_estimate(*leaf, ns);
            upkeep_ns += ns;
        }
        upkeep_ns
    }

    fn add_estimate(&mut self, leaf: Leaf, ns: u64) {
        if ns > 0 {
            self.add(leaf, ns, None);
            self.parts.entry(leaf).or_default().estimated = true;
        }
    }

    fn add(&mut self, leaf: Leaf, ns: u64, waits: Option<&Histogram>) {
        if ns == 0 && waits.is_none() {
            return;
        }
        let part = self.parts.entry(leaf).or_default();
        part.total_ns += ns;
        if let Some(waits) = waits {
            part.waits.add(waits);
        }
    }
}

/// Whether a wait is one for work, which has no cause.
pub fn is_idle(meta: &Meta, role: Role, wait: &WaitSummary) -> bool {
    class(meta, role, wait) == WaitClass::Idle
}

fn class(meta: &Meta, role: Role, wait: &WaitSummary) -> WaitClass {
    let name = syscall_name(&meta.architecture, wait.syscall_nr);
    classify(role, name, wait.task_state)
}

/// Time for which the ship's group had used up its CPU quota, but never more than its threads
/// waited for a CPU. The group that was throttled most counts: its time contains the others'.
fn throttled_ns(capture: &Capture, threads: &[ThreadSummary]) -> u64 {
    let meta = &capture.meta;
    let (Some(before), Some(after)) = (
        meta.counters_start.throttling.known(),
        meta.counters_end.throttling.known(),
    ) else {
        return 0;
    };
    let waited: u64 = threads.iter().map(|thread| thread.run_queue_ns).sum();
    let throttled = after.iter().filter_map(|after| {
        let before = before.iter().find(|before| before.group == after.group)?;
        Some(after.throttled_ns.saturating_sub(before.throttled_ns))
    });
    throttled.max().unwrap_or(0).min(waited)
}

/// `part / whole`, 0 of nothing.
pub fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}
