//! The spin stack: a page of shared memory in which Nock leaves labels of what it does (vere `trace.c`).

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use noun::Ship;
use rustix::mm::{MapFlags, ProtFlags, mmap};

use crate::loom::PAGE_BYTES;

/// The label that is always there.
const ROOT: &[u8] = b"root";

/// The page's file, which is named with the king's process id in its own namespace since vere 4.5.
pub fn path(ship: Ship, king: u32) -> PathBuf {
    format!("/dev/shm/spin_stack_page_{ship}_{king}").into()
}

/// Maps the page, which stays mapped to the end of the process. Mars makes it, with only the root label: a kernel
/// without `%spin` hints adds no other.
pub fn map(ship: Ship, king: u32, create: bool) -> io::Result<()> {
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
    if create {
        let length = (ROOT.len() as u32).to_le_bytes();
        let used = (ROOT.len() + length.len()) as u32;
        // Offset of the top, overflow count, then labels, each followed by its length.
        let content = [&used.to_le_bytes(), &[0; 4], ROOT, &length].concat();
        // SAFETY: the page was just mapped, is longer than this, and nobody reads it yet.
        unsafe {
            std::ptr::copy_nonoverlapping(content.as_ptr(), page.cast::<u8>(), content.len())
        };
    }
    Ok(())
}
