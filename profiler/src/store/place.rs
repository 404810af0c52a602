//! The store's place in the file system: what may be there, and who may write to it.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};

use super::StoreError;

/// Files that SQLite keeps beside a store.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];
/// The file that says who writes.
const LOCK: &str = ".lock";

/// Refuses a folder that root may write to by privilege alone: the sampler gives that up before its
/// first window, and SQLite makes files beside the store whenever it needs them.
pub(super) fn check_folder(store: &Path) -> Result<(), StoreError> {
    let folder = store.parent().unwrap_or(Path::new("/"));
    let metadata = std::fs::metadata(folder).map_err(|error| StoreError::io(folder, error))?;
    let user = rustix::process::geteuid();
    let write = if metadata.uid() == user.as_raw() {
        Mode::WUSR
    } else if metadata.gid() == rustix::process::getegid().as_raw() {
        Mode::WGRP
    } else {
        Mode::WOTH
    };
    // What others may not do, the system tells them itself.
    if user.is_root() && metadata.mode() & write.bits() == 0 {
        return Err(StoreError::Folder {
            folder: folder.to_owned(),
            owner: metadata.uid(),
        });
    }
    Ok(())
}

/// The path of a file beside the store.
pub(super) fn beside(store: &Path, suffix: &str) -> PathBuf {
    let mut path = store.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// The store's path with the links in its folders followed, as far as SQLite needs it: it refuses
/// a link in any part. The last part is left as it is.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, StoreError> {
    let name = path.file_name().ok_or_else(|| StoreError::NotAFile {
        path: path.to_owned(),
        what: "a directory",
    })?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let folder = folder
        .canonicalize()
        .map_err(|error| StoreError::io(folder, error))?;
    Ok(folder.join(name))
}

/// Whether there is a file at the store's path. Nothing is opened: on Linux, closing any
/// descriptor of a file would end the locks that SQLite holds on it in this process.
pub(super) fn exists(store: &Path) -> Result<bool, StoreError> {
    for suffix in BESIDE {
        is_file(&beside(store, suffix))?;
    }
    is_file(store)
}

/// Whether there is something in the log of changes: then the last writer did not end by closing.
pub(super) fn has_log(store: &Path) -> bool {
    ["-wal", "-journal"].iter().any(|suffix| {
        std::fs::symlink_metadata(beside(store, suffix)).is_ok_and(|metadata| metadata.len() > 0)
    })
}

/// Whether the file holds nothing at all: SQLite takes any that is shorter than a page for empty.
pub(super) fn is_empty(store: &Path) -> bool {
    std::fs::symlink_metadata(store).is_ok_and(|metadata| metadata.len() == 0)
}

fn is_file(path: &Path) -> Result<bool, StoreError> {
    let kind = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(StoreError::io(path, error)),
    };
    let what = if kind.is_file() {
        return Ok(true);
    } else if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else {
        "a device or a socket"
    };
    Err(StoreError::NotAFile {
        path: path.to_owned(),
        what,
    })
}

/// Makes an empty file that only its owner may read.
pub(super) fn create(store: &Path) -> Result<(), StoreError> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(store, flags, Mode::RUSR | Mode::WUSR)
        .map(drop)
        .map_err(|error| StoreError::io(store, error.into()))
}

/// The right to write. The kernel takes it back when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct WriteLock {
    _file: OwnedFd,
}

impl WriteLock {
    /// Takes it.
    pub(super) fn take(store: &Path) -> Result<Self, StoreError> {
        let path = beside(store, LOCK);
        // Looked at before it is opened: opening a FIFO or a device may do something.
        is_file(&path)?;
        let failed = |error: rustix::io::Errno| StoreError::io(&path, error.into());
        let flags = OFlags::CREATE
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::NOCTTY
            | OFlags::RDWR
            | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(StoreError::Held {
                    path: store.to_owned(),
                    tgid: holder(file),
                });
            }
            Err(error) => return Err(failed(error)),
        }
        // Only for the other's message; on a full disk it stays empty.
        let mut file = File::from(file);
        let _ = file.set_len(0);
        let _ = write!(file, "{}", std::process::id());
        Ok(Self { _file: file.into() })
    }
}

fn holder(file: OwnedFd) -> Option<u32> {
    let mut text = String::new();
    File::from(file).take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
