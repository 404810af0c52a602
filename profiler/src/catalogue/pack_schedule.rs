//! Packing by the calendar.

use super::{Assessment, Entry, Gain, Kind, Restart, Risk, Setting, Situation, Step};
use crate::aggregate::events::SpanKind;
use crate::attribute::{Cause, LONG_WAIT_NS};
use crate::host::schedules::{Schedule, Schedules};
use crate::report::LOW_GAP_BYTES;
use crate::report::units::{bytes, duration};

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "pack-schedule",
    title: "pack by need, not by the calendar",
    cause: Cause::Memory,
    shrinks: &[],
    why: "A weekly |pack is advised as prevention. It stops the ship and rewrites the heap whether there \
          are holes in it or not; vere packs by itself when the loom gets full.",
    gain: "No stalled time. A schedule is advised only where less than 512 MiB of the loom are free; one \
           that stopped the ship during the capture with more than that free does harm.",
    check: "cron, timers of systemd, GroundSeg's settings; the free gap in the loom's head; packing \
            during the capture",
    answers: &[
        Kind::AlreadySo,
        Kind::WouldHelp,
        Kind::NoEvidence,
        Kind::WouldHarm,
        Kind::CannotTell,
    ],
    conflicts: &["meld-schedule"],
    restart: Restart::None,
    risk: Risk::Low,
    source: "vere pkg/vere/mars.c (packs by itself below 128 MiB); vere's documentation names no \
             interval; GroundSeg offers one (goseg, meld_schedule)",
    apply: &[
        "where the loom fills again and again: a weekly |pack at a quiet hour, from cron or GroundSeg",
    ],
    undo: &["take the line out of cron, or the schedule out of GroundSeg"],
    assess,
};

fn assess(situation: &Situation<'_>) -> Assessment {
    by_calendar(
        situation,
        "|pack",
        |schedule| schedule.packs,
        SpanKind::Pack,
    )
}

/// What is found of one kind of schedule, in a sentence.
fn found(schedules: &Schedules, wanted: fn(&Schedule) -> bool) -> Option<String> {
    let first = schedules.found.iter().find(|one| wanted(one))?;
    Some(format!("{}: {}", first.file.display(), first.command))
}

/// What the schedules of packing and melding have in common.
pub(super) fn by_calendar(
    situation: &Situation<'_>,
    command: &str,
    wanted: fn(&Schedule) -> bool,
    kind: SpanKind,
) -> Assessment {
    let proposed = "by need";
    let schedules = match situation.setup() {
        Ok(setup) => &setup.schedules,
        Err(reason) => return Setting::new(None, proposed).cannot_tell(reason),
    };
    let scheduled = found(schedules, wanted);
    let setting = Setting::new(scheduled.clone(), proposed);
    let loom = situation.summaries.memory.loom;
    let Some(loom) = loom else {
        return setting.cannot_tell("the layout of the loom is not known");
    };
    let gap = format!("{} of the loom are free", bytes(loom.free_gap_bytes));
    let is_low = loom.free_gap_bytes < LOW_GAP_BYTES;
    let longest_ns = longest_ns(situation, kind);
    match scheduled {
        Some(_) if longest_ns >= LONG_WAIT_NS && !is_low => setting.would_harm(format!(
            "it stopped the ship for {}, and {gap}",
            duration(longest_ns)
        )),
        Some(schedule) => setting.already_so(schedule),
        None if !is_low => setting.no_evidence(format!("there is none, and {gap}")),
        None => match schedules.unread.first() {
            Some(unread) => setting.cannot_tell(format!("{gap}, but {unread} may not be read")),
            None => setting.would_help(
                Gain::Finding {
                    id: super::pack::FINDING,
                },
                format!("{gap}, and nothing packs it by the calendar"),
                vec![Step::advice(format!(
                    "a weekly {command} at a quiet hour, from cron or GroundSeg"
                ))],
                vec![Step::advice("take it out again")],
            ),
        },
    }
}

/// The longest span of this kind in the capture.
fn longest_ns(situation: &Situation<'_>, kind: SpanKind) -> u64 {
    let events = situation.summaries.events.as_ref();
    let spans = events.into_iter().flat_map(|events| events.upkeep());
    let of_kind = spans.filter(|span| span.kind == kind);
    of_kind.map(|span| span.duration_ns()).max().unwrap_or(0)
}
