//! Who else used the CPUs that the ship waited for, and the devices that its pier lies on.
//!
//! Only in the deep dive: the programs of the sampler know of no neighbour.

use crate::{COMM_LEN, shared};

/// Runs that a CPU remembers; a power of two. With slices of some milliseconds they reach further back
/// than nearly every wait.
pub const RUNS: usize = 16;

/// Waits for a CPU shorter than this (ns) are not looked into: they are wake-ups of an idle CPU and
/// turns of the ship's own threads, and looking costs as much again as the switch. What they sum to
/// is known all the same, as the rest.
pub const MIN_AHEAD_NS: u64 = 50_000;

/// Devices that a pier may lie on, one above the other.
pub const MAX_DEVICES: usize = 32;

/// In [`AheadKey`], instead of a process: a wait that began longer ago than the runs kept.
pub const FORGOTTEN: u32 = u32::MAX;

/// Others' bios that may be under way at most; the rest of `BLOCK_BIOS` (16,384) is for the ship's.
pub const MAX_BIOS: u64 = 12_288;

/// `PF_KTHREAD` (`include/linux/sched.h`).
pub const KERNEL_THREAD: u32 = 0x0020_0000;

shared! {
    /// A task ran on a CPU while a thread of the ship waited for one.
    pub struct Run {
        /// When it left the CPU. It came onto it when the run before ended.
        pub until_ktime_ns: u64,
        /// Its process; 0 is the idle task.
        pub tgid: u32,
        /// `task_struct.flags`.
        pub flags: u32,
        /// Its name.
        pub comm: [u8; COMM_LEN],
    }

    /// Value of `NEIGHBOUR_RUNS`: the latest runs of a CPU.
    pub struct Runs {
        /// How many there have been.
        pub count: u64,
        /// Where each lies, by its number modulo [`RUNS`].
        pub runs: [Run; RUNS],
    }

    /// Key of `NEIGHBOUR_AHEAD`.
    pub struct AheadKey {
        /// Process of the ship whose thread waited.
        pub waiter_tgid: u32,
        /// Process that ran meanwhile; 0 is the idle task; or [`FORGOTTEN`].
        pub tgid: u32,
    }

    /// Value of `NEIGHBOUR_AHEAD`: what a process ran while threads of the ship waited for its CPU.
    pub struct AheadTotals {
        /// For how long they waited behind it.
        pub total_ns: u64,
        /// In how many waits, a wait counting once for each of its runs.
        pub runs: u64,
        /// `task_struct.flags` of the thread seen first.
        pub flags: u32,
        /// Unused.
        pub reserved: u32,
        /// Name of the thread seen first.
        pub comm: [u8; COMM_LEN],
    }

    /// Value of `NEIGHBOUR_DEVICES`, by device: what is under way, and what the ship's I/O waited.
    pub struct DeviceTotals {
        /// Bios of the ship under way.
        pub own: u64,
        /// Bios of all others under way.
        pub others: u64,
        /// Time that bios of the ship were in the queue.
        pub queue_ns: u64,
        /// Of that, behind others' bios: by their share of what was under way when it was queued.
        pub queue_behind_ns: u64,
        /// Time that bios of the ship were in the device.
        pub device_ns: u64,
        /// Of that, behind others' bios: by their share of what was under way, itself included.
        pub device_behind_ns: u64,
    }

    /// Key of `NEIGHBOUR_IO`.
    pub struct IoKey {
        /// Device, as the kernel encodes it: `major << 20 | minor`.
        pub dev: u32,
        /// Process that queued, the ship's own ones included.
        pub tgid: u32,
    }

    /// Value of `NEIGHBOUR_IO`. A bio counts when it completes inside the window.
    pub struct IoTotals {
        /// Bios.
        pub count: u64,
        /// Bytes that they read and wrote; what is only discarded is none.
        pub bytes: u64,
        /// Time of its requests in the device. Where several bios share a request, it counts once, for
        /// the process of the first.
        pub device_ns: u64,
        /// `task_struct.flags` of the thread seen first.
        pub flags: u32,
        /// Unused.
        pub reserved: u32,
        /// Name of the thread seen first.
        pub comm: [u8; COMM_LEN],
    }
}
