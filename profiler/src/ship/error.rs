//! Why no ship could be found: one sentence each, and what to do.

use std::path::PathBuf;

use super::{Ship, WrittenPid};
use crate::host::ReadError;

/// Why no ship, or not exactly one, was found.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The path leads nowhere.
    #[error("there is no directory {}: give the path of a pier, a ship's name such as ~zod, or a process id", path.display())]
    NoSuchPath {
        /// The path as given.
        path: PathBuf,
    },
    /// The path is a file.
    #[error("{} is a file, not a pier: give the pier's directory", path.display())]
    NotADirectory {
        /// The path as given.
        path: PathBuf,
    },
    /// The path is a directory without `.urb`.
    #[error("{} is a directory but no pier, it has no .urb in it: give the directory that the ship was started with", path.display())]
    NotAPier {
        /// The path as given.
        path: PathBuf,
    },
    /// The path may not be looked at.
    #[error("{} may not be read by this user: run as root", path.display())]
    PathDenied {
        /// The path as given.
        path: PathBuf,
    },
    /// A pier whose ship is down.
    #[error("no ship runs on the pier {}: start it, then profile it", path.display())]
    NotRunning {
        /// The pier.
        path: PathBuf,
    },
    /// A pier whose ship died without removing its lock.
    #[error("no ship runs on the pier {}: its {} is left over from one that did not end cleanly{}", path.display(), super::lock::LOCK_FILE, remedy(written))]
    StaleLock {
        /// The pier.
        path: PathBuf,
        /// What the lock file says.
        written: WrittenPid,
    },
    /// A pier whose lock may be held out of sight.
    #[error("no ship is seen on the pier {}: a ship may run where this process cannot see it; run profile on the host, or with --pid=host", path.display())]
    OutOfSight {
        /// The pier.
        path: PathBuf,
    },
    /// A pier that one of vere's offline commands works on.
    #[error("the pier {} is in use by `{command}` (pid {tgid}), which is no running ship: wait until it ends and start the ship", path.display())]
    InUse {
        /// The pier.
        path: PathBuf,
        /// The process that holds the lock.
        tgid: u32,
        /// What it runs.
        command: String,
    },
    /// No such process.
    #[error(
        "there is no process {pid}: it may have ended; `profile` without --ship finds the ship that runs"
    )]
    NoSuchProcess {
        /// The id as given.
        pid: u32,
    },
    /// A process that is neither king nor mars, nor the shell above a king.
    #[error(
        "process {pid} ({comm}) is not part of a ship: give the pid of the king or of mars, or the pier"
    )]
    NotAShip {
        /// The id as given.
        pid: u32,
        /// Name of the process.
        comm: String,
    },
    /// One of vere's commands that run once.
    #[error(
        "process {pid} runs `{command}`, an offline command of vere and not a ship: profile the ship when it runs again"
    )]
    Utility {
        /// The id as given.
        pid: u32,
        /// Program and command word.
        command: String,
    },
    /// Mars without its king: it ends by itself when it notices.
    #[error(
        "process {tgid} is the Nock process of a ship whose king has gone, and is about to end: start the ship again"
    )]
    Orphan {
        /// Process id of mars.
        tgid: u32,
    },
    /// No ship has the name.
    #[error("no running ship is called {name}{}: run as root, or give its pier or process id if its name cannot be seen from outside", running_list(.running))]
    NoSuchName {
        /// The name as given.
        name: String,
        /// Labels of the ships that run.
        running: Vec<String>,
    },
    /// No ship runs at all.
    #[error(
        "no ship runs on this host: start one, or run this where its processes can be seen (the host, not another container)"
    )]
    NoShip,
    /// More than one ship fits.
    #[error("{} ships fit, say which one with --ship: {}", .ships.len(), ship_list(.ships))]
    Several {
        /// The ships, by process id of the king.
        ships: Vec<Ship>,
    },
    /// procfs itself could not be read.
    #[error("the host's processes cannot be listed: {0}")]
    Read(#[from] ReadError),
}

fn remedy(written: &WrittenPid) -> String {
    match written {
        WrittenPid::Pid(pid) => format!(" (pid {pid}): start the ship again, it takes the lock over"),
        // vere refuses a lock file that holds no number (urbit/urbit issue 6938).
        WrittenPid::NoNumber => ", and is empty or damaged, as after a full disk: remove that file and start the ship again".to_owned(),
        WrittenPid::Unread(reason) => format!(", and could not be read: {reason}"),
    }
}

fn running_list(ships: &[String]) -> String {
    if ships.is_empty() {
        " (none runs here)".to_owned()
    } else {
        format!(" (running: {})", ships.join(", "))
    }
}

fn ship_list(ships: &[Ship]) -> String {
    let one = |ship: &Ship| {
        format!(
            "{} (pid {}, pier {})",
            ship.label(),
            ship.king.tgid,
            ship.pier.reachable.display()
        )
    };
    ships.iter().map(one).collect::<Vec<_>>().join(", ")
}
