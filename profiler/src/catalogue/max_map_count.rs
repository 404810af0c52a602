//! Room for the mappings that dirty pages of the loom split off.

use super::{Answer, Assessment, Entry, Gain, Kind, Restart, Risk, Situation, Step, keep_sysctls};
use crate::attribute::{Cause, ratio};
use crate::report::MANY_MAPPINGS_RATIO;
use crate::report::units::{count, percent};

/// What those propose who met the crash, four times the kernel's default.
const PROPOSED: u64 = 262_144;
/// The kernel keeps the setting in an `int`.
const MOST: u64 = i32::MAX as u64;
/// A file of our own: others may be there already.
const KEPT_IN: &str = "/etc/sysctl.d/90-profile-ship-mappings.conf";
/// The setting.
const SETTING: &str = "vm.max_map_count";
/// The finding that warns of it.
const FINDING: &str = "map-count";

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "max-map-count",
    title: "let mars have more memory mappings",
    cause: Cause::Memory,
    shrinks: &[],
    why: "Each page of the loom that is written to may split a mapping. At vm.max_map_count the next \
          such write ends the ship: \"loom: fault mprotect: Out of memory\". A snapshot joins the \
          mappings again.",
    gain: "No time: it keeps the ship from dying. Advised from the point on where mars has half of \
           the mappings that it may have.",
    check: "lines of mars' maps against vm.max_map_count",
    answers: &[
        Kind::AlreadySo,
        Kind::WouldHelp,
        Kind::NoEvidence,
        Kind::CannotTell,
    ],
    conflicts: &[],
    restart: Restart::None,
    risk: Risk::None,
    source: "vere pkg/noun/events.c (an mprotect for each page that becomes dirty), vere issues 461 \
             and 624; Linux Documentation/admin-guide/sysctl/vm.rst",
    apply: &[
        "sysctl -w vm.max_map_count=262144",
        "printf 'vm.max_map_count=262144\\n' > /etc/sysctl.d/90-profile-ship-mappings.conf",
    ],
    undo: &[
        "sysctl -w vm.max_map_count=OLD",
        "rm /etc/sysctl.d/90-profile-ship-mappings.conf",
    ],
    assess,
};

fn assess(situation: &Situation<'_>) -> Assessment {
    let memory = &situation.summaries.memory;
    let (mappings, limit) = (memory.mappings, memory.max_mappings);
    let proposed = proposed(mappings.unwrap_or(0), limit.unwrap_or(0));
    let text = format!("vm.max_map_count {proposed}");
    let current = limit.map(|limit| format!("vm.max_map_count {limit}"));
    let without =
        |answer, reason| Assessment::without_change(answer, current.clone(), &text, reason);
    let (Some(mappings), Some(limit)) = (mappings, limit) else {
        let what = "mars' mappings or their limit are not known";
        return without(Answer::CannotTell, what.to_owned());
    };
    let used = ratio(mappings, limit);
    let reason = format!(
        "mars has {} of the {} mappings that it may have, {}",
        count(mappings),
        count(limit),
        percent(used)
    );
    if used < MANY_MAPPINGS_RATIO {
        let answer = match limit >= PROPOSED {
            true => Answer::AlreadySo,
            false => Answer::NoEvidence,
        };
        return without(answer, reason);
    }
    if proposed <= limit {
        let most = format!("{reason}; the kernel allows no more");
        return without(Answer::NoEvidence, most);
    }
    Assessment {
        answer: Answer::WouldHelp(Gain::Finding { id: FINDING }),
        proposed: text.clone(),
        reason: format!("{reason}; the one too many ends the ship"),
        apply: vec![
            Step::sysctl(SETTING, proposed),
            keep_sysctls(KEPT_IN, &[(SETTING, proposed.to_string())]),
        ],
        undo: vec![
            // Below what a process has, its next change of a mapping fails.
            Step::advice(format!(
                "only while mars has fewer than {} mappings:",
                count(limit)
            )),
            Step::sysctl(SETTING, limit),
            Step::command(format!("rm {KEPT_IN}")),
        ],
        current,
        ..Assessment::default()
    }
}

/// Never less than there is, and more than twice what mars has.
fn proposed(mappings: u64, limit: u64) -> u64 {
    let mut proposed = PROPOSED;
    while proposed < MOST && (proposed < limit || ratio(mappings, proposed) >= MANY_MAPPINGS_RATIO)
    {
        proposed = (proposed * 2).min(MOST);
    }
    proposed
}
