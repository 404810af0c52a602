//! Memory of a ship's process, by address.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::hoon::Memory;
use crate::host::Roots;
use crate::host::process::Process;

/// The memory of one process, which goes on as it does: it is neither stopped nor attached to.
#[derive(Debug)]
pub struct ShipMemory {
    file: File,
}

impl ShipMemory {
    /// Opens it.
    ///
    /// # Errors
    /// If the process has ended, or this one may not read it.
    pub fn open(roots: &Roots, tgid: u32) -> io::Result<Self> {
        let file = File::open(Process::new(roots, tgid).path("mem"))?;
        Ok(Self { file })
    }
}

impl Memory for ShipMemory {
    fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        self.file.read_exact_at(bytes, address).is_ok()
    }
}
