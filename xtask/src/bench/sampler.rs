//! What sampling mode costs while the host switches more and more, beside what an operator would
//! otherwise leave running, in the same seconds.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use harness::process::{Process, Terminal, poll_until};
use harness::profile::Profile;
use harness::scratch::Scratch;
use harness::ship::ShipOptions;
use serde::Serialize;

use super::bpf_stats::{self, BpfStats, Program};
use super::switcher::{Switcher, switches};
use super::table::Table;
use crate::shell;

/// Our own name among the tools.
const OURS: &str = "profile sampler";
/// The one among the others that has no programs.
const PERF: &str = "perf record -F 99 -g";
/// Switches per second that other tasks make, host-wide.
const RATES: [u64; 4] = [0, 1_000, 20_000, 100_000];
/// What sampling mode may take of one CPU, percent, up to 20,000 switches per second.
const GOAL_PERCENT: f64 = 0.5;
/// Up to this rate.
const GOAL_RATE: u64 = 20_000;
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
    /// Length of the sampler's windows, s. Its own default is 60: each measurement holds one of them
    /// only if it is as long.
    #[arg(long, default_value_t = 20)]
    interval: u64,
    /// Only this many switches per second of other tasks.
    #[arg(long)]
    rate: Option<u64>,
    /// Leaves the other tools out.
    #[arg(long)]
    alone: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seconds: 20,
            interval: 20,
            rate: None,
            alone: false,
        }
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
    /// Of that, what it takes the kernel to keep the programs' time, which it does only here.
    account_percent: f64,
    /// Resident set.
    resident_mib: f64,
    /// Its programs.
    programs: Vec<ProgramRow>,
}

impl Row {
    /// What it costs where no account is kept.
    fn sum_percent(&self) -> f64 {
        let programs = self.programs_percent.unwrap_or(0.0) - self.account_percent;
        self.process_percent + programs.max(0.0)
    }
}

/// A cell for a goal, if there is one.
fn goal(applies: bool, most: f64) -> String {
    if applies {
        format!("≤ {most}")
    } else {
        "-".to_owned()
    }
}

/// One program of a tool under one load.
#[derive(Debug, Serialize)]
struct ProgramRow {
    program: String,
    runs_per_second: u64,
    ns_per_run: u64,
    /// Of one CPU.
    percent: f64,
}

/// Everything measured.
#[derive(Debug, Serialize)]
pub struct Results {
    seconds: u64,
    interval: u64,
    /// What the kernel counts for a run of a program that does nothing.
    empty_ns_per_run: u64,
    rows: Vec<Row>,
    /// Size of the store for each window in it.
    store_bytes_per_window: u64,
}

impl Results {
    /// A row per load and tool.
    pub fn table(&self) -> String {
        let title = format!(
            "CPU of one CPU in {} s with windows of {} s, the ship at some 2,000 switches/s. A program that \
             does nothing takes {} ns of the kernel's account; \"sum\" is without that",
            self.seconds, self.interval, self.empty_ns_per_run
        );
        let columns = [
            "switches/s",
            "counted",
            "tool",
            "process %",
            "programs %",
            "account %",
            "sum %",
            "goal %",
            "MiB",
            "goal MiB",
        ];
        let mut table = Table::new(title, &columns);
        for row in &self.rows {
            let programs = row.programs_percent;
            let ours = row.tool == OURS;
            table.row(vec![
                row.switches_per_second.to_string(),
                row.measured_switches_per_second.to_string(),
                row.tool.to_owned(),
                format!("{:.2}", row.process_percent),
                programs.map_or("-".to_owned(), |percent| format!("{percent:.2}")),
                programs.map_or("-".to_owned(), |_| format!("{:.2}", row.account_percent)),
                format!("{:.2}", row.sum_percent()),
                goal(ours && row.switches_per_second <= GOAL_RATE, GOAL_PERCENT),
                format!("{:.1}", row.resident_mib),
                goal(ours, GOAL_MIB),
            ]);
        }
        let mut text = table.to_string();
        let ours = self.rows.iter().filter(|row| row.tool == OURS);
        for row in ours {
            let programs: Vec<String> = row
                .programs
                .iter()
                .map(|p| {
                    format!(
                        "{} {:.3} % ({}/s of {} ns)",
                        p.program, p.percent, p.runs_per_second, p.ns_per_run
                    )
                })
                .collect();
            text.push_str(&format!(
                "\nprograms at {}/s: {}",
                row.switches_per_second,
                programs.join(", ")
            ));
        }
        format!(
            "{text}\nStore: {} bytes a window, {:.1} MiB a day at one window a minute",
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
    let sampler = Profile::new(["sampler", "--interval"])
        .arg(options.interval.to_string())
        .arg("--ship")
        .arg(ship.pier())
        .arg("--store")
        .arg(&store)
        .start()?;
    let empty_ns_per_run = empty_ns_per_run(sampler.pid())?;
    let perf_data = home.path().join("perf.data");
    let mut rows = Vec::new();
    let rates = options.rate.map_or(RATES.to_vec(), |rate| vec![rate]);
    for rate in rates {
        shell::heading(&format!("sampler: {rate} switches/s of other tasks"));
        // For longer than the measurement; they are ended after it.
        let seconds = (options.seconds + START_LIMIT.as_secs()).to_string();
        let peers = if options.alone {
            Vec::new()
        } else {
            peers(&seconds, &perf_data)?
        };
        let mut tools = vec![(OURS, sampler.pid())];
        tools.extend(peers.iter().map(|(name, process)| (*name, process.pid())));
        for (name, pid) in &tools {
            if *name != PERF {
                wait_for_programs(name, *pid)?;
            }
        }
        let _switcher = Switcher::start(rate)?;
        rows.extend(measure(&tools, rate, options.seconds, empty_ns_per_run)?);
    }
    // It stores the window in hand.
    sampler.signal(rustix::process::Signal::TERM)?;
    sampler.finish()?;
    let stored = Profile::new(["history", "--json", "--since", "1h", "--store"])
        .arg(&store)
        .run()?
        .json()?;
    let windows = stored["total"]["windows"].as_u64().unwrap_or(0).max(1);
    let size = |name: &str| fs::metadata(home.path().join(name)).map_or(0, |file| file.len());
    let results = Results {
        seconds: options.seconds,
        interval: options.interval,
        empty_ns_per_run,
        rows,
        // The log beside it is of bounded size.
        store_bytes_per_window: size("ships.db") / windows,
    };
    Ok(results)
}

/// What else an operator could leave running, each ended after `seconds` at the latest.
fn peers(seconds: &str, perf_data: &Path) -> Result<Vec<(&'static str, Process)>> {
    let perf_data = perf_data.display().to_string();
    let perf = [
        "perf", "record", "-q", "-a", "-F", "99", "-g", "-o", &perf_data, "sleep", seconds,
    ];
    Ok(vec![
        ("offcputime", start(&["offcputime", seconds])?),
        ("runqlat", start(&["runqlat", seconds, "1"])?),
        ("biolatency", start(&["biolatency", seconds, "1"])?),
        (PERF, start(&perf)?),
    ])
}

fn start(words: &[&str]) -> Result<Process> {
    let mut command = shell::command(words);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(Process::spawn(&mut command, Terminal::Own)?)
}

/// What the kernel counts for a run of a program that does nothing. The sampler has one for its first
/// seconds, to know the same.
fn empty_ns_per_run(pid: u32) -> Result<u64> {
    const RUNS: u64 = 500;
    let found = poll_until("the sampler's empty program to run", START_LIMIT, || {
        let programs = bpf_stats::programs_of(pid).unwrap_or_default();
        let empty = programs.values().find(|program| program.name == "empty");
        Ok(match empty {
            Some(empty) if empty.run_cnt >= RUNS => Ok(empty.run_time_ns / empty.run_cnt),
            other => Err(format!("{other:?}")),
        })
    });
    found.context("the account's own share is not known")
}

/// Runs of all programs, per second.
fn sum_runs(programs: &[ProgramRow]) -> f64 {
    programs.iter().map(|p| p.runs_per_second as f64).sum()
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

/// What a tool has used so far: CPU time of its process and of children that have ended, ns, and its
/// programs.
fn used(pid: u32) -> Result<(u64, BTreeMap<u32, Program>)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Behind the name, which may hold anything: user and system time are the 14th and 15th field, the
    // children's the 16th and 17th.
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
    let ticks: u64 = (11..15).map(ticks).sum();
    Ok((ticks * tick_ns, bpf_stats::programs_of(pid)?))
}

fn measure(
    tools: &[(&'static str, u32)],
    rate: u64,
    seconds: u64,
    empty_ns_per_run: u64,
) -> Result<Vec<Row>> {
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
            let programs = programs(&before.1, &after.1, elapsed_ns);
            Ok(Row {
                tool,
                switches_per_second: rate,
                measured_switches_per_second: (switches_after - switches_before) / seconds,
                process_percent: percent(before.0, after.0),
                programs_percent: (!after.1.is_empty())
                    .then(|| programs.iter().map(|program| program.percent).sum()),
                account_percent: sum_runs(&programs) * empty_ns_per_run as f64 / 1e9 * 100.0,
                resident_mib: resident_mib(*pid)?,
                programs,
            })
        })
        .collect()
}

/// What each program did in between, the costliest first; those that did not run are left out.
fn programs(
    before: &BTreeMap<u32, Program>,
    after: &BTreeMap<u32, Program>,
    elapsed_ns: f64,
) -> Vec<ProgramRow> {
    let since = |id: &u32, of: fn(&Program) -> u64, now: &Program| {
        of(now).saturating_sub(before.get(id).map_or(0, of))
    };
    let mut rows: Vec<ProgramRow> = after
        .iter()
        .filter_map(|(id, now)| {
            let runs = since(id, |program| program.run_cnt, now);
            let ns = since(id, |program| program.run_time_ns, now);
            Some(ProgramRow {
                program: now.name.clone(),
                runs_per_second: (runs as f64 / elapsed_ns * 1e9) as u64,
                ns_per_run: ns.checked_div(runs)?,
                percent: ns as f64 / elapsed_ns * 100.0,
            })
        })
        .collect();
    rows.sort_by(|a, b| b.percent.total_cmp(&a.percent));
    rows
}

fn resident_mib(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(Path::new(&path))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.unwrap_or(0.0) / 1024.0)
}
