//! The spin stack: a page of shared memory in which Nock leaves labels of what it does (vere `trace.c`).

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use noun::Ship;
use rustix::mm::{MapFlags, ProtFlags, mmap};

use crate::loom::PAGE_BYTES;

/// The label that is always there.
const ROOT: &str = "root";
/// Offset of the top, and how many labels found no room.
const HEAD_BYTES: usize = 8;

/// The page's file, which is named with the king's process id in its own namespace since vere 4.5.
pub fn path(ship: Ship, king: u32) -> PathBuf {
    format!("/dev/shm/spin_stack_page_{ship}_{king}").into()
}

/// Maps the page, which stays mapped to the end of the process. Mars makes it, with only the root label.
pub fn map(ship: Ship, king: u32, create: bool) -> io::Result<Page> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .mode(0o666)
        .open(path(ship, king))?;
    if create {
        file.set_len(PAGE_BYTES as u64)?;
    }
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the kernel chooses the address, so no memory in use is replaced.
    let page = unsafe {
        mmap(
            std::ptr::null_mut(),
            PAGE_BYTES,
            protection,
            MapFlags::SHARED,
            &file,
            0,
        )?
    };
    let mut page = Page(page.cast());
    if create {
        page.write(0, &[0; HEAD_BYTES]);
        page.push(ROOT);
    }
    Ok(page)
}

/// The page as mars writes to it.
pub struct Page(*mut u8);

impl Page {
    /// Pushes a label: its letters, then its length (vere `trace.c`, `u3t_sstack_push`).
    pub fn push(&mut self, label: &str) {
        let length = label.len() as u32;
        let entry = [label.as_bytes(), &length.to_le_bytes()].concat();
        let used = self.used();
        if HEAD_BYTES + used + entry.len() <= PAGE_BYTES {
            self.write(HEAD_BYTES + used, &entry);
            self.set_used(used + entry.len());
        }
    }

    /// Pops all labels but the root's.
    pub fn clear(&mut self) {
        self.set_used(ROOT.len() + size_of::<u32>());
    }

    fn used(&self) -> usize {
        // SAFETY: the page is mapped to the end of the process, and aligned.
        unsafe { self.0.cast::<u32>().read_volatile() as usize }
    }

    fn set_used(&mut self, used: usize) {
        // SAFETY: as above; nobody else writes.
        unsafe { self.0.cast::<u32>().write_volatile(used as u32) };
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        for (offset, byte) in (at..PAGE_BYTES).zip(bytes) {
            // SAFETY: inside of the page, by the range.
            unsafe { self.0.add(offset).write_volatile(*byte) };
        }
    }
}
