//! A limit on the ship's I/O that its control group sets.

use super::place::Lasting;
use super::{
    Answer, Assessment, DISK_LEAVES, Entry, Gain, Kind, Restart, Risk, Situation, Step, Trial,
    place,
};
use crate::attribute::Cause;
use crate::host::cgroup::{IoLimit, Version};
use crate::model::Meta;
use crate::report::units::spent;

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "io-limit",
    title: "raise the I/O limit of the ship's control group",
    cause: Cause::Disk,
    shrinks: DISK_LEAVES,
    why: "What exceeds the I/O limit of a control group waits, however quick the disk is.",
    gain: "At most all time blocked on the disk; how quick it is behind the limit cannot be \
           seen, so at least nothing.",
    check: "limits of the ship's control groups on the disks under the pier",
    answers: &[
        Kind::AlreadySo,
        Kind::WouldHelp,
        Kind::NoEvidence,
        Kind::CannotTell,
    ],
    conflicts: &[],
    restart: Restart::None,
    risk: Risk::Low,
    source: "Linux Documentation/admin-guide/cgroup-v2.rst (io.max), cgroup-v1/blkio-controller.rst: \
             what exceeds the limit waits, however quick the disk is",
    apply: &[
        "echo 'MAJOR:MINOR KIND=max' > /sys/fs/cgroup/GROUP/io.max",
        "for good: IOWriteIOPSMax= and its like in the unit, or Docker's --device-…",
    ],
    undo: &["echo 'MAJOR:MINOR KIND=OLD' > /sys/fs/cgroup/GROUP/io.max"],
    assess,
};

/// The limits on the disks that the pier lies on.
pub fn limits(meta: &Meta) -> Option<Vec<&IoLimit>> {
    let limits = meta.host.cgroup.io_limits.known()?;
    let devices = meta.host.storage.backing.devices();
    let numbers = devices.iter().map(|device| (device.major, device.minor));
    let disks: Vec<(u32, u32)> = numbers.collect();
    Some(
        limits
            .iter()
            .filter(|limit| disks.contains(&limit.device))
            .collect(),
    )
}

/// In a sentence: `40 writes a second on 254:0`.
pub fn words(limit: &IoLimit) -> String {
    let what = match limit.kind.as_str() {
        "riops" => "reads",
        "wiops" => "writes",
        "rbps" => "bytes read",
        "wbps" => "bytes written",
        other => other,
    };
    let (major, minor) = limit.device;
    format!("{} {what} a second on {major}:{minor}", limit.per_second)
}

fn assess(situation: &Situation<'_>) -> Assessment {
    let proposed = "no limit";
    let without = |answer, current: Option<String>, reason: String| {
        Assessment::without_change(answer, current, proposed, reason)
    };
    let Some(limits) = limits(situation.meta()) else {
        let reason = situation.meta().host.cgroup.io_limits.reason();
        let reason = reason.unwrap_or("the limits are not known").to_owned();
        return without(Answer::CannotTell, None, reason);
    };
    let Some(first) = limits.first() else {
        return without(
            Answer::AlreadySo,
            Some("none".to_owned()),
            "there is no I/O limit".to_owned(),
        );
    };
    let all: Vec<String> = limits.iter().map(|limit| words(limit)).collect();
    let current = Some(format!("{} in {}", all.join(", "), first.group.display()));
    let disk_ns = situation.attribution.cause_ns(Cause::Disk);
    let commands = |value: fn(&IoLimit) -> Option<u64>| {
        limits
            .iter()
            .map(|limit| {
                let group = limit.group.display().to_string();
                let group = group.trim_start_matches('/');
                // Where systemd and Docker mount them.
                let root = match limit.version {
                    Version::V1 => "/sys/fs/cgroup/blkio",
                    Version::V2 => "/sys/fs/cgroup",
                };
                let file = format!("{root}/{group}/{}", limit.file());
                Step::write(file, limit.line(value(limit)))
            })
            .collect::<Vec<_>>()
    };
    let (mut apply, undo) = (commands(|_| None), commands(|limit| Some(limit.per_second)));
    if disk_ns == 0 {
        let reason = "nothing waited for the disk".to_owned();
        return Assessment {
            untried: Trial::of(&apply, &undo),
            ..without(Answer::NoEvidence, current, reason)
        };
    }
    apply.extend(place::keep(situation, &Lasting::IoLimits));
    Assessment {
        // How quick the disk is behind the limit cannot be seen.
        answer: Answer::WouldHelp(Gain::StalledTime {
            low_ns: 0,
            high_ns: disk_ns,
        }),
        current,
        proposed: proposed.to_owned(),
        reason: format!(
            "{} spent on a disk of which the group may use only so much; how quick it is without the \
             limit cannot be seen",
            spent(disk_ns, situation.attribution)
        ),
        apply,
        undo,
        ..Assessment::default()
    }
}
