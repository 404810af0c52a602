//! What every record in the ring buffer begins with.

use crate::shared;

/// [`crate::sched::WaitRecord`].
pub const KIND_WAIT: u32 = 1;
/// [`crate::cpu_clock::SampleRecord`].
pub const KIND_SAMPLE: u32 = 2;
/// [`crate::block::BioRecord`].
pub const KIND_BIO: u32 = 3;
/// [`crate::block::BioDoneRecord`].
pub const KIND_BIO_DONE: u32 = 4;
/// [`crate::sched::TaskRecord`].
pub const KIND_TASK: u32 = 5;

/// [`crate::memory::FaultRecord`].
pub const KIND_FAULT: u32 = 6;
/// [`crate::snapshot::SnapshotRecord`].
pub const KIND_SNAPSHOT: u32 = 7;
/// [`crate::syscall::SyscallRecord`].
pub const KIND_SYSCALL: u32 = 8;
/// [`crate::hoon::HoonRecord`].
pub const KIND_HOON: u32 = 9;

/// Most user frames that a record carries: the kernel's own default limit
/// (`kernel.perf_event_max_stack`, 127).
pub const MAX_USER_FRAMES: usize = 127;
/// Most kernel frames that a record carries.
pub const MAX_KERNEL_FRAMES: usize = 63;
/// Space that a program keeps for both stacks: user frames, then kernel frames behind them. The
/// two spare words let the verifier see that a masked length stays inside.
pub const STACK_WORDS: usize = MAX_USER_FRAMES + 1 + MAX_KERNEL_FRAMES + 1;

shared! {
    /// First bytes of every record.
    pub struct RecordHeader {
        /// When it was written; each record says what that moment is.
        pub ktime_ns: u64,
        /// One of the `KIND_…` constants.
        pub kind: u32,
        /// CPU that wrote it.
        pub cpu: u32,
        /// Process it is about, as the host numbers it.
        pub tgid: u32,
        /// Thread it is about, as the host numbers it.
        pub tid: u32,
    }

    /// How many frames follow the record: user frames, innermost first, then kernel frames,
    /// innermost first, each a `u64` address.
    pub struct StackLengths {
        /// Bytes of user frames. 0 if none was asked for or none could be read.
        pub user_bytes: u32,
        /// Bytes of kernel frames.
        pub kernel_bytes: u32,
    }
}

impl StackLengths {
    /// No frames.
    pub const NONE: Self = Self {
        user_bytes: 0,
        kernel_bytes: 0,
    };
}
