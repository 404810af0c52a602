//! The spin page of a running ship: found among mars' mappings, and read while it is written to.

use thiserror::Error;

use super::memory::ShipMemory;
use crate::hoon::{Memory as _, SPIN_HEAD_BYTES, SPIN_PAGE_BYTES, SpinError, SpinStack};
use crate::host::Roots;
use crate::host::process::{MapName, Process};

/// How its file's name begins (vere `pkg/noun/trace.c`, `u3t_sstack_init`). What follows differs
/// between versions.
const NAME: &str = "spin_stack_page_";
/// How often it is read again if it changed meanwhile.
const ATTEMPTS: usize = 3;

/// Why there is no page to read.
#[derive(Debug, Error)]
pub enum SpinPageError {
    /// Its mappings or its memory may not be read.
    #[error("the spin page of process {tgid} cannot be read: {reason}")]
    Unreadable {
        /// Process id of mars.
        tgid: u32,
        /// Why.
        reason: String,
    },
    /// It has none.
    #[error("process {tgid} has no spin page, which vere has from 4.0 on")]
    None {
        /// Process id of mars.
        tgid: u32,
    },
}

/// Where the page of a process is.
#[derive(Debug)]
pub struct SpinPage {
    memory: ShipMemory,
    address: u64,
}

impl SpinPage {
    /// Finds it. To be called once: the kernel lists all mappings for it, of which mars may have many.
    ///
    /// # Errors
    /// If there is none, or it may not be read.
    pub fn find(roots: &Roots, tgid: u32) -> Result<Self, SpinPageError> {
        let unreadable = |reason: String| SpinPageError::Unreadable { tgid, reason };
        let maps = Process::new(roots, tgid).maps();
        let maps = maps.map_err(|error| unreadable(error.to_string()))?;
        let page = maps.iter().find(|map| {
            let size = map.address.1 - map.address.0;
            let name = match &map.name {
                MapName::Path(path) => path.file_name().map(|name| name.to_string_lossy()),
                _ => None,
            };
            name.is_some_and(|name| name.starts_with(NAME))
                && map.offset == 0
                && size >= SPIN_PAGE_BYTES as u64
        });
        let address = page.ok_or(SpinPageError::None { tgid })?.address.0;
        let memory = ShipMemory::open(roots, tgid);
        Ok(Self {
            memory: memory.map_err(|error| unreadable(error.to_string()))?,
            address,
        })
    }

    /// The memory of the process.
    pub fn memory(&self) -> &ShipMemory {
        &self.memory
    }

    /// The labels that are on it.
    ///
    /// # Errors
    /// If it cannot be read, or changed again and again while it was.
    pub fn read(&self) -> Result<SpinStack, SpinError> {
        let mut found = Err(SpinError::Malformed);
        for _ in 0..ATTEMPTS {
            let before = self.head()?;
            let used = u32::from_le_bytes([before[0], before[1], before[2], before[3]]);
            let mut page = before.to_vec();
            // More than there can be is what parsing objects to.
            page.resize(
                SPIN_HEAD_BYTES + (used as usize).min(SPIN_PAGE_BYTES - SPIN_HEAD_BYTES),
                0,
            );
            let data = self.address + SPIN_HEAD_BYTES as u64;
            if !self.memory.read(data, &mut page[SPIN_HEAD_BYTES..]) {
                return Err(SpinError::Short);
            }
            found = SpinStack::parse(&page);
            if found.is_ok() && self.head()? == before {
                break;
            }
        }
        found
    }

    fn head(&self) -> Result<[u8; SPIN_HEAD_BYTES], SpinError> {
        let mut head = [0; SPIN_HEAD_BYTES];
        match self.memory.read(self.address, &mut head) {
            true => Ok(head),
            false => Err(SpinError::Short),
        }
    }
}
