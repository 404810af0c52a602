//! Adding to a counter that several CPUs may change at once.
//!
//! `core::sync::atomic` offers no `fetch_add` on this target, because it has no
//! compare-and-swap; the instruction is there all the same.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

/// Adds (wrapping, so that a two's complement subtracts). One `lock *(u64 *)` instruction, since
/// the old value is not used.
#[inline(always)]
pub fn add(counter: *mut u64, value: u64) {
    // LLVM turns adding a constant 0 into an atomic `|= 0`, which 5.10 refuses ("BPF_STX uses reserved
    // fields"); the kernel knows it since 5.12 ("bpf: Add bitwise atomic instructions").
    if value != 0 {
        // SAFETY: callers pass aligned counters in maps, which are only ever changed like this.
        unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, value) };
    }
}
