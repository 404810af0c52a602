//! CPU faults: competitors on one CPU, and a quota.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

use super::cgroup::{Cgroup, Controller, Version};
use crate::process::{Process, Terminal, threads};
use crate::undo::Undo;
use crate::{Error, Result};

/// Counts as fast as it can, and looks from time to time whether its maker still lives.
const HOG_SCRIPT: &str =
    "while kill -0 $0 2>/dev/null; do i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; done";

/// Period of a quota, the kernel's default (`default_bw_period`, kernel/sched/fair.c), in µs.
const QUOTA_PERIOD_US: u32 = 100_000;

/// Busy processes that share one CPU with given processes, which then wait in its run queue.
#[derive(Debug)]
pub struct CpuHogs {
    cpu: usize,
    _pinned: Pinned,
    hogs: Vec<Process>,
}

impl CpuHogs {
    /// Starts `count` of them on one CPU and pins `pids`, with all their threads, to it.
    pub fn start(count: usize, pids: &[u32]) -> Result<Self> {
        Self::start_as(&vec![PathBuf::from("sh"); count], pids)
    }

    /// The same, one by each of these shells: a process is called as its program's file is.
    pub fn start_as(shells: &[PathBuf], pids: &[u32]) -> Result<Self> {
        let allowed = sched_getaffinity(None)
            .map_err(Error::process("read the CPUs of", std::process::id()))?;
        // The last one: the first takes most interrupts on most machines.
        let cpu = (0..CpuSet::MAX_CPU)
            .rev()
            .find(|cpu| allowed.is_set(*cpu))
            .unwrap_or(0);
        let pinned = Pinned::new(cpu, pids)?;
        let mut own = CpuSet::new();
        own.set(cpu);
        let hogs = shells
            .iter()
            .map(|shell| {
                let mut command = Command::new(shell);
                command.args(["-c", HOG_SCRIPT, &std::process::id().to_string()]);
                command.stdin(Stdio::null());
                let hog = Process::spawn(&mut command, Terminal::Own)?;
                set_cpus(hog.pid(), &own)?;
                Ok(hog)
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            cpu,
            _pinned: pinned,
            hogs,
        })
    }

    /// The CPU that all of them share.
    pub fn cpu(&self) -> usize {
        self.cpu
    }

    /// The competitors' ids.
    pub fn pids(&self) -> Vec<u32> {
        self.hogs.iter().map(Process::pid).collect()
    }
}

/// Processes held on one CPU; undoing gives every thread its CPUs back.
#[derive(Debug)]
pub struct Pinned {
    _undo: Undo,
}

impl Pinned {
    /// Pins all threads of `pids` to `cpu`; threads that they start later inherit it.
    pub fn new(cpu: usize, pids: &[u32]) -> Result<Self> {
        let mut only = CpuSet::new();
        only.set(cpu);
        let mut before: Vec<(u32, CpuSet)> = Vec::new();
        for pid in pids {
            // A thread may start one more before its own turn comes, so look until none is new.
            loop {
                let new: Vec<u32> = threads(*pid)?
                    .into_iter()
                    .filter(|tid| before.iter().all(|(known, _)| known != tid))
                    .collect();
                if new.is_empty() {
                    break;
                }
                for tid in new {
                    let cpus = sched_getaffinity(thread_id(tid))
                        .map_err(Error::process("read the CPUs of", tid))?;
                    set_cpus(tid, &only)?;
                    before.push((tid, cpus));
                }
            }
        }
        let undo = Undo::new("give threads their CPUs back", move || {
            before
                .iter()
                .try_for_each(|(tid, cpus)| set_cpus(*tid, cpus))
        });
        Ok(Self { _undo: undo })
    }
}

fn thread_id(tid: u32) -> Option<Pid> {
    i32::try_from(tid).ok().and_then(Pid::from_raw)
}

/// A thread that has ended needs no CPU.
fn set_cpus(tid: u32, cpus: &CpuSet) -> Result<()> {
    match sched_setaffinity(thread_id(tid), cpus) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(Error::process("choose the CPUs of", tid)(errno)),
    }
}

/// Limits processes to a share of CPU time; beyond it they are throttled, not just waiting.
#[derive(Debug)]
pub struct CpuQuota {
    group: Cgroup,
}

impl CpuQuota {
    /// Gives `pids` together `percent` of one CPU.
    pub fn start(percent: u32, pids: &[u32]) -> Result<Self> {
        let group = Cgroup::create(Controller::Cpu, "quota")?;
        let quota_us = QUOTA_PERIOD_US / 100 * percent;
        match group.version() {
            Version::V1 => {
                group.write("cpu.cfs_period_us", &QUOTA_PERIOD_US.to_string())?;
                group.write("cpu.cfs_quota_us", &quota_us.to_string())?;
            }
            Version::V2 => group.write("cpu.max", &format!("{quota_us} {QUOTA_PERIOD_US}"))?,
        }
        let quota = Self { group };
        pids.iter().try_for_each(|pid| quota.add(*pid))?;
        Ok(quota)
    }

    /// Lets the quota hold for one more process.
    pub fn add(&self, pid: u32) -> Result<()> {
        self.group.add(pid)
    }

    /// Lets the group come before everybody else while it has its quota, so that its members wait for
    /// nothing but that.
    pub fn outweigh_others(&self) -> Result<()> {
        // The largest that the kernel takes (`MAX_SHARES`, kernel/sched/sched.h; `CGROUP_WEIGHT_MAX`).
        match self.group.version() {
            Version::V1 => self.group.write("cpu.shares", "262144"),
            Version::V2 => self.group.write("cpu.weight", "10000"),
        }
    }

    /// Where the kernel keeps its account of the group.
    pub fn cpu_stat(&self) -> PathBuf {
        self.group.path().join("cpu.stat")
    }

    /// How often and how long (ns) the group was throttled: `cpu.stat`, the kernel's own account.
    pub fn throttled(&self) -> Result<(u64, u64)> {
        let path = self.cpu_stat();
        let text = std::fs::read_to_string(&path).map_err(Error::path("read", &path))?;
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
        };
        // Version 1 counts ns, version 2 µs.
        let time_ns = field("throttled_time ").or(field("throttled_usec ").map(|usec| usec * 1000));
        field("nr_throttled ")
            .zip(time_ns)
            .ok_or_else(|| Error::Unexpected {
                what: path.display().to_string(),
                detail: "it names no throttled periods or no throttled time".into(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate;
    use crate::process::poll_until;
    use std::time::Duration;

    /// Second number of schedstat: ns in the run queue (Documentation/scheduler/sched-stats.rst).
    fn run_queue_ns(pid: u32) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
        text.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn hogs_make_a_process_wait_and_end() {
        let Some(_live) = gate::need_root() else {
            return;
        };
        let hogs = CpuHogs::start(1, &[]).unwrap();
        let victim = hogs.pids()[0];
        let rivals = CpuHogs::start(2, &[victim]).unwrap();
        assert_eq!(rivals.cpu(), hogs.cpu());
        let before = run_queue_ns(victim);
        poll_until(
            "the process to wait for its CPU",
            Duration::from_secs(10),
            || {
                let waited = run_queue_ns(victim) - before;
                Ok(if waited > 200_000_000 {
                    Ok(())
                } else {
                    Err(format!("{waited} ns"))
                })
            },
        )
        .unwrap();
        let path = format!("/proc/{}", rivals.pids()[0]);
        drop(rivals);
        assert!(!std::path::Path::new(&path).exists());
    }

    #[test]
    fn quota_throttles() {
        let Some(_live) = gate::need_root() else {
            return;
        };
        let hogs = CpuHogs::start(1, &[]).unwrap();
        let quota = CpuQuota::start(20, &hogs.pids()).unwrap();
        poll_until("throttling", Duration::from_secs(10), || {
            let (periods, time_ns) = quota.throttled()?;
            Ok(if time_ns > 100_000_000 {
                Ok(())
            } else {
                Err(format!("{periods} periods"))
            })
        })
        .unwrap();
    }
}
