//! Which computation and which answer belong to a message: all three come in the same order, so it is
//! enough to know moments at which nothing was under way. Where there is no such moment, or the numbers
//! between two of them do not fit, nothing is guessed.

use super::EventKind;
use super::commit::Commit;
use super::computation::{Computation, Work, take_first, take_last};
use super::message::Content;

/// A message from king to mars, or an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// When it was about to be sent.
    pub sent_ktime_ns: u64,
    /// What it is.
    pub content: Content,
}

impl Message {
    /// Kind of the event, if it is one.
    pub fn kind(&self) -> Option<EventKind> {
        match self.content {
            Content::Poke(kind) => Some(kind),
            _ => None,
        }
    }

    fn is_computed(&self) -> bool {
        matches!(self.content, Content::Poke(_) | Content::Peek)
    }
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
pub fn works(
    messages: &[Message],
    computations: &[Computation],
    rests: &[u64],
) -> Vec<Option<Work>> {
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
pub fn answers(messages: &[Message], answers: &[Message], rests: &[u64]) -> Vec<Option<u64>> {
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

/// Share of the events whose answers may lie elsewhere than between their commit and the next, because
/// the ends of commits are not known to the microsecond.
const MISFIT_RATIO: f64 = 0.02;
/// Fewer events than this tell nothing.
const MIN_EVENTS: usize = 10;

/// When each message was answered, where commits follow each other without a moment between, but mars
/// rests: an event is answered after its commit and before the next one ends, because mars begins no
/// other before. Only one number of earlier messages under way fits that, or nothing is said.
pub fn answers_by_commits(
    messages: &[Message],
    works: &[Option<Work>],
    answers: &[Message],
    commits: &[Commit],
) -> Option<Vec<Option<u64>>> {
    let answer = |i: usize, earlier: usize| answers.get(i + earlier).map(|a| a.sent_ktime_ns);
    let fits = |earlier: &usize| {
        let (mut seen, mut misfits) = (0_usize, 0_usize);
        for (i, (message, work)) in messages.iter().zip(works).enumerate() {
            let (Some(_), Some(work), Some(answered)) = (message.kind(), work, answer(i, *earlier))
            else {
                continue;
            };
            let at = commits.partition_point(|commit| commit.start_ktime_ns < work.end_ktime_ns);
            let Some(commit) = commits.get(at) else {
                continue;
            };
            let next = commits
                .get(at + 1)
                .map_or(u64::MAX, |next| next.end_ktime_ns);
            seen += 1;
            // A commit's end may be told late, but not by half of it; answers to the one before come early
            // in it.
            let durable = commit.sync_ktime_ns.midpoint(commit.end_ktime_ns);
            if !(durable..next).contains(&answered) {
                misfits += 1;
            }
        }
        seen >= MIN_EVENTS && misfits as f64 <= seen as f64 * MISFIT_RATIO
    };
    let mut fitting = (0..=LIMIT).filter(fits);
    let earlier = fitting.next()?;
    if fitting.next().is_some() {
        return None;
    }
    Some((0..messages.len()).map(|i| answer(i, earlier)).collect())
}

/// Most messages that the king leaves unanswered (`pkg/vere/pier.c`).
const LIMIT: usize = 10;
/// How often the king must have been at its limit for it to tell anything.
const MIN_AT_LIMIT: usize = 20;

/// For each message how it was computed, and when it was answered.
pub type Pairs = (Vec<Option<Work>>, Vec<Option<u64>>);

/// How many messages have both.
pub fn matched(pairs: &Pairs) -> usize {
    let both = pairs.0.iter().zip(&pairs.1);
    both.filter(|(work, answered)| work.is_some() && answered.is_some())
        .count()
}

/// The same for a ship so busy that mars never sleeps. Then the king always has its limit of messages
/// under way, and that tells how many were when the capture began: where the number of the unanswered
/// has its largest value again and again, this value is the limit. Events were computed at the latest
/// possible moment before their answers: one of `syncs`, by which commits become durable, lies between.
pub fn by_limit(
    messages: &[Message],
    computations: &[Computation],
    answers: &[Message],
    syncs: &[u64],
) -> Option<Pairs> {
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
    let groups = groups(computations);
    // When the answer to a message may come at the earliest.
    let ready = |message: &Message, work: &Work| match message.kind() {
        Some(_) => {
            let next = syncs.partition_point(|sync| *sync < work.end_ktime_ns);
            syncs.get(next).copied().unwrap_or(u64::MAX)
        }
        None => work.end_ktime_ns,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn message(sent_ktime_ns: u64, content: Content) -> Message {
        Message {
            sent_ktime_ns,
            content,
        }
    }

    fn poke(at: u64) -> Message {
        message(at, Content::Poke(EventKind::Timer))
    }

    fn bracket(start: u64, succeeded: bool) -> Computation {
        Computation {
            start_ktime_ns: start,
            computed_ktime_ns: start + 5,
            end_ktime_ns: start + 5,
            succeeded,
            event_number: start,
        }
    }

    fn starts(works: &[Option<Work>]) -> Vec<Option<u64>> {
        works
            .iter()
            .map(|work| work.map(|work| work.start_ktime_ns))
            .collect()
    }

    #[test]
    fn computations_of_earlier_messages_are_left_out() {
        let messages = [poke(12), poke(20)];
        let computations = [bracket(5, true), bracket(15, true), bracket(22, true)];
        let works = works(&messages, &computations, &[40]);
        assert_eq!(starts(&works), [Some(15), Some(22)]);
    }

    #[test]
    fn what_waits_at_the_end_has_no_computation() {
        let messages = [poke(12), poke(20)];
        let works = works(&messages, &[bracket(13, true)], &[10]);
        assert_eq!(starts(&works), [Some(13), None]);
    }

    #[test]
    fn where_the_numbers_do_not_fit_nothing_is_guessed() {
        let messages = [poke(12), poke(20), poke(52)];
        let computations = [bracket(13, true), bracket(55, true)];
        let works = works(&messages, &computations, &[10, 50]);
        assert_eq!(starts(&works), [None, None, Some(55)]);
    }

    #[test]
    fn a_failed_event_takes_the_note_of_it_too() {
        let messages = [poke(12), poke(30)];
        let computations = [bracket(13, false), bracket(20, true), bracket(33, true)];
        let works = works(&messages, &computations, &[10]);
        assert_eq!(starts(&works), [Some(13), Some(33)]);
        assert_eq!(works[0].map(|work| work.end_ktime_ns), Some(25));
    }

    /// A king that always has ten messages under way, on a mars that computes one in 10 and answers it 3
    /// later; ten were under way at the beginning, two of them computed.
    #[test]
    fn a_king_at_its_limit_tells_how_many_were_under_way() {
        let at = |i: u64| 100 + 10 * i;
        let computations: Vec<Computation> = (0..60).map(|i| bracket(at(i), true)).collect();
        // The answer to each computation comes 13 after its beginning, those of the two before first.
        let mut replies = vec![poke(101), poke(102)];
        replies.extend((0..60).map(|i| poke(at(i) + 13)));
        let messages: Vec<Message> = replies
            .iter()
            .map(|reply| poke(reply.sent_ktime_ns + 1))
            .collect();
        let syncs: Vec<u64> = replies
            .iter()
            .map(|reply| reply.sent_ktime_ns - 2)
            .collect();
        let (works, answered) = by_limit(&messages, &computations, &replies, &syncs).unwrap();
        // The first message is the eleventh from the beginning: eight computations come before it.
        assert_eq!(works[0].map(|work| work.start_ktime_ns), Some(at(8)));
        assert_eq!(answered[0], Some(at(8) + 13));
        assert!(by_limit(&messages[..5], &computations, &replies, &syncs).is_none());
    }

    /// Commits of 10 without a pause, each with the three events computed during the one before; four
    /// messages were under way when the capture began.
    #[test]
    fn answers_lie_between_their_commit_and_the_next() {
        use crate::model::ThreadId;
        let commit = |i: u64| Commit {
            thread: ThreadId { tgid: 1, tid: 2 },
            start_ktime_ns: 100 + 10 * i,
            sync_ktime_ns: 101 + 10 * i,
            end_ktime_ns: 110 + 10 * i,
        };
        let commits: Vec<Commit> = (0..30).map(commit).collect();
        let (mut messages, mut works, mut replies) = (Vec::new(), Vec::new(), Vec::new());
        replies.extend((0..4).map(poke));
        for i in 0..75_u64 {
            // Computed during one commit, in the next, answered after that.
            let (batch, place) = (i / 3, i % 3);
            let end_ktime_ns = 102 + 10 * batch + place;
            messages.push(poke(end_ktime_ns - 3));
            works.push(Some(Work {
                start_ktime_ns: end_ktime_ns - 1,
                end_ktime_ns,
                succeeded: true,
                event_number: None,
            }));
            replies.push(poke(120 + 10 * batch + place));
        }
        let answered = answers_by_commits(&messages, &works, &replies, &commits).unwrap();
        assert_eq!(answered[0], Some(120));
        assert_eq!(answered[74], Some(120 + 240 + 2));
        // Where nothing tells one number from another, nothing is said.
        assert!(answers_by_commits(&messages, &works, &replies, &[]).is_none());
    }

    #[test]
    fn answers_come_in_the_order_of_the_messages() {
        let messages = [poke(12), message(13, Content::Peek), poke(60)];
        let replies = [poke(11), poke(20), message(21, Content::Peek), poke(70)];
        assert_eq!(
            answers(&messages, &replies, &[50]),
            [Some(20), Some(21), Some(70)]
        );
        // A question that was answered by an event is none.
        let wrong = [poke(11), poke(20), poke(21)];
        assert_eq!(answers(&messages, &wrong, &[50]), [None, None, None]);
        assert_eq!(answers(&messages, &replies, &[]), [None, None, None]);
    }
}
