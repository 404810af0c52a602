//! What mars did beside computing events, as a report shows it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use super::units::{count, duration};
use crate::aggregate::Summaries;
use crate::aggregate::events::{MarsSpan, SpanKind, snapshots};
use crate::attribute::Leaf;
use crate::model::Capture;

/// How many of the longest spans are listed.
const LISTED: usize = 50;

/// What mars did beside computing events; nothing goes on in the ship meanwhile.
#[derive(Debug, Clone, Serialize)]
pub struct MarsSpans {
    /// Sums by kind, only those that there were.
    pub kinds: Vec<SpanLine>,
    /// The longest, in order of time.
    pub longest: Vec<SpanEntry>,
}

/// Spans of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SpanLine {
    /// Which.
    pub kind: SpanKind,
    /// The leaf that event time behind it is charged to, if it is one alone.
    pub leaf: Option<Leaf>,
    /// How many.
    pub count: u64,
    /// Their time.
    pub total_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

/// A span.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SpanEntry {
    /// What.
    pub kind: SpanKind,
    /// The leaf that event time behind it is charged to, if it is one alone.
    pub leaf: Option<Leaf>,
    /// Its beginning, since the capture began.
    pub start_ns: u64,
    /// How long it took, or had taken.
    pub duration_ns: u64,
    /// Whether it had not ended.
    pub is_open: bool,
    /// Events that were replayed; number of the event behind which it was.
    pub events: Option<u64>,
}

/// All spans of a capture; nothing if its events were not followed.
pub fn mars_spans(capture: &Capture, summaries: &Summaries) -> Option<MarsSpans> {
    let events = summaries.events.as_ref()?;
    let clocks = &capture.meta.clocks;
    let questions = events.spans.iter();
    let questions = questions.filter(|span| span.kind.is_none() && !span.is_mass);
    let questions = questions.map(|span| MarsSpan {
        kind: SpanKind::Peek,
        start_ktime_ns: span.arrived_ktime_ns,
        end_ktime_ns: span.released_ktime_ns,
        is_open: false,
        events: None,
    });
    let snapshots = events.mars.map(|mars| snapshots(capture, mars));
    let snapshots = snapshots
        .into_iter()
        .flatten()
        .map(|(start, end)| MarsSpan {
            kind: SpanKind::Snapshot,
            start_ktime_ns: start,
            end_ktime_ns: end,
            is_open: end == clocks.end_ktime_ns,
            events: None,
        });
    let all = events.mars_spans.iter().copied();
    let mut all: Vec<MarsSpan> = all.chain(questions).chain(snapshots).collect();
    let kinds = sums(&all);
    all.sort_by_key(|span| (Reverse(span.duration_ns()), span.start_ktime_ns));
    all.truncate(LISTED);
    all.sort_by_key(|span| span.start_ktime_ns);
    let longest = all.iter().map(|span| SpanEntry {
        kind: span.kind,
        leaf: leaf(span.kind),
        start_ns: span.start_ktime_ns.saturating_sub(clocks.start_ktime_ns),
        duration_ns: span.duration_ns(),
        is_open: span.is_open,
        events: span.events,
    });
    Some(MarsSpans {
        kinds,
        longest: longest.collect(),
    })
}

/// Sums of what mars did by kind, questions and snapshots left out.
pub fn lines(summaries: &Summaries) -> Vec<SpanLine> {
    let events = summaries.events.as_ref();
    events.map_or_else(Vec::new, |events| sums(&events.mars_spans))
}

/// The sum of one kind, if there was any.
pub fn line(summaries: &Summaries, kind: SpanKind) -> Option<SpanLine> {
    lines(summaries).into_iter().find(|line| line.kind == kind)
}

fn sums(spans: &[MarsSpan]) -> Vec<SpanLine> {
    let mut lines: BTreeMap<SpanKind, SpanLine> = BTreeMap::new();
    for span in spans {
        let line = lines.entry(span.kind).or_insert(SpanLine {
            kind: span.kind,
            leaf: leaf(span.kind),
            count: 0,
            total_ns: 0,
            max_ns: 0,
        });
        line.count += 1;
        line.total_ns = line.total_ns.saturating_add(span.duration_ns());
        line.max_ns = line.max_ns.max(span.duration_ns());
    }
    lines.into_values().collect()
}

fn leaf(kind: SpanKind) -> Option<Leaf> {
    match kind {
        SpanKind::Snapshot => Some(Leaf::Snapshot),
        SpanKind::KingBusy => Some(Leaf::KingHeldUp),
        SpanKind::Peek | SpanKind::Replay => None,
        kind => kind.is_upkeep().then_some(Leaf::Collection),
    }
}

/// A kind's sum in words, such as "|pack 195 ms".
pub fn words(line: &SpanLine) -> String {
    let name = match line.kind {
        SpanKind::Peek => "questions",
        SpanKind::Snapshot => "snapshots",
        SpanKind::Pack => "|pack",
        SpanKind::Meld => "|meld",
        SpanKind::Mass => "|mass",
        SpanKind::Reclaim => "caches thrown away",
        SpanKind::Upkeep => "upkeep behind events",
        SpanKind::Replay => "replay",
        SpanKind::KingBusy => "king busy",
    };
    let time = duration(line.total_ns);
    match line.count {
        1 => format!("{name} {time}"),
        n => format!("{name} {time} in {}", count(n)),
    }
}
