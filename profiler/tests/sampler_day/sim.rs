//! A ship that is simulated: what its threads do, what the programs and the kernel would count of it, and
//! the truth beside.

use std::collections::BTreeMap;

use profiler::model::{NS_PER_S, ThreadState, Totals, histogram_name};
use profiler::sampler::reading::{close, first_entry};
use profiler::ship::Role;
use profiler_common::histogram::index;
use profiler_common::sched::{
    RUN_QUEUE, STATE_BLOCKED, STATE_ON_CPU, STATE_PREEMPTED, STATE_WOKEN, TASK_INTERRUPTIBLE,
    TASK_RUNNABLE, TASK_UNINTERRUPTIBLE, Thread, WaitKey, Waits,
};
use profiler_common::udp::{UdpKey, UdpTotals};
use zerocopy::FromZeros;

/// 2026-03-01T00:00:00Z.
pub const START_UNIX_NS: u64 = 1_772_323_200 * NS_PER_S;
/// When the day begins by the monotonic clock.
pub const START_KTIME_NS: u64 = 5_000 * NS_PER_S;

/// Syscalls of x86_64, which the fixture was taken on.
const FUTEX: i32 = 202;
const FDATASYNC: i32 = 75;
const EPOLL_WAIT: i32 = 232;
/// A page fault that reads a file.
const PAGE_FAULT: i32 = -1;

/// Numbers that look random and are not (an LCG; Knuth, MMIX).
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// What the simulation did while a sampler watched: the truth.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// By role and part.
    pub budgets: BTreeMap<(Role, &'static str), u64>,
    /// By leaf.
    pub leaves: BTreeMap<String, u64>,
    /// By name: buckets of the waits that ended.
    pub histograms: BTreeMap<String, BTreeMap<usize, u64>>,
    /// Received, sent, bytes, dropped.
    pub udp: [u64; 4],
    /// Minor, major, swapped in, refaulted.
    pub faults: [u64; 4],
    pub events: u64,
    pub duration_ns: u64,
}

impl Truth {
    pub fn add(&mut self, role: Role, part: &'static str, leaf: Option<&'static str>, ns: u64) {
        if ns > 0 {
            *self.budgets.entry((role, part)).or_default() += ns;
            if let Some(leaf) = leaf {
                *self.leaves.entry(leaf.to_owned()).or_default() += ns;
            }
        }
    }

    pub fn count(&mut self, histogram: &'static str, ns: u64) {
        let buckets = self.histograms.entry(histogram.to_owned()).or_default();
        *buckets.entry(index(ns)).or_default() += 1;
    }
}

/// A simulated thread, and the entry that the programs would keep of it.
pub struct SimThread {
    tid: u32,
    role: Role,
    entry: Thread,
    waits: BTreeMap<(i32, u32), Waits>,
    /// When its state ends.
    until_ktime_ns: u64,
    comm: &'static str,
}

impl SimThread {
    pub fn new(tgid: u32, tid: u32, role: Role, comm: &'static str) -> Self {
        let mut entry = Thread::new_zeroed();
        entry.tgid = tgid;
        entry.state = STATE_ON_CPU;
        entry.since_ktime_ns = START_KTIME_NS;
        Self {
            tid,
            role,
            entry,
            waits: BTreeMap::new(),
            until_ktime_ns: START_KTIME_NS,
            comm,
        }
    }

    /// What its present state is: part of a budget, leaf, histogram.
    pub fn meaning(&self) -> (&'static str, Option<&'static str>, Option<&'static str>) {
        match self.entry.state {
            STATE_ON_CPU => ("on_cpu", Some("computing"), None),
            STATE_WOKEN | STATE_PREEMPTED => {
                let histogram = (self.role == Role::Mars).then_some(histogram_name::RUN_QUEUE);
                ("run_queue", Some("run queue"), histogram)
            }
            _ => match self.entry.wait.syscall_nr {
                FDATASYNC if self.role == Role::CommitWorker => {
                    ("blocked", Some("log commit"), Some(histogram_name::COMMIT))
                }
                FDATASYNC => ("blocked", Some("other file I/O"), None),
                PAGE_FAULT => ("blocked", Some("page-in"), None),
                _ => ("idle", None, None),
            },
        }
    }

    /// Lives until a moment. What of it lies after `watched_ktime_ns` is the truth.
    pub fn live(
        &mut self,
        until: u64,
        watched_ktime_ns: Option<u64>,
        dice: &mut Dice,
        truth: &mut Truth,
    ) {
        while self.until_ktime_ns <= until {
            let now = self.until_ktime_ns;
            let since = self.entry.since_ktime_ns;
            let (part, leaf, histogram) = self.meaning();
            if let Some(watched) = watched_ktime_ns {
                truth.add(self.role, part, leaf, now - since.max(watched));
                if let Some(histogram) = histogram {
                    truth.count(histogram, now - since);
                }
            }
            self.change(now, dice);
        }
    }

    /// Ends a state and begins the next, as the programs keep it: sums of what has ended.
    pub fn change(&mut self, now: u64, dice: &mut Dice) {
        let ns = now - self.entry.since_ktime_ns;
        let entry = &mut self.entry;
        let key = match entry.state {
            STATE_BLOCKED => (entry.wait.syscall_nr, entry.wait.task_state),
            _ => (RUN_QUEUE, TASK_RUNNABLE),
        };
        let length_ns;
        match entry.state {
            STATE_ON_CPU => {
                entry.on_cpu_ns += ns;
                let calls = match self.role {
                    Role::CommitWorker => [
                        (FUTEX, TASK_INTERRUPTIBLE, 90),
                        (FDATASYNC, TASK_UNINTERRUPTIBLE, 40),
                    ],
                    Role::Mars => [
                        (EPOLL_WAIT, TASK_INTERRUPTIBLE, 20),
                        (FDATASYNC, TASK_UNINTERRUPTIBLE, 60),
                    ],
                    _ => [
                        (EPOLL_WAIT, TASK_INTERRUPTIBLE, 200),
                        (PAGE_FAULT, TASK_UNINTERRUPTIBLE, 8),
                    ],
                };
                let (call, task_state, most_s) = calls[usize::from(dice.below(4) == 0)];
                if dice.below(5) == 0 {
                    entry.state = STATE_PREEMPTED;
                    length_ns = 1 + dice.below(NS_PER_S / 10);
                } else {
                    entry.state = STATE_BLOCKED;
                    entry.wait.syscall_nr = call;
                    entry.wait.task_state = task_state;
                    length_ns = 1 + dice.below(most_s * NS_PER_S);
                }
            }
            STATE_BLOCKED => {
                entry.blocked_ns += ns;
                entry.state = STATE_WOKEN;
                length_ns = 1 + dice.below(NS_PER_S / 50);
            }
            state => {
                if state == STATE_PREEMPTED {
                    entry.preempted_ns += ns;
                } else {
                    entry.woken_ns += ns;
                }
                entry.switches += 1;
                entry.state = STATE_ON_CPU;
                length_ns = 1 + dice.below(2 * NS_PER_S);
            }
        }
        if key != (RUN_QUEUE, TASK_RUNNABLE) || self.entry.state == STATE_ON_CPU {
            let waits = self.waits.entry(key).or_insert_with(Waits::new_zeroed);
            waits.count += 1;
            waits.total_ns += ns;
            waits.buckets[index(ns)] += 1;
        }
        self.entry.since_ktime_ns = now;
        self.until_ktime_ns = now + length_ns;
    }

    /// What procfs tells of it.
    pub fn state(&self) -> ThreadState {
        ThreadState {
            tgid: self.entry.tgid,
            tid: self.tid,
            comm: self.comm.to_owned(),
            state: match (self.entry.state, self.entry.wait.task_state) {
                (STATE_BLOCKED, TASK_INTERRUPTIBLE) => 'S',
                (STATE_BLOCKED, _) => 'D',
                _ => 'R',
            },
            syscall_nr: (self.entry.state == STATE_BLOCKED).then_some(self.entry.wait.syscall_nr),
        }
    }

    /// The programs begin with nothing but that.
    pub fn watch(&mut self, now: u64) {
        let state = self.state();
        self.entry = first_entry(&state, 0, now);
        self.waits.clear();
    }
}

/// The ship, what the kernel counts of it, and both clocks.
pub struct Sim {
    pub dice: Dice,
    pub threads: Vec<SimThread>,
    pub now_ktime_ns: u64,
    pub clock_ns: i64,
    pub udp: UdpTotals,
    pub faults: [u64; 4],
    pub events: u64,
    pub truth: Truth,
    pub watched_ktime_ns: Option<u64>,
}

/// Where a window ends and the next begins.
pub struct Moment {
    pub ktime_ns: u64,
    pub unix_ns: u64,
    pub totals: Totals,
    pub faults: [u64; 4],
    pub events: u64,
}

impl Sim {
    /// Before anybody watches.
    pub fn new(threads: Vec<SimThread>) -> Self {
        Self {
            dice: Dice(7),
            threads,
            now_ktime_ns: START_KTIME_NS,
            clock_ns: 0,
            udp: UdpTotals::new_zeroed(),
            faults: [11, 22, 33, 44],
            events: 400_000,
            truth: Truth::default(),
            watched_ktime_ns: None,
        }
    }

    /// Goes on for some time, in which the kernel counts.
    pub fn live(&mut self, ns: u64) {
        let from = self.now_ktime_ns;
        let until = from + ns;
        for thread in &mut self.threads {
            thread.live(
                until,
                self.watched_ktime_ns,
                &mut self.dice,
                &mut self.truth,
            );
        }
        self.now_ktime_ns = until;
        let dice = &mut self.dice;
        let udp = [
            dice.below(900),
            dice.below(700),
            dice.below(90_000),
            dice.below(3),
        ];
        self.udp.received += udp[0];
        self.udp.sent += udp[1];
        self.udp.received_bytes += udp[2] / 2;
        self.udp.sent_bytes += udp[2] - udp[2] / 2;
        self.udp.dropped += udp[3];
        let faults = [
            dice.below(9_000),
            dice.below(40),
            dice.below(20),
            dice.below(2),
        ];
        let events = dice.below(100);
        self.events += events;
        for (sum, more) in self.faults.iter_mut().zip(faults) {
            *sum += more;
        }
        if self.watched_ktime_ns.is_some() {
            self.truth.events += events;
            self.truth.duration_ns += ns;
            for (sum, more) in self.truth.udp.iter_mut().zip(udp) {
                *sum += more;
            }
            for (sum, more) in self.truth.faults.iter_mut().zip(faults) {
                *sum += more;
            }
        }
    }

    /// A sampler begins: empty maps.
    pub fn watch(&mut self) {
        let now = self.now_ktime_ns;
        self.udp = UdpTotals::new_zeroed();
        for thread in &mut self.threads {
            thread.watch(now);
        }
        self.watched_ktime_ns = Some(now);
    }

    /// A sampler ends. What is open counts until now.
    pub fn unwatch(&mut self) {
        let Some(watched) = self.watched_ktime_ns.take() else {
            return;
        };
        for thread in &self.threads {
            let (part, leaf, _) = thread.meaning();
            let since = thread.entry.since_ktime_ns.max(watched);
            self.truth
                .add(thread.role, part, leaf, self.now_ktime_ns - since);
        }
    }

    pub fn moment(&self) -> Moment {
        let mut totals = Totals {
            udp: vec![(UdpKey { netns: 1, port: 2 }, self.udp)],
            ..Totals::default()
        };
        for thread in &self.threads {
            totals.threads.push((thread.tid, thread.entry));
            totals.waits.extend(
                thread
                    .waits
                    .iter()
                    .map(|(&(syscall_nr, task_state), waits)| {
                        let key = WaitKey {
                            tid: thread.tid,
                            syscall_nr,
                            task_state,
                        };
                        (key, *waits)
                    }),
            );
        }
        close(&mut totals, 0, self.now_ktime_ns);
        let passed_ns = self.now_ktime_ns - START_KTIME_NS;
        Moment {
            ktime_ns: self.now_ktime_ns,
            unix_ns: (START_UNIX_NS + passed_ns).saturating_add_signed(self.clock_ns),
            totals,
            faults: self.faults,
            events: self.events,
        }
    }
}
