//! The undo journal: which values a trial changes, on disk before the first one is written.
//!
//! It is one file in a directory that only root may write to. It is written under another name, synced and
//! renamed, so that it is whole or not there. Who writes or replays it holds the directory's lock, which
//! the kernel takes back from a process that ends: a journal whose lock is free has no owner any more.

use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::change::Change;
use super::error::TrialError;
use super::host::Host;
use super::replay::boot_id;
use crate::host::process::Process;

/// Where it is. Everybody may look whether there is one; only root may read it.
pub const DIRECTORY: &str = "/var/lib/profile-trial";
/// The journal's name.
const JOURNAL: &str = "undo.json";
/// Its name while it is written.
const PARTIAL: &str = ".undo.json.partial";
/// Who holds this file's lock tries something out, or takes it back.
const LOCK: &str = "lock";
/// Captures while they are needed.
const SCRATCH: &str = "windows";
/// Version of [`Journal`].
const VERSION: u32 = 1;
/// More is not read: a change takes 200 bytes, and a ship has some twenty threads.
const MAX_BYTES: u64 = 16 << 20;

/// A process, beyond reuse of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its id.
    pub tgid: u32,
    /// When it was started, in clock ticks since boot.
    pub start_ticks: u64,
}

/// What a trial changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// Version of the profiler's journal that this is.
    version: u32,
    /// The boot of the host (`/proc/sys/kernel/random/boot_id`): with the next one every value that a
    /// trial changes is gone anyway.
    pub boot_id: String,
    /// Whose trial it is.
    pub owner: Owner,
    /// What is tried out.
    pub fix: String,
    /// On which ship.
    pub ship: String,
    /// The changes, in the order in which they are made.
    pub changes: Vec<Change>,
}

impl Journal {
    /// That of a trial which this process is about to make.
    ///
    /// # Errors
    /// If procfs does not say which boot and process this is.
    pub fn new(host: &Host, fix: &str, ship: &str, changes: &[Change]) -> Result<Self, TrialError> {
        let own = Process::own(&host.roots);
        Ok(Self {
            version: VERSION,
            boot_id: boot_id(host)?,
            owner: Owner {
                tgid: own.tgid(),
                start_ticks: own.stat()?.starttime,
            },
            fix: fix.to_owned(),
            ship: ship.to_owned(),
            changes: changes.to_vec(),
        })
    }

    /// Whether the process whose trial it is still runs.
    pub fn is_owned(&self, host: &Host) -> bool {
        let owner = Process::new(&host.roots, self.owner.tgid);
        let now = owner.stat();
        now.is_ok_and(|now| now.starttime == self.owner.start_ticks && now.state != 'Z')
    }
}

/// The directory of the undo journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoDirectory(PathBuf);

impl Default for UndoDirectory {
    fn default() -> Self {
        Self::new(PathBuf::from(DIRECTORY))
    }
}

impl UndoDirectory {
    /// A directory, which need not be there yet.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Whether there is a journal: one look, which needs no rights.
    pub fn has_journal(&self) -> bool {
        self.journal_path().symlink_metadata().is_ok()
    }

    /// The journal's file.
    pub fn journal_path(&self) -> PathBuf {
        self.0.join(JOURNAL)
    }

    /// Where the windows of a trial go that are not kept.
    pub fn scratch_path(&self) -> PathBuf {
        self.0.join(SCRATCH)
    }

    /// Makes the directory if it is not there, and takes the right to change the host, without waiting.
    ///
    /// # Errors
    /// If somebody else has it, or the directory is not ours.
    pub fn lock(&self) -> Result<Lock, TrialError> {
        let failed = |error: rustix::io::Errno| io_error(&self.0, error.into());
        let made = DirBuilder::new().mode(0o755).create(&self.0);
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(io_error(&self.0, error));
            }
            _ => {}
        }
        let not_ours = || TrialError::Directory {
            path: self.0.clone(),
            owner: "root",
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = match rustix::fs::open(&self.0, flags, Mode::empty()) {
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) => return Err(not_ours()),
            opened => opened.map_err(failed)?,
        };
        if !is_ours(&directory, FileType::Directory).map_err(failed)? {
            return Err(not_ours());
        }
        let flags = OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::RDWR;
        let mode = Mode::RUSR | Mode::WUSR;
        let held = rustix::fs::openat(&directory, LOCK, flags | OFlags::CLOEXEC, mode);
        let held = held.map_err(failed)?;
        match rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock {
                path: self.0.clone(),
                directory,
                _held: held,
            }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(TrialError::Busy),
            Err(error) => Err(failed(error)),
        }
    }
}

/// The right to change the host. Dropping it gives it back.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    directory: OwnedFd,
    _held: OwnedFd,
}

impl Lock {
    /// The journal that somebody left.
    ///
    /// # Errors
    /// If it cannot be read, or makes no sense.
    pub fn read(&self) -> Result<Option<Journal>, TrialError> {
        let path = self.path.join(JOURNAL);
        let failed = |error| io_error(&path, error);
        let damaged = |why: String| TrialError::Damaged {
            path: path.clone(),
            why,
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.directory, JOURNAL, flags, Mode::empty()) {
            Ok(file) => file,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(rustix::io::Errno::LOOP) => return Err(damaged("it is a link".to_owned())),
            Err(error) => return Err(failed(error.into())),
        };
        if !is_ours(&file, FileType::RegularFile).map_err(|error| failed(error.into()))? {
            return Err(damaged("others may write to it".to_owned()));
        }
        let mut text = String::new();
        let read = File::from(file).take(MAX_BYTES).read_to_string(&mut text);
        read.map_err(|error| damaged(error.to_string()))?;
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let version: Result<Versioned, _> = serde_json::from_str(&text);
        match (
            version.map(|found| found.version),
            serde_json::from_str(&text),
        ) {
            (Ok(VERSION), Ok(journal)) => Ok(Some(journal)),
            (Ok(version), _) if version != VERSION => Err(damaged(format!(
                "it is of version {version}, and this profile reads {VERSION}"
            ))),
            (Err(error), _) | (_, Err(error)) => Err(damaged(error.to_string())),
            _ => Err(damaged("it is none".to_owned())),
        }
    }

    /// Writes the journal, durably: when this returns, it outlives whatever happens.
    ///
    /// # Errors
    /// If it cannot be written; then no value may be changed.
    pub fn write(&self, journal: &Journal) -> Result<(), TrialError> {
        let path = self.path.join(JOURNAL);
        let written = (|| -> io::Result<()> {
            let bytes = serde_json::to_vec(journal)?;
            // Of somebody who was killed while he wrote it.
            let _ = rustix::fs::unlinkat(&self.directory, PARTIAL, AtFlags::empty());
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY;
            let mode = Mode::RUSR | Mode::WUSR;
            let flags = flags | OFlags::CLOEXEC;
            let mut file = File::from(rustix::fs::openat(&self.directory, PARTIAL, flags, mode)?);
            file.write_all(&bytes)?;
            file.sync_all()?;
            rustix::fs::renameat(&self.directory, PARTIAL, &self.directory, JOURNAL)?;
            Ok(rustix::fs::fsync(&self.directory)?)
        })();
        written.map_err(|error| io_error(&path, error))
    }

    /// Removes the journal, durably: nothing is to be taken back any more.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove(&self) -> Result<(), TrialError> {
        let removed = match rustix::fs::unlinkat(&self.directory, JOURNAL, AtFlags::empty()) {
            Err(rustix::io::Errno::NOENT) => Ok(()),
            removed => removed.and_then(|()| rustix::fs::fsync(&self.directory)),
        };
        removed.map_err(|error| io_error(&self.path.join(JOURNAL), error.into()))
    }
}

/// Whether it is of this kind, ours, and nobody else may write to it.
fn is_ours(file: &OwnedFd, kind: FileType) -> rustix::io::Result<bool> {
    let stat = rustix::fs::fstat(file)?;
    let others = Mode::WGRP | Mode::WOTH;
    Ok(FileType::from_raw_mode(stat.st_mode) == kind
        && stat.st_uid == rustix::process::geteuid().as_raw()
        && !Mode::from_raw_mode(stat.st_mode).intersects(others))
}

fn io_error(path: &Path, source: io::Error) -> TrialError {
    TrialError::Io {
        path: path.to_owned(),
        source,
    }
}
