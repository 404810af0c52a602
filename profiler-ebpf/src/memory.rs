//! Major faults, pages made dirty, and memory that threads must free themselves.
//!
//! The scheduler's programs do the larger part: they see where a thread blocks while it frees memory
//! or waits for a page. Here its entry is told what it is doing.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::bpf_perf_event_data;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::{btf_tracepoint, map, perf_event};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::{BtfTracePointContext, PerfEventContext};
use core::ffi::c_void;
use profiler_common::arch::NO_SYSCALL;
use profiler_common::loss as reason;
use profiler_common::memory::{
    FaultRecord, FaultScratch, Function, Functions, RECORD_INTERVAL_NS, SEARCHED_FRAMES,
    WORK_COMPACTION, WORK_NONE, WORK_RECLAIM,
};
use profiler_common::record::{KIND_FAULT, RecordHeader, StackLengths};
use profiler_common::sched::{COMPACTION, RECLAIM, STATE_ON_CPU, SWAP_IN, Thread};
use profiler_common::ship::Window;
use profiler_common::snapshot::PHASE_NONE;

use crate::kernel::{Task, constant};
use crate::{NO_WAKEUP, RECORDS, loss, sched, ship, snapshot, stack};

/// Overridden by the loader with the running kernel's.
#[unsafe(no_mangle)]
static FUNCTIONS: Functions = Functions {
    swap_in: Function::UNKNOWN,
    page_in: Function::UNKNOWN,
    over_high: Function::UNKNOWN,
};

/// Where a fault's record is built: too large for a program's stack.
#[map]
static MEMORY_SCRATCH: PerCpuArray<FaultScratch> = PerCpuArray::with_max_entries(1, 0);

/// `SIGSEGV` (`include/uapi/asm-generic/signal.h`).
const SIGSEGV: i32 = 11;

/// The current thread's entry, if it is watched and the window is open.
#[inline(always)]
fn current() -> Option<(*mut Thread, u64, &'static Window)> {
    let id = bpf_get_current_pid_tgid();
    if !ship::watches((id >> 32) as u32) {
        return None;
    }
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let window = ship::window(now)?;
    Some((sched::entry(id as u32)?, now, window))
}

/// Begins what the kernel makes the current thread do.
#[inline(always)]
fn begin(work: u32) {
    if let Some((thread, now, _)) = current() {
        // SAFETY: a live map value; while this thread is current, only this CPU changes it.
        unsafe {
            if (*thread).work == WORK_NONE {
                (*thread).work = work;
                (*thread).work_ktime_ns = now;
            }
        }
    }
}

/// Ends it.
#[inline(always)]
fn end(work: u32) {
    if let Some((thread, now, window)) = current() {
        // SAFETY: as in `begin`.
        unsafe {
            if (*thread).work != work {
                return;
            }
            add_on_cpu(thread, now, window);
            (*thread).work = WORK_NONE;
            match work {
                WORK_RECLAIM => (*thread).memory.reclaims += 1,
                _ => (*thread).memory.compactions += 1,
            }
        }
    }
}

/// Adds the time on CPU since the work began, or since the thread came onto the CPU.
///
/// # Safety
/// `thread` must be a live map value, and that of the current thread.
#[inline(always)]
pub unsafe fn add_on_cpu(thread: *mut Thread, now: u64, window: &Window) {
    // SAFETY: by the contract.
    unsafe {
        if (*thread).state != STATE_ON_CPU {
            return;
        }
        let (since, began) = ((*thread).since_ktime_ns, (*thread).work_ktime_ns);
        let on_cpu_ns = window.part(if since > began { since } else { began }, now);
        match (*thread).work {
            WORK_RECLAIM => (*thread).memory.reclaim_on_cpu_ns += on_cpu_ns,
            _ => (*thread).memory.compaction_on_cpu_ns += on_cpu_ns,
        }
    }
}

/// What the kernel makes a thread do, as the reason of a wait.
#[inline(always)]
pub fn worked_for(work: u32) -> Option<i32> {
    match work {
        WORK_RECLAIM => Some(RECLAIM),
        WORK_COMPACTION => Some(COMPACTION),
        _ => None,
    }
}

/// What the kernel frames among some words tell of what a thread is blocked for; else the syscall.
///
/// # Safety
/// The words must hold a stack of which `kernel` is the part.
#[inline(always)]
pub unsafe fn from_frames(words: *const u64, kernel: stack::KernelPart, syscall_nr: i32) -> i32 {
    let functions = constant(&raw const FUNCTIONS);
    for i in 0..SEARCHED_FRAMES {
        if i >= kernel.count {
            break;
        }
        // SAFETY: by the contract.
        let address = unsafe { *words.add(kernel.first + i) };
        if functions.swap_in.holds(address) {
            return SWAP_IN;
        }
        if functions.page_in.holds(address) {
            return NO_SYSCALL;
        }
        if functions.over_high.holds(address) {
            return RECLAIM;
        }
    }
    syscall_nr
}

/// `vmscan:mm_vmscan_direct_reclaim_begin`: the machine has too little free memory.
#[btf_tracepoint(function = "mm_vmscan_direct_reclaim_begin")]
pub fn mm_vmscan_direct_reclaim_begin(_ctx: BtfTracePointContext) -> i32 {
    begin(WORK_RECLAIM);
    0
}

/// `vmscan:mm_vmscan_direct_reclaim_end`.
#[btf_tracepoint(function = "mm_vmscan_direct_reclaim_end")]
pub fn mm_vmscan_direct_reclaim_end(_ctx: BtfTracePointContext) -> i32 {
    end(WORK_RECLAIM);
    0
}

/// `vmscan:mm_vmscan_memcg_reclaim_begin`: the thread's control group is at its limit.
#[btf_tracepoint(function = "mm_vmscan_memcg_reclaim_begin")]
pub fn mm_vmscan_memcg_reclaim_begin(_ctx: BtfTracePointContext) -> i32 {
    begin(WORK_RECLAIM);
    0
}

/// `vmscan:mm_vmscan_memcg_reclaim_end`.
#[btf_tracepoint(function = "mm_vmscan_memcg_reclaim_end")]
pub fn mm_vmscan_memcg_reclaim_end(_ctx: BtfTracePointContext) -> i32 {
    end(WORK_RECLAIM);
    0
}

/// `compaction:mm_compaction_begin`.
#[btf_tracepoint(function = "mm_compaction_begin")]
pub fn mm_compaction_begin(_ctx: BtfTracePointContext) -> i32 {
    begin(WORK_COMPACTION);
    0
}

/// `compaction:mm_compaction_end`.
#[btf_tracepoint(function = "mm_compaction_end")]
pub fn mm_compaction_end(_ctx: BtfTracePointContext) -> i32 {
    end(WORK_COMPACTION);
    0
}

/// `signal:signal_generate(sig, info, task, …)`.
#[btf_tracepoint(function = "signal_generate")]
pub fn signal_generate(ctx: BtfTracePointContext) -> i32 {
    if ctx.arg::<i32>(0) == SIGSEGV {
        try_signal_generate(Task(ctx.arg::<*const c_void>(2)));
    }
    0
}

#[inline(always)]
fn try_signal_generate(task: Task) -> Option<()> {
    if !ship::watches(task.tgid()) {
        return None;
    }
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let thread = sched::entry(task.tid())?;
    // SAFETY: a live map value. A thread sends itself this signal, at the instruction that faults.
    unsafe {
        if (*thread).snapshot != PHASE_NONE {
            snapshot::ends(thread, (*thread).tgid, now);
        }
        ship::window(now)?;
        (*thread).memory.segv_signals += 1;
    }
    Some(())
}

/// Software event of one thread: a major fault of it was served.
#[perf_event]
pub fn page_fault_major(ctx: PerfEventContext) -> u32 {
    try_page_fault_major(&ctx);
    0
}

#[inline(always)]
fn try_page_fault_major(ctx: &PerfEventContext) -> Option<()> {
    let id = bpf_get_current_pid_tgid();
    let (thread, now, _) = current()?;
    // SAFETY: a live map value, that of the current thread.
    let (waited_ns, count, with_stack) = unsafe {
        (*thread).memory.major_faults += 1;
        let (waited_ns, count) = ((*thread).fault_wait_ns, (*thread).faults_unrecorded + 1);
        let with_stack = now - (*thread).fault_stack_ktime_ns >= RECORD_INTERVAL_NS;
        if waited_ns == 0 && !with_stack {
            (*thread).faults_unrecorded = count;
            return None;
        }
        (*thread).fault_wait_ns = 0;
        (*thread).faults_unrecorded = 0;
        (waited_ns, count, with_stack)
    };
    let scratch = MEMORY_SCRATCH.get_ptr_mut(0)?;
    // SAFETY: this CPU's scratch; preemption is off, and no fault happens in here.
    unsafe {
        let lengths = if with_stack {
            stack::take(ctx.as_ptr(), &raw mut (*scratch).stack)
        } else {
            StackLengths::NONE
        };
        (*scratch).record = FaultRecord {
            header: RecordHeader {
                ktime_ns: now,
                kind: KIND_FAULT,
                cpu: bpf_get_smp_processor_id(),
                tgid: (id >> 32) as u32,
                tid: id as u32,
            },
            address: (*ctx.as_ptr().cast::<bpf_perf_event_data>()).addr,
            waited_ns,
            count,
            stack: lengths,
        };
        let size = size_of::<FaultRecord>() + stack::bytes(&lengths);
        let bytes = core::slice::from_raw_parts(scratch.cast::<u8>(), size);
        if RECORDS.output::<[u8]>(bytes, NO_WAKEUP).is_err() {
            loss::count(reason::FAULT_RECORD);
        } else if with_stack {
            (*thread).fault_stack_ktime_ns = now;
        }
    }
    Some(())
}
