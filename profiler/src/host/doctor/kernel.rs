//! Checks of what the kernel was built with and allows.

use super::checks::setting;
use super::remedy::{boot_parameter, newer_kernel, sysctl};
use super::{Answer, DoctorFacts, NeededTracepoint};
use crate::host::Reading;
use crate::host::kernel::KernelVersion;

/// The oldest kernel that the programs are written for: the ring buffer came with 5.8, and 5.10 is
/// the first long-term release after it.
const OLDEST_KERNEL: KernelVersion = KernelVersion::new(5, 10);

pub fn kernel(facts: &DoctorFacts) -> Answer {
    let release = match &facts.release {
        Reading::Known(release) => release,
        Reading::Unknown { reason } => return Answer::cannot_tell(reason),
    };
    match KernelVersion::parse(release) {
        Some(version) if version >= OLDEST_KERNEL => Answer::ok(release),
        Some(_) => Answer::lack(
            format!("kernel {release} is too old for the probes, they need {OLDEST_KERNEL}"),
            newer_kernel(&facts.distribution),
        ),
        None => Answer::cannot_tell(format!("the release {release} is in no known form")),
    }
}

pub fn btf(facts: &DoctorFacts) -> Answer {
    match &facts.btf_tracepoints {
        Reading::Known(names) => Answer::ok(format!("{} tracepoints", names.len())),
        Reading::Unknown { reason } => Answer::lack(
            format!(
                "{reason}: this kernel was built without CONFIG_DEBUG_INFO_BTF, so no probe can be placed"
            ),
            newer_kernel(&facts.distribution),
        ),
    }
}

pub fn lockdown(facts: &DoctorFacts) -> Answer {
    match &facts.lockdown {
        Reading::Known(None) => Answer::ok("none"),
        // Of the two modes only confidentiality forbids reading the kernel (kernel
        // `include/linux/security.h`, `enum lockdown_reason`).
        Reading::Known(Some(mode)) if mode != "confidentiality" => Answer::ok(mode),
        Reading::Known(Some(_)) => Answer::lack(
            "lockdown mode `confidentiality` forbids every probe until the next boot",
            boot_parameter(&facts.distribution, "lockdown=integrity"),
        ),
        Reading::Unknown { reason } => Answer::cannot_tell(reason),
    }
}

pub fn tracefs(facts: &DoctorFacts) -> Answer {
    match &facts.tracefs_groups {
        Reading::Known(groups) if groups.contains("syscalls") => {
            Answer::ok(format!("{} groups of events", groups.len()))
        }
        Reading::Known(groups) if groups.is_empty() => not_mounted(),
        Reading::Known(_) => Answer::lack(
            "this kernel was built without CONFIG_FTRACE_SYSCALLS, so single events of the ship cannot be timed",
            newer_kernel(&facts.distribution),
        ),
        Reading::Unknown { reason } if reason.contains("does not exist") => not_mounted(),
        Reading::Unknown { reason } => Answer::cannot_tell(reason),
    }
}

fn not_mounted() -> Answer {
    Answer::lack(
        "tracefs is not mounted, so single events of the ship cannot be timed",
        "sudo mount -t tracefs nodev /sys/kernel/tracing",
    )
}

pub fn jit(facts: &DoctorFacts) -> Answer {
    match setting(facts, "net.core.bpf_jit_enable") {
        Some(Reading::Known(mode)) if mode != "0" => Answer::ok(format!("mode {mode}")),
        Some(Reading::Known(_)) => Answer::lack(
            "the probes are interpreted, not compiled, so they cost several times as much",
            sysctl("net.core.bpf_jit_enable=1"),
        ),
        Some(Reading::Unknown { reason }) => Answer::cannot_tell(reason),
        None => Answer::cannot_tell("the setting was not read"),
    }
}

pub fn tracepoint(facts: &DoctorFacts, needed: &NeededTracepoint) -> Answer {
    match &facts.btf_tracepoints {
        Reading::Known(names) if names.contains(&needed.name) => Answer::ok("present"),
        Reading::Known(_) => Answer::lack(
            format!(
                "this kernel has no tracepoint {}, so the report lacks {}",
                needed.name, needed.without
            ),
            newer_kernel(&facts.distribution),
        ),
        Reading::Unknown { reason } => Answer::cannot_tell(reason),
    }
}
