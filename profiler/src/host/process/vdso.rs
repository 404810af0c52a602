//! The code that the kernel maps into every process, such as `clock_gettime`: an executable that no file
//! on disk holds (`vdso(7)`).

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{MemfdFlags, memfd_create};

use super::{MapName, Process};

/// Largest that is read; those of Linux 6.18 have two to four pages.
const MAX_BYTES: u64 = 64 << 10;

impl Process {
    /// A copy of this process' vDSO if it has `length` bytes. That of another process with as many is the
    /// same: the kernel has one for each kind of system call. Nothing if it cannot be read.
    pub(super) fn vdso_of_length(&self, length: u64) -> Option<File> {
        let maps = self.maps().ok()?;
        let map = maps.iter().find(|map| map.name == MapName::Vdso)?;
        let (start, end) = map.address;
        if end - start != length || length > MAX_BYTES {
            return None;
        }
        let mut image = vec![0; usize::try_from(length).ok()?];
        let memory = File::open(self.path("mem")).ok()?;
        memory.read_exact_at(&mut image, start).ok()?;
        let mut file = File::from(memfd_create("vdso", MemfdFlags::CLOEXEC).ok()?);
        file.write_all(&image).ok()?;
        Some(file)
    }
}
