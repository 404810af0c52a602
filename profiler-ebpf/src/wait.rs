//! What threads waited for: sums of every wait by its reason, and records of those that were long.

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap};
use core::ffi::c_void;
use profiler_common::histogram;
use profiler_common::loss as reason;
use profiler_common::record::{KIND_WAIT, RecordHeader, StackLengths};
use profiler_common::sched::{Thread, WaitKey, WaitRecord, WaitScratch, Waits};

use crate::kernel::{Task, constant};
use crate::{NO_WAKEUP, RECORDS, loss, memory, stack};

/// What each thread waited for, and how long.
#[map]
static SCHED_WAITS: HashMap<WaitKey, Waits> = HashMap::with_max_entries(2048, 0);

/// Zeroes to begin an entry with: too large for a program's stack.
#[map]
static SCHED_NEW_WAITS: Array<Waits> = Array::with_max_entries(1, 0);

/// Waits at least this long are recorded. Overridden by the loader.
#[unsafe(no_mangle)]
static THRESHOLD_NS: u64 = 1_000_000;

/// Waits at least this long are recorded without stacks, so that what a thread did is known moment by
/// moment. Overridden by the loader.
#[unsafe(no_mangle)]
static TIMELINE_NS: u64 = 1_000_000;

/// The stacks that threads blocked with: more than a ship has threads. The loader makes it small where
/// nothing is recorded.
#[map]
static SCHED_STACKS: HashMap<u32, WaitScratch> = HashMap::with_max_entries(128, 0);

/// What an entry begins with.
#[map]
static SCHED_NEW_STACKS: Array<WaitScratch> = Array::with_max_entries(1, 0);

/// The current thread blocks, and not for work: takes its stacks, and finds out what for.
///
/// # Safety
/// `thread` must be a live map value, that of the current thread.
#[inline(always)]
pub unsafe fn blocks(ctx: *mut c_void, thread: *mut Thread, tid: u32) {
    let scratch = scratch(tid);
    // SAFETY: by the contract.
    unsafe {
        let wait = &raw mut (*thread).wait;
        if let Some(scratch) = scratch {
            (*wait).stack = stack::take(ctx, &raw mut (*scratch).stack);
        }
        (*wait).syscall_nr = match (memory::worked_for((*thread).work), scratch) {
            (Some(reason), _) => reason,
            (None, Some(scratch)) => {
                let words = (&raw const (*scratch).stack.words).cast();
                let kernel = stack::KernelPart::of(&(*wait).stack);
                memory::from_frames(words, kernel, (*wait).syscall_nr)
            }
            (None, None) => (*wait).syscall_nr,
        };
    }
}

/// Where a thread's stacks are kept while it is blocked.
#[inline(always)]
fn scratch(tid: u32) -> Option<*mut WaitScratch> {
    if let Some(scratch) = SCHED_STACKS.get_ptr_mut(tid) {
        return Some(scratch);
    }
    let _ = SCHED_STACKS.insert(tid, SCHED_NEW_STACKS.get(0)?, 1);
    let scratch = SCHED_STACKS.get_ptr_mut(tid);
    if scratch.is_none() {
        loss::count(reason::WAIT_STACK);
    }
    scratch
}

/// The thread has ended.
#[inline(always)]
pub fn forget(tid: u32) {
    let _ = SCHED_STACKS.remove(tid);
}

/// Adds a wait that ended to the sums of its reason.
#[inline(always)]
pub fn add(tid: u32, syscall_nr: i32, task_state: u32, inside_ns: u64) {
    let key = WaitKey {
        tid,
        syscall_nr,
        task_state,
    };
    let waits = match SCHED_WAITS.get_ptr_mut(key) {
        Some(waits) => waits,
        None => {
            let Some(zero) = SCHED_NEW_WAITS.get(0) else {
                return;
            };
            let _ = SCHED_WAITS.insert(key, zero, 1);
            let Some(waits) = SCHED_WAITS.get_ptr_mut(key) else {
                loss::count(reason::WAIT_SLOT);
                return;
            };
            waits
        }
    };
    let bucket = histogram::index(inside_ns);
    // SAFETY: a live map value. A thread's waits end one after another, so nobody else writes.
    unsafe {
        (*waits).count += 1;
        (*waits).total_ns += inside_ns;
        if inside_ns > (*waits).max_ns {
            (*waits).max_ns = inside_ns;
        }
        if bucket < histogram::BUCKETS {
            (*waits).buckets[bucket] += 1;
        }
    }
}

/// Sends the wait that just ended to user space if it was long enough, with the stacks that it began with
/// if it was longer. `behind` ran before its thread came back.
///
/// # Safety
/// `thread` must be a live map value.
#[inline(always)]
pub unsafe fn record(thread: *mut Thread, tid: u32, tgid: u32, behind: Task, now: u64) {
    // SAFETY: by the contract. The stacks lie right behind the record (see `WaitScratch`).
    unsafe {
        let wait = &raw mut (*thread).wait;
        let start = (*wait).start_ktime_ns;
        if start == 0 || now - start < constant(&raw const TIMELINE_NS) {
            return;
        }
        if now - start < constant(&raw const THRESHOLD_NS) {
            (*wait).stack = StackLengths::NONE;
        }
        (*wait).header = RecordHeader {
            ktime_ns: now,
            kind: KIND_WAIT,
            cpu: bpf_get_smp_processor_id(),
            tgid,
            tid,
        };
        (*wait).behind_tgid = behind.tgid();
        (*wait).behind_tid = behind.tid();
        let comm = &raw mut (*wait).behind_comm;
        comm.cast::<[u64; 2]>().write(behind.comm_words());
        let lengths = (*wait).stack;
        let bytes = match SCHED_STACKS.get_ptr_mut(tid) {
            Some(scratch) if lengths.kernel_bytes != 0 || lengths.user_bytes != 0 => {
                (*scratch).record = *wait;
                let size = size_of::<WaitRecord>() + stack::bytes(&lengths);
                core::slice::from_raw_parts(scratch.cast::<u8>(), size)
            }
            _ => {
                (*wait).stack = StackLengths::NONE;
                core::slice::from_raw_parts(wait.cast::<u8>(), size_of::<WaitRecord>())
            }
        };
        if RECORDS.output::<[u8]>(bytes, NO_WAKEUP).is_err() {
            loss::count(reason::WAIT_RECORD);
        }
    }
}
