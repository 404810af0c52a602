//! The disk that the pier lies on.

use super::{Declaration, Facts, Found, declare, failed, judged, known, not_applicable, passed};
use crate::attribute::ratio;
use crate::catalogue::{disk_class, io_scheduler, noatime};
use crate::host::block::{Backing, BlockDevice, DeviceClass, DiskCounters};
use crate::report::FULL_RATIO;
use crate::report::units::{bytes, duration, percent};

/// A pier larger than this is a symptom (requirements of the field).
const LARGE_PIER_BYTES: u64 = 50 << 30;
/// iowait above this is a symptom (the same).
const IOWAIT_RATIO: f64 = 0.2;
/// Epochs from which on old ones can be chopped off: roll begins another, and chop leaves two (vere
/// `pkg/vere/disk.c`).
const CHOPPABLE_EPOCHS: usize = 2;

pub(super) const CHECKS: &[Declaration] = &[
    declare("storage-class", "pier on an SSD", Some("disk-class"), class),
    declare(
        "iowait",
        "CPUs not waiting for I/O",
        Some("disk-class"),
        iowait,
    ),
    declare(
        "io-scheduler",
        "I/O scheduler fits",
        Some("io-scheduler"),
        scheduler,
    ),
    declare(
        "mount-options",
        "no access times",
        Some("noatime"),
        mount_options,
    ),
    declare(
        "disk-space",
        "disk below 85 % full",
        Some("disk-space"),
        space,
    ),
    declare("pier-size", "pier below 50 GiB", Some("chop"), pier_size),
    declare("epochs", "no old epochs to chop", Some("chop"), epochs),
];

/// The disks, or why they are not known.
fn disks(facts: &Facts) -> Result<Vec<&BlockDevice>, String> {
    match &facts.host.storage.backing {
        Backing::Unknown { reason } => Err(reason.clone()),
        backing => Ok(backing.disks().collect()),
    }
}

fn class(facts: &Facts) -> Result<Found, String> {
    match &facts.host.storage.backing {
        Backing::Memory => return Ok(not_applicable("the pier lies in memory")),
        Backing::Network => {
            return Err("another machine's disk cannot be seen from here".to_owned());
        }
        _ => {}
    }
    let disks = disks(facts)?;
    let Some(disk) = disks.first() else {
        return Err("the disk under the pier is not known".to_owned());
    };
    let named = format!("{}: {}", disk.name, disk_class::class_name(disk.class));
    match disk.class {
        DeviceClass::Nvme | DeviceClass::Ssd => Ok(passed(named)),
        DeviceClass::HardDisk | DeviceClass::Mmc => Ok(failed(named)),
        _ => by_pace(facts, disk, &named),
    }
}

/// A disk that does not say what it is, by how long its flushes took since the host was started.
fn by_pace(facts: &Facts, disk: &BlockDevice, named: &str) -> Result<Found, String> {
    let all = known(&facts.disks)?;
    let mean = all.get(&disk.name).and_then(mean_sync_ns);
    let Some((mean_ns, what)) = mean else {
        return Err(format!("{named}, and it has counted nothing to judge by"));
    };
    Ok(judged(
        mean_ns <= disk_class::SSD_SYNC_NS,
        format!(
            "{named}; {what} took {} on average since the start",
            duration(mean_ns)
        ),
    ))
}

fn mean_sync_ns(disk: &DiskCounters) -> Option<(u64, &'static str)> {
    let flushes = disk.flushes_total.filter(|flushes| *flushes > 0);
    match (flushes, disk.flushing_ns) {
        (Some(flushes), Some(ns)) => Some((ns / flushes, "flushes")),
        _ => Some((disk.writing_ns.checked_div(disk.writes_total)?, "writes")),
    }
}

/// Share of the CPUs' time that they had nothing to do but I/O, since the start.
fn iowait(facts: &Facts) -> Result<Found, String> {
    let scheduler = known(&facts.scheduler)?;
    let cpus = scheduler.steal_ns_by_cpu.len() as u64;
    let whole_ns = known(&facts.up_ns)?.saturating_mul(cpus);
    let share = ratio(scheduler.iowait_ns, whole_ns);
    Ok(judged(
        share < IOWAIT_RATIO,
        format!("iowait {} since the start", percent(share)),
    ))
}

fn scheduler(facts: &Facts) -> Result<Found, String> {
    let disks = disks(facts)?;
    let Some(disk) = disks.first() else {
        return Ok(not_applicable("no disk of this host is under the pier"));
    };
    let now = known(&disk.scheduler)?;
    let fitting = io_scheduler::fitting(disk.class);
    Ok(judged(
        fitting.contains(&now.as_str()),
        format!("{}: {now}; {} fit it", disk.name, fitting.join(", ")),
    ))
}

fn mount_options(facts: &Facts) -> Result<Found, String> {
    let mount = known(&facts.host.storage.mount)?;
    let option = noatime::option(&mount.options);
    let written = match option {
        "noatime" => "no time is written",
        "relatime" => "once a day and file",
        _ => "every read writes a time",
    };
    let place = mount.mount_point.display();
    Ok(judged(
        option != "strictatime",
        format!("{option} on {place}: {written}"),
    ))
}

fn space(facts: &Facts) -> Result<Found, String> {
    let space = known(&facts.host.storage.space)?;
    let used = space.used_ratio();
    let text = format!(
        "{} full, {} free",
        percent(used),
        bytes(space.available_bytes)
    );
    Ok(judged(used <= FULL_RATIO, text))
}

fn pier_size(facts: &Facts) -> Result<Found, String> {
    let pier = *known(&facts.pier_bytes)?;
    let log = known(&facts.setup.log);
    let parts = log.map_or_else(
        |_| String::new(),
        |log| {
            format!(
                ", log {}, image {}",
                bytes(log.log_bytes),
                bytes(log.image_bytes)
            )
        },
    );
    Ok(judged(
        pier < LARGE_PIER_BYTES,
        format!("{}{parts}", bytes(pier)),
    ))
}

fn epochs(facts: &Facts) -> Result<Found, String> {
    let log = known(&facts.setup.log)?;
    let many = log.epochs.len();
    if many == 0 {
        return Ok(not_applicable("the log has no epochs (vere before 3.0)"));
    }
    let epochs = if many == 1 { "epoch" } else { "epochs" };
    let text = format!("{many} {epochs}, {} of log", bytes(log.log_bytes));
    let space = known(&facts.host.storage.space)?;
    // Old epochs are history; they are in the way only where room is short.
    let is_short = space.used_ratio() > FULL_RATIO;
    Ok(judged(many < CHOPPABLE_EPOCHS || !is_short, text))
}
