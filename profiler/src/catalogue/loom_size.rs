//! A larger loom.

use super::place::{self, Lasting};
use super::{Entry, Gain, Kind, Restart, Risk, Setting, Situation};
use crate::attribute::Cause;
use crate::report::LOW_GAP_BYTES;
use crate::report::units::bytes;
use crate::ship::Generation;

/// vere's default, in all versions (`pkg/vere/main.c`).
pub const DEFAULT_BEX: u8 = 31;
/// The largest of v4, and of the versions before (`pkg/vere/main.c`, `allocate.h`).
const LARGEST_V4: u8 = 34;
const LARGEST_OLDER: u8 = 33;

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "loom-size",
    title: "give the ship a larger loom",
    cause: Cause::Memory,
    shrinks: &[],
    why: "What does not fit the loom ends an event with \"bail: meme\", and below 128 MiB of free loom \
          vere packs after an event by itself.",
    gain: "No stalled time: it keeps the ship from running out. Advised where less than 512 MiB of the \
           loom are free. A larger loom costs nothing until it is used, but a heap that has grown past \
           the old size can never start without it.",
    check: "--loom in mars' arguments, the heap and the free gap in the loom's head, RAM and swap",
    answers: &[
        Kind::AlreadySo,
        Kind::WouldHelp,
        Kind::NoEvidence,
        Kind::WouldHarm,
        Kind::CannotTell,
    ],
    conflicts: &[],
    restart: Restart::Ship,
    risk: Risk::Low,
    source: "vere pkg/vere/main.c (--loom, 20 to 34), pkg/vere/mars.c (512 and 128 MiB), \
             pkg/noun/events.c (\"snapshot too big for loom\")",
    apply: &["restart the ship with --loom 32 (4 GiB), 33 (8 GiB) or, from v4, 34 (16 GiB)"],
    undo: &["restart the ship with the --loom that it had, while the heap still fits"],
    assess,
};

/// The largest loom of a generation, as a power of two.
pub fn largest(generation: Generation) -> u8 {
    match generation {
        Generation::Mars => LARGEST_V4,
        Generation::Serf | Generation::Unknown => LARGEST_OLDER,
    }
}

fn assess(situation: &Situation<'_>) -> super::Assessment {
    let meta = situation.meta();
    let configured = meta.ship.config.as_ref().and_then(|config| config.loom_bex);
    let bex = configured.unwrap_or(DEFAULT_BEX);
    let next = bex.saturating_add(1);
    let size = |bex: u8| 1_u64.checked_shl(u32::from(bex)).unwrap_or(u64::MAX);
    let setting = |proposed: u8| {
        Setting::new(
            Some(format!("--loom {bex} ({})", bytes(size(bex)))),
            format!("--loom {proposed} ({})", bytes(size(proposed))),
        )
    };
    let Some(loom) = situation.summaries.memory.loom else {
        return setting(next).cannot_tell("the layout of the loom is not known");
    };
    let text = format!(
        "{} of heap, {} free",
        bytes(loom.heap_bytes),
        bytes(loom.free_gap_bytes)
    );
    if loom.free_gap_bytes >= LOW_GAP_BYTES {
        return setting(next).no_evidence(text);
    }
    if bex >= largest(meta.ship.generation) {
        return setting(bex).already_so(format!("{text}, and there is no larger loom"));
    }
    let setting = setting(next);
    // One mapping larger than RAM and swap together is refused (mm/util.c, __vm_enough_memory) unless
    // vm.overcommit_memory is 1.
    let may_exceed = super::sysctl(meta, "vm.overcommit_memory") == Some("1");
    let room = meta.host.kernel.memory.known();
    let room = room.map(|memory| memory.total_bytes.saturating_add(memory.swap_total_bytes));
    if let Some(room) = room.filter(|room| *room < size(next) && !may_exceed) {
        return setting.would_harm(format!(
            "{text}, but the ship would not start: {} of RAM and swap are less than the loom",
            bytes(room)
        ));
    }
    let lasting = Lasting::Flag("--loom", Some(u64::from(next)));
    let before = Lasting::Flag("--loom", configured.map(u64::from));
    setting.would_help(
        Gain::Finding { id: "loom-space" },
        format!(
            "{text}; a heap past {} then needs it for ever",
            bytes(size(bex))
        ),
        place::keep(situation, &lasting),
        place::keep(situation, &before),
    )
}
