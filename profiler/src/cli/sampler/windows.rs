//! One window of one ship: what it begins with, and how it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use profiler_common::arch::waits_for_work;
use profiler_common::sched::STATE_BLOCKED;

use super::labels::Labels;
use super::meter::{self, Cost};
use super::{Sampled, Sampler};
use crate::cli::readings;
use crate::hoon::HoonNames;
use crate::host::counters::{KernelCounters, counters, now_ktime_ns};
use crate::host::process::Process;
use crate::host::{Reading, Roots, host_facts};
use crate::model::{
    Capture, Clocks, EndReason, Losses, Meta, OwnUse, ProcessMemory, SampledStack, Symbols,
    ThreadState, Totals, king_not_asked,
};
use crate::sampler::reading::difference;
use crate::sampler::thinning::{SAMPLE_HZ, Thinning};
use crate::sampler::window::{Circumstances, clock_step_ns, window};
use crate::ship::loom::{self, LoomAnswer};
use crate::ship::{Setup, Ship};
use crate::store::{Retention, StoreError};

/// A moment by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) ktime_ns: u64,
    pub(super) unix_ns: u64,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self {
            ktime_ns: now_ktime_ns(),
            unix_ns: readings::unix_ns(),
        }
    }
}

/// How long mars must have waited for work for nothing to be under way: what has just been sent to it wakes
/// it much sooner.
const REST_NS: u64 = 100_000_000;

/// What is read of a ship where its window ends and its next begins: once for both, so that whatever is
/// counted in between is in one of them.
#[derive(Clone)]
pub(super) struct Readings {
    counters: KernelCounters,
    loom: LoomAnswer,
    thread_states: Vec<ThreadState>,
    cpu_ns: u64,
}

/// What is the same for the windows of all ships that end together.
pub(super) struct End {
    pub(super) reason: EndReason,
    pub(super) at: Moment,
    /// Of all ships, closed.
    pub(super) totals: Rc<Totals>,
    pub(super) losses: Losses,
    pub(super) stacks: Vec<SampledStack>,
    /// Why some of them have no names.
    pub(super) unnamed: Option<String>,
    pub(super) thinning: Thinning,
    pub(super) cost: Cost,
}

impl Sampler<'_> {
    /// What a window begins with whose sums were read at a moment. The next window begins where the last
    /// one's sums end, whatever came between.
    pub(super) fn opening(
        &self,
        ship: Ship,
        number: u32,
        totals: Rc<Totals>,
        start: Moment,
        readings: Readings,
    ) -> Sampled {
        Sampled {
            number,
            host: host_facts(self.roots, &ship.targets()),
            totals,
            start,
            readings,
            ship,
        }
    }

    /// Reads a ship whose processes are `tgids`.
    pub(super) fn readings(&self, ship: &Ship, tgids: &[u32]) -> Readings {
        Readings {
            counters: counters(self.roots, &ship.targets()),
            loom: loom::answer(self.roots, ship),
            thread_states: readings::thread_states(self.roots, tgids.iter()),
            cpu_ns: meter::cpu_ns(),
        }
    }

    /// The processes of a ship, with those that it has forked.
    pub(super) fn tgids(&self, sampled: &Sampled) -> anyhow::Result<Vec<u32>> {
        let mut tgids = sampled.ship.tgids();
        tgids.extend(self.followed(sampled)?);
        Ok(tgids)
    }

    fn followed(&self, sampled: &Sampled) -> anyhow::Result<Vec<u32>> {
        Ok(self
            .probes
            .watched_processes()?
            .into_iter()
            .filter(|(_, process)| process.ship == sampled.number && process.followed != 0)
            .map(|(tgid, _)| tgid)
            .collect())
    }

    /// Ends one window and stores it. Gives back the ship, its number, and what its next window begins with.
    pub(super) fn end(
        &mut self,
        sampled: Sampled,
        end: &End,
    ) -> anyhow::Result<(Ship, u32, Readings)> {
        let end_ktime_ns = end.at.ktime_ns;
        let followed = self.followed(&sampled)?;
        let tgids = self.tgids(&sampled)?;
        let number = sampled.number;
        let labels = self.labels.get_mut(&sampled.ship.king.tgid);
        let labels = labels.map(Labels::take).unwrap_or_default();
        let since = difference(&sampled.totals, &end.totals, end_ktime_ns);
        let totals = of_ship(since, &tgids, &sampled.ship, number);
        if rests(&end.totals, &sampled.ship, end_ktime_ns) {
            self.probes.settle_turnaround(number)?;
        }
        let readings = self.readings(&sampled.ship, &tgids);
        let meta = self.meta(sampled, end, followed, &readings);
        let capture = Capture {
            hoon: HoonNames::default(),
            totals,
            events: Vec::new(),
            symbols: Symbols::default(),
            meta,
        };
        let programs_cpu_ns = end
            .cost
            .programs_ratio
            .map(|ratio| (ratio * capture.meta.clocks.duration_ns() as f64) as u64);
        let circumstances = Circumstances {
            clock_step_ns: clock_step_ns(&capture.meta.clocks, end.at.unix_ns),
            memory: mars_memory(self.roots, &capture.meta.ship),
            programs_cpu_ns,
            thinning: end.thinning,
            stacks: &end.stacks,
            names: &self.names,
            unnamed: end.unnamed.iter().cloned().collect(),
            labels,
        };
        let window = window(&capture, &circumstances);
        self.keep(&window)?;
        Ok((capture.meta.ship, number, readings))
    }

    /// The circumstances of a window that ends.
    fn meta(&self, sampled: Sampled, end: &End, followed: Vec<u32>, readings: &Readings) -> Meta {
        let (start, ended) = (sampled.readings, readings.clone());
        let mut meta = Meta {
            profiler_version: env!("CARGO_PKG_VERSION").to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            host: sampled.host,
            clocks: Clocks {
                start_ktime_ns: sampled.start.ktime_ns,
                end_ktime_ns: end.at.ktime_ns,
                start_unix_ns: sampled.start.unix_ns,
            },
            requested_s: self.arguments.interval,
            threshold_ns: u64::MAX,
            timeline_ns: u64::MAX,
            sample_hz: SAMPLE_HZ,
            ended: end.reason,
            probes: self.probes.statuses().to_vec(),
            followed_tgids: followed,
            thread_states_start: start.thread_states,
            thread_states: ended.thread_states,
            counters_start: start.counters,
            counters_end: ended.counters,
            loom_start: start.loom,
            loom_end: ended.loom,
            mappings: BTreeMap::new(),
            loom_use: Reading::unknown("not read while sampling: it holds the ship up"),
            under_way: Vec::new(),
            king_counters_start: king_not_asked(),
            king_counters_end: king_not_asked(),
            setup: Setup::not_kept(),
            neighbours: Reading::unknown("not told apart while sampling"),
            losses: end.losses.clone(),
            program_costs: Vec::new(),
            cost_measured_ns: 0,
            own_tgid: std::process::id(),
            own_use: OwnUse {
                cpu_ns: ended.cpu_ns.saturating_sub(start.cpu_ns),
                ..readings::own_use(self.roots, 0)
            },
            record_bytes: 0,
            records: 0,
            ship: sampled.ship,
        };
        let thinning = &end.thinning;
        thinning.step().mark(&mut meta, thinning.budget_ratio());
        meta
    }

    /// Stores a window. On a full disk the oldest make room for it.
    fn keep(&mut self, window: &crate::model::Window) -> anyhow::Result<()> {
        let retention = Retention {
            max_age: Duration::from_secs(self.arguments.keep_days * 86_400),
            max_bytes: self.arguments.max_size << 20,
        };
        let now_unix_ns = readings::unix_ns();
        match self.store.append(window) {
            Ok(()) => {}
            Err(StoreError::Full { .. }) => {
                self.store.prune(now_unix_ns, &retention)?;
                self.store.append(window)?;
            }
            Err(error) => return Err(error.into()),
        }
        self.store.prune(now_unix_ns, &retention)?;
        Ok(())
    }
}

/// Sums without the threads that have ended.
pub(super) fn living(totals: &Totals) -> Totals {
    let threads = totals.threads.iter();
    let threads: Vec<_> = threads
        .filter(|(_, thread)| thread.exited_ktime_ns == 0)
        .copied()
        .collect();
    let tids: BTreeSet<u32> = threads.iter().map(|(tid, _)| *tid).collect();
    let ended = |tid: &u32| totals.threads.iter().any(|(of, _)| of == tid) && !tids.contains(tid);
    let waits = totals.waits.iter();
    Totals {
        waits: waits
            .filter(|(key, _)| tids.contains(&key.tid))
            .copied()
            .collect(),
        threads,
        block: totals
            .block
            .iter()
            .filter(|(key, _)| !ended(&key.tid))
            .copied()
            .collect(),
        udp: totals.udp.clone(),
        snapshots: totals.snapshots.clone(),
        turnaround: totals.turnaround.clone(),
        ames: totals.ames.clone(),
        neighbours: totals.neighbours.clone(),
        writeback: totals.writeback.clone(),
    }
}

/// What of all sums is one ship's.
fn of_ship(mut totals: Totals, tgids: &[u32], ship: &Ship, number: u32) -> Totals {
    totals
        .threads
        .retain(|(_, thread)| tgids.contains(&thread.tgid));
    let tids: Vec<u32> = totals.threads.iter().map(|(tid, _)| *tid).collect();
    totals.waits.retain(|(key, _)| tids.contains(&key.tid));
    totals.block.retain(|(key, _)| tgids.contains(&key.tgid));
    totals.snapshots.retain(|(tgid, _)| tgids.contains(tgid));
    totals.turnaround.retain(|(ship, _)| *ship == number);
    let netns = ship
        .network_namespace_inode
        .known()
        .map(|netns| *netns as u32);
    let ports = ship.udp_ports.known();
    totals.udp.retain(|(key, _)| {
        netns == Some(key.netns)
            && ports.is_some_and(|ports| ports.iter().any(|port| u32::from(*port) == key.port))
    });
    totals
}

/// Whether mars has nothing to do: all its threads wait for work, and not just since now.
fn rests(totals: &Totals, ship: &Ship, at_ktime_ns: u64) -> bool {
    let Some(mars) = &ship.mars else {
        return false;
    };
    let threads = totals.threads.iter().map(|(_, thread)| thread);
    let mut threads = threads
        .filter(|thread| thread.tgid == mars.tgid && thread.exited_ktime_ns == 0)
        .peekable();
    threads.peek().is_some()
        && threads.all(|thread| {
            thread.state == STATE_BLOCKED
                && waits_for_work(thread.wait.syscall_nr)
                && at_ktime_ns.saturating_sub(thread.since_ktime_ns) >= REST_NS
        })
}

/// Memory of mars, by the few counters that hold nobody up.
fn mars_memory(roots: &Roots, ship: &Ship) -> Option<ProcessMemory> {
    let status = Process::new(roots, ship.mars.as_ref()?.tgid)
        .status()
        .ok()?;
    let bytes = |kib: Option<u64>| kib.map(|kib| kib * 1024);
    Some(ProcessMemory {
        rss_bytes: bytes(status.vmrss)?,
        anon_bytes: bytes(status.rssanon)?,
        swap_bytes: bytes(status.vmswap)?,
        map_count: None,
    })
}
