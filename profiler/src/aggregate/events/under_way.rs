//! How many messages were under way when the capture began, by what the king said of a later moment.

use super::pairing::{LIMIT, Message};
use super::timeline::Timeline;
use crate::model::UnderWay;

/// How long what was written to the king may take to wake it.
const WAKING_NS: u64 = 1_000_000;

/// The number, if the king said it, and says nothing else another time. What it says counts only if it was
/// asleep when it was asked, so that it had taken up all answers, and if nothing was sent or answered from
/// shortly before until it told.
pub fn at_beginning(
    said: &[UnderWay],
    messages: &[Message],
    answers: &[Message],
    king: &Timeline,
) -> Option<usize> {
    let before = |all: &[Message], at| all.partition_point(|one| one.sent_ktime_ns < at);
    let numbers = said.iter().filter_map(|said| {
        let (asked, told) = (said.asked_ktime_ns, said.told_ktime_ns);
        let (sent, answered) = (before(messages, asked), before(answers, asked));
        let since = asked.saturating_sub(WAKING_NS);
        let is_same = |all| before(all, since) == before(all, told);
        let nothing_between = is_same(messages) && is_same(answers);
        let mut absences = king.within(asked, asked.saturating_add(1)).iter();
        let is_asleep = absences.any(|absence| absence.runnable_ktime_ns >= asked);
        if !(is_asleep && nothing_between) {
            return None;
        }
        let said = usize::try_from(said.messages).ok()?;
        Some(said.checked_add(answered)?.checked_sub(sent))
    });
    let mut numbers: Vec<Option<usize>> = numbers.collect();
    numbers.dedup();
    match numbers[..] {
        [Some(number)] if number <= LIMIT => Some(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::timeline::Absence;
    use super::*;
    use crate::aggregate::events::message::Content;

    const MS: u64 = 1_000_000;

    fn all(sent: &[u64]) -> Vec<Message> {
        let one = |sent_ktime_ns: &u64| Message {
            sent_ktime_ns: *sent_ktime_ns,
            turn_ktime_ns: None,
            content: Content::Peek,
        };
        sent.iter().map(one).collect()
    }

    #[test]
    fn a_king_that_slept_when_it_was_asked_tells() {
        let (messages, answers) = (all(&[10 * MS, 20 * MS, 30 * MS]), all(&[15 * MS, 34 * MS]));
        let king = Timeline::of_absences(
            [(21, 29), (35, 45)]
                .map(|(start, end)| Absence {
                    start_ktime_ns: start * MS,
                    runnable_ktime_ns: end * MS - 1,
                    end_ktime_ns: end * MS,
                    syscall_nr: 0,
                    task_state: 1,
                    waker_tid: 0,
                })
                .to_vec(),
        );
        let said = |asked, told, messages| UnderWay {
            asked_ktime_ns: asked * MS,
            told_ktime_ns: told * MS,
            messages,
        };
        let number = |said: &[UnderWay]| at_beginning(said, &messages, &answers, &king);
        // Two were sent by then, one was answered, and four are under way.
        assert_eq!(number(&[said(25, 29, 4)]), Some(3));
        assert_eq!(number(&[said(25, 29, 4), said(40, 46, 4)]), Some(3));
        // Another time it says something else.
        assert_eq!(number(&[said(25, 29, 4), said(40, 46, 5)]), None);
        // It was awake, or woken; something was sent before it told.
        assert_eq!(number(&[said(16, 18, 3)]), None);
        assert_eq!(number(&[said(29, 29, 3)]), None);
        assert_eq!(number(&[said(25, 31, 4)]), None);
        // It cannot be.
        assert_eq!(number(&[said(25, 29, 0)]), None);
        assert_eq!(number(&[said(25, 29, 12)]), None);
        assert_eq!(number(&[said(25, 29, u64::MAX)]), None);
        assert_eq!(number(&[]), None);
    }
}
