//! Goes through the host's processes and puts kings and mars together.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use procfs_core::process::Stat;

use super::arguments::{Command, MarsArguments, command, king_pier_candidates};
use super::pier::{PierPaths, from_open_files, is_pier_inside, resolve_inside};
use super::{DiscoverError, Generation, Ship, ShipProcess, ShipThread, is_dead, name, version};
use crate::host::process::{FileId, Process, threads};
use crate::host::{ReadError, Reading, Roots, net};

/// Every ship that runs on this host, by process id of the king. Processes that end while they are
/// read are left out; so is everything that is no ship.
///
/// # Errors
/// Only when the list of processes itself cannot be read.
pub fn ships(roots: &Roots) -> Result<Vec<Ship>, DiscoverError> {
    let processes = Process::all(roots)?;
    let mut ships: BTreeMap<u32, Ship> = processes
        .iter()
        .filter_map(|process| match command_of(process) {
            Command::Mars(arguments) => ship_of_mars(roots, process, &arguments).ok(),
            _ => None,
        })
        .map(|ship| (ship.king.tgid, ship))
        .collect();
    for process in &processes {
        if let Entry::Vacant(place) = ships.entry(process.tgid())
            && let Some(ship) = ship_of_lone_king(roots, process)
        {
            place.insert(ship);
        }
    }
    let shadows: BTreeSet<u32> = ships
        .values()
        .filter(|ship| ships.values().any(|other| is_shadow(roots, ship, other)))
        .map(|ship| ship.king.tgid)
        .collect();
    ships.retain(|king, _| !shadows.contains(king));
    Ok(ships.into_values().collect())
}

/// Whether the lone king `ship` only looks like the king of `other`: a king's short-lived parent
/// under `-d` shows the same arguments. What has a mars is the king, and else the child is.
fn is_shadow(roots: &Roots, ship: &Ship, other: &Ship) -> bool {
    let parent_of_other = || {
        let stat = Process::new(roots, other.king.tgid).stat();
        stat.is_ok_and(|stat| stat.ppid.unsigned_abs() == ship.king.tgid)
    };
    ship.mars.is_none()
        && ship.pier.same_as(&other.pier)
        && (other.mars.is_some() || parent_of_other())
}

/// What a process runs, as far as its arguments tell; [`Command::Other`] when it has ended.
pub(super) fn command_of(process: &Process) -> Command {
    process
        .arguments()
        .map_or(Command::Other, |arguments| command(&arguments))
}

/// Puts a ship together from its Nock process.
///
/// # Errors
/// [`DiscoverError::Orphan`] when its parent is not its king, and read errors when one of the two
/// ends meanwhile.
pub(super) fn ship_of_mars(
    roots: &Roots,
    mars: &Process,
    arguments: &MarsArguments,
) -> Result<Ship, DiscoverError> {
    let stat = live_stat(mars)?;
    let orphan = || DiscoverError::Orphan { tgid: mars.tgid() };
    let king = Process::new(roots, u32::try_from(stat.ppid).map_err(|_| orphan())?);
    if !is_king_of(&king, mars) {
        return Err(orphan());
    }
    let king_stat = live_stat(&king).map_err(|_| orphan())?;
    // The arguments only say where the pier was at the start, and anybody can give any; the path
    // may have been relative to a directory that the king has left, too.
    let inside = from_open_files(mars)
        .or_else(|| from_open_files(&king))
        .unwrap_or_else(|| resolve_inside(mars, &arguments.pier));
    let nock = Nock {
        process: mars,
        stat,
        arguments,
    };
    Ok(assemble(roots, &king, king_stat, Some(nock), &inside))
}

/// A king that has no Nock process: it starts, replays in a `play` process, or lost its mars.
pub(super) fn ship_of_lone_king(roots: &Roots, king: &Process) -> Option<Ship> {
    let arguments = king.arguments().ok()?;
    // A king has no command word; and other programs are given piers as arguments too.
    if !matches!(command(&arguments), Command::Other) || !runs_vere(king, &arguments) {
        return None;
    }
    let inside = from_open_files(king).or_else(|| {
        king_pier_candidates(&arguments)
            .into_iter()
            .map(|candidate| resolve_inside(king, &candidate))
            .find(|candidate| is_pier_inside(king, candidate))
    })?;
    let stat = live_stat(king).ok()?;
    Some(assemble(roots, king, stat, None, &inside))
}

/// Whether the executable, or the name it was started by, is one that vere is distributed under.
fn runs_vere(process: &Process, arguments: &[String]) -> bool {
    let is_vere = |path: &Path| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| {
                name == ".run" || name.starts_with("urbit") || name.starts_with("vere")
            })
    };
    process.executable().is_ok_and(|path| is_vere(&path))
        || arguments
            .first()
            .is_some_and(|program| is_vere(Path::new(program)))
}

/// Whether `king` is the king of `mars`, and not what adopted it. vere starts mars by the king's
/// own `argv[0]`; under `--serf-bin` from another file, which the king's arguments then name.
fn is_king_of(king: &Process, mars: &Process) -> bool {
    let (Ok(of_king), Ok(of_mars)) = (king.arguments(), mars.arguments()) else {
        return false;
    };
    let same_program = !of_king.is_empty() && of_king.first() == of_mars.first();
    let own_binary = || {
        of_king
            .iter()
            .any(|argument| argument.starts_with("--serf-bin"))
    };
    same_program || own_binary() || same_executable(king, mars)
}

fn same_executable(king: &Process, mars: &Process) -> bool {
    let id = |process: &Process| FileId::of(&process.path("exe"));
    match (id(king), id(mars)) {
        (Ok(of_king), Ok(of_mars)) => of_king == of_mars,
        // Without the right to look, any parent may be the king but the one that adopts orphans.
        (Err(ReadError::Denied { .. }), _) | (_, Err(ReadError::Denied { .. })) => king.tgid() != 1,
        _ => false,
    }
}

fn live_stat(process: &Process) -> Result<Stat, ReadError> {
    let stat = process.stat()?;
    if is_dead(stat.state) {
        return Err(ReadError::Absent {
            path: process.path("stat"),
        });
    }
    Ok(stat)
}

/// The Nock process of a ship, as far as it has been read.
struct Nock<'a> {
    process: &'a Process,
    stat: Stat,
    arguments: &'a MarsArguments,
}

/// Reads all the rest of a ship.
fn assemble(
    roots: &Roots,
    king: &Process,
    king_stat: Stat,
    mars: Option<Nock>,
    inside: &Path,
) -> Ship {
    let newest = mars.as_ref().map_or(king, |nock| nock.process);
    let arguments = mars.as_ref().map(|nock| nock.arguments);
    let pier = PierPaths::of_process(roots, king, inside);
    let spin_stack = newest.maps().ok();
    let name = spin_stack
        .and_then(|maps| name::from_spin_stack(&maps))
        .or_else(|| name::from_directory(inside));
    let mut ship = Ship {
        version: version::version(newest, &pier.reachable),
        name,
        generation: arguments.map_or(Generation::Unknown, |arguments| arguments.generation),
        booting: arguments.is_some_and(|arguments| arguments.booting),
        config: arguments.map(|arguments| arguments.config.clone()),
        in_container: in_container(roots, king),
        network_namespace_inode: king.namespace("net").into(),
        cgroups: cgroups(newest).into(),
        udp_ports: udp_ports(king).into(),
        threads: Reading::Known(Vec::new()),
        mars: mars.map(|nock| ship_process(nock.process, nock.stat)),
        king: ship_process(king, king_stat),
        pier,
    };
    // Roles depend on everything else.
    ship.threads = ship_threads(roots, &ship).into();
    ship
}

fn ship_process(process: &Process, stat: Stat) -> ShipProcess {
    let namespace_tgids = match process.status() {
        Ok(status) => match status.nspid {
            Some(ids) => Reading::Known(ids.iter().map(|id| id.unsigned_abs()).collect()),
            None => Reading::unknown("this kernel's status has no NSpid"),
        },
        Err(error) => Reading::unknown(error.to_string()),
    };
    ShipProcess {
        tgid: process.tgid(),
        comm: stat.comm,
        start_time_ticks: stat.starttime,
        executable: process.executable().into(),
        namespace_tgids,
    }
}

fn in_container(roots: &Roots, king: &Process) -> Reading<bool> {
    let ours = Process::own(roots);
    let differs = |kind: &str| Ok(king.namespace(kind)? != ours.namespace(kind)?);
    let either = || -> Result<bool, ReadError> { Ok(differs("mnt")? || differs("pid")?) };
    either().into()
}

fn cgroups(process: &Process) -> Result<BTreeMap<String, PathBuf>, ReadError> {
    let mut paths = BTreeMap::new();
    for group in process.cgroups()? {
        let path = PathBuf::from(group.pathname);
        if group.controllers.is_empty() {
            paths.insert(String::new(), path);
        } else {
            for controller in group.controllers {
                paths.insert(controller, path.clone());
            }
        }
    }
    Ok(paths)
}

fn udp_ports(king: &Process) -> Result<Vec<u16>, ReadError> {
    let mut ports: Vec<u16> = net::udp_sockets(king)?
        .iter()
        .map(|socket| socket.local_port)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    Ok(ports)
}

fn ship_threads(roots: &Roots, ship: &Ship) -> Result<Vec<ShipThread>, ReadError> {
    let mut all = Vec::new();
    for tgid in ship.tgids() {
        for thread in threads(&Process::new(roots, tgid))? {
            all.push(ShipThread {
                tgid,
                tid: thread.tid,
                role: ship.role_of(tgid, thread.tid, &thread.comm),
                comm: thread.comm,
            });
        }
    }
    Ok(all)
}
