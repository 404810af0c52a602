//! Entries of the few syscalls that bound an event of the ship (`vere.md`: they are the same in every
//! version): the brackets of a computation, the frames between king and mars, and syncs of the log.

use crate::record::RecordHeader;
use crate::shared;

/// `sigaltstack`: a computation begins or ends (`pkg/noun/manage.c`, `u3m_signal`).
pub const CALL_SIGALTSTACK: u32 = 1;
/// `writev` of a newt frame: a message between king and mars, or to a client of `conn.sock`
/// (`pkg/vere/newt.c`).
pub const CALL_WRITEV: u32 = 2;
/// `fdatasync`: of the event log by a commit worker, of a snapshot by mars.
pub const CALL_FDATASYNC: u32 = 3;

/// `epoll_pwait`: the king's main loop has done what there was to do (libuv `src/unix/linux.c`). Only of
/// kings whose own workers commit (vere up to 3.5); for others the frame says when its turn began.
pub const CALL_EPOLL_PWAIT: u32 = 4;

/// `SS_DISABLE` (`include/uapi/linux/signal.h`).
pub const SS_DISABLE: u32 = 2;

/// Bytes before the jammed noun of a frame.
pub const FRAME_HEADER_BYTES: u64 = 5;
/// Most of a frame's first bytes that are recorded: enough for the kind of event, and for the first
/// bytes of a packet in it.
pub const HEAD_BYTES: usize = 128;

/// Where the number of the last event is kept in the loom of vere 4.0 to 4.6 (`pkg/noun/options.h`,
/// `u3v_home.arv_u.eve_d`).
pub const EVENT_NUMBER_ADDRESS: u64 = 0x2_0000_0010;

shared! {
    /// A ship's main thread or commit worker entered one of the syscalls. Followed by the head of the
    /// frame, if it is one.
    pub struct SyscallRecord {
        /// Kind, time, thread.
        pub header: RecordHeader,
        /// One of the `CALL_…` constants.
        pub call: u32,
        /// Descriptor of `writev` and `fdatasync`.
        pub fd: u32,
        /// `ss_flags` of `sigaltstack`: 0 enables, 2 disables. Length of the frame's noun of `writev`.
        pub value: u64,
        /// At a `sigaltstack` that enables, the number of the last event. At `writev`, when the turn of the
        /// king's loop began. 0 if not known.
        pub detail: u64,
        /// Bytes that follow.
        pub head_bytes: u32,
        /// Unused.
        pub reserved: u32,
    }

    /// Where a program builds one.
    pub struct SyscallScratch {
        /// The record.
        pub record: SyscallRecord,
        /// The head behind it.
        pub head: [u8; HEAD_BYTES],
    }

    /// `struct iovec` of 64-bit Linux.
    pub struct IoVector {
        /// Where.
        pub base: u64,
        /// How much.
        pub length: u64,
    }

    /// `stack_t` of 64-bit Linux (`include/uapi/asm-generic/signal.h`), its first part.
    pub struct SignalStack {
        /// `ss_sp`.
        pub base: u64,
        /// `ss_flags`.
        pub flags: u32,
        /// Padding.
        pub reserved: u32,
    }
}
