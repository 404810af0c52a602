//! What the sampler itself costs: its process by the kernel's count, its programs by an estimate (see
//! `crate::sampler::cost`).

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::capture::naming::children_cpu_ns;
use crate::capture::probes::Probes;
use crate::cli::readings;
use crate::host::Roots;
use crate::host::counters::now_ktime_ns;
use crate::host::kernel::scheduler_counters;
use crate::model::Totals;
use crate::sampler::cost::{Counts, Model, programs_ns};

/// How long the programs' time is kept while no ship is watched.
const WITHOUT_SHIPS: Duration = Duration::from_millis(500);
/// How long it is kept with the ships, at least.
const WITH_SHIPS: Duration = Duration::from_secs(3);
/// And at most, where the ships hardly switch.
const LONGEST: Duration = Duration::from_secs(30);
/// Switches of the ships that are enough.
const ENOUGH_SWITCHES: u64 = 1_000;

/// Keeps account.
pub struct Meter {
    /// The kernel keeps the programs' time while this is open.
    counting: Option<OwnedFd>,
    begun_ktime_ns: u64,
    without: (Counts, Counts),
    with: Counts,
    model: Option<Model>,
    /// Switches of the ships so far, and how many each thread of them had made.
    ship_switches: u64,
    of_threads: BTreeMap<u32, u64>,
    /// When the last windows ended.
    last: Mark,
}

#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    ktime_ns: u64,
    cpu_ns: u64,
    counts: Counts,
}

/// Shares of one CPU since the last windows ended.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// The process, and the children that have ended.
    pub process_ratio: f64,
    /// The programs; nothing if not known.
    pub programs_ratio: Option<f64>,
}

impl Cost {
    /// Both, as far as they are known.
    pub fn ratio(&self) -> f64 {
        self.process_ratio + self.programs_ratio.unwrap_or(0.0)
    }
}

/// CPU time of this process and its children so far.
pub fn cpu_ns() -> u64 {
    readings::cpu_time_ns() + children_cpu_ns()
}

impl Meter {
    /// Begins, before any ship is watched and before privileges are given up. Takes half a second.
    pub fn begin(roots: &Roots, probes: &mut Probes) -> Self {
        // Where this is refused (before Linux 5.8) the programs' time stays unknown, and is said to be.
        let counting = aya::sys::enable_stats(aya::sys::Stats::RunTime).ok();
        let mut meter = Self {
            counting,
            begun_ktime_ns: 0,
            without: Default::default(),
            with: Counts::default(),
            model: None,
            ship_switches: 0,
            of_threads: BTreeMap::new(),
            last: Mark::default(),
        };
        let before = meter.counts(roots, probes);
        if meter.counting.is_some() {
            std::thread::sleep(WITHOUT_SHIPS);
        } else {
            probes.detach_empty();
        }
        meter.without = (before, meter.counts(roots, probes));
        meter
    }

    /// The ships are watched from now on.
    pub fn ships_are_watched(&mut self, roots: &Roots, probes: &Probes) {
        self.begun_ktime_ns = now_ktime_ns();
        self.with = self.counts(roots, probes);
        self.last = self.mark(roots, probes);
    }

    /// Whether sums are to be read now, to see whether the costs of switches are known.
    pub fn is_due(&self) -> bool {
        self.counting.is_some() && self.elapsed() >= WITH_SHIPS
    }

    /// Takes note of a reading, and stops the counting of the programs' time when it has lasted long
    /// enough.
    pub fn note(&mut self, roots: &Roots, probes: &mut Probes, totals: &Totals) {
        let mut of_threads = BTreeMap::new();
        for (tid, thread) in &totals.threads {
            let before = self.of_threads.get(tid).copied().unwrap_or(0);
            // Less than before: another thread under the same number.
            let since = thread.switches.checked_sub(before);
            self.ship_switches += since.unwrap_or(thread.switches);
            of_threads.insert(*tid, thread.switches);
        }
        self.of_threads = of_threads;
        if self.counting.is_none() {
            return;
        }
        let now = self.counts(roots, probes);
        self.model = Model::of(self.without, (self.with, now)).or(self.model);
        let switches = now.ship_switches - self.with.ship_switches;
        let enough = self.elapsed() >= WITH_SHIPS && switches >= ENOUGH_SWITCHES;
        if enough || self.elapsed() >= LONGEST {
            log::info!("what switches cost: {:?}", self.model);
            self.counting = None;
            probes.detach_empty();
        }
    }

    /// What was used since the last windows ended.
    pub fn cost(&self, roots: &Roots, probes: &Probes) -> Cost {
        let (before, now) = (self.last, self.mark(roots, probes));
        let elapsed_ns = now.ktime_ns.saturating_sub(before.ktime_ns).max(1);
        let ratio = |ns: u64| ns as f64 / elapsed_ns as f64;
        let programs_ns = self.model.map(|model| {
            model.programs_ns(
                now.counts
                    .host_switches
                    .saturating_sub(before.counts.host_switches),
                now.counts
                    .ship_switches
                    .saturating_sub(before.counts.ship_switches),
            )
        });
        Cost {
            process_ratio: ratio(now.cpu_ns.saturating_sub(before.cpu_ns)),
            programs_ratio: programs_ns.map(ratio),
        }
    }

    /// The windows of all ships end now.
    pub fn windows_end(&mut self, roots: &Roots, probes: &Probes) {
        self.last = self.mark(roots, probes);
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(now_ktime_ns().saturating_sub(self.begun_ktime_ns))
    }

    fn mark(&self, roots: &Roots, probes: &Probes) -> Mark {
        Mark {
            ktime_ns: now_ktime_ns(),
            cpu_ns: cpu_ns(),
            counts: self.counts(roots, probes),
        }
    }

    fn counts(&self, roots: &Roots, probes: &Probes) -> Counts {
        // Without the kernel's count there is no model, so nothing is made of the zeroes.
        let costs = self.counting.is_some().then(|| probes.costs());
        let costs = costs.unwrap_or_default();
        let host = scheduler_counters(roots);
        Counts {
            programs_ns: programs_ns(&costs),
            host_switches: host.map_or(0, |host| host.context_switches_total),
            ship_switches: self.ship_switches,
        }
    }
}
