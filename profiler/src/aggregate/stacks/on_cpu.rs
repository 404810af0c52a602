//! Stacks of time on CPU, by samples: C, Hoon, both, and of dirty tracking alone.

use std::collections::BTreeMap;

use super::folded::{FrameId, Weight};
use super::layer::{Layer, is_interpreter};
use super::{Folder, StackKind};
use crate::aggregate::hoon;
use crate::attribute::{Leaf, WaitClass, classify, syscall_name, upkeep};
use crate::hoon::Folding;
use crate::model::{Event, FrameKind, HoonEvent, NS_PER_S, Stack, ThreadId};

/// Folds samples. `kind` is one of `OnCpu`, `Mixed` and `Dirty`.
pub fn samples(folder: &mut Folder<'_>, kind: StackKind, folding: Folding) {
    let capture = folder.capture;
    let weight = Weight::of(period_ns(folder), 1);
    let hoon: BTreeMap<(ThreadId, u64), &HoonEvent> = match kind {
        StackKind::OnCpu => BTreeMap::new(),
        _ => hoon::events(capture)
            .map(|event| ((event.thread, event.ktime_ns), event))
            .collect(),
    };
    if kind == StackKind::Mixed && hoon.is_empty() {
        return;
    }
    for event in &capture.events {
        let Event::Sample(sample) = event else {
            continue;
        };
        if kind == StackKind::Dirty && !is_dirty_tracking(folder, sample.thread, &sample.stack) {
            continue;
        }
        let mut path = vec![folder.thread(sample.thread)];
        let mut frames = folder.stack(sample.thread.tgid, &sample.stack);
        if let Some(event) = hoon.get(&(sample.thread, sample.ktime_ns)) {
            let names = hoon::sites(event, &capture.hoon, folding);
            let names = names.into_iter();
            let names = names
                .map(|name| folder.folded.named(name, Layer::Hoon))
                .collect();
            frames = mix(folder, frames, names);
        }
        path.extend(frames);
        folder.add(path, weight);
    }
    if kind == StackKind::Dirty {
        waits_of_dirty_tracking(folder);
    }
}

/// Folds the Hoon stacks of samples.
pub fn hoon_alone(folder: &mut Folder<'_>, folding: Folding) {
    let weight = Weight::of(period_ns(folder), 1);
    for (event, names) in hoon::stacks(folder.capture, folding) {
        let mut path = vec![folder.thread(event.thread)];
        for name in names {
            let layer = if name.starts_with('[') {
                Layer::Note
            } else {
                Layer::Hoon
            };
            path.push(folder.folded.named(name, layer));
        }
        folder.add(path, weight);
    }
}

fn period_ns(folder: &Folder<'_>) -> u64 {
    NS_PER_S / folder.capture.meta.sample_hz.max(1)
}

/// Hoon over the C that ran it. Hoon takes the place of the interpreter's frames but the outermost:
/// which of them ran which Hoon cannot be told, nor what of C lies between them. What the innermost
/// of them called (a jet, memory, the kernel) is on top. Where no interpreter is known by its name,
/// Hoon stands between the program and the kernel.
fn mix(folder: &Folder<'_>, c: Vec<FrameId>, hoon: Vec<FrameId>) -> Vec<FrameId> {
    if hoon.is_empty() {
        return c;
    }
    let runs_nock = |id: &FrameId| is_interpreter(folder.folded.frame(*id));
    let is_kernel = |id: &FrameId| folder.folded.frame(*id).layer == Layer::Kernel;
    let (below, above) = match (c.iter().position(runs_nock), c.iter().rposition(runs_nock)) {
        (Some(first), Some(last)) => (first + 1, last + 1),
        _ => {
            let at = c.iter().position(is_kernel).unwrap_or(c.len());
            (at, at)
        }
    };
    let mut mixed = c[..below].to_vec();
    mixed.extend(hoon);
    mixed.extend(&c[above..]);
    mixed
}

fn is_dirty_tracking(folder: &mut Folder<'_>, thread: ThreadId, stack: &Stack) -> bool {
    let frames = folder.stack(thread.tgid, stack);
    let named = frames.iter().map(|id| {
        let frame = folder.folded.frame(*id);
        let kind = match frame.layer {
            Layer::Kernel => FrameKind::Kernel,
            _ => FrameKind::User,
        };
        (kind, frame.name.as_str())
    });
    upkeep(&named.collect::<Vec<_>>()) == Some(Leaf::DirtyTracking)
}

/// Waits inside the calls of dirty tracking, which are no time on CPU.
fn waits_of_dirty_tracking(folder: &mut Folder<'_>) {
    let capture = folder.capture;
    for event in &capture.events {
        let Event::Wait(wait) = event else { continue };
        let name = syscall_name(&capture.meta.architecture, wait.syscall_nr);
        let class = classify(folder.role(wait.thread), name, wait.task_state);
        if wait.stack.is_empty() || class != WaitClass::Leaf(Leaf::DirtyTracking) {
            continue;
        }
        let mut path = vec![folder.thread(wait.thread)];
        path.extend(folder.stack(wait.thread.tgid, &wait.stack));
        path.push(
            folder
                .folded
                .named(format!("waits in {name}"), Layer::Kernel),
        );
        let waited_ns = super::off_cpu::blocked_ns(capture, wait);
        folder.add(path, Weight::of(waited_ns, 1));
    }
}
