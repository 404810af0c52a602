//! Our sums against the kernel's own counters over the same window.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use harness::faults::{CpuHogs, CpuQuota, LoopDisk};
use harness::gate;
use harness::peer::PeerOptions;
use harness::process::{poll_until, threads};
use harness::profile::Profile;
use harness::ship::{RunningShip, ShipOptions};
use rustix::process::{Signal, setpriority_process};
use serde_json::Value;

use crate::kernel::{is_capturing, wait_for_capture};
use crate::support::{DONE, INCOMPLETE, Report, ShipInMemory, evict_image, number, process};

/// Length of a capture that ends by itself, s.
const SECONDS: u64 = 5;
/// Length of a capture that is ended when it has seen enough, s.
const LONG: u64 = 60;
/// How far a sum may be from the kernel's, as a share of it.
const TOLERANCE: f64 = 0.02;
/// What the kernel may charge otherwise at each switch. After a wake-up that preempts, it skips one
/// update of its clock (`RQCF_REQ_SKIP`, `kernel/sched/sched.h`), so that the time until the switch is
/// on-CPU time to it, and run-queue time to us: 2 to 10 µs here, in a virtual machine.
const ALLOWANCE_PER_SWITCH_NS: u64 = 20_000;
/// What an interval that lies across an end of the window may make: the kernel adds it as a whole when
/// it ends, and up to a tick late while it lasts; we add the part inside. With two hogs on the CPU a
/// turn takes some milliseconds.
const ALLOWANCE_AT_THE_ENDS_NS: u64 = 16_000_000;
/// Share of the window from which on a sum must do without the allowance per switch.
const LARGE_RATIO: f64 = 0.1;
/// A disk of the ship's own: on a shared one, another process' sync may write the ship's pages first,
/// in the journal's name (`data=ordered`, Documentation/filesystems/ext4).
const DISK_BYTES: u64 = 1 << 30;
/// How long a ship may take to do all that it was asked for.
const QUIET_LIMIT: Duration = Duration::from_secs(60);

#[test]
fn cpu_times_are_the_kernels() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipInMemory::start(&ShipOptions {
        compute_us: Some(20_000),
        ..ShipOptions::default()
    });
    // A thread that starts later has no counters at the window's beginning.
    poll_until("mars' commit workers", QUIET_LIMIT, || {
        let threads = threads(ship.ship.mars_pid())?.len();
        Ok(if threads > 1 {
            Ok(())
        } else {
            Err(format!("{threads} thread"))
        })
    })
    .unwrap();
    let hogs = CpuHogs::start(2, &ship.ship.pids()).unwrap();
    let profile = Profile::deep_dive(ship.ship.pier(), 2 * SECONDS).json();
    let profile = profile.start().unwrap();
    // So that it reads the kernel's counters when its window begins and ends, and not when this busy
    // machine lets it.
    setpriority_process(process(profile.pid()), -20).unwrap();
    let stolen_before_ns = stolen_ns(hogs.cpu());
    let outcome = profile.finish().unwrap();
    let stolen_ns = stolen_ns(hogs.cpu()) - stolen_before_ns;
    assert_eq!(outcome.code(), Some(DONE), "{}", outcome.stderr);
    let report = Report::of(&outcome);
    let mut large = Vec::new();
    for thread in report.list("threads") {
        let wall_ns = number(thread, "wall_ns");
        // One that began after the window opened: the kernel's counters know no start for it.
        if thread["kernel"].is_null() {
            continue;
        }
        for field in ["on_cpu_ns", "run_queue_ns"] {
            let (ours, kernels) = (number(thread, field), number(&thread["kernel"], field));
            // What the hypervisor took is no on-CPU time to the kernel (`update_rq_clock_task`,
            // `kernel/sched/core.c`).
            let stolen_ns = if field == "on_cpu_ns" { stolen_ns } else { 0 };
            let is_large = kernels as f64 > wall_ns as f64 * LARGE_RATIO;
            // A turn of a thread that hardly runs is short; its waits are the hogs' turns.
            let ends_ns = if is_large || field == "run_queue_ns" {
                ALLOWANCE_AT_THE_ENDS_NS + stolen_ns
            } else {
                stolen_ns
            };
            let allowance_ns = if is_large {
                large.push((thread["role"].as_str().unwrap(), field));
                ends_ns
            } else {
                ends_ns + number(thread, "switches") * ALLOWANCE_PER_SWITCH_NS
            };
            let what = format!("{field} of {} {}", thread["role"], thread["tid"]);
            assert_close(&what, ours, kernels, allowance_ns, &report);
        }
    }
    // Otherwise hardly anything was compared.
    assert!(large.contains(&("mars", "on_cpu_ns")), "{report}");
    assert!(large.contains(&("mars", "run_queue_ns")), "{report}");
}

#[test]
fn bytes_written_are_the_kernels() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    // Mostly snapshots, which write whole pages. The kernel counts when a folio becomes dirty, and all
    // of it (`folio_account_dirtied`, `mm/page-writeback.c`); of a commit that writes single pages of
    // larger folios, it counts up to a third more than is ever written.
    let ship = ShipOptions {
        events_per_second: Some(0.0),
        heap_pages: Some(2048),
        dirty_pages: Some(32),
        snap_seconds: Some(1),
        ..ShipOptions::default()
    };
    let disk = LoopDisk::new(DISK_BYTES).unwrap();
    let ship = ship.start_in(disk.path()).unwrap();
    let (report, ()) = report_of_a_burst(&ship, &BURST, || {}, |()| {});
    let written = check(&report, "bytes written");
    let (ours, kernels) = (number(written, "ours"), number(written, "kernels"));
    assert_close("bytes written", ours, kernels, 0, &report);
    // Commits, and a snapshot at least.
    assert!(kernels > 4 << 20, "{report}");
}

#[test]
fn bytes_read_are_the_kernels() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipOptions {
        events_per_second: Some(0.0),
        heap_pages: Some(4096),
        compute_us: Some(10_000),
        ..ShipOptions::default()
    };
    let disk = LoopDisk::new(DISK_BYTES).unwrap();
    let ship = ship.start_in(disk.path()).unwrap();
    let (report, ()) = report_of_a_burst(&ship, &BURST, || evict_image(&ship), |()| {});
    let read = check(&report, "bytes read");
    let (ours, kernels) = (number(read, "ours"), number(read, "kernels"));
    assert_close("bytes read", ours, kernels, 0, &report);
    assert!(kernels > 4 << 20, "{report}");
}

#[test]
fn lost_datagrams_are_the_kernels() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipInMemory::start(&ShipOptions {
        rcvbuf_bytes: Some(8 << 10),
        ..ShipOptions::default()
    });
    let port = ship.ship.udp_port();
    let before = drops(port);
    let profile = Profile::deep_dive(ship.ship.pier(), LONG).json();
    let profile = profile.start().unwrap();
    let footprint = wait_for_capture(&profile);
    let peer = PeerOptions {
        packets_per_second: 500.0,
        bytes: 1000,
        seconds: 2,
        bursts: Some(50),
    };
    let sent = peer.start(port).unwrap().wait().unwrap();
    assert!(is_capturing(&profile, &footprint));
    profile.signal(Signal::INT).unwrap();
    let report = Report::of(&profile.finish().unwrap());
    let udp = &report.0["udp"];
    let dropped = number(udp, "dropped");
    assert!(dropped > 100, "{report}");
    assert_eq!(dropped, drops(port) - before);
    let counted = check(&report, "lost datagrams");
    assert_eq!(number(counted, "ours"), number(counted, "kernels"));
    // Each was either lost or received: nothing is counted twice, and nothing not at all.
    assert_eq!(dropped + number(udp, "received"), number(&sent, "sent"));
}

#[test]
fn throttled_time_is_the_kernels() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipInMemory::start(&ShipOptions {
        events_per_second: Some(0.0),
        compute_us: Some(200_000),
        ..ShipOptions::default()
    });
    // Mars alone, so that nearly all of its waits for a CPU are for its quota: the king would wait at
    // the same time, and the kernel counts the time of the group once.
    let quota = CpuQuota::start(30, &[ship.ship.mars_pid()]).unwrap();
    quota.outweigh_others().unwrap();
    let throttled_ns = || quota.throttled().unwrap().1;
    let burst = PeerOptions {
        packets_per_second: 3.0,
        seconds: 5,
        ..BURST
    };
    let (report, kernels) = report_of_a_burst(&ship.ship, &burst, throttled_ns, |before_ns| {
        throttled_ns() - before_ns
    });
    assert!(kernels > 2_000_000_000, "{kernels}: {report}");
    // By our tracepoints, which know nothing of quotas.
    let mars = report.find("threads", "role", "mars").unwrap();
    let allowance_ns = number(mars, "switches") * ALLOWANCE_PER_SWITCH_NS;
    let waited_ns = number(mars, "run_queue_ns");
    assert_close("waits of mars", waited_ns, kernels, allowance_ns, &report);
    let charged = check(&report, "throttled time");
    assert_eq!(number(charged, "kernels"), kernels);
    let charged_ns = number(charged, "ours");
    assert_close("throttled time", charged_ns, kernels, allowance_ns, &report);
}

#[test]
fn cpu_samples_are_as_many_as_were_asked_for() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    const HZ: u64 = 499;
    let ship = ShipInMemory::start(&ShipOptions {
        events_per_second: Some(18.0),
        compute_us: Some(50_000),
        ..ShipOptions::default()
    });
    let profile = Profile::deep_dive(ship.ship.pier(), 4).json();
    let outcome = profile.arg("--frequency").arg(HZ.to_string()).run();
    let report = Report::of(&outcome.unwrap());
    let mars = report.find("threads", "role", "mars").unwrap();
    let sampled_ns = number(mars, "samples") * 1_000_000_000 / HZ;
    let kernels = number(&mars["kernel"], "on_cpu_ns");
    // Samples are a measure of time, and no exact one.
    let allowance_ns = kernels / 20;
    assert_close("time sampled", sampled_ns, kernels, allowance_ns, &report);
}

/// Two seconds of events.
pub const BURST: PeerOptions = PeerOptions {
    packets_per_second: 100.0,
    bytes: 500,
    seconds: 2,
    bursts: None,
};

/// Whether a sum is the kernel's, but for the tolerance and an allowance in its own unit.
pub fn assert_close(what: &str, ours: u64, kernels: u64, allowance: u64, report: &Report) {
    let off = ours.abs_diff(kernels);
    // Shown with --nocapture, to see how close it is.
    println!("{what}: {ours}, kernel {kernels}, off by {off}, allowance {allowance}");
    assert!(
        off <= (kernels as f64 * TOLERANCE) as u64 + allowance,
        "{what}: {ours}, but the kernel counted {kernels}: {report}"
    );
}

/// One of the report's own comparisons with the kernel.
pub fn check<'a>(report: &'a Report, what: &str) -> &'a Value {
    let check = report.find("checks", "what", what);
    check.unwrap_or_else(|| panic!("{what} is not compared: {report}"))
}

/// A capture of a burst of events, on a ship that has none before and has written what they leave
/// before it ends: then nothing is half done at either end of the window. `first` and `last` happen
/// inside it, before and after the burst; what `first` gives is for `last`, and its answer for the caller.
pub fn report_of_a_burst<T, U>(
    ship: &RunningShip,
    burst: &PeerOptions,
    first: impl FnOnce() -> T,
    last: impl FnOnce(T) -> U,
) -> (Report, U) {
    let profile = Profile::deep_dive(ship.pier(), LONG).json();
    let profile = profile.start().unwrap();
    let footprint = wait_for_capture(&profile);
    let found = first();
    send(ship, burst);
    let found = last(found);
    assert!(is_capturing(&profile, &footprint));
    profile.signal(Signal::INT).unwrap();
    let outcome = profile.finish().unwrap();
    assert_eq!(outcome.code(), Some(INCOMPLETE), "{}", outcome.stderr);
    (Report::of(&outcome), found)
}

/// Sends a burst, and waits until the ship has dealt with all of it.
pub fn send(ship: &RunningShip, burst: &PeerOptions) {
    burst.start(ship.udp_port()).unwrap().wait().unwrap();
    wait_until_quiet(ship.mars_pid());
}

/// Waits until a process has neither read nor written for longer than the second that
/// [`bytes_written_are_the_kernels`] leaves between two snapshots.
fn wait_until_quiet(pid: u32) {
    let path = PathBuf::from(format!("/proc/{pid}/io"));
    let mut last = (String::new(), Instant::now());
    poll_until("the ship to be quiet", QUIET_LIMIT, || {
        // Nothing is left of one that has died.
        let counters = fs::read_to_string(&path).unwrap_or_default();
        if counters != last.0 {
            last = (counters, Instant::now());
        }
        Ok(if last.1.elapsed() > Duration::from_millis(1500) {
            Ok(())
        } else {
            Err(last.0.clone())
        })
    })
    .unwrap();
}

/// Time of a CPU that the hypervisor gave to others (`/proc/stat`, the eighth number of its line).
fn stolen_ns(cpu: usize) -> u64 {
    let text = fs::read_to_string("/proc/stat").unwrap();
    let name = format!("cpu{cpu} ");
    let line = text.lines().find(|line| line.starts_with(&name)).unwrap();
    let ticks: u64 = line.split_whitespace().nth(8).unwrap().parse().unwrap();
    ticks * 1_000_000_000 / rustix::param::clock_ticks_per_second()
}

/// `drops` of the socket at a local port (`/proc/net/udp`, the last column).
pub fn drops(port: u16) -> u64 {
    socket_row(port).last().unwrap().parse().unwrap()
}

/// Memory of what waits to be received at a local port.
pub fn queued_bytes(port: u16) -> u64 {
    let row = socket_row(port);
    let (_, receiving) = row[4].split_once(':').unwrap();
    u64::from_str_radix(receiving, 16).unwrap()
}

/// The row of the socket at a local port.
fn socket_row(port: u16) -> Vec<String> {
    let text = fs::read_to_string("/proc/net/udp").unwrap();
    let at_port = format!(":{port:04X}");
    let mut sockets = text.lines().map(|line| line.split_whitespace());
    let socket = sockets.find(|fields| {
        let local = fields.clone().nth(1);
        local.is_some_and(|local| local.ends_with(&at_port))
    });
    socket.unwrap().map(str::to_owned).collect()
}
