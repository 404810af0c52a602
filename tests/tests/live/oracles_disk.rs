//! Block I/O of the ship against the counters of its device, which only the ship uses.
//!
//! The device counts what everybody wrote to it. Beside the ship that is the journal of the file
//! system (jbd2) and the kernel's own writers, who are no threads of the ship and are not charged to
//! it. Who queued what is told by the kernel's own trace (tracefs), in which no program of ours has a
//! part: device = ship + others, and the ship's part is what the report must say.

use std::fs;
use std::os::unix::fs::MetadataExt;

use harness::faults::LoopDisk;
use harness::gate;
use harness::process::threads;
use harness::ship::{RunningShip, ShipOptions};
use harness::trace::{Trace, TraceLine};
use rustix::fs::{major, minor};

use crate::oracles::{BURST, assert_close, check, report_of_a_burst};
use crate::support::{Report, evict_image, number};

const MIB: u64 = 1 << 20;
const SECTOR_BYTES: u64 = 512;

/// Operations and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    bytes: u64,
}

/// Reads, and writes with the empty ones that are flushes: a device counts those among its writes, once
/// as what was asked for. Discards are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Io {
    reads: Sum,
    writes: Sum,
}

#[test]
fn io_of_the_ship_is_the_devices_less_that_of_the_file_system() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipOptions {
        events_per_second: Some(0.0),
        heap_pages: Some(4096),
        compute_us: Some(10_000),
        dirty_pages: Some(16),
        snap_seconds: Some(1),
        ..ShipOptions::default()
    };
    let disk = LoopDisk::new(1 << 30).unwrap();
    let ship = ship.start_in(disk.path()).unwrap();
    let device = fs::metadata(disk.path()).unwrap().dev();
    let filter = format!("dev == {}", major(device) << 20 | minor(device));
    let first = || {
        let events = ["block/block_bio_queue", "block/block_split"];
        let trace = Trace::start(&events.map(|event| (event, filter.as_str()))).unwrap();
        let before = counters(device);
        evict_image(&ship);
        (trace, before)
    };
    let (report, (device, (ships, others))) =
        report_of_a_burst(&ship, &BURST, first, |(trace, before)| {
            let after = counters(device);
            (
                after.since(&before),
                queued_by(&trace.lines().unwrap(), &ship),
            )
        });
    println!("device {device:?}\nship   {ships:?}\nothers {others:?}");
    let ours = ours(&report);
    for (what, device, others, ships, ours) in [
        ("reads", device.reads, others.reads, ships.reads, ours.reads),
        (
            "writes",
            device.writes,
            others.writes,
            ships.writes,
            ours.writes,
        ),
    ] {
        assert!(ships.bytes > 4 * MIB, "{what}: {ships:?}");
        let close = |what: &str, ours: u64, kernels: u64| {
            assert_close(what, ours, kernels, 0, &report);
        };
        // The trace is an account of the device, and we of the ship's part of it.
        close(
            &format!("{what}, bytes"),
            ours.bytes,
            device.bytes - others.bytes,
        );
        close(
            &format!("{what}, count"),
            ours.count,
            device.count - others.count,
        );
        close(&format!("{what} traced, bytes"), ours.bytes, ships.bytes);
        close(&format!("{what} traced, count"), ours.count, ships.count);
    }
    // Every report shows its part beside the device's own counter. The journal may write before and
    // after we looked at the device; the ship did not.
    for (what, device) in [
        ("bytes read from the pier's device", device.reads.bytes),
        ("bytes written to the pier's device", device.writes.bytes),
    ] {
        let check = check(&report, what);
        assert_eq!(check["others_included"], true);
        let kernels = number(check, "kernels");
        assert!(kernels >= number(check, "ours"), "{report}");
        assert_close(what, kernels, device, MIB / 2, &report);
    }
}

impl Sum {
    fn since(&self, earlier: &Self) -> Self {
        Self {
            count: self.count - earlier.count,
            bytes: self.bytes - earlier.bytes,
        }
    }
}

impl Io {
    fn since(&self, earlier: &Self) -> Self {
        Self {
            reads: self.reads.since(&earlier.reads),
            writes: self.writes.since(&earlier.writes),
        }
    }
}

/// What the device has done (Documentation/block/stat.rst). A merged operation was one of its own
/// before, as we count them.
fn counters(device: u64) -> Io {
    let path = format!("/sys/dev/block/{}:{}/stat", major(device), minor(device));
    let text = fs::read_to_string(path).unwrap();
    let fields: Vec<u64> = text
        .split_whitespace()
        .map(|field| field.parse().unwrap())
        .collect();
    let sum = |first: usize| Sum {
        count: fields[first] + fields[first + 1],
        bytes: fields[first + 2] * SECTOR_BYTES,
    };
    Io {
        reads: sum(0),
        writes: sum(4),
    }
}

/// What threads of the ship and what others queued, by lines such as
/// `block_bio_queue: 7,0 WS 1064 + 8 [mars]`, and `block_split: 7,0 WS 1064 / 1072 [mars]` for one more
/// of the same bytes.
fn queued_by(lines: &[TraceLine], ship: &RunningShip) -> (Io, Io) {
    let tids: Vec<u32> = ship
        .pids()
        .into_iter()
        .flat_map(|pid| threads(pid).unwrap())
        .collect();
    let (mut ships, mut others) = (Io::default(), Io::default());
    for line in lines {
        let mut words = line.text.split_whitespace().skip(2);
        let operation = words.next().unwrap();
        let sectors: u64 = match words.nth(1).unwrap() {
            "+" => words.next().unwrap().parse().unwrap(),
            _ => 0,
        };
        let io = if tids.contains(&line.tid) {
            &mut ships
        } else {
            &mut others
        };
        // `F` is a flush before the operation (`blk_fill_rwbs`, kernel/trace/blktrace.c).
        let sum = match operation.trim_start_matches('F').chars().next() {
            Some('R') => &mut io.reads,
            Some('W') => &mut io.writes,
            _ => continue,
        };
        sum.count += 1;
        sum.bytes += sectors * SECTOR_BYTES;
    }
    (ships, others)
}

/// What the report charges to the ship.
fn ours(report: &Report) -> Io {
    let sum = |operations: &[&str]| {
        let lines = report.list("block_io").iter();
        lines
            .filter(|line| operations.contains(&line["operation"].as_str().unwrap()))
            .fold(Sum::default(), |sum, line| Sum {
                count: sum.count + number(line, "count"),
                bytes: sum.bytes + number(line, "bytes"),
            })
    };
    Io {
        reads: sum(&["read"]),
        writes: sum(&["write", "flush"]),
    }
}
