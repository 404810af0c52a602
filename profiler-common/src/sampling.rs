//! Sampling mode: what it takes of stacks, added up where they are taken.

use crate::record::StackLengths;
use crate::shared;
use crate::stack::SUM_WORDS;

/// `kind` in a [`StackKey`]: the thread was running when the sampling clock ticked.
pub const STACK_ON_CPU: u32 = 1;
/// `kind` in a [`StackKey`]: the thread blocked there, and not for work.
pub const STACK_OFF_CPU: u32 = 2;

/// A thread's syscalls fall into this many slots, by the low bits of their numbers; each slot has a
/// stack taken at most once in the interval. So a rare wait has one although a frequent one does.
pub const STACK_SLOTS: usize = 8;

/// Slot of a syscall.
#[inline(always)]
pub const fn stack_slot(syscall_nr: i32) -> usize {
    (syscall_nr & (STACK_SLOTS as i32 - 1)) as usize
}

shared! {
    /// What the programs are told while they run; one entry.
    pub struct Control {
        /// New with each window: stacks are added up under it, so that those of the window before
        /// stand still while they are read.
        pub epoch: u32,
        /// Every how many ticks of the sampling clock a stack is taken; 0 for none.
        pub on_cpu_every: u32,
        /// Least time between two stacks of one [`stack_slot`] of a thread that blocks;
        /// `u64::MAX` for none.
        pub off_cpu_interval_ns: u64,
        /// 0 if block I/O and datagrams are not summed.
        pub io: u32,
        /// Unused.
        pub reserved: u32,
    }

    /// Key of `STACK_SUMS`.
    pub struct StackKey {
        /// Of the frames. Stacks that differ under the same key are not merged, but lost and counted.
        pub hash: u64,
        /// Process.
        pub tgid: u32,
        /// Thread.
        pub tid: u32,
        /// [`STACK_ON_CPU`] or [`STACK_OFF_CPU`].
        pub kind: u32,
        /// Syscall it was blocked in, as in `sched::WaitKey`; 0 on CPU.
        pub syscall_nr: i32,
        /// One of `sched::TASK_…`; 0 on CPU.
        pub task_state: u32,
        /// The control's when it was taken.
        pub epoch: u32,
    }

    /// Value of `STACK_SUMS`.
    pub struct StackSum {
        /// Ticks, or waits that have ended.
        pub count: u64,
        /// Time of those waits; 0 on CPU.
        pub total_ns: u64,
        /// How many of the frames are the user's, how many the kernel's.
        pub lengths: StackLengths,
        /// User frames, then kernel frames right behind them; what lies behind means nothing.
        pub frames: [u64; SUM_WORDS],
    }

    /// Value of `STACK_PENDING`: what a thread's next stack depends on.
    pub struct PendingStack {
        /// Of the wait that it is in, if `kind` is not 0.
        pub key: StackKey,
        /// When a stack was last taken, by [`stack_slot`].
        pub taken_ktime_ns: [u64; STACK_SLOTS],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_syscall_number_has_a_slot() {
        for nr in [-5, -1, 0, 75, 441, i32::MAX, i32::MIN] {
            assert!(stack_slot(nr) < STACK_SLOTS, "{nr}");
        }
        assert_ne!(stack_slot(75), stack_slot(202));
    }
}
