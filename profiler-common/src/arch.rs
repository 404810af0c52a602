//! What differs between architectures, in one place.
//!
//! Syscall numbers: `arch/x86/entry/syscalls/syscall_64.tbl` and
//! `include/uapi/asm-generic/unistd.h` of Linux. The programs are built with
//! `--cfg=bpf_target_arch="…"`; user space with its own `target_arch`.

/// Number that a task's saved registers hold when it is not in a syscall: it blocked in a page
/// fault, an interrupt's return path or another exception.
pub const NO_SYSCALL: i32 = -1;

/// Where the kernel keeps the registers of what a signal interrupted, from the address behind that which
/// the handler returns to.
#[derive(Clone, Copy)]
pub struct SignalRegisters {
    /// Instruction pointer.
    pub pc: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer.
    pub fp: u64,
}

#[cfg(any(
    bpf_target_arch = "x86_64",
    all(not(target_arch = "bpf"), target_arch = "x86_64")
))]
mod numbers {
    /// `struct rt_sigframe` (`arch/x86/include/asm/sigframe.h`): behind the address of the restorer is
    /// `struct ucontext`, with the `gregs` at 40 (`include/uapi/asm/sigcontext.h`).
    pub const SIGNAL_REGISTERS: Option<super::SignalRegisters> = Some(super::SignalRegisters {
        pc: 40 + 16 * 8,
        sp: 40 + 15 * 8,
        fp: 40 + 10 * 8,
    });
    /// How the kernel's functions of system calls begin (`arch/x86/include/asm/syscall_wrapper.h`).
    pub const SYSCALL_PREFIX: &str = "__x64_sys_";
    /// Size of a kernel stack, `THREAD_SIZE` (`arch/x86/include/asm/page_64_types.h`, no KASAN).
    pub const KERNEL_STACK_BYTES: u64 = 16 * 1024;
    /// `pwrite64`.
    pub const PWRITE64: i32 = 18;
    /// `writev`.
    pub const WRITEV: i32 = 20;
    /// `fdatasync`.
    pub const FDATASYNC: i32 = 75;
    /// `sigaltstack`.
    pub const SIGALTSTACK: i32 = 131;
    /// `epoll_pwait`.
    pub const EPOLL_PWAIT: i32 = 281;
    pub(super) const IDLE: [i32; 9] = [
        7,   // poll
        23,  // select
        35,  // nanosleep
        202, // futex
        230, // clock_nanosleep
        232, // epoll_wait
        271, // ppoll
        281, // epoll_pwait
        441, // epoll_pwait2
    ];
}

#[cfg(any(
    bpf_target_arch = "aarch64",
    all(not(target_arch = "bpf"), target_arch = "aarch64")
))]
mod numbers {
    /// None: the kernel links the frame of the handler to what was interrupted by a frame record
    /// (`arch/arm64/kernel/signal.c`, `struct frame_record`), and keeps the registers elsewhere.
    pub const SIGNAL_REGISTERS: Option<super::SignalRegisters> = None;
    /// How the kernel's functions of system calls begin (`arch/arm64/include/asm/syscall_wrapper.h`).
    pub const SYSCALL_PREFIX: &str = "__arm64_sys_";
    /// Size of a kernel stack, `THREAD_SIZE` (`arch/arm64/include/asm/memory.h`, 4 KiB pages).
    pub const KERNEL_STACK_BYTES: u64 = 16 * 1024;
    /// `pwrite64`.
    pub const PWRITE64: i32 = 68;
    /// `writev`.
    pub const WRITEV: i32 = 66;
    /// `fdatasync`.
    pub const FDATASYNC: i32 = 83;
    /// `sigaltstack`.
    pub const SIGALTSTACK: i32 = 132;
    /// `epoll_pwait`.
    pub const EPOLL_PWAIT: i32 = 22;
    pub(super) const IDLE: [i32; 9] = [
        22,  // epoll_pwait
        72,  // pselect6
        73,  // ppoll
        98,  // futex
        101, // nanosleep
        115, // clock_nanosleep
        441, // epoll_pwait2
        441, 441,
    ];
}

pub use numbers::{
    EPOLL_PWAIT, FDATASYNC, KERNEL_STACK_BYTES, PWRITE64, SIGALTSTACK, SIGNAL_REGISTERS,
    SYSCALL_PREFIX, WRITEV,
};

/// Whether a thread that sleeps (interruptibly) in this syscall usually waits for work: such
/// waits get no stack, since they would drown the others.
#[inline(always)]
pub fn waits_for_work(syscall_nr: i32) -> bool {
    let idle = &numbers::IDLE;
    syscall_nr == idle[0]
        || syscall_nr == idle[1]
        || syscall_nr == idle[2]
        || syscall_nr == idle[3]
        || syscall_nr == idle[4]
        || syscall_nr == idle[5]
        || syscall_nr == idle[6]
        || syscall_nr == idle[7]
        || syscall_nr == idle[8]
}
