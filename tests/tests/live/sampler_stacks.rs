//! Sampling mode's stacks, and what it leaves out to stay within its budget.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use harness::faults::cpu::CpuQuota;
use harness::faults::disk::LoopDisk;
use harness::faults::memory::{MemoryLimit, ZramSwap};
use harness::gate;
use harness::process::poll_until;
use harness::profile::{Profile, RunningProfile};
use harness::scratch::Scratch;
use harness::ship::ShipOptions;
use rustix::process::Signal;
use serde_json::Value;

use crate::kernel::wait_for_capture;
use crate::support::{DONE, ShipInMemory, number};

/// How long the windows may take.
const LIMIT: Duration = Duration::from_secs(40);

fn start(pier: &Path, store: &Path, interval: &str, arguments: &[&str]) -> RunningProfile {
    let mut sampler = Profile::new(["sampler", "--interval", interval, "--ship"])
        .arg(pier)
        .arg("--store")
        .arg(store);
    for argument in arguments {
        sampler = sampler.arg(argument);
    }
    sampler.start().unwrap()
}

/// All windows of the store in one, once they are as wanted.
fn wait_for_history(store: &Path, what: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
    poll_until(what, LIMIT, || {
        let outcome = Profile::new(["history", "--json", "--since", "1h", "--store"])
            .arg(store)
            .run()?;
        let Ok(history) = outcome.json() else {
            return Ok(Err(outcome.stderr));
        };
        Ok(if is_wanted(&history["total"]) {
            Ok(history)
        } else {
            Err(history["total"].to_string())
        })
    })
    .unwrap()
}

fn end(running: RunningProfile) {
    running.signal(Signal::TERM).unwrap();
    let outcome = running.finish().unwrap();
    assert_eq!(outcome.code(), Some(DONE), "{}", outcome.stderr);
}

/// Frames and weights of a kind of stacks, and the weight of all, kept one by one or not.
fn stacks(history: &Value, kind: &str) -> (Vec<(Vec<String>, u64)>, u64) {
    let of_kind = &history["stacks"][kind];
    let top = of_kind["top"].as_array().cloned().unwrap_or_default();
    let stacks = top.iter().map(|stack| {
        let frames = stack["frames"].as_array().cloned().unwrap_or_default();
        let names = frames.iter().filter_map(Value::as_str).map(str::to_owned);
        (names.collect(), number(stack, "weight_ns"))
    });
    (stacks.collect(), number(of_kind, "total_ns"))
}

#[test]
fn stacks_have_names_and_sum_to_the_budgets() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    // On a disk, which commits have to wait for.
    let ship = ShipOptions {
        compute_us: Some(20_000),
        ..ShipOptions::default()
    };
    let ship = ship.start().unwrap();
    let home = Scratch::in_memory("store").unwrap();
    let store = home.path().join("ships.db");
    // Enough for a machine that is busy with other tests: nothing is to be left out.
    let running = start(ship.pier(), &store, "1", &["--cpu-budget", "100"]);
    wait_for_capture(&running);
    let history = wait_for_history(&store, "windows with stacks", |total| {
        number(total, "windows") >= 5
    });
    end(running);
    let total = &history["total"];
    println!("{:#}", history["stacks"]);
    let budgets: BTreeMap<String, Value> =
        serde_json::from_value(total["budgets"].clone()).unwrap();
    let of_all = |part: &str| -> u64 { budgets.values().map(|role| number(role, part)).sum() };
    for (kind, part) in [("on-cpu", "on_cpu_ns"), ("off-cpu", "blocked_ns")] {
        let (stacks, total_ns) = stacks(&history, kind);
        assert_eq!(total_ns, of_all(part), "{kind}: {stacks:#?}");
    }
    // Mars computes: its stacks lead from the program's beginning to the function that does.
    let (on_cpu, _) = stacks(&history, "on-cpu");
    let named = |frames: &[String]| frames.iter().any(|name| name.contains("reference_ship"));
    let of_mars: u64 = on_cpu
        .iter()
        .filter(|(frames, _)| frames[0] == "mars" && named(frames))
        .map(|(_, weight_ns)| weight_ns)
        .sum();
    assert!(
        of_mars * 2 > number(&budgets["mars"], "on_cpu_ns"),
        "{on_cpu:#?}"
    );
    // And something blocks, in the kernel, by a system call that is named.
    let (off_cpu, _) = stacks(&history, "off-cpu");
    let blocked = off_cpu.iter().find(|(frames, _)| {
        frames.iter().any(|name| name.contains("schedule"))
            && frames
                .last()
                .is_some_and(|last| last.starts_with("waits in "))
    });
    assert!(blocked.is_some(), "{off_cpu:#?}");
    assert_eq!(number(&total["own_cost"], "thinned"), 0, "{total:#}");
    // The verifier takes each program as it is while sampling, too.
    let refused = total["not_measured"].to_string();
    assert!(!refused.contains("BPF_PROG_LOAD"), "{refused}");
}

#[test]
fn a_tiny_budget_leaves_things_out_and_says_so() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipInMemory::start(&ShipOptions::default());
    let home = Scratch::in_memory("store").unwrap();
    let store = home.path().join("ships.db");
    let running = start(ship.ship.pier(), &store, "1", &["--cpu-budget", "0.01"]);
    let said = |total: &Value, what: &str| {
        let missing = total["not_measured"].to_string();
        missing.contains(what) && missing.contains("CPU budget of 0.01 % of one CPU")
    };
    let history = wait_for_history(&store, "everything to be left out", |total| {
        said(total, "every other stack (")
            && said(total, "\"stacks (")
            && said(total, "block I/O (")
    });
    end(running);
    let total = &history["total"];
    assert!(number(&total["own_cost"], "thinned") >= 3, "{total:#}");
    // Budgets are what is never left out.
    assert!(
        number(&total["budgets"]["mars"], "wall_ns") > 0,
        "{total:#}"
    );
    let programs = &total["own_cost"]["programs_cpu_ns"];
    assert!(programs.is_object(), "not estimated: {total:#}");
}

/// The time of a leaf of all windows.
fn leaf_ns(total: &Value, leaf: &str) -> u64 {
    total["leaves"]
        .get(leaf)
        .map_or(0, |leaf| number(leaf, "total_ns"))
}

#[test]
fn swap_and_reclaim_are_told_from_other_computing_and_waits() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipOptions {
        heap_pages: Some(4096),
        compute_us: Some(10_000),
        dirty_pages: Some(64),
        ..ShipOptions::default()
    };
    let disk = LoopDisk::new(512 << 20).unwrap();
    let _swap = ZramSwap::start(512 << 20).unwrap();
    let ship = ship.start_in(disk.path()).unwrap();
    let _limit = MemoryLimit::start(8 << 20, &ship.pids()).unwrap();
    let home = Scratch::in_memory("store").unwrap();
    let store = home.path().join("ships.db");
    // Long enough for the samples that a share is taken from: swap in memory is no wait, but computing.
    let running = start(ship.pier(), &store, "3", &["--cpu-budget", "100"]);
    wait_for_capture(&running);
    let history = wait_for_history(&store, "time for swap and reclaim", |total| {
        leaf_ns(total, "swap-in") > 0 && leaf_ns(total, "reclaim") > 0
    });
    end(running);
    println!("{:#}", history["total"]["leaves"]);
}

#[test]
fn a_quota_is_told_from_the_run_queue() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipInMemory::start(&ShipOptions {
        compute_us: Some(20_000),
        ..ShipOptions::default()
    });
    let _quota = CpuQuota::start(20, &ship.ship.pids()).unwrap();
    let home = Scratch::in_memory("store").unwrap();
    let store = home.path().join("ships.db");
    let running = start(ship.ship.pier(), &store, "1", &[]);
    wait_for_capture(&running);
    let history = wait_for_history(&store, "windows of a ship held back", |total| {
        number(total, "windows") >= 3
    });
    end(running);
    let budgets = history["total"]["budgets"].as_object().unwrap();
    let mars = &budgets["mars"];
    let (throttled, queued) = (number(mars, "throttled_ns"), number(mars, "run_queue_ns"));
    assert!(throttled > queued, "{mars:#}");
    let parts = [
        "on_cpu_ns",
        "run_queue_ns",
        "throttled_ns",
        "blocked_ns",
        "idle_ns",
    ];
    let sum: u64 = parts.iter().map(|part| number(mars, part)).sum();
    let unexplained = number(mars, "unexplained_ns");
    assert_eq!(sum + unexplained, number(mars, "wall_ns"), "{mars:#}");
}
