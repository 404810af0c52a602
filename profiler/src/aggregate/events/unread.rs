//! What frames were whose bytes could not be read. A frame's page is not in memory only on a host in
//! want of it, but then the ship is looked at for that very reason.
//!
//! Between two moments at which nothing is under way, messages, computations and answers come in the
//! same order. An event raises the loom's number and is committed, a question does neither, and what is
//! not computed is answered at once. Where that leaves a choice, the frame stays unread.

use super::EventKind;
use super::commit::Commit;
use super::computation::{Computation, Work, take_first};
use super::frame::Frame;
use super::message::Content;

/// What is known of mars beside its frames.
pub struct Known<'a> {
    /// Computations, in order.
    pub computations: &'a [Computation],
    /// Commits, in order.
    pub commits: &'a [Commit],
    /// Number of the last event when the window closed, if known.
    pub last_number: Option<u64>,
}

impl Known<'_> {
    /// Whether a computation made an event; nothing if that cannot be told.
    pub fn is_event(&self, at: usize) -> Option<bool> {
        let one = self.computations.get(at)?;
        let next = self.computations.get(at + 1);
        let number = next.map_or(self.last_number, |next| Some(next.event_number));
        if one.event_number > 0 {
            return Some(number? > one.event_number);
        }
        // Nothing of a queue of events is known then: only what is alone can be told.
        let until = next.map_or(u64::MAX, |next| next.start_ktime_ns);
        let is_between = |at: u64| (one.end_ktime_ns..until).contains(&at);
        Some(
            self.commits
                .iter()
                .any(|commit| is_between(commit.sync_ktime_ns)),
        )
    }

    /// Whether mars computed at a moment.
    fn is_computing(&self, ktime_ns: u64) -> bool {
        let begun = self
            .computations
            .partition_point(|one| one.start_ktime_ns <= ktime_ns);
        begun
            .checked_sub(1)
            .is_some_and(|last| ktime_ns < self.computations[last].computed_ktime_ns)
    }

    /// Messages that were computed from `from` to `to`.
    fn works(&self, from: u64, to: u64) -> Vec<Work> {
        let inside = |one: &&Computation| (from..to).contains(&one.start_ktime_ns);
        let inside: Vec<Computation> = self.computations.iter().filter(inside).copied().collect();
        let mut rest = inside.as_slice();
        std::iter::from_fn(|| take_first(&mut rest, Some(EventKind::Other))).collect()
    }

    /// The last computation of a message.
    fn last_of(&self, work: &Work) -> Option<usize> {
        let ended = |one: &Computation| one.end_ktime_ns <= work.end_ktime_ns;
        self.computations.partition_point(ended).checked_sub(1)
    }
}

/// Finds out what unread frames were. `moments` are those at which nothing was under way.
pub fn resolve(
    messages: &mut [Frame],
    answers: &mut Vec<Frame>,
    known: &Known<'_>,
    moments: &[u64],
) {
    let is_unread = |frame: &Frame| frame.content == Content::Unread;
    // What mars sends while it computes is a line to print.
    answers.retain(|answer| !is_unread(answer) || !known.is_computing(answer.sent_ktime_ns));
    if !messages.iter().chain(&*answers).any(is_unread) {
        return;
    }
    let ends = moments.iter().skip(1).copied().chain([u64::MAX]);
    for (from, to) in moments.iter().copied().zip(ends) {
        let before = |ktime_ns: u64| move |frame: &Frame| frame.sent_ktime_ns < ktime_ns;
        let sent = messages.partition_point(before(from))..messages.partition_point(before(to));
        let back = answers.partition_point(before(from))..answers.partition_point(before(to));
        resolve_part(
            &mut messages[sent],
            &mut answers[back],
            &known.works(from, to),
            known,
        );
    }
}

/// The same between two moments.
fn resolve_part(messages: &mut [Frame], answers: &mut [Frame], works: &[Work], known: &Known<'_>) {
    if messages.len() != answers.len() {
        return;
    }
    // What was read on one side need not be on the other.
    for (message, answer) in messages.iter_mut().zip(answers.iter_mut()) {
        match (&message.content, &answer.content) {
            (Content::Unread, Content::Poke(_)) => {
                message.content = Content::Poke(EventKind::Other)
            }
            (Content::Unread, content) => message.content = content.clone(),
            (content, Content::Unread) => answer.content = content.clone(),
            _ => {}
        }
    }
    let is_computed = |message: &Frame| message.content != Content::Other;
    let wanted = messages.iter().filter(|one| is_computed(one)).count();
    if let ([message], [answer], []) = (&mut *messages, &mut *answers, works) {
        if message.content == Content::Unread {
            message.content = Content::Other;
            answer.content = Content::Other;
        }
        return;
    }
    if wanted != works.len() {
        return;
    }
    let alone = messages.len() == 1;
    let computed = messages
        .iter_mut()
        .zip(answers)
        .filter(|(message, _)| is_computed(message));
    for ((message, answer), work) in computed.zip(works) {
        if message.content != Content::Unread {
            continue;
        }
        let Some(last) = known.last_of(work) else {
            continue;
        };
        let is_numbered = known.computations[last].event_number > 0;
        let Some(is_event) = known.is_event(last).filter(|_| is_numbered || alone) else {
            continue;
        };
        let content = match is_event {
            true => Content::Poke(EventKind::Other),
            false => Content::Peek,
        };
        message.content = content.clone();
        answer.content = content;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(sent_ktime_ns: u64, content: Content) -> Frame {
        Frame {
            sent_ktime_ns,
            bytes: 10,
            content,
            errand: None,
            worked: None,
        }
    }

    fn bracket(start_ktime_ns: u64, event_number: u64) -> Computation {
        Computation {
            start_ktime_ns,
            computed_ktime_ns: start_ktime_ns + 4,
            end_ktime_ns: start_ktime_ns + 5,
            succeeded: true,
            event_number,
        }
    }

    fn contents(frames: &[Frame]) -> Vec<Content> {
        frames.iter().map(|frame| frame.content.clone()).collect()
    }

    #[test]
    fn an_event_is_what_raises_the_number() {
        let unread = |at| frame(at, Content::Unread);
        // An event, a question, an event, then something that is not computed.
        let mut messages = vec![unread(10), unread(11), unread(12), unread(110)];
        // A line to print comes with the first.
        let mut answers = vec![unread(22), unread(60), unread(61), unread(62), unread(112)];
        let known = Known {
            computations: &[bracket(20, 7), bracket(30, 8), bracket(40, 8)],
            commits: &[],
            last_number: Some(9),
        };
        resolve(&mut messages, &mut answers, &known, &[1, 100]);
        let poke = Content::Poke(EventKind::Other);
        let expected = [poke.clone(), Content::Peek, poke, Content::Other];
        assert_eq!(contents(&messages), expected);
        assert_eq!(contents(&answers), expected);
    }

    #[test]
    fn what_leaves_a_choice_stays_unread() {
        let unread = |at| frame(at, Content::Unread);
        let mut messages = vec![unread(10), unread(11)];
        let mut answers = vec![unread(60), unread(61)];
        let known = Known {
            computations: &[bracket(20, 0), bracket(30, 0)],
            commits: &[],
            last_number: None,
        };
        resolve(&mut messages, &mut answers, &known, &[1, 100]);
        assert_eq!(contents(&messages), [Content::Unread, Content::Unread]);
        // Two messages, one computation.
        let known = Known {
            computations: &[bracket(20, 7)],
            commits: &[],
            last_number: Some(8),
        };
        resolve(&mut messages, &mut answers, &known, &[1, 100]);
        assert_eq!(contents(&messages), [Content::Unread, Content::Unread]);
    }
}
