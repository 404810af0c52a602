//! The way of each message: what belongs to it, from its arrival at the king to its release.

use std::collections::VecDeque;

use profiler_common::loss;

use super::computation::Work;
use super::course::Course;
use super::frame::Frame;
use super::message::Errand;
use super::pairing::{self, Evidence, LIMIT, Message, Paired};
use super::release::{Release, Releases};
use super::rest::{arrival, is_idle_in_epoll, turn};
use super::timeline::{Absence, Timeline};
use super::under_way;
use super::{Content, EventSpan, EventsSummary};
use crate::model::{Capture, SyscallEvent};

/// What became of a message.
enum Way {
    /// It was followed.
    Whole(EventSpan),
    /// The window closed before its end.
    Unfinished,
    /// It cannot be told what belongs to it.
    Unmatched,
}

/// All that is known when single messages are looked at.
struct Follower<'a> {
    capture: &'a Capture,
    king: &'a Timeline,
    summary: &'a EventsSummary,
    releases: Releases,
    settled_ktime_ns: u64,
}

/// Follows every message, into `summary`.
pub fn follow(
    capture: &Capture,
    course: &Course,
    king_calls: &[&SyscallEvent],
    summary: &mut EventsSummary,
) {
    let messages = messages(&course.asked, |sent| turn(sent, king_calls));
    let answers = self::messages(&course.answered, |_| None);
    let nothing = Timeline::default();
    let king = summary.king.and_then(|king| summary.timelines.get(&king));
    let king = king.unwrap_or(&nothing);
    let lost = [loss::SYSCALL_RECORD, loss::FRAME_PARTS, loss::ENTRY_MISSED];
    let lost = lost.map(|reason| capture.meta.losses.of(reason));
    let Paired {
        pairs: (works, answered),
        settled_ktime_ns,
        by_limit,
    } = pairing::pair(&Evidence {
        messages: &messages,
        computations: &course.computations,
        answers: &answers,
        commits: &summary.commits,
        rests: &course.rests,
        quiet: &course.quiet,
        said: under_way::at_beginning(&capture.meta.under_way, &messages, &answers, king),
        at_once: summary.king_commits,
        has_gaps: lost.iter().any(|count| *count > 0),
    });
    let follower = Follower {
        capture,
        king,
        releases: match summary.king_commits {
            true => Releases::of_king(capture, course, king_calls, summary),
            false => Releases::OfMars,
        },
        settled_ktime_ns,
        summary,
    };
    let (mut spans, mut unfinished, mut unmatched) = (Vec::new(), 0, 0);
    let found = works.into_iter().zip(answered);
    for ((message, frame), found) in messages.iter().zip(&course.asked).zip(found) {
        if message.content == Content::Other {
            continue;
        }
        match follower.way(message, frame, found) {
            Way::Whole(span) => spans.push(span),
            Way::Unfinished => unfinished += 1,
            Way::Unmatched => unmatched += 1,
        }
    }
    summary.sent_at_limit = sent_at_limit(&spans);
    summary.matched_by_limit = by_limit;
    (summary.spans, summary.unfinished, summary.unmatched) = (spans, unfinished, unmatched);
}

impl Follower<'_> {
    /// The way of a message, by how it was computed and when it was answered.
    fn way(&self, message: &Message, frame: &Frame, found: (Option<Work>, Option<u64>)) -> Way {
        let (work, answered) = match found {
            (Some(work), Some(answered)) if answered >= work.end_ktime_ns => (work, answered),
            (_, None) if message.sent_ktime_ns > self.settled_ktime_ns => return Way::Unfinished,
            _ => return Way::Unmatched,
        };
        let release = match message.kind() {
            Some(_) => self.releases.of(&self.summary.commits, &work, answered),
            None => Release::Done(None, answered),
        };
        let (commit, released_ktime_ns) = match release {
            Release::Done(commit, at_ktime_ns) => (commit, at_ktime_ns),
            Release::Held => return Way::Unfinished,
            Release::Unknown => return Way::Unmatched,
        };
        let idles = |absence: &Absence| is_idle_in_epoll(self.capture, absence);
        let sent_ktime_ns = message.sent_ktime_ns;
        let is_mass = frame.errand == Some(Errand::Mass);
        Way::Whole(EventSpan {
            kind: message.kind(),
            is_mass: is_mass || self.summary.is_mass(work.start_ktime_ns),
            arrived_ktime_ns: arrival(sent_ktime_ns, message.turn_ktime_ns, self.king, idles),
            sent_ktime_ns,
            work: Work {
                event_number: work.event_number.or(self.releases.number(answered)),
                ..work
            },
            commit,
            answered_ktime_ns: answered,
            released_ktime_ns,
        })
    }
}

/// How many events the king could not have sent before: it sent them when the message before had left it
/// at its limit.
fn sent_at_limit(spans: &[EventSpan]) -> u64 {
    let mut under_way: VecDeque<u64> = VecDeque::new();
    let (mut count, mut is_full) = (0, false);
    for span in spans {
        count += u64::from(is_full && span.kind.is_some());
        // Answers come in the order of messages.
        while under_way
            .front()
            .is_some_and(|answered| *answered < span.sent_ktime_ns)
        {
            under_way.pop_front();
        }
        under_way.push_back(span.answered_ktime_ns);
        is_full = under_way.len() >= LIMIT;
    }
    count
}

fn messages(frames: &[Frame], turn: impl Fn(u64) -> Option<u64>) -> Vec<Message> {
    let messages = frames.iter().map(|frame| Message {
        sent_ktime_ns: frame.sent_ktime_ns,
        turn_ktime_ns: turn(frame.sent_ktime_ns),
        content: frame.content.clone(),
    });
    messages.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::events::EventKind;

    #[test]
    fn events_behind_ten_others_may_have_waited_in_the_king() {
        let span = |sent_ktime_ns, answered_ktime_ns| EventSpan {
            kind: Some(EventKind::Timer),
            is_mass: false,
            arrived_ktime_ns: sent_ktime_ns,
            sent_ktime_ns,
            work: Work {
                start_ktime_ns: sent_ktime_ns,
                end_ktime_ns: answered_ktime_ns,
                succeeded: true,
                event_number: None,
            },
            commit: None,
            answered_ktime_ns,
            released_ktime_ns: answered_ktime_ns,
        };
        let mut spans: Vec<EventSpan> = (0..10).map(|at| span(at, 100 + at)).collect();
        assert_eq!(sent_at_limit(&spans), 0);
        // It was sent when the first was answered, and is the tenth again; the next comes much later.
        spans.push(span(101, 200));
        spans.push(span(111, 211));
        spans.push(span(300, 301));
        assert_eq!(sent_at_limit(&spans), 2);
    }
}
