//! Block I/O by what queued it, on which device.

use std::collections::BTreeMap;

use profiler_common::block::{OP_DISCARD, OP_FLUSH, OP_MASK, OP_READ, OP_WRITE};

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
    fn of(opf: u32, bytes: u64) -> Self {
        match opf & OP_MASK {
            OP_READ => Self::Read,
            // An empty write is how the kernel sends a flush (`blkdev_issue_flush`).
            OP_WRITE if bytes == 0 => Self::Flush,
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
    let sizes: BTreeMap<(ThreadId, u64), u64> = capture
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Bio(bio) => Some(((bio.thread, bio.queued_ktime_ns), u64::from(bio.bytes))),
            _ => None,
        })
        .collect();
    let mut summaries: BTreeMap<(Role, u32, Operation), BlockSummary> = BTreeMap::new();
    for event in &capture.events {
        let Event::BioDone(done) = event else {
            continue;
        };
        let role = roles.get(&done.thread).copied().unwrap_or(Role::Other);
        let mut bytes = u64::from(done.bytes);
        if bytes == 0 && done.issued_ktime_ns.is_none() {
            // A stacked device completes bios without saying how much.
            bytes = sizes
                .get(&(done.thread, done.queued_ktime_ns))
                .copied()
                .unwrap_or(0);
        }
        let operation = Operation::of(done.opf, bytes);
        let summary = summaries
            .entry((role, done.dev, operation))
            .or_insert_with(|| BlockSummary::empty(role, done.dev, operation));
        let issued = done.issued_ktime_ns.unwrap_or(done.queued_ktime_ns);
        let (queue_ns, device_ns) = (issued - done.queued_ktime_ns, done.done_ktime_ns - issued);
        summary.count += 1;
        summary.bytes += bytes;
        // Saturating, as everywhere where events are added up: a file may hold any number of them.
        summary.queue_ns = summary.queue_ns.saturating_add(queue_ns);
        summary.device_ns = summary.device_ns.saturating_add(device_ns);
        summary.queue.add_value(queue_ns);
        summary.device.add_value(device_ns);
        summary.errors += u64::from(done.error != 0);
    }
    summaries.into_values().collect()
}
