//! What runs while the programs are measured.
//!
//! For other tasks, two processes of `perf bench sched pipe` switch on one CPU while the ship rests.
//! For the ship's, king, mars and commit worker share that CPU and work as fast as they can, with
//! their pier in memory, so that hardly anything else switches. For I/O the pier is on the disk, and
//! a peer sends packets.

use std::process::{Command, Stdio};

use anyhow::Result;
use harness::faults::cpu::Pinned;
use harness::peer::{Peer, PeerOptions};
use harness::process::{Process, Terminal};
use harness::scratch::Scratch;
use harness::ship::{RunningShip, ShipOptions};
use serde::Serialize;

use super::throughput::FULL_SPEED;

/// The CPU that every load runs on.
const CPU: usize = 0;

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// Tasks that are not the ship's.
    Other,
    /// The ship's tasks.
    Ship,
    /// The ship's tasks with disk and network.
    Io,
}

impl Load {
    /// In the order of the table.
    pub const ALL: [Self; 3] = [Self::Other, Self::Ship, Self::Io];

    /// Its column's name.
    pub fn title(self) -> &'static str {
        match self {
            Self::Other => "other tasks",
            Self::Ship => "ship's tasks",
            Self::Io => "ship's I/O",
        }
    }

    /// Starts a ship for this load, pinned, that ends after `seconds` if nothing ends it before.
    pub fn start_ship(self, seconds: u64) -> Result<LoadedShip> {
        let options = ShipOptions {
            events_per_second: Some(if self == Self::Other { 0.0 } else { FULL_SPEED }),
            compute_us: Some(0),
            seconds: Some(seconds),
            no_truth: true,
            ..ShipOptions::default()
        };
        let home = if self == Self::Io {
            Scratch::new("bench")
        } else {
            Scratch::in_memory("bench")
        }?;
        let ship = options.start_in(home.path())?;
        let pinned = Pinned::new(CPU, &ship.pids())?;
        let send = || {
            let packets = PeerOptions {
                packets_per_second: 1000.0,
                bytes: 1000,
                seconds,
                bursts: None,
            };
            packets.start(ship.udp_port())
        };
        let peer = (self == Self::Io).then(send).transpose()?;
        Ok(LoadedShip {
            _peer: peer,
            _pinned: pinned,
            ship,
            _home: home,
        })
    }
}

/// A ship with its surroundings. Fields are dropped from the first to the last.
pub struct LoadedShip {
    _peer: Option<Peer>,
    _pinned: Pinned,
    /// The ship itself.
    pub ship: RunningShip,
    _home: Scratch,
}

/// The load of other tasks, beside a ship that rests.
pub fn start_pipe() -> Result<Process> {
    let mut command = Command::new("taskset");
    // More turns than the measurement lasts; it is ended after that.
    command.args([
        "--cpu-list",
        &CPU.to_string(),
        "perf",
        "bench",
        "sched",
        "pipe",
    ]);
    command
        .args(["--loop", "1000000000"])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    Ok(Process::spawn(&mut command, Terminal::Own)?)
}
