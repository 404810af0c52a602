//! The report for a terminal: 80 columns, plain words, units always.

use std::fmt::Write as _;

use super::page::Page;
use super::{agents, events, fixes, harmless};
use crate::attribute::{Cause, VerdictKind, ratio};
use crate::model::{EndReason, sum};
use crate::report::units::{bytes, count, duration, percent, percent_range};
use crate::report::{
    CauseShare, Check, DISK_BUSY, DISK_BYTES, DeviceUse, EventTimesLine, PartShare, Report,
    Severity, ThreadBudget,
};
use crate::ship::Role;

/// Lines of a screen.
const SCREEN_LINES: usize = 45;
/// Most threads beside the commit workers that are shown.
const MAX_THREADS: usize = 8;
/// Smallest share of the stalls that is shown as somebody's.
const MIN_PARTY: f64 = 0.01;
/// Share of whole C stacks below which it is said how many are not.
const MIN_WHOLE_STACKS: f64 = 0.99;
/// Where the evidence of a part begins.
const EVIDENCE: usize = 50;

/// The report as text.
pub fn render(report: &Report) -> String {
    let whole = page(report, true);
    if whole.lines().count() <= SCREEN_LINES {
        whole
    } else {
        page(report, false)
    }
}

fn page(report: &Report, with_agents: bool) -> String {
    let mut page = Page::default();
    head(&mut page, report);
    if let Some(reason) = &report.events_unknown {
        page.wrapped("", &format!("events not known: {reason}"));
    }
    page.blank();
    page.wrapped("VERDICT  ", &report.verdict.sentence);
    if !report.incomplete.is_empty() {
        page.blank();
        for line in &report.incomplete {
            page.wrapped("INCOMPLETE  ", line);
        }
    }
    shares(&mut page, report);
    ship_or_host(&mut page, report);
    if let Some(times) = &report.event_times {
        events::events(&mut page, times);
    }
    if with_agents {
        agents::agents(&mut page, report);
    }
    findings(&mut page, report);
    if !report.not_the_cause.is_empty() {
        page.blank();
        page.wrapped("NOT THE CAUSE  ", &report.not_the_cause.join(" · "));
    }
    threads(&mut page, report);
    let mut tail = Page::default();
    own_cost(&mut tail, report);
    let (head, tail) = (page.into_text(), tail.into_text());
    let room = SCREEN_LINES.saturating_sub(head.lines().count() + tail.lines().count());
    let mut page = Page::default();
    page.text(&head);
    fixes::fixes(&mut page, report, room);
    page.text(&tail);
    page.into_text()
}

fn head(page: &mut Page, report: &Report) {
    let ship = &report.ship;
    let version = ship.version.as_deref().unwrap_or("version unknown");
    let mars = ship
        .mars_tgid
        .map_or("no mars".to_owned(), |tgid| format!("mars {tgid}"));
    page.line(&format!(
        "{}   vere {version}   king {}, {mars}   {} on Linux {}",
        ship.label,
        ship.king_tgid,
        duration(report.window.duration_ns),
        report.window.kernel.split('-').next().unwrap_or_default()
    ));
    let lost = report.lost;
    let numbers = match &report.events {
        Some(events) if events.count > 0 => format!(
            "{} events ({}-{}){}",
            count(events.count),
            count(events.before + 1),
            count(events.last),
            report
                .event_times
                .as_ref()
                .map_or_else(String::new, latency)
        ),
        Some(events) => format!("0 events (last {})", count(events.last)),
        None => "events not known".to_owned(),
    };
    let state = if ship.state == "up" {
        String::new()
    } else {
        format!("   {}", ship.state)
    };
    let ended = match report.window.ended {
        EndReason::ShipExited => "   THE SHIP ENDED",
        _ => "",
    };
    page.line(&format!("{numbers}   {lost} lost{state}{ended}"));
}

fn latency(times: &EventTimesLine) -> String {
    let all = &times.all;
    format!(
        "   p50 {}   p95 {}   p99 {}",
        duration(all.p50_ns),
        duration(all.p95_ns),
        duration(all.p99_ns)
    )
}

/// A share that reads as more than 0.0 %; all of them are in the JSON.
const SHOWN_RATIO: f64 = 0.0005;

fn shares(page: &mut Page, report: &Report) {
    page.blank();
    let title = match report.event_times {
        Some(_) => "WHERE EVENT TIME WENT",
        None => "WHERE TIME WENT",
    };
    page.line(&columns(title, "share", "p50", "p95", "evidence"));
    let is_shown =
        |share: &CauseShare| share.ratio >= SHOWN_RATIO || share.cause == Cause::Unexplained;
    for share in report.shares.iter().filter(|share| is_shown(share)) {
        page.line(&columns(
            share.cause.name(),
            &percent(share.ratio),
            "",
            "",
            "",
        ));
        for part in share
            .parts
            .iter()
            .filter(|part| share.cause != Cause::Unexplained && part.ratio >= SHOWN_RATIO)
        {
            part_line(page, part);
        }
    }
    let none: Vec<&str> = report
        .shares
        .iter()
        .filter(|share| !is_shown(share))
        .map(|s| s.cause.name())
        .collect();
    if !none.is_empty() {
        page.line(&format!("next to nothing in {}", none.join(", ")));
    }
    page.wrapped(
        "",
        &format!("Shares of {}: {}.", duration(report.busy_ns), report.basis),
    );
}

fn columns(name: &str, share: &str, p50: &str, p95: &str, evidence: &str) -> String {
    format!("{name:<25}{share:>7}{p50:>8}{p95:>8}  {evidence}")
}

fn part_line(page: &mut Page, part: &PartShare) {
    let quantile = |ns: Option<u64>| ns.map_or(String::new(), duration);
    let estimate = if part.estimated { "~" } else { "" };
    let start = columns(
        &format!("  {}", part.leaf.name()),
        &format!("{estimate}{}", percent(part.ratio)),
        &quantile(part.p50_ns),
        &quantile(part.p95_ns),
        "",
    );
    page.hanging(&start, EVIDENCE, &part.evidence);
}

/// Whom the stalls are due to, where they matter.
fn ship_or_host(page: &mut Page, report: &Report) {
    if report.verdict.kind != VerdictKind::Stalled {
        return;
    }
    let split = &report.ship_or_host;
    let parts = split.parts.iter().filter(|part| part.ratio >= MIN_PARTY);
    let parts: Vec<String> = parts
        .map(|part| {
            let share = percent_range(part.ratio, part.ratio);
            let name = part.party.name();
            match &part.heaviest {
                Some(one) => format!("{name} {share}: {}", one.words()),
                None => format!("{name} {share}"),
            }
        })
        .collect();
    if !parts.is_empty() {
        page.wrapped("SHIP OR HOST  ", &parts.join(" · "));
    }
    let device = report.neighbours.devices.first();
    if let (Some(Cause::Disk), Some(device)) = (report.verdict.cause, device) {
        page.wrapped(
            "DISK BUSY     ",
            &disk_busy(device, report.window.duration_ns),
        );
    }
}

/// How much of the time the pier's device had something to do, and for whom.
fn disk_busy(device: &DeviceUse, window_ns: u64) -> String {
    let busy = &device.busy;
    let share = |ns| percent_range(ratio(ns, window_ns), ratio(ns, window_ns));
    let parts = [
        ("this ship", busy.ship_ns),
        ("other ships", busy.other_ships_ns),
        ("others", busy.others_ns),
        ("shared journal", busy.journal_ns),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(_, ns)| ratio(*ns, window_ns) >= MIN_PARTY)
        .map(|(name, ns)| format!("{name} {}", share(*ns)))
        .collect();
    let whole = format!("{} {} of the time", device.device, share(busy.total_ns));
    match parts.as_slice() {
        [] => whole,
        parts => format!("{whole}: {}", parts.join(" · ")),
    }
}

fn findings(page: &mut Page, report: &Report) {
    // The verdict says the severe ones.
    let findings = report.findings.iter();
    let mut findings = findings
        .filter(|finding| finding.severity == Severity::Notice)
        .peekable();
    if findings.peek().is_none() {
        return;
    }
    page.blank();
    page.line("FINDINGS");
    for finding in findings {
        let start = format!("  {:<7} ", finding.cause.map_or("", Cause::name));
        page.hanging(&start, start.chars().count(), &finding.sentence);
    }
}

fn threads(page: &mut Page, report: &Report) {
    page.blank();
    page.line(&format!(
        "{:<27}{:>8}{:>11}{:>9}{:>8}{:>9}",
        "THREADS, share of wall", "on CPU", "run queue", "blocked", "idle", "unexpl."
    ));
    let busy = report.threads.iter().filter(|t| t.idle_ns < t.wall_ns);
    let (workers, others): (Vec<_>, Vec<_>) = busy.partition(|t| t.role == Role::CommitWorker);
    let shown = others.len().min(MAX_THREADS);
    for thread in &others[..shown] {
        thread_line(page, &thread_name(thread), &[thread]);
    }
    match workers.as_slice() {
        [] => {}
        [worker] => thread_line(page, &thread_name(worker), &workers),
        // Any of them may commit, one at a time: their mean says as much, in one line.
        _ => thread_line(
            page,
            &format!("{} commit workers, mean", workers.len()),
            &workers,
        ),
    }
    let rest = report.threads.len() - shown - workers.len();
    if rest > 0 {
        page.line(&format!("and {rest} more that idled or did little"));
    }
}

/// Shares of the wall time of some threads.
fn thread_line(page: &mut Page, name: &str, threads: &[&ThreadBudget]) {
    let total = |of: fn(&ThreadBudget) -> u64| sum(threads.iter().map(|thread| of(thread)));
    let wall_ns = total(|thread| thread.wall_ns);
    let share = |of: fn(&ThreadBudget) -> u64| percent(crate::attribute::ratio(total(of), wall_ns));
    let blocked = |thread: &ThreadBudget| -> u64 {
        let blocked = thread.blocked.iter().filter(|wait| !wait.idle);
        sum(blocked.map(|wait| wait.total_ns))
    };
    page.line(&format!(
        "{name:<27}{:>8}{:>11}{:>9}{:>8}{:>9}",
        share(|thread| thread.on_cpu_ns),
        share(|thread| thread.run_queue_ns),
        share(blocked),
        share(|thread| thread.idle_ns),
        share(|thread| thread.unexplained_ns)
    ));
}

fn thread_name(thread: &ThreadBudget) -> String {
    let role = thread.role.name();
    let mut name = format!("{role} {} ({})", thread.tid, harmless(&thread.comm));
    if name.chars().count() > 26 {
        name = format!("{role} {}", thread.tid);
    }
    name
}

fn own_cost(page: &mut Page, report: &Report) {
    page.blank();
    let cost = &report.own_cost;
    let mut line = format!(
        "profile itself: ~{} of one CPU, {} of memory, {} of records",
        percent(cost.cpu_ratio),
        bytes(cost.max_resident_bytes),
        bytes(cost.record_bytes)
    );
    if cost.programs_cpu_ns.is_none() {
        line.push_str("; its programs' time was not measured");
    }
    page.wrapped("", &line);
    let checks: Vec<String> = report.checks.iter().filter_map(check).collect();
    if !checks.is_empty() {
        page.wrapped(
            "",
            &format!("against the kernel's own counters: {}", checks.join(", ")),
        );
    }
    if let Some(stacks) = &report.stacks {
        let whole_ratio = stacks.whole as f64 / stacks.taken as f64;
        if whole_ratio < MIN_WHOLE_STACKS {
            page.wrapped(
                "",
                &format!(
                    "C stacks: {} of {} are whole; {} lack callers of the innermost function, {} \
                     end early, {} are deeper than is recorded",
                    percent(whole_ratio),
                    count(stacks.taken),
                    count(stacks.gap),
                    count(stacks.broken),
                    count(stacks.full)
                ),
            );
        }
    }
    for loss in &report.losses {
        page.wrapped("", &format!("lost: {} {}", count(loss.count), loss.what));
    }
}

fn check(check: &Check) -> Option<String> {
    // A part of everybody's says nothing about how exact it is, and what a quota was charged with is
    // in the table.
    let aside = check.others_included || check.what == crate::report::THROTTLED_TIME;
    if aside || check.kernels == 0 && check.ours == 0 {
        return None;
    }
    // About everybody and not the ship: only where it does not hold.
    if check.what == DISK_BYTES && check.ours.abs_diff(check.kernels) <= check.kernels / 50 {
        return None;
    }
    // The kernel's begins earlier, when a request is made.
    if check.what == DISK_BUSY {
        return None;
    }
    let mut text = String::new();
    // `write!` to a string cannot fail.
    let _ = match check.unit {
        "" => write!(
            text,
            "{} {} of {}",
            check.what,
            count(check.ours),
            count(check.kernels)
        ),
        _ if check.kernels == 0 => write!(text, "{} none in the kernel's", check.what),
        _ => {
            let difference = (check.ours as f64 - check.kernels as f64) / check.kernels as f64;
            // `task_io_account_write` is called when a folio becomes dirty (mm/page-writeback.c).
            let when = if check.what == "bytes written" && difference.abs() > 0.02 {
                " (the kernel counts what became dirty)"
            } else {
                ""
            };
            write!(text, "{} {:+.1} %{when}", check.what, difference * 100.0)
        }
    };
    Some(text)
}
