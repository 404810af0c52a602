//! Scheduler: each thread's time on CPU, in the run queue and blocked.

use crate::memory::MemoryTotals;
use crate::record::{RecordHeader, StackLengths};
use crate::stack::StackScratch;
use crate::{COMM_LEN, histogram, shared};

/// Nothing seen of the thread yet.
pub const STATE_UNKNOWN: u32 = 0;
/// It runs.
pub const STATE_ON_CPU: u32 = 1;
/// It was woken and waits for a CPU.
pub const STATE_WOKEN: u32 = 2;
/// It was taken off the CPU while it still wanted to run, and waits for one.
pub const STATE_PREEMPTED: u32 = 3;
/// It waits for something else than a CPU.
pub const STATE_BLOCKED: u32 = 4;
/// It has left the CPU for the last time.
pub const STATE_EXITED: u32 = 5;

/// `task_state` of a wait for a CPU.
pub const TASK_RUNNABLE: u32 = 0;
/// `task_state` of an interruptible sleep (`S` in ps). `TASK_INTERRUPTIBLE`,
/// `include/linux/sched.h`.
pub const TASK_INTERRUPTIBLE: u32 = 1;
/// `task_state` of an uninterruptible sleep (`D` in ps), killable or not.
pub const TASK_UNINTERRUPTIBLE: u32 = 2;
/// `task_state` of a stopped or traced thread.
pub const TASK_STOPPED: u32 = 4;

/// `syscall_nr` in a [`WaitKey`] that stands for the run queue.
pub const RUN_QUEUE: i32 = -2;

/// `syscall_nr` that stands for a page that comes back from swap.
pub const SWAP_IN: i32 = -3;
/// `syscall_nr` that stands for freeing memory before some can be had, or being held back at the
/// control group's `memory.high`.
pub const RECLAIM: i32 = -4;
/// `syscall_nr` that stands for moving pages before a larger piece of memory can be had.
pub const COMPACTION: i32 = -5;

/// A thread was created.
pub const TASK_FORKED: u32 = 1;
/// A thread is about to end.
pub const TASK_EXITING: u32 = 2;

shared! {
    /// A thread left the CPU and came back after more than the threshold. Its header's time is
    /// the moment it came back. Followed by the stacks it left with (see [`StackLengths`]), kept
    /// only if it blocked and did not merely wait for work.
    pub struct WaitRecord {
        /// Kind, time it was switched in, thread.
        pub header: RecordHeader,
        /// When it was switched out.
        pub start_ktime_ns: u64,
        /// When it was put into the run queue, waiting for a CPU; 0 if it had been preempted.
        pub woken_ktime_ns: u64,
        /// Syscall it was blocked in; `arch::NO_SYSCALL` for a page fault that reads a file, or one of the
        /// numbers above.
        pub syscall_nr: i32,
        /// One of the `TASK_…` states that it left the CPU in.
        pub task_state: u32,
        /// Process that woke it; 0 with `waker_tid` 0 means the idle task, so an interrupt.
        pub waker_tgid: u32,
        /// Thread that woke it (or that was interrupted by what woke it).
        pub waker_tid: u32,
        /// Process that ran on its CPU until it came back; 0 is the idle task.
        pub behind_tgid: u32,
        /// Thread that ran on its CPU until it came back.
        pub behind_tid: u32,
        /// Name of the waker.
        pub waker_comm: [u8; COMM_LEN],
        /// Name of the thread that ran before it.
        pub behind_comm: [u8; COMM_LEN],
        /// Stacks that follow.
        pub stack: StackLengths,
    }

    /// Value of `SCHED_THREADS`: a thread's state and sums. Open intervals are closed by user
    /// space: they last from `since_ktime_ns` to the end of the window.
    pub struct Thread {
        /// Its process.
        pub tgid: u32,
        /// One of the `STATE_…` constants.
        pub state: u32,
        /// When the state began; 0 if that was before anything was attached.
        pub since_ktime_ns: u64,
        /// When it was created; 0 if before anything was attached.
        pub born_ktime_ns: u64,
        /// When it left the CPU for the last time; 0 if it has not.
        pub exited_ktime_ns: u64,
        /// Time on CPU inside the window.
        pub on_cpu_ns: u64,
        /// Time from being woken to running, inside the window.
        pub woken_ns: u64,
        /// Time from being preempted to running again, inside the window.
        pub preempted_ns: u64,
        /// Time blocked, inside the window, whatever the reason.
        pub blocked_ns: u64,
        /// Times it came onto a CPU inside the window.
        pub switches: u64,
        /// Of these, how many were noticed only when it left the CPU again.
        pub unseen_switches: u64,
        /// Its time on CPU by the kernel's own count when it last left one.
        pub sum_exec_ns: u64,
        /// When its last major fault with a stack was recorded.
        pub fault_stack_ktime_ns: u64,
        /// Time blocked for pages since its last major fault was recorded.
        pub fault_wait_ns: u64,
        /// Major faults since one was recorded.
        pub faults_unrecorded: u64,
        /// When it began to free memory.
        pub work_ktime_ns: u64,
        /// One of `memory::WORK_…`: what the kernel makes it do now.
        pub work: u32,
        /// One of `snapshot::PHASE_…`: how far a snapshot of its process has come, if it is the main
        /// thread.
        pub snapshot: u32,
        /// What memory cost it.
        pub memory: MemoryTotals,
        /// The wait that is open, or was the last.
        pub wait: WaitRecord,
    }

    /// Value of `SCHED_STACKS`: the stacks that a thread blocked with.
    pub struct WaitScratch {
        /// Where the record is put together when the wait is over.
        pub record: WaitRecord,
        /// The stacks behind it.
        pub stack: StackScratch,
    }

    /// Key of `SCHED_WAITS`.
    pub struct WaitKey {
        /// Thread that waited.
        pub tid: u32,
        /// Syscall it was in, `arch::NO_SYSCALL`, [`RUN_QUEUE`], [`SWAP_IN`], [`RECLAIM`] or
        /// [`COMPACTION`].
        pub syscall_nr: i32,
        /// One of the `TASK_…` states.
        pub task_state: u32,
    }

    /// Value of `SCHED_WAITS`: all waits of a thread for one reason, short ones included.
    pub struct Waits {
        /// How many ended inside the window.
        pub count: u64,
        /// Their time inside the window.
        pub total_ns: u64,
        /// The longest.
        pub max_ns: u64,
        /// How many of each duration (`histogram`).
        pub buckets: [u32; histogram::BUCKETS],
    }

    /// A thread of a watched process was created or is about to end.
    pub struct TaskRecord {
        /// Kind, time, and the thread that was created or ends.
        pub header: RecordHeader,
        /// [`TASK_FORKED`] or [`TASK_EXITING`].
        pub change: u32,
        /// Process that created it; 0 at its end.
        pub parent_tgid: u32,
        /// Its name at that moment.
        pub comm: [u8; COMM_LEN],
    }
}
