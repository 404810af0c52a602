//! Time that the hypervisor takes.

use super::{Assessment, Entry, Gain, Kind, Restart, Risk, Setting, Situation, Step};
use crate::attribute::{Cause, Leaf};
use crate::report::units::{percent, spent};

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "steal",
    title: "get CPUs that are not shared with other customers",
    cause: Cause::Cpu,
    shrinks: &[Leaf::Stolen],
    why: "A hypervisor that has sold more CPUs than it has makes each wait. Nothing on this host changes \
          that: it is the provider's, not the ship's.",
    gain: "All of the time that the hypervisor took, as the kernel counts it: an estimate of the ship's \
           part.",
    check: "steal time of each CPU (/proc/stat) during the capture",
    answers: &[Kind::AlreadySo, Kind::WouldHelp, Kind::CannotTell],
    conflicts: &[],
    restart: Restart::Host,
    risk: Risk::Low,
    source: "Linux Documentation/filesystems/proc.rst (steal), Documentation/virt/kvm/x86/msr.rst",
    apply: &["ask the provider, with these numbers; or take a plan with CPUs of its own"],
    undo: &["go back to the plan before"],
    assess,
};

fn assess(situation: &Situation<'_>) -> Assessment {
    let proposed = "none taken";
    let Some(steal) = situation.attribution.steal else {
        return Setting::new(None, proposed).cannot_tell("the kernel does not say");
    };
    let taken = format!("the hypervisor took {}", percent(steal.ratio()));
    let setting = Setting::new(Some(taken.clone()), proposed);
    let stolen_ns = situation.leaf_ns(Leaf::Stolen);
    if stolen_ns == 0 {
        return setting.already_so(taken);
    }
    setting.would_help(
        Gain::StalledTime {
            low_ns: stolen_ns,
            high_ns: stolen_ns,
        },
        format!(
            "{taken} of the CPU time wanted, {}",
            spent(stolen_ns, situation.attribution)
        ),
        ENTRY.apply.iter().map(|line| Step::advice(*line)).collect(),
        ENTRY.undo.iter().map(|line| Step::advice(*line)).collect(),
    )
}
