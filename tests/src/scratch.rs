//! Names for everything the harness makes on the machine, and the removal of what a killed run left.
//!
//! A name holds the pid of its maker: `profile-harness-PID-N-WHAT`. When that process is gone, what
//! bears the name is stale.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use crate::faults::{cgroup, disk};
use crate::undo::Undo;
use crate::{Error, Result, trace, workspace};

/// What every name begins with.
const PREFIX: &str = "profile-harness-";

/// A new name, unique on this machine.
pub fn name(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}{}-{number}-{what}", std::process::id())
}

/// The first of our names in `text` (a path, a command line) whose maker is no more.
pub fn is_stale(text: &str) -> bool {
    let owner = text.split_once(PREFIX).and_then(|(_, rest)| {
        let (pid, _) = rest.split_once('-')?;
        pid.parse::<u32>().ok()
    });
    owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

/// A directory that goes away with its guard.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _undo: Undo,
}

/// A file system in memory: what is written there is no load on a disk.
const MEMORY: &str = "/dev/shm";

impl Scratch {
    /// Makes an empty directory of its own in the system's place for temporary files.
    pub fn new(what: &str) -> Result<Self> {
        Self::new_in(&std::env::temp_dir(), what)
    }

    /// The same in memory, where this host has a place for it.
    pub fn in_memory(what: &str) -> Result<Self> {
        let memory = Path::new(MEMORY);
        if memory.is_dir() {
            Self::new_in(memory, what)
        } else {
            Self::new(what)
        }
    }

    fn new_in(base: &Path, what: &str) -> Result<Self> {
        let path = base.join(name(what));
        fs::create_dir(&path).map_err(Error::path("create", &path))?;
        let removed = path.clone();
        let undo = Undo::new(format!("remove {}", path.display()), move || {
            fs::remove_dir_all(&removed).map_err(Error::path("remove", &removed))
        });
        Ok(Self { path, _undo: undo })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Removes processes, mounts, control groups and directories of runs that could not clean up.
pub(crate) fn remove_stale() {
    kill_stale_ships();
    let steps = [
        disk::unmount_stale(),
        cgroup::remove_stale(),
        trace::remove_stale(),
        remove_stale_directories(&std::env::temp_dir()),
        remove_stale_directories(Path::new(MEMORY)),
    ];
    for error in steps.into_iter().filter_map(Result::err) {
        eprintln!("could not remove what an earlier run left: {error}");
    }
}

/// Ships only: competitors end by themselves when their maker does, and captures end in time.
fn kill_stale_ships() {
    let Ok(processes) = fs::read_dir("/proc") else {
        return;
    };
    for entry in processes.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let is_ship = fs::read_link(entry.path().join("exe")).is_ok_and(|exe| {
            exe.file_name()
                .is_some_and(|name| name == workspace::SHIP_PROGRAM)
        });
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if is_ship && is_stale(&String::from_utf8_lossy(&arguments)) {
            // It may have ended in the meantime, which is as good.
            let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
        }
    }
}

fn remove_stale_directories(base: &Path) -> Result<()> {
    let own_uid = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let ours = entry
            .metadata()
            .is_ok_and(|data| data.is_dir() && data.uid() == own_uid);
        if ours && is_stale(&entry.file_name().to_string_lossy()) {
            fs::remove_dir_all(entry.path()).map_err(Error::path("remove", &entry.path()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_are_not_stale() {
        assert!(!is_stale(&format!("/tmp/{}/pier", name("x"))));
        assert!(!is_stale("/tmp/unrelated-1-2"));
        assert!(!is_stale("/tmp/profile-harness-x-1-disk"));
    }

    #[test]
    fn names_of_the_dead_are_stale() {
        // Above the largest possible pid (PID_MAX_LIMIT, 2^22), so never alive.
        assert!(is_stale("/tmp/profile-harness-4194305-0-disk/pier"));
    }

    #[test]
    fn directory_goes_with_its_guard() {
        let scratch = Scratch::new("test").unwrap();
        let path = scratch.path().to_owned();
        fs::write(path.join("file"), "x").unwrap();
        drop(scratch);
        assert!(!path.exists());
    }
}
