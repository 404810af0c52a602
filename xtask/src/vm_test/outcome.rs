//! What `profile` said in a virtual machine: shown, and judged.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::kernel::Kernel;

/// Beside the tracepoints, which `profile doctor` lists.
const CPU_CLOCK: [&str; 2] = ["cpu_clock", "cpu_clock_hoon"];

/// The tracepoint of all system calls, and the programs that a kernel has in its place which calls
/// programs from its functions.
const ALL_ENTRIES: &str = "sys_enter";
const ENTRIES: [&str; 4] = [
    "enter_writev",
    "enter_epoll_pwait",
    "enter_sigaltstack",
    "enter_fdatasync",
];

/// How `profile doctor` names its checks of tracepoints.
const TRACEPOINT: &str = "tracepoint-";

/// The part of `profile doctor --format json` that is read here.
#[derive(Debug, Deserialize)]
struct Doctor {
    checks: Vec<DoctorCheck>,
}

#[derive(Debug, Deserialize)]
struct DoctorCheck {
    id: String,
}

/// The part of `report.json` that is read here.
#[derive(Debug, Deserialize)]
struct Report {
    window: Window,
    incomplete: Vec<String>,
    events: Option<Events>,
    verdict: Verdict,
    shares: Vec<Share>,
    threads: Vec<Thread>,
    block_io: Vec<Block>,
    checks: Vec<Check>,
    own_cost: OwnCost,
    losses: Vec<Loss>,
}

#[derive(Debug, Deserialize)]
struct Window {
    kernel: String,
}

#[derive(Debug, Deserialize)]
struct Events {
    count: u64,
}

#[derive(Debug, Deserialize)]
struct Verdict {
    sentence: String,
}

#[derive(Debug, Deserialize)]
struct Share {
    cause: String,
    ratio: f64,
}

#[derive(Debug, Deserialize)]
struct Thread {
    tid: u32,
    role: String,
    wall_ns: u64,
    on_cpu_ns: u64,
    run_queue_ns: u64,
    idle_ns: u64,
    unexplained_ns: u64,
    samples: u64,
    blocked: Vec<Blocked>,
}

#[derive(Debug, Deserialize)]
struct Blocked {
    syscall: String,
    idle: bool,
    total_ns: u64,
}

#[derive(Debug, Deserialize)]
struct Block {
    role: String,
    bytes: u64,
}

#[derive(Debug, Deserialize)]
struct Check {
    what: String,
    ours: u64,
    kernels: u64,
    unit: String,
}

#[derive(Debug, Deserialize)]
struct OwnCost {
    programs: Vec<Program>,
}

#[derive(Debug, Deserialize)]
struct Program {
    program: String,
}

#[derive(Debug, Deserialize)]
struct Loss {
    what: String,
    count: u64,
}

/// In the reason why a program could not be loaded.
const PROGRAM_LOAD: &str = "BPF_PROG_LOAD";

/// What became of a probe.
#[derive(Debug, PartialEq, Eq)]
enum Fate<'a> {
    Attached,
    /// Left out, and named with this reason.
    Named(&'a str),
    /// Neither there nor named.
    Unnamed,
}

/// The part of `profile history --format json` that is read here.
#[derive(Debug, Deserialize)]
struct History {
    total: Total,
}

#[derive(Debug, Deserialize)]
struct Total {
    events: Sums,
    histograms: Histograms,
}

#[derive(Debug, Deserialize)]
struct Sums {
    sum: Events,
}

#[derive(Debug, Deserialize)]
struct Histograms {
    event_ns: Option<EventTimes>,
}

#[derive(Debug, Deserialize)]
struct EventTimes {
    count: u64,
    p50: u64,
}

/// What is wrong with a window of sampling mode: of the events that there were it must have timed most.
fn sampled_wrong(results: &Path) -> Result<Option<String>> {
    let history: History = read_json(&results.join("history.json")).with_context(|| {
        let said = fs::read_to_string(results.join("sampler.log")).unwrap_or_default();
        format!("the sampler stored no window: {}", said.trim())
    })?;
    let events = history.total.events.sum.count;
    let (timed, p50_ns) = history
        .total
        .histograms
        .event_ns
        .map_or((0, 0), |times| (times.count, times.p50));
    println!(
        "  sampled       {timed} of {events} events, p50 {:.1} ms",
        p50_ns as f64 / 1e6
    );
    Ok((timed == 0 || timed * 2 < events)
        .then(|| format!("the sampler timed {timed} of {events} events")))
}

/// Shows the results and gives what is wrong with them, each in one sentence.
pub fn judge(kernel: &Kernel, profile: &Path, results: &Path) -> Result<Vec<String>> {
    let report_path = results.join("output/report.json");
    let report: Report = read_json(&report_path).with_context(|| {
        let said = fs::read_to_string(results.join("progress.log")).unwrap_or_default();
        format!("profile made no report: {}", said.trim())
    })?;
    let doctor: Doctor = read_json(&results.join("doctor.json"))?;
    let mut probes: Vec<&str> = doctor
        .checks
        .iter()
        .filter_map(|check| check.id.strip_prefix(TRACEPOINT))
        .collect();
    probes.extend(CPU_CLOCK);
    if kernel.counts_misses {
        probes.retain(|name| *name != ALL_ENTRIES);
        probes.extend(ENTRIES);
    }
    let fates: Vec<_> = probes
        .iter()
        .map(|name| (*name, fate(&report, name)))
        .collect();
    show(&report, &fates);

    let mut wrong = probes_wrong(kernel, &fates);
    wrong.extend(measured_wrong(&report));
    wrong.extend(sampled_wrong(results)?);
    // What a kernel lacks is one thing; a program that its verifier refuses is a fault of ours.
    let refused = report
        .incomplete
        .iter()
        .filter(|line| line.contains(PROGRAM_LOAD));
    wrong.extend(refused.map(|line| format!("a program was refused: {line}")));
    let status = read(&results.join("status"))?;
    let expected = if report.incomplete.is_empty() {
        "0"
    } else {
        "3"
    };
    if status.trim() != expected {
        wrong.push(format!(
            "profile ended with status {}, not {expected}",
            status.trim()
        ));
    }
    let capture = results.join("output/capture");
    let again = Command::new(profile)
        .arg("report")
        .arg(&capture)
        .args(["--format", "json"])
        .output()
        .with_context(|| format!("could not run {}", profile.display()))?;
    if again.stdout != read(&report_path)?.into_bytes() {
        wrong.push("profile makes another report of the same capture on this machine".into());
    }
    Ok(wrong)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_str(&read(path)?)
        .with_context(|| format!("{} is not what is expected", path.display()))
}

/// A probe that is missing is named as `not measured: WHAT (NAME: REASON)`.
fn fate<'a>(report: &'a Report, name: &str) -> Fate<'a> {
    let named = report.incomplete.iter().find_map(|line| {
        let (_, reason) = line.split_once(&format!("({name}: "))?;
        Some(reason.trim_end_matches(')'))
    });
    let loaded = || report.own_cost.programs.iter().any(|p| p.program == name);
    match named {
        Some(reason) => Fate::Named(reason),
        None if loaded() => Fate::Attached,
        None => Fate::Unnamed,
    }
}

fn show(report: &Report, fates: &[(&str, Fate)]) {
    let attached = fates.iter().filter(|(_, fate)| *fate == Fate::Attached);
    println!("Linux {}", report.window.kernel);
    println!(
        "  attached      {} of {} probes",
        attached.count(),
        fates.len()
    );
    for (name, fate) in fates {
        match fate {
            Fate::Attached => {}
            Fate::Named(reason) => println!("  not attached  {name}: {reason}"),
            Fate::Unnamed => println!("  not attached  {name}, and not named"),
        }
    }
    println!("  verdict       {}", report.verdict.sentence);
    let events = report
        .events
        .as_ref()
        .map(|events| events.count.to_string());
    println!("  events        {}", events.as_deref().unwrap_or("unknown"));
    let unexplained = report
        .shares
        .iter()
        .find(|share| share.cause == "unexplained");
    let percent = unexplained.map_or(0.0, |share| share.ratio * 100.0);
    println!("  unexplained   {percent:.1} %");
    for loss in &report.losses {
        println!("  lost          {} × {}", loss.count, loss.what);
    }
    for Check {
        what,
        ours,
        kernels,
        unit,
    } in &report.checks
    {
        let difference = (*kernels != 0)
            .then(|| (*ours as f64 / *kernels as f64 - 1.0) * 100.0)
            .map_or(String::new(), |percent| format!(", {percent:+.1} %"));
        println!("  {what:<15} ours {ours}, the kernel's {kernels} {unit}{difference}");
    }
}

/// What is wrong with the probes: exactly those must be missing that the kernel cannot have.
fn probes_wrong(kernel: &Kernel, fates: &[(&str, Fate)]) -> Vec<String> {
    let sentence = |(name, fate): &(&str, Fate)| match (fate, kernel.lacks.contains(name)) {
        (Fate::Attached, false) | (Fate::Named(_), true) => None,
        (Fate::Attached, true) => Some(format!(
            "{name} attached, which Linux {} was said not to have",
            kernel.series
        )),
        (Fate::Named(reason), false) => Some(format!("{name} did not attach: {reason}")),
        (Fate::Unnamed, _) => Some(format!("{name} is missing without being named")),
    };
    fates.iter().filter_map(sentence).collect()
}

/// What is wrong with the measurements. The kernel's own counters are shown only: they go by a clock
/// of the run queue that lags behind on an emulated processor. On 5.10 and 6.12 they were seen to be a
/// quarter off the kernel's own tracepoints, with which ours agreed.
fn measured_wrong(report: &Report) -> Vec<String> {
    let mut wrong = Vec::new();
    for thread in &report.threads {
        let blocked = thread.blocked.iter().filter(|line| !line.idle);
        let parts = [
            thread.on_cpu_ns,
            thread.run_queue_ns,
            thread.idle_ns,
            thread.unexplained_ns,
        ];
        let sum = parts.iter().sum::<u64>() + blocked.map(|line| line.total_ns).sum::<u64>();
        if sum != thread.wall_ns {
            wrong.push(format!(
                "the budget of thread {} does not close: {sum} of {} ns",
                thread.tid, thread.wall_ns
            ));
        }
    }
    let is_worker = |role: &str| role == "commit_worker";
    let commits = report
        .threads
        .iter()
        .filter(|thread| is_worker(&thread.role))
        .flat_map(|thread| &thread.blocked)
        .any(|line| line.syscall == "fdatasync");
    let needed = [
        (
            report
                .events
                .as_ref()
                .is_some_and(|events| events.count > 0),
            "events",
        ),
        (commits, "commit that waits in fdatasync"),
        (
            report
                .block_io
                .iter()
                .any(|line| is_worker(&line.role) && line.bytes > 0),
            "block I/O of the commits",
        ),
        (
            report.threads.iter().any(|thread| thread.samples > 0),
            "CPU sample",
        ),
    ];
    let missing = needed.into_iter().filter(|(seen, _)| !seen);
    wrong.extend(missing.map(|(_, what)| format!("no {what} was seen")));
    wrong
}
