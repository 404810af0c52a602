//! What a capture may say. A file may come from anybody: numbers that no capture can hold would
//! overflow sums further on, and are refused here, once.

use std::collections::BTreeMap;

use profiler_common::ames::{FLAGS, TIMES};
use profiler_common::packet::KINDS;

use super::file::FileError;
use super::writeback::{file_io_order, file_order};
use crate::model::{
    AmesTotals, Capture, Event, Meta, NeighbourTotals, Totals, WritebackTotals, packet_order, sum,
};

/// Longest window: well above the longest that can be asked for (an hour).
const MAX_WINDOW_NS: u64 = 1 << 43;
/// Largest time of `CLOCK_MONOTONIC`: 36 years after boot.
const MAX_KTIME_NS: u64 = 1 << 60;
/// Largest sum or count of one entry.
const MAX_SUM: u64 = 1 << 50;
/// Most entries of a section: well above the largest map.
const MAX_ENTRIES: usize = 1 << 12;
/// How far outside of the window a record may lie: programs that were running at its end.
const SLACK_NS: u64 = 1_000_000_000;

/// Checks a capture that was read, and leaves out the events that lie outside of its window.
///
/// # Errors
/// If a sum or time is one that no capture can hold.
pub fn validate(capture: &mut Capture) -> Result<(), FileError> {
    let clocks = &capture.meta.clocks;
    let (start, end) = (clocks.start_ktime_ns, clocks.end_ktime_ns);
    let window = end.checked_sub(start).filter(|_| end <= MAX_KTIME_NS);
    require("meta", window.is_some_and(|window| window <= MAX_WINDOW_NS))?;
    lists(&capture.meta)?;
    totals(&capture.totals, end - start)?;
    let range = start.saturating_sub(SLACK_NS)..=end + SLACK_NS;
    let before = capture.events.len();
    capture.events.retain(|event| {
        let begins = match event {
            Event::BioDone(done) => done.queued_ktime_ns,
            // A wait may have begun long before the window; only its part inside counts.
            other => other.ktime_ns(),
        };
        range.contains(&begins) && range.contains(&event.ktime_ns())
    });
    capture.meta.losses.malformed_records += (before - capture.events.len()) as u64;
    Ok(())
}

/// Lists that are gone through for each other.
fn lists(meta: &Meta) -> Result<(), FileError> {
    let threads = [&meta.thread_states, &meta.thread_states_start];
    let neighbours = meta.neighbours.known();
    let mappings = meta.mappings.values().map(|mappings| mappings.joined.len());
    let lengths = [
        meta.followed_tgids.len(),
        meta.probes.len(),
        neighbours.map_or(0, |n| n.ships.known().map_or(0, Vec::len)),
        neighbours.map_or(0, |n| n.processes.len()),
        meta.mappings.len(),
        meta.counters_start.threads.len(),
        meta.counters_end.threads.len(),
        meta.ship.threads.known().map_or(0, Vec::len),
    ];
    let longest = lengths
        .into_iter()
        .chain(threads.map(Vec::len))
        .chain(mappings)
        .max();
    require("meta", longest.is_none_or(|longest| longest <= MAX_ENTRIES))
}

/// Whether the keys are in their order, each once, as they are written.
fn ascending<K: Ord>(keys: impl Iterator<Item = K>) -> bool {
    keys.is_sorted_by(|a, b| a < b)
}

fn totals(totals: &Totals, window_ns: u64) -> Result<(), FileError> {
    require(
        "threads",
        ascending(totals.threads.iter().map(|(tid, _)| *tid))
            && totals.threads.iter().all(|(_, t)| {
                let parts = [t.on_cpu_ns, t.woken_ns, t.preempted_ns, t.blocked_ns];
                sum(parts) <= window_ns.saturating_add(SLACK_NS)
            }),
    )?;
    let mut waited: BTreeMap<u32, u64> = BTreeMap::new();
    for (key, waits) in &totals.waits {
        let of_thread = waited.entry(key.tid).or_default();
        *of_thread = of_thread.saturating_add(waits.total_ns);
    }
    require(
        "waits",
        ascending(
            totals
                .waits
                .iter()
                .map(|(key, _)| (key.tid, key.syscall_nr, key.task_state)),
        ) && waited
            // Blocked and in the run queue.
            .values()
            .all(|ns| *ns <= window_ns.saturating_add(SLACK_NS)),
    )?;
    require(
        "block",
        ascending(
            totals
                .block
                .iter()
                .map(|(key, _)| (key.tgid, key.tid, key.dev, key.op)),
        ),
    )?;
    require(
        "udp",
        ascending(totals.udp.iter().map(|(key, _)| (key.netns, key.port))),
    )?;
    require(
        "snapshot",
        ascending(totals.snapshots.iter().map(|(tgid, _)| *tgid)),
    )?;
    ranges(totals)?;
    ames(&totals.ames)?;
    neighbours(&totals.neighbours)?;
    writeback(&totals.writeback)
}

fn ames(totals: &AmesTotals) -> Result<(), FileError> {
    let sums = |values: &[u64]| values.iter().all(|value| *value <= MAX_SUM);
    let packets = &totals.packets;
    require(
        "ames",
        packets.len() <= MAX_ENTRIES
            && ascending(packets.iter().map(|(key, _)| packet_order(key)))
            && packets.iter().all(|(key, p)| {
                key.kind < KINDS
                    && key.flags & !FLAGS == 0
                    && sums(&[p.packets, p.bytes, p.answers, p.answer_ns])
            }),
    )?;
    let times = &totals.times;
    require(
        "amestime",
        ascending(times.iter().map(|(index, _)| *index))
            && times.iter().all(|(index, t)| {
                *index < TIMES && sums(&[t.count, t.total_ns, t.max_ns, t.unknown])
            }),
    )
}

fn neighbours(totals: &NeighbourTotals) -> Result<(), FileError> {
    let sums = |values: &[u64]| values.iter().all(|value| *value <= MAX_SUM);
    let few = |length: usize| length <= MAX_ENTRIES;
    let ahead = &totals.ahead;
    let keys = ahead.iter().map(|(key, _)| (key.waiter_tgid, key.tgid));
    require(
        "ahead",
        few(ahead.len())
            && ascending(keys)
            && ahead.iter().all(|(_, a)| sums(&[a.total_ns, a.runs])),
    )?;
    let devices = &totals.devices;
    require(
        "devices",
        few(devices.len())
            && ascending(devices.iter().map(|(dev, _)| *dev))
            && devices.iter().all(|(_, d)| {
                // What was behind others is a part.
                let times = d.alone.iter().chain(&d.beside);
                sums(&[d.queue_ns, d.device_ns, d.busy_ns, d.in_device])
                    && d.changed_ktime_ns <= MAX_KTIME_NS
                    && times
                        .clone()
                        .all(|t| sums(&[t.count, t.total_ns, t.behind_ns]))
                    && d.queue_behind_ns <= d.queue_ns
                    && d.device_behind_ns <= d.device_ns
            }),
    )?;
    let io = &totals.io;
    require(
        "io",
        few(io.len())
            && ascending(io.iter().map(|(key, _)| (key.dev, key.tgid, key.via)))
            && io
                .iter()
                .all(|(_, io)| sums(&[io.count, io.bytes, io.device_ns, io.busy_ns])),
    )
}

fn writeback(totals: &WritebackTotals) -> Result<(), FileError> {
    let few = |length: usize| length <= MAX_ENTRIES;
    let files = &totals.files;
    require(
        "files",
        few(files.len()) && ascending(files.iter().map(|(key, _)| file_order(key))),
    )?;
    let io = &totals.io;
    require(
        "file-io",
        few(io.len())
            && ascending(io.iter().map(|(key, _)| file_io_order(key)))
            && io.iter().all(|(_, io)| {
                let sums = [io.count, io.bytes, io.queue_ns, io.device_ns, io.busy_ns];
                sums.iter().all(|value| *value <= MAX_SUM)
            }),
    )
}

fn ranges(totals: &Totals) -> Result<(), FileError> {
    let sums = |values: &[u64]| values.iter().all(|value| *value <= MAX_SUM);
    let times = |values: &[u64]| values.iter().all(|value| *value <= MAX_KTIME_NS);
    require(
        "threads",
        totals.threads.len() <= MAX_ENTRIES
            && totals.threads.iter().all(|(_, t)| {
                sums(&[
                    t.on_cpu_ns,
                    t.woken_ns,
                    t.preempted_ns,
                    t.blocked_ns,
                    t.switches,
                    t.unseen_switches,
                    t.memory.major_faults,
                    t.memory.segv_signals,
                    t.memory.reclaims,
                    t.memory.reclaim_on_cpu_ns,
                    t.memory.compactions,
                    t.memory.compaction_on_cpu_ns,
                ]) && times(&[t.since_ktime_ns, t.born_ktime_ns, t.exited_ktime_ns])
            }),
    )?;
    require(
        "waits",
        totals.waits.len() <= MAX_ENTRIES
            && totals
                .waits
                .iter()
                .all(|(_, w)| sums(&[w.count, w.total_ns, w.max_ns])),
    )?;
    require(
        "block",
        totals.block.len() <= MAX_ENTRIES
            && totals.block.iter().all(|(_, b)| {
                sums(&[
                    b.count,
                    b.bytes,
                    b.queue_ns,
                    b.device_ns,
                    b.max_ns,
                    b.errors,
                ])
            }),
    )?;
    require(
        "udp",
        totals.udp.len() <= MAX_ENTRIES
            && totals.udp.iter().all(|(_, u)| {
                sums(&[
                    u.received,
                    u.received_bytes,
                    u.sent,
                    u.sent_bytes,
                    u.dropped,
                ]) && times(&[u.first_drop_ktime_ns, u.last_drop_ktime_ns])
            }),
    )?;
    require(
        "snapshot",
        totals.snapshots.len() <= MAX_ENTRIES
            && totals.snapshots.iter().all(|(_, s)| {
                sums(&[s.start_on_cpu_ns, s.count, s.total_ns, s.on_cpu_ns])
                    && times(&[s.start_ktime_ns, s.max_ns])
            }),
    )
}

fn require(section: &'static str, holds: bool) -> Result<(), FileError> {
    if holds {
        return Ok(());
    }
    let reason = "a number in it is one that no capture can hold".to_owned();
    Err(FileError::Section { section, reason })
}
