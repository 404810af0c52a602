//! Every event that was followed, one by one: for tables and pictures of one's own, and to hold them to
//! what a ship says of itself.

use serde::Serialize;

use crate::aggregate::aggregate;
use crate::aggregate::events::{EventKind, EventSpan, EventsSummary};
use crate::attribute::{CriticalPaths, Phase, attribute};
use crate::model::Capture;

/// Version of [`Listing`] as JSON. Raised when a field changes its meaning or goes away.
pub const LISTING_VERSION: u32 = 1;

/// The events of a capture. Moments are of the kernel's monotonic clock.
#[derive(Debug, Clone, Serialize)]
pub struct Listing {
    /// [`LISTING_VERSION`].
    pub schema_version: u32,
    /// Beginning of the window.
    pub start_ktime_ns: u64,
    /// Its end.
    pub end_ktime_ns: u64,
    /// Records and sums that were lost.
    pub lost: u64,
    /// Messages to mars that could not be matched with their computation, commit or answer.
    pub unmatched: u64,
    /// Messages to mars that had no answer, or whose effects were not released, when the window closed.
    pub unfinished: u64,
    /// Those that were followed, questions to the namespace too, in the order of their sending.
    pub events: Vec<ListedEvent>,
}

/// An event, or a question.
#[derive(Debug, Clone, Serialize)]
pub struct ListedEvent {
    /// Number of the event, if it is known.
    pub number: Option<u64>,
    /// Its kind; nothing for a question.
    pub kind: Option<EventKind>,
    /// Whether its computation failed at first.
    pub failed: bool,
    /// When the king began with what brought it.
    pub arrived_ktime_ns: u64,
    /// When the king sent it to mars.
    pub sent_ktime_ns: u64,
    /// When its computation began.
    pub compute_start_ktime_ns: u64,
    /// When its result was copied.
    pub compute_end_ktime_ns: u64,
    /// When mars answered.
    pub answered_ktime_ns: u64,
    /// Its commit: when it began, when its sync began, when it was durable. Nothing for a question.
    pub commit: Option<ListedCommit>,
    /// When its effects were released.
    pub released_ktime_ns: u64,
    /// Its phases, in order, ns.
    pub phases: Vec<(Phase, u64)>,
}

/// A commit of the log.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ListedCommit {
    /// When the worker was woken for it.
    pub start_ktime_ns: u64,
    /// When the sync of the data began.
    pub sync_ktime_ns: u64,
    /// When it was durable.
    pub end_ktime_ns: u64,
}

/// Lists them; nothing if they could not be followed.
pub fn listing(capture: &Capture) -> Option<Listing> {
    let summaries = aggregate(capture);
    let attribution = attribute(capture, &summaries);
    let events = summaries.events.as_ref()?;
    let paths = CriticalPaths::of(capture, events, &attribution.page_ins)?;
    let meta = &capture.meta;
    Some(Listing {
        schema_version: LISTING_VERSION,
        start_ktime_ns: meta.clocks.start_ktime_ns,
        end_ktime_ns: meta.clocks.end_ktime_ns,
        lost: meta.losses.total(),
        unmatched: events.unmatched,
        unfinished: events.unfinished,
        events: events
            .spans
            .iter()
            .map(|span| listed(span, events, &paths))
            .collect(),
    })
}

fn listed(span: &EventSpan, events: &EventsSummary, paths: &CriticalPaths<'_>) -> ListedEvent {
    let commit = span.commit.and_then(|at| events.commits.get(at));
    ListedEvent {
        number: span.work.event_number,
        kind: span.kind,
        failed: !span.work.succeeded,
        arrived_ktime_ns: span.arrived_ktime_ns,
        sent_ktime_ns: span.sent_ktime_ns,
        compute_start_ktime_ns: span.work.start_ktime_ns,
        compute_end_ktime_ns: span.work.end_ktime_ns,
        answered_ktime_ns: span.answered_ktime_ns,
        commit: commit.map(|commit| ListedCommit {
            start_ktime_ns: commit.start_ktime_ns,
            sync_ktime_ns: commit.sync_ktime_ns,
            end_ktime_ns: commit.end_ktime_ns,
        }),
        released_ktime_ns: span.released_ktime_ns,
        phases: paths.cost(span).phases().into_iter().collect(),
    }
}
