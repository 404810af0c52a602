//! What the store keeps of a window: the report of a capture without records, by its names.

use std::collections::BTreeMap;

use super::labels::LabelSums;
use super::names::Names;
use super::stacks::top_stacks;
use super::thinning::{Step, Thinning};
use crate::aggregate::{Summaries, aggregate};
use crate::attribute::{Attribution, Leaf, PageInRule, Shares, attribute_by, shares_of, throttled};
use crate::model::{
    Budget, DiskSpace, EventRange, Faults, LeafTime, Loom, OwnCost, ProcessMemory, SampledStack,
    ShipKey, ThreadId, TopStacks, Udp, Window, WindowFinding, WindowVerdict, histogram_name,
    stack_kind,
};
use crate::model::{Capture, Clocks, EndReason, Histogram};
use crate::report::{Report, ThreadBudget, report_of};
use crate::ship::Role;

/// Name of the probe that takes stacks on CPU.
const CPU_CLOCK: &str = "cpu_clock";

/// What only the sampler knows of a window.
#[derive(Debug)]
pub struct Circumstances<'a> {
    /// How far the wall clock jumped meanwhile.
    pub clock_step_ns: i64,
    /// Memory of mars at the end; nothing if unknown.
    pub memory: Option<ProcessMemory>,
    /// What the programs took, an estimate; nothing if it could not be made.
    pub programs_cpu_ns: Option<u64>,
    /// What was left out in it.
    pub thinning: Thinning,
    /// The stacks taken in it, and the names of their addresses.
    pub stacks: &'a [SampledStack],
    /// The names.
    pub names: &'a Names,
    /// Why something of its stacks has no name.
    pub unnamed: Vec<String>,
    /// Looks at the labels of agents and vanes.
    pub labels: LabelSums,
}

/// A difference of the two clocks below this is none: they are read one after the other.
const CLOCK_GRAIN_NS: u64 = 10_000_000;

/// How far the wall clock jumped in a window that ended at `end_unix_ns` by it.
pub fn clock_step_ns(clocks: &Clocks, end_unix_ns: u64) -> i64 {
    let step = i128::from(end_unix_ns)
        - i128::from(clocks.start_unix_ns)
        - i128::from(clocks.duration_ns());
    i64::try_from(step)
        .ok()
        .filter(|step| step.unsigned_abs() >= CLOCK_GRAIN_NS)
        .unwrap_or(0)
}

/// The window of a capture.
pub fn window(capture: &Capture, circumstances: &Circumstances<'_>) -> Window {
    let meta = &capture.meta;
    let summaries = aggregate(capture);
    let attribution = attribute_by(capture, &summaries, &upkeep(circumstances));
    let report = &report_of(capture, &summaries, &attribution);
    let thinning = &circumstances.thinning;
    Window {
        ship: ShipKey {
            label: report.ship.label.clone(),
            pier: report.ship.pier.clone(),
        },
        vere_version: report.ship.version.clone(),
        start_unix_ns: meta.clocks.start_unix_ns,
        duration_ns: meta.clocks.duration_ns(),
        clock_step_ns: circumstances.clock_step_ns,
        events: report.events.as_ref().map(|events| EventRange {
            before: events.before,
            last: events.last,
            count: events.count,
        }),
        budgets: budgets(report, &throttled(capture, &summaries.threads)),
        leaves: leaves(report),
        histograms: histograms(capture, &summaries, &attribution),
        stacks: stacks(capture, &summaries, circumstances),
        udp: udp(report),
        faults: faults(capture, report),
        loom: loom(report),
        memory: circumstances.memory,
        disk_space: meta.host.storage.space.known().map(|space| DiskSpace {
            total_bytes: space.total_bytes,
            available_bytes: space.available_bytes,
            log_bytes: None,
        }),
        verdict: WindowVerdict {
            kind: name(&report.verdict.kind),
            cause: report.verdict.cause.map(|cause| cause.name().to_owned()),
            sentence: report.verdict.sentence.clone(),
        },
        findings: report
            .findings
            .iter()
            .map(|finding| WindowFinding {
                id: finding.id.to_owned(),
                severity: name(&finding.severity),
                sentence: finding.sentence.clone(),
            })
            .collect(),
        own_cost: OwnCost {
            process_cpu_ns: report.own_cost.process_cpu_ns,
            programs_cpu_ns: circumstances.programs_cpu_ns,
            max_resident_bytes: report.own_cost.max_resident_bytes,
            thinned: thinning.step() != Step::Nothing,
        },
        losses: report
            .losses
            .iter()
            .map(|loss| (loss.what.to_owned(), loss.count))
            .collect(),
        not_measured: not_measured(capture, report, circumstances),
        cut_short: match meta.ended {
            EndReason::TimeIsUp => None,
            EndReason::Interrupted => Some("the sampler was ended".to_owned()),
            EndReason::ShipExited => Some("the ship ended".to_owned()),
            EndReason::SizeLimit => Some("the records had reached their limit".to_owned()),
        },
    }
}

/// The name of a value as JSON has it.
fn name(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        other => format!("{other:?}"),
    }
}

fn budgets(report: &Report, throttled_ns: &BTreeMap<ThreadId, u64>) -> BTreeMap<Role, Budget> {
    let mut budgets: BTreeMap<Role, Budget> = BTreeMap::new();
    for thread in &report.threads {
        let id = ThreadId {
            tgid: thread.tgid,
            tid: thread.tid,
        };
        let throttled_ns = throttled_ns.get(&id).copied().unwrap_or(0);
        let budget = budget(thread, throttled_ns.min(thread.run_queue_ns));
        budgets.entry(thread.role).or_default().add(&budget);
    }
    budgets
}

/// `throttled_ns` of its time in the run queue, an estimate, was because of a quota.
fn budget(thread: &ThreadBudget, throttled_ns: u64) -> Budget {
    let blocked_ns: u64 = thread.blocked.iter().map(|wait| wait.total_ns).sum();
    let parts = [
        thread.on_cpu_ns,
        thread.run_queue_ns,
        blocked_ns,
        thread.unexplained_ns,
    ];
    Budget {
        // Each thread is read at a moment of its own, milliseconds apart; its parts are whole.
        wall_ns: parts.iter().sum(),
        on_cpu_ns: thread.on_cpu_ns,
        run_queue_ns: thread.run_queue_ns - throttled_ns,
        throttled_ns,
        blocked_ns: blocked_ns - thread.idle_ns,
        idle_ns: thread.idle_ns,
        unexplained_ns: thread.unexplained_ns,
    }
}

fn leaves(report: &Report) -> BTreeMap<String, LeafTime> {
    let parts = report
        .shares
        .iter()
        .flat_map(|share| share.parts.iter().map(|part| (share.cause, part)));
    parts
        .map(|(cause, part)| {
            let time = LeafTime {
                cause: cause.name().to_owned(),
                total_ns: part.total_ns,
            };
            (part.leaf.name().to_owned(), time)
        })
        .collect()
}

/// What part of the time on CPU was upkeep of memory, by the stacks that were taken.
fn upkeep(circumstances: &Circumstances<'_>) -> Shares {
    let on_cpu = circumstances
        .stacks
        .iter()
        .filter(|stack| stack.wait.is_none());
    let samples = on_cpu.map(|stack| (stack.thread, &stack.stack, stack.count));
    shares_of(samples, |tgid, address, kind| {
        vec![circumstances.names.frame(tgid, address, kind)]
    })
}

fn stacks(
    capture: &Capture,
    summaries: &Summaries,
    circumstances: &Circumstances<'_>,
) -> BTreeMap<String, TopStacks> {
    let step = circumstances.thinning.step();
    if !step.takes_stacks() {
        return BTreeMap::new();
    }
    let (meta, names) = (&capture.meta, circumstances.names);
    let mut stacks = top_stacks(meta, summaries, circumstances.stacks, names);
    if !meta.attached(CPU_CLOCK) {
        stacks.remove(stack_kind::ON_CPU);
    }
    if let Some(top) = circumstances.labels.top(meta.clocks.duration_ns()) {
        stacks.insert(stack_kind::SPIN.to_owned(), top);
    }
    stacks
}

fn histograms(
    capture: &Capture,
    summaries: &Summaries,
    attribution: &Attribution,
) -> BTreeMap<String, Histogram> {
    let mut histograms = BTreeMap::new();
    let mut events = Histogram::default();
    for (_, ship) in &capture.totals.turnaround {
        events.add_buckets(&ship.buckets);
    }
    if events.count() > 0 {
        histograms.insert(histogram_name::EVENT.to_owned(), events);
    }
    // Commits are seen by their waits for the disk: which event each is of is not.
    if let Some(commits) = attribution.parts.get(&Leaf::LogCommit) {
        histograms.insert(histogram_name::COMMIT.to_owned(), commits.waits.clone());
    }
    let mut run_queue = Histogram::default();
    for thread in summaries.threads.iter().filter(|t| t.role == Role::Mars) {
        run_queue.add(&thread.run_queue);
    }
    histograms.insert(histogram_name::RUN_QUEUE.to_owned(), run_queue);
    histograms
}

fn udp(report: &Report) -> Option<Udp> {
    let udp = report.udp.as_ref()?;
    Some(Udp {
        received: udp.received?,
        sent: udp.sent?,
        bytes: udp.received_bytes? + udp.sent_bytes?,
        dropped: udp.dropped?,
    })
}

fn faults(capture: &Capture, report: &Report) -> Option<Faults> {
    let rule = PageInRule::of(&capture.meta);
    Some(Faults {
        minor: report.memory.minor_faults?,
        major: rule.major_faults?,
        swapped_in_pages: report.memory.swapped_in_pages,
        refaulted_pages: rule.refaulted_pages,
    })
}

fn loom(report: &Report) -> Option<Loom> {
    let (loom, events) = (report.memory.loom?, report.events.as_ref()?);
    Some(Loom {
        event_number: events.last,
        heap_bytes: loom.heap_bytes,
        free_gap_bytes: loom.free_gap_bytes,
    })
}

fn not_measured(
    capture: &Capture,
    report: &Report,
    circumstances: &Circumstances<'_>,
) -> Vec<String> {
    let missing = report.incomplete.iter();
    let mut missing: Vec<String> = missing
        .filter_map(|line| line.strip_prefix("not measured: ").map(str::to_owned))
        .collect();
    missing.extend(report.events_unknown.clone());
    missing.extend(events_not_timed(capture, report));
    let thinning = &circumstances.thinning;
    missing.extend(thinning.step().sentences(thinning.budget_ratio()));
    missing.extend(circumstances.unnamed.iter().cloned());
    missing.extend(circumstances.labels.lack());
    missing
}

/// What of the ship's events has no time.
fn events_not_timed(capture: &Capture, report: &Report) -> Option<String> {
    let ships = capture.totals.turnaround.iter().map(|(_, ship)| ship);
    let (count, unmatched) = ships.fold((0, 0), |(count, unmatched), ship| {
        (count + ship.count, unmatched + ship.unmatched)
    });
    match report.events.as_ref() {
        Some(events) if count == 0 && events.count > 0 => Some(
            "how long events took (no message between king and mars was seen; ships before vere 4 have others)".to_owned(),
        ),
        _ if unmatched > 0 => Some(format!(
            "how long some events took (messages of king or mars without a partner: {unmatched}; one that was \
             sent before sampling began has none)"
        )),
        _ => None,
    }
}
