//! Faults, pages from swap and pages read back, against the kernel's own counters.

use std::fs;

use harness::faults::{LoopDisk, MemoryLimit, ZramSwap};
use harness::gate;
use harness::peer::PeerOptions;
use harness::ship::{RunningShip, ShipOptions};

use crate::oracles::{BURST, assert_close, check, report_of_a_burst, send};
use crate::support::{evict_image, number, swapping_ship};

const MIB: u64 = 1 << 20;

/// A loom of 64 MiB that events read through again and again, and nothing else.
fn reading_ship() -> ShipOptions {
    ShipOptions {
        events_per_second: Some(0.0),
        heap_pages: Some(4096),
        compute_us: Some(10_000),
        dirty_pages: Some(0),
        ..ShipOptions::default()
    }
}

#[test]
fn major_faults_are_the_kernels() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let disk = LoopDisk::new(512 * MIB).unwrap();
    let _single = disk.without_read_ahead().unwrap();
    let ship = reading_ship().start_in(disk.path()).unwrap();
    let first = || {
        let before = major_faults(&ship);
        evict_image(&ship);
        before
    };
    let (report, kernels) =
        report_of_a_burst(&ship, &BURST, first, |before| major_faults(&ship) - before);
    assert!(kernels > 100, "{report}");
    let faults = check(&report, "major faults");
    assert_eq!(number(faults, "kernels"), kernels);
    assert_close("major faults", number(faults, "ours"), kernels, 0, &report);
}

#[test]
fn pages_swapped_in_are_the_kernels() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let disk = LoopDisk::new(512 * MIB).unwrap();
    let _swap = ZramSwap::start(512 * MIB).unwrap();
    // Nobody else on this machine swaps.
    let settle = |ship: &RunningShip| send(ship, &BURST);
    let (ship, _limit) = swapping_ship(disk.path(), &reading_ship(), settle);
    let counters = || (vmstat("pswpin"), major_faults(&ship));
    let (report, (swapped_in, faults)) = report_of_a_burst(&ship, &BURST, counters, |before| {
        let after = counters();
        (after.0 - before.0, after.1 - before.1)
    });
    assert!(swapped_in > 1000, "{swapped_in}: {report}");
    let ours = check(&report, "pages swapped in");
    assert_close(
        "pages swapped in",
        number(ours, "ours"),
        swapped_in,
        0,
        &report,
    );
    assert_close(
        "the report's",
        number(ours, "kernels"),
        swapped_in,
        0,
        &report,
    );
    let ours = check(&report, "major faults");
    assert_close("major faults", number(ours, "ours"), faults, 0, &report);
    // What a process read has its pages from swap in it.
    let read = check(&report, "bytes read");
    let (ours, kernels) = (number(read, "ours"), number(read, "kernels"));
    assert_close("bytes read", ours, kernels, 0, &report);
}

#[test]
fn pages_read_back_are_those_that_were_evicted() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let disk = LoopDisk::new(512 * MIB).unwrap();
    let ship = reading_ship().start_in(disk.path()).unwrap();
    // It only takes count of the ship's pages.
    let group = MemoryLimit::start(2048 * MIB, &ship.pids()).unwrap();
    // Read anew, so that they are charged to the group; all of them, so that what is read later had
    // been there.
    evict_image(&ship);
    let burst = PeerOptions {
        packets_per_second: 200.0,
        ..BURST
    };
    send(&ship, &burst);
    let refaulted = || group.stat("workingset_refault_file").unwrap();
    let first = || {
        let before = refaulted();
        group.evict().unwrap();
        before
    };
    let (report, kernels) = report_of_a_burst(&ship, &burst, first, |before| refaulted() - before);
    assert!(kernels > 1000, "{kernels}: {report}");
    // No program of ours sees that a page had been there before, but what is read for it.
    let read_pages =
        number(check(&report, "bytes read"), "ours") / rustix::param::page_size() as u64;
    assert_close("pages read back", read_pages, kernels, 0, &report);
    assert_eq!(
        number(&report.0["page_in_rule"], "refaulted_pages"),
        kernels
    );
    assert!(
        report.leaf_ratio("page_in_after_eviction") > 0.0,
        "{report}"
    );
}

/// Faults of king and mars that waited for I/O (`/proc/PID/stat`, the twelfth field).
fn major_faults(ship: &RunningShip) -> u64 {
    let of = |pid: &u32| -> u64 {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        // The name is in brackets, and may hold anything.
        let fields = text.rsplit_once(')').unwrap().1;
        fields.split_whitespace().nth(9).unwrap().parse().unwrap()
    };
    ship.pids().iter().map(of).sum()
}

/// A counter of the whole machine.
fn vmstat(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/vmstat").unwrap();
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap().parse().unwrap()
}
