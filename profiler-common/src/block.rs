//! Block I/O of the threads that queued it.

use crate::record::{RecordHeader, StackLengths};
use crate::stack::StackScratch;
use crate::writeback::FileKey;
use crate::{histogram, shared};

/// Most bios of one request that a program walks.
pub const MAX_BIOS_PER_REQUEST: u32 = 256;

/// A thread's bios carry a stack at most once in this time (ns): a commit queues its pages in one
/// burst from one place, and walking both stacks takes longer than all else that is done for a bio.
pub const STACK_INTERVAL_NS: u64 = 1_000_000;

/// Bits of `bi_opf` that say what a bio does (`REQ_OP_MASK`, `include/linux/blk_types.h`).
pub const OP_MASK: u32 = 0xff;
/// Read.
pub const OP_READ: u32 = 0;
/// Write.
pub const OP_WRITE: u32 = 1;
/// Flush of the device's cache.
pub const OP_FLUSH: u32 = 2;
/// Discard: moves no data.
pub const OP_DISCARD: u32 = 3;

shared! {
    /// A watched thread queued a bio. Its header's time is that moment. Followed by the stacks; without
    /// any, they are as those of the thread's bio before ([`STACK_INTERVAL_NS`]).
    pub struct BioRecord {
        /// Kind, time, thread.
        pub header: RecordHeader,
        /// First sector (512 bytes).
        pub sector: u64,
        /// Device as the kernel encodes it: `major << 20 | minor`.
        pub dev: u32,
        /// `bi_opf`: operation and flags.
        pub opf: u32,
        /// Size.
        pub bytes: u32,
        /// Unused.
        pub reserved: u32,
        /// Stacks that follow.
        pub stack: StackLengths,
    }

    /// Where a program builds a [`BioRecord`].
    pub struct BioScratch {
        /// The record.
        pub record: BioRecord,
        /// The stacks behind it.
        pub stack: StackScratch,
    }

    /// A bio of a watched thread was completed. Its header's time is that moment; the thread is
    /// the one that had queued it. It belongs to the [`BioRecord`] of the same thread and queue
    /// time; when the kernel split that one, several do.
    pub struct BioDoneRecord {
        /// Kind, time, thread that queued it.
        pub header: RecordHeader,
        /// When it was queued.
        pub queued_ktime_ns: u64,
        /// When its request went to the device; 0 for devices that have no requests.
        pub issued_ktime_ns: u64,
        /// Device as the kernel encodes it: `major << 20 | minor`.
        pub dev: u32,
        /// `bi_opf`: operation and flags.
        pub opf: u32,
        /// Size.
        pub bytes: u32,
        /// The device's answer, 0 for success.
        pub error: i32,
    }

    /// Value of `BLOCK_BIOS`, by the address of the bio: one that is under way.
    pub struct Bio {
        /// When it was queued.
        pub queued_ktime_ns: u64,
        /// When its request went to the device; 0 if it has not.
        pub issued_ktime_ns: u64,
        /// Process that is charged for it: that which queued it, or the one whose file it writes.
        pub tgid: u32,
        /// Thread that queued it.
        pub tid: u32,
        /// Device.
        pub dev: u32,
        /// Operation and flags.
        pub opf: u32,
        /// Size when it was queued.
        pub bytes: u32,
        /// 1 if a watched thread queued it, 0 if another one did, on a device of the pier.
        pub watched: u32,
        /// 1 if it is the ship's: a watched thread queued it, or the kernel did for its file.
        pub owned: u32,
        /// `writeback::BY_ITSELF`, `WRITTEN_BACK` or `JOURNAL`.
        pub via: u32,
        /// 1 while it stands for its request among those in the device.
        pub in_device: u32,
        /// Unused.
        pub reserved: u32,
        /// The file whose pages it moves, if it is the ship's.
        pub file: FileKey,
        /// The device's clock when it came in (`neighbour::CLOCK_UNITS`).
        pub clock: u64,
        /// The device's clock of others' requests when it came in; `u64::MAX` if that is not known.
        pub others_clock: u64,
        /// Bios of the ship that were under way on its device when it was queued.
        pub ahead_own: u32,
        /// Others' bios that were.
        pub ahead_others: u32,
    }

    /// Key of `BLOCK_TOTALS`.
    pub struct BlockKey {
        /// Process that queued.
        pub tgid: u32,
        /// Thread that queued.
        pub tid: u32,
        /// Device.
        pub dev: u32,
        /// Operation, without flags. An empty write is a flush: that is how the kernel asks for one
        /// (`blkdev_issue_flush`, `block/blk-flush.c`).
        pub op: u32,
    }

    /// Value of `BLOCK_TOTALS`. A bio counts when it completes inside the window.
    pub struct BlockTotals {
        /// Bios.
        pub count: u64,
        /// Their bytes.
        pub bytes: u64,
        /// Time from queued to issued.
        pub queue_ns: u64,
        /// Time from issued to completed.
        pub device_ns: u64,
        /// Longest time from queued to completed.
        pub max_ns: u64,
        /// How many failed.
        pub errors: u64,
        /// Times in the queue (`histogram`).
        pub queue_buckets: [u32; histogram::BUCKETS],
        /// Times in the device (`histogram`).
        pub device_buckets: [u32; histogram::BUCKETS],
    }
}
