//! Snapshots of the loom, found by their file operations: mars makes `control.bin` and, at the end,
//! gives the free part of the loom back (`vere` `pkg/noun/events.c`, `u3e_save`). All of it runs on
//! mars' main thread, so the ship stands still from the one to the other.

use crate::record::RecordHeader;
use crate::shared;

/// Last component of the path of the file that a snapshot begins with.
pub const CONTROL_FILE: &[u8; 12] = b"/control.bin";

/// Longest path, its end included, that is looked at: `PATH_MAX` is longer, and vere's own paths may
/// not be (`pkg/noun/events.c` keeps them in 8 KiB, the file system in less).
pub const PATH_BYTES: usize = 512;

/// First address of the loom on 64-bit Linux (`pkg/c3/portable.h:150`).
pub const LOOM_START: u64 = 0x2_0000_0000;
/// Size of the largest loom that there is, 16 GiB (`pkg/noun/options.h`).
pub const LOOM_MAX_BYTES: u64 = 1 << 34;

shared! {
    /// Value of `SNAPSHOTS`, by process.
    pub struct SnapshotTotals {
        /// When the one under way began; 0 if there is none.
        pub start_ktime_ns: u64,
        /// Time on CPU of its thread then.
        pub start_on_cpu_ns: u64,
        /// How many ended inside the window.
        pub count: u64,
        /// Their time inside the window.
        pub total_ns: u64,
        /// Of that, on CPU.
        pub on_cpu_ns: u64,
        /// The longest, from its beginning to its end.
        pub max_ns: u64,
    }

    /// A snapshot ended. Its header's time is that moment.
    pub struct SnapshotRecord {
        /// Kind, time, thread.
        pub header: RecordHeader,
        /// When it began.
        pub start_ktime_ns: u64,
    }

    /// Where a path is read to.
    pub struct PathScratch {
        /// The path, and behind it room for the mask that bounds its length.
        pub bytes: [u8; PATH_BYTES + CONTROL_FILE.len()],
    }
}
