//! From a directory to the disks that it is stored on.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{BlockDevice, device};
use crate::host::filesystem::{Mount, SpaceFacts, mount_of, mounts, space};
use crate::host::process::Process;
use crate::host::{ReadError, Reading, Roots};

/// Devices stacked deeper than this are not followed: no real stack is, and a loop in sysfs must
/// not become one here.
const MAX_DEPTH: usize = 8;

/// File systems that live in memory.
const MEMORY_FILESYSTEMS: [&str; 3] = ["tmpfs", "ramfs", "devtmpfs"];

/// File systems whose disk is another machine's.
const NETWORK_FILESYSTEMS: [&str; 9] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "ceph",
    "9p",
    "virtiofs",
    "glusterfs",
    "fuse.sshfs",
];

/// What a directory's bytes end up on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backing {
    /// Block devices, from the one that the file system is on down to the disks.
    Devices(Vec<BlockDevice>),
    /// Memory: nothing is durable.
    Memory,
    /// Another machine, or the hypervisor's own file system.
    Network,
    /// It could not be told.
    Unknown {
        /// Why.
        reason: String,
    },
}

impl Backing {
    /// All of them, the one that the file system is on first; none where there are none.
    pub fn devices(&self) -> &[BlockDevice] {
        match self {
            Self::Devices(devices) => devices,
            _ => &[],
        }
    }

    /// The disks at the bottom, which decide how fast the storage is.
    pub fn disks(&self) -> impl Iterator<Item = &BlockDevice> {
        self.devices()
            .iter()
            .filter(|device| !device.class.is_stacked())
    }
}

/// The file system and the storage that a directory is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageFacts {
    /// Its mount; `None` where mountinfo could not be read.
    pub mount: Reading<Mount>,
    /// What is below the file system.
    pub backing: Backing,
    /// Room on it.
    pub space: Reading<SpaceFacts>,
}

/// Finds the storage of `directory`. `inside` is the same directory as `owner` sees it: its mounts
/// tell the file system, as the host's may not show a container's.
pub fn storage(roots: &Roots, owner: &Process, directory: &Path, inside: &Path) -> StorageFacts {
    let mount: Reading<Mount> = mounts(owner)
        .and_then(|all| {
            mount_of(&all, inside).cloned().ok_or_else(|| {
                ReadError::malformed(
                    &owner.path("mountinfo"),
                    format!("no mount holds {}", inside.display()),
                )
            })
        })
        .into();
    let number = std::fs::metadata(directory)
        .map(|metadata| {
            (
                rustix::fs::major(metadata.dev()),
                rustix::fs::minor(metadata.dev()),
            )
        })
        .map_err(|error| ReadError::io(directory, error));
    StorageFacts {
        backing: backing(roots, mount.known(), number),
        mount,
        space: space(directory).into(),
    }
}

fn backing(roots: &Roots, mount: Option<&Mount>, number: Result<(u32, u32), ReadError>) -> Backing {
    let fs_type = mount.map_or("", |mount| mount.fs_type.as_str());
    if MEMORY_FILESYSTEMS.contains(&fs_type) {
        return Backing::Memory;
    }
    if NETWORK_FILESYSTEMS.contains(&fs_type) {
        return Backing::Network;
    }
    let number = match number {
        // Major 0 is a number made up for a file system that has no device of its own (btrfs,
        // overlayfs, zfs): the mount's source or upper directory leads on.
        Ok((0, _)) => match mount.map(|mount| source_number(roots, mount)) {
            Some(Ok(number)) => number,
            Some(Err(reason)) => return Backing::Unknown { reason },
            None => {
                return Backing::Unknown {
                    reason: "its mount could not be read".to_owned(),
                };
            }
        },
        Ok(number) => number,
        Err(error) => {
            return Backing::Unknown {
                reason: error.to_string(),
            };
        }
    };
    let mut devices = Vec::new();
    match collect(roots, number, 0, &mut devices) {
        Ok(()) => Backing::Devices(devices),
        Err(error) => Backing::Unknown {
            reason: error.to_string(),
        },
    }
}

/// Number of the device behind a file system without a number of its own.
fn source_number(roots: &Roots, mount: &Mount) -> Result<(u32, u32), String> {
    let read = |path: &Path, number: fn(&std::fs::Metadata) -> u64| {
        std::fs::metadata(path)
            .map(|metadata| number(&metadata))
            .map_err(|error| ReadError::io(path, error).to_string())
    };
    let raw = if mount.fs_type == "overlay" {
        let upper = mount
            .option("upperdir")
            .ok_or("the overlay cannot be written to, it has no upper directory")?;
        read(&roots.host_path(Path::new(upper)), MetadataExt::dev)?
    } else {
        match mount
            .source
            .as_deref()
            .filter(|source| source.starts_with('/'))
        {
            Some(source) => read(&roots.host_path(Path::new(source)), MetadataExt::rdev)?,
            None => return Err(format!("{} does not show its disks", mount.fs_type)),
        }
    };
    match (rustix::fs::major(raw), rustix::fs::minor(raw)) {
        (0, _) => Err(format!("{} does not show its disks", mount.fs_type)),
        number => Ok(number),
    }
}

/// Appends a device and everything below it, each once, upper ones first.
fn collect(
    roots: &Roots,
    (major, minor): (u32, u32),
    depth: usize,
    devices: &mut Vec<BlockDevice>,
) -> Result<(), ReadError> {
    let device = device(roots, major, minor)?;
    let seen = devices.iter().any(|known| known.name == device.name);
    if seen || depth >= MAX_DEPTH {
        return Ok(());
    }
    let mut below = device.parts.clone();
    if let Some(file) = &device.backing_file {
        let path = roots.host_path(file);
        // A file that was deleted, or is of another mount namespace, leads no further.
        if let Ok(metadata) = std::fs::metadata(&path) {
            below.push((
                rustix::fs::major(metadata.dev()),
                rustix::fs::minor(metadata.dev()),
            ));
        }
    }
    devices.push(device);
    below
        .into_iter()
        .filter(|(major, _)| *major != 0)
        .try_for_each(|number| collect(roots, number, depth + 1, devices))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::DeviceClass;
    use super::*;

    /// A small sysfs: `vda` with partition `vda1`; `sda` (SSD) and `sdb` (HDD) under `md0`, and
    /// `dm-0` (LVM) on `md0`; `loop0`.
    fn sysfs() -> (tempfile::TempDir, Roots) {
        let root = tempfile::tempdir().unwrap();
        let roots = Roots::under(root.path());
        let put = |path: &str, text: &str| {
            let path = root.path().join("sys").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let known = |number: &str, directory: &str| {
            let links = root.path().join("sys/dev/block");
            std::fs::create_dir_all(&links).unwrap();
            symlink(format!("../../devices/{directory}"), links.join(number)).unwrap();
        };
        for (name, number, rotational) in [
            ("pci0/virtio3/block/vda", "254:0", "1"),
            ("pci0/ata1/block/sda", "8:0", "0"),
            ("pci0/ata2/block/sdb", "8:16", "1"),
            ("virtual/block/md0", "9:0", "0"),
            ("virtual/block/dm-0", "253:0", "0"),
            ("virtual/block/loop0", "7:0", "1"),
        ] {
            put(&format!("devices/{name}/dev"), &format!("{number}\n"));
            put(&format!("devices/{name}/queue/rotational"), rotational);
            put(
                &format!("devices/{name}/queue/scheduler"),
                "none [mq-deadline] kyber\n",
            );
            known(number, name);
        }
        put("devices/pci0/virtio3/block/vda/vda1/partition", "1\n");
        put("devices/pci0/virtio3/block/vda/vda1/dev", "254:1\n");
        known("254:1", "pci0/virtio3/block/vda/vda1");
        put(
            "devices/pci0/ata1/block/sda/device/model",
            "Samsung SSD 870 \n",
        );
        put("devices/pci0/ata1/block/sda/device/vendor", "ATA     \n");
        for (upper, lower) in [
            ("md0", "pci0/ata1/block/sda"),
            ("md0", "pci0/ata2/block/sdb"),
            ("dm-0", "virtual/block/md0"),
        ] {
            let slaves = root
                .path()
                .join(format!("sys/devices/virtual/block/{upper}/slaves"));
            std::fs::create_dir_all(&slaves).unwrap();
            let name = Path::new(lower).file_name().unwrap();
            symlink(roots.sys.join("devices").join(lower), slaves.join(name)).unwrap();
        }
        (root, roots)
    }

    fn stack(roots: &Roots, number: (u32, u32)) -> Vec<(String, DeviceClass)> {
        let mut devices = Vec::new();
        collect(roots, number, 0, &mut devices).unwrap();
        devices
            .into_iter()
            .map(|device| (device.name, device.class))
            .collect()
    }

    fn named(name: &str, class: DeviceClass) -> (String, DeviceClass) {
        (name.to_owned(), class)
    }

    #[test]
    fn a_partition_leads_to_its_disk_and_virtual_disks_have_no_class() {
        let (_root, roots) = sysfs();
        assert_eq!(
            stack(&roots, (254, 1)),
            [named("vda", DeviceClass::Virtual)]
        );
        let disk = device(&roots, 254, 1).unwrap();
        assert_eq!((disk.major, disk.minor), (254, 0));
        assert_eq!(disk.scheduler, Reading::Known("mq-deadline".to_owned()));
        assert!(
            disk.write_cache
                .reason()
                .unwrap()
                .contains("write_cache does not exist")
        );
    }

    #[test]
    fn stacked_devices_lead_to_every_disk_below() {
        let (_root, roots) = sysfs();
        assert_eq!(
            stack(&roots, (253, 0)),
            [
                named("dm-0", DeviceClass::DeviceMapper),
                named("md0", DeviceClass::Raid),
                named("sda", DeviceClass::Ssd),
                named("sdb", DeviceClass::HardDisk),
            ]
        );
        assert_eq!(
            device(&roots, 8, 0).unwrap().model.as_deref(),
            Some("Samsung SSD 870")
        );
    }

    #[test]
    fn a_loop_device_leads_to_the_disk_of_its_file() {
        let (root, roots) = sysfs();
        let image = root.path().join("image.ext4");
        std::fs::write(&image, "").unwrap();
        let own = std::fs::metadata(&image).unwrap().dev();
        let number = format!("{}:{}", rustix::fs::major(own), rustix::fs::minor(own));
        let sys = &roots.sys;
        std::fs::create_dir_all(sys.join("devices/virtual/block/loop0/loop")).unwrap();
        std::fs::write(
            sys.join("devices/virtual/block/loop0/loop/backing_file"),
            "/image.ext4\n",
        )
        .unwrap();
        if !sys.join("dev/block").join(&number).exists() {
            symlink(
                "../../devices/pci0/ata2/block/sdb",
                sys.join("dev/block").join(&number),
            )
            .unwrap();
        }
        let found = stack(&roots, (7, 0));
        assert_eq!(found[0], named("loop0", DeviceClass::Loop));
        // The temporary directory of the test may itself be in memory, which has no device.
        assert_eq!(found.len(), if rustix::fs::major(own) == 0 { 1 } else { 2 });
    }

    #[test]
    fn file_systems_without_a_disk_say_so() {
        let (_root, roots) = sysfs();
        let mount = |fs_type: &str, source: Option<&str>| Mount {
            device: (0, 40),
            root: "/".into(),
            mount_point: "/".into(),
            fs_type: fs_type.to_owned(),
            source: source.map(str::to_owned),
            options: Vec::new(),
        };
        let of = |mount: &Mount| backing(&roots, Some(mount), Ok((0, 40)));
        assert_eq!(of(&mount("tmpfs", None)), Backing::Memory);
        assert_eq!(of(&mount("nfs4", Some("server:/x"))), Backing::Network);
        for mount in [
            mount("zfs", Some("tank/zod")),
            mount("overlay", Some("overlay")),
        ] {
            assert!(matches!(of(&mount), Backing::Unknown { .. }), "{mount:?}");
        }
    }
}
