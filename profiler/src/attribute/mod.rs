//! From budgets to causes.
//!
//! Where the ship's events could be followed, the verdict rests on their time, from arrival to release.
//! Where not, it rests on threads: the time that king, mars and the commit worker did not idle. Either
//! way the time is charged to the leaves of one tree of causes, every nanosecond to exactly one.

pub mod blame;
mod computing;
mod critical;
mod event_times;
mod leaf;
mod page_in;
mod quota;
mod steal;
mod syscall;
mod verdict;
mod what_if;

pub use blame::Party;
pub use computing::{Shares, shares_of, upkeep};
pub use critical::{CriticalPaths, EventCost, LeafCost, Phase};
pub use event_times::{EventLeaves, EventTimes, Times, Turn, WORST_EVENTS};
pub use leaf::{Cause, Leaf};
pub use page_in::PageInRule;
pub use quota::throttled;
pub use steal::Steal;
pub use syscall::{WaitClass, classify, syscall_name};
pub use verdict::{
    Circumstances, HEALTHY_STALL_RATIO, LONG_WAIT_NS, LONG_WAITS, MIN_EVENTS, SATURATED_RATIO,
    VerdictKind, judge,
};

use std::collections::BTreeMap;

pub use what_if::{AsItWas, Removal, p95_ns};

use crate::aggregate::Summaries;
use crate::aggregate::sched::{ThreadSummary, WaitSummary};
use crate::aggregate::snapshot::SnapshotSummary;
use crate::model::{Capture, Histogram, Meta, sum};
use crate::ship::Role;
use event_times::{Split, Splits, event_times};
use quota::Quota;

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
    /// Time that threads of king, mars and commit workers were held back by a quota, an estimate.
    pub throttled_ns: u64,
    /// Of the time for which the kernel held the group back, what the ship's threads were seen to wait for.
    pub quota_ns: u64,
    /// Time that they were in the run queue otherwise.
    pub run_queue_ns: u64,
    /// The events whose time all of this is; nothing if it is that of threads.
    pub events: Option<EventTimes>,
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

    /// Whether computing is what holds the ship up, and not only its work: it fills a CPU, or is most of
    /// the time of the events that it belongs to.
    pub fn computing_stalls(&self) -> bool {
        match &self.events {
            Some(_) => self.is_saturated() || self.own_computing_ns() > self.busy_ns() / 2,
            None => self.is_saturated(),
        }
    }

    /// Share of the time on CPU or waiting for one that the hypervisor took.
    fn stolen_ratio(&self) -> f64 {
        self.steal.map_or(0.0, |steal| steal.charged_ratio())
    }

    /// Computing that is the ship's work. Of events, their own: waiting for others' is a stall.
    fn own_computing_ns(&self) -> u64 {
        match &self.events {
            Some(events) => events.own_computing_ns,
            None => self.leaf_ns(Leaf::Computing),
        }
    }

    /// Computing that held the ship up: behind that of other events, and an event's own where computing is
    /// what holds it up.
    pub fn stalling_computing_ns(&self) -> u64 {
        let own_ns = match self.computing_stalls() {
            true => 0,
            false => self.own_computing_ns(),
        };
        self.leaf_ns(Leaf::Computing) - own_ns
    }

    /// Time of a cause that held the ship up.
    pub fn stalling_ns(&self, cause: Cause) -> u64 {
        let computing = match cause {
            Cause::Cpu if !self.computing_stalls() => self.own_computing_ns(),
            _ => 0,
        };
        self.cause_ns(cause) - computing
    }

    /// Busy time without the ship's own computing.
    pub fn stalled_ns(&self) -> u64 {
        self.busy_ns() - self.own_computing_ns()
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
    let shares = computing::shares(capture, summaries.events.as_ref());
    attribute_by(capture, summaries, &shares)
}

/// The same with the shares of upkeep in each thread's computing at hand.
pub fn attribute_by(capture: &Capture, summaries: &Summaries, upkeep: &Shares) -> Attribution {
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
    let quota = Quota::of(capture, &summaries.threads);
    let snapshots = summaries.snapshots.as_ref();
    let collection_ns = summaries.events.as_ref().map_or(0, |events| {
        sum(events.upkeep().map(|span| events.mars_on_cpu_ns(span)))
    });
    let mut stalls: BTreeMap<Role, (u64, u64)> = BTreeMap::new();
    for thread in threads {
        let throttled = quota.of_ns(thread.run_queue_ns);
        let shares = upkeep.get(&thread.thread);
        let apart = Apart {
            snapshots: snapshots.filter(|_| thread.role == Role::Mars),
            collection_ns: match thread.role {
                Role::Mars => collection_ns,
                _ => 0,
            },
            no_snapshot: snapshots.is_some_and(|snapshots| snapshots.seen() == 0),
        };
        let stalled_ns = attribution.add_thread(capture, thread, throttled, shares, &apart);
        let (of_role_ns, wall_ns) = stalls.entry(thread.role).or_default();
        *of_role_ns += stalled_ns;
        *wall_ns = thread.wall_ns.max(*wall_ns);
    }
    attribution.worst_stall_ratio = stalls
        .values()
        .map(|(stalled_ns, wall_ns)| ratio(*stalled_ns, *wall_ns))
        .fold(0.0, f64::max);
    attribution.throttled_ns = attribution.leaf_ns(Leaf::Throttled);
    attribution.run_queue_ns = attribution.leaf_ns(Leaf::RunQueue);
    attribution.quota_ns = quota.seen_ns;
    let splits = Splits {
        mars: mars_splits(&summaries.threads, upkeep, snapshots, collection_ns),
        throttled: quota.share,
        stolen: attribution.stolen_ratio(),
    };
    let page_ins = attribution.page_ins;
    if let Some((events, parts)) = event_times(capture, summaries, &page_ins, &splits) {
        attribution.wall_ns = events.all.total_ns;
        attribution.idle_ns = 0;
        attribution.parts = parts;
        attribution.events = Some(events);
    }
    attribution
}

/// Shares of mars' time on CPU that were upkeep of memory. What is exact of the thread is an estimate
/// of its events. Samples are of all its computing, but upkeep is outside of snapshots, whose computing
/// is no part of what is split.
fn mars_splits(
    threads: &[ThreadSummary],
    upkeep: &Shares,
    snapshots: Option<&SnapshotSummary>,
    collection_ns: u64,
) -> Vec<Split> {
    let Some(mars) = threads.iter().find(|thread| thread.role == Role::Mars) else {
        return Vec::new();
    };
    let reclaim = ratio(mars.memory.reclaim_on_cpu_ns, mars.on_cpu_ns).min(1.0);
    let compaction = ratio(mars.memory.compaction_on_cpu_ns, mars.on_cpu_ns).min(1.0 - reclaim);
    let rest = 1.0 - reclaim - compaction;
    let snapshot_ns = snapshots.map_or(0, |snapshots| snapshots.on_cpu_ns);
    // Samples of upkeep were left out from the beginning.
    let sampled_ns = mars.on_cpu_ns.saturating_sub(collection_ns);
    let outside = 1.0 - ratio(snapshot_ns, sampled_ns).min(1.0);
    let of_outside = |share: f64| (share / outside.max(share)).min(1.0);
    let sampled = upkeep.get(&mars.thread).into_iter().flatten();
    [(Leaf::Reclaim, reclaim), (Leaf::Compaction, compaction)]
        .into_iter()
        .chain(sampled.map(|(leaf, share)| (*leaf, of_outside(*share) * rest)))
        .collect()
}

/// What of a thread's time is no computing.
struct Apart<'a> {
    /// Snapshots, if it writes them.
    snapshots: Option<&'a SnapshotSummary>,
    /// Time on CPU in upkeep of the loom.
    collection_ns: u64,
    /// Whether it is known that nobody wrote one.
    no_snapshot: bool,
}

impl Attribution {
    /// Charges a thread's time. Returns how much of it was neither idle nor computing.
    fn add_thread(
        &mut self,
        capture: &Capture,
        thread: &ThreadSummary,
        throttled_ns: u64,
        shares: Option<&BTreeMap<Leaf, f64>>,
        apart: &Apart<'_>,
    ) -> u64 {
        let mut idle_ns = 0;
        self.wall_ns += thread.accounted_ns();
        let mut upkeep_ns = self.add_upkeep(thread, shares, apart.collection_ns);
        if let Some(snapshots) = apart.snapshots {
            // Copying and checking pages for a snapshot is not the ship's computing.
            let ns = snapshots.on_cpu_ns.min(thread.on_cpu_ns - upkeep_ns);
            self.add(Leaf::Snapshot, ns, None);
            upkeep_ns += ns;
        }
        let (computing_ns, queued_ns) = (
            thread.on_cpu_ns - upkeep_ns,
            thread.run_queue_ns - throttled_ns,
        );
        let stolen = self.stolen_ratio();
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
                // Its files are written for snapshots alone, but there was none.
                WaitClass::Leaf(Leaf::Snapshot) if apart.no_snapshot => {
                    self.add(Leaf::OtherFile, wait.total_ns, Some(&wait.histogram));
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
    /// tracepoints, upkeep of the loom, and an estimate by samples. Returns the sum.
    fn add_upkeep(
        &mut self,
        thread: &ThreadSummary,
        shares: Option<&BTreeMap<Leaf, f64>>,
        collection_ns: u64,
    ) -> u64 {
        let memory = &thread.memory;
        let reclaim_ns = memory.reclaim_on_cpu_ns.min(thread.on_cpu_ns);
        let compaction_ns = memory
            .compaction_on_cpu_ns
            .min(thread.on_cpu_ns - reclaim_ns);
        self.add(Leaf::Reclaim, reclaim_ns, None);
        self.add(Leaf::Compaction, compaction_ns, None);
        let mut upkeep_ns = reclaim_ns + compaction_ns;
        let collection_ns = collection_ns.min(thread.on_cpu_ns - upkeep_ns);
        self.add(Leaf::Collection, collection_ns, None);
        upkeep_ns += collection_ns;
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

/// Time for which the ship's group had used up its CPU quota, as the kernel counts it; nothing if
/// there is no quota, or if it is not known. The group that was throttled most counts: its time
/// contains the others'.
pub fn throttled_by_kernel_ns(meta: &Meta) -> Option<u64> {
    let before = meta.counters_start.throttling.known()?;
    let after = meta.counters_end.throttling.known()?;
    let throttled = after.iter().filter_map(|after| {
        let before = before.iter().find(|before| before.group == after.group)?;
        Some(after.throttled_ns.saturating_sub(before.throttled_ns))
    });
    throttled.max()
}

/// `part / whole`, 0 of nothing.
pub fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}
