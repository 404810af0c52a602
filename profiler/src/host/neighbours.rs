//! Who the processes beside the ship are: name and control group, and which belong to another ship.

use std::collections::BTreeMap;

use procfs_core::ProcessCGroups;
use serde::{Deserialize, Serialize};

use super::process::Process;
use super::{Reading, Roots};

/// Controllers of version 1 whose group names a process best, the first that is not the root.
const CONTROLLERS: [&str; 5] = ["cpu", "blkio", "memory", "pids", "name=systemd"];

/// What is known of the ship's neighbours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourFacts {
    /// The other ships of this host.
    pub ships: Reading<Vec<OtherShip>>,
    /// The heaviest neighbours, by process id, when the capture ended.
    pub processes: BTreeMap<u32, NeighbourProcess>,
}

impl NeighbourFacts {
    /// For captures that hold none.
    pub fn not_kept() -> Reading<Self> {
        Reading::unknown("this capture does not hold who the neighbours are")
    }
}

/// Another ship that ran on this host while the capture was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherShip {
    /// Its name, or its pier.
    pub label: String,
    /// Its processes.
    pub tgids: Vec<u32>,
}

/// A process beside the ship.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NeighbourProcess {
    /// It runs.
    Running {
        /// Its name: that of its main thread.
        comm: String,
        /// Its control group.
        cgroup: Reading<String>,
    },
    /// It had ended when the capture did.
    Ended,
}

/// Looks the processes up.
pub fn identify(
    roots: &Roots,
    tgids: impl IntoIterator<Item = u32>,
) -> BTreeMap<u32, NeighbourProcess> {
    let of = |tgid| {
        let process = Process::new(roots, tgid);
        match process.comm() {
            Ok(comm) => NeighbourProcess::Running {
                comm,
                cgroup: process.cgroups().map(|groups| group(&groups)).into(),
            },
            Err(_) => NeighbourProcess::Ended,
        }
    };
    tgids.into_iter().map(|tgid| (tgid, of(tgid))).collect()
}

/// The group that says most about a process: that of version 2, and where it is the root, the first of
/// version 1 that is not.
fn group(groups: &ProcessCGroups) -> String {
    let unified = groups.0.iter().find(|group| group.controllers.is_empty());
    let of = |name: &str| {
        let mut attached = groups.0.iter();
        attached.find(|group| group.controllers.iter().any(|one| one == name))
    };
    let all = unified
        .into_iter()
        .chain(CONTROLLERS.into_iter().filter_map(of));
    let mut named = all.filter(|group| group.pathname != "/");
    named
        .next()
        .map_or("/", |group| group.pathname.as_str())
        .to_owned()
}

#[cfg(test)]
mod tests {
    use procfs_core::FromRead;

    use super::*;

    fn of(text: &str) -> String {
        group(&ProcessCGroups::from_read(text.as_bytes()).unwrap())
    }

    #[test]
    fn the_group_is_the_one_that_tells_most() {
        assert_eq!(
            of("0::/system.slice/db.service\n"),
            "/system.slice/db.service"
        );
        assert_eq!(
            of("4:cpu,cpuacct:/docker/x\n3:blkio:/io\n0::/\n"),
            "/docker/x"
        );
        assert_eq!(of("4:cpu:/\n3:blkio:/io\n0::/\n"), "/io");
        assert_eq!(of("1:name=systemd:/user.slice\n0::/\n"), "/user.slice");
        assert_eq!(of("4:cpu:/\n0::/\n"), "/");
    }

    #[test]
    fn a_process_that_has_ended_is_said_to_have() {
        let roots = Roots::default();
        let own = std::process::id();
        // The largest id there can be is never given out (`PID_MAX_LIMIT`).
        let found = identify(&roots, [own, 1 << 22]);
        assert_eq!(found[&(1 << 22)], NeighbourProcess::Ended);
        assert!(matches!(&found[&own], NeighbourProcess::Running { .. }));
    }
}
