//! What to change first, and what not.

use super::page::{Page, WIDTH};
use crate::attribute::{Leaf, VerdictKind};
use crate::catalogue::{Answer, ENTRIES, Gain, Kind};
use crate::recommend::{Fix, P95};
use crate::report::Report;
use crate::report::units::{duration, duration_range, percent_range};

/// Share of the time in what a fix could shrink from which on it matters that it cannot tell.
const MATTERS_RATIO: f64 = 0.02;
/// Most of those that are shown with their reason.
const MOST_REASONS: usize = 2;

/// The recommended fixes with their commands, and the others in short.
pub fn fixes(page: &mut Page, report: &Report) {
    page.blank();
    let (help, other): (Vec<&Fix>, Vec<&Fix>) =
        report.fixes.iter().partition(|fix| fix.recommended);
    let healthy = matches!(
        report.verdict.kind,
        VerdictKind::Healthy | VerdictKind::TooFewEvents | VerdictKind::NotUp
    );
    match (help.is_empty(), healthy) {
        (true, true) => page.line("WHAT TO CHANGE   nothing"),
        (true, false) => page.line("WHAT TO CHANGE   nothing that this capture gives a reason for"),
        (false, _) => page.line(&format!(
            "{:<21}{:>11}{:>22}{:>11}{:>8}{:>7}",
            "WHAT TO CHANGE FIRST",
            "removes",
            if report.event_times.is_some() {
                "expected p95"
            } else {
                ""
            },
            "confidence",
            "restart",
            "risk"
        )),
    }
    for (i, fix) in help.iter().enumerate() {
        fix_lines(page, i + 1, fix);
    }
    if let Some(p95) = &report.fixes_together {
        page.line(&format!(
            "  all of them together: {}; what overlaps counts once",
            change(p95)
        ));
    }
    others(page, report, &other);
}

fn fix_lines(page: &mut Page, number: usize, fix: &Fix) {
    let removes = match (fix.assessment.answer, fix.gain_ratio) {
        (Answer::WouldHelp(Gain::StalledTime { .. }), Some((low, high))) => {
            format!("{} of stalls", percent_range(low, high))
        }
        (Answer::WouldHelp(Gain::Datagrams { .. }), Some((low, high))) => {
            format!("{} of losses", percent_range(low, high))
        }
        _ => String::new(),
    };
    let gain = match fix.assessment.answer {
        Answer::WouldHelp(Gain::Finding { id }) => format!("{:>39}", format!("finding {id}")),
        _ => {
            let p95 = fix.p95.as_ref().map_or_else(String::new, change);
            format!("{removes:>17}{p95:>22}")
        }
    };
    page.line(&format!(
        "{:<15}{gain}{:>11}{:>8}{:>7}",
        format!("{number} {}", fix.id),
        fix.confidence.map_or("", |sure| sure.name()),
        fix.restart.name(),
        fix.risk.name()
    ));
    let mut text = format!("{}: {}", fix.title, fix.assessment.reason);
    if !fix.overlaps.is_empty() {
        text.push_str(&format!("; overlaps with {}", fix.overlaps.join(", ")));
    }
    page.hanging("    ", 4, &text);
    if let Some(current) = &fix.assessment.current {
        page.hanging("    now ", 8, current);
    }
    // Commands are not wrapped: they are there to be copied.
    for step in &fix.assessment.apply {
        page.line(&format!("    do   {}", step.text()));
    }
    for step in &fix.assessment.undo {
        page.line(&format!("    undo {}", step.text()));
    }
}

/// `1.21 s → 0.2-0.4 s`.
fn change(p95: &P95) -> String {
    let after = duration_range(p95.low_ns, p95.high_ns);
    format!("{} → {after}", duration(p95.before_ns))
}

/// What is not advised: why, where it matters; the rest by name. JSON has every reason.
fn others(page: &mut Page, report: &Report, other: &[&Fix]) {
    let mut reasons = 0;
    let mut unknown: Vec<&Fix> = Vec::new();
    for &fix in other {
        let word = match fix.assessment.answer {
            Answer::WouldHarm => "would harm",
            Answer::WouldHelp(_) if fix.yields_to.is_some() => "not both",
            Answer::WouldHelp(_) => "no need now",
            Answer::CannotTell if matters(report, fix) && reasons < MOST_REASONS => {
                reasons += 1;
                "cannot tell"
            }
            Answer::CannotTell => {
                unknown.push(fix);
                continue;
            }
            Answer::AlreadySo | Answer::NoEvidence => continue,
        };
        let start = format!("  {word:<12} {:<12} ", fix.id);
        let reason = match fix.yields_to {
            Some(better) => format!("{better} instead: {}", fix.assessment.reason),
            None => fix.assessment.reason.clone(),
        };
        page.hanging(&start, start.chars().count(), &reason);
    }
    let of = |kind| -> Vec<&Fix> {
        let fixes = other.iter().copied();
        fixes.filter(|fix| fix.assessment.answer.kind() == kind).collect()
    };
    names(page, report, "cannot tell", unknown);
    names(page, report, "already so", of(Kind::AlreadySo));
    names(page, report, "no help here", of(Kind::NoEvidence));
}

/// Whether the time went where this fix could have shrunk it.
fn matters(report: &Report, fix: &Fix) -> bool {
    let entry = ENTRIES.iter().find(|entry| entry.id == fix.id);
    let shrinks: &[Leaf] = entry.map_or(&[], |entry| entry.shrinks);
    let parts = report.shares.iter().flat_map(|share| &share.parts);
    let of_it = parts.filter(|part| shrinks.contains(&part.leaf));
    report.verdict.kind == VerdictKind::Stalled
        && of_it.map(|part| part.ratio).sum::<f64>() >= MATTERS_RATIO
}

/// One line of names, those of the verdict's cause first, as many as it holds.
fn names(page: &mut Page, report: &Report, word: &str, mut fixes: Vec<&Fix>) {
    if fixes.is_empty() {
        return;
    }
    fixes.sort_by_key(|fix| (Some(fix.cause) != report.verdict.cause, fix.id));
    let mut line = format!("  {word:<12} {}", fixes[0].id);
    for (at, fix) in fixes.iter().enumerate().skip(1) {
        let rest = fixes.len() - at;
        let more = format!(", {}", fix.id);
        let and = if rest > 1 {
            format!(" and {} more", rest - 1)
        } else {
            String::new()
        };
        if line.chars().count() + more.chars().count() + and.chars().count() > WIDTH {
            line.push_str(&format!(" and {rest} more"));
            break;
        }
        line.push_str(&more);
    }
    page.line(&line);
}
