//! The ship's block I/O by file: what its own threads queued, and what others wrote for it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use profiler_common::writeback::{
    FILE_READ, FILE_WRITTEN, File, FileIo, FileKey, METADATA, NO_DATA, NO_FILE,
};
use serde::Serialize;

use crate::model::Capture;

/// I/O of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FileSums {
    /// How many bios.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Time from queued to issued, all added up.
    pub queue_ns: u64,
    /// Time from issued to done, all added up.
    pub device_ns: u64,
    /// Share of the time in which the device was busy.
    pub busy_ns: u64,
}

impl FileSums {
    fn add(&mut self, io: &FileIo) {
        for (to, from) in [
            (&mut self.count, io.count),
            (&mut self.bytes, io.bytes),
            (&mut self.queue_ns, io.queue_ns),
            (&mut self.device_ns, io.device_ns),
            (&mut self.busy_ns, io.busy_ns),
        ] {
            *to = to.saturating_add(from);
        }
    }
}

/// The I/O of one file on one device. Files of the same name in directories of the same name count
/// together: a snapshot makes its files anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSummary {
    /// Device, `major << 20 | minor`.
    pub dev: u32,
    /// Its directory and name, or what it is instead of a file.
    pub name: String,
    /// What was read.
    pub read: FileSums,
    /// What the ship's threads wrote themselves.
    pub written: FileSums,
    /// What others wrote for it: the kernel's write-back, the journal, a `sync`.
    pub written_back: FileSums,
}

impl FileSummary {
    /// Its share of the time in which the device was busy.
    pub fn busy_ns(&self) -> u64 {
        [self.read, self.written, self.written_back]
            .iter()
            .fold(0, |sum, of| sum.saturating_add(of.busy_ns))
    }
}

/// Sums I/O up by file, in the order of devices, the busiest file first.
pub fn summarise(capture: &Capture) -> Vec<FileSummary> {
    let totals = &capture.totals.writeback;
    let files: BTreeMap<(u32, u64, u32), &File> = totals
        .files
        .iter()
        .map(|(key, file)| (order(key), file))
        .collect();
    let mut summaries: BTreeMap<(u32, String), FileSummary> = BTreeMap::new();
    for (key, io) in &totals.io {
        let name = name(&key.file, &files);
        let summary = summaries
            .entry((key.dev, name.clone()))
            .or_insert_with(|| FileSummary {
                dev: key.dev,
                name,
                read: FileSums::default(),
                written: FileSums::default(),
                written_back: FileSums::default(),
            });
        let sums = match key.how {
            FILE_READ => &mut summary.read,
            FILE_WRITTEN => &mut summary.written,
            _ => &mut summary.written_back,
        };
        sums.add(io);
    }
    let mut summaries: Vec<FileSummary> = summaries.into_values().collect();
    summaries.sort_by(|a, b| {
        let key = |one: &FileSummary| (one.dev, Reverse(one.busy_ns()));
        key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
    });
    summaries
}

fn order(key: &FileKey) -> (u32, u64, u32) {
    (key.dev, key.ino, key.generation)
}

fn name(key: &FileKey, files: &BTreeMap<(u32, u64, u32), &File>) -> String {
    for (special, name) in [
        (NO_FILE, "no file (direct I/O, swap)"),
        (METADATA, "metadata of the file system"),
        (NO_DATA, "no data (flushes, discards)"),
    ] {
        if order(key) == order(&special) {
            return name.to_owned();
        }
    }
    let named = || files.get(&(key.dev, key.ino, 0));
    let Some(file) = files.get(&order(key)).or_else(named) else {
        return format!("a file (inode {})", key.ino);
    };
    match (text(&file.directory), text(&file.name)) {
        (_, name) if name.is_empty() => format!("a file (inode {})", key.ino),
        (directory, name) if directory.is_empty() => name,
        (directory, name) => format!("{directory}/{name}"),
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
