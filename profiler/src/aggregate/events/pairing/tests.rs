//! Tests of pairing.

use super::*;
use crate::model::ThreadId;

fn evidence<'a>(
    messages: &'a [Message],
    computations: &'a [Computation],
    answers: &'a [Message],
) -> Evidence<'a> {
    Evidence {
        messages,
        computations,
        answers,
        commits: &[],
        rests: &[],
        quiet: &[],
        said: None,
        at_once: false,
        has_gaps: false,
    }
}

/// How each was computed, by moments of rest.
fn works(messages: &[Message], computations: &[Computation], rests: &[u64]) -> Vec<Option<Work>> {
    let evidence = evidence(messages, computations, &[]);
    rests::pairs(&Evidence { rests, ..evidence }).0
}

/// When each was answered, by moments of rest.
fn answers(messages: &[Message], answers: &[Message], quiet: &[u64]) -> Vec<Option<u64>> {
    let evidence = evidence(messages, &[], answers);
    rests::pairs(&Evidence { quiet, ..evidence }).1
}

fn message(sent_ktime_ns: u64, content: Content) -> Message {
    Message {
        sent_ktime_ns,
        turn_ktime_ns: None,
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
    let commits: Vec<Commit> = replies
        .iter()
        .map(|reply| commit(reply.sent_ktime_ns - 2, reply.sent_ktime_ns - 1))
        .collect();
    let whole = Evidence {
        commits: &commits,
        ..evidence(&messages, &computations, &replies)
    };
    let paired = pair(&whole);
    assert!(paired.by_limit);
    let (works, answered) = paired.pairs;
    // The first message is the eleventh from the beginning: eight computations come before it.
    assert_eq!(works[0].map(|work| work.start_ktime_ns), Some(at(8)));
    assert_eq!(answered[0], Some(at(8) + 13));
    let few = Evidence {
        messages: &messages[..5],
        ..whole
    };
    assert!(limit::earlier(&few).is_none());
    // They are enough if the king says it.
    let paired = pair(&Evidence {
        said: Some(10),
        ..few
    });
    assert!(!paired.by_limit);
    assert_eq!(starts(&paired.pairs.0)[0], Some(at(8)));
    // Five are enough where the king waited before the answer came, and sent the next message in that turn.
    let drawn = |wait_ns: u64| -> Vec<Message> {
        let begun = |message: &Message| Some(message.sent_ktime_ns - wait_ns);
        let drawn = messages.iter().map(|message| Message {
            turn_ktime_ns: begun(message),
            ..message.clone()
        });
        drawn.collect()
    };
    let of = |messages: &[Message]| limit::earlier(&Evidence { messages, ..whole });
    assert_eq!(of(&drawn(3)[..6]), Some(10));
    assert_eq!(of(&drawn(3)[..5]), None);
    // Whoever sends a request when the last was answered keeps as many under way, and the king waits again
    // before it comes: that may be any number.
    assert_eq!(of(&drawn(0)), None);
}

fn commit(sync_ktime_ns: u64, end_ktime_ns: u64) -> Commit {
    Commit {
        thread: ThreadId { tgid: 1, tid: 2 },
        start_ktime_ns: sync_ktime_ns - 1,
        sync_ktime_ns,
        end_ktime_ns,
    }
}

/// Commits of 10 without a pause, each with the three events computed during the one before; four
/// messages were under way when the capture began, one of them not computed.
#[test]
fn commits_without_a_pause_tell_how_many_were_under_way() {
    let commits: Vec<Commit> = (0..30)
        .map(|i| commit(101 + 10 * i, 110 + 10 * i))
        .collect();
    let (mut messages, mut rests) = (Vec::new(), Vec::new());
    let mut computations = vec![bracket(90, true)];
    let mut replies: Vec<Message> = (0..4).map(poke).collect();
    for i in 0..75_u64 {
        // Computed during one commit, in the next, answered after that.
        let at = 102 + 10 * (i / 3) + 3 * (i % 3);
        messages.push(poke(at - 2));
        computations.push(Computation {
            start_ktime_ns: at - 1,
            computed_ktime_ns: at,
            end_ktime_ns: at,
            succeeded: true,
            event_number: i + 1,
        });
        rests.push(at + 1);
        replies.push(poke(120 + 10 * (i / 3) + i % 3));
    }
    let rested = Evidence {
        rests: &rests,
        ..evidence(&messages, &computations, &replies)
    };
    let paired = pair(&Evidence {
        commits: &commits,
        ..rested
    });
    let (works, answered) = paired.pairs;
    assert!(!paired.by_limit);
    assert_eq!(works[0].map(|work| work.start_ktime_ns), Some(101));
    assert_eq!(answered[0], Some(120));
    assert_eq!(answered[74], Some(120 + 240 + 2));
    // Where nothing tells one number from another, nothing is said.
    assert!(offset::pairs(&rested).is_none());
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
