//! Ships: find them among the host's processes, tell their threads apart, and read the head of
//! their memory. Facts about vere are those of its source; each constant says which.
//!
//! Nothing here touches a ship: no signal, no `ptrace` stop, no lock and no write in its pier.

mod arguments;
pub mod conn;
mod discover;
mod error;
pub mod files;
mod king_counters;
mod lock;
pub mod log;
pub mod loom;
pub mod mass;
pub mod memory;
mod name;
mod pier;
mod role;
mod scan;
mod setup;
mod small_file;
pub mod spin;
#[cfg(test)]
pub(crate) mod tests;
mod version;

pub use arguments::{Command, Generation, MarsConfig, RuntimeFlags};
pub use discover::{Selector, discover};
pub use error::DiscoverError;
pub use king_counters::KingCounters;
pub use lock::{LockState, WrittenPid, lock_state};
pub use name::{NameSource, ShipName};
pub use pier::PierPaths;
pub use role::{Role, ShipThread};
pub use scan::ships;
pub use setup::{FileUse, Setup, setup};

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::host::doctor::{MemoryAccess, ShipAccess};
use crate::host::process::Process;
use crate::host::{ReadError, Reading, Roots, Targets};
use loom::LoomAnswer;

/// What is known of a running ship from the outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ship {
    /// The I/O process.
    pub king: ShipProcess,
    /// The Nock process (`serf` before v4); absent while the king starts or replays through
    /// another process, and after mars died.
    pub mars: Option<ShipProcess>,
    /// Which arrangement of the two processes this is.
    pub generation: Generation,
    /// Whether mars builds a new ship (`boot`) instead of running one.
    pub booting: bool,
    /// The ship's name, where it can be told from outside.
    pub name: Option<ShipName>,
    /// Version of the vere that runs, where its files state it; never guessed.
    pub version: Option<String>,
    /// The pier, as the ship and as this host see it.
    pub pier: PierPaths,
    /// What mars was started with; absent where mars is.
    pub config: Option<MarsConfig>,
    /// Whether the king has another mount or PID namespace than this profiler.
    pub in_container: Reading<bool>,
    /// Inode of the network namespace that the king's sockets are in.
    pub network_namespace_inode: Reading<u64>,
    /// The cgroup of mars (of the king where mars is absent) by v1 controller name; the v2
    /// hierarchy has the empty name.
    pub cgroups: Reading<BTreeMap<String, PathBuf>>,
    /// Local ports of the king's UDP sockets, ascending. The Ames socket is among them.
    pub udp_ports: Reading<Vec<u16>>,
    /// Threads of both processes, king's first.
    pub threads: Reading<Vec<ShipThread>>,
}

/// One of the two processes of a ship.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShipProcess {
    /// Process id, in the PID namespace of the procfs mount.
    pub tgid: u32,
    /// Name of the main thread: the executable's base name, cut to 15 bytes.
    pub comm: String,
    /// Start, in clock ticks since boot: with `tgid` it names the process beyond reuse of the id.
    pub start_time_ticks: u64,
    /// The executable as the process sees it.
    pub executable: Reading<PathBuf>,
    /// The process id in every nested PID namespace, outermost first.
    pub namespace_tgids: Reading<Vec<u32>>,
}

impl ShipProcess {
    /// Whether this very process still runs: the same id with the same start time.
    pub fn still_runs(&self, roots: &Roots) -> bool {
        Process::new(roots, self.tgid)
            .stat()
            .is_ok_and(|stat| stat.starttime == self.start_time_ticks && !is_dead(stat.state))
    }
}

/// A process that has ended and only waits to be reaped (`Z`, `X`).
fn is_dead(state: char) -> bool {
    matches!(state, 'Z' | 'X' | 'x')
}

impl Ship {
    /// Process ids: the king's, then mars' where there is one.
    pub fn tgids(&self) -> Vec<u32> {
        std::iter::once(&self.king)
            .chain(&self.mars)
            .map(|process| process.tgid)
            .collect()
    }

    /// The process that writes the event log and holds the pier's lock: mars from v4.0
    /// (vere `pkg/vere/mars.c`, `disk.c`), the king before.
    pub fn log_owner_tgid(&self) -> Option<u32> {
        match self.generation {
            Generation::Mars => self.mars.as_ref().map(|mars| mars.tgid),
            Generation::Serf => Some(self.king.tgid),
            Generation::Unknown => None,
        }
    }

    /// Whether C stacks can be taken. True where the version is not known: how many of them are whole
    /// is in the report.
    pub fn keeps_frame_pointers(&self) -> bool {
        self.version
            .as_deref()
            .is_none_or(version::keeps_frame_pointers)
    }

    /// How the ship is called in messages: its name, else its pier.
    pub fn label(&self) -> String {
        match &self.name {
            Some(name) => name.text.clone(),
            None => self.pier.inside.display().to_string(),
        }
    }

    /// What the host's readers need to know of this ship.
    pub fn targets(&self) -> Targets {
        Targets {
            tgids: self.tgids(),
            socket_owner_tgid: self.king.tgid,
            cgroup_member_tgid: self.mars.as_ref().unwrap_or(&self.king).tgid,
            directory: self.pier.reachable.clone(),
            directory_inside: self.pier.inside.clone(),
        }
    }
}

/// Whether the ship that `selector` means is found and can be read, for `profile doctor`.
pub fn access(roots: &Roots, selector: &Selector) -> ShipAccess {
    let ship = match discover(roots, selector) {
        Ok(ship) => ship,
        Err(error) => {
            return ShipAccess::NotFound {
                sentence: error.to_string(),
            };
        }
    };
    let nock = Process::new(roots, ship.mars.as_ref().unwrap_or(&ship.king).tgid);
    let executable = nock.path("exe");
    let memory = match loom::answer(roots, &ship) {
        LoomAnswer::Home(home) => {
            MemoryAccess::Known(format!("v4 layout, event {}", home.event_number))
        }
        LoomAnswer::UnknownLayout {
            version,
            parameters,
        } => MemoryAccess::UnknownLayout(format!("version {version}, parameters {parameters:#x}")),
        LoomAnswer::Unreadable { reason } => MemoryAccess::Unreadable(reason),
    };
    ShipAccess::Found {
        label: ship.label(),
        memory,
        executable: match std::fs::File::open(&executable) {
            Ok(_) => nock.executable().into(),
            Err(error) => Reading::unknown(ReadError::io(&executable, error).to_string()),
        },
    }
}
