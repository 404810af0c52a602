//! Who held the ship up is named: a process, another ship, or nobody.

use std::process::{Command, Stdio};

use harness::faults::cgroup::{Cgroup, Controller};
use harness::faults::cpu::Pinned;
use harness::faults::{CpuHogs, IopsLimits, LoopDisk, SlowDisk};
use harness::gate;
use harness::process::{Process, Terminal, poll_until};
use harness::ship::ShipOptions;
use serde_json::Value;

use crate::support::{Report, ShipInMemory, number};

/// Length of a capture, s.
const SECONDS: u64 = 4;

/// What is listed of some processes, as one sum of `field`.
fn sum_of(list: &Value, pids: &[u32], field: &str) -> u64 {
    let all = list.as_array().unwrap().iter();
    let theirs = all.filter(|one| {
        pids.iter()
            .any(|pid| number(one, "tgid") == u64::from(*pid))
    });
    theirs.map(|one| number(one, field)).sum()
}

/// The share of the stalls that is somebody's.
fn party<'a>(report: &'a Report, party: &str) -> Option<&'a Value> {
    let parts = report.0["ship_or_host"]["parts"].as_array().unwrap();
    parts.iter().find(|part| part["party"] == party)
}

/// What is shown for a leaf.
fn evidence<'a>(report: &'a Report, leaf: &str) -> &'a str {
    let shares = report.list("shares").iter();
    let mut parts = shares.flat_map(|share| share["parts"].as_array().unwrap());
    let part = parts.find(|part| part["leaf"] == leaf).unwrap();
    part["evidence"].as_str().unwrap()
}

/// The parts of the stalls sum to them, to the nanosecond.
fn assert_split_closed(report: &Report) {
    let split = &report.0["ship_or_host"];
    let parts = split["parts"].as_array().unwrap().iter();
    let sum: u64 = parts.map(|part| number(part, "total_ns")).sum();
    assert_eq!(sum, number(split, "stalled_ns"), "{report}");
}

fn busy(ship: &str) -> ShipOptions {
    ShipOptions {
        ship: Some(ship.to_owned()),
        compute_us: Some(20_000),
        ..ShipOptions::default()
    }
}

#[test]
fn a_process_on_the_ships_cpu_is_named_with_its_group() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipInMemory::start(&busy("~zod"));
    let hogs = CpuHogs::start(1, &ship.ship.pids()).unwrap();
    let group = Cgroup::create(Controller::Cpu, "hog").unwrap();
    let hog = hogs.pids()[0];
    group.add(hog).unwrap();
    let report = Report::of_scene("cpu-hog", ship.ship.pier(), SECONDS);
    assert_split_closed(&report);
    let ahead = &report.0["neighbours"]["ahead"];
    let listed = ahead.as_array().unwrap().iter();
    let mut listed = listed.filter(|one| number(one, "tgid") == u64::from(hog));
    let listed = listed.next().unwrap_or_else(|| panic!("{report}"));
    assert_eq!(listed["kind"], "process", "{report}");
    let name = group.path().file_name().unwrap().to_str().unwrap();
    assert!(
        listed["cgroup"].as_str().unwrap().ends_with(name),
        "{report}"
    );
    // The kernel says that the ship waited at least half of that long: it was behind the hog.
    let waited: u64 = report
        .list("threads")
        .iter()
        .map(|thread| number(thread, "run_queue_ns"))
        .sum();
    let behind_hog = number(listed, "total_ns");
    assert!(behind_hog <= waited, "{report}");
    assert!(behind_hog * 2 > waited, "{report}");
    let others = party(&report, "other_processes").unwrap();
    assert_eq!(number(&others["heaviest"], "tgid"), u64::from(hog));
    let evidence = evidence(&report, "run_queue");
    assert!(evidence.contains(&format!("(pid {hog}, ")), "{evidence}");
    let nice = report.find("fixes", "id", "nice").unwrap();
    let reason = nice["reason"].as_str().unwrap();
    assert!(reason.contains(&format!("(pid {hog})")), "{reason}");
}

#[test]
fn another_ship_on_the_same_cpu_and_disk_is_named_as_one() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let disk = LoopDisk::in_memory(512 << 20).unwrap();
    let (mine, theirs) = (disk.path().join("mine"), disk.path().join("theirs"));
    std::fs::create_dir(&mine).unwrap();
    std::fs::create_dir(&theirs).unwrap();
    let ship = busy("~zod").start_in(&mine).unwrap();
    let other = ShipOptions {
        events_per_second: Some(40.0),
        ..busy("~nec")
    };
    let other = other.start_in(&theirs).unwrap();
    // The CPU that a hog would get.
    let hogs = CpuHogs::start(0, &[]).unwrap();
    let pids = [ship.pids(), other.pids()].concat();
    let _pinned = Pinned::new(hogs.cpu(), &pids).unwrap();
    let report = Report::of_scene("two-ships", ship.pier(), SECONDS);
    assert_split_closed(&report);
    let neighbours = &report.0["neighbours"];
    let ships = neighbours["other_ships"].as_array().unwrap();
    assert!(ships.iter().any(|name| name == "~nec"), "{report}");
    let behind = sum_of(&neighbours["ahead"], &other.pids(), "total_ns");
    assert!(behind > 100_000_000, "{report}");
    let device = &neighbours["devices"][0];
    let bytes = |pids: &[u32]| sum_of(&device["users"], pids, "bytes");
    assert!(
        bytes(&other.pids()) > 0 && bytes(&ship.pids()) > 0,
        "{report}"
    );
    for list in [&neighbours["ahead"], &device["users"]] {
        let all = list.as_array().unwrap().iter();
        for one in all.filter(|one| other.pids().iter().any(|pid| one["tgid"] == *pid)) {
            assert_eq!(one["kind"], "other_ship", "{report}");
            assert_eq!(one["ship"], "~nec", "{report}");
        }
    }
    let ships = party(&report, "other_ships").unwrap();
    assert!(ships["ratio"].as_f64().unwrap() > 0.1, "{report}");
    let fewer = report.find("fixes", "id", "fewer-ships").unwrap();
    assert!(fewer["answer"].get("would_help").is_some(), "{report}");
}

#[test]
fn a_process_that_keeps_the_disk_busy_is_named_with_its_share() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let disk = LoopDisk::new(512 << 20).unwrap();
    let ship = ShipOptions::default().start_in(disk.path()).unwrap();
    // Its writes pass through the loop device slowly, and the ship's wait behind them.
    let limits = IopsLimits {
        read: None,
        write: Some(100),
    };
    let slow = SlowDisk::start(&disk, limits, &[]).unwrap();
    let mut command = Command::new("dd");
    command
        .args(["if=/dev/zero", "bs=64k", "count=6000", "oflag=direct"])
        .arg(format!("of={}", disk.path().join("hog").display()))
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let hog = Process::spawn(&mut command, Terminal::Own).unwrap();
    slow.add(hog.pid()).unwrap();
    // The burst that the kernel lets through first is over when it has to wait.
    poll_until(
        "the hog to write",
        std::time::Duration::from_secs(20),
        || {
            let io = std::fs::read_to_string(format!("/proc/{}/io", hog.pid())).unwrap();
            let written = io
                .lines()
                .find_map(|line| line.strip_prefix("write_bytes: ")?.parse::<u64>().ok());
            Ok(if written > Some(1 << 20) {
                Ok(())
            } else {
                Err(format!("{written:?} bytes so far"))
            })
        },
    )
    .unwrap();
    let report = Report::of_scene("disk-hog", ship.pier(), SECONDS);
    assert_split_closed(&report);
    let device = &report.0["neighbours"]["devices"][0];
    assert_eq!(device["below"], false, "{report}");
    let listed = device["users"].as_array().unwrap().iter();
    let mut listed = listed.filter(|one| number(one, "tgid") == u64::from(hog.pid()));
    let listed = listed.next().unwrap_or_else(|| panic!("{report}"));
    assert_eq!(
        (&listed["kind"], &listed["comm"]),
        (&"process".into(), &"dd".into())
    );
    // Everybody's bytes together are those that the kernel counted for the device.
    let check = report.find("checks", "what", "the disk's bytes").unwrap();
    let (ours, kernels) = (number(check, "ours"), number(check, "kernels"));
    assert!(ours.abs_diff(kernels) * 100 <= kernels * 3, "{check}");
    // 64 KiB a write against a ship's pages: most of it is the hog's.
    assert!(number(listed, "bytes") * 2 > kernels, "{report}");
    let of_hog = number(listed, "device_ns");
    let users = device["users"].as_array().unwrap().iter();
    let all: u64 = users.map(|one| number(one, "device_ns")).sum();
    assert!(of_hog * 2 > all, "{report}");
    assert!(number(device, "device_behind_ns") > 0, "{report}");
    let behind = number(device, "device_behind_ns") + number(device, "queue_behind_ns");
    let own = number(device, "device_ns") + number(device, "queue_ns");
    assert!(behind <= own, "{report}");
}

#[test]
fn nobody_is_named_on_the_disk_of_a_quiet_ship() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let disk = LoopDisk::in_memory(256 << 20).unwrap();
    let ship = ShipOptions::default().start_in(disk.path()).unwrap();
    let report = Report::of_scene("quiet", ship.pier(), SECONDS);
    assert_split_closed(&report);
    assert_eq!(report.verdict().0, "healthy", "{report}");
    let device = &report.0["neighbours"]["devices"][0];
    let users = device["users"].as_array().unwrap();
    assert!(!users.is_empty(), "{report}");
    for user in users {
        let kind = user["kind"].as_str().unwrap();
        assert!(matches!(kind, "ship" | "kernel" | "journal"), "{user:#}");
    }
    for party_name in ["other_ships", "hypervisor", "limits"] {
        if let Some(part) = party(&report, party_name) {
            assert_eq!(part["heaviest"], Value::Null, "{report}");
        }
    }
    let commit = evidence(&report, "log_commit");
    assert!(!commit.contains("(pid "), "{commit}");
}
