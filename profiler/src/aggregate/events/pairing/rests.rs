//! Pairing between moments of rest: where records were lost, what lies between two moments at which
//! nothing was under way is still told apart.

use super::{Evidence, Message, Pairs};
use crate::aggregate::events::computation::{Computation, Work, take_first, take_last};

/// What belongs to each message.
pub fn pairs(evidence: &Evidence<'_>) -> Pairs {
    let messages = evidence.messages;
    (
        works(messages, evidence.computations, evidence.rests),
        answers(messages, evidence.answers, evidence.quiet),
    )
}

/// Splits by times: before the first of `moments`, between each two, and behind the last.
fn split<'a, T>(all: &'a [T], moments: &[u64], time: impl Fn(&T) -> u64) -> Vec<&'a [T]> {
    let mut parts = Vec::with_capacity(moments.len() + 1);
    let mut rest = all;
    for moment in moments {
        let count = rest.partition_point(|one| time(one) < *moment);
        let (part, later) = rest.split_at(count);
        parts.push(part);
        rest = later;
    }
    parts.push(rest);
    parts
}

/// How each message was computed. `rests` are moments at which all that had been sent was computed.
fn works(messages: &[Message], computations: &[Computation], rests: &[u64]) -> Vec<Option<Work>> {
    if rests.is_empty() {
        return vec![None; messages.len()];
    }
    let parts = split(messages, rests, |message| message.sent_ktime_ns);
    let brackets = split(computations, rests, |one| one.start_ktime_ns);
    let last = rests.len();
    let mut works = Vec::with_capacity(messages.len());
    for (i, (messages, mut brackets)) in parts.into_iter().zip(brackets).enumerate() {
        let mut part: Vec<Option<Work>> = if i == 0 {
            // Computations of messages from before the capture come first.
            let taken = messages.iter().rev();
            let mut part: Vec<_> = taken
                .map(|message| {
                    message
                        .is_computed()
                        .then(|| take_last(&mut brackets, message.kind()))
                        .flatten()
                })
                .collect();
            part.reverse();
            brackets = &[];
            part
        } else {
            let taken = messages.iter();
            taken
                .map(|message| {
                    message
                        .is_computed()
                        .then(|| take_first(&mut brackets, message.kind()))
                        .flatten()
                })
                .collect()
        };
        let wanting = messages
            .iter()
            .zip(&part)
            .any(|(message, work)| message.is_computed() && work.is_none());
        let backwards = messages
            .iter()
            .zip(&part)
            .any(|(message, work)| work.is_some_and(|w| w.start_ktime_ns < message.sent_ktime_ns));
        // At the end, messages may wait to be computed.
        if !brackets.is_empty() || backwards || wanting && i != last {
            part.fill(None);
        }
        works.append(&mut part);
    }
    works
}

/// When each message was answered. `rests` are moments at which all that had been sent was answered.
fn answers(messages: &[Message], answers: &[Message], rests: &[u64]) -> Vec<Option<u64>> {
    if rests.is_empty() {
        return vec![None; messages.len()];
    }
    let parts = split(messages, rests, |message| message.sent_ktime_ns);
    let replies = split(answers, rests, |answer| answer.sent_ktime_ns);
    let last = rests.len();
    let mut times = Vec::with_capacity(messages.len());
    for (i, (messages, replies)) in parts.into_iter().zip(replies).enumerate() {
        // At the beginning, answers to earlier messages come first; at the end, some are still to come.
        let surplus = replies.len().checked_sub(messages.len());
        let (skip, fits) = match surplus {
            Some(surplus) => (surplus, i == 0 || surplus == 0),
            None => (0, i == last),
        };
        let replies = &replies[skip.min(replies.len())..];
        let is_answer = |(message, reply): (&Message, &Message)| {
            std::mem::discriminant(&message.content) == std::mem::discriminant(&reply.content)
                && reply.sent_ktime_ns >= message.sent_ktime_ns
        };
        let fits = fits && messages.iter().zip(replies).all(is_answer);
        times.extend((0..messages.len()).map(|at| {
            replies
                .get(at)
                .filter(|_| fits)
                .map(|reply| reply.sent_ktime_ns)
        }));
    }
    times
}
