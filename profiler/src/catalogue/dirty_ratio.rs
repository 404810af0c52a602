//! How much written data may wait in memory before who writes is held back.

use super::{Entry, Gain, Kind, Restart, Risk, Setting, Situation, Step, keep_sysctls, sysctl};
use crate::attribute::{Cause, Leaf, ratio, syscall_name};
use crate::model::Event;
use crate::report::units::{duration, spent};

/// The function in which the kernel holds a writer back (mm/page-writeback.c); since Linux 5.14 its
/// flags are in another of the same beginning.
const HELD_BACK_IN: &str = "balance_dirty_pages";
/// A file of our own: others may be there already.
const KEPT_IN: &str = "/etc/sysctl.d/90-profile-ship-writeback.conf";
const SETTING: &str = "vm.dirty_background_ratio";
/// Percent of memory from which on the kernel begins to write: less of it waits when a writer comes to
/// the limit. The kernel's default is 10.
const PROPOSED: u64 = 2;
/// Calls that read, write and sync files.
const FILE_CALLS: [&str; 9] = [
    "read",
    "pread64",
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "fsync",
    "fdatasync",
    "ftruncate",
];

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "dirty-ratio",
    title: "begin to write back earlier",
    cause: Cause::Disk,
    shrinks: &[Leaf::Snapshot, Leaf::OtherFile, Leaf::LogCommit],
    why: "Where more data waits to be written than the kernel allows, whoever writes next is held back \
          until the disk has caught up.",
    gain: "At most the time in which the ship's threads were held back (balance_dirty_pages), by their \
           stacks; at least nothing: the disk has to write it all the same.",
    check: "vm.dirty_ratio, vm.dirty_background_ratio, and the kernel's part of the stacks of waits",
    answers: &[
        Kind::AlreadySo,
        Kind::WouldHelp,
        Kind::NoEvidence,
        Kind::CannotTell,
    ],
    conflicts: &[],
    restart: Restart::None,
    risk: Risk::Medium,
    source: "Linux Documentation/admin-guide/sysctl/vm.rst, mm/page-writeback.c; vere's source says \
             nothing about it",
    apply: &[
        "sysctl -w vm.dirty_background_ratio=2",
        "printf 'vm.dirty_background_ratio=2\\n' > /etc/sysctl.d/90-profile-ship-writeback.conf",
    ],
    undo: &[
        "sysctl -w vm.dirty_background_ratio=OLD",
        "rm /etc/sysctl.d/90-profile-ship-writeback.conf",
    ],
    assess,
};

fn assess(situation: &Situation<'_>) -> super::Assessment {
    let meta = situation.meta();
    let of = |name| sysctl(meta, name).and_then(|text| text.parse::<u64>().ok());
    let (background, limit) = (of(SETTING), of("vm.dirty_ratio"));
    let proposed = format!("{SETTING} {PROPOSED}");
    let Some(value) = background else {
        return Setting::new(None, proposed).cannot_tell("the setting is not known");
    };
    let current = match limit {
        Some(limit) => format!("{SETTING} {value}, vm.dirty_ratio {limit}"),
        None => format!("{SETTING} {value}"),
    };
    let setting = Setting::new(Some(current), proposed);
    if of("vm.dirty_background_bytes").is_some_and(|bytes| bytes > 0) {
        return setting.cannot_tell("vm.dirty_background_bytes is set, and holds instead");
    }
    if value <= PROPOSED {
        return setting.already_so(format!("it is {value}"));
    }
    let (set, reset) = (
        Step::sysctl(SETTING, PROPOSED),
        Step::sysctl(SETTING, value),
    );
    let Some((held_back_ns, waited_ns)) = held_back(situation) else {
        return setting
            .cannot_tell("the kernel's stacks have no names here")
            .or_try(set, reset);
    };
    if held_back_ns == 0 {
        return setting
            .no_evidence("none of the ship's writes was held back (0 ms)")
            .or_try(set, reset);
    }
    let leaves = ENTRY.shrinks.iter().map(|leaf| situation.leaf_ns(*leaf));
    let share = ratio(held_back_ns, waited_ns).min(1.0);
    let high_ns = (crate::model::sum(leaves) as f64 * share) as u64;
    setting.would_help(
        Gain::StalledTime { low_ns: 0, high_ns },
        format!(
            "writes were held back for {}, {}; the disk has to write it all the same",
            duration(held_back_ns),
            spent(high_ns, situation.attribution)
        ),
        vec![
            set,
            keep_sysctls(KEPT_IN, &[(SETTING, PROPOSED.to_string())]),
        ],
        vec![reset, Step::command(format!("rm {KEPT_IN}"))],
    )
}

/// Time in recorded waits on files that was spent held back, and all of it; nothing without names.
fn held_back(situation: &Situation<'_>) -> Option<(u64, u64)> {
    let symbols = &situation.capture.symbols;
    if symbols.errors.contains_key(&0) {
        return None;
    }
    let is_held_back = |address: &u64| {
        let names = symbols.kernel.get(address);
        names.is_some_and(|names| names.iter().any(|name| name.starts_with(HELD_BACK_IN)))
    };
    let (mut held_back_ns, mut all_ns) = (0_u64, 0_u64);
    for event in &situation.capture.events {
        let Event::Wait(wait) = event else { continue };
        let call = syscall_name(&situation.meta().architecture, wait.syscall_nr);
        if !FILE_CALLS.contains(&call) {
            continue;
        }
        let ns = wait.end_ktime_ns.saturating_sub(wait.start_ktime_ns);
        all_ns = all_ns.saturating_add(ns);
        if wait.stack.kernel.iter().any(is_held_back) {
            held_back_ns = held_back_ns.saturating_add(ns);
        }
    }
    Some((held_back_ns, all_ns))
}
