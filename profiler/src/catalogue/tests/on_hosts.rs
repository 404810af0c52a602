//! Every entry on made hosts, in each of the answers that it can give.

use std::collections::{BTreeMap, BTreeSet};

use super::host::{Edit, KING, MARS, host};
use super::*;
use crate::aggregate::Summaries;
use crate::aggregate::events::{MarsSpan, SpanKind};
use crate::aggregate::hoon::HoonSummary;
use crate::aggregate::neighbour::{DeviceSummary, IoSummary, Neighbour, NeighbourKind};
use crate::host::block::{Backing, device};
use crate::host::filesystem::SpaceFacts;
use crate::host::firewall::Ruleset;
use crate::host::host_facts;
use crate::host::interfaces::InterfaceBytes;
use crate::model::{Event, Stack, ThreadId, WaitEvent};
use crate::ship::loom::{LoomAnswer, LoomHome};
use crate::ship::{Generation, Role, Selector, discover, setup};

use Edit::{Put, Remove, Replace};
use Kind::{AlreadySo, CannotTell, NoEvidence, WouldHarm, WouldHelp};

type Change<T> = Box<dyn FnOnce(&mut T)>;

/// One host and capture, and the answer that an entry has to give.
struct Row {
    id: &'static str,
    expected: Kind,
    edits: Vec<Edit>,
    leaves: Vec<(Leaf, u64)>,
    capture: Vec<Change<Capture>>,
    sums: Vec<Change<Summaries>>,
    rules: Reading<Ruleset>,
}

fn row(id: &'static str, expected: Kind) -> Row {
    Row {
        id,
        expected,
        edits: Vec::new(),
        leaves: Vec::new(),
        capture: Vec::new(),
        sums: Vec::new(),
        rules: Reading::Known(Ruleset::default()),
    }
}

impl Row {
    fn edit(mut self, edit: Edit) -> Self {
        self.edits.push(edit);
        self
    }

    fn leaf(mut self, leaf: Leaf, seconds: u64) -> Self {
        self.leaves.push((leaf, seconds));
        self
    }

    fn capture(mut self, change: impl FnOnce(&mut Capture) + 'static) -> Self {
        self.capture.push(Box::new(change));
        self
    }

    fn sums(mut self, change: impl FnOnce(&mut Summaries) + 'static) -> Self {
        self.sums.push(Box::new(change));
        self
    }

    /// The loom has so many MiB free.
    fn gap(self, mib: u64) -> Self {
        self.capture(move |capture| {
            capture.meta.loom_end = LoomAnswer::Home(LoomHome {
                event_number: 90,
                heap_bytes: 1 << 30,
                free_gap_bytes: mib << 20,
                event_in_progress: false,
            });
        })
    }

    fn no_loom(self) -> Self {
        self.capture(|capture| {
            capture.meta.loom_end = LoomAnswer::Unreadable {
                reason: "run as root".to_owned(),
            };
        })
    }

    /// The disk is so full, and has so many MiB left.
    fn space(self, used: u64, left_mib: u64) -> Self {
        self.capture(move |capture| {
            capture.meta.host.storage.space = Reading::Known(SpaceFacts {
                total_bytes: 100 << 40,
                available_bytes: left_mib << 20,
                free_bytes: (100 - used) << 40,
                free_inodes: 0,
                total_inodes: 0,
            });
        })
    }

    fn rules(mut self, rules: Reading<Ruleset>) -> Self {
        self.rules = rules;
        self
    }

    fn ask(self) -> Assessment {
        let (_tree, roots) = host(&self.edits);
        let ship = discover(&roots, &Selector::Pid(MARS)).unwrap();
        let mut capture = file::read(&mut Cursor::new(HEALTHY)).unwrap();
        let meta = &mut capture.meta;
        meta.host = host_facts(&roots, &ship.targets());
        // A test's own directory lies on any disk; the tree's is meant.
        meta.host.storage.backing = match device(&roots, 8, 0) {
            Ok(disk) => Backing::Devices(vec![disk]),
            Err(error) => Backing::Unknown {
                reason: error.to_string(),
            },
        };
        meta.setup = Reading::Known(setup(&roots, &ship, &self.rules));
        meta.ship.config = ship.config;
        meta.ship.in_container = ship.in_container;
        meta.ship.pier = ship.pier;
        meta.ship.cgroups = ship.cgroups;
        for change in self.capture {
            change(&mut capture);
        }
        let mut summaries = aggregate(&capture);
        for change in self.sums {
            change(&mut summaries);
        }
        answer(self.id, &capture, &summaries, &self.leaves)
    }
}

fn neighbour(kind: NeighbourKind) -> Neighbour {
    Neighbour {
        kind,
        tgid: 9,
        comm: "x".to_owned(),
        cgroup: None,
        ship: None,
        ended: false,
    }
}

/// All of the ship's I/O was behind the file system's journal.
fn journal(summaries: &mut Summaries) {
    let device = DeviceSummary {
        dev: 8 << 20,
        below: false,
        queue_ns: 1000,
        queue_behind_ns: 1000,
        device_ns: 0,
        device_behind_ns: 0,
        busy_ns: 1000,
        users: vec![IoSummary {
            neighbour: neighbour(NeighbourKind::Journal),
            count: 1,
            bytes: 1,
            written_back_bytes: 0,
            device_ns: 1000,
            busy_ns: 1000,
        }],
    };
    summaries.neighbours.as_mut().unwrap().devices = vec![device];
}

/// A wait of a writer that the kernel held back.
fn held_back(capture: &mut Capture) {
    let king = ThreadId {
        tgid: KING,
        tid: KING,
    };
    capture.events.push(Event::Wait(Box::new(WaitEvent {
        thread: king,
        start_ktime_ns: 1,
        woken_ktime_ns: Some(2),
        end_ktime_ns: NS_PER_S,
        syscall_nr: 1,
        task_state: 2,
        waker: (king, String::new()),
        behind: (king, String::new()),
        stack: Stack {
            user: Vec::new(),
            kernel: vec![0xffff_ffff],
        },
    })));
    capture.meta.architecture = "x86_64".to_owned();
    let names = vec!["balance_dirty_pages".to_owned()];
    capture.symbols.kernel.insert(0xffff_ffff, names);
    capture.symbols.errors.remove(&0);
}

fn hoon(owner: &'static str) -> impl FnOnce(&mut Summaries) {
    move |summaries| {
        summaries.hoon = Some(HoonSummary {
            samples: 100,
            computing: 100,
            incomplete: BTreeMap::new(),
            frames: 100,
            unresolved: BTreeMap::new(),
            owners: vec![(owner.to_owned(), 60)],
            without_owner: 40,
        });
    }
}

/// `eth0` carried so many bytes in the window.
fn carried(bytes_a_second: u64) -> impl FnOnce(&mut Capture) {
    move |capture| {
        let of = |sent_bytes| {
            let bytes = InterfaceBytes {
                received_bytes: 0,
                sent_bytes,
            };
            Reading::Known(BTreeMap::from([("eth0".to_owned(), bytes)]))
        };
        let seconds = capture.meta.clocks.duration_ns() / NS_PER_S + 1;
        capture.meta.counters_start.interfaces = of(0);
        capture.meta.counters_end.interfaces = of(bytes_a_second * seconds);
    }
}

/// A span of upkeep of a second.
fn stopped(kind: SpanKind) -> impl FnOnce(&mut Summaries) {
    move |summaries| {
        summaries
            .events
            .as_mut()
            .unwrap()
            .mars_spans
            .push(MarsSpan {
                kind,
                start_ktime_ns: 0,
                end_ktime_ns: NS_PER_S,
                is_open: false,
                events: None,
            });
    }
}

fn closed() -> Reading<Ruleset> {
    Reading::Known(Ruleset {
        input: vec![("INPUT".to_owned(), true)],
        chains: BTreeMap::new(),
    })
}

const SWAP: Edit = Replace("proc/meminfo", "SwapTotal: 0", "SwapTotal: 1000000");
const CRON: Edit = Put(
    "etc/crontab",
    "0 4 * * 0 u urbit pack /piers/zod && urbit meld /piers/zod\n",
);
const NO_GROUPS: Edit = Remove("sys/fs/cgroup/cgroup.controllers");
const EPOCHS: [Edit; 2] = [
    Put("piers/zod/.urb/log/0i1000/data.mdb", "x"),
    Put("piers/zod/.urb/log/0i2000/data.mdb", "x"),
];
const BFQ: Edit = Put(
    "sys/devices/pci0/ata1/block/sda/queue/scheduler",
    "[bfq] none\n",
);
const STATUS: [&str; 2] = ["proc/2385/status", "proc/2386/status"];

fn one_cpu(row: Row) -> Row {
    STATUS.into_iter().fold(row, |row, path| {
        row.edit(Replace(
            path,
            "Cpus_allowed_list:\t0-7",
            "Cpus_allowed_list:\t0",
        ))
    })
}

fn three_epochs(row: Row) -> Row {
    EPOCHS.into_iter().fold(row, Row::edit)
}

fn disk_rows() -> Vec<Row> {
    let slow = |summaries: &mut Summaries| {
        for thread in &mut summaries.threads {
            if thread.role == Role::CommitWorker {
                for wait in &mut thread.waits {
                    wait.histogram.add_values(50_000_000, 100_000);
                }
            }
        }
    };
    let queued = |summaries: &mut Summaries| {
        for block in &mut summaries.block {
            block.queue_ns = block.device_ns + 1000;
        }
    };
    let unqueued = |summaries: &mut Summaries| {
        for block in &mut summaries.block {
            block.queue_ns = 0;
        }
    };
    let limited = || Put("sys/fs/cgroup/ships/io.max", "8:0 wiops=40\n");
    let strict = |row: Row| row.edit(Replace("proc/2386/mountinfo", "rw,relatime", "rw"));
    vec![
        row("chop", AlreadySo),
        three_epochs(row("chop", WouldHelp)).space(90, 1000),
        three_epochs(row("chop", NoEvidence)).space(10, 90_000_000),
        three_epochs(row("chop", WouldHarm)).space(100, 0),
        row("chop", CannotTell).edit(Remove("piers/zod/.urb/log")),
        row("dirty-ratio", AlreadySo).edit(Put("proc/sys/vm/dirty_background_ratio", "1\n")),
        row("dirty-ratio", WouldHelp)
            .leaf(Leaf::Snapshot, 5)
            .capture(held_back),
        row("dirty-ratio", NoEvidence).capture(|capture| {
            capture.symbols.errors.remove(&0);
        }),
        row("dirty-ratio", CannotTell).edit(Remove("proc/sys/vm/dirty_background_ratio")),
        row("dirty-ratio", CannotTell).edit(Put("proc/sys/vm/dirty_background_bytes", "9\n")),
        row("disk-class", WouldHelp)
            .leaf(Leaf::LogCommit, 10)
            .sums(slow),
        row("disk-class", NoEvidence),
        row("disk-class", CannotTell).edit(limited()),
        row("disk-space", AlreadySo).space(10, 90_000_000),
        row("disk-space", WouldHelp).space(90, 1000),
        row("disk-space", CannotTell).capture(|capture| {
            capture.meta.host.storage.space = Reading::unknown("no");
        }),
        row("io-limit", AlreadySo),
        row("io-limit", WouldHelp)
            .edit(limited())
            .leaf(Leaf::LogCommit, 9),
        row("io-limit", NoEvidence)
            .edit(limited())
            .leaf(Leaf::LogCommit, 0),
        row("io-limit", CannotTell).edit(NO_GROUPS),
        row("io-scheduler", AlreadySo),
        row("io-scheduler", WouldHelp)
            .edit(BFQ)
            .leaf(Leaf::LogCommit, 9)
            .sums(queued),
        row("io-scheduler", NoEvidence).edit(BFQ).sums(unqueued),
        row("io-scheduler", CannotTell).edit(Remove("sys/devices/pci0/ata1/block/sda/dev")),
        row("noatime", AlreadySo).edit(Replace("proc/2386/mountinfo", "relatime", "noatime")),
        row("noatime", NoEvidence),
        strict(row("noatime", NoEvidence)),
        strict(row("noatime", WouldHelp))
            .leaf(Leaf::LogCommit, 9)
            .sums(journal),
        row("noatime", CannotTell).edit(Remove("proc/2386/mountinfo")),
        row("snap-time", AlreadySo).edit(Replace("proc/2386/cmdline", "\0120\0", "\03600\0")),
        row("snap-time", WouldHelp).leaf(Leaf::Snapshot, 9),
        row("snap-time", NoEvidence),
        row("snap-time", WouldHarm)
            .leaf(Leaf::Snapshot, 9)
            .capture(|capture| mappings(capture, 40_000)),
        row("snap-time", CannotTell)
            .leaf(Leaf::Snapshot, 9)
            .capture(|capture| {
                capture.meta.ship.generation = Generation::Serf;
                capture.meta.ship.config.as_mut().unwrap().snap_time_s = None;
            }),
    ]
}

fn cpu_rows() -> Vec<Row> {
    let quota = || Put("sys/fs/cgroup/ships/cpu.max", "20000 100000\n");
    let waited = |row: Row| row.leaf(Leaf::RunQueue, 10);
    let of_others = |ahead_s| move |capture: &mut Capture| with_ships(capture, &["~nec"], ahead_s);
    let not_nice = |path| Replace(path, " 20 -5 ", " 20 -10 ");
    vec![
        row("affinity", AlreadySo),
        waited(one_cpu(row("affinity", WouldHelp))),
        one_cpu(row("affinity", NoEvidence)).leaf(Leaf::RunQueue, 0),
        row("affinity", CannotTell).edit(Remove("sys/devices/system/cpu/online")),
        row("cpu-quota", AlreadySo),
        row("cpu-quota", WouldHelp)
            .edit(quota())
            .leaf(Leaf::Throttled, 9),
        row("cpu-quota", NoEvidence).edit(quota()),
        row("cpu-quota", CannotTell).edit(NO_GROUPS),
        row("faster-cpu", WouldHelp).leaf(Leaf::Computing, 10),
        row("faster-cpu", NoEvidence).leaf(Leaf::Computing, 0),
        row("fewer-ships", AlreadySo).capture(|capture| with_ships(capture, &[], 0)),
        waited(row("fewer-ships", WouldHelp)).capture(of_others(4)),
        waited(row("fewer-ships", NoEvidence)).capture(of_others(0)),
        row("fewer-ships", CannotTell).capture(|capture| {
            capture.meta.neighbours = NeighbourFacts::not_kept();
        }),
        row("nice", AlreadySo)
            .edit(not_nice("proc/2385/stat"))
            .edit(not_nice("proc/2386/stat")),
        waited(row("nice", WouldHelp)).capture(of_others(4)),
        row("nice", NoEvidence).leaf(Leaf::RunQueue, 0),
        waited(row("nice", CannotTell)).capture(|capture| {
            capture.meta.neighbours = NeighbourFacts::not_kept();
        }),
        row("steal", AlreadySo),
        row("steal", WouldHelp).leaf(Leaf::Stolen, 5),
        row("steal", CannotTell).capture(|capture| {
            capture.meta.counters_end.scheduler = Reading::unknown("no");
        }),
        row("suspend-apps", WouldHelp)
            .leaf(Leaf::Computing, 10)
            .sums(hoon("/app/groups")),
        row("suspend-apps", NoEvidence)
            .leaf(Leaf::Computing, 10)
            .sums(hoon("/app/dojo")),
        row("suspend-apps", CannotTell).sums(|summaries| summaries.hoon = None),
    ]
}

fn memory_rows() -> Vec<Row> {
    let swapped = |row: Row| row.leaf(Leaf::SwapIn, 5);
    let short = || {
        Replace(
            "proc/meminfo",
            "MemAvailable: 14000000",
            "MemAvailable: 1000",
        )
    };
    let always = || {
        Put(
            "sys/kernel/mm/transparent_hugepage/enabled",
            "[always] madvise never\n",
        )
    };
    let old = |capture: &mut Capture| capture.meta.ship.version = Some("3.2".to_owned());
    let small = || Replace("proc/meminfo", "MemTotal: 16000000", "MemTotal: 2000000");
    let count = |count| move |capture: &mut Capture| mappings(capture, count);
    let mut rows = vec![
        row("loom-size", AlreadySo)
            .gap(100)
            .edit(Replace("proc/2386/cmdline", "\031\0", "\034\0")),
        row("loom-size", WouldHelp).gap(100),
        row("loom-size", NoEvidence).gap(1500),
        row("loom-size", WouldHarm).gap(100).edit(small()),
        row("loom-size", CannotTell).no_loom(),
        row("max-map-count", AlreadySo).edit(Put("proc/sys/vm/max_map_count", "262144\n")),
        row("max-map-count", WouldHelp).capture(count(40_000)),
        row("max-map-count", NoEvidence).capture(count(100)),
        row("max-map-count", CannotTell).edit(Remove("proc/sys/vm/max_map_count")),
        row("meld", WouldHelp).gap(100).space(10, 90_000),
        row("meld", NoEvidence).gap(1500),
        row("meld", WouldHarm)
            .gap(100)
            .space(10, 90_000)
            .edit(short())
            .capture(old),
        row("meld", CannotTell).no_loom(),
        row("pack", WouldHelp).gap(100).space(10, 90_000),
        row("pack", NoEvidence).gap(1500),
        row("pack", WouldHarm).gap(100).space(10, 100),
        row("pack", CannotTell).no_loom(),
        swapped(row("ram", WouldHelp)).edit(short()),
        row("ram", NoEvidence),
        swapped(row("ram", CannotTell)).edit(Remove("proc/meminfo")),
        row("swap-off", AlreadySo),
        swapped(row("swap-off", WouldHelp)).edit(SWAP),
        row("swap-off", NoEvidence).edit(SWAP),
        swapped(row("swap-off", WouldHarm)).edit(SWAP).edit(short()),
        row("swap-off", CannotTell).edit(Remove("proc/meminfo")),
        row("swappiness", AlreadySo)
            .edit(SWAP)
            .edit(Put("proc/sys/vm/swappiness", "10\n")),
        swapped(row("swappiness", WouldHelp)).edit(SWAP),
        row("swappiness", NoEvidence).edit(SWAP),
        swapped(row("swappiness", WouldHarm))
            .edit(SWAP)
            .leaf(Leaf::PageInAfterEviction, 9),
        row("swappiness", CannotTell)
            .edit(SWAP)
            .edit(Remove("proc/sys/vm/swappiness")),
        row("thp", AlreadySo),
        row("thp", WouldHelp)
            .edit(always())
            .leaf(Leaf::Compaction, 5),
        row("thp", NoEvidence).edit(always()),
        row("thp", CannotTell).edit(Remove("sys/kernel/mm/transparent_hugepage/enabled")),
    ];
    for (id, kind) in [
        ("pack-schedule", SpanKind::Pack),
        ("meld-schedule", SpanKind::Meld),
    ] {
        rows.extend([
            row(id, AlreadySo).gap(1500).edit(CRON),
            row(id, WouldHelp).gap(100),
            row(id, NoEvidence).gap(1500),
            row(id, WouldHarm).gap(1500).edit(CRON).sums(stopped(kind)),
            row(id, CannotTell).no_loom(),
        ]);
    }
    rows
}

fn ames_rows() -> Vec<Row> {
    let full = || {
        Replace(
            "proc/2386/limits",
            "Max open files            1048576",
            "Max open files            1",
        )
    };
    let speed = || Put("sys/class/net/eth0/speed", "100\n");
    let lost = |capture: &mut Capture| {
        for (_, totals) in &mut capture.totals.udp {
            totals.dropped = 9;
        }
    };
    let enough = || Put("proc/sys/net/core/rmem_max", "4194304\n");
    vec![
        row("ames-port", AlreadySo),
        row("ames-port", WouldHelp).rules(closed()),
        row("ames-port", CannotTell).rules(Reading::unknown("run as root")),
        row("bandwidth", WouldHelp)
            .edit(speed())
            .capture(carried(12_000_000))
            .leaf(Leaf::SendPath, 5),
        row("bandwidth", NoEvidence)
            .edit(speed())
            .capture(carried(1000)),
        row("bandwidth", CannotTell).capture(carried(1000)),
        row("bbr", NoEvidence),
        row("file-limits", AlreadySo),
        row("file-limits", WouldHelp).edit(full()),
        row("file-limits", CannotTell)
            .edit(Remove("proc/2385/limits"))
            .edit(Remove("proc/2386/limits")),
        row("geography", NoEvidence).sums(|summaries| {
            let Reading::Known(trips) = &mut summaries.ames.poke_round_trips else {
                panic!("the fixture measured them");
            };
            (trips.count, trips.p50_ns) = (7, Some(80_000_000));
        }),
        row("geography", CannotTell),
        row("rmem-max", AlreadySo).edit(enough()),
        row("rmem-max", WouldHelp).capture(lost),
        row("rmem-max", NoEvidence),
        row("rmem-max", CannotTell).edit(Remove("proc/sys/net/core/rmem_max")),
        row("tcp-buffers", NoEvidence),
    ]
}

#[test]
fn every_entry_gives_each_of_its_answers() {
    let mut given: BTreeMap<&str, BTreeSet<Kind>> = BTreeMap::new();
    let groups = [disk_rows(), cpu_rows(), memory_rows(), ames_rows()];
    for (at, row) in groups.into_iter().flatten().enumerate() {
        let (id, expected) = (row.id, row.expected);
        let found = row.ask();
        assert_eq!(found.answer.kind(), expected, "row {at}, {id}: {found:?}");
        assert!(
            !found.reason.is_empty() && !found.proposed.is_empty(),
            "{id}"
        );
        if expected == WouldHelp {
            assert!(!found.apply.is_empty(), "{id}: {found:?}");
            assert!(
                found.current.is_some() || entry(id).shrinks.is_empty(),
                "{id}"
            );
        } else {
            assert!(
                found.apply.is_empty() && found.undo.is_empty(),
                "{id}: {found:?}"
            );
        }
        given.entry(id).or_default().insert(expected);
    }
    for entry in ENTRIES {
        let can: BTreeSet<Kind> = entry.answers.iter().copied().collect();
        assert_eq!(given.get(entry.id), Some(&can), "{}", entry.id);
    }
}

#[test]
fn commands_fit_how_the_ship_is_run() {
    const ID: &str = "4f1c9dd7c2c1b4ce0e3c8e1a2b8f7f3a9a6f4b61f1ce2f2f3f6c2d4d1a8b9c0d";
    let group = |path: &str| -> Vec<Edit> {
        // Given to the tree for good: a test's process ends soon.
        let text: &'static str = Box::leak(format!("0::{path}\n").into_boxed_str());
        vec![Put("proc/2386/cgroup", text)]
    };
    let of = |id, leaf, edits: Vec<Edit>| {
        let row = edits.into_iter().fold(row(id, WouldHelp), Row::edit);
        let row = row
            .leaf(leaf, 9)
            .capture(|capture| with_ships(capture, &["~nec"], 4));
        texts(&row.ask().apply).join("\n")
    };
    let unit = || group("/system.slice/urbit@z d.service");
    let nice = of("nice", Leaf::RunQueue, unit());
    assert!(
        nice.contains("for t in /proc/2385/task/* /proc/2386/task/*; do renice -n -10"),
        "{nice}"
    );
    assert!(
        nice.ends_with(
            "mkdir -p '/etc/systemd/system/urbit@z d.service.d' && printf '[Service]\\nNice=-10\\n' > \
             '/etc/systemd/system/urbit@z d.service.d'/90-profile-nice.conf && systemctl daemon-reload"
        ),
        "{nice}"
    );
    let snap = of("snap-time", Leaf::Snapshot, unit());
    assert!(snap.contains("in ExecStart= with --snap-time 60"), "{snap}");
    let docker = || group(&format!("/system.slice/docker-{ID}.scope"));
    let snap = of("snap-time", Leaf::Snapshot, docker());
    assert!(
        snap.contains("make the container 4f1c9dd7c2c1 again, with --snap-time 60"),
        "{snap}"
    );
    let mut groundseg = docker();
    groundseg.push(Put(
        "opt/nativeplanet/groundseg/settings/pier/zod.json",
        "{}",
    ));
    let snap = of("snap-time", Leaf::Snapshot, groundseg);
    assert!(snap.contains("in GroundSeg, the settings of zod"), "{snap}");
    let bare = of("nice", Leaf::RunQueue, Vec::new());
    assert!(
        bare.ends_with("for good: start the ship by nice -n -10 …"),
        "{bare}"
    );
}

#[test]
fn a_change_can_be_tried_out_where_it_is_not_advised() {
    for (id, row) in [
        ("bbr", row("bbr", NoEvidence)),
        ("noatime", row("noatime", NoEvidence)),
        (
            "thp",
            row("thp", NoEvidence).edit(Put(
                "sys/kernel/mm/transparent_hugepage/enabled",
                "[always] madvise never\n",
            )),
        ),
        ("nice", row("nice", NoEvidence).leaf(Leaf::RunQueue, 0)),
    ] {
        let found = row.ask();
        let trial = found.trial(entry(id).restart);
        let trial = trial.unwrap_or_else(|| panic!("{id}: {found:?}"));
        assert!(trial.apply.iter().chain(&trial.undo).all(Step::is_live));
        assert_ne!(trial.apply, trial.undo, "{id}");
    }
    // What takes a restart of the ship cannot be tried out like this.
    let found = row("snap-time", WouldHelp).leaf(Leaf::Snapshot, 9).ask();
    assert_eq!(found.trial(entry("snap-time").restart), None);
}
