//! Sampling mode: what it stores, and what becomes of it when it is ended in any way.

use std::path::Path;
use std::time::Duration;

use harness::accuracy::witness::now_ns;
use harness::gate;
use harness::ground_truth::turnarounds;
use harness::process::poll_until;
use harness::profile::{Outcome, Profile, RunningProfile};
use harness::scratch::Scratch;
use harness::ship::ShipOptions;
use rustix::process::Signal;
use serde_json::Value;

use crate::kernel::wait_for_capture;
use crate::support::{DONE, FAILED, ShipInMemory, number, schedstat};

/// How far the sums over all windows may be from the kernel's.
const TOLERANCE: f64 = 0.02;
/// What the kernel counts before and after the sampler has begun and ended, and its clock at switches.
const ALLOWANCE_NS: u64 = 60_000_000;
/// How long the first windows may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A sampler with windows of a second.
pub fn sampler(pier: &Path, store: &Path) -> Profile {
    Profile::new(["sampler", "--interval", "1", "--ship"])
        .arg(pier)
        .arg("--store")
        .arg(store)
}

/// All windows of the store in one, as `profile history` adds them up.
pub fn history(store: &Path) -> Option<Value> {
    history_of(store, &[])
}

/// The same, with more arguments.
pub fn history_of(store: &Path, more: &[&str]) -> Option<Value> {
    let history = Profile::new(["history", "--json", "--since", "1h", "--store"]).arg(store);
    let history = more.iter().fold(history, |history, word| history.arg(word));
    let outcome = history.run().unwrap();
    let mut history = outcome.json().ok()?;
    Some(history["total"].take())
}

/// Waits until the store holds so many.
pub fn wait_for_windows(store: &Path, windows: u64) {
    poll_until("windows to be stored", LIMIT, || {
        let history = history(store);
        let found = history
            .as_ref()
            .and_then(|history| history["windows"].as_u64());
        Ok(match found {
            Some(found) if found >= windows => Ok(()),
            _ => Err(format!("{history:?}")),
        })
    })
    .unwrap();
}

fn end(running: RunningProfile, signal: Signal) -> Outcome {
    running.signal(signal).unwrap();
    running.finish().unwrap()
}

#[test]
fn windows_add_up_to_the_kernels_counters() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipInMemory::start(&ShipOptions {
        compute_us: Some(20_000),
        ..ShipOptions::default()
    });
    let home = Scratch::in_memory("store").unwrap();
    let store = home.path().join("ships.db");
    let running = sampler(ship.ship.pier(), &store).start().unwrap();
    wait_for_capture(&running);
    let before = schedstat(&ship.ship.pids());
    wait_for_windows(&store, 3);
    let after = schedstat(&ship.ship.pids());
    let outcome = end(running, Signal::TERM);
    assert_eq!(outcome.code(), Some(DONE), "{}", outcome.stderr);
    let history = history(&store).unwrap();
    let budgets = history["budgets"].as_object().unwrap();
    let total = |field: &str| -> u64 { budgets.values().map(|role| number(role, field)).sum() };
    for (what, ours, kernels) in [
        ("on_cpu_ns", total("on_cpu_ns"), after.0 - before.0),
        ("run_queue_ns", total("run_queue_ns"), after.1 - before.1),
    ] {
        // The sampler went on while the history was read.
        let over = ours.saturating_sub(kernels);
        println!("{what}: {ours}, kernel {kernels}");
        assert!(
            ours + ALLOWANCE_NS >= kernels - (kernels as f64 * TOLERANCE) as u64,
            "{what}: {ours}, but the kernel counted {kernels}: {history:#}"
        );
        assert!(over <= kernels / 2 + ALLOWANCE_NS, "{history:#}");
    }
    // Its parts are its whole.
    for (role, budget) in budgets {
        let parts = [
            "on_cpu_ns",
            "run_queue_ns",
            "throttled_ns",
            "blocked_ns",
            "idle_ns",
            "unexplained_ns",
        ];
        let sum: u64 = parts.iter().map(|part| number(budget, part)).sum();
        assert_eq!(sum, number(budget, "wall_ns"), "{role}");
    }
}

#[test]
fn a_thread_that_sleeps_for_long_counts_once() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    // It rests, so that mars sleeps from before the sampler until it is woken, windows later.
    let ship = ShipInMemory::start(&ShipOptions {
        events_per_second: Some(0.0),
        ..ShipOptions::default()
    });
    let home = Scratch::in_memory("store").unwrap();
    let store = home.path().join("ships.db");
    let running = sampler(ship.ship.pier(), &store).start().unwrap();
    wait_for_windows(&store, 4);
    crate::oracles::send(&ship.ship, &crate::oracles::BURST);
    let outcome = end(running, Signal::TERM);
    assert_eq!(outcome.code(), Some(DONE), "{}", outcome.stderr);
    let history = history(&store).unwrap();
    let duration_ns = number(&history, "duration_ns");
    // Each role has one thread.
    for role in ["king", "mars"] {
        let wall_ns = number(&history["budgets"][role], "wall_ns");
        println!("{role}: {wall_ns} of {duration_ns}");
        let off = wall_ns.abs_diff(duration_ns);
        assert!(
            off <= duration_ns / 100 + ALLOWANCE_NS,
            "{role}: {history:#}"
        );
    }
}

#[test]
fn a_killed_sampler_loses_only_the_window_in_hand() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipInMemory::start(&ShipOptions::default());
    let home = Scratch::in_memory("store").unwrap();
    let store = home.path().join("ships.db");
    let running = sampler(ship.ship.pier(), &store).start().unwrap();
    let footprint = wait_for_capture(&running);
    wait_for_windows(&store, 2);
    // A second one is refused, and harms nothing.
    let second = sampler(ship.ship.pier(), &store).run().unwrap();
    assert_eq!(second.code(), Some(FAILED), "{second:?}");
    assert!(second.stderr.contains("profile: "), "{second:?}");
    end(running, Signal::KILL);
    footprint.assert_gone();
    let kept = number(&history(&store).unwrap(), "windows");
    assert!(kept >= 2);
    // The next one takes the store over.
    let running = sampler(ship.ship.pier(), &store).start().unwrap();
    wait_for_windows(&store, kept + 1);
    let outcome = end(running, Signal::INT);
    assert_eq!(outcome.code(), Some(DONE), "{}", outcome.stderr);
}

#[test]
fn a_ship_that_ends_cuts_its_window_short_and_the_stop_file_ends_the_sampler() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let mut ship = ShipInMemory::start(&ShipOptions::default());
    let home = Scratch::in_memory("store").unwrap();
    let store = home.path().join("ships.db");
    let running = sampler(ship.ship.pier(), &store).start().unwrap();
    wait_for_capture(&running);
    ship.ship.stop().unwrap();
    poll_until("the window to be cut short", LIMIT, || {
        let history = history(&store);
        let text = history.map_or(String::new(), |history| history.to_string());
        Ok(if text.contains("the ship ended") {
            Ok(())
        } else {
            Err(text)
        })
    })
    .unwrap();
    std::fs::write(home.path().join("ships.db.stop"), "").unwrap();
    let outcome = running.finish().unwrap();
    assert_eq!(outcome.code(), Some(DONE), "{}", outcome.stderr);
    // It keeps the next one from starting, too.
    let next = sampler(ship.ship.pier(), &store).run().unwrap();
    assert_eq!(next.code(), Some(DONE), "{next:?}");
    assert!(next.stderr.contains("not started"), "{next:?}");
}

/// How far a quantile may be from the ship's own log: the histogram's buckets, and what the ship's clock
/// and ours are apart.
const QUANTILE_TOLERANCE: f64 = 0.15;
const QUANTILE_ALLOWANCE_NS: u64 = 300_000;

#[test]
fn events_take_as_long_as_the_ship_says() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let mut ship = ShipInMemory::start(&ShipOptions {
        events_per_second: Some(40.0),
        compute_us: Some(3_000),
        ..ShipOptions::default()
    });
    let home = Scratch::in_memory("store").unwrap();
    let store = home.path().join("ships.db");
    let running = sampler(ship.ship.pier(), &store).start().unwrap();
    wait_for_capture(&running);
    let from = now_ns();
    wait_for_windows(&store, 5);
    let to = now_ns();
    let outcome = end(running, Signal::TERM);
    assert_eq!(outcome.code(), Some(DONE), "{}", outcome.stderr);
    let history = history(&store).unwrap();
    ship.ship.stop().unwrap();
    let truth = turnarounds(&ship.ship, from..to).unwrap();
    let timed = &history["histograms"]["event_ns"];
    let (count, events) = (
        number(timed, "count"),
        number(&history["events"]["sum"], "count"),
    );
    println!("{count} of {events} events are timed: {timed:#}");
    // At most what was under way when the first window began, and when the last ended.
    assert!(count <= events + 12 && count + 12 >= events, "{history:#}");
    let truth = truth[truth.len() / 2];
    let ours = number(timed, "p50");
    let apart = ours.abs_diff(truth);
    let tolerance = (truth as f64 * QUANTILE_TOLERANCE) as u64 + QUANTILE_ALLOWANCE_NS;
    println!("p50 {ours} ns, the ship's own {truth} ns");
    assert!(
        apart <= tolerance,
        "p50 {ours} ns, the ship's own {truth} ns"
    );
}
