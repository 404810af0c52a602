//! Pairing by two numbers that hold for the whole capture: how many computations, and how many answers,
//! belong to messages from before it.

use std::mem::discriminant;

use super::{Evidence, LIMIT, Message, Pairs};
use crate::aggregate::events::computation::{Computation, Work, take_first};

/// Share of what must hold that may not, because the ends of commits and of rests are not known to the
/// microsecond.
const MISFIT_RATIO: f64 = 0.05;
/// So many more misfits must every other number have.
const MIN_DISTANCE: usize = 3;

/// What belongs to each message; nothing unless only one pair of numbers fits.
pub fn pairs(evidence: &Evidence<'_>) -> Option<Pairs> {
    // An event that failed has a second computation, of the note of it.
    let begun = only(0..=2 * LIMIT, |begun| {
        let works = works(evidence, begun);
        Fit::of_works(evidence, &works)
    })?;
    let works = works(evidence, begun);
    let earlier = only(0..=LIMIT, |earlier| {
        Fit::of_answers(evidence, &works, earlier)
    })?;
    Some((works, answered(evidence, earlier)))
}

/// The only number that fits.
fn only(numbers: impl Iterator<Item = usize>, fit: impl Fn(usize) -> Fit) -> Option<usize> {
    let mut fits: Vec<(Fit, usize)> = numbers.map(|number| (fit(number), number)).collect();
    fits.sort_by_key(|(fit, _)| fit.misfits);
    let (best, number) = *fits.first()?;
    let (next, _) = fits.get(1)?;
    let fits = best.misfits as f64 <= best.checked as f64 * MISFIT_RATIO;
    let is_only = next.misfits >= best.misfits * 3 && next.misfits >= best.misfits + MIN_DISTANCE;
    (fits && is_only).then_some(number)
}

/// How well a number fits.
#[derive(Debug, Clone, Copy, Default)]
struct Fit {
    checked: usize,
    misfits: usize,
}

impl Fit {
    fn check(&mut self, holds: bool) {
        self.checked += 1;
        self.misfits += usize::from(!holds);
    }

    /// Nothing is computed before it is sent, and all before mars rests.
    fn of_works(evidence: &Evidence<'_>, works: &[Option<Work>]) -> Self {
        let mut fit = Self::default();
        for (message, work) in evidence.messages.iter().zip(works) {
            if let Some(work) = work {
                fit.check(work.start_ktime_ns >= message.sent_ktime_ns);
            }
        }
        for rest in evidence.rests {
            if let Some(i) = last_before(evidence.messages, *rest, Message::is_computed) {
                fit.check(works[i].is_some_and(|work| work.end_ktime_ns <= *rest));
            }
        }
        fit
    }

    /// Everything is answered after it was computed, by an answer of its kind, an event between the end
    /// of its commit and that of the next; and all before nothing is under way.
    fn of_answers(evidence: &Evidence<'_>, works: &[Option<Work>], earlier: usize) -> Self {
        let mut fit = Self::default();
        let answers = evidence.answers.get(earlier..).unwrap_or_default();
        for ((message, work), answer) in evidence.messages.iter().zip(works).zip(answers) {
            let answered = answer.sent_ktime_ns;
            let ready = work.map_or(message.sent_ktime_ns, |work| work.end_ktime_ns);
            let is_alike = discriminant(&message.content) == discriminant(&answer.content);
            fit.check(is_alike && answered >= ready);
            if let (Some(_), Some(work)) = (message.kind(), work) {
                if evidence.at_once {
                    fit.check_next(evidence, work, answered);
                } else {
                    fit.check_commit(evidence, work, answered);
                }
            }
        }
        for quiet in evidence.quiet {
            if let Some(i) = last_before(evidence.messages, *quiet, |_| true) {
                let answer = answers.get(i);
                fit.check(answer.is_some_and(|answer| answer.sent_ktime_ns <= *quiet));
            }
        }
        fit
    }

    /// A serf answers an event before it computes the next.
    fn check_next(&mut self, evidence: &Evidence<'_>, work: &Work, answered: u64) {
        let computations = evidence.computations;
        let next = computations.partition_point(|one| one.start_ktime_ns < work.end_ktime_ns);
        let next = computations.get(next);
        self.check(next.is_none_or(|next| answered < next.start_ktime_ns));
    }

    /// Mars begins no commit before it has released the one before, and each takes all that waits.
    fn check_commit(&mut self, evidence: &Evidence<'_>, work: &Work, answered: u64) {
        let commits = evidence.commits;
        let own = commits.partition_point(|commit| commit.start_ktime_ns < work.end_ktime_ns);
        let Some(commit) = commits.get(own) else {
            return;
        };
        let next = commits.get(own + 1);
        let next = next.map_or(u64::MAX, |next| next.end_ktime_ns);
        // A commit's end may be told late, but not by half of it; answers to the one before come early
        // in it.
        let durable = commit.sync_ktime_ns.midpoint(commit.end_ktime_ns);
        self.check((durable..next).contains(&answered));
    }
}

fn last_before(
    messages: &[Message],
    moment: u64,
    counts: impl Fn(&Message) -> bool,
) -> Option<usize> {
    let before = messages.partition_point(|message| message.sent_ktime_ns < moment);
    messages[..before].iter().rposition(counts)
}

/// How each message was computed if `begun` computations belong to earlier ones.
fn works(evidence: &Evidence<'_>, begun: usize) -> Vec<Option<Work>> {
    let computations = evidence.computations;
    let mut rest: &[Computation] = computations.get(begun..).unwrap_or_default();
    let works = evidence.messages.iter().map(|message| {
        message
            .is_computed()
            .then(|| take_first(&mut rest, message.kind()))
            .flatten()
    });
    works.collect()
}

/// When each message was answered if `earlier` answers belong to earlier ones.
fn answered(evidence: &Evidence<'_>, earlier: usize) -> Vec<Option<u64>> {
    let answers = evidence.answers.get(earlier..).unwrap_or_default();
    let answer = |i: usize| answers.get(i).map(|answer| answer.sent_ktime_ns);
    (0..evidence.messages.len()).map(answer).collect()
}
