//! Access times of files.

use super::{Assessment, DISK_LEAVES, Entry, Gain, Kind, Restart, Risk, Setting, Situation, Step};
use crate::aggregate::neighbour::NeighbourKind;
use crate::attribute::{Cause, Party, blame, ratio};
use crate::model::sum;
use crate::report::units::{percent, spent};

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "noatime",
    title: "mount the pier's file system with noatime",
    cause: Cause::Disk,
    shrinks: DISK_LEAVES,
    why: "Each read of a file may write its access time. By default (relatime) that is once a day and file, \
          and a ship keeps its files open for weeks.",
    gain: "Where every read writes a time (strictatime): at most the share of the disk's time that was the \
           file system's journal, at least nothing. With relatime none.",
    check: "options of the mount that the pier is on; noatime includes nodiratime",
    answers: &[
        Kind::AlreadySo,
        Kind::WouldHelp,
        Kind::NoEvidence,
        Kind::CannotTell,
    ],
    conflicts: &[],
    restart: Restart::None,
    risk: Risk::None,
    source: "mount(8) (relatime is the default since Linux 2.6.30); vere's source says nothing about it",
    apply: &[
        "mount -o remount,noatime MOUNT_POINT",
        "for good: noatime in /etc/fstab",
    ],
    undo: &["mount -o remount,relatime MOUNT_POINT"],
    assess,
};

/// The option that decides: `noatime`, `relatime`, or nothing, which is strict.
pub fn option(options: &[String]) -> &'static str {
    let has = |name: &str| options.iter().any(|option| option == name);
    match (has("noatime"), has("relatime")) {
        (true, _) => "noatime",
        (_, true) => "relatime",
        _ => "strictatime",
    }
}

fn assess(situation: &Situation<'_>) -> Assessment {
    let meta = situation.meta();
    let proposed = "noatime";
    let mount = match &meta.host.storage.mount {
        crate::host::Reading::Known(mount) => mount,
        crate::host::Reading::Unknown { reason } => {
            return Setting::new(None, proposed).cannot_tell(reason.clone());
        }
    };
    let option = option(&mount.options);
    let setting = Setting::new(
        Some(format!("{option} on {}", mount.mount_point.display())),
        proposed,
    );
    if option == proposed {
        return setting.already_so("it is mounted with noatime");
    }
    let remount = |option: &str| Step::Remount {
        mount_point: mount.mount_point.display().to_string(),
        option: option.to_owned(),
    };
    let journal_ns = journal_ns(situation);
    if option == "relatime" || journal_ns == 0 {
        let written = match option {
            "relatime" => "a time is written once a day and file at most",
            _ => "every read writes a time",
        };
        let of_busy = percent(ratio(journal_ns, situation.attribution.busy_ns()));
        let answer = setting.no_evidence(format!(
            "{written}, and the file system's journal held the ship up for {of_busy} of its time"
        ));
        // In a container the mount point is not the host's.
        return match meta.ship.in_container.known() {
            Some(false) => answer.or_try(remount(proposed), remount(option)),
            _ => answer,
        };
    }
    setting.would_help(
        Gain::StalledTime {
            low_ns: 0,
            high_ns: journal_ns,
        },
        format!(
            "every read writes a time; the file system's journal took {}",
            spent(journal_ns, situation.attribution)
        ),
        vec![
            remount(proposed),
            Step::advice("for good: noatime in /etc/fstab"),
        ],
        vec![remount(option)],
    )
}

/// Of the ship's time on the disk, what was the file system's journal's.
fn journal_ns(situation: &Situation<'_>) -> u64 {
    let disk_ns = sum(DISK_LEAVES.iter().map(|leaf| situation.leaf_ns(*leaf)));
    let neighbours = situation.summaries.neighbours.as_ref();
    let parts = blame::disk(disk_ns, neighbours, Party::Device);
    let journal = parts.iter().filter(|part| {
        part.neighbour
            .is_some_and(|one| one.kind == NeighbourKind::Journal)
    });
    sum(journal.map(|part| part.ns))
}
