//! The command line. Only here are the parts wired together; only here is an error printed and
//! the exit status chosen.

mod ask;
mod audit;
mod baseline;
mod catalogue;
mod completions;
mod deep_dive;
mod diff;
mod doctor;
mod events;
mod flamegraph;
mod history;
mod hoon;
mod interrupts;
mod journal;
mod mass;
mod now;
mod ping;
mod readings;
mod report;
mod sampler;
mod session;
mod trial;

pub use readings::open_code;

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::model::Capture;
use crate::report::Report;

/// Done.
const DONE: u8 = 0;
/// Failed; one sentence says why.
const FAILED: u8 = 1;
/// Wrong usage that only shows when the command runs; clap ends with the same.
const USAGE: u8 = 2;
/// Done, but something was lost or could not be measured.
const INCOMPLETE: u8 = 3;
/// Done, and a threshold that was asked for is exceeded.
const EXCEEDED: u8 = 4;

const EXAMPLES: &str = "\
Examples:
  sudo profile                              the one ship that runs, 30 s
  sudo profile --ship ~/zod -o zod-1        by its pier; SVGs and the capture in zod-1
  sudo profile --ship ~zod --seconds 10     by its name
  sudo profile --ship 1234 --format json    by a process id; JSON on stdout
  profile report zod-1/capture              the same report again, without root
  profile flamegraph zod-1/capture --kind hoon -o hoon.svg
  sudo profile now --ship ~zod              what it does at this moment
  profile ping --ship ~zod                  how long it takes to answer, now
  profile mass --ship ~zod                  its memory by vane and agent; asks first
  sudo profile doctor                       what this host lacks
  sudo profile history --store ships.db     what the sampler stored, over time
  sudo profile audit --ship ~zod            the checklist, without a capture
  profile catalogue ram                     one fix, with its commands
  profile diff zod-1 zod-2                  did the change in between help?
  sudo profile trial nice --ship ~zod       tries a fix out, and undoes it

Exit status: 0 done, 1 failed, 2 wrong usage, 3 done but incomplete.";

/// Says where an Urbit ship's time went, whose fault it is, and what to change first.
///
/// Watches a running ship from outside for some seconds: no flag, no restart, no symbols, no
/// signal and nothing written to its pier. Needs root.
#[derive(Debug, Parser)]
#[command(name = "profile", version, after_help = EXAMPLES, max_term_width = 80)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    deep_dive: DeepDive,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes the same report again from a capture file, without root.
    Report(ReportArgs),
    /// Lists every event of a capture that was followed, with its moments and phases, as JSON.
    Events(EventsArgs),
    /// Draws a flamegraph of a capture, or of what changed between two.
    Flamegraph(flamegraph::FlamegraphArgs),
    /// Says whether this host can be profiled: each lack with one sentence and one command.
    Doctor(DoctorArgs),
    /// Says within two seconds what a ship does at this moment, also one that hangs.
    Now(now::NowArgs),
    /// Asks a running ship how long it takes to answer: its king alone, and through Nock.
    Ping(ping::PingArgs),
    /// Asks a running ship what lies in its memory, by vane and agent. It stands still meanwhile.
    Mass(mass::MassArgs),
    /// Samples ships for months into a store: budgets, waits, losses, memory, a window at a time.
    Sampler(SamplerArgs),
    /// Shows what the sampler stored: tables, a chart, and where time went.
    History(HistoryArgs),
    /// Goes through the checklist without a capture: passed, failed, not applicable, cannot tell.
    Audit(audit::AuditArgs),
    /// Says what changed between two captures: helped, no effect, worse, or not enough data.
    Diff(diff::DiffArgs),
    /// Keeps captures under names, to compare with later.
    Baseline(baseline::BaselineArgs),
    /// Tries a fix of the running host out: measures, applies, measures, then keeps or undoes it.
    Trial(trial::TrialArgs),
    /// Documents changes: what, when, what it did to the host's values, and what came of it.
    Journal(journal::JournalArgs),
    /// Prints every fix: what, why, how its gain is computed, risk and source.
    Catalogue(catalogue::CatalogueArgs),
    /// Prints completions for a shell.
    Completions(completions::CompletionsArgs),
    /// Names addresses for the sampler, which starts it.
    #[command(name = crate::capture::naming::COMMAND, hide = true)]
    NameAddresses,
    /// Prints the manual page, or writes one for each command.
    Man(completions::ManArgs),
}

/// The deep dive.
#[derive(Debug, Args)]
struct DeepDive {
    /// The ship: its pier, its name (~zod), or the id of one of its processes. Left out: the one
    /// that runs.
    #[arg(long, value_name = "SHIP")]
    ship: Option<String>,
    /// How long to capture, in seconds.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Directory for the capture, report.json and the flamegraphs. Made if it is not there;
    /// nothing in it is overwritten.
    #[arg(short = 'o', long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// How to print the report.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Waits at least this long are recorded with their stacks; shorter ones are summed. In
    /// microseconds.
    #[arg(long, value_name = "US", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    threshold_us: u64,
    /// CPU samples per second and CPU. The default is not 100, so as not to march in step with what runs by
    /// the clock.
    #[arg(short = 'F', long, value_name = "HZ", default_value_t = 99, value_parser = clap::value_parser!(u64).range(1..=999))]
    frequency: u64,
    /// Limit on the records of one capture, in MiB; reached, the capture ends early.
    #[arg(long, value_name = "MIB", default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..=1024))]
    max_size: u64,
    /// Prints what the eBPF programs say of themselves.
    #[arg(short, long)]
    verbose: bool,
    /// Size of the buffer between the programs and us, in KiB, a power of two: 50 ms of its default are
    /// 160 MB a second. For tests of losses.
    #[arg(long, value_name = "KIB", default_value_t = 8192, hide = true)]
    ring_kib: u32,
}

/// Sampling mode.
#[derive(Debug, Args)]
struct SamplerArgs {
    /// The ship: its pier, its name (~zod), or the id of one of its processes. Left out: the one
    /// that runs.
    #[arg(long, value_name = "SHIP", conflicts_with = "all")]
    ship: Option<String>,
    /// Every ship of this host, also those that are started later.
    #[arg(long)]
    all: bool,
    /// Length of a window, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// The store, a file. Made if it is not there.
    #[arg(long, value_name = "FILE")]
    store: PathBuf,
    /// Ends after one window of each ship.
    #[arg(long)]
    once: bool,
    /// Windows older than this go, in days.
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=3650))]
    keep_days: u64,
    /// The oldest windows go while the store is larger, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(16..=1_048_576))]
    max_size: u64,
    /// What it may cost, in percent of one CPU, its programs included. After a window that cost more
    /// it leaves out stacks, then sums of block I/O and datagrams, and each window says so.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.5, value_parser = percent)]
    cpu_budget: f64,
}

/// A share of one CPU.
fn percent(text: &str) -> Result<f64, String> {
    let percent: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if percent > 0.0 && percent <= 100.0 {
        Ok(percent)
    } else {
        Err("not above 0 and at most 100".to_owned())
    }
}

#[derive(Debug, Args)]
struct ReportArgs {
    /// The file `capture` that a deep dive wrote.
    capture: PathBuf,
    /// How to print the report.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Prints a table that the first screen has no room for instead. All of it is in the JSON.
    #[arg(long, value_enum, conflicts_with = "format")]
    detail: Option<DetailArg>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DetailArg {
    /// How long events took, by kind and phase, and the slowest.
    Events,
    /// Datagrams by peer and kind, and their times.
    Ames,
    /// Block I/O by file.
    Files,
    /// Every fix: those that would help with their commands, all others with the reason.
    Fixes,
}

#[derive(Debug, Args)]
struct EventsArgs {
    /// The file `capture` that a deep dive wrote.
    capture: PathBuf,
}

#[derive(Debug, Args)]
struct DoctorArgs {
    /// The ship to look at as well. Left out: the one that runs, if one does.
    #[arg(long, value_name = "SHIP")]
    ship: Option<String>,
    /// How to print the answers.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Args)]
struct HistoryArgs {
    /// The file that the sampler writes. It may go on writing.
    #[arg(long, value_name = "FILE")]
    store: PathBuf,
    /// The ship, by its name or its pier. Left out: the only one in the store.
    #[arg(long, value_name = "SHIP")]
    ship: Option<String>,
    /// Where to begin: so long ago (90m, 24h, 7d), or a time (2026-03-01T12:00:00Z).
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = history::Moment::parse)]
    since: history::Moment,
    /// Where to end. Left out: now.
    #[arg(long, value_name = "TIME", value_parser = history::Moment::parse)]
    until: Option<history::Moment>,
    /// Length of a row: 5m, 1h, 1d. Left out: what makes about 24 rows.
    #[arg(long, value_name = "LENGTH", value_parser = history::Length::parse)]
    every: Option<history::Length>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = HistoryFormat::Text)]
    format: HistoryFormat,
    /// Short for --format json.
    #[arg(long, conflicts_with_all = ["format", "csv"])]
    json: bool,
    /// Short for --format csv.
    #[arg(long, conflicts_with = "format")]
    csv: bool,
}

impl HistoryArgs {
    fn format(&self) -> HistoryFormat {
        match (self.json, self.csv) {
            (true, _) => HistoryFormat::Json,
            (_, true) => HistoryFormat::Csv,
            _ => self.format,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum HistoryFormat {
    /// For people.
    Text,
    /// For programs, with a schema version.
    Json,
    /// For spreadsheets, one line per row.
    Csv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs, with a schema version.
    Json,
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut logger = env_logger::Builder::new();
    logger.filter_level(log::LevelFilter::Warn);
    if cli.deep_dive.verbose {
        // Ours only: the user side and, by the name of their crate, the eBPF programs.
        logger.filter_module("profiler", log::LevelFilter::Debug);
    }
    logger.init();
    take_back_left_over(cli.command.as_ref());
    let result = match cli.command {
        None => deep_dive::run(&cli.deep_dive),
        Some(Command::Report(arguments)) => report::run(&arguments),
        Some(Command::Events(arguments)) => events::run(&arguments),
        Some(Command::Flamegraph(arguments)) => flamegraph::run(&arguments),
        Some(Command::Doctor(arguments)) => doctor::run(&arguments),
        Some(Command::Now(arguments)) => now::run(&arguments),
        Some(Command::Ping(arguments)) => ping::run(&arguments),
        Some(Command::Mass(arguments)) => mass::run(&arguments),
        Some(Command::Sampler(arguments)) => sampler::run(&arguments),
        Some(Command::History(arguments)) => history::run(&arguments),
        Some(Command::Audit(arguments)) => audit::run(&arguments),
        Some(Command::Diff(arguments)) => diff::run(&arguments),
        Some(Command::Baseline(arguments)) => baseline::run(&arguments),
        Some(Command::Trial(arguments)) => trial::run(&arguments),
        Some(Command::Journal(arguments)) => journal::run(&arguments),
        Some(Command::Catalogue(arguments)) => catalogue::run(&arguments),
        Some(Command::Completions(arguments)) => completions::completions(&arguments),
        Some(Command::NameAddresses) => {
            crate::capture::naming::answer(io::stdin().lock(), io::stdout().lock()).map(|()| DONE)
        }
        Some(Command::Man(arguments)) => completions::man(&arguments),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            // A reader that went away (a pager that was left) is no failure of ours.
            if error
                .downcast_ref::<io::Error>()
                .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
            {
                return ExitCode::from(DONE);
            }
            eprintln!(
                "profile: {}",
                crate::render::harmless(&format!("{error:#}"))
            );
            ExitCode::from(FAILED)
        }
    }
}

/// Takes back what a killed trial left, before anything else: but for the command that is there for it,
/// and the child of a sampler, which has no rights for it.
fn take_back_left_over(command: Option<&Command>) {
    match command {
        Some(Command::NameAddresses) => {}
        Some(Command::Trial(arguments)) if arguments.is_undo() => {}
        _ => trial::take_back_left_over(),
    }
}

/// A report in the format that was asked for.
fn render(report: &Report, format: Format) -> anyhow::Result<String> {
    Ok(match format {
        Format::Text => crate::render::text::render(report),
        Format::Json => crate::render::json::render(report)?,
    })
}

/// Prints to stdout.
fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Exit status of a report.
fn status(report: &Report) -> u8 {
    if report.incomplete.is_empty() {
        DONE
    } else {
        INCOMPLETE
    }
}

/// A capture from its file.
fn read_capture(path: &Path) -> anyhow::Result<Capture> {
    let name = path.display();
    let opened = File::open(path).with_context(|| format!("cannot open the capture {name}"))?;
    read_capture_from(&mut BufReader::new(opened), &name)
}

/// A capture that is called so.
fn read_capture_from(from: &mut impl Read, name: &impl Display) -> anyhow::Result<Capture> {
    crate::capture::file::read(from).with_context(|| format!("cannot read the capture {name}"))
}

/// The report of a capture.
fn report_of(capture: &Capture) -> Report {
    crate::report::report(capture)
}
