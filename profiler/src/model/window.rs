//! One sampling window of one ship: all that the sampler keeps of it.
//!
//! What is `None` was not measured; it is never 0. Causes, leaves and verdicts are kept by name, so
//! that a store outlives a change of the tree of causes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Histogram;
use crate::ship::Role;

/// Names of the histograms that history knows how to show; a window may hold others.
pub mod histogram_name {
    /// The commit worker's commits of the event log.
    pub const COMMIT: &str = "commit_ns";
    /// Mars' waits for a CPU.
    pub const RUN_QUEUE: &str = "run_queue_ns";
    /// From an event's arrival at the king to the release of its effects.
    pub const EVENT: &str = "event_ns";
}

/// Names of the kinds of stacks that the sampler takes; a window may hold others.
pub mod stack_kind {
    /// Time on CPU.
    pub const ON_CPU: &str = "on-cpu";
    /// Time blocked, waits for work left out.
    pub const OFF_CPU: &str = "off-cpu";
    /// Block I/O from queued to done.
    pub const BLOCK_IO: &str = "block-io";
    /// Page faults.
    pub const PAGE_FAULT: &str = "page-fault";
    /// Time of computations under the labels of mars' spin page: which vane and agent ran.
    pub const SPIN: &str = "spin";
}

/// A ship beyond its restarts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShipKey {
    /// Its name, or its pier.
    pub label: String,
    /// The pier as the ship sees it.
    pub pier: String,
}

/// One window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The ship.
    pub ship: ShipKey,
    /// vere's version, if a file name tells it.
    pub vere_version: Option<String>,
    /// When it began, `CLOCK_REALTIME`.
    pub start_unix_ns: u64,
    /// Its length, `CLOCK_MONOTONIC`.
    pub duration_ns: u64,
    /// How far the wall clock jumped against the monotonic one meanwhile; positive is forwards.
    pub clock_step_ns: i64,
    /// Numbers of the ship's events.
    pub events: Option<EventRange>,
    /// Budgets, summed over the threads of a role.
    pub budgets: BTreeMap<Role, Budget>,
    /// Where the time went, by the name of the leaf.
    pub leaves: BTreeMap<String, LeafTime>,
    /// Durations by the names in [`histogram_name`].
    pub histograms: BTreeMap<String, Histogram>,
    /// Heaviest stacks by the names in [`stack_kind`].
    pub stacks: BTreeMap<String, TopStacks>,
    /// Datagrams of the Ames socket.
    pub udp: Option<Udp>,
    /// Page faults of both processes.
    pub faults: Option<Faults>,
    /// Mars' loom at the end.
    pub loom: Option<Loom>,
    /// Mars' memory at the end, as the kernel sees it.
    pub memory: Option<ProcessMemory>,
    /// The pier's file system at the end.
    pub disk_space: Option<DiskSpace>,
    /// What it comes to.
    pub verdict: WindowVerdict,
    /// What takes no time of its own.
    pub findings: Vec<WindowFinding>,
    /// What sampling cost.
    pub own_cost: OwnCost,
    /// What was lost, by reason; reasons without a loss are left out.
    pub losses: BTreeMap<String, u64>,
    /// What could not be measured, each with its reason.
    pub not_measured: Vec<String>,
    /// Why it ended before its time; nothing if it is whole.
    pub cut_short: Option<String>,
}

impl Window {
    /// When it ended, `CLOCK_REALTIME`: a step of the clock lies inside it.
    pub fn end_unix_ns(&self) -> u64 {
        self.start_unix_ns
            .saturating_add(self.duration_ns)
            .saturating_add_signed(self.clock_step_ns)
    }

    /// Whether it ran to its end.
    pub fn is_complete(&self) -> bool {
        self.cut_short.is_none()
    }
}

/// The ship's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRange {
    /// Number of the last event before the window.
    pub before: u64,
    /// Number of the last event inside it.
    pub last: u64,
    /// How many were computed inside it.
    pub count: u64,
}

impl EventRange {
    /// Adds the events of another window.
    pub fn add(&mut self, other: &Self) {
        self.before = self.before.min(other.before);
        self.last = self.last.max(other.last);
        self.count = self.count.saturating_add(other.count);
    }
}

/// A closed budget: the parts sum to `wall_ns`. Where throttling could not be told, it is in
/// `run_queue_ns`, and the window says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Time that the threads existed.
    pub wall_ns: u64,
    /// On CPU.
    pub on_cpu_ns: u64,
    /// Waiting for a CPU, throttled not included.
    pub run_queue_ns: u64,
    /// Held back by a quota.
    pub throttled_ns: u64,
    /// Waiting for anything but work.
    pub blocked_ns: u64,
    /// Waiting for work.
    pub idle_ns: u64,
    /// What is left.
    pub unexplained_ns: u64,
}

impl Budget {
    /// Adds another window's.
    pub fn add(&mut self, other: &Self) {
        let parts = [
            (&mut self.wall_ns, other.wall_ns),
            (&mut self.on_cpu_ns, other.on_cpu_ns),
            (&mut self.run_queue_ns, other.run_queue_ns),
            (&mut self.throttled_ns, other.throttled_ns),
            (&mut self.blocked_ns, other.blocked_ns),
            (&mut self.idle_ns, other.idle_ns),
            (&mut self.unexplained_ns, other.unexplained_ns),
        ];
        for (part, more) in parts {
            *part = part.saturating_add(more);
        }
    }
}

/// Time of one leaf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafTime {
    /// Name of the cause it belongs to.
    pub cause: String,
    /// Its time.
    pub total_ns: u64,
}

/// The heaviest stacks of a kind; what they leave out is still in the total.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopStacks {
    /// Heaviest first, no stack twice.
    pub top: Vec<TopStack>,
    /// Time of all others.
    pub rest_ns: u64,
}

/// One stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopStack {
    /// Names, outermost first.
    pub frames: Vec<String>,
    /// Its time.
    pub weight_ns: u64,
}

impl TopStacks {
    /// How many stacks of a kind a window keeps.
    pub const LIMIT: usize = 50;

    /// Keeps the heaviest and sums the others. Stacks of the same weight go by their names, so
    /// that the same stacks always give the same answer.
    pub fn keep(all: BTreeMap<Vec<String>, u64>) -> Self {
        let mut top: Vec<TopStack> = all
            .into_iter()
            .map(|(frames, weight_ns)| TopStack { frames, weight_ns })
            .collect();
        // Stable: within a weight the order of the map remains.
        top.sort_by_key(|stack| std::cmp::Reverse(stack.weight_ns));
        let rest = top.split_off(top.len().min(Self::LIMIT));
        Self {
            top,
            rest_ns: super::sum(rest.iter().map(|stack| stack.weight_ns)),
        }
    }

    /// Time of all stacks, kept or not.
    pub fn total_ns(&self) -> u64 {
        super::sum(self.top.iter().map(|stack| stack.weight_ns)).saturating_add(self.rest_ns)
    }
}

/// Datagrams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Udp {
    /// Taken by the king.
    pub received: u64,
    /// Sent by it.
    pub sent: u64,
    /// Bytes of both.
    pub bytes: u64,
    /// Lost, because the receive buffer was full.
    pub dropped: u64,
}

impl Udp {
    /// Adds another window's.
    pub fn add(&mut self, other: &Self) {
        self.received = self.received.saturating_add(other.received);
        self.sent = self.sent.saturating_add(other.sent);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.dropped = self.dropped.saturating_add(other.dropped);
    }
}

/// Page faults.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// Served from memory.
    pub minor: u64,
    /// Served from a device.
    pub major: u64,
    /// Pages read back from swap; nothing where no counter tells it.
    pub swapped_in_pages: Option<u64>,
    /// Pages read again after they had been evicted; nothing where no counter tells it.
    pub refaulted_pages: Option<u64>,
}

impl Faults {
    /// Adds another window's. What only one of both measured is kept: it is a lower bound, and
    /// the other window says that it did not measure.
    pub fn add(&mut self, other: &Self) {
        let either = |ours: Option<u64>, theirs: Option<u64>| match (ours, theirs) {
            (Some(ours), Some(theirs)) => Some(ours.saturating_add(theirs)),
            (one, None) | (None, one) => one,
        };
        self.minor = self.minor.saturating_add(other.minor);
        self.major = self.major.saturating_add(other.major);
        self.swapped_in_pages = either(self.swapped_in_pages, other.swapped_in_pages);
        self.refaulted_pages = either(self.refaulted_pages, other.refaulted_pages);
    }
}

/// The head of mars' loom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Loom {
    /// Number of the last event that was computed.
    pub event_number: u64,
    /// Size of the persistent heap.
    pub heap_bytes: u64,
    /// Contiguous free memory between heap and stack.
    pub free_gap_bytes: u64,
}

/// Memory of mars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessMemory {
    /// Resident set.
    pub rss_bytes: u64,
    /// Its part that is backed by no file.
    pub anon_bytes: u64,
    /// Swapped out.
    pub swap_bytes: u64,
    /// Its mappings, which `vm.max_map_count` limits.
    pub map_count: Option<u64>,
}

/// Room on the pier's file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DiskSpace {
    /// Size of the file system.
    pub total_bytes: u64,
    /// Free for the ship's user.
    pub available_bytes: u64,
    /// Size of the event log.
    pub log_bytes: Option<u64>,
}

/// A verdict by its names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowVerdict {
    /// What kind: `stalled`, `finding`, `healthy`, `too_few_events`, or another.
    pub kind: String,
    /// Name of the heaviest cause, or of that of the severest finding.
    pub cause: Option<String>,
    /// In one or two sentences.
    pub sentence: String,
}

/// A finding by its names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowFinding {
    /// Stable name.
    pub id: String,
    /// `notice`, `severe`, or another.
    pub severity: String,
    /// In one sentence.
    pub sentence: String,
}

/// What sampling cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnCost {
    /// CPU time of the sampler's process.
    pub process_cpu_ns: u64,
    /// CPU time of its programs.
    pub programs_cpu_ns: Option<u64>,
    /// Largest resident set.
    pub max_resident_bytes: u64,
    /// Whether it thinned out to stay within its budget.
    pub thinned: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_stacks_are_kept_and_the_total_is_exact() {
        let all: BTreeMap<Vec<String>, u64> = (0..80_u64)
            .map(|i| (vec!["main".to_owned(), format!("f{i:02}")], 1 + i / 2))
            .collect();
        let total: u64 = all.values().sum();
        let kept = TopStacks::keep(all);
        assert_eq!(kept.top.len(), TopStacks::LIMIT);
        assert_eq!(kept.total_ns(), total);
        assert_eq!(kept.top[0].frames[1], "f78");
        assert_eq!(kept.top[1].frames[1], "f79");
        assert!(kept.top.iter().all(|stack| stack.weight_ns > 15));
    }

    #[test]
    fn a_step_of_the_clock_moves_the_end() {
        let mut window = crate::model::example::window(0);
        let end = window.end_unix_ns();
        window.clock_step_ns = -5;
        assert_eq!(window.end_unix_ns(), end - 5);
    }

    #[test]
    fn a_window_survives_json() {
        let window = crate::model::example::window(7);
        let json = serde_json::to_string(&window).expect("it is plain");
        assert_eq!(serde_json::from_str::<Window>(&json).ok(), Some(window));
    }
}
