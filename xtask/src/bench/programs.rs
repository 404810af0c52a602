//! ns per run of every program, for tasks that are not the ship's, for the ship's, and for the ship's
//! I/O, beside those of `offcputime` and `runqlat` (libbpf-tools) in the same seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use harness::process::{Process, Terminal, poll_until, threads};
use harness::profile::Profile;
use harness::ship::RunningShip;
use serde::Serialize;

use super::bpf_stats::{self, BpfStats};
use super::load::{Load, start_pipe};
use super::statistics::Spread;
use super::table::Table;
use crate::shell;

/// Our own name among the tools.
const OURS: &str = "profile";

/// How long a tool may take to attach its programs.
const ATTACH_LIMIT: Duration = Duration::from_secs(30);

/// Options of `bench programs`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Options {
    /// Measurements per load, of one second each.
    #[arg(long, default_value_t = 10)]
    rounds: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { rounds: 10 }
    }
}

/// Most that a run of our program may take, ns: the numbers to reach, without stacks.
fn goal_ns(tool: &str, program: &str, load: Load) -> Option<u32> {
    match (tool, program, load) {
        (OURS, "sched_switch", Load::Other) => Some(60),
        (OURS, "sched_switch", Load::Ship) => Some(350),
        _ => None,
    }
}

/// One program under one load.
#[derive(Debug, Serialize)]
struct Row {
    tool: String,
    program: String,
    load: Load,
    /// Runs in all rounds together.
    runs: u64,
    /// Over the rounds in which it ran.
    ns_per_run: Spread,
    goal_ns: Option<u32>,
}

/// Everything measured.
#[derive(Debug, Serialize)]
pub struct Results {
    rounds: u32,
    /// By load: of all switches, those away from a thread of the ship, percent.
    ship_switches_percent: BTreeMap<Load, f64>,
    rows: Vec<Row>,
}

impl Results {
    /// A row per program, the loads side by side.
    pub fn table(&self) -> String {
        let mut columns = vec!["program"];
        for load in Load::ALL {
            columns.extend([load.title(), "goal", "runs"]);
        }
        let title = format!(
            "ns per run, median of {} s (quartiles); other tasks: perf bench sched pipe",
            self.rounds
        );
        let mut table = Table::new(title, &columns);
        let keys: BTreeSet<_> = self
            .rows
            .iter()
            .map(|row| (&row.tool, &row.program))
            .collect();
        for (tool, program) in keys {
            let cells = Load::ALL.into_iter().flat_map(|load| {
                let same =
                    |row: &&Row| (&row.tool, &row.program, row.load) == (tool, program, load);
                let found = self.rows.iter().find(same);
                found.map_or_else(|| ["did not run", "", ""].map(String::from), Row::cells)
            });
            table.row(
                std::iter::once(format!("{tool}: {program}"))
                    .chain(cells)
                    .collect(),
            );
        }
        let mut row = vec!["switches that are the ship's, %".to_owned()];
        for load in Load::ALL {
            let share = self
                .ship_switches_percent
                .get(&load)
                .map(|share| format!("{share:.0}"));
            row.extend([share.unwrap_or_default(), String::new(), String::new()]);
        }
        table.row(row);
        table.to_string()
    }
}

impl Row {
    fn cells(&self) -> [String; 3] {
        let ns = &self.ns_per_run;
        [
            format!(
                "{:.0} ({:.0}-{:.0})",
                ns.median, ns.lower_quartile, ns.upper_quartile
            ),
            self.goal_ns
                .map(|goal| format!("≤ {goal}"))
                .unwrap_or_default(),
            self.runs.to_string(),
        ]
    }
}

/// Measures under every load.
pub fn run(options: Options) -> Result<Results> {
    let _stats = BpfStats::enable()?;
    let mut results = Results {
        rounds: options.rounds,
        ship_switches_percent: BTreeMap::new(),
        rows: Vec::new(),
    };
    for load in Load::ALL {
        shell::heading(&format!("programs: {}", load.title()));
        measure(load, &mut results)?;
    }
    Ok(results)
}

fn measure(load: Load, results: &mut Results) -> Result<()> {
    // A limit for all that is started, should nothing else end it.
    let seconds = u64::from(results.rounds) + 4 * ATTACH_LIMIT.as_secs();
    let loaded = load.start_ship(seconds)?;
    let profile = Profile::deep_dive(loaded.ship.pier(), seconds).start()?;
    let mut tools = vec![(OURS, profile.pid())];
    let peers = start_peers(&loaded.ship, seconds)?;
    tools.extend(peers.iter().map(|(name, process)| (*name, process.pid())));
    for (name, pid) in &tools {
        wait_until_attached(name, *pid)?;
    }
    let _pipe = (load == Load::Other).then(start_pipe).transpose()?;
    let before = switches(&loaded.ship)?;
    let rows = sample(&tools, load, results.rounds)?;
    let switched = switches(&loaded.ship)?.saturating_sub(before);
    let all = rows
        .iter()
        .find(|row| row.tool == OURS && row.program == "sched_switch");
    if let Some(all) = all {
        let percent = switched as f64 / all.runs as f64 * 100.0;
        results.ship_switches_percent.insert(load, percent);
    }
    results.rows.extend(rows);
    Ok(())
}

/// Context switches away from the ship's threads so far, as the kernel counts them per thread.
fn switches(ship: &RunningShip) -> Result<u64> {
    let mut total = 0;
    for pid in ship.pids() {
        for tid in threads(pid)? {
            // A thread that has ended does not switch any more.
            let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/status"));
            total += text
                .unwrap_or_default()
                .lines()
                .filter_map(context_switches)
                .sum::<u64>();
        }
    }
    Ok(total)
}

/// The count in `voluntary_ctxt_switches: N` and `nonvoluntary_ctxt_switches: N`.
fn context_switches(line: &str) -> Option<u64> {
    let (name, count) = line.split_once(':')?;
    name.ends_with("voluntary_ctxt_switches")
        .then(|| count.trim().parse().ok())?
}

/// The same tools an operator would take: for this ship alone, and for everything.
fn start_peers(ship: &RunningShip, seconds: u64) -> Result<Vec<(&'static str, Process)>> {
    let (mars, seconds) = (ship.mars_pid().to_string(), seconds.to_string());
    let start = |name: &'static str, words: &[&str]| -> Result<_> {
        let mut command = shell::command(words);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok((name, Process::spawn(&mut command, Terminal::Own)?))
    };
    Ok(vec![
        start("offcputime -p MARS", &["offcputime", "-p", &mars, &seconds])?,
        start("offcputime", &["offcputime", &seconds])?,
        start("runqlat -p MARS", &["runqlat", "-p", &mars, &seconds, "1"])?,
        start("runqlat", &["runqlat", &seconds, "1"])?,
    ])
}

/// A tool is attached when its program at `sched_switch` has run: every other one is there by then, or
/// has its own row as soon as it runs.
fn wait_until_attached(name: &str, pid: u32) -> Result<()> {
    poll_until(
        &format!("{name} to attach its programs"),
        ATTACH_LIMIT,
        || {
            let programs =
                bpf_stats::programs_of(pid).map_err(|error| harness::Error::Unexpected {
                    what: format!("the programs of {name}"),
                    detail: format!("{error:#}"),
                })?;
            let runs = |program: &bpf_stats::Program| {
                program.name.starts_with("sched_switch") && program.run_cnt > 0
            };
            Ok(if programs.values().any(runs) {
                Ok(())
            } else {
                Err("it has not run".into())
            })
        },
    )
    .with_context(|| format!("{name} cannot be measured"))
}

fn sample(tools: &[(&str, u32)], load: Load, rounds: u32) -> Result<Vec<Row>> {
    let read = || -> Result<Vec<_>> {
        tools
            .iter()
            .map(|(_, pid)| bpf_stats::programs_of(*pid))
            .collect()
    };
    let mut measured: BTreeMap<(String, String), (u64, Vec<f64>)> = BTreeMap::new();
    let mut before = read()?;
    for _ in 0..rounds {
        std::thread::sleep(Duration::from_secs(1));
        let after = read()?;
        for ((name, _), (old, new)) in tools.iter().zip(before.iter().zip(&after)) {
            for (id, program) in new {
                let (old_ns, old_runs) = old
                    .get(id)
                    .map_or((0, 0), |old| (old.run_time_ns, old.run_cnt));
                let runs = program.run_cnt.saturating_sub(old_runs);
                if runs > 0 {
                    let key = ((*name).to_owned(), program.name.clone());
                    let (total, values) = measured.entry(key).or_default();
                    *total += runs;
                    let time_ns = program.run_time_ns.saturating_sub(old_ns);
                    values.push(time_ns as f64 / runs as f64);
                }
            }
        }
        before = after;
    }
    let rows = measured
        .into_iter()
        .filter_map(|((tool, program), (runs, values))| {
            let ns_per_run = Spread::of(&values)?;
            let goal_ns = goal_ns(&tool, &program, load);
            Some(Row {
                tool,
                program,
                load,
                runs,
                ns_per_run,
                goal_ns,
            })
        });
    Ok(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_switches_count() {
        assert_eq!(context_switches("voluntary_ctxt_switches:\t12"), Some(12));
        assert_eq!(context_switches("nonvoluntary_ctxt_switches:\t3"), Some(3));
        assert_eq!(context_switches("Threads:\t3"), None);
    }
}
