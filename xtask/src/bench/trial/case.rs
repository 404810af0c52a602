//! Fixes that help, each on a ship that it can help, and fixes that do nothing.

use harness::peer::PeerOptions;
use harness::ship::ShipOptions;

use super::Verdict;
use super::stage::{Fault, Place, Plan};

/// How long a peer sends: longer than any case lasts.
const PEER_S: u64 = 600;
/// What a ship asks for since vere 3.2.
const LARGE_BUFFER_BYTES: u64 = 2 << 20;

/// How the fix is applied.
#[derive(Clone, Debug)]
pub enum Way {
    /// By `profile trial`.
    Trial,
    /// By ending the processes that compete for the ship's CPU: not the profiler's to do.
    EndHogs,
    /// By starting the ship anew, with these options.
    Restart(Box<ShipOptions>),
}

impl Way {
    /// In the table.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Trial => "trial",
            Self::EndHogs => "processes ended",
            Self::Restart(_) => "ship restarted",
        }
    }
}

/// A fix on a ship.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name here.
    pub name: &'static str,
    /// The fix of the catalogue.
    pub fix: &'static str,
    /// What is started.
    pub plan: Plan,
    /// How the fix is applied.
    pub way: Way,
    /// What must come out.
    pub expected: Verdict,
}

impl Case {
    /// One that `profile trial` tries on a ship in memory.
    fn tried(fix: &'static str, expected: Verdict, ship: ShipOptions, faults: &[Fault]) -> Self {
        Self {
            name: fix,
            fix,
            plan: Plan {
                ship,
                place: Place::Memory,
                faults: faults.to_vec(),
            },
            way: Way::Trial,
            expected,
        }
    }

    fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    fn on_disk(mut self) -> Self {
        self.plan.place = Place::Disk;
        self
    }

    fn by(self, way: Way) -> Self {
        Self { way, ..self }
    }

    fn by_restart(self, ship: ShipOptions) -> Self {
        self.by(Way::Restart(Box::new(ship)))
    }
}

/// All of them: what helps first.
pub fn cases() -> Vec<Case> {
    [helpful(), idle()].concat()
}

fn helpful() -> Vec<Case> {
    let tried = |fix, ship, faults: &[Fault]| Case::tried(fix, Verdict::Helped, ship, faults);
    // So that nice reaches from the ship's session into those of the others.
    let one_group = Fault::Setting("/proc/sys/kernel/sched_autogroup_enabled", "0");
    let crowded = [one_group, Fault::Hogs(2)];
    let buffer = |bytes| ShipOptions {
        rcvbuf_bytes: Some(bytes),
        ..ShipOptions::default()
    };
    vec![
        tried("cpu-quota", busy(), &[Fault::Quota(30)]),
        tried("cpu-quota", busy(), &[Fault::Quota(10)]).named("cpu-quota, a hard one"),
        tried("nice", busy(), &crowded),
        tried("nice", busy(), &crowded)
            .named("competing tasks")
            .by(Way::EndHogs),
        tried("snap-time", snapping(2), &[])
            .on_disk()
            .by_restart(snapping(3600)),
        tried("rmem-max", buffer(8 << 10), &[packets()]).by_restart(buffer(LARGE_BUFFER_BYTES)),
        tried("ram", swapping(), &[Fault::Swapping(12 << 20)])
            .named("swap (ram)")
            .on_disk(),
    ]
}

fn idle() -> Vec<Case> {
    let tried = |fix, faults: &[Fault]| {
        let faults = [faults, &[Fault::First]].concat();
        Case::tried(fix, Verdict::NoEffect, busy(), &faults)
    };
    let thp = "/sys/kernel/mm/transparent_hugepage/enabled";
    let congestion = "/proc/sys/net/ipv4/tcp_congestion_control";
    vec![
        tried("noatime", &[]).on_disk(),
        // Compiled into every kernel, so there is always another one to go from.
        tried("bbr", &[Fault::Setting(congestion, "reno")]),
        tried("thp", &[Fault::Setting(thp, "always")]),
    ]
}

/// A ship that needs four tenths of a CPU.
fn busy() -> ShipOptions {
    ShipOptions {
        events_per_second: Some(20.0),
        compute_us: Some(20_000),
        ..ShipOptions::default()
    }
}

fn snapping(seconds: u64) -> ShipOptions {
    ShipOptions {
        events_per_second: Some(20.0),
        compute_us: Some(2_000),
        heap_pages: Some(16_384),
        dirty_pages: Some(512),
        snap_seconds: Some(seconds),
        ..ShipOptions::default()
    }
}

/// A ship whose events write to more pages than its group may have.
fn swapping() -> ShipOptions {
    ShipOptions {
        events_per_second: Some(5.0),
        compute_us: Some(10_000),
        heap_pages: Some(4096),
        dirty_pages: Some(160),
        ..ShipOptions::default()
    }
}

fn packets() -> Fault {
    Fault::Packets(PeerOptions {
        packets_per_second: 200.0,
        bytes: 1000,
        seconds: PEER_S,
        bursts: Some(50),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_both_kinds_are_there() {
        let all = cases();
        let mut names: Vec<&str> = all.iter().map(|case| case.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
        let idle = all.iter().filter(|case| case.expected == Verdict::NoEffect);
        assert_eq!(idle.count(), 3);
    }
}
