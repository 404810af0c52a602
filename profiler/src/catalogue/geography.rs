//! A host that is nearer to whom the ship talks with.

use super::{Entry, Kind, Restart, Risk, Setting, Situation};
use crate::attribute::Cause;
use crate::host::Reading;
use crate::report::units::{count, duration};

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "geography",
    title: "move the ship nearer to its peers or users",
    cause: Cause::Ames,
    shrinks: &[],
    why: "A message takes at least the way to the other ship and back, wherever the time of events \
          goes.",
    gain: "None of this ship's stalled time: no event of it waits for an answer of another ship. What \
           its users feel is the round trip, which is shown.",
    check: "round trips of what the ship sent: from a poke or peek to its acknowledgement or page",
    answers: &[Kind::NoEvidence, Kind::CannotTell],
    conflicts: &[],
    restart: Restart::Ship,
    risk: Risk::Medium,
    source: "measured here, datagram by datagram; vere pkg/vere/io/mesa.c, ames.c",
    apply: &["move the pier to a host that is nearer: profile catalogue fewer-ships says how"],
    undo: &["move it back"],
    assess,
};

fn assess(situation: &Situation<'_>) -> super::Assessment {
    let setting = Setting::new(None, "a shorter round trip");
    let ames = &situation.summaries.ames;
    let trips = [
        &ames.peek_round_trips,
        &ames.poke_round_trips,
        &ames.ames_round_trips,
    ];
    let measured = trips.into_iter().filter_map(Reading::known);
    let most = measured.max_by_key(|times| times.count);
    match most.and_then(|times| Some((times.count, times.p50_ns?))) {
        Some((trips, p50_ns)) => setting.no_evidence(format!(
            "half of {} round trips took less than {}; no event waited for one",
            count(trips),
            duration(p50_ns)
        )),
        None => setting.cannot_tell("no round trip was measured"),
    }
}
