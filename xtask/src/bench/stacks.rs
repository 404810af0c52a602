//! What stacks cost: how much longer a ship computes while it is sampled, beside `perf record -g` at the
//! same frequency, and ns per sample of each kind by the kernel's own account of the programs.
//!
//! The ship computes a fixed number of steps per event and notes when each began and ended, so a sample
//! shows as time that the same steps take longer, whoever takes it, and in an interrupt too.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::accuracy::witness::now_ns;
use harness::faults::LoopDisk;
use harness::faults::memory::evict_image;
use harness::process::{Process, Terminal};
use harness::profile::Profile;
use harness::scratch::Scratch;
use harness::ship::{RunningShip, ShipOptions};
use serde::Serialize;
use serde_json::Value;

use super::bpf_stats::{self, BpfStats};
use super::load::Load;
use super::statistics::Spread;
use super::table::Table;
use super::watched::{ATTACH_LIMIT, while_attached};
use crate::shell;

/// Samples per second.
const FREQUENCIES: [u64; 2] = [99, 999];
/// Computing per event, µs, and events per second: mars computes for nine tenths of the time.
const COMPUTE_US: u64 = 50_000;
const EVENTS_PER_SECOND: f64 = 18.0;
/// Length of one measurement.
const WINDOW: Duration = Duration::from_secs(4);
/// Until perf has attached.
const PERF_START: Duration = Duration::from_secs(1);
/// Size of the disk that pages are read from.
const DISK_BYTES: u64 = 512 << 20;
/// Microseconds that no wait reaches.
const NO_STACK_US: u64 = 10_000_000;

/// Options of `bench stacks`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Options {
    /// Turns, each of eight measurements of four seconds.
    #[arg(long, default_value_t = 5)]
    turns: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { turns: 5 }
    }
}

/// Who samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Sampler {
    Profile,
    Perf,
}

/// What sampling takes of what is sampled.
#[derive(Debug, Serialize)]
struct Share {
    sampler: Sampler,
    hz: u64,
    /// How much longer computing takes, per cent.
    longer_percent: Spread,
}

/// A kind of sample.
#[derive(Debug, Serialize)]
struct Kind {
    kind: &'static str,
    program: &'static str,
    samples: u64,
    ns: f64,
}

/// Everything measured.
#[derive(Debug, Serialize)]
pub struct Results {
    turns: u32,
    /// Two measurements without a sampler against each other, per cent.
    noise_percent: Spread,
    shares: Vec<Share>,
    kinds: Vec<Kind>,
}

impl Results {
    /// Shares beside perf's, and the kinds.
    pub fn table(&self) -> String {
        let title = format!(
            "A ship that computes while it is sampled, median of {} turns (quartiles)",
            self.turns
        );
        let columns = [
            "sampled by",
            "Hz",
            "computing takes longer %",
            "µs a sample",
        ];
        let mut shares = Table::new(title, &columns);
        let longer = |spread: &Spread| {
            format!(
                "{:+.2} ({:+.2}..{:+.2})",
                spread.median, spread.lower_quartile, spread.upper_quartile
            )
        };
        for share in &self.shares {
            let name = match share.sampler {
                Sampler::Profile => "profile (C, Hoon, events, waits)",
                Sampler::Perf => "perf record -g -p MARS (C)",
            };
            shares.row(vec![
                name.into(),
                share.hz.to_string(),
                longer(&share.longer_percent),
                format!("{:.1}", share.longer_percent.median * 1e4 / share.hz as f64),
            ]);
        }
        shares.row(vec![
            "nobody, twice".into(),
            String::new(),
            longer(&self.noise_percent),
        ]);
        let columns = ["kind", "program", "samples", "ns a sample"];
        let mut kinds = Table::new("ns per sample by the kernel's account", &columns);
        for kind in &self.kinds {
            kinds.row(vec![
                kind.kind.into(),
                kind.program.into(),
                kind.samples.to_string(),
                format!("{:.0}", kind.ns),
            ]);
        }
        format!("{shares}{kinds}")
    }
}

/// Measures.
pub fn run(options: Options) -> Result<Results> {
    shell::heading("stacks: what sampling takes of a ship that computes");
    let (noise_percent, shares) = shares(options)?;
    shell::heading("stacks: ns per sample of each kind");
    let mut kinds = vec![
        on_cpu("on the CPU, C", Some("serf"))?,
        on_cpu("on the CPU, C and Hoon", None)?,
    ];
    kinds.extend(waits()?);
    kinds.push(dirty_pages()?);
    kinds.push(major_faults()?);
    Ok(Results {
        turns: options.turns,
        noise_percent,
        shares,
        kinds,
    })
}

/// A span of the monotonic clock, ns.
type Span = (u64, u64);

fn shares(options: Options) -> Result<(Spread, Vec<Share>)> {
    let home = Scratch::in_memory("bench")?;
    let mut ship = computing(None).start_in(home.path())?;
    let [slow, fast] = FREQUENCIES;
    let kinds = [
        None,
        Some((Sampler::Profile, slow)),
        Some((Sampler::Perf, slow)),
        None,
        Some((Sampler::Profile, fast)),
        Some((Sampler::Perf, fast)),
    ];
    let mut turns: Vec<[Span; 6]> = Vec::new();
    for turn in 0..options.turns {
        let mut spans = [Span::default(); 6];
        // Forwards and backwards by turns, so that a drift cancels out.
        for at in 0..kinds.len() {
            let at = if turn % 2 == 0 {
                at
            } else {
                kinds.len() - 1 - at
            };
            spans[at] = window(&ship, kinds[at], home.path())?;
        }
        turns.push(spans);
        eprintln!("turn {}", turn + 1);
    }
    ship.stop()?;
    let computed = computed(&ship)?;
    let more = |with: usize, without: usize| -> Result<Spread> {
        let ratios = turns.iter().map(|spans| {
            let length = |at: usize| typical_ns(&computed, spans[at]);
            Ok((length(with)? / length(without)? - 1.0) * 100.0)
        });
        Spread::of(&ratios.collect::<Result<Vec<f64>>>()?).context("no turn was asked for")
    };
    let mut shares = Vec::new();
    for (at, kind) in kinds.iter().enumerate() {
        if let Some((sampler, hz)) = *kind {
            // The nearest without.
            let without = if at < 3 { 0 } else { 3 };
            let longer_percent = more(at, without)?;
            shares.push(Share {
                sampler,
                hz,
                longer_percent,
            });
        }
    }
    Ok((more(3, 0)?, shares))
}

fn computing(generation: Option<&'static str>) -> ShipOptions {
    ShipOptions {
        generation,
        events_per_second: Some(EVENTS_PER_SECOND),
        compute_us: Some(COMPUTE_US),
        dirty_pages: Some(0),
        ..ShipOptions::default()
    }
}

/// The window in which a ship is sampled, or not.
fn window(ship: &RunningShip, by: Option<(Sampler, u64)>, home: &Path) -> Result<Span> {
    let measure = || {
        let start = now_ns();
        std::thread::sleep(WINDOW);
        Ok((start, now_ns()))
    };
    match by {
        None => measure(),
        Some((Sampler::Profile, hz)) => {
            let dive = Profile::deep_dive(ship.pier(), ATTACH_LIMIT.as_secs() * 2);
            while_attached(&dive.arg("--frequency").arg(hz.to_string()), measure)
        }
        Some((Sampler::Perf, hz)) => {
            let mut command = Command::new("perf");
            command.args(["record", "-q", "-g", "-e", "cpu-clock", "-F"]);
            command.args([&hz.to_string(), "-p", &ship.mars_pid().to_string(), "-o"]);
            command
                .arg(home.join("perf.data"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            let _perf = Process::spawn(&mut command, Terminal::Own)?;
            std::thread::sleep(PERF_START);
            measure()
        }
    }
}

/// When each event was computed, by the ship's notes.
fn computed(ship: &RunningShip) -> Result<Vec<Span>> {
    let lines = ship.mars_truth()?;
    let computed = lines.iter().filter(|line| line["event"] == "computed");
    let at = |line: &Value, field: &str| line[field].as_u64().unwrap_or(0);
    Ok(computed
        .map(|line| {
            (
                at(line, "compute_start_ktime_ns"),
                at(line, "compute_end_ktime_ns"),
            )
        })
        .collect())
}

/// Median length of those inside.
fn typical_ns(computed: &[Span], window: Span) -> Result<f64> {
    let inside = computed
        .iter()
        .filter(|(start, end)| *start >= window.0 && *end <= window.1);
    let lengths: Vec<f64> = inside.map(|(start, end)| (end - start) as f64).collect();
    let spread = Spread::of(&lengths).context("the ship computed no event")?;
    Ok(spread.median)
}

/// Runs of a program while a deep dive watches, their time in ns, and the report.
fn account(ship: &RunningShip, words: &[&str], program: &str) -> Result<(u64, u64, Value)> {
    let _stats = BpfStats::enable()?;
    let dive = words.iter().fold(
        Profile::deep_dive(ship.pier(), ATTACH_LIMIT.as_secs() * 2).json(),
        Profile::arg,
    );
    let mut running = dive.start()?;
    running.wait_for("capturing")?;
    std::thread::sleep(WINDOW);
    let programs = bpf_stats::programs_of(running.pid())?;
    let found = programs.values().find(|found| found.name == program);
    let (runs, time_ns) = found
        .map(|found| (found.run_cnt, found.run_time_ns))
        .with_context(|| format!("profile holds no program {program}"))?;
    running.signal(rustix::process::Signal::INT)?;
    let report = running.finish()?.json()?;
    ensure!(runs > 0, "the program {program} did not run");
    Ok((runs, time_ns, report))
}

/// Stacks of what runs. The clock ticks on every CPU, and is not worth speaking of where the ship is not.
fn on_cpu(kind: &'static str, generation: Option<&'static str>) -> Result<Kind> {
    let home = Scratch::in_memory("bench")?;
    let ship = computing(generation).start_in(home.path())?;
    let (_, time_ns, report) = account(&ship, &["--frequency", "999"], "cpu_clock")?;
    let samples = samples(&report);
    ensure!(samples > 0, "the ship was not sampled");
    Ok(Kind {
        kind,
        program: "cpu_clock",
        samples,
        ns: time_ns as f64 / samples as f64,
    })
}

/// CPU samples of the ship's threads.
fn samples(report: &Value) -> u64 {
    let threads = report["threads"].as_array().map_or(&[][..], Vec::as_slice);
    threads
        .iter()
        .filter_map(|thread| thread["samples"].as_u64())
        .sum()
}

/// Switches, most of a ship that shares a CPU with nobody else: without stacks, and each of its waits with one.
fn waits() -> Result<[Kind; 2]> {
    let measure = |kind, threshold_us: u64| -> Result<Kind> {
        let loaded = Load::Ship.start_ship(ATTACH_LIMIT.as_secs() * 4)?;
        let threshold_us = threshold_us.to_string();
        let (samples, time_ns, _) = account(
            &loaded.ship,
            &["--threshold-us", &threshold_us],
            "sched_switch",
        )?;
        Ok(Kind {
            kind,
            program: "sched_switch",
            samples,
            ns: time_ns as f64 / samples as f64,
        })
    };
    Ok([
        measure("switch of any task, no stacks", NO_STACK_US)?,
        measure("switch of any task, a stack of each wait of the ship", 1)?,
    ])
}

/// Writes to clean pages of the loom.
fn dirty_pages() -> Result<Kind> {
    let home = Scratch::in_memory("bench")?;
    let options = ShipOptions {
        events_per_second: Some(50.0),
        dirty_pages: Some(64),
        snap_seconds: Some(1),
        heap_pages: Some(4096),
        ..ShipOptions::default()
    };
    by_program(
        "page made dirty",
        "signal_generate",
        &options.start_in(home.path())?,
    )
}

/// Pages of the image that are read again.
fn major_faults() -> Result<Kind> {
    let disk = LoopDisk::new(DISK_BYTES)?;
    let _single = disk.without_read_ahead()?;
    let ship = ShipOptions {
        heap_pages: Some(4096),
        ..computing(None)
    };
    let ship = ship.start_in(disk.path())?;
    evict_image(&ship)?;
    by_program("major fault", "page_fault_major", &ship)
}

fn by_program(kind: &'static str, program: &'static str, ship: &RunningShip) -> Result<Kind> {
    let (samples, time_ns, _) = account(ship, &[], program)?;
    Ok(Kind {
        kind,
        program,
        samples,
        ns: time_ns as f64 / samples as f64,
    })
}
