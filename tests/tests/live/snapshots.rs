//! Snapshots, found by their file operations, against what the ship says of itself.

use std::ops::Range;

use harness::gate;
use harness::profile::Profile;
use harness::scratch::Scratch;
use harness::ship::{RunningShip, ShipOptions};
use rustix::time::{ClockId, clock_gettime};

use crate::support::{DONE, Report, number};

/// Length of the capture, s.
const SECONDS: u64 = 6;
/// What the ship counts to a snapshot before it writes to the file by which we know it (gathering the
/// pages that changed), and what lies behind it until the ship waits for work or computes.
const ALLOWANCE_PER_SNAPSHOT_NS: u64 = 2_000_000;

/// A ship on a disk: what lies in memory is never waited for.
fn ship(home: &Scratch, events_per_second: f64) -> RunningShip {
    let options = ShipOptions {
        events_per_second: Some(events_per_second),
        snap_seconds: Some(1),
        dirty_pages: Some(16),
        heap_pages: Some(4096),
        ..ShipOptions::default()
    };
    options.start_in(home.path()).unwrap()
}

/// When the ship stood still for snapshots between two moments.
fn truth(ship: &RunningShip, start_ktime_ns: u64, end_ktime_ns: u64) -> Vec<Range<u64>> {
    let lines = ship.mars_truth().unwrap();
    let snapshots = lines.iter().filter(|line| line["event"] == "snapshot");
    let inside = snapshots.map(|line| {
        let start = number(line, "start_ktime_ns").max(start_ktime_ns);
        start..number(line, "end_ktime_ns").min(end_ktime_ns)
    });
    inside.filter(|freeze| !freeze.is_empty()).collect()
}

#[test]
fn freezes_are_those_of_the_ship() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let (report, hit) = freezes(20.0);
    // Of a ship that rests between events, a short freeze may hit none.
    assert!(
        report.leaf_ratio("snapshot") > 0.0 || !hit,
        "no part of the time: {report}"
    );
}

#[test]
fn freezes_of_a_busy_ship_are_too() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let (report, _) = freezes(1_000_000.0);
    assert!(
        report.leaf_ratio("snapshot") > 0.0,
        "no part of the time: {report}"
    );
}

/// The report, and whether the ship sent mars an event while it stood still.
fn freezes(events_per_second: f64) -> (Report, bool) {
    let home = Scratch::new("pier").unwrap();
    let mut ship = ship(&home, events_per_second);
    let outcome = Profile::deep_dive(ship.pier(), SECONDS)
        .json()
        .run()
        .unwrap();
    assert_eq!(outcome.code(), Some(DONE), "{}", outcome.stderr);
    let report = Report::of(&outcome);
    let window = &report.0["window"];
    let start_ktime_ns = number(window, "start_unix_ns") - boot_unix_ns();
    let end_ktime_ns = start_ktime_ns + number(window, "duration_ns");
    let snapshots = &report.0["snapshots"];
    ship.stop().unwrap();
    let freezes = truth(&ship, start_ktime_ns, end_ktime_ns);
    let seen = freezes.len() as u64;
    let frozen_ns: u64 = freezes.iter().map(|freeze| freeze.end - freeze.start).sum();
    assert!(seen >= 3, "only {seen} snapshots: {report}");
    let open = u64::from(!snapshots["open_ns"].is_null());
    // One at an end of the window may be seen by one of both only.
    assert!(
        number(snapshots, "count").abs_diff(seen) <= 1 + open,
        "{seen} snapshots: {report}"
    );
    let ours_ns = number(snapshots, "total_ns");
    let allowance_ns = frozen_ns / 50 + seen * ALLOWANCE_PER_SNAPSHOT_NS;
    println!("{seen} snapshots, {frozen_ns} ns by the ship, {ours_ns} ns by us");
    assert!(
        ours_ns.abs_diff(frozen_ns) <= allowance_ns,
        "{ours_ns} ns, and {frozen_ns} by the ship's own clock: {report}"
    );
    let hit = ship.king_truth().unwrap().iter().any(|line| {
        let is_hit = |freeze: &Range<u64>| freeze.contains(&number(line, "sent_ktime_ns"));
        line["event"] == "applied" && freezes.iter().any(is_hit)
    });
    (report, hit)
}

/// `CLOCK_REALTIME` when `CLOCK_MONOTONIC` was 0.
pub fn boot_unix_ns() -> u64 {
    let ns = |clock| {
        let time = clock_gettime(clock);
        u64::try_from(time.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap()
    };
    ns(ClockId::Realtime) - ns(ClockId::Monotonic)
}
