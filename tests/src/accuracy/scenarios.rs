//! What is done to which ship, and whose fault that is.

use super::SECONDS;
use crate::faults::IopsLimits;
use crate::peer::PeerOptions;
use crate::ship::ShipOptions;

/// Where the pier lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In memory, where no disk has a part in anything.
    Memory,
    /// A file system of its own on this machine's disk, which can be slowed; its bytes.
    Disk(u64),
}

/// What is done to a ship.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Operations per second of the disk.
    Iops(IopsLimits),
    /// The image is not in memory when the capture begins.
    ColdImage,
    /// That many busy processes on the CPU that the ship is pinned to.
    Hogs(usize),
    /// Per cent of one CPU, which the ship is pinned to.
    Quota(u32),
    /// Memory of the ship, bytes; what it has of its image is read anew.
    Memory(u64),
    /// Swap space, bytes.
    Swap(u64),
    /// Packets from elsewhere.
    Packets(PeerOptions),
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// The ship's options.
    pub ship: ShipOptions,
    /// Where its pier lies.
    pub place: Place,
    /// What is done to it.
    pub faults: Vec<Fault>,
    /// The cause that holds it up most; nothing for a ship with which nothing is wrong.
    pub cause: Option<&'static str>,
    /// The leaf that pages are read for, where they are.
    pub page_in: &'static str,
    /// Length of the capture, s.
    pub seconds: u64,
}

impl Scenario {
    fn new(name: &'static str, ship: ShipOptions, cause: &'static str, faults: &[Fault]) -> Self {
        Self {
            name,
            ship,
            place: Place::Memory,
            faults: faults.to_vec(),
            cause: Some(cause),
            page_in: "page_in",
            seconds: SECONDS,
        }
    }

    fn quiet(name: &'static str, ship: ShipOptions) -> Self {
        Self {
            cause: None,
            ..Self::new(name, ship, "", &[])
        }
    }

    /// For a ship with so few events a second that a longer capture has enough of them.
    fn longer(self) -> Self {
        self.lasting(6)
    }

    fn lasting(self, seconds: u64) -> Self {
        Self { seconds, ..self }
    }

    fn on_disk(self) -> Self {
        Self {
            place: Place::Disk(1024 * MIB),
            ..self
        }
    }

    fn evicting(self) -> Self {
        Self {
            page_in: "page_in_after_eviction",
            ..self.on_disk()
        }
    }

    /// The same ship, with nothing but its packets.
    pub fn without_faults(&self) -> Self {
        let is_packets = |fault: &Fault| matches!(fault, Fault::Packets(_));
        let faults = self.faults.iter().copied().filter(is_packets);
        Self {
            faults: faults.collect(),
            ..self.clone()
        }
    }

    /// Whether it is the ship's own options that make it slow: there is no quiet one to compare with.
    pub fn is_slow_by_itself(&self) -> bool {
        self.cause.is_none()
            || self
                .faults
                .iter()
                .all(|fault| matches!(fault, Fault::Packets(_)))
    }

    /// Packets that come whether or not something is wrong.
    pub fn packets(&self) -> impl Iterator<Item = PeerOptions> + '_ {
        self.faults.iter().filter_map(|fault| match fault {
            Fault::Packets(packets) => Some(*packets),
            _ => None,
        })
    }
}

const MIB: u64 = 1 << 20;

fn writes(iops: u32) -> Fault {
    Fault::Iops(IopsLimits {
        read: None,
        write: Some(iops),
    })
}

fn reads(iops: u32) -> Fault {
    Fault::Iops(IopsLimits {
        read: Some(iops),
        write: None,
    })
}

fn packets(per_second: f64, bursts: u32) -> Fault {
    Fault::Packets(PeerOptions {
        packets_per_second: per_second,
        bytes: 500,
        seconds: 60,
        bursts: Some(bursts),
    })
}

fn ship(events_per_second: f64, compute_us: u64) -> ShipOptions {
    ShipOptions {
        events_per_second: Some(events_per_second),
        compute_us: Some(compute_us),
        ..ShipOptions::default()
    }
}

/// A ship with other pages: of its heap, and made dirty by an event.
fn pages(ship: ShipOptions, heap: u64, dirty: u64) -> ShipOptions {
    ShipOptions {
        heap_pages: Some(heap),
        dirty_pages: Some(dirty),
        ..ship
    }
}

/// Reads its heap again and again. So few events that no more than ten are under way while one of them
/// waits for the disk: when the others came to the king, the kernel would not show.
fn reading(heap: u64) -> ShipOptions {
    pages(ship(5.0, 10_000), heap, 0)
}

fn snapping(dirty: u64) -> ShipOptions {
    ShipOptions {
        snap_seconds: Some(1),
        ..pages(ship(20.0, 2_000), 16_384, dirty)
    }
}

/// All scenarios: single causes, mixtures, quiet ships.
pub fn scenarios() -> Vec<Scenario> {
    [single(), mixtures(), quiet()].concat()
}

fn single() -> Vec<Scenario> {
    let busy = || ship(20.0, 20_000);
    let by_packets = |king_compute_us| ShipOptions {
        king_compute_us: Some(king_compute_us),
        ..ship(0.0, 500)
    };
    let new = Scenario::new;
    vec![
        new("commit-40", ship(20.0, 2_000), "disk", &[writes(40)]).on_disk(),
        new("commit-15", ship(20.0, 2_000), "disk", &[writes(15)]).on_disk(),
        new("snapshot-384", snapping(384), "disk", &[]).on_disk(),
        new("snapshot-512", snapping(512), "disk", &[]).on_disk(),
        new(
            "first-touch-150",
            reading(16_384),
            "disk",
            &[Fault::ColdImage, reads(150)],
        )
        .on_disk()
        .longer(),
        new(
            "first-touch-300",
            reading(16_384),
            "disk",
            &[Fault::ColdImage, reads(300)],
        )
        .on_disk()
        .longer(),
        new(
            "evicted-40",
            reading(4096),
            "memory",
            &[Fault::Memory(40 * MIB), reads(200)],
        )
        .evicting()
        .lasting(8),
        new(
            "evicted-24",
            reading(4096),
            "memory",
            &[Fault::Memory(24 * MIB), reads(200)],
        )
        .evicting()
        .lasting(8),
        new(
            "swapped-12",
            pages(ship(2.5, 60_000), 4096, 160),
            "memory",
            &[Fault::Swap(512 * MIB), Fault::Memory(12 * MIB)],
        )
        .evicting()
        .lasting(10),
        new("hogs-2", busy(), "cpu", &[Fault::Hogs(2)]),
        new("hogs-3", busy(), "cpu", &[Fault::Hogs(3)]),
        new("quota-20", busy(), "cpu", &[Fault::Quota(20)]),
        new("quota-30", busy(), "cpu", &[Fault::Quota(30)]),
        new("computing-own", ship(6.0, 130_000), "cpu", &[]),
        new("computing-behind", ship(100.0, 15_000), "cpu", &[]),
        new(
            "king-busy-10",
            by_packets(10_000),
            "cpu",
            &[packets(30.0, 30)],
        ),
        new(
            "king-busy-4",
            by_packets(4_000),
            "cpu",
            &[packets(60.0, 60)],
        ),
        new(
            "dirty-tracking",
            pages(ship(0.0, 0), 65_536, 1600),
            "memory",
            &[packets(8.0, 10)],
        ),
    ]
}

fn mixtures() -> Vec<Scenario> {
    let busy = || ship(20.0, 20_000);
    let new = Scenario::new;
    vec![
        new(
            "commit-40+hogs-1",
            ship(20.0, 2_000),
            "disk",
            &[writes(40), Fault::Hogs(1)],
        )
        .on_disk(),
        new(
            "commit-60+quota-20",
            busy(),
            "cpu",
            &[writes(60), Fault::Quota(20)],
        )
        .on_disk(),
        new(
            "commit-20+computing",
            ship(12.0, 30_000),
            "disk",
            &[writes(20)],
        )
        .on_disk(),
        new(
            "snapshot-256+hogs-2",
            snapping(256),
            "cpu",
            &[Fault::Hogs(2)],
        )
        .on_disk(),
        new(
            "snapshot-16+commit-40",
            ShipOptions {
                snap_seconds: Some(1),
                ..pages(ship(20.0, 2_000), 4096, 16)
            },
            "disk",
            &[writes(40)],
        )
        .on_disk(),
        new(
            "first-touch-200+hogs-1",
            reading(16_384),
            "disk",
            &[Fault::ColdImage, reads(200), Fault::Hogs(1)],
        )
        .on_disk()
        .longer(),
        new(
            "evicted-24+commit-20",
            reading(4096),
            "memory",
            &[
                Fault::Memory(24 * MIB),
                Fault::Iops(IopsLimits {
                    read: Some(200),
                    write: Some(20),
                }),
            ],
        )
        .evicting()
        .lasting(8),
        new(
            "behind+hogs-1+quota-50",
            ship(40.0, 15_000),
            "cpu",
            &[Fault::Hogs(1), Fault::Quota(50)],
        ),
    ]
}

fn quiet() -> Vec<Scenario> {
    vec![
        Scenario::quiet("quiet-default", ShipOptions::default()),
        Scenario::quiet("quiet-100", ship(100.0, 1_000)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let all = scenarios();
        let mut names: Vec<&str> = all.iter().map(|scenario| scenario.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
        assert!(all.len() >= 24);
    }
}
