//! What a capture may say. A file may come from anybody: numbers that no capture can hold would
//! overflow sums further on, and are refused here, once.

use super::file::FileError;
use crate::model::{Capture, Event, Totals};

/// Longest window: well above the longest that can be asked for (an hour).
const MAX_WINDOW_NS: u64 = 1 << 43;
/// Largest time of `CLOCK_MONOTONIC`: 36 years after boot.
const MAX_KTIME_NS: u64 = 1 << 60;
/// Largest sum or count of one entry.
const MAX_SUM: u64 = 1 << 50;
/// Most entries of a section: well above the largest map.
const MAX_ENTRIES: usize = 1 << 16;
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
    totals(&capture.totals)?;
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

fn totals(totals: &Totals) -> Result<(), FileError> {
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
    )
}

fn require(section: &'static str, holds: bool) -> Result<(), FileError> {
    if holds {
        return Ok(());
    }
    let reason = "a number in it is one that no capture can hold".to_owned();
    Err(FileError::Section { section, reason })
}
