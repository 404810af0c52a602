//! One block device as sysfs shows it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::host::kernel::chosen_word;
use crate::host::{ReadError, Reading, Roots, entry_names, read_text, read_value};

/// What a block device is, as far as the machine can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceClass {
    /// A local NVMe SSD.
    Nvme,
    /// An SSD behind SATA or SAS.
    Ssd,
    /// A spinning disk.
    HardDisk,
    /// An SD card or eMMC.
    Mmc,
    /// A disk that a hypervisor or a cloud provides: what is behind it cannot be seen from here,
    /// and what it says of itself (rotational or not) means nothing.
    Virtual,
    /// Memory (zram, ram disk).
    Memory,
    /// A disk that another machine provides (NBD, RBD, DRBD).
    Network,
    /// A file on another file system.
    Loop,
    /// Device mapper: LVM, dm-crypt, multipath.
    DeviceMapper,
    /// Software RAID.
    Raid,
    /// None of these.
    Other,
}

impl DeviceClass {
    /// Whether the device is made of others, which then decide how fast it is.
    pub fn is_stacked(self) -> bool {
        matches!(self, Self::Loop | Self::DeviceMapper | Self::Raid)
    }
}

/// One block device (a whole disk or a stacked device, never a partition).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockDevice {
    /// Kernel name, as in `/sys/block`.
    pub name: String,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// What it is.
    pub class: DeviceClass,
    /// What its maker, or the hypervisor, calls it.
    pub model: Option<String>,
    /// Whether it says that it spins. Virtual disks often do.
    pub rotational: Reading<bool>,
    /// I/O scheduler in use.
    pub scheduler: Reading<String>,
    /// I/O schedulers that the kernel offers for it.
    pub schedulers: Reading<Vec<String>>,
    /// Requests that its queue holds.
    pub queue_requests: Reading<u64>,
    /// Write cache: `write back` (a flush is needed for durability) or `write through`.
    pub write_cache: Reading<String>,
    /// For a loop device, its file.
    pub backing_file: Option<PathBuf>,
    /// The devices that it is made of, by number: slaves of device mapper and RAID.
    pub parts: Vec<(u32, u32)>,
}

/// Whether a disk takes bios as they are, without making requests of them: device mapper, RAID. Those with
/// requests have a directory of their queues (`blk_mq_sysfs_register`, `block/blk-mq-sysfs.c`).
pub fn takes_bios(roots: &Roots, major: u32, minor: u32) -> bool {
    let directory = roots.sys.join(format!("dev/block/{major}:{minor}"));
    directory.exists() && !directory.join("mq").exists()
}

/// Reads the disk that `major:minor` is, or is a partition of.
///
/// # Errors
/// When sysfs does not know the number, which is so for file systems without a disk.
pub fn device(roots: &Roots, major: u32, minor: u32) -> Result<BlockDevice, ReadError> {
    let by_number = roots.sys.join(format!("dev/block/{major}:{minor}"));
    let mut directory = by_number
        .canonicalize()
        .map_err(|error| ReadError::io(&by_number, error))?;
    // A partition's directory is inside its disk's.
    if directory.join("partition").exists() {
        directory.pop();
    }
    let name = directory
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .ok_or_else(|| ReadError::malformed(&by_number, "no device name"))?;
    let (major, minor) = number(&directory.join("dev"))?;
    let queue = directory.join("queue");
    let rotational: Reading<bool> = read_value::<u8>(&queue.join("rotational"))
        .map(|flag| flag != 0)
        .into();
    let model = model(&directory);
    Ok(BlockDevice {
        class: class(&name, &directory, model.as_deref(), rotational.known()),
        scheduler: chosen_word(&queue.join("scheduler")).into(),
        schedulers: read_text(&queue.join("scheduler"))
            .map(|text| words_without_brackets(&text))
            .into(),
        queue_requests: read_value(&queue.join("nr_requests")).into(),
        write_cache: read_text(&queue.join("write_cache"))
            .map(|text| text.trim().to_owned())
            .into(),
        backing_file: read_text(&directory.join("loop/backing_file"))
            .ok()
            .map(|text| PathBuf::from(text.trim_end_matches('\n'))),
        parts: parts(&directory)?,
        rotational,
        model,
        name,
        major,
        minor,
    })
}

/// Reads a `MAJ:MIN` file.
fn number(path: &Path) -> Result<(u32, u32), ReadError> {
    let text = read_text(path)?;
    text.trim()
        .split_once(':')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
        .ok_or_else(|| ReadError::malformed(path, text.trim()))
}

fn parts(directory: &Path) -> Result<Vec<(u32, u32)>, ReadError> {
    let slaves = directory.join("slaves");
    match entry_names(&slaves) {
        Ok(names) => names
            .iter()
            .map(|name| number(&slaves.join(name).join("dev")))
            .collect(),
        Err(error) if error.is_absent() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Maker and model, without the padding of SCSI strings.
fn model(directory: &Path) -> Option<String> {
    let read = |file: &str| {
        let text = read_text(&directory.join("device").join(file)).ok()?;
        let text = text.trim().to_owned();
        (!text.is_empty()).then_some(text)
    };
    match (read("vendor"), read("model")) {
        // virtio's vendor is a PCI number and SATA's is always "ATA": neither says anything.
        (Some(vendor), Some(model)) if vendor != "ATA" && !vendor.starts_with("0x") => {
            Some(format!("{vendor} {model}"))
        }
        (_, model) => model,
    }
}

/// Parts of model names by which hypervisors and clouds show themselves on SCSI and NVMe.
const VIRTUAL_MODELS: [&str; 12] = [
    "QEMU",
    "VMware",
    "VBOX",
    "Virtual",
    "Msft",
    "Xen",
    "BlockVolume",
    "PersistentDisk",
    "Amazon Elastic Block Store",
    "nvme_card-pd",
    "MSFT NVMe Accelerator",
    "DigitalOcean",
];

fn class(
    name: &str,
    directory: &Path,
    model: Option<&str>,
    rotational: Option<&bool>,
) -> DeviceClass {
    let is_virtual = model.is_some_and(|model| {
        VIRTUAL_MODELS
            .iter()
            .any(|marker| model.to_lowercase().contains(&marker.to_lowercase()))
    });
    let kind: String = name
        .chars()
        .take_while(|letter| letter.is_ascii_alphabetic())
        .collect();
    match kind.as_str() {
        "loop" => DeviceClass::Loop,
        "dm" => DeviceClass::DeviceMapper,
        "md" => DeviceClass::Raid,
        "zram" | "ram" => DeviceClass::Memory,
        "nbd" | "rbd" | "drbd" => DeviceClass::Network,
        "mmcblk" => DeviceClass::Mmc,
        _ if is_virtual || kind.starts_with("vd") || kind.starts_with("xvd") => {
            DeviceClass::Virtual
        }
        "nvme" => DeviceClass::Nvme,
        // SCSI over virtio is a hypervisor's, whatever the disk calls itself.
        _ if directory
            .components()
            .any(|part| part.as_os_str().to_string_lossy().starts_with("virtio")) =>
        {
            DeviceClass::Virtual
        }
        _ if kind.starts_with("sd") => match rotational {
            Some(true) => DeviceClass::HardDisk,
            Some(false) => DeviceClass::Ssd,
            None => DeviceClass::Other,
        },
        _ => DeviceClass::Other,
    }
}
/// `[mq-deadline] none` offers both.
fn words_without_brackets(text: &str) -> Vec<String> {
    let words = text.split_whitespace();
    words
        .map(|word| word.trim_matches(['[', ']']).to_owned())
        .collect()
}
