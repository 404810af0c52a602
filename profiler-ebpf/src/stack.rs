//! Taking a thread's stacks: user frames first, kernel frames right behind them, then pieces of the
//! user's stack for what frame pointers do not tell (`profiler_common::stack`).

use aya_ebpf::helpers::generated::bpf_get_stack;
use core::ffi::c_void;
use core::hint::black_box;
use profiler_common::loss as reason;
use profiler_common::record::StackLengths;
use profiler_common::stack::{
    MAX_KERNEL_FRAMES, MAX_SUM_USER_FRAMES, STACK_WORDS, SUM_WORDS, StackScratch, WALK_NONE,
    WALK_UNKNOWN,
};

use crate::kernel::constant;
use crate::{frames, loss};

/// 0 where frame pointers are known to lead nowhere. Overridden by the loader.
#[unsafe(no_mangle)]
static USER_STACKS: u32 = 1;

/// `BPF_F_USER_STACK` (`include/uapi/linux/bpf.h`).
const USER_STACK: u64 = 1 << 8;
/// Mask that bounds the user part for the verifier: 1023 frames of 8 bytes are 8184.
pub const USER_MASK: usize = 0x1ff8;
/// The same where stacks are added up: 127 frames are 1016.
const SUM_MASK: usize = 0x3f8;
/// Mask that bounds the kernel part: 63 frames of 8 bytes are 504.
pub const KERNEL_MASK: usize = 0x1f8;
/// Mask that bounds all parts together.
const ALL_MASK: usize = 0x7ff8;

/// Stacks of the current thread.
///
/// # Safety
/// `ctx` must be the context of a program that may call `bpf_get_stack`; `scratch` must be a map value
/// that nobody else uses.
#[inline(always)]
pub unsafe fn take(ctx: *mut c_void, scratch: *mut StackScratch) -> StackLengths {
    let base = scratch.cast::<u8>();
    let mut lengths = StackLengths::NONE;
    if constant(&raw const USER_STACKS) == 0 {
        lengths.walk = WALK_NONE;
    } else {
        // SAFETY: by the contract.
        unsafe {
            frames::walk(scratch);
            lengths.walk = (&raw const (*scratch).walk.end).read_volatile() as u16;
            let count = (&raw const (*scratch).walk.count).read_volatile();
            lengths.user_bytes = count as u16 * 8;
        }
    }
    let user_bytes = lengths.user_bytes as usize & USER_MASK;
    // SAFETY: the buffer holds all parts at their largest.
    let kernel = unsafe { kernel_frames(ctx, base.add(user_bytes)) };
    lengths.kernel_bytes = kernel as u16;
    if user_bytes != 0 {
        // SAFETY: by the contract.
        unsafe {
            frames::copy(scratch, (user_bytes + kernel) as u64);
            lengths.copy_bytes = (&raw const (*scratch).walk.copied).read_volatile() as u16;
        }
    }
    lengths
}

/// Kernel frames; their bytes.
///
/// # Safety
/// `to` must have room for [`MAX_KERNEL_FRAMES`].
#[inline(always)]
unsafe fn kernel_frames(ctx: *mut c_void, to: *mut u8) -> usize {
    // SAFETY: by the contract.
    let kernel = unsafe { bpf_get_stack(ctx, to.cast(), (MAX_KERNEL_FRAMES * 8) as u32, 0) };
    // A sample taken in user mode has no kernel frames; that is no loss.
    if kernel > 0 {
        kernel as usize & KERNEL_MASK
    } else {
        0
    }
}

/// Stacks of the current thread, to be added up: as far as the kernel follows them.
///
/// # Safety
/// `ctx` must be the context of a program that may call `bpf_get_stack`; `frames` must be valid.
#[inline(always)]
pub unsafe fn take_sum(ctx: *mut c_void, frames: *mut [u64; SUM_WORDS]) -> StackLengths {
    let base = frames.cast::<u8>();
    let size = (MAX_SUM_USER_FRAMES * 8) as u32;
    // SAFETY: the buffer holds both parts at their largest: 1016 + 504 < 8 * SUM_WORDS.
    let user = unsafe { bpf_get_stack(ctx, base.cast(), size, USER_STACK) };
    let user_bytes = if user > 0 {
        user as usize & SUM_MASK
    } else {
        loss::count(reason::USER_STACK);
        0
    };
    StackLengths {
        user_bytes: user_bytes as u16,
        walk: WALK_UNKNOWN,
        // SAFETY: as above; the offset is masked.
        kernel_bytes: unsafe { kernel_frames(ctx, base.add(user_bytes)) } as u16,
        copy_bytes: 0,
    }
}

/// Kernel frames of the current thread alone.
///
/// # Safety
/// As of [`take_sum`].
#[inline(always)]
pub unsafe fn take_kernel(ctx: *mut c_void, frames: *mut [u64; SUM_WORDS]) -> StackLengths {
    StackLengths {
        // SAFETY: the buffer is larger than that.
        kernel_bytes: unsafe { kernel_frames(ctx, frames.cast()) } as u16,
        ..StackLengths::NONE
    }
}

/// Bytes of all parts, bounded for the verifier.
#[inline(always)]
pub fn bytes(stack: &StackLengths) -> usize {
    let bytes = usize::from(stack.user_bytes)
        + usize::from(stack.kernel_bytes)
        + usize::from(stack.copy_bytes);
    let bytes = black_box(bytes) & ALL_MASK;
    if bytes > 8 * STACK_WORDS { 0 } else { bytes }
}

/// Words of a stack that is added up, bounded for the verifier.
#[inline(always)]
pub fn sum_words(stack: &StackLengths) -> usize {
    ((stack.user_bytes as usize & SUM_MASK) + (stack.kernel_bytes as usize & KERNEL_MASK)) / 8
}

/// The kernel frames of a stack: where they begin among its words, and how many there are.
#[derive(Clone, Copy)]
pub struct KernelPart {
    /// Bounded for the verifier.
    pub first: usize,
    /// Bounded for the verifier.
    pub count: usize,
}

impl KernelPart {
    /// Of a stack that is sent.
    #[inline(always)]
    pub fn of(stack: &StackLengths) -> Self {
        Self::within(stack, USER_MASK)
    }

    /// Of a stack that is added up.
    #[inline(always)]
    pub fn of_sum(stack: &StackLengths) -> Self {
        Self::within(stack, SUM_MASK)
    }

    #[inline(always)]
    fn within(stack: &StackLengths, user_mask: usize) -> Self {
        Self {
            first: (stack.user_bytes as usize & user_mask) / 8,
            count: (stack.kernel_bytes as usize & KERNEL_MASK) / 8,
        }
    }
}
