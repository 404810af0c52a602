//! The ship or the host: who stalled time is due to, and what the neighbours did.

use std::cmp::Reverse;

use serde::Serialize;

use super::build::device_name;
use crate::aggregate::Summaries;
use crate::aggregate::neighbour::{
    AheadSummary, DeviceSummary, IoSummary, Neighbour, NeighbourKind,
};
use crate::aggregate::writeback::FileSums;
use crate::attribute::{Attribution, Party, blame, ratio};
use crate::catalogue::limits;
use crate::model::{Meta, sum};

/// Share of the window from which on a neighbour is named in a sentence: below it nobody need mind.
const MIN_NAMED_RATIO: f64 = 0.01;
/// Most neighbours that are listed for the CPUs, and for each device.
const MAX_LISTED: usize = 16;

/// Whether a neighbour that cost the ship this much is named.
pub fn is_named(ns: u64, meta: &Meta) -> bool {
    ratio(ns, meta.clocks.duration_ns()) >= MIN_NAMED_RATIO
}

/// Whom stalled time is due to.
#[derive(Debug, Clone, Serialize)]
pub struct ShipOrHost {
    /// The time that is split: that of king, mars and commit workers which was neither idle nor
    /// computing.
    pub stalled_ns: u64,
    /// Its parts, largest first. They sum to it.
    pub parts: Vec<PartyShare>,
}

/// One party's part.
#[derive(Debug, Clone, Serialize)]
pub struct PartyShare {
    /// Who.
    pub party: Party,
    /// Share of the stalled time.
    pub ratio: f64,
    /// Its time.
    pub total_ns: u64,
    /// The neighbour with the largest part of it; nothing where it is nobody, or too little to name.
    pub heaviest: Option<Neighbour>,
}

/// What the neighbours did, whether it held the ship up or not.
#[derive(Debug, Clone, Serialize)]
pub struct Neighbours {
    /// Why they could not be told apart; nothing if they could.
    pub unknown: Option<String>,
    /// Names of the other ships of this host; nothing if they could not be looked for.
    pub other_ships: Option<Vec<String>>,
    /// Who ran while threads of the ship waited for a CPU (50 µs or longer), the 16 heaviest first.
    pub ahead: Vec<AheadSummary>,
    /// The devices of the pier, the one that its file system is on first.
    pub devices: Vec<DeviceUse>,
    /// What the hypervisor took; nothing if the kernel does not say.
    pub steal: Option<StealLine>,
}

/// Who used one device.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceUse {
    /// Its name, or its numbers.
    pub device: String,
    /// Whether it lies below another device of the pier: then kernel threads pass the ship's I/O down.
    pub below: bool,
    /// Time in which it had at least one request, by `/proc/diskstats`; nothing if unknown.
    pub busy_ns: Option<u64>,
    /// That time as the programs saw it, by who had requests in the device.
    pub busy: BusySplit,
    /// Shares of its time by party. A request's time counts for who queued its first part.
    pub shares: Vec<DeviceShare>,
    /// Time of the ship's I/O in the queue.
    pub queue_ns: u64,
    /// Of that, behind others' requests: an estimate by what was under way when it was queued.
    pub queue_behind_ns: u64,
    /// Time of the ship's I/O in the device.
    pub device_ns: u64,
    /// Of that, behind others' requests: an estimate by what else was in the device at each moment, at
    /// most what it took longer than without others.
    pub device_behind_ns: u64,
    /// Processes that used it, the 16 heaviest first, the ship's among them.
    pub users: Vec<IoSummary>,
}

/// Time in which a device had at least one request. At each moment all requests in it have the same
/// share, so the parts sum to the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BusySplit {
    /// The whole.
    pub total_ns: u64,
    /// The ship's own requests, and what others wrote of its files.
    pub ship_ns: u64,
    /// Those of other ships of this host, likewise.
    pub other_ships_ns: u64,
    /// Those of all other processes, likewise, and of kernel threads that wrote nobody's files.
    pub others_ns: u64,
    /// Journal and metadata of the file system, written by the kernel for all who use it.
    pub journal_ns: u64,
    /// Requests that were not done when the capture ended.
    pub unfinished_ns: u64,
}

/// The ship's I/O of one file, or of what is no file.
#[derive(Debug, Clone, Serialize)]
pub struct FileLine {
    /// Device name, or its numbers.
    pub device: String,
    /// Directory and name, or what it is instead.
    pub file: String,
    /// What was read.
    pub read: FileSums,
    /// What the ship's threads wrote.
    pub written: FileSums,
    /// What others wrote for it: the kernel's write-back, the journal's thread, a `sync`.
    pub written_back: FileSums,
}

/// One party's share of a device.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceShare {
    /// Who.
    pub kind: NeighbourKind,
    /// Share of all requests' time in the device.
    pub ratio: f64,
    /// Their bytes.
    pub bytes: u64,
}

/// `/proc/stat`, over the window.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct StealLine {
    /// Taken from all CPUs together.
    pub stolen_ns: u64,
    /// Share of the time in which CPUs were not idle.
    pub ratio: f64,
}

/// Splits the stalled time.
pub fn ship_or_host(attribution: &Attribution, summaries: &Summaries, meta: &Meta) -> ShipOrHost {
    let limited = limits(meta).is_some_and(|limits| !limits.is_empty());
    let all = blame::blame(attribution, summaries.neighbours.as_ref(), limited);
    let stalled_ns = attribution.stalled_ns();
    let mut parts: Vec<PartyShare> = blame::by_party(&all)
        .into_iter()
        .filter(|(_, ns)| *ns > 0)
        .map(|(party, total_ns)| {
            let of: Vec<_> = all
                .iter()
                .filter(|due| due.party == party)
                .cloned()
                .collect();
            let named = |kind| {
                use NeighbourKind::{Forgotten, Idle, Ship};
                !matches!(kind, Ship | Idle | Forgotten)
            };
            let heaviest = blame::heaviest(&of, |one| named(one.kind));
            PartyShare {
                party,
                ratio: ratio(total_ns, stalled_ns),
                total_ns,
                heaviest: heaviest
                    .filter(|(_, ns)| is_named(*ns, meta))
                    .map(|(neighbour, _)| neighbour.clone()),
            }
        })
        .collect();
    parts.sort_by_key(|part| (Reverse(part.total_ns), part.party));
    ShipOrHost { stalled_ns, parts }
}

/// Lists the neighbours.
pub fn neighbours(attribution: &Attribution, summaries: &Summaries, meta: &Meta) -> Neighbours {
    let summary = summaries.neighbours.as_ref();
    let facts = meta.neighbours.known();
    let ships = facts.map(|facts| &facts.ships);
    Neighbours {
        unknown: meta
            .neighbours
            .reason()
            .or_else(|| ships.and_then(|ships| ships.reason()))
            .map(str::to_owned),
        other_ships: ships
            .and_then(|ships| ships.known())
            .map(|ships| ships.iter().map(|ship| ship.label.clone()).collect()),
        ahead: summary.map_or(Vec::new(), |summary| {
            summary.ahead.iter().take(MAX_LISTED).cloned().collect()
        }),
        devices: summary.map_or(Vec::new(), |summary| {
            let devices = summary.devices.iter();
            devices.map(|device| device_use(device, meta)).collect()
        }),
        steal: attribution.steal.map(|steal| StealLine {
            stolen_ns: steal.stolen_ns,
            ratio: steal.ratio(),
        }),
    }
}

/// Lists the ship's I/O by file.
pub fn file_io(summaries: &Summaries, meta: &Meta) -> Vec<FileLine> {
    let lines = summaries.files.iter().map(|file| FileLine {
        device: device_name(meta, file.dev),
        file: file.name.clone(),
        read: file.read,
        written: file.written,
        written_back: file.written_back,
    });
    lines.collect()
}

fn busy_split(device: &DeviceSummary) -> BusySplit {
    let of = |kinds: &[NeighbourKind]| {
        let users = device.users.iter();
        let of = users.filter(|user| kinds.contains(&user.neighbour.kind));
        sum(of.map(|user| user.busy_ns))
    };
    let all_ns = sum(device.users.iter().map(|user| user.busy_ns));
    let ship_ns = of(&[NeighbourKind::Ship]);
    let other_ships_ns = of(&[NeighbourKind::OtherShip]);
    let journal_ns = of(&[NeighbourKind::Journal]);
    let unfinished_ns = device.busy_ns.saturating_sub(all_ns);
    BusySplit {
        total_ns: all_ns.saturating_add(unfinished_ns),
        ship_ns,
        other_ships_ns,
        others_ns: all_ns.saturating_sub(sum([ship_ns, other_ships_ns, journal_ns])),
        journal_ns,
        unfinished_ns,
    }
}

fn device_use(device: &DeviceSummary, meta: &Meta) -> DeviceUse {
    let whole_ns = sum(device.users.iter().map(|user| user.device_ns));
    let name = device_name(meta, device.dev);
    let busy_ns = || {
        let of = |counters: &crate::host::counters::KernelCounters| {
            Some(counters.disks.known()?.get(&name)?.busy_ns)
        };
        Some(of(&meta.counters_end)?.saturating_sub(of(&meta.counters_start)?))
    };
    let mut kinds: Vec<NeighbourKind> = device.users.iter().map(|u| u.neighbour.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut shares: Vec<DeviceShare> = kinds
        .into_iter()
        .map(|kind| {
            let of = || device.users.iter().filter(|u| u.neighbour.kind == kind);
            DeviceShare {
                kind,
                ratio: ratio(sum(of().map(|user| user.device_ns)), whole_ns),
                bytes: sum(of().map(|user| user.bytes)),
            }
        })
        .collect();
    shares.sort_by(|a, b| b.ratio.total_cmp(&a.ratio).then(a.kind.cmp(&b.kind)));
    DeviceUse {
        below: device.below,
        busy_ns: busy_ns(),
        busy: busy_split(device),
        shares,
        queue_ns: device.queue_ns,
        queue_behind_ns: device.queue_behind_ns,
        device_ns: device.device_ns,
        device_behind_ns: device.device_behind_ns,
        users: device.users.iter().take(MAX_LISTED).cloned().collect(),
        device: name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_devices_busy_time_sum_to_it() {
        let user = |kind, busy_ns| IoSummary {
            neighbour: Neighbour {
                kind,
                tgid: 1,
                comm: String::new(),
                cgroup: None,
                ship: None,
                ended: false,
            },
            count: 1,
            bytes: 0,
            written_back_bytes: 0,
            device_ns: 10 * busy_ns,
            busy_ns,
        };
        let mut device = DeviceSummary {
            dev: 1,
            below: false,
            queue_ns: 0,
            queue_behind_ns: 0,
            device_ns: 0,
            device_behind_ns: 0,
            busy_ns: 1_000,
            users: vec![
                user(NeighbourKind::Ship, 300),
                user(NeighbourKind::OtherShip, 200),
                user(NeighbourKind::Process, 100),
                user(NeighbourKind::Kernel, 50),
                user(NeighbourKind::Profiler, 5),
                user(NeighbourKind::Journal, 40),
            ],
        };
        let expected = BusySplit {
            total_ns: 1_000,
            ship_ns: 300,
            other_ships_ns: 200,
            others_ns: 155,
            journal_ns: 40,
            unfinished_ns: 305,
        };
        assert_eq!(busy_split(&device), expected);
        // More than the whole, by what two CPUs at once may add twice: the sum is the whole then.
        device.busy_ns = 600;
        let split = busy_split(&device);
        assert_eq!((split.total_ns, split.unfinished_ns), (695, 0));
    }
}
