//! Stacks: what a program keeps of them, and what it sends.
//!
//! User frames are found by following frame pointers. Functions without one at the top of the stack
//! (musl's, assembler) hide their callers from that; so registers and a piece of the stack go along,
//! from which user space finds them by the tables in the executable (`profiler/src/unwind`).

use crate::shared;

/// Most user frames: above the deepest stacks of vere that were seen, of 800 frames.
pub const MAX_USER_FRAMES: usize = 1023;
/// Most kernel frames.
pub const MAX_KERNEL_FRAMES: usize = 63;
/// Most user frames of a stack that is added up in the kernel: the kernel's own default limit
/// (`kernel.perf_event_max_stack`, 127).
pub const MAX_SUM_USER_FRAMES: usize = 127;
/// Words for a stack that is added up in the kernel: user frames, then kernel frames behind them. The
/// two spare ones let the verifier see that a masked length stays inside.
pub const SUM_WORDS: usize = MAX_SUM_USER_FRAMES + 1 + MAX_KERNEL_FRAMES + 1;

/// Pieces of a stack that are copied: of the code that ran, and of what a signal interrupted.
pub const MAX_SEGMENTS: usize = 2;
/// Bytes copied from the stack pointer on. In vere's musl, an unhappy wrapper with all between it and
/// its caller takes 300.
pub const COPY_BYTES: usize = 512;
/// How many times [`COPY_BYTES`] are copied where frame pointers lead nowhere.
pub const MAX_COPIES: usize = 39;
/// Words of the stack that are tried for a saved frame pointer where the register holds none.
pub const MAX_CANDIDATES: u32 = 64;
/// Furthest that a saved frame pointer may be from where it is saved: frames as large are unknown.
pub const MAX_FRAME_BYTES: u64 = 1 << 20;

/// Words of the copies at most, with their heads.
pub const COPY_WORDS: usize = 2560;
/// Words that a program keeps for a stack that it sends: user frames, kernel frames, copies.
pub const STACK_WORDS: usize = MAX_USER_FRAMES + 1 + MAX_KERNEL_FRAMES + 1 + COPY_WORDS;

/// How the frame pointers ended: the kernel followed them, and does not say.
pub const WALK_UNKNOWN: u16 = 0;
/// In a frame pointer of zero, which the first code of a process or thread sets.
pub const WALK_ROOT: u16 = 1;
/// In what is no frame.
pub const WALK_BROKEN: u16 = 2;
/// At [`MAX_USER_FRAMES`].
pub const WALK_FULL: u16 = 3;
/// No C stacks were asked for.
pub const WALK_NONE: u16 = 4;
/// At the root, but functions may be missing on the way. Only user space finds that.
pub const WALK_GAP: u16 = 5;

shared! {
    /// Where code ran, with what of its stack was copied behind it.
    pub struct SegmentHead {
        /// Instruction pointer.
        pub pc: u64,
        /// Stack pointer: where the copy begins.
        pub sp: u64,
        /// What the frame pointer's register held.
        pub fp: u64,
        /// The frame pointer that the frames of this segment behind the first were found by; 0 if
        /// there are none.
        pub chain_fp: u64,
        /// Index of its first frame, which is `pc`, among the user frames.
        pub first: u32,
        /// Bytes of the stack that follow.
        pub bytes: u32,
    }

    /// What following frame pointers needs, and what one step leaves to the next: kept here and not in
    /// registers, so that to the verifier every step is like the one before.
    pub struct Walk {
        /// Where the next frame is.
        pub fp: u64,
        /// The process' code.
        pub code_start: u64,
        /// Its length.
        pub code_bytes: u64,
        /// Where handlers of signals return to; 0 if not known.
        pub restorer: u64,
        /// User frames so far.
        pub count: u32,
        /// How the segment's first frame was found: 0 by its register, else by a word of its stack; above
        /// [`MAX_CANDIDATES`] by its register, for want of better.
        pub candidate: u32,
        /// Segments so far.
        pub segments: u32,
        /// Not 0 if the next frame could not be read.
        pub failed: u32,
        /// 1 if the last frame is a handler's of a signal.
        pub at_restorer: u32,
        /// One of `WALK_…` once it has ended.
        pub end: u32,
        /// Bytes of the copies, heads included.
        pub copied: u32,
        /// Unused.
        pub reserved: u32,
        /// The segments.
        pub heads: [SegmentHead; MAX_SEGMENTS],
    }

    /// Where a program takes a stack.
    pub struct StackScratch {
        /// User frames, kernel frames, copies, each right behind the one before.
        pub words: [u64; STACK_WORDS],
        /// Working memory.
        pub walk: Walk,
    }
}
