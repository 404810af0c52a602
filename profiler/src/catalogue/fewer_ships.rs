//! Fewer ships on one host.

use super::{
    Answer, Assessment, DISK_LEAVES, Entry, Gain, Kind, LeafGain, Restart, Risk, Situation, Step,
};
use crate::aggregate::neighbour::NeighbourKind;
use crate::attribute::{Attribution, Cause, Leaf, Party, blame, ratio};
use crate::model::sum;
use crate::report::units::duration;

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "fewer-ships",
    title: "move ships to another host",
    cause: Cause::Cpu,
    shrinks: &[
        Leaf::RunQueue,
        Leaf::LogCommit,
        Leaf::Snapshot,
        Leaf::PageIn,
        Leaf::OtherFile,
    ],
    why: "Ships on one host take turns on its CPUs, and each commit of one waits behind those of \
          the others on the same disk.",
    gain: "The time that this ship waited behind other ships for a CPU, and on the disk the share \
           of its time that it was behind their requests; at least half of that, because what \
           held two of them up may hold up one alone.",
    check: "the other ships of this host, and their shares of CPU and disk",
    answers: &[
        Kind::AlreadySo,
        Kind::WouldHelp,
        Kind::NoEvidence,
        Kind::CannotTell,
    ],
    conflicts: &[],
    restart: Restart::Ship,
    risk: Risk::Medium,
    source: "measured here: who ran while this ship waited (sched:sched_switch), and whose \
             requests were under way when it queued its own (block:block_bio_queue)",
    apply: &[
        "stop one of the ships, then copy its pier: rsync -aHAX --sparse PIER/ HOST:/PIER/",
        "start it there, and delete the old pier only when it runs: never run both",
    ],
    undo: &["stop the ship there, copy its pier back, start it here"],
    assess,
};

fn assess(situation: &Situation<'_>) -> Assessment {
    let facts = situation.meta().neighbours.known();
    let ships = facts.and_then(|facts| facts.ships.known());
    let current = ships.map(|ships| match ships.len() {
        0 => "no other ship".to_owned(),
        1 => "1 other ship".to_owned(),
        many => format!("{many} other ships"),
    });
    let proposed = "fewer ships on this host";
    let without =
        |answer, reason| Assessment::without_change(answer, current.clone(), proposed, reason);
    let (Some(ships), Some(neighbours)) = (ships, situation.summaries.neighbours.as_ref()) else {
        let reason = situation.meta().neighbours.reason();
        let of_ships = facts.and_then(|facts| facts.ships.reason());
        let reason = reason
            .or(of_ships)
            .unwrap_or("the other ships are not known");
        return without(Answer::CannotTell, reason.to_owned());
    };
    if ships.is_empty() {
        return without(
            Answer::AlreadySo,
            "no other ship runs on this host".to_owned(),
        );
    }
    let attribution = situation.attribution;
    let disk_ns = sum(DISK_LEAVES.iter().map(|leaf| attribution.leaf_ns(*leaf)));
    let cpu = blame::run_queue(attribution, Some(neighbours));
    let disk = blame::disk(disk_ns, Some(neighbours), Party::Device);
    let of_ships = |parts| {
        let parties = blame::by_party(parts);
        parties.get(&Party::OtherShips).copied().unwrap_or(0)
    };
    let (cpu_ns, disk_ns) = (of_ships(&cpu), of_ships(&disk));
    let all: Vec<_> = cpu.into_iter().chain(disk).collect();
    let first = blame::heaviest(&all, |one| one.kind == NeighbourKind::OtherShip);
    let Some((first, _)) = first else {
        return without(
            Answer::NoEvidence,
            "the other ships held this one up for no time".to_owned(),
        );
    };
    let high_ns = cpu_ns.saturating_add(disk_ns);
    Assessment {
        answer: Answer::WouldHelp(Gain::StalledTime {
            low_ns: high_ns / 2,
            high_ns,
        }),
        reason: format!(
            "waited behind other ships for {} on CPUs and ~{} on the disk, first {}",
            duration(cpu_ns),
            duration(disk_ns),
            first.short()
        ),
        current,
        proposed: proposed.to_owned(),
        apply: ENTRY.apply.iter().map(|line| Step::advice(*line)).collect(),
        undo: ENTRY.undo.iter().map(|line| Step::advice(*line)).collect(),
        by_leaf: by_leaf(attribution, cpu_ns, disk_ns),
        ..Assessment::default()
    }
}

/// The gain by leaf: what the disk held up is shared out as its leaves are.
fn by_leaf(attribution: &Attribution, cpu_ns: u64, disk_ns: u64) -> Vec<LeafGain> {
    let of_disk_ns = sum(DISK_LEAVES.iter().map(|leaf| attribution.leaf_ns(*leaf)));
    ENTRY
        .shrinks
        .iter()
        .map(|&leaf| {
            let high_ns = match leaf {
                Leaf::RunQueue => cpu_ns,
                _ => (disk_ns as f64 * ratio(attribution.leaf_ns(leaf), of_disk_ns)) as u64,
            };
            LeafGain {
                leaf,
                low_ns: high_ns / 2,
                high_ns,
            }
        })
        .collect()
}
