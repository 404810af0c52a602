//! The programs' maps: telling the programs what to watch, reading what they summed up, and making
//! room for what comes.

use aya::maps::{Array, HashMap, Map, MapError, PerCpuArray};
use aya::{Ebpf, Pod};
use profiler_common::block::{BlockKey, BlockTotals};
use profiler_common::loss;
use profiler_common::neighbour::DeviceTotals;
use profiler_common::sampling::PendingStack;
use profiler_common::sched::{Thread, WaitKey, Waits};
use profiler_common::ship::{ShipProcess, Window, filter_slot};
use profiler_common::turnaround::Turnaround;
use profiler_common::udp::{UdpKey, UdpTotals};
use zerocopy::FromZeros as _;

use super::probes::{ProbeError, Probes};
use super::writeback;
use crate::model::{NeighbourTotals, Totals};
use crate::ship::Ship;

/// How long events take, while sampling.
const TURNAROUND: &str = "TURNAROUND";

impl Probes {
    /// Watches a process of a ship. `number` tells ships apart.
    ///
    /// # Errors
    /// If the kernel refuses the map update.
    pub fn watch_process(&mut self, tgid: u32, number: u32, ship: &Ship) -> Result<(), ProbeError> {
        let is_king = tgid == ship.king.tgid;
        let process = ShipProcess {
            ship: number,
            followed: 0,
            is_king: is_king.into(),
            commits: (is_king && ship.log_owner_tgid() == Some(tgid)).into(),
            turn_ktime_ns: 0,
        };
        self.watch(tgid, process)
    }

    /// Watches a process as what `process` says.
    ///
    /// # Errors
    /// If the kernel refuses the map update.
    pub fn watch(&mut self, tgid: u32, process: ShipProcess) -> Result<(), ProbeError> {
        let mut processes: HashMap<_, u32, ShipProcess> = self.map_mut("SHIP_PROCESSES")?;
        processes
            .insert(tgid, process, 0)
            .map_err(|e| map_error("SHIP_PROCESSES", e))?;
        let mut filter: Array<_, u8> = self.map_mut("SHIP_FILTER")?;
        filter
            .set(filter_slot(tgid), 1, 0)
            .map_err(|e| map_error("SHIP_FILTER", e))
    }

    /// The processes that are watched: those named, and those that they forked.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn watched_processes(&self) -> Result<Vec<(u32, ShipProcess)>, ProbeError> {
        entries::<u32, ShipProcess>(&self.ebpf, "SHIP_PROCESSES")
    }

    /// Counts datagrams at a UDP socket.
    ///
    /// # Errors
    /// If the kernel refuses the map update.
    pub fn watch_socket(&mut self, netns: u32, port: u16) -> Result<(), ProbeError> {
        let mut sockets: HashMap<_, UdpKey, UdpTotals> = self.map_mut("UDP_SOCKETS")?;
        let key = UdpKey {
            netns,
            port: port.into(),
        };
        let zero: UdpTotals = zerocopy::FromZeros::new_zeroed();
        sockets
            .insert(key, zero, 0)
            .map_err(|e| map_error("UDP_SOCKETS", e))
    }

    /// Follows everybody's I/O on a device, to tell whose was ahead of the ship's. `takes_bios`: it has no
    /// requests.
    ///
    /// # Errors
    /// If the kernel refuses the map update.
    pub fn watch_device(
        &mut self,
        major: u32,
        minor: u32,
        takes_bios: bool,
    ) -> Result<(), ProbeError> {
        let mut devices: HashMap<_, u32, DeviceTotals> = self.map_mut("NEIGHBOUR_DEVICES")?;
        let device = DeviceTotals {
            takes_bios: takes_bios.into(),
            ..zerocopy::FromZeros::new_zeroed()
        };
        devices
            .insert(major << 20 | minor, device, 0)
            .map_err(|e| map_error("NEIGHBOUR_DEVICES", e))
    }

    /// Adds up how long a ship's events take, while sampling.
    ///
    /// # Errors
    /// If the kernel refuses the map update.
    pub fn watch_turnaround(&mut self, number: u32) -> Result<(), ProbeError> {
        let mut ships: HashMap<_, u32, Turnaround> = self.map_mut(TURNAROUND)?;
        ships
            .insert(number, Turnaround::new_zeroed(), 0)
            .map_err(|e| map_error(TURNAROUND, e))
    }

    /// Does so no longer.
    ///
    /// # Errors
    /// If the kernel refuses the map update.
    pub fn unwatch_turnaround(&mut self, number: u32) -> Result<(), ProbeError> {
        let mut ships: HashMap<_, u32, Turnaround> = self.map_mut(TURNAROUND)?;
        removed(ships.remove(&number), TURNAROUND)
    }

    /// A ship rests: whatever it seems to have under way is over, and its end was not seen.
    ///
    /// # Errors
    /// If the kernel refuses the map update.
    pub fn settle_turnaround(&mut self, number: u32) -> Result<(), ProbeError> {
        let mut ships: HashMap<_, u32, Turnaround> = self.map_mut(TURNAROUND)?;
        let mut sums = ships
            .get(&number, 0)
            .map_err(|e| map_error(TURNAROUND, e))?;
        let under_way = sums.sent.wrapping_sub(sums.answered);
        if under_way == 0 {
            return Ok(());
        }
        sums.unmatched += u64::from(under_way);
        sums.answered = sums.sent;
        ships
            .insert(number, sums, 0)
            .map_err(|e| map_error(TURNAROUND, e))
    }

    /// Opens or closes the capture's window.
    ///
    /// # Errors
    /// If the kernel refuses the map update.
    pub fn set_window(&mut self, start_ktime_ns: u64, end_ktime_ns: u64) -> Result<(), ProbeError> {
        let mut window: Array<_, Window> = self.map_mut("SHIP_WINDOW")?;
        window
            .set(
                0,
                Window {
                    start_ktime_ns,
                    end_ktime_ns,
                },
                0,
            )
            .map_err(|e| map_error("SHIP_WINDOW", e))
    }

    /// Forgets threads that have ended, so that their places are free for others.
    ///
    /// # Errors
    /// If the kernel refuses the map update.
    pub fn forget(&mut self, totals: &Totals, tids: &[u32]) -> Result<(), ProbeError> {
        let mut threads: HashMap<_, u32, Thread> = self.map_mut("SCHED_THREADS")?;
        for tid in tids {
            removed(threads.remove(tid), "SCHED_THREADS")?;
        }
        let mut pending: HashMap<_, u32, PendingStack> = self.map_mut("STACK_PENDING")?;
        for tid in tids {
            removed(pending.remove(tid), "STACK_PENDING")?;
        }
        let mut waits: HashMap<_, WaitKey, Waits> = self.map_mut("SCHED_WAITS")?;
        for (key, _) in totals
            .waits
            .iter()
            .filter(|(key, _)| tids.contains(&key.tid))
        {
            removed(waits.remove(key), "SCHED_WAITS")?;
        }
        let mut block: HashMap<_, BlockKey, BlockTotals> = self.map_mut("BLOCK_TOTALS")?;
        for (key, _) in totals
            .block
            .iter()
            .filter(|(key, _)| tids.contains(&key.tid))
        {
            removed(block.remove(key), "BLOCK_TOTALS")?;
        }
        Ok(())
    }

    /// Enters threads before their process is watched; one that is there already stays as it is.
    ///
    /// # Errors
    /// If the kernel refuses the map update for another reason than that the map is full, which is
    /// counted as lost when the thread is seen.
    pub fn enter_threads(&mut self, entries: &[(u32, Thread)]) -> Result<(), ProbeError> {
        /// `BPF_NOEXIST` (`include/uapi/linux/bpf.h`).
        const NOEXIST: u64 = 1;
        let mut threads: HashMap<_, u32, Thread> = self.map_mut("SCHED_THREADS")?;
        for (tid, thread) in entries {
            match threads.insert(tid, thread, NOEXIST) {
                Ok(()) => {}
                Err(aya::maps::MapError::SyscallError(error))
                    if matches!(
                        error.io_error.raw_os_error(),
                        Some(libc::EEXIST | libc::E2BIG)
                    ) => {}
                Err(error) => return Err(map_error("SCHED_THREADS", error)),
            }
        }
        Ok(())
    }

    /// Stops watching a process.
    ///
    /// # Errors
    /// If the kernel refuses the map update.
    pub fn unwatch_process(&mut self, tgid: u32) -> Result<(), ProbeError> {
        let mut processes: HashMap<_, u32, ShipProcess> = self.map_mut("SHIP_PROCESSES")?;
        removed(processes.remove(&tgid), "SHIP_PROCESSES")
    }

    /// Reads all sums. The window must be closed, so that they stand still.
    ///
    /// # Errors
    /// If a map cannot be read.
    pub fn totals(&self) -> Result<Totals, ProbeError> {
        let mut totals = Totals {
            threads: entries(&self.ebpf, "SCHED_THREADS")?,
            waits: entries(&self.ebpf, "SCHED_WAITS")?,
            block: entries(&self.ebpf, "BLOCK_TOTALS")?,
            udp: entries(&self.ebpf, "UDP_SOCKETS")?,
            snapshots: entries(&self.ebpf, "SNAPSHOTS")?,
            turnaround: entries(&self.ebpf, TURNAROUND)?,
            ames: self.ames_totals()?,
            neighbours: NeighbourTotals {
                ahead: entries(&self.ebpf, "NEIGHBOUR_AHEAD")?,
                devices: entries(&self.ebpf, "NEIGHBOUR_DEVICES")?,
                io: entries(&self.ebpf, "NEIGHBOUR_IO")?,
            },
            writeback: writeback::totals(&self.ebpf)?,
        };
        // The kernel's order is that of its hash; ours must not depend on it.
        totals.threads.sort_by_key(|(tid, _)| *tid);
        totals
            .waits
            .sort_by_key(|(key, _)| (key.tid, key.syscall_nr, key.task_state));
        totals
            .block
            .sort_by_key(|(key, _)| (key.tgid, key.tid, key.dev, key.op));
        totals.udp.sort_by_key(|(key, _)| (key.netns, key.port));
        totals.snapshots.sort_by_key(|(tgid, _)| *tgid);
        totals.turnaround.sort_by_key(|(ship, _)| *ship);
        let neighbours = &mut totals.neighbours;
        neighbours
            .ahead
            .sort_by_key(|(key, _)| (key.waiter_tgid, key.tgid));
        neighbours.devices.sort_by_key(|(dev, _)| *dev);
        neighbours
            .io
            .sort_by_key(|(key, _)| (key.dev, key.tgid, key.via));
        Ok(totals)
    }

    /// Losses, by `profiler_common::loss`.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn losses(&self) -> Result<Vec<u64>, ProbeError> {
        let map = self
            .ebpf
            .map("LOSSES")
            .ok_or_else(|| map_error("LOSSES", "missing"))?;
        let losses: PerCpuArray<_, u64> =
            PerCpuArray::try_from(map).map_err(|e| map_error("LOSSES", e))?;
        (0..loss::REASONS)
            .map(|reason| {
                let per_cpu = losses.get(&reason, 0).map_err(|e| map_error("LOSSES", e))?;
                let missed = self.misses.iter().filter(|(of, _)| *of == reason);
                let missed = missed.filter_map(|(_, counter)| counter.read());
                Ok(per_cpu.iter().sum::<u64>() + missed.sum::<u64>())
            })
            .collect()
    }

    pub(super) fn map<'a, M>(&'a self, name: &'static str) -> Result<M, ProbeError>
    where
        M: TryFrom<&'a Map, Error = MapError>,
    {
        let map = self.ebpf.map(name);
        M::try_from(map.ok_or_else(|| map_error(name, "missing"))?).map_err(|e| map_error(name, e))
    }

    pub(super) fn entries<K: Pod, V: Pod>(
        &self,
        name: &'static str,
    ) -> Result<Vec<(K, V)>, ProbeError> {
        entries(&self.ebpf, name)
    }

    pub(super) fn map_mut<'a, M>(&'a mut self, name: &'static str) -> Result<M, ProbeError>
    where
        M: TryFrom<&'a mut Map, Error = MapError>,
    {
        let map = self
            .ebpf
            .map_mut(name)
            .ok_or_else(|| map_error(name, "missing"))?;
        M::try_from(map).map_err(|e| map_error(name, e))
    }
}

pub(super) fn entries<K: Pod, V: Pod>(
    ebpf: &Ebpf,
    name: &'static str,
) -> Result<Vec<(K, V)>, ProbeError> {
    let map = ebpf.map(name).ok_or_else(|| map_error(name, "missing"))?;
    let map: HashMap<_, K, V> = HashMap::try_from(map).map_err(|e| map_error(name, e))?;
    map.iter()
        .map(|entry| entry.map_err(|e| map_error(name, e)))
        .collect()
}

/// The outcome of a removal; what was not there is gone as well.
pub(super) fn removed(result: Result<(), MapError>, map: &'static str) -> Result<(), ProbeError> {
    match result {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error))
            if error.io_error.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(())
        }
        Err(error) => Err(map_error(map, error)),
    }
}

pub(super) fn map_error(map: &'static str, reason: impl ToString) -> ProbeError {
    ProbeError::Map {
        map,
        reason: reason.to_string(),
    }
}
