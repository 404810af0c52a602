//! Snapshots: from the first page that mars' main thread writes to until it does something else.
//!
//! `profiler_common::snapshot` says how one is told. Two of its three moments are seen by programs that
//! are there anyway: the thread's switches, and the signals by which pages of the loom become dirty.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::{Array, HashMap};
use aya_ebpf::programs::BtfTracePointContext;
use profiler_common::arch::PWRITE64;
use profiler_common::loss as reason;
use profiler_common::record::{KIND_SNAPSHOT, RecordHeader};
use profiler_common::sched::{STATE_ON_CPU, Thread};
use profiler_common::ship::Window;
use profiler_common::snapshot::{
    Beginning, PHASE_NONE, PHASE_SYNCING, PHASE_WRITING, SnapshotRecord, SnapshotTotals,
};

use crate::{NO_WAKEUP, RECORDS, kernel, loss, recording, sched, ship};

/// Sums per process.
#[map]
static SNAPSHOTS: HashMap<u32, SnapshotTotals> = HashMap::with_max_entries(256, 0);
/// What may be the beginning of one, per process.
#[map]
static SNAPSHOT_BEGINNINGS: HashMap<u32, Beginning> = HashMap::with_max_entries(256, 0);
/// Zeroes to begin an entry with.
#[map]
static SNAPSHOT_NEW: Array<SnapshotTotals> = Array::with_max_entries(1, 0);

/// `filemap:mm_filemap_add_to_page_cache(folio)`: the current thread brings a page of a file into memory,
/// to read it or, here, to write to it.
#[btf_tracepoint(function = "mm_filemap_add_to_page_cache")]
pub fn mm_filemap_add_to_page_cache(_ctx: BtfTracePointContext) -> i32 {
    let id = bpf_get_current_pid_tgid();
    let (tgid, tid) = ((id >> 32) as u32, id as u32);
    if tgid == tid && ship::may_watch(tgid) {
        try_mm_filemap_add_to_page_cache(tgid);
    }
    0
}

#[inline(always)]
fn try_mm_filemap_add_to_page_cache(tgid: u32) -> Option<()> {
    let thread = sched::entry(tgid)?;
    // SAFETY: a live map value; while this thread is current, only this CPU changes it.
    if unsafe { (*thread).snapshot } != PHASE_NONE || kernel::current_syscall_nr() != PWRITE64 {
        return None;
    }
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: the entry of the current thread.
    unsafe { begins(thread, tgid, now) }
}

/// The main thread of a process waits in `fdatasync`.
///
/// # Safety
/// `thread` must be the entry of that thread, the current one.
#[inline(never)]
pub unsafe fn syncs(thread: *mut Thread, tgid: u32, now: u64) -> Option<()> {
    // SAFETY: by the contract; totals are a live map value, and only this thread changes them.
    unsafe {
        if (*thread).snapshot == PHASE_SYNCING {
            return None;
        }
        // Where files are not in the page cache (ZFS) this is the first that is seen of one.
        if (*thread).snapshot == PHASE_NONE {
            begins(thread, tgid, now)?;
        }
        let beginning = SNAPSHOT_BEGINNINGS.get_ptr(tgid)?;
        if SNAPSHOTS.get_ptr(tgid).is_none() {
            let _ = SNAPSHOTS.insert(tgid, SNAPSHOT_NEW.get(0)?, 1);
        }
        let Some(totals) = SNAPSHOTS.get_ptr_mut(tgid) else {
            loss::count(reason::SNAPSHOT_SLOT);
            return None;
        };
        (*totals).start_ktime_ns = (*beginning).ktime_ns;
        (*totals).start_on_cpu_ns = (*beginning).on_cpu_ns;
        (*thread).snapshot = PHASE_SYNCING;
    }
    Some(())
}

/// # Safety
/// As of [`syncs`].
#[inline(always)]
unsafe fn begins(thread: *mut Thread, tgid: u32, now: u64) -> Option<()> {
    let window = ship::tracking(now)?;
    if !ship::watches(tgid) || ship::is_king(tgid) {
        return None;
    }
    let beginning = Beginning {
        ktime_ns: now,
        // SAFETY: by the contract.
        on_cpu_ns: unsafe { on_cpu_ns(thread, now, window) },
    };
    if SNAPSHOT_BEGINNINGS.insert(tgid, beginning, 0).is_err() {
        loss::count(reason::SNAPSHOT_SLOT);
        return None;
    }
    // SAFETY: by the contract.
    unsafe { (*thread).snapshot = PHASE_WRITING };
    Some(())
}

/// The main thread does something else than a snapshot now: it waits for work, writes to the loom or ends.
///
/// # Safety
/// As of [`syncs`].
#[inline(never)]
pub unsafe fn ends(thread: *mut Thread, tgid: u32, now: u64) -> Option<()> {
    // SAFETY: by the contract; totals are a live map value, and only this thread changes them.
    unsafe {
        let was_one = (*thread).snapshot == PHASE_SYNCING;
        (*thread).snapshot = PHASE_NONE;
        if !was_one {
            return None;
        }
        let totals = SNAPSHOTS.get_ptr_mut(tgid)?;
        let start = (*totals).start_ktime_ns;
        let window = ship::tracking(now)?;
        (*totals).start_ktime_ns = 0;
        if !window.holds(now) {
            return None;
        }
        (*totals).count += 1;
        (*totals).total_ns += window.part(start, now);
        (*totals).on_cpu_ns +=
            on_cpu_ns(thread, now, window).saturating_sub((*totals).start_on_cpu_ns);
        let lasted_ns = now - start;
        if lasted_ns > (*totals).max_ns {
            (*totals).max_ns = lasted_ns;
        }
        if recording() {
            record(tgid, start, now);
        }
    }
    Some(())
}

/// Time on CPU inside the window of the current thread.
///
/// # Safety
/// As of [`syncs`].
#[inline(always)]
unsafe fn on_cpu_ns(thread: *const Thread, now: u64, window: &Window) -> u64 {
    // SAFETY: by the contract.
    unsafe {
        let running_ns = match (*thread).state {
            STATE_ON_CPU => window.part((*thread).since_ktime_ns, now),
            _ => 0,
        };
        (*thread).on_cpu_ns + running_ns
    }
}

#[inline(always)]
fn record(tgid: u32, start_ktime_ns: u64, now: u64) {
    let record = SnapshotRecord {
        header: RecordHeader {
            ktime_ns: now,
            kind: KIND_SNAPSHOT,
            // SAFETY: no arguments.
            cpu: unsafe { bpf_get_smp_processor_id() },
            tgid,
            tid: tgid,
        },
        start_ktime_ns,
    };
    if RECORDS
        .output::<SnapshotRecord>(&record, NO_WAKEUP)
        .is_err()
    {
        loss::count(reason::SNAPSHOT_RECORD);
    }
}
