//! Transparent huge pages.

use super::{Assessment, Entry, Gain, Kind, Restart, Risk, Setting, Situation, Step};
use crate::attribute::{Cause, Leaf};
use crate::report::units::{bytes, spent};

/// The file of the setting.
const FILE: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
/// Only for those who ask, which vere never does.
const PROPOSED: &str = "madvise";

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "thp",
    title: "give huge pages only to who asks for them",
    cause: Cause::Memory,
    shrinks: &[Leaf::Compaction],
    why: "Before a huge page can be had the kernel may have to move others together, and the ship waits. \
          Only the free part of the loom can be of huge pages: what the heap holds is of a file, or was \
          copied page by page.",
    gain: "At most all of the time in compaction; at least nothing, because others need memory in one \
           piece too.",
    check: "/sys/kernel/mm/transparent_hugepage/enabled, huge pages of the loom (smaps), and time in \
            compaction",
    answers: &[
        Kind::AlreadySo,
        Kind::WouldHelp,
        Kind::NoEvidence,
        Kind::CannotTell,
    ],
    conflicts: &[],
    restart: Restart::None,
    risk: Risk::Low,
    source: "Linux Documentation/admin-guide/mm/transhuge.rst; vere asks for none (pkg/noun: no \
             MADV_HUGEPAGE) and its documentation does not mention them",
    apply: &[
        "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        "for good: transparent_hugepage=madvise on the kernel's command line",
    ],
    undo: &["echo OLD > /sys/kernel/mm/transparent_hugepage/enabled"],
    assess,
};

fn assess(situation: &Situation<'_>) -> Assessment {
    let meta = situation.meta();
    let value = match &meta.host.kernel.transparent_huge_pages {
        crate::host::Reading::Known(value) => value.as_str(),
        crate::host::Reading::Unknown { reason } => {
            return Setting::new(None, PROPOSED).cannot_tell(reason.clone());
        }
    };
    let huge = meta.loom_use.known().map(|used| bytes(used.huge_bytes));
    let huge = huge.unwrap_or_else(|| "an unknown part".to_owned());
    let setting = Setting::new(Some(format!("{value}, {huge} of the loom huge")), PROPOSED);
    if value != "always" {
        return setting.already_so(format!("it is {value}"));
    }
    let (set, reset) = (Step::write(FILE, PROPOSED), Step::write(FILE, value));
    let compaction_ns = situation.leaf_ns(Leaf::Compaction);
    if compaction_ns == 0 {
        let answer = setting.no_evidence(format!(
            "{huge} of the loom is of huge pages, and the ship waited 0 ms for compaction"
        ));
        return answer.or_try(set, reset);
    }
    setting.would_help(
        Gain::StalledTime {
            low_ns: 0,
            high_ns: compaction_ns,
        },
        format!(
            "{} in compaction",
            spent(compaction_ns, situation.attribution)
        ),
        vec![
            set,
            Step::advice("for good: transparent_hugepage=madvise on the kernel's command line"),
        ],
        vec![reset],
    )
}
