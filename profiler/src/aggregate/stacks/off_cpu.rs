//! Stacks of time off the CPU: waits by their cause, block I/O, page faults, and who woke whom.

use std::collections::BTreeMap;

use super::Folder;
use super::folded::{FrameId, Weight};
use super::layer::Layer;
use crate::attribute::{Leaf, PageInRule, WaitClass, classify, syscall_name};
use crate::model::{Capture, Event, Stack, ThreadId, WaitEvent};
use profiler_common::sched::TASK_RUNNABLE;

/// How far back it is followed who woke whom.
const MAX_WAKERS: usize = 4;

/// Time of a wait inside the window until the thread was woken.
pub(super) fn blocked_ns(capture: &Capture, wait: &WaitEvent) -> u64 {
    let end = wait.woken_ktime_ns.unwrap_or(wait.end_ktime_ns);
    end.saturating_sub(wait.start_ktime_ns.max(capture.meta.clocks.start_ktime_ns))
}

/// Folds waits: the cause, the stack, and what was waited for. Waits for work are left out.
pub fn waits(folder: &mut Folder<'_>) {
    let capture = folder.capture;
    let page_in = PageInRule::of(&capture.meta).leaf();
    for event in &capture.events {
        let Event::Wait(wait) = event else { continue };
        queued(folder, wait);
        let name = syscall_name(&capture.meta.architecture, wait.syscall_nr);
        if wait.task_state == TASK_RUNNABLE || wait.stack.is_empty() {
            continue;
        }
        let leaf = match classify(folder.role(wait.thread), name, wait.task_state) {
            WaitClass::Idle => continue,
            WaitClass::PageIn => page_in,
            WaitClass::Leaf(leaf) => leaf,
        };
        let mut path = vec![folder.thread(wait.thread), cause(folder, leaf)];
        path.extend(folder.stack(wait.thread.tgid, &wait.stack));
        path.push(
            folder
                .folded
                .named(format!("waits in {name}"), Layer::Kernel),
        );
        folder.add(path, Weight::of(blocked_ns(capture, wait), 1));
    }
}

/// Time in which the thread could have run, and another did.
fn queued(folder: &mut Folder<'_>, wait: &WaitEvent) {
    let from = match wait.woken_ktime_ns {
        Some(woken) => woken,
        None if wait.task_state == TASK_RUNNABLE => wait.start_ktime_ns,
        None => return,
    };
    let from = from.max(folder.capture.meta.clocks.start_ktime_ns);
    let (behind, comm) = &wait.behind;
    let behind = match behind.tgid {
        0 => "CPU idle when it could run".to_owned(),
        _ => format!("behind {comm}"),
    };
    let path = vec![
        folder.thread(wait.thread),
        cause(folder, Leaf::RunQueue),
        folder.folded.named(behind, Layer::Thread),
    ];
    folder.add(path, Weight::of(wait.end_ktime_ns.saturating_sub(from), 1));
}

fn cause(folder: &mut Folder<'_>, leaf: Leaf) -> FrameId {
    let cause = leaf.cause();
    let name = if leaf.name() == cause.name() {
        cause.name().to_owned()
    } else {
        format!("{}: {}", cause.name(), leaf.name())
    };
    folder.folded.named(name, Layer::Cause(cause))
}

/// Folds major faults by the time that they were waited for; by their number, if no time was
/// measured.
pub fn faults(folder: &mut Folder<'_>) {
    let capture = folder.capture;
    let is_timed = faults_are_timed(capture);
    let mut last: BTreeMap<ThreadId, &Stack> = BTreeMap::new();
    for event in &capture.events {
        let Event::Fault(fault) = event else { continue };
        if !fault.stack.is_empty() {
            last.insert(fault.thread, &fault.stack);
        }
        let mappings = capture.meta.mappings.get(&fault.thread.tgid);
        let name = mappings.and_then(|mappings| mappings.name(fault.address));
        let Some(stack) = last.get(&fault.thread).copied() else {
            continue;
        };
        let mut path = vec![folder.thread(fault.thread)];
        path.extend(folder.stack(fault.thread.tgid, stack));
        if let Some(name) = name {
            path.push(
                folder
                    .folded
                    .named(format!("page of {name}"), Layer::Kernel),
            );
        }
        let total = if is_timed {
            fault.waited_ns
        } else {
            fault.count
        };
        folder.add(path, Weight::of(total, fault.count));
    }
}

/// Whether it is known how long major faults were waited for.
pub fn faults_are_timed(capture: &Capture) -> bool {
    let waited = |event: &Event| matches!(event, Event::Fault(fault) if fault.waited_ns > 0);
    capture.events.iter().any(waited)
}

/// Folds block I/O, from queued to done, under the stacks that it was queued from.
pub fn block_io(folder: &mut Folder<'_>) {
    let capture = folder.capture;
    let stacks = block_stacks(&capture.events);
    let none = Stack::default();
    for event in &capture.events {
        let Event::BioDone(done) = event else {
            continue;
        };
        let stack = stacks.get(&(done.thread, done.queued_ktime_ns));
        let mut path = vec![folder.thread(done.thread)];
        path.extend(folder.stack(done.thread.tgid, stack.copied().unwrap_or(&none)));
        let took_ns = done.done_ktime_ns.saturating_sub(done.queued_ktime_ns);
        folder.add(path, Weight::of(took_ns, 1));
    }
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

/// Folds who woke whom: the thread, what it waited in, who woke it, and what that one had waited in
/// meanwhile, by whom it was woken, and so on. Time waited, for work too.
pub fn wakeups(folder: &mut Folder<'_>) {
    let capture = folder.capture;
    if !capture.meta.attached("sched_waking") {
        return;
    }
    let mut by_thread: BTreeMap<u32, Vec<&WaitEvent>> = BTreeMap::new();
    for event in &capture.events {
        if let Event::Wait(wait) = event
            && wait.task_state != TASK_RUNNABLE
            && wait.woken_ktime_ns.is_some()
        {
            by_thread.entry(wait.thread.tid).or_default().push(wait);
        }
    }
    for waits in by_thread.values() {
        for wait in waits {
            let mut path = vec![folder.thread(wait.thread)];
            chain(folder, &by_thread, wait, &mut path);
            folder.add(path, Weight::of(blocked_ns(capture, wait), 1));
        }
    }
}

fn chain(
    folder: &mut Folder<'_>,
    by_thread: &BTreeMap<u32, Vec<&WaitEvent>>,
    wait: &WaitEvent,
    path: &mut Vec<FrameId>,
) {
    let capture = folder.capture;
    let mut wait = wait;
    for _ in 0..MAX_WAKERS {
        let name = syscall_name(&capture.meta.architecture, wait.syscall_nr);
        let layer = match classify(folder.role(wait.thread), name, wait.task_state) {
            WaitClass::Idle => Layer::Idle,
            WaitClass::PageIn => Layer::Cause(PageInRule::of(&capture.meta).leaf().cause()),
            WaitClass::Leaf(leaf) => Layer::Cause(leaf.cause()),
        };
        path.push(folder.folded.named(format!("waits in {name}"), layer));
        let (waker, comm) = &wait.waker;
        if waker.tid == 0 {
            path.push(folder.folded.named("woken by an interrupt", Layer::Kernel));
            return;
        }
        let known = by_thread.get(&waker.tid);
        let who = match known {
            Some(_) => folder.thread_name(*waker),
            None => comm.clone(),
        };
        path.push(
            folder
                .folded
                .named(format!("woken by {who}"), Layer::Thread),
        );
        // What the waker waited in until after this wait had begun.
        let woken = wait.woken_ktime_ns.unwrap_or(wait.end_ktime_ns);
        let before = known.and_then(|waits| {
            let ended = waits.partition_point(|other| other.end_ktime_ns <= woken);
            waits[..ended].last()
        });
        match before {
            Some(before) if before.end_ktime_ns > wait.start_ktime_ns => wait = before,
            _ => return,
        }
    }
}
