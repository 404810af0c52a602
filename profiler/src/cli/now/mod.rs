//! `profile now`: what a ship does at this moment. Looks at it for a second, from `/proc` alone.

mod code;

use std::collections::BTreeMap;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::Args;
use procfs_core::process::Syscall;

use super::{DONE, Format, INCOMPLETE, print};
use crate::attribute::syscall_name;
use crate::host::cgroup::throttling;
use crate::host::counters::now_ktime_ns;
use crate::host::kernel::memory_counters;
use crate::host::net::udp_sockets;
use crate::host::process::Process;
use crate::host::{Reading, Roots, read_link};
use crate::model::NS_PER_S;
use crate::now::{
    Ahead, AmesQueue, Call, CpuSums, EventSample, KingReply, Moment, Sums, ThreadIdentity,
    ThreadSample, Watch, answer,
};
use crate::render;
use crate::ship::conn::{self, Conn, ConnError, KingInfo, Question};
use crate::ship::loom::{self, LoomAnswer, LoomError};
use crate::ship::{Selector, Ship, discover};
use code::Code;

/// Looks at the ship. With [`LOOK_EVERY`] they take a second, so that the answer is there within two.
const LOOKS: u32 = 21;
/// From one look to the next.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long the king may take to answer, all together. It is asked while the ship is looked at.
const KING_LIMIT: Duration = Duration::from_millis(1200);
/// File of the snapshot that is under way (vere `pkg/noun/events.c`).
const SNAPSHOT_FILE: &str = ".urb/chk/control.bin";
/// Calls whose first argument is a file descriptor and that a thread may wait in for long.
const CALLS_ON_FILES: [&str; 17] = [
    "read",
    "readv",
    "pread64",
    "preadv",
    "preadv2",
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "fsync",
    "fdatasync",
    "sync_file_range",
    "ftruncate",
    "fallocate",
    "lseek",
    "getdents64",
];

const EXAMPLES: &str = "\
Examples:
  sudo profile now                          the one ship that runs
  sudo profile now --ship ~/zod             by its pier
  sudo profile now --ship ~zod --format json

Exit status: 0 done, 1 failed, 2 wrong usage, 3 done but something could not be
measured.";

/// Which ship, and how to print.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct NowArgs {
    /// The ship: its pier, its name (~zod), or the id of one of its processes. Left out: the one
    /// that runs.
    #[arg(long, value_name = "SHIP")]
    ship: Option<String>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub(super) fn run(arguments: &NowArgs) -> anyhow::Result<u8> {
    let roots = Roots::default();
    let selector = Selector::of(arguments.ship.as_deref());
    let ship = discover(&roots, &selector)?;
    let answer = answer(watch(&roots, &ship));
    print(&match arguments.format {
        Format::Text => render::now::text(&answer),
        Format::Json => render::now::json(&answer)?,
    })?;
    Ok(if answer.incomplete.is_empty() {
        DONE
    } else {
        INCOMPLETE
    })
}

fn watch(roots: &Roots, ship: &Ship) -> Watch {
    let asking = ask_king(roots, ship);
    let king = Process::new(roots, ship.king.tgid);
    let lost_total = || Some(udp_sockets(&king).ok()?.iter().map(|s| s.drops_total).sum());
    let swapped_in = || memory_counters(roots).map(|counters| counters.swapped_in_pages);
    let (lost_before, swapped_before): (Option<u64>, _) = (lost_total(), swapped_in());
    let cpu_sums_before = cpu_sums(roots, ship);
    let mut looker = Looker::new(roots, ship);
    let moments = looker.look();
    let ahead = Ahead::between(&cpu_sums_before, &cpu_sums(roots, ship));
    let ames = udp_sockets(&king).map(|sockets| {
        let lost: u64 = sockets.iter().map(|socket| socket.drops_total).sum();
        AmesQueue {
            receive_queue_bytes: sockets.iter().map(|s| s.receive_queue_bytes).sum(),
            lost_total: lost_before.map(|before| lost.saturating_sub(before)),
        }
    });
    let swapped_in_pages = match (swapped_before, swapped_in()) {
        (Ok(Some(before)), Ok(Some(after))) => Reading::Known(after.saturating_sub(before)),
        (Err(error), _) | (_, Err(error)) => Reading::unknown(error.to_string()),
        _ => Reading::unknown("this kernel does not count them"),
    };
    let reply = asking.join().unwrap_or_else(|_| KingReply::NotAsked {
        reason: "the asking thread failed".to_owned(),
    });
    let mut incomplete = looker.incomplete;
    if let KingReply::NotAsked { reason } = &reply {
        incomplete.push(format!("the king was not asked: {reason}"));
    }
    Watch {
        ship: ship.label(),
        king_tgid: ship.king.tgid,
        mars_tgid: ship.mars.as_ref().map(|mars| mars.tgid),
        is_booting: ship.booting,
        // Where its sockets may not be seen, nothing says that it is not up.
        is_up: ship.udp_ports.known().is_none_or(|ports| !ports.is_empty())
            || matches!(reply, KingReply::Answered { .. }),
        threads: looker.threads,
        moments,
        king: reply,
        ahead,
        ames: ames.into(),
        swapped_in_pages,
        incomplete,
    }
}

/// CPU time of everybody but the ship and us, and what mars' quotas have cost so far.
fn cpu_sums(roots: &Roots, ship: &Ship) -> CpuSums {
    let tick_ns = NS_PER_S / rustix::param::clock_ticks_per_second().max(1);
    let own = std::process::id();
    let others = Process::all(roots).unwrap_or_default().into_iter();
    let others = others
        .filter(|process| process.tgid() != own && !ship.tgids().contains(&process.tgid()))
        // One that has ended meanwhile is left out.
        .filter_map(|process| {
            let stat = process.stat().ok()?;
            let ticks = stat.utime.saturating_add(stat.stime);
            Some((process.tgid(), (stat.comm, ticks.saturating_mul(tick_ns))))
        });
    let mars = ship.mars.as_ref().unwrap_or(&ship.king);
    CpuSums {
        at_ktime_ns: now_ktime_ns(),
        others: others.collect(),
        quotas: throttling(roots, &Process::new(roots, mars.tgid)),
    }
}

/// Asks the king while the ship is looked at. It ends by itself, whatever the king does.
fn ask_king(roots: &Roots, ship: &Ship) -> JoinHandle<KingReply> {
    let (roots, ship) = (roots.clone(), ship.clone());
    std::thread::spawn(move || {
        reply(&roots, &ship).unwrap_or_else(|error| match error {
            ConnError::NotTaken { .. } => silent(),
            error => KingReply::NotAsked {
                reason: error.to_string(),
            },
        })
    })
}

fn silent() -> KingReply {
    KingReply::Silent {
        after_ns: u64::try_from(KING_LIMIT.as_nanos()).unwrap_or(u64::MAX),
    }
}

fn reply(roots: &Roots, ship: &Ship) -> Result<KingReply, ConnError> {
    let deadline = Instant::now() + KING_LIMIT;
    let left = || {
        deadline
            .saturating_duration_since(Instant::now())
            .max(LOOK_EVERY)
    };
    let mut conn = Conn::open(roots, ship, left())?;
    let begin = Instant::now();
    let number = conn.ask(Question::Live, left())?;
    let Some((answered, data)) = conn.answer(deadline)? else {
        return Ok(silent());
    };
    if answered != number {
        let what = "an answer to no question";
        return Err(ConnError::Shape { what });
    }
    let time_ns = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
    conn::decode(Question::Live, &data)?;
    conn.ask(Question::Info, left())?;
    let info = match conn.answer(deadline)? {
        Some((_, data)) => match conn::decode(Question::Info, &data) {
            Ok(conn::Answer::Info(info)) => info,
            // Versions that do not know the question answer with null.
            _ => KingInfo::default(),
        },
        None => KingInfo::default(),
    };
    Ok(KingReply::Answered {
        time_ns,
        queue: info.queue,
        event_number: info.event_number,
    })
}

/// Takes the looks.
struct Looker<'a> {
    roots: &'a Roots,
    ship: &'a Ship,
    threads: BTreeMap<u32, ThreadIdentity>,
    code: Option<Code>,
    incomplete: Vec<String>,
}

impl<'a> Looker<'a> {
    fn new(roots: &'a Roots, ship: &'a Ship) -> Self {
        Self {
            roots,
            ship,
            threads: BTreeMap::new(),
            code: ship.mars.as_ref().map(|mars| Code::open(roots, mars.tgid)),
            incomplete: Vec::new(),
        }
    }

    fn look(&mut self) -> Vec<Moment> {
        let begin = Instant::now();
        let mut moments = Vec::new();
        for number in 0..LOOKS {
            let due = begin + LOOK_EVERY * number;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            // A machine that is too slow for all looks still gets its answer in time.
            if number > 1 && begin.elapsed() > LOOK_EVERY * LOOKS {
                break;
            }
            moments.push(self.moment());
        }
        moments
    }

    fn moment(&mut self) -> Moment {
        let at_ktime_ns = now_ktime_ns();
        let mars = self.ship.mars.as_ref().map(|mars| mars.tgid);
        let mut threads = BTreeMap::new();
        for tgid in self.ship.tgids() {
            self.look_at_threads(tgid, &mut threads);
        }
        let mars_stat = mars.and_then(|tgid| Process::new(self.roots, tgid).stat().ok());
        let event = mars.and_then(|tgid| self.event(tgid));
        let is_running = event.is_some_and(|event| event.is_running);
        let code = self.code.as_mut().filter(|_| is_running);
        Moment {
            at_ktime_ns,
            event,
            code: code.and_then(Code::look),
            threads,
            has_snapshot_files: exists(&self.ship.pier.reachable.join(SNAPSHOT_FILE)),
            mars_major_faults_total: mars_stat.map(|stat| stat.majflt),
        }
    }

    fn event(&mut self, mars_tgid: u32) -> Option<EventSample> {
        match loom::read(self.roots, mars_tgid) {
            Ok(LoomAnswer::Home(home)) => Some(EventSample {
                done: home.event_number,
                is_running: home.event_in_progress,
            }),
            Ok(LoomAnswer::UnknownLayout { version, .. }) => {
                self.lacks(format!(
                    "events: mars' memory has a layout (version {version}) that is not known"
                ));
                None
            }
            Ok(LoomAnswer::Unreadable { reason }) => {
                self.lacks(format!("events: {reason}"));
                None
            }
            // The next look is as good.
            Err(LoomError::Torn { .. }) => None,
            Err(error) => {
                self.lacks(format!("events: {error}"));
                None
            }
        }
    }

    fn look_at_threads(&mut self, tgid: u32, found: &mut BTreeMap<u32, ThreadSample>) {
        let process = Process::new(self.roots, tgid);
        for tid in process.thread_ids().unwrap_or_default() {
            let thread = process.thread(tid);
            let Ok(stat) = thread.stat() else { continue };
            let call = match thread.syscall() {
                Ok(Syscall::Blocked {
                    syscall_number,
                    argument_registers,
                    ..
                }) => Some(call_of(&process, syscall_number, argument_registers[0])),
                Ok(_) => None,
                Err(error) if error.is_absent() => None,
                Err(error) => {
                    self.lacks(format!("what threads wait in: {error}"));
                    None
                }
            };
            let sums = thread.schedstat().ok().map(|sums| Sums {
                on_cpu_ns: sums.sum_exec_runtime,
                run_queue_ns: sums.run_delay,
                timeslices_total: sums.pcount,
            });
            let role = self.ship.role_of(tgid, tid, &stat.comm);
            self.threads.insert(tid, ThreadIdentity { tgid, role });
            let state = stat.state;
            found.insert(tid, ThreadSample { state, call, sums });
        }
    }

    /// Notes what could not be measured; of each kind, the first.
    fn lacks(&mut self, what: String) {
        let kind = |text: &str| text.split_once(": ").map(|(kind, _)| kind.to_owned());
        if !self
            .incomplete
            .iter()
            .any(|known| kind(known) == kind(&what))
        {
            self.incomplete.push(what);
        }
    }
}

fn call_of(process: &Process, number: i64, first_argument: u64) -> Call {
    let name = syscall_name(
        std::env::consts::ARCH,
        i32::try_from(number).unwrap_or(i32::MAX),
    );
    let file = CALLS_ON_FILES
        .contains(&name)
        .then(|| file_name(process, first_argument))
        .flatten();
    Call { name, file }
}

/// Base name of an open file; none for a socket or a pipe, whose names say nothing.
fn file_name(process: &Process, fd: u64) -> Option<String> {
    let target = read_link(&process.path("fd").join(fd.to_string())).ok()?;
    if !target.is_absolute() {
        return None;
    }
    Some(target.file_name()?.to_string_lossy().into_owned())
}

/// Whether something has this name, without following it.
fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
