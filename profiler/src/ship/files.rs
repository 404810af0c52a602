//! The files of a ship that may hold pages which are not written yet, by the numbers that the kernel
//! tells them apart by: those in its pier, and those that it has open for writing.
//!
//! What becomes dirty during a capture is learnt in the kernel; this is for what was dirty before.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{OFlags, major, minor};

use super::Ship;
use super::pier::PIER_MARK;
use crate::host::filesystem::{Mount, mount_of, mounts};
use crate::host::process::Process;
use crate::host::{Roots, read_text};

/// Most files that are named for one ship: a pier has some ten, and two for each epoch.
const MAX_FILES: usize = 512;
/// How deep below `.urb` they lie: `log/0i0/data.mdb`.
const MAX_DEPTH: usize = 2;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShipFile {
    /// Number of its file system, `major << 20 | minor`, as the kernel has it in `super_block.s_dev`.
    pub dev: u32,
    /// Its inode.
    pub ino: u64,
    /// Process that is taken to write it.
    pub tgid: u32,
    /// Its name.
    pub name: String,
    /// Name of the directory that it is in.
    pub directory: String,
}

/// Names a ship's files. What cannot be read is left out.
pub fn files(roots: &Roots, ship: &Ship) -> Vec<ShipFile> {
    let mut found = BTreeMap::new();
    let writer = ship.log_owner_tgid().unwrap_or(ship.king.tgid);
    let king = Process::new(roots, ship.king.tgid);
    let mounts = mounts(&king).unwrap_or_default();
    let mount = mount_of(&mounts, &ship.pier.inside);
    let top = ship.pier.reachable.join(PIER_MARK);
    walk(&top, 0, &mut |path, metadata| {
        add(&mut found, path, metadata, mount, writer);
    });
    for tgid in ship.tgids() {
        let process = Process::new(roots, tgid);
        for (fd, path) in process.open_files().unwrap_or_default() {
            if !open_for_writing(&process, fd) {
                continue;
            }
            // By way of the descriptor: the path may be of another mount namespace.
            if let Ok(metadata) = fs::metadata(process.path("fd").join(fd.to_string())) {
                add(&mut found, &path, &metadata, mount_of(&mounts, &path), tgid);
            }
        }
    }
    found.into_values().collect()
}

fn add(
    found: &mut BTreeMap<(u32, u64), ShipFile>,
    path: &Path,
    metadata: &Metadata,
    mount: Option<&Mount>,
    tgid: u32,
) {
    if !metadata.is_file() || found.len() >= MAX_FILES {
        return;
    }
    let Some(dev) = superblock_device(metadata.dev(), mount) else {
        return;
    };
    let text = |name: Option<&OsStr>| name.unwrap_or_default().to_string_lossy().into_owned();
    let file = ShipFile {
        dev,
        ino: metadata.ino(),
        tgid,
        name: text(path.file_name()),
        directory: text(path.parent().and_then(Path::file_name)),
    };
    found.insert((dev, metadata.ino()), file);
}

/// What the kernel calls the file system of a file that says `st_dev`. btrfs gives each subvolume a
/// number of its own there, and mountinfo the kernel's. Overlays are layers of other file systems, whose
/// inodes have the pages: nothing is said of those.
fn superblock_device(st_dev: u64, mount: Option<&Mount>) -> Option<u32> {
    let (major, minor) = match (major(st_dev), mount) {
        (0, Some(mount)) if mount.fs_type == "btrfs" => mount.device,
        (0, _) => return None,
        (number, _) => (number, minor(st_dev)),
    };
    Some(major << 20 | minor)
}

fn walk(directory: &Path, depth: usize, visit: &mut impl FnMut(&Path, &Metadata)) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.take(MAX_FILES).flatten() {
        let path = entry.path();
        // Links are not followed: a pier is another user's.
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() && depth < MAX_DEPTH => walk(&path, depth + 1, visit),
            Ok(metadata) => visit(&path, &metadata),
            Err(_) => {}
        }
    }
}

fn open_for_writing(process: &Process, fd: u32) -> bool {
    let text = read_text(&process.path("fdinfo").join(fd.to_string())).unwrap_or_default();
    let mut lines = text.lines();
    let flags = lines.find_map(|line| line.strip_prefix("flags:"));
    flags
        .and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok())
        .is_some_and(|flags| {
            OFlags::from_bits_retain(flags).intersects(OFlags::WRONLY | OFlags::RDWR)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(fs_type: &str) -> Mount {
        Mount {
            device: (0, 51),
            root: "/".into(),
            mount_point: "/".into(),
            fs_type: fs_type.to_owned(),
            source: None,
            options: Vec::new(),
        }
    }

    #[test]
    fn file_systems_without_a_number_of_their_own_are_asked_elsewhere_or_left_out() {
        let plain = rustix::fs::makedev(254, 1);
        let made_up = rustix::fs::makedev(0, 99);
        assert_eq!(
            superblock_device(plain, Some(&mount("ext4"))),
            Some(254 << 20 | 1)
        );
        assert_eq!(superblock_device(plain, None), Some(254 << 20 | 1));
        assert_eq!(superblock_device(made_up, Some(&mount("btrfs"))), Some(51));
        assert_eq!(superblock_device(made_up, Some(&mount("overlay"))), None);
        assert_eq!(superblock_device(made_up, None), None);
    }

    #[test]
    fn regular_files_are_found_to_a_depth_and_links_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("log/0i0/too/deep");
        fs::create_dir_all(&deep).unwrap();
        fs::write(root.path().join("log/0i0/data.mdb"), "x").unwrap();
        fs::write(root.path().join("log/0i0/too/file"), "x").unwrap();
        std::os::unix::fs::symlink("/etc", root.path().join("log/etc")).unwrap();
        let mut found = BTreeMap::new();
        walk(root.path(), 0, &mut |path, metadata| {
            add(&mut found, path, metadata, Some(&mount("btrfs")), 7);
        });
        // In memory, as a temporary directory may be, there is no number either; the mount gives it.
        let names: Vec<(&str, &str)> = found
            .values()
            .map(|file| (file.directory.as_str(), file.name.as_str()))
            .collect();
        assert_eq!(names, [("0i0", "data.mdb")]);
    }
}
