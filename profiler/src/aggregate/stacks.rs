//! Stacks of all families, folded for flamegraphs.

use std::collections::BTreeMap;

use profiler_common::sched::TASK_RUNNABLE;

use crate::hoon::{Folding, jet};
use crate::model::{Capture, Event, Frame, FrameKind, NS_PER_S, Stack, ThreadId};

/// Weight of each stack, outermost frame first: the thread's name is the first frame.
pub type Folded = BTreeMap<Vec<Frame>, u64>;

/// Which flamegraph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StackKind {
    /// Time on CPU, by samples.
    OnCpu,
    /// Time blocked, waits for work left out.
    OffCpu,
    /// Time of block I/O from queued to done.
    BlockIo,
    /// Major faults, each of weight one.
    PageFault,
    /// Time of mars' main thread on CPU, by samples, under its Hoon stacks.
    Hoon,
}

/// Folds the stacks of one kind. Weights are nanoseconds, or faults. `thread_label` names a thread.
pub fn fold(
    capture: &Capture,
    kind: StackKind,
    thread_label: impl Fn(ThreadId) -> String,
    wait_label: impl Fn(i32) -> String,
) -> Folded {
    let mut folded = Folded::new();
    let mut add = |thread: ThreadId, stack: &Stack, leaf: Option<String>, weight: u64| {
        if weight == 0 {
            return;
        }
        let mut frames = vec![user_frame(thread_label(thread))];
        frames.extend(outermost_first(stack, |address, kind| {
            let mut named = capture.symbols.frames(thread.tgid, address, kind);
            for frame in named
                .iter_mut()
                .filter(|frame| frame.kind == FrameKind::User)
            {
                if let Some(name) = jet(&frame.name) {
                    frame.name = name;
                }
            }
            named
        }));
        frames.extend(leaf.map(|name| Frame {
            name,
            kind: FrameKind::Kernel,
        }));
        let sum = folded.entry(frames).or_default();
        *sum = sum.saturating_add(weight);
    };
    match kind {
        StackKind::OnCpu => {
            let period_ns = NS_PER_S / capture.meta.sample_hz.max(1);
            for event in &capture.events {
                if let Event::Sample(sample) = event {
                    add(sample.thread, &sample.stack, None, period_ns);
                }
            }
        }
        StackKind::Hoon => {
            let period_ns = NS_PER_S / capture.meta.sample_hz.max(1);
            for (event, names) in super::hoon::stacks(capture, Folding::Line) {
                let mut frames = vec![user_frame(thread_label(event.thread))];
                frames.extend(names.into_iter().map(user_frame));
                let sum = folded.entry(frames).or_default();
                *sum = sum.saturating_add(period_ns);
            }
        }
        StackKind::OffCpu => {
            for event in &capture.events {
                let Event::Wait(wait) = event else { continue };
                // Waits for work carry no stack; neither does time in the run queue.
                if wait.stack.is_empty() || wait.task_state == TASK_RUNNABLE {
                    continue;
                }
                let end = wait.woken_ktime_ns.unwrap_or(wait.end_ktime_ns);
                let start = wait.start_ktime_ns.max(capture.meta.clocks.start_ktime_ns);
                let leaf = Some(format!("waits in {}", wait_label(wait.syscall_nr)));
                add(wait.thread, &wait.stack, leaf, end.saturating_sub(start));
            }
        }
        StackKind::PageFault => {
            let mut last: BTreeMap<ThreadId, &Stack> = BTreeMap::new();
            for event in &capture.events {
                let Event::Fault(fault) = event else { continue };
                if !fault.stack.is_empty() {
                    last.insert(fault.thread, &fault.stack);
                }
                let mappings = capture.meta.mappings.get(&fault.thread.tgid);
                let name = mappings.and_then(|mappings| mappings.name(fault.address));
                if let Some(stack) = last.get(&fault.thread) {
                    add(
                        fault.thread,
                        stack,
                        name.map(|name| format!("page of {name}")),
                        fault.count,
                    );
                }
            }
        }
        StackKind::BlockIo => {
            let stacks = block_stacks(&capture.events);
            let none = Stack::default();
            for event in &capture.events {
                let Event::BioDone(done) = event else {
                    continue;
                };
                let stack = stacks
                    .get(&(done.thread, done.queued_ktime_ns))
                    .copied()
                    .unwrap_or(&none);
                add(
                    done.thread,
                    stack,
                    None,
                    done.done_ktime_ns - done.queued_ktime_ns,
                );
            }
        }
    }
    folded
}

/// The stack that each block I/O was queued from, by thread and time. One that came without a stack
/// has that of the thread's I/O before (`profiler_common::block::STACK_INTERVAL_NS`).
fn block_stacks(events: &[Event]) -> BTreeMap<(ThreadId, u64), &Stack> {
    let mut last: BTreeMap<ThreadId, &Stack> = BTreeMap::new();
    let mut stacks = BTreeMap::new();
    for event in events {
        let Event::Bio(bio) = event else { continue };
        if !bio.stack.is_empty() {
            last.insert(bio.thread, &bio.stack);
        }
        if let Some(stack) = last.get(&bio.thread) {
            stacks.insert((bio.thread, bio.queued_ktime_ns), *stack);
        }
    }
    stacks
}

/// The frames of a stack, without those of the probe itself. `named` gives those of an address.
pub fn outermost_first(stack: &Stack, named: impl Fn(u64, FrameKind) -> Vec<Frame>) -> Vec<Frame> {
    let mut frames = Vec::new();
    for (address, kind) in stack.lookups().rev() {
        let mut of_address = named(address, kind);
        if of_address.iter().any(is_probe) {
            break;
        }
        of_address.reverse();
        frames.extend(of_address);
    }
    frames
}

/// Whether a frame is where the kernel calls an eBPF program (`bpf_trace_runN`,
/// `kernel/trace/bpf_trace.c`).
fn is_probe(frame: &Frame) -> bool {
    frame.kind == FrameKind::Kernel
        && (frame.name.starts_with("bpf_trace_run") || frame.name.starts_with("__traceiter_"))
}

fn user_frame(name: String) -> Frame {
    Frame {
        name,
        kind: FrameKind::User,
    }
}
