//! Puts the report together.

use std::cmp::Reverse;

use profiler_common::loss;
use profiler_common::sched::TASK_INTERRUPTIBLE;

use super::agents::{agents, basis};
use super::checks::checks;
use super::findings::findings;
use super::host::{file_io, neighbours, ship_or_host};
use super::mars_spans::mars_spans;
use super::sentence;
use super::state::State;
use super::{
    BlockLine, BlockedLine, CauseShare, EventsLine, Loss, OwnCost, PartShare, ProgramLine, Report,
    SCHEMA_VERSION, Severity, ShipLine, ThreadBudget, Verdict, WindowLine,
};
use crate::aggregate::{Summaries, aggregate};
use crate::attribute::{
    Attribution, Cause, Circumstances, VerdictKind, attribute, judge, ratio, syscall_name,
};
use crate::catalogue::Situation;
use crate::model::{Capture, Losses, Meta, sum};
use crate::recommend::recommend;
use crate::ship::loom::LoomAnswer;

/// Makes the report of a capture. The same capture always gives the same report.
pub fn report(capture: &Capture) -> Report {
    let summaries = aggregate(capture);
    let attribution = attribute(capture, &summaries);
    report_of(capture, &summaries, &attribution)
}

/// The same, for who has its summaries and attribution at hand.
pub fn report_of(capture: &Capture, summaries: &Summaries, attribution: &Attribution) -> Report {
    let meta = &capture.meta;
    let findings = findings(meta, summaries);
    let severe = findings
        .iter()
        .any(|finding| finding.severity == Severity::Severe);
    let events = events(meta, summaries);
    let state = State::of(meta, summaries);
    let circumstances = Circumstances {
        up: state.is_up(),
        severe,
        whole: meta.losses.of_budgets() == 0,
        events: events.as_ref().map(|events| events.count),
    };
    let (kind, stall_cause) = judge(attribution, circumstances);
    let cause = match kind {
        VerdictKind::Finding => findings.first().and_then(|finding| finding.cause),
        _ => stall_cause,
    };
    let situation = Situation {
        capture,
        summaries,
        attribution,
    };
    let shares = shares(attribution, summaries, meta);
    let facts = sentence::Facts {
        meta,
        summaries,
        attribution,
        shares: &shares,
        findings: &findings,
        events: events.as_ref(),
        state,
    };
    let advised = recommend(&situation, kind, &findings);
    Report {
        schema_version: SCHEMA_VERSION,
        profiler_version: meta.profiler_version.clone(),
        ship: ship_line(meta, state),
        window: window_line(meta),
        incomplete: incomplete(meta),
        verdict: Verdict {
            kind,
            cause,
            sentence: sentence::verdict(kind, cause, &facts),
        },
        basis: sentence::basis(attribution, summaries),
        event_times: attribution
            .events
            .as_ref()
            .map(|times| super::events::event_times(times, meta)),
        mars_spans: mars_spans(capture, summaries),
        busy_ns: attribution.busy_ns(),
        not_the_cause: sentence::not_the_cause(kind, cause, &facts),
        fixes: advised.fixes,
        fixes_together: advised.together,
        threads: summaries
            .threads
            .iter()
            .map(|t| thread_budget(t, summaries, capture))
            .collect(),
        ship_or_host: ship_or_host(attribution, summaries, meta),
        neighbours: neighbours(attribution, summaries, meta),
        block_io: summaries
            .block
            .iter()
            .map(|block| block_line(block, meta))
            .collect(),
        file_io: file_io(summaries, meta),
        memory: summaries.memory.clone(),
        snapshots: summaries.snapshots.clone(),
        page_in_rule: attribution.page_ins,
        ames: summaries.ames.clone(),
        udp: summaries.udp.clone(),
        hoon: summaries.hoon.clone(),
        stacks: summaries.stacks.clone(),
        agents: summaries.agents.as_ref().map(agents),
        agents_basis: summaries.agents.as_ref().map(basis),
        checks: checks(capture, summaries, attribution),
        own_cost: own_cost(meta),
        lost: meta.losses.total(),
        losses: losses(&meta.losses),
        events_unknown: events_unknown(meta).filter(|_| events.is_none()),
        shares,
        events,
        findings,
    }
}

fn ship_line(meta: &Meta, state: State) -> ShipLine {
    let ship = &meta.ship;
    ShipLine {
        label: ship.label(),
        version: ship.version.clone(),
        king_tgid: ship.king.tgid,
        mars_tgid: ship.mars.as_ref().map(|mars| mars.tgid),
        pier: ship.pier.inside.display().to_string(),
        state: state.name().to_owned(),
    }
}

fn window_line(meta: &Meta) -> WindowLine {
    WindowLine {
        duration_ns: meta.clocks.duration_ns(),
        start_unix_ns: meta.clocks.start_unix_ns,
        kernel: meta
            .host
            .kernel
            .release
            .known()
            .cloned()
            .unwrap_or_else(|| "unknown".to_owned()),
        ended: meta.ended,
    }
}

/// By the loom, or by what a serf says in its answers.
fn events(meta: &Meta, summaries: &Summaries) -> Option<EventsLine> {
    let (LoomAnswer::Home(before), LoomAnswer::Home(after)) = (&meta.loom_start, &meta.loom_end)
    else {
        let (first, last) = summaries.events.as_ref()?.answered_numbers?;
        let before = first.saturating_sub(1);
        return Some(EventsLine {
            before,
            last,
            count: last.saturating_sub(before),
        });
    };
    Some(EventsLine {
        before: before.event_number,
        last: after.event_number,
        count: after.event_number.saturating_sub(before.event_number),
    })
}

fn events_unknown(meta: &Meta) -> Option<String> {
    [&meta.loom_start, &meta.loom_end]
        .into_iter()
        .find_map(|answer| match answer {
            LoomAnswer::Home(_) => None,
            LoomAnswer::UnknownLayout { version, .. } => {
                Some(format!("its loom has the unknown version {version}"))
            }
            LoomAnswer::Unreadable { reason } => Some(reason.clone()),
        })
}

/// Everything that makes this report claim less.
fn incomplete(meta: &Meta) -> Vec<String> {
    let mut incomplete = Vec::new();
    let lost = meta.losses.total();
    if lost > 0 {
        incomplete.push(format!("{lost} records or sums were lost (see the losses)"));
    }
    for probe in meta.probes.iter() {
        if let Some(error) = &probe.error {
            incomplete.push(format!(
                "not measured: {} ({}: {error})",
                probe.missing_without, probe.name
            ));
        }
    }
    for (tgid_or, what) in [
        (meta.ship.udp_ports.reason(), "the ship's UDP ports"),
        (
            meta.ship.network_namespace_inode.reason(),
            "the ship's network",
        ),
    ] {
        if let Some(reason) = tgid_or {
            incomplete.push(format!("not measured: {what} ({reason})"));
        }
    }
    use crate::model::EndReason::{Interrupted, ShipExited, SizeLimit, TimeIsUp};
    match meta.ended {
        TimeIsUp => {}
        Interrupted => incomplete.push(format!(
            "ended by a signal before its {} s were over",
            meta.requested_s
        )),
        ShipExited => incomplete.push("the ship ended during the capture".to_owned()),
        SizeLimit => {
            incomplete.push("ended early at the size limit of its records (--max-size)".to_owned())
        }
    }
    incomplete
}

fn shares(attribution: &Attribution, summaries: &Summaries, meta: &Meta) -> Vec<CauseShare> {
    let busy_ns = attribution.busy_ns();
    let evidence = sentence::Evidence {
        meta,
        summaries,
        attribution,
    };
    Cause::ALL
        .into_iter()
        .map(|cause| {
            let total_ns = attribution.cause_ns(cause);
            let of = attribution
                .parts
                .iter()
                .filter(|(leaf, _)| leaf.cause() == cause);
            let mut parts: Vec<PartShare> = of
                .filter(|(_, part)| part.total_ns > 0)
                .map(|(leaf, part)| PartShare {
                    leaf: *leaf,
                    ratio: ratio(part.total_ns, busy_ns),
                    total_ns: part.total_ns,
                    estimated: part.estimated,
                    waits: part.waits.count(),
                    p50_ns: part.waits.quantile(500),
                    p95_ns: part.waits.quantile(950),
                    evidence: sentence::evidence(*leaf, &evidence),
                })
                .collect();
            parts.sort_by_key(|part| (Reverse(part.total_ns), part.leaf));
            CauseShare {
                cause,
                ratio: ratio(total_ns, busy_ns),
                total_ns,
                parts,
            }
        })
        .collect()
}

fn thread_budget(
    thread: &crate::aggregate::sched::ThreadSummary,
    summaries: &Summaries,
    capture: &Capture,
) -> ThreadBudget {
    let blocked: Vec<BlockedLine> = thread
        .waits
        .iter()
        .map(|wait| BlockedLine {
            syscall: syscall_name(&capture.meta.architecture, wait.syscall_nr),
            interruptible: wait.task_state == TASK_INTERRUPTIBLE,
            idle: crate::attribute::is_idle(&capture.meta, thread.role, wait),
            count: wait.count,
            total_ns: wait.total_ns,
            p50_ns: wait.histogram.quantile(500),
            p95_ns: wait.histogram.quantile(950),
            max_ns: wait.max_ns,
        })
        .collect();
    let samples = summaries
        .samples
        .iter()
        .find(|(of, _)| *of == thread.thread);
    ThreadBudget {
        tgid: thread.thread.tgid,
        tid: thread.thread.tid,
        comm: thread.comm.clone(),
        role: thread.role,
        wall_ns: thread.wall_ns,
        on_cpu_ns: thread.on_cpu_ns,
        run_queue_ns: thread.run_queue_ns,
        idle_ns: blocked
            .iter()
            .filter(|line| line.idle)
            .map(|line| line.total_ns)
            .sum(),
        blocked,
        unexplained_ns: thread.unexplained_ns,
        switches: thread.switches,
        unseen_switches: thread.unseen_switches,
        samples: samples.map_or(0, |(_, count)| *count),
        kernel: super::checks::kernel_sums(capture, thread.thread.tid),
    }
}

fn block_line(block: &crate::aggregate::block::BlockSummary, meta: &Meta) -> BlockLine {
    BlockLine {
        role: block.role,
        device: device_name(meta, block.dev),
        operation: block.operation.name(),
        count: block.count,
        bytes: block.bytes,
        queue_ns: block.queue_ns,
        device_ns: block.device_ns,
        queue_p95_ns: block.queue.quantile(950),
        device_p50_ns: block.device.quantile(500),
        device_p95_ns: block.device.quantile(950),
        errors: block.errors,
    }
}

/// Name of a device of the pier, or its numbers.
pub fn device_name(meta: &Meta, dev: u32) -> String {
    let (major, minor) = (dev >> 20, dev & 0xf_ffff);
    let devices = meta.host.storage.backing.devices();
    let known = devices
        .iter()
        .find(|device| (device.major, device.minor) == (major, minor));
    known.map_or_else(|| format!("{major}:{minor}"), |device| device.name.clone())
}

fn own_cost(meta: &Meta) -> OwnCost {
    let duration_ns = meta.clocks.duration_ns();
    let counted_ns = sum(meta.program_costs.iter().map(|cost| cost.run_time_ns));
    let programs_cpu_ns = (meta.cost_measured_ns > 0 && !meta.program_costs.is_empty())
        .then(|| (counted_ns as f64 * ratio(duration_ns, meta.cost_measured_ns)) as u64);
    OwnCost {
        process_cpu_ns: meta.own_use.cpu_ns,
        programs_cpu_ns,
        cpu_ratio: ratio(
            meta.own_use
                .cpu_ns
                .saturating_add(programs_cpu_ns.unwrap_or(0)),
            duration_ns,
        ),
        max_resident_bytes: meta.own_use.max_resident_bytes,
        record_bytes: meta.record_bytes,
        records: meta.records,
        programs: meta
            .program_costs
            .iter()
            .map(|cost| ProgramLine {
                program: cost.program.clone(),
                runs: cost.runs,
                ns_per_run: ratio(cost.run_time_ns, cost.runs),
            })
            .collect(),
    }
}

fn losses(losses: &Losses) -> Vec<Loss> {
    const REASONS: [(u32, &str); 25] = [
        (
            loss::WAIT_RECORD,
            "long waits that are summed, but have no stack (ring buffer full)",
        ),
        (loss::SAMPLE_RECORD, "CPU samples (ring buffer full)"),
        (loss::BIO_RECORD, "records of block I/O (ring buffer full)"),
        (
            loss::TASK_RECORD,
            "records of threads that began or ended (ring buffer full)",
        ),
        (loss::THREAD_SLOT, "threads without a budget (map full)"),
        (loss::WAIT_SLOT, "waits without a reason (map full)"),
        (loss::BIO_SLOT, "block I/O not followed (map full)"),
        (
            loss::BIO_CHAIN,
            "requests with more block I/O than is walked",
        ),
        (loss::BLOCK_SLOT, "block I/O without a sum (map full)"),
        (loss::PROCESS_SLOT, "processes not followed (map full)"),
        (
            loss::FAULT_RECORD,
            "places of major faults (ring buffer full)",
        ),
        (loss::SNAPSHOT_SLOT, "snapshots without a sum (map full)"),
        (
            loss::SNAPSHOT_RECORD,
            "places of snapshots in time (ring buffer full)",
        ),
        (
            loss::SYSCALL_RECORD,
            "ends of parts of events (ring buffer full)",
        ),
        (
            loss::FRAME_PARTS,
            "messages of king and mars (their parts were not in memory)",
        ),
        (
            loss::ENTRY_MISSED,
            "ends of parts of events (the program that sees them was preempted)",
        ),
        (
            loss::RUN_MISSED,
            "runs of programs that interrupted themselves",
        ),
        (
            loss::HOON_RECORD,
            "Hoon stacks of samples (ring buffer full)",
        ),
        (
            loss::STACK_SLOT,
            "stacks without a place (map full); their time is under the others",
        ),
        (
            loss::STACK_COLLISION,
            "stacks with the hash of another; their time is under the others",
        ),
        (
            loss::NEIGHBOUR_SLOT,
            "neighbours, or block I/O of theirs, not told apart (map full)",
        ),
        (
            loss::AMES_SLOT,
            "datagrams that are under no ship's name (map full)",
        ),
        (
            loss::FILE_SLOT,
            "files of the ship, or block I/O of theirs, not told apart (map full)",
        ),
        (loss::WAIT_STACK, "long waits that have no stack (map full)"),
        (loss::USER_STACK, "user stacks that could not be read"),
    ];
    let kernel = REASONS.iter().map(|(reason, what)| Loss {
        what,
        count: losses.of(*reason),
    });
    let malformed = Loss {
        what: "records that made no sense",
        count: losses.malformed_records,
    };
    kernel
        .chain([malformed])
        .filter(|loss| loss.count > 0)
        .collect()
}
