//! Replaying up to v3.5: the king feeds the serf its log, some events a message (`%play`).

use super::computation::Computation;
use super::frame::Frame;
use super::message::Errand;
use super::span::{MarsSpan, SpanKind};

/// The replays, and their computations, which are taken from `computations`. One whose message was sent
/// before the window begins with it.
pub fn plays(
    messages: &[Frame],
    answers: &[Frame],
    computations: &mut Vec<Computation>,
    window: (u64, u64),
) -> (Vec<MarsSpan>, Vec<Computation>) {
    let of = |frame: &&Frame| frame.errand == Some(Errand::Play);
    let mut asked = messages.iter().filter(of).peekable();
    let mut parts = Vec::new();
    for answer in answers.iter().filter(of) {
        let until = answer.sent_ktime_ns;
        let asked = asked.next_if(|asked| asked.sent_ktime_ns < until);
        let from = asked.map_or(window.0, |asked| asked.sent_ktime_ns);
        parts.push((from, until, false));
    }
    parts.extend(
        asked
            .next()
            .map(|asked| (asked.sent_ktime_ns, window.1, true)),
    );
    let (mut spans, mut replayed) = (Vec::new(), Vec::new());
    for (from, until, is_open) in parts {
        let begun = |at: u64| move |one: &Computation| one.start_ktime_ns < at;
        let (first, end) = (
            computations.partition_point(begun(from)),
            computations.partition_point(begun(until)),
        );
        spans.push(MarsSpan {
            kind: SpanKind::Replay,
            start_ktime_ns: from,
            end_ktime_ns: until,
            is_open,
            events: Some((end - first) as u64),
        });
        replayed.extend(computations.drain(first..end));
    }
    (spans, replayed)
}

#[cfg(test)]
mod tests {
    use super::super::Content;
    use super::*;

    #[test]
    fn what_is_computed_for_the_king_again_is_a_replay() {
        let frame = |sent_ktime_ns| Frame {
            sent_ktime_ns,
            bytes: 100,
            content: Content::Other,
            errand: Some(Errand::Play),
            worked: None,
        };
        let one = |start_ktime_ns| Computation {
            start_ktime_ns,
            computed_ktime_ns: start_ktime_ns + 1,
            end_ktime_ns: start_ktime_ns + 2,
            succeeded: true,
            event_number: 0,
        };
        let mut computations = vec![one(5), one(25), one(30), one(45), one(65)];
        let (spans, replayed) = plays(
            &[frame(20), frame(60)],
            &[frame(10), frame(40)],
            &mut computations,
            (0, 100),
        );
        let spans: Vec<_> = spans
            .iter()
            .map(|one| {
                (
                    one.start_ktime_ns,
                    one.end_ktime_ns,
                    one.is_open,
                    one.events,
                )
            })
            .collect();
        assert_eq!(
            spans,
            [
                (0, 10, false, Some(1)),
                (20, 40, false, Some(2)),
                (60, 100, true, Some(1))
            ]
        );
        assert_eq!(replayed.len(), 4);
        assert_eq!(computations, [one(45)]);
    }
}
