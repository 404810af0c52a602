//! `cargo xtask bench`: what `profile` costs, beside what it may cost and what its peers cost, and how
//! right it is.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Subcommand;
use harness::{gate, workspace};
use serde::Serialize;

use crate::consent::Consent;
use crate::host::{self, Tool};
use crate::shell;

mod accuracy;
mod bpf_stats;
mod diff;
mod events;
mod flamegraph;
mod innocent;
mod load;
mod programs;
mod sampler;
mod stacks;
mod statistics;
mod switcher;
mod table;
mod throughput;
mod trial;
mod watched;

/// What the benchmarks run.
const TOOLS: [Tool; 5] = [
    Tool::new("perf", "linux-perf"),
    Tool::new("bpftool", "bpftool"),
    Tool::new("offcputime", "libbpf-tools"),
    Tool::new("runqlat", "libbpf-tools"),
    Tool::new("biolatency", "libbpf-tools"),
];

/// Options of `bench`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Also write the results to this file.
    #[arg(long, value_name = "FILE", global = true)]
    json: Option<PathBuf>,
    /// What to measure; everything if left out.
    #[command(subcommand)]
    benchmark: Option<Benchmark>,
}

#[derive(Clone, Debug, Subcommand)]
enum Benchmark {
    /// Shares in the report against what was injected, in more than two dozen scenarios.
    Accuracy(accuracy::Options),
    /// Events and their phases in the report against the ship's own log, at 1, 100 and 1000 a second.
    Events(events::Options),
    /// ns per run of every eBPF program, beside offcputime and runqlat.
    Programs(programs::Options),
    /// The ship's events per second, with and without the deep dive.
    Throughput(throughput::Options),
    /// ns a system call of a process that is not watched.
    Innocent(innocent::Options),
    /// CPU, memory and bytes of sampling mode, beside other tools, at growing switch rates.
    Sampler(sampler::Options),
    /// Time from a capture of 100,000 samples to its flamegraph, beside perf and inferno.
    Flamegraph(flamegraph::Options),
    /// What sampling takes of a ship that computes, beside perf, and ns per sample of each kind.
    Stacks(stacks::Options),
    /// What `profile diff` says of pairs of windows of an unchanged ship, and of shifted ones.
    Diff(diff::Options),
    /// What `profile trial` and `profile diff` say of fixes that help, and of ones that do nothing.
    Trial(trial::Options),
}

/// The results, as `--json` writes them.
#[derive(Debug, Default, Serialize)]
struct Results {
    /// Flat, so that `scenarios` is where readers look for it.
    #[serde(flatten)]
    accuracy: Option<accuracy::Results>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<events::Results>,
    #[serde(skip_serializing_if = "Option::is_none")]
    programs: Option<programs::Results>,
    #[serde(skip_serializing_if = "Option::is_none")]
    throughput: Option<throughput::Results>,
    #[serde(skip_serializing_if = "Option::is_none")]
    innocent: Option<innocent::Results>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sampler: Option<sampler::Results>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flamegraph: Option<flamegraph::Results>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stacks: Option<stacks::Results>,
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<diff::Results>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trial: Option<trial::Results>,
}

/// Measures what was asked for, prints it as tables, and writes it as JSON.
pub fn run(options: &Options, consent: &Consent) -> Result<()> {
    match &options.benchmark {
        Some(
            Benchmark::Accuracy(_)
            | Benchmark::Events(_)
            | Benchmark::Diff(_)
            | Benchmark::Trial(_),
        ) => host::prepare(&host::FAULT_TOOLS, consent)?,
        _ => {
            host::prepare(&host::FAULT_TOOLS, consent)?;
            host::prepare(&TOOLS, consent)?;
        }
    }
    let _live = gate::bpf()?;
    shell::heading("building the reference ship and profile");
    shell::run(&mut workspace::ship_build())?;
    shell::run(&mut workspace::profile_build())?;
    let all = [
        Benchmark::Programs(programs::Options::default()),
        Benchmark::Throughput(throughput::Options::default()),
        Benchmark::Innocent(innocent::Options::default()),
        Benchmark::Sampler(sampler::Options::default()),
        Benchmark::Events(events::Options::default()),
        Benchmark::Flamegraph(flamegraph::Options::default()),
        Benchmark::Stacks(stacks::Options::default()),
        Benchmark::Diff(diff::Options::default()),
        Benchmark::Trial(trial::Options::default()),
        Benchmark::Accuracy(accuracy::Options::default()),
    ];
    let asked = &options.benchmark;
    let mut results = Results::default();
    for benchmark in asked.as_ref().map_or(&all[..], std::slice::from_ref) {
        match benchmark {
            Benchmark::Accuracy(options) => {
                let found = accuracy::run(options)?;
                print!("{}", found.table());
                results.accuracy = Some(found);
            }
            Benchmark::Events(options) => {
                let found = events::run(options)?;
                print!("{}", found.table());
                results.events = Some(found);
            }
            Benchmark::Programs(options) => {
                let found = programs::run(*options)?;
                print!("{}", found.table());
                results.programs = Some(found);
            }
            Benchmark::Throughput(options) => {
                let found = throughput::run(*options)?;
                print!("{}", found.table());
                results.throughput = Some(found);
            }
            Benchmark::Innocent(options) => {
                let found = innocent::run(*options)?;
                print!("{}", found.table());
                results.innocent = Some(found);
            }
            Benchmark::Sampler(options) => {
                let found = sampler::run(*options)?;
                println!("{}", found.table());
                results.sampler = Some(found);
            }
            Benchmark::Flamegraph(options) => {
                let found = flamegraph::run(*options)?;
                println!("{}", found.table());
                results.flamegraph = Some(found);
            }
            Benchmark::Stacks(options) => {
                let found = stacks::run(*options)?;
                print!("{}", found.table());
                results.stacks = Some(found);
            }
            Benchmark::Diff(options) => {
                let found = diff::run(options)?;
                print!("{}", found.table());
                results.diff = Some(found);
            }
            Benchmark::Trial(options) => {
                let found = trial::run(options)?;
                print!("{}", found.table());
                results.trial = Some(found);
            }
        }
    }
    let Some(path) = &options.json else {
        return Ok(());
    };
    let mut text = serde_json::to_string_pretty(&results)?;
    text.push('\n');
    fs::write(path, text).with_context(|| format!("could not write {}", path.display()))
}
