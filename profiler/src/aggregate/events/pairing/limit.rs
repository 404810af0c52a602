//! Pairing for a ship so busy that mars never sleeps.

use super::{Evidence, LIMIT, Message, Pairs};
use crate::aggregate::events::EventKind;
use crate::aggregate::events::computation::{Computation, Work, take_first};

/// How often the king must have been at its limit for it to tell anything.
const MIN_AT_LIMIT: usize = 20;

/// What belongs to each message. If mars never sleeps, the king always has its limit of messages
/// under way, and that tells how many were when the capture began: where the number of the unanswered
/// has its largest value again and again, this value is the limit. Events were computed at the latest
/// possible moment before their answers: a sync, by which commits become durable, lies between.
pub fn pairs(evidence: &Evidence<'_>) -> Option<Pairs> {
    let (messages, answers) = (evidence.messages, evidence.answers);
    let unanswered: Vec<isize> = messages
        .iter()
        .enumerate()
        .map(|(i, message)| {
            let answered = answers.partition_point(|a| a.sent_ktime_ns <= message.sent_ktime_ns);
            i as isize + 1 - answered as isize
        })
        .collect();
    let most = *unanswered.iter().max()?;
    let at_limit = unanswered.iter().filter(|count| **count == most).count();
    let earlier = usize::try_from(LIMIT as isize - most).ok()?;
    if at_limit < MIN_AT_LIMIT || earlier > LIMIT {
        return None;
    }
    let answered: Vec<Option<u64>> = (0..messages.len())
        .map(|i| answers.get(i + earlier).map(|a| a.sent_ktime_ns))
        .collect();
    let groups = groups(evidence.computations);
    let syncs = evidence.commits.iter().map(|commit| commit.sync_ktime_ns);
    let syncs: Vec<u64> = syncs.collect();
    // When the answer to a message may come at the earliest.
    let ready = |message: &Message, work: &Work| match message.kind() {
        Some(_) if !evidence.at_once => {
            let next = syncs.partition_point(|sync| *sync < work.end_ktime_ns);
            syncs.get(next).copied().unwrap_or(u64::MAX)
        }
        _ => work.end_ktime_ns,
    };
    let fits = |begun: usize| {
        messages
            .iter()
            .zip(&answered)
            .enumerate()
            .all(|(i, (message, answered))| {
                groups.get(i + begun).is_none_or(|group| {
                    group.start_ktime_ns >= message.sent_ktime_ns
                        && answered.is_none_or(|answered| ready(message, group) <= answered)
                })
            })
    };
    let begun = (0..=earlier).rev().find(|begun| fits(*begun))?;
    let works = messages.iter().enumerate().map(|(i, message)| {
        let mut group = *groups.get(i + begun)?;
        group.event_number = group.event_number.filter(|_| message.kind().is_some());
        Some(group)
    });
    Some((works.collect(), answered))
}

/// Computations, each failed one with its note.
fn groups(computations: &[Computation]) -> Vec<Work> {
    let mut rest = computations;
    // What is no event does not fail in such a number that it would matter here.
    std::iter::from_fn(|| take_first(&mut rest, Some(EventKind::Other))).collect()
}
