//! Why a capture has no picture of some kind, in one sentence.

use crate::aggregate::stacks::StackKind;
use crate::model::Capture;

/// The sentence. `side` is 1 for the capture that another is compared with.
pub fn sentence(capture: &Capture, kind: StackKind, side: usize) -> String {
    let which = match side {
        0 => "the capture",
        _ => "the baseline",
    };
    let (what, needed, otherwise) = facts(kind);
    let missing = needed.iter().find_map(|name| {
        let mut probes = capture.meta.probes.iter();
        let probe = probes.find(|probe| probe.name == *name);
        match probe {
            Some(probe) => Some(format!(
                "{name} was not attached: {}",
                probe.error.as_ref()?
            )),
            None => Some(format!("{name} was not attached")),
        }
    });
    let why = missing.unwrap_or_else(|| otherwise.to_owned());
    format!("{which} holds no {what}: {why}")
}

/// What a kind is made of, the probes that it needs, and why there may be none though they are there.
fn facts(kind: StackKind) -> (&'static str, &'static [&'static str], &'static str) {
    const CLOCK: &[&str] = &["cpu_clock"];
    const HOON: &[&str] = &["cpu_clock", "cpu_clock_hoon"];
    match kind {
        StackKind::OnCpu => (
            "sample of the ship on CPU",
            CLOCK,
            "none of its threads ran when the clock ticked",
        ),
        StackKind::Hoon | StackKind::Mixed => (
            "Hoon stack",
            HOON,
            "mars did not run when the clock ticked, or another version of profile took it",
        ),
        StackKind::Dirty => (
            "sample of dirty tracking",
            CLOCK,
            "mars was never seen in the handler of protected pages, in mprotect or copying a page",
        ),
        StackKind::OffCpu => (
            "wait with a stack",
            &["sched_switch"],
            "no thread waited for longer than the threshold, but for work",
        ),
        StackKind::Wakeup => (
            "wait that another thread ended",
            &["sched_waking"],
            "no thread of the ship was woken",
        ),
        StackKind::BlockIo => (
            "block I/O",
            &["block_bio_queue", "block_rq_complete"],
            "the ship's threads queued none",
        ),
        StackKind::PageFault => (
            "major page fault",
            &["page_fault_major"],
            "every page that the ship touched was in memory",
        ),
    }
}
