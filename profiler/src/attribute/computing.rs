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

/// Kernel functions of the system calls and the signal of dirty tracking.
const DIRTY_TRACKING: &[&str] = &[
    "do_mprotect_pkey",
    "__x64_sys_mprotect",
    "__x64_sys_rt_sigreturn",
    "__do_sys_rt_sigreturn",
    "__arm64_sys_mprotect",
    "__arm64_sys_rt_sigreturn",
    "arch_do_signal_or_restart",
    "do_signal",
    "force_sig_fault",
];
/// Any page fault (`arch/x86/mm/fault.c`, `arch/arm64/mm/fault.c`, `mm/memory.c`).
const FAULT: &[&str] = &[
    "asm_exc_page_fault",
    "exc_page_fault",
    "do_page_fault",
    "handle_mm_fault",
];
/// Faults that read from swap.
const SWAP_IN: &[&str] = &["do_swap_page"];
/// Faults that copy a page which is written to: of the loom, these follow the signal. The copy itself is
/// named because what calls it may be inlined (`mm/memory.c`, `arch/x86/lib/copy_mc_64.S`).
const COPYING: &[&str] = &[
    "do_wp_page",
    "wp_page_copy",
    "do_cow_fault",
    "copy_mc_enhanced_fast_string",
    "copy_mc_fragile",
    "copy_mc_to_kernel",
    "copy_page",
];
/// Faults that map what is in memory already, or memory that is new.
const MAPPING: &[&str] = &[
    "filemap_map_pages",
    "do_read_fault",
    "do_anonymous_page",
    "alloc_anon_folio",
    "clear_page_erms",
    "clear_page_rep",
    "clear_page_orig",
    "clear_page",
];
/// Measured exactly by tracepoints, so no matter of samples.
const RECLAIM: &[&str] = &[
    "try_to_free_pages",
    "try_to_free_mem_cgroup_pages",
    "try_to_compact_pages",
];
/// vere's own handler of writes to clean pages (`pkg/noun/manage.c`, `events.c`; libsigsegv), and the
/// function of the C library that any handler returns to.
const HANDLER: &[&str] = &["u3m_fault", "u3e_fault", "sigsegv_handler", "__restore_rt"];

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
    let mut counts: BTreeMap<ThreadId, Counts> = BTreeMap::new();
    for (thread, stack, count) in samples {
        let names = stack
            .lookups()
            .flat_map(|(address, kind)| frames(thread.tgid, address, kind));
        let frames: Vec<Frame> = names.collect();
        let named: Vec<_> = frames.iter().map(|f| (f.kind, f.name.as_str())).collect();
        let part = part(&named);
        if part != Part::Reclaim {
            let of_part = counts.entry(thread).or_default().entry(part).or_default();
            *of_part = of_part.saturating_add(count);
        }
    }
    let all = |counts: &Counts| {
        counts
            .values()
            .fold(0, |sum: u64, n| sum.saturating_add(*n))
    };
    counts
        .into_iter()
        .filter(|(_, counts)| all(counts) >= MIN_SAMPLES)
        .map(|(thread, counts)| (thread, leaves(&counts, all(&counts))))
        .collect()
}

/// Samples by what they were.
type Counts = BTreeMap<Part, u64>;

/// Shares of leaves. Faults whose kind their frames do not tell are shared out like those that do.
fn leaves(counts: &Counts, all: u64) -> BTreeMap<Leaf, f64> {
    let count = |part: Part| counts.get(&part).copied().unwrap_or(0) as f64;
    let dirty = count(Part::Fault(Fault::Dirty));
    let swap_in = count(Part::Fault(Fault::SwapIn));
    let told = dirty + swap_in + count(Part::Fault(Fault::Mapping));
    let untold = match told > 0.0 {
        true => count(Part::Fault(Fault::Untold)) / told,
        false => 0.0,
    };
    let whole = |faults: f64| faults * (1.0 + untold);
    [
        (Leaf::DirtyTracking, whole(dirty) + count(Part::Tracking)),
        (Leaf::SwapIn, whole(swap_in)),
    ]
    .into_iter()
    .filter(|(_, samples)| *samples > 0.0)
    .map(|(leaf, samples)| (leaf, samples / all as f64))
    .collect()
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Work,
    Reclaim,
    /// Dirty tracking outside of faults.
    Tracking,
    Fault(Fault),
}

/// What a page fault did.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Dirty,
    SwapIn,
    Mapping,
    Untold,
}

/// The upkeep of memory that a stack is in, by the names of its frames in any order; nothing if it is
/// in none, or its frames do not tell.
pub fn upkeep(frames: &[(FrameKind, &str)]) -> Option<Leaf> {
    match part(frames) {
        Part::Reclaim => Some(Leaf::Reclaim),
        Part::Fault(Fault::SwapIn) => Some(Leaf::SwapIn),
        Part::Tracking | Part::Fault(Fault::Dirty) => Some(Leaf::DirtyTracking),
        Part::Work | Part::Fault(Fault::Mapping | Fault::Untold) => None,
    }
}

fn part(frames: &[(FrameKind, &str)]) -> Part {
    let has = |kind: FrameKind, functions: &[&str]| {
        let mut frames = frames.iter();
        frames.any(|(of, name)| *of == kind && functions.contains(name))
    };
    let in_kernel = |functions| has(FrameKind::Kernel, functions);
    if in_kernel(RECLAIM) {
        Part::Reclaim
    } else if in_kernel(SWAP_IN) {
        Part::Fault(Fault::SwapIn)
    } else if in_kernel(FAULT) {
        Part::Fault(if in_kernel(COPYING) || in_kernel(DIRTY_TRACKING) {
            Fault::Dirty
        } else if in_kernel(MAPPING) {
            Fault::Mapping
        } else {
            Fault::Untold
        })
    } else if in_kernel(DIRTY_TRACKING) || has(FrameKind::User, HANDLER) {
        Part::Tracking
    } else {
        Part::Work
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kernel: &[&'static str], user: &[&'static str]) -> Part {
        let frames = |names: &[&'static str], kind| -> Vec<(FrameKind, &str)> {
            names.iter().map(|name| (kind, *name)).collect()
        };
        let kernel = frames(kernel, FrameKind::Kernel);
        part(&[kernel, frames(user, FrameKind::User)].concat())
    }

    #[test]
    fn frames_tell_what_a_sample_was() {
        let fault = ["handle_mm_fault", "exc_page_fault", "asm_exc_page_fault"];
        let in_fault = |inner: &'static str| of(&[&[inner], &fault[..]].concat(), &["_n_burn"]);
        for (found, expected) in [
            (of(&[], &["_n_burn"]), Part::Work),
            (of(&["do_mprotect_pkey"], &["u3e_fault"]), Part::Tracking),
            (of(&[], &["handler", "__restore_rt"]), Part::Tracking),
            (in_fault("force_sig_fault"), Part::Fault(Fault::Dirty)),
            (in_fault("copy_page"), Part::Fault(Fault::Dirty)),
            (in_fault("do_swap_page"), Part::Fault(Fault::SwapIn)),
            (in_fault("filemap_map_pages"), Part::Fault(Fault::Mapping)),
            (in_fault("mas_walk"), Part::Fault(Fault::Untold)),
            (in_fault("try_to_free_pages"), Part::Reclaim),
        ] {
            assert!(found == expected);
        }
    }

    #[test]
    fn faults_of_an_untold_kind_are_shared_out() {
        let counts = Counts::from([
            (Part::Work, 40),
            (Part::Tracking, 10),
            (Part::Fault(Fault::Dirty), 30),
            (Part::Fault(Fault::Mapping), 10),
            (Part::Fault(Fault::Untold), 20),
        ]);
        let expected = BTreeMap::from([(Leaf::DirtyTracking, (10.0 + 45.0) / 110.0)]);
        assert_eq!(leaves(&counts, 110), expected);
    }
}
