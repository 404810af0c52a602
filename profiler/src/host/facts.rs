//! Everything a capture keeps of the host, read in one go.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::block::{StorageFacts, storage};
use super::cgroup::{CgroupFacts, cgroup_facts};
use super::kernel::{KernelFacts, kernel_facts};
use super::net::{SocketBuffers, socket_buffers};
use super::process::{Process, ProcessFacts, process_facts};
use super::{Reading, Roots};

/// What of the host concerns one ship.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// Its processes.
    pub tgids: Vec<u32>,
    /// The process that has its sockets.
    pub socket_owner_tgid: u32,
    /// The process whose control groups hold the ship.
    pub cgroup_member_tgid: u32,
    /// Its directory, as reachable from here.
    pub directory: PathBuf,
    /// The same directory, as the ship sees it.
    pub directory_inside: PathBuf,
}

/// The host, as far as it concerns one ship.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Kernel and machine.
    pub kernel: KernelFacts,
    /// The ship's processes, by id.
    pub processes: BTreeMap<u32, Reading<ProcessFacts>>,
    /// Limits of the ship's control groups.
    pub cgroup: CgroupFacts,
    /// Buffers of the ship's UDP sockets.
    pub udp_buffers: Reading<Vec<SocketBuffers>>,
    /// Where the pier is stored.
    pub storage: StorageFacts,
}

/// Reads the host's facts for `targets`.
pub fn host_facts(roots: &Roots, targets: &Targets) -> HostFacts {
    let member = Process::new(roots, targets.cgroup_member_tgid);
    HostFacts {
        kernel: kernel_facts(roots),
        processes: targets
            .tgids
            .iter()
            .map(|&tgid| (tgid, process_facts(&Process::new(roots, tgid)).into()))
            .collect(),
        cgroup: cgroup_facts(roots, &member),
        udp_buffers: socket_buffers(&Process::new(roots, targets.socket_owner_tgid)).into(),
        storage: storage(
            roots,
            &member,
            &targets.directory,
            &targets.directory_inside,
        ),
    }
}
