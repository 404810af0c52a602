//! Taking a thread's stacks: user frames first, kernel frames right behind them.

use aya_ebpf::helpers::generated::bpf_get_stack;
use core::ffi::c_void;
use profiler_common::loss as reason;
use profiler_common::record::{MAX_KERNEL_FRAMES, MAX_USER_FRAMES, STACK_WORDS, StackLengths};

use crate::loss;

/// `BPF_F_USER_STACK` (`include/uapi/linux/bpf.h`).
const USER_STACK: u64 = 1 << 8;
/// Mask that bounds the user part for the verifier: 127 frames of 8 bytes are 1016.
const USER_MASK: usize = 0x3f8;
/// Mask that bounds the kernel part: 63 frames of 8 bytes are 504.
const KERNEL_MASK: usize = 0x1f8;

/// Stacks of the current thread.
///
/// # Safety
/// `ctx` must be the context of a program that may call `bpf_get_stack`; `frames` must be valid.
#[inline(always)]
pub unsafe fn take(ctx: *mut c_void, frames: *mut [u64; STACK_WORDS]) -> StackLengths {
    let base = frames.cast::<u8>();
    // SAFETY: the buffer holds both parts at their largest: 1016 + 504 < 8 * STACK_WORDS.
    let user = unsafe { bpf_get_stack(ctx, base.cast(), (MAX_USER_FRAMES * 8) as u32, USER_STACK) };
    let user_bytes = if user > 0 {
        user as usize & USER_MASK
    } else {
        loss::count(reason::USER_STACK);
        0
    };
    // SAFETY: as above; the offset is masked.
    let kernel = unsafe {
        bpf_get_stack(
            ctx,
            base.add(user_bytes).cast(),
            (MAX_KERNEL_FRAMES * 8) as u32,
            0,
        )
    };
    // A sample taken in user mode has no kernel frames; that is no loss.
    let kernel_bytes = if kernel > 0 {
        kernel as usize & KERNEL_MASK
    } else {
        0
    };
    StackLengths {
        user_bytes: user_bytes as u32,
        kernel_bytes: kernel_bytes as u32,
    }
}

/// Kernel frames of the current thread alone.
///
/// # Safety
/// As of [`take`].
#[inline(always)]
pub unsafe fn take_kernel(ctx: *mut c_void, frames: *mut [u64; STACK_WORDS]) -> StackLengths {
    // SAFETY: the buffer is larger than that.
    let kernel = unsafe { bpf_get_stack(ctx, frames.cast(), (MAX_KERNEL_FRAMES * 8) as u32, 0) };
    StackLengths {
        user_bytes: 0,
        kernel_bytes: if kernel > 0 {
            (kernel as usize & KERNEL_MASK) as u32
        } else {
            0
        },
    }
}

/// Bytes of both parts, bounded for the verifier.
#[inline(always)]
pub fn bytes(stack: &StackLengths) -> usize {
    (stack.user_bytes as usize & USER_MASK) + (stack.kernel_bytes as usize & KERNEL_MASK)
}

/// Where the kernel part begins among the frames, and how many there are, bounded for the verifier.
#[inline(always)]
pub fn kernel_words(stack: &StackLengths) -> (usize, usize) {
    (
        (stack.user_bytes as usize & USER_MASK) / 8,
        (stack.kernel_bytes as usize & KERNEL_MASK) / 8,
    )
}
