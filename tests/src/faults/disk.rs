//! Disk faults: a file system on a loop device that can be throttled or filled, while the machine's own
//! disk stays as it is.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate, major, minor};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use super::Setting;
use super::cgroup::{Cgroup, Controller, Version};
use crate::error::run;
use crate::process::poll_until;
use crate::scratch::{self, Scratch};
use crate::undo::Undo;
use crate::{Error, Result};

/// How long a file system may stay busy while its last user ends.
const UNMOUNT_LIMIT: Duration = Duration::from_secs(20);

/// An ext4 file system of its own on a loop device. Its image is sparse: it takes what is written.
#[derive(Debug)]
pub struct LoopDisk {
    mount_point: PathBuf,
    backing: String,
    _undo: Undo,
    _scratch: Scratch,
}

impl LoopDisk {
    /// Makes and mounts one of `bytes`, whose image lies on this machine's disk.
    pub fn new(bytes: u64) -> Result<Self> {
        // Direct, so that what the ship writes reaches the image's disk in the ship's name and is
        // throttled there; through the page cache it would not be.
        Self::make(Scratch::new("disk")?, bytes, "on")
    }

    /// The same with its image in memory: what else this machine writes does not hold it up.
    pub fn in_memory(bytes: u64) -> Result<Self> {
        Self::make(Scratch::in_memory("disk")?, bytes, "off")
    }

    fn make(scratch: Scratch, bytes: u64, direct_io: &str) -> Result<Self> {
        let image = scratch.path().join("image");
        let mount_point = scratch.path().join("mnt");
        fs::create_dir(&mount_point).map_err(Error::path("create", &mount_point))?;
        File::create_new(&image)
            .and_then(|file| file.set_len(bytes))
            .map_err(Error::path("create", &image))?;
        // No blocks kept for root, who fills it; no initialisation in the background, which would be
        // I/O that nobody asked for.
        run(Command::new("mkfs.ext4")
            .args([
                "-q",
                "-F",
                "-m",
                "0",
                "-E",
                "lazy_itable_init=0,lazy_journal_init=0",
            ])
            .arg(&image))?;
        let device = run(Command::new("losetup")
            .args(["--find", "--show"])
            .arg(format!("--direct-io={direct_io}"))
            .arg(&image))?;
        let device = String::from_utf8_lossy(&device).trim().to_owned();
        let mounted = run(Command::new("mount").arg(&device).arg(&mount_point));
        // While it is in use this only marks it: the kernel frees it when the file system goes.
        run(Command::new("losetup").args(["--detach", &device]))?;
        mounted?;
        let mounted = mount_point.clone();
        let undo = Undo::new(format!("unmount {}", mount_point.display()), move || {
            unmount_when_free(&mounted)
        });
        let device_of = |path: &Path| {
            let metadata = fs::metadata(path).map_err(Error::path("read", path))?;
            Ok::<_, Error>(metadata.dev())
        };
        let backing = match whole_disk(device_of(&image)?) {
            Some(disk) => disk,
            None => number(device_of(&mount_point)?),
        };
        Ok(Self {
            mount_point,
            backing,
            _undo: undo,
            _scratch: scratch,
        })
    }

    /// Lets the kernel read no page before it is asked for, so that each one is a fault.
    pub fn without_read_ahead(&self) -> Result<Setting> {
        self.read_ahead(0)
    }

    /// Lets the kernel read so much ahead. By itself it takes as much on a loop device as fits two requests
    /// of the disk below: from 128 KiB to megabytes.
    pub fn read_ahead(&self, kib: u32) -> Result<Setting> {
        let device =
            fs::metadata(&self.mount_point).map_err(Error::path("read", &self.mount_point))?;
        let number = number(device.dev());
        let path = format!("/sys/dev/block/{number}/queue/read_ahead_kb");
        Setting::set(path, &kib.to_string())
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount_point
    }

    /// The disk that holds the image, `MAJOR:MINOR` as control groups name it: what throttles it
    /// makes the loop device slow to answer, as a slow disk is. (Throttled itself, the loop device
    /// would be held back before it.) The loop device where the image's disk has no number.
    pub fn backing(&self) -> &str {
        &self.backing
    }
}

fn number(device: u64) -> String {
    format!("{}:{}", major(device), minor(device))
}

/// The disk that a file system's device is, or is a partition of. Control groups take no partition.
fn whole_disk(device: u64) -> Option<String> {
    let directory = PathBuf::from(format!("/sys/dev/block/{}", number(device)));
    let disk = if directory.join("partition").exists() {
        directory.join("../dev")
    } else {
        directory.join("dev")
    };
    // Resolved by the kernel: `..` of a link leads from where it points.
    Some(fs::read_to_string(disk).ok()?.trim().to_owned())
}

fn unmount_when_free(path: &Path) -> Result<()> {
    poll_until(
        &format!("{} to be free", path.display()),
        UNMOUNT_LIMIT,
        || match unmount(path, UnmountFlags::empty()) {
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(Ok(())),
            Err(Errno::BUSY) => Ok(Err("a process still has a file open there".into())),
            Err(errno) => Err(Error::path("unmount", path)(errno.into())),
        },
    )
}

/// Unmounts the disks whose maker is gone.
pub(crate) fn unmount_stale() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for path in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
        if scratch::is_stale(path) {
            unmount_when_free(Path::new(path))?;
        }
    }
    Ok(())
}

/// I/O operations per second that a device may do for the processes concerned; `None` is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IopsLimits {
    /// Reads per second.
    pub read: Option<u32>,
    /// Writes per second. A sync counts as one more, besides what it writes.
    pub write: Option<u32>,
}

/// Makes a disk slow for given processes, by the block throttling of control groups.
///
/// Version 1 throttles what a process submits itself, version 2 also the writeback of its pages. A
/// ship's commit submits its own writes, so both slow it.
#[derive(Debug)]
pub struct SlowDisk {
    group: Cgroup,
}

impl SlowDisk {
    /// Throttles `disk` for `pids` and their later children, after having checked that it works.
    pub fn start(disk: &LoopDisk, limits: IopsLimits, pids: &[u32]) -> Result<Self> {
        let group = Cgroup::create(Controller::Io, "slow-disk")?;
        let device = disk.backing();
        match group.version() {
            Version::V1 => {
                for (file, iops) in [
                    ("blkio.throttle.read_iops_device", limits.read),
                    ("blkio.throttle.write_iops_device", limits.write),
                ] {
                    if let Some(iops) = iops {
                        group.write(file, &format!("{device} {iops}"))?;
                    }
                }
            }
            Version::V2 => {
                let text = |iops: Option<u32>| iops.map_or("max".into(), |iops| iops.to_string());
                let (read, write) = (text(limits.read), text(limits.write));
                group.write("io.max", &format!("{device} riops={read} wiops={write}"))?;
            }
        }
        let slow = Self { group };
        slow.check(disk, limits)?;
        pids.iter().try_for_each(|pid| slow.add(*pid))?;
        Ok(slow)
    }

    /// Lets the limits hold for one more process.
    pub fn add(&self, pid: u32) -> Result<()> {
        self.group.add(pid)
    }

    /// Times synchronous I/O inside the group. The kernel lets a burst through first, so that half of
    /// the time that the limit asks for is enough to call it effective.
    fn check(&self, disk: &LoopDisk, limits: IopsLimits) -> Result<()> {
        let probe = disk.path().join("throttle-probe");
        let target = format!("of={}", probe.display());
        let source = format!("if={}", probe.display());
        let cases = [
            (
                limits.write,
                ["if=/dev/zero", &target, "oflag=dsync", "conv=notrunc"],
            ),
            (
                limits.read,
                [&source, "of=/dev/null", "iflag=direct", "conv=notrunc"],
            ),
        ];
        // Enough for either case to read back what was written, at half a second each.
        let count_of = |iops: u32| (iops / 2).max(4);
        let blocks = limits.read.map_or(1, count_of);
        run(&mut dd(blocks, &["if=/dev/zero", &target, "conv=fsync"]))?;
        for (iops, arguments) in cases {
            let Some(iops) = iops else { continue };
            let count = count_of(iops);
            let bare = time(|| run(&mut dd(count, &arguments)))?;
            let inside = time(|| run(&mut self.entered(&dd(count, &arguments))))?;
            let expected = Duration::from_secs_f64(f64::from(count) / f64::from(iops.max(1)));
            if inside < expected / 2 {
                return Err(Error::Ineffective(format!(
                    "{count} synchronous operations at {iops} a second took {inside:?} where at \
                     least {:?} was expected ({bare:?} without the limit); this kernel does not \
                     throttle {} for {}",
                    expected / 2,
                    disk.backing(),
                    self.group.path().display(),
                )));
            }
        }
        fs::remove_file(&probe).map_err(Error::path("remove", &probe))
    }

    /// The command, run by a shell that enters the group first.
    fn entered(&self, command: &Command) -> Command {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "echo $$ > \"$0\" && exec \"$@\""])
            .arg(self.group.path().join("cgroup.procs"))
            .arg(command.get_program())
            .args(command.get_args());
        shell
    }
}

fn dd(count: u32, arguments: &[&str]) -> Command {
    let mut command = Command::new("dd");
    command
        .args(["bs=4k", "status=none"])
        .arg(format!("count={count}"))
        .args(arguments);
    command
}

fn time<T>(action: impl FnOnce() -> Result<T>) -> Result<Duration> {
    let start = Instant::now();
    action()?;
    Ok(start.elapsed())
}

/// A disk with hardly any space left. Dropping it frees the space again.
#[derive(Debug)]
pub struct FullDisk {
    disk: LoopDisk,
    filler: PathBuf,
}

impl FullDisk {
    /// Makes a disk of `bytes`; everything is free until [`FullDisk::fill`].
    pub fn new(bytes: u64) -> Result<Self> {
        let disk = LoopDisk::new(bytes)?;
        let filler = disk.path().join("filler");
        Ok(Self { disk, filler })
    }

    /// The disk itself.
    pub fn disk(&self) -> &LoopDisk {
        &self.disk
    }

    /// Takes the free space but for about `left_bytes`.
    pub fn fill(&self, left_bytes: u64) -> Result<()> {
        let path = self.disk.path();
        let failed = |errno: Errno| Error::path("fill", path)(errno.into());
        let space = rustix::fs::statvfs(path).map_err(failed)?;
        let taken = (space.f_bavail * space.f_frsize).saturating_sub(left_bytes);
        let file = File::create(&self.filler).map_err(Error::path("create", &self.filler))?;
        fallocate(&file, FallocateFlags::empty(), 0, taken).map_err(failed)
    }

    /// Gives the space back.
    pub fn empty(&self) -> Result<()> {
        fs::remove_file(&self.filler).map_err(Error::path("remove", &self.filler))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate;
    use crate::ship::ShipOptions;

    const MIB: u64 = 1 << 20;

    #[test]
    fn slow_disk_slows_and_leaves_nothing() {
        let Some(_live) = gate::need_root() else {
            return;
        };
        let disk = LoopDisk::new(64 * MIB).unwrap();
        let limits = IopsLimits {
            read: Some(40),
            write: Some(20),
        };
        let slow = SlowDisk::start(&disk, limits, &[]).unwrap();
        let (group, mount_point) = (slow.group.path().to_owned(), disk.path().to_owned());
        assert!(group.exists());
        drop(slow);
        drop(disk);
        assert!(!group.exists());
        assert!(!mount_point.exists());
        assert!(
            !fs::read_to_string("/proc/self/mounts")
                .unwrap()
                .contains("harness-0-disk")
        );
    }

    #[test]
    fn slow_disk_slows_a_ship() {
        let Some(_live) = gate::need_root() else {
            return;
        };
        let disk = LoopDisk::new(256 * MIB).unwrap();
        let options = ShipOptions {
            seconds: Some(6),
            ..ShipOptions::default()
        };
        let mut ship = options.start_in(disk.path()).unwrap();
        let limits = IopsLimits {
            read: None,
            write: Some(40),
        };
        let slow = SlowDisk::start(&disk, limits, &ship.pids()).unwrap();
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let slow_ktime_ns = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
        ship.wait(Duration::from_secs(60)).unwrap();
        drop(slow);
        let mut syncs_ns: Vec<u64> = ship
            .mars_truth()
            .unwrap()
            .iter()
            .filter_map(|line| {
                let start = line["data_sync_start_ktime_ns"].as_u64()?;
                let end = line["data_sync_end_ktime_ns"].as_u64()?;
                (start > slow_ktime_ns).then(|| end - start)
            })
            .collect();
        syncs_ns.sort_unstable();
        // One operation takes 1/40 s, and a sync is at least one; but the kernel lets a burst
        // through first.
        let upper_quartile_ns = syncs_ns[syncs_ns.len() * 3 / 4];
        assert!(upper_quartile_ns > 20_000_000, "{syncs_ns:?}");
    }

    #[test]
    fn full_disk_is_full_until_emptied() {
        let Some(_live) = gate::need_root() else {
            return;
        };
        let full = FullDisk::new(32 * MIB).unwrap();
        full.fill(64 << 10).unwrap();
        let path = full.disk().path().join("file");
        let error = fs::write(&path, vec![1; MIB as usize]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        full.empty().unwrap();
        fs::write(&path, vec![1; MIB as usize]).unwrap();
    }
}
