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

/// Units of a device's clock in a nanosecond. While a device is busy, its clock advances by the time
/// that passes, divided by the requests in it; so a request's share of the device's busy time is how far
/// the clock went while it was in, and the shares of all requests sum to that time. Fractions, so that
/// what is lost by rounding is below a nanosecond.
pub const CLOCK_UNITS: u64 = 256;

/// Index of reads.
pub const KIND_READ: usize = 0;
/// Index of writes, and of all that is neither a read nor a flush.
pub const KIND_WRITE: usize = 1;
/// Index of flushes of the device's cache.
pub const KIND_FLUSH: usize = 2;
/// Number of kinds.
pub const KINDS: usize = 3;

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
        /// 1 if it takes bios without requests (device mapper, RAID). User space says so.
        pub takes_bios: u64,
        /// Requests in it; bios where it takes these.
        pub in_device: u64,
        /// When that number changed last.
        pub changed_ktime_ns: u64,
        /// Time inside the window in which there was one at least.
        pub busy_ns: u64,
        /// Its clock, in [`CLOCK_UNITS`].
        pub clock: u64,
        /// Of the requests in it, the ship's.
        pub own_in_device: u64,
        /// A clock that advances by the time that passes, times the others' share of the requests in it.
        pub others_clock: u64,
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
        /// Of that, behind others' requests: by their share of the requests in the device at each moment.
        pub device_behind_ns: u64,
        /// Time in the device by kind ([`KIND_READ`], [`KIND_WRITE`], [`KIND_FLUSH`]) of the ship's bios
        /// that had it to themselves.
        pub alone: [TimeInDevice; KINDS],
        /// The same of those that shared it with others' requests.
        pub beside: [TimeInDevice; KINDS],
    }

    /// Time that bios were in a device.
    pub struct TimeInDevice {
        /// Bios.
        pub count: u64,
        /// Their time.
        pub total_ns: u64,
        /// Of that, behind others' requests.
        pub behind_ns: u64,
    }

    /// Key of `NEIGHBOUR_IO`.
    pub struct IoKey {
        /// Device, as the kernel encodes it: `major << 20 | minor`.
        pub dev: u32,
        /// Process that is charged, the ship's own ones included.
        pub tgid: u32,
        /// `writeback::BY_ITSELF`, `WRITTEN_BACK` or `JOURNAL`.
        pub via: u32,
        /// Unused.
        pub reserved: u32,
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
        /// Its requests' shares of the time in which the device was busy.
        pub busy_ns: u64,
        /// `task_struct.flags` of the thread seen first.
        pub flags: u32,
        /// Unused.
        pub reserved: u32,
        /// Name of the thread seen first.
        pub comm: [u8; COMM_LEN],
    }
}
