//! Melding by the calendar.

use super::pack_schedule::by_calendar;
use super::{Assessment, Entry, Kind, Restart, Risk, Situation};
use crate::aggregate::events::SpanKind;
use crate::attribute::Cause;

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "meld-schedule",
    title: "meld by need, not by the calendar",
    cause: Cause::Memory,
    shrinks: &[],
    why: "A monthly |meld is advised where there are 8 GiB of RAM. It stops the ship longer than |pack, \
          and rewrites the heap as well.",
    gain: "No stalled time. A schedule is advised only where less than 512 MiB of the loom are free; one \
           that stopped the ship during the capture with more than that free does harm.",
    check: "cron, timers of systemd, GroundSeg's settings; the free gap in the loom's head; melding \
            during the capture",
    answers: &[
        Kind::AlreadySo,
        Kind::WouldHelp,
        Kind::NoEvidence,
        Kind::WouldHarm,
        Kind::CannotTell,
    ],
    conflicts: &["pack-schedule"],
    restart: Restart::None,
    risk: Risk::Medium,
    source: "vere pkg/noun/melt.c (the need of 8 GiB ended with 3.4); GroundSeg offers an interval (goseg, \
             meld_schedule)",
    apply: &[
        "where the loom fills again and again: a monthly |meld at a quiet hour, from cron or GroundSeg",
    ],
    undo: &["take the line out of cron, or the schedule out of GroundSeg"],
    assess,
};

fn assess(situation: &Situation<'_>) -> Assessment {
    by_calendar(
        situation,
        "|meld",
        |schedule| schedule.melds,
        SpanKind::Meld,
    )
}
