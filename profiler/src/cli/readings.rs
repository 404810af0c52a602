//! What is read of the host and its ships at the ends of a capture or window, and of the profiler itself.

use rustix::time::{ClockId, clock_gettime};

use crate::capture::debug_file;
use crate::capture::symbols::{Executables, OpenCode};
use crate::host::memory::{self, RangeUse};
use crate::host::neighbours::OtherShip;
use crate::host::process::Process;
use crate::host::{Reading, Roots};
use crate::model::{NS_PER_S, OwnUse, ThreadState};
use crate::ship::{MarsConfig, Ship, loom};

/// Those of a host's ships that are not this one.
pub fn other_than<'a>(ship: &Ship, ships: &'a [Ship]) -> impl Iterator<Item = &'a Ship> {
    let king = ship.king.tgid;
    ships.iter().filter(move |other| other.king.tgid != king)
}

/// The other ships of this host.
pub fn other_ships(
    ships: Result<Vec<Ship>, impl std::fmt::Display>,
    ship: &Ship,
) -> Reading<Vec<OtherShip>> {
    match ships {
        Ok(ships) => Reading::Known(
            other_than(ship, &ships)
                .map(|other| OtherShip {
                    label: other.label(),
                    tgids: other.tgids(),
                })
                .collect(),
        ),
        Err(error) => Reading::unknown(error.to_string()),
    }
}

/// Opens the code of a process, which stacks are named by.
pub fn open_code(roots: &Roots, executables: &mut Executables, tgid: u32) {
    let process = Process::new(roots, tgid);
    let root = process.root();
    match process.mapped_code(&Process::own(roots)) {
        Ok(code) => executables.add(
            tgid,
            code.into_iter().map(|code| OpenCode {
                debug_file: root
                    .as_ref()
                    .and_then(|root| debug_file::find(&code.file, root, &code.path)),
                addresses: code.addresses,
                file_offset: code.file_offset,
                file: code.file,
            }),
        ),
        Err(error) => executables.add_error(tgid, error.to_string()),
    }
}

/// What part of mars' loom is in memory.
pub fn loom_use(roots: &Roots, ship: &Ship) -> Reading<RangeUse> {
    let Some(mars) = &ship.mars else {
        return Reading::unknown("the ship has no Nock process");
    };
    let Some(bytes) = ship.config.as_ref().and_then(MarsConfig::loom_bytes) else {
        return Reading::unknown("mars' arguments do not tell the size of its loom");
    };
    memory::range_use(&Process::new(roots, mars.tgid), &loom::range(bytes)).into()
}

pub fn thread_ids(roots: &Roots, tgid: u32) -> Vec<u32> {
    Process::new(roots, tgid).thread_ids().unwrap_or_default()
}

/// What procfs says of all threads of some processes.
pub fn thread_states<'a>(roots: &Roots, tgids: impl Iterator<Item = &'a u32>) -> Vec<ThreadState> {
    let mut states = Vec::new();
    for &tgid in tgids {
        let process = Process::new(roots, tgid);
        for tid in thread_ids(roots, tgid) {
            let thread = process.thread(tid);
            let Ok(stat) = thread.stat() else { continue };
            let syscall_nr = match thread.syscall() {
                Ok(procfs_core::process::Syscall::Blocked { syscall_number, .. }) => {
                    i32::try_from(syscall_number).ok()
                }
                _ => None,
            };
            states.push(ThreadState {
                tgid,
                tid,
                comm: stat.comm,
                state: stat.state,
                syscall_nr,
            });
        }
    }
    states
}

fn nanoseconds(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec.unsigned_abs() * NS_PER_S + now.tv_nsec.unsigned_abs()
}

/// `CLOCK_REALTIME` now.
pub fn unix_ns() -> u64 {
    nanoseconds(ClockId::Realtime)
}

/// CPU time of this process so far.
pub fn cpu_time_ns() -> u64 {
    nanoseconds(ClockId::ProcessCPUTime)
}

/// What this process has used since its CPU time was `cpu_start_ns`.
pub fn own_use(roots: &Roots, cpu_start_ns: u64) -> OwnUse {
    let status = Process::own(roots).status().ok();
    let max_resident_kib = status.and_then(|status| status.vmhwm).unwrap_or(0);
    OwnUse {
        cpu_ns: cpu_time_ns().saturating_sub(cpu_start_ns),
        max_resident_bytes: max_resident_kib * 1024,
    }
}
