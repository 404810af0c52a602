//! Every entry on made hosts, in each of the answers that it can give.

mod ames;
mod cpu;
mod disk;
mod memory;

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
        cpu: 0,
        stack: Stack {
            kernel: vec![0xffff_ffff],
            ..Stack::default()
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

#[test]
fn every_entry_gives_each_of_its_answers() {
    let mut given: BTreeMap<&str, BTreeSet<Kind>> = BTreeMap::new();
    let groups = [disk::rows(), cpu::rows(), memory::rows(), ames::rows()];
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
