//! Entries of the syscalls that bound an event: what happens in between is told by the switches.

use aya_ebpf::helpers::generated::bpf_probe_read_user as probe_read_user;
use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_get_smp_processor_id, bpf_ktime_get_ns, bpf_probe_read_user,
};
use aya_ebpf::macros::{map, tracepoint};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::TracePointContext;
use core::hint::black_box;
use profiler_common::loss as reason;
use profiler_common::record::{KIND_SYSCALL, RecordHeader};
use profiler_common::ship::ShipProcess;
use profiler_common::syscall::{
    CALL_EPOLL_PWAIT, CALL_FDATASYNC, CALL_SIGALTSTACK, CALL_WRITEV, EVENT_NUMBER_ADDRESS,
    FRAME_HEADER_BYTES, HEAD_BYTES, IoVector, SS_DISABLE, SignalStack, SyscallRecord,
    SyscallScratch,
};

use crate::{NO_WAKEUP, RECORDS, loss, ship};

/// Where a record is built.
#[map]
static SYSCALL_SCRATCH: PerCpuArray<SyscallScratch> = PerCpuArray::with_max_entries(1, 0);

/// An argument of a syscall at its entry: behind the common fields and the number
/// (`events/syscalls/sys_enter_…/format`, the same since 2.6.32).
#[inline(always)]
fn argument(ctx: &TracePointContext, index: usize) -> u64 {
    // SAFETY: the kernel's own record of the entry, which has room for six arguments.
    unsafe { ctx.read_at::<u64>(16 + 8 * index) }.unwrap_or(0)
}

/// A thread of a ship, inside the window.
struct Caller {
    tgid: u32,
    tid: u32,
    now: u64,
    process: *mut ShipProcess,
}

impl Caller {
    #[inline(always)]
    fn current() -> Option<Self> {
        Self::of(bpf_get_current_pid_tgid())
    }

    #[inline(always)]
    fn of(id: u64) -> Option<Self> {
        let (tgid, tid) = ((id >> 32) as u32, id as u32);
        let process = ship::process(tgid)?;
        // SAFETY: no arguments.
        let now = unsafe { bpf_ktime_get_ns() };
        ship::window(now)?;
        Some(Self {
            tgid,
            tid,
            now,
            process,
        })
    }

    /// The current thread, if it is the main thread of its process.
    #[inline(always)]
    fn main() -> Option<Self> {
        let id = bpf_get_current_pid_tgid();
        if (id >> 32) as u32 != id as u32 {
            return None;
        }
        Self::of(id)
    }

    #[inline(always)]
    fn is_king(&self) -> bool {
        // SAFETY: a live map value; entries are never removed while their process lives.
        unsafe { (*self.process).is_king != 0 }
    }

    /// Sends a record, with what of the frame at `head` fits.
    #[inline(always)]
    fn record(&self, call: u32, fd: u64, value: u64, detail: u64, head: u64) -> Option<()> {
        let scratch = SYSCALL_SCRATCH.get_ptr_mut(0)?;
        let mut head_bytes = 0;
        // SAFETY: this CPU's scratch; entries of syscalls do not nest.
        unsafe {
            if head != 0 {
                let to = (&raw mut (*scratch).head).cast();
                // Two calls, and a mask that LLVM cannot see to be needless: kernels before 6.8 forget
                // the bounds of a value that was kept on the stack meanwhile.
                let (wanted, read) = if value < HEAD_BYTES as u64 {
                    let wanted = black_box(value as u32) & (HEAD_BYTES as u32 - 1);
                    (wanted, probe_read_user(to, wanted, head as *const _))
                } else {
                    let wanted = HEAD_BYTES as u32;
                    (wanted, probe_read_user(to, wanted, head as *const _))
                };
                if read == 0 {
                    head_bytes = wanted;
                }
            }
            (*scratch).record = SyscallRecord {
                header: RecordHeader {
                    ktime_ns: self.now,
                    kind: KIND_SYSCALL,
                    cpu: bpf_get_smp_processor_id(),
                    tgid: self.tgid,
                    tid: self.tid,
                },
                call,
                fd: fd as u32,
                value,
                detail,
                head_bytes,
                reserved: 0,
            };
            let size = size_of::<SyscallRecord>() + (head_bytes as usize & (2 * HEAD_BYTES - 1));
            if size > size_of::<SyscallScratch>() {
                // Never: for the verifier.
                return None;
            }
            let bytes = core::slice::from_raw_parts(scratch.cast::<u8>(), size);
            if RECORDS.output::<[u8]>(bytes, NO_WAKEUP).is_err() {
                loss::count(reason::SYSCALL_RECORD);
            }
        }
        Some(())
    }
}

/// `syscalls:sys_enter_sigaltstack(uss, uoss)`.
#[tracepoint]
pub fn sys_enter_sigaltstack(ctx: TracePointContext) -> u32 {
    try_sys_enter_sigaltstack(&ctx);
    0
}

#[inline(always)]
fn try_sys_enter_sigaltstack(ctx: &TracePointContext) -> Option<()> {
    let caller = Caller::main()?;
    // The king computes with a small kernel of its own, which is no event.
    if caller.is_king() {
        return None;
    }
    let stack = argument(ctx, 0) as *const SignalStack;
    if stack.is_null() {
        return None;
    }
    // SAFETY: the helper checks the address.
    let stack = unsafe { bpf_probe_read_user(stack) }.ok()?;
    let begins = stack.flags & SS_DISABLE == 0;
    let number = if begins {
        // SAFETY: as above. Where there is no loom of a layout we know, user space does not look at it.
        unsafe { bpf_probe_read_user(EVENT_NUMBER_ADDRESS as *const u64) }.unwrap_or(0)
    } else {
        0
    };
    caller.record(CALL_SIGALTSTACK, 0, stack.flags.into(), number, 0)
}

/// `syscalls:sys_enter_writev(fd, vec, vlen)`.
#[tracepoint]
pub fn sys_enter_writev(ctx: TracePointContext) -> u32 {
    try_sys_enter_writev(&ctx);
    0
}

#[inline(always)]
fn try_sys_enter_writev(ctx: &TracePointContext) -> Option<()> {
    // The header and the noun (`pkg/vere/newt.c`); libuv writes each message by itself.
    if argument(ctx, 2) != 2 {
        return None;
    }
    let caller = Caller::main()?;
    let vectors = argument(ctx, 1) as *const [IoVector; 2];
    // SAFETY: the helper checks the address.
    let Ok([header, noun]) = (unsafe { bpf_probe_read_user(vectors) }) else {
        loss::count(reason::FRAME_PARTS);
        return None;
    };
    if header.length != FRAME_HEADER_BYTES {
        return None;
    }
    // A header that is not in memory cannot be checked. The frame is kept: its descriptor tells.
    // SAFETY: as above.
    if let Ok(bytes) = unsafe { bpf_probe_read_user(header.base as *const [u8; 5]) } {
        let length = u32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
        if bytes[0] != 0 || u64::from(length) != noun.length {
            return None;
        }
    }
    // SAFETY: a live map value; only the king's main thread, which is current, changes it.
    let turn = unsafe { (*caller.process).turn_ktime_ns };
    caller.record(CALL_WRITEV, argument(ctx, 0), noun.length, turn, noun.base)
}

/// `syscalls:sys_enter_epoll_pwait(epfd, …)`: a turn of the king's loop ends, and the next begins with
/// what is waited for here. Mostly only noted for the frames that it sends: most turns send none.
#[tracepoint]
pub fn sys_enter_epoll_pwait(_ctx: TracePointContext) -> u32 {
    try_sys_enter_epoll_pwait();
    0
}

#[inline(always)]
fn try_sys_enter_epoll_pwait() -> Option<()> {
    let id = bpf_get_current_pid_tgid();
    if (id >> 32) as u32 != id as u32 {
        return None;
    }
    let process = ship::process(id as u32)?;
    // SAFETY: a live map value; only the process' main thread, which is current, changes its turn.
    unsafe {
        if (*process).is_king == 0 {
            return None;
        }
        (*process).turn_ktime_ns = bpf_ktime_get_ns();
        if (*process).commits == 0 {
            return None;
        }
    }
    Caller::of(id)?.record(CALL_EPOLL_PWAIT, 0, 0, 0, 0)
}

/// `syscalls:sys_enter_fdatasync(fd)`.
#[tracepoint]
pub fn sys_enter_fdatasync(ctx: TracePointContext) -> u32 {
    if let Some(caller) = Caller::current() {
        caller.record(CALL_FDATASYNC, argument(&ctx, 0), 0, 0, 0);
    }
    0
}
