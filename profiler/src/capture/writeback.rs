//! Which files are whose, told to the programs and read back from them.

use std::collections::BTreeSet;

use aya::Ebpf;
use aya::maps::{HashMap, MapError};
use profiler_common::COMM_LEN;
use profiler_common::writeback::{File, FileIo, FileIoKey, FileKey, NAME_BYTES, Owner};

use super::btf::Btf;
use super::maps::{entries, map_error};
use super::probes::{ProbeError, Probes};
use crate::model::WritebackTotals;
use crate::ship::files::ShipFile;

/// What is missing without the tracepoint.
pub const WITHOUT: &str =
    "whose the pages are that the kernel writes back, of files not dirty before";

/// The tracepoint that this kernel has; the later one where it has neither.
pub fn tracepoint(kernel: &Btf) -> &'static str {
    // Renamed when pages became folios, in 5.18.
    let before = "writeback_dirty_page";
    match kernel.tracepoint(before) {
        Some(_) => before,
        None => "writeback_dirty_folio",
    }
}

impl Probes {
    /// Says whose files are. What the programs have learnt themselves stays.
    ///
    /// # Errors
    /// If the kernel refuses the map update for another reason than that the map is full: then the rest
    /// stays without an owner, until it becomes dirty.
    pub fn name_files(&mut self, files: &[ShipFile]) -> Result<(), ProbeError> {
        /// `BPF_NOEXIST` (`include/uapi/linux/bpf.h`).
        const NOEXIST: u64 = 1;
        let mut map: HashMap<_, FileKey, File> = self.map_mut("WRITEBACK_FILES")?;
        for file in files {
            let key = FileKey {
                dev: file.dev,
                generation: 0,
                ino: file.ino,
            };
            let value = File {
                owner: Owner {
                    tgid: file.tgid,
                    flags: 0,
                    comm: [0; COMM_LEN],
                },
                name: text(&file.name),
                directory: text(&file.directory),
            };
            match map.insert(key, value, NOEXIST) {
                Ok(()) => {}
                Err(MapError::SyscallError(error))
                    if matches!(
                        error.io_error.raw_os_error(),
                        Some(libc::EEXIST | libc::E2BIG)
                    ) => {}
                Err(error) => return Err(map_error("WRITEBACK_FILES", error)),
            }
        }
        Ok(())
    }
}

/// As the kernel's copy would be: cut, with a zero at the end.
fn text(name: &str) -> [u8; NAME_BYTES] {
    let mut bytes = [0; NAME_BYTES];
    for (to, from) in bytes[..NAME_BYTES - 1].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    bytes
}

/// Reads the sums by file, and the files that there are sums of.
pub(super) fn totals(ebpf: &Ebpf) -> Result<WritebackTotals, ProbeError> {
    let mut io: Vec<(FileIoKey, FileIo)> = entries(ebpf, "WRITEBACK_IO")?;
    io.sort_by_key(|(key, _)| file_io_order(key));
    // A file that was named is known without its generation.
    let seen: BTreeSet<(u32, u64)> = io
        .iter()
        .map(|(key, _)| (key.file.dev, key.file.ino))
        .collect();
    let mut files: Vec<(FileKey, File)> = entries(ebpf, "WRITEBACK_FILES")?;
    files.retain(|(key, _)| seen.contains(&(key.dev, key.ino)));
    files.sort_by_key(|(key, _)| file_order(key));
    Ok(WritebackTotals { files, io })
}

/// The order in which files are kept.
pub(super) fn file_order(key: &FileKey) -> (u32, u64, u32) {
    (key.dev, key.ino, key.generation)
}

/// The order in which their sums are kept.
pub(super) fn file_io_order(key: &FileIoKey) -> (u32, (u32, u64, u32), u32) {
    (key.dev, file_order(&key.file), key.how)
}
