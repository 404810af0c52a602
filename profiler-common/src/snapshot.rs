//! Snapshots of the loom (`vere` `pkg/noun/events.c`, `u3e_save`). All of one runs on mars' main thread:
//! it writes the pages that changed to new files with `pwrite64`, waits in `fdatasync` for them, does so
//! again with `image.bin`, and maps that over the loom. Outside of snapshots that thread does neither.
//!
//! So one begins with the first page that its `pwrite64` brings into the page cache, is one when it waits
//! in `fdatasync`, and has ended when it waits for work or writes to the loom, all of which is read-only
//! then. No entry of a syscall is needed, each of which would slow every syscall of the machine.

use crate::record::RecordHeader;
use crate::shared;

/// No snapshot is under way.
pub const PHASE_NONE: u32 = 0;
/// Files are written: what may be the beginning of one.
pub const PHASE_WRITING: u32 = 1;
/// They are waited for: it is one.
pub const PHASE_SYNCING: u32 = 2;

shared! {
    /// What may be the beginning of a snapshot.
    pub struct Beginning {
        /// When.
        pub ktime_ns: u64,
        /// Time on CPU of its thread then.
        pub on_cpu_ns: u64,
    }

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
}
