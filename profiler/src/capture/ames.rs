//! Watching the ship's datagrams by the ships that they name, in a deep dive only.

use std::fs::File;
use std::path::Path;

use aya::maps::{Array, HashMap, PerCpuArray};
use aya::programs::{CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, Program};
use profiler_common::ames::{AmesSocket, MAX_SOCKETS, PacketKey, PacketTotals, TIMES, Times};

use super::maps::map_error;
use super::probes::{ProbeError, Probes, chain};
use crate::model::{AmesTotals, packet_order};

/// The programs, and what is missing without them.
const PROGRAMS: [(&str, CgroupSkbAttachType); 2] = [
    ("ames_ingress", CgroupSkbAttachType::Ingress),
    ("ames_egress", CgroupSkbAttachType::Egress),
];
const WITHOUT: &str = "which ships the datagrams are from and for, and how long they waited";

/// Maps that sampling does not use, and how many entries they have there. An LRU map wants some for each
/// CPU.
pub(super) const UNUSED: [(&str, u32); 3] = [
    ("AMES_PACKETS", 1),
    ("AMES_ARRIVALS", 1),
    ("AMES_ASKED", 64),
];

impl Probes {
    /// Watches the datagrams of some sockets whose owner is in a control group of the unified hierarchy
    /// (`group`, or why there is none). Sockets are given by local port and cookie. It needs rights that are given up afterwards.
    ///
    /// # Errors
    /// If the kernel refuses a map update.
    pub fn watch_packets(
        &mut self,
        sockets: Result<Vec<(u16, u64)>, String>,
        group: Result<&Path, String>,
    ) -> Result<(), ProbeError> {
        let sockets = match sockets {
            Ok(sockets) => self.enter_sockets(&sockets)?,
            Err(reason) => Err(reason),
        };
        for (name, attach_type) in PROGRAMS {
            let attached = sockets
                .clone()
                .and(group.clone())
                .and_then(|group| self.attach_to_group(name, attach_type, group));
            self.note(name, WITHOUT, attached.err());
        }
        Ok(())
    }

    fn enter_sockets(&mut self, sockets: &[(u16, u64)]) -> Result<Result<(), String>, ProbeError> {
        if sockets.is_empty() || sockets.len() > MAX_SOCKETS as usize {
            let found = sockets.len();
            let reason = format!("the king has {found} UDP sockets, not 1 to {MAX_SOCKETS}");
            return Ok(Err(reason));
        }
        let mut map: HashMap<_, u64, AmesSocket> = self.map_mut("AMES_SOCKETS")?;
        for (index, (_, cookie)) in (0..).zip(sockets) {
            let value = AmesSocket { index, arrivals: 0 };
            map.insert(cookie, value, 0)
                .map_err(|e| map_error("AMES_SOCKETS", e))?;
        }
        let mut ports: Array<_, u64> = self.map_mut("AMES_PORTS")?;
        for (port, _) in sockets {
            let (word, bit) = (u32::from(port / 64), port % 64);
            let failed = |e| map_error("AMES_PORTS", e);
            let others = ports.get(&word, 0).map_err(failed)?;
            ports.set(word, others | 1 << bit, 0).map_err(failed)?;
        }
        Ok(Ok(()))
    }

    fn attach_to_group(
        &mut self,
        name: &str,
        attach_type: CgroupSkbAttachType,
        group: &Path,
    ) -> Result<(), String> {
        let Some(Program::CgroupSkb(program)) = self.program_mut(name) else {
            return Err("the object holds no such program".to_owned());
        };
        let program: &mut CgroupSkb = program;
        let directory = File::open(group).map_err(|e| format!("{}: {e}", group.display()))?;
        program.load().map_err(|error| chain(&error))?;
        // No flags: a link is always beside the programs that systemd or a container engine may have
        // there, and the kernel takes no flag that says so (`cgroup_bpf_link_attach`, 5.7).
        let mode = CgroupAttachMode::Single;
        let attached = program.attach(directory, attach_type, mode);
        attached.map(drop).map_err(|error| chain(&error))
    }

    /// What the programs summed up.
    pub(super) fn ames_totals(&self) -> Result<AmesTotals, ProbeError> {
        let mut packets = self.entries::<PacketKey, PacketTotals>("AMES_PACKETS")?;
        packets.sort_by_key(|(key, _)| packet_order(key));
        let map: PerCpuArray<_, Times> = self.map("AMES_TIMES")?;
        let times = (0..TIMES).map(|index| {
            let failed = |e| map_error("AMES_TIMES", e);
            let mut sum: Times = zerocopy::FromZeros::new_zeroed();
            for of_cpu in map.get(&index, 0).map_err(failed)?.iter() {
                add(&mut sum, of_cpu);
            }
            Ok((index, sum))
        });
        Ok(AmesTotals {
            packets,
            times: times.collect::<Result<_, ProbeError>>()?,
        })
    }
}

fn add(sum: &mut Times, more: &Times) {
    sum.count += more.count;
    sum.total_ns += more.total_ns;
    sum.max_ns = sum.max_ns.max(more.max_ns);
    sum.unknown += more.unknown;
    for (bucket, more) in sum.buckets.iter_mut().zip(&more.buckets) {
        *bucket += more;
    }
}
