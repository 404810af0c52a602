//! Block I/O by what queued it, on which device. From the programs' sums, which are whole whatever
//! record was lost.

use std::collections::BTreeMap;

use profiler_common::block::{OP_DISCARD, OP_FLUSH, OP_READ, OP_WRITE};

use super::sched::ThreadSummary;
use crate::model::{Capture, Event, Histogram, ThreadId};
use crate::ship::Role;

/// What a bio does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Makes the device write its cache.
    Flush,
    /// Tells the device what is free.
    Discard,
    /// Anything else (zone operations, write zeroes).
    Other,
}

impl Operation {
    fn of(op: u32) -> Self {
        match op {
            OP_READ => Self::Read,
            OP_WRITE => Self::Write,
            OP_FLUSH => Self::Flush,
            OP_DISCARD => Self::Discard,
            _ => Self::Other,
        }
    }

    /// In a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Discard => "discard",
            Self::Other => "other",
        }
    }
}

/// Block I/O of the threads of one role, of one kind, on one device.
#[derive(Debug, Clone)]
pub struct BlockSummary {
    /// Who queued it.
    pub role: Role,
    /// `major << 20 | minor`.
    pub dev: u32,
    /// What it did.
    pub operation: Operation,
    /// How many were completed.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Time from queued to issued, all added up.
    pub queue_ns: u64,
    /// Time from issued to done, all added up.
    pub device_ns: u64,
    /// Times in the queue.
    pub queue: Histogram,
    /// Times in the device.
    pub device: Histogram,
    /// How many failed.
    pub errors: u64,
}

impl BlockSummary {
    fn empty(role: Role, dev: u32, operation: Operation) -> Self {
        Self {
            role,
            dev,
            operation,
            count: 0,
            bytes: 0,
            queue_ns: 0,
            device_ns: 0,
            queue: Histogram::default(),
            device: Histogram::default(),
            errors: 0,
        }
    }
}

/// Sums block I/O up, in the order of role, device and operation.
pub fn summarise(capture: &Capture, threads: &[ThreadSummary]) -> Vec<BlockSummary> {
    let roles: BTreeMap<ThreadId, Role> = threads.iter().map(|t| (t.thread, t.role)).collect();
    let mut summaries: BTreeMap<(Role, u32, Operation), BlockSummary> = BTreeMap::new();
    for (key, totals) in &capture.totals.block {
        let thread = ThreadId {
            tgid: key.tgid,
            tid: key.tid,
        };
        let role = roles.get(&thread).copied().unwrap_or(Role::Other);
        let operation = Operation::of(key.op);
        let summary = summaries
            .entry((role, key.dev, operation))
            .or_insert_with(|| BlockSummary::empty(role, key.dev, operation));
        summary.count += totals.count;
        summary.bytes += totals.bytes;
        summary.queue_ns += totals.queue_ns;
        summary.device_ns += totals.device_ns;
        summary.queue.add_buckets(&totals.queue_buckets);
        summary.device.add_buckets(&totals.device_buckets);
        summary.errors += totals.errors;
    }
    summaries.into_values().collect()
}

/// Time during which at least one of the ship's bios was in a device. Unlike the sums, it counts what
/// overlaps once; bios whose record was lost are missing.
pub fn in_device_ns(capture: &Capture) -> u64 {
    let mut intervals: Vec<(u64, u64)> = capture
        .events
        .iter()
        .filter_map(|event| match event {
            Event::BioDone(done) => Some((
                done.issued_ktime_ns.unwrap_or(done.queued_ktime_ns),
                done.done_ktime_ns,
            )),
            _ => None,
        })
        .collect();
    intervals.sort_unstable();
    let (mut total_ns, mut until) = (0, 0);
    for (start, end) in intervals {
        total_ns += end.saturating_sub(start.max(until));
        until = until.max(end);
    }
    total_ns
}
