//! Mounts, the file system that a directory is on, and its free space.

use std::path::{Path, PathBuf};

use procfs_core::process::MountInfo;
use serde::{Deserialize, Serialize};

use super::process::Process;
use super::{ReadError, Roots, unescape_octal};

/// One line of mountinfo, decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Device of the file system: major, minor.
    pub device: (u32, u32),
    /// The directory of the file system that is mounted.
    pub root: PathBuf,
    /// Where it is mounted, as the process sees it.
    pub mount_point: PathBuf,
    /// Type of the file system, as `ext4`.
    pub fs_type: String,
    /// What is mounted: a device file for a disk.
    pub source: Option<String>,
    /// Options of the mount and of the file system, sorted, without repetition.
    pub options: Vec<String>,
}

impl Mount {
    fn from_mount_info(info: &MountInfo) -> Option<Self> {
        let (major, minor) = info.majmin.split_once(':')?;
        let shown = |(name, value): (&String, &Option<String>)| match value {
            Some(value) => format!("{name}={}", unescape_octal(value)),
            None => name.clone(),
        };
        let mut options: Vec<String> = info
            .mount_options
            .iter()
            .chain(&info.super_options)
            .map(shown)
            .collect();
        options.sort();
        options.dedup();
        Some(Self {
            device: (major.parse().ok()?, minor.parse().ok()?),
            root: unescape_octal(&info.root).into(),
            mount_point: unescape_octal(&info.mount_point.to_string_lossy()).into(),
            fs_type: info.fs_type.clone(),
            source: info.mount_source.as_deref().map(unescape_octal),
            options,
        })
    }

    /// The value of an option such as overlayfs' `upperdir`.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options
            .iter()
            .find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
    }
}

/// Mounts of a process, in the order of mountinfo: a later one hides an earlier one.
pub fn mounts(process: &Process) -> Result<Vec<Mount>, ReadError> {
    let infos = process.mounts()?;
    Ok(infos.0.iter().filter_map(Mount::from_mount_info).collect())
}

/// Mounts of this profiler.
pub fn own_mounts(roots: &Roots) -> Result<Vec<Mount>, ReadError> {
    mounts(&Process::own(roots))
}

/// The mount that `path` is on: the longest mount point above it, and of equal ones the last.
pub fn mount_of<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    mounts
        .iter()
        .filter(|mount| path.starts_with(&mount.mount_point))
        .max_by_key(|mount| mount.mount_point.components().count())
}

/// Room on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceFacts {
    /// Size of the file system.
    pub total_bytes: u64,
    /// What a process without privileges may still write; what is kept for root is not in it.
    pub available_bytes: u64,
    /// All that is free, with what is kept for root.
    pub free_bytes: u64,
    /// Files that can still be made; 0 of 0 on file systems without a fixed number.
    pub free_inodes: u64,
    /// Largest number of files.
    pub total_inodes: u64,
}

impl SpaceFacts {
    /// Share of the space in use, of what is not kept for root, as `df` counts it: 0 to 1.
    pub fn used_ratio(&self) -> f64 {
        let used = self.total_bytes.saturating_sub(self.free_bytes);
        let usable = used + self.available_bytes;
        if usable == 0 {
            return 0.0;
        }
        used as f64 / usable as f64
    }
}

/// Asks for the room on the file system that `path` is on.
pub fn space(path: &Path) -> Result<SpaceFacts, ReadError> {
    let answer = rustix::fs::statvfs(path).map_err(|error| ReadError::io(path, error.into()))?;
    Ok(SpaceFacts {
        total_bytes: answer.f_blocks * answer.f_frsize,
        available_bytes: answer.f_bavail * answer.f_frsize,
        free_bytes: answer.f_bfree * answer.f_frsize,
        free_inodes: answer.f_favail,
        total_inodes: answer.f_files,
    })
}

#[cfg(test)]
mod tests {
    use procfs_core::FromRead;
    use procfs_core::process::MountInfos;

    use super::*;

    const MOUNTINFO: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
40 27 8:17 /piers /mnt/my\\040disk rw,noatime shared:3 - xfs /dev/sdb1 rw,attr2
41 27 0:50 / /var/lib/x rw - overlay overlay rw,lowerdir=/l1:/l2,upperdir=/data/up,workdir=/w
42 27 8:33 / /mnt/my\\040disk rw,relatime - ext4 /dev/sdc1 rw
";

    fn parsed() -> Vec<Mount> {
        let infos = MountInfos::from_read(MOUNTINFO.as_bytes()).unwrap();
        infos.0.iter().filter_map(Mount::from_mount_info).collect()
    }

    #[test]
    fn the_longest_and_last_mount_holds_a_path() {
        let mounts = parsed();
        let at = |path: &str| mount_of(&mounts, Path::new(path)).unwrap();
        assert_eq!(at("/home/zod").device, (254, 0));
        assert_eq!(at("/home/zod").options, ["discard", "relatime", "rw"]);
        assert_eq!(at("/mnt/my disk/zod").device, (8, 33));
        assert_eq!(at("/mnt/my disks").device, (254, 0));
        assert_eq!(at("/var/lib/x/zod").option("upperdir"), Some("/data/up"));
        assert_eq!(mounts[2].root, Path::new("/piers"));
    }

    #[test]
    fn space_is_counted_as_df_does() {
        let space = SpaceFacts {
            total_bytes: 100,
            available_bytes: 15,
            free_bytes: 20,
            free_inodes: 0,
            total_inodes: 0,
        };
        assert!((space.used_ratio() - 80.0 / 95.0).abs() < 1e-12);
    }
}
