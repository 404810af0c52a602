//! Snapshots: how often the ship stood still for one, and how long.

use serde::Serialize;

use super::sched::ThreadSummary;
use crate::host::block::Backing;
use crate::model::{Capture, Event, Histogram, sum};

/// Snapshots that were under way in the window.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SnapshotSummary {
    /// How many ended inside the window.
    pub count: u64,
    /// Time inside the window for which one was under way, one that had not ended included.
    pub total_ns: u64,
    /// Of that, the writing thread's time on CPU.
    pub on_cpu_ns: u64,
    /// The longest, from its beginning to its end or that of the window.
    pub max_ns: u64,
    /// Time that has passed of one that was under way when the window closed.
    pub open_ns: Option<u64>,
    /// Durations of those that ended and were recorded.
    #[serde(skip)]
    pub durations: Histogram,
}

/// Sums snapshots up; nothing if they were not followed.
pub fn summarise(capture: &Capture, threads: &[ThreadSummary]) -> Option<SnapshotSummary> {
    let meta = &capture.meta;
    // Files in memory are in no page cache and never waited for.
    let by_pages = meta.attached("mm_filemap_add_to_page_cache")
        && meta.host.storage.backing != Backing::Memory;
    // In captures of the first versions: the last call of a snapshot.
    let by_calls = meta.attached("sys_enter_madvise");
    if !by_pages && !by_calls {
        return None;
    }
    let mut summary = SnapshotSummary::default();
    for (tgid, totals) in &capture.totals.snapshots {
        summary.count += totals.count;
        summary.total_ns += totals.total_ns;
        summary.on_cpu_ns += totals.on_cpu_ns;
        summary.max_ns = summary.max_ns.max(totals.max_ns);
        if totals.start_ktime_ns == 0 {
            continue;
        }
        let clocks = &meta.clocks;
        let from = totals.start_ktime_ns.max(clocks.start_ktime_ns);
        let open_ns = clocks.end_ktime_ns.saturating_sub(from);
        let thread = threads.iter().find(|t| t.thread.tid == *tgid);
        let on_cpu_ns = thread.map_or(0, |t| t.on_cpu_ns.saturating_sub(totals.start_on_cpu_ns));
        summary.total_ns += open_ns;
        summary.on_cpu_ns += on_cpu_ns.min(open_ns);
        let lasts_ns = clocks.end_ktime_ns.saturating_sub(totals.start_ktime_ns);
        summary.open_ns = summary.open_ns.max(Some(lasts_ns));
        summary.max_ns = summary.max_ns.max(lasts_ns);
    }
    for event in &capture.events {
        if let Event::Snapshot(snapshot) = event {
            let lasted_ns = snapshot.end_ktime_ns - snapshot.start_ktime_ns;
            summary.durations.add_value(lasted_ns);
        }
    }
    Some(summary)
}

impl SnapshotSummary {
    /// How many there were, one under way included.
    pub fn seen(&self) -> u64 {
        sum([self.count, u64::from(self.open_ns.is_some())])
    }
}
