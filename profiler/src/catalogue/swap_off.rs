//! A host without swap.

use super::{Assessment, Entry, Gain, Kind, Restart, Risk, Setting, Situation, Step};
use crate::attribute::{Cause, Leaf};
use crate::report::units::{bytes, spent};

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "swap-off",
    title: "go without swap",
    cause: Cause::Memory,
    shrinks: &[Leaf::SwapIn],
    why: "What is never swapped out never has to come back. But where memory does not suffice for all, \
          the kernel then kills a process instead of being slow, and the ship is the largest.",
    gain: "At most all of the time in which the ship waited for pages from swap, where there is room in \
           memory for all that is swapped; at least nothing.",
    check: "swap in use against memory that is free, and waits for pages from swap",
    answers: &[
        Kind::AlreadySo,
        Kind::WouldHelp,
        Kind::NoEvidence,
        Kind::WouldHarm,
        Kind::CannotTell,
    ],
    conflicts: &["ram", "swappiness"],
    restart: Restart::None,
    risk: Risk::Medium,
    source: "swapon(8), Linux Documentation/admin-guide/sysctl/vm.rst; docs.urbit.org cloud-hosting (2 GB \
             of RAM work with swap)",
    apply: &[
        "swapoff -a",
        "for good: take the swap lines out of /etc/fstab",
    ],
    undo: &["swapon -a"],
    assess,
};

fn assess(situation: &Situation<'_>) -> Assessment {
    let proposed = "no swap";
    let memory = match &situation.meta().host.kernel.memory {
        crate::host::Reading::Known(memory) => memory,
        crate::host::Reading::Unknown { reason } => {
            return Setting::new(None, proposed).cannot_tell(reason.clone());
        }
    };
    if memory.swap_total_bytes == 0 {
        let setting = Setting::new(Some("no swap".to_owned()), proposed);
        return setting.already_so("there is no swap");
    }
    let used = memory
        .swap_total_bytes
        .saturating_sub(memory.swap_free_bytes);
    let text = format!(
        "{} of {} swap in use",
        bytes(used),
        bytes(memory.swap_total_bytes)
    );
    let setting = Setting::new(Some(text.clone()), proposed);
    let Some(available) = memory.available_bytes else {
        return setting.cannot_tell("how much memory is free is not known");
    };
    let waited_ns = situation.leaf_ns(Leaf::SwapIn);
    // All of it has to come back, and something has to stay free.
    if available / 2 < used {
        return setting.would_harm(format!(
            "{text} and {} of memory free: what is slow now would be an OOM kill",
            bytes(available)
        ));
    }
    if waited_ns == 0 {
        return setting.no_evidence(format!(
            "{text}, and the ship waited 0 ms for pages from it"
        ));
    }
    setting.would_help(
        Gain::StalledTime {
            low_ns: 0,
            high_ns: waited_ns,
        },
        format!(
            "{text}, {} of memory free; {} waiting for pages from it",
            bytes(available),
            spent(waited_ns, situation.attribution)
        ),
        vec![
            Step::command("swapoff -a"),
            Step::advice("for good: take the swap lines out of /etc/fstab"),
        ],
        vec![Step::command("swapon -a")],
    )
}
