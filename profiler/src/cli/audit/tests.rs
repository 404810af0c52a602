//! Every check on made hosts, in each of the outcomes that it can have.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::audit::Audit;
use crate::catalogue::tests::host::{Edit, MARS, PIER, host};
use crate::host::block::{Backing, device};
use crate::host::filesystem::SpaceFacts;
use crate::ship::loom::{LoomAnswer, LoomHome};

use Edit::{Put, Remove, Replace};
use Outcome::{CannotTell, Failed, NotApplicable, Passed};

type Change = fn(&mut Facts);

/// One host, and what a check has to come to.
struct Row(&'static str, Outcome, Vec<Edit>, Change);

fn audited(edits: &[Edit], change: Change) -> Audit {
    let (tree, roots) = host(edits);
    let ship = discover(&roots, &Selector::Pid(MARS)).unwrap();
    let mut facts = facts(&roots, ship, &Reading::Known(Ruleset::default()));
    // A test's own directory lies on any disk; the tree's is meant.
    facts.host.storage.backing = match device(&roots, 8, 0) {
        Ok(disk) => Backing::Devices(vec![disk]),
        Err(error) => Backing::Unknown {
            reason: error.to_string(),
        },
    };
    facts.host.storage.space = Reading::Known(room(10));
    facts.loom = home(1500);
    change(&mut facts);
    assert!(tree.path(PIER).is_dir());
    audit::audit(&facts)
}

/// A disk that is full to so many per cent.
fn room(used: u64) -> SpaceFacts {
    SpaceFacts {
        total_bytes: 100 << 30,
        available_bytes: (100 - used) << 30,
        free_bytes: (100 - used) << 30,
        free_inodes: 0,
        total_inodes: 0,
    }
}

/// A loom with so many MiB free.
fn home(mib: u64) -> LoomAnswer {
    LoomAnswer::Home(LoomHome {
        event_number: 9,
        heap_bytes: 1 << 30,
        free_gap_bytes: mib << 20,
        event_in_progress: false,
    })
}

fn same(_: &mut Facts) {}

const SWAP: Edit = Replace("proc/meminfo", "SwapTotal: 0", "SwapTotal: 1000000");
const ALWAYS: Edit = Put(
    "sys/kernel/mm/transparent_hugepage/enabled",
    "[always] madvise never\n",
);
const CRON: Edit = Put(
    "etc/crontab",
    "0 4 * * 0 u urbit pack /piers/zod && urbit meld /piers/zod\n",
);
const HUGE: Edit = Put(
    "proc/2386/smaps",
    "200000000-200200000 rw-p 00000000 00:00 0\nRss: 2048 kB\nAnonHugePages: 2048 kB\n",
);

fn storage_rows() -> Vec<Row> {
    let rotational = "sys/devices/pci0/ata1/block/sda/queue/rotational";
    vec![
        Row("storage-class", Passed, vec![], same),
        Row("storage-class", Failed, vec![Put(rotational, "1\n")], same),
        Row("storage-class", NotApplicable, vec![], |facts| {
            facts.host.storage.backing = Backing::Memory;
        }),
        Row("storage-class", CannotTell, vec![], |facts| {
            facts.host.storage.backing = Backing::Network;
        }),
        Row("iowait", Passed, vec![], same),
        Row(
            "iowait",
            Failed,
            vec![Replace("proc/stat", "390000 100", "390000 90000")],
            same,
        ),
        Row("iowait", CannotTell, vec![Remove("proc/stat")], same),
        Row("io-scheduler", Passed, vec![], same),
        Row(
            "io-scheduler",
            Failed,
            vec![Put(
                "sys/devices/pci0/ata1/block/sda/queue/scheduler",
                "[bfq] none\n",
            )],
            same,
        ),
        Row("io-scheduler", NotApplicable, vec![], |facts| {
            facts.host.storage.backing = Backing::Memory;
        }),
        Row(
            "io-scheduler",
            CannotTell,
            vec![Remove("sys/devices/pci0/ata1/block/sda/queue/scheduler")],
            same,
        ),
        Row("mount-options", Passed, vec![], same),
        Row(
            "mount-options",
            Failed,
            vec![Replace("proc/2386/mountinfo", "rw,relatime", "rw")],
            same,
        ),
        Row(
            "mount-options",
            CannotTell,
            vec![Remove("proc/2386/mountinfo")],
            same,
        ),
        Row("disk-space", Passed, vec![], same),
        Row("disk-space", Failed, vec![], |facts| {
            facts.host.storage.space = Reading::Known(room(90));
        }),
        Row("disk-space", CannotTell, vec![], |facts| {
            facts.host.storage.space = Reading::unknown("no");
        }),
        Row("pier-size", Passed, vec![], same),
        Row("pier-size", Failed, vec![], |facts| {
            facts.pier_bytes = Reading::Known(60 << 30)
        }),
        Row("pier-size", CannotTell, vec![], |facts| {
            facts.pier_bytes = Reading::unknown("no")
        }),
        Row("epochs", Passed, vec![], same),
        Row(
            "epochs",
            Failed,
            vec![
                Put("piers/zod/.urb/log/0i1000/data.mdb", "x"),
                Put("piers/zod/.urb/log/0i2000/data.mdb", "x"),
            ],
            |facts| facts.host.storage.space = Reading::Known(room(90)),
        ),
        Row(
            "epochs",
            NotApplicable,
            vec![Remove("piers/zod/.urb/log/0i0")],
            same,
        ),
        Row(
            "epochs",
            CannotTell,
            vec![Remove("piers/zod/.urb/log")],
            same,
        ),
    ]
}

fn cpu_rows() -> Vec<Row> {
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

fn memory_rows() -> Vec<Row> {
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
    let large = || Replace("proc/2386/cmdline", "\031\0", "\034\0");
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

fn network_rows() -> Vec<Row> {
    use crate::host::firewall::{PortAnswer, PortFilter};
    use crate::host::net::SocketBuffers;
    let closed = |facts: &mut Facts| {
        let chain = "INPUT".to_owned();
        facts.setup.ports = Reading::Known(vec![PortFilter {
            port: 34343,
            answer: PortAnswer::Closed { chain },
        }]);
    };
    fn granted(facts: &mut Facts, bytes: u64) {
        facts.host.udp_buffers = Reading::Known(vec![SocketBuffers {
            local_port: 34343,
            receive_buffer_bytes: bytes,
            send_buffer_bytes: bytes,
        }]);
    }
    let limits = |open| {
        Replace(
            "proc/2385/limits",
            "Max open files            1048576",
            open,
        )
    };
    vec![
        Row("ames-port", Passed, vec![], same),
        Row("ames-port", Failed, vec![], closed),
        Row("ames-port", CannotTell, vec![], |facts| {
            facts.setup.ports = Reading::unknown("run as root");
        }),
        Row("ames-port-fixed", Passed, vec![], same),
        Row(
            "ames-port-fixed",
            Failed,
            vec![Replace("proc/2385/cmdline", "-p\034343\0", "")],
            same,
        ),
        Row("ames-port-fixed", CannotTell, vec![], |facts| {
            facts.setup.chosen_port = Reading::unknown("no");
        }),
        Row("rmem-max", Failed, vec![], |facts| granted(facts, 425_984)),
        Row(
            "rmem-max",
            Passed,
            vec![Put("proc/sys/net/core/rmem_max", "4194304\n")],
            |facts| granted(facts, 4 << 20),
        ),
        Row("rmem-max", CannotTell, vec![], |facts| {
            facts.host.udp_buffers = Reading::unknown("run as root");
        }),
        Row("tcp", NotApplicable, vec![], same),
        Row("file-limits", Passed, vec![], same),
        Row(
            "file-limits",
            Failed,
            vec![limits("Max open files            1")],
            same,
        ),
        Row(
            "file-limits",
            CannotTell,
            vec![Remove("proc/2385/limits")],
            same,
        ),
    ]
}

fn upkeep_rows() -> Vec<Row> {
    use crate::host::neighbours::OtherShip;
    use crate::ship::Generation;
    let mut rows = vec![
        Row("snap-time", NotApplicable, vec![], same),
        Row("snap-time", CannotTell, vec![], |facts| {
            facts.ship.generation = Generation::Serf;
        }),
        Row("apps", NotApplicable, vec![], same),
        Row("dirty-ratio", NotApplicable, vec![], same),
        Row(
            "dirty-ratio",
            CannotTell,
            vec![Remove("proc/sys/vm/dirty_ratio")],
            same,
        ),
        Row("other-ships", Passed, vec![], same),
        Row("other-ships", Failed, vec![], |facts| {
            let ship = OtherShip {
                label: "~nec".to_owned(),
                tgids: Vec::new(),
            };
            facts.others = Reading::Known(vec![ship; 9]);
        }),
        Row("other-ships", CannotTell, vec![], |facts| {
            facts.others = Reading::unknown("no")
        }),
        Row("baseline", Failed, vec![], same),
        Row(
            "baseline",
            Passed,
            vec![Put("var/lib/profile/baselines/zod/capture", "x")],
            same,
        ),
        Row("baseline", CannotTell, vec![], |facts| {
            facts.baselines = Reading::unknown("no")
        }),
    ];
    for id in ["pack-schedule", "meld-schedule"] {
        rows.extend([
            Row(id, Passed, vec![], same),
            Row(id, Passed, vec![CRON], |facts| facts.loom = home(100)),
            Row(id, Failed, vec![], |facts| facts.loom = home(100)),
            Row(id, CannotTell, vec![], |facts| {
                facts.loom = LoomAnswer::Unreadable {
                    reason: "run as root".to_owned(),
                };
            }),
        ]);
    }
    rows
}

#[test]
fn every_check_has_each_of_its_outcomes() {
    let mut seen: BTreeMap<&str, BTreeSet<Outcome>> = BTreeMap::new();
    let groups = [
        storage_rows(),
        cpu_rows(),
        memory_rows(),
        network_rows(),
        upkeep_rows(),
    ];
    for (at, Row(id, expected, edits, change)) in groups.into_iter().flatten().enumerate() {
        let audit = audited(&edits, change);
        let check = audit.checks.iter().find(|check| check.id == id).unwrap();
        assert_eq!(check.outcome, expected, "row {at}: {check:?}");
        assert!(!check.evidence.is_empty());
        seen.entry(id).or_default().insert(expected);
    }
    let all = audited(&[], same);
    let ids: Vec<&str> = all.checks.iter().map(|check| check.id).collect();
    assert_eq!(ids.len(), seen.len(), "{ids:?}");
    for id in ids {
        assert!(seen.contains_key(id), "{id}");
    }
}

#[test]
fn the_checklist_fits_its_columns_and_names_fixes_that_there_are() {
    let audit = audited(&[SWAP, CRON], |facts| facts.loom = home(100));
    let text = render::audit::text(&audit);
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    assert!(text.contains("run by hand, or a script"), "{text}");
    assert!(text.contains("FAILED   loom large enough"), "{text}");
    for check in &audit.checks {
        let known = |fix: &str| {
            crate::catalogue::ENTRIES
                .iter()
                .any(|entry| entry.id == fix)
        };
        assert!(check.fix.is_none_or(known), "{check:?}");
        assert!(check.title.chars().count() <= 31, "{}", check.title);
    }
    let json: serde_json::Value =
        serde_json::from_str(&render::audit::json(&audit).unwrap()).unwrap();
    assert_eq!(json["schema_version"], 1);
    assert_eq!(json["checks"][0]["outcome"], "passed");
}
