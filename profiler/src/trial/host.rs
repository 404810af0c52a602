//! The host as a trial changes it: files below a root, and the few system calls that have no file.

use std::io;
use std::path::Path;

use rustix::process::{Pid, setpriority_process};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::mount;
use crate::host::Roots;

/// What is changed by a system call.
pub trait Calls {
    /// Gives a thread a nice value.
    ///
    /// # Errors
    /// What the kernel says.
    fn set_nice(&self, tid: u32, nice: i32) -> io::Result<()>;

    /// Lets a thread run on these CPUs only.
    ///
    /// # Errors
    /// What the kernel says.
    fn set_cpus(&self, tid: u32, cpus: &[(u32, u32)]) -> io::Result<()>;

    /// Sets when a mount writes access times: `noatime`, `relatime` or `strictatime`.
    ///
    /// # Errors
    /// What the kernel says.
    fn set_atime(&self, mount_point: &Path, option: &str) -> io::Result<()>;
}

/// The kernel that runs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kernel;

impl Calls for Kernel {
    fn set_nice(&self, tid: u32, nice: i32) -> io::Result<()> {
        Ok(setpriority_process(Some(pid(tid)?), nice)?)
    }

    fn set_cpus(&self, tid: u32, cpus: &[(u32, u32)]) -> io::Result<()> {
        let mut set = CpuSet::new();
        for cpu in cpus.iter().flat_map(|(first, last)| *first..=*last) {
            let cpu = cpu as usize;
            if cpu >= CpuSet::MAX_CPU {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            set.set(cpu);
        }
        Ok(sched_setaffinity(Some(pid(tid)?), &set)?)
    }

    fn set_atime(&self, mount_point: &Path, option: &str) -> io::Result<()> {
        mount::set_atime(mount_point, option)
    }
}

/// A thread id as system calls take it; zero would be the caller.
fn pid(tid: u32) -> io::Result<Pid> {
    let pid = i32::try_from(tid).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// A host.
pub struct Host {
    /// Where its files are.
    pub roots: Roots,
    /// How the rest is changed.
    pub calls: Box<dyn Calls>,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            roots: Roots::default(),
            calls: Box::new(Kernel),
        }
    }
}
