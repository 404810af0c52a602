//! Stacks of all families, folded for flamegraphs.

mod difference;
mod folded;
mod layer;
mod off_cpu;
mod on_cpu;

use std::collections::BTreeMap;
use std::rc::Rc;

pub use difference::{Difference, Scale, events};
pub use folded::{Folded, FrameId, Row, Sides, Weight};
pub use layer::{Layer, StackFrame};
pub use off_cpu::faults_are_timed;

use super::role;
use crate::hoon::{Folding, jet};
use crate::model::{Capture, Frame, FrameKind, Stack, ThreadId};
use crate::ship::Role;

/// Which flamegraph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StackKind {
    /// Time on CPU, by samples.
    OnCpu,
    /// Time off the CPU by its cause, waits for work left out.
    OffCpu,
    /// Time of mars' main thread on CPU, by samples, under its Hoon stacks.
    Hoon,
    /// Time on CPU, by samples: Hoon over the C that ran it.
    Mixed,
    /// Time of block I/O from queued to done.
    BlockIo,
    /// Time that major faults were waited for.
    PageFault,
    /// Time of dirty tracking: signals of write-protected pages, `mprotect`, copies.
    Dirty,
    /// Time waited, by who ended the wait.
    Wakeup,
}

/// How stacks are folded.
#[derive(Debug, Clone, Copy)]
pub struct FoldOptions {
    /// How fine Hoon is named.
    pub folding: Folding,
    /// Whether threads are called by what they do alone, as in pictures of two captures, and not by
    /// their names too.
    pub by_role: bool,
}

/// Folds the stacks of one kind and adds them to one side.
pub fn fold(
    capture: &Capture,
    kind: StackKind,
    options: FoldOptions,
    folded: &mut Folded,
    side: usize,
) {
    let mut folder = Folder::new(capture, options.by_role, folded, side);
    match kind {
        StackKind::OnCpu | StackKind::Mixed | StackKind::Dirty => {
            on_cpu::samples(&mut folder, kind, options.folding);
        }
        StackKind::Hoon => on_cpu::hoon_alone(&mut folder, options.folding),
        StackKind::OffCpu => off_cpu::waits(&mut folder),
        StackKind::PageFault => off_cpu::faults(&mut folder),
        StackKind::BlockIo => off_cpu::block_io(&mut folder),
        StackKind::Wakeup => off_cpu::wakeups(&mut folder),
    }
}

/// The frames of an address; nothing for one of the probe.
type Known = Option<Rc<[FrameId]>>;

/// Names threads and addresses of a capture, each once.
struct Folder<'a> {
    capture: &'a Capture,
    by_role: bool,
    folded: &'a mut Folded,
    side: usize,
    comms: BTreeMap<u32, &'a str>,
    /// By process and address.
    known: BTreeMap<(u32, u64, FrameKind), Known>,
}

impl<'a> Folder<'a> {
    fn new(capture: &'a Capture, by_role: bool, folded: &'a mut Folded, side: usize) -> Self {
        let states = capture.meta.thread_states.iter();
        Self {
            capture,
            by_role,
            folded,
            side,
            comms: states
                .map(|state| (state.tid, state.comm.as_str()))
                .collect(),
            known: BTreeMap::new(),
        }
    }

    fn add(&mut self, stack: Vec<FrameId>, weight: Weight) {
        self.folded.add(stack, self.side, weight);
    }

    fn comm(&self, thread: ThreadId) -> &'a str {
        self.comms.get(&thread.tid).copied().unwrap_or_default()
    }

    fn role(&self, thread: ThreadId) -> Role {
        let meta = &self.capture.meta;
        role(&meta.ship, &meta.followed_tgids, thread, self.comm(thread))
    }

    fn thread_name(&self, thread: ThreadId) -> String {
        let (role, comm) = (self.role(thread), self.comm(thread));
        if comm.is_empty() || self.by_role && role != Role::Other {
            role.name().to_owned()
        } else {
            format!("{} {comm}", role.name())
        }
    }

    fn thread(&mut self, thread: ThreadId) -> FrameId {
        let name = self.thread_name(thread);
        self.folded.named(name, Layer::Thread)
    }

    /// The frames of a stack, outermost first.
    fn stack(&mut self, tgid: u32, stack: &Stack) -> Vec<FrameId> {
        let Self {
            capture,
            folded,
            known,
            ..
        } = self;
        outermost_first(stack, |address, kind| {
            let frames = known.entry((tgid, address, kind)).or_insert_with(|| {
                let frames = without_probe(capture.symbols.frames(tgid, address, kind))?;
                let ids = frames.into_iter().map(|frame| {
                    let layer = Layer::of(&frame.name, frame.kind);
                    let name = match layer {
                        Layer::Jet => jet(&frame.name).unwrap_or(frame.name),
                        _ => frame.name,
                    };
                    folded.named(name, layer)
                });
                Some(ids.collect())
            });
            frames.clone()
        })
    }
}

/// The frames of a stack, without those of the probe itself. `named` gives those of an address,
/// innermost first, and nothing for an address of the probe.
pub fn outermost_first<T: Clone>(
    stack: &Stack,
    mut named: impl FnMut(u64, FrameKind) -> Option<Rc<[T]>>,
) -> Vec<T> {
    let mut frames = Vec::new();
    for (address, kind) in stack.lookups().rev() {
        let Some(of_address) = named(address, kind) else {
            break;
        };
        frames.extend(of_address.iter().rev().cloned());
    }
    frames
}

/// The frames of an address, unless one is where the kernel calls an eBPF program (`bpf_trace_runN`,
/// `kernel/trace/bpf_trace.c`).
pub fn without_probe(frames: Vec<Frame>) -> Option<Vec<Frame>> {
    let is_probe = |frame: &Frame| {
        frame.kind == FrameKind::Kernel
            && (frame.name.starts_with("bpf_trace_run") || frame.name.starts_with("__traceiter_"))
    };
    (!frames.iter().any(is_probe)).then_some(frames)
}
