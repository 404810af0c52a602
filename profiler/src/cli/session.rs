//! One capture from beginning to end: attach, give up privileges, open the window, drain until
//! it closes, read the sums, name the stacks.

use std::collections::BTreeMap;
use std::time::Duration;

use profiler_common::neighbour::{FORGOTTEN, MAX_DEVICES};
use thiserror::Error;
use tokio::signal::unix::Signal;
use tokio::time::Instant;

use crate::capture::code::CodeTables;
use crate::capture::privileges;
use crate::capture::probes::{ProbeError, ProbeOptions, Probes};
use crate::capture::recording::Recording;
use crate::capture::symbols::Executables;
use crate::hoon::HoonNames;
use crate::host::block::takes_bios;
use crate::host::cgroup::unified_group;
use crate::host::counters::{counters, now_ktime_ns};
use crate::host::firewall;
use crate::host::memory::{self, Mappings};
use crate::host::neighbours::{self, NeighbourFacts, OtherShip};
use crate::host::net::socket_cookies;
use crate::host::process::Process;
use crate::host::{Reading, Roots, host_facts};
use crate::model::{Clocks, EndReason, Losses, Meta, ProgramCost, Symbols, Totals};
use crate::ship::{self, KingCounters, Setup, Ship, loom};
use crate::unwind;

use super::hoon::HoonLookUps;
use super::interrupts::{Interrupts, Signals};
use super::readings::{
    cpu_time_ns, loom_use, open_code, other_ships, other_than, own_use, thread_ids, thread_states,
    unix_ns,
};

/// How often the ring buffer is emptied. It never wakes us: that would cost a context switch a
/// record.
const DRAIN_INTERVAL: Duration = Duration::from_millis(50);
/// How long states are followed before the window opens, so that nearly every thread's is known.
const WARM_UP: Duration = Duration::from_millis(100);
/// How long the kernel counts the programs' run time. It costs two clock readings a run, as much as a program
/// that has nothing to do: so not for the whole capture.
const COST_WINDOW: Duration = Duration::from_secs(2);
/// How far ahead the window's ends are announced, so that every program knows them in time and
/// counts up to the very nanosecond.
const LEAD: Duration = Duration::from_millis(20);
/// How long a program that began inside the window may still run after its end.
const SETTLE: Duration = Duration::from_millis(5);

/// How many neighbours are looked up, for CPU and for disk.
const MAX_NEIGHBOURS: usize = 32;

/// What to capture.
#[derive(Debug, Clone)]
pub struct CaptureOptions {
    /// How long.
    pub seconds: u64,
    /// Limit on the bytes of records kept; when it is reached the capture ends early.
    pub max_record_bytes: u64,
    /// How the programs run.
    pub probes: ProbeOptions,
}

/// Why there is no capture.
#[derive(Debug, Error)]
pub enum SessionError {
    /// The programs could not be attached or read.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The kernel did not let privileges go.
    #[error("cannot give up privileges after attaching: {0}")]
    Privileges(#[from] rustix::io::Errno),
}

/// A capture that was taken, before it is written or decoded.
pub struct Taken {
    /// Circumstances.
    pub meta: Meta,
    /// Records as they came.
    pub recording: Recording,
    /// Sums.
    pub totals: Totals,
    /// The code that stacks are named by.
    executables: Executables,
    /// What Hoon stacks are named by.
    hoon: HoonNames,
}

impl Taken {
    /// Makes the stacks whole, names them, and makes it a capture that a report can be made of.
    pub fn into_capture(self) -> (crate::model::Capture, Recording) {
        let Self {
            mut meta,
            mut recording,
            totals,
            executables,
            hoon,
        } = self;
        let code = CodeTables::of(&executables);
        recording.replace(|record| unwind::complete(record, |tgid| code.of_process(tgid)));
        drop(code);
        let (events, malformed) = recording.decode();
        let symbols: Symbols = executables.resolve(&events);
        meta.losses.malformed_records += malformed;
        (
            crate::model::Capture {
                meta,
                events,
                totals,
                symbols,
                hoon,
            },
            recording,
        )
    }
}

/// What a running capture tells about itself.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Time since the window opened.
    pub elapsed: Duration,
    /// Records so far.
    pub records: u64,
}

/// Takes a capture of `ship`. Privileges are given up on the way, for good.
///
/// # Errors
/// If nothing could be attached, or the sums could not be read at the end.
pub fn run(
    roots: &Roots,
    ship: Ship,
    options: &CaptureOptions,
    sudo_caller: Option<(u32, u32)>,
    interrupts: Interrupts,
    progress: &mut dyn FnMut(Progress),
) -> Result<Taken, SessionError> {
    let mut probes = Probes::attach(&options.probes)?;
    let mut executables = Executables::default();
    watch(&mut probes, &ship, 0)?;
    for tgid in ship.tgids() {
        open_code(roots, &mut executables, tgid);
    }
    // With all rights: whose a pier is, its open files tell.
    let ships = ship::ships(roots);
    probes.name_files(&ship::files::files(roots, &ship))?;
    for other in other_than(&ship, ships.as_deref().unwrap_or_default()) {
        probes.name_files(&ship::files::files(roots, other))?;
    }
    let other_ships = other_ships(ships, &ship);
    let tids: Vec<u32> = ship
        .tgids()
        .iter()
        .flat_map(|&tgid| thread_ids(roots, tgid))
        .collect();
    probes.watch_faults(&tids);
    watch_packets(&mut probes, roots, &ship)?;
    let king_counters = KingCounters::open(roots, &ship);
    let setup = ship::setup(roots, &ship, &firewall::rules(roots));
    // Without it the report says that its own cost was not measured.
    let run_time_counting = aya::sys::enable_stats(aya::sys::Stats::RunTime).ok();
    privileges::give_up(sudo_caller)?;
    let (
        runtime,
        Signals {
            interrupt,
            terminate,
        },
    ) = interrupts.into_parts();
    let session = Session {
        roots,
        ship,
        options,
        probes,
        executables,
        hoon: HoonLookUps::default(),
        other_ships,
        king_counters,
        setup,
        mappings_start: BTreeMap::new(),
        interrupt,
        terminate,
    };
    runtime.block_on(session.capture(run_time_counting, progress))
}

/// Watches a ship's processes and sockets. `number` tells it from others.
///
/// # Errors
/// If the kernel refuses a map update.
pub fn watch(probes: &mut Probes, ship: &Ship, number: u32) -> Result<(), ProbeError> {
    for tgid in ship.tgids() {
        probes.watch_process(tgid, number, ship)?;
    }
    if let (Some(netns), Some(ports)) =
        (ship.network_namespace_inode.known(), ship.udp_ports.known())
    {
        for port in ports {
            // Inode numbers of namespaces fit 32 bits (`ns_common.inum`).
            probes.watch_socket(*netns as u32, *port)?;
        }
    }
    Ok(())
}

/// Watches the datagrams of the king's sockets by the ships that they name.
fn watch_packets(probes: &mut Probes, roots: &Roots, ship: &Ship) -> Result<(), ProbeError> {
    let king = Process::new(roots, ship.king.tgid);
    let sockets = socket_cookies(&king).map_err(|error| error.to_string());
    let group = unified_group(roots, &king);
    let group = group.as_deref().map_err(String::clone);
    probes.watch_packets(sockets, group)
}

struct Session<'a> {
    roots: &'a Roots,
    ship: Ship,
    options: &'a CaptureOptions,
    probes: Probes,
    executables: Executables,
    hoon: HoonLookUps,
    other_ships: Reading<Vec<OtherShip>>,
    king_counters: KingCounters,
    setup: Setup,
    mappings_start: BTreeMap<u32, Mappings>,
    interrupt: Signal,
    terminate: Signal,
}

impl Session<'_> {
    async fn capture(
        mut self,
        run_time_counting: Option<std::os::fd::OwnedFd>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Taken, SessionError> {
        tokio::time::sleep(WARM_UP).await;
        let targets = self.ship.targets();
        let host = host_facts(self.roots, &targets);
        for device in host.storage.backing.devices().iter().take(MAX_DEVICES) {
            let takes_bios = takes_bios(self.roots, device.major, device.minor);
            self.probes
                .watch_device(device.major, device.minor, takes_bios)?;
        }
        let start_ktime_ns = now_ktime_ns() + LEAD.as_nanos() as u64;
        self.probes.set_window(start_ktime_ns, u64::MAX)?;
        until(start_ktime_ns).await;
        let start_unix_ns = unix_ns();
        let cpu_start = cpu_time_ns();
        let counters_start = counters(self.roots, &targets);
        let loom_start = loom::answer(self.roots, &self.ship);
        let thread_states_start = thread_states(self.roots, self.ship.tgids().iter());
        self.mappings_start = self.mappings(&self.ship.tgids(), &[]);
        let counted_start = self.king_counters.read();

        let mut recording = Recording::default();
        let (ended, program_costs, cost_measured_ns) = self
            .drain(&mut recording, run_time_counting, progress)
            .await?;

        let counted_end = self.king_counters.read();
        let end_ktime_ns = now_ktime_ns() + LEAD.as_nanos() as u64;
        self.probes.set_window(start_ktime_ns, end_ktime_ns)?;
        until(end_ktime_ns).await;
        let counters_end = counters(self.roots, &targets);
        let loom_end = loom::answer(self.roots, &self.ship);
        tokio::time::sleep(SETTLE).await;
        self.take_records(&mut recording);
        let totals = self.probes.totals()?;
        let losses = Losses {
            kernel: self.probes.losses()?,
            malformed_records: 0,
        };
        let followed_tgids = self.followed()?;
        for tgid in &followed_tgids {
            open_code(self.roots, &mut self.executables, *tgid);
        }
        let tgids = self.ship.tgids();
        let mappings = self.mappings(&tgids, &followed_tgids);
        let thread_states = thread_states(self.roots, tgids.iter().chain(&followed_tgids));
        let neighbours = self.neighbours(&totals, &followed_tgids);
        let meta = Meta {
            profiler_version: env!("CARGO_PKG_VERSION").to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            host,
            clocks: Clocks {
                start_ktime_ns,
                end_ktime_ns,
                start_unix_ns,
            },
            requested_s: self.options.seconds,
            threshold_ns: self.options.probes.threshold_ns,
            timeline_ns: self.options.probes.timeline_ns,
            sample_hz: self.options.probes.sample_hz,
            ended,
            probes: self.probes.statuses().to_vec(),
            followed_tgids,
            thread_states_start,
            thread_states,
            counters_start,
            counters_end,
            loom_start,
            loom_end,
            mappings,
            loom_use: loom_use(self.roots, &self.ship),
            under_way: [&counted_start, &counted_end]
                .into_iter()
                .filter_map(|counted| counted.under_way)
                .collect(),
            king_counters_start: counted_start.datagrams,
            king_counters_end: counted_end.datagrams,
            setup: Reading::Known(self.setup),
            neighbours: Reading::Known(neighbours),
            losses,
            program_costs,
            cost_measured_ns,
            own_tgid: std::process::id(),
            own_use: own_use(self.roots, cpu_start),
            record_bytes: recording.len_bytes(),
            records: recording.records(),
            ship: self.ship,
        };
        // Dropping the probes detaches them: nothing stays in the kernel while names are resolved.
        Ok(Taken {
            meta,
            recording,
            totals,
            executables: self.executables,
            hoon: self.hoon.into_names(),
        })
    }

    /// Empties the ring buffer until the capture ends. Says why it ended, and what the programs
    /// cost in the part for which the kernel kept count.
    async fn drain(
        &mut self,
        recording: &mut Recording,
        mut run_time_counting: Option<std::os::fd::OwnedFd>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(EndReason, Vec<ProgramCost>, u64), SessionError> {
        let begun = Instant::now();
        let end = begun + Duration::from_secs(self.options.seconds);
        let (costs_before, counted_from) = (self.probes.costs(), now_ktime_ns());
        let mut costs = (Vec::new(), 0);
        let mut tick = tokio::time::interval(DRAIN_INTERVAL);
        let verbose = self.options.probes.log_level != log::LevelFilter::Off;
        let mut diagnostics = verbose.then(|| diagnostics(&mut self.probes)).flatten();
        let ended = loop {
            tokio::select! {
                _ = self.interrupt.recv() => break EndReason::Interrupted,
                _ = self.terminate.recv() => break EndReason::Interrupted,
                () = tokio::time::sleep_until(end) => break EndReason::TimeIsUp,
                _ = tick.tick() => {}
            }
            self.take_records(recording);
            if let Some(diagnostics) = &mut diagnostics {
                diagnostics.flush();
            }
            progress(Progress {
                elapsed: begun.elapsed(),
                records: recording.records(),
            });
            if run_time_counting.is_some() && begun.elapsed() >= COST_WINDOW {
                costs = self.costs_since(&costs_before, counted_from);
                run_time_counting = None;
            }
            if recording.len_bytes() >= self.options.max_record_bytes {
                break EndReason::SizeLimit;
            }
            if !self.ship.king.still_runs(self.roots) {
                break EndReason::ShipExited;
            }
        };
        if run_time_counting.is_some() {
            costs = self.costs_since(&costs_before, counted_from);
        }
        Ok((ended, costs.0, costs.1))
    }

    /// Empties the ring buffer. Hoon stacks are named at once: nouns do not last.
    fn take_records(&mut self, recording: &mut Recording) {
        let (roots, hoon) = (self.roots, &mut self.hoon);
        self.probes.drain(|record| {
            hoon.look_up(roots, record);
            recording.push(record);
        });
    }

    fn costs_since(&self, before: &[ProgramCost], since_ktime_ns: u64) -> (Vec<ProgramCost>, u64) {
        let mut costs = self.probes.costs();
        for cost in &mut costs {
            if let Some(before) = before.iter().find(|b| b.program == cost.program) {
                cost.runs = cost.runs.saturating_sub(before.runs);
                cost.run_time_ns = cost.run_time_ns.saturating_sub(before.run_time_ns);
            }
        }
        (costs, now_ktime_ns().saturating_sub(since_ktime_ns))
    }

    /// What the addresses of all processes are for; of one that has ended, as far as it was known.
    fn mappings(&self, tgids: &[u32], followed: &[u32]) -> BTreeMap<u32, Mappings> {
        let mut known = self.mappings_start.clone();
        for &tgid in tgids.iter().chain(followed) {
            if let Ok(mappings) = memory::mappings(&Process::new(self.roots, tgid)) {
                known.insert(tgid, mappings);
            }
        }
        known
    }

    /// Who ran and wrote beside the ship. A ship that began meanwhile is one too.
    fn neighbours(&self, totals: &Totals, followed: &[u32]) -> NeighbourFacts {
        let mut ships = self.other_ships.clone();
        if let (Reading::Known(ships), Reading::Known(now)) =
            (&mut ships, other_ships(ship::ships(self.roots), &self.ship))
        {
            let new = |ship: &OtherShip| {
                let known = ships.iter().flat_map(|ship| &ship.tgids);
                let mut known = known.chain(followed);
                !known.any(|tgid| ship.tgids.contains(tgid))
            };
            let new: Vec<OtherShip> = now.into_iter().filter(new).collect();
            ships.extend(new);
        }
        let heaviest = totals.neighbours.heaviest(MAX_NEIGHBOURS);
        let others = heaviest
            .into_iter()
            .filter(|tgid| *tgid != 0 && *tgid != FORGOTTEN && !self.ship.tgids().contains(tgid));
        NeighbourFacts {
            ships,
            processes: neighbours::identify(self.roots, others),
        }
    }

    /// Processes that the ship forked meanwhile: a mars that was started again.
    fn followed(&self) -> Result<Vec<u32>, ProbeError> {
        let watched = self.probes.watched_processes()?;
        let mut followed: Vec<u32> = watched
            .iter()
            .filter(|(_, p)| p.followed != 0)
            .map(|(tgid, _)| *tgid)
            .collect();
        followed.sort_unstable();
        Ok(followed)
    }
}

/// Reads what the programs say of themselves, for `log`.
fn diagnostics(probes: &mut Probes) -> Option<aya_log::EbpfLogger<&'static dyn log::Log>> {
    aya_log::EbpfLogger::init(probes.ebpf_mut())
        .inspect_err(|error| log::warn!("the eBPF programs' diagnostics cannot be read: {error}"))
        .ok()
}

/// Sleeps until a moment of `CLOCK_MONOTONIC`.
async fn until(ktime_ns: u64) {
    let left = ktime_ns.saturating_sub(now_ktime_ns());
    tokio::time::sleep(Duration::from_nanos(left)).await;
}
