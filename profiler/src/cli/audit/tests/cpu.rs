//! Checks of the CPUs.

use super::*;

pub fn rows() -> Vec<Row> {
    let one = |path| Replace(path, "Cpus_allowed_list:\t0-7", "Cpus_allowed_list:\t0");
    let quota = || Put("sys/fs/cgroup/ships/cpu.max", "20000 100000\n");
    vec![
        Row("nice", Passed, vec![], same),
        Row(
            "nice",
            Failed,
            vec![Put("proc/2386/schedstat", "900 100 7\n")],
            same,
        ),
        Row(
            "nice",
            CannotTell,
            vec![Remove("proc/2386/schedstat")],
            same,
        ),
        Row("affinity", Passed, vec![], same),
        Row("affinity", Failed, vec![one("proc/2386/status")], same),
        Row(
            "affinity",
            NotApplicable,
            vec![Put("sys/devices/system/cpu/online", "0\n")],
            same,
        ),
        Row(
            "affinity",
            CannotTell,
            vec![Remove("sys/devices/system/cpu/online")],
            same,
        ),
        Row("cpu-quota", Passed, vec![], same),
        Row("cpu-quota", Failed, vec![quota()], same),
        Row(
            "cpu-quota",
            CannotTell,
            vec![Remove("sys/fs/cgroup/cgroup.controllers")],
            same,
        ),
        Row("steal", Passed, vec![], same),
        Row(
            "steal",
            Failed,
            vec![Replace(
                "proc/stat",
                "390000 100 0 0 0",
                "390000 100 0 0 9000",
            )],
            same,
        ),
        Row("steal", CannotTell, vec![Remove("proc/uptime")], same),
    ]
}
