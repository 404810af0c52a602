//! From the catalogue's answers to a ranked list.
//!
//! Fixes that would help are ranked by the middle of their gain as a share of what they could
//! remove at best (all stalled time, or all lost datagrams), the larger first; between equals the
//! lower risk first, then the name. What a severe finding warns of comes before all stalls, and so
//! do fixes for lost datagrams where that is the verdict. Gains of fixes that shrink the same leaf
//! are not added: each is what it would bring alone.

use std::cmp::Ordering;

use serde::Serialize;

use crate::attribute::{Cause, VerdictKind, ratio};
use crate::catalogue::{Answer, Assessment, ENTRIES, Entry, Gain, Restart, Risk, Situation};
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
    /// The cause that it would shrink.
    pub cause: Cause,
    /// What must be started again.
    pub restart: Restart,
    /// What can go wrong.
    pub risk: Risk,
    /// Why it should be true.
    pub source: &'static str,
}

/// Asks every entry, and ranks: those that would help first, the others by name.
pub fn recommend(
    situation: &Situation<'_>,
    verdict: VerdictKind,
    findings: &[Finding],
) -> Vec<Fix> {
    let mut fixes: Vec<Fix> = ENTRIES
        .iter()
        .map(|entry| fix(entry, situation, verdict))
        .collect();
    fixes.sort_by(|a, b| {
        let rank = |fix: &Fix| {
            let helps = matches!(fix.assessment.answer, Answer::WouldHelp(_));
            let middle = fix.gain_ratio.map_or(0.0, |(low, high)| (low + high) / 2.0);
            (helps, is_severe(fix, verdict, findings), middle)
        };
        let (a_helps, a_severe, a_middle) = rank(a);
        let (b_helps, b_severe, b_middle) = rank(b);
        b_helps
            .cmp(&a_helps)
            .then(b_severe.cmp(&a_severe))
            .then(b_middle.total_cmp(&a_middle))
            // Of those that would not help there is no better one.
            .then(if a_helps {
                a.risk.cmp(&b.risk)
            } else {
                Ordering::Equal
            })
            .then(a.id.cmp(b.id))
    });
    fixes
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

fn fix(entry: &Entry, situation: &Situation<'_>, verdict: VerdictKind) -> Fix {
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
    Fix {
        id: entry.id,
        title: entry.title,
        recommended,
        gain_ratio,
        cause: entry.cause,
        restart: assessment.restart.unwrap_or(entry.restart),
        risk: entry.risk,
        source: entry.source,
        assessment,
    }
}

/// A gain as a share of what could be gained at best.
fn gain_ratio(assessment: &Assessment, situation: &Situation<'_>) -> Option<(f64, f64)> {
    match assessment.answer {
        Answer::WouldHelp(Gain::StalledTime { low_ns, high_ns }) => {
            let stalled_ns = situation.attribution.stalled_ns();
            Some((ratio(low_ns, stalled_ns), ratio(high_ns, stalled_ns)))
        }
        Answer::WouldHelp(Gain::Datagrams { low, high }) => {
            let dropped = situation
                .summaries
                .udp
                .as_ref()
                .and_then(|udp| udp.dropped)
                .unwrap_or(0);
            Some((ratio(low, dropped), ratio(high, dropped)))
        }
        _ => None,
    }
}
