//! What others write of the ship's files is the ship's, file by file; what they write of others' files
//! is theirs.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::faults::LoopDisk;
use harness::gate;
use harness::ship::ShipOptions;
use rustix::fs::syncfs;
use serde_json::Value;

use crate::snapshots::boot_unix_ns;
use crate::support::{Report, number};

/// Length of a capture, s.
const SECONDS: u64 = 5;
/// Bytes of a page of the loom.
const PAGE_BYTES: u64 = 16_384;

/// Takes a capture of a pier while a file system is told again and again to write all that is dirty.
fn synced_meanwhile(scene: &str, pier: &Path, mount: &Path, first: impl FnOnce()) -> Report {
    let done = AtomicBool::new(false);
    let directory = File::open(mount).unwrap();
    std::thread::scope(|scope| {
        let report = Report::of_scene_with(scene, pier, SECONDS, || {
            first();
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    syncfs(&directory).unwrap();
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        });
        done.store(true, Ordering::Relaxed);
        report
    })
}

/// The sums of a file of the pier's own device.
fn file<'a>(report: &'a Report, name: &str) -> &'a Value {
    let device = &report.0["neighbours"]["devices"][0]["device"];
    let mut all = report.list("file_io").iter();
    let found = all.find(|line| line["file"] == name && line["device"] == *device);
    found.unwrap_or_else(|| panic!("no {name}: {report}"))
}

/// The parts of a device's busy time sum to it.
fn assert_busy_closed(report: &Report) {
    for device in report.0["neighbours"]["devices"].as_array().unwrap() {
        let busy = &device["busy"];
        let parts = [
            "ship_ns",
            "other_ships_ns",
            "others_ns",
            "journal_ns",
            "unfinished_ns",
        ];
        let sum: u64 = parts.iter().map(|part| number(busy, part)).sum();
        assert_eq!(sum, number(busy, "total_ns"), "{device:#}");
        assert!(sum <= number(&report.0["window"], "duration_ns") * 101 / 100);
    }
}

#[test]
fn pages_of_a_snapshot_count_for_its_files_whoever_writes_them() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let disk = LoopDisk::in_memory(512 << 20).unwrap();
    let options = ShipOptions {
        snap_seconds: Some(1),
        dirty_pages: Some(32),
        heap_pages: Some(4096),
        ..ShipOptions::default()
    };
    let mut ship = options.start_in(disk.path()).unwrap();
    let report = synced_meanwhile("written-back", ship.pier(), disk.path(), || {});
    assert_busy_closed(&report);
    let window = &report.0["window"];
    let start_ktime_ns = number(window, "start_unix_ns") - boot_unix_ns();
    let end_ktime_ns = start_ktime_ns + number(window, "duration_ns");
    ship.stop().unwrap();
    let (mut inside, mut touched) = (0, 0);
    for line in ship.mars_truth().unwrap() {
        if line["event"] != "snapshot" {
            continue;
        }
        let (start, end) = (
            number(&line, "start_ktime_ns"),
            number(&line, "end_ktime_ns"),
        );
        let bytes = number(&line, "pages") * PAGE_BYTES;
        if start < end_ktime_ns && end > start_ktime_ns {
            touched += bytes;
        }
        if start >= start_ktime_ns && end <= end_ktime_ns {
            inside += bytes;
        }
    }
    assert!(inside > 0, "no snapshot: {report}");
    let mut written_back = 0;
    // The patch and the image: each page goes into both, once a snapshot.
    for name in ["chk/memory.bin", "chk/image.bin"] {
        let file = file(&report, name);
        let of = |how: &str| number(&file[how], "bytes");
        let bytes = of("written") + of("written_back");
        assert!(
            (inside..=touched).contains(&bytes),
            "{name}: {bytes}, and {inside} to {touched} by the ship's own account: {report}"
        );
        written_back += of("written_back");
    }
    assert!(written_back > 0, "nobody else wrote: {report}");
    // The log is synced by the ship, but for what the other was quicker with.
    assert!(number(&file(&report, "0i0/data.mdb")["written"], "bytes") > 0);
    let device = &report.0["neighbours"]["devices"][0];
    let users = device["users"].as_array().unwrap().iter();
    let ours = users.filter(|user| user["kind"] == "ship");
    let ours: u64 = ours.map(|user| number(user, "written_back_bytes")).sum();
    assert!(ours >= written_back, "{report}");
    assert!(number(&device["busy"], "ship_ns") > 0, "{report}");
    // The journal was written by the kernel for whoever changed files, and is nobody's in particular.
    assert!(number(&device["busy"], "journal_ns") > 0, "{report}");
    let check = report.find("checks", "what", "the disk's bytes").unwrap();
    let (ours, kernels) = (number(check, "ours"), number(check, "kernels"));
    assert!(ours.abs_diff(kernels) * 100 <= kernels * 3, "{check}");
}

#[test]
fn pages_that_others_made_dirty_are_theirs_when_the_kernel_writes_them() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    /// What the other process writes.
    const BYTES: u64 = 24 << 20;
    let disk = LoopDisk::in_memory(512 << 20).unwrap();
    let ship = ShipOptions::default().start_in(disk.path()).unwrap();
    let mut writer = 0;
    // Into the pier: who wrote counts, not where.
    let target = ship.pier().join("others-file");
    let report = synced_meanwhile("others-write", ship.pier(), disk.path(), || {
        let mut command = Command::new("dd");
        command
            .args(["if=/dev/zero", "bs=64k"])
            .arg(format!("count={}", BYTES >> 16))
            .arg(format!("of={}", target.display()))
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        writer = child.id();
        assert!(child.wait().unwrap().success());
    });
    assert_busy_closed(&report);
    let device = &report.0["neighbours"]["devices"][0];
    let mut users = device["users"].as_array().unwrap().iter();
    let dd = users.find(|user| number(user, "tgid") == u64::from(writer));
    let dd = dd.unwrap_or_else(|| panic!("{report}"));
    assert_eq!(
        (&dd["kind"], &dd["comm"]),
        (&"process".into(), &"dd".into())
    );
    assert_eq!(number(dd, "bytes"), BYTES, "{report}");
    assert_eq!(number(dd, "written_back_bytes"), BYTES, "{report}");
    assert!(number(&device["busy"], "others_ns") > 0, "{report}");
    for line in report.list("file_io") {
        assert_ne!(line["file"], "zod/others-file", "{report}");
    }
}

#[test]
fn what_is_written_back_of_another_ship_is_that_ships() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let disk = LoopDisk::in_memory(512 << 20).unwrap();
    let (mine, theirs) = (disk.path().join("mine"), disk.path().join("theirs"));
    std::fs::create_dir(&mine).unwrap();
    std::fs::create_dir(&theirs).unwrap();
    let named = |ship: &str, snap_seconds| ShipOptions {
        ship: Some(ship.to_owned()),
        dirty_pages: Some(32),
        heap_pages: Some(4096),
        snap_seconds,
        ..ShipOptions::default()
    };
    let ship = named("~zod", None).start_in(&mine).unwrap();
    let other = named("~nec", Some(1)).start_in(&theirs).unwrap();
    let report = synced_meanwhile("others-snapshot", ship.pier(), disk.path(), || {});
    assert_busy_closed(&report);
    let device = &report.0["neighbours"]["devices"][0];
    let users = device["users"].as_array().unwrap().iter();
    let theirs = users.filter(|user| other.pids().iter().any(|pid| user["tgid"] == *pid));
    let mut bytes = 0;
    for user in theirs {
        assert_eq!(
            (&user["kind"], &user["ship"]),
            (&"other_ship".into(), &"~nec".into())
        );
        bytes += number(user, "written_back_bytes");
    }
    assert!(bytes > 0, "{report}");
    assert!(number(&device["busy"], "other_ships_ns") > 0, "{report}");
}
