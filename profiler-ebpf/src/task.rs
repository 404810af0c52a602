//! Threads that come and go.

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use aya_log_ebpf::debug;
use core::ffi::c_void;
use profiler_common::loss as reason;
use profiler_common::memory::WORK_NONE;
use profiler_common::record::{KIND_TASK, RecordHeader};
use profiler_common::sched::{STATE_PREEMPTED, STATE_WOKEN, TASK_EXITING, TASK_FORKED, TaskRecord};
use profiler_common::snapshot::PHASE_NONE;

use crate::kernel::Task;
use crate::{NO_WAKEUP, RECORDS, loss, neighbour, sched, ship};

/// `sched:sched_process_fork(parent, child)`: also for a new thread.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    let parent_tgid = Task(ctx.arg::<*const c_void>(0)).tgid();
    if ship::watches(parent_tgid) {
        try_sched_process_fork(&ctx, parent_tgid);
    }
    0
}

#[inline(always)]
fn try_sched_process_fork(ctx: &BtfTracePointContext, parent_tgid: u32) -> Option<()> {
    let child = Task(ctx.arg::<*const c_void>(1));
    let tgid = child.tgid();
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    ship::tracking(now)?;
    if tgid != parent_tgid {
        ship::follow(parent_tgid, tgid);
        debug!(ctx, "following process {}, forked by {}", tgid, parent_tgid);
    }
    let thread = sched::thread(child, tgid, now)?;
    // SAFETY: a live map value; the child has not run yet.
    unsafe {
        // Its number may have been that of a thread that has ended.
        (*thread).tgid = tgid;
        (*thread).exited_ktime_ns = 0;
        (*thread).born_ktime_ns = now;
        (*thread).since_ktime_ns = now;
        (*thread).sum_exec_ns = 0;
        (*thread).work = WORK_NONE;
        (*thread).snapshot = PHASE_NONE;
        if !matches!((*thread).state, STATE_WOKEN | STATE_PREEMPTED) {
            neighbour::count_waiting(1);
        }
        (*thread).state = STATE_WOKEN;
    }
    record_task(child, TASK_FORKED, parent_tgid, now);
    Some(())
}

/// `sched:sched_process_exit(task, …)`: a thread is about to end.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    let task = Task(ctx.arg::<*const c_void>(0));
    if ship::watches(task.tgid()) {
        // SAFETY: no arguments.
        let now = unsafe { bpf_ktime_get_ns() };
        if ship::tracking(now).is_some() {
            debug!(
                &ctx,
                "thread {} of process {} exits",
                task.tid(),
                task.tgid()
            );
            record_task(task, TASK_EXITING, 0, now);
        }
    }
    0
}

#[inline(always)]
fn record_task(task: Task, change: u32, parent_tgid: u32, now: u64) {
    let record = TaskRecord {
        header: RecordHeader {
            ktime_ns: now,
            kind: KIND_TASK,
            // SAFETY: no arguments.
            cpu: unsafe { bpf_get_smp_processor_id() },
            tgid: task.tgid(),
            tid: task.tid(),
        },
        change,
        parent_tgid,
        comm: task.comm(),
    };
    if RECORDS.output::<TaskRecord>(&record, NO_WAKEUP).is_err() {
        loss::count(reason::TASK_RECORD);
    }
}
