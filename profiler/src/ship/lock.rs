//! The pier's lock: `.vere.lock` under a POSIX write lock on its first byte (vere
//! `pkg/vere/disk.c`, `u3_disk_acquire`). The file outlives a crash; only the lock is proof.

use std::path::Path;

use procfs_core::{Lock, LockKind, LockType, Locks};

use super::small_file::read_small_file;
use crate::host::process::{FileId, Process, initial_namespace};
use crate::host::{ReadError, Roots, read_parsed};

/// Name of the lock file in the pier.
pub const LOCK_FILE: &str = ".vere.lock";

/// What a pier's lock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockState {
    /// There is no lock file: no ship has run here, or it ended cleanly.
    Absent,
    /// A process holds the lock.
    Held {
        /// Its process id here, whatever it is in its own namespace.
        tgid: u32,
    },
    /// The file is there and nobody holds it: the ship did not end cleanly.
    Stale {
        /// What the file says.
        written: WrittenPid,
    },
    /// The file is there, and a process that cannot be seen from here may hold the lock.
    CannotTell,
}

/// What a lock file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WrittenPid {
    /// A process id, in the PID namespace of the ship that wrote it.
    Pid(u32),
    /// No number: it is empty or damaged, as after a full disk.
    NoNumber,
    /// It could not be read; why.
    Unread(String),
}

impl WrittenPid {
    fn pid(&self) -> Option<u32> {
        match self {
            Self::Pid(pid) => Some(*pid),
            Self::NoNumber | Self::Unread(_) => None,
        }
    }
}

/// Says who holds the lock of the pier at `pier`.
///
/// # Errors
/// When the lock file exists and cannot be looked at.
pub fn lock_state(roots: &Roots, pier: &Path) -> Result<LockState, ReadError> {
    let path = pier.join(LOCK_FILE);
    let (id, written) = match read_small_file(&path) {
        Ok(file) => (file.id, live_pid(&file.text)),
        Err(error) if error.is_absent() => return Ok(LockState::Absent),
        // Who holds it is told by its identity, without reading it.
        Err(error) => (
            FileId::of_link(&path)?,
            WrittenPid::Unread(error.to_string()),
        ),
    };
    let (holder, is_whole) = match read_parsed::<Locks>(&roots.proc.join("locks")) {
        Ok(locks) => (holder(roots, &locks.0, id), sees_every_process(roots)),
        // Without /proc/locks the written id is all there is; an open lock file confirms it.
        Err(_) => {
            let pid = written.pid();
            (pid.and_then(|pid| namespace_member(roots, pid, id)), false)
        }
    };
    Ok(match holder {
        Some(tgid) => LockState::Held { tgid },
        None if is_whole => LockState::Stale { written },
        None => LockState::CannotTell,
    })
}

/// Whether this is the PID namespace that the host booted with: from any other, `/proc/locks` leaves
/// out the locks of processes outside it (kernel `fs/locks.c`, `locks_show`).
fn sees_every_process(roots: &Roots) -> bool {
    match Process::own(roots).namespace("pid") {
        Ok(inode) => inode == initial_namespace::PID,
        // A kernel without PID namespaces.
        Err(error) => error.is_absent(),
    }
}

/// The process id in a lock file. After unclean deaths it holds several lines: the last is the
/// live one.
fn live_pid(text: &str) -> WrittenPid {
    text.lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .and_then(|line| line.trim().parse().ok())
        .map_or(WrittenPid::NoNumber, WrittenPid::Pid)
}

/// The process that holds a write lock on the file `id`.
fn holder(roots: &Roots, locks: &[Lock], id: FileId) -> Option<u32> {
    let of_inode = |lock: &&Lock| {
        lock.inode == id.inode
            && matches!(lock.lock_type, LockType::Posix)
            && matches!(lock.kind, LockKind::Write)
            && lock.offset_first == 0
    };
    let tgid = |lock: &Lock| lock.pid.and_then(|pid| u32::try_from(pid).ok());
    locks
        .iter()
        .filter(of_inode)
        .find(|lock| {
            lock.devmaj == rustix::fs::major(id.device)
                && lock.devmin == rustix::fs::minor(id.device)
        })
        .and_then(tgid)
        // btrfs and overlayfs show another device in /proc/locks than stat does, so there the
        // holder must also have this very file open.
        .or_else(|| {
            locks
                .iter()
                .filter(of_inode)
                .filter_map(tgid)
                .find(|&tgid| has_open(&Process::new(roots, tgid), id))
        })
}

/// The process whose innermost PID namespace calls it `pid` and that has the file `id` open.
fn namespace_member(roots: &Roots, pid: u32, id: FileId) -> Option<u32> {
    Process::all(roots)
        .ok()?
        .into_iter()
        .find(|process| {
            let innermost = process
                .status()
                .ok()
                .and_then(|status| status.nspid?.last().copied());
            innermost.and_then(|innermost| u32::try_from(innermost).ok()) == Some(pid)
                && has_open(process, id)
        })
        .map(|process| process.tgid())
}

/// Whether a process has the file `id` open, by identity and not by the path it is shown under.
fn has_open(process: &Process, id: FileId) -> bool {
    process.open_files().is_ok_and(|files| {
        files.keys().any(|fd| {
            FileId::of(&process.path("fd").join(fd.to_string())).is_ok_and(|open| open == id)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_live_one() {
        assert_eq!(live_pid("17\n"), WrittenPid::Pid(17));
        assert_eq!(live_pid("17\n1203\n9\n"), WrittenPid::Pid(9));
        assert_eq!(live_pid("17\n\n"), WrittenPid::Pid(17));
        assert_eq!(live_pid(""), WrittenPid::NoNumber);
        assert_eq!(live_pid("\0\0\0"), WrittenPid::NoNumber);
    }
}
