//! The checks, in the order in which they are shown.

use super::kernel::{btf, jit, kernel, lockdown, tracefs, tracepoint};
use super::remedy::{boot_parameter, newer_kernel, sysctl};
use super::{Answer, Check, DoctorFacts, MemoryAccess, ShipAccess};
use crate::host::Reading;
use crate::host::process::initial_namespace;

/// Depth that a compile's stacks were seen to reach is about 800 frames.
const STACK_FRAMES: u64 = 1024;

/// Capabilities by their bit (kernel `include/uapi/linux/capability.h`) that are needed, each with
/// what it is for.
const CAPABILITIES: [(u32, &str, &str); 3] = [
    (39, "CAP_BPF", "load the probes"),
    (38, "CAP_PERFMON", "attach the probes"),
    (19, "CAP_SYS_PTRACE", "read the ship's memory and files"),
];
const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYSLOG: u32 = 34;

/// One check, declared once.
struct Declaration {
    id: &'static str,
    title: &'static str,
    required: bool,
    ask: fn(&DoctorFacts) -> Answer,
}

const DECLARATIONS: [Declaration; 16] = [
    declare("privileges", "privileges", true, privileges),
    declare(
        "program-statistics",
        "run-time statistics of the probes",
        false,
        program_statistics,
    ),
    declare(
        "host-processes",
        "sight of the host's processes",
        false,
        host_processes,
    ),
    declare(
        "seccomp",
        "no seccomp filter on this process",
        false,
        seccomp,
    ),
    declare("kernel", "kernel 5.10 or later", true, kernel),
    declare("btf", "kernel type information (BTF)", true, btf),
    declare("lockdown", "no kernel lockdown", true, lockdown),
    declare("tracefs", "tracefs with syscall events", false, tracefs),
    declare("jit", "BPF compiler", false, jit),
    declare("stack-depth", "depth of stacks", false, stack_depth),
    declare(
        "kernel-symbols",
        "names of kernel functions",
        false,
        kernel_symbols,
    ),
    declare(
        "schedstat",
        "the kernel's own scheduler counters",
        false,
        schedstat,
    ),
    declare("pressure", "pressure stall information", false, pressure),
    declare(
        "delay-accounting",
        "per-task delay accounting",
        false,
        delay_accounting,
    ),
    declare("cgroups", "CPU and memory control groups", false, cgroups),
    declare("output-space", "room for a capture", false, output_space),
];

const fn declare(
    id: &'static str,
    title: &'static str,
    required: bool,
    ask: fn(&DoctorFacts) -> Answer,
) -> Declaration {
    Declaration {
        id,
        title,
        required,
        ask,
    }
}

/// Judges the facts: the declared checks, then every tracepoint that is missing, then the ship.
pub fn checks(facts: &DoctorFacts) -> Vec<Check> {
    let check = |id: String, title: String, required, answer| Check {
        id,
        title,
        required,
        answer,
    };
    let mut all: Vec<Check> = DECLARATIONS
        .iter()
        .map(|declared| {
            check(
                declared.id.to_owned(),
                declared.title.to_owned(),
                declared.required,
                (declared.ask)(facts),
            )
        })
        .collect();
    all.extend(facts.needed_tracepoints.iter().map(|needed| {
        check(
            format!("tracepoint-{}", needed.name),
            format!("tracepoint {}", needed.name),
            needed.required,
            tracepoint(facts, needed),
        )
    }));
    let ship =
        |id: &str, title: &str, answer| check(id.to_owned(), title.to_owned(), false, answer);
    all.push(ship("ship", "a ship that runs", ship_found(facts)));
    if let ShipAccess::Found {
        memory, executable, ..
    } = &facts.ship
    {
        all.push(ship(
            "ship-memory",
            "the ship's memory",
            ship_memory(memory),
        ));
        all.push(ship(
            "ship-executable",
            "the ship's executable",
            known_or_lack(
                executable.clone().map(|path| path.display().to_string()),
                "its functions have no names in stacks",
                "sudo profile doctor",
            ),
        ));
    }
    all
}

fn known_or_lack(reading: Reading<String>, lost: &str, command: &str) -> Answer {
    match reading {
        Reading::Known(found) => Answer::ok(found),
        Reading::Unknown { reason } => Answer::lack(format!("{reason}, so {lost}"), command),
    }
}

fn privileges(facts: &DoctorFacts) -> Answer {
    // Capabilities of another user namespace look the same and mean nothing to bpf() (kernel
    // `capable`, which asks for those of the initial one).
    if matches!(facts.user_namespace_inode, Reading::Known(inode) if inode != initial_namespace::USER)
    {
        return Answer::lack(
            "root of a user namespace only; run on the host as root",
            "sudo profile doctor   # on the host, not in a rootless container",
        );
    }
    let held = match &facts.capabilities {
        Reading::Known(held) => *held,
        Reading::Unknown { reason } => return Answer::cannot_tell(reason),
    };
    let has = |bit: u32| held & (1 << bit) != 0;
    // CAP_SYS_ADMIN includes the first two (kernel `include/linux/capability.h`, `bpf_capable` and
    // `perfmon_capable`) and neither CAP_SYS_PTRACE nor CAP_SYSLOG.
    let missing: Vec<String> = CAPABILITIES
        .iter()
        .filter(|(bit, name, _)| {
            let included = has(CAP_SYS_ADMIN) && *name != "CAP_SYS_PTRACE";
            !has(*bit) && !included
        })
        .map(|(_, name, purpose)| format!("{name} to {purpose}"))
        .collect();
    if missing.is_empty() {
        return Answer::ok("CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE");
    }
    Answer::lack(
        format!("this process lacks {}", missing.join(", ")),
        "sudo profile doctor   # in a container: docker run --privileged --pid=host …",
    )
}

fn program_statistics(facts: &DoctorFacts) -> Answer {
    match &facts.capabilities {
        Reading::Known(held) if held & (1 << CAP_SYS_ADMIN) != 0 => Answer::ok("CAP_SYS_ADMIN"),
        Reading::Known(_) => Answer::lack(
            "without CAP_SYS_ADMIN the probes' own cost cannot be shown",
            "sudo profile doctor",
        ),
        Reading::Unknown { reason } => Answer::cannot_tell(reason),
    }
}

fn host_processes(facts: &DoctorFacts) -> Answer {
    match &facts.pid_namespace_inode {
        Reading::Known(initial_namespace::PID) => Answer::ok("the host's PID namespace"),
        Reading::Known(_) => Answer::lack(
            "this runs in a container of its own, so ships, and whoever competes with them, are out of sight",
            "docker run --privileged --pid=host --cgroupns=host -v /sys:/sys …   # or run it on the host",
        ),
        Reading::Unknown { reason } => Answer::cannot_tell(reason),
    }
}

fn seccomp(facts: &DoctorFacts) -> Answer {
    match &facts.seccomp_mode {
        Reading::Known(0) => Answer::ok("none"),
        Reading::Known(_) => Answer::cannot_tell(
            "a seccomp filter is in force here and may refuse bpf() and perf_event_open(); \
             docker run --security-opt seccomp=unconfined takes it away",
        ),
        Reading::Unknown { reason } => Answer::cannot_tell(reason),
    }
}

pub fn setting<'a>(facts: &'a DoctorFacts, name: &str) -> Option<&'a Reading<String>> {
    facts.sysctls.get(name)
}

fn stack_depth(facts: &DoctorFacts) -> Answer {
    let name = "kernel.perf_event_max_stack";
    match setting(facts, name) {
        Some(Reading::Known(depth)) => match depth.parse::<u64>() {
            Ok(frames) if frames >= STACK_FRAMES => Answer::ok(format!("{frames} frames")),
            Ok(frames) => Answer::lack(
                format!(
                    "stacks deeper than {frames} frames, as those of compiles, lose their root"
                ),
                sysctl(&format!("{name}={STACK_FRAMES}")),
            ),
            Err(_) => Answer::cannot_tell(format!("{name} is `{depth}`")),
        },
        Some(Reading::Unknown { reason }) => Answer::cannot_tell(reason),
        None => Answer::cannot_tell("the setting was not read"),
    }
}

fn kernel_symbols(facts: &DoctorFacts) -> Answer {
    match &facts.kernel_addresses_shown {
        Reading::Known(true) => Answer::ok("/proc/kallsyms shows addresses"),
        Reading::Known(false) => hidden_kernel_symbols(facts),
        Reading::Unknown { reason } => Answer::cannot_tell(reason),
    }
}

/// Mode 2 hides the addresses from everyone; in modes 0 and 1 CAP_SYSLOG shows them, and nothing
/// that includes it does (kernel `kernel/ksyms_common.c`, `kallsyms_show_value`).
fn hidden_kernel_symbols(facts: &DoctorFacts) -> Answer {
    const AS_ROOT: &str =
        "sudo profile doctor   # in a container: docker run --cap-add SYSLOG --pid=host …";
    let lost = "kernel functions have no names in stacks";
    let restriction = setting(facts, "kernel.kptr_restrict").and_then(Reading::known);
    let lacks_syslog =
        matches!(facts.capabilities, Reading::Known(held) if held & (1 << CAP_SYSLOG) == 0);
    match restriction.map(String::as_str) {
        Some("2") => Answer::lack(
            format!("{lost}, kernel.kptr_restrict is 2"),
            sysctl("kernel.kptr_restrict=1"),
        ),
        _ if lacks_syslog => Answer::lack(
            format!("{lost}, this process lacks CAP_SYSLOG to see their addresses"),
            AS_ROOT,
        ),
        mode => Answer::lack(
            format!(
                "{lost}, although kernel.kptr_restrict is {}",
                mode.unwrap_or("unknown")
            ),
            AS_ROOT,
        ),
    }
}

fn schedstat(facts: &DoctorFacts) -> Answer {
    known_or_lack(
        facts.schedstat.clone().map(|_| "schedstat".to_owned()),
        "on-CPU and run-queue times cannot be checked against the kernel's own",
        newer_kernel(&facts.distribution),
    )
}

fn pressure(facts: &DoctorFacts) -> Answer {
    match &facts.pressure {
        Reading::Known(_) => Answer::ok("/proc/pressure"),
        Reading::Unknown { reason } => Answer::lack(
            format!("{reason}, so stalls of the whole host (CPU, disk, memory) stay unseen"),
            boot_parameter(&facts.distribution, "psi=1"),
        ),
    }
}

fn delay_accounting(facts: &DoctorFacts) -> Answer {
    match setting(facts, "kernel.task_delayacct") {
        Some(Reading::Known(on)) if on != "0" => Answer::ok("on"),
        Some(Reading::Known(_)) => Answer::lack(
            "the kernel does not add up each task's wait for disk and swap, so these times cannot be checked against its own",
            sysctl("kernel.task_delayacct=1"),
        ),
        // Before Linux 5.14 it was on and had no such setting (kernel commit e4042ad49235).
        Some(Reading::Unknown { reason }) => Answer::cannot_tell(reason),
        None => Answer::cannot_tell("the setting was not read"),
    }
}

fn cgroups(facts: &DoctorFacts) -> Answer {
    let controllers = match &facts.controllers {
        Reading::Known(controllers) => controllers,
        Reading::Unknown { reason } => return Answer::cannot_tell(reason),
    };
    if !controllers.contains("cpu") {
        return Answer::lack(
            "the CPU control group is not mounted, so quotas and throttling stay unseen",
            "sudo mount -t cgroup2 none /sys/fs/cgroup",
        );
    }
    if !controllers.contains("memory") {
        return Answer::lack(
            "the memory control group is off, so memory limits and evictions of a container stay unseen",
            boot_parameter(&facts.distribution, "cgroup_enable=memory"),
        );
    }
    Answer::ok("cpu, memory")
}

fn output_space(facts: &DoctorFacts) -> Answer {
    let directory = facts.output_directory.display();
    match &facts.output_space {
        Reading::Known(space) if space.available_bytes >= facts.output_needed_bytes => Answer::ok(
            format!("{} MiB in {directory}", space.available_bytes >> 20),
        ),
        Reading::Known(space) => Answer::lack(
            format!(
                "{directory} has {} MiB free and a capture may need {} MiB, so it would end early",
                space.available_bytes >> 20,
                facts.output_needed_bytes >> 20
            ),
            "sudo profile -o DIRECTORY   # on a disk with more room",
        ),
        Reading::Unknown { reason } => Answer::lack(
            format!("{reason}, so results cannot be written there"),
            "sudo profile -o DIRECTORY   # one that exists",
        ),
    }
}

fn ship_found(facts: &DoctorFacts) -> Answer {
    match &facts.ship {
        ShipAccess::Found { label, .. } => Answer::ok(label),
        ShipAccess::NotFound { sentence } => Answer::lack(sentence, "profile doctor --ship PIER"),
    }
}

fn ship_memory(memory: &MemoryAccess) -> Answer {
    let lost = "so event numbers, heap size and Hoon stacks are not measured";
    match memory {
        MemoryAccess::Known(found) => Answer::ok(found),
        MemoryAccess::UnknownLayout(found) => Answer::cannot_tell(format!(
            "the layout of its memory is not known ({found}), {lost}"
        )),
        MemoryAccess::Unreadable(reason) => {
            Answer::lack(format!("{reason}, {lost}"), "sudo profile doctor")
        }
    }
}
