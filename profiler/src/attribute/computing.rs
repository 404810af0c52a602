//! What part of the time on CPU was upkeep of memory, by samples: an estimate.
//!
//! Kernel functions are named in the samples' stacks. Those chosen have kept their names since 5.10 and
//! are too large, or called from too many places, to be inlined.

use std::collections::BTreeMap;

use crate::aggregate::events::{EventsSummary, MarsSpan};
use crate::model::{Capture, Event, Frame, FrameKind, SampleEvent, Stack, ThreadId};

use super::leaf::Leaf;

/// Fewer samples of a thread than this are not split.
const MIN_SAMPLES: u64 = 20;

/// Kernel functions of the fault path and the system calls of dirty tracking.
const SWAP_IN: &[&str] = &["do_swap_page"];
const DIRTY_TRACKING: &[&str] = &[
    "do_mprotect_pkey",
    "__x64_sys_mprotect",
    "__x64_sys_rt_sigreturn",
    "__arm64_sys_mprotect",
    "__arm64_sys_rt_sigreturn",
    "arch_do_signal_or_restart",
    "do_signal",
    "force_sig_fault",
    "do_wp_page",
    "wp_page_copy",
    "do_cow_fault",
];
const RECLAIM: &[&str] = &[
    "try_to_free_pages",
    "try_to_free_mem_cgroup_pages",
    "try_to_compact_pages",
];
/// vere's own handler of writes to clean pages (`pkg/noun/manage.c`, `events.c`; libsigsegv).
const HANDLER: &[&str] = &["u3m_fault", "u3e_fault", "sigsegv_handler"];

/// By thread.
pub type Shares = BTreeMap<ThreadId, BTreeMap<Leaf, f64>>;

/// Of each thread's time on CPU (without what tracepoints measured, and upkeep of the loom as a whole),
/// the share of some leaves.
pub fn shares(capture: &Capture, events: Option<&EventsSummary>) -> Shares {
    let is_upkeep = |sample: &SampleEvent| {
        events.is_some_and(|events| {
            let mut spans = events.upkeep();
            let during = |span: &MarsSpan| {
                (span.start_ktime_ns..span.end_ktime_ns).contains(&sample.ktime_ns)
            };
            Some(sample.thread) == events.mars && spans.any(during)
        })
    };
    let samples = capture.events.iter().filter_map(|event| match event {
        Event::Sample(sample) if !is_upkeep(sample) => Some((sample.thread, &sample.stack, 1)),
        _ => None,
    });
    shares_of(samples, |tgid, address, kind| {
        capture.symbols.frames(tgid, address, kind)
    })
}

/// The same of stacks and how many samples each stands for, by who knows the frames of an address.
pub fn shares_of<'a>(
    samples: impl Iterator<Item = (ThreadId, &'a Stack, u64)>,
    frames: impl Fn(u32, u64, FrameKind) -> Vec<Frame>,
) -> Shares {
    let mut counts: BTreeMap<ThreadId, (u64, BTreeMap<Leaf, u64>)> = BTreeMap::new();
    for (thread, stack, count) in samples {
        let names = stack
            .lookups()
            .flat_map(|(address, kind)| frames(thread.tgid, address, kind));
        let frames: Vec<Frame> = names.collect();
        let named: Vec<_> = frames.iter().map(|f| (f.kind, f.name.as_str())).collect();
        let part = upkeep(&named);
        // Measured exactly by tracepoints, so no matter of samples.
        if part == Some(Leaf::Reclaim) {
            continue;
        }
        let (all, leaves) = counts.entry(thread).or_default();
        *all = all.saturating_add(count);
        if let Some(leaf) = part {
            let of_leaf = leaves.entry(leaf).or_default();
            *of_leaf = of_leaf.saturating_add(count);
        }
    }
    counts
        .into_iter()
        .filter(|(_, (all, _))| *all >= MIN_SAMPLES)
        .map(|(thread, (all, leaves))| {
            let share = |count: u64| count as f64 / all as f64;
            let shares = leaves.into_iter().map(|(leaf, n)| (leaf, share(n)));
            (thread, shares.collect())
        })
        .collect()
}

/// The upkeep of memory that a stack is in, by the names of its frames in any order; nothing if it is
/// in none.
pub fn upkeep(frames: &[(FrameKind, &str)]) -> Option<Leaf> {
    let has = |kind: FrameKind, functions: &[&str]| {
        let of_kind = |frame: &&(FrameKind, &str)| frame.0 == kind;
        let mut frames = frames.iter().filter(of_kind);
        frames.any(|(_, name)| functions.contains(name))
    };
    if has(FrameKind::Kernel, RECLAIM) {
        Some(Leaf::Reclaim)
    } else if has(FrameKind::Kernel, SWAP_IN) {
        Some(Leaf::SwapIn)
    } else if has(FrameKind::Kernel, DIRTY_TRACKING) || has(FrameKind::User, HANDLER) {
        Some(Leaf::DirtyTracking)
    } else {
        None
    }
}
