//! Computations on mars' main thread: each is bracketed by `sigaltstack`, in every version of vere
//! (`pkg/noun/manage.c`). It is disabled twice after a success, the second time when the result has been
//! copied, and once after a failure.

use profiler_common::syscall::SS_DISABLE;

use super::EventKind;
use crate::model::{Call, SyscallEvent};

/// One bracket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Computation {
    /// When it began.
    pub start_ktime_ns: u64,
    /// When the computation itself ended.
    pub computed_ktime_ns: u64,
    /// When its result was copied; when it ended, if it failed.
    pub end_ktime_ns: u64,
    /// Whether it succeeded.
    pub succeeded: bool,
    /// Number of the last event when it began.
    pub event_number: u64,
}

/// All brackets that ended, from the calls of mars' main thread in their order, and when the one began
/// that had not ended.
pub fn computations<'a>(
    calls: impl Iterator<Item = &'a SyscallEvent>,
) -> (Vec<Computation>, Option<(u64, u64)>) {
    let mut found: Vec<Computation> = Vec::new();
    let mut open: Option<(u64, u64)> = None;
    // Whether a second disabling would belong to the last one.
    let mut just_ended = false;
    for event in calls {
        let Call::SignalStack {
            flags,
            event_number,
        } = event.call
        else {
            continue;
        };
        let at = event.ktime_ns;
        if flags & SS_DISABLE == 0 {
            open = Some((at, event_number));
            just_ended = false;
        } else if let Some((start_ktime_ns, event_number)) = open.take() {
            found.push(Computation {
                start_ktime_ns,
                computed_ktime_ns: at,
                end_ktime_ns: at,
                succeeded: false,
                event_number,
            });
            just_ended = true;
        } else if let (true, Some(last)) = (just_ended, found.last_mut()) {
            last.succeeded = true;
            last.end_ktime_ns = at;
            just_ended = false;
        }
    }
    (found, open)
}

/// How a message was computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// When it began.
    pub start_ktime_ns: u64,
    /// When it ended, its result copied; that of the note of its failure, if it failed.
    pub end_ktime_ns: u64,
    /// Whether it succeeded at the first attempt.
    pub succeeded: bool,
    /// Number of the event; nothing for a question, or if it is not known.
    pub event_number: Option<u64>,
}

/// Takes the brackets of one message off the front: an event that fails is computed a second time, as
/// the note that it failed (`%crud`).
pub fn take_first(rest: &mut &[Computation], kind: Option<EventKind>) -> Option<Work> {
    let (first, mut after) = rest.split_first()?;
    let mut last = first;
    if let (Some(_), false, Some((next, others))) = (kind, first.succeeded, after.split_first()) {
        last = next;
        after = others;
    }
    *rest = after;
    Some(work(first, last, kind))
}

/// The same, off the end.
pub fn take_last(rest: &mut &[Computation], kind: Option<EventKind>) -> Option<Work> {
    let (last, mut before) = rest.split_last()?;
    let mut first = last;
    if let (Some(_), true, Some((failed, others))) = (kind, last.succeeded, before.split_last())
        && !failed.succeeded
        && failed.event_number == last.event_number
    {
        first = failed;
        before = others;
    }
    *rest = before;
    Some(work(first, last, kind))
}

fn work(first: &Computation, last: &Computation, kind: Option<EventKind>) -> Work {
    Work {
        start_ktime_ns: first.start_ktime_ns,
        end_ktime_ns: last.end_ktime_ns,
        succeeded: first.succeeded,
        event_number: kind
            .filter(|_| last.succeeded && last.event_number > 0)
            .map(|_| last.event_number + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ThreadId;

    fn calls(list: &[(u64, u32, u64)]) -> Vec<SyscallEvent> {
        let call = |&(ktime_ns, flags, event_number)| SyscallEvent {
            thread: ThreadId { tgid: 1, tid: 1 },
            ktime_ns,
            call: Call::SignalStack {
                flags,
                event_number,
            },
        };
        list.iter().map(call).collect()
    }

    #[test]
    fn two_disablings_are_a_success_and_one_a_failure() {
        // A success, a failure with its note, one that has not ended.
        let calls = calls(&[
            (10, 0, 5),
            (20, 2, 5),
            (22, 2, 5),
            (30, 0, 6),
            (40, 2, 6),
            (41, 0, 6),
            (45, 2, 6),
            (46, 2, 6),
            (50, 0, 7),
        ]);
        let (found, open) = computations(calls.iter());
        assert_eq!(open, Some((50, 7)));
        let outcomes: Vec<_> = found
            .iter()
            .map(|c| (c.start_ktime_ns, c.end_ktime_ns, c.succeeded))
            .collect();
        assert_eq!(outcomes, [(10, 22, true), (30, 40, false), (41, 46, true)]);
        let kind = Some(EventKind::Timer);
        let mut rest = found.as_slice();
        let (first, second) = (take_first(&mut rest, kind), take_first(&mut rest, kind));
        assert!(rest.is_empty());
        let mut rest = found.as_slice();
        assert_eq!(take_last(&mut rest, kind), second);
        assert_eq!(take_last(&mut rest, kind), first);
        let second = second.unwrap();
        assert_eq!(
            (second.start_ktime_ns, second.end_ktime_ns, second.succeeded),
            (30, 46, false)
        );
        assert_eq!(second.event_number, Some(7));
    }

    #[test]
    fn a_disabling_without_a_beginning_is_nothing() {
        assert_eq!(computations(calls(&[(5, 2, 1), (6, 2, 1)]).iter()).0, []);
    }
}
