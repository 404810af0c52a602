//! What sampling mode costs while the host switches more and more, beside what an operator would
//! otherwise leave running, in the same seconds.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use harness::process::{Process, Terminal, poll_until};
use harness::profile::Profile;
use harness::scratch::Scratch;
use harness::ship::ShipOptions;
use serde::Serialize;

use super::bpf_stats::{self, BpfStats};
use super::table::Table;
use crate::shell;

/// Switches per second that other tasks make, host-wide.
const RATES: [u64; 4] = [0, 1_000, 20_000, 100_000];
/// What sampling mode may take of one CPU, percent, up to 20,000 switches per second.
const GOAL_PERCENT: f64 = 0.5;
/// What it may have in memory, MiB.
const GOAL_MIB: f64 = 48.0;
/// How long a tool may take to start.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Windows of a day at one a minute.
const WINDOWS_PER_DAY: u64 = 1440;

/// Options of `bench sampler`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Options {
    /// Length of each measurement, s.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { seconds: 20 }
    }
}

/// One tool under one load.
#[derive(Debug, Serialize)]
struct Row {
    tool: &'static str,
    /// Asked of the other tasks.
    switches_per_second: u64,
    /// Counted, host-wide.
    measured_switches_per_second: u64,
    /// CPU time of its process, of one CPU.
    process_percent: f64,
    /// CPU time of its programs, of one CPU; nothing if it has none.
    programs_percent: Option<f64>,
    /// Resident set.
    resident_mib: f64,
}

/// Everything measured.
#[derive(Debug, Serialize)]
pub struct Results {
    seconds: u64,
    rows: Vec<Row>,
    /// Size of the store for each window in it.
    store_bytes_per_window: u64,
}

impl Results {
    /// A row per load and tool.
    pub fn table(&self) -> String {
        let title = format!(
            "CPU of one CPU in {} s, the ship at some 2,000 switches/s; goal of sampling: ≤ {GOAL_PERCENT} % \
             at 20,000 switches/s, ≤ {GOAL_MIB} MiB",
            self.seconds
        );
        let columns = [
            "switches/s",
            "counted",
            "tool",
            "process %",
            "programs %",
            "sum %",
            "MiB",
        ];
        let mut table = Table::new(title, &columns);
        for row in &self.rows {
            let programs = row.programs_percent;
            table.row(vec![
                row.switches_per_second.to_string(),
                row.measured_switches_per_second.to_string(),
                row.tool.to_owned(),
                format!("{:.2}", row.process_percent),
                programs.map_or("-".to_owned(), |percent| format!("{percent:.2}")),
                format!("{:.2}", row.process_percent + programs.unwrap_or(0.0)),
                format!("{:.1}", row.resident_mib),
            ]);
        }
        format!(
            "{table}\nStore: {} bytes a window, {:.1} MiB a day at one window a minute",
            self.store_bytes_per_window,
            (self.store_bytes_per_window * WINDOWS_PER_DAY) as f64 / f64::from(1 << 20)
        )
    }
}

/// Measures under every load.
pub fn run(options: Options) -> Result<Results> {
    let _stats = BpfStats::enable()?;
    let home = Scratch::in_memory("bench")?;
    let ship = ShipOptions {
        events_per_second: Some(300.0),
        compute_us: Some(500),
        no_truth: true,
        ..ShipOptions::default()
    };
    let ship = ship.start_in(home.path())?;
    let store = home.path().join("ships.db");
    let sampler = Profile::new(["sampler", "--interval", "5", "--ship"])
        .arg(ship.pier())
        .arg("--store")
        .arg(&store)
        .start()?;
    let perf_data = home.path().join("perf.data");
    let mut rows = Vec::new();
    for rate in RATES {
        shell::heading(&format!("sampler: {rate} switches/s of other tasks"));
        // For longer than the measurement; they are ended after it.
        let seconds = (options.seconds + START_LIMIT.as_secs()).to_string();
        let peers = [
            ("offcputime", start(&["offcputime", &seconds])?),
            ("runqlat", start(&["runqlat", &seconds, "1"])?),
            ("biolatency", start(&["biolatency", &seconds, "1"])?),
            (
                "perf record -F 99 -g",
                start(&[
                    "perf",
                    "record",
                    "-q",
                    "-a",
                    "-F",
                    "99",
                    "-g",
                    "-o",
                    &perf_data.display().to_string(),
                    "sleep",
                    &seconds,
                ])?,
            ),
        ];
        let mut tools = vec![("profile sampler", sampler.pid())];
        tools.extend(peers.iter().map(|(name, process)| (*name, process.pid())));
        for (name, pid) in &tools {
            if *name != "perf record -F 99 -g" {
                wait_for_programs(name, *pid)?;
            }
        }
        let _switcher = Switcher::start(rate)?;
        rows.extend(measure(&tools, rate, options.seconds)?);
    }
    let stored = Profile::new(["history", "--json", "--since", "1h", "--store"])
        .arg(&store)
        .run()?
        .json()?;
    let windows = stored["total"]["windows"].as_u64().unwrap_or(0).max(1);
    let size = |name: &str| fs::metadata(home.path().join(name)).map_or(0, |file| file.len());
    let results = Results {
        seconds: options.seconds,
        rows,
        // The log beside it is of bounded size.
        store_bytes_per_window: size("ships.db") / windows,
    };
    sampler.signal(rustix::process::Signal::TERM)?;
    sampler.finish()?;
    Ok(results)
}

fn start(words: &[&str]) -> Result<Process> {
    let mut command = shell::command(words);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(Process::spawn(&mut command, Terminal::Own)?)
}

fn wait_for_programs(name: &str, pid: u32) -> Result<()> {
    poll_until(
        &format!("{name} to attach its programs"),
        START_LIMIT,
        || {
            Ok(match bpf_stats::programs_of(pid) {
                Ok(programs) if programs.values().any(|program| program.run_cnt > 0) => Ok(()),
                Ok(_) => Err("none has run".into()),
                Err(error) => Err(format!("{error:#}")),
            })
        },
    )
    .with_context(|| format!("{name} cannot be measured"))
}

/// What a tool has used so far: CPU time of its process, and of its programs, ns.
fn used(pid: u32) -> Result<(u64, Option<u64>)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Behind the name, which may hold anything: user and system time are the 14th and 15th field.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map_or("", |(_, fields)| fields)
        .split_whitespace()
        .collect();
    let ticks = |i: usize| {
        fields
            .get(i)
            .and_then(|t| t.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let tick_ns = 1_000_000_000 / rustix::param::clock_ticks_per_second();
    let programs = bpf_stats::programs_of(pid)?;
    let programs_ns = programs.values().map(|program| program.run_time_ns).sum();
    Ok((
        (ticks(11) + ticks(12)) * tick_ns,
        (!programs.is_empty()).then_some(programs_ns),
    ))
}

fn measure(tools: &[(&'static str, u32)], rate: u64, seconds: u64) -> Result<Vec<Row>> {
    let read = || -> Result<Vec<_>> { tools.iter().map(|(_, pid)| used(*pid)).collect() };
    // Until the load is steady.
    std::thread::sleep(Duration::from_secs(1));
    let (begun, before, switches_before) = (Instant::now(), read()?, switches()?);
    std::thread::sleep(Duration::from_secs(seconds));
    let (after, switches_after) = (read()?, switches()?);
    let elapsed_ns = begun.elapsed().as_nanos() as f64;
    let percent =
        |before: u64, after: u64| after.saturating_sub(before) as f64 / elapsed_ns * 100.0;
    tools
        .iter()
        .zip(before.iter().zip(&after))
        .map(|((tool, pid), (before, after))| {
            Ok(Row {
                tool,
                switches_per_second: rate,
                measured_switches_per_second: (switches_after - switches_before) / seconds,
                process_percent: percent(before.0, after.0),
                programs_percent: before.1.zip(after.1).map(|(b, a)| percent(b, a)),
                resident_mib: resident_mib(*pid)?,
            })
        })
        .collect()
}

/// Context switches of the host so far.
fn switches() -> Result<u64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().find_map(|line| line.strip_prefix("ctxt "));
    line.and_then(|count| count.parse().ok())
        .context("/proc/stat names no ctxt")
}

fn resident_mib(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(Path::new(&path))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.unwrap_or(0.0) / 1024.0)
}

/// Two threads that hand a byte to and fro, a number of times a second.
struct Switcher {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Switcher {
    fn start(switches_per_second: u64) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        if switches_per_second > 0 {
            let (ping, pong) = (rustix::pipe::pipe()?, rustix::pipe::pipe()?);
            // Each turn wakes both.
            let turns_per_tick = (switches_per_second / 2 / TICKS_PER_SECOND).max(1);
            let stopped = Arc::clone(&stop);
            threads.push(std::thread::spawn(move || echo(ping.0, pong.1)));
            threads.push(std::thread::spawn(move || {
                serve(ping.1, pong.0, turns_per_tick, &stopped);
            }));
        }
        Ok(Self { stop, threads })
    }
}

/// How finely the turns are spread.
const TICKS_PER_SECOND: u64 = 250;

fn echo(from: OwnedFd, to: OwnedFd) {
    let (mut from, mut to) = (fs::File::from(from), fs::File::from(to));
    let mut byte = [0];
    while from.read_exact(&mut byte).is_ok() && to.write_all(&byte).is_ok() {}
}

fn serve(to: OwnedFd, from: OwnedFd, turns_per_tick: u64, stop: &AtomicBool) {
    let (mut from, mut to) = (fs::File::from(from), fs::File::from(to));
    let tick = Duration::from_secs(1) / TICKS_PER_SECOND as u32;
    let mut byte = [0];
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..turns_per_tick {
            if to.write_all(&byte).is_err() || from.read_exact(&mut byte).is_err() {
                return;
            }
        }
        next += tick;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

impl Drop for Switcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..).rev() {
            // It has nothing to give back.
            let _ = thread.join();
        }
    }
}
