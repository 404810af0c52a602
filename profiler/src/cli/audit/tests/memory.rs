//! Checks of memory.

use super::*;

pub fn rows() -> Vec<Row> {
    let swapped = || {
        Replace(
            "proc/2386/status",
            "VmSwap:\t      0 kB",
            "VmSwap:\t  90 kB",
        )
    };
    let limit = |used| {
        vec![
            Put("sys/fs/cgroup/ships/memory.max", "1000000\n"),
            Put("sys/fs/cgroup/ships/memory.current", used),
        ]
    };
    let large = || Replace("proc/2386/cmdline", "\x0031\0", "\x0034\0");
    let many = |facts: &mut Facts| {
        let Some(Reading::Known(mars)) = facts.host.processes.get_mut(&MARS) else {
            panic!("mars was read");
        };
        mars.mappings_total = Reading::Known(60_000);
    };
    vec![
        Row("ram", Passed, vec![], same),
        Row(
            "ram",
            Failed,
            vec![Replace(
                "proc/meminfo",
                "MemAvailable: 14000000",
                "MemAvailable: 1000",
            )],
            same,
        ),
        Row("ram", CannotTell, vec![Remove("proc/meminfo")], same),
        Row("memory-limit", NotApplicable, vec![], same),
        Row("memory-limit", Passed, limit("1000\n"), same),
        Row("memory-limit", Failed, limit("1000000\n"), same),
        Row(
            "memory-limit",
            CannotTell,
            vec![Remove("sys/fs/cgroup/cgroup.controllers")],
            same,
        ),
        Row("swap", NotApplicable, vec![], same),
        Row("swap", Failed, vec![SWAP], same),
        Row(
            "swap",
            Passed,
            vec![
                SWAP,
                Replace("proc/meminfo", "SwapFree: 0", "SwapFree: 900000"),
            ],
            same,
        ),
        Row("swap", CannotTell, vec![Remove("proc/meminfo")], same),
        Row("swappiness", NotApplicable, vec![], same),
        Row("swappiness", Passed, vec![SWAP], same),
        Row("swappiness", Failed, vec![SWAP, swapped()], same),
        Row(
            "swappiness",
            CannotTell,
            vec![SWAP, Remove("proc/sys/vm/swappiness")],
            same,
        ),
        Row("thp", Passed, vec![], same),
        Row("thp", Passed, vec![ALWAYS], same),
        Row("thp", Failed, vec![ALWAYS, HUGE], same),
        Row(
            "thp",
            CannotTell,
            vec![ALWAYS, Remove("proc/2386/smaps")],
            same,
        ),
        Row("loom-size", Passed, vec![], same),
        Row("loom-size", Failed, vec![], |facts| facts.loom = home(100)),
        Row("loom-size", CannotTell, vec![], |facts| {
            facts.loom = LoomAnswer::UnknownLayout {
                version: 9,
                parameters: 9,
            };
        }),
        Row("loom-mapped", Passed, vec![], same),
        Row("loom-mapped", Failed, vec![large()], same),
        Row(
            "loom-mapped",
            Passed,
            vec![large(), Put("proc/sys/vm/overcommit_memory", "1\n")],
            same,
        ),
        Row(
            "loom-mapped",
            CannotTell,
            vec![Remove("proc/meminfo")],
            same,
        ),
        Row("max-map-count", Passed, vec![], same),
        Row("max-map-count", Failed, vec![], many),
        Row(
            "max-map-count",
            CannotTell,
            vec![Remove("proc/sys/vm/max_map_count")],
            same,
        ),
    ]
}
