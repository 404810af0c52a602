//! Tests of the doctor's checks.

use std::path::{Path, PathBuf};

use super::*;
use crate::host::filesystem::SpaceFacts;
use crate::host::{Reading, Roots};

/// A host that lacks nothing.
fn sound() -> DoctorFacts {
    let known = |value: &str| Reading::Known(value.to_owned());
    let setting = |name: &str, value: &str| (name.to_owned(), known(value));
    let set = |names: &[&str]| Reading::Known(names.iter().map(|&name| name.to_owned()).collect());
    DoctorFacts {
        capabilities: Reading::Known(1 << 21 | 1 << 19),
        seccomp_mode: Reading::Known(0),
        pid_namespace_inode: Reading::Known(4_026_531_836),
        user_namespace_inode: Reading::Known(4_026_531_837),
        release: known("6.12.0-amd64"),
        distribution: vec!["debian".to_owned()],
        btf_tracepoints: set(&["sched_switch", "sock_recv_length"]),
        tracefs_groups: set(&["sched", "syscalls"]),
        lockdown: Reading::Known(Some("integrity".to_owned())),
        sysctls: [
            setting("kernel.kptr_restrict", "0"),
            setting("kernel.perf_event_max_stack", "1024"),
            setting("kernel.task_delayacct", "1"),
            setting("net.core.bpf_jit_enable", "1"),
        ]
        .into(),
        kernel_addresses_shown: Reading::Known(true),
        schedstat: known("1 2 3"),
        pressure: known("some avg10=0.00"),
        controllers: set(&["cpu", "memory"]),
        output_directory: PathBuf::from("/tmp"),
        output_space: Reading::Known(SpaceFacts {
            total_bytes: 1 << 40,
            available_bytes: 1 << 30,
            free_bytes: 1 << 30,
            free_inodes: 1,
            total_inodes: 1,
        }),
        output_needed_bytes: 256 << 20,
        needed_tracepoints: [
            ("sched_switch", true, "thread budgets"),
            ("sock_recv_length", false, "datagrams received"),
        ]
        .map(|(name, required, without)| NeededTracepoint {
            name: name.to_owned(),
            required,
            without: without.to_owned(),
        })
        .into(),
        ship: ShipAccess::Found {
            label: "~zod".to_owned(),
            memory: MemoryAccess::Known("v4 layout, event 1".to_owned()),
            executable: Reading::Known(PathBuf::from("/usr/bin/urbit")),
        },
    }
}

fn answer(facts: &DoctorFacts, id: &str) -> Answer {
    checks(facts)
        .into_iter()
        .find(|check| check.id == id)
        .unwrap()
        .answer
}

/// The sentence and the command of a lack.
fn lack(facts: &DoctorFacts, id: &str) -> (String, String) {
    match answer(facts, id) {
        Answer::Lack { sentence, command } => (sentence, command),
        other => panic!("{id}: {other:?}"),
    }
}

#[test]
fn a_sound_host_lacks_nothing() {
    let checks = checks(&sound());
    for check in &checks {
        assert!(matches!(check.answer, Answer::Ok { .. }), "{check:?}");
    }
    assert!(can_profile(&checks));
    let mut ids: Vec<&str> = checks.iter().map(|check| check.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), checks.len());
}

#[test]
fn each_lack_has_one_sentence_and_one_command() {
    let unknown = || "the file does not exist".to_owned();
    let mut facts = sound();
    facts.capabilities = Reading::Known(0);
    facts.pid_namespace_inode = Reading::Known(4_026_532_500);
    facts.release = Reading::Known("5.4.0-generic".to_owned());
    facts.btf_tracepoints = Reading::unknown(unknown());
    facts.tracefs_groups = Reading::unknown(unknown());
    facts.lockdown = Reading::Known(Some("confidentiality".to_owned()));
    facts.kernel_addresses_shown = Reading::Known(false);
    facts.schedstat = Reading::unknown(unknown());
    facts.pressure = Reading::unknown(unknown());
    facts.controllers = Reading::Known(Default::default());
    facts.output_needed_bytes = 1 << 40;
    facts.ship = ShipAccess::NotFound {
        sentence: "no ship runs on this host".to_owned(),
    };
    for value in facts.sysctls.values_mut() {
        *value = Reading::Known("0".to_owned());
    }
    let checks = checks(&facts);
    assert!(!can_profile(&checks));
    for check in &checks {
        match &check.answer {
            Answer::Lack { sentence, command } => {
                assert!(
                    !sentence.contains('\n') && !sentence.ends_with('.'),
                    "{sentence}"
                );
                assert!(!command.is_empty() && !command.contains('\n'), "{command}");
            }
            // Without BTF nobody knows which tracepoints there are.
            Answer::CannotTell { .. } => assert!(check.id.starts_with("tracepoint-")),
            Answer::Ok { .. } => assert_eq!(check.id, "seccomp"),
        }
    }
}

#[test]
fn single_lacks_say_what_is_lost() {
    let mut facts = sound();
    facts.capabilities = Reading::Known(1 << 39 | 1 << 19 | 1 << 34);
    let (sentence, _) = lack(&facts, "privileges");
    assert_eq!(
        sentence,
        "this process lacks CAP_PERFMON to attach the probes"
    );
    lack(&facts, "program-statistics");

    let mut facts = sound();
    facts.needed_tracepoints[1].name = "sock_send_length".to_owned();
    facts.distribution = vec!["ubuntu".to_owned(), "debian".to_owned()];
    let (sentence, command) = lack(&facts, "tracepoint-sock_send_length");
    assert!(
        sentence.ends_with("the report lacks datagrams received"),
        "{sentence}"
    );
    assert!(command.contains("linux-generic-hwe"), "{command}");
    assert!(can_profile(&checks(&facts)));

    let mut facts = sound();
    facts.tracefs_groups = Reading::Known(["sched".to_owned()].into());
    assert!(lack(&facts, "tracefs").0.contains("CONFIG_FTRACE_SYSCALLS"));
    facts.tracefs_groups = Reading::Known(Default::default());
    assert!(lack(&facts, "tracefs").1.contains("mount -t tracefs"));

    let mut facts = sound();
    let with_memory = |memory| ShipAccess::Found {
        label: "~zod".to_owned(),
        memory,
        executable: Reading::Known(PathBuf::from("/usr/bin/urbit")),
    };
    facts.ship = with_memory(MemoryAccess::Unreadable("it may not be read".to_owned()));
    assert!(
        lack(&facts, "ship-memory")
            .0
            .contains("it may not be read, so event numbers")
    );
    facts.ship = with_memory(MemoryAccess::UnknownLayout("version 4".to_owned()));
    assert!(matches!(
        answer(&facts, "ship-memory"),
        Answer::CannotTell { .. }
    ));

    let mut facts = sound();
    facts.seccomp_mode = Reading::Known(2);
    assert!(matches!(
        answer(&facts, "seccomp"),
        Answer::CannotTell { .. }
    ));
}

#[test]
fn root_of_a_user_namespace_is_not_enough() {
    let mut facts = sound();
    facts.capabilities = Reading::Known(u64::MAX);
    facts.user_namespace_inode = Reading::Known(4_026_532_600);
    let (sentence, command) = lack(&facts, "privileges");
    assert_eq!(
        sentence,
        "root of a user namespace only; run on the host as root"
    );
    assert!(command.contains("on the host"), "{command}");
    assert!(!can_profile(&checks(&facts)));
    // A kernel without user namespaces has only the initial one.
    facts.user_namespace_inode = Reading::unknown("/proc/self/ns/user does not exist");
    assert!(matches!(answer(&facts, "privileges"), Answer::Ok { .. }));
}

#[test]
fn a_full_disk_does_not_forbid_profiling() {
    let mut facts = sound();
    facts.output_needed_bytes = 1 << 40;
    assert!(lack(&facts, "output-space").0.contains("MiB free"));
    facts.output_space = Reading::unknown("/none does not exist");
    lack(&facts, "output-space");
    assert!(can_profile(&checks(&facts)));
}

#[test]
fn kernel_addresses_need_cap_syslog_and_a_mode_below_2() {
    const CAP_SYSLOG: u64 = 1 << 34;
    let mut facts = sound();
    facts.kernel_addresses_shown = Reading::Known(false);
    let mut lack_of = |capabilities, mode: &str| {
        facts.capabilities = Reading::Known(capabilities);
        facts.sysctls.insert(
            "kernel.kptr_restrict".to_owned(),
            Reading::Known(mode.to_owned()),
        );
        lack(&facts, "kernel-symbols")
    };
    let administrator = 1 << 21 | 1 << 19;
    for mode in ["0", "1"] {
        let (sentence, command) = lack_of(administrator, mode);
        assert!(sentence.contains("lacks CAP_SYSLOG"), "{sentence}");
        assert!(!command.contains("sysctl"), "{command}");
    }
    let (sentence, command) = lack_of(administrator | CAP_SYSLOG, "2");
    assert!(sentence.ends_with("kptr_restrict is 2"), "{sentence}");
    assert_eq!(command, "sudo sysctl -w kernel.kptr_restrict=1");
    // It is a matter of names: everything else works without.
    facts.capabilities = Reading::Known(administrator);
    assert!(can_profile(&checks(&facts)));
}

/// A BTF file with a type section of four bytes and these strings.
fn btf(strings: &[u8]) -> Vec<u8> {
    let mut btf = Vec::new();
    btf.extend(0xeb9f_u16.to_ne_bytes());
    btf.extend([1, 0]);
    for word in [24, 0, 0, 4, strings.len() as u32] {
        btf.extend(u32::to_ne_bytes(word));
    }
    btf.extend(*b"type");
    btf.extend(strings);
    btf
}

#[test]
fn facts_are_gathered_from_files() {
    let root = tempfile::tempdir().unwrap();
    let put = |path: &str, bytes: &[u8]| {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let btf = btf(b"\0int\0btf_trace_sched_switch\0btf_trace_\0x\0");
    put("sys/kernel/btf/vmlinux", &btf);
    put(
        "sys/kernel/security/lockdown",
        b"none [integrity] confidentiality\n",
    );
    put("sys/kernel/debug/tracing/events/syscalls/enable", b"0\n");
    put("proc/kallsyms", b"0000000000000000 T _stext\n");
    put(
        "etc/os-release",
        b"NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\n",
    );
    put(
        "proc/self/mountinfo",
        b"1 0 0:5 / /cg rw - cgroup2 cgroup2 rw\n2 0 0:6 / /cg1 rw - cgroup cgroup rw,cpu\n",
    );
    put("cg/cgroup.controllers", b"memory io\n");
    let ship = ShipAccess::NotFound {
        sentence: "none".to_owned(),
    };
    let roots = Roots::under(root.path());
    let facts = gather(&roots, Vec::new(), ship, root.path(), 0);
    let names = facts.btf_tracepoints.known().unwrap();
    assert!(names.contains("sched_switch") && !names.contains("int"));
    assert_eq!(facts.lockdown, Reading::Known(Some("integrity".to_owned())));
    assert!(facts.tracefs_groups.known().unwrap().contains("syscalls"));
    assert_eq!(facts.kernel_addresses_shown, Reading::Known(false));
    assert_eq!(facts.distribution, ["ubuntu", "debian"]);
    let controllers = facts.controllers.known().unwrap();
    assert!(controllers.contains("cpu") && controllers.contains("io"));
    assert!(
        facts
            .capabilities
            .reason()
            .unwrap()
            .contains("status does not exist")
    );
    assert!(facts.output_space.known().is_some());
    // A truncated BTF is no BTF.
    put("sys/kernel/btf/vmlinux", &btf[..30]);
    let again = gather(&roots, Vec::new(), facts.ship.clone(), Path::new("/"), 0);
    assert!(
        again
            .btf_tracepoints
            .reason()
            .unwrap()
            .contains("its header")
    );
}
