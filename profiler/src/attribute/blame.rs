//! The ship or the host: who stalled time is due to.
//!
//! - *Run queue*: by what ran while the ship's threads waited. Waits too short to be looked into are
//!   nobody's.
//! - *Disk*: the share of the ship's I/O time that it was behind others' requests, split among them by
//!   their shares of the device's busy time. What the kernel writes back of the ship's files is the
//!   ship's own. The rest is the device's. A commit also waits for the journal, which the kernel writes
//!   for all; it is taken to be held up like the ship's own requests.
//! - A quota, and what is left of the disk's time where the group's I/O is limited, is the *limits'*.
//! - What is stolen is the *hypervisor's*; upkeep of memory, sending and waiting for the king the
//!   *ship's own*.
//! - Who took the memory that had to be freed is not known.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Attribution, Leaf};
use crate::aggregate::neighbour::{Neighbour, NeighbourKind, NeighbourSummary};
use crate::model::sum;

/// Who stalled time is due to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    /// This ship.
    Ship,
    /// Other ships of this host.
    OtherShips,
    /// Other processes.
    OtherProcesses,
    /// This profiler.
    Profiler,
    /// Kernel threads: on the disk, write-back of what nobody was seen to write.
    Kernel,
    /// The journal and metadata of the file system, which all who write there share.
    Journal,
    /// The hypervisor.
    Hypervisor,
    /// The limits of the ship's control group.
    Limits,
    /// The disk itself.
    Device,
    /// A CPU that was free and had to wake up.
    WakeUp,
    /// Not known.
    Unknown,
}

impl Party {
    /// In a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ship => "this ship",
            Self::OtherShips => "other ships",
            Self::OtherProcesses => "other processes",
            Self::Profiler => "this profiler",
            Self::Kernel => "kernel threads",
            Self::Journal => "shared journal",
            Self::Hypervisor => "hypervisor",
            Self::Limits => "limits of its group",
            Self::Device => "device itself",
            Self::WakeUp => "idle CPU waking up",
            Self::Unknown => "not known",
        }
    }

    fn of(kind: NeighbourKind) -> Self {
        match kind {
            NeighbourKind::Ship => Self::Ship,
            NeighbourKind::OtherShip => Self::OtherShips,
            NeighbourKind::Process => Self::OtherProcesses,
            NeighbourKind::Kernel => Self::Kernel,
            NeighbourKind::Journal => Self::Journal,
            NeighbourKind::Profiler => Self::Profiler,
            NeighbourKind::Idle => Self::WakeUp,
            NeighbourKind::Forgotten => Self::Unknown,
        }
    }
}

/// A part of stalled time, and who exactly.
#[derive(Debug, Clone)]
pub struct Due<'a> {
    /// To whom.
    pub party: Party,
    /// Who that is; nothing for what is no neighbour.
    pub neighbour: Option<&'a Neighbour>,
    /// How much.
    pub ns: u64,
}

/// `ns × part / whole`, rounded down.
fn share(ns: u64, part: u64, whole: u64) -> u64 {
    if whole == 0 {
        return 0;
    }
    let share = u128::from(ns) * u128::from(part) / u128::from(whole);
    u64::try_from(share).unwrap_or(u64::MAX).min(ns)
}

/// Adds what is left of `ns`, so that the parts sum to it.
fn close(parts: &mut Vec<Due<'_>>, ns: u64, rest: Party) {
    let left = ns.saturating_sub(sum(parts.iter().map(|part| part.ns)));
    parts.push(Due {
        party: rest,
        neighbour: None,
        ns: left,
    });
}

/// Whom time in the run queue is due to. Sums to that time. Of events, which overlap, it is shared out as
/// that of the threads.
pub fn run_queue<'a>(
    attribution: &Attribution,
    neighbours: Option<&'a NeighbourSummary>,
) -> Vec<Due<'a>> {
    let waited_ns = attribution.run_queue_ns;
    // A throttled thread waits beside an idle CPU, and that time is a leaf of its own.
    let throttled_ns = attribution.throttled_ns;
    let mut parts: Vec<Due<'a>> = neighbours
        .into_iter()
        .flat_map(|neighbours| &neighbours.ahead)
        .map(|ahead| Due {
            party: Party::of(ahead.neighbour.kind),
            neighbour: Some(&ahead.neighbour),
            ns: match ahead.neighbour.kind {
                NeighbourKind::Idle => ahead.total_ns.saturating_sub(throttled_ns),
                _ => ahead.total_ns,
            },
        })
        .collect();
    let known_ns = sum(parts.iter().map(|part| part.ns));
    if known_ns > waited_ns {
        // Other threads of the ship waited too.
        for part in &mut parts {
            part.ns = share(waited_ns, part.ns, known_ns);
        }
    }
    close(&mut parts, waited_ns, Party::Unknown);
    let leaf_ns = attribution.leaf_ns(Leaf::RunQueue);
    for part in &mut parts {
        part.ns = share(leaf_ns, part.ns, waited_ns);
    }
    close(&mut parts, leaf_ns, Party::Unknown);
    parts
}

/// Whom `ns` spent on the pier's disk is due to; `rest` is what is nobody's. Sums to `ns`.
pub fn disk(ns: u64, neighbours: Option<&NeighbourSummary>, rest: Party) -> Vec<Due<'_>> {
    let devices = neighbours.map_or(&[][..], |neighbours| &neighbours.devices);
    let own_ns = sum(devices
        .iter()
        .map(|d| d.queue_ns.saturating_add(d.device_ns)));
    let mut parts = Vec::new();
    for device in devices {
        let behind_ns = device
            .queue_behind_ns
            .saturating_add(device.device_behind_ns);
        let of_device_ns = share(ns, behind_ns, own_ns);
        let others = || {
            let users = device.users.iter();
            users.filter(|user| user.neighbour.kind != NeighbourKind::Ship)
        };
        let others_ns = sum(others().map(|user| user.busy_ns));
        parts.extend(others().map(|user| Due {
            party: Party::of(user.neighbour.kind),
            neighbour: Some(&user.neighbour),
            ns: share(of_device_ns, user.busy_ns, others_ns),
        }));
    }
    close(&mut parts, ns, rest);
    parts
}

/// Whom all stalled time is due to. Sums to it. `limited`: the group's I/O has a limit.
pub fn blame<'a>(
    attribution: &Attribution,
    neighbours: Option<&'a NeighbourSummary>,
    limited: bool,
) -> Vec<Due<'a>> {
    let rest = if limited {
        Party::Limits
    } else {
        Party::Device
    };
    let mut all = run_queue(attribution, neighbours);
    for (leaf, part) in &attribution.parts {
        let whole = |party| {
            vec![Due {
                party,
                neighbour: None,
                ns: part.total_ns,
            }]
        };
        all.extend(match leaf {
            // It is there already.
            Leaf::RunQueue => Vec::new(),
            // Its own work is no stall; waiting for that of other events is.
            Leaf::Computing => vec![Due {
                party: Party::Ship,
                neighbour: None,
                ns: part.total_ns - attribution.own_computing_ns(),
            }],
            Leaf::LogCommit
            | Leaf::Snapshot
            | Leaf::PageIn
            | Leaf::OtherFile
            | Leaf::PageInAfterEviction => disk(part.total_ns, neighbours, rest),
            Leaf::Throttled => whole(Party::Limits),
            Leaf::Stolen => whole(Party::Hypervisor),
            Leaf::SwapIn => whole(Party::Device),
            Leaf::DirtyTracking
            | Leaf::Collection
            | Leaf::MemoryMap
            | Leaf::SendPath
            | Leaf::KingHeldUp => whole(Party::Ship),
            Leaf::Reclaim | Leaf::Compaction | Leaf::Unexplained => whole(Party::Unknown),
        });
    }
    all
}

/// Sums by party.
pub fn by_party(parts: &[Due<'_>]) -> BTreeMap<Party, u64> {
    let mut sums: BTreeMap<Party, u64> = BTreeMap::new();
    for part in parts {
        let of = sums.entry(part.party).or_default();
        *of = of.saturating_add(part.ns);
    }
    sums
}

/// The neighbour of some parties with the largest sum, and that sum. Processes of one ship count
/// together, and so do all of the kernel's threads.
pub fn heaviest<'a>(
    parts: &[Due<'a>],
    wanted: impl Fn(&Neighbour) -> bool,
) -> Option<(&'a Neighbour, u64)> {
    let mut sums: BTreeMap<(NeighbourKind, &str, u32), (&'a Neighbour, u64, u64)> = BTreeMap::new();
    for part in parts {
        let Some(neighbour) = part.neighbour.filter(|neighbour| wanted(neighbour)) else {
            continue;
        };
        let key = match (neighbour.kind, &neighbour.ship) {
            (kind, Some(ship)) => (kind, ship.as_str(), 0),
            (NeighbourKind::Kernel | NeighbourKind::Journal | NeighbourKind::Ship, _) => {
                (neighbour.kind, "", 0)
            }
            (kind, None) => (kind, "", neighbour.tgid),
        };
        let (first, largest, total) = sums.entry(key).or_insert((neighbour, 0, 0));
        *total = total.saturating_add(part.ns);
        if part.ns > *largest {
            (*first, *largest) = (neighbour, part.ns);
        }
    }
    // Between equals the first, so that the order is the same each time.
    let all = sums.into_values().rev();
    all.map(|(neighbour, _, total)| (neighbour, total))
        .filter(|(_, total)| *total > 0)
        .max_by_key(|(_, total)| *total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::neighbour::{AheadSummary, DeviceSummary, IoSummary};
    use crate::attribute::Part;

    fn one(kind: NeighbourKind, tgid: u32) -> Neighbour {
        Neighbour {
            kind,
            tgid,
            comm: "dd".to_owned(),
            cgroup: Some("/system.slice/a-service-with-a-long-name.service".to_owned()),
            ship: (kind == NeighbourKind::OtherShip).then(|| "~nec".to_owned()),
            ended: false,
        }
    }

    fn ahead(kind: NeighbourKind, tgid: u32, total_ns: u64) -> AheadSummary {
        AheadSummary {
            neighbour: one(kind, tgid),
            total_ns,
        }
    }

    fn user(kind: NeighbourKind, tgid: u32, device_ns: u64) -> IoSummary {
        IoSummary {
            neighbour: one(kind, tgid),
            count: 1,
            bytes: 4096,
            written_back_bytes: 0,
            device_ns,
            busy_ns: device_ns,
        }
    }

    /// Half of the ship's I/O time is behind others, of whom one took three times as long.
    fn neighbours(ahead: Vec<AheadSummary>) -> NeighbourSummary {
        NeighbourSummary {
            ahead,
            devices: vec![DeviceSummary {
                dev: 7 << 20,
                below: false,
                queue_ns: 100,
                queue_behind_ns: 100,
                device_ns: 300,
                device_behind_ns: 100,
                busy_ns: 1300,
                users: vec![
                    user(NeighbourKind::Ship, 1, 900),
                    user(NeighbourKind::Process, 7, 300),
                    user(NeighbourKind::OtherShip, 8, 100),
                ],
            }],
        }
    }

    fn attribution(leaves: &[(Leaf, u64)]) -> Attribution {
        let part = |total_ns| Part {
            total_ns,
            ..Part::default()
        };
        let of = |wanted| {
            sum(leaves
                .iter()
                .filter(|(l, _)| *l == wanted)
                .map(|(_, ns)| *ns))
        };
        Attribution {
            wall_ns: sum(leaves.iter().map(|(_, ns)| *ns)),
            run_queue_ns: of(Leaf::RunQueue),
            throttled_ns: of(Leaf::Throttled),
            parts: leaves.iter().map(|(leaf, ns)| (*leaf, part(*ns))).collect(),
            ..Attribution::default()
        }
    }

    #[test]
    fn waits_for_a_cpu_are_due_to_who_ran_and_the_rest_is_not_known() {
        let neighbours = neighbours(vec![
            ahead(NeighbourKind::Process, 7, 400),
            ahead(NeighbourKind::Idle, 0, 300),
            ahead(NeighbourKind::Ship, 1, 100),
        ]);
        let waited = attribution(&[(Leaf::RunQueue, 1000), (Leaf::Throttled, 250)]);
        let parties = by_party(&run_queue(&waited, Some(&neighbours)));
        // Throttled time passes beside an idle CPU, and is not counted twice.
        let expected = [
            (Party::Ship, 100),
            (Party::OtherProcesses, 400),
            (Party::WakeUp, 50),
            (Party::Unknown, 450),
        ];
        assert_eq!(parties, expected.into());
    }

    #[test]
    fn more_waits_than_were_charged_are_scaled() {
        let neighbours = neighbours(vec![
            ahead(NeighbourKind::Process, 7, 3000),
            ahead(NeighbourKind::Kernel, 9, 1000),
        ]);
        let waited = attribution(&[(Leaf::RunQueue, 1000)]);
        let parties = by_party(&run_queue(&waited, Some(&neighbours)));
        let expected = [
            (Party::OtherProcesses, 750),
            (Party::Kernel, 250),
            (Party::Unknown, 0),
        ];
        assert_eq!(parties, expected.into());
    }

    #[test]
    fn disk_time_behind_others_is_split_by_their_time_in_the_device() {
        let neighbours = neighbours(Vec::new());
        let parties = by_party(&disk(800, Some(&neighbours), Party::Device));
        let expected = [
            (Party::OtherShips, 100),
            (Party::OtherProcesses, 300),
            (Party::Device, 400),
        ];
        assert_eq!(parties, expected.into());
        // Nothing measured: all of it is the rest.
        let parties = by_party(&disk(800, None, Party::Limits));
        assert_eq!(parties, [(Party::Limits, 800)].into());
    }

    #[test]
    fn parts_sum_to_the_stalled_time_whatever_the_leaves() {
        let neighbours = neighbours(vec![ahead(NeighbourKind::Process, 7, 333)]);
        let leaves = [
            Leaf::LogCommit,
            Leaf::Snapshot,
            Leaf::PageIn,
            Leaf::OtherFile,
            Leaf::Computing,
            Leaf::RunQueue,
            Leaf::Throttled,
            Leaf::Stolen,
            Leaf::PageInAfterEviction,
            Leaf::SwapIn,
            Leaf::Reclaim,
            Leaf::Compaction,
            Leaf::DirtyTracking,
            Leaf::Collection,
            Leaf::MemoryMap,
            Leaf::SendPath,
            Leaf::KingHeldUp,
            Leaf::Unexplained,
        ];
        let leaves: Vec<(Leaf, u64)> = leaves.into_iter().zip(1001..).collect();
        let attribution = attribution(&leaves);
        for neighbours in [Some(&neighbours), None] {
            let parts = blame(&attribution, neighbours, false);
            let total = sum(parts.iter().map(|part| part.ns));
            assert_eq!(total, attribution.stalled_ns());
        }
    }

    #[test]
    fn processes_of_a_ship_count_together() {
        let neighbours = neighbours(vec![
            ahead(NeighbourKind::Process, 7, 50),
            ahead(NeighbourKind::OtherShip, 8, 30),
            ahead(NeighbourKind::OtherShip, 9, 40),
        ]);
        let parts = run_queue(&attribution(&[(Leaf::RunQueue, 200)]), Some(&neighbours));
        let (first, ns) = heaviest(&parts, Neighbour::is_other).unwrap();
        assert_eq!((first.tgid, ns), (9, 70));
        assert_eq!(
            first.words(),
            "the ship ~nec (pid 9, …ce-with-a-long-name.service)"
        );
        assert!(heaviest(&parts, |one| one.kind == NeighbourKind::Kernel).is_none());
    }
}
