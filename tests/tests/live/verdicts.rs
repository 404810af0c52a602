//! Each injected cause gets its verdict, and the fix for it comes first.

use std::path::Path;

use harness::faults::{CpuHogs, CpuQuota, IopsLimits, LoopDisk, MemoryLimit, SlowDisk, ZramSwap};
use harness::gate;
use harness::peer::PeerOptions;
use harness::ship::ShipOptions;

use rustix::process::{Signal, kill_process};

use crate::support::{Report, ShipInMemory, evict_image, number, process, swapping_ship};

/// Length of a capture, s: some eighty events of the reference ship.
const SECONDS: u64 = 4;

#[test]
fn slow_disk_is_the_disks_fault() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let disk = LoopDisk::new(256 << 20).unwrap();
    let ship = ShipOptions::default().start_in(disk.path()).unwrap();
    let limits = IopsLimits {
        read: None,
        write: Some(40),
    };
    let _slow = SlowDisk::start(&disk, limits, &ship.pids()).unwrap();
    let report = Report::of_scene("disk", ship.pier(), SECONDS);
    assert_eq!(report.verdict(), ("stalled", Some("disk")), "{report}");
    assert!(report.leaf_ratio("log_commit") > 0.5, "{report}");
    assert!(report.sentence().starts_with("Disk"), "{report}");
    // What makes the disk slow is a limit of the ship's group; whether another disk would help cannot
    // be seen through it.
    report.assert_first_fix("io-limit");
    let class = report.find("fixes", "id", "disk-class").unwrap();
    assert_eq!(class["answer"], "cannot_tell", "{report}");
    let helpful = report.helpful_fixes();
    assert!(!helpful.contains(&"cpu-quota"), "{report}");
    assert!(!helpful.contains(&"rmem-max"), "{report}");
}

#[test]
fn cpu_hogs_are_the_cpus_fault() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = busy_ship();
    let _hogs = CpuHogs::start(2, &ship.ship.pids()).unwrap();
    let report = Report::of_scene("cpu", ship.ship.pier(), SECONDS);
    assert_eq!(report.verdict(), ("stalled", Some("cpu")), "{report}");
    assert!(report.leaf_ratio("run_queue") > 0.3, "{report}");
    assert_eq!(report.leaf_ratio("throttled"), 0.0, "{report}");
    report.assert_first_fix("nice");
    // It waited behind somebody else, who is named. (A hog, unless this machine is busy otherwise.)
    let reason = report.list("fixes")[0]["reason"].as_str().unwrap();
    let behind = reason
        .split_once("behind other processes, first ")
        .unwrap()
        .1;
    let named = |pid: &u32| behind.contains(&format!("(pid {pid})"));
    assert!(behind.contains("(pid "), "{reason}");
    assert!(!ship.ship.pids().iter().any(named), "{reason}");
    let helpful = report.helpful_fixes();
    assert!(!helpful.contains(&"disk-class"), "{report}");
    assert!(!helpful.contains(&"rmem-max"), "{report}");
}

#[test]
fn used_up_quota_is_the_cpus_fault() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = busy_ship();
    let quota = CpuQuota::start(20, &ship.ship.pids()).unwrap();
    let before = quota.throttled().unwrap();
    let report = Report::of_scene("quota", ship.ship.pier(), SECONDS);
    let after = quota.throttled().unwrap();
    assert!(after > before, "the quota was not used up");
    assert_eq!(report.verdict(), ("stalled", Some("cpu")), "{report}");
    assert!(report.leaf_ratio("throttled") > 0.3, "{report}");
    report.assert_first_fix("cpu-quota");
    let current = report.list("fixes")[0]["current"].as_str().unwrap();
    assert!(current.starts_with("0.20 CPUs in /"), "{current}");
}

#[test]
fn lost_datagrams_are_the_fault_of_ames() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipInMemory::start(&ShipOptions {
        rcvbuf_bytes: Some(8 << 10),
        ..ShipOptions::default()
    });
    let peer = PeerOptions {
        packets_per_second: 200.0,
        bytes: 1000,
        seconds: SECONDS + 30,
        bursts: Some(50),
    };
    let _peer = peer.start(ship.ship.udp_port()).unwrap();
    let report = Report::of_scene("ames", ship.ship.pier(), SECONDS);
    assert_eq!(report.verdict(), ("finding", Some("ames")), "{report}");
    let drops = report.finding("udp-drops").unwrap();
    assert_eq!(drops["severity"], "severe", "{report}");
    let dropped = number(&report.0["udp"], "dropped");
    assert_eq!(number(drops, "count"), dropped);
    assert!(dropped > 100, "{report}");
    report.assert_first_fix("rmem-max");
    assert!(!report.helpful_fixes().contains(&"disk-class"), "{report}");
}

/// A loom of 64 MiB that the ship reads through again and again.
fn reading_ship() -> ShipOptions {
    ShipOptions {
        heap_pages: Some(4096),
        compute_us: Some(10_000),
        dirty_pages: Some(0),
        ..ShipOptions::default()
    }
}

#[test]
fn evicted_pages_are_the_fault_of_memory() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let disk = LoopDisk::new(512 << 20).unwrap();
    let ship = reading_ship().start_in(disk.path()).unwrap();
    let _limit = MemoryLimit::start(40 << 20, &ship.pids()).unwrap();
    // So that an operator would feel it: an event reads some 40 times, and the verdict needs 100 ms.
    let limits = IopsLimits {
        read: Some(300),
        write: None,
    };
    let _slow = SlowDisk::start(&disk, limits, &ship.pids()).unwrap();
    // So that they are read anew, and charged to the group.
    evict_image(&ship);
    settle();
    let report = Report::of_scene("memory", ship.pier(), SECONDS);
    assert_eq!(report.verdict(), ("stalled", Some("memory")), "{report}");
    let (evicted, first) = (
        report.leaf_ratio("page_in_after_eviction"),
        report.leaf_ratio("page_in"),
    );
    assert!(evicted > 0.2, "{report}");
    assert_eq!(first, 0.0, "{report}");
    assert!(report.sentence().starts_with("Memory"), "{report}");
    let most = &report.0["memory"]["page_ins"][0];
    assert_eq!(most["name"], "image.bin", "{report}");
}

#[test]
fn swapped_pages_are_the_fault_of_memory() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let options = ShipOptions {
        events_per_second: Some(10.0),
        compute_us: Some(25_000),
        ..reading_ship()
    };
    let disk = LoopDisk::new(512 << 20).unwrap();
    let _swap = ZramSwap::start(512 << 20).unwrap();
    let (ship, _limit) = swapping_ship(disk.path(), &options, |_| settle());
    let report = Report::of_scene("swap", ship.pier(), SECONDS);
    // A quick machine swaps so fast that nothing is wrong; no other cause may be named.
    let verdicts = [("stalled", Some("memory")), ("healthy", None)];
    assert!(verdicts.contains(&report.verdict()), "{report}");
    let part = report.leaf_ratio("swap_in") + report.leaf_ratio("reclaim");
    assert!(part > 0.2, "{report}");
    assert!(report.leaf_ratio("swap_in") > 0.0, "{report}");
    assert!(
        number(&report.0["memory"], "swapped_in_pages") > 1000,
        "{report}"
    );
}

#[test]
fn first_reading_of_the_image_is_the_disks_fault() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let disk = LoopDisk::new(1 << 30).unwrap();
    let ship = ShipOptions {
        heap_pages: Some(16_384),
        ..reading_ship()
    };
    let ship = ship.start_in(disk.path()).unwrap();
    let limits = IopsLimits {
        read: Some(20),
        write: None,
    };
    let _slow = SlowDisk::start(&disk, limits, &ship.pids()).unwrap();
    // As after a start: nothing of the image is in memory, nor does the kernel know that it was. Mars
    // stands still for that, so that it reads nothing meanwhile.
    let mars = process(ship.mars_pid()).unwrap();
    kill_process(mars, Signal::STOP).unwrap();
    evict_image(&ship);
    let report = Report::of_scene_with("cold", ship.pier(), SECONDS, || {
        kill_process(mars, Signal::CONT).unwrap();
    });
    assert_eq!(report.verdict(), ("stalled", Some("disk")), "{report}");
    assert!(report.leaf_ratio("page_in") > 0.2, "{report}");
    assert_eq!(report.leaf_ratio("page_in_after_eviction"), 0.0, "{report}");
    assert_eq!(
        report.0["memory"]["page_ins"][0]["name"], "image.bin",
        "{report}"
    );
}

/// Lets the ship go on until memory is as full as it will be.
fn settle() {
    std::thread::sleep(std::time::Duration::from_secs(6));
}

#[test]
fn undisturbed_ship_is_healthy() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let disk = LoopDisk::in_memory(256 << 20).unwrap();
    let ship = ShipOptions::default().start_in(disk.path()).unwrap();
    let report = Report::of_scene("healthy", ship.pier(), SECONDS);
    assert_eq!(report.verdict(), ("healthy", None), "{report}");
    assert!(
        report.sentence().starts_with("Nothing is wrong."),
        "{report}"
    );
    let severe = report
        .list("findings")
        .iter()
        .filter(|finding| finding["severity"] == "severe");
    assert_eq!(severe.count(), 0, "{report}");
    report.assert_every_fix_has_a_reason();
    assert_eq!(report.0["ship"]["state"], "up");
    assert_eq!(report.0["ship"]["label"], "~zod");
    assert_same_path(report.0["ship"]["pier"].as_str().unwrap(), ship.pier());
    assert_eq!(
        number(&report.0["ship"], "king_tgid"),
        u64::from(ship.king_pid())
    );
    assert_eq!(
        number(&report.0["ship"], "mars_tgid"),
        u64::from(ship.mars_pid())
    );
}

/// A ship that needs a good part of one CPU and no disk.
fn busy_ship() -> ShipInMemory {
    ShipInMemory::start(&ShipOptions {
        compute_us: Some(20_000),
        ..ShipOptions::default()
    })
}

fn assert_same_path(left: &str, right: &Path) {
    let canonical = |path: &Path| path.canonicalize().unwrap();
    assert_eq!(canonical(Path::new(left)), canonical(right));
}
