//! The kernel's own counters at one moment. Taken at both ends of a capture, they are what the
//! profiler checks itself against.

use std::collections::BTreeMap;

use procfs_core::process::{Io, Schedstat, Stat};
use serde::{Deserialize, Serialize};

use super::block::{DiskCounters, disk_counters};
use super::cgroup::{GroupMemory, Throttling, group_memory, throttling};
use super::interfaces::{InterfaceBytes, interface_bytes};
use super::kernel::{
    MemoryCounters, PressureFacts, SchedulerCounters, memory_counters, pressure, scheduler_counters,
};
use super::net::{UdpSocket, UdpTotals, udp_sockets, udp_totals};
use super::process::Process;
use super::{ReadError, Reading, Roots, Targets, read_text};

/// The kernel's counters for a ship and its host at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KernelCounters {
    /// CLOCK_MONOTONIC just before the first file was read.
    pub begin_ktime_ns: u64,
    /// CLOCK_MONOTONIC just after the last one: the readings lie between the two.
    pub end_ktime_ns: u64,
    /// Per process.
    pub processes: BTreeMap<u32, ProcessCounters>,
    /// Per thread of those processes; a thread that ended meanwhile is left out.
    pub threads: BTreeMap<u32, ThreadCounters>,
    /// The UDP sockets of the ship.
    pub udp_sockets: Reading<Vec<UdpSocket>>,
    /// UDP of the whole network namespace of the ship.
    pub udp: Reading<UdpTotals>,
    /// What CPU quotas cost, at each level that has one.
    pub throttling: Reading<Vec<Throttling>>,
    /// Switches, steal and idle time of the machine.
    pub scheduler: Reading<SchedulerCounters>,
    /// Faults, swap and reclaim of the machine.
    pub memory: Reading<MemoryCounters>,
    /// The same of the ship's control group.
    pub group_memory: Reading<GroupMemory>,
    /// Time that tasks of the machine stalled for memory.
    pub memory_pressure: Reading<PressureFacts>,
    /// Every block device, by name.
    pub disks: Reading<BTreeMap<String, DiskCounters>>,
    /// Every network interface of this host but the loopback, by name.
    #[serde(default = "interfaces_unread")]
    pub interfaces: Reading<BTreeMap<String, InterfaceBytes>>,
}

/// For captures of profilers that did not read them.
pub fn interfaces_unread() -> Reading<BTreeMap<String, InterfaceBytes>> {
    Reading::unknown("the capture does not hold it")
}

/// Counters of one process since it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessCounters {
    /// Start, in clock ticks since boot: differs when the id was reused.
    pub start_time_ticks: u64,
    /// Faults served without I/O.
    pub minor_faults_total: u64,
    /// Faults that waited for I/O.
    pub major_faults_total: u64,
    /// Bytes read and written.
    pub io: Reading<IoCounters>,
}

/// `/proc/PID/io`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoCounters {
    /// Bytes that it caused to be read from storage.
    pub read_bytes: u64,
    /// Bytes that it caused to be written: dirtied page cache and direct writes, discards of the
    /// file system included.
    pub write_bytes: u64,
    /// Bytes of dirtied page cache that were dropped before they were written.
    pub cancelled_write_bytes: u64,
    /// Bytes through read system calls, from cache or not.
    pub read_call_bytes: u64,
    /// Bytes through write system calls.
    pub write_call_bytes: u64,
}

/// Counters of one thread since it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadCounters {
    /// The process that it belongs to.
    pub tgid: u32,
    /// Name, at most 15 bytes.
    pub comm: String,
    /// Time on a CPU.
    pub on_cpu_ns: u64,
    /// Time runnable and waiting for a CPU.
    pub run_queue_ns: u64,
    /// Times that it was put on a CPU.
    pub timeslices_total: u64,
}

impl ThreadCounters {
    /// What was counted since `earlier`, a reading of the same thread.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            tgid: self.tgid,
            comm: self.comm.clone(),
            on_cpu_ns: self.on_cpu_ns.saturating_sub(earlier.on_cpu_ns),
            run_queue_ns: self.run_queue_ns.saturating_sub(earlier.run_queue_ns),
            timeslices_total: self
                .timeslices_total
                .saturating_sub(earlier.timeslices_total),
        }
    }
}

impl IoCounters {
    /// What was counted since `earlier`, a reading of the same process.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            read_bytes: self.read_bytes.saturating_sub(earlier.read_bytes),
            write_bytes: self.write_bytes.saturating_sub(earlier.write_bytes),
            cancelled_write_bytes: self
                .cancelled_write_bytes
                .saturating_sub(earlier.cancelled_write_bytes),
            read_call_bytes: self.read_call_bytes.saturating_sub(earlier.read_call_bytes),
            write_call_bytes: self
                .write_call_bytes
                .saturating_sub(earlier.write_call_bytes),
        }
    }
}

impl KernelCounters {
    /// What each thread used since `earlier`. A thread that started meanwhile counts from its
    /// start; one whose process is another one now, under a reused id, is left out, as is one that
    /// has ended.
    pub fn threads_since(&self, earlier: &Self) -> BTreeMap<u32, ThreadCounters> {
        let same_process = |tgid: u32| {
            let start = |counters: &Self| Some(counters.processes.get(&tgid)?.start_time_ticks);
            start(earlier).is_none() || start(earlier) == start(self)
        };
        self.threads
            .iter()
            .filter(|(_, thread)| same_process(thread.tgid))
            .map(|(&tid, thread)| {
                let used = match earlier.threads.get(&tid) {
                    Some(before) => thread.since(before),
                    None => thread.clone(),
                };
                (tid, used)
            })
            .collect()
    }
}

/// Reads all counters for `targets`.
pub fn counters(roots: &Roots, targets: &Targets) -> KernelCounters {
    let begin_ktime_ns = now_ktime_ns();
    let socket_owner = Process::new(roots, targets.socket_owner_tgid);
    let cgroup_member = Process::new(roots, targets.cgroup_member_tgid);
    let mut processes = BTreeMap::new();
    let mut threads = BTreeMap::new();
    for &tgid in &targets.tgids {
        let process = Process::new(roots, tgid);
        threads.extend(thread_counters(&process));
        if let Ok(stat) = process.stat() {
            processes.insert(tgid, process_counters(&process, &stat));
        }
    }
    KernelCounters {
        begin_ktime_ns,
        processes,
        threads,
        udp_sockets: udp_sockets(&socket_owner).into(),
        udp: udp_totals(&socket_owner).into(),
        throttling: throttling(roots, &cgroup_member),
        scheduler: scheduler_counters(roots).into(),
        memory: memory_counters(roots).into(),
        group_memory: group_memory(roots, &cgroup_member),
        memory_pressure: pressure(roots, "memory").into(),
        disks: disk_counters(roots).into(),
        interfaces: interface_bytes(&Process::own(roots)).into(),
        end_ktime_ns: now_ktime_ns(),
    }
}

/// CLOCK_MONOTONIC, the clock of `bpf_ktime_get_ns`.
pub fn now_ktime_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // The clock starts at boot and counts upwards, so neither part is negative.
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// How long the host is up, time asleep included: `/proc/uptime`.
pub fn uptime_ns(roots: &Roots) -> Result<u64, ReadError> {
    let path = roots.proc.join("uptime");
    let text = read_text(&path)?;
    let seconds = text.split_whitespace().next().unwrap_or_default();
    let seconds: f64 = seconds
        .parse()
        .map_err(|_| ReadError::malformed(&path, text.trim()))?;
    Ok((seconds * 1e9) as u64)
}

fn process_counters(process: &Process, stat: &Stat) -> ProcessCounters {
    let io = process.io().map(|io: Io| IoCounters {
        read_bytes: io.read_bytes,
        write_bytes: io.write_bytes,
        cancelled_write_bytes: io.cancelled_write_bytes,
        read_call_bytes: io.rchar,
        write_call_bytes: io.wchar,
    });
    ProcessCounters {
        start_time_ticks: stat.starttime,
        minor_faults_total: stat.minflt,
        major_faults_total: stat.majflt,
        io: io.into(),
    }
}

fn thread_counters(process: &Process) -> Vec<(u32, ThreadCounters)> {
    let tids = process.thread_ids().unwrap_or_default();
    tids.into_iter()
        .filter_map(|tid| {
            let thread = process.thread(tid);
            let Schedstat {
                sum_exec_runtime,
                run_delay,
                pcount,
            } = thread.schedstat().ok()?;
            Some((
                tid,
                ThreadCounters {
                    tgid: process.tgid(),
                    comm: thread.comm().ok()?,
                    on_cpu_ns: sum_exec_runtime,
                    run_queue_ns: run_delay,
                    timeslices_total: pcount,
                },
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets() -> Targets {
        let tgid = std::process::id();
        Targets {
            tgids: vec![tgid],
            socket_owner_tgid: tgid,
            cgroup_member_tgid: tgid,
            directory: "/".into(),
            directory_inside: "/".into(),
        }
    }

    #[test]
    fn this_process_is_counted_and_time_goes_on() {
        let roots = Roots::default();
        let first = counters(&roots, &targets());
        // Work until the kernel has charged it: on-CPU time is brought up to date by ticks.
        let tid = rustix::thread::gettid()
            .as_raw_nonzero()
            .get()
            .unsigned_abs();
        let second = loop {
            let reading = counters(&roots, &targets());
            if reading.threads_since(&first)[&tid].on_cpu_ns > 0 {
                break reading;
            }
        };
        assert!(first.begin_ktime_ns <= first.end_ktime_ns);
        assert!(first.end_ktime_ns <= second.begin_ktime_ns);
        let used = &second.threads_since(&first)[&tid];
        assert!(used.on_cpu_ns <= second.end_ktime_ns - first.begin_ktime_ns);
        let io = |counters: &KernelCounters| {
            *counters.processes[&std::process::id()].io.known().unwrap()
        };
        assert!(io(&second).since(&io(&first)).read_call_bytes > 0);
        // What a capture keeps survives the way through its file.
        let text = serde_json::to_string(&second).unwrap();
        assert_eq!(
            serde_json::from_str::<KernelCounters>(&text).unwrap(),
            second
        );
    }

    #[test]
    fn a_reused_process_id_is_another_process() {
        let roots = Roots::default();
        let first = counters(&roots, &targets());
        let mut second = first.clone();
        for process in second.processes.values_mut() {
            process.start_time_ticks += 1;
        }
        assert!(second.threads_since(&first).is_empty());
    }
}
