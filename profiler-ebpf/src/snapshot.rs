//! Snapshots: from making `control.bin` to giving the loom's free part back.
//!
//! Only entries of syscalls are needed. Attaching to one slows every syscall of every process by some
//! nanoseconds, the further ones by nothing that could be measured; exits would cost more.

use aya_ebpf::helpers::generated::bpf_probe_read_user_str;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::{map, tracepoint};
use aya_ebpf::maps::{Array, HashMap, PerCpuArray};
use aya_ebpf::programs::TracePointContext;
use profiler_common::loss as reason;
use profiler_common::record::{KIND_SNAPSHOT, RecordHeader};
use profiler_common::sched::STATE_ON_CPU;
use profiler_common::ship::Window;
use profiler_common::snapshot::{
    CONTROL_FILE, LOOM_MAX_BYTES, LOOM_START, PATH_BYTES, PathScratch, SnapshotRecord,
    SnapshotTotals,
};

use crate::syscall::argument;
use crate::{NO_WAKEUP, RECORDS, loss, recording, sched, ship};

/// Sums per process.
#[map]
static SNAPSHOTS: HashMap<u32, SnapshotTotals> = HashMap::with_max_entries(256, 0);
/// Zeroes to begin an entry with.
#[map]
static SNAPSHOT_NEW: Array<SnapshotTotals> = Array::with_max_entries(1, 0);
/// Where a path is read to.
#[map]
static SNAPSHOT_PATH: PerCpuArray<PathScratch> = PerCpuArray::with_max_entries(1, 0);

/// `O_CREAT | O_EXCL` (`include/uapi/asm-generic/fcntl.h`; the same on x86 and arm).
const CREATES: u64 = 0o300;
/// `MADV_DONTNEED` (`include/uapi/asm-generic/mman-common.h`).
const MADV_DONTNEED: u64 = 4;

/// `syscalls:sys_enter_open(filename, flags, mode)`: musl on x86_64 opens with it.
#[tracepoint]
pub fn sys_enter_open(ctx: TracePointContext) -> u32 {
    opens(argument(&ctx, 0), argument(&ctx, 1));
    0
}

/// `syscalls:sys_enter_openat(dfd, filename, flags, mode)`: elsewhere there is no other.
#[tracepoint]
pub fn sys_enter_openat(ctx: TracePointContext) -> u32 {
    opens(argument(&ctx, 1), argument(&ctx, 2));
    0
}

/// `syscalls:sys_enter_madvise(start, len, behavior)`.
#[tracepoint]
pub fn sys_enter_madvise(ctx: TracePointContext) -> u32 {
    let in_loom = argument(&ctx, 0).wrapping_sub(LOOM_START) < LOOM_MAX_BYTES;
    if argument(&ctx, 2) == MADV_DONTNEED && in_loom {
        end();
    }
    0
}

/// The current thread as (tgid, tid), if it is the main thread of a watched process.
#[inline(always)]
fn main_thread() -> Option<u32> {
    let id = bpf_get_current_pid_tgid();
    let (tgid, tid) = ((id >> 32) as u32, id as u32);
    (tgid == tid && ship::watches(tgid)).then_some(tgid)
}

#[inline(always)]
fn opens(path: u64, flags: u64) -> Option<()> {
    if flags & CREATES != CREATES {
        return None;
    }
    let tgid = main_thread()?;
    if !is_control_file(path)? {
        return None;
    }
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let window = ship::tracking(now)?;
    if SNAPSHOTS.get_ptr(tgid).is_none() {
        let _ = SNAPSHOTS.insert(tgid, SNAPSHOT_NEW.get(0)?, 1);
    }
    let Some(totals) = SNAPSHOTS.get_ptr_mut(tgid) else {
        loss::count(reason::SNAPSHOT_SLOT);
        return None;
    };
    // SAFETY: a live map value; only the process' main thread changes it.
    unsafe {
        (*totals).start_ktime_ns = now;
        (*totals).start_on_cpu_ns = on_cpu_ns(tgid, now, window);
    }
    Some(())
}

/// Whether a path ends as that of a snapshot's first file does.
#[inline(always)]
fn is_control_file(path: u64) -> Option<bool> {
    let scratch = SNAPSHOT_PATH.get_ptr_mut(0)?;
    // SAFETY: this CPU's scratch; it has room for the longest path and more.
    let length = unsafe {
        bpf_probe_read_user_str(
            (&raw mut (*scratch).bytes).cast(),
            PATH_BYTES as u32,
            path as *const _,
        )
    };
    let name = CONTROL_FILE.len() as i64;
    // The length counts the zero at the end.
    if length <= name || length > PATH_BYTES as i64 {
        return Some(false);
    }
    let from = (length - 1 - name) as usize & (PATH_BYTES - 1);
    for (i, expected) in CONTROL_FILE.iter().enumerate() {
        // SAFETY: `from` is below `PATH_BYTES`, and there is room for the name behind that.
        if unsafe { (*scratch).bytes.as_ptr().add(from + i).read() } != *expected {
            return Some(false);
        }
    }
    Some(true)
}

#[inline(always)]
fn end() -> Option<()> {
    let tgid = main_thread()?;
    let totals = SNAPSHOTS.get_ptr_mut(tgid)?;
    // SAFETY: a live map value; only the process' main thread changes it.
    let start = unsafe { (*totals).start_ktime_ns };
    if start == 0 {
        return None;
    }
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let window = ship::tracking(now)?;
    // SAFETY: as above.
    unsafe {
        (*totals).start_ktime_ns = 0;
        if !window.holds(now) {
            return None;
        }
        (*totals).count += 1;
        (*totals).total_ns += window.part(start, now);
        (*totals).on_cpu_ns +=
            on_cpu_ns(tgid, now, window).saturating_sub((*totals).start_on_cpu_ns);
        let lasted_ns = now - start;
        if lasted_ns > (*totals).max_ns {
            (*totals).max_ns = lasted_ns;
        }
    }
    if recording() {
        record(tgid, start, now);
    }
    Some(())
}

/// Time on CPU inside the window of a process' main thread, which is running.
#[inline(always)]
fn on_cpu_ns(tgid: u32, now: u64, window: &Window) -> u64 {
    let Some(thread) = sched::entry(tgid) else {
        return 0;
    };
    // SAFETY: a live map value; while its thread is current, only this CPU changes it.
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
