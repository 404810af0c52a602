//! User frames: following frame pointers, and copying pieces of the stack for where there are none.
//!
//! A register or word is only believed to be a frame pointer if it leads to a return into the
//! process' code; whether it is the right one user space finds out. Where a handler of a signal
//! returns to, what it interrupted begins a segment of its own.

use aya_ebpf::helpers::generated::bpf_probe_read_user as probe_read_user;
use core::hint::black_box;
use core::mem::MaybeUninit;
use profiler_common::arch::SIGNAL_REGISTERS;
use profiler_common::loss as reason;
use profiler_common::stack::{
    COPY_BYTES, MAX_CANDIDATES, MAX_COPIES, MAX_FRAME_BYTES, MAX_USER_FRAMES, SegmentHead,
    StackScratch, WALK_BROKEN, WALK_FULL, WALK_ROOT, Walk,
};

use crate::kernel::{process_code, user_registers};
use crate::loss;
use crate::stack::{KERNEL_MASK, USER_MASK};

/// Bytes of a segment's head.
const HEAD: usize = size_of::<SegmentHead>();
/// Mask of an index: twice what is kept, so that the walk needs no check of its own. Kernel frames and
/// copies come to the same words later.
const INDEX_MASK: usize = 2 * MAX_USER_FRAMES + 1;

/// Length of the code that handlers return to: `mov $15,%rax; syscall`.
const RESTORER_BYTES: u64 = 9;
/// Where nothing returns to: no address, and no number that stacks hold for any other reason.
const NO_RESTORER: u64 = 0x8000_5a5a_5a5a_5a5a;

/// Follows the frame pointers of the current thread; count and end are left in `scratch.walk`. Nothing is
/// returned: what the verifier knows of a value it would follow through the rest of the program, once
/// for each value. It also counts the branches of all steps, of which there may be 8192
/// (`BPF_COMPLEXITY_LIMIT_JMP_SEQ`).
///
/// # Safety
/// `scratch` must be a map value that nobody else uses.
#[inline(never)]
pub unsafe fn walk(scratch: *mut StackScratch) {
    // SAFETY: by the contract.
    unsafe {
        let walk = &raw mut (*scratch).walk;
        (&raw mut (*walk).count).write_volatile(0);
        (&raw mut (*walk).end).write_volatile(WALK_BROKEN.into());
        if begin(scratch).is_none() {
            loss::count(reason::USER_STACK);
            return;
        }
        let mut context = signal_context(scratch);
        if context == 0 {
            find_first(walk, 0);
            follow(scratch, 0);
            if (&raw const (*walk).at_restorer).read_volatile() != 0 {
                context = behind_return((&raw const (*walk).fp).read_volatile());
            }
        }
        if context != 0
            && let Some(registers) = interrupted(context)
        {
            begin_segment(scratch, 1, registers);
            find_first(walk, 1);
            (&raw mut (*walk).restorer).write_volatile(NO_RESTORER);
            follow(scratch, 1);
        }
        let count = (&raw const (*walk).count).read_volatile();
        if count as usize >= MAX_USER_FRAMES {
            (&raw mut (*walk).count).write_volatile(MAX_USER_FRAMES as u32);
            (&raw mut (*walk).end).write_volatile(WALK_FULL.into());
        } else if (&raw const (*walk).failed).read_volatile() == 0 {
            (&raw mut (*walk).end).write_volatile(WALK_ROOT.into());
        }
    }
}

/// Looks up what the walk needs to know of the process. Nothing if it has no memory any more.
#[inline(always)]
unsafe fn begin(scratch: *mut StackScratch) -> Option<()> {
    let registers = user_registers()?;
    let code = process_code()?;
    // SAFETY: by the caller.
    unsafe {
        let walk = &raw mut (*scratch).walk;
        (*walk).code_start = code.start;
        (*walk).code_bytes = code.end.wrapping_sub(code.start);
        (*walk).restorer = if code.restorer == 0 {
            NO_RESTORER
        } else {
            code.restorer
        };
        begin_segment(scratch, 0, registers);
    }
    Some(())
}

/// The frames that follow are found from these registers.
#[inline(always)]
unsafe fn begin_segment(scratch: *mut StackScratch, index: usize, [pc, sp, fp]: [u64; 3]) {
    // SAFETY: by the caller; the index is below the length.
    unsafe {
        let walk = &raw mut (*scratch).walk;
        let first = (&raw const (*walk).count).read_volatile();
        let heads = (&raw mut (*walk).heads).cast::<SegmentHead>();
        heads.add(index).write_volatile(SegmentHead {
            pc,
            sp,
            fp,
            chain_fp: 0,
            first,
            bytes: 0,
        });
        (&raw mut (*walk).segments).write_volatile(index as u32 + 1);
        push(scratch, pc);
    }
}

/// Adds a frame.
#[inline(always)]
unsafe fn push(scratch: *mut StackScratch, address: u64) {
    // SAFETY: by the caller; the index is masked.
    unsafe {
        let walk = &raw mut (*scratch).walk;
        let count = (&raw const (*walk).count).read_volatile();
        let words = (&raw mut (*scratch).words).cast::<u64>();
        words
            .add(count as usize & INDEX_MASK)
            .write_volatile(address);
        (&raw mut (*walk).count).write_volatile(count + 1);
    }
}

/// Finds the segment's first frame: where its register says, else where a word of its stack does, else
/// where the register says although that is no code of the executable (a library's lies elsewhere). One
/// whose caller has a frame as well goes before the others: the vDSO keeps frame pointers, but what calls
/// it may hold anything in the register.
#[inline(always)]
unsafe fn find_first(walk: *mut Walk, index: usize) {
    // SAFETY: by the caller; the index is below the length. Volatile, so that nothing is carried from
    // step to step in registers.
    unsafe {
        let head = (&raw mut (*walk).heads).cast::<SegmentHead>().add(index);
        let (sp, register) = ((*head).sp, (*head).fp);
        (&raw mut (*walk).candidate).write_volatile(MAX_CANDIDATES + 1);
        for tried in 0..=MAX_CANDIDATES {
            let (at, fp) = if tried == 0 {
                (sp, register)
            } else {
                let at = sp + 8 * u64::from(tried - 1);
                (at, read(at).0)
            };
            if !may_be_frame(at, fp) {
                continue;
            }
            let ([outer_fp, returns_to], _) = read::<[u64; 2]>(fp);
            if !is_code(walk, returns_to) {
                continue;
            }
            if (&raw const (*head).chain_fp).read_volatile() == 0 {
                (&raw mut (*head).chain_fp).write_volatile(fp);
                (&raw mut (*walk).candidate).write_volatile(tried);
            }
            let ([_, returns_to], _) = read::<[u64; 2]>(outer_fp);
            if outer_fp == 0 || (may_be_frame(fp, outer_fp) && is_code(walk, returns_to)) {
                (&raw mut (*head).chain_fp).write_volatile(fp);
                (&raw mut (*walk).candidate).write_volatile(tried);
                return;
            }
        }
        if (&raw const (*head).chain_fp).read_volatile() != 0 {
            return;
        }
        let ([_, returns_to], _) = read::<[u64; 2]>(register);
        if register.wrapping_sub(sp) < MAX_FRAME_BYTES && returns_to != 0 {
            (&raw mut (*head).chain_fp).write_volatile(register);
        }
    }
}

/// Whether what is saved at an address may be a frame pointer.
#[inline(always)]
fn may_be_frame(at: u64, fp: u64) -> bool {
    fp & 7 == 0 && fp.wrapping_sub(at) < MAX_FRAME_BYTES
}

/// Whether an address is in the process' code.
#[inline(always)]
unsafe fn is_code(walk: *mut Walk, address: u64) -> bool {
    // SAFETY: by the caller.
    unsafe {
        let start = (&raw const (*walk).code_start).read_volatile();
        let size = (&raw const (*walk).code_bytes).read_volatile();
        address.wrapping_sub(start) < size
    }
}

/// Adds the frames that lead on from the first of the segment, until there is none or one returns to
/// where a signal's handler does.
#[inline(always)]
unsafe fn follow(scratch: *mut StackScratch, index: usize) {
    // SAFETY: by the caller; the index is masked. Volatile as in `find_first`.
    unsafe {
        let walk = &raw mut (*scratch).walk;
        let words = (&raw mut (*scratch).words).cast::<u64>();
        let restorer = (&raw const (*walk).restorer).read_volatile();
        let head = (&raw mut (*walk).heads).cast::<SegmentHead>().add(index);
        let first = (&raw const (*head).chain_fp).read_volatile();
        (&raw mut (*walk).fp).write_volatile(first);
        (&raw mut (*walk).failed).write_volatile(u32::from((*head).fp != 0));
        (&raw mut (*walk).at_restorer).write_volatile(0);
        if first == 0 {
            return;
        }
        for _ in 0..MAX_USER_FRAMES {
            let fp = (&raw const (*walk).fp).read_volatile();
            // All zeroes where it cannot be read.
            let ([outer_fp, returns_to], error) = read::<[u64; 2]>(fp);
            let count = (&raw const (*walk).count).read_volatile();
            words
                .add(count as usize & INDEX_MASK)
                .write_volatile(returns_to);
            (&raw mut (*walk).failed).write_volatile(error as u32);
            (&raw mut (*walk).count).write_volatile(count + 1);
            // One branch for both ends.
            let goes_on = is_not_zero(outer_fp) & is_not_zero(returns_to ^ restorer);
            if goes_on == 0 {
                break;
            }
            (&raw mut (*walk).fp).write_volatile(outer_fp);
        }
        let fp = (&raw const (*walk).fp).read_volatile();
        let ([_, returns_to], _) = read::<[u64; 2]>(fp);
        if returns_to == restorer {
            (&raw mut (*walk).at_restorer).write_volatile(1);
            return;
        }
        // What could not be read is no frame.
        if (&raw const (*walk).failed).read_volatile() != 0 {
            let count = (&raw const (*walk).count).read_volatile();
            (&raw mut (*walk).count).write_volatile(count - 1);
        }
    }
}

/// 1 or 0, without a branch.
#[inline(always)]
fn is_not_zero(value: u64) -> u64 {
    black_box(value | value.wrapping_neg()) >> 63
}

/// What is behind the return address of a function whose frame pointer is saved at `fp`.
#[inline(always)]
fn behind_return(fp: u64) -> u64 {
    fp + 16
}

/// Where the kernel keeps what a signal interrupted, if its handler has just begun, and has no frame yet
/// that its frame pointer leads to, or if it has returned; else 0.
#[inline(always)]
unsafe fn signal_context(scratch: *mut StackScratch) -> u64 {
    // SAFETY: by the caller.
    unsafe {
        let walk = &raw mut (*scratch).walk;
        let restorer = (&raw const (*walk).restorer).read_volatile();
        let (pc, sp) = ((*walk).heads[0].pc, (*walk).heads[0].sp);
        if pc.wrapping_sub(restorer) <= RESTORER_BYTES {
            return sp;
        }
        let (top, _) = read::<[u64; 2]>(sp);
        let context = if top[0] == restorer {
            sp + 8
        } else if top[1] == restorer {
            behind_return(sp)
        } else {
            return 0;
        };
        push(scratch, restorer);
        context
    }
}

/// Registers of what a signal interrupted, from what the kernel keeps of it.
#[inline(always)]
fn interrupted(context: u64) -> Option<[u64; 3]> {
    let places = SIGNAL_REGISTERS?;
    let (pc, error) = read(context + places.pc);
    if error != 0 {
        return None;
    }
    let (sp, fp) = (read(context + places.sp).0, read(context + places.fp).0);
    Some([pc, sp, fp])
}

/// A value of the user's memory, all zeroes if it is not there, and whether it is not: no branch.
#[inline(always)]
fn read<T: Copy>(address: u64) -> (T, i64) {
    let mut value = MaybeUninit::<T>::uninit();
    let to = value.as_mut_ptr();
    // SAFETY: the helper checks the address, and neither faults nor waits; where it fails it writes
    // zeroes (`bpf_probe_read_user_common`, `kernel/trace/bpf_trace.c`). `T` is made of integers.
    unsafe {
        let error = probe_read_user(to.cast(), size_of::<T>() as u32, address as *const _);
        (value.assume_init(), error)
    }
}

/// Copies the stack of each segment behind the frames, `at` bytes from the beginning. How much it was is
/// left in `scratch.walk`.
///
/// # Safety
/// As of [`walk`], which must have been before.
#[inline(never)]
pub unsafe fn copy(scratch: *mut StackScratch, at: u64) {
    let at = at as usize & (2 * USER_MASK + 8);
    if at > USER_MASK + KERNEL_MASK {
        // Never: for the verifier.
        return;
    }
    // SAFETY: by the contract; `at` is bounded, and the buffer holds all copies behind it.
    unsafe {
        let to = scratch.cast::<u8>().add(at);
        let walk = &raw mut (*scratch).walk;
        let segments = (&raw const (*walk).segments).read_volatile();
        let heads = (&raw mut (*walk).heads).cast::<SegmentHead>();
        let sp = (&raw const (*heads).sp).read_volatile();
        let bytes = copy_piece(to.add(HEAD), sp);
        if segments < 2 {
            let bytes = if bytes == COPY_BYTES && is_lost(walk) {
                copy_more(to.add(HEAD), sp)
            } else {
                bytes
            };
            write_head(to, heads, bytes);
            (&raw mut (*walk).copied).write_volatile((HEAD + bytes) as u32);
            return;
        }
        write_head(to, heads, bytes);
        let second = to.add(HEAD + (bytes & (2 * COPY_BYTES - 1)));
        let sp = (&raw const (*heads.add(1)).sp).read_volatile();
        let more = copy_piece(second.add(HEAD), sp);
        write_head(second, heads.add(1), more);
        (&raw mut (*walk).copied).write_volatile((HEAD + bytes + HEAD + more) as u32);
    }
}

/// Whether no frame was found, or only by a word that then led nowhere: all that can be done is to copy
/// more.
#[inline(always)]
unsafe fn is_lost(walk: *mut Walk) -> bool {
    // SAFETY: by the caller.
    unsafe {
        let chain_fp = (&raw const (*walk).heads[0].chain_fp).read_volatile();
        let candidate = (&raw const (*walk).candidate).read_volatile();
        let end = (&raw const (*walk).end).read_volatile();
        chain_fp == 0 || (candidate != 0 && end == u32::from(WALK_BROKEN))
    }
}

/// Copies [`COPY_BYTES`], or less where the stack ends before. The bytes that were copied.
#[inline(always)]
unsafe fn copy_piece(to: *mut u8, sp: u64) -> usize {
    let mut size = COPY_BYTES;
    for _ in 0..4 {
        // SAFETY: by the caller.
        if unsafe { probe_read_user(to.cast(), size as u32, sp as *const _) } == 0 {
            return size;
        }
        size /= 2;
    }
    0
}

/// Copies what comes behind the first [`COPY_BYTES`]. The bytes of all.
#[inline(always)]
unsafe fn copy_more(to: *mut u8, sp: u64) -> usize {
    let mut bytes = COPY_BYTES;
    for _ in 1..MAX_COPIES {
        let from = (sp + bytes as u64) as *const _;
        // SAFETY: by the caller.
        if unsafe { probe_read_user(to.add(bytes).cast(), COPY_BYTES as u32, from) } != 0 {
            break;
        }
        bytes += COPY_BYTES;
    }
    bytes
}

#[inline(always)]
unsafe fn write_head(to: *mut u8, head: *const SegmentHead, bytes: usize) {
    // SAFETY: by the caller.
    unsafe {
        let mut head = head.read_volatile();
        head.bytes = bytes as u32;
        to.cast::<SegmentHead>().write_volatile(head);
    }
}
