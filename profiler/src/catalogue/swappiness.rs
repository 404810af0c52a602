//! How readily the kernel swaps memory of programs out instead of dropping pages of files.

use super::{
    Answer, Assessment, Entry, Gain, Kind, Restart, Risk, Situation, Step, keep_sysctls,
    memory_version, sysctl,
};
use crate::attribute::{Cause, Leaf};
use crate::host::cgroup::Version;
use crate::report::units::spent;

/// The value that the field advises.
const PROPOSED: u64 = 10;
/// A file of our own: others may be there already.
const KEPT_IN: &str = "/etc/sysctl.d/90-profile-ship-swap.conf";

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "swappiness",
    title: "swap the ship out less readily",
    cause: Cause::Memory,
    shrinks: &[Leaf::SwapIn],
    why: "Pages of the loom that changed since the last snapshot are swapped out, and an event that \
          needs one waits for it. Without any swap there is no such wait, but a host that is too \
          small for its ships then kills one of them instead of being slow.",
    gain: "At most all of the time in which the ship's threads waited for pages from swap; at least \
           nothing, because what does not fit is swapped whatever the setting.",
    check: "vm.swappiness, swap in use, and waits for pages from swap",
    answers: &[
        Kind::AlreadySo,
        Kind::WouldHelp,
        Kind::NoEvidence,
        Kind::WouldHarm,
        Kind::CannotTell,
    ],
    conflicts: &["swap-off"],
    restart: Restart::None,
    risk: Risk::Medium,
    source: "Linux Documentation/admin-guide/sysctl/vm.rst (swappiness), and cgroup-v1/memory.rst: \
             there each group has its own",
    apply: &[
        "sysctl -w vm.swappiness=10",
        "printf 'vm.swappiness=10\\n' > /etc/sysctl.d/90-profile-ship-swap.conf",
    ],
    undo: &[
        "sysctl -w vm.swappiness=OLD",
        "rm /etc/sysctl.d/90-profile-ship-swap.conf",
    ],
    assess,
};

fn assess(situation: &Situation<'_>) -> Assessment {
    let meta = situation.meta();
    let value: Option<u64> = sysctl(meta, "vm.swappiness").and_then(|text| text.parse().ok());
    let current = value.map(|value| format!("vm.swappiness {value}"));
    let proposed = format!("vm.swappiness {PROPOSED}");
    let without = |answer, reason: String| {
        Assessment::without_change(answer, current.clone(), &proposed, reason)
    };
    let memory = meta.host.kernel.memory.known();
    if memory.is_some_and(|memory| memory.swap_total_bytes == 0) {
        return without(Answer::AlreadySo, "there is no swap".to_owned());
    }
    let Some(value) = value else {
        return without(Answer::CannotTell, "the setting is not known".to_owned());
    };
    if value <= PROPOSED {
        return without(Answer::AlreadySo, format!("it is {value}"));
    }
    let set = |value| Step::sysctl("vm.swappiness", value);
    let swap_in_ns = situation.attribution.leaf_ns(Leaf::SwapIn);
    if swap_in_ns == 0 {
        let reason = "the ship waited for no page from swap";
        let without = without(Answer::NoEvidence, reason.to_owned());
        return without.or_try(set(PROPOSED), set(value));
    }
    let waited = format!(
        "{} for pages from swap",
        spent(swap_in_ns, situation.attribution)
    );
    let evicted_ns = situation.attribution.leaf_ns(Leaf::PageInAfterEviction);
    if evicted_ns >= swap_in_ns {
        // It is a balance between the two: what is not swapped out is dropped and read again.
        let reason = format!(
            "{waited}, but {} for evicted pages of files, which would be evicted more",
            spent(evicted_ns, situation.attribution)
        );
        return without(Answer::WouldHarm, reason);
    }
    let mut apply = vec![
        set(PROPOSED),
        keep_sysctls(KEPT_IN, &[("vm.swappiness", PROPOSED.to_string())]),
    ];
    let mut undo = vec![set(value), Step::command(format!("rm {KEPT_IN}"))];
    if let Some(file) = group_file(situation) {
        apply.push(Step::write(&file, PROPOSED.to_string()));
        // What a group begins with is its parent's, in the end the machine's.
        undo.push(Step::write(&file, value.to_string()));
    }
    Assessment {
        answer: Answer::WouldHelp(Gain::StalledTime {
            low_ns: 0,
            high_ns: swap_in_ns,
        }),
        current,
        proposed,
        reason: format!(
            "{waited}; do not go without swap on a small host: what is slow now would be an OOM kill"
        ),
        apply,
        undo,
        ..Assessment::default()
    }
}

/// In v1 each group but the root has its own setting, and the machine's does not count for it.
fn group_file(situation: &Situation<'_>) -> Option<String> {
    let meta = situation.meta();
    if memory_version(meta) != Version::V1 {
        return None;
    }
    let group = meta
        .ship
        .cgroups
        .known()?
        .get("memory")?
        .display()
        .to_string();
    let group = group.trim_start_matches('/');
    (!group.is_empty()).then(|| format!("/sys/fs/cgroup/memory/{group}/memory.swappiness"))
}
