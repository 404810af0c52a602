//! A faster kind of disk.

use super::{
    Answer, Assessment, DISK_LEAVES, Entry, Gain, Kind, Restart, Risk, Situation, Step, place,
};
use crate::aggregate::block::in_device_ns;
use crate::attribute::Cause;
use crate::host::block::DeviceClass;
use crate::model::Histogram;
use crate::report::units::duration;
use crate::ship::Role;

/// What a durable write takes on a SATA SSD or a cloud volume backed by SSDs: 1-2 ms.
pub const SSD_SYNC_NS: u64 = 2_000_000;
/// What it takes on a good NVMe SSD. One with power-loss protection needs a tenth of that.
const NVME_SYNC_NS: u64 = 300_000;

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "disk-class",
    title: "move the pier to a local NVMe SSD",
    cause: Cause::Disk,
    shrinks: DISK_LEAVES,
    why: "Every batch of events waits for two durable writes, and a disk decides how long these \
          take.",
    gain: "At least what the device itself took, at the pace of an SSD (2 ms a sync); at most \
           all time blocked on the disk, at the pace of an NVMe SSD (0.3 ms).",
    check: "the disks under the pier (/sys/block), and how long durable writes took",
    answers: &[Kind::WouldHelp, Kind::NoEvidence, Kind::CannotTell],
    conflicts: &[],
    restart: Restart::Ship,
    risk: Risk::Low,
    source: "vere commits each batch with two durable writes (pkg/vere/db/lmdb.c, LMDB mdb.c \
             mdb_env_write_meta); fio fsync figures of disk makers and clouds: SSD 1-2 ms, NVMe \
             0.02-0.5 ms, hard disk 8-25 ms",
    apply: &[
        "stop the ship, then copy its pier: rsync -aHAX --sparse PIER/ /NEW/PIER/",
        "start it from the new place and delete the old pier only when it runs: never run both",
    ],
    undo: &["stop the ship, copy the pier back, start it there"],
    assess,
};

fn assess(situation: &Situation<'_>) -> Assessment {
    let proposed = "a local NVMe SSD (0.3 ms a sync)";
    let disks: Vec<_> = situation.meta().host.storage.backing.disks().collect();
    let current = (!disks.is_empty()).then(|| {
        let names: Vec<String> = disks
            .iter()
            .map(|d| format!("{} ({})", d.name, class_name(d.class)))
            .collect();
        names.join(", ")
    });
    let without =
        |answer, reason| Assessment::without_change(answer, current.clone(), proposed, reason);
    let limits = super::io_limit::limits(situation.meta()).unwrap_or_default();
    if let Some(limit) = limits.first() {
        let limit = super::io_limit::words(limit);
        return without(Answer::CannotTell, format!("behind a limit of {limit}"));
    }
    let waits = sync_waits(situation);
    let Some(typical_ns) = waits.sum_quantile(500) else {
        return without(
            Answer::NoEvidence,
            "not one commit waited for the disk".to_owned(),
        );
    };
    if typical_ns <= SSD_SYNC_NS {
        let took = duration(typical_ns);
        return without(
            Answer::NoEvidence,
            format!("syncs took {took} or less, as on an SSD"),
        );
    }
    let disk_ns = situation.attribution.cause_ns(Cause::Disk);
    let in_device_ns = in_device_ns(situation.capture).min(disk_ns);
    let left = |target_ns: u64| target_ns as f64 / typical_ns as f64;
    // At least: only what the device itself was seen to take, at an SSD's pace. At most: all of
    // the time blocked (part of it waits for the journal, which other threads write), at NVMe's.
    let low_ns = (in_device_ns as f64 * (1.0 - left(SSD_SYNC_NS))) as u64;
    let high_ns = (disk_ns as f64 * (1.0 - left(NVME_SYNC_NS).min(1.0))) as u64;
    let all_nvme = !disks.is_empty() && disks.iter().all(|d| d.class == DeviceClass::Nvme);
    let reason = format!(
        "half of the time in syncs went into waits of {} or more; an SSD needs 1-2 ms{}",
        duration(typical_ns),
        if all_nvme {
            ", and so should this NVMe: it is worn, full, or limited"
        } else {
            ""
        },
    );
    Assessment {
        answer: Answer::WouldHelp(Gain::StalledTime {
            low_ns,
            high_ns: high_ns.max(low_ns),
        }),
        current,
        proposed: proposed.to_owned(),
        reason,
        apply: place::moving(situation, "/NEW/PIER/"),
        undo: vec![Step::advice(
            "stop the ship, copy the pier back, start it there",
        )],
        ..Assessment::default()
    }
}

/// The waits of the commit workers (before v4 too) for durable writes.
fn sync_waits(situation: &Situation<'_>) -> Histogram {
    let architecture = &situation.meta().architecture;
    let mut histogram = Histogram::default();
    for thread in situation
        .summaries
        .threads
        .iter()
        .filter(|t| t.role == Role::CommitWorker)
    {
        for wait in &thread.waits {
            let name = crate::attribute::syscall_name(architecture, wait.syscall_nr);
            if matches!(name, "fdatasync" | "fsync") {
                histogram.add(&wait.histogram);
            }
        }
    }
    histogram
}

/// In tables.
pub fn class_name(class: DeviceClass) -> &'static str {
    match class {
        DeviceClass::Nvme => "NVMe SSD",
        DeviceClass::Ssd => "SATA or SAS SSD",
        DeviceClass::HardDisk => "hard disk",
        DeviceClass::Mmc => "SD card or eMMC",
        DeviceClass::Virtual => "virtual disk",
        DeviceClass::Memory => "memory",
        DeviceClass::Network => "network disk",
        DeviceClass::Loop => "file on another disk",
        DeviceClass::DeviceMapper => "device mapper",
        DeviceClass::Raid => "software RAID",
        DeviceClass::Other => "disk of unknown kind",
    }
}
