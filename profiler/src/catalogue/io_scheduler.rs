//! Another I/O scheduler.

use super::{
    Answer, Assessment, DISK_LEAVES, Entry, Gain, Kind, Restart, Risk, Situation, Step, place,
};
use crate::attribute::{Cause, ratio};
use crate::host::block::{BlockDevice, DeviceClass};
use crate::model::sum;
use crate::report::units::percent;

/// Share of the I/O's time in the queue below which another scheduler cannot matter.
const MIN_QUEUE_RATIO: f64 = 0.05;

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "io-scheduler",
    title: "use the I/O scheduler that fits the disk",
    cause: Cause::Disk,
    shrinks: DISK_LEAVES,
    why: "A scheduler that does not fit the disk keeps requests in its queue for nothing.",
    gain: "At most the disk's stalled time by the share that the ship's I/O spent between \
           queueing and issue; at least nothing.",
    check: "queue/scheduler of the disks under the pier, and the time that I/O stood in the queue",
    answers: &[
        Kind::AlreadySo,
        Kind::WouldHelp,
        Kind::NoEvidence,
        Kind::CannotTell,
    ],
    conflicts: &[],
    restart: Restart::None,
    risk: Risk::None,
    source: "Linux Documentation/block/switching-sched.rst; a scheduler acts only between the \
             queueing of a request and its issue; vere's source says nothing about it",
    apply: &["echo SCHEDULER > /sys/block/DISK/queue/scheduler"],
    undo: &["echo OLD > /sys/block/DISK/queue/scheduler"],
    assess,
};

/// Schedulers that fit, best first.
pub fn fitting(class: DeviceClass) -> &'static [&'static str] {
    match class {
        DeviceClass::HardDisk => &["mq-deadline", "bfq"],
        DeviceClass::Ssd | DeviceClass::Mmc => &["mq-deadline", "none", "kyber"],
        // The device, or the hypervisor, orders requests better than we can.
        _ => &["none", "mq-deadline", "kyber"],
    }
}

/// The best one that the kernel offers for this disk.
fn offered(disk: &BlockDevice) -> Option<&'static str> {
    let offered = disk.schedulers.known()?;
    let mut fitting = fitting(disk.class).iter().copied();
    fitting.find(|name| offered.iter().any(|one| one == name))
}

fn assess(situation: &Situation<'_>) -> Assessment {
    let disks: Vec<&BlockDevice> = situation.meta().host.storage.backing.disks().collect();
    let current = (!disks.is_empty()).then(|| {
        let all: Vec<String> = disks
            .iter()
            .map(|d| format!("{}: {}", d.name, scheduler(d)))
            .collect();
        all.join(", ")
    });
    let proposed = match disks.first() {
        // A constant of at least one for every class.
        Some(disk) => fitting(disk.class)[0],
        None => "none",
    };
    let without =
        |answer, reason| Assessment::without_change(answer, current.clone(), proposed, reason);
    let Some(disk) = disks.iter().find(|disk| {
        disk.scheduler
            .known()
            .is_some_and(|now| !fitting(disk.class).contains(&now.as_str()))
            && offered(disk).is_some()
    }) else {
        return match disks.is_empty() {
            true => without(
                Answer::CannotTell,
                "the pier's disk is not known".to_owned(),
            ),
            false => without(
                Answer::AlreadySo,
                format!("{} fits this disk", scheduler(disks[0])),
            ),
        };
    };
    let block = &situation.summaries.block;
    let queue_ns = sum(block.iter().map(|b| b.queue_ns));
    let device_ns = sum(block.iter().map(|b| b.device_ns));
    let queue_ratio = ratio(queue_ns, queue_ns.saturating_add(device_ns));
    let spent = format!(
        "the ship's I/O spent {} of its time in the queue",
        percent(queue_ratio)
    );
    let disk_ns = situation.attribution.cause_ns(Cause::Disk);
    let proposed = offered(disk).unwrap_or(proposed);
    let file = format!("/sys/block/{}/queue/scheduler", disk.name);
    if queue_ratio < MIN_QUEUE_RATIO {
        let (apply, undo) = (
            Step::write(&file, proposed),
            Step::write(&file, scheduler(disk)),
        );
        return without(Answer::NoEvidence, spent).or_try(apply, undo);
    }
    Assessment {
        answer: Answer::WouldHelp(Gain::StalledTime {
            low_ns: 0,
            high_ns: (disk_ns as f64 * queue_ratio) as u64,
        }),
        proposed: proposed.to_owned(),
        reason: spent,
        apply: vec![
            Step::write(&file, proposed),
            place::keep_scheduler(&disk.name, proposed),
        ],
        undo: vec![
            Step::write(&file, scheduler(disk)),
            place::forget_scheduler(),
        ],
        current,
        ..Assessment::default()
    }
}

fn scheduler(disk: &BlockDevice) -> &str {
    disk.scheduler.known().map_or("unknown", String::as_str)
}
