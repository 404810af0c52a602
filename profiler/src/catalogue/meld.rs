//! Joining equal parts of the loom's heap.

use super::pack::shrink_heap;
use super::{Assessment, Entry, Kind, Restart, Risk, Setting, Situation, is_at_least};
use crate::attribute::Cause;
use crate::report::units::bytes;

/// Memory that it takes up to vere 3.3, where the state is built anew outside of the loom.
const OLD_NEED_BYTES: u64 = 8 << 30;
/// From here on it works inside the loom (vere `pkg/noun/melt.c`).
const IN_PLACE: (u32, u32) = (3, 4);

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "meld",
    title: "meld the loom",
    cause: Cause::Memory,
    shrinks: &[],
    why: "Equal nouns that came in one by one are kept one by one until they are melded into one. It packs \
          too: the ship stands still, and the next snapshot writes the whole heap twice.",
    gain: "No stalled time: room in the loom, as much as there is twice in it. Advised where less than \
           512 MiB are free.",
    check: "the free gap in the loom's head, vere's version, free RAM (8 GiB up to vere 3.3), room on the \
            disk",
    answers: &[
        Kind::WouldHelp,
        Kind::NoEvidence,
        Kind::WouldHarm,
        Kind::CannotTell,
    ],
    conflicts: &["pack"],
    restart: Restart::None,
    risk: Risk::Medium,
    source: "vere pkg/noun/melt.c (since 3.4 in the loom, beside it two tables of references); \
             docs.urbit.org vere#meld (\"as much as 8GB\")",
    apply: &["in the dojo: |meld"],
    undo: &["none is needed"],
    assess,
};

fn assess(situation: &Situation<'_>) -> Assessment {
    let meta = situation.meta();
    let setting = Setting::new(None, "melded");
    let found = shrink_heap(situation, "|meld", &setting);
    if found.answer.kind() != Kind::WouldHelp {
        return found;
    }
    let available = meta.host.kernel.memory.known();
    let available = available.and_then(|memory| memory.available_bytes);
    match (is_at_least(meta.ship.version.as_deref(), IN_PLACE), available) {
        (Some(true), _) => found,
        (_, Some(available)) if available >= OLD_NEED_BYTES => found,
        (Some(false), Some(available)) => setting.would_harm(format!(
            "{}, but this vere needs 8 GiB for it and {} are free",
            found.reason,
            bytes(available)
        )),
        (None, _) | (_, None) => setting.cannot_tell(format!(
            "{}; vere before 3.4 needs 8 GiB for it, and its version or the free memory is not known",
            found.reason
        )),
    }
}
