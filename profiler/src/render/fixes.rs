//! What to change first, and what not.

use super::page::{Page, WIDTH};
use crate::attribute::{Leaf, VerdictKind};
use crate::catalogue::{Answer, ENTRIES, Gain, Kind};
use crate::recommend::{Fix, P95};
use crate::report::Report;
use crate::report::units::{duration, duration_range, percent_range};

/// Share of the time in what a fix could shrink from which on it matters that it cannot tell.
const MATTERS_RATIO: f64 = 0.1;

/// How much is said of the fixes.
#[derive(Debug, Clone, Copy)]
struct Detail {
    /// Recommended fixes that are shown.
    shown: usize,
    /// Of those, with their reason.
    reasons: usize,
    /// Of those, with their commands.
    commands: usize,
    /// Others that are shown with their reason.
    others: usize,
    /// Whether all names are listed, or as many as a line holds.
    all_names: bool,
    /// Whether it is said where the rest is.
    hint: bool,
}

/// From the most to the least that is said on a screen.
const DETAILS: [Detail; 8] = [
    Detail::screen(usize::MAX, usize::MAX, usize::MAX, 4, true),
    Detail::screen(usize::MAX, usize::MAX, 1, 4, true),
    Detail::screen(5, 2, 1, 2, true),
    Detail::screen(3, 1, 1, 1, true),
    Detail::screen(3, 1, 1, 1, false),
    Detail::screen(3, 1, 1, 0, false),
    Detail::screen(2, 1, 1, 0, false),
    Detail::screen(1, 1, 1, 0, false),
];

impl Detail {
    const fn screen(
        shown: usize,
        reasons: usize,
        commands: usize,
        others: usize,
        hint: bool,
    ) -> Self {
        Self {
            shown,
            reasons,
            commands,
            others,
            all_names: false,
            hint,
        }
    }

    /// Everything.
    const ALL: Self = Self {
        shown: usize::MAX,
        reasons: usize::MAX,
        commands: usize::MAX,
        others: usize::MAX,
        all_names: true,
        hint: false,
    };
}

/// The recommended fixes with their commands, and the others in short: as much as fits in so many lines.
pub fn fixes(page: &mut Page, report: &Report, room: usize) {
    let drawn = DETAILS.map(|detail| section(report, detail));
    let fitting = drawn.iter().find(|section| section.lines().count() <= room);
    // However long, the best fix is shown.
    let [.., least] = &drawn;
    page.text(fitting.unwrap_or(least));
}

/// Every fix: the recommended ones with their commands, and of all others the reason.
pub fn all(report: &Report) -> String {
    section(report, Detail::ALL).trim_start().to_owned()
}

fn section(report: &Report, detail: Detail) -> String {
    let mut page = Page::default();
    page.blank();
    let (help, other): (Vec<&Fix>, Vec<&Fix>) =
        report.fixes.iter().partition(|fix| fix.recommended);
    heading(&mut page, report, help.is_empty());
    for (at, fix) in help.iter().enumerate().take(detail.shown) {
        row(&mut page, at + 1, fix);
        if at < detail.reasons {
            reason(&mut page, fix);
        }
        if at < detail.commands {
            commands(&mut page, fix);
        }
    }
    if help.len() > detail.shown {
        page.line(&format!("  and {} more", help.len() - detail.shown));
    }
    if let Some(p95) = &report.fixes_together {
        page.line(&format!(
            "  all of them together: {}; what overlaps counts once",
            change(p95)
        ));
    }
    others(&mut page, report, &other, detail);
    if detail.hint {
        page.line(
            "  every fix with its reason and commands: profile report CAPTURE --detail fixes",
        );
    }
    page.into_text()
}

fn heading(page: &mut Page, report: &Report, nothing: bool) {
    let healthy = matches!(
        report.verdict.kind,
        VerdictKind::Healthy | VerdictKind::TooFewEvents | VerdictKind::NotUp
    );
    match (nothing, healthy) {
        (true, true) => page.line("WHAT TO CHANGE   nothing"),
        (true, false) => page.line("WHAT TO CHANGE   nothing that this capture gives a reason for"),
        (false, _) => page.line(&format!(
            "{:<21}{:>11}{:>22}{:>11}{:>8}{:>7}",
            "WHAT TO CHANGE FIRST",
            "removes",
            match report.event_times {
                Some(_) => "expected p95",
                None => "",
            },
            "confidence",
            "restart",
            "risk"
        )),
    }
}

fn row(page: &mut Page, number: usize, fix: &Fix) {
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
}

fn reason(page: &mut Page, fix: &Fix) {
    let mut text = format!("{}: {}", fix.title, fix.assessment.reason);
    if !fix.overlaps.is_empty() {
        text.push_str(&format!("; overlaps with {}", fix.overlaps.join(", ")));
    }
    page.hanging("    ", 4, &text);
}

fn commands(page: &mut Page, fix: &Fix) {
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

/// What is not advised: why, where it matters; the rest by name.
fn others(page: &mut Page, report: &Report, other: &[&Fix], detail: Detail) {
    let mut by_name: Vec<(&str, Vec<&Fix>)> = Vec::new();
    let mut reasons = 0;
    // What would do harm comes first, then what is not known.
    let mut other = other.to_vec();
    other.sort_by_key(|fix| {
        (
            urgency(fix),
            Some(fix.cause) != report.verdict.cause,
            fix.id,
        )
    });
    for fix in other {
        let kind = fix.assessment.answer.kind();
        let word = match kind {
            Kind::WouldHarm => "would harm",
            Kind::WouldHelp if fix.yields_to.is_some() => "not both",
            Kind::WouldHelp => "no need now",
            Kind::CannotTell => "cannot tell",
            Kind::AlreadySo => "already so",
            Kind::NoEvidence => "no help here",
        };
        let matters = match kind {
            Kind::WouldHarm => true,
            Kind::WouldHelp => fix.yields_to.is_some(),
            Kind::CannotTell => matters(report, fix),
            Kind::AlreadySo | Kind::NoEvidence => false,
        };
        if detail.all_names || (matters && reasons < detail.others) {
            reasons += 1;
            let reason = match fix.yields_to {
                Some(better) => format!("{better} instead: {}", fix.assessment.reason),
                None => fix.assessment.reason.clone(),
            };
            let start = format!("  {word:<12} ");
            page.hanging(
                &start,
                start.chars().count(),
                &format!("{}: {reason}", fix.id),
            );
            continue;
        }
        match by_name.last_mut() {
            Some((last, fixes)) if *last == word => fixes.push(fix),
            _ => by_name.push((word, vec![fix])),
        }
    }
    for (word, fixes) in by_name {
        names(page, word, &fixes);
    }
}

/// The order of the answers on the screen.
fn urgency(fix: &Fix) -> u8 {
    match fix.assessment.answer.kind() {
        Kind::WouldHarm => 0,
        Kind::WouldHelp if fix.yields_to.is_some() => 1,
        Kind::WouldHelp => 2,
        Kind::CannotTell => 3,
        Kind::AlreadySo => 4,
        Kind::NoEvidence => 5,
    }
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

/// One line of names, as many as it holds.
fn names(page: &mut Page, word: &str, fixes: &[&Fix]) {
    let mut line = format!("  {word:<12} ");
    for (at, fix) in fixes.iter().enumerate() {
        let separator = if at == 0 { "" } else { ", " };
        let name = format!("{separator}{}", fix.id);
        let rest = fixes.len() - at;
        let more = match rest {
            1 => String::new(),
            _ => format!(" and {} more", rest - 1),
        };
        let width = |text: &str| text.chars().count();
        if at > 0 && width(&line) + width(&name) + width(&more) > WIDTH {
            line.push_str(&format!(" and {rest} more"));
            break;
        }
        line.push_str(&name);
    }
    page.line(&line);
}
