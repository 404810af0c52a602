//! Who ran while the ship waited for a CPU, and whose I/O was on the devices of its pier.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use profiler_common::COMM_LEN;
use profiler_common::neighbour::{DeviceTotals, FORGOTTEN, IoKey, IoTotals, KERNEL_THREAD};
use profiler_common::writeback::{JOURNAL, WRITTEN_BACK};
use serde::Serialize;

use crate::host::neighbours::{NeighbourFacts, NeighbourProcess};
use crate::model::{Capture, Clocks, Meta};

/// What a neighbour is to the ship.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NeighbourKind {
    /// The ship itself.
    Ship,
    /// Another ship of this host.
    OtherShip,
    /// Any other process.
    Process,
    /// A thread of the kernel: a driver, or write-back of what nobody was seen to write.
    Kernel,
    /// The journal and the metadata of the file system, written by the kernel: everybody's.
    Journal,
    /// This profiler.
    Profiler,
    /// Nobody: the CPU was idle.
    Idle,
    /// The wait was too long, or went through too many hands, to be kept whole.
    Forgotten,
}

/// Who ran or wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Neighbour {
    /// What it is to the ship.
    pub kind: NeighbourKind,
    /// Its process.
    pub tgid: u32,
    /// Its name; of one that had ended, that of the thread seen first; empty for nobody.
    pub comm: String,
    /// Its control group; nothing if it had ended, or is not among the heaviest.
    pub cgroup: Option<String>,
    /// The ship that it belongs to, if that is another one.
    pub ship: Option<String>,
    /// Whether it had ended when the capture did.
    pub ended: bool,
}

/// Longest part of a control group's path, or of a ship's pier, that is shown in a sentence.
const PATH_CHARS: usize = 28;

impl Neighbour {
    /// In a sentence, without its group: `postgres (pid 882)`.
    pub fn short(&self) -> String {
        let nameless = Self {
            cgroup: None,
            ..self.clone()
        };
        nameless.words()
    }

    /// In a sentence: `postgres (pid 882, system.slice/postgresql.service)`.
    pub fn words(&self) -> String {
        match self.kind {
            NeighbourKind::Ship => "its own threads".to_owned(),
            NeighbourKind::Profiler => "this profiler".to_owned(),
            NeighbourKind::Idle => "an idle CPU".to_owned(),
            NeighbourKind::Forgotten => "too many to tell".to_owned(),
            NeighbourKind::Kernel => format!("the kernel's {} (pid {})", self.comm, self.tgid),
            NeighbourKind::Journal => "the file system's journal (shared)".to_owned(),
            NeighbourKind::OtherShip | NeighbourKind::Process => {
                let mut about = vec![format!("pid {}", self.tgid)];
                if self.ended {
                    about.push("ended".to_owned());
                }
                let group = self.cgroup.as_deref().unwrap_or_default();
                let group = group.trim_start_matches('/');
                if !group.is_empty() {
                    about.push(tail(group));
                }
                let about = about.join(", ");
                match &self.ship {
                    Some(ship) => format!("the ship {} ({about})", tail(ship)),
                    None => format!("{} ({about})", self.comm),
                }
            }
        }
    }

    /// Whether it is somebody else, who could be asked to stop.
    pub fn is_other(&self) -> bool {
        matches!(self.kind, NeighbourKind::OtherShip | NeighbourKind::Process)
    }
}

/// The end of a path, which tells more than its beginning.
fn tail(path: &str) -> String {
    let chars = path.chars().count();
    if chars <= PATH_CHARS {
        return path.to_owned();
    }
    let end: String = path.chars().skip(chars - PATH_CHARS + 1).collect();
    format!("…{end}")
}

/// What one of them ran while threads of the ship waited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AheadSummary {
    /// Who.
    #[serde(flatten)]
    pub neighbour: Neighbour,
    /// For how long they waited behind it.
    pub total_ns: u64,
}

/// What one of them did on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IoSummary {
    /// Who.
    #[serde(flatten)]
    pub neighbour: Neighbour,
    /// How many bios.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of these, the bytes that somebody else wrote for it: the kernel's write-back, a `sync`.
    pub written_back_bytes: u64,
    /// Time of its requests in the device.
    pub device_ns: u64,
    /// Their share of the time in which the device was busy: where several requests were in it, each has
    /// the same share.
    pub busy_ns: u64,
}

/// One device of the pier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceSummary {
    /// `major << 20 | minor`.
    pub dev: u32,
    /// Whether it lies below another device of the pier: what a kernel thread does there may have been
    /// passed down for the ship.
    pub below: bool,
    /// Time of the ship's bios in the queue.
    pub queue_ns: u64,
    /// Of that, behind others' bios.
    pub queue_behind_ns: u64,
    /// Time of the ship's bios in the device.
    pub device_ns: u64,
    /// Of that, behind others' bios: by their share of the requests in the device, and at most what
    /// requests took longer than they did alone ([`beside_ns`]).
    pub device_behind_ns: u64,
    /// Time in which it had at least one request.
    pub busy_ns: u64,
    /// Who used it, by time in the device, most first.
    pub users: Vec<IoSummary>,
}

/// All that neighbours did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeighbourSummary {
    /// Who ran while the ship waited for a CPU, most first.
    pub ahead: Vec<AheadSummary>,
    /// The devices of the pier, the one that its file system is on first.
    pub devices: Vec<DeviceSummary>,
}

/// Sums the neighbours up; nothing if the capture does not tell them apart.
pub fn summarise(capture: &Capture) -> Option<NeighbourSummary> {
    let facts = capture.meta.neighbours.known()?;
    let people = People::of(&capture.meta, facts);
    let totals = &capture.totals.neighbours;
    // The ship's processes wait side by side.
    let mut ahead: BTreeMap<u32, AheadSummary> = BTreeMap::new();
    for (key, totals) in &totals.ahead {
        let sums = ahead.entry(key.tgid).or_insert_with(|| AheadSummary {
            neighbour: people.neighbour(key.tgid, &totals.comm, totals.flags),
            total_ns: 0,
        });
        sums.total_ns = sums.total_ns.saturating_add(totals.total_ns);
    }
    let mut ahead: Vec<AheadSummary> = ahead.into_values().collect();
    ahead.sort_by_key(|a| (Reverse(a.total_ns), a.neighbour.tgid));
    let stack = capture.meta.host.storage.backing.devices();
    let place = |dev: u32| {
        stack
            .iter()
            .position(|device| device.major << 20 | device.minor == dev)
    };
    let mut devices: Vec<DeviceSummary> = totals
        .devices
        .iter()
        .map(|(dev, device)| {
            let of = totals.io.iter().filter(|(key, _)| key.dev == *dev);
            let mut users = users(of, &people);
            users.sort_by_key(|user| {
                let one = &user.neighbour;
                (Reverse(user.busy_ns), Reverse(user.device_ns), one.tgid)
            });
            DeviceSummary {
                dev: *dev,
                below: place(*dev).is_some_and(|place| place > 0),
                queue_ns: device.queue_ns,
                queue_behind_ns: device.queue_behind_ns,
                device_ns: device.device_ns,
                device_behind_ns: beside_ns(device),
                busy_ns: busy_ns(device, &capture.meta.clocks),
                users,
            }
        })
        .collect();
    devices.sort_by_key(|device| (place(device.dev), device.dev));
    Some(NeighbourSummary { ahead, devices })
}

/// Sums a device's I/O up by who is charged for it.
fn users<'a>(
    io: impl Iterator<Item = &'a (IoKey, IoTotals)>,
    people: &People<'_>,
) -> Vec<IoSummary> {
    let mut users: BTreeMap<(u32, bool), IoSummary> = BTreeMap::new();
    for (key, io) in io.filter(|(_, io)| io.count > 0) {
        let journal = key.via == JOURNAL;
        let mut neighbour = people.neighbour(key.tgid, &io.comm, io.flags);
        if journal {
            neighbour.kind = NeighbourKind::Journal;
        }
        let user = users
            .entry((key.tgid, journal))
            .or_insert_with(|| IoSummary {
                neighbour,
                count: 0,
                bytes: 0,
                written_back_bytes: 0,
                device_ns: 0,
                busy_ns: 0,
            });
        user.count = user.count.saturating_add(io.count);
        user.bytes = user.bytes.saturating_add(io.bytes);
        if key.via == WRITTEN_BACK {
            user.written_back_bytes = user.written_back_bytes.saturating_add(io.bytes);
        }
        user.device_ns = user.device_ns.saturating_add(io.device_ns);
        user.busy_ns = user.busy_ns.saturating_add(io.busy_ns);
    }
    users.into_values().collect()
}

/// Time in which a device had a request, up to the window's end: what is in it then has not come out.
fn busy_ns(device: &DeviceTotals, clocks: &Clocks) -> u64 {
    let since = device.changed_ktime_ns.max(clocks.start_ktime_ns);
    let rest = clocks.end_ktime_ns.saturating_sub(since);
    let open_ns = if device.in_device > 0 { rest } else { 0 };
    device.busy_ns.saturating_add(open_ns)
}

/// Fewest bios that had the device to themselves from which their mean is taken.
const MIN_ALONE: u64 = 20;

/// Time that the ship's bios were in a device behind others' requests.
///
/// What was in the device at the same moments tells how much that is if it serves one request after
/// the other. One that serves several at once takes no longer for it. So it is at most the time by which
/// bios beside others' took longer than the mean of those that had the device to themselves, by kind.
fn beside_ns(device: &DeviceTotals) -> u64 {
    let kinds = device.alone.iter().zip(&device.beside);
    kinds.fold(0, |sum, (alone, beside)| {
        let longer = if alone.count >= MIN_ALONE {
            let alone_ns =
                u128::from(beside.count) * u128::from(alone.total_ns) / u128::from(alone.count);
            let alone_ns = u64::try_from(alone_ns).unwrap_or(u64::MAX);
            beside.total_ns.saturating_sub(alone_ns)
        } else {
            u64::MAX
        };
        sum.saturating_add(beside.behind_ns.min(longer))
    })
}

/// Who is who.
struct People<'a> {
    own: Vec<u32>,
    meta: &'a Meta,
    facts: &'a NeighbourFacts,
}

impl<'a> People<'a> {
    fn of(meta: &'a Meta, facts: &'a NeighbourFacts) -> Self {
        let mut own = meta.ship.tgids();
        own.extend(&meta.followed_tgids);
        Self { own, meta, facts }
    }

    fn own_comm(&self, tgid: u32) -> String {
        let ship = &self.meta.ship;
        let mut processes = std::iter::once(&ship.king).chain(&ship.mars);
        let process = processes.find(|process| process.tgid == tgid);
        process.map_or(String::new(), |process| process.comm.clone())
    }

    fn neighbour(&self, tgid: u32, comm: &[u8; COMM_LEN], flags: u32) -> Neighbour {
        let ships = self.facts.ships.known().into_iter().flatten();
        let mut others = ships.filter(|ship| ship.tgids.contains(&tgid));
        let ship = others.next().map(|ship| ship.label.clone());
        let kind = match tgid {
            0 => NeighbourKind::Idle,
            FORGOTTEN => NeighbourKind::Forgotten,
            _ if self.own.contains(&tgid) => NeighbourKind::Ship,
            _ if tgid == self.meta.own_tgid => NeighbourKind::Profiler,
            _ if flags & KERNEL_THREAD != 0 => NeighbourKind::Kernel,
            _ if ship.is_some() => NeighbourKind::OtherShip,
            _ => NeighbourKind::Process,
        };
        let end = comm.iter().position(|&b| b == 0).unwrap_or(COMM_LEN);
        let comm = String::from_utf8_lossy(&comm[..end]).into_owned();
        let (comm, cgroup, ended) = match self.facts.processes.get(&tgid) {
            Some(NeighbourProcess::Running { comm, cgroup }) => {
                (comm.clone(), cgroup.known().cloned(), false)
            }
            Some(NeighbourProcess::Ended) => (comm, None, true),
            // The programs do not keep the names of the ship's own.
            None if matches!(kind, NeighbourKind::Idle | NeighbourKind::Forgotten) => {
                (String::new(), None, false)
            }
            None if kind == NeighbourKind::Ship => (self.own_comm(tgid), None, false),
            None => (comm, None, false),
        };
        Neighbour {
            ship: ship.filter(|_| kind == NeighbourKind::OtherShip),
            kind,
            tgid,
            comm,
            cgroup,
            ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::neighbour::{KIND_READ, KIND_WRITE, TimeInDevice};
    use zerocopy::FromZeros as _;

    use super::*;

    fn time(count: u64, total_ns: u64, behind_ns: u64) -> TimeInDevice {
        TimeInDevice {
            count,
            total_ns,
            behind_ns,
        }
    }

    #[test]
    fn a_device_that_serves_in_parallel_holds_nobody_up() {
        let mut device = DeviceTotals::new_zeroed();
        // Served one after the other: twice as long beside others, half of it behind them.
        device.alone[KIND_WRITE] = time(100, 100_000, 0);
        device.beside[KIND_WRITE] = time(10, 20_000, 10_000);
        assert_eq!(beside_ns(&device), 10_000);
        // In parallel: no longer than alone.
        device.beside[KIND_WRITE] = time(10, 10_000, 5_000);
        assert_eq!(beside_ns(&device), 0);
        // Kinds are not compared with each other, and a few bios alone say nothing.
        device.alone[KIND_READ] = time(MIN_ALONE - 1, 1, 0);
        device.beside[KIND_READ] = time(10, 7_000, 3_000);
        assert_eq!(beside_ns(&device), 3_000);
    }

    #[test]
    fn what_is_in_the_device_at_the_end_keeps_it_busy_until_then() {
        let clocks = Clocks {
            start_ktime_ns: 1_000,
            end_ktime_ns: 9_000,
            start_unix_ns: 0,
        };
        let mut device = DeviceTotals::new_zeroed();
        (device.busy_ns, device.changed_ktime_ns) = (500, 8_000);
        assert_eq!(busy_ns(&device, &clocks), 500);
        device.in_device = 1;
        assert_eq!(busy_ns(&device, &clocks), 1_500);
        // Brought up to date by a request that ended after the window.
        device.changed_ktime_ns = 9_000;
        assert_eq!(busy_ns(&device, &clocks), 500);
    }
}
