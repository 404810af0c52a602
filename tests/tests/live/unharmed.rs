//! Observing never harms the ship: no signal to it, no ptrace stop. (That nothing is written to its pier
//! is in `invariants`.)
//!
//! Told by the kernel's own trace, which sees every signal to whom and from whom, and every ptrace call.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use harness::gate;
use harness::process::threads;
use harness::profile::{Outcome, Profile};
use harness::scratch::Scratch;
use harness::ship::{RunningShip, ShipOptions};
use harness::trace::{Trace, TraceLine};
use rustix::process::Signal;

use crate::kernel::wait_for_capture;
use crate::support::{DONE, ShipInMemory};

/// How often the states of the ship's threads are looked at.
const LOOK: Duration = Duration::from_millis(10);
/// How long the sampler is let alone.
const SAMPLED: Duration = Duration::from_millis(3500);

#[test]
fn a_deep_dive_sends_no_signal_and_stops_nobody() {
    assert_unharmed(|ship| Profile::deep_dive(ship.pier(), 4).run().unwrap());
}

#[test]
fn a_sampler_sends_no_signal_and_stops_nobody() {
    let home = Scratch::in_memory("store").unwrap();
    assert_unharmed(|ship| {
        let sampler = Profile::new(["sampler", "--interval", "1", "--ship"])
            .arg(ship.pier())
            .arg("--store")
            .arg(home.path().join("ships.db"));
        let running = sampler.start().unwrap();
        wait_for_capture(&running);
        std::thread::sleep(SAMPLED);
        running.signal(Signal::TERM).unwrap();
        running.finish().unwrap()
    });
}

/// Traces a ship while `observe` runs `profile` on it.
fn assert_unharmed(observe: impl FnOnce(&RunningShip) -> Outcome) {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    // It makes pages of its loom dirty, each by a signal to itself: so the trace is not just silent.
    let ship = ShipInMemory::start(&ShipOptions {
        dirty_pages: Some(4),
        snap_seconds: Some(1),
        ..ShipOptions::default()
    });
    let ship = &ship.ship;
    let trace = Trace::start(&[
        ("signal/signal_generate", ""),
        ("syscalls/sys_enter_ptrace", ""),
    ])
    .unwrap();
    let look_out = LookOut::start(ship.pids());
    let outcome = observe(ship);
    let (looks, odd) = look_out.finish();
    assert_eq!(outcome.code(), Some(DONE), "{}", outcome.stderr);
    assert!(looks > 50, "{looks}");
    assert_eq!(odd, BTreeSet::new());

    let tids = tids(ship);
    let (signals, calls): (Vec<TraceLine>, Vec<TraceLine>) = trace
        .lines()
        .unwrap()
        .into_iter()
        .partition(|line| line.text.starts_with("signal_generate: "));
    let signals: Vec<&TraceLine> = signals
        .iter()
        .filter(|line| tids.contains(&field(line, "pid").parse().unwrap()))
        .collect();
    assert!(signals.len() > 10, "the trace saw {signals:?}");
    for line in signals {
        let is_own = field(line, "sig") == "11" && tids.contains(&line.tid);
        assert!(is_own, "the ship got a signal: {line:?}");
    }
    // `sys_ptrace(request: 4206, pid: 1f3, addr: 0, data: 0)`, in hexadecimal.
    for line in &calls {
        let rest = line.text.split_once("pid: ").unwrap().1;
        let target = rest.split_once(',').unwrap().0;
        let target = u32::from_str_radix(target.trim_start_matches("0x"), 16).unwrap();
        assert!(!tids.contains(&target), "{line:?}");
    }
}

/// A field such as `pid=12`.
fn field<'a>(line: &'a TraceLine, name: &str) -> &'a str {
    let mut words = line.text.split_whitespace();
    let value = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("no {name} in {line:?}"))
}

fn tids(ship: &RunningShip) -> BTreeSet<u32> {
    let pids = ship.pids();
    pids.iter().flat_map(|pid| threads(*pid).unwrap()).collect()
}

/// Looks at all threads of some processes again and again, for one that is traced or stopped.
struct LookOut {
    ended: Arc<AtomicBool>,
    looking: JoinHandle<(u64, BTreeSet<String>)>,
}

impl LookOut {
    fn start(pids: [u32; 2]) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&ended);
        let looking = std::thread::spawn(move || {
            let (mut looks, mut odd) = (0, BTreeSet::new());
            while !until.load(Ordering::Relaxed) {
                for pid in &pids {
                    odd.extend(threads(*pid).unwrap().into_iter().filter_map(|tid| {
                        let path = format!("/proc/{pid}/task/{tid}/status");
                        // It may have ended since.
                        traced_or_stopped(&fs::read_to_string(path).ok()?)
                    }));
                }
                looks += 1;
                std::thread::sleep(LOOK);
            }
            (looks, odd)
        });
        Self { ended, looking }
    }

    /// How often it looked, and what it saw.
    fn finish(self) -> (u64, BTreeSet<String>) {
        self.ended.store(true, Ordering::Relaxed);
        self.looking.join().unwrap()
    }
}

/// The lines of `/proc/PID/status` that say so; nothing if none does.
fn traced_or_stopped(status: &str) -> Option<String> {
    let odd = |line: &&str| match line.split_once(':') {
        Some(("TracerPid", tracer)) => tracer.trim() != "0",
        Some(("State", state)) => state.trim_start().starts_with(['T', 't']),
        _ => false,
    };
    let lines: Vec<&str> = status.lines().filter(odd).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}
