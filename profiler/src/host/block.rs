//! Block devices: what a directory is stored on, through partitions, device mapper, RAID and loop
//! devices down to the disk, and each disk's class, settings and counters.

mod device;
mod storage;

pub use device::{BlockDevice, DeviceClass, device, takes_bios};
pub use storage::{Backing, StorageFacts, storage};

use std::collections::BTreeMap;

use procfs_core::DiskStats;
use serde::{Deserialize, Serialize};

use super::{ReadError, Roots, read_parsed};

/// Sectors in diskstats are always 512 bytes, whatever the disk's own (kernel
/// `Documentation/admin-guide/iostats.rst`).
const SECTOR_BYTES: u64 = 512;

/// What the kernel counted of one block device since it appeared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskCounters {
    /// Reads completed.
    pub reads_total: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Time of all reads, from queueing to completion, added up.
    pub reading_ns: u64,
    /// Writes completed.
    pub writes_total: u64,
    /// Bytes written; discards are not in it.
    pub written_bytes: u64,
    /// Time of all writes, from queueing to completion, added up.
    pub writing_ns: u64,
    /// Flushes completed; counted since Linux 5.5.
    pub flushes_total: Option<u64>,
    /// Time of all flushes, added up.
    pub flushing_ns: Option<u64>,
    /// Time in which at least one request was under way.
    pub busy_ns: u64,
    /// Requests under way at the moment of reading.
    pub in_flight: u64,
}

/// Reads the counters of every block device, by name.
pub fn disk_counters(roots: &Roots) -> Result<BTreeMap<String, DiskCounters>, ReadError> {
    let DiskStats(disks) = read_parsed(&roots.proc.join("diskstats"))?;
    let ns = |milliseconds: u64| milliseconds.saturating_mul(1_000_000);
    Ok(disks
        .into_iter()
        .map(|disk| {
            let counters = DiskCounters {
                reads_total: disk.reads,
                read_bytes: disk.sectors_read * SECTOR_BYTES,
                reading_ns: ns(disk.time_reading),
                writes_total: disk.writes,
                written_bytes: disk.sectors_written * SECTOR_BYTES,
                writing_ns: ns(disk.time_writing),
                flushes_total: disk.flushes,
                flushing_ns: disk.time_flushing.map(ns),
                busy_ns: ns(disk.time_in_progress),
                in_flight: disk.in_progress,
            };
            (disk.name, counters)
        })
        .collect())
}
