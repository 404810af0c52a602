//! When mars' main thread did neither computing nor upkeep: it slept, wrote a snapshot, or waited for the
//! king.

use profiler_common::sched::TASK_INTERRUPTIBLE;

use super::span::{MarsSpan, SpanKind};
use super::timeline::{Absence, Timeline};
use crate::attribute::syscall_name;
use crate::model::{Capture, Event, ThreadId};

/// When mars slept, or wrote a snapshot.
pub fn away(
    capture: &Capture,
    mars: ThreadId,
    timeline: &Timeline,
    idles: impl Fn(&Absence) -> bool,
) -> Vec<(u64, u64)> {
    let slept = timeline.absences().iter().filter(|absence| idles(absence));
    let slept = slept.map(|absence| (absence.start_ktime_ns, absence.end_ktime_ns));
    slept.chain(snapshots(capture, mars)).collect()
}

/// Beginning and end of each snapshot, that of the window for one that had not ended, in order.
pub fn snapshots(capture: &Capture, mars: ThreadId) -> Vec<(u64, u64)> {
    let ended = capture.events.iter().filter_map(|event| match event {
        Event::Snapshot(snapshot) if snapshot.thread == mars => {
            Some((snapshot.start_ktime_ns, snapshot.end_ktime_ns))
        }
        _ => None,
    });
    let totals = capture.totals.snapshots.iter();
    let open = totals.filter_map(|(tgid, totals)| {
        (*tgid == mars.tgid && totals.start_ktime_ns != 0)
            .then_some((totals.start_ktime_ns, capture.meta.clocks.end_ktime_ns))
    });
    ended.chain(open).collect()
}

/// When mars waited until the king took what it sends: its standard output is a blocking socket
/// (`pkg/vere/main.c`).
pub fn king_busy(capture: &Capture, mars: &Timeline) -> Vec<MarsSpan> {
    let waits = mars.absences().iter().filter(|absence| {
        absence.task_state == TASK_INTERRUPTIBLE
            && matches!(
                syscall_name(&capture.meta.architecture, absence.syscall_nr),
                "write" | "writev"
            )
    });
    let end = capture.meta.clocks.end_ktime_ns;
    let span = |absence: &Absence| MarsSpan {
        kind: SpanKind::KingBusy,
        start_ktime_ns: absence.start_ktime_ns,
        end_ktime_ns: absence.runnable_ktime_ns,
        is_open: absence.runnable_ktime_ns == end,
        events: None,
    };
    waits.map(span).collect()
}
