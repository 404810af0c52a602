//! The ship's block I/O by file: what its own threads queued, and what others wrote for it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use profiler_common::writeback::{
    FILE_READ, FILE_WRITTEN, File, FileIo, FileKey, METADATA, NO_DATA, NO_FILE,
};
use serde::Serialize;

use crate::model::WritebackTotals;

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
pub fn summarise(totals: &WritebackTotals) -> Vec<FileSummary> {
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

#[cfg(test)]
mod tests {
    use profiler_common::COMM_LEN;
    use profiler_common::writeback::{FILE_WRITTEN_BACK, FileIoKey, NAME_BYTES, Owner};

    use super::*;

    fn bytes(name: &str) -> [u8; NAME_BYTES] {
        let mut bytes = [0; NAME_BYTES];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        bytes
    }

    fn key(ino: u64, generation: u32) -> FileKey {
        FileKey {
            dev: 1,
            generation,
            ino,
        }
    }

    fn file(ino: u64, generation: u32, directory: &str, name: &str) -> (FileKey, File) {
        let owner = Owner {
            tgid: 7,
            flags: 0,
            comm: [0; COMM_LEN],
        };
        let file = File {
            owner,
            name: bytes(name),
            directory: bytes(directory),
        };
        (key(ino, generation), file)
    }

    fn io(file: FileKey, how: u32, busy_ns: u64) -> (FileIoKey, FileIo) {
        let key = FileIoKey { file, dev: 8, how };
        let io = FileIo {
            count: 1,
            bytes: 4096,
            queue_ns: 1,
            device_ns: 2 * busy_ns,
            busy_ns,
        };
        (key, io)
    }

    #[test]
    fn files_made_anew_count_together_and_are_told_from_who_had_their_number_before() {
        let totals = WritebackTotals {
            files: vec![
                // Named by user space, which does not know the generation.
                file(20, 0, "0i0", "data.mdb"),
                file(30, 1, "chk", "control.bin"),
                // The next snapshot's other file got the same number.
                file(30, 2, "chk", "memory.bin"),
                file(31, 1, "chk", "memory.bin"),
            ],
            io: vec![
                io(NO_DATA, FILE_WRITTEN, 5),
                io(key(20, 9), FILE_WRITTEN, 10),
                io(key(20, 9), FILE_WRITTEN_BACK, 3),
                io(key(30, 1), FILE_WRITTEN, 1),
                io(key(30, 2), FILE_WRITTEN_BACK, 40),
                io(key(31, 1), FILE_WRITTEN_BACK, 60),
                io(key(99, 1), FILE_READ, 2),
            ],
        };
        let summaries = summarise(&totals);
        let seen: Vec<(&str, u64, u64, u64)> = summaries
            .iter()
            .map(|file| {
                let (read, written) = (file.read.bytes, file.written.bytes);
                (file.name.as_str(), read, written, file.written_back.bytes)
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("chk/memory.bin", 0, 0, 8192),
                ("0i0/data.mdb", 0, 4096, 4096),
                ("no data (flushes, discards)", 0, 4096, 0),
                ("a file (inode 99)", 4096, 0, 0),
                ("chk/control.bin", 0, 4096, 0),
            ]
        );
        assert_eq!(summaries[0].busy_ns(), 100);
    }
}
