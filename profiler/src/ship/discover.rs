//! From what the user gives (a pier, a name, a process id, or nothing) to exactly one ship.

use std::io;
use std::path::{Path, PathBuf};

use super::arguments::Command;
use super::lock::{LockState, lock_state};
use super::pier::{PIER_MARK, has_open_in};
use super::scan::{command_of, ship_of_lone_king, ship_of_mars, ships};
use super::{DiscoverError, NameSource, Ship};
use crate::host::Roots;
use crate::host::process::{FileId, Process};

/// How many generations above a king its start script may be: a shell, and what started the shell
/// (`sudo`, a terminal multiplexer, a container's shim).
const WRAPPER_GENERATIONS: usize = 2;

/// Which ship is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// The ship on this pier.
    Pier(PathBuf),
    /// The ship of this name, with its tilde.
    Name(String),
    /// The ship that this process belongs to: king, mars, or the shell above the king.
    Pid(u32),
    /// The one ship that runs.
    Only,
}

impl Selector {
    /// Of a `--ship` argument that may be left out.
    pub fn of(argument: Option<&str>) -> Self {
        argument.map_or(Self::Only, Self::parse)
    }

    /// Reads a `--ship` argument: `~zod` is a name, digits are a process id, all else is a path.
    pub fn parse(text: &str) -> Self {
        match text.parse() {
            Ok(pid) => Self::Pid(pid),
            Err(_) if is_name(text) => Self::Name(text.to_owned()),
            Err(_) => Self::Pier(PathBuf::from(text)),
        }
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with('~') && !text.contains('/')
}

/// Finds the one ship that `selector` means.
///
/// # Errors
/// One sentence for each way in which there is no such ship, or more than one.
pub fn discover(roots: &Roots, selector: &Selector) -> Result<Ship, DiscoverError> {
    match selector {
        Selector::Pier(path) => by_pier(roots, path),
        Selector::Name(name) => by_name(roots, name),
        Selector::Pid(pid) => by_pid(roots, *pid),
        Selector::Only => single(ships(roots)?, || DiscoverError::NoShip),
    }
}

fn single(
    mut ships: Vec<Ship>,
    none: impl FnOnce() -> DiscoverError,
) -> Result<Ship, DiscoverError> {
    match ships.pop() {
        None => Err(none()),
        Some(ship) if ships.is_empty() => Ok(ship),
        Some(ship) => {
            ships.push(ship);
            Err(DiscoverError::Several { ships })
        }
    }
}

fn by_name(roots: &Roots, name: &str) -> Result<Ship, DiscoverError> {
    let all = ships(roots)?;
    let running = all.iter().map(Ship::label).collect();
    let mut named: Vec<Ship> = all
        .into_iter()
        .filter(|ship| ship.name.as_ref().is_some_and(|own| own.text == name))
        .collect();
    // A directory's name is only a convention; it decides where no ship says its name itself.
    let says_so = |ship: &Ship| {
        ship.name
            .as_ref()
            .is_some_and(|own| own.source == NameSource::SpinStack)
    };
    if named.iter().any(says_so) {
        named.retain(says_so);
    }
    single(named, || DiscoverError::NoSuchName {
        name: name.to_owned(),
        running,
    })
}

fn by_pier(roots: &Roots, given: &Path) -> Result<Ship, DiscoverError> {
    let path = checked_pier(given)?;
    let id = FileId::of(&path).ok();
    let lock = lock_state(roots, &path);
    let uses = |ship: &Ship| {
        ship.tgids()
            .iter()
            .any(|&tgid| has_open_in(&Process::new(roots, tgid), &path))
    };
    // Anybody can start a process with any arguments, so what the lock says goes before them.
    let is_here = |ship: &Ship| match &lock {
        Ok(LockState::Held { tgid }) => is_of(roots, *tgid, ship),
        Ok(LockState::Absent | LockState::Stale { .. }) => {
            uses(ship) || (ship.pier.is(&path, id) && !is_seen_to_use_nothing(roots, ship))
        }
        Ok(LockState::CannotTell) | Err(_) => uses(ship) || ship.pier.is(&path, id),
    };
    let here: Vec<Ship> = ships(roots)?.into_iter().filter(is_here).collect();
    let mut ship = single(here, || no_ship_on(roots, &path, lock))?;
    // The path that the user reaches it by outlives the process; `/proc/PID/root` does not.
    ship.pier.reachable = path;
    Ok(ship)
}

/// Whether the process `tgid` is the ship's: one of its two, or a child of its king, as the process
/// that replays for a v3 king is.
fn is_of(roots: &Roots, tgid: u32, ship: &Ship) -> bool {
    let parent = || Some(Process::new(roots, tgid).stat().ok()?.ppid.unsigned_abs());
    ship.tgids().contains(&tgid) || parent() == Some(ship.king.tgid)
}

/// Whether this is a mars of which all open files can be seen. One that has none in its pier is none,
/// whatever its arguments are. A king opens nothing there before it starts mars.
fn is_seen_to_use_nothing(roots: &Roots, ship: &Ship) -> bool {
    ship.mars
        .as_ref()
        .is_some_and(|mars| Process::new(roots, mars.tgid).open_files().is_ok())
}

fn checked_pier(given: &Path) -> Result<PathBuf, DiscoverError> {
    let path = given.to_path_buf();
    let directory = match given.canonicalize() {
        Ok(directory) => directory,
        Err(error) => {
            return Err(match error.kind() {
                io::ErrorKind::PermissionDenied => DiscoverError::PathDenied { path },
                io::ErrorKind::NotADirectory => DiscoverError::NotADirectory { path },
                _ => DiscoverError::NoSuchPath { path },
            });
        }
    };
    if !directory.is_dir() {
        return Err(DiscoverError::NotADirectory { path });
    }
    match std::fs::metadata(directory.join(PIER_MARK)) {
        Ok(mark) if mark.is_dir() => Ok(directory),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(DiscoverError::PathDenied { path })
        }
        _ => Err(DiscoverError::NotAPier { path }),
    }
}

fn no_ship_on(
    roots: &Roots,
    pier: &Path,
    lock: Result<LockState, crate::host::ReadError>,
) -> DiscoverError {
    let path = pier.to_path_buf();
    match lock {
        Ok(LockState::Absent) => DiscoverError::NotRunning { path },
        Ok(LockState::Stale { written }) => DiscoverError::StaleLock { path, written },
        Ok(LockState::CannotTell) => DiscoverError::OutOfSight { path },
        Ok(LockState::Held { tgid }) => DiscoverError::InUse {
            path,
            tgid,
            command: shown_command(&Process::new(roots, tgid)),
        },
        Err(error) => DiscoverError::Read(error),
    }
}

/// Program and first argument, enough to recognise a command by.
fn shown_command(process: &Process) -> String {
    let arguments = process.arguments().unwrap_or_default();
    let mut words = arguments.iter();
    let program = words.next().map(|program| {
        Path::new(program).file_name().map_or_else(
            || program.clone(),
            |name| name.to_string_lossy().into_owned(),
        )
    });
    let shown: Vec<String> = program.into_iter().chain(words.next().cloned()).collect();
    shown.join(" ")
}

fn by_pid(roots: &Roots, pid: u32) -> Result<Ship, DiscoverError> {
    let given = Process::new(roots, pid);
    let Ok(status) = given.status() else {
        return Err(DiscoverError::NoSuchProcess { pid });
    };
    // /proc answers for a thread's id as well.
    let process = Process::new(roots, status.tgid.unsigned_abs());
    if let Command::Mars(arguments) = command_of(&process) {
        return match ship_of_mars(roots, &process, &arguments) {
            Err(DiscoverError::Read(_)) => Err(DiscoverError::NoSuchProcess { pid }),
            answer => answer,
        };
    }
    let all = ships(roots)?;
    if let Some(ship) = all.iter().find(|ship| ship.king.tgid == process.tgid()) {
        return Ok(ship.clone());
    }
    let below: Vec<Ship> = all
        .into_iter()
        .filter(|ship| is_above(roots, process.tgid(), ship.king.tgid))
        .collect();
    // The parent that waits under `-d` looks like a king, so what is below it comes first.
    if below.is_empty()
        && let Some(ship) = ship_of_lone_king(roots, &process)
    {
        return Ok(ship);
    }
    single(below, || not_a_ship(&process, pid, status.name))
}

/// Whether `ancestor` is at most [`WRAPPER_GENERATIONS`] above `king`. Process 1 of the host is
/// above everything and therefore means nothing.
fn is_above(roots: &Roots, ancestor: u32, king: u32) -> bool {
    let mut current = king;
    for _ in 0..WRAPPER_GENERATIONS {
        let Ok(stat) = Process::new(roots, current).stat() else {
            return false;
        };
        current = stat.ppid.unsigned_abs();
        if current <= 1 {
            return false;
        }
        if current == ancestor {
            return true;
        }
    }
    false
}

fn not_a_ship(process: &Process, pid: u32, comm: String) -> DiscoverError {
    // Other programs have commands of the same names, so a pier must be among the arguments.
    let names_a_pier = || {
        process
            .arguments()
            .unwrap_or_default()
            .iter()
            .any(|argument| {
                super::pier::is_pier_inside(
                    process,
                    &super::pier::resolve_inside(process, Path::new(argument)),
                )
            })
    };
    match command_of(process) {
        Command::Utility(_) if names_a_pier() => DiscoverError::Utility {
            pid,
            command: shown_command(process),
        },
        _ => DiscoverError::NotAShip { pid, comm },
    }
}
