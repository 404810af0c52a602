//! Sets a scenario up, captures it, and takes it down.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use super::scenarios::{Fault, Place, Scenario};
use super::taskstats;
use super::truth::{Known, Leaves, Truth};
use super::witness::{Witness, now_ns};
use crate::faults::cpu::Pinned;
use crate::faults::memory::evict_image;
use crate::faults::{CpuHogs, CpuQuota, LoopDisk, MemoryLimit, SlowDisk, ZramSwap};
use crate::peer::Peer;
use crate::process::poll_until;
use crate::profile::{Profile, RunningProfile};
use crate::scratch::Scratch;
use crate::ship::RunningShip;
use crate::{Error, Result};

/// How long attaching may take.
const ATTACH_LIMIT: Duration = Duration::from_secs(60);
/// A capture has begun when its programs have been there for so long.
const ATTACHED: Duration = Duration::from_millis(500);
/// How long a ship that was given less memory goes on until its memory is as full as it will be.
const SETTLE: Duration = Duration::from_secs(5);
/// Memory that no ship here needs.
const PLENTY_BYTES: u64 = 1 << 30;
/// The CPU that a ship with a quota is pinned to: the kernel counts the time of each CPU.
const QUOTA_CPU: usize = 0;
/// What is read ahead of a cold image: so much that the reads that are let through bring a part of it per
/// event, whatever the disk below would take at once.
const COLD_READ_AHEAD_KIB: u32 = 512;
/// The same of an image of which pages are evicted: most of what is read ahead is evicted again unused.
const EVICTED_READ_AHEAD_KIB: u32 = 2048;

/// Both accounts of the same seconds.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// The ship's and the kernel's.
    pub truth: Truth,
    /// The profiler's.
    pub report: Value,
}

impl Measured {
    /// Time of leaves in the report, ns.
    pub fn reported(&self) -> Leaves {
        let causes = self.report["shares"].as_array().into_iter().flatten();
        let parts = causes.flat_map(|cause| cause["parts"].as_array().into_iter().flatten());
        parts
            .filter_map(|part| {
                Some((
                    part["leaf"].as_str()?.to_owned(),
                    part["total_ns"].as_u64()?,
                ))
            })
            .collect()
    }

    /// Events in the report.
    pub fn reported_events(&self) -> u64 {
        let count = &self.report["event_times"]["all"]["count"];
        count.as_u64().unwrap_or(0)
    }

    /// Share of the stalled time that is in no leaf, per cent.
    pub fn unexplained_percent(&self) -> f64 {
        let own_ns = self.report["event_times"]["own_computing_ns"].as_u64();
        let busy_ns = self.report["busy_ns"].as_u64().unwrap_or(0);
        let stalled_ns = busy_ns.saturating_sub(own_ns.unwrap_or(0)).max(1);
        let unexplained = self.reported().get("unexplained").copied().unwrap_or(0);
        100.0 * unexplained as f64 / stalled_ns as f64
    }
}

/// What was done, undone from the first to the last.
#[derive(Debug, Default)]
struct Injected {
    peers: Vec<Peer>,
    hogs: Vec<CpuHogs>,
    pinned: Vec<Pinned>,
    quota: Option<CpuQuota>,
    slow: Vec<SlowDisk>,
    memory: Vec<MemoryLimit>,
}

/// Runs a scenario and captures `seconds` of it; the capture is kept in `keep`.
pub fn measure(scenario: &Scenario, seconds: u64, keep: Option<&Path>) -> Result<Measured> {
    let _accounting = taskstats::account_delays()?;
    let memory = Scratch::in_memory("pier")?;
    let disk = match scenario.place {
        Place::Memory => None,
        Place::Disk(bytes) => Some(LoopDisk::new(bytes)?),
    };
    let swap = swap(scenario)?;
    let place = disk.as_ref().map_or(memory.path(), LoopDisk::path);
    let is_cold = scenario.faults.contains(&Fault::ColdImage);
    let read_ahead = scenario.faults.iter().find_map(|fault| match fault {
        Fault::ColdImage => Some(COLD_READ_AHEAD_KIB),
        Fault::Memory(_) => Some(EVICTED_READ_AHEAD_KIB),
        _ => None,
    });
    let _read_ahead = disk
        .as_ref()
        .zip(read_ahead)
        .map(|(disk, kib)| disk.read_ahead(kib))
        .transpose()?;
    let mut ship = scenario.ship.start_in(place)?;
    let mut injected = Injected::default();
    for fault in &scenario.faults {
        let fault = match (fault, &swap) {
            // All that it gets from now on counts, but only later there is too much of it.
            (Fault::Memory(_), Some(_)) => Fault::Memory(PLENTY_BYTES),
            (fault, _) => *fault,
        };
        inject(fault, &ship, disk.as_ref(), &mut injected)?;
    }
    let swaps_from_ktime_ns = swap.as_ref().map(|_| {
        // What it computes without.
        std::thread::sleep(SETTLE);
        now_ns()
    });
    for fault in &scenario.faults {
        if let (Fault::Memory(bytes), true) = (fault, swap.is_some()) {
            injected
                .memory
                .iter()
                .try_for_each(|limit| limit.set(*bytes))?;
        }
    }
    if !injected.memory.is_empty() {
        if swap.is_none() {
            evict_image(&ship)?;
        }
        std::thread::sleep(SETTLE);
    }
    let mars = Pid::from_raw(ship.mars_pid().cast_signed());
    let signal = |signal| {
        let sent = mars.map_or(Ok(()), |mars| kill_process(mars, signal));
        sent.map_err(Error::process("signal", ship.mars_pid()))
    };
    if is_cold {
        // So that it reads nothing meanwhile.
        signal(Signal::STOP)?;
        evict_image(&ship)?;
    }
    let quota = injected.quota.as_ref().map(CpuQuota::cpu_stat);
    let witness = Witness::start(&ship.pids(), quota)?;
    let mut profile = Profile::deep_dive(ship.pier(), seconds).json();
    if let Some(directory) = keep {
        profile = profile.output(directory);
    }
    let profile = profile.start()?;
    wait_until_attached(&profile)?;
    if is_cold {
        signal(Signal::CONT)?;
    }
    for packets in scenario.packets() {
        injected.peers.push(packets.start(ship.udp_port())?);
    }
    let outcome = profile.finish()?;
    let testimony = witness.testify()?;
    // A slow ship would take its time to stop.
    drop(injected);
    ship.stop()?;
    let report = outcome.json()?;
    let known = Known {
        window: window(&report),
        testimony: &testimony,
        page_in: scenario.page_in,
        swaps_from_ktime_ns,
    };
    let truth = Truth::of(&ship, known)?;
    if let Some(directory) = keep {
        let path = directory.join("truth.json");
        let text = serde_json::to_string_pretty(&truth).unwrap_or_default();
        fs::write(&path, text).map_err(Error::path("write", &path))?;
    }
    Ok(Measured { truth, report })
}

fn swap(scenario: &Scenario) -> Result<Option<ZramSwap>> {
    let bytes = scenario.faults.iter().find_map(|fault| match fault {
        Fault::Swap(bytes) => Some(*bytes),
        _ => None,
    });
    bytes.map(ZramSwap::start).transpose()
}

fn inject(
    fault: Fault,
    ship: &RunningShip,
    disk: Option<&LoopDisk>,
    injected: &mut Injected,
) -> Result<()> {
    let pids = &ship.pids();
    match (fault, disk) {
        (Fault::Iops(limits), Some(disk)) => {
            injected.slow.push(SlowDisk::start(disk, limits, pids)?);
        }
        (Fault::Iops(_), None) => {
            return Err(Error::Ineffective("a pier in memory has no disk".into()));
        }
        (Fault::Hogs(count), _) => injected.hogs.push(CpuHogs::start(count, pids)?),
        (Fault::Quota(percent), _) => {
            if injected.hogs.is_empty() {
                injected.pinned.push(Pinned::new(QUOTA_CPU, pids)?);
            }
            injected.quota = Some(CpuQuota::start(percent, pids)?);
        }
        (Fault::Memory(bytes), _) => injected.memory.push(MemoryLimit::start(bytes, pids)?),
        // The ship must have the one before it starts; the others begin with the capture.
        (Fault::Swap(_) | Fault::ColdImage | Fault::Packets(_), _) => {}
    }
    Ok(())
}

/// Waits until no more programs come: the capture begins then.
fn wait_until_attached(profile: &RunningProfile) -> Result<()> {
    let directory = format!("/proc/{}/fdinfo", profile.pid());
    let mut last = (0, std::time::Instant::now());
    poll_until("the capture to begin", ATTACH_LIMIT, || {
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        let holds_one = |path| {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.lines().any(|line| line.starts_with("prog_id:"))
        };
        let programs = entries.filter(|entry| holds_one(entry.path())).count();
        if programs != last.0 {
            last = (programs, std::time::Instant::now());
        }
        Ok(if programs > 0 && last.1.elapsed() >= ATTACHED {
            Ok(())
        } else {
            Err(format!("it has {programs} programs"))
        })
    })
}

/// The capture's window in `CLOCK_MONOTONIC`.
fn window(report: &Value) -> (u64, u64) {
    let ns = |clock| {
        let time = clock_gettime(clock);
        time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
    };
    let boot_unix_ns = ns(ClockId::Realtime) - ns(ClockId::Monotonic);
    let number = |field: &str| report["window"][field].as_u64().unwrap_or(0);
    let start = number("start_unix_ns").saturating_sub(boot_unix_ns);
    (start, start + number("duration_ns"))
}
