//! How often mars writes a snapshot, during which the ship stands still.

use super::place::Lasting;
use super::{Answer, Assessment, Entry, Gain, Kind, Manner, Restart, Risk, Situation, place};
use crate::attribute::{Cause, Leaf, ratio};
use crate::report::MANY_MAPPINGS_RATIO;
use crate::report::units::{count, duration, spent};
use crate::ship::Generation;

/// What the largest hoster of ships sets, an hour; vere takes minutes and gives mars seconds.
const PROPOSED_S: u64 = 3600;
/// vere's default (`pkg/vere/main.c`).
const DEFAULT_S: u64 = 120;

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "snap-time",
    title: "write a snapshot once an hour",
    cause: Cause::Disk,
    shrinks: &[Leaf::Snapshot],
    why: "A snapshot writes each page that changed twice and checks it, and the ship stands still \
          meanwhile. By default there is one every two minutes. Fewer are larger, after a crash more \
          of the log is replayed, and mars has more memory mappings in between.",
    gain: "From every S seconds to every 3600: at most 1 - S/3600 of the time in snapshots, when the \
           same pages change again and again, so that a later snapshot is no larger. At least half \
           of that: how many pages repeat is not measured.",
    check: "--snap-time in mars' arguments, and how long the ship stood still for snapshots",
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
    source: "vere pkg/vere/main.c (--snap-time, in minutes), mars.c, and pkg/noun/events.c (u3e_save: \
             a patch file, then the image); urbit issue 6919",
    apply: &["restart the ship with --snap-time 60 (minutes)"],
    undo: &["restart the ship with the --snap-time that it had, or without (2 minutes)"],
    assess,
};

fn assess(situation: &Situation<'_>) -> Assessment {
    let ship = &situation.meta().ship;
    let configured = ship.config.as_ref().and_then(|config| config.snap_time_s);
    // Up to v3.5 the king has the timer, and mars' arguments do not say.
    let known = ship.generation == Generation::Mars && ship.config.is_some();
    let seconds = configured.or(known.then_some(DEFAULT_S));
    let current = seconds.map(every);
    let proposed = every(PROPOSED_S);
    let without =
        |answer, reason| Assessment::without_change(answer, current.clone(), &proposed, reason);
    let snapshot_ns = situation.attribution.leaf_ns(Leaf::Snapshot);
    if let Some(seconds) = seconds.filter(|seconds| *seconds >= PROPOSED_S) {
        return without(Answer::AlreadySo, format!("a snapshot {}", every(seconds)));
    }
    let seen = situation.summaries.snapshots.as_ref();
    if snapshot_ns == 0 {
        return without(
            Answer::NoEvidence,
            match seen.filter(|snapshots| snapshots.seen() == 0) {
                Some(_) => "there was no snapshot in this capture".to_owned(),
                None => "no time went into a snapshot in this capture".to_owned(),
            },
        );
    }
    let spent = match seen.filter(|snapshots| snapshots.seen() > 0) {
        Some(snapshots) => format!(
            "the ship stood still {} for {} snapshot{}, {} at most",
            duration(snapshots.total_ns),
            count(snapshots.seen()),
            if snapshots.seen() == 1 { "" } else { "s" },
            duration(snapshots.max_ns)
        ),
        None => format!("{} in snapshots", spent(snapshot_ns, situation.attribution)),
    };
    let Some(seconds) = seconds else {
        let reason = format!("{spent}, but how often there is one is not known");
        return without(Answer::CannotTell, reason);
    };
    if let Some(harm) = harm(situation, snapshot_ns) {
        return without(Answer::WouldHarm, format!("{spent}, but {harm}"));
    }
    let high_ns = (snapshot_ns as f64 * (1.0 - ratio(seconds, PROPOSED_S))) as u64;
    Assessment {
        answer: Answer::WouldHelp(Gain::StalledTime {
            low_ns: high_ns / 2,
            high_ns,
        }),
        reason: format!(
            "{spent}, one {}; how much larger the rarer ones are is not measured, and after a crash \
             more of the log is replayed",
            every(seconds)
        ),
        apply: place::keep(
            situation,
            &Lasting::Flag("--snap-time", Some(PROPOSED_S / 60)),
        ),
        undo: {
            let minutes = configured.filter(|seconds| *seconds >= 60);
            let minutes = minutes.map(|seconds| seconds / 60);
            place::keep(situation, &Lasting::Flag("--snap-time", minutes))
        },
        manner: Manner::Rarer,
        proposed,
        current,
        ..Assessment::default()
    }
}

/// Why fewer snapshots would be worse here.
fn harm(situation: &Situation<'_>, snapshot_ns: u64) -> Option<String> {
    let memory = &situation.summaries.memory;
    if let (Some(mappings), Some(limit)) = (memory.mappings, memory.max_mappings)
        && ratio(mappings, limit) >= MANY_MAPPINGS_RATIO
    {
        return Some(format!(
            "mars has {} of {} mappings, and only a snapshot makes them fewer: max-map-count first",
            count(mappings),
            count(limit)
        ));
    }
    // Pages that changed since the last snapshot cannot be dropped and read again, only swapped.
    let short_ns = super::ram::ENTRY.shrinks.iter();
    let short_ns = short_ns
        .map(|leaf| situation.attribution.leaf_ns(*leaf))
        .sum::<u64>();
    (short_ns >= snapshot_ns).then(|| {
        format!(
            "{} for want of memory: pages that changed stay in it until the next one",
            spent(short_ns, situation.attribution)
        )
    })
}

fn every(seconds: u64) -> String {
    match seconds {
        3600 => "every hour".to_owned(),
        _ if seconds.is_multiple_of(60) => format!("every {} min", seconds / 60),
        _ => format!("every {seconds} s"),
    }
}
