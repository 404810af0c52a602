//! How many C stacks are whole.

use serde::{Deserialize, Serialize};

use crate::model::{Capture, Event, FrameKind, Stack, StackEnd, Symbols, ThreadId};

/// First functions of a process or thread, in musl (`crt/crt1.c`, `src/env/__libc_start_main.c`,
/// `src/thread/pthread_create.c`) and glibc; `main` is as good.
const ROOTS: [&str; 13] = [
    "main",
    "_start",
    "_start_c",
    "__libc_start_main",
    "__libc_start_call_main",
    "libc_start_main_stage2",
    "__libc_start_main_impl",
    "start",
    "start_c11",
    "start_thread",
    "clone",
    "__clone",
    "__clone3",
];
/// How far from the end such a function may be: behind it come only the others, or what a frame pointer
/// that it did not set led to.
const ROOT_FRAMES: usize = 4;

/// Stacks by how far they go. A stack is one of a record, whatever it stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackCounts {
    /// All with frames of the ship's own code.
    pub taken: u64,
    /// Those that reach the first function of their process or thread with nothing missing on the way.
    pub whole: u64,
    /// Those that reach it, but whose innermost callers may be missing.
    pub gap: u64,
    /// Those that end in what is no frame.
    pub broken: u64,
    /// Those that were deeper than what is recorded.
    pub full: u64,
}

/// Counts a capture's stacks. Nothing where the programs did not say how their stacks end.
pub fn count(capture: &Capture) -> Option<StackCounts> {
    let mut counts = StackCounts::default();
    let stacks = capture.events.iter().filter_map(Event::stack);
    for (thread, stack) in stacks.filter(|(_, stack)| !stack.user.is_empty()) {
        counts.taken += 1;
        let sum = match end(stack, thread, &capture.symbols) {
            StackEnd::Root => &mut counts.whole,
            StackEnd::Gap => &mut counts.gap,
            StackEnd::Full => &mut counts.full,
            StackEnd::Broken => &mut counts.broken,
            StackEnd::Unknown | StackEnd::NotTaken => return None,
        };
        *sum += 1;
    }
    (counts.taken > 0).then_some(counts)
}

/// How far a stack goes, by its names too: where the first function keeps no frame pointer, the last
/// step leads nowhere.
pub fn end(stack: &Stack, thread: ThreadId, symbols: &Symbols) -> StackEnd {
    let outermost = stack.user.iter().enumerate().rev().take(ROOT_FRAMES);
    let is_root = |(index, address): (usize, &u64)| {
        let address = address - u64::from(index > 0 && *address > 0);
        let frames = symbols.frames(thread.tgid, address, FrameKind::User);
        frames
            .iter()
            .any(|frame| ROOTS.contains(&frame.name.as_str()))
    };
    if stack.end == StackEnd::Broken && outermost.into_iter().any(is_root) {
        return StackEnd::Root;
    }
    stack.end
}
