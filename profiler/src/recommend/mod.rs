//! From the catalogue's answers to a ranked list.
//!
//! Fixes that would help are ranked by
//!
//! ```text
//! (least + most) / 2 of what they remove, as a share of what could be removed at best
//! ```
//!
//! (all stalled time, or all lost datagrams), the larger first; between equals the lower risk, then the
//! smaller restart, then the name. What a severe finding warns of comes before all stalls, and so do fixes
//! for lost datagrams where that is the verdict.
//!
//! Gains of fixes that shrink the same leaf are not added: each is what it would bring alone, what they
//! overlap with is said, and what all bring together counts each leaf once. Of two fixes that contradict
//! each other the better one is advised.

mod gain;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use serde::Serialize;

pub use gain::{Confidence, P95};

use crate::attribute::{Cause, Removal, VerdictKind, ratio};
use crate::catalogue::{Answer, Assessment, ENTRIES, Entry, Gain, Restart, Risk, Situation, Trial};
use crate::report::{Finding, Severity};

/// A fix and its answer.
#[derive(Debug, Clone, Serialize)]
pub struct Fix {
    /// Stable name.
    pub id: &'static str,
    /// What to do.
    pub title: &'static str,
    /// What it found.
    #[serde(flatten)]
    pub assessment: Assessment,
    /// Whether this capture is a reason to make the change.
    pub recommended: bool,
    /// Share of all stalled time (or of all lost datagrams) that it could remove, from and to;
    /// nothing if it would remove neither, or if nothing stalls.
    pub gain_ratio: Option<(f64, f64)>,
    /// The events' p95 now and after it; nothing if it removes no time, or events are not known.
    pub p95: Option<P95>,
    /// How sure that is.
    pub confidence: Option<Confidence>,
    /// Better fixes that remove part of the same time.
    pub overlaps: Vec<&'static str>,
    /// The better fix that contradicts it.
    pub yields_to: Option<&'static str>,
    /// The change of the running host by which it can be tried out; nothing if it takes more than that.
    pub trial: Option<Trial>,
    /// The cause that it would shrink.
    pub cause: Cause,
    /// What must be started again.
    pub restart: Restart,
    /// What can go wrong.
    pub risk: Risk,
    /// Why it should be true.
    pub source: &'static str,
}

/// What is advised.
#[derive(Debug, Clone)]
pub struct Advised {
    /// Every fix, the best first.
    pub fixes: Vec<Fix>,
    /// The events' p95 with all recommended ones, where there is more than one.
    pub together: Option<P95>,
}

/// Asks every entry, and ranks: those that would help first, the others by name.
pub fn recommend(situation: &Situation<'_>, verdict: VerdictKind, findings: &[Finding]) -> Advised {
    let mut asked: Vec<Asked> = ENTRIES
        .iter()
        .map(|entry| ask(entry, situation, verdict))
        .collect();
    asked.sort_by(|a, b| order(&a.fix, &b.fix, verdict, findings));
    resolve(&mut asked);
    Advised {
        together: together(&asked, situation),
        fixes: asked.into_iter().map(|asked| asked.fix).collect(),
    }
}

/// The better one first.
fn order(a: &Fix, b: &Fix, verdict: VerdictKind, findings: &[Finding]) -> Ordering {
    let helps = |fix: &Fix| matches!(fix.assessment.answer, Answer::WouldHelp(_));
    let severe = |fix: &Fix| is_severe(fix, verdict, findings);
    let middle = |fix: &Fix| fix.gain_ratio.map_or(0.0, |(low, high)| (low + high) / 2.0);
    let by_rank = helps(b)
        .cmp(&helps(a))
        .then(severe(b).cmp(&severe(a)))
        .then(middle(b).total_cmp(&middle(a)));
    // Of those that would not help there is no better one.
    let by_cost = match helps(a) {
        true => a.risk.cmp(&b.risk).then(a.restart.cmp(&b.restart)),
        false => Ordering::Equal,
    };
    by_rank.then(by_cost).then(a.id.cmp(b.id))
}

/// Whether a fix is for something severe that takes no time.
fn is_severe(fix: &Fix, verdict: VerdictKind, findings: &[Finding]) -> bool {
    match fix.assessment.answer {
        Answer::WouldHelp(Gain::Finding { id }) => findings
            .iter()
            .any(|finding| finding.id == id && finding.severity == Severity::Severe),
        Answer::WouldHelp(Gain::Datagrams { .. }) => verdict == VerdictKind::Finding,
        _ => false,
    }
}

/// A gain of at most this share is none that anybody would notice.
const MIN_GAIN_RATIO: f64 = 0.02;

/// A fix with what it removes at least and at most.
struct Asked {
    entry: &'static Entry,
    fix: Fix,
    removals: Option<(Removal, Removal)>,
}

fn ask(entry: &'static Entry, situation: &Situation<'_>, verdict: VerdictKind) -> Asked {
    let mut assessment = (entry.assess)(situation);
    let mut gain_ratio = gain_ratio(&assessment, situation);
    let of_stalls = matches!(
        assessment.answer,
        Answer::WouldHelp(Gain::StalledTime { .. })
    );
    if of_stalls && verdict != VerdictKind::Stalled {
        // It may be right, but nothing stalls.
        gain_ratio = None;
    }
    if gain_ratio.is_some_and(|(_, high)| high <= MIN_GAIN_RATIO) {
        gain_ratio = None;
        assessment.answer = Answer::NoEvidence;
        assessment.reason.push_str("; less than 2 % of the stalls");
    }
    let nothing_wrong = matches!(
        verdict,
        VerdictKind::Healthy | VerdictKind::TooFewEvents | VerdictKind::NotUp
    );
    let recommended = match assessment.answer {
        // A limit that is near ends a ship that is quick as well.
        Answer::WouldHelp(Gain::Finding { .. }) => true,
        _ => gain_ratio.is_some() && !nothing_wrong,
    };
    let restart = assessment.restart.unwrap_or(entry.restart);
    let removals = gain::removals(entry, &assessment, situation);
    let p95 = removals
        .as_ref()
        .and_then(|(least, most)| gain::p95(situation, least, most));
    Asked {
        entry,
        removals,
        fix: Fix {
            id: entry.id,
            title: entry.title,
            recommended,
            gain_ratio,
            p95,
            confidence: gain::confidence(entry, &assessment, situation),
            overlaps: Vec::new(),
            yields_to: None,
            trial: assessment.trial(entry.restart),
            cause: entry.cause,
            restart,
            risk: entry.risk,
            source: entry.source,
            assessment,
        },
    }
}

/// Says of each recommended fix what it overlaps with, and takes back those that contradict a better one.
fn resolve(asked: &mut [Asked]) {
    let mut better: Vec<&'static Entry> = Vec::new();
    for Asked { entry, fix, .. } in asked.iter_mut().filter(|one| one.fix.recommended) {
        fix.yields_to = better
            .iter()
            .find(|other| contradict(entry, other))
            .map(|other| other.id);
        if fix.yields_to.is_some() {
            fix.recommended = false;
            continue;
        }
        let shared = |other: &&&'static Entry| {
            other
                .shrinks
                .iter()
                .any(|leaf| entry.shrinks.contains(leaf))
        };
        fix.overlaps = better.iter().filter(shared).map(|other| other.id).collect();
        better.push(entry);
    }
}

/// Whether either says that it contradicts the other.
pub fn contradict(a: &Entry, b: &Entry) -> bool {
    a.conflicts.contains(&b.id) || b.conflicts.contains(&a.id)
}

/// What all recommended fixes remove together.
fn together(asked: &[Asked], situation: &Situation<'_>) -> Option<P95> {
    let recommended = asked.iter().filter(|one| one.fix.recommended);
    let all: Vec<&(Removal, Removal)> = recommended
        .filter_map(|one| one.removals.as_ref())
        .collect();
    if all.len() < 2 {
        return None;
    }
    let (mut least, mut most) = (Removal::default(), Removal::default());
    for (one_least, one_most) in all {
        least.and(one_least);
        most.and(one_most);
    }
    gain::p95(situation, &least, &most)
}

/// A gain as a share of what could be gained at best.
fn gain_ratio(assessment: &Assessment, situation: &Situation<'_>) -> Option<(f64, f64)> {
    let share = |part, whole| ratio(part, whole).min(1.0);
    match assessment.answer {
        Answer::WouldHelp(Gain::StalledTime { low_ns, high_ns }) => {
            let stalled_ns = situation.attribution.stalled_ns();
            Some((share(low_ns, stalled_ns), share(high_ns, stalled_ns)))
        }
        Answer::WouldHelp(Gain::Datagrams { low, high }) => {
            let dropped = situation
                .summaries
                .udp
                .as_ref()
                .and_then(|udp| udp.dropped)
                .unwrap_or(0);
            Some((share(low, dropped), share(high, dropped)))
        }
        _ => None,
    }
}
