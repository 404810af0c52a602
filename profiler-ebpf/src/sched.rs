//! Scheduler: on CPU, in the run queue, blocked, and who was to blame.
//!
//! A thread's state lives in its entry of `SCHED_THREADS`, together with its sums, so that a
//! switch costs one look-up. A wait longer than the threshold is also recorded, with stacks;
//! they are taken when the thread leaves the CPU, because only then is its memory at hand.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::{Array, HashMap};
use aya_ebpf::programs::BtfTracePointContext;
use core::ffi::c_void;
use profiler_common::arch::{FDATASYNC, NO_SYSCALL, waits_for_work};
use profiler_common::loss as reason;
use profiler_common::memory::WORK_NONE;
use profiler_common::record::StackLengths;
use profiler_common::sched::{
    RUN_QUEUE, STATE_BLOCKED, STATE_EXITED, STATE_ON_CPU, STATE_PREEMPTED, STATE_UNKNOWN,
    STATE_WOKEN, SWAP_IN, TASK_INTERRUPTIBLE, TASK_RUNNABLE, TASK_STOPPED, TASK_UNINTERRUPTIBLE,
    Thread,
};
use profiler_common::ship::Window;
use profiler_common::snapshot::PHASE_NONE;

use crate::kernel::{Task, offset};
use crate::{loss, memory, neighbour, recording, sampling, ship, snapshot, wait};

/// State and sums of every thread of the watched processes, by host thread id.
#[map]
static SCHED_THREADS: HashMap<u32, Thread> = HashMap::with_max_entries(1024, 0);

/// Zeroes to begin an entry with: too large for a program's stack.
#[map]
static SCHED_NEW_THREAD: Array<Thread> = Array::with_max_entries(1, 0);

/// `TASK_DEAD`, the state of a thread's last switch (`include/linux/sched.h`).
const KERNEL_TASK_DEAD: u32 = 0x80;
/// `TASK_WAKING`: before 5.18, where the state is read from the task itself, a waker may already
/// have changed it. How it slept is lost then.
const KERNEL_TASK_WAKING: u32 = 0x200;
/// `TASK_RTLOCK_WAIT` (`PREEMPT_RT`): uninterruptible as far as we are concerned.
const KERNEL_TASK_RTLOCK: u32 = 0x1000;

/// The entry of a thread, if it is there.
#[inline(always)]
pub fn entry(tid: u32) -> Option<*mut Thread> {
    SCHED_THREADS.get_ptr_mut(tid)
}

/// The entry of a thread of a process that may be watched, made if it is not there and the process is.
/// An entry that is there says so by itself, which spares a look-up in `SHIP_PROCESSES`: at a switch
/// hardly anything of our maps is in the cache.
#[inline(always)]
pub fn thread(task: Task, tgid: u32, now: u64) -> Option<*mut Thread> {
    let tid = task.tid();
    if let Some(thread) = SCHED_THREADS.get_ptr_mut(tid) {
        // SAFETY: a live map value. A thread's number may since be that of another process' thread.
        if unsafe { (*thread).tgid } == tgid {
            return Some(thread);
        }
    }
    if !ship::watches(tgid) {
        return None;
    }
    new_thread(tid, tgid, now)
}

#[inline(never)]
fn new_thread(tid: u32, tgid: u32, now: u64) -> Option<*mut Thread> {
    let zero = SCHED_NEW_THREAD.get(0)?;
    // `BPF_NOEXIST`: another CPU may have been first; then its entry is the one.
    let _ = SCHED_THREADS.insert(tid, zero, 1);
    let Some(thread) = SCHED_THREADS.get_ptr_mut(tid) else {
        loss::count(reason::THREAD_SLOT);
        return None;
    };
    // SAFETY: a live map value.
    unsafe {
        (*thread).tgid = tgid;
        // A sampler's window began days ago: of a thread that user space did not enter, nothing is
        // known until now.
        if !recording() {
            (*thread).since_ktime_ns = now;
        }
    }
    Some(thread)
}

/// What a wait is called in records and keys, from the kernel's state bits: values like 0x2001
/// (freezable) and 0x102 (killable) were seen.
#[inline(always)]
fn task_state(kernel_state: u32) -> u32 {
    if kernel_state & (2 | KERNEL_TASK_RTLOCK) != 0 {
        TASK_UNINTERRUPTIBLE
    } else if kernel_state & (1 | KERNEL_TASK_WAKING) != 0 {
        TASK_INTERRUPTIBLE
    } else {
        TASK_STOPPED
    }
}

/// `sched:sched_switch(preempt, prev, next[, prev_state])`.
#[btf_tracepoint(function = "sched_switch")]
pub fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    let prev = Task(ctx.arg::<*const c_void>(1));
    let next = Task(ctx.arg::<*const c_void>(2));
    let prev_watched = ship::may_watch(prev.tgid());
    let next_watched = ship::may_watch(next.tgid());
    if prev_watched || next_watched || neighbour::any_waits() {
        try_sched_switch(ctx.as_ptr(), prev, next, prev_watched, next_watched);
    }
    0
}

/// Not inlined: its stack is larger than what the kernel gives a program without further ado
/// (`BPF_PRIV_STACK_MIN_SIZE`), and switches of others shall not pay for that.
#[inline(never)]
fn try_sched_switch(
    ctx: *mut c_void,
    prev: Task,
    next: Task,
    prev_watched: bool,
    next_watched: bool,
) -> Option<()> {
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let window = ship::tracking(now)?;
    let prev_tgid = prev.tgid();
    // Before `prev` may be one of them.
    let any_waits = neighbour::any_waits();
    let mut is_own = false;
    if prev_watched && let Some(thread) = thread(prev, prev_tgid, now) {
        is_own = true;
        switched_out(
            &BtfTracePointContext::new(ctx),
            thread,
            prev,
            prev_tgid,
            now,
            window,
        );
    }
    if any_waits {
        neighbour::ran(prev, prev_tgid, is_own, now);
    }
    if next_watched {
        switched_in(next, prev, now, window);
    }
    Some(())
}

/// The current thread leaves the CPU.
#[inline(always)]
fn switched_out(
    ctx: &BtfTracePointContext,
    thread: *mut Thread,
    prev: Task,
    tgid: u32,
    now: u64,
    window: &Window,
) -> Option<()> {
    let kernel_state = if offset!(switch_has_prev_state) != 0 {
        ctx.arg::<u32>(3)
    } else {
        prev.state()
    };
    // SAFETY: a live map value; while this thread is current, only this CPU changes it.
    unsafe {
        let sum_exec_ns = prev.sum_exec_ns();
        let state = (*thread).state;
        if state == STATE_ON_CPU || state == STATE_UNKNOWN {
            (*thread).on_cpu_ns += window.part((*thread).since_ktime_ns, now);
            if (*thread).work != WORK_NONE {
                memory::add_on_cpu(thread, now, window);
            }
        } else {
            if matches!(state, STATE_WOKEN | STATE_PREEMPTED) {
                neighbour::count_waiting(-1);
            }
            unseen_run(thread, prev.tid(), sum_exec_ns, now, window);
        }
        (*thread).sum_exec_ns = sum_exec_ns;
        (*thread).since_ktime_ns = now;
        let wait = &raw mut (*thread).wait;
        (*wait).start_ktime_ns = now;
        (*wait).woken_ktime_ns = 0;
        (*wait).stack = StackLengths::NONE;
        if kernel_state & KERNEL_TASK_DEAD != 0 {
            (*thread).state = STATE_EXITED;
            (*thread).exited_ktime_ns = now;
            if (*thread).snapshot != PHASE_NONE {
                snapshot::ends(thread, tgid, now);
            }
            if recording() {
                wait::forget(prev.tid());
            }
            return None;
        }
        // A thread may be preempted on its way to sleep, when its state says so already: it stays in
        // the run queue all the same (`__schedule`, `kernel/sched/core.c`).
        let preempted = ctx.arg::<u8>(0) != 0;
        if preempted || kernel_state == 0 {
            (*thread).state = STATE_PREEMPTED;
            neighbour::count_waiting(1);
            (*wait).task_state = TASK_RUNNABLE;
            (*wait).syscall_nr = RUN_QUEUE;
            return None;
        }
        (*wait).syscall_nr = prev.syscall_nr();
        (*thread).state = STATE_BLOCKED;
        (*wait).task_state = task_state(kernel_state);
        let idles = (*wait).task_state == TASK_INTERRUPTIBLE && waits_for_work((*wait).syscall_nr);
        if idles {
            if (*thread).snapshot != PHASE_NONE {
                snapshot::ends(thread, tgid, now);
            }
            return None;
        }
        if (*wait).syscall_nr == FDATASYNC && prev.tid() == tgid {
            snapshot::syncs(thread, tgid, now);
        }
        if !window.holds(now) {
            return None;
        }
        if recording() {
            wait::blocks(ctx.as_ptr(), thread, prev.tid());
        } else {
            sampling::blocks(ctx.as_ptr(), thread, prev.tid(), now);
        }
    }
    Some(())
}

/// A thread leaves the CPU that was not seen to come onto it: on a Linux 6.18 guest, the tracepoint
/// was silent for one switch in some hundreds. How long it ran is in the kernel's own count; the rest
/// of the time it was in the state that it was last seen in.
///
/// # Safety
/// `thread` must be a live map value.
#[inline(never)]
unsafe fn unseen_run(thread: *mut Thread, tid: u32, sum_exec_ns: u64, now: u64, window: &Window) {
    // SAFETY: by the contract.
    unsafe {
        let inside_ns = window.part((*thread).since_ktime_ns, now);
        let ran_ns = sum_exec_ns
            .saturating_sub((*thread).sum_exec_ns)
            .min(inside_ns);
        let waited_ns = inside_ns - ran_ns;
        (*thread).on_cpu_ns += ran_ns;
        let counts = window.holds(now);
        if counts {
            (*thread).switches += 1;
            (*thread).unseen_switches += 1;
        }
        let (syscall_nr, task_state) = match (*thread).state {
            STATE_BLOCKED => {
                (*thread).blocked_ns += waited_ns;
                let wait = &raw const (*thread).wait;
                ((*wait).syscall_nr, (*wait).task_state)
            }
            state => {
                if state == STATE_PREEMPTED {
                    (*thread).preempted_ns += waited_ns;
                } else {
                    (*thread).woken_ns += waited_ns;
                }
                (RUN_QUEUE, TASK_RUNNABLE)
            }
        };
        if counts {
            wait::add(tid, syscall_nr, task_state, waited_ns);
        }
    }
}

/// A watched thread comes onto the CPU; `prev`, the current one, which is about to leave it, was before it.
#[inline(always)]
fn switched_in(next: Task, prev: Task, now: u64, window: &Window) -> Option<()> {
    let (tgid, tid) = (next.tgid(), next.tid());
    let thread = thread(next, tgid, now)?;
    // SAFETY: a live map value; a thread that is being switched in is touched by this CPU only.
    unsafe {
        let state = (*thread).state;
        let waited_ns = window.part((*thread).since_ktime_ns, now);
        match state {
            STATE_PREEMPTED => (*thread).preempted_ns += waited_ns,
            // A blocked thread cannot come onto a CPU without having been woken. If it does, the
            // wake-up was not seen; the time stays with what it was blocked in.
            STATE_BLOCKED => {
                (*thread).blocked_ns += waited_ns;
                let wait = &raw const (*thread).wait;
                wait::add(tid, (*wait).syscall_nr, (*wait).task_state, waited_ns);
            }
            // Woken, or never seen before: then it was in the run queue.
            _ => (*thread).woken_ns += waited_ns,
        }
        if matches!(state, STATE_WOKEN | STATE_PREEMPTED) {
            neighbour::count_waiting(-1);
            neighbour::waited(tgid, (*thread).since_ktime_ns, now, window);
        }
        let counts = window.holds(now);
        if counts {
            (*thread).switches += 1;
            if state != STATE_BLOCKED {
                wait::add(tid, RUN_QUEUE, TASK_RUNNABLE, waited_ns);
            }
        }
        (*thread).state = STATE_ON_CPU;
        (*thread).since_ktime_ns = now;
        if !recording() && (*thread).wait.stack.kernel_bytes != 0 {
            let start = (*thread).wait.start_ktime_ns;
            let woken = (*thread).wait.woken_ktime_ns;
            let end = if woken != 0 { woken } else { now };
            sampling::unblocks(tid, window.part(start, end));
            (*thread).wait.stack = StackLengths::NONE;
        }
        if recording() && counts {
            wait::record(thread, tid, tgid, prev, now);
        }
    }
    Some(())
}

/// `sched:sched_waking(task)`: the current thread, or an interrupt in it, is about to wake `task`.
/// Only here is the waker at hand: the wake-up itself may be carried out by another CPU.
#[btf_tracepoint(function = "sched_waking")]
pub fn sched_waking(ctx: BtfTracePointContext) -> i32 {
    let task = Task(ctx.arg::<*const c_void>(0));
    let tgid = task.tgid();
    if ship::may_watch(tgid) {
        try_sched_waking(task, tgid);
    }
    0
}

#[inline(always)]
fn try_sched_waking(task: Task, tgid: u32) -> Option<()> {
    let thread = SCHED_THREADS.get_ptr_mut(task.tid())?;
    // SAFETY: a live map value; the kernel holds the task's `pi_lock`, so wakers come one by one.
    unsafe {
        if (*thread).tgid != tgid {
            return None;
        }
        let wait = &raw mut (*thread).wait;
        let waker = bpf_get_current_pid_tgid();
        (*wait).waker_tgid = (waker >> 32) as u32;
        (*wait).waker_tid = waker as u32;
        (*wait).waker_comm = bpf_get_current_comm().unwrap_or_default();
    }
    Some(())
}

/// `sched:sched_wakeup(task)`: `task` is in the run queue now. From here on it waits for a CPU, as
/// the kernel's own `run_delay` counts it. Always after the switch by which it left its CPU.
#[btf_tracepoint(function = "sched_wakeup")]
pub fn sched_wakeup(ctx: BtfTracePointContext) -> i32 {
    let task = Task(ctx.arg::<*const c_void>(0));
    let tgid = task.tgid();
    if ship::may_watch(tgid) {
        try_sched_wakeup(task, tgid);
    }
    0
}

#[inline(always)]
fn try_sched_wakeup(task: Task, tgid: u32) -> Option<()> {
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let window = ship::tracking(now)?;
    let thread = thread(task, tgid, now)?;
    // SAFETY: a live map value; the thread is asleep, and the kernel holds its run queue's lock.
    unsafe {
        if (*thread).state == STATE_UNKNOWN {
            // It has been asleep since before anything was attached. Its registers still say in
            // what; that it could be woken is all that is left of its state.
            (*thread).state = STATE_BLOCKED;
            (*thread).wait.syscall_nr = task.syscall_nr();
            (*thread).wait.task_state = TASK_INTERRUPTIBLE;
            (*thread).sum_exec_ns = task.sum_exec_ns();
        }
        if (*thread).state != STATE_BLOCKED {
            // Woken before it had left its CPU: it simply goes on.
            return None;
        }
        let blocked_ns = window.part((*thread).since_ktime_ns, now);
        (*thread).blocked_ns += blocked_ns;
        if matches!((*thread).wait.syscall_nr, NO_SYSCALL | SWAP_IN) {
            (*thread).fault_wait_ns += blocked_ns;
        }
        (*thread).state = STATE_WOKEN;
        (*thread).since_ktime_ns = now;
        neighbour::count_waiting(1);
        let wait = &raw mut (*thread).wait;
        (*wait).woken_ktime_ns = now;
        if window.holds(now) {
            wait::add(
                task.tid(),
                (*wait).syscall_nr,
                (*wait).task_state,
                blocked_ns,
            );
        }
    }
    Some(())
}
