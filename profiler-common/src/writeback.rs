//! Whose the pages are that somebody else writes: the kernel's flushers, the journal, a `sync`.
//!
//! A thread that writes a file makes pages of it dirty and goes on; who sends them to the device later
//! says nothing of whose they are. The inode does: the last process to make its pages dirty is charged.

use crate::{COMM_LEN, shared};

/// Files of ships that are known by name.
pub const MAX_FILES: u32 = 4096;

/// Files of everybody else whose writer is known; the ones not used for longest are forgotten.
pub const MAX_OWNERS: u32 = 16_384;

/// Room for a file's name and its directory's, each with a zero at the end; longer ones are cut.
pub const NAME_BYTES: usize = 32;

/// A page's bio was queued by who is charged for it.
pub const BY_ITSELF: u32 = 0;
/// It was queued by somebody else, for the process whose pages it writes.
pub const WRITTEN_BACK: u32 = 1;
/// A kernel thread wrote the file system's journal or metadata, which are everybody's.
pub const JOURNAL: u32 = 2;

/// What a file's bio was: a read.
pub const FILE_READ: u32 = 0;
/// A write that a thread of the ship queued.
pub const FILE_WRITTEN: u32 = 1;
/// A write that somebody else queued.
pub const FILE_WRITTEN_BACK: u32 = 2;

/// `generation` of a key of no file: memory that is no file's, as of direct I/O and of swap.
pub const NO_FILE: FileKey = FileKey::special(0);
/// The same: metadata of the file system.
pub const METADATA: FileKey = FileKey::special(1);
/// The same: no data at all, but a flush of the device's cache or a discard.
pub const NO_DATA: FileKey = FileKey::special(2);

shared! {
    /// A file, as the kernel tells them apart.
    pub struct FileKey {
        /// `inode.i_sb.s_dev`, `major << 20 | minor`: of the file system, not of the disk below it.
        pub dev: u32,
        /// `inode.i_generation`, which tells a file from a later one of the same number; 0 where user
        /// space named the file, which does not know it.
        pub generation: u32,
        /// `inode.i_ino`; 0 for what is no file.
        pub ino: u64,
    }

    /// Who made a file's pages dirty.
    pub struct Owner {
        /// Process.
        pub tgid: u32,
        /// `task_struct.flags` of the thread.
        pub flags: u32,
        /// Its name; empty where user space named the process.
        pub comm: [u8; COMM_LEN],
    }

    /// Value of `WRITEBACK_FILES`: a file of a ship.
    pub struct File {
        /// Who made its pages dirty last.
        pub owner: Owner,
        /// Its name.
        pub name: [u8; NAME_BYTES],
        /// Name of the directory that it is in.
        pub directory: [u8; NAME_BYTES],
    }

    /// Key of `WRITEBACK_IO`.
    pub struct FileIoKey {
        /// The file.
        pub file: FileKey,
        /// Block device, the whole disk: `major << 20 | minor`.
        pub dev: u32,
        /// [`FILE_READ`], [`FILE_WRITTEN`] or [`FILE_WRITTEN_BACK`].
        pub how: u32,
    }

    /// Value of `WRITEBACK_IO`. A bio counts when it completes inside the window.
    pub struct FileIo {
        /// Bios.
        pub count: u64,
        /// Bytes that they read and wrote.
        pub bytes: u64,
        /// Time from queued to issued.
        pub queue_ns: u64,
        /// Time from issued to completed.
        pub device_ns: u64,
        /// Its share of the time in which the device was busy ([`crate::neighbour::CLOCK_UNITS`]).
        pub busy_ns: u64,
    }
}

impl FileKey {
    const fn special(generation: u32) -> Self {
        Self {
            dev: 0,
            generation,
            ino: 0,
        }
    }
}
