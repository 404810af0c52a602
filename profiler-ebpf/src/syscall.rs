//! Entries of the syscalls that bound an event: what happens in between is told by the switches.
//!
//! Where the kernel lets programs be called by its functions, each call has one at its own
//! (`enter_writev`…), and no other call of the machine becomes slower. Elsewhere one program sees the
//! entries of all: with any tracepoint of system calls, every call of the machine takes the slow way into
//! the kernel.

use aya_ebpf::helpers::generated::bpf_probe_read_user as probe_read_user;
use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_get_smp_processor_id, bpf_ktime_get_ns, bpf_probe_read_user,
};
use aya_ebpf::macros::{btf_tracepoint, fentry, map};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::{BtfTracePointContext, FEntryContext};
use core::ffi::c_void;
use core::hint::black_box;
use profiler_common::arch::{EPOLL_PWAIT, FDATASYNC, SIGALTSTACK, WRITEV};
use profiler_common::loss as reason;
use profiler_common::record::{KIND_SYSCALL, RecordHeader};
use profiler_common::ship::ShipProcess;
use profiler_common::syscall::{
    CALL_EPOLL_PWAIT, CALL_FDATASYNC, CALL_SIGALTSTACK, CALL_WRITEV, EVENT_NUMBER_ADDRESS,
    HEAD_BYTES, IoVector, SS_DISABLE, SignalStack, SyscallRecord, SyscallScratch,
};

use crate::kernel::{load, offset};
use crate::{NO_WAKEUP, RECORDS, loss, recording, ship, turnaround};

/// Where the record of a frame is built. A thread may be preempted meanwhile, but not by the same program:
/// that one the kernel does not run, and counts it (`recursion_misses`).
#[map]
static FRAME_SCRATCH: PerCpuArray<SyscallScratch> = PerCpuArray::with_max_entries(1, 0);

/// `raw_syscalls:sys_enter(regs, id)`: any thread of the machine enters a syscall.
#[btf_tracepoint(function = "sys_enter")]
pub fn sys_enter(ctx: BtfTracePointContext) -> i32 {
    let nr: i64 = ctx.arg(1);
    let call = nr as i32;
    if call == WRITEV {
        writev(Arguments(ctx.arg(0)));
    } else if recording() && call == EPOLL_PWAIT {
        epoll_pwait();
    } else if recording() && call == SIGALTSTACK {
        sigaltstack(Arguments(ctx.arg(0)));
    } else if recording() && call == FDATASYNC {
        fdatasync(Arguments(ctx.arg(0)));
    }
    0
}

/// `__x64_sys_writev(regs)`: any thread of the machine makes this call.
#[fentry]
pub fn enter_writev(ctx: FEntryContext) -> i32 {
    writev(Arguments(ctx.arg(0)));
    0
}

/// `__x64_sys_epoll_pwait(regs)`.
#[fentry]
pub fn enter_epoll_pwait(_ctx: FEntryContext) -> i32 {
    epoll_pwait();
    0
}

/// `__x64_sys_sigaltstack(regs)`.
#[fentry]
pub fn enter_sigaltstack(ctx: FEntryContext) -> i32 {
    sigaltstack(Arguments(ctx.arg(0)));
    0
}

/// `__x64_sys_fdatasync(regs)`.
#[fentry]
pub fn enter_fdatasync(ctx: FEntryContext) -> i32 {
    fdatasync(Arguments(ctx.arg(0)));
    0
}

/// The arguments of a syscall at its entry: the registers that were passed.
#[derive(Clone, Copy)]
struct Arguments(*const c_void);

impl Arguments {
    #[inline(always)]
    fn first(self) -> u64 {
        // SAFETY: a tracepoint's argument.
        unsafe { load(self.0, offset!(regs_argument_1)) }
    }

    #[inline(always)]
    fn second(self) -> u64 {
        // SAFETY: as above.
        unsafe { load(self.0, offset!(regs_argument_2)) }
    }

    #[inline(always)]
    fn third(self) -> u64 {
        // SAFETY: as above.
        unsafe { load(self.0, offset!(regs_argument_3)) }
    }
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

    /// Sends a record.
    #[inline(always)]
    fn record(&self, call: u32, fd: u64, value: u64, detail: u64) {
        let Some(mut entry) = RECORDS.reserve::<SyscallRecord>(0) else {
            loss::count(reason::SYSCALL_RECORD);
            return;
        };
        entry.write(self.record_of(call, fd, value, detail, 0));
        entry.submit(NO_WAKEUP);
    }

    #[inline(always)]
    fn record_of(
        &self,
        call: u32,
        fd: u64,
        value: u64,
        detail: u64,
        head_bytes: u32,
    ) -> SyscallRecord {
        SyscallRecord {
            header: RecordHeader {
                ktime_ns: self.now,
                kind: KIND_SYSCALL,
                // SAFETY: no arguments.
                cpu: unsafe { bpf_get_smp_processor_id() },
                tgid: self.tgid,
                tid: self.tid,
            },
            call,
            fd: fd as u32,
            value,
            detail,
            head_bytes,
            reserved: 0,
        }
    }

    /// Sends the record of a frame, with what fits of its noun.
    #[inline(always)]
    fn frame(&self, fd: u64, noun: IoVector, turn_ktime_ns: u64) -> Option<()> {
        let scratch = FRAME_SCRATCH.get_ptr_mut(0)?;
        let mut head_bytes = 0;
        // SAFETY: this CPU's scratch, of a program that does not nest.
        unsafe {
            let to = (&raw mut (*scratch).head).cast();
            let head = noun.base as *const c_void;
            // Two calls, and a mask that LLVM cannot see to be needless: kernels before 6.8 forget
            // the bounds of a value that was kept on the stack meanwhile.
            let (wanted, read) = if noun.length < HEAD_BYTES as u64 {
                let wanted = black_box(noun.length as u32) & (HEAD_BYTES as u32 - 1);
                (wanted, probe_read_user(to, wanted, head))
            } else {
                let wanted = HEAD_BYTES as u32;
                (wanted, probe_read_user(to, wanted, head))
            };
            if read == 0 {
                head_bytes = wanted;
            }
            (*scratch).record =
                self.record_of(CALL_WRITEV, fd, noun.length, turn_ktime_ns, head_bytes);
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

/// `sigaltstack(uss, uoss)`.
#[inline(always)]
fn sigaltstack(arguments: Arguments) -> Option<()> {
    let caller = Caller::main()?;
    // The king computes with a small kernel of its own, which is no event.
    if caller.is_king() {
        return None;
    }
    let stack = arguments.first() as *const SignalStack;
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
    caller.record(CALL_SIGALTSTACK, 0, stack.flags.into(), number);
    Some(())
}

/// `writev(fd, vec, vlen)`.
#[inline(always)]
fn writev(arguments: Arguments) -> Option<()> {
    if !recording() {
        return sampled(arguments);
    }
    if arguments.third() != 2 {
        return None;
    }
    let caller = Caller::main()?;
    let Ok(noun) = turnaround::frame(arguments.second(), arguments.third()) else {
        loss::count(reason::FRAME_PARTS);
        return None;
    };
    let noun = noun?;
    // SAFETY: a live map value; only the king's main thread, which is current, changes it.
    let turn = unsafe { (*caller.process).turn_ktime_ns };
    caller.frame(arguments.first(), noun, turn)
}

/// Where there is no `sock_send_length` (before 6.3).
#[inline(always)]
fn sampled(arguments: Arguments) -> Option<()> {
    let id = bpf_get_current_pid_tgid();
    let tgid = (id >> 32) as u32;
    if tgid != id as u32 || !ship::may_watch(tgid) {
        return None;
    }
    turnaround::message(
        tgid,
        turnaround::frame(arguments.second(), arguments.third()).ok()??,
    )
}

/// `epoll_pwait(epfd, …)`: a turn of the king's loop ends, and the next begins with what is waited for
/// here. Mostly only noted for the frames that it sends: most turns send none.
#[inline(always)]
fn epoll_pwait() -> Option<()> {
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
    Caller::of(id)?.record(CALL_EPOLL_PWAIT, 0, 0, 0);
    Some(())
}

/// `fdatasync(fd)`.
#[inline(always)]
fn fdatasync(arguments: Arguments) -> Option<()> {
    Caller::current()?.record(CALL_FDATASYNC, arguments.first(), 0, 0);
    Some(())
}
