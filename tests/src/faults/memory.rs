//! Memory faults: a limit below what a ship works with, and swap space in compressed memory.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Advice, fadvise};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::cgroup::{Cgroup, Controller, Version};
use crate::error::run;
use crate::ship::RunningShip;
use crate::undo::Undo;
use crate::{Error, Result};

/// A control group with too little memory.
#[derive(Debug)]
pub struct MemoryLimit {
    group: Cgroup,
}

impl MemoryLimit {
    /// Lets `pids` together have `bytes`. What they have already stays charged to where they were.
    pub fn start(bytes: u64, pids: &[u32]) -> Result<Self> {
        let group = Cgroup::create(Controller::Memory, "memory")?;
        let limit = Self { group };
        limit.set(bytes)?;
        pids.iter().try_for_each(|pid| limit.group.add(*pid))?;
        Ok(limit)
    }

    /// Another limit; what is above it is taken from memory.
    pub fn set(&self, bytes: u64) -> Result<()> {
        let file = match self.group.version() {
            Version::V1 => "memory.limit_in_bytes",
            Version::V2 => "memory.max",
        };
        self.group.write(file, &bytes.to_string())
    }

    /// Takes from memory what of the group's can be had, as if it were short of it.
    pub fn evict(&self) -> Result<()> {
        // Version 1 does it until nothing more comes, version 2 as far as it is asked, and fails when it
        // was asked for more than there is (Documentation/admin-guide/cgroup-v2.rst).
        match self.group.version() {
            Version::V1 => self.group.write("memory.force_empty", "0"),
            Version::V2 => {
                let _ = self.group.write("memory.reclaim", "1T");
                Ok(())
            }
        }
    }

    /// A line of the group's `memory.stat`: the kernel's own account.
    pub fn stat(&self, name: &str) -> Result<u64> {
        let path = self.group.path().join("memory.stat");
        let text = fs::read_to_string(&path).map_err(Error::path("read", &path))?;
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
            .ok_or_else(|| Error::Unexpected {
                what: path.display().to_string(),
                detail: format!("it has no line {name}"),
            })
    }
}

/// Takes the pages of mars' image from memory, so that it has to read them again.
pub fn evict_image(ship: &RunningShip) -> Result<()> {
    let pid = ship.mars_pid();
    let path = PathBuf::from(format!("/proc/{pid}/maps"));
    let maps = fs::read_to_string(&path).map_err(Error::path("read", &path))?;
    let parts: Vec<libc::iovec> = maps
        .lines()
        .filter(|line| line.ends_with("/image.bin"))
        .filter_map(|line| {
            let (start, end) = line.split_once(' ')?.0.split_once('-')?;
            let address = |word| usize::from_str_radix(word, 16).ok();
            let (start, end) = (address(start)?, address(end)?);
            Some(libc::iovec {
                iov_base: std::ptr::without_provenance_mut(start),
                iov_len: end - start,
            })
        })
        .collect();
    let mars = Pid::from_raw(pid.cast_signed()).ok_or(rustix::io::Errno::SRCH);
    let mars = mars
        .and_then(|mars| pidfd_open(mars, PidfdFlags::empty()))
        .map_err(Error::process("open", pid))?;
    // SAFETY: the parts live until the call returns, and lie in another process, whose clean file
    // pages come back with the same content.
    let evicted = unsafe {
        libc::syscall(
            libc::SYS_process_madvise,
            mars.as_raw_fd(),
            parts.as_ptr(),
            parts.len(),
            libc::MADV_PAGEOUT,
            0,
        )
    };
    if evicted <= 0 {
        let error = std::io::Error::last_os_error();
        return Err(Error::Ineffective(format!("{error}: {maps}")));
    }
    // That was for the pages that mars has touched. The others are in the page cache alone.
    let path = ship.pier().join(".urb/chk/image.bin");
    let image = fs::File::open(&path).map_err(Error::path("open", &path))?;
    fadvise(&image, 0, None, Advice::DontNeed)
        .map_err(|errno| Error::path("drop the cache of", &path)(errno.into()))
}

/// Swap space on a zram device of our own.
#[derive(Debug)]
pub struct ZramSwap {
    _undo: Undo,
}

impl ZramSwap {
    /// Makes one of `bytes` and lets the machine use it before any other.
    pub fn start(bytes: u64) -> Result<Self> {
        let (name, added) = device()?;
        let control = Path::new("/sys/block").join(&name);
        let undo = {
            let name = name.clone();
            Undo::new(format!("take /dev/{name} out of use"), move || {
                stop(&name, added)
            })
        };
        write(&control.join("disksize"), &bytes.to_string())?;
        let node = format!("/dev/{name}");
        run(Command::new("mkswap").arg(&node))?;
        run(Command::new("swapon").args(["--priority", "32767", &node]))?;
        Ok(Self { _undo: undo })
    }
}

/// An unused zram device, and whether it was made for us.
fn device() -> Result<(String, bool)> {
    // Reading it makes a device (Documentation/admin-guide/blockdev/zram.rst).
    if let Ok(number) = fs::read_to_string("/sys/class/zram-control/hot_add") {
        return Ok((format!("zram{}", number.trim()), true));
    }
    let unused = |name: &String| {
        let size = fs::read_to_string(Path::new("/sys/block").join(name).join("disksize"));
        size.is_ok_and(|size| size.trim() == "0")
    };
    let names = (0..16).map(|number| format!("zram{number}"));
    let found = names.into_iter().find(unused);
    found
        .map(|name| (name, false))
        .ok_or_else(|| Error::Missing {
            what: "a zram device".into(),
            remedy: "modprobe zram".into(),
        })
}

fn stop(name: &str, added: bool) -> Result<()> {
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    let node = format!("/dev/{name}");
    if swaps
        .lines()
        .any(|line| line.split_whitespace().next() == Some(&node))
    {
        run(Command::new("swapoff").arg(&node))?;
    }
    write(&Path::new("/sys/block").join(name).join("reset"), "1")?;
    if added {
        let number = name.trim_start_matches("zram");
        write(&PathBuf::from("/sys/class/zram-control/hot_remove"), number)?;
    }
    Ok(())
}

fn write(path: &Path, value: &str) -> Result<()> {
    fs::write(path, value).map_err(Error::path("write", path))
}
