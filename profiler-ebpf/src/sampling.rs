//! Sampling mode: stacks added up in the kernel, in maps of fixed size, at rates of fixed height.
//!
//! A stack stands for others like it: user space shares a thread's exact sums out by the stacks that
//! were taken. So none has to be taken of every wait, and what finds no room makes no sum wrong.

use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::{Array, HashMap, PerCpuArray};
use aya_ebpf::programs::BtfTracePointContext;
use core::ffi::c_void;
use core::hint::black_box;
use profiler_common::arch::NO_SYSCALL;
use profiler_common::loss as reason;
use profiler_common::sampling::{
    Control, PendingStack, STACK_OFF_CPU, STACK_ON_CPU, StackKey, StackSum, stack_slot,
};
use profiler_common::sched::Thread;
use profiler_common::stack::SUM_WORDS;

use crate::{atomic, loss, memory, stack};

/// What user space asks for.
#[map]
static SAMPLING_CONTROL: Array<Control> = Array::with_max_entries(1, 0);

/// Stacks and what was under them. The loader makes it small where it is not used.
#[map]
static STACK_SUMS: HashMap<StackKey, StackSum> = HashMap::with_max_entries(2048, 0);

/// Of each thread, what its next stack depends on.
#[map]
static STACK_PENDING: HashMap<u32, PendingStack> = HashMap::with_max_entries(1024, 0);

/// Where a stack is taken: too large for a program's stack. The sampling clock cannot interrupt a
/// switch, during which interrupts are off.
#[map]
static STACK_SCRATCH: PerCpuArray<StackSum> = PerCpuArray::with_max_entries(1, 0);

/// Ticks of the sampling clock on each CPU.
#[map]
static STACK_TICKS: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);

/// Multiplier of the hash: 2^64 divided by the golden ratio, odd (Knuth, TAOCP 3, 6.4).
const HASH_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Does nothing, beside `sched_switch`, while the kernel keeps the programs' time: what it seems to take
/// is what keeping the time takes.
#[btf_tracepoint(function = "sched_switch")]
pub fn empty(_ctx: BtfTracePointContext) -> i32 {
    0
}

/// Whether block I/O and datagrams are summed.
#[inline(always)]
pub fn sums_io() -> bool {
    SAMPLING_CONTROL
        .get(0)
        .is_some_and(|control| control.io != 0)
}

/// The sampling clock ticked while a watched thread ran.
#[inline(always)]
pub fn ticked(ctx: *mut c_void, tgid: u32, tid: u32) -> Option<()> {
    let control = SAMPLING_CONTROL.get(0)?;
    if control.on_cpu_every == 0 {
        return None;
    }
    let ticks = STACK_TICKS.get_ptr_mut(0)?;
    let scratch = STACK_SCRATCH.get_ptr_mut(0)?;
    // SAFETY: this CPU's own; perf events of one CPU do not nest.
    unsafe {
        *ticks = (*ticks).wrapping_add(1);
        if *ticks % control.on_cpu_every != 0 {
            return None;
        }
        (*scratch).lengths = stack::take_sum(ctx, &raw mut (*scratch).frames);
        let key = StackKey {
            hash: hash(scratch),
            tgid,
            tid,
            kind: STACK_ON_CPU,
            syscall_nr: 0,
            task_state: 0,
            epoch: control.epoch,
        };
        let sum = intern(&key, scratch)?;
        atomic::add(&raw mut (*sum).count, 1);
    }
    Some(())
}

/// A watched thread blocks, and not for work: says for what, and takes a stack if it is time.
///
/// # Safety
/// `thread` must be a live map value, that of the current thread.
#[inline(always)]
pub unsafe fn blocks(ctx: *mut c_void, thread: *mut Thread, tid: u32, now: u64) -> Option<()> {
    let control = SAMPLING_CONTROL.get(0)?;
    let scratch = STACK_SCRATCH.get_ptr_mut(0)?;
    // SAFETY: by the contract; the scratch is this CPU's.
    unsafe {
        let wait = &raw mut (*thread).wait;
        let worked_for = memory::worked_for((*thread).work);
        if let Some(reason) = worked_for {
            (*wait).syscall_nr = reason;
        }
        let pending = pending(tid)?;
        let slot = stack_slot((*wait).syscall_nr);
        let since_ns = now - (*pending).taken_ktime_ns[slot];
        let is_due =
            control.off_cpu_interval_ns != u64::MAX && since_ns >= control.off_cpu_interval_ns;
        let is_fault = (*wait).syscall_nr == NO_SYSCALL;
        if !is_due && !is_fault {
            return None;
        }
        let lengths = if is_due {
            stack::take_sum(ctx, &raw mut (*scratch).frames)
        } else {
            stack::take_kernel(ctx, &raw mut (*scratch).frames)
        };
        // Only a fault outside of a syscall is told by its frames, which are looked at every time.
        // Those inside of one would be told only now and then, and the sums would say too little.
        if is_fault {
            let words = (&raw const (*scratch).frames).cast();
            (*wait).syscall_nr =
                memory::from_frames(words, stack::KernelPart::of_sum(&lengths), NO_SYSCALL);
        }
        if !is_due || lengths.kernel_bytes == 0 {
            return None;
        }
        (*pending).taken_ktime_ns[slot] = now;
        (*scratch).lengths = lengths;
        let key = StackKey {
            hash: hash(scratch),
            tgid: (*thread).tgid,
            tid,
            kind: STACK_OFF_CPU,
            syscall_nr: (*wait).syscall_nr,
            task_state: (*wait).task_state,
            epoch: control.epoch,
        };
        intern(&key, scratch)?;
        (*pending).key = key;
        (*wait).stack = lengths;
    }
    Some(())
}

/// The wait is over that a stack was taken of. One that lasted beyond its window is not added: its
/// stack is away with the window's.
#[inline(always)]
pub fn unblocks(tid: u32, blocked_ns: u64) -> Option<()> {
    let pending = STACK_PENDING.get_ptr(tid)?;
    // SAFETY: live map values; the thread is being switched in, so nobody else changes its entry.
    unsafe {
        let key = (*pending).key;
        let sum = STACK_SUMS.get_ptr_mut(key)?;
        atomic::add(&raw mut (*sum).count, 1);
        atomic::add(&raw mut (*sum).total_ns, blocked_ns);
    }
    Some(())
}

#[inline(always)]
fn pending(tid: u32) -> Option<*mut PendingStack> {
    if let Some(pending) = STACK_PENDING.get_ptr_mut(tid) {
        return Some(pending);
    }
    let none = PendingStack {
        key: StackKey {
            hash: 0,
            tgid: 0,
            tid: 0,
            kind: 0,
            syscall_nr: 0,
            task_state: 0,
            epoch: 0,
        },
        taken_ktime_ns: [0; profiler_common::sampling::STACK_SLOTS],
    };
    let _ = STACK_PENDING.insert(tid, none, 1);
    let pending = STACK_PENDING.get_ptr_mut(tid);
    if pending.is_none() {
        loss::count(reason::STACK_SLOT);
    }
    pending
}

/// Hash of a stack's frames. A function of its own, so that the verifier walks it once.
///
/// # Safety
/// `stack` must be a live map value.
#[inline(never)]
unsafe fn hash(stack: *const StackSum) -> u64 {
    // SAFETY: by the contract; the index is below the length.
    unsafe {
        let count = stack::sum_words(&(*stack).lengths);
        let frames = (&raw const (*stack).frames).cast::<u64>();
        let mut hash = u64::from((*stack).lengths.user_bytes) << 32;
        for i in 0..SUM_WORDS {
            // LLVM would count down from the smaller of the two numbers, which kernels before 6.8 lose the
            // bounds of.
            let i = black_box(i);
            if i >= count {
                break;
            }
            let word = core::ptr::read_volatile(frames.add(i));
            hash = (hash ^ word).wrapping_mul(HASH_FACTOR);
            hash ^= hash >> 29;
        }
        hash
    }
}

/// Whether two stacks are the same, frame by frame.
///
/// # Safety
/// Both must be live map values.
#[inline(never)]
unsafe fn differ(a: *const StackSum, b: *const StackSum) -> u64 {
    // SAFETY: by the contract; the index is below the length.
    unsafe {
        let (of_a, of_b) = ((*a).lengths, (*b).lengths);
        if of_a.user_bytes != of_b.user_bytes || of_a.kernel_bytes != of_b.kernel_bytes {
            return 1;
        }
        let count = stack::sum_words(&of_a);
        let a = (&raw const (*a).frames).cast::<u64>();
        let b = (&raw const (*b).frames).cast::<u64>();
        for i in 0..SUM_WORDS {
            // As in `hash`.
            let i = black_box(i);
            if i >= count {
                break;
            }
            if core::ptr::read_volatile(a.add(i)) != core::ptr::read_volatile(b.add(i)) {
                return 1;
            }
        }
        0
    }
}

/// The sum of a stack, entered if it is new. Nothing if it finds no room, or if another stack has its
/// key; both are counted.
///
/// # Safety
/// `stack` must be this CPU's scratch.
#[inline(always)]
unsafe fn intern(key: &StackKey, stack: *mut StackSum) -> Option<*mut StackSum> {
    if let Some(sum) = STACK_SUMS.get_ptr_mut(key) {
        // SAFETY: live map values. Once an entry is there its frames do not change.
        if unsafe { differ(sum, stack) } != 0 {
            loss::count(reason::STACK_COLLISION);
            return None;
        }
        return Some(sum);
    }
    // SAFETY: by the contract.
    unsafe {
        (*stack).count = 0;
        (*stack).total_ns = 0;
        let _ = STACK_SUMS.insert(key, &*stack, 1);
    }
    let sum = STACK_SUMS.get_ptr_mut(key);
    if sum.is_none() {
        loss::count(reason::STACK_SLOT);
    }
    sum
}
