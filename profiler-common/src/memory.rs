//! Memory: major faults, and where the kernel makes threads free memory themselves.

use crate::record::{RecordHeader, StackLengths};
use crate::shared;
use crate::stack::StackScratch;

/// Not freeing memory.
pub const WORK_NONE: u32 = 0;
/// The kernel makes the thread free memory before it gets some (direct reclaim, of the machine or of
/// its control group).
pub const WORK_RECLAIM: u32 = 1;
/// The kernel makes the thread move pages to get a larger piece of memory (direct compaction).
pub const WORK_COMPACTION: u32 = 2;

/// Kernel frames that are looked through for the functions below, innermost first. The tracepoint's
/// own frames are among them.
pub const SEARCHED_FRAMES: usize = 32;

/// A thread's major faults that did not block are recorded at most once in this time (ns), and all
/// carry a stack at most once in it: from swap in compressed memory come 200,000 a second.
pub const RECORD_INTERVAL_NS: u64 = 1_000_000;

shared! {
    /// A kernel function's place; both 0 if it is not known.
    pub struct Function {
        /// First address.
        pub start: u64,
        /// First address behind it.
        pub end: u64,
    }

    /// Functions of the kernel that a blocked thread's stack is searched for, because no other sign
    /// tells what it waits for: a page fault may happen in the middle of a syscall, and looks the same
    /// whether its page comes from a file or from swap.
    pub struct Functions {
        /// `do_swap_page` (`mm/memory.c`).
        pub swap_in: Function,
        /// `filemap_fault` (`mm/filemap.c`).
        pub page_in: Function,
        /// `mem_cgroup_handle_over_high` (`mm/memcontrol.c`; with two underscores since 6.6): a group
        /// above `memory.high` is made to sleep.
        pub over_high: Function,
    }

    /// What memory cost a thread inside the window.
    pub struct MemoryTotals {
        /// Faults that had to wait for I/O.
        pub major_faults: u64,
        /// Signals for touching a page that may not be written: in vere, each is a page of the loom
        /// that becomes dirty.
        pub segv_signals: u64,
        /// Times that it was made to free memory.
        pub reclaims: u64,
        /// Its time on CPU in that.
        pub reclaim_on_cpu_ns: u64,
        /// Times that it was made to move pages.
        pub compactions: u64,
        /// Its time on CPU in that.
        pub compaction_on_cpu_ns: u64,
    }

    /// A major fault was served, for itself and those since the thread's record before. Its header's
    /// time is that moment. Followed by the stacks; without any, they are as those of the thread's
    /// record before ([`RECORD_INTERVAL_NS`]).
    pub struct FaultRecord {
        /// Kind, time, thread.
        pub header: RecordHeader,
        /// The address that was touched.
        pub address: u64,
        /// Time that the thread was blocked for pages since its record before.
        pub waited_ns: u64,
        /// Faults since its record before, this one included.
        pub count: u64,
        /// Stacks that follow.
        pub stack: StackLengths,
    }

    /// Where the program builds one.
    pub struct FaultScratch {
        /// The record.
        pub record: FaultRecord,
        /// The stacks behind it.
        pub stack: StackScratch,
    }
}

impl MemoryTotals {
    /// Nothing.
    pub const NONE: Self = Self {
        major_faults: 0,
        segv_signals: 0,
        reclaims: 0,
        reclaim_on_cpu_ns: 0,
        compactions: 0,
        compaction_on_cpu_ns: 0,
    };
}

impl Function {
    /// A function that is not known.
    pub const UNKNOWN: Self = Self { start: 0, end: 0 };

    /// Whether an address lies in it.
    #[inline(always)]
    pub const fn holds(&self, address: u64) -> bool {
        address >= self.start && address < self.end
    }
}
