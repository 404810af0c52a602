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

    /// What follows the record: user frames, innermost first, then kernel frames, innermost first,
    /// each a `u64` address; then pieces of the user's stack, each a `stack::SegmentHead` and its
    /// bytes.
    pub struct StackLengths {
        /// Bytes of user frames. 0 if none was asked for or none could be read.
        pub user_bytes: u16,
        /// One of `stack::WALK_…`.
        pub walk: u16,
        /// Bytes of kernel frames.
        pub kernel_bytes: u16,
        /// Bytes of the pieces, heads included.
        pub copy_bytes: u16,
    }
}

impl StackLengths {
    /// No frames.
    pub const NONE: Self = Self {
        user_bytes: 0,
        walk: 0,
        kernel_bytes: 0,
        copy_bytes: 0,
    };
}
