//! Pairing for a ship so busy that mars never sleeps, by how many messages were under way when the capture
//! began: the king says it, or its limit tells.

use super::{Evidence, LIMIT, Message, Pairs};
use crate::aggregate::events::EventKind;
use crate::aggregate::events::computation::{Computation, Work, take_first};

/// How often the king must have been at its limit for it to tell anything.
const MIN_AT_LIMIT: usize = 5;
/// The same where it is not known when the turns of its loop began.
const MIN_AT_LIMIT_WITHOUT_TURNS: usize = 20;
/// Share of the messages at the limit that an answer must have drawn.
const DRAWN_RATIO: f64 = 0.75;

/// How many messages were under way, by the king's limit: where the number of the unanswered has its largest
/// value again and again, this value is the limit. But for one case: somebody who sends a request as soon as
/// the last is answered keeps any number under way. A king at its limit has the next message, and sends it
/// in the turn of its loop that an answer began (`pkg/vere/pier.c`, `_pier_work`); a request takes a turn of
/// its own.
pub fn earlier(evidence: &Evidence<'_>) -> Option<usize> {
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
    let at_limit = messages.iter().zip(&unanswered);
    let at_limit = at_limit.filter(|(_, count)| **count == most);
    let at_limit: Vec<&Message> = at_limit.map(|(message, _)| message).collect();
    let earlier = usize::try_from(LIMIT as isize - most).ok()?;
    (is_limit(&at_limit, answers) && earlier <= LIMIT).then_some(earlier)
}

/// What belongs to each message if `earlier` were under way before the first. Events were computed at the
/// latest possible moment before their answers: a sync, by which commits become durable, lies between.
pub fn pairs(evidence: &Evidence<'_>, earlier: usize) -> Option<Pairs> {
    let (messages, answers) = (evidence.messages, evidence.answers);
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

/// Whether messages show that the king had sent as many as it does.
fn is_limit(messages: &[&Message], answers: &[Message]) -> bool {
    if messages
        .iter()
        .all(|message| message.turn_ktime_ns.is_none())
    {
        return messages.len() >= MIN_AT_LIMIT_WITHOUT_TURNS;
    }
    let is_drawn = |message: &Message| {
        let before = answers.partition_point(|a| a.sent_ktime_ns <= message.sent_ktime_ns);
        let answer = before.checked_sub(1).map(|last| &answers[last]);
        let turn = message.turn_ktime_ns;
        answer.is_some_and(|answer| turn.is_some_and(|turn| turn <= answer.sent_ktime_ns))
    };
    let drawn = messages.iter().filter(|message| is_drawn(message)).count();
    messages.len() >= MIN_AT_LIMIT && drawn as f64 >= messages.len() as f64 * DRAWN_RATIO
}

/// Computations, each failed one with its note.
fn groups(computations: &[Computation]) -> Vec<Work> {
    let mut rest = computations;
    // What is no event does not fail in such a number that it would matter here.
    std::iter::from_fn(|| take_first(&mut rest, Some(EventKind::Other))).collect()
}
