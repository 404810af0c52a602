//! What must hold whatever happens: losses are counted and said, limits end a capture, and nothing is
//! written into the pier.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use harness::gate;
use harness::profile::Profile;
use harness::ship::ShipOptions;

use crate::support::{DONE, INCOMPLETE, Report, ShipInMemory, number};

/// A ship that makes more records than a small buffer takes.
fn eager_ship() -> ShipInMemory {
    ShipInMemory::start(&ShipOptions {
        events_per_second: Some(2000.0),
        compute_us: Some(100),
        no_truth: true,
        ..ShipOptions::default()
    })
}

/// A deep dive that records every wait.
fn every_wait(ship: &ShipInMemory, seconds: u64) -> Profile {
    let profile = Profile::deep_dive(ship.ship.pier(), seconds).json();
    profile.arg("--threshold-us").arg("1")
}

#[test]
fn records_that_do_not_fit_are_counted_and_said_first() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = eager_ship();
    let outcome = every_wait(&ship, 3)
        .arg("--ring-kib")
        .arg("4")
        .run()
        .unwrap();
    assert_eq!(outcome.code(), Some(INCOMPLETE), "{}", outcome.stderr);
    // Budgets close all the same: their sums are in the kernel.
    let report = Report::of(&outcome);
    let lost = number(&report.0, "lost");
    assert!(lost > 100, "{report}");
    let first = report.strings("incomplete")[0];
    assert!(first.contains(&format!("{lost} records")), "{first}");
    let by_reason: u64 = report
        .list("losses")
        .iter()
        .map(|loss| number(loss, "count"))
        .sum();
    assert!(by_reason >= lost, "{report}");
}

#[test]
fn a_capture_ends_at_its_size_limit() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = eager_ship();
    let outcome = every_wait(&ship, 120)
        .arg("--max-size")
        .arg("1")
        .run()
        .unwrap();
    assert_eq!(outcome.code(), Some(INCOMPLETE), "{}", outcome.stderr);
    let report = Report::of(&outcome);
    assert_eq!(report.0["window"]["ended"], "size_limit");
    let why = report.strings("incomplete");
    assert!(
        why.iter().any(|line| line.contains("--max-size")),
        "{why:?}"
    );
}

#[test]
fn nothing_in_the_pier_changes() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    // A ship that rests, so that it writes nothing itself.
    let ship = ShipInMemory::start(&ShipOptions {
        events_per_second: Some(0.0),
        ..ShipOptions::default()
    });
    let before = files(ship.ship.pier());
    let outcome = Profile::deep_dive(ship.ship.pier(), 2).run().unwrap();
    assert_eq!(outcome.code(), Some(DONE), "{}", outcome.stderr);
    assert_eq!(files(ship.ship.pier()), before);
    assert!(before.len() > 5, "{before:?}");
}

/// Inode, size and times of change of everything below a directory.
fn files(directory: &Path) -> BTreeMap<PathBuf, (u64, u64, i64, i64)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let file = fs::symlink_metadata(&path).unwrap();
        if file.is_dir() {
            found.extend(files(&path));
        }
        let changed = (file.ctime(), file.ctime_nsec());
        found.insert(path, (file.ino(), file.size(), changed.0, changed.1));
    }
    found
}
