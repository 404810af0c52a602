//! `profile sampler`: one window after another, for months, into a store.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

use super::session::{self, Interrupts};
use super::{DONE, SamplerArgs};
use crate::capture::privileges;
use crate::capture::probes::{ProbeOptions, Probes};
use crate::host::counters::{KernelCounters, counters, now_ktime_ns};
use crate::host::process::Process;
use crate::host::{HostFacts, Reading, Roots, host_facts};
use crate::model::ProcessMemory;
use crate::model::{Capture, Clocks, EndReason, Losses, Meta, Symbols, ThreadState, Totals};
use crate::sampler::reading::{close, difference};
use crate::sampler::window::{Circumstances, window};
use crate::ship::loom::{self, LoomAnswer};
use crate::ship::{Selector, Ship, discover, ships};
use crate::store::{Retention, Store, StoreError};

/// How often it looks whether its ships still run.
const TICK: Duration = Duration::from_secs(1);
/// Ring buffer: only beginnings and ends of threads go there.
const RING_BYTES: u32 = 64 << 10;
/// Name of the file beside the store that ends the sampler.
const STOP_SUFFIX: &str = ".stop";

pub(super) fn run(arguments: &SamplerArgs) -> anyhow::Result<u8> {
    let roots = Roots::default();
    let wanted = Wanted::of(arguments);
    // Before privileges go, and before anything is attached: a store that cannot be used is told at once.
    let store = Store::create_or_open(&arguments.store)?;
    let stop = stop_file(&arguments.store);
    if stop.exists() {
        eprintln!(
            "not started: {} exists; remove it to let the sampler run",
            stop.display()
        );
        return Ok(DONE);
    }
    let found = wanted.find(&roots)?;
    let interrupts = Interrupts::listen()?;
    let probes = Probes::attach(&ProbeOptions {
        recording: false,
        threshold_ns: u64::MAX,
        sample_hz: 0,
        ring_bytes: RING_BYTES,
        log_level: log::LevelFilter::Off,
    })?;
    privileges::give_up(None).context("cannot give up privileges after attaching")?;
    let (runtime, mut interrupts) = interrupts.into_parts();
    let mut sampler = Sampler {
        roots: &roots,
        arguments,
        wanted,
        probes,
        store,
        ships: BTreeMap::new(),
        losses: Vec::new(),
        next_ship: 0,
    };
    let now = now_ktime_ns();
    sampler.probes.set_window(now, u64::MAX)?;
    for ship in found {
        sampler.begin(ship)?;
    }
    let names: Vec<String> = sampler.ships.values().map(|s| s.ship.label()).collect();
    eprintln!(
        "sampling {} every {} s into {}; Ctrl-C, SIGTERM or the file {} ends it",
        crate::render::harmless(&names.join(", ")),
        arguments.interval,
        arguments.store.display(),
        stop.display()
    );
    runtime.block_on(sampler.sample(&stop, &mut interrupts))?;
    sampler.store.close()?;
    Ok(DONE)
}

/// The file whose presence ends a sampler, and keeps the next one from starting.
fn stop_file(store: &Path) -> std::path::PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(STOP_SUFFIX);
    name.into()
}

/// Which ships are to be sampled.
enum Wanted {
    All,
    One(Selector),
}

impl Wanted {
    fn of(arguments: &SamplerArgs) -> Self {
        match (&arguments.ship, arguments.all) {
            (_, true) => Self::All,
            (Some(ship), false) => Self::One(Selector::parse(ship)),
            (None, false) => Self::One(Selector::Only),
        }
    }

    fn find(&self, roots: &Roots) -> anyhow::Result<Vec<Ship>> {
        Ok(match self {
            Self::All => ships(roots)?,
            Self::One(selector) => vec![discover(roots, selector)?],
        })
    }
}

/// A ship that is sampled, and all that was read when its window began.
struct Sampled {
    ship: Ship,
    /// Its number in the programs' maps.
    number: u32,
    host: HostFacts,
    /// Closed when the window began.
    totals: Totals,
    start_ktime_ns: u64,
    start_unix_ns: u64,
    counters: KernelCounters,
    loom: LoomAnswer,
    thread_states: Vec<ThreadState>,
    cpu_start_ns: u64,
}

struct Sampler<'a> {
    roots: &'a Roots,
    arguments: &'a SamplerArgs,
    wanted: Wanted,
    probes: Probes,
    store: Store,
    /// By process id of the king.
    ships: BTreeMap<u32, Sampled>,
    /// The programs' losses when the last windows ended.
    losses: Vec<u64>,
    next_ship: u32,
}

impl Sampler<'_> {
    /// Samples until it is ended, as it is meant to be: by a signal or the stop file.
    async fn sample(
        &mut self,
        stop: &Path,
        interrupts: &mut session::Signals,
    ) -> anyhow::Result<()> {
        let interval = Duration::from_secs(self.arguments.interval);
        let mut end = Instant::now() + interval;
        let mut tick = tokio::time::interval(TICK);
        loop {
            let ended = tokio::select! {
                _ = interrupts.interrupt.recv() => true,
                _ = interrupts.terminate.recv() => true,
                _ = tick.tick() => stop.exists(),
            };
            // Beginnings and ends of threads, which the sums tell too.
            self.probes.drain(|_| {});
            if ended {
                self.end_all(EndReason::Interrupted)?;
                return Ok(());
            }
            self.end_of_those_gone()?;
            if Instant::now() < end {
                continue;
            }
            self.end_all(EndReason::TimeIsUp)?;
            if self.arguments.once {
                return Ok(());
            }
            self.look_for_new()?;
            // Not from now: windows keep their places however long the storing took.
            end = (end + interval).max(Instant::now());
        }
    }

    /// Begins the first window of a ship.
    fn begin(&mut self, ship: Ship) -> anyhow::Result<()> {
        let number = self.next_ship;
        self.next_ship += 1;
        session::watch(&mut self.probes, &ship, number)?;
        let totals = self.read(now_ktime_ns())?;
        let sampled = self.opening(ship, number, totals);
        self.ships.insert(sampled.ship.king.tgid, sampled);
        Ok(())
    }

    /// All sums, closed.
    fn read(&self, at_ktime_ns: u64) -> anyhow::Result<Totals> {
        let mut totals = self.probes.totals()?;
        close(&mut totals, 0, at_ktime_ns);
        Ok(totals)
    }

    /// What a window begins with.
    fn opening(&self, ship: Ship, number: u32, totals: Totals) -> Sampled {
        let targets = ship.targets();
        Sampled {
            number,
            host: host_facts(self.roots, &targets),
            totals,
            start_ktime_ns: now_ktime_ns(),
            start_unix_ns: session::unix_ns(),
            counters: counters(self.roots, &targets),
            loom: loom::answer(self.roots, &ship),
            thread_states: session::thread_states(self.roots, ship.tgids().iter()),
            cpu_start_ns: session::cpu_time_ns(),
            ship,
        }
    }

    /// Ends the window of every ship, and begins the next.
    fn end_all(&mut self, ended: EndReason) -> anyhow::Result<()> {
        let losses = self.losses_since()?;
        for king in self.ships.keys().copied().collect::<Vec<_>>() {
            let Some(sampled) = self.ships.remove(&king) else {
                continue;
            };
            let (ship, number, totals) = self.end(sampled, ended, losses.clone())?;
            if ended == EndReason::TimeIsUp {
                let sampled = self.opening(ship, number, totals);
                self.ships.insert(king, sampled);
            }
        }
        self.forget_the_dead()
    }

    /// Ends the windows of ships whose king has gone.
    fn end_of_those_gone(&mut self) -> anyhow::Result<()> {
        let gone: Vec<u32> = self
            .ships
            .iter()
            .filter(|(_, sampled)| !sampled.ship.king.still_runs(self.roots))
            .map(|(king, _)| *king)
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        // Told again at the next end of all: what is lost may have been any ship's.
        let losses = self.losses_now()?;
        for king in gone {
            if let Some(sampled) = self.ships.remove(&king) {
                let tgids = sampled.ship.tgids();
                self.end(sampled, EndReason::ShipExited, losses.clone())?;
                for tgid in tgids {
                    self.probes.unwatch_process(tgid)?;
                }
            }
        }
        Ok(())
    }

    /// Begins with ships that were started since; a ship that is not there is no error.
    fn look_for_new(&mut self) -> anyhow::Result<()> {
        for ship in self.wanted.find(self.roots).unwrap_or_default() {
            if !self.ships.contains_key(&ship.king.tgid) {
                self.begin(ship)?;
            }
        }
        Ok(())
    }

    /// Ends one window and stores it. Gives back what the next begins with.
    fn end(
        &mut self,
        sampled: Sampled,
        ended: EndReason,
        losses: Losses,
    ) -> anyhow::Result<(Ship, u32, Totals)> {
        let end_ktime_ns = now_ktime_ns();
        let totals = self.read(end_ktime_ns)?;
        let end_unix_ns = session::unix_ns();
        let targets = sampled.ship.targets();
        let followed: Vec<u32> = self
            .probes
            .watched_processes()?
            .into_iter()
            .filter(|(_, process)| process.ship == sampled.number && process.followed != 0)
            .map(|(tgid, _)| tgid)
            .collect();
        let mut tgids = sampled.ship.tgids();
        tgids.extend(&followed);
        let since = difference(&sampled.totals, &totals, end_ktime_ns);
        let duration_ns = end_ktime_ns.saturating_sub(sampled.start_ktime_ns);
        let clock_step_ns =
            i128::from(end_unix_ns) - i128::from(sampled.start_unix_ns) - i128::from(duration_ns);
        let capture = Capture {
            totals: of_ship(since, &tgids, &sampled.ship),
            events: Vec::new(),
            symbols: Symbols::default(),
            meta: Meta {
                profiler_version: env!("CARGO_PKG_VERSION").to_owned(),
                architecture: std::env::consts::ARCH.to_owned(),
                host: sampled.host,
                clocks: Clocks {
                    start_ktime_ns: sampled.start_ktime_ns,
                    end_ktime_ns,
                    start_unix_ns: sampled.start_unix_ns,
                },
                requested_s: self.arguments.interval,
                threshold_ns: u64::MAX,
                sample_hz: 0,
                ended,
                probes: self.probes.statuses().to_vec(),
                followed_tgids: followed,
                thread_states_start: sampled.thread_states,
                thread_states: session::thread_states(self.roots, tgids.iter()),
                counters_start: sampled.counters,
                counters_end: counters(self.roots, &targets),
                loom_start: sampled.loom,
                loom_end: loom::answer(self.roots, &sampled.ship),
                mappings: BTreeMap::new(),
                loom_use: Reading::unknown("not read while sampling: it holds the ship up"),
                neighbours: Reading::unknown("not told apart while sampling"),
                losses,
                program_costs: Vec::new(),
                cost_measured_ns: 0,
                own_tgid: std::process::id(),
                own_use: session::own_use(self.roots, sampled.cpu_start_ns),
                record_bytes: 0,
                records: 0,
                ship: sampled.ship,
            },
        };
        let report = crate::report::report(&capture);
        let circumstances = Circumstances {
            // Both clocks are read one after the other: what is below a tick is no step.
            clock_step_ns: i64::try_from(clock_step_ns)
                .ok()
                .filter(|step| step.unsigned_abs() >= 10_000_000)
                .unwrap_or(0),
            memory: mars_memory(self.roots, &capture.meta.ship),
            thinned: false,
        };
        self.keep(&window(&capture, &report, &circumstances))?;
        Ok((capture.meta.ship, sampled.number, totals))
    }

    /// Stores a window. On a full disk the oldest make room for it.
    fn keep(&mut self, window: &crate::model::Window) -> anyhow::Result<()> {
        let retention = Retention {
            max_age: Duration::from_secs(self.arguments.keep_days * 86_400),
            max_bytes: self.arguments.max_size << 20,
        };
        let now_unix_ns = session::unix_ns();
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

    /// The programs' losses since the last windows of all ships ended.
    fn losses_now(&self) -> anyhow::Result<Losses> {
        let before = |i: usize| self.losses.get(i).copied().unwrap_or(0);
        let now = self.probes.losses()?;
        let since = now
            .iter()
            .enumerate()
            .map(|(i, count)| count.saturating_sub(before(i)));
        Ok(Losses {
            kernel: since.collect(),
            malformed_records: 0,
        })
    }

    /// The same, and they end now.
    fn losses_since(&mut self) -> anyhow::Result<Losses> {
        let losses = self.losses_now()?;
        for (i, lost) in losses.kernel.iter().enumerate() {
            match self.losses.get_mut(i) {
                Some(told) => *told += lost,
                None => self.losses.push(*lost),
            }
        }
        Ok(losses)
    }

    /// Threads that have ended make room for others.
    fn forget_the_dead(&mut self) -> anyhow::Result<()> {
        let totals = self.probes.totals()?;
        let dead: Vec<u32> = totals
            .threads
            .iter()
            .filter(|(_, thread)| thread.exited_ktime_ns != 0)
            .map(|(tid, _)| *tid)
            .collect();
        Ok(self.probes.forget(&totals, &dead)?)
    }
}

/// What of all sums is one ship's.
fn of_ship(mut totals: Totals, tgids: &[u32], ship: &Ship) -> Totals {
    totals
        .threads
        .retain(|(_, thread)| tgids.contains(&thread.tgid));
    let tids: Vec<u32> = totals.threads.iter().map(|(tid, _)| *tid).collect();
    totals.waits.retain(|(key, _)| tids.contains(&key.tid));
    totals.block.retain(|(key, _)| tgids.contains(&key.tgid));
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
