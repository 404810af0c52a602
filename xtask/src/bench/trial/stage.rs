//! A ship with what is done to it, and how a person takes that away again where `profile trial` does not.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use harness::faults::cpu::Pinned;
use harness::faults::{CpuHogs, CpuQuota, LoopDisk, MemoryLimit, Setting, ZramSwap};
use harness::peer::{Peer, PeerOptions};
use harness::process::is_running;
use harness::scratch::Scratch;
use harness::ship::{RunningShip, ShipOptions};

const MIB: u64 = 1 << 20;
/// A disk that every ship here fits on.
const DISK_BYTES: u64 = 1024 * MIB;
/// Memory that no ship here needs.
const PLENTY_BYTES: u64 = 1024 * MIB;
/// More CPUs than any ship here needs.
const PLENTY_PERCENT: u32 = 1000;
/// How long a ship works before anything is measured: caches fill, memory gets as full as it will be.
const WARM_UP: Duration = Duration::from_secs(5);

/// What is done to the ship's surroundings.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Per cent of one CPU.
    Quota(u32),
    /// So many busy processes on the ship's CPU.
    Hogs(usize),
    /// A control group of so many bytes, with room in compressed swap for what does not fit.
    Swapping(u64),
    /// Packets from elsewhere.
    Packets(PeerOptions),
    /// Nothing: the ship comes before everybody else on this machine, whose other work would be noise.
    First,
    /// A value of the kernel.
    Setting(&'static str, &'static str),
}

/// Where the pier lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In memory.
    Memory,
    /// A file system of its own on a loop device.
    Disk,
}

/// What is started.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The ship.
    pub ship: ShipOptions,
    /// Where.
    pub place: Place,
    /// What is done to it, in this order.
    pub faults: Vec<Fault>,
}

/// Where a pier lies while its ship runs.
#[derive(Debug)]
enum Home {
    Memory(Scratch),
    Disk(LoopDisk),
}

impl Home {
    fn path(&self) -> &Path {
        match self {
            Self::Memory(scratch) => scratch.path(),
            Self::Disk(disk) => disk.path(),
        }
    }
}

/// A ship that runs so. Fields are dropped from the first to the last: a slow ship would take its time to
/// stop.
#[derive(Debug)]
pub struct Stage {
    peer: Option<(Peer, PeerOptions)>,
    hogs: Option<CpuHogs>,
    pinned: Option<Pinned>,
    quota: Option<CpuQuota>,
    memory: Option<MemoryLimit>,
    _settings: Vec<Setting>,
    /// The ship.
    pub ship: RunningShip,
    _swap: Option<ZramSwap>,
    home: Home,
}

impl Stage {
    /// Whether king and mars are still the ones that were started.
    pub fn is_up(&self) -> bool {
        self.ship.pids().into_iter().all(is_running)
    }

    /// Sets it up, and lets it work for a while.
    pub fn set(plan: &Plan) -> Result<Self> {
        let home = match plan.place {
            Place::Memory => Home::Memory(Scratch::in_memory("pier")?),
            Place::Disk => Home::Disk(LoopDisk::new(DISK_BYTES)?),
        };
        let swaps = |fault: &Fault| matches!(fault, Fault::Swapping(_));
        let swap = plan.faults.iter().any(swaps);
        let swap = swap.then(|| ZramSwap::start(512 * MIB)).transpose()?;
        // They hold for processes that are started under them.
        let settings = plan.faults.iter().filter_map(|fault| match fault {
            Fault::Setting(path, value) => Some(Setting::set(path, value)),
            _ => None,
        });
        let settings = settings.collect::<harness::Result<_>>()?;
        let ship = plan.ship.start_in(home.path())?;
        let mut stage = Self {
            peer: None,
            hogs: None,
            pinned: None,
            quota: None,
            memory: None,
            _settings: settings,
            ship,
            _swap: swap,
            home,
        };
        (plan.faults.iter()).try_for_each(|fault| stage.inject(*fault))?;
        std::thread::sleep(WARM_UP);
        Ok(stage)
    }

    fn inject(&mut self, fault: Fault) -> Result<()> {
        let pids = &self.ship.pids();
        match fault {
            Fault::Quota(percent) => self.quota = Some(CpuQuota::start(percent, pids)?),
            Fault::First => {
                let group = CpuQuota::start(PLENTY_PERCENT, pids)?;
                group.outweigh_others()?;
                self.quota = Some(group);
            }
            Fault::Hogs(count) => {
                let hogs = CpuHogs::start(count, &[])?;
                // It stays on that CPU when they are gone: only one thing changes.
                self.pinned = Some(Pinned::new(hogs.cpu(), pids)?);
                self.hogs = Some(hogs);
            }
            Fault::Swapping(bytes) => {
                // What it had before stays charged to where it was; what it gets from now on counts.
                let limit = MemoryLimit::start(PLENTY_BYTES, pids)?;
                std::thread::sleep(WARM_UP);
                limit.set(bytes)?;
                self.memory = Some(limit);
            }
            Fault::Packets(options) => {
                self.peer = Some((options.start(self.ship.udp_port())?, options));
            }
            // It was there before the ship.
            Fault::Setting(..) => {}
        }
        Ok(())
    }

    /// Ends the busy processes.
    pub fn end_hogs(&mut self) {
        self.hogs = None;
    }

    /// Starts the ship anew with other options, on the same pier.
    pub fn restart(&mut self, ship: &ShipOptions) -> Result<()> {
        let peer = self.peer.take().map(|(_, options)| options);
        self.ship.stop()?;
        self.ship = ship.start_in(self.home.path())?;
        if let Some(options) = peer {
            self.inject(Fault::Packets(options))?;
        }
        std::thread::sleep(WARM_UP);
        Ok(())
    }
}
