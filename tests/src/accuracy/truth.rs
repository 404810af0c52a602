//! What the ship's events waited for, by the ship's own notes and the kernel's counters. No number here
//! comes from the profiler.
//!
//! | part of an event's way | whose time | from |
//! |---|---|---|
//! | arrival, sending | king; while ten events are under way, as no more may be, a commit worker, else mars | its notes |
//! | sending, computing, computed | mars | its notes |
//! | computed, commit | the commit before; else mars | its notes |
//! | commit | a commit worker | its notes |
//! | commit, release | mars | its notes |
//!
//! Inside of a snapshot (mars' notes) mars' time is the snapshot's, but for its waits for a CPU. The rest is what the thread waited
//! for by its delay accounting; of mars' computing, writing to clean pages (its notes) was dirty tracking;
//! and what is left was computing, or, of a commit worker, the commit.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::spans::{Span, join, length_ns, take};
use super::witness::{Testimony, Waits};
use crate::Result;
use crate::ship::RunningShip;

/// Time of leaves, ns, by the names that the report has for them.
pub type Leaves = BTreeMap<String, u64>;

/// The events inside of a window.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Truth {
    /// How many.
    pub events: u64,
    /// Their time by leaf, summed.
    pub leaves: Leaves,
    /// Their own computing on CPU, with dirty tracking, ns.
    pub computing_ns: u64,
}

/// What is known beside the notes.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The window, ns of `CLOCK_MONOTONIC`.
    pub window: Span,
    /// What the kernel counted.
    pub testimony: &'a Testimony,
    /// The leaf that waits for storage outside of snapshots and commits were injected as.
    pub page_in: &'a str,
    /// If its pages go to swap, the moment up to which they did not.
    pub swaps_from_ktime_ns: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Event {
    arrived: u64,
    sent: u64,
    computing: Span,
    commit: Span,
    released: u64,
}

impl Truth {
    /// Of a ship that was stopped.
    pub fn of(ship: &RunningShip, known: Known<'_>) -> Result<Self> {
        let (king, mars) = (ship.king_truth()?, ship.mars_truth()?);
        let account = Account::new(ship, &king, &mars, known);
        let mut truth = Self::default();
        let events = events(&king, &mars);
        for event in events.values() {
            let inside = event.arrived >= known.window.0 && event.released < known.window.1;
            if inside && event.computing.0 > 0 && event.commit.0 > 0 {
                account.charge(event, &mut truth);
            }
        }
        if let Some(from) = known.swaps_from_ktime_ns {
            let before = events.values().filter(|event| event.computing.1 < from);
            truth.charge_swapping(before.map(|event| length_ns(&[event.computing])).collect());
        }
        Ok(truth)
    }

    /// Charges what an event computes more than the same ship's did `before` it had to swap to swapping: the
    /// kernel's delay of reading from swap is of the device alone, and most of the work with compressed
    /// memory is finding room for a page and mapping it.
    fn charge_swapping(&mut self, mut before: Vec<u64>) {
        before.sort_unstable();
        let usual_ns = before.get(before.len() / 4).copied().unwrap_or(0);
        let expected_ns = usual_ns * self.events;
        let more = self.computing_ns.saturating_sub(expected_ns) as f64;
        let computing = self.leaves.entry("computing".to_owned()).or_default();
        let moved = (*computing as f64 * more / self.computing_ns.max(1) as f64) as u64;
        *computing -= moved;
        *self.leaves.entry("swap_in".to_owned()).or_default() += moved;
    }
}

fn number(line: &Value, field: &str) -> u64 {
    line[field].as_u64().unwrap_or(0)
}

fn span(line: &Value, from: &str, to: &str) -> Span {
    (number(line, from), number(line, to))
}

/// When a computation, and that of the note of its failure, wrote to clean pages.
fn dirtied(line: &Value) -> Vec<Span> {
    let spans = line["dirtied_ktime_ns"].as_array().into_iter().flatten();
    let of = |span: &Value, at: usize| span[at].as_u64().unwrap_or(0);
    spans.map(|span| (of(span, 0), of(span, 1))).collect()
}

fn events(king: &[Value], mars: &[Value]) -> BTreeMap<u64, Event> {
    let mut events: BTreeMap<u64, Event> = BTreeMap::new();
    for line in king.iter().filter(|line| line["event"] == "applied") {
        let event = events.entry(number(line, "number")).or_default();
        (event.arrived, event.sent) = span(line, "arrival_ktime_ns", "sent_ktime_ns");
    }
    for line in mars {
        match line["event"].as_str() {
            Some("computed") => {
                let event = events.entry(number(line, "number")).or_default();
                event.computing = span(line, "compute_start_ktime_ns", "compute_end_ktime_ns");
            }
            Some("released") => {
                let event = events.entry(number(line, "number")).or_default();
                event.released = number(line, "released_ktime_ns");
            }
            Some("commit") => {
                let first = number(line, "first_event");
                for number in first..first + number(line, "events") {
                    events.entry(number).or_default().commit =
                        span(line, "start_ktime_ns", "end_ktime_ns");
                }
            }
            _ => {}
        }
    }
    events.retain(|_, event| event.arrived > 0 && event.released > 0);
    events
}

/// Which thread's time it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    King,
    Mars,
    Worker,
    /// Mars', while a worker may already wait for a CPU to begin the commit.
    Asked,
}

struct Account<'a> {
    known: Known<'a>,
    king: Waits,
    mars: Waits,
    /// Of all workers: there is one commit at a time.
    workers: Waits,
    commits: Vec<Span>,
    snapshots: Vec<Span>,
    dirty: Vec<Span>,
    /// When the king had as many events under way as it may, and the others had to wait for mars.
    full: Vec<Span>,
}

/// Most events that the king has under way (`pkg/vere/pier.c`).
const LIMIT: i32 = 10;

/// When `limit` of these or more were under way at once.
fn crowded(under_way: impl Iterator<Item = Span>, limit: i32) -> Vec<Span> {
    let ends = under_way.flat_map(|(start, end)| [(start, 1), (end, -1)]);
    let mut ends: Vec<(u64, i32)> = ends.collect();
    ends.sort_unstable();
    let (mut count, mut since, mut found) = (0, 0, Vec::new());
    for (at, change) in ends {
        if count < limit && count + change >= limit {
            since = at;
        } else if count >= limit && count + change < limit {
            found.push((since, at));
        }
        count += change;
    }
    join(found)
}

impl<'a> Account<'a> {
    fn new(ship: &RunningShip, king: &[Value], mars: &[Value], known: Known<'a>) -> Self {
        let applied = king.iter().filter(|line| line["event"] == "applied");
        let waits = |tid: u32| known.testimony.waits.get(&tid).cloned().unwrap_or_default();
        let mains = ship.pids();
        let others = known.testimony.waits.iter();
        let others = others.filter(|(tid, _)| !mains.contains(tid));
        let of_workers = |of: fn(&Waits) -> &[Span]| {
            let spans = others.clone().flat_map(|(_, waits)| of(waits));
            join(spans.copied().collect())
        };
        let of = |event: &str, from: &str, to: &str| {
            let lines = mars.iter().filter(|line| line["event"] == event);
            join(lines.map(|line| span(line, from, to)).collect())
        };
        let computed = mars.iter().filter(|line| line["event"] == "computed");
        Self {
            known,
            king: waits(ship.king_pid()),
            mars: waits(ship.mars_pid()),
            workers: Waits {
                run_queue: of_workers(|waits| &waits.run_queue),
                storage: of_workers(|waits| &waits.storage),
                ..Waits::default()
            },
            commits: of("commit", "start_ktime_ns", "end_ktime_ns"),
            snapshots: of("snapshot", "start_ktime_ns", "end_ktime_ns"),
            dirty: join(computed.flat_map(dirtied).collect()),
            full: crowded(
                applied.map(|line| span(line, "sent_ktime_ns", "reply_ktime_ns")),
                LIMIT,
            ),
        }
    }

    fn take_waits(&self, rest: &mut Vec<Span>, waits: &Waits) -> Vec<(&'a str, Vec<Span>)> {
        let mut queued = take(rest, &waits.run_queue);
        let throttled = take(&mut queued, &self.known.testimony.throttled);
        vec![
            ("throttled", throttled),
            ("run_queue", queued),
            ("reclaim", take(rest, &waits.reclaim)),
            ("swap_in", take(rest, &waits.swap_in)),
            (self.known.page_in, take(rest, &waits.storage)),
        ]
    }

    fn charge(&self, event: &Event, truth: &mut Truth) {
        truth.events += 1;
        let mut own = vec![event.computing];
        self.take_waits(&mut own, &self.mars);
        truth.computing_ns += length_ns(&own);
        let leaves = &mut truth.leaves;
        let mut king = vec![(event.arrived, event.sent)];
        let mut behind = take(&mut king, &self.full);
        // The oldest of those under way is the one that is committed, where one is.
        let before = take(&mut behind, &self.commits);
        for (lane, spans) in [
            (Lane::King, king),
            (Lane::Worker, before),
            (Lane::Mars, behind),
        ] {
            for (start, end) in spans {
                self.time(leaves, lane, start, end);
            }
        }
        self.time(leaves, Lane::Mars, event.sent, event.computing.0);
        let (computed, released) = (event.computing.1, event.released);
        self.time(leaves, Lane::Mars, event.computing.0, computed);
        let begun = event.commit.0.clamp(computed, released);
        let mut queue = vec![(computed, begun)];
        let before = take(&mut queue, &self.commits);
        for (lane, spans) in [(Lane::Worker, before), (Lane::Asked, queue)] {
            for (start, end) in spans {
                self.time(leaves, lane, start, end);
            }
        }
        let durable = event.commit.1.clamp(begun, released);
        self.time(leaves, Lane::Worker, begun, durable);
        self.time(leaves, Lane::Mars, durable, released);
    }

    /// Takes what of mars' time was a snapshot, but for its waits for a CPU.
    fn snapshot(&self, leaves: &mut Leaves, rest: &mut Vec<Span>) {
        let mut frozen = take(rest, &self.snapshots);
        let mut queued = take(&mut frozen, &self.mars.run_queue);
        let throttled = take(&mut queued, &self.known.testimony.throttled);
        for (leaf, spans) in [
            ("throttled", throttled),
            ("run_queue", queued),
            ("snapshot", frozen),
        ] {
            add(leaves, leaf, &spans);
        }
    }

    fn time(&self, leaves: &mut Leaves, lane: Lane, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let mut rest = vec![(start, end)];
        let waits = match lane {
            Lane::King => self.take_waits(&mut rest, &self.king),
            Lane::Worker | Lane::Asked => self.take_waits(&mut rest, &self.workers),
            Lane::Mars => Vec::new(),
        };
        for (leaf, spans) in waits {
            add(leaves, leaf, &spans);
        }
        if lane == Lane::Worker {
            return add(leaves, "log_commit", &rest);
        }
        if lane != Lane::King {
            self.snapshot(leaves, &mut rest);
            for (leaf, spans) in self.take_waits(&mut rest, &self.mars) {
                add(leaves, leaf, &spans);
            }
            add(leaves, "dirty_tracking", &take(&mut rest, &self.dirty));
        }
        add(leaves, "computing", &rest);
    }
}

fn add(leaves: &mut Leaves, leaf: &str, spans: &[Span]) {
    *leaves.entry(leaf.to_owned()).or_default() += length_ns(spans);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_from_the_last_to_come_to_the_first_to_go() {
        let under_way = [(0, 10), (2, 6), (4, 20), (12, 14)];
        assert_eq!(crowded(under_way.into_iter(), 3), [(4, 6)]);
        assert_eq!(crowded(under_way.into_iter(), 2), [(2, 10), (12, 14)]);
    }
}
