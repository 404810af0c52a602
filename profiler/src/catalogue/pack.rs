//! Compacting the loom's heap.

use super::{Assessment, Entry, Gain, Kind, Restart, Risk, Setting, Situation, Step};
use crate::attribute::Cause;
use crate::report::LOW_GAP_BYTES;
use crate::report::units::bytes;

/// The finding that these are for.
pub(super) const FINDING: &str = "loom-space";

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "pack",
    title: "pack the loom",
    cause: Cause::Memory,
    shrinks: &[],
    why: "Freed memory stays in the heap as holes until the heap is packed. The ship stands still \
          meanwhile, nearly all of the heap becomes dirty, and the next snapshot writes it all twice.",
    gain: "No stalled time: room in the loom, as much as there are holes (how much, only the ship itself \
           can say). Advised where less than 512 MiB are free; below 128 MiB vere packs by itself.",
    check: "the free gap in the loom's head, and room on the disk for the snapshot after it",
    answers: &[
        Kind::WouldHelp,
        Kind::NoEvidence,
        Kind::WouldHarm,
        Kind::CannotTell,
    ],
    conflicts: &["meld"],
    restart: Restart::None,
    risk: Risk::Low,
    source: "vere pkg/vere/mars.c (packs below 2^25 words), pkg/noun/manage.c (u3m_pack); measured: \
             2816 of 2817 pages of a heap were dirty after it",
    apply: &["in the dojo: |pack"],
    undo: &["none is needed"],
    assess,
};

fn assess(situation: &Situation<'_>) -> Assessment {
    shrink_heap(situation, "|pack", &Setting::new(None, "packed"))
}

/// What packing and melding have in common: they are for a loom that is nearly full, and rewrite the heap.
pub(super) fn shrink_heap(
    situation: &Situation<'_>,
    command: &str,
    setting: &Setting,
) -> Assessment {
    let Some(loom) = situation.summaries.memory.loom else {
        return setting.cannot_tell("the layout of the loom is not known");
    };
    let text = format!("{} of the loom are free", bytes(loom.free_gap_bytes));
    if loom.free_gap_bytes >= LOW_GAP_BYTES {
        return setting.no_evidence(text);
    }
    let space = situation.meta().host.storage.space.known();
    let free = space.map(|space| space.available_bytes);
    if let Some(free) = free.filter(|free| *free < loom.heap_bytes) {
        // The patch is written beside the image before the image is.
        return setting.would_harm(format!(
            "{text}, but the next snapshot needs {} of disk and there are {}: the ship would die",
            bytes(loom.heap_bytes),
            bytes(free)
        ));
    }
    setting.would_help(
        Gain::Finding { id: FINDING },
        format!("{text}; the ship stands still meanwhile"),
        vec![Step::advice(format!("in the dojo: {command}"))],
        vec![Step::advice("none is needed")],
    )
}
