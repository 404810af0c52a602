//! `profile sampler`: one window after another, for months, into a store.

mod labels;
mod meter;
mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, MissedTickBehavior};

use super::interrupts::{Interrupts, Signals};
use super::{DONE, SamplerArgs};
use super::{readings, session};
use crate::capture::probes::{ProbeOptions, Probes};
use crate::capture::symbols::Executables;
use crate::capture::{naming, privileges};
use crate::host::counters::{counters, now_ktime_ns};
use crate::host::{HostFacts, Roots};
use crate::model::{EndReason, Losses, SampledStack, Totals};
use crate::sampler::names::Names;
use crate::sampler::reading::{close, first_entry};
use crate::sampler::thinning::{SAMPLE_HZ, Thinning};
use crate::ship::{Selector, Ship, discover, ships};
use crate::store::Store;
use labels::{LOOK_EVERY, Labels};
use meter::Meter;
use windows::{End, Moment, Readings, living};

/// How often it looks whether its ships still run.
const TICK: Duration = Duration::from_secs(1);
/// Ring buffer: only beginnings and ends of threads go there.
const RING_BYTES: u32 = 64 << 10;
/// Name of the file beside the store that ends the sampler.
const STOP_SUFFIX: &str = ".stop";
/// The first window's; none is under 0, which no stack was taken under.
const FIRST_EPOCH: u32 = 1;

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
    let mut probes = Probes::attach(&ProbeOptions {
        recording: false,
        threshold_ns: u64::MAX,
        timeline_ns: u64::MAX,
        sample_hz: SAMPLE_HZ,
        user_stacks: true,
        ring_bytes: RING_BYTES,
        log_level: log::LevelFilter::Off,
    })?;
    let thinning = Thinning::new(arguments.cpu_budget / 100.0);
    probes.set_control(thinning.step().control(FIRST_EPOCH))?;
    let meter = Meter::begin(&roots, &mut probes);
    // The code of the ships, which stacks are named by, can be opened for sure only now.
    let mut executables = Executables::default();
    for tgid in found.iter().flat_map(Ship::tgids) {
        readings::open_code(&roots, &mut executables, tgid);
    }
    // Attaching takes more memory than anything later does; windows tell their own largest.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    privileges::give_up(None).context("cannot give up privileges after attaching")?;
    let (runtime, mut interrupts) = interrupts.into_parts();
    let mut sampler = Sampler {
        roots: &roots,
        arguments,
        wanted,
        probes,
        store,
        ships: BTreeMap::new(),
        labels: BTreeMap::new(),
        losses: Vec::new(),
        next_ship: 0,
        executables,
        names: Names::default(),
        meter,
        thinning,
        epoch: FIRST_EPOCH,
    };
    let now = now_ktime_ns();
    sampler.probes.set_window(now, u64::MAX)?;
    for ship in found {
        sampler.begin(ship)?;
    }
    sampler.meter.ships_are_watched(&roots, &sampler.probes);
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
        match arguments.all {
            true => Self::All,
            false => Self::One(Selector::of(arguments.ship.as_deref())),
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
    /// Of all ships, closed when the window began.
    totals: Rc<Totals>,
    start: Moment,
    readings: Readings,
}

struct Sampler<'a> {
    roots: &'a Roots,
    arguments: &'a SamplerArgs,
    wanted: Wanted,
    probes: Probes,
    store: Store,
    /// By process id of the king.
    ships: BTreeMap<u32, Sampled>,
    /// Their labels, likewise.
    labels: BTreeMap<u32, Labels>,
    /// The programs' losses when the last windows ended.
    losses: Vec<u64>,
    next_ship: u32,
    /// The ships' code.
    executables: Executables,
    /// Names that were found in it.
    names: Names,
    meter: Meter,
    thinning: Thinning,
    /// Under which the programs add stacks up now.
    epoch: u32,
}

impl Sampler<'_> {
    /// Samples until it is ended, as it is meant to be: by a signal or the stop file.
    async fn sample(&mut self, stop: &Path, interrupts: &mut Signals) -> anyhow::Result<()> {
        let interval = Duration::from_secs(self.arguments.interval);
        let mut end = Instant::now() + interval;
        let mut tick = tokio::time::interval(TICK);
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let ended = tokio::select! {
                _ = looks.tick() => {
                    self.look_at_labels();
                    continue;
                }
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
            if self.meter.is_due() {
                let totals = self.read(now_ktime_ns())?;
                self.meter.note(self.roots, &mut self.probes, &totals);
            }
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

    /// Looks at which agent or vane runs, unless stacks are left out.
    fn look_at_labels(&mut self) {
        if self.thinning.step().takes_stacks() {
            self.labels.values_mut().for_each(Labels::look);
        }
    }

    /// Begins the first window of a ship.
    fn begin(&mut self, ship: Ship) -> anyhow::Result<()> {
        let number = self.next_ship;
        self.next_ship += 1;
        self.enter_threads(&ship)?;
        self.probes.watch_turnaround(number)?;
        session::watch(&mut self.probes, &ship, number)?;
        self.open_code(&ship.tgids());
        let at = Moment::now();
        let totals = Rc::new(self.read(at.ktime_ns)?);
        let readings = self.readings(&ship, &ship.tgids());
        let labels = Labels::find(self.roots, &ship);
        self.labels.insert(ship.king.tgid, labels);
        let sampled = self.opening(ship, number, totals, at, readings);
        self.ships.insert(sampled.ship.king.tgid, sampled);
        Ok(())
    }

    /// Tells the programs what each thread of a ship is doing, before they see it do anything else.
    fn enter_threads(&mut self, ship: &Ship) -> anyhow::Result<()> {
        let used = counters(self.roots, &ship.targets()).threads;
        let at_ktime_ns = now_ktime_ns();
        let entries: Vec<_> = readings::thread_states(self.roots, ship.tgids().iter())
            .iter()
            .filter_map(|state| {
                let sum_exec_ns = used.get(&state.tid)?.on_cpu_ns;
                Some((state.tid, first_entry(state, sum_exec_ns, at_ktime_ns)))
            })
            .collect();
        Ok(self.probes.enter_threads(&entries)?)
    }

    /// All sums, closed.
    fn read(&self, at_ktime_ns: u64) -> anyhow::Result<Totals> {
        let mut totals = self.probes.totals()?;
        close(&mut totals, 0, at_ktime_ns);
        Ok(totals)
    }

    /// Opens the code of processes that are new.
    fn open_code(&mut self, tgids: &[u32]) {
        for &tgid in tgids {
            if !self.executables.has(tgid) {
                readings::open_code(self.roots, &mut self.executables, tgid);
            }
        }
    }

    /// Ends the window of every ship, and begins the next.
    fn end_all(&mut self, reason: EndReason) -> anyhow::Result<()> {
        let losses = self.losses_since()?;
        let thinning = self.thinning;
        let at = Moment::now();
        let mut totals = self.read(at.ktime_ns)?;
        self.meter.note(self.roots, &mut self.probes, &totals);
        let cost = self.meter.cost(self.roots, &self.probes);
        self.meter.windows_end(self.roots, &self.probes);
        self.thinning.note(cost.ratio());
        // From here on stacks are the next window's.
        let epoch = self.epoch;
        self.epoch = self.epoch.wrapping_add(1);
        let control = self.thinning.step().control(self.epoch);
        self.probes.set_control(control)?;
        let stacks = self.probes.take_stacks(epoch, None)?;
        let unnamed = self.find_names(&stacks);
        let dead = self.forget_the_dead(&totals)?;
        let end = End {
            reason,
            at,
            totals: Rc::new(std::mem::take(&mut totals)),
            losses,
            stacks,
            unnamed,
            thinning,
            cost,
        };
        // What has ended has no place in the programs' maps any more.
        let next = Rc::new(living(&end.totals));
        for king in self.ships.keys().copied().collect::<Vec<_>>() {
            let Some(sampled) = self.ships.remove(&king) else {
                continue;
            };
            let (ship, number, readings) = self.end(sampled, &end)?;
            if reason == EndReason::TimeIsUp {
                let sampled = self.opening(ship, number, Rc::clone(&next), end.at, readings);
                self.ships.insert(king, sampled);
            }
        }
        // A process ends with its first thread, and its windows are made.
        for tgid in dead {
            self.executables.remove(tgid);
            self.names.forget(tgid);
        }
        Ok(())
    }

    /// Ends the windows of ships whose king has gone.
    fn end_of_those_gone(&mut self) -> anyhow::Result<()> {
        let gone: Vec<u32> = self
            .ships
            .iter()
            .filter(|(_, sampled)| !sampled.ship.king.still_runs(self.roots))
            .map(|(king, _)| *king)
            .collect();
        for king in gone {
            let Some(sampled) = self.ships.remove(&king) else {
                continue;
            };
            let tgids = self.tgids(&sampled)?;
            let at = Moment::now();
            let totals = self.read(at.ktime_ns)?;
            let stacks = self.probes.take_stacks(self.epoch, Some(&tgids))?;
            let unnamed = self.find_names(&stacks);
            let end = End {
                reason: EndReason::ShipExited,
                at,
                totals: Rc::new(totals),
                // Told again at the next end of all: what is lost may have been any ship's.
                losses: self.losses_now()?,
                stacks,
                unnamed,
                thinning: self.thinning,
                cost: self.meter.cost(self.roots, &self.probes),
            };
            let (_, number, _) = self.end(sampled, &end)?;
            self.labels.remove(&king);
            self.probes.unwatch_turnaround(number)?;
            for tgid in tgids {
                self.probes.unwatch_process(tgid)?;
                self.executables.remove(tgid);
                self.names.forget(tgid);
            }
        }
        Ok(())
    }

    /// Finds names for stacks. Says why, if some have none.
    fn find_names(&mut self, stacks: &[SampledStack]) -> Option<String> {
        let tgids: BTreeSet<u32> = stacks.iter().map(|stack| stack.thread.tgid).collect();
        self.open_code(&tgids.into_iter().collect::<Vec<_>>());
        let missing = self.names.missing(stacks);
        if missing.is_empty() {
            return None;
        }
        match naming::name(&self.executables, missing.clone()) {
            Ok(found) => {
                let error = found.errors.values().next().cloned();
                self.names.learn(&missing, found);
                error.map(|error| format!("names of some stacks ({error})"))
            }
            // Asked again at the next end.
            Err(error) => Some(format!("names of some stacks ({error})")),
        }
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

    /// Threads that have ended make room for others. Says which.
    fn forget_the_dead(&mut self, totals: &Totals) -> anyhow::Result<Vec<u32>> {
        let dead: Vec<u32> = totals
            .threads
            .iter()
            .filter(|(_, thread)| thread.exited_ktime_ns != 0)
            .map(|(tid, _)| *tid)
            .collect();
        self.probes.forget(totals, &dead)?;
        Ok(dead)
    }
}
