//! The programs that run in the kernel. Each file is one probe family; each program is a thin
//! entry point, named as the point that it attaches to.
//!
//! All of them answer two questions first, as cheaply as they can: is this task of a ship, and
//! is it inside the capture's window?
#![no_std]
#![no_main]
// For `atomic.rs`. The programs are built by a nightly compiler, or one told to be like it.
#![allow(internal_features)]
#![feature(core_intrinsics)]

mod ames;
mod atomic;
mod block;
mod cpu_clock;
mod frames;
mod hoon;
mod kernel;
mod loss;
mod memory;
mod neighbour;
mod sampling;
mod sched;
mod ship;
mod snapshot;
mod stack;
mod syscall;
mod task;
mod turnaround;
mod udp;
mod wait;
mod writeback;

use aya_ebpf::macros::map;
use aya_ebpf::maps::RingBuf;

/// Records for user space. Never wakes it: user space looks in by the clock, so that recording
/// costs no context switch. Its size is set at load time.
#[map]
pub static RECORDS: RingBuf = RingBuf::with_byte_size(4 << 20, 0);

/// 1 in the deep dive; 0 in sampling mode, where sums are all that is wanted of waits and block I/O.
/// Overridden by the loader.
#[unsafe(no_mangle)]
static RECORDING: u32 = 1;

/// Whether single waits and block I/O are recorded, with their stacks. A constant to the verifier.
#[inline(always)]
pub fn recording() -> bool {
    kernel::constant(&raw const RECORDING) != 0
}

/// `BPF_RB_NO_WAKEUP` (`include/uapi/linux/bpf.h`).
pub const NO_WAKEUP: u64 = 1;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// The kernel lets only GPL-compatible programs call its tracing helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
