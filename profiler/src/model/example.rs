//! Windows for tests: a ship's minutes, different from each other, always the same.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::{
    Budget, DiskSpace, EventRange, Faults, Histogram, LeafTime, Loom, NS_PER_S, OwnCost,
    ProcessMemory, ShipKey, TopStacks, Udp, Window, WindowFinding, WindowVerdict, histogram_name,
    stack_kind,
};
use crate::ship::Role;

/// 2026-03-01T00:00:00Z.
pub const START_UNIX_NS: u64 = 1_772_323_200 * NS_PER_S;
/// Length of a window.
pub const MINUTE_NS: u64 = 60 * NS_PER_S;

/// Numbers that look random and are not (an LCG; Knuth, MMIX).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// The ship of all examples.
pub fn ship() -> ShipKey {
    ShipKey {
        label: "~sampel-palnet".to_owned(),
        pier: "/home/urbit/sampel-palnet".to_owned(),
    }
}

/// The window of minute `minute`; every seventh lacks what can lack.
pub fn window(minute: u64) -> Window {
    let mut dice = Dice::new(minute + 1);
    let measured = minute % 7 != 3;
    let disk = minute % 5 < 2;
    Window {
        ship: ship(),
        vere_version: measured.then(|| "4.6".to_owned()),
        start_unix_ns: START_UNIX_NS + minute * MINUTE_NS,
        duration_ns: MINUTE_NS - dice.below(1_000_000),
        clock_step_ns: if minute == 11 { -2_000_000 } else { 0 },
        events: measured.then(|| EventRange {
            before: 400_000 + minute * 40,
            last: 400_000 + minute * 40 + 40,
            count: 40,
        }),
        budgets: [Role::King, Role::Mars, Role::CommitWorker, Role::Other]
            .into_iter()
            .map(|role| (role, budget(&mut dice)))
            .collect(),
        leaves: leaves(&mut dice),
        histograms: [
            (histogram_name::COMMIT, 4_000_000),
            (histogram_name::RUN_QUEUE, 90_000),
            (histogram_name::EVENT, 9_000_000),
        ]
        .into_iter()
        .map(|(name, scale)| (name.to_owned(), histogram(&mut dice, scale)))
        .collect(),
        stacks: stacks(&mut dice),
        udp: measured.then(|| Udp {
            received: dice.below(9_000),
            sent: dice.below(9_000),
            bytes: dice.below(9_000_000),
            dropped: dice.below(3),
        }),
        faults: measured.then(|| Faults {
            minor: dice.below(90_000),
            major: dice.below(30),
            swapped_in_pages: Some(dice.below(10)),
            refaulted_pages: minute.is_multiple_of(2).then(|| dice.below(10)),
        }),
        loom: measured.then(|| Loom {
            event_number: 400_000 + minute * 40 + 40,
            heap_bytes: (900 << 20) + minute * 4096,
            free_gap_bytes: 1 << 30,
        }),
        memory: measured.then_some(ProcessMemory {
            rss_bytes: 1 << 30,
            anon_bytes: 600 << 20,
            swap_bytes: 3 << 20,
            map_count: None,
        }),
        disk_space: Some(DiskSpace {
            total_bytes: 40 << 30,
            available_bytes: (13 << 30) - minute * 65_536,
            log_bytes: measured.then_some(5 << 30),
        }),
        verdict: WindowVerdict {
            kind: if disk { "stalled" } else { "healthy" }.to_owned(),
            cause: disk.then(|| "disk".to_owned()),
            sentence: format!("In minute {minute}, commits took what they took."),
        },
        findings: (minute % 9 == 1)
            .then(|| WindowFinding {
                id: "udp-drops".to_owned(),
                severity: "severe".to_owned(),
                sentence: format!("{minute} datagrams were lost."),
            })
            .into_iter()
            .collect(),
        own_cost: OwnCost {
            process_cpu_ns: 100_000_000 + dice.below(1_000_000),
            programs_cpu_ns: measured.then(|| dice.below(100_000_000)),
            max_resident_bytes: (20 << 20) + dice.below(1 << 20),
            thinned: minute % 100 == 99,
        },
        losses: (minute % 50 == 7)
            .then(|| ("stacks of long waits".to_owned(), 3))
            .into_iter()
            .collect(),
        not_measured: (!measured)
            .then(|| "the loom: mars is restarting".to_owned())
            .into_iter()
            .collect(),
        cut_short: (minute % 300 == 200).then(|| "the ship ended".to_owned()),
    }
}

fn budget(dice: &mut Dice) -> Budget {
    let mut budget = Budget {
        on_cpu_ns: dice.below(9 * NS_PER_S),
        run_queue_ns: dice.below(NS_PER_S),
        throttled_ns: 0,
        blocked_ns: dice.below(9 * NS_PER_S),
        unexplained_ns: dice.below(1_000),
        ..Budget::default()
    };
    let parts = budget.on_cpu_ns + budget.run_queue_ns + budget.blocked_ns + budget.unexplained_ns;
    budget.wall_ns = MINUTE_NS;
    budget.idle_ns = MINUTE_NS - parts;
    budget
}

fn leaves(dice: &mut Dice) -> BTreeMap<String, LeafTime> {
    [
        ("log commit", "disk"),
        ("snapshot", "disk"),
        ("computing", "cpu"),
        ("run queue", "cpu"),
        ("page-in after eviction", "memory"),
        ("send path", "ames"),
        ("unexplained", "unexplained"),
    ]
    .into_iter()
    .map(|(name, cause)| {
        let leaf = LeafTime {
            cause: cause.to_owned(),
            total_ns: dice.below(4 * NS_PER_S),
        };
        (name.to_owned(), leaf)
    })
    .collect()
}

fn histogram(dice: &mut Dice, scale: u64) -> Histogram {
    let mut histogram = Histogram::default();
    for _ in 0..400 {
        let tail = 1 << dice.below(5);
        histogram.add_value(scale / 4 + dice.below(scale * tail));
    }
    histogram
}

/// Fifty stacks and more of each kind. A ship's stacks are mostly those of the minute before: they
/// are drawn from 400, the first ones most often, each 10 to 50 frames deep.
fn stacks(dice: &mut Dice) -> BTreeMap<String, TopStacks> {
    let kinds = [
        stack_kind::ON_CPU,
        stack_kind::OFF_CPU,
        stack_kind::BLOCK_IO,
        stack_kind::PAGE_FAULT,
    ];
    let mut stacks = BTreeMap::new();
    for (salt, kind) in (0..).zip(kinds) {
        let mut all = BTreeMap::new();
        while all.len() < 70 {
            let which = dice.below(400).min(dice.below(400)) + salt * 1_000;
            all.insert(frames(which).clone(), 1 + dice.below(NS_PER_S / 10));
        }
        stacks.insert(kind.to_owned(), TopStacks::keep(all));
    }
    stacks
}

/// Made once: tests need them by the thousand.
fn frames(which: u64) -> &'static Vec<String> {
    static MADE: Mutex<BTreeMap<u64, &'static Vec<String>>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().expect("nobody panics with it");
    made.entry(which)
        .or_insert_with(|| Box::leak(Box::new(make_frames(which))))
}

fn make_frames(which: u64) -> Vec<String> {
    let mut dice = Dice::new(which);
    let depth = 10 + dice.below(40);
    let mut frames = vec!["mars".to_owned(), "main".to_owned()];
    // Neighbours share their outer frames, as stacks of one program do.
    let mut shared = Dice::new(which / 8);
    for level in 0..depth {
        let name = if level < depth * 2 / 3 {
            shared.below(600)
        } else {
            dice.below(600)
        };
        frames.push(format!("_n_nock_function_{name}"));
    }
    frames
}
