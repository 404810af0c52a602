//! What king and mars did one after the other, before it is told what belongs together.

use std::collections::BTreeMap;

use super::away::{away, king_busy};
use super::commit::{self, Commit};
use super::computation::{self, Computation};
use super::frame::{self, Frame};
use super::message::Content;
use super::play::plays;
use super::rest::{is_committing, is_idle_in_epoll, sleeps};
use super::span::{self, MarsSpan, Stage};
use super::timeline::{Absence, Timeline};
use super::unread::{self, Known};
use crate::model::{Capture, Meta, SyscallEvent, ThreadId};
use crate::ship::Generation;
use crate::ship::loom::LoomAnswer;

/// The course of a ship's work in the window.
pub struct Course {
    /// Computations of messages.
    pub computations: Vec<Computation>,
    /// Computations of the replay, which came before.
    pub replayed: Vec<Computation>,
    /// Beginning of the computation that had not ended.
    pub opened: Option<u64>,
    /// The king's messages.
    pub asked: Vec<Frame>,
    /// Mars' answers.
    pub answered: Vec<Frame>,
    /// What mars did beside computing.
    pub mars_spans: Vec<MarsSpan>,
    /// Moments at which mars had computed all that had been sent.
    pub rests: Vec<u64>,
    /// Of these, those at which no commit was under way.
    pub quiet: Vec<u64>,
}

/// A main thread and its calls.
type Main<'a> = (ThreadId, &'a [&'a SyscallEvent]);

impl Course {
    /// Of the calls of both main threads.
    pub fn of(
        capture: &Capture,
        (king, king_calls): Main<'_>,
        (mars, mars_calls): Main<'_>,
        commits: &[Commit],
        timelines: &BTreeMap<ThreadId, Timeline>,
    ) -> Self {
        let meta = &capture.meta;
        let (mut computations, opened) = brackets(meta, mars_calls);
        let last_number = match (&meta.loom_start, &meta.loom_end) {
            (LoomAnswer::Home(_), LoomAnswer::Home(end)) => Some(end.event_number),
            _ => None,
        };
        let king_saves = meta.ship.generation == Generation::Serf;
        let window = (meta.clocks.start_ktime_ns, meta.clocks.end_ktime_ns);
        let (mut asked, mut answered) = (frame::frames(king_calls), frame::frames(mars_calls));
        let (played, mut replayed) = plays(&asked, &answered, &mut computations, window);
        let known = Known {
            computations: &computations,
            commits,
            last_number,
        };
        let replay = span::replay(
            &Stage {
                window,
                known: &known,
                open: opened,
                messages: &asked,
                answers: &answered,
                mars: &timelines[&mars],
                away: Vec::new(),
                king_saves,
            },
            // The king opens its ports when mars is up.
            meta.ship.udp_ports.known().is_some_and(Vec::is_empty),
        );
        answered.retain(|frame| frame.content != Content::Ready);
        let mut mars_spans: Vec<MarsSpan> = replay.iter().map(|(span, _)| *span).collect();
        mars_spans.extend(played);
        // What was replayed belongs to no message.
        replayed.extend(computations.drain(..replay.map_or(0, |(_, count)| count)));
        let known = Known {
            computations: &computations,
            commits,
            last_number,
        };
        let idles = |absence: &Absence| is_idle_in_epoll(capture, absence);
        let sleeps = sleeps(&timelines[&mars], (king, &timelines[&king]), &asked, idles);
        let rests = sleeps.iter().map(|sleep| sleep.start_ktime_ns).collect();
        // A serf has answered all that it has computed.
        let quiet = if king_saves {
            quiet(&sleeps, &[], 0)
        } else {
            let unseen = commit::unseen_until(&capture.events, &meta.architecture, mars);
            quiet(&sleeps, commits, unseen)
        };
        unread::resolve(&mut asked, &mut answered, &known, &quiet);
        mars_spans.extend(span::upkeep(&Stage {
            window: (
                mars_spans
                    .last()
                    .map_or(window.0, |replay| replay.end_ktime_ns),
                window.1,
            ),
            known: &known,
            open: opened,
            messages: &asked,
            answers: &answered,
            mars: &timelines[&mars],
            away: away(capture, mars, &timelines[&mars], idles),
            king_saves,
        }));
        mars_spans.extend(king_busy(capture, &timelines[&mars]));
        mars_spans.sort_by_key(|span| span.start_ktime_ns);
        Self {
            computations,
            replayed,
            opened,
            asked,
            answered,
            mars_spans,
            rests,
            quiet,
        }
    }
}

/// The computations, and when the one began that had not ended.
fn brackets(meta: &Meta, mars_calls: &[&SyscallEvent]) -> (Vec<Computation>, Option<u64>) {
    let (mut computations, open) = computation::computations(mars_calls.iter().copied());
    if !matches!(meta.loom_start, LoomAnswer::Home(_)) {
        // What was read is no event number in this layout.
        for computation in &mut computations {
            computation.event_number = 0;
        }
    }
    (computations, open.map(|(start, _)| start))
}

/// Sleeps of mars during which no answer waited for a commit. While it sleeps, it begins none: one within
/// the sleep was asked for before. Up to `unseen_ktime_ns` there was one whose beginning was not seen.
fn quiet(sleeps: &[&Absence], commits: &[Commit], unseen_ktime_ns: u64) -> Vec<u64> {
    let quiet = sleeps
        .iter()
        .filter(|sleep| sleep.start_ktime_ns >= unseen_ktime_ns)
        .filter(|sleep| !is_committing(commits, sleep.start_ktime_ns, sleep.runnable_ktime_ns));
    quiet.map(|sleep| sleep.start_ktime_ns).collect()
}
