//! The contract between the eBPF programs and user space, said once: what the programs write
//! to the ring buffer and to their maps, and what they are told at load time.
//!
//! Every type here is `repr(C)`, has no padding, and holds integers only: the kernel side may
//! write any bit pattern, so there is no `bool`, enum, `Option` or `usize`. One file per probe
//! family, named like its programs' file in `profiler-ebpf` and its summary's in
//! `profiler/src/aggregate`. Times are nanoseconds of `CLOCK_MONOTONIC` (`bpf_ktime_get_ns`).
#![no_std]

pub mod ames;
pub mod arch;
pub mod block;
pub mod cpu_clock;
pub mod histogram;
pub mod hoon;
pub mod loss;
pub mod memory;
pub mod neighbour;
pub mod offsets;
pub mod packet;
pub mod record;
pub mod sampling;
pub mod sched;
pub mod ship;
pub mod snapshot;
pub mod stack;
pub mod syscall;
pub mod turnaround;
pub mod udp;
pub mod writeback;

/// Length of a task's name in the kernel, its terminating zero included
/// (`TASK_COMM_LEN`, `include/linux/sched.h`).
pub const COMM_LEN: usize = 16;

/// Declares types shared by the programs and user space: `repr(C)`, plain, and, for user space,
/// readable from bytes (checked at compile time to have no padding) and usable in aya's maps.
#[macro_export]
macro_rules! shared {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* pub $field:ident: $ty:ty,)* })*) => {$(
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(
            feature = "user",
            derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable)
        )]
        pub struct $name { $($(#[$fmeta])* pub $field: $ty,)* }

        // SAFETY: `repr(C)`, integers and arrays of them only, no padding (`IntoBytes` above
        // would not derive otherwise).
        #[cfg(feature = "user")]
        unsafe impl aya::Pod for $name {}
    )*};
}
